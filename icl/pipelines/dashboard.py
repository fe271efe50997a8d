"""`scripts/lab dashboard experiment=NAME`: its W&B dashboard and report, to a file (no account) or created in one."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from icl.config import ConfigError, nearest
from icl.pipelines.catalogue import claims_of, composed, heads
from icl.tracking import wandb_views as views

WITHOUT = {"project": "icl-lab", "entity": "", "file": "", "create": "false"}


def dashboard(argv: Sequence[str]) -> None:
    """Write both views to `file=` (default NAME.wandb.json), or with create=true save them in `entity=`'s project.

    Raises:
        ConfigError: an unknown experiment or argument, the extra is not installed, or W&B refuses.
    """
    asked = read(argv)
    try:
        import wandb_workspaces  # noqa: F401 (is it there?)
    except ModuleNotFoundError:
        raise ConfigError("dashboard needs the extra `wandb-report`: pip install 'icl-lab[wandb-report]'") from None
    shown = shown_of(asked["experiment"])
    where = {"entity": asked["entity"] or "entity", "project": asked["project"]}
    made = [views.workspace(shown, **where), views.report(shown, **where)]
    if asked["create"] == "true":
        create(made)
        return
    file = Path(asked["file"] or f"{shown.name}.wandb.json")
    text = json.dumps(dict(zip(("workspace", "report"), views.as_json(made), strict=True)), indent=1)
    try:
        file.write_text(text)
    except OSError as error:
        raise ConfigError(f"file={file}: {error.strerror}") from None
    print(f"dashboard and report: {file}; with an account: create=true entity=NAME")


def read(argv: Sequence[str]) -> dict[str, str]:
    """The arguments over their defaults."""
    asked = WITHOUT | {"experiment": ""}
    for argument in argv:
        key, equals, value = argument.partition("=")
        if not equals or key not in asked:
            raise ConfigError(f"{argument!r} is unknown{nearest(key, asked)}")
        asked[key] = value
    if asked["create"] not in ("true", "false"):
        raise ConfigError(f"create={asked['create']} must be true or false")
    if asked["create"] == "true" and not asked["entity"]:
        raise ConfigError("create=true needs entity=NAME, your W&B user or team")
    return asked


def shown_of(name: str) -> views.Shown:
    """An experiment as the views show it."""
    known = heads()
    if name not in known:
        raise ConfigError(f"experiment={name!r} does not exist{nearest(name, known)}")
    claims = {id: (c.metric, str(c.bound), c.source or "") for id, c in claims_of(composed(name)).items()}
    return views.Shown(name=name, head=known[name], claims=claims)


def create(made: Sequence[Any]) -> None:
    """Save the views in the account that W&B's own key opens; prints where they are."""
    for view in made:
        try:
            view.save()
        except Exception as error:  # the library raises Exception itself when there is no key
            raise ConfigError(f"W&B did not take it: {str(error).splitlines()[0]}") from None
        print(view.url)
