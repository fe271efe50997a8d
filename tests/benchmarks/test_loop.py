"""The twin that a looped transformer is timed against computes the same."""

import torch

from icl.benchmarks.loop import Size, plain_step, step
from icl.benchmarks.plain_block import PlainLoop
from icl.models.looped_transformer import LoopedTransformer
from icl.rng import Draw
from tolerances import EXACT

TINY = Size(dim=3, n_context=4, width=8, n_heads=2, n_loops=3, batch_size=2)
NAMES = {  # of the twin: those of the bank; nn.Linear keeps its matrix transposed
    "positions": "positions", "read_in": "read_in", "read_out": "read_out", "norm": "gain", "block.norm_1": "gain_1",
    "block.norm_2": "gain_2", "block.qkv": "W_qkv", "block.out": "W_o", "block.up": "W_up", "block.down": "W_down",
}  # fmt: skip


def bias(name: str) -> str:
    return f"{name}_bias" if name.startswith("read") else name.replace("W_", "b_").replace("gain", "shift")


def test_the_twin_is_the_bank_of_one_member():
    model = LoopedTransformer(dim=3, n_context=4, width=8, n_loops=3, dtype=torch.float64)
    model.reset(Draw([0], "init", dtype=torch.float64))
    twin = PlainLoop(3, 4, 8, 2).double()
    with torch.no_grad():
        for at, name in NAMES.items():
            value = getattr(model.gpt, name)[0]
            if at == "positions":
                twin.positions[: len(value)] = value
                continue
            module = twin.get_submodule(at)
            module.weight.copy_(value.flatten() if module.weight.ndim == 1 else value.view(value.shape[-2:]).mT)
            module.bias.copy_(getattr(model.gpt, bias(name)).flatten())
    x, y = TINY.task.sample(2, Draw([0], "p", dtype=torch.float64)).prompt.positions()
    torch.testing.assert_close(twin(x[0], y[0], 3), model.passes(x, y, 3)[:, 0], **EXACT)


def test_steps_can_be_called_again():
    for call in (step(TINY), step(TINY, fast=True), plain_step(TINY, device="cpu", dtype=torch.float32)):
        call()
        call()
