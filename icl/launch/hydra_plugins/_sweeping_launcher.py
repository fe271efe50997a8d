"""What the launchers of the lab share: all jobs of a sweep go to `icl.launch.sweep` at once.

Hydra skips a module with this name when it looks for plugins; the launchers beside it import it.
"""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher


class SweepingLauncher(Launcher):
    """Composes and checks every job before the first starts; a subclass with `elsewhere` says where they run."""

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        self.config = config
        self.hydra_context = hydra_context
        self.task_function = task_function

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from icl.launch.sweep import launch

        return launch(self, job_overrides, initial_job_idx)
