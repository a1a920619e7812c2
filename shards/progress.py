"""How far a long work is: a bar on a terminal; elsewhere, as in the log of CI, one line per minute."""

import os
import sys
import time
from typing import Any, TextIO

from tqdm import tqdm

MINUTE = 60.0  # seconds between lines


def disabled() -> bool:
    """Whether the environment leaves bars out now; tqdm reads it when it is imported, before --quiet has set it."""
    return os.environ.get("TQDM_DISABLE", "0") not in ("", "0")


class Bar(tqdm):
    """A tqdm bar; where standard error is no terminal, its text as one line per minute and at the end of a work that
    took longer than one. `scale`: 12.3M for 12,300,000. TQDM_DISABLE=1, and `quiet`, leave both out."""

    def __init__(
        self,
        total: int | None,
        unit: str,
        about: str = "",
        *,
        done: int = 0,
        scale: bool = False,
        quiet: bool = False,
    ):
        self.lines, self.begun, self.shown = not sys.stderr.isatty(), time.monotonic(), -1
        pace: dict[str, Any] = {"mininterval": MINUTE, "miniters": 1} if self.lines else {}
        off = quiet or disabled()
        super().__init__(
            total=total, unit=unit, desc=about or None, initial=done, unit_scale=scale, disable=off, **pace
        )

    def display(self, msg: str | None = None, pos: int | None = None) -> Any:
        """Show the state; a work that has just begun has no line yet, and one that ends has its last already."""
        if not self.lines:
            return super().display(msg, pos)
        if msg != "":
            self._line()
        return False

    def clear(self, nolock: bool = False) -> None:
        """Make room for a line above the bar; lines need none."""
        if not self.lines:
            super().clear(nolock)

    def close(self) -> None:
        if self.lines and not self.disable:
            self._line()
            self.leave = False  # no bar stays
        super().close()

    def _line(self) -> None:
        if self.n != self.shown and time.monotonic() - self.begun >= MINUTE:
            self.shown = self.n
            self.fp.write(f"{self}\n")
            self.fp.flush()


def print_above(text: str, stream: TextIO) -> None:
    """Print a line above the bars that this process shows."""
    if Bar._instances:  # pyright: ignore[reportAttributeAccessIssue]
        Bar.write(text, file=stream)
    else:
        print(text, file=stream)
