"""Walking prompts in chunks of bounded memory, and intervals over the prompts that were walked.

Both predictors answer the same prompts. They are shared by all members and depend on the task, the draw and
the place in the walk alone: neither the number of members nor that of prompts changes the first of them.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icl.comparisons.measured import Measured
from icl.core import Sample
from icl.rng import Draw

PAGE_FLOATS = 2**20  # drawn at a time: 4 MiB in float32
CHUNK_FLOATS = 2**22  # answered at a time, with one copy of the prompts a member: 16 MiB in float32
N_BLOCKS = 1000  # of prompts, for the bootstrap
N_RESAMPLES = 1000

Ask = Callable[[Any, Any, Sample], dict[str, Tensor]]  # (model, reference, sample) -> {name: "*k #M B"}
Reduce = Callable[[dict[str, Tensor]], dict[str, Tensor]]  # {name: means "*r *k #M"} -> {number: "*r #M"}


def compare(comparison: Any, model: Any, reference: Any, task: Any, draw: Draw) -> Measured:
    """Both predictors measured on the same prompts; every number has one entry a member.

    `draw` holds one seed, that of the evaluation data, which stays the same for every model. Its dtype and
    device are those of the model.

    Raises:
        ValueError: the sizes of two banks do not match.
    """
    n_model, n_reference = n_members(model), n_members(reference)
    if n_reference not in (1, n_model):
        raise ValueError(f"the reference has {n_reference} members, the model {n_model} (allowed: 1 or as many)")
    return _checked(comparison, comparison.measure(model, reference, task, draw), n_model)


def compare_runs(comparison: Any, run: Any, reference: Any, draw: Draw) -> Measured:
    """Two runs compared: not their last weights alone, but their losses, snapshots and recipes.

    Raises:
        ValueError: the sizes of the two banks do not match.
    """
    n_run, n_reference = n_members(run.model), n_members(reference.model)
    if n_run != n_reference:
        raise ValueError(f"the reference has {n_reference} members, the run {n_run} (allowed: as many)")
    return _checked(comparison, comparison.measure_runs(run, reference, draw), n_run)


def _checked(comparison: Any, measured: Measured, n_model: int) -> Measured:
    """One entry a member, on the CPU; RuntimeError if the numbers are not those that a claim may use."""
    unknown = set(measured.numbers) ^ set(comparison.numbers)
    if unknown:
        raise RuntimeError(f"{type(comparison).__name__}.numbers and what it measures differ: {sorted(unknown)}")
    return Measured(
        numbers={name: v.detach().cpu().expand(n_model) for name, v in measured.numbers.items()},
        intervals={name: v.detach().cpu().expand(n_model, 2) for name, v in measured.intervals.items()},
        curves=measured.curves,
        n_prompts=measured.n_prompts,
    )


def n_members(predictor: Any) -> int:
    """M of a bank, or of a model whose members are modules; an algorithm is one member."""
    if hasattr(predictor, "members"):
        return len(predictor.members)
    parameters = predictor.parameters() if isinstance(predictor, nn.Module) else ()
    return max((p.shape[0] for p in parameters), default=1)


def chunks(task: Any, n_prompts: int, members: int, draw: Draw) -> Iterator[Sample]:
    """`n_prompts` prompts in pieces small enough for a bank of `members`.

    A page is drawn whole and then cut, because the numbers of a sample depend on its batch size.
    """
    one = task.sample(1, draw.at(0, f"{draw.name}/size")).prompt
    floats = sum(t[0].numel() for t in (one.x, one.y, one.x_query))
    page, chunk = max(1, PAGE_FLOATS // floats), max(1, CHUNK_FLOATS // (floats * members))
    for index, start in enumerate(range(0, n_prompts, page)):
        sample = task.sample(page, draw.at(index))
        stop = min(page, n_prompts - start)
        for low in range(0, stop, chunk):
            yield cut(sample, low, min(low + chunk, stop))


def cut(sample: Sample, start: int, stop: int) -> Sample:
    """Prompts start..stop-1 of a sample, with their targets."""
    w_star = None if sample.w_star is None else sample.w_star[:, start:stop]
    return Sample(sample.prompt.chunk(start, stop), sample.target[:, start:stop], w_star)


def per_prompt(ask: Ask, model: Any, reference: Any, task: Any, n_prompts: int, draw: Draw) -> dict[str, Tensor]:
    """The answers of `ask` to `n_prompts` prompts, `"*k #M B"`, without gradients, on the CPU."""
    parts: dict[str, list[Tensor]] = {}
    with torch.no_grad():
        for sample in chunks(task, n_prompts, max(n_members(model), n_members(reference)), draw):
            for name, value in ask(model, reference, sample).items():
                parts.setdefault(name, []).append(value.detach().cpu())
    return {name: torch.cat(part, dim=-1) for name, part in parts.items()}


def half_squared_error(prediction: Float[Tensor, "..."], target: Float[Tensor, "#M B *out"]) -> Float[Tensor, "..."]:
    """½ |ŷ − y|², a prompt: `"*k #M B *out"` against `"#M B *out"` gives `"*k #M B"`."""
    error = (prediction - target).square()
    return 0.5 * (error.flatten(2 - target.ndim).sum(-1) if target.ndim > 2 else error)


def estimate(
    values: dict[str, Tensor], reduce: Reduce, draw: Draw
) -> tuple[dict[str, Float[Tensor, "#M"]], dict[str, Float[Tensor, "#M 2"]]]:
    """Numbers that are functions of means over prompts, with 95 % intervals by paired bootstrap.

    `values` are `"*k #M B"`; `reduce` takes their means, `"*r *k #M"`, and returns `"*r #M"`, acting on any
    leading axes r alike. Resampled are N_BLOCKS blocks of neighbouring prompts (or the prompts, if there are
    fewer), independent as the prompts are: for a mean over many prompts that is the same interval, a hundred
    times cheaper. One resample serves all values and all members, which keeps them paired. The resamples are
    a function of the draw's seed, so the intervals repeat.
    """
    numbers = reduce({name: value.double().mean(-1) for name, value in values.items()})
    n_prompts = next(iter(values.values())).shape[-1]
    n_blocks = min(N_BLOCKS, n_prompts)
    block = torch.arange(n_prompts) * n_blocks // n_prompts
    weights = resampling_weights(n_blocks, draw)
    sizes = weights @ block.bincount().double()
    resampled = {}
    for name, value in values.items():
        sums = torch.zeros(*value.shape[:-1], n_blocks, dtype=torch.float64).index_add_(-1, block, value.double())
        resampled[name] = torch.einsum("rb,...b->r...", weights, sums) / sizes.view(-1, *[1] * (value.ndim - 1))
    level = torch.tensor([0.025, 0.975], dtype=torch.float64)
    intervals = {name: torch.quantile(v, level, dim=0).T for name, v in reduce(resampled).items()}
    return numbers, intervals


def resampling_weights(n_blocks: int, draw: Draw) -> Float[Tensor, "R K"]:
    """How often each of K blocks is drawn in each of R resamples of K blocks with replacement."""
    seeds = draw.seeds[:1]
    picks = Draw(seeds, f"{draw.name}/bootstrap").integers(n_blocks, N_RESAMPLES, n_blocks)[0]
    flat = picks + n_blocks * torch.arange(N_RESAMPLES)[:, None]
    return flat.view(-1).bincount(minlength=N_RESAMPLES * n_blocks).view(N_RESAMPLES, n_blocks).double()
