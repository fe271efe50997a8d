"""The skeleton refuses impossible values in one line."""

import math

import pytest

from icl.config import ConfigError, Train


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": -1}, "train.steps=-1"),
        ({"batch_size": 0}, "train.batch_size=0"),
        ({"lr": math.nan}, "train.lr=nan"),
        ({"weight_decay": math.nan}, "train.weight_decay=nan"),
        ({"betas": [0.9, 7.0]}, "train.betas"),
        ({"betas": [0.9]}, "train.betas"),
        ({"clip": 0.0}, "train.clip=0.0"),
        ({"hold": 1.0}, "train.hold=1.0"),
        ({"momentum": 1.0}, "train.momentum=1.0"),
        ({"max_seconds": -1.0}, "train.max_seconds=-1.0"),
        ({"optimizer": "adaam"}, "did you mean 'adam'"),
        ({"optimizer": "muon"}, "mix the members"),
        ({"optimizer_options": {"r": 1}}, "not for adam"),
        ({"schedule": "restarts"}, "needs restart_every"),
        ({"restart_every": 5}, "only it does"),
        ({"clip_share": 1.0}, "train.clip_share=1.0"),
        ({"adaptive_clip": -1.0}, "train.adaptive_clip=-1.0"),
        ({"gradient_noise": math.inf}, "train.gradient_noise=inf"),
        ({"cuda_graph": True, "optimizer": "lion"}, "optimizer=lion"),
        ({"cuda_graph": True, "gradient_noise": 0.1}, "gradient_noise=0.1"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"stream": "mine"}, "train.stream='mine'"),
        ({"curriculum": {"task.n_context": 5}}, "train.curriculum.task.n_context"),
        ({"curriculum": {"task.n_context": {-1: 5}}}, "train.curriculum.task.n_context"),
    ],
)
def test_a_bad_field_is_named_with_what_is_allowed(fields, message):
    with pytest.raises(ConfigError, match=message) as error:
        Train(**fields)
    assert "\n" not in str(error.value)
