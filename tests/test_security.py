"""A run folder runs no code, nothing listens, and no secret is written down."""

import ast
import os
from pathlib import Path

import pytest

import icl
from command import call, finish, start

PACKAGE = Path(icl.__file__).parent
SECRET = "a-key-that-must-not-be-written-0123456789"
RUNS_CODE = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "torch.load", "torch.save", "eval", "exec",
             "torch.hub.load", "numpy.load", "np.load", "os.system", "yaml.load", "yaml.unsafe_load"}  # fmt: skip
LISTENS = {"http.server", "socketserver", "socket", "xmlrpc.server", "asyncio.start_server"}


def names(path: Path) -> set[str]:
    """Dotted names that a module imports, and those that it calls."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and "SafeLoader" not in ast.unparse(node):
            found.add(ast.unparse(node.func))
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_module_reads_code_or_opens_a_port(path):
    assert names(path) & (RUNS_CODE | LISTENS) == set()


def test_the_check_sees_what_it_looks_for(tmp_path):
    path = tmp_path / "x.py"
    path.write_text("import pickle\nfrom torch import load\nimport torch\ntorch.hub.load('x')\nfrom http import server")
    assert names(path) & (RUNS_CODE | LISTENS) == {"pickle", "torch.load", "torch.hub.load", "http.server"}


@pytest.mark.parametrize("target", ["torch.hub.load", "torch.load", "os.system", "builtins.eval", "icl.runs.load"])
@pytest.mark.parametrize("where", ["task", "model", "objective", "tracker", "+references.a", "+comparisons.c"])
def test_no_node_may_name_code(where, target, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    joined = f"{where}._target_={target}"
    finished = call(monkeypatch, capsys, "train", joined if where[0] != "+" else f"{where}={{_target_:{target}}}")
    assert (finished.code, "not allowed" in finished.err, finished.err.count("\n")) == (2, True, 1), finished
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "target",
    ["icl.tracking.wandb.os.mkdir", "icl.tracking.wandb.Path.mkdir", "icl.models.gpt.torch.load",
     "torch.nn.modules.module.torch.hub.load", "torch.optim.optimizer.torch.load", "icl.tracking.wandb.netrc.os.mkdir"],
)  # fmt: skip
def test_what_an_allowed_module_imports_is_not_allowed(target, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    finished = call(monkeypatch, capsys, "train", f"+references.a={{_target_:{target},path:owned}}")
    assert (finished.code, "is not allowed: " in finished.err, finished.err.count("\n")) == (2, True, 1), finished
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["[{_target_:os.mkdir,path:owned}]", "[[{a:{_target_:os.mkdir,path:owned}}]]"])
def test_no_list_may_hide_code(value, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    finished = call(monkeypatch, capsys, "train", "debug=tiny", "tracker=wandb", f"tracker.tags={value}")
    assert (finished.code, "'os.mkdir' is not allowed" in finished.err) == (2, True), finished
    assert list(tmp_path.iterdir()) == []


def test_the_user_s_own_package_may_show_what_it_imports(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/__init__.py").write_text("from mine.tasks import Mine\n")
    (tmp_path / "mine/tasks.py").write_text(
        "from icl.tasks.linear_regression import LinearRegression\n\n\nclass Mine(LinearRegression):\n    pass\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    finished = call(monkeypatch, capsys, "train", "debug=tiny", "plugins=[mine]", "task._target_=mine.Mine")
    assert finished.code == 0, finished


def test_a_pickle_in_place_of_weights_is_refused(tmp_path, monkeypatch, capsys):
    import pickle

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, capsys, "train", "debug=tiny").code == 0
    run = icl.load("outputs/run/latest")
    (run.folder.path / "weights.safetensors").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(icl.runs.RunError, match="truncated or foreign"):
        _ = run.model
    assert not (tmp_path / "owned").exists()


def test_no_secret_reaches_a_file_or_the_terminal(tmp_path, monkeypatch):
    """Not by itself, and not when a configuration asks for it."""
    for key in ("WANDB_API_KEY", "HF_TOKEN", "MY_PASSWORD"):
        monkeypatch.setenv(key, SECRET)
    done = finish(start("train", "debug=tiny", "tracker=wandb", cwd=tmp_path))
    assert done.code == 0, done.err
    for key in ("WANDB_API_KEY", "HF_TOKEN", "MY_PASSWORD"):
        asked = finish(start("train", "debug=tiny", f"question=${{oc.env:{key}}}", cwd=tmp_path))
        assert (asked.code, asked.err.count("\n"), key in asked.err) == (2, 1, True), asked
        assert SECRET not in asked.out + asked.err
    assert SECRET not in done.out + done.err
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert len(files) > 8
    assert not [p for p in files if SECRET.encode() in p.read_bytes()]


def test_other_variables_of_the_environment_may_be_used(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCRATCH", "here")
    assert call(monkeypatch, capsys, "train", "debug=tiny", "paths.outputs=${oc.env:SCRATCH}").code == 0
    assert (tmp_path / "here/run/latest/done.json").exists()
