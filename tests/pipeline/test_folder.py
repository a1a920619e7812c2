"""Pictures in files: of a built set, of the source that a set kept, of a folder that nobody built."""

import io
import os
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from viewstream.augment.recipes import evaluation, moco_v2
from viewstream.pipeline.folder import Kept, Pictures, open_door
from viewstream.pipeline.order import Plan
from viewstream.pipeline.stream import Stream
from viewstream.shards.build import BuildOptions, build
from viewstream.shards.encode import Damaged, encode
from viewstream.shards.errors import UserError
from viewstream.shards.plain import HEAD, KEPT, look, plain
from viewstream.shards.read import Folder
from viewstream.shards.sources.local import Local


def saved(image, form="JPEG", **how):
    file = io.BytesIO()
    image.save(file, form, **how)
    return file.getvalue()


def exif(turn, more=0):
    page = Image.Exif()
    page[0x0112] = turn
    page[0x010E] = "x" * more
    return page


ODD = {
    "cmyk": lambda i: saved(i.convert("CMYK")),
    "grey": lambda i: saved(i.convert("L")),
    "rgb": lambda i: saved(i, keep_rgb=True),
    "png": lambda i: saved(i, "PNG"),
    "palette": lambda i: saved(i.quantize(64), "PNG"),
    "rotated": lambda i: saved(i, exif=exif(6)),
    "mirrored": lambda i: saved(i, exif=exif(5, more=HEAD)),  # behind headers longer than a look at the head
}
USUAL = {
    "upright": lambda i: saved(i, exif=exif(1)),
    "talkative": lambda i: saved(i, comment=b"x" * 40_000),
    "progressive": lambda i: saved(i, progressive=True),
    "trailing": lambda i: saved(i) + b"trailer" * 4000,
    "large": lambda i: saved(i.resize((500, 400)), quality=98),
    "small": lambda i: saved(i.resize((9, 5))),
}


def grown(root, kinds, image, each=1):
    """An ImageFolder of two classes, `each` pictures of each kind in both."""
    for name in ("ant", "bee"):
        folder = root / "train" / name
        folder.mkdir(parents=True)
        for kind, make in kinds.items():
            for n in range(each):
                (folder / f"{kind}.{n}.JPEG").write_bytes(make(image.rotate(5 * n + len(name + kind))))
    return root


@pytest.fixture(scope="module")
def image(photos):
    return photos(1)[0].resize((96, 70))


@pytest.fixture(scope="module")
def zoo(tmp_path_factory, image):
    """Usual and odd pictures, 52 in all."""
    return grown(tmp_path_factory.mktemp("plain") / "zoo", USUAL | ODD, image, each=2)


@pytest.fixture(scope="module")
def zoo_built(zoo, tmp_path_factory):
    out = tmp_path_factory.mktemp("sets") / "zoo"
    return build(BuildOptions(source=zoo, out=out, keep=True, format=("webdataset", "folder"), workers=1))


@pytest.fixture(scope="module")
def usual(tmp_path_factory, image):
    return grown(tmp_path_factory.mktemp("plain") / "usual", USUAL, image, each=3)


def kept(source, out):
    return build(BuildOptions(source=source, out=out, keep=True, format=("webdataset",), workers=1))


@pytest.fixture(scope="module")
def usual_kept(usual, tmp_path_factory):
    """Built from `usual` with --keep, as tars only."""
    return kept(usual, tmp_path_factory.mktemp("sets") / "usual")


@pytest.fixture
def lent(usual, tmp_path):
    """A copy of `usual` to change, and a set built of it."""
    source = shutil.copytree(usual, tmp_path / "lent")
    return source, kept(source, tmp_path / "set")


def batches(manifest, door, views):
    stream = Stream(manifest, Plan(len(manifest), 12, seed=5), views, door, threads=2)
    try:
        return list(stream.epoch(3))
    finally:
        stream.close()


