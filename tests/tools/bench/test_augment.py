"""The benchmark of the renderers measures every case and says how ours compares."""

import json

import pytest


@pytest.mark.full
def test_bench_augment_measures_ours_and_its_peers(program, built, tmp_path):
    out = tmp_path / "rates.json"
    done = program("tools/bench/augment.py", "--data", built.root, "--size", 32, "--batch-size", 4, "--rounds", 1,
                   "--threads", 1, "--device", "cpu", "--out", out)  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name in ("ours", "torchvision v2", "kornia container", "PIL", "draw RandomResizedCrop", "pack"):
        assert name in done.stdout
    found = json.loads(out.read_text())
    assert len(found["pictures_per_second"]) == 4
    assert min(found["pictures_per_second"].values()) > 0
    assert min(found["ratios"].values()) > 0
    assert 0 < found["share of draw and pack"] < 1
    assert min(found["microseconds_per_op_view_and_sample"].values()) > 0
