"""Three loss curves of 50 steps, kept. A change that moves one needs a line in CHANGELOG.md that says why.

`python tests/golden/test_loss_curves.py` writes them anew.
"""

import json
from pathlib import Path

import pytest
import torch

from icl.config import Train
from icl.models.linear_attention import LinearAttention
from icl.objectives.last import Last
from icl.objectives.population import Population
from icl.tasks.linear_regression import LinearRegression
from icl.training.bank import fit

FILE = Path(__file__).with_name("loss_curves.json")
UNIFORM = LinearRegression(dim=4, n_context=6, inputs="uniform")
NOISY = LinearRegression(dim=3, n_context=5, noise_std=0.5, covariance_spectrum=[1.0, 0.5, 0.25], rotation_seed=1)
CASES = {
    "factored, own streams, clipped Adam": (
        UNIFORM, {"init_scale": 1.0}, Last(), {"clip": 0.01, "lr": 1e-2, "weight_decay": 1e-6}
    ),
    "merged, shared stream, momentum": (
        NOISY, {"parametrization": "merged", "normalize": True, "init": "normal", "init_scale": 0.3}, Last(unit="mse"),
        {"optimizer": "sgd", "momentum": 0.9, "lr": 1e-2, "stream": "shared"},
    ),
    "merged, population loss, AdamW": (
        NOISY, {"parametrization": "merged", "init": "normal", "init_scale": 0.05}, Population(task=NOISY),
        {"optimizer": "adamw", "weight_decay": 0.01, "schedule": "cosine", "warmup": 5},
    ),
}  # fmt: skip


def curve(name: str) -> list[list[float]]:
    """50 rows of the losses of two members, float64."""
    task, model, objective, train = CASES[name]
    bank = LinearAttention(dim=task.dim, n_seeds=2, dtype=torch.float64, **model)
    recipe = Train(**({"steps": 50, "batch_size": 16, "log_every": 1} | train))
    return torch.stack(fit(task, bank, objective, recipe, seeds=[0, 1]).loss).tolist()


@pytest.mark.parametrize("name", CASES)
def test_the_curve_is_the_one_kept(name):
    kept = torch.tensor(json.loads(FILE.read_text())[name], dtype=torch.float64)
    assert kept.shape == (50, 2)
    torch.testing.assert_close(torch.tensor(curve(name), dtype=torch.float64), kept, rtol=1e-8, atol=1e-10)


if __name__ == "__main__":
    FILE.write_text(json.dumps({name: curve(name) for name in CASES}, indent=0) + "\n")
