"""Open synthetic sets and draw a first batch: seconds, and the memory that this takes of a process.

Each measurement is a process of its own, which has imported what it needs before the clock starts, and draws 1,024
samples of two MoCo v2 views, as many as a loader draws at once. "private" is memory of the process alone (Anonymous in
/proc/self/smaps_rollup), "mapped" are pages of files, which all processes of a machine share. "cold" drops the pages
of the set from the kernel's cache first. Images are not needed, so there are none.

  python tools/bench/manifest.py --rows 1.28M,10M,100M --scratch /tmp --out docs/results/scale_cpu.json
"""

import dataclasses
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from viewstream.shards.cli import parse, run

# isort: split
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from viewstream.augment.recipes import views_of
from viewstream.shards.columns import FILE
from viewstream.shards.errors import UserError
from viewstream.shards.files import atomic
from viewstream.shards.info import DatasetInfo
from viewstream.shards.keyed import keys
from viewstream.shards.manifest import Manifest, write
from viewstream.shards.table import GROUP, SCHEMA, TABLE

ROWS = 1_281_167  # training images of ImageNet
CASES = {"mapped": (False, False), "mapped, cold": (False, True), "by the table": (True, False)}  # by table, cold
PER_TAR, MOST = 5000, 60_000  # images of a tar, and bytes of an image
MOST_BY_TABLE = 10**7  # rows: more take all memory


@dataclass(frozen=True)
class Options:
    """What to open"""

    dir: Annotated[Path | None, "a set to open in this process, in place of synthetic ones"] = None
    by_table: Annotated[bool, "read its numbers from manifest.parquet, as for sets of earlier versions"] = False
    rows: Annotated[str, "sizes of synthetic sets to write and open, such as 1.28M,10M,100M"] = "1.28M,10M"
    runs: Annotated[int, "processes for each case, whose median counts", 1] = 3
    scratch: Annotated[Path | None, "folder for the sets, 110 bytes per row"] = None
    out: Annotated[Path | None, "JSON to write"] = None