def assert_same(one, two):
    assert len(one) == len(two) > 0
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a.index, b.index)
        assert torch.equal(a.target, b.target)
        assert all(torch.equal(v, w) for v, w in zip(a.views, b.views, strict=True))


def test_a_plain_folder_is_described_as_a_build_that_keeps_it_describes_it(zoo, zoo_built):
    made = plain(zoo)
    for column in ("uid", "label", "height", "width", "bytes"):
        assert np.array_equal(getattr(made, column), getattr(zoo_built, column)), column
        assert getattr(made, column).dtype == getattr(zoo_built, column).dtype
    assert made.keys == zoo_built.keys
    assert made.strings("source") == zoo_built.strings("source")
    for field in ("split", "classes", "counts", "samples", "subset", "encoding", "report"):
        assert getattr(made.info, field) == getattr(zoo_built.info, field), field


def test_a_plain_folder_gives_the_bytes_that_a_build_stores_odd_pictures_too(zoo, zoo_built):
    door, built = open_door(plain(zoo)), open_door(zoo_built)
    assert isinstance(door, Pictures)
    assert isinstance(built, Folder)
    for row in range(len(zoo_built)):
        assert door.read(row) == built.read(row), zoo_built.keys[row]


@pytest.mark.parametrize("recipe", [moco_v2, evaluation])
def test_a_plain_folder_and_a_built_one_show_the_same_batches(zoo, zoo_built, recipe):
    folder = plain(zoo)
    assert_same(batches(folder, open_door(folder), recipe(32)), batches(zoo_built, open_door(zoo_built), recipe(32)))


def test_a_set_that_kept_its_source_is_read_from_there_and_shows_the_same_batches(usual, usual_kept):
    door = open_door(usual_kept, str(usual))
    assert isinstance(door, Kept)
    for row, name in enumerate(usual_kept.strings("source")):
        assert door.read(row) == (usual / "train" / name).read_bytes()
    folder = plain(usual)
    assert_same(batches(usual_kept, door, moco_v2(32)), batches(folder, open_door(folder), moco_v2(32)))


def test_the_folder_of_a_half_or_of_a_subset_serves_as_well(usual, tmp_path):
    part = build(BuildOptions(source=usual / "train", out=tmp_path / "a", keep=True, format=("webdataset",), workers=1))
    whole, half = (open_door(part, str(folder)) for folder in (usual, usual / "train"))
    assert [whole.read(row) for row in range(len(part))] == [half.read(row) for row in range(len(part))]


def test_a_set_of_shrunk_pictures_is_refused_with_the_command_whatever_the_source(usual, tmp_path):
    made = build(BuildOptions(source=usual, out=tmp_path / "out", format=("webdataset",), workers=1))
    with pytest.raises(UserError, match=r"holds webdataset, not folder: build it with .*--format folder"):
        open_door(made, str(usual))


def test_a_set_with_pictures_that_the_build_made_plain_is_refused_and_they_are_counted(zoo, tmp_path):
    with pytest.raises(UserError, match=r"other pictures of some \(4 cmyk, 4 grey, .*8 rotated.*--format folder"):
        open_door(kept(zoo, tmp_path / "out"), str(zoo))


def test_a_kept_set_asks_for_its_source_by_name(usual_kept):
    with pytest.raises(UserError, match=r"not folder, but .* --source, or build it with .*--format folder"):
        open_door(usual_kept)


@pytest.mark.parametrize("where", ["elsewhere", "s3://bucket/usual"])
def test_a_source_that_is_not_there_is_named(usual_kept, tmp_path, where):
    source = where if "://" in where else str(tmp_path / where)
    with pytest.raises(UserError, match=rf"{where} has no train/\w+/.* name another --source"):
        open_door(usual_kept, source)


