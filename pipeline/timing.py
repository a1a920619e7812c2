"""Where a loader spends its time: seconds by stage, cheap enough to count always.

Stages: `read`, `decode` and `cut` (the crops) are summed over threads; `draw`, `wait` (for threads), `copy` and
`render` are spent by the consumer's thread. On a GPU `copy` and `render` count the launch, not the device's work.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

THREADED = ("read", "decode", "cut")
CONSUMER = ("draw", "wait", "copy", "render")


class Times(Counter[str]):
    """Seconds by stage, and the number of `samples`."""

    @contextmanager
    def spent(self, stage: str) -> Iterator[None]:
        """Count the time spent inside."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self[stage] += time.perf_counter() - start  # pyright: ignore

    def each(self) -> dict[str, float]:
        """Milliseconds per sample by stage; stages without time are left out."""
        return {stage: 1e3 * self[stage] / max(1, self["samples"]) for stage in (*THREADED, *CONSUMER) if self[stage]}

    def table(self) -> str:
        """`read 0.012, decode 0.512 ... ms per sample`."""
        return ", ".join(f"{stage} {ms:.3f}" for stage, ms in self.each().items()) + " ms per sample"
