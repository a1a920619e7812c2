"""Planes are cropped as the image that libjpeg makes of them, but for the clipping, on every path to the bit."""

import ctypes
import hashlib
import mmap

import numpy as np
import pytest

from viewstream.pipeline.cut import planes
from viewstream.pipeline.cut.weights import taps_of

GUARD = 64  # bytes on both sides of a view


@pytest.fixture(scope="module")
def walled():
    """Bytes that end where reading is allowed to: one byte more would kill the process."""
    page, size = mmap.PAGESIZE, 1 << 18
    memory = mmap.mmap(-1, size + page)
    whole = np.frombuffer(memory, np.uint8)
    if ctypes.CDLL(None).mprotect(ctypes.c_void_p(whole.ctypes.data + size), page, 0):
        pytest.skip("this system protects no pages")
    return whole[:size]


def doubling(limit):
    """[2 * limit, limit]: the weights of values that are interpolated to twice as many."""
    made, x = np.zeros((2 * limit, limit)), np.arange(2 * limit)
    np.add.at(made, (x, x // 2), 0.75)
    np.add.at(made, (x, np.clip(x // 2 + np.where(x % 2, 1, -1), 0, limit - 1)), 0.25)
    return made


def triangles(at, size, total, sides):
    """[total, sides]: the weights of PIL's antialiased bilinear filter on [at, at + size) of a side."""
    scale = size / total
    distance = at + np.arange(size) + 0.5 - (at + (np.arange(total)[:, None] + 0.5) * scale)
    weights = np.maximum(1 - abs(distance) / max(scale, 1), 0)
    return np.pad(weights / weights.sum(1, keepdims=True), ((0, 0), (at, sides - at - size)))


def right(data, height, width, box, *, mirrored):
    """A crop in floats: interpolated, resized, converted, clipped."""
    high, wide = height + height % 2, width + width % 2
    light, *colors = np.split(data.astype(float), [high * wide, high * wide * 5 // 4])
    top, left, tall, broad, size = box
    down, across = triangles(top, tall, size, high), triangles(left, broad, size, wide)
    y = down @ light.reshape(high, wide) @ across.T
    down, across = down @ doubling(high // 2), across @ doubling(wide // 2)
    b, r = (down @ c.reshape(high // 2, wide // 2) @ across.T - 128 for c in colors)
    made = np.stack([y + 1.402 * r, y - 0.344136 * b - 0.714136 * r, y + 1.772 * b], -1).clip(0, 255)
    return made[:, ::-1] if mirrored else made


def cases(count):
    rng = np.random.default_rng(2)
    for number in range(count):
        height, width = int(rng.integers(1, 120)), int(rng.integers(1, 160))
        size = int(rng.choice([1, 2, 3, 7, 17, 32, 50, 96, 224]))
        tall = 1 if number % 4 == 0 else int(rng.integers(1, min(height, planes.MOST * size) + 1))
        broad = int(rng.integers(1, min(width, planes.MOST * size) + 1))
        top, left = int(rng.integers(0, height - tall + 1)), int(rng.integers(0, width - broad + 1))
        if number % 2:  # at the end of the image
            top, left = height - tall, width - broad
        values = rng.integers(0, 256, (height + 1) // 2 * ((width + 1) // 2) * 6, dtype=np.uint8)
        yield values, height, width, (top, left, tall, broad, size), bool(rng.integers(2))


def cropped(data, height, width, box, *, mirrored, picks=None):
    size = box[-1]
    out = np.full(3 * size * size + 2 * GUARD, 77, np.uint8)
    fields = np.array([*box, size, 0, 0, mirrored, 0], np.int32)
    assert planes.can_crop(fields[None, None]).all()
    if picks is None:
        planes.crop_of_planes(data, height, width, fields, size, out[GUARD:-GUARD])
    else:
        sides = np.array([height], np.int32), np.array([width], np.int32)
        views = fields[None, None], np.array([size]), np.array([[0]])
        planes.crops(data, np.array([0]), *sides, *views, picks, out[GUARD:-GUARD])
    assert (out[:GUARD] == 77).all()
    assert (out[-GUARD:] == 77).all()
    return out[GUARD:-GUARD].reshape(size, size, 3)


@pytest.mark.parametrize("count", [150, pytest.param(3000, marks=pytest.mark.full)])
def test_any_crop_is_that_of_the_interpolated_image_within_a_level_and_stays_inside(walled, count):
    for values, height, width, box, mirrored in cases(count):
        data = walled[len(walled) - len(values) :]
        data[:] = values
        gap = abs(
            cropped(data, height, width, box, mirrored=mirrored) - right(values, height, width, box, mirrored=mirrored)
        )
        assert gap.max() < 1.3, (height, width, box, mirrored)  # rounding, and at most 16 products of 2^-7 levels twice


@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.full)])
def test_both_paths_make_the_same_pixels(count):
    for values, height, width, box, mirrored in cases(count):
        made = cropped(values, height, width, box, mirrored=mirrored)
        np.testing.assert_array_equal(made, cropped(values, height, width, box, mirrored=mirrored, picks=False))


def test_pixels_are_those_of_every_machine_and_version():
    digest = hashlib.sha256()
    for values, height, width, box, mirrored in cases(60):
        digest.update(cropped(values, height, width, box, mirrored=mirrored).tobytes())
    assert digest.hexdigest()[:16] == "6637690883c05de3"


def test_a_mirrored_crop_is_an_exact_mirror():
    for values, height, width, box, _ in cases(60):
        plain, mirrored = (cropped(values, height, width, box, mirrored=turned) for turned in (False, True))
        np.testing.assert_array_equal(plain[:, ::-1], mirrored)


@pytest.mark.parametrize("level", range(0, 256, 5))
def test_a_gray_image_keeps_its_level(level):
    for size, side in ((32, 99), (96, 40), (7, 51)):
        values = np.full(side // 2 * 2 * 100 * 3 // 2 + 600, 128, np.uint8)
        values[: 100 * (side + side % 2)] = level
        assert (cropped(values, 100, side, (3, 0, 50, side, size), mirrored=False) == level).all()


def test_weights_of_halved_values_are_those_of_interpolation_and_keep_their_sum():
    rng = np.random.default_rng(0)
    for _ in range(300):
        limit = int(rng.integers(1, 60))
        side = 2 * limit - int(rng.integers(2))
        size = int(rng.integers(1, side + 1))
        at, total = int(rng.integers(0, side - size + 1)), int(rng.integers(-(-size // planes.MOST), 200))
        begin, weights = taps_of(size, total, 0, False, False, planes.FULL, total)
        first, folded = planes.halved(begin + at, weights, limit)
        assert (folded.sum(0) == planes.FULL).all()
        assert (first >= 0).all()
        assert (first + len(folded) <= limit).all()
        whole, half = np.zeros((total, 2 * limit)), np.zeros((total, limit))
        for i in range(total):
            whole[i, begin[i] + at : begin[i] + at + len(weights)] = weights[:, i]
            half[i, first[i] : first[i] + len(folded)] = folded[:, i]
        assert abs(whole @ doubling(limit) - half).max() <= 1


def test_views_cropped_together_equal_those_cropped_alone():
    rng = np.random.default_rng(0)
    data, sizes = rng.integers(0, 256, 120 * 90 * 3 // 2, dtype=np.uint8), np.array([32, 7, 96])
    boxes = np.array([[5, 4, 50, 50, s, s, 0, 0, s % 2, 0] for s in sizes], np.int32)
    places = np.concatenate([[0], np.cumsum(3 * sizes**2)])
    out = np.empty(places[-1], np.uint8)
    planes.crops_of_planes(data, 120, 90, boxes, sizes, places[:-1], out)
    for size, at in zip(sizes.tolist(), places.tolist(), strict=False):
        alone = cropped(data, 120, 90, (5, 4, 50, 50, size), mirrored=bool(size % 2))
        np.testing.assert_array_equal(out[at : at + alone.size], alone.reshape(-1))


def test_bicubic_boxes_and_those_that_shrink_much_are_left_to_rgb():
    plain, most = [0, 0, 80, 80, 20, 20, 0, 0, 0, 0], [0, 0, 160, 99, 20, 20, 0, 0, 1, 0]
    cubic, more = [0, 0, 80, 80, 20, 20, 0, 0, 0, 1], [0, 0, 99, 161, 20, 20, 0, 0, 0, 0]
    boxes = np.array([[plain, most], [plain, cubic], [more, plain]], np.int32)
    assert planes.can_crop(boxes).tolist() == [True, False, False]
