"""`encode`: from an image file to one plain JPEG, or to the reason why there is none."""

import io
from dataclasses import replace

import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from viewstream.shards.encoding.encode import Encoding, encode
from viewstream.shards.encoding.headers import END, Damaged, fault_of

SMALL = Encoding(keep=False, max_side=40, short_side=0, quality=95, check="headers")
KEEP = Encoding(keep=True, max_side=40, short_side=0, quality=95, check="decode")
LOOK = Encoding(keep=True, max_side=40, short_side=0, quality=95, check="headers")
BOTH = pytest.mark.parametrize("encoding", [SMALL, KEEP], ids=["small", "keep"])
ALL = pytest.mark.parametrize("encoding", [SMALL, KEEP, LOOK], ids=["small", "keep", "look"])


def test_the_longer_side_shrinks_to_the_limit_and_a_small_image_never_grows(jpeg):
    for height, width, size in [(60, 80, (30, 40)), (80, 60, (40, 30)), (20, 30, (20, 30)), (3, 400, (1, 40))]:
        stored = encode(jpeg(1, height, width), SMALL)
        assert (stored.height, stored.width) == size
        assert simplejpeg.decode_jpeg(stored.jpeg).shape == (*size, 3)


def test_shrinking_is_pils_antialiased_bicubic(smooth_pixels):
    pixels = smooth_pixels(3, 120, 160)
    data = simplejpeg.encode_jpeg(pixels, 100, colorsubsampling="444")
    stored = encode(data, SMALL)
    wanted = np.asarray(Image.fromarray(simplejpeg.decode_jpeg(data)).resize((40, 30), Image.Resampling.BICUBIC))
    luma = np.asarray(Image.fromarray(wanted).convert("L")).astype(int)  # the stored colors are at half resolution
    assert np.abs(simplejpeg.decode_jpeg(stored.jpeg, "GRAY")[..., 0] - luma).mean() < 2


def test_keep_stores_a_plain_jpeg_byte_for_byte_baseline_or_progressive(jpeg, smooth_pixels, saved):
    for data in (jpeg(1), saved(Image.fromarray(smooth_pixels(2)), "JPEG", progressive=True, quality=90)):
        for encoding in (KEEP, LOOK):
            stored = encode(data, encoding)
            assert stored.jpeg == data
            assert (stored.height, stored.width) == simplejpeg.decode_jpeg_header(data)[:2]
            assert stored.kinds == ()


def _cases(smooth_pixels, saved):
    image = Image.fromarray(smooth_pixels(5))
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
def test_every_odd_kind_becomes_a_plain_upright_jpeg_and_is_counted(case, encoding, smooth_pixels, saved):
    data, kinds = _cases(smooth_pixels, saved)[case]
    stored = encode(data, encoding)
    assert stored.kinds == kinds
    wanted = Image.open(io.BytesIO(data)).convert("RGB")
    if case == "rotated":
        wanted = wanted.transpose(Image.Transpose.ROTATE_270)
    if not encoding.keep:
        wanted.thumbnail((40, 40), Image.Resampling.BICUBIC)
    assert (stored.height, stored.width) == (wanted.height, wanted.width)
    assert simplejpeg.decode_jpeg_header(stored.jpeg)[2:] == ("YCbCr", "420")
    luma = np.asarray(wanted.convert("L")).astype(int)
    assert np.abs(simplejpeg.decode_jpeg(stored.jpeg, "GRAY")[..., 0] - luma).mean() < 3
    assert encode(stored.jpeg, KEEP).jpeg == stored.jpeg  # plain now: a second build keeps it


@pytest.mark.parametrize("turn", range(2, 9))
def test_each_exif_orientation_is_turned_as_pil_turns_it(turn, smooth_pixels, saved):
    exif = Image.Exif()
    exif[0x0112] = turn
    data = saved(Image.fromarray(smooth_pixels(turn)), "JPEG", quality=95, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    stored = encode(data, KEEP)
    assert (stored.height, stored.width) == (upright.height, upright.width)
    assert np.abs(simplejpeg.decode_jpeg(stored.jpeg).astype(int) - np.asarray(upright)).mean() < 4


XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{}"/></rdf:RDF></x:xmpmeta>'
)


@ALL
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("turn", [1, 3, 6])
def test_an_orientation_in_xmp_is_turned_as_pil_turns_it(turn, form, encoding, smooth_pixels, saved):
    text = XMP.format(turn)
    options = {"xmp": text.encode(), "quality": 95} if form in ("JPEG", "WEBP") else {}
    if form == "PNG":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", text)
    if form == "TIFF":
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = turn
    data = saved(Image.fromarray(smooth_pixels(turn)), form, **options)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    stored = encode(data, encoding)
    assert ("rotated" in stored.kinds) == (turn > 1 and form != "TIFF")
    if encoding.keep:
        assert (stored.height, stored.width) == (upright.height, upright.width)
        assert np.abs(simplejpeg.decode_jpeg(stored.jpeg).astype(int) - np.asarray(upright)).mean() < 4
    else:
        assert (stored.height > stored.width) == (upright.height > upright.width)


def test_exif_goes_before_xmp(smooth_pixels, saved):
    exif = Image.Exif()
    exif[0x0112] = 1
    data = saved(Image.fromarray(smooth_pixels(1)), "JPEG", exif=exif, xmp=XMP.format(6).encode())
    assert encode(data, LOOK).jpeg == data


