"""libturbojpeg gives the pixels of simplejpeg, or the planes of which it makes them, and refuses what it refuses."""

import ctypes.util
import io
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from viewstream.pipeline import decoding, turbojpeg
from viewstream.pipeline.turbojpeg import PLANES, REFUSED, RGB
from viewstream.shards.errors import UserError

from .zoo import ODD, saved

if not turbojpeg.has_turbojpeg():
    pytest.skip("no libturbojpeg", allow_module_level=True)


def decoded(data, hw=None, planar=False):
    """What becomes of a JPEG, and a buffer of random bytes that it is decoded into."""
    height, width = hw or Image.open(io.BytesIO(data)).size[::-1]
    sides = np.array([height], np.int32), np.array([width], np.int32)
    buffer = np.random.default_rng(0).integers(0, 256, turbojpeg.room(*sides)[0], np.uint8)
    (kind,) = decoding.decode_all([data], *sides, np.array([planar]), np.zeros(1, np.int64), buffer)
    return kind, buffer


def planes_of(data, hw=None):
    """The planes of a JPEG."""
    height, width = hw or Image.open(io.BytesIO(data)).size[::-1]
    kind, buffer = decoded(data, (height, width), planar=True)
    return SimpleNamespace(data=buffer, height=height, width=width) if kind == PLANES else None


