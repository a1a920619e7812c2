"""Where a loader's time goes: seconds by stage, cheap enough to count always.

Stages: `read`, `decode` and `cut` are summed over threads; `draw`, `wait` (for threads), `copy` and `render` are the
consumer's own. On a GPU `copy` and `render` count what it takes to ask for them, not what the device does meanwhile.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

THREADED = ("read", "decode", "cut")
OWN = ("draw", "wait", "copy", "render")


class Times(Counter[str]):
    """Seconds by stage, and `samples` that went through."""

    @contextmanager
    def spent(self, stage: str) -> Iterator[None]:
        """Count what runs inside."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.since(stage, start)

    def since(self, stage: str, start: float) -> float:
        """Count from `start` to now, which is returned."""
        now = time.perf_counter()
        self[stage] += now - start  # pyright: ignore
        return now

    def table(self) -> str:
        """`read 0.012, decode 0.512 ... ms a sample`, of the stages there were."""
        each = {stage: 1e3 * self[stage] / max(1, self["samples"]) for stage in (*THREADED, *OWN) if self[stage]}
        return ", ".join(f"{stage} {ms:.3f}" for stage, ms in each.items()) + " ms a sample"
