"""Loaders and a training over many epochs: memory, threads, descriptors, /dev/shm and temporary files stay flat.

    make soak                     200 epochs of 500 images, each loader in a process of its own
    make soak ONLY="remote"       one of them, whose epochs replace those of before in the saved file

Writes docs/results/reliability/soak.json, the epochs in soak-epochs.json and soak.png beside it.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from viewstream.shards.files import atomic

from . import results
from .measures import Use, grown, slope_of
from .results import ROOT, Row, keep
from .web import served

TEST = "tests/chaos/test_soak.py::test_ten_epochs_of_a_loader_need_no_more_than_five"
IMAGES = {"training": 100}  # others: --images
INSIDE = "VIEWSTREAM_SOAK"  # what the process of one loader gets


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="unused: orders and draws are of fixed seeds")
    parser.add_argument("--runs", type=int, default=200, help="epochs")
    parser.add_argument("--images", type=int, default=500, help="images in an epoch")
    parser.add_argument("--only", default="", help="one loader")
    options = parser.parse_args()
    if inside := os.environ.get(INSIDE):
        return measure(**json.loads(inside))
    from .soaked import NEEDS, SOAKED

    for name in [options.only] if options.only else list(SOAKED):
        if name in NEEDS and not find_spec(NEEDS[name]):
            print(f"{name}: left out, {NEEDS[name]} is not installed")
            continue
        begin = time.monotonic()
        uses = apart(name, options.runs, min(options.images, IMAGES.get(name, options.images)))
        seconds = time.monotonic() - begin
        print(f"{name}: {len(uses)} epochs, {seconds:.0f} s, {', '.join(grown(uses)) or 'flat'}", flush=True)
        note(name, uses, seconds)
    return conclude()


def apart(name: str, epochs: int, images: int) -> list[Use]:
    """What a loader used after each of its epochs, measured in a process of its own."""
    from .soaked import small_set

    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as url:
        small_set(Path(folder), images)
        (Path(folder) / "temporary").mkdir()
        words = {"name": name, "folder": folder, "url": f"{url}/set", "epochs": epochs}
        more = {INSIDE: json.dumps(words), "TMPDIR": f"{folder}/temporary"}
        start = [sys.executable, "-m", f"{__package__}.soak"]
        done = subprocess.run(start, cwd=ROOT, env={**os.environ, **more}, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"{name} ended with code {done.returncode}")
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    return [Use(*json.loads(line)) for line in lines]


def measure(name: str, folder: str, url: str, epochs: int) -> int:
    """Print what this process uses after each epoch."""
    from viewstream.shards.manifest import Manifest

    from .measures import use
    from .soaked import SOAKED, Soak

    def seen() -> None:
        gc.collect()
        print(json.dumps(use(Path(folder) / "temporary")), flush=True)

    gc.freeze()  # looking through all of torch would take longer than an epoch
    own = Path(folder) / "own"
    own.mkdir()
    SOAKED[name](Soak(Manifest.open(Path(folder) / "set"), own, url, epochs, seen))
    return 0


def note(name: str, uses: list[Use], seconds: float) -> None:
    """Keep the epochs of a loader beside those of the others."""
    file = results.RESULTS / "soak-epochs.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic(file, "w") as page:
        saved = json.loads(file.read_text()) if file.exists() else {}
        columns = dict(zip(Use._fields, map(list, zip(*uses, strict=True)), strict=True))
        saved[name] = {"seconds": round(seconds), **columns}
        lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in saved.items())
        page.write(f"{{\n{lines}\n}}\n")


def conclude() -> int:
    """Keep the rows and draw the plot of all loaders that were measured."""
    from .soak_plot import draw

    saved = json.loads((results.RESULTS / "soak-epochs.json").read_text())
    series = {
        name: [Use(*row) for row in zip(*(columns[field] for field in Use._fields), strict=True)]
        for name, columns in saved.items()
    }
    rows = []
    for name, uses in series.items():
        found = grown(uses)
        rows.append(
            Row(f"{len(uses)} epochs of {name}", len(uses), {"; ".join(found) or "flat": len(uses)}, len(found), TEST)
        )
    draw(series, results.RESULTS / "soak.png")
    for name, uses in series.items():
        half = uses[len(uses) // 2 :]
        print(f"{name:>18}  {half[-1].rss:7.1f} MB  {10 * slope_of(half, 'rss'):+.3f} MB in ten epochs")
    return keep("soak", "make soak", 0, rows) > 0


if __name__ == "__main__":
    sys.exit(main())