def test_a_small_png_at_full_color_resolution_and_quality_100_is_hardly_changed(saved):
    rng = np.random.default_rng(0)
    pixels = np.asarray(Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((32, 32)))
    errors = []
    for changes in ({}, {"quality": 100, "subsampling": "444"}):
        stored = encode(saved(Image.fromarray(pixels), "PNG"), replace(SMALL, **changes))
        errors.append(np.abs(simplejpeg.decode_jpeg(stored.jpeg).astype(int) - pixels))
        assert simplejpeg.decode_jpeg_header(stored.jpeg)[3] == changes.get("subsampling", "420")
    assert errors[0].mean() > 2
    assert errors[1].mean() < 0.5
    assert errors[1].max() <= 4


def test_sixteen_bit_gray_is_scaled_not_clipped(saved):
    ramp = np.linspace(0, 65535, 64, dtype=np.uint16)[None].repeat(64, 0)
    stored = encode(saved(Image.fromarray(ramp), "PNG"), KEEP)
    assert np.abs(simplejpeg.decode_jpeg(stored.jpeg)[0, :, 0].astype(int) - (ramp[0] >> 8)).max() < 4


@ALL
@pytest.mark.parametrize("cut", [0, 1, 100, 700, 0.5, -2])
def test_a_truncated_image_is_damaged_in_every_mode(cut, encoding, jpeg):
    data = jpeg(1, 200, 300)
    with pytest.raises(Damaged, match=r"\w"):
        encode(data[: int(len(data) * cut) if isinstance(cut, float) else cut], encoding)


@ALL
def test_garbage_and_a_truncated_png_are_damaged(encoding, smooth_pixels, saved):
    for data in (b"no image at all" * 99, saved(Image.fromarray(smooth_pixels(1)), "PNG")[:900]):
        with pytest.raises(Damaged):
            encode(data, encoding)


@ALL
def test_a_small_file_that_claims_to_be_huge_is_damaged(encoding, jpeg):
    data = jpeg(1)
    at = data.index(b"\xff\xc0") + 5
    with pytest.raises(Damaged, match="--max-pixels"):
        encode(data[:at] + b"\xff\xdc\xff\xdc" + data[at + 4 :], encoding)


def test_the_cause_is_the_same_in_every_run():
    causes = []
    for _ in range(2):
        with pytest.raises(Damaged) as caught:
            encode(b"no image at all", SMALL)
        causes.append(str(caught.value))
    assert causes == ["it is no image of a known format"] * 2


@BOTH
def test_garbled_bytes_inside_are_damaged_or_at_least_suspect(encoding, jpeg):
    data = jpeg(1, 200, 300)
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(60):
        broken = bytearray(data)
        at = rng.integers(700, len(data) - 40)
        broken[at : at + 20] = rng.bytes(20)
        try:
            found += bool(encode(bytes(broken), encoding).suspect)
        except Damaged:
            found += 1
    assert found > 20  # the others decode without a complaint, as an image would


def test_bytes_after_the_end_do_not_change_the_output(jpeg):
    assert encode(jpeg(1) + b"trailer", SMALL) == encode(jpeg(1), SMALL)


def test_a_thumbnail_inside_exif_does_not_pass_for_the_end_of_an_image(jpeg, smooth_pixels, saved):
    exif = Image.Exif()
    exif[0x010E] = "\0" + jpeg(2, 30, 30).decode("latin1")  # ends in a JPEG's last marker
    whole = saved(Image.fromarray(smooth_pixels(1)), "JPEG", exif=exif)
    assert encode(whole, LOOK).jpeg == whole
    with pytest.raises(Damaged):
        encode(whole[: len(whole) // 2], LOOK)


def header_of(data, frame, bits=8):
    """The JPEG with another process or other bits per value in its frame's header."""
    at, odd = data.find(b"\xff\xc0"), bytearray(data)
    odd[at + 1], odd[at + 4] = frame, bits
    return bytes(odd)


ODD_FRAMES = {
    "it has 12 bits per value, not 8": (0xC1, 12),
    "it has 12 bits": (0xC0, 12),
    "it has 16 bits": (0xC2, 16),
    "it is a lossless JPEG": (0xC3, 8),
    "it is a hierarchical JPEG": (0xC5, 8),
}


@pytest.mark.parametrize(("cause", "frame"), ODD_FRAMES.items())
def test_a_jpeg_that_decoders_cannot_read_is_found_by_its_header(cause, frame, jpeg):
    odd = header_of(jpeg(1), *frame)
    assert fault_of(odd).startswith(cause)
    for encoding in (LOOK, KEEP):
        with pytest.raises(Damaged):
            encode(odd, encoding)


def test_the_end_marker_is_looked_for_after_the_headers(jpeg, smooth_pixels, saved):
    whole = jpeg(1)
    thumbnail = saved(Image.fromarray(smooth_pixels(2, 16, 16)), "JPEG")  # it has an end marker of its own
    assert END in thumbnail
    segment = b"\xff\xe1" + (len(thumbnail) + 8).to_bytes(2) + b"Exif\0\0" + thumbnail
    progressive = saved(Image.fromarray(smooth_pixels(2)), "JPEG", progressive=True)
    for data in (
        whole,
        whole + b"rest",
        progressive,
        b"\xff\xd8" + segment + whole[2:],
        whole[:2] + b"\xff" + whole[2:],
    ):
        assert fault_of(data) == ""
        assert simplejpeg.decode_jpeg(data).size
    for data in (whole[:-2], b"\xff\xd8" + segment + whole[2:-300], whole[:40], b"\xff\xd8"):
        assert fault_of(data).startswith("it is cut off")
