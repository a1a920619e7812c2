"""The table of parity covers renderers, ops and recipes, and marks gaps over their limits."""

from ctypes.util import find_library

import numpy as np
import pytest

from viewstream.shards.errors import UserError
from viewstream.tools.bench.parity import Parity, load, synthetic
from viewstream.tools.bench.parity_gaps import cases, chosen, limits, measure
from viewstream.tools.bench.parity_renderers import PlanesCrop, dali_crop, host_crop, renderers
from viewstream.tools.bench.parity_tables import cell


def lines(text: str) -> dict[str, list[str]]:
    """First cell of a row -> the others; the last table wins."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in rows}


@pytest.mark.full
def test_parity_prints_and_writes_one_table_per_renderer(program, pets, tmp_path):
    out = tmp_path / "parity.md"
    options = ("--count", 3, "--sizes", 32, "--only", "crop,solarize,byol", "--no-dali")
    done = program("tools/bench/parity.py", "--pictures", pets, *options, "--out", out)
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


def test_images_come_from_a_set_or_a_folder_of_jpegs(built, pets, tmp_path):
    description, images = load(Parity(data=str(built.root), count=2))
    assert description == f"2 images of {built.info.name}"
    assert [list(image.shape[:2]) for image in images] == built.hw[[0, -1]].tolist()
    description, images = load(Parity(pictures=pets, count=3))
    assert (description, len(images)) == ("3 images", 3)
    with pytest.raises(UserError, match="holds no JPEGs"):
        load(Parity(pictures=tmp_path))


def test_only_names_ops_and_recipes():
    assert chosen(("crop", "byol")) == ["crop bilinear", "crop bicubic", "byol view 1", "byol view 2"]
    assert len(chosen(())) == len(cases(32))
    with pytest.raises(UserError, match="did you mean 'blur'"):
        chosen(("blurr",))


@pytest.mark.parametrize("worse", [0, 3])
def test_a_gap_over_its_limit_is_bold(worse):
    images = [synthetic(np.random.default_rng(seed)) for seed in range(3)]
    view = cases(32)["crop bilinear"]
    wrong = {"wrong": lambda *args: host_crop(*args) + worse / 255 / 0.225}
    gap = measure(view, images, wrong)["wrong"]
    assert abs(gap.mean - worse) < 0.3
    assert cell(gap, limits("crop bilinear", view, wrong["wrong"])).startswith("**") == (worse > 0)


@pytest.mark.full
@pytest.mark.parametrize("name", ["crop bilinear", "evaluation", "moco_v2"])  # moco_v2 ends in the device renderer
def test_dali_is_measured_on_images_without_a_decoder(name):
    pytest.importorskip("nvidia.dali")
    assert dali_crop in renderers(with_dali=True).values()
    images = [synthetic(np.random.default_rng(seed)) for seed in range(3)]
    view = cases(96)[name]
    gap = measure(view, images, {"dali": dali_crop})["dali"]
    assert 0 < gap.mean < limits(name, view, dali_crop).mean


@pytest.mark.skipif(not find_library("turbojpeg"), reason="no libturbojpeg")
def test_planes_are_measured_on_the_jpegs_that_the_reference_sees():
    crop = PlanesCrop([synthetic(np.random.default_rng(seed)) for seed in range(3)])
    view = cases(96)["crop bilinear"]
    gaps = measure(view, crop.shown, {"planes": crop, "rgb": host_crop})
    assert gaps["rgb"].mean < gaps["planes"].mean < limits("crop bilinear", view, crop).mean
