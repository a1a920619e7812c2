"""Shards that other programs wrote become a set when they are described."""

import io
import shutil
import tarfile
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from viewstream.shards.building.build import build
from viewstream.shards.care.index import index
from viewstream.shards.care.verify import STORED, verify
from viewstream.shards.errors import UserError
from viewstream.shards.formats.read import open_beton, open_tar

from ..archives import tar as packed


@pytest.fixture
def theirs(tmp_path, jpeg):
    """A folder of tars from webdataset's own writer, and the JPEGs by key."""
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")
    folder = tmp_path / "theirs"
    folder.mkdir()
    images = {}
    for shard in range(2):
        with webdataset.TarWriter(str(folder / f"some-{shard}.tar")) as tar:
            for n in range(5):
                key = f"sample{shard}{n}"
                images[key] = jpeg(n + 5 * shard, 40 + n, 50)
                tar.write({"__key__": key, "jpg": images[key], "cls": n % 3})
    return folder, images


def test_tars_of_webdatasets_writer_become_a_set(theirs, digests):
    folder, images = theirs
    before = digests(folder)
    made = index(folder, workers=1)
    assert {name: sha for name, sha in digests(folder).items() if name.endswith(".tar")} == before
    reader = open_tar(made)
    assert [reader.read(row) for row in range(10)] == [images[key] for key in made.keys]
    assert made.label.tolist() == [0, 1, 2, 0, 1] * 2
    assert made.info.classes == ("0", "1", "2")
    assert made.hw[3].tolist() == [43, 50]
    assert made.info.formats == ("webdataset",)
    assert made.info.kind == "indexed"
    assert verify(made) == []
    with pytest.raises(UserError, match="describes these files already"):
        index(folder)


@pytest.mark.skipif(not find_spec("ffcv"), reason="ffcv is not installed")
@pytest.mark.parametrize("mode", ["raw", "jpg"])
def test_a_beton_of_ffcvs_writer_becomes_a_set(mode, tmp_path, smooth_pixels):
    from ffcv.fields import FloatField, IntField, RGBImageField
    from ffcv.writer import DatasetWriter

    images = [Image.fromarray(smooth_pixels(n, 40 + n, 60)) for n in range(12)]
    (tmp_path / "theirs").mkdir()
    fields = {"label": IntField(), "weight": FloatField(), "image": RGBImageField(write_mode=mode)}
    writer = DatasetWriter(str(tmp_path / "theirs" / "some.beton"), fields, num_workers=1)
    writer.from_indexed_dataset(_Rows(images))
    made = index(tmp_path / "theirs", workers=1)
    assert made.label.tolist() == [n % 4 for n in range(12)]
    reader = open_beton(made)
    for row, image in enumerate(images):
        data = reader.read(row)
        if mode == "raw":
            assert np.array_equal(data, np.asarray(image))
        else:
            assert np.asarray(Image.open(io.BytesIO(data))).shape == np.asarray(image).shape
        assert made.hw[row].tolist() == [image.height, image.width]
    assert verify(made) == []


class _Rows:
    def __init__(self, images, numbers=(lambda n: n % 4, lambda n: 0.5)):
        self.images, self.numbers = images, numbers

    def __len__(self):
        return len(self.images)

    def __getitem__(self, n):
        return *(number(n) for number in self.numbers), self.images[n]


@pytest.fixture
def beton(tmp_path, smooth_pixels):
    """(field=function from a sample's number to its value, ...) -> the folder of a .beton of eight images."""
    fields = pytest.importorskip("ffcv.fields", reason="ffcv is not installed")
    writer = pytest.importorskip("ffcv.writer")

    def make(**numbers):
        images = [Image.fromarray(smooth_pixels(n, 20, 24)) for n in range(8)]
        kinds = {n: fields.IntField() if isinstance(f(0), int) else fields.FloatField() for n, f in numbers.items()}
        (tmp_path / "b").mkdir()
        kinds["image"] = fields.RGBImageField(write_mode="jpg")
        into = writer.DatasetWriter(str(tmp_path / "b" / "x.beton"), kinds, num_workers=1)
        into.from_indexed_dataset(_Rows(images, tuple(numbers.values())))
        return tmp_path / "b"

    return make


