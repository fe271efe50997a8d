"""The training loss as a function of the flat parameters of every member, in float64: gradients and Hessian products.

Members do not see each other, so the Hessian of the summed loss is one block a member, and one product H v serves all.

References:
    Pearlmutter 1994, Fast exact multiplication by the Hessian (H v is the gradient of ⟨g, v⟩)
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

LARGEST_EXACT = 500  # parameters a member, for a Hessian that is stored

Product = Callable[[Float[Tensor, "M F"]], Float[Tensor, "M F"]]


class LossSurface:
    """L_m(θ_m) = mean over `samples` of objective(model, sample): one number a member.

    θ is the bank's parameters as rows, in the order of `model.parameters()`. The model is copied to float64; SDPA runs
    as plain products, because its fused kernels have no second derivative.
    """

    def __init__(self, model: nn.Module, objective: Any, samples: Sequence[Any]):
        self._loss = _Loss(copy.deepcopy(model).double().requires_grad_(False), objective)
        self.samples = list(samples)
        self.shapes = {name: p.shape for name, p in self._loss.named_parameters()}
        self.sizes = [shape[1:].numel() for shape in self.shapes.values()]

    @property
    def n_parameters(self) -> int:
        """F, of one member."""
        return sum(self.sizes)

    def loss(self, theta: Float[Tensor, "M F"]) -> Float[Tensor, "M"]:
        pieces = zip(self.shapes.items(), theta.split(self.sizes, dim=1), strict=True)
        state = {name: piece.reshape(theta.shape[0], *shape[1:]) for (name, shape), piece in pieces}
        with sdpa_kernel(SDPBackend.MATH):
            losses = [torch.func.functional_call(self._loss, state, (sample,)) for sample in self.samples]
        return torch.stack([loss.expand(theta.shape[0]) for loss in losses]).mean(0)

    def gradient(self, theta: Float[Tensor, "M F"]) -> Float[Tensor, "M F"]:
        theta = theta.detach().requires_grad_()
        return torch.autograd.grad(self.loss(theta).sum(), theta)[0]

    def products(self, theta: Float[Tensor, "M F"]) -> Product:
        """v ↦ H(θ) v; the gradient's graph is made once and kept."""
        theta = theta.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.loss(theta).sum(), theta, create_graph=True)
        if not gradient.requires_grad:  # a loss that is linear in θ
            return torch.zeros_like

        def product(v: Float[Tensor, "M F"]) -> Float[Tensor, "M F"]:
            (found,) = torch.autograd.grad(gradient, theta, v, retain_graph=True, allow_unused=True)
            return torch.zeros_like(v) if found is None else found

        return product

    def hessian(self, theta: Float[Tensor, "M F"]) -> Float[Tensor, "M F F"]:
        """The whole matrix, by F products.

        Raises:
            ValueError: more than LARGEST_EXACT parameters.
        """
        check_exact(self.n_parameters, theta.shape[0])
        product, identity = self.products(theta), torch.eye(self.n_parameters).to(theta)
        H = torch.stack([product(row.expand_as(theta)) for row in identity], dim=1)
        return (H + H.mT) / 2


class _Loss(nn.Module):
    """The objective as a module, so that its parameters can be replaced for a call."""

    def __init__(self, model: nn.Module, objective: Any):
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, sample: Any) -> Float[Tensor, "M"]:
        return self.objective(self.model, sample)


def check_exact(n_parameters: int, n_members: int) -> None:
    """ValueError if the exact Hessian of so many parameters is too large to be stored."""
    if n_parameters > LARGEST_EXACT:
        size = 8 * n_members * n_parameters**2 / 2**20
        raise ValueError(
            f"method=exact: the Hessian of {n_parameters} parameters is {size:,.0f} MiB for {n_members} members; exact "
            f"Hessians go up to {LARGEST_EXACT} parameters, use method=products (Lanczos, one vector at a time)"
        )
