"""Signals that ask a command to end: an exit code that the shell knows, and never the middle of an update.

A training holds signals back until it stands between two steps, leaves a checkpoint there, and only then lets them act
(`Held`). What they do is whatever was installed before: ours end the command, a cluster's requeue the job.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM)
HELD = (*ENDING, signal.SIGUSR1, signal.SIGUSR2)  # clusters announce a preemption with one of these


class Interrupted(KeyboardInterrupt):
    """A signal asked this command to end; `code` is 128 + its number, the shell's convention."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


def _here() -> bool:
    """Python handles signals in the main thread only."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM ends the program like Ctrl-C, by an exception; a signal that was ignored (nohup) stays ignored.

    Compiled code in which a signal arrives may put an error of its own in the place of ours: whatever error comes after
    a signal is the signal's.
    """
    asked: list[int] = []

    def end(number: int, frame: Any) -> None:
        asked.append(number)
        raise Interrupted(number)

    before = {n: signal.getsignal(n) for n in ENDING if _here() and signal.getsignal(n) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, end)
    try:
        yield
    except (Exception, SystemExit) as error:
        if asked:
            raise Interrupted(asked[0]) from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Held:
    """Keeps signals that have a Python handler waiting until `deliver`; the second of a kind acts at once."""

    def __init__(self):
        self.waiting: list[int] = []
        self.handlers: dict[int, Callable[..., Any]] = {}

    def __enter__(self) -> "Held":
        found = {number: signal.getsignal(number) for number in HELD} if _here() else {}
        self.handlers = {number: handler for number, handler in found.items() if callable(handler)}
        for number in self.handlers:
            signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: Any) -> None:
        if number not in self.waiting:
            self.waiting.append(number)
            return
        self.waiting.remove(number)
        self.handlers[number](number, frame)

    def deliver(self) -> None:
        """Let what waits act now; returns if its handlers do."""
        while self.waiting:
            number = self.waiting.pop(0)
            self.handlers[number](number, None)

    def __exit__(self, *error: object) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        self.deliver()
