"""One image in, one plain JPEG out; or the reason why not."""

import io

import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageOps

from viewstream.shards.encoding.encode import Damaged, Encoding, encode

SMALL = Encoding(keep=False, max_side=40, short_side=0, quality=95, check="headers")
KEEP = Encoding(keep=True, max_side=40, short_side=0, quality=95, check="decode")
LOOK = Encoding(keep=True, max_side=40, short_side=0, quality=95, check="headers")
BOTH = pytest.mark.parametrize("how", [SMALL, KEEP], ids=["small", "keep"])
ALL = pytest.mark.parametrize("how", [SMALL, KEEP, LOOK], ids=["small", "keep", "look"])


def test_the_longer_side_shrinks_to_the_limit_and_a_small_picture_never_grows(jpeg):
    for height, width, stored in [(60, 80, (30, 40)), (80, 60, (40, 30)), (20, 30, (20, 30)), (3, 400, (1, 40))]:
        one = encode(jpeg(1, height, width), SMALL)
        assert (one.height, one.width) == stored
        assert simplejpeg.decode_jpeg(one.jpeg).shape == (*stored, 3)


def test_shrinking_is_pils_antialiased_bicubic(picture):
    pixels = picture(3, 120, 160)
    data = simplejpeg.encode_jpeg(pixels, 100, colorsubsampling="444")
    one = encode(data, SMALL)
    wanted = np.asarray(Image.fromarray(simplejpeg.decode_jpeg(data)).resize((40, 30), Image.Resampling.BICUBIC))
    luma = np.asarray(Image.fromarray(wanted).convert("L")).astype(int)  # the stored colors are at half resolution
    assert np.abs(simplejpeg.decode_jpeg(one.jpeg, "GRAY")[..., 0] - luma).mean() < 2


def test_keep_stores_a_plain_jpeg_byte_for_byte_baseline_or_progressive(jpeg, picture, saved):
    for data in (jpeg(1), saved(Image.fromarray(picture(2)), "JPEG", progressive=True, quality=90)):
        for how in (KEEP, LOOK):
            one = encode(data, how)
            assert one.jpeg == data
            assert (one.height, one.width) == simplejpeg.decode_jpeg_header(data)[:2]
            assert one.kinds == ()


def _cases(picture, saved):
    image = Image.fromarray(picture(5))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    return {
        "cmyk": (saved(image.convert("CMYK"), "JPEG", quality=95), ("cmyk",)),
        "grey": (saved(image.convert("L"), "JPEG", quality=95), ("grey",)),
        "rgb": (saved(image, "JPEG", quality=95, keep_rgb=True), ("stored as rgb",)),
        "png": (saved(image, "PNG"), ("png",)),
        "webp": (saved(image, "WEBP", quality=95), ("webp",)),
        "palette": (saved(image.quantize(64), "PNG"), ("png", "palette")),
        "gif": (saved(image.quantize(64), "GIF"), ("gif", "palette")),
        "alpha": (saved(image.convert("RGBA"), "PNG"), ("png", "alpha")),
        "rotated": (saved(image, "JPEG", quality=95, exif=exif), ("rotated",)),
    }


@ALL
@pytest.mark.parametrize("case", ["cmyk", "grey", "rgb", "png", "webp", "palette", "gif", "alpha", "rotated"])
def test_every_odd_kind_becomes_a_plain_upright_jpeg_and_is_counted(case, how, picture, saved):
    data, kinds = _cases(picture, saved)[case]
    one = encode(data, how)
    assert one.kinds == kinds
    wanted = Image.open(io.BytesIO(data)).convert("RGB")
    if case == "rotated":
        wanted = wanted.transpose(Image.Transpose.ROTATE_270)
    if not how.keep:
        wanted.thumbnail((40, 40), Image.Resampling.BICUBIC)
    assert (one.height, one.width) == (wanted.height, wanted.width)
    assert simplejpeg.decode_jpeg_header(one.jpeg)[2:] == ("YCbCr", "420")
    luma = np.asarray(wanted.convert("L")).astype(int)
    assert np.abs(simplejpeg.decode_jpeg(one.jpeg, "GRAY")[..., 0] - luma).mean() < 3
    assert encode(one.jpeg, KEEP).jpeg == one.jpeg  # plain now: a second build leaves it alone


@pytest.mark.parametrize("turn", range(2, 9))
def test_each_exif_orientation_is_turned_as_pil_turns_it(turn, picture, saved):
    exif = Image.Exif()
    exif[0x0112] = turn
    data = saved(Image.fromarray(picture(turn)), "JPEG", quality=95, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    one = encode(data, KEEP)
    assert (one.height, one.width) == (upright.height, upright.width)
    assert np.abs(simplejpeg.decode_jpeg(one.jpeg).astype(int) - np.asarray(upright)).mean() < 4


def test_sixteen_bit_grey_is_scaled_not_clipped(saved):
    ramp = np.linspace(0, 65535, 64, dtype=np.uint16)[None].repeat(64, 0)
    one = encode(saved(Image.fromarray(ramp), "PNG"), KEEP)
    assert np.abs(simplejpeg.decode_jpeg(one.jpeg)[0, :, 0].astype(int) - (ramp[0] >> 8)).max() < 4


@ALL
@pytest.mark.parametrize("cut", [0, 1, 100, 700, 0.5, -2])
def test_a_truncated_picture_is_damaged_in_every_mode(cut, how, jpeg):
    data = jpeg(1, 200, 300)
    with pytest.raises(Damaged, match=r"\w"):
        encode(data[: int(len(data) * cut) if isinstance(cut, float) else cut], how)


@ALL
def test_garbage_and_a_truncated_png_are_damaged(how, picture, saved):
    for data in (b"no picture at all" * 99, saved(Image.fromarray(picture(1)), "PNG")[:900]):
        with pytest.raises(Damaged):
            encode(data, how)


@ALL
def test_a_small_file_that_claims_to_be_huge_is_damaged(how, jpeg):
    data = jpeg(1)
    at = data.index(b"\xff\xc0") + 5
    with pytest.raises(Damaged, match="decompression bomb"):
        encode(data[:at] + b"\xff\xdc\xff\xdc" + data[at + 4 :], how)


def test_the_cause_is_the_same_in_every_run():
    causes = []
    for _ in range(2):
        with pytest.raises(Damaged) as caught:
            encode(b"no picture at all", SMALL)
        causes.append(str(caught.value))
    assert causes == ["it is no image of a known format"] * 2


@BOTH
def test_garbled_bytes_inside_are_damaged_or_at_least_suspect(how, jpeg):
    data = jpeg(1, 200, 300)
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(60):
        broken = bytearray(data)
        at = rng.integers(700, len(data) - 40)
        broken[at : at + 20] = rng.bytes(20)
        try:
            found += bool(encode(bytes(broken), how).suspect)
        except Damaged:
            found += 1
    assert found > 20  # the others decode without a complaint: nobody can tell them from an image


def test_bytes_behind_the_end_do_no_harm_and_the_same_input_gives_the_same_output(jpeg):
    assert encode(jpeg(1) + b"trailer", SMALL) == encode(jpeg(1), SMALL)


def test_a_thumbnail_inside_exif_does_not_pass_for_the_end_of_a_picture(jpeg, picture, saved):
    exif = Image.Exif()
    exif[0x010E] = "\0" + jpeg(2, 30, 30).decode("latin1")  # ends in a JPEG's last marker
    whole = saved(Image.fromarray(picture(1)), "JPEG", exif=exif)
    assert encode(whole, LOOK).jpeg == whole
    with pytest.raises(Damaged):
        encode(whole[: len(whole) // 2], LOOK)
