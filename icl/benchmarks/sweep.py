"""Whole processes, import included: a sweep as one command against its lone runs, memory, and the launcher's share."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from icl.benchmarks.processes import Usage, usages
from icl.benchmarks.settings import Settings
from icl.benchmarks.timing import Row, Spread, Table, Verdict
from icl.config import conf_dir

SWEEP_GOAL, RSS_GOAL, FIRST_STEP_GOAL, LAUNCHER_GOAL = 15.0, 350.0, 4.0, 20.0  # x, MiB, CPU s, ms
LONE = "one run"

FIRST_STEP = """
import sys
from icl.config import Train
from icl.models.linear_attention import LinearAttention
from icl.objectives.last import Last
from icl.tasks.linear_regression import LinearRegression
from icl.training.bank import fit
d, N, B = map(int, sys.argv[1:])
task = LinearRegression(dim=d, n_context=N, inputs="uniform")
fit(task, LinearAttention(dim=d), Last(), Train(steps=1, batch_size=B))
"""
COMPOSE = """
import sys
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from icl.config.app import register_schema
from icl.config.schema import conf_dir
from icl.launch.composing import Composer
how, jobs, *overrides = sys.argv[1:]
register_schema()
with initialize_config_dir(str(conf_dir()), version_base="1.3"):
    loader = GlobalHydra.instance().config_loader()
    compose = Composer(loader, loader.load_configuration("lab", [], RunMode.MULTIRUN))
    for seed in range(int(jobs)):
        (compose if how == "values" else compose.by_hydra)([*overrides, f"seed={seed}"])
"""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is run, how often."""

    settings: Settings
    folder: Path
    members: int = 32
    steps: int = 500
    jobs: int = 100
    rounds: int = 4

    def overrides(self, *more: str) -> list[str]:
        s = self.settings
        dtype = {"fp32": "float32", "bf16": "bfloat16"}[s.dtype]
        return ["task=linear_regression_von_oswald", "train=von_oswald", f"task.dim={s.d}", f"task.n_context={s.N}",
                f"train.batch_size={s.B}", f"device={s.device}", f"dtype={dtype}", "train.stream=shared",
                "progress=false", *more]  # fmt: skip

    def train(self, *more: str) -> list[str]:
        return [str(conf_dir().parent / "scripts" / "train.py"), *self.overrides(*more)]


def run(settings: Settings) -> Iterator[Table]:
    with tempfile.TemporaryDirectory() as folder:
        plan = partial(Plan, settings=settings, folder=Path(folder))
        chosen = plan(members=8, steps=50, rounds=1) if settings.quick else plan()
        if settings.M:
            chosen = replace(chosen, members=max(settings.M))
        yield one_command(chosen)
        yield first_step(chosen)
        if not settings.quick:  # a few milliseconds a job need many jobs
            yield launcher(chosen)


def one_command(plan: Plan) -> Table:
    """Some of the lone runs, and the sweep by the default and by the fast route."""
    length, jobs = f"train.steps={plan.steps}", f"seed=range(0,{plan.members})"
    names = {"one command": "false"} | (
        {"one command, fast route": "true"} if plan.settings.fast_route and not plan.settings.quick else {}
    )
    commands = {LONE: lambda i: plan.train(length, f"seed={i}")} | {
        name: lambda i, fast=fast: plan.train(length, jobs, "launcher=bank", f"train.fast_matmul={fast}")
        for name, fast in names.items()
    }
    used = usages(commands, plan.rounds, plan.folder / "sweep")
    whole = plan.members == Plan.members and plan.steps == Plan.steps
    rows = [_row(LONE, used[LONE], memory(used[LONE], None))]
    for name in names:
        ratio = Spread.of(
            plan.members * a.cpu_seconds / b.cpu_seconds for a, b in zip(used[LONE], used[name], strict=True)
        )
        goal = plan.settings.goal(SWEEP_GOAL) if whole else None
        less = Verdict(what=f"x less CPU time than {plan.members} lone runs", value=ratio, at_least=goal)
        rows.append(_row(name, used[name], less, memory(used[name], plan.settings.goal(RSS_GOAL) if whole else None)))
    note = (
        f"{plan.rounds} of the {plan.members} lone runs were timed, each beside the sweep, and scaled; "
        "every command draws its report (a sweep draws one)"
    )
    return Table(
        title=f"whole processes, {plan.members} models, {plan.steps} steps, shared stream", rows=rows, notes=[note]
    )


