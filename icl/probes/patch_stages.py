"""How sign descent comes to memorise noise: the four stages of two-patch attention, each by its own measure."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from icl.comparisons.measured import Curve, Measured
from icl.core import Sample
from icl.rng import Draw
from icl.runs import Run
from icl.training.batches import training_draw, training_set

GONE = 0.05  # attention that counts as none
MEAN_STEPS = (0, 1, 2, 3, 4, 5)


@dataclass(frozen=True, kw_only=True)
class PatchStages:
    """On the training set of a full-batch run, from its snapshots (needed at 0..5, 10, 20 and 50); μ signal, ξ noise:

        test_accuracy, train_loss, test_loss                      fresh prompts, training set
        head_growth, head_growth_spread    I    mean step of y ⟨v, ξ⟩ over t = 1..5; (largest − smallest) / mean
        noise_alignment_0, _5, _10         II   share of (neuron, example) with equal signs of ⟨w_Q, ξ⟩ and ⟨w_K, ξ⟩
        noise_query_step, signal_query_step, order     III   first step with mean attention < 0.05 from the noise, from
                                                the signal patch to the signal; the second over the first
        signal_alignment_0, _20, _50       IV   share of neurons with equal signs of ⟨w_Q, μ⟩ and Σ_i y_i ⟨w_K, ξ_i⟩
        signal_agreement_50                IV   share of neurons with equal signs of ⟨w_Q, μ⟩ and ⟨w_K, μ⟩

    A step that was never reached is nan, and a snapshot that is missing too.
    """

    numbers: ClassVar[tuple[str, ...]] = (
        "test_accuracy", "train_loss", "test_loss", "head_growth", "head_growth_spread", "noise_alignment_0",
        "noise_alignment_5", "noise_alignment_10", "noise_query_step", "signal_query_step", "order",
        "signal_alignment_0", "signal_alignment_20", "signal_alignment_50", "signal_agreement_50",
    )  # fmt: skip
    n_prompts: int = 4000

    def measure_run(self, run: Run, draw: Draw) -> Measured:
        model, task, train = run.model.requires_grad_(False), run.task, run.config.train
        if not all(hasattr(model, name) for name in ("W_Q", "W_K", "head", "attention")):
            raise ValueError("patch_stages reads the model patch_attention (W_Q, W_K, head, attention)")
        if train.n_batches != 1:
            raise ValueError(f"patch_stages needs a training set: train.n_batches=1 (here {train.n_batches})")
        seen = training_set(
            task, train, training_draw(train, run.result["seeds"], device=draw.device, dtype=draw.dtype)
        )
        states = {step: bank.requires_grad_(False) for step, bank in run.snapshots()}
        found = self._losses(model, seen, task.sample(self.n_prompts, draw))
        found |= growth(states, seen) | alignments(states, seen)
        attention = {step: mean_attention(bank, seen) for step, bank in states.items()}
        noise, signal = first_below(attention, 1), first_below(attention, 0)
        found |= {"noise_query_step": noise, "signal_query_step": signal, "order": signal / noise}
        return Measured(numbers=found, curves=_curves(states, attention, seen), n_prompts=self.n_prompts)

    def _losses(self, model: Any, seen: Sample, fresh: Sample) -> dict[str, Tensor]:
        margins = {"train": seen.target * model.last(seen.prompt), "test": fresh.target * model.last(fresh.prompt)}
        losses = {f"{name}_loss": softplus(-margin.double()).mean(1) for name, margin in margins.items()}
        return losses | {"test_accuracy": (margins["test"] > 0).double().mean(1)}


def growth(states: dict[int, Any], seen: Sample) -> dict[str, Tensor]:
    """How evenly the head grows along the noise of the examples."""
    like = seen.target[:, 0].double()
    if any(step not in states for step in MEAN_STEPS):
        return {"head_growth": like * torch.nan, "head_growth_spread": like * torch.nan}
    values = [mean_over_examples(states[step].head(), seen) for step in MEAN_STEPS]
    steps = torch.stack(values).diff(dim=0)
    mean = steps.mean(0)
    return {"head_growth": mean, "head_growth_spread": (steps.amax(0) - steps.amin(0)) / mean}


def mean_over_examples(head: Float[Tensor, "M D"], seen: Sample) -> Float[Tensor, "M"]:
    """Mean over examples of y_i ⟨v, ξ_i⟩."""
    return (seen.target * torch.einsum("md,mbd->mb", head, seen.prompt.x_query)).double().mean(1)


def alignments(states: dict[int, Any], seen: Sample) -> dict[str, Tensor]:
    """Equal signs of queries and keys on the noise, and on the signal."""
    found = {}
    missing = seen.target[:, 0].double() * torch.nan
    for step in (0, 5, 10):
        found[f"noise_alignment_{step}"] = noise_alignment(states[step], seen) if step in states else missing
    for step in (0, 20, 50):
        found[f"signal_alignment_{step}"] = signal_alignment(states[step], seen) if step in states else missing
    late = states.get(50)
    agreement = missing if late is None else share(late.W_Q[..., 0] * late.W_K[..., 0])
    return found | {"signal_agreement_50": agreement}


def noise_alignment(bank: Any, seen: Sample) -> Float[Tensor, "M"]:
    queries, keys = (torch.einsum("mkd,mbd->mbk", W, seen.prompt.x_query) for W in (bank.W_Q, bank.W_K))
    return share(queries * keys)


def signal_alignment(bank: Any, seen: Sample) -> Float[Tensor, "M"]:
    summed = torch.einsum("mkd,mbd,mb->mk", bank.W_K, seen.prompt.x_query, seen.target)
    return share(bank.W_Q[..., 0] * summed)  # the signal is e_1


def share(products: Float[Tensor, "M ..."]) -> Float[Tensor, "M"]:
    """Of positive products."""
    return (products > 0).double().flatten(1).mean(1)


def mean_attention(bank: Any, seen: Sample) -> Float[Tensor, "M 2"]:
    """On the signal patch, from the signal (0) and from the noise (1), mean over the examples."""
    return bank.attention(seen.prompt)[..., 0].double().mean(1)


def first_below(attention: dict[int, Float[Tensor, "M 2"]], patch: int) -> Float[Tensor, "M"]:
    """The first snapshot whose attention from `patch` is gone, nan if none is."""
    steps = sorted(attention)
    gone = torch.stack([attention[step][:, patch] < GONE for step in steps])
    first = torch.tensor(steps, dtype=torch.float64)[gone.double().argmax(0)]
    return torch.where(gone.any(0), first, torch.nan)


def _curves(states: dict[int, Any], attention: dict[int, Tensor], seen: Sample) -> dict[str, Curve]:
    """The measure of every stage at every snapshot."""
    steps = sorted(s for s in attention if s > 0)
    measures = {
        "head": ("I: the head along the noise", "mean of y <v, noise>",
                 lambda s: mean_over_examples(states[s].head(), seen)),
        "noise_alignment": ("II: noise of queries and keys", "equal signs", lambda s: noise_alignment(states[s], seen)),
        "noise_query": ("III: from the noise to the signal", "attention", lambda s: attention[s][:, 1]),
        "signal_query": ("III: from the signal to the signal", "attention", lambda s: attention[s][:, 0]),
        "signal_alignment": ("IV: signal of queries, noise of keys", "equal signs",
                             lambda s: signal_alignment(states[s], seen)),
    }  # fmt: skip
    return {
        name: Curve(kind="line", title=title, x=steps, log_x=True, x_label="training step", y_label=label,
                    model=torch.stack([value(s) for s in steps], 1).tolist())
        for name, (title, label, value) in measures.items() if steps
    }  # fmt: skip
