"""Go on with the training of a model that can already do something: from another run's weights, or a pretrained one.

It is `reproduce` for an experiment with claims, and `train` without; what it adds is that there is something to start
from: `start=DIR`, a mapping of what to train before (`icl/config/start.py`), or a pretrained model.
"""

from typing import Any

from icl.config import ConfigError
from icl.pipelines import reproduce, train


def run(cfg: Any, *, in_sweep: bool = False) -> dict[str, float]:
    """Returns what `reproduce` does, or `train` where nothing is claimed.

    Raises:
        ConfigError: the training would begin with drawn weights.
    """
    if cfg.tag is None and cfg.start is None and not cfg.model.get("pretrained"):
        raise ConfigError(
            "nothing to finetune: state start=outputs/NAME/ID (a finished run), a pretrained model, or an experiment "
            "that has one (experiment=context_small_llama)"
        )
    pipeline = reproduce if cfg.claims or cfg.tag is not None else train
    return pipeline.run(cfg, in_sweep=in_sweep)
