"""The wrapper around `hydra.main`: one line and exit code 2 for bad input, and nothing else printed by Hydra."""

import importlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from icl.config.interrupts import Interrupted, interruptible
from icl.config.schema import ConfigError, JobFailed, Lab, conf_dir, nearest
from icl.runs import RunError, digest

SECRET = re.compile("key|token|secret|passw|credential", re.IGNORECASE)  # names of variables that no file may hold


def main(pipeline: str, **defaults: str) -> Callable[[], None]:
    """The entry point of a script: composes, validates, runs `icl.pipelines.<pipeline>.run`.

    The pipeline is imported when a configuration is there to run, so that `--help` need not wait for torch. `defaults`
    are options that the command line takes unless it says otherwise, such as the experiment of a command.
    Exit codes: 0 done, 1 a job or a claim failed, 2 bad input, 130 or 143 interrupted by Ctrl-C or SIGTERM (run again
    to resume).
    """

    def entry() -> None:
        one_thread()
        sys.argv[1:] = arguments(sys.argv[1:], defaults)
        traceback_wanted = os.environ.get("HYDRA_FULL_ERROR") == "1"
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing; `report` prints the one line
        try:
            with interruptible():
                _hydra(pipeline, traceback_wanted)
        except KeyboardInterrupt as asked:
            print("interrupted; the same command resumes", file=sys.stderr)
            raise SystemExit(asked.code if isinstance(asked, Interrupted) else 130) from None
        except Exception as error:
            line = message(error)
            if line is None or traceback_wanted:
                raise
            print(f"error: {line}", file=sys.stderr)
            raise SystemExit(2) from None
        finally:
            if not traceback_wanted:
                del os.environ["HYDRA_FULL_ERROR"]

    return entry


def one_thread() -> None:
    """One CPU thread a process unless OMP_NUM_THREADS says otherwise: for models this small more threads are slower."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def arguments(argv: Sequence[str], defaults: dict[str, str]) -> list[str]:
    """Multirun flags first (argparse takes them nowhere else but last), then the command's own defaults."""
    flags = [a for a in argv if a in ("-m", "--multirun")]
    rest = [a for a in argv if a not in ("-m", "--multirun")]
    chosen = {a.lstrip("+~").split("=")[0] for a in rest}
    own = [f"{key}={value}" for key, value in defaults.items() if not chosen & {key, "tag", "run", "start"}]
    nothing = {f"{key}=null" for key in defaults}  # none of them; Hydra has no way to say it
    return [*flags[:1], *own, *(a for a in rest if a not in nothing)]


def pipeline_of(name: str) -> Any:
    """The module icl/pipelines/<name>.py."""
    return importlib.import_module(f"icl.pipelines.{name}")


def register_schema() -> None:
    """Make `Lab` and the resolver of lab.yaml known to Hydra."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    ConfigStore.instance().store(name="schema", node=Lab)
    if not OmegaConf.has_resolver("digest"):
        OmegaConf.register_new_resolver("digest", lambda value: digest(list(value)))
        OmegaConf.register_new_resolver("oc.env", _environment, replace=True)


def _environment(key: str, *default: Any) -> Any:
    """`${oc.env:SCRATCH}`, but no secret: what a configuration holds is written to run folders and reports."""
    from omegaconf.resolvers import oc

    if SECRET.search(key):
        raise ConfigError(f"${{oc.env:{key}}} would write a secret to the run folder; its library reads it by itself")
    return oc.env(key, *default)


def _hydra(pipeline: str, traceback_wanted: bool) -> None:
    import hydra

    register_schema()

    def job(cfg: Any) -> Any:
        from icl.config.validate import validate

        try:
            validate(cfg)
            return pipeline_of(pipeline).run(cfg)
        except JobFailed as error:
            print(error, file=sys.stderr)
            raise SystemExit(1) from None
        except Exception as error:  # Hydra would put a line of its own above ours
            line = message(error)
            if line is None or traceback_wanted:
                raise
            print(f"error: {line}", file=sys.stderr)
            raise SystemExit(2) from None

    job.__dict__["pipeline"] = pipeline  # the bank launcher trains all jobs together, then runs this on each
    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="lab")(job)()


def message(error: Exception) -> str | None:
    """One line for an error that is the input's fault; None for one that is ours."""
    from hydra.errors import HydraException, MissingConfigException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, ConfigError | RunError):
        return str(error)
    if isinstance(error, MissingConfigException) and error.options:
        name = (error.missing_cfg_file or "").split("/")[-1]
        return f"{error.missing_cfg_file!r} is no option{nearest(name, error.options)}"
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _first_lines(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return _while_composing(error)


def _while_composing(error: Exception) -> str | None:
    """Plain exceptions that Hydra's composition leaves as they are: a broken file, a number where a name should be."""
    rooms = [frame.f_globals.get("__name__", "").split(".")[0] for frame, _ in traceback.walk_tb(error.__traceback__)]
    if [room for room in rooms if room in ("icl", "hydra", "omegaconf", "yaml")][-1:] in ([], ["icl"]):
        return None
    mark = getattr(error, "problem_mark", None)
    where = f"{mark.name}, line {mark.line + 1}: " if mark is not None else ""
    text = getattr(error, "problem", None) or (str(error).splitlines() or [type(error).__name__])[0]
    return f"{where}the configuration cannot be read: {text}"


def _first_lines(error: Exception) -> str:
    """Hydra's own first line, with the key that OmegaConf blames and the nearest key that exists."""
    from omegaconf.errors import OmegaConfBaseException

    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    text = str(error).splitlines()[0]
    if not isinstance(cause, OmegaConfBaseException):
        return text
    key = cause.full_key or ""
    text = str(cause).splitlines()[0] if str(cause) else text
    parent = cause.parent_node
    known = [str(k) for k in parent] if parent is not None and hasattr(parent, "keys") else []
    hint = nearest(str(cause.key), known) if known and f"{cause.key}" not in known else ""
    return f"{key}: {text}{hint}" if key and key not in text else f"{text}{hint}"
