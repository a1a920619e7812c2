"""The benchmark of the loaders measures every loader against the floor."""

import json

import pytest


@pytest.mark.full
def test_bench_loader_measures_every_loader_against_the_floor(program, built, tmp_path):
    out = tmp_path / "rates.json"
    sizes = ("--size", 32, "--batch-size", 16, "--rounds", 1)
    done = program("tools/bench/loader.py", "--data", built.root, *sizes, "--out", out)
    assert done.returncode == 0, done.stderr
    rates = json.loads(out.read_text())["samples_per_second"]
    assert {"floor: decode only", "folder", "webdataset"} <= rates.keys()
    assert min(rates.values()) > 0
