"""`hydra/launcher=bank`: all jobs of a sweep in one process, trained as banks, each in the folder of a lone run.

`hydra/sweeper=bank` is Hydra's basic sweeper, which would compose every job once more before this launcher does.

Hydra imports this module at every start of every app, so nothing heavy is imported at its top (and there is no
`from __future__ import annotations`, which breaks dataclasses that Hydra loads before they are in sys.modules).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_store import ConfigStore
from hydra_plugins._sweeping_launcher import SweepingLauncher


@dataclass
class BankLauncherConf:
    _target_: str = "hydra_plugins.bank_launcher.BankLauncher"


@dataclass
class BankSweeperConf(BasicSweeperConf):
    _target_: str = "hydra_plugins.bank_launcher.BankSweeper"


ConfigStore.instance().store(group="hydra/launcher", name="bank", node=BankLauncherConf, provider="icl-lab")
ConfigStore.instance().store(group="hydra/sweeper", name="bank", node=BankSweeperConf, provider="icl-lab")


class BankLauncher(SweepingLauncher):
    """Validates every job before the first starts, trains all, and names the failing ones at the end."""


class BankSweeper(BasicSweeper):
    """Leaves the check of a batch to the bank launcher, which composes and validates every job before any starts."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        if not isinstance(self.launcher, BankLauncher):
            super().validate_batch_is_legal(batch)
