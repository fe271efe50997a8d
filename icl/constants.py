"""Constants of a task, on the device in use: a copy to a GPU waits for everything before it, so it is made once."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

_COPIES: WeakTensorKeyDictionary = WeakTensorKeyDictionary()  # of a constant: {(device, dtype): its copy}


def there(constant: Tensor, device: torch.device | str, dtype: torch.dtype | None = None) -> Tensor:
    """`constant` on `device` (in `dtype`, else its own), one copy for as long as the constant lives."""
    kind = torch.device(device), dtype or constant.dtype
    if kind == (constant.device, constant.dtype):
        return constant  # as a copy of its own it would keep itself alive
    if constant not in _COPIES:
        _COPIES[constant] = {}
    copies: dict[Any, Tensor] = _COPIES[constant]
    if kind not in copies:
        copies[kind] = constant.to(*kind)
    return copies[kind]