def test_files_of_another_size_are_counted_when_the_door_is_opened(lent):
    source, made = lent
    first, second, third = sorted(made.strings("source")[5:8], key=made.strings("source").index)
    (source / "train" / first).unlink()
    for name in (second, third):
        (source / "train" / name).write_bytes(b"another picture")
    with pytest.raises(UserError, match=rf"3 of the 36 files under .*train.* the first {first}: .*--format folder"):
        open_door(made, str(source))


def test_a_file_of_the_same_size_and_other_bytes_is_named_when_it_is_first_read(lent):
    source, made = lent
    path = source / "train" / made.strings("source")[7]
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    door = open_door(made, str(source))
    assert door.read(6)
    for _ in range(2):
        with pytest.raises(UserError, match=rf"{path} has changed since the set was built: .*--format folder"):
            door.read(7)


def test_a_file_that_goes_while_the_door_is_open_is_named(lent):
    source, made = lent
    door, pictures = open_door(made, str(source)), open_door(plain(source))
    path = source / "train" / made.strings("source")[7]
    path.unlink()
    for one in (door, pictures):
        with pytest.raises(UserError, match=rf"{path}.*No such file"):
            one.read(7)


def test_every_door_is_read_from_many_threads(zoo, zoo_built, usual, usual_kept):
    for manifest, source in ((plain(zoo), ""), (zoo_built, ""), (usual_kept, str(usual))):
        door = open_door(manifest, source)
        alone = [door.read(row) for row in range(len(manifest))]
        again = open_door(manifest, source)
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(again.read, list(range(len(manifest))) * 3)) == alone * 3


def test_looking_and_reading_leave_the_warnings_of_others_alone(zoo):
    before = list(warnings.filters)
    door = open_door(plain(zoo))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(door.read, range(52)))
    assert list(warnings.filters) == before


BROKEN = {
    "empty": lambda data: b"",
    "cut off": lambda data: data[: len(data) // 2],
    "cut off within its headers": lambda data: data[:300],
    "no picture": lambda data: b"no picture at all" * 2000,
    "a png without an end": lambda data: saved(Image.open(io.BytesIO(data)), "PNG")[:9000],
}


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


def test_pictures_alone_are_unlabelled(usual):
    made = plain(usual / "train" / "ant")
    assert (made.label == -1).all()
    assert (made.info.classes, made.info.counts, len(made)) == ((), (), 18)
    with pytest.raises(UserError, match="unlabelled"):
        made.require_labels("kNN")


@pytest.mark.parametrize(
    ("where", "cause"),
    [
        ("absent", "does not exist"),
        ("empty", "holds no pictures"),
        ("s3://bucket/x", "remote"),
        ("a.tar", "webdataset"),
    ],
)
def test_what_is_no_folder_of_pictures_is_refused(tmp_path, where, cause):
    (tmp_path / "empty" / "train" / "ant").mkdir(parents=True)
    with pytest.raises(UserError, match=cause):
        plain(where if "://" in where else tmp_path / where)


def test_a_built_set_is_no_plain_folder(zoo_built):
    with pytest.raises(UserError, match=r"webdataset source, .*build_shards\.py"):
        plain(zoo_built.root)


def test_a_plain_folder_has_no_digests_and_no_shards(usual):
    made = plain(usual)
    with pytest.raises(UserError, match="no sha256"):
        made.strings("sha256")
    with pytest.raises(UserError, match="holds plain, not webdataset"):
        made.require("webdataset")


SEGMENTS = st.lists(st.tuples(st.sampled_from(["comment", "icc", "exif"]), st.integers(0, 30_000)), max_size=3)


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


def test_every_door_says_where_a_sample_lies(zoo, zoo_built, usual, usual_kept):
    for manifest, source in ((plain(zoo), ""), (zoo_built, ""), (usual_kept, str(usual))):
        door = open_door(manifest, source)
        with open(door.place(5), "rb") as file:
            assert door.read(5) == (encode(file.read(), KEPT).jpeg)
