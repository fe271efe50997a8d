"""The same on a CUDA device: draws, fast forms, training, resume. `scripts/lab test -m gpu`, where there is one."""

from dataclasses import replace

import pytest
import torch

from icl.benchmarks.graph import waiting_is_an_error
from icl.config import Train
from icl.core import Prompt, Sample
from icl.models.linear_attention import LinearAttention
from icl.models.looped_transformer import LoopedTransformer
from icl.models.transformer import Transformer
from icl.objectives.every_position import EveryPosition
from icl.objectives.last import Last
from icl.objectives.population import Population
from icl.objectives.window import Window
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from icl.training.bank import Bank, fit
from tolerances import EXACT

pytestmark = pytest.mark.gpu
TASK = LinearRegression(dim=5, n_context=10, inputs="uniform")
TRAIN = Train(steps=60, batch_size=32, clip=0.01, lr=1e-2, checkpoint_every=20)


def model_on(device: str, n_seeds: int = 3, **options) -> LinearAttention:
    return LinearAttention(dim=5, n_seeds=n_seeds, device=device, dtype=torch.float64, init_scale=1.0, **options)


def on_gpu(prompt: Prompt) -> Prompt:
    return Prompt(prompt.x.cuda(), prompt.y.cuda(), prompt.x_query.cuda())


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
    there = on_gpu(prompt)
    torch.testing.assert_close(gpu.last(there).cpu(), cpu.last(prompt), **EXACT)
    torch.testing.assert_close(gpu(there).cpu(), cpu(prompt), **EXACT)


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
    original = Bank.step

    def interrupted(self, step):
        if step == 33:
            raise KeyboardInterrupt
        return original(self, step)

    monkeypatch.setattr(Bank, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(TASK, model_on("cuda"), Last(), TRAIN, seeds=range(3), folder=tmp_path)
    monkeypatch.setattr(Bank, "step", original)
    resumed = model_on("cuda")
    fit(TASK, resumed, Last(), TRAIN, seeds=range(3), folder=tmp_path)
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value)


