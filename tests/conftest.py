"""One thread, one float64 draw, and runs that stay in the test's own folder."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch

from icl.rng import Draw

torch.set_num_threads(1)


@pytest.fixture
def draw() -> Draw:
    """A lone float64 stream."""
    return Draw([0], "test", dtype=torch.float64)


def pytest_collection_modifyitems(items):
    """`gpu` tests say so when there is nothing to run them on."""
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))
