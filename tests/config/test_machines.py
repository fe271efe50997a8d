"""What a cluster may be asked for, and how ranks are described: every option, and what is refused."""

import pytest

from icl.config import ConfigError, identity, validate
from icl.config.machines import Accelerate, Cluster, read
from icl.config.schema import plain
from options import composed, options

FSDP = {"fsdp2": ["devices=2"], "fsdp2_multi_node": ["devices=2"]}


@pytest.mark.parametrize("option", options("cluster"))
def test_every_cluster_is_checked_and_is_no_part_of_a_run(option):
    cfg = composed(f"cluster={option}")
    validate(cfg)
    assert isinstance(read(Cluster, "cluster", plain(cfg.cluster)), Cluster)
    assert identity(cfg) == identity(composed())


@pytest.mark.parametrize("option", options("accelerate"))
def test_every_way_to_train_a_large_model_is_checked_and_is_a_part_of_a_run(option):
    cfg = composed(f"accelerate={option}", *FSDP.get(option, []))
    validate(cfg)
    found = read(Accelerate, "accelerate", plain(cfg.accelerate))
    assert found.sharding == ("fsdp2" if option in FSDP else "none")
    assert found.mixed_precision == ("no" if option == "multi_cpu" else "bf16")
    assert found.nodes == (4 if option == "fsdp2_multi_node" else 1)
    assert identity(cfg) != identity(composed())


@pytest.mark.parametrize("option", options("launcher"))
def test_every_launcher_composes(option):
    if option == "optuna":
        pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="needs the extra `optuna`")
    validate(composed(f"launcher={option}"))


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["cluster=slurm_cpu", "cluster.minutes=0"], "cluster.minutes=0 must be an integer >= 1"),
        (["cluster=slurm_cpu", "cluster.partition='a\nrm -rf'"], "must be one word"),
        (["cluster=slurm_cpu", "cluster.partition='a;b'"], "must be one word"),
        (["cluster=slurm_cpu", "+cluster.sbatch.exclude='$(id)'"], "must be one word"),
        (["cluster=slurm_cpu", "cluster.executor=pbs"], "cluster.executor='pbs' is unknown"),
        (["cluster=slurm_cpu", "+cluster.setup=x"], "cluster.setup is unknown"),
        (["accelerate=fsdp2"], "needs more than one rank"),
        (["accelerate=multi_gpu", "devices=3"], "must be a multiple of ranks x accumulation = 3"),
        (["train.cuda_graph=true"], "train.cuda_graph=True needs device=cuda"),
        (["train.matmul=tf32"], "train.matmul=tf32 needs device=cuda"),
        (["devices=0"], "devices=0 must be >= 1"),
        (["accelerate=single_gpu", "accelerate.mixed_precision=fp8"], "mixed_precision='fp8' is unknown"),
        (["accelerate=single_gpu", "+accelerate.optimizer={_target_: os.system}"], "must be of torch.optim"),
        (["accelerate=single_gpu", "+accelerate.optimizer={_target_: torch.optim.Rprop}"], "takes no weight_decay"),
    ],
)
def test_what_cannot_run_is_refused(overrides, says):
    with pytest.raises(ConfigError) as refused:
        validate(composed(*overrides))
    assert says in str(refused.value)
