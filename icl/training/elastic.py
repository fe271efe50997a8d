"""Ranks inside a job: Hydra stays outside, `devices` processes train one run folder, the caller waits.

Started under Hydra's own process every rank would compose, name and make folders for itself. So the ranks are started
here, by torch elastic, with a finished configuration; what they leave is found in the folder.
On one machine the ranks meet in files and talk over the loopback device, so nothing listens to the network.
"""

import logging
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PORTS = range(20000, 30000)  # where the nodes of Slurm job j meet: the j-th, unless LAB_RENDEZVOUS says otherwise
ALONE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}  # torch would open a port on every interface
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}


class RanksFailed(RuntimeError):
    """A rank died; the same command resumes from the last checkpoint."""


def over_ranks(function: Callable[..., Any], *arguments: Any, devices: int, nodes: int = 1, device: str = "cpu") -> Any:
    """`function(*arguments)` in devices x nodes processes of one process group; returns what its first rank returned.

    The function must be importable by name. With several nodes this is called once on each; they meet at
    LAB_RENDEZVOUS (host:port), by default at the first host of the Slurm job.

    Raises:
        RanksFailed: a rank raised or was killed; the others were stopped.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for name in ("torch.distributed.elastic", "torch.multiprocessing.spawn"):  # the error below says it in one line
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="lab-ranks-") as folder, environment(ALONE if nodes == 1 else {}):
        files = {"rdzv_endpoint": f"{folder}/agent", "rdzv_configs": {"store_type": "file"}, "local_addr": "127.0.0.1"}
        meet: dict[str, Any] = files if nodes == 1 else {"rdzv_endpoint": rendezvous()}
        config = LaunchConfig(
            min_nodes=nodes, max_nodes=nodes, nproc_per_node=devices, max_restarts=0, start_method="spawn",
            run_id=os.environ.get("SLURM_JOB_ID", "lab"), rdzv_backend="c10d", **meet,
        )  # fmt: skip
        try:
            returned = elastic_launch(config, _rank)(function, arguments, device, folder if nodes == 1 else None)
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            raise RanksFailed(f"rank {rank} of {devices * nodes}: {_said(failure)}") from None
        except SignalException as stop:
            if stop.sigval == signal.SIGINT:
                raise KeyboardInterrupt from None
            raise SystemExit(128 + stop.sigval) from None
    return returned[min(returned)]


def _rank(function: Callable[..., Any], arguments: tuple[Any, ...], device: str, folder: str | None) -> Any:
    """One process of the group."""
    import torch
    from torch import distributed
    from torch.distributed.elastic.multiprocessing.errors import record

    rank, ranks, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    os.environ.update(LOOPBACK if folder is not None else {})
    where = "env://" if folder is None else Path(folder, "ranks").as_uri()
    if device != "cpu":
        torch.cuda.set_device(local)
    backend = "gloo" if device == "cpu" else "cpu:gloo,cuda:nccl"
    distributed.init_process_group(backend, rank=rank, world_size=ranks, init_method=where)
    try:
        return record(function)(*arguments)
    finally:
        distributed.destroy_process_group()


def _said(failure: Any) -> str:
    """The last line of what the rank raised, or the signal that ended it."""
    said = failure.message if isinstance(failure.message, str) else str(failure.message.get("message", ""))
    return said.strip().splitlines()[-1] if said.strip() else f"exit code {failure.exitcode}"


def rendezvous() -> str:
    """host:port where the nodes of one job meet.

    Raises:
        RanksFailed: this is no Slurm job, and nobody says where.
    """
    if (stated := os.environ.get("LAB_RENDEZVOUS")) is not None:
        return stated
    if "SLURM_JOB_NODELIST" not in os.environ:
        raise RanksFailed("accelerate.nodes > 1 outside of Slurm: state LAB_RENDEZVOUS=host:port on every node")
    import subprocess

    nodes = ["scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]]
    first = subprocess.run(nodes, capture_output=True, text=True, check=True).stdout.split()[0]
    return f"{first}:{PORTS[int(os.environ['SLURM_JOB_ID']) % len(PORTS)]}"  # another job may have the same first node


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
