"""Trained models without their run folder: a directory of two files, which anybody loads by its path or hub id.

    save_pretrained("outputs/run/latest", "my_model");   model = from_pretrained("my_model")

    config.json         what to build (`_target_` and arguments), dtype, seeds, and the task and objective for reference
    model.safetensors   the weights, leading axis M: one member a seed

Nothing in the directory is code: weights are safetensors, and `_target_` is checked against the lab's allow-list.
The hub is asked only for an id that is no directory, and by `push_to_hub`, with the user's own token.
"""

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from icl.atomic import write_bytes, write_json
from icl.config import ConfigError, build, torch_dtype
from icl.config.build import resolve_device
from icl.config.schema import plain
from icl.runs import Run, RunError, load

FORMAT = 1
CONFIG, WEIGHTS = "config.json", "model.safetensors"
SUPPLIED = ("n_seeds", "device", "dtype")  # arguments of a model that no configuration states


def save_pretrained(
    model: Any, directory: str | Path, *, config: Mapping[str, Any] | None = None, seeds: Sequence[int] | None = None
) -> Path:
    """Write a run (its folder, or what `icl.load` gives) or a model of the lab to `directory`.

    A model that did not come from a run needs the constructor arguments in `config`, unless it keeps each of them as an
    attribute of the same name, as most models here do.

    Raises:
        ConfigError: an argument of the constructor is neither in `config` nor an attribute.
    """
    if isinstance(model, str | Path):
        model = load(model)
    about: dict[str, Any] = {"format": FORMAT, "library": "icl-lab"}
    if isinstance(model, Run):
        cfg, run, model = model.config, model, model.model
        node = plain(cfg.model)
        about |= {"seeds": run.result["seeds"], "loss_name": run.result["loss_name"],
                  "final_loss": run.result["final_loss"], "task": plain(cfg.task), "objective": plain(cfg.objective),
                  "name": cfg.name, "run": run.folder.id}  # fmt: skip
    else:
        node = {"_target_": f"{type(model).__module__}.{type(model).__qualname__}"} | dict(config or arguments(model))
        first = next(model.parameters())
        about |= {"seeds": list(range(first.shape[0]) if seeds is None else seeds)}
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    first = next(iter(model.parameters()))
    about |= {"model": node, "n_seeds": first.shape[0], "dtype": str(first.dtype).removeprefix("torch.")}
    from safetensors.torch import save

    target = Path(directory)
    target.mkdir(parents=True, exist_ok=True)
    write_bytes(target / WEIGHTS, save(state, {"format": "pt"}))
    write_json(target / CONFIG, about)
    return target


def arguments(model: Any) -> dict[str, Any]:
    """The arguments that `model` was made with, as far as it keeps them."""
    found = {}
    for name, parameter in inspect.signature(type(model)).parameters.items():
        if name in SUPPLIED:
            continue
        if not hasattr(model, name):
            raise ConfigError(f"{type(model).__name__} does not keep argument {name!r}; state all in config={{...}}")
        value = getattr(model, name)
        if value != parameter.default:
            found[name] = value
    return found


def from_pretrained(source: str | Path, *, device: str = "cpu", plugins: Sequence[str] = ()) -> Any:
    """The model saved in a directory, or under an id of the Hugging Face hub (`owner/name`), ready to predict.

    `plugins` are packages of your own whose classes it may build; never taken from the files.

    Raises:
        RunError: there is no such directory or id, or its files do not fit together.
        ConfigError: the class that it names is not allowed.
    """
    folder = Path(source) if Path(source).is_dir() else _download(str(source))
    about = _about(folder)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    model = build(
        about["model"], plugins=plugins, key="model", n_seeds=about["n_seeds"], device=resolve_device(device),
        dtype=torch_dtype(about["dtype"]),
    )  # fmt: skip
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except FileNotFoundError:
        raise RunError(f"{folder} has no {WEIGHTS}") from None
    except (SafetensorError, RuntimeError) as error:
        raise RunError(f"{folder / WEIGHTS} does not fit {CONFIG}: {str(error).splitlines()[-1].strip()}") from None
    return model.requires_grad_(False)


def _about(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        about = json.loads(path.read_text())
    except FileNotFoundError:
        raise RunError(f"{folder} has no {CONFIG}; is it a saved model?") from None
    except ValueError as error:
        raise RunError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise RunError(f"{path} is not of this library, or of another version of its format")
    missing = {"model", "n_seeds", "dtype"} - about.keys()
    if missing:
        raise RunError(f"{path} lacks {', '.join(sorted(missing))}")
    if about["dtype"] not in ("float32", "float64", "bfloat16", "float16"):
        raise RunError(f"{path}: dtype={about['dtype']!r} is unknown")
    return about


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=[CONFIG, WEIGHTS]))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise RunError(f"{name!r} is no directory, and the hub gave nothing: {str(error).splitlines()[0]}") from None


def push_to_hub(model: Any, name: str, *, private: bool = True, **options: Any) -> str:
    """Save as `save_pretrained` does and upload to `name` (owner/name) with your own token; returns the address."""
    import tempfile

    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(model, folder, **options)
        api = HfApi()
        api.create_repo(name, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=name, folder_path=folder))
