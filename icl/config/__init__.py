"""Configuration: the schema of the skeleton, the checks before any work, and the wrapper around `hydra.main`."""

from icl.config.app import main
from icl.config.build import build, build_model, torch_dtype
from icl.config.identity import identity
from icl.config.schema import ConfigError, JobFailed, Lab, Paths, Train, conf_dir, nearest
from icl.config.validate import validate

__all__ = [
    "ConfigError",
    "JobFailed",
    "Lab",
    "Paths",
    "Train",
    "build",
    "build_model",
    "conf_dir",
    "identity",
    "main",
    "nearest",
    "torch_dtype",
    "validate",
]
