"""How much heavier the tails of one run's gradient noise are than another's."""

from dataclasses import asdict, dataclass
from typing import ClassVar

from icl.comparisons.measured import Measured
from icl.probes.gradient_noise import GradientNoise
from icl.rng import Draw
from icl.runs import Run


@dataclass(frozen=True, kw_only=True)
class NoiseRatio:
    """Numbers of `GradientNoise` at the same step: those of the reference over those of the run, member by member.

    `robust_condition_mean` is the mean over members of that ratio, the same for all.
    """

    numbers: ClassVar[tuple[str, ...]] = (*GradientNoise.numbers, "robust_condition_mean")
    step: int
    batch_size: int = 16
    n_prompts: int = 16_000
    n_curvature: int = 300

    def __post_init__(self) -> None:
        GradientNoise(**asdict(self))

    def measure_runs(self, run: Run, reference: Run, draw: Draw) -> Measured:
        noise = GradientNoise(**asdict(self))
        own, other = (noise.measure_run(r, draw) for r in (run, reference))
        ratios = {name: other.numbers[name] / own.numbers[name] for name in GradientNoise.numbers}
        condition = ratios["robust_condition"]
        return Measured(
            numbers=ratios | {"robust_condition_mean": condition.mean().expand(len(condition))},
            curves={"tail": own.curves["tail"], "reference_tail": other.curves["tail"]},
        )
