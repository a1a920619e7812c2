"""The benchmark of the builder measures all cases, and the manifest bench opens a set of the given length."""

import json

import pytest

from viewstream.shards.errors import UserError
from viewstream.tools.bench.build import copy_images
from viewstream.tools.bench.manifest import time_opening


@pytest.mark.full
def test_bench_build_measures_every_case(program, pets, tmp_path):
    (tmp_path / "scratch").mkdir()
    sizes = ("--repeat", 1, "--rounds", 1, "--workers", 1)
    done = program(
        "tools/bench/build.py",
        "--source",
        pets,
        *sizes,
        "--scratch",
        tmp_path / "scratch",
        "--out",
        tmp_path / "x.json",
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "x.json").read_text())
    assert results["pictures"] == 120
    assert {"cp", "keep to tar", "bare codecs, one core", "400 px to beton"} <= results["pictures_per_second"].keys()
    assert min(results["pictures_per_second"].values()) > 0
    assert min(results["ratios"].values()) > 0
    assert 0 < results["ratios"]["(decode + encode alone) / all of re-encoding"] < 1
    assert not [*(tmp_path / "scratch").iterdir()]


def test_time_and_memory_of_opening_a_manifest(built, tmp_path):
    figures = time_opening(built.info, tmp_path / "large", rows=1000, runs=1)
    assert figures.keys() == {"seconds", "MiB more", "MiB of the process"}
    assert 0 < figures["seconds"] < 60
    assert 0 <= figures["MiB more"] < figures["MiB of the process"]


def test_images_are_copied_to_class_folders(pets, tmp_path):
    (empty := tmp_path / "empty").mkdir()
    copies = copy_images(pets / "val" / "cat", 2, tmp_path / "images")
    assert [str(p.relative_to(tmp_path / "images")) for p in copies[::6]] == [
        "train/copy0/000000.JPEG",
        "train/copy1/000000.JPEG",
    ]
    assert copies[0].read_bytes() == copies[6].read_bytes()
    with pytest.raises(UserError, match="holds no JPEGs"):
        copy_images(empty, 1, tmp_path / "more")