def doubled(plane):
    """A plane of colors at twice the size, four bits finer, as libjpeg interpolates it."""
    for axis in (0, 1):
        plane = np.moveaxis(plane, axis, 0)
        at = np.arange(2 * len(plane))
        far = np.clip(at // 2 + np.where(at % 2, 1, -1), 0, len(plane) - 1)
        plane = np.moveaxis(3 * plane[at // 2] + plane[far], 0, axis)
    return (plane + np.where(np.arange(plane.shape[1]) % 2, 7, 8)) >> 4


def rgb_of(planes):
    """The image [H, W, 3] that libjpeg makes of planes, by its formulas in integers of 16 bits after the point."""
    height, width = planes.height, planes.width
    high, wide = height + height % 2, width + width % 2
    light, *colors = np.split(planes.data[: high * wide * 3 // 2].astype(int), [high * wide, high * wide * 5 // 4])
    light = light.reshape(high, wide)
    blue, red = (doubled(c.reshape(high // 2, wide // 2)) - 128 for c in colors)
    fixed, half = (lambda x: int(x * 65536 + 0.5)), 32768
    parts = (
        light + ((fixed(1.402) * red + half) >> 16),
        light + ((-fixed(0.34414) * blue - fixed(0.71414) * red + half) >> 16),
        light + ((fixed(1.772) * blue + half) >> 16),
    )
    return np.stack(parts, -1).clip(0, 255)[:height, :width]


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("size", [(96, 70), (95, 71), (33, 16), (5, 1), (6, 3), (17, 200)])
def test_planes_interpolated_and_converted_are_the_image_of_simplejpeg(image, size, progressive):
    jpeg = saved(image.resize(size), progressive=progressive)
    planes = planes_of(jpeg)
    assert (planes.width, planes.height) == size
    np.testing.assert_array_equal(rgb_of(planes), simplejpeg.decode_jpeg(jpeg))


@pytest.mark.parametrize(
    "kind", ["grey", "cmyk", "rgb", "4:4:4", "4:2:2", "4 px wide", "another size", "pixels", "no image", "nothing"]
)
def test_what_has_no_such_planes_is_refused(image, kind):
    made = {
        "4:4:4": lambda: saved(image, subsampling=0),
        "4:2:2": lambda: saved(image, subsampling=1),
        "4 px wide": lambda: saved(image.resize((4, 70))),
        "pixels": lambda: np.asarray(image),
        "no image": lambda: b"\0" * 900,
        "nothing": lambda: b"",
    }
    data = made.get(kind, lambda: ODD.get(kind, saved)(image))()
    assert planes_of(data, (70, 4 if kind == "4 px wide" else 97 if kind == "another size" else 96)) is None


def test_planes_are_refused_for_exactly_the_damage_that_simplejpeg_finds(image):
    rng, whole, found = np.random.default_rng(0), saved(image, quality=90), 0
    for n in range(300):
        data = bytearray(whole)
        if n % 3 == 0:
            data = data[: rng.integers(len(data))]
        else:
            for at in rng.integers(0, len(data), 1 + n % 3):
                data[at] = rng.integers(256)
        try:
            image_of_it = simplejpeg.decode_jpeg(bytes(data))
        except (ValueError, RuntimeError):
            assert planes_of(bytes(data), (70, 96)) is None
            assert decoded(bytes(data), (70, 96))[0] == REFUSED
            found += 1
        else:
            planes = planes_of(bytes(data), (70, 96))
            kind, pixels = decoded(bytes(data), (70, 96))
            if kind == RGB:
                np.testing.assert_array_equal(pixels[: image_of_it.size], image_of_it.reshape(-1))
            if planes is not None:
                np.testing.assert_array_equal(rgb_of(planes), image_of_it)
            elif image_of_it.shape == (70, 96, 3):
                assert simplejpeg.decode_jpeg_header(bytes(data))[2:] != ("YCbCr", "420")
    assert 100 < found < 290


def test_an_image_does_not_depend_on_the_ones_before_it(image):
    """A handle of the library keeps tables: a JPEG without its own would be decoded with those of another image."""
    jpeg = saved(image, quality=90)
    at = jpeg.index(b"\xff\xdb")  # quantization
    bare = jpeg[:at] + jpeg[at + 2 + int.from_bytes(jpeg[at + 2 : at + 4]) :]
    bare = bare if b"\xff\xdb" not in bare else bare.replace(b"\xff\xdb", b"\xff\xfe")
    assert planes_of(bare, (70, 96)) is None
    assert planes_of(jpeg, (70, 96)) is not None
    assert planes_of(bare, (70, 96)) is None


def test_threads_decode_at_once(image):
    jpegs = [saved(image.rotate(10 * n)) for n in range(4)]
    expected = [planes_of(jpeg).data for jpeg in jpegs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda jpeg: planes_of(jpeg).data, jpegs * 20))
    for n, data in enumerate(found):
        np.testing.assert_array_equal(data, expected[n % 4])


@pytest.mark.parametrize("sampling", ["444", "422", "420", "440", "411", "Gray"])
@pytest.mark.parametrize("size", [(96, 70), (95, 71), (33, 16), (5, 1), (1, 1), (3, 2), (17, 200)])
def test_pixels_are_those_of_simplejpeg(image, size, sampling):
    for progressive in (False, True):
        if sampling in ("440", "411"):
            pixels = np.asarray(image.resize(size))
            jpeg = simplejpeg.encode_jpeg(pixels, 85, "RGB", sampling)
        elif sampling == "Gray":
            jpeg = saved(image.resize(size).convert("L"), progressive=progressive)
        else:
            jpeg = saved(image.resize(size), subsampling=("444", "422", "420").index(sampling), progressive=progressive)
        kind, found = decoded(jpeg)
        if sampling in ("440", "411"):  # of which versions of libjpeg-turbo make different pixels
            assert kind == REFUSED
        else:
            assert kind == RGB
            np.testing.assert_array_equal(found[: 3 * size[0] * size[1]], simplejpeg.decode_jpeg(jpeg).reshape(-1))


def test_many_are_decoded_in_one_call_and_what_is_refused_is_left_out(image, monkeypatch):
    jpegs = [saved(image.resize((20 + n, 30))) for n in range(6)]
    samples = [*jpegs[:2], UserError("missing"), memoryview(jpegs[3]), np.asarray(image), jpegs[5][:100]]
    height, width = np.full(6, 30, np.int32), np.arange(20, 26, dtype=np.int32)
    first = np.cumsum(3 * 30 * width.astype(np.int64)) - 3 * 30 * width
    outs = []
    for there in (True, False):  # by libturbojpeg and by simplejpeg
        monkeypatch.setattr(decoding, "has_turbojpeg", lambda there=there: there)
        outs.append(np.zeros(int(3 * 30 * width.sum()), np.uint8))
        kinds = decoding.decode_all(samples, height, width, np.zeros(6, bool), first, outs[-1])
        assert kinds.tolist() == [RGB, RGB, REFUSED, RGB, REFUSED, REFUSED]
    for n in (0, 1, 3):
        at = slice(first[n], first[n] + 3 * 30 * width[n])
        for out in outs:
            np.testing.assert_array_equal(out[at], simplejpeg.decode_jpeg(jpegs[n]).reshape(-1))


@pytest.fixture
def bare(monkeypatch):
    """No libturbojpeg of the system; files of the wheel go into the list."""
    files = []
    monkeypatch.setattr(turbojpeg, "find_library", lambda name: None)
    monkeypatch.setattr(turbojpeg.metadata, "files", lambda name: files)
    turbojpeg.has_turbojpeg.cache_clear()
    yield files
    monkeypatch.undo()
    turbojpeg.has_turbojpeg.cache_clear()
    assert turbojpeg.has_turbojpeg()


def wheel_file(name, path):
    return SimpleNamespace(name=name, locate=lambda: path)


def test_without_a_library_the_error_says_what_brings_it(bare, monkeypatch):
    with pytest.raises(UserError, match=r"finds no libturbojpeg: .*viewstream\[planes\].*or choose --decode cpu"):
        turbojpeg.needs_turbojpeg()
    monkeypatch.setattr(turbojpeg, "find_library", lambda name: "libm.so.6")  # none of the functions
    monkeypatch.setattr(turbojpeg, "_in_wheel", lambda: "/nowhere/libturbojpeg.so")
    turbojpeg.has_turbojpeg.cache_clear()
    with pytest.raises(UserError, match="finds no libturbojpeg"):
        turbojpeg.needs_turbojpeg()


def test_a_library_that_makes_other_pixels_is_passed_over(bare, monkeypatch):
    own = ctypes.util.find_library("turbojpeg") or turbojpeg._in_wheel()
    monkeypatch.setattr(turbojpeg, "find_library", lambda name: own)
    right = turbojpeg.simplejpeg.decode_jpeg
    monkeypatch.setattr(turbojpeg.simplejpeg, "decode_jpeg", lambda jpeg: right(jpeg) ^ 1)
    assert not turbojpeg.has_turbojpeg()
    monkeypatch.setattr(turbojpeg.simplejpeg, "decode_jpeg", right)
    turbojpeg.has_turbojpeg.cache_clear()
    assert turbojpeg.has_turbojpeg()


def test_the_library_of_the_wheel_serves_where_the_system_has_none(bare, image):
    own = ctypes.util.find_library("turbojpeg")
    if own is None:
        pytest.skip("the library here is that of the wheel")
    bare += [wheel_file("METADATA", "/nowhere"), wheel_file("libturbojpeg-1.so", own)]
    assert planes_of(saved(image)) is not None
