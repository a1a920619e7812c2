"""A look at a file's first bytes and end marker finds the same as the whole file, and finds damaged images."""

import io
import os
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from viewstream.shards.encoding.encode import Damaged, encode
from viewstream.shards.errors import UserError
from viewstream.shards.plain import KEPT, look, plain
from viewstream.shards.sources.local import Local

from ..zoo import ODD, USUAL, exif, saved

BROKEN = {
    "empty": lambda data: b"",
    "cut off": lambda data: data[: len(data) // 2],
    "cut off within its headers": lambda data: data[:300],
    "no image": lambda data: b"no image at all" * 2000,
    "a png without an end": lambda data: saved(Image.open(io.BytesIO(data)), "PNG")[:9000],
}

SEGMENTS = st.lists(st.tuples(st.sampled_from(["comment", "icc_profile", "exif"]), st.integers(0, 30_000)), max_size=3)


@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.parametrize("kind", ["large", "rotated"])
def test_a_damaged_image_is_named_before_the_first_step(usual, image, tmp_path, fault, kind):
    source = shutil.copytree(usual, tmp_path / "some")
    path = source / "train" / "bee" / "broken.JPEG"
    path.write_bytes(BROKEN[fault]((USUAL | ODD)[kind](image)))
    with pytest.raises(UserError, match=rf"{path} is damaged: .*--on-error skip"):
        plain(source)


def test_an_unreadable_file_is_named(usual, tmp_path):
    source = shutil.copytree(usual, tmp_path / "some")
    os.mkfifo(source / "train" / "bee" / "pipe.JPEG")
    with pytest.raises(UserError, match=r"pipe.JPEG is damaged: .* is a pipe"):
        plain(source)


@settings(max_examples=60, deadline=None)
@given(
    segments=SEGMENTS,
    orientation=st.integers(0, 9),
    gray=st.booleans(),
    side=st.sampled_from([8, 60, 300]),
    trailing=st.sampled_from([0, 1, 20_000]),
    cut=st.sampled_from([None, None, None, 0.5, 16_384, 16_386, -1]),
)
def test_a_look_finds_the_same_as_the_whole_file(
    tmp_path_factory, image, segments, orientation, gray, side, trailing, cut
):
    options = {"exif": exif(orientation)}
    for kind, size in segments:
        values = {"comment": b"\xff\xd9" * size, "icc_profile": b"\xff\xda" * size}
        options[kind] = exif(orientation, more=size) if kind == "exif" else values[kind]
    if not orientation:
        del options["exif"]
    small = image.resize((side, side)).convert("L" if gray else "RGB")
    data = saved(small, quality=95, **{name: value for name, value in options.items() if value})
    data += b"\xff\xd9" * trailing
    data = data if cut is None else data[: int(cut * len(data)) if isinstance(cut, float) else cut]
    folder = tmp_path_factory.getbasetemp()
    (folder / "one.JPEG").write_bytes(data)
    try:
        one = encode(data, KEPT)
    except Damaged:
        with pytest.raises(UserError, match="damaged"):
            look(Local(folder), "one.JPEG")
        return
    found = look(Local(folder), "one.JPEG")
    assert found == (one.height, one.width, len(one.jpeg), one.jpeg != data, one.kinds, one.suspect)