def _third(n):
    return n % 3


def _plus(n):
    return 100 + n


@pytest.mark.parametrize(
    "numbers",
    [
        {"index": _plus, "label": _third},
        {"label": lambda n: float(n % 3), "id": _plus},
        {"id": _plus, "Target": _third},
        {"y": _third, "weight": lambda n: n / 2},
    ],
    ids=lambda numbers: "-".join(numbers),
)
def test_the_label_of_a_beton_is_the_field_that_is_named_so(numbers, beton):
    made = index(beton(**numbers), workers=1)
    assert made.label.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert made.info.classes == ("0", "1", "2")
    (left,) = made.info.report["passed_over"] if len(numbers) > 1 else ({"count": 0},)
    assert left["count"] == len(numbers) - 1


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"index": _plus}, r"which field holds its labels \(index\): name it with --label-field index"),
        ({"a": _third, "b": _plus}, r"which field holds its labels \(a, b\): name it with --label-field a"),
        ({"label": lambda n: n / 2}, r"field label holds 0\.5, which is no class"),
        ({"label": lambda n: float("nan")}, r"field label holds nan, which is no class"),
        ({"label": lambda n: 2**40 + n}, "has a label 1099511627783: a label is the number of a class"),
        ({"label": lambda n: n - 1}, r"1 of 8 images in .*x\.beton have no label"),
    ],
    ids=str,
)
def test_a_beton_whose_labels_are_unclear_is_refused_and_a_field_can_be_named(numbers, message, beton):
    folder = beton(**numbers)
    with pytest.raises(UserError, match=message):
        index(folder, workers=1)
    with pytest.raises(UserError, match="unknown field of labels 'lable'"):
        index(folder, workers=1, label_field="lable")
    assert index(folder, workers=1, label_field="none").info.classes == ()


def test_several_betons_are_one_set_and_words_in_their_names_choose_the_split(beton, smooth_pixels):
    from viewstream.pipeline.readers.ffcv import CachedBetonReader

    folder = beton(label=_third)
    (folder / "x.beton").rename(folder / "b-1.beton")
    shutil.copy(folder / "b-1.beton", folder / "a-0.beton")
    made = index(folder, workers=1)
    assert made.keys == [f"{stem}/{n:08d}" for stem in ("a-0", "b-1") for n in range(8)]
    assert made.label.tolist() == [0, 1, 2, 0, 1, 2, 0, 1] * 2
    assert [line["samples"] for line in made.info.files] == [8, 8]
    for reader in (open_beton(made), CachedBetonReader(made)):
        with reader:
            assert all(reader.read(row) == reader.read(row + 8) for row in range(8))
            assert reader.locate(10).endswith("b-1.beton, its sample 2")
    assert verify(made, workers=1) == []
    data = bytearray((folder / "b-1.beton").read_bytes())
    data[made_at := data.find(b"\xff\xd8\xff") + 200] ^= 1
    (folder / "b-1.beton").write_bytes(data)
    assert [(d.file, len(d.rows)) for d in verify(made, workers=1)] == [("b-1.beton", 1)], made_at
    with pytest.raises(UserError, match=r"holds 2 \.beton files, stock ffcv reads one: take --loader ffcv"):
        made.beton_path()
    (folder / "dataset.json").unlink()
    (folder / "a-0.beton").rename(folder / "a-val.beton")
    (folder / "b-1.beton").rename(folder / "a-train.beton")
    assert index(folder, "val", workers=1).keys == [f"a-val/{n:08d}" for n in range(8)]


def test_an_index_counts_what_it_passes_over_and_strict_refuses_it(tmp_path, jpeg, program):
    members = [
        ("0.jpg", jpeg(0)),
        ("0.cls", b"1"),
        ("0.txt", b"a cat"),
        ("1.jpg", jpeg(1)),
        ("1.cls", b"0"),
        ("notes", b""),
    ]
    (tmp_path / "t.tar").write_bytes(packed(members))
    with pytest.raises(
        UserError, match=r"holds what .* leaves out \(1 members .*0\.txt.*without --strict|leave out --strict"
    ):
        index(tmp_path, workers=1, strict=True)
    done = program("tools/index_shards.py", tmp_path, "--workers", 1)
    assert done.returncode == 0
    assert "passed over  1 members other than image and label (--fields carries them along): 0.txt" in done.stdout
    assert "passed over  1 members whose names give no key: notes" in done.stdout


