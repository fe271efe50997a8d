"""Which tasks diverge when steps go on: those whose residual I − A S has an eigenvalue outside the unit circle.

For A = ηI these are the tasks with λ_max(S/n) > 2/η. However few they are, they carry the mean over tasks after
enough steps, while the median goes on falling; so the mean is never shown without their share.
"""

import warnings

import torch
from jaxtyping import Bool, Float
from torch import Tensor

TOLERATED = 1e-3  # a share of unstable tasks that a mean over 1,000 tasks does not see


class UnstableSteps(UserWarning):
    """The steps diverge on a share of the tasks that no mean over tasks should hide."""


def unstable(A: Float[Tensor, "*#M D D"], covariances: Float[Tensor, "K D D"]) -> Bool[Tensor, "*#M K"]:
    """Whether (I − A S)^t grows with t."""
    once = torch.eye(A.shape[-1]).to(A) - A[..., None, :, :] @ covariances
    return torch.linalg.eigvals(once).abs().amax(-1) > 1


def warn_if_unstable(share: float, what: str) -> None:
    """UnstableSteps if `what` diverges on more than the tolerated share of the tasks."""
    if share > TOLERATED:
        warnings.warn(
            f"{what} diverges on {100 * share:.3g} % of the tasks (λ_max of its step > 2); "
            "their loss carries the mean when it goes on, so read the median",
            UnstableSteps,
            stacklevel=2,
        )
