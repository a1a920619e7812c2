"""Builds on a Ray of two nodes that lose workers, nodes and drivers: the set is that of an undisturbed local build.

    make chaos PART=clusters RUNS=9 SEED=7
    python -m tests.chaos.clusters --seed 7 --only '*worker'      one kind of fault

A fault comes when a random number of tars is finished, or a moment later. A build whose driver died is started again.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.cli import run
from viewstream.shards.errors import needs

from ..clusters.rays import FAULTS, kill_driver, started, two_nodes, wait_for
from .contents import stored
from .programs import images
from .results import ROOT, Row, keep, show

TEST = "tests/chaos/test_clusters.py::test_builds_on_ray_that_lose_workers_nodes_and_drivers_go_on"
SIZE = "50KB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="0: from the clock")
    parser.add_argument("--runs", type=int, default=9, help="faults, of all kinds together")
    parser.add_argument("--only", default="", help="words of faults; * stands for any letters")
    options = parser.parse_args()
    needs("ray")
    seed = options.seed or int(time.time())
    with tempfile.TemporaryDirectory(prefix="clusters-") as folder, two_nodes() as cluster:
        faults = [fault for fault in FAULTS if fnmatch(fault, options.only or "*")]
        rows = list(all_rows(Path(folder), cluster, seed, options.runs, faults))
    if options.only:
        sys.exit(show(rows) > 0)
    sys.exit(keep("clusters", f"make chaos PART=clusters RUNS={options.runs} SEED={seed}", seed, rows) > 0)


def all_rows(root: Path, cluster: Any, seed: int, runs: int, faults: list[str]) -> Iterator[Row]:
    images(root / "pets" / "train", 48)
    build(BuildOptions(source=root / "pets", out=root / "local", shard_size=SIZE, keep=True))
    for number, fault in enumerate(faults):
        found = Counter[str]()
        for trial in range(number, runs, len(faults)):
            found[outcome(root, cluster, fault, random.Random(f"{seed} {trial}"))] += 1
            print(f"{fault}: {dict(found)}", flush=True)
        bad = sum(count for name, count in found.items() if "identical" not in name)
        yield Row(f"{fault}, a build on Ray of two nodes", found.total(), dict(found), bad, TEST)


def outcome(root: Path, cluster: Any, fault: str, rng: random.Random) -> str:
    """What comes of one fault."""
    out = root / f"set-{rng.getrandbits(32):x}"
    command = [sys.executable, str(ROOT / "tools/build_shards.py"), "--engine", "ray", "--address", cluster.address]
    command += ["--source", str(root / "pets"), "--out", str(out), "--shard-size", SIZE, "--keep"]
    units = len(list((root / "local").glob("*.tar")))
    driver = started(command)
    struck = wait_for(rng.randrange(units), str(out), driver)
    time.sleep(rng.uniform(0, 0.2))
    struck = struck and driver.poll() is None
    if struck:
        FAULTS[fault](cluster, driver, rng)
        if FAULTS[fault] is kill_driver:
            driver.communicate()
            driver = started(command)
    text, _ = driver.communicate(timeout=300)
    if driver.returncode:
        return f"code {driver.returncode}: {text.strip()[-500:]}"
    same = stored(out) == stored(root / "local")
    return ("unfinished, then " if struck else "complete, ") + ("identical" if same else "another set")


if __name__ == "__main__":
    run(main)
