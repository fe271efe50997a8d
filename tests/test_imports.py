"""Imports point one way; a room never knows the rooms above it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "icl"
LAYERS = [
    {"core", "rng", "atomic", "constants"},
    {"theory"},
    {"tasks", "models", "constructions", "tracking"},
    {"config", "runs", "pretrained"},
    {"objectives", "training"},
    {"algorithms"},
    {"comparisons", "probes"},
    {"claims", "reporting"},
    {"pipelines"},
    {"launch", "benchmarks"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}


def rooms_imported(path: Path) -> set[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module] if node.module != "icl" else [f"icl.{alias.name}" for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("icl.")}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_only_rooms_below(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room == "__init__":
        return
    for other in rooms_imported(path):
        assert LEVEL[other] <= LEVEL[room], f"{room} imports {other}"


def test_analysis_reads_run_folders_only():
    for path in (PACKAGE.parent / "analysis").rglob("*.py"):
        assert rooms_imported(path) <= {"runs"}, path
