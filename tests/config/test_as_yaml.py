"""config.yaml is read back by OmegaConf as it was written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from icl.config.yaml_text import as_yaml
from options import composed

VALUES = ["1e-3", "1_000", "0x10", ".5", "-1", "1:30", "2020-01-01", "true", "No", "off", "null", "~", "", " a", "a: b",
          "#a", "'", '"', "[1]", "{a}", "é", "nan", ".nan", ".inf", "-.inf", "inf", "+1", "-", "1e-3x", 1e-10, 1e300, 3,
          0.1, None, True, [], {}, [1, [2.0, "x"]], {"a": {"b": None}}, {1: 2}]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_survives(tmp_path, value):
    path = tmp_path / "config.yaml"
    path.write_text(as_yaml({"key": value}), encoding="utf-8")
    found = OmegaConf.to_container(OmegaConf.load(path))["key"]
    assert found == value
    assert type(found) is type(value)


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=8))
def test_a_text_survives(text):
    if "${" not in text:
        assert OmegaConf.to_container(OmegaConf.create(as_yaml({"key": text})))["key"] == text


def test_a_configuration_survives():
    cfg = composed("task=linear_regression_von_oswald")
    assert OmegaConf.create(as_yaml(cfg)) == OmegaConf.to_container(cfg, resolve=True)
