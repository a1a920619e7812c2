"""A look at a file's ends tells what the whole file tells, and finds damaged images."""

import io
import os
import shutil
from contextlib import nullcontext

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
    "no picture": lambda data: b"no picture at all" * 2000,
    "a png without an end": lambda data: saved(Image.open(io.BytesIO(data)), "PNG")[:9000],
}

SEGMENTS = st.lists(st.tuples(st.sampled_from(["comment", "icc", "exif"]), st.integers(0, 30_000)), max_size=3)


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("kind", ["large", "rotated"])
def test_a_damaged_picture_is_named_before_the_first_step(usual, image, tmp_path, how, kind):
    source = shutil.copytree(usual, tmp_path / "some")
    path = source / "train" / "bee" / "broken.JPEG"
    path.write_bytes(BROKEN[how]((USUAL | ODD)[kind](image)))
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
    turn=st.integers(0, 9),
    grey=st.booleans(),
    side=st.sampled_from([8, 60, 300]),
    behind=st.sampled_from([0, 1, 20_000]),
    cut=st.sampled_from([None, None, None, 0.5, 16_384, 16_386, -1]),
)
def test_a_files_ends_tell_what_the_whole_file_tells(tmp_path_factory, image, segments, turn, grey, side, behind, cut):
    how = {"comment": b"", "icc_profile": b"", "exif": exif(turn)}
    for kind, size in segments:
        value = {"comment": b"\xff\xd9" * size, "icc": b"\xff\xda" * size, "exif": exif(turn, more=size)}[kind]
        how[{"icc": "icc_profile"}.get(kind, kind)] = value
    picture = image.resize((side, side)).convert("L" if grey else "RGB")
    data = saved(picture, quality=95, **{k: v for k, v in how.items() if v and not (k == "exif" and not turn)})
    data += b"\xff\xd9" * behind
    data = data if cut is None else data[: int(cut * len(data)) if isinstance(cut, float) else cut]
    folder = tmp_path_factory.getbasetemp()
    (folder / "one.JPEG").write_bytes(data)
    try:
        one = encode(data, KEPT)
        wanted, context = (
            (one.height, one.width, len(one.jpeg), one.jpeg != data, one.kinds, one.suspect),
            nullcontext(),
        )
    except Damaged:
        wanted, context = None, pytest.raises(UserError, match="damaged")
    with context:
        assert look(Local(folder), "one.JPEG") == wanted
