"""How the cost of a bank grows in M, d, N and L, measured on a CPU; and arithmetic on what GPUs would do with it.

    python -m icl.benchmarks.constants analysis/benchmarks/scaling.json     # about half a minute
    python analysis/scaling.py [analysis/figures/scaling.png]

Two kinds of numbers, kept apart: MEASURED ones come from the JSON file beside its environment; ARITHMETIC ones are a
roofline with the published rates of one H200 and the measured exponents, and nobody has timed them.
"""

# %% The constants
import json
import math
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

here = Path(__file__).parent
target = Path(sys.argv[1]) if len(sys.argv) > 1 else here / "figures" / "scaling.png"
measured = json.loads((here / "benchmarks" / "scaling.json").read_text())
centre = measured["centre"]

# %% MEASURED: t(v) = a + b v^p along each axis; p is the slope between the two largest sizes once `a` is taken off
exponents = {}
print(f"MEASURED, {measured['environment']}; centre {centre}")
for axis in "MdNL":
    rows = [row for row in measured["rows"] if row["axis"] == axis]
    v = np.array([row[axis] for row in rows], dtype=float)
    t = np.array([row["seconds"] for row in rows])
    slope = math.log(t[-1] / t[-2]) / math.log(v[-1] / v[-2])
    exponents[axis] = slope
    times = ", ".join(f"{x:g}: {1e3 * s:.3g} ms" for x, s in zip(v, t, strict=True))
    print(f"  {axis}: {times}; local exponent at the largest {slope:.2f}")


# %% ARITHMETIC: floating-point operations and bytes of one step, forward and backward (three times the forward)
def flop(M: float, d: float, N: float, L: float, B: float) -> float:
    """One layer reads the context through its (d+1) x (d+1) moments, formed once a prompt; deeper ones walk tokens."""
    moments = 2 * B * N * (d + 1) ** 2
    if L == 1:
        return moments + 6 * M * B * (d + 1) ** 2
    return moments + 3 * L * M * B * (N + 1) * 4 * (d + 1) ** 2


def traffic(M: float, d: float, N: float, L: float, B: float) -> float:
    """Bytes in float32: prompts once, activations of every layer twice, weights and two moments read and written."""
    activations = M * B * (d + 1) * (1 if L == 1 else 2 * L * (N + 1))
    return 4 * (B * N * (d + 1) + 2 * activations + 8 * M * L * (d + 1) ** 2)


# %% ARITHMETIC: one H200 (published: 67 TFLOP/s float32, 4.8 TB/s; assumed: 30 % of the one, 60 % of the other)
FLOPS, BYTES, LAUNCH, LAUNCHES = 0.3 * 67e12, 0.6 * 4.8e12, 2.5e-6, 45  # seconds a node of a CUDA graph; nodes a step


def h200_seconds(**sizes: float) -> float:
    """The slowest of arithmetic, memory and launches."""
    return max(flop(**sizes) / FLOPS, traffic(**sizes) / BYTES, LAUNCHES * sizes["L"] ** 0.5 * LAUNCH)


members = 2 ** np.arange(0, 15)
sizes = {"d": 10, "N": 20, "L": 1, "B": 2048}
rate = np.array([m / h200_seconds(M=float(m), **sizes) for m in members])
knee = members[np.argmax(rate > 0.9 * rate.max())]
print(f"ARITHMETIC, one H200, one layer, {sizes}: {rate[0]:.3g} steps/s alone,")
print(f"  {rate.max():.3g} member-steps/s in a bank of {knee} or more")

# %% ARITHMETIC: a Slurm allocation of 64 such GPUs, a bank each; Poisson preemption, formula and simulation
GPUS, STEPS, START, SAVE = 64, 100_000, 60.0, 0.5  # seconds from the start of a job to its first step; of a checkpoint


def expected(work: float, interval: float, mean: float) -> float:
    """Seconds until `work` seconds of training are saved, when a preemption comes every `mean` seconds on average.

    A piece (its interval and its checkpoint, s seconds in all) that is cut off starts over after START:
        E = (mean + START) (e^{s/mean} − 1)   a piece,   the first START comes on top.
    """
    pieces = math.ceil(work / interval)
    return START + pieces * (mean + START) * math.expm1((interval + SAVE) / mean)


def simulated(work: float, interval: float, mean: float, rng: np.random.Generator) -> float:
    """The same, drawn; a preemption during the start is not drawn, as in the formula."""
    clock, done = START, 0.0
    while done < work:
        until = rng.exponential(mean)
        if until < interval + SAVE:
            clock += until + START
        else:
            clock, done = clock + interval + SAVE, done + interval
    return clock


rng = np.random.default_rng(0)
for total in (4096, 65_536, 1_048_576):
    bank = max(1, math.ceil(total / GPUS))
    work = STEPS * h200_seconds(M=bank, **sizes)
    for mean in (3600.0, 8 * 3600.0):
        interval = min(work, math.sqrt(2 * SAVE * mean))  # Young 1974: the best interval to first order
        drawn = np.mean([simulated(work, interval, mean, rng) for _ in range(400)])
        formula = expected(work, interval, mean)
        print(f"ARITHMETIC, {GPUS} GPUs, {total} members of {STEPS} steps: {work / 60:.1f} min of work each;")
        print(f"  preempted every {mean / 3600:g} h, saved every {interval:.0f} s: {formula / 60:.1f} min expected, "
              f"{drawn / 60:.1f} simulated")  # fmt: skip

# %% The figure
figure = Figure(figsize=(7.0, 2.6), layout="constrained")
left, right = figure.subplots(1, 2)
for axis, colour in zip("MdNL", ("#0072b2", "#d55e00", "#009e73", "#cc79a7"), strict=True):
    rows = [row for row in measured["rows"] if row["axis"] == axis]
    x = [row[axis] / centre[axis] for row in rows]
    left.loglog(x, [1e3 * row["seconds"] for row in rows], "o-", color=colour, markersize=3,
                label=f"{axis}, exponent {exponents[axis]:.2f}")  # fmt: skip
left.set(xlabel="size over that of the centre", ylabel="CPU ms a step", title="measured, one CPU thread")
left.legend(frameon=False, fontsize=7)
right.loglog(members, rate, color="black", linestyle="--", label="one H200")
right.loglog(members, GPUS * rate, color="#0072b2", linestyle="--", label=f"{GPUS} of them")
right.set(xlabel="members a bank (M)", ylabel="member-steps a second", title="arithmetic, not measured")
right.legend(frameon=False, fontsize=7)
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)
    axes.title.set_size(9)
figure.savefig(target, dpi=160)
print(target)
