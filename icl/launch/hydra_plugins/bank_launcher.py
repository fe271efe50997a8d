"""`hydra/launcher=bank`: all jobs of a sweep in one process, trained as banks, each in the folder of a lone run.

Hydra imports this module at every start of every app, so nothing heavy is imported at its top (and there is no
`from __future__ import annotations`, which breaks dataclasses that Hydra loads before they are in sys.modules).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher


@dataclass
class BankLauncherConf:
    _target_: str = "hydra_plugins.bank_launcher.BankLauncher"


ConfigStore.instance().store(group="hydra/launcher", name="bank", node=BankLauncherConf, provider="icl-lab")


class BankLauncher(Launcher):
    """Validates every job before the first starts, trains all, and names the failing ones at the end."""

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        self.config = config
        self.hydra_context = hydra_context
        self.task_function = task_function

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from icl.launch.sweep import launch

        return launch(self, job_overrides, initial_job_idx)
