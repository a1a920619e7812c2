"""The benchmark of static sets measures ours and a plain loop on the same images."""

import json

import pytest


@pytest.mark.full
def test_bench_static_measures_ours_and_the_plain_loop(program, built, tmp_path):
    out = tmp_path / "bench.json"
    done = program(
        "tools/bench/static.py", "--data", built.root, "--size", 32, "--per-class", 1, "--rounds", 1, "--out", out
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text())
    assert results["images"] == 4
    assert {"plain loop", "make_static, 1 thread"} <= results["images_per_s"].keys()
    assert min(results["images_per_s"].values()) > 0
    assert results["cpu_us_per_image"].keys() == results["images_per_s"].keys()
    assert "of the plain loop" in done.stdout
