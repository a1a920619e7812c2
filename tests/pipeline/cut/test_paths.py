"""The crop makes the same whole numbers on every path and CPU, and those are the ones that its docstrings state."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viewstream.pipeline.cut.resize import SHORT, crops, resized_crop
from viewstream.pipeline.cut.vectors import cpu_has_picks
from viewstream.pipeline.cut.weights import count_taps, taps_of

BOXES = ((1, 1), (1, 40), (37, 1), (5, 7), (60, 80), (199, 299), (33, 290))
DIGESTS = {"bilinear": "6de509fd66d506bd", "bicubic": "a89cd4b296d7f59b"}
SIZES = ((1, 224), (2, 1), (500, 1), (300, 224), (120, 96), (97, 96), (224, 224), (33, 50), (4000, 32), (65_535, 700))


def image_of(height, width):
    rng = np.random.default_rng(height + 1000 * width)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def made(image, box, size, mirrored, cubic, picks):
    out = np.empty((size, size, 3), np.uint8)
    fields, zero = np.array([[[*box, size, size, 0, 0, mirrored, cubic]]], np.int32), np.array([0])
    width = np.array([image.shape[1]], np.int32)
    crops(image.reshape(-1), zero, width, fields, np.array([size]), zero[None], picks, out.reshape(-1))
    return out


def resized(values, size, total, cubic, full, product):
    """`values` [size, ...] -> [total, ...] int64, the sum of each output's products with its weights."""
    begin, weights = taps_of(size, total, 0, False, cubic, full, total)
    out = np.zeros((total, *values.shape[1:]), np.int64)
    for y in range(total):
        for k, weight in enumerate(weights[:, y].astype(np.int64)):
            out[y] += product(values[begin[y] + k], weight)
    return out


def by_law(image, box, size, cubic):
    """The crop in numpy, by the arithmetic that resize.py states."""
    top, left, height, width = box
    pixels = image[top : top + height, left : left + width].astype(np.int64)
    if cubic:
        for side in (width, height):  # first along the rows
            total = resized(pixels.swapaxes(0, 1), side, size, True, 1 << 22, np.multiply)
            pixels = np.clip((total + 2**21) >> 22, 0, 255)
        return pixels
    if max(count_taps(height, size, False), count_taps(width, size, False)) <= SHORT:
        pixels <<= 6
        for side in (height, width):  # first along the columns
            pixels = resized(pixels, side, size, False, 32767, lambda a, b: (a * b + 2**14) >> 15).swapaxes(0, 1)
        return (pixels + 32) >> 6
    rows = (resized(pixels, height, size, False, 1 << 22, np.multiply) + 2**15) >> 16
    both = resized(rows.swapaxes(0, 1), width, size, False, 1 << 16, np.multiply).swapaxes(0, 1)
    return (both + 2**21) >> 22


@given(
    st.tuples(*[st.integers(1, 120)] * 2, *[st.floats(0, 1)] * 4),
    st.sampled_from([1, 2, 3, 5, 10, 11, 32, 33, 96]),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_every_path_makes_the_numbers_of_the_law(shape, size, mirrored, cubic):
    h, w, *shares = shape
    height, width = 1 + round(shares[0] * (h - 1)), 1 + round(shares[1] * (w - 1))
    box = round(shares[2] * (h - height)), round(shares[3] * (w - width)), height, width
    image = image_of(h, w)
    expected = by_law(image, box, size, cubic)
    expected = expected[:, ::-1] if mirrored else expected
    for picks in {False, cpu_has_picks()}:
        np.testing.assert_array_equal(made(image, box, size, mirrored, cubic, picks), expected)


@pytest.mark.parametrize("picks", sorted({False, cpu_has_picks()}))
@pytest.mark.parametrize("cubic", [False, True])
def test_a_constant_image_stays_constant_at_every_level(cubic, picks):
    for box, size in (((0, 0, 60, 80), 32), ((3, 1, 7, 60), 96), ((0, 0, 60, 80), 2), ((0, 0, 60, 16), 8)):
        for level in range(256):
            image = np.full((60, 80, 3), level, np.uint8)
            assert (made(image, box, size, False, cubic, picks) == level).all()


def test_weights_of_a_pixel_have_the_sum_that_was_asked_for_and_fit_their_bits():
    for size, total in SIZES:
        for cubic, full in ((False, 32767), (False, 1 << 16), (True, 1 << 22)):
            _, weights = taps_of(size, total, 0, False, cubic, full, min(total, 300))
            assert (weights.sum(axis=0) == full).all()
            assert np.abs(weights).sum(axis=0).max() <= 1.3 * full
    _, weights = taps_of(300, 224, 0, False, False, 32767, 224)
    assert 0 <= weights.min() <= weights.max() <= 32767


def digests():
    """Digests of crops by each filter, and of the weights of all SIZES."""
    found = {}
    for cubic, name in enumerate(DIGESTS):
        whole = hashlib.sha256()
        for height, width in BOXES:
            image = image_of(height + 1, width + 2)
            for size in (1, 17, 96, 224):
                out = np.empty(3 * size * size, np.uint8)
                box = np.array([1, 1, height, width, size, size, 0, 0, size % 2, cubic], np.int32)
                resized_crop(image.reshape(-1), image.shape[1], box, size, out)
                whole.update(out.tobytes())
        found[name] = whole.hexdigest()[:16]
    weights = [taps_of(*sizes, 0, False, cubic, 32767, 1)[1] for sizes in SIZES for cubic in (False, True)]
    weights += [taps_of(300, n, 0, False, cubic, 1 << 22, n)[1] for n in range(1, 300, 7) for cubic in (False, True)]
    found["weights"] = hashlib.sha256(b"".join(w.tobytes() for w in weights)).hexdigest()[:16]
    return found


def test_pixels_are_those_of_this_version():
    here = digests()
    assert {name: here[name] for name in DIGESTS} == DIGESTS


@pytest.mark.full
def test_pixels_do_not_depend_on_the_cpu():
    """A child process compiles for a CPU without vectors; it says once that this is slower."""
    code = (
        "import runpy; from viewstream.shards.messages import begin_printing; begin_printing();"
        "from viewstream.pipeline.kernels import warm_up; [warm_up(rendering=False) for _ in range(2)];"
        f"print(runpy.run_path({__file__!r})['digests']())"
    )
    child = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"NUMBA_CPU_NAME": "generic"}, capture_output=True, text=True
    )
    assert child.stdout.strip() == str(digests()), child.stderr
    assert child.stderr.count("note: this CPU has no AVX-512") == 1
