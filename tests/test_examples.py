"""What users write themselves: the examples pass the public checkers and train an epoch on the demo's images."""

import json

import pytest

from viewstream.shards import BuildOptions, build


@pytest.fixture(scope="module")
def textures(program, tmp_path_factory):
    """A small set of the demo's generated images."""
    root = tmp_path_factory.mktemp("textures")
    done = program("tools/textures.py", "--out", root / "images", "--train", 12, "--val", 2)
    assert done.returncode == 0, done.stderr
    return build(BuildOptions(source=root / "images", out=root / "set", format=("webdataset",), workers=1)).root


@pytest.mark.parametrize("name", ["npy_reader", "rotation", "cutout", "erasing"])
def test_an_example_passes_its_checker_and_trains_an_epoch(program, textures, tmp_path, name):
    done = program(f"examples/{name}.py", textures, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    (log,) = (tmp_path / "out").rglob("log.jsonl")
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert rows
    assert all(0 < row["loss"] < 20 for row in rows)
