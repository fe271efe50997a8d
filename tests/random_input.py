"""Random command lines and broken configuration files: mostly wrong, some of them valid."""

import random
from pathlib import Path
from typing import Any

from options import composed, options

GROUPS = ("task", "model", "objective", "train", "tracker", "experiment", "debug", "launcher")
VALUES = [
    "0", "-1", "1", "2", "3", "7", "1.5", "-0.5", "0.9", "1e-3", "1e-30", "1e300", "nan", "inf", "-inf",
    "1000000000", "9223372036854775808", "1e30", "true", "false", "null", "''", "abc", "[]", "{}", "[1,2]",
    "[0.9,0.99]", "{a:1}", "'???'", "${seed}", "${no.such}", "${oc.env:HOME}", "${oc.env:WANDB_API_KEY}",
    "${oc.env:NO_SUCH}", "../x", "a/b", "ü", "'a b'", "icl", "os.system", "torch.hub.load", "cpu", "float64",
    "own", "shared", "cosine",
]  # fmt: skip
GARBAGE = [
    "=", "==", "a=", "=1", "a=b=c", "{", "task={", "task=[", "seed='1", "~", "~~seed", "+", "++", "task@x=1",
    "a b", "seed=1 n_seeds=2", "/task=1", "task/=1", "hydra.run.dir=", "${seed}", "seed=${", "\t", "seed=\\",
    "*=1", "task.=1", ".seed=1", "task..dim=1", "seed=1;", "!!python/object:os.system", "seed=0x", "seed=1__2",
]  # fmt: skip
FILES = [
    "", "\t", "a: [", "a: b: c", "- 1\n- 2", "seed", "seed: abc", "seed: [1]", "train: null", "train: 3",
    "task: 7", "task: {_target_: os.system}", "task: {_target_: torch.load}", "task: {_target_: 3}",
    "task: {_target_: ''}", "x: !!python/object/apply:os.system [ls]", "seed: 1\nseed: 2", "? [a]\n: 1", "&a [*a]",
    "a: &a {b: *a}", "defaults:\n  - nosuch: x", "defaults: 3", "defaults:\n  - override /task: nosuch",
    "defaults:\n  - experiment: x", "name: ../../x", "name: ''", "claims: 3", "claims: {c: {metric: 3}}",
    "references: {a: {_target_: icl.nosuch.X}}", "references: [1]", "comparisons: {c: null}", "tags: 3",
    "plugins: [os]", "train: {curriculum: 5}", "hydra: 3", "hydra: {run: {dir: /nosuch}}",
    "train: {curriculum: {a: {x: 1}}}", "question: ${question}", "seed: ${n_seeds}", "paths: x",
    "paths: {outputs: null}", "model: {_target_: icl.models.linear_attention}", "objective: {}",
    "task: {_partial_: true}", "task: {_args_: [1]}", "model: {_recursive_: 3}", "\x00", "\ufeffseed: 1",
    "seed: 1e",
]  # fmt: skip


def leaves(node: Any, prefix: str = "") -> list[str]:
    """Dotted names of all values of a configuration."""
    found = []
    for key, value in node.items():
        found += leaves(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [f"{prefix}{key}"]
    return found


class Wrong:
    """A stream of command lines; `seed` and number decide each, so a failing one can be made again."""

    def __init__(self, seed: int):
        from icl.config.schema import plain

        self.seed = seed
        self.keys = [k for k in leaves(plain(composed())) if not k.startswith("paths.")]

    def line(self, number: int, folder: Path) -> list[str]:
        """The overrides of case `number`; files that they need are written to `folder`."""
        numbers = random.Random(f"{self.seed}/{number}")
        if numbers.random() < 0.15:
            return self.file(numbers, folder)
        return ["debug=tiny", *(self.one(numbers) for _ in range(numbers.choice([1, 1, 2, 3])))]

    def one(self, numbers: random.Random) -> str:
        """One override."""
        kind = numbers.random()
        if kind < 0.15:
            return numbers.choice(GARBAGE)
        if kind < 0.35:
            group = numbers.choice(GROUPS)
            return f"{group}={numbers.choice([*options(group), 'nosuch', *VALUES[:8]])}"
        key = numbers.choice([*self.keys, *GROUPS])
        if kind < 0.45:
            at = numbers.randrange(len(key) + 1)
            key = key[:at] + numbers.choice(["", "x", ".", "_"]) + key[at + numbers.randint(0, 1) :]
        if kind < 0.5:
            return f"~{key}"
        return f"{numbers.choice(['', '', '', '+', '++'])}{key}={numbers.choice(VALUES)}"

    def file(self, numbers: random.Random, folder: Path) -> list[str]:
        """An experiment of the user's own: garbage, or a real one cut, shuffled or flipped."""
        (folder / "experiment").mkdir(parents=True, exist_ok=True)
        kind = numbers.random()
        real = Path(_conf(), "experiment", f"{numbers.choice(options('experiment'))}.yaml").read_bytes()
        if kind < 0.5:
            text = f"# @package _global_\n{numbers.choice(FILES)}\n".encode()
        elif kind < 0.7:
            text = real[: numbers.randrange(len(real))]
        elif kind < 0.85:
            flipped = bytearray(real)
            for _ in range(numbers.randint(1, 4)):
                flipped[numbers.randrange(len(flipped))] ^= 1 << numbers.randrange(8)
            text = bytes(flipped)
        else:
            lines = real.splitlines(keepends=True)
            numbers.shuffle(lines)
            text = b"".join(lines)
        (folder / "experiment" / "x.yaml").write_bytes(text)
        return [f"hydra.searchpath=[file://{folder}]", "experiment=x", "debug=tiny"]


def _conf() -> Path:
    from icl.config import conf_dir

    return conf_dir()
