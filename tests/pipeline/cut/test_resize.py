"""The kernel crops what PIL crops, reads nothing outside the image and writes nothing outside its view."""

import ctypes
import mmap

import numpy as np
import pytest
from PIL import Image

from viewstream.pipeline.cut import resize
from viewstream.pipeline.cut.resize import resized_crop, resized_crops, resized_crops_of_all

GUARD = 64  # bytes on both sides of a view


@pytest.fixture(scope="module")
def walled():
    """Bytes that end where reading is allowed to: one byte more would kill the process."""
    page, size = mmap.PAGESIZE, 1 << 20
    memory = mmap.mmap(-1, size + page)
    whole = np.frombuffer(memory, np.uint8)
    if ctypes.CDLL(None).mprotect(ctypes.c_void_p(whole.ctypes.data + size), page, 0):
        pytest.skip("this system protects no pages")
    return whole[:size]


def by_pil(image, box, size, *, mirrored, cubic):
    top, left, height, width = box
    law = Image.Resampling.BICUBIC if cubic else Image.Resampling.BILINEAR
    cropped = Image.fromarray(image).crop((left, top, left + width, top + height))
    made = np.asarray(cropped.resize((size, height), law).resize((size, size), law))
    return made[:, ::-1] if mirrored else made


def boxes(count):
    rng = np.random.default_rng(1)
    for number in range(count):
        h, w = int(rng.integers(1, 200)), int(rng.integers(1, 300))
        height, width = 1 if number % 4 == 0 else int(rng.integers(1, h + 1)), int(rng.integers(1, w + 1))
        top, left = int(rng.integers(0, h - height + 1)), int(rng.integers(0, w - width + 1))
        if number % 2:  # at the end of the image
            top, left = h - height, w - width
        size = 500 if number % 100 == 99 else int(rng.choice([1, 2, 3, 5, 6, 7, 17, 32, 50, 96, 224]))
        pixels = rng.integers(0, 256, 3 * h * w, dtype=np.uint8) if number % 3 else np.full(3 * h * w, 255, np.uint8)
        yield pixels, (h, w), (top, left, height, width), size, bool(rng.integers(2)), number % 5 == 0


@pytest.mark.parametrize("count", [150, pytest.param(3000, marks=pytest.mark.full)])
def test_any_crop_is_that_of_pil_within_a_level_and_stays_inside(walled, count):
    for pixels, (h, w), box, size, mirrored, cubic in boxes(count):
        image = walled[len(walled) - 3 * h * w :]
        image[:] = pixels
        out = np.full(3 * size * size + 2 * GUARD, 77, np.uint8)
        resized_crop(image, w, np.array([*box, size, size, 0, 0, mirrored, cubic], np.int32), size, out[GUARD:-GUARD])
        assert (out[:GUARD] == 77).all()
        assert (out[-GUARD:] == 77).all()
        right = by_pil(pixels.reshape(h, w, 3), box, size, mirrored=mirrored, cubic=cubic)
        gap = np.abs(out[GUARD:-GUARD].reshape(size, size, 3).astype(int) - right)
        assert gap.max() <= 1, (h, w, box, size, mirrored, cubic)


def test_a_mirrored_crop_is_an_exact_mirror(walled):
    for pixels, (_, w), box, size, _, cubic in boxes(60):
        plain, mirrored = np.empty((size, size, 3), np.uint8), np.empty((size, size, 3), np.uint8)
        for turned, out in ((0, plain), (1, mirrored)):
            resized_crop(pixels, w, np.array([*box, size, size, 0, 0, turned, cubic], np.int32), size, out.reshape(-1))
        np.testing.assert_array_equal(plain[:, ::-1], mirrored)


def test_views_cropped_together_equal_those_cropped_alone():
    rng = np.random.default_rng(0)
    image, sizes = rng.integers(0, 256, 120 * 90 * 3, dtype=np.uint8), np.array([32, 7, 96])
    some = np.array([[5, 4, 60, 70, s, s, 0, 0, s % 2, 0] for s in sizes], np.int32)
    places = np.concatenate([[0], np.cumsum(3 * sizes**2)])
    out = np.empty(places[-1], np.uint8)
    resized_crops(image, 90, some, sizes, places[:-1], out)
    for box, size, at in zip(some, sizes.tolist(), places.tolist(), strict=False):
        alone = np.empty(3 * size * size, np.uint8)
        resized_crop(image, 90, box, size, alone)
        np.testing.assert_array_equal(out[at : at + len(alone)], alone)


def test_what_warm_up_compiles_serves_every_form_of_call():
    resize.warm_up()
    before = list(resize.crops.signatures)
    image, sizes, places = np.zeros(120 * 90 * 3, np.uint8), np.array([32, 7]), np.array([0, 3 * 32**2])
    some = np.array([[5, 4, 60, 70, s, s, 0, 0, 0, 1] for s in sizes], np.int32)
    out = np.empty(3 * (32**2 + 7**2), np.uint8)
    resized_crop(image, 90, some[0], 32, out[: 3 * 32**2])
    resized_crop(image, np.int32(90), some[1], np.int64(7), out[3 * 32**2 :])
    resized_crops(image, 90, some, sizes, places, out)
    resized_crops_of_all(image, np.array([0]), np.array([90], np.int32), some[None], sizes, places[None], out)
    assert resize.crops.signatures == before
