"""Short runs for probes to look into, and a loss of which everything is known."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from icl.config import validate
from icl.pipelines.train import trained_job
from icl.runs import Run
from options import composed

TINY = ("debug=tiny", "task.dim=2", "task.n_context=4", "model.n_layers=2", "objective.unit=mse", "dtype=float64")


def run_of(tmp_path, *overrides: str, name="run", model="preconditioned_attention_x_update") -> Run:
    """Two members of two layers, D = 2: 16 parameters each."""
    cfg = composed(f"model={model}", *TINY, *overrides, f"name={name}", f"paths.outputs={tmp_path}")
    validate(cfg)
    job, mirror = trained_job(cfg, in_sweep=True)
    mirror.close()
    return Run(job.folder)


class Rows(nn.Module):
    """A bank whose parameters are rows of numbers."""

    def __init__(self, theta: Tensor):
        super().__init__()
        self.theta = nn.Parameter(theta)


@dataclass(frozen=True)
class Quadratic:
    """½ θᵀ H θ + ⟨b, θ⟩ of every member; the sample is a shift of b."""

    H: Tensor
    b: Tensor

    def __call__(self, model: Any, sample: Tensor) -> Tensor:
        theta = model.theta
        return 0.5 * torch.einsum("mf,mfg,mg->m", theta, self.H, theta) + ((self.b + sample) * theta).sum(1)
