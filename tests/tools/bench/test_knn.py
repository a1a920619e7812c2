"""The benchmark of kNN measures ours and a bare matrix product on the same features."""

import json

import pytest


@pytest.mark.full
def test_bench_knn_measures_time_and_memory_against_the_bare_product(program, tmp_path):
    out = tmp_path / "bench.json"
    sizes = ("--bank", 2000, "--queries", 300, "--dim", 16, "--rounds", 1)
    done = program("tools/bench/knn.py", *sizes, "--out", out)
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text())
    assert {"bare, k 200", "weighted, k 200", "best-NN to 101, norm"} <= results.keys()
    assert all(case["seconds"] > 0 for case in results.values())
    assert done.stdout.count("of the bare case") == 2
