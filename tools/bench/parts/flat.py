"""What stays flat for suite.py: speed and memory over a run 10 times as long and a set 10 times as large."""

import time
from contextlib import closing
from functools import partial
from typing import Any

from viewstream.augment.recipes import views_of
from viewstream.pipeline.choose import open_loader
from viewstream.pipeline.loader import ViewLoader
from viewstream.pipeline.plan.order import Plan
from viewstream.tools.bench.measuring.apart import Case
from viewstream.tools.bench.measuring.machine import memory
from viewstream.tools.bench.measuring.rounds import processor_seconds
from viewstream.tools.bench.parts.sets import Setting

TENTHS = 10


def groups(setting: Setting) -> dict[str, Case]:
    """Three runs, each in a process of its own."""
    epochs = 2 if setting.quick else 8
    return {
        "a run": partial(flat, setting, 1, epochs),
        "a run 10 times as long": partial(flat, setting, 1, 10 * epochs),
        "a set 10 times as large": partial(flat, setting, 10, epochs),
    }


def flat(setting: Setting, larger: int, epochs: int, size: int = 64, batch: int = 64) -> dict[str, Any]:
    """`epochs` epochs of a set that is `larger` times as large: by tenths of the run, us of processor time per sample,
    samples per second, and MiB of the process."""
    data = setting.set(64, copies=2 * larger)
    loader = open_loader("webdataset", data, Plan(len(data), batch), views_of("moco_v2", size))
    assert isinstance(loader, ViewLoader)
    total = len(loader) * epochs
    marks = [round(total * tenth / TENTHS) for tenth in range(1, TENTHS + 1)]
    tenths: dict[str, list[float]] = {"cpu": [], "rate": [], "MiB": []}
    with closing(loader):
        for _ in loader.host_batches(0):  # warms up
            pass
        done, since = 0, 0
        start, busy = time.perf_counter(), processor_seconds()
        for epoch in range(1, epochs + 1):
            for _ in loader.host_batches(epoch):
                done += 1
                if done not in marks:
                    continue
                samples, now, spent = (done - since) * batch, time.perf_counter(), processor_seconds()
                tenths["cpu"].append(round(1e6 * (spent - busy) / samples, 1))
                tenths["rate"].append(round(samples / (now - start), 1))
                tenths["MiB"].append(round(memory("VmRSS"), 1))
                since, start, busy = done, now, spent
    return {"samples": total * batch, "rows": len(data), **tenths}
