"""What users write themselves: the examples pass the public checkers and train an epoch on the demo's images."""

import json
import re

import pytest

from viewstream.shards import BuildOptions, build


@pytest.fixture(scope="module")
def textures(program, tmp_path_factory):
    """A small set of the demo's generated images."""
    root = tmp_path_factory.mktemp("textures")
    done = program("tools/textures.py", "--out", root / "images", "--train", 12, "--val", 2)
    assert done.returncode == 0, done.stderr
    return build(BuildOptions(source=root / "images", out=root / "set", format=("webdataset", "ffcv"), workers=1)).root


OWN = ["rotation", *(pytest.param(name, marks=pytest.mark.full) for name in ("npy_reader", "cutout", "erasing"))]


@pytest.mark.parametrize("name", OWN)
def test_an_example_passes_its_checker_and_trains_an_epoch(program, textures, tmp_path, name):
    done = program(f"examples/{name}.py", textures, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    (log,) = (tmp_path / "out").rglob("log.jsonl")
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert rows
    assert all(0 < row["loss"] < 20 for row in rows)


WITH = {  # other libraries' loops and readers -> the packages that they need, and the last words of the example
    "own_transform": ("torchvision", r"\d+ steps, mean loss \d"),
    "plain_torch": ("torch", r"epoch 1: loss -?\d"),
    "stock_webdataset": ("webdataset", r"144 samples: "),
    "stock_ffcv": ("ffcv", r"9 batches, the first \(16, 64, 64, 3\)"),
    "stock_dali": ("nvidia.dali", r"144 samples, a batch \[16, 64, 64, 3\]"),
    "timm_loader": ("timm", r"step 8: loss \d"),
    "hf_datasets": ("datasets", r"\d+ px, class |px, class "),
    "lightning_module": ("pytorch_lightning lightly", r"8 steps, loss \d"),
}


QUICK = ("own_transform",)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.full) for name in WITH]
)
def test_other_libraries_read_the_set(program, textures, name):
    packages, words = WITH[name]
    for package in packages.split():
        pytest.importorskip(package, reason=f"{package} is not installed")
    done = program(f"examples/{name}.py", textures, HF_HOME=str(textures / "hf"), HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert re.search(words, done.stdout.splitlines()[-1]), done.stdout
