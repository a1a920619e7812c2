"""Loaders on a GPU for gpu.py: their views against those of the CPU, and their speed."""

import json
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from viewstream.augment.recipes import moco_v2
from viewstream.pipeline.choose import open_loader, open_set
from viewstream.pipeline.loader import ViewLoader
from viewstream.pipeline.plan.order import Plan

FOLDER = Path(__file__).parents[1]  # of the programs
STD = (0.229, 0.224, 0.225)


def gap(data: Path, options: dict[str, Any], *, size: int = 224, batch: int = 64) -> dict[str, float]:
    """Differences of a loader's MoCo v2 views to those of the CPU with host crops, in levels of 8 bits."""
    manifest, views = open_set(str(data)), moco_v2(size)
    where = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = {key: value for key, value in options.items() if key != "loader"}
    plan = Plan(len(manifest), batch)
    ours = open_loader(options["loader"], manifest, plan, views, device=where, **chosen)
    right = open_loader("webdataset", manifest, plan, views)
    scale, gaps = 255 * torch.tensor(STD).view(3, 1, 1), []
    with closing(ours), closing(right):
        for a, b in islice(zip(ours.epoch(0), right.epoch(0), strict=True), 4):
            if not torch.equal(a.index.cpu(), b.index):
                raise RuntimeError("the loaders yield different samples")
            gaps += [((x.cpu() - y).abs() * scale).flatten() for x, y in zip(a.views, b.views, strict=True)]
    levels = torch.cat(gaps).sort().values
    p99 = levels[int(0.99 * len(levels))]
    return {"mean": round(levels.mean().item(), 4), "p99": round(p99.item(), 3), "max": round(levels[-1].item(), 2)}


def rate(
    data: Path, options: dict[str, Any], *, size: int = 224, batch: int = 256, batches: int = 40
) -> dict[str, float]:
    """Samples per second of a loader that delivers two MoCo v2 views in bf16; nothing trains beside it."""
    manifest = open_set(str(data))
    where = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = {key: value for key, value in options.items() if key != "loader"}
    plan = Plan(len(manifest), min(batch, len(manifest)))
    loader = open_loader(options["loader"], manifest, plan, moco_v2(size), device=where, dtype=torch.bfloat16, **chosen)
    found: dict[str, float] = {}
    with closing(loader):
        for epoch in range(3):  # the first compiles and finds the number of threads
            count, begin = 0, time.perf_counter()
            for views in islice(loader.epoch(epoch), batches):
                count += len(views.index)
            torch.cuda.synchronize() if where == "cuda" else None
            found["samples_per_second"] = round(count / (time.perf_counter() - begin), 1)
        if isinstance(loader, ViewLoader):
            found["threads"] = loader.executor.workers.gate.limit
    return found


def script(name: str, *words: object) -> dict[str, Any]:
    """The JSON that another benchmark, a file of FOLDER, writes."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        command = [sys.executable, str(FOLDER / name), *map(str, words), "--out", str(out)]
        subprocess.run(command, cwd=FOLDER.parents[1], check=True)
        return json.loads(out.read_text())
