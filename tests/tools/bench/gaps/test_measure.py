"""Gaps are measured by renderer and op, and marked over their limits."""

from ctypes.util import find_library

import numpy as np
import pytest

from viewstream.shards.errors import UserError
from viewstream.tools.bench.gaps.measure import cases, chosen, limits, measure
from viewstream.tools.bench.gaps.renderers import PlanesCrop, dali_crop, host_crop, renderers
from viewstream.tools.bench.gaps.tables import cell
from viewstream.tools.bench.parity import synthetic


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
