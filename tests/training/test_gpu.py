"""The same on a CUDA device: draws, fast forms, training, resume. `scripts/lab test -m gpu` on a machine that has one."""

import pytest
import torch

from icl.config import Train
from icl.models.linear_attention import LinearAttention
from icl.objectives.last import Last
from icl.objectives.population import Population
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from icl.training.bank import Bank, fit
from tolerances import EXACT

pytestmark = pytest.mark.gpu
TASK = LinearRegression(dim=5, n_context=10, inputs="uniform")
TRAIN = Train(steps=60, batch_size=32, clip=0.01, lr=1e-2, checkpoint_every=20)


def model_on(device: str, n_seeds: int = 3, **options) -> LinearAttention:
    return LinearAttention(dim=5, n_seeds=n_seeds, device=device, dtype=torch.float64, init_scale=1.0, **options)


def test_a_member_draws_the_same_alone_and_in_a_bank():
    bank, lone = Draw([3, 7], "x", device="cuda"), Draw([7], "x", device="cuda")
    assert torch.equal(bank.normal(4, 5)[1:], lone.normal(4, 5))


@pytest.mark.parametrize("seeds", [[0], range(3), [9]])
@pytest.mark.parametrize("n_layers", [1, 2, 4])
def test_the_fast_forms_are_those_of_the_cpu(seeds, n_layers):
    cpu, gpu = model_on("cpu", n_layers=n_layers), model_on("cuda", n_layers=n_layers)
    cpu.reset(Draw(range(3), "init", dtype=torch.float64))
    gpu.load_state_dict(cpu.state_dict())
    prompt = TASK.sample(16, Draw(seeds, "prompt", dtype=torch.float64)).prompt
    moved = type(prompt)(*(t.cuda() for t in (prompt.x, prompt.y, prompt.x_query)))
    torch.testing.assert_close(gpu.last(moved).cpu(), cpu.last(prompt), **EXACT)
    torch.testing.assert_close(gpu(moved).cpu(), cpu(prompt), **EXACT)


def test_population_training_is_that_of_the_cpu():
    """No random numbers but the first values, so both devices must agree."""
    states = []
    for device in ("cpu", "cuda"):
        model = model_on(device)
        start = model_on("cpu")
        start.reset(Draw(range(3), "init", dtype=torch.float64))
        model.reset = lambda draw, model=model, start=start: model.load_state_dict(start.state_dict())
        fit(TASK, model, Population(task=TASK), TRAIN, seeds=range(3))
        states.append({k: v.cpu() for k, v in model.state_dict().items()})
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-8, atol=1e-10)


def test_an_interrupted_bank_goes_on_with_the_same_bits(tmp_path, monkeypatch):
    whole = model_on("cuda")
    fit(TASK, whole, Last(), TRAIN, seeds=range(3))
    original = Bank._step

    def interrupted(self, step):
        if step == 33:
            raise KeyboardInterrupt
        return original(self, step)

    monkeypatch.setattr(Bank, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(TASK, model_on("cuda"), Last(), TRAIN, seeds=range(3), folder=tmp_path)
    monkeypatch.setattr(Bank, "_step", original)
    resumed = model_on("cuda")
    fit(TASK, resumed, Last(), TRAIN, seeds=range(3), folder=tmp_path)
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value)
