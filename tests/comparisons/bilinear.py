"""A bank of the simplest predictors that the comparisons can tell apart, sharing no code with the models."""

import torch
from torch import nn


class Bilinear(nn.Module):
    """ŷ = x_queryᵀ Γ_m Σᵢ yᵢ xᵢ, one Γ a member; ∂ŷ/∂x_query = Γ_m Σᵢ yᵢ xᵢ."""

    def __init__(self, gamma):
        super().__init__()
        self.gamma = nn.Parameter(gamma)

    def forward(self, prompt, *, steps=None):
        moment = (prompt.y[..., None] * prompt.x).sum(-2)
        guess = (prompt.x_query * (self.gamma[:, None] @ moment[..., None])[..., 0]).sum(-1)
        return torch.stack([torch.zeros_like(guess), guess])


def bank(draw, n_members=3, dim=4, size=0.1, noise=0.03):
    """Members near size · I, all different."""
    return Bilinear(size * torch.eye(dim, dtype=torch.float64) + noise * draw.at(77).normal(n_members, dim, dim)[0])
