"""The benchmark of the renderers measures every case and prints ratios to ours."""

import json

import pytest


@pytest.mark.full
def test_bench_augment_measures_ours_and_its_peers(program, built, tmp_path):
    out = tmp_path / "rates.json"
    options = ("--size", 32, "--batch-size", 4, "--rounds", 1, "--threads", 1, "--device", "cpu")
    done = program("tools/bench/augment.py", "--data", built.root, *options, "--out", out)
    assert done.returncode == 0, done.stderr
    for name in ("ours", "torchvision v2", "kornia container", "PIL", "draw RandomResizedCrop", "pack"):
        assert name in done.stdout
    results = json.loads(out.read_text())
    assert len(results["pictures_per_second"]) == 4
    assert min(results["pictures_per_second"].values()) > 0
    assert min(results["ratios"].values()) > 0
    assert 0 < results["share of draw and pack"] < 1
    assert min(results["microseconds_per_op_view_and_sample"].values()) > 0
