"""A sweep's configurations equal, one by one, what Hydra composes for the job alone."""

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf, open_dict

from icl.config import conf_dir
from icl.config.app import register_schema
from icl.launch.composing import Composer, nested


@pytest.fixture(scope="module")
def loader():
    register_schema()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


@pytest.fixture(scope="module")
def master(loader):
    return loader.load_configuration("lab", [], RunMode.MULTIRUN)


SWEEPS = {
    "values": [["seed=0", "train.lr=0.1"], ["seed=1", "train.lr=1e-3"], ["seed=1", "train.lr=null"]],
    "types": [["name=a", "progress=true", "train.clip=1"], ["name='b c'", "progress=false", "train.clip=null"]],
    "groups": [["task=linear_regression", "seed=0"], ["task=linear_regression_von_oswald", "seed=1"]],
    "own fields of a group": [["task.dim=3", "train=von_oswald", "seed=0"], ["task.dim=4", "train=default", "seed=1"]],
    "a group and its fields": [["train.lr=1", "train=von_oswald"], ["train.lr=2", "train=von_oswald"]],
    "a dict for a group": [["train={lr: 1}", "train.lr=2"], ["train={lr: 1}", "train.lr=3"]],
    "mounted": [
        ["+algorithm@references.a=ridge", "references.a.ridge=1"],
        ["+algorithm@references.a=ridge", "references.a.ridge=2"],
    ],
    "lists and dicts": [["task.covariance_spectrum=[1,2]", "seed=1"], ["task.covariance_spectrum=[3]", "seed=2"]],
    "added, removed": [["+extra=1", "~tag", "seed=1"], ["+extra=2", "~tag", "seed=2"]],
    "references": [["task.dim=${seed}", "seed=1"], ["task.dim=${n_seeds}", "seed=2"], ["task.dim=3", "seed=4"]],
    "a dict over a value": [["task.dim=3", "task={dim: 4}"], ["task.dim=5", "task={dim: 6}"]],
    "one in another": [["paths=null", "paths.outputs=a"], ["paths.outputs=b", "paths.outputs=c"]],
    "Hydra's own": [["hydra.job.chdir=true", "seed=1"], ["hydra.job.chdir=false", "seed=2"]],
    "experiment": [["experiment=one_step_is_optimal", "seed=3"], ["experiment=one_step_is_optimal", "seed=4"]],
}


@pytest.mark.parametrize("name", SWEEPS)
def test_every_job_is_composed_as_by_hydra(loader, master, name):
    compose = Composer(loader, master)
    for overrides in SWEEPS[name]:
        try:
            expected = loader.load_sweep_config(master, list(overrides))
        except HydraException as error:
            with pytest.raises(type(error), match=str(error)[:20]):
                compose(overrides)
            continue
        found, found_hydra = compose(overrides), compose.hydra(overrides)
        node = OmegaConf.masked_copy(expected, "hydra")
        with open_dict(expected):
            expected.pop("hydra")
        assert OmegaConf.to_yaml(found) == OmegaConf.to_yaml(expected)
        assert OmegaConf.to_yaml(found_hydra) == OmegaConf.to_yaml(node)
        assert OmegaConf.is_struct(found) == OmegaConf.is_struct(expected)
        OmegaConf.update(found, "task.dim", 77)  # a job never changes the next


def test_hydra_composes_once_for_jobs_that_differ_in_values(loader, master, monkeypatch):
    calls = []
    by_hydra = Composer.by_hydra
    monkeypatch.setattr(Composer, "by_hydra", lambda self, o: calls.append(o) or by_hydra(self, o))
    compose = Composer(loader, master)
    for seed in range(3):
        for task in ("linear_regression", "linear_regression_von_oswald"):
            compose([f"seed={seed}", f"task={task}", f"task.dim={seed + 1}", "train=von_oswald", "train.lr=1e-3"])
    assert len(calls) == 2


def test_a_wrong_value_is_refused_in_hydras_words(loader, master):
    compose = Composer(loader, master)
    compose(["seed=0"])
    with pytest.raises(HydraException, match="seed=abc"):
        compose(["seed=abc"])


@pytest.mark.parametrize(
    ("keys", "expected"), [(["a", "b"], False), (["a", "a"], True), (["a.b", "a"], True), (["a", "ab"], False)]
)
def test_nested_keys(keys, expected):
    assert nested(keys) == expected
