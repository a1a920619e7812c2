"""The table of parity covers renderers, ops and recipes, and marks what is over its limit."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from viewstream.shards.errors import UserError

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def parity() -> ModuleType:
    """The program as a module."""
    spec = importlib.util.spec_from_file_location("parity_tool", ROOT / "tools" / "bench" / "parity.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def lines(text: str) -> dict[str, list[str]]:
    """First cell of a row -> the others; the last table wins."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in rows}


@pytest.mark.full
def test_parity_prints_and_writes_a_table_a_renderer(program, pets, tmp_path):
    out = tmp_path / "parity.md"
    done = program("tools/bench/parity.py", "--pictures", pets, "--count", 3, "--sizes", 32, "--only",
                   "crop,solarize,byol", "--no-dali", "--out", out)  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = out.read_text()
    for heading in ("## Host kernel, device renderer", "## Device crop, device renderer"):
        assert heading in done.stdout
        assert heading in text
    rows = lines(text)
    assert {"crop bilinear", "crop bicubic", "solarize", "byol view 1", "byol view 2"} <= rows.keys()
    assert rows["solarize"] == ["0.00 / 0.0 / 0.0", "mean 0"]
    assert rows["crop bilinear"][1] == "mean 0.3, max 2"
    assert "moco_v2" not in rows


def test_pictures_come_from_a_set_or_a_folder_of_jpegs(parity, built, tmp_path):
    words, images = parity.pictures(parity.Parity(data=str(built.root), count=2))
    assert words == f"2 images of {built.info.name}"
    assert [list(image.shape[:2]) for image in images] == built.hw[[0, -1]].tolist()
    with pytest.raises(UserError, match="holds no JPEGs"):
        parity.pictures(parity.Parity(pictures=tmp_path))
    with pytest.raises(UserError, match="did you mean 'blur'"):
        parity.tables(parity.Parity(only=("blurr",)), images)


@pytest.mark.parametrize("worse", [0, 3])
def test_a_renderer_that_is_off_is_found_out(parity, worse):
    images = [parity.synthetic(np.random.default_rng(seed)) for seed in range(3)]
    view = parity.cases(32)["crop bilinear"]
    wrong = {"wrong": lambda *args: parity.host_crop(*args) + worse / 255 / 0.225}
    gap = parity.measure(view, images, wrong)["wrong"]
    assert abs(gap.mean - worse) < 0.3
    assert parity.cell(gap, parity.limits("crop bilinear", view, wrong["wrong"])).startswith("**") == (worse > 0)
