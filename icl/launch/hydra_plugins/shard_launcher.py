"""`hydra/launcher=slurm`, `slurm_bank` and `local_processes`: the bank launcher, with its jobs trained elsewhere.

Hydra imports this module at every start of every app, so nothing heavy is imported at its top.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra_plugins._sweeping_launcher import SweepingLauncher


@dataclass
class LocalProcessesConf:
    _target_: str = "hydra_plugins.shard_launcher.LocalProcessesLauncher"
    n_processes: int | None = None  # null: the cores that this process may use


@dataclass
class SlurmConf:
    _target_: str = "hydra_plugins.shard_launcher.SlurmLauncher"
    dry: bool = False  # print the sbatch script and submit nothing
    members: int = 0  # of one Slurm job at most; 0: one job of the sweep each


@dataclass
class SlurmBankConf(SlurmConf):
    members: int = 64


for name, node in (("local_processes", LocalProcessesConf), ("slurm", SlurmConf), ("slurm_bank", SlurmBankConf)):
    ConfigStore.instance().store(group="hydra/launcher", name=name, node=node, provider="icl-lab")


class LocalProcessesLauncher(SweepingLauncher):
    """One bank shard a core: processes, not OpenMP threads."""

    def __init__(self, *, n_processes: int | None = None):
        self.n_processes = n_processes

    def elsewhere(self, pipeline: str, jobs: Sequence[Any]) -> dict[str, Any]:
        """Job key -> Outcome."""
        from icl.launch.processes import over_processes

        return over_processes(pipeline, jobs, self.n_processes)


class SlurmLauncher(SweepingLauncher):
    """One Slurm job a shard, with what `cluster=` asks for."""

    def __init__(self, *, dry: bool = False, members: int = 0):
        self.dry, self.members = dry, members

    def elsewhere(self, pipeline: str, jobs: Sequence[Any]) -> dict[str, Any]:
        """Job key -> Outcome."""
        from icl.launch.shards import cut
        from icl.launch.slurm import over_cluster

        folder = Path(str(self.config.hydra.sweep.dir)) / "slurm"
        return over_cluster(pipeline, cut(jobs, self.members), folder, dry=self.dry)
