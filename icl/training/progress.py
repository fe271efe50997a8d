"""Something to look at while a bank trains: a moving bar on a terminal, plain lines elsewhere."""

import sys
import time
from typing import Any

LINE_EVERY = 5.0  # seconds between plain lines


class Progress:
    """Counts steps; the loss is read at most a few times a second, so nothing waits for the device each step."""

    def __init__(self, label: str, total: int, *, start: int = 0, shown: bool = True):
        self.label, self.total, self.done = label, total, start
        self.shown = shown
        self.bar: Any = None
        self.first, self.begun = start, time.monotonic()
        self.next_line = self.begun + 1.0
        if shown and sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=total, initial=start, desc=label, unit="step", dynamic_ncols=True, mininterval=0.2)

    def advance(self, loss: Any) -> None:
        """One more step; `loss` is the tensor of member losses."""
        self.done += 1
        if not self.shown:
            return
        if self.bar is not None:
            if self.bar.update(1):
                self.bar.set_postfix_str(f"loss {_median(loss):.4g}", refresh=False)
        elif time.monotonic() >= self.next_line:
            self._line(loss)

    def _line(self, loss: Any) -> None:
        now = time.monotonic()
        rate = (self.done - self.first) / (now - self.begun)
        left = (self.total - self.done) / rate if rate else float("inf")
        print(
            f"{self.label}: step {self.done}/{self.total}, loss {_median(loss):.4g}, {rate:.0f} steps/s, "
            f"{left:.0f} s left",
            file=sys.stderr,
            flush=True,
        )
        self.next_line = now + LINE_EVERY

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def _median(loss: Any) -> float:
    return float(loss.detach().float().nanmedian())
