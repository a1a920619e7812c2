"""Orders and manifests of many rows for suite.py: seconds and memory until a run has what it needs of them."""

import itertools
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from viewstream.pipeline.plan.order import Plan
from viewstream.tools.bench.manifest import time_opening
from viewstream.tools.bench.measuring.apart import Case
from viewstream.tools.bench.measuring.machine import memory
from viewstream.tools.bench.parts.sets import Setting

ROWS = 1_281_167  # training images of ImageNet


def groups(setting: Setting) -> dict[str, Case]:
    """Each in a process of its own, whose memory is counted."""
    rows = (10**5, 10**6) if setting.quick else (ROWS, 10**7, 10**8)
    found: dict[str, Case] = {f"order of {n:,} rows": partial(order, n) for n in rows}
    for n in rows[:2]:
        found[f"manifest of {n:,} rows"] = partial(opening, setting, n)
    return found


def order(rows: int, batch: int = 256, steps: int = 10) -> dict[str, Any]:
    """The first steps of an epoch's order: seconds, and MiB that this took at the peak."""
    plan, before, start = Plan(rows, batch), memory("VmHWM"), time.perf_counter()
    assert len(list(itertools.islice(plan.steps(0), steps))) == steps
    return {"rows": rows, "seconds": round(time.perf_counter() - start, 4), "MiB": round(memory("VmHWM") - before, 1)}


def opening(setting: Setting, rows: int) -> dict[str, Any]:
    """Opening a manifest: seconds, and MiB that this took at the peak."""
    with tempfile.TemporaryDirectory() as folder:
        found = time_opening(setting.set(64).info, Path(folder) / "large", rows=rows, runs=3)
    return {"rows": rows, "seconds": round(found["seconds"], 4), "MiB": round(found["MiB more"], 1)}