def synthetic(folder: Path, info: DatasetInfo, rows: int) -> None:
    """Write the manifest of a set of `rows` images that do not exist into the new `folder`."""
    folder.mkdir()
    tar = {"bytes": PER_TAR * MOST, "samples": PER_TAR, "digest": ""}
    files = [tar | {"file": f"synthetic-{number:06d}.tar"} for number in range(-(-rows // PER_TAR))]
    files += [{"file": "synthetic.beton", "bytes": rows * MOST, "samples": rows, "digest": ""}]
    classes = info.classes or ("class0",)
    info = dataclasses.replace(info, formats=("webdataset", "ffcv"), files=tuple(files), classes=classes)
    write(folder, info, _tables(rows, len(classes)))


def _tables(rows: int, classes: int) -> Iterator[pa.Table]:
    rng = np.random.default_rng(0)
    for first in range(0, rows, GROUP):
        n = np.arange(first, min(first + GROUP, rows))
        uid = keys(n.astype(np.uint64), 0, "storage")
        name = pc.binary_join_element_wise("class", pa.array(n % classes).cast("string"), "/", "")  # pyright: ignore
        name = pc.binary_join_element_wise(name, pa.array(n).cast("string"), "")  # pyright: ignore
        columns: dict[str, Any] = {"uid": uid, "key": name, "label": n % classes, "source": name}
        columns |= {"height": rng.integers(300, 500, len(n)), "width": np.full(len(n), 400)}
        columns |= {"bytes": rng.integers(20_000, MOST, len(n)), "shard": n // PER_TAR, "offset": n % PER_TAR * MOST}
        digests = pa.py_buffer(np.repeat(uid, 4).tobytes())
        columns |= {"beton": n, "sha256": pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), len(n), [None, digests])}
        yield pa.table({f.name: pa.array(columns[f.name]).cast(f.type) for f in SCHEMA}, schema=SCHEMA)


def opened(folder: Path, by_table: bool) -> dict[str, float]:
    """Open the set in `folder` and draw, in this process."""
    from viewstream.pipeline.plan.params import TOGETHER, batch_params  # with torch, after --help, which needs none

    views, rows = views_of("moco_v2", 224), np.random.default_rng(1).random(TOGETHER)
    before, start = _memory(), time.perf_counter()
    manifest = Manifest.open(folder, by_table=by_table)
    figures = {"open, s": time.perf_counter() - start}
    batch = batch_params(manifest, views, (rows * len(manifest)).astype(np.int64), 0, 0)
    facts = manifest.largest, manifest.counts, manifest.uids, manifest.identity  # what a run asks for as it begins
    figures["first batch, s"] = time.perf_counter() - start
    after = _memory()
    figures |= {f"{name}, MiB": after[name] - before[name] for name in after}
    del batch, facts, manifest  # alive until here, so that the memory includes them
    return figures | {"process, MiB": after["private"] + after["mapped"]}


def _memory() -> dict[str, float]:
    """MiB of this process now: its own, and pages of files."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines}
    return {"private": sizes["Anonymous"], "mapped": sizes["Rss"] - sizes["Anonymous"]}


def in_process(folder: Path, by_table: bool = False, cold: bool = False) -> dict[str, float]:
    """`opened` in a process of its own."""
    for name in (TABLE, FILE) if cold else ():
        with (folder / name).open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    command = [sys.executable, __file__, "--dir", str(folder), *(("--by-table",) if by_table else ())]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def time_opening(info: DatasetInfo, folder: Path, rows: int = ROWS, runs: int = 5) -> dict[str, float]:
    """Medians over `runs` processes, each opening a synthetic set of `rows` that is written to the new `folder`."""
    synthetic(folder, info, rows)
    figures = _medians([in_process(folder) for _ in range(runs)])
    return {
        "seconds": figures["open, s"],
        "MiB more": figures["private, MiB"],
        "MiB of the process": figures["process, MiB"],
    }


def measure(rows: int, runs: int, scratch: Path) -> dict[str, Any]:
    """All figures of a synthetic set; the cases alternate."""
    info = DatasetInfo(
        "synthetic",
        "train",
        {"name": "full"},
        tuple(f"class{n}" for n in range(1000)),
        (),
        0,
        {},
        ("webdataset",),
        (),
        {"normalised": {}},
    )
    start = time.perf_counter()
    synthetic(scratch / "set", info, rows)
    figures: dict[str, Any] = {"rows": rows, "written in, s": time.perf_counter() - start}
    figures |= {f"{name}, bytes per row": (scratch / "set" / name).stat().st_size / rows for name in (TABLE, FILE)}
    cases = {name: case for name, case in CASES.items() if rows <= MOST_BY_TABLE or not case[0]}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in cases}
    for _ in range(runs):
        for name, case in cases.items():
            found[name].append(in_process(scratch / "set", *case))
    shutil.rmtree(scratch / "set")
    return figures | {name: _medians(each) for name, each in found.items()}


def _medians(found: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(each[name] for each in found) for name in found[0]}


def number(text: str) -> int:
    """`1.28M` -> 1_280_000; UserError for anything else."""
    scales = {"K": 10**3, "M": 10**6}
    try:
        return int(float(text.rstrip("KM")) * scales.get(text[-1:], 1))
    except ValueError as error:
        raise UserError(f"--rows {text} is no number of rows: write it like 10M") from error


def main() -> None:
    (options,) = parse(Options(), description=__doc__ or "")
    if options.dir:
        print(json.dumps(opened(options.dir, options.by_table)))
        return
    results: list[dict[str, Any]] = []
    for rows in map(number, options.rows.split(",")):
        with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
            results.append(measure(rows, options.runs, Path(scratch)))
        print(f"{rows:,} rows: " + ", ".join(f"{k} {v:.1f}" for k, v in results[-1].items() if isinstance(v, float)))
        for name, figures in results[-1].items():
            if isinstance(figures, dict):
                print(f"  {name:<14}" + ", ".join(f"{k} {v:.3f}" for k, v in figures.items()))
    if options.out:
        with atomic(options.out, "w") as file:
            json.dump({"cores": os.cpu_count(), "load": os.getloadavg(), "sets": results}, file, indent=1)


if __name__ == "__main__":
    run(main)
