"""A constant has one copy for each device and type, and none when it is gone."""

import gc

import torch

from icl import constants
from icl.constants import there


def test_one_copy_for_as_long_as_the_constant_lives():
    constant = torch.eye(3, dtype=torch.float64)
    known = len(constants._COPIES)
    copy = there(constant, "cpu", torch.float32)
    assert copy.dtype == torch.float32
    assert torch.equal(copy.double(), constant)
    assert there(constant, torch.device("cpu"), torch.float32) is copy
    assert there(constant, "cpu") is constant
    assert len(constants._COPIES) == known + 1
    del constant
    gc.collect()
    assert len(constants._COPIES) == known
