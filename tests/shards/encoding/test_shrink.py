"""The pixels of a build do not depend on whether numba is installed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from viewstream.shards.encoding import shrink as module
from viewstream.shards.encoding.shrink import shrink, taps

pytest.importorskip("numba", reason="numba is not installed")

from viewstream.shards.encoding import dots, kernels


def by_pil(pixels, height, width):
    first = Image.fromarray(pixels).resize((width, len(pixels)), Image.Resampling.BICUBIC)
    return np.asarray(first.resize((width, height), Image.Resampling.BICUBIC))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 500), st.integers(1, 500), st.data())
def test_the_kernels_equal_pil_to_the_last_bit(height, width, data):
    small = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    rng = np.random.default_rng(height * width)
    for pixels in (rng.integers(0, 256, (height, width, 3)), 255 * rng.integers(0, 2, (height, width, 3))):
        pixels = pixels.astype(np.uint8)  # noise, and edges that overshoot
        assert np.array_equal(shrink(pixels, *small), by_pil(pixels, *small))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 700), st.data())
def test_the_portable_kernel_gives_the_bytes_of_the_one_for_new_cpus_and_writes_no_further(height, width, data):
    small = data.draw(st.integers(max(1, width // 4), width))
    begin, weights = taps(width, small)
    pixels = (255 * np.random.default_rng(width).integers(0, 2, (height, width, 3))).astype(np.uint8)
    size, untouched = 3 * height * small, 77
    ours, theirs = (np.full(size + 2 * kernels.SLACK, untouched, np.uint8) for _ in range(2))
    kernels.columns(pixels, begin, weights, ours)
    if not dots.columns(pixels, begin, weights, theirs):  # this CPU has it not, or 16 bytes depend on more than 64
        theirs[:size] = ours[:size]
    assert np.array_equal(ours[:size], theirs[:size])
    for out in (ours, theirs):
        assert (out[size + kernels.SLACK :] == untouched).all()


def test_a_build_without_numba_stores_the_same_bytes(options, digests, tmp_path, monkeypatch):
    from viewstream.shards.building.build import build

    with_numba = build(options(max_side=37, out=tmp_path / "a"))
    monkeypatch.setattr(module, "NUMBA", False)
    assert digests(build(options(max_side=37, out=tmp_path / "b")).root) == digests(with_numba.root)