def test_tars_and_a_beton_of_the_same_images_share_one_id_space(options):
    made = build(options(shard_size="50KB"))
    (made.root / "dataset.json").unlink()
    again = index(made.root, workers=1)
    assert again.keys == made.keys
    tars, beton = open_tar(again), open_beton(again)
    assert all(tars.read(row) == beton.read(row) for row in range(40))
    assert again.info.counts == made.info.counts
    assert again.info.classes == made.info.classes


def test_what_loaders_cannot_decode_is_named_or_left_out(theirs, saved, smooth_pixels):
    folder, _ = theirs
    cmyk = saved(Image.fromarray(smooth_pixels(1)).convert("CMYK"), "JPEG")
    with tarfile.open(folder / "some-2.tar", "w") as tar:
        for name, data in (("odd.jpg", cmyk), ("odd.cls", b"1"), ("cut.jpg", b"\xff\xd8"), ("cut.cls", b"0")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    with pytest.raises(UserError, match=r"odd.jpg cannot be read by the loaders .*2 such.*--on-error skip"):
        index(folder, workers=1)
    made = index(folder, skip=True, workers=1)
    assert len(made) == 10
    assert {row["source"].rpartition("/")[2] for row in made.info.report["skipped"]} == {"odd.jpg", "cut.jpg"}


@pytest.fixture
def odd_tar(tmp_path, jpeg):
    """A folder with a tar of two sound JPEGs, one without its end and one of 12 bits."""
    cut, twelve = jpeg(3)[:-400], bytearray(jpeg(4))
    at = twelve.find(b"\xff\xc0")
    twelve[at + 1], twelve[at + 4] = 0xC1, 12
    (tmp_path / "t").mkdir()
    members = [("ok1.jpg", jpeg(1)), ("ok2.jpg", jpeg(2)), ("cut.jpg", cut), ("twelve.jpg", bytes(twelve))]
    (tmp_path / "t" / "t-000000.tar").write_bytes(packed(members))
    return tmp_path / "t"


def test_jpegs_whose_headers_or_end_rule_decoding_out_are_refused_or_left_out(odd_tar):
    with pytest.raises(UserError, match=r"cut\.jpg cannot be read .*it has no end marker; 2 such"):
        index(odd_tar, workers=1)
    made = index(odd_tar, skip=True, workers=1)
    assert made.keys == ["ok1", "ok2"]
    causes = {row["source"]: row["cause"] for row in made.info.report["skipped"]}
    assert causes == {"cut.jpg": "it is cut off, it has no end marker", "twelve.jpg": "it has 12 bits per value, not 8"}


def test_verify_does_not_call_images_whole_that_were_stored_so(odd_tar, monkeypatch, program):
    with monkeypatch.context() as before:
        before.setattr("viewstream.shards.care.headers.fault_of", lambda data: "")  # as older versions did
        made = index(odd_tar, workers=1)
    (damage,) = verify(made, workers=1)
    assert damage.remedy == STORED
    assert [made.keys[row] for row in damage.rows] == ["cut", "twelve"]
    done = program("tools/verify_shards.py", odd_tar, "--repair")
    assert done.returncode == 2
    assert "2 images were stored so that loaders cannot read them, it is cut off" in done.stdout
    assert "no repair mends what was stored so, build a set without these images" in done.stderr
    flipped = bytearray((odd_tar / "t-000000.tar").read_bytes())
    flipped[made.offset[0] + 300] ^= 1
    (odd_tar / "t-000000.tar").write_bytes(flipped)
    done = program("tools/verify_shards.py", odd_tar)
    assert "1 samples differ (ok1)" in done.stdout
    assert "they were made elsewhere, fetch them again" in done.stderr


def test_a_folder_without_shards_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"holds neither tars nor a \.beton"):
        index(tmp_path)
