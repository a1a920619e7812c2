"""Open the manifest of a set; prints seconds, MiB that this added to the process, and peak MiB of the process.

`time_opening` runs this program on a manifest with as many rows as ImageNet.

  python tools/bench/manifest.py data/shards/imagenet-lt6-train
"""

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from viewstream.shards.cli import Positional, parse, run

# isort: split
import numpy as np
import pyarrow as pa

from viewstream.shards.manifest import SCHEMA, DatasetInfo, Manifest, write

ROWS = 1_281_167  # training images of ImageNet


@dataclass(frozen=True)
class Options:
    """What to open"""

    dir: Annotated[Path, "folder of a built set", Positional] = Path()


def time_opening(info: DatasetInfo, folder: Path, rows: int = ROWS, runs: int = 5) -> dict[str, float]:
    """Medians over `runs` processes, each opening a set of random `rows` that is written to the new `folder`."""
    folder.mkdir()
    write(folder, replace(info, samples=rows), _random_table(rows))
    command = [sys.executable, __file__, str(folder)]
    lines = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(runs)]
    columns = zip(*(map(float, line.split()) for line in lines), strict=True)
    return dict(zip(("seconds", "MiB more", "MiB of the process"), map(statistics.median, columns), strict=True))


def _random_table(rows: int) -> pa.Table:
    rng, names = np.random.default_rng(0), [f"n{n % 1000:08d}/n{n % 1000:08d}_{n}" for n in range(rows)]
    columns: dict[str, Any] = {name: rng.integers(0, 1 << 30, rows) for name in SCHEMA.names}
    columns |= {"key": names, "source": names, "sha256": [rng.bytes(32) for _ in range(rows)]}
    return pa.table({name: pa.array(columns[name]).cast(SCHEMA.field(name).type) for name in SCHEMA.names}).cast(SCHEMA)


def _peak() -> float:
    """Peak memory of this process, MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    (options,) = parse(Options(), description=__doc__ or "")
    before, start = _peak(), time.perf_counter()
    manifest = Manifest.open(options.dir)
    print(time.perf_counter() - start, _peak() - before, _peak())
    del manifest  # alive until here, so that the peak includes it


if __name__ == "__main__":
    run(main)
