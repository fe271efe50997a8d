"""How much of new strings is translated right, and by whom: a run with its own phrasebooks, or a table of windows."""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from icl.core import last_step
from icl.rng import Draw
from icl.runs import Run
from icl.tasks.phrasebooks import outputs

CHUNK = 256  # prompts at a time
TRAINED_ON, NO_CONTEXT = {"pool": None, "one_by_one": False, "wrong": False, "held_out": 0}, 1.0


def members(run: Run) -> list[int]:
    """The seeds whose phrasebooks the members of a run were trained on."""
    cfg = run.config
    if cfg.train.stream == "shared":
        return [cfg.train.data_seed]
    return list(range(cfg.seed, cfg.seed + cfg.n_seeds))


def own_draw(run: Run, draw: Draw) -> Draw:
    """The streams of those seeds, where `draw` is."""
    return Draw(members(run), draw.name, device=draw.device)


def translating(run: Run) -> Any:
    """The run's task without its curriculum: new strings, all rules shown.

    Raises:
        ValueError: it is not multi-level translation.
    """
    if not hasattr(run.task, "fixed_books"):
        raise ValueError(f"{type(run.task).__name__} has no phrasebooks; it needs task=multilevel_translation")
    return replace(run.task, dropout=0.0, **TRAINED_ON)


@torch.no_grad()
def shares(model: Any, task: Any, draw: Draw, n_prompts: int, *, every_level: bool = False) -> Float[Tensor, "#L M B"]:
    """The share of the answer's pairs that are right, a prompt; of every level's, or of the last alone."""
    found = []
    for index, start in enumerate(range(0, n_prompts, CHUNK)):
        sample = task.sample(min(CHUNK, n_prompts - start), draw.at(index))
        target = sample.target.permute(2, 0, 1, 3)
        guesses = model(sample.prompt)[1:] if every_level else last_step(model, sample.prompt)[None]
        found.append((guesses.argmax(-1) == target[-len(guesses) :]).double().mean(-1))
    return torch.cat(found, -1).cpu()


def interval(values: Float[Tensor, "M B"]) -> Float[Tensor, "M 2"]:
    """95 % for the mean over prompts, normal."""
    half = 1.96 * values.std(-1) / values.shape[-1] ** 0.5
    return torch.stack([values.mean(-1) - half, values.mean(-1) + half], -1)


def by_snapshot(run: Run, task: Any, draw: Draw, n_prompts: int) -> tuple[list[int], Float[Tensor, "M K"]]:
    """(steps, accuracy on the answer) at every snapshot."""
    if not run.folder.has("snapshots.safetensors"):
        return [], torch.zeros(run.config.n_seeds, 0)
    steps, values = zip(
        *((step, shares(model, task, draw, n_prompts)[0].mean(-1)) for step, model in run.snapshots()), strict=True
    )
    return list(steps), torch.stack(values, -1)


def looked_up(task: Any, draw: Draw, n_prompts: int) -> Float[Tensor, "M"]:
    """Accuracy of a table of the windows of 2d letters that the pool of training strings shows, on new strings.

    A new window takes the answer of the one that differs from it in the fewest letters; the first of those. nan
    without a pool.
    """
    if task.pool is None:
        return torch.full((len(draw.seeds),), torch.nan)
    books, pool = task.fixed_books(draw)[:, None], task.pool_strings(draw)
    answers = outputs(books, pool, task.n_letters)[:, :, -1]
    new = replace(task, pool=None).sample(n_prompts, draw)
    accuracy = []
    for m in range(len(draw.seeds)):
        known, asked = (windows(strings[m], task).float() for strings in (pool, new.prompt.source))
        nearest = torch.cat([torch.cdist(part, known, p=0).argmin(1) for part in asked.split(4096)])
        accuracy.append((answers[m].flatten()[nearest] == new.target[m, :, -1].flatten()).double().mean())
    return torch.stack(accuracy)


def windows(strings: Int[Tensor, "B P"], task: Any) -> Int[Tensor, "K W"]:
    """The 2d letters that each answer depends on, a row an answer."""
    letters = torch.stack([strings // task.n_letters, strings % task.n_letters], -1).flatten(1)
    at = 2 * torch.arange(task.length)[:, None] + torch.arange(1, 2 * task.n_levels + 1)
    return letters[:, at % task.n_characters].flatten(0, 1)
