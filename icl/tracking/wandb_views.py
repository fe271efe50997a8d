"""A W&B dashboard (a saved workspace) and a report of one experiment, as code. Needs the extra `wandb-report`.

Both are built without an account; `as_json` is what W&B's server would be sent. Saving them needs one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FINAL = "final_loss/median"
SWEPT = ("train.lr", "train.batch_size", "train.weight_decay")
PER_SEED = "^loss/seed_"


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the views are about: an experiment, the head of its file, and its claims (id -> metric, bound, source)."""

    name: str
    head: Mapping[str, str]
    claims: Mapping[str, tuple[str, str, str]]

    @property
    def metrics(self) -> list[str]:
        """What the claims judge, each once."""
        return list(dict.fromkeys(metric for metric, _, _ in self.claims.values()))


def workspace(shown: Shown, *, entity: str, project: str) -> Any:
    """Losses, what the claims judge, tables and figures, and what a sweep varied; runs in groups, by job type."""
    import wandb_workspaces.workspaces as ws

    named = {
        "Loss": losses(),
        "Claims": [table("claims"), *judged(shown)],
        "Figures": figures(),
        "Sweep": swept(),
    }
    sections = [ws.Section(name=name, panels=panels, is_open=name != "Sweep") for name, panels in named.items()]
    runs = ws.RunsetSettings(
        filters=f"Config('name') = '{shown.name}'",
        groupby=[ws.Metric("Group"), ws.Metric("JobType")],
    )
    return ws.Workspace(entity=entity, project=project, name=shown.name, sections=sections, runset_settings=runs)


def report(shown: Shown, *, entity: str, project: str) -> Any:
    """The experiment's question, its claims with bounds and sources, and the panels that show them."""
    import wandb_workspaces.reports.v2 as wr

    runs = wr.Runset(name=shown.name, filters=f"Config('name') = '{shown.name}'", groupby=["group"])
    lines = [
        f"{claim}: `{metric}` {bound}" + (f" ({source})" if source else "")
        for claim, (metric, bound, source) in shown.claims.items()
    ]
    blocks: list[Any] = [wr.TableOfContents()]
    for name in ("Question", "Source", "Expect"):
        if name in shown.head:
            blocks += [wr.H2(text=name), wr.P(text=shown.head[name])]
    blocks += [wr.H2(text="What it must show"), wr.MarkdownBlock(text="\n".join(f"- {line}" for line in lines))]
    for name, panels in {
        "Training": losses(), "Claims": [table("claims"), *judged(shown)], "Figures": figures(), "Sweep": swept(),
    }.items():  # fmt: skip
        blocks += [wr.H2(text=name), wr.PanelGrid(runsets=[runs], panels=panels)]
    if "Run" in shown.head:
        blocks += [wr.H2(text="How to run it"), wr.MarkdownBlock(text=f"```\n{shown.head['Run']}\n```")]
    title = shown.name.replace("_", " ")
    return wr.Report(
        entity=entity, project=project, title=title, description=shown.head.get("Question", ""), blocks=blocks
    )


def losses() -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    return [
        wr.LinePlot(title="Loss, median over seeds", x="Step", y=["loss/median"], log_y=True),
        wr.LinePlot(title="Loss, every seed", x="Step", metric_regex=PER_SEED, log_y=True),
    ]


def judged(shown: Shown) -> list[Any]:
    """The median over seeds of every number that a claim judges."""
    import wandb_workspaces.reports.v2 as wr

    return [wr.BarPlot(title=metric, metrics=[wr.SummaryMetric(f"{metric}/median")]) for metric in shown.metrics]


def figures() -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    return [wr.MediaBrowser(title="Report", media_keys=["report"], num_columns=1)]


def table(name: str) -> Any:
    import wandb_workspaces.reports.v2 as wr

    return wr.WeavePanelSummaryTable(table_name=name)


def swept() -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    axes = [wr.ParallelCoordinatesPlotColumn(metric=wr.Config(key)) for key in SWEPT]
    axes.append(wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(FINAL)))
    return [
        wr.ParallelCoordinatesPlot(title="What was swept", columns=axes),
        wr.ParameterImportancePlot(with_respect_to=FINAL),
        table("jobs"),
    ]


def as_json(views: Sequence[Any]) -> list[Any]:
    """The views as W&B's server would get them (a private method of the library makes it), without one."""
    return [view._to_model().model_dump(mode="json", by_alias=True) for view in views]