def memory(used: list[Usage], goal: float | None) -> Verdict:
    return Verdict(what="MiB at most", value=Spread.of(u.rss_mib for u in used), at_most=goal)


def first_step(plan: Plan) -> Table:
    """From the start of a process to the end of its first step."""
    s = plan.settings
    commands = {
        "import and first step, from Python": lambda i: ["-c", FIRST_STEP, str(s.d), str(s.N), str(s.B)],
        "scripts/train.py, one step and its report": lambda i: plan.train("train.steps=1"),
    }
    used = usages(commands, plan.rounds, plan.folder / "first")
    return Table(
        title="whole processes, one step",
        rows=[
            _row(name, u, Verdict(what="CPU s", value=_seconds(u), at_most=s.goal(FIRST_STEP_GOAL)))
            for name, u in used.items()
        ],
    )


def launcher(plan: Plan) -> Table:
    """A job's share of a sweep of jobs that train one step, against composing the same jobs and nothing else."""
    small = replace(plan, settings=replace(plan.settings, B=8))

    def sweep(jobs: int) -> list[str]:
        return small.train("train.steps=1", f"seed=range(0,{jobs})", "launcher=bank")

    def compose(how: str, jobs: int) -> list[str]:
        return ["-c", COMPOSE, how, str(jobs), *small.overrides("train.steps=1")]

    commands = {}
    for jobs in (1, plan.jobs):
        commands[f"launcher {jobs}"] = lambda i, jobs=jobs: sweep(jobs)
        commands[f"values {jobs}"] = lambda i, jobs=jobs: compose("values", jobs)
        commands[f"hydra {jobs}"] = lambda i, jobs=jobs: compose("hydra", jobs)
    used = usages(commands, max(1, plan.rounds // 2), plan.folder / "launcher")

    def ms_a_job(what: str) -> list[float]:
        many, one = used[f"{what} {plan.jobs}"], used[f"{what} 1"]
        return [1e3 * (a.cpu_seconds - b.cpu_seconds) / (plan.jobs - 1) for a, b in zip(many, one, strict=True)]

    whole, own, hydra = map(ms_a_job, ("launcher", "values", "hydra"))
    goal = plan.settings.goal(LAUNCHER_GOAL) if plan.jobs == Plan.jobs else None

    def row(name: str, what: str, values: list[float], at_most: float | None = None) -> Row:
        return Row(name=name, verdicts=[Verdict(what=what, value=Spread.of(values), at_most=at_most)])

    return Table(
        title=f"launcher, {plan.jobs} jobs of one step",
        rows=[
            row("composing by Hydra alone", "ms a job", hydra),
            row("composing as the launcher does", "ms a job", own),
            row("launcher, all in", "ms a job", whole),
            row("launcher beyond Hydra's composing", "ms a job", [a - b for a, b in zip(whole, hydra)], goal),
            row("launcher beyond its own composing", "ms a job", [a - b for a, b in zip(whole, own)]),
        ],
        notes=["CPU time of a sweep less that of a sweep of one job, a job; its one report is in it"],
    )


def _seconds(used: list[Usage]) -> Spread:
    return Spread.of(u.cpu_seconds for u in used)


def _row(name: str, used: list[Usage], *verdicts: Verdict) -> Row:
    return Row(name=name, seconds=[u.cpu_seconds for u in used], verdicts=verdicts)
