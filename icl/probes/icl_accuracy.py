"""What demonstrations in the context do for a language model's accuracy, raw and calibrated, on the same queries.

References:
    Zhao et al. 2021, Calibrate before use, arXiv:2102.09690
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.language_arm import calibrated
from icl.comparisons.language_member import Member, number
from icl.comparisons.measured import Curve, Measured
from icl.comparisons.walk import estimate
from icl.models.causal_lm_reading import read
from icl.rng import Draw


@dataclass(frozen=True, kw_only=True)
class IclAccuracy:
    """gain = accuracy after all demonstrations − accuracy of zero-shot, with calibrated predictions.

    Calibrated: the mean over the batch of balanced queries is taken off each label's score. Raw predictions of small
    models collapse onto one label, which hides what they learned: `*_raw` are theirs, `largest_share_raw` is the share
    of ICL queries that get the most frequent label, and `imbalance` how far the true labels are from balance (largest
    class over an equal share, minus one).
    """

    reads: ClassVar[str] = "words"
    numbers: ClassVar[tuple[str, ...]] = (
        "zero_shot", "icl", "gain", "zero_shot_raw", "icl_raw", "gain_raw", "largest_share_raw", "imbalance",
    )  # fmt: skip
    by_demos: Sequence[int] = ()  # the curve's numbers of demonstrations; none: no curve

    def measure(self, model: Member, task: Any, draw: Draw) -> Measured:
        target, labels = model.sample.target, model.prompt.label_words.shape[0]
        logits = {"zero_shot": model.zero_shot().label_logits, "icl": model.in_context().label_logits}
        right = {name: (calibrated(x) == target).double() for name, x in logits.items()}
        right |= {f"{name}_raw": (x.argmax(-1) == target).double() for name, x in logits.items()}
        right |= {f"gain{end}": right[f"icl{end}"] - right[f"zero_shot{end}"] for end in ("", "_raw")}
        numbers, intervals = estimate({name: x[None] for name, x in right.items()}, dict, draw)
        counts = {
            "true": target, "zero-shot, raw": logits["zero_shot"].argmax(-1), "ICL, raw": logits["icl"].argmax(-1),
            "ICL, calibrated": calibrated(logits["icl"]),
        }  # fmt: skip
        shares = {name: x.bincount(minlength=labels).double() / len(x) for name, x in counts.items()}
        numbers |= {
            "largest_share_raw": number(shares["ICL, raw"].max()),
            "imbalance": number(shares["true"].max() * labels - 1),
        }
        words = self._words(model)
        histogram = Curve(
            kind="map", title="Label histogram", x_label="label", y_label="prediction", x=words, y=list(shares),
            model=[x.tolist() for x in shares.values()], note="the share of queries that get each label",
        )  # fmt: skip
        curves = {"histogram": histogram} | self._by_demos(model)
        return Measured(numbers=numbers, intervals=intervals, curves=curves, n_prompts=len(target))

    def _words(self, model: Member) -> list[str]:
        """The labels as they stand in the prompt."""
        prompt, tokenizer = model.prompt, model.model.tokenizer
        rows = zip(prompt.label_words, prompt.label_mask, strict=True)
        return [tokenizer.decode(tokens[mask].tolist()).strip() for tokens, mask in rows]

    def _by_demos(self, model: Member) -> dict[str, Curve]:
        """Accuracy over the number of demonstrations; the context is encoded once."""
        counts = [k for k in self.by_demos if 0 <= k <= model.prompt.n_demos]
        if len(counts) < 2:
            return {}
        prefix, ends = model.model.encode_context(model.prompt)
        lm, reader = model.model.weights()
        correct, raw = [], []
        for k in counts:
            found = read(lm, reader, model.prompt, prefix.crop(ends[k]), scoring=model.model.scoring).label_logits
            correct.append(share(calibrated(found) == model.sample.target))
            raw.append(share(found.argmax(-1) == model.sample.target))
        curve = Curve(
            kind="line", title="Accuracy over demonstrations", x_label="demonstrations, k", y_label="accuracy",
            x=counts, model=[correct], reference=[raw], reference_label="raw", model_label="calibrated",
        )  # fmt: skip
        return {"accuracy_by_demonstrations": curve}


def share(right: Tensor) -> float:
    mean: Float[Tensor, ""] = right.to(torch.float64).mean()
    return mean.item()