GRAPH = replace(TRAIN, cuda_graph=True)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("stream", ["own", "shared"])
def test_a_step_in_a_graph_is_the_ordinary_step(optimizer, stream):
    """The same random numbers, the same update; a new graph for each stage of the curriculum."""
    recipe = replace(GRAPH, optimizer=optimizer, stream=stream, schedule="cosine", weight_decay=0.1,
                     curriculum={"task.n_context": {0: 5, 30: 10}})  # fmt: skip
    graphed, plain = model_on("cuda"), model_on("cuda")
    ours = fit(TASK, graphed, Last(), recipe, seeds=range(3))
    theirs = fit(TASK, plain, Last(), replace(recipe, cuda_graph=False), seeds=range(3))
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(graphed.state_dict()[name], value, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(torch.stack(ours.loss), torch.stack(theirs.loss), rtol=1e-9, atol=1e-11)


def small_models(device: str) -> dict:
    """A model, a task and an objective each; float64."""
    sizes = {"dim": 3, "n_context": 6, "width": 8, "n_heads": 2, "n_seeds": 3, "device": device, "dtype": torch.float64}
    every = LinearRegression(dim=3, n_context=6, positions="every")
    return {
        "linear attention": (model_on(device), TASK, Last()),
        "transformer": (Transformer(n_layers=2, **sizes), every, EveryPosition()),
        "looped transformer": (LoopedTransformer(n_loops=4, **sizes), every, Window(n_loops=4, window=2)),
        "population": (model_on(device), TASK, Population(task=TASK)),
    }


@pytest.mark.parametrize("name", ["transformer", "looped transformer"])
def test_transformers_in_a_graph_and_on_the_cpu(name):
    """The first loss is that of the CPU on the same prompts and weights; a graph trains as ordinary steps do."""
    (cpu, task, objective), (gpu, _, _) = small_models("cpu")[name], small_models("cuda")[name]
    cpu.reset(Draw(range(3), "init", dtype=torch.float64))
    gpu.load_state_dict(cpu.state_dict())
    sample = task.sample(16, Draw(range(3), "prompt", dtype=torch.float64))
    torch.testing.assert_close(
        objective(gpu, Sample(on_gpu(sample.prompt), sample.target.cuda(), None)).cpu(), objective(cpu, sample), **EXACT
    )
    states = []
    for cuda_graph in (False, True):
        model, task, objective = small_models("cuda")[name]
        fit(task, model, objective, replace(TRAIN, cuda_graph=cuda_graph), seeds=range(3))
        states.append(model.state_dict())
    for key, value in states[0].items():
        torch.testing.assert_close(states[1][key], value, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("cuda_graph", [False, True])
@pytest.mark.parametrize("name", ["linear attention", "transformer", "looped transformer", "population"])
def test_a_step_never_waits_for_the_device(name, cuda_graph):
    model, task, objective = small_models("cuda")[name]
    recipe = replace(TRAIN, cuda_graph=cuda_graph)
    bank = Bank(task=task, model=model, objective=objective, train=recipe, seeds=range(3))
    bank.start()
    for step in range(2):
        bank.step(step)
    with waiting_is_an_error():
        for step in range(2, 12):  # a logged one among them
            bank.step(step)


def test_weights_stay_where_the_model_allows_them_in_a_graph():
    class Bounded(LinearAttention):
        @torch.no_grad()
        def project_(self) -> None:
            for weight in self.parameters():
                weight.clamp_(-0.1, 0.1)

    states = []
    for cuda_graph in (False, True):
        model = Bounded(dim=5, n_seeds=3, device="cuda", dtype=torch.float64, init_scale=1.0)
        fit(TASK, model, Last(), replace(TRAIN, cuda_graph=cuda_graph), seeds=range(3))
        states.append(model.state_dict())
    for key, value in states[0].items():
        torch.testing.assert_close(states[1][key], value, rtol=1e-9, atol=1e-11)
        assert value.abs().max() <= 0.1


def test_half_precision_comes_down_as_far():
    """Within the noise of its losses, a tenth; the prompts of the two types are not the same."""
    task, ends = LinearRegression(dim=3, n_context=6, positions="every"), []
    for dtype in (torch.bfloat16, torch.float32):
        model = Transformer(dim=3, n_context=6, n_layers=2, width=16, n_heads=2, device="cuda", dtype=dtype)
        recipe = Train(steps=300, batch_size=64, clip=1.0, lr=1e-2, cuda_graph=True)
        loss = torch.stack(fit(task, model, EveryPosition(), recipe, seeds=[0]).loss).float().mean(1)
        assert loss[-5:].mean() < loss[:2].mean()
        ends.append(loss[-5:].mean())
    torch.testing.assert_close(ends[0], ends[1], rtol=0.1, atol=0)


def test_a_graphed_bank_goes_on_with_the_same_bits(tmp_path):
    whole, resumed = model_on("cuda"), model_on("cuda")
    fit(TASK, whole, Last(), GRAPH, seeds=range(3))
    bank = Bank(task=TASK, model=model_on("cuda"), objective=Last(), train=GRAPH, seeds=range(3), folder=tmp_path)
    original = bank.step

    def interrupted(step):
        if step == 33:
            raise KeyboardInterrupt
        return original(step)

    bank.step = interrupted
    with pytest.raises(KeyboardInterrupt):
        bank.run()
    fit(TASK, resumed, Last(), GRAPH, seeds=range(3), folder=tmp_path)
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value)


def test_tf32_is_for_those_who_ask():
    """The flag is back after a training, and a training without it never sets it."""
    seen = []

    class Watching(Last):
        def __call__(self, model, sample):
            seen.append(torch.get_float32_matmul_precision())
            return super().__call__(model, sample)

    for matmul in ("fp32", "tf32"):
        fit(TASK, model_on("cuda"), Watching(), replace(TRAIN, steps=1, matmul=matmul), seeds=range(3))
    assert seen == ["highest", "high"]
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_gpus_are_one_plain_loop(tmp_path):
    import ranked
    from icl.training.elastic import over_ranks

    ways = {"ddp": {}, "fsdp2": {"sharding": "fsdp2"}}
    found = over_ranks(ranked.all_ways, str(tmp_path), ways, "cuda", devices=2, device="cuda")
    for one in found.values():
        assert one["ranks"] == 2
        assert one["resumed"] == {key: one[key] for key in ("weights", "loss", "steps")}
    torch.testing.assert_close(torch.tensor(found["ddp"]["loss"]), torch.tensor(found["fsdp2"]["loss"]))
