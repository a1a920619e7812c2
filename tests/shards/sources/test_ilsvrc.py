"""ImageNet's own archives: validation images get their classes from the kit or from Kaggle's table."""

import gzip
import pickle
import struct
import zlib

import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.sources.detect import open_source
from viewstream.shards.sources.ilsvrc import ilsvrc
from viewstream.shards.sources.matfile import load

from ..archives import tar

TRUTH, META = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"
WNIDS = ["n02000000", "n01000000", "n03000000"]  # in the order of their numbers, which is not the sorted one
IMAGES = {f"ILSVRC2012_val_{i:08d}.JPEG": b"jpeg %d" % i for i in range(1, 8)}
NUMBERS = [1, 3, 2, 2, 1, 3, 3]


def element(kind, data):
    if len(data) <= 4 and kind != 14:
        return struct.pack("<HH", kind, len(data)) + data.ljust(4, b"\0")
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def matrix(kind, shape, name, *parts):
    head = element(6, struct.pack("<II", kind, 0)) + element(5, struct.pack("<ii", *shape)) + element(1, name)
    return element(14, head + b"".join(parts))


def number(value):
    return matrix(6, (1, 1), b"", element(4, struct.pack("<H", value)))


def text(value):
    return matrix(4, (1, len(value)), b"", element(4, value.encode("utf-16-le")))


def meta(wnids):
    """meta.mat as in the kit: leaves by their number, then a parent."""
    names = [b"ILSVRC2012_ID", b"WNID", b"words", b"num_children"]
    rows = [(i + 1, wnid, 0) for i, wnid in enumerate(wnids)] + [(len(wnids) + 1, "n00001740", len(wnids))]
    values = [v for i, w, n in rows for v in (number(i), text(w), text("a, b"), number(n))]
    fields = element(5, struct.pack("<i", 32)) + element(1, b"".join(n.ljust(32, b"\0") for n in names))
    body = zlib.compress(matrix(2, (len(rows), 1), b"synsets", fields, *values))
    return b"MATLAB 5.0".ljust(124) + b"\0\1IM" + struct.pack("<II", 15, len(body)) + body


@pytest.fixture
def val(tmp_path):
    """A folder with the validation archive, its members unsorted; the test adds the kit or the table."""
    names = sorted(IMAGES, reverse=True)
    (tmp_path / "ILSVRC2012_img_val.tar").write_bytes(tar([(n, IMAGES[n]) for n in names]))
    return tmp_path


def kit(root, form):
    """Write the classes into `root` as a packed kit, an unpacked kit, or Kaggle's table."""
    truth, table = "".join(f"{n}\n" for n in NUMBERS).encode(), meta(WNIDS)
    if form == "packed":
        files = [(f"ILSVRC2012_devkit_t12/data/{n}", d) for n, d in ((TRUTH, truth), (META, table))]
        (root / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(gzip.compress(tar(files)))
    elif form == "kaggle":
        lines = [f"{n[:-5]},{WNIDS[c - 1]} 1 2 3 4 \n" for n, c in zip(IMAGES, NUMBERS, strict=True)]
        (root / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "".join(lines[::-1]))
    else:
        data = root / "ILSVRC2012_devkit_t12" / "data"
        data.mkdir(parents=True)
        (data / TRUTH).write_bytes(truth)
        (data / META).write_bytes(table)


@pytest.mark.parametrize("form", ["packed", "unpacked", "kaggle"])
def test_validation_images_get_the_classes_of_the_kit(form, val):
    kit(val, form)
    source = pickle.loads(pickle.dumps(open_source(str(val), "val")))
    assert source.classes == tuple(sorted(WNIDS))
    want = sorted(f"{WNIDS[c - 1]}/{n}" for n, c in zip(IMAGES, NUMBERS, strict=True))
    assert source.paths == want
    assert [source.classes[c] for c in source.label] == [p[:9] for p in want]
    assert [source.reader.read(p) for p in source.places] == [IMAGES[p[10:]] for p in want]


def test_members_that_are_no_images_are_counted(tmp_path):
    inner = tar([("n01_1.JPEG", b"jpeg"), ("notes.txt", b"")])
    (tmp_path / "ILSVRC2012_img_train.tar").write_bytes(tar([("n01.tar", inner), ("synsets.txt", b"")]))
    source = open_source(str(tmp_path), "train")
    assert source.paths == ["n01/n01_1.JPEG"]
    assert sorted(source.passed.names.values()) == [["n01.tar/notes.txt"], ["synsets.txt"]]


def test_missing_or_damaged_tables_are_named_in_the_error(val):
    with pytest.raises(UserError, match=r"put there ILSVRC2012_devkit_t12\.tar\.gz, or .*LOC_val_solution\.csv"):
        ilsvrc(val, "val")
    with pytest.raises(UserError, match=r"has no ILSVRC2012_img_train\.tar: the train split is in it"):
        ilsvrc(val, "train")
    kit(val, "unpacked")
    data = val / "ILSVRC2012_devkit_t12" / "data"
    (data / TRUTH).write_text("1\n2\n")
    with pytest.raises(UserError, match="has 2 lines, there are 7 validation images"):
        ilsvrc(val, "val")
    for damage in (meta(WNIDS)[:-9], b"x" * 400, meta(WNIDS)[:130]):
        (data / META).write_bytes(damage)
        with pytest.raises(UserError, match=r"meta\.mat is damaged"):
            ilsvrc(val, "val")
    (data / META).write_bytes(b"MATLAB 5.0".ljust(124) + b"\0\1IM" + element(14, element(6, bytes(8))))
    with pytest.raises(UserError, match=r"meta\.mat is damaged"):
        ilsvrc(val, "val")
    (val / "LOC_val_solution.csv").write_text('ImageId,PredictionString\n"' + "x" * 200_000)
    with pytest.raises(UserError, match=r"is not Kaggle's table .*field larger"):
        ilsvrc(val, "val")
    (val / "LOC_val_solution.csv").write_text("ImageId,PredictionString\nother,n01 1\n")
    with pytest.raises(UserError, match="is not in the tables beside"):
        ilsvrc(val, "val")


def test_a_matlab_file_gives_numbers_text_and_structs():
    rows = load(meta(["n01", "n02"]))["synsets"]
    assert [r["ILSVRC2012_ID"] for r in rows] == [[1], [2], [3]]
    assert [r["WNID"] for r in rows] == ["n01", "n02", "n00001740"]
