"""What a command says instead of a traceback."""

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """A configuration that cannot run: one line that says what, where and what is allowed."""


class JobFailed(RuntimeError):
    """A job or a claim failed, and what there is to say was printed: exit code 1."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`; nearest known: 'x'; known: a, b, c` for an error line."""
    known = sorted(known)
    if not known:
        return ""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} (known: {', '.join(known)})"
