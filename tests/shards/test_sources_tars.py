"""Archives that are read without unpacking: what lies in them is found, and every damage is named."""

import gzip
import io
import json
import pickle
import struct
import tarfile
import zlib

import numpy as np
import pytest

from viewstream.shards.build import BuildOptions, build
from viewstream.shards.errors import UserError
from viewstream.shards.sources.detect import open_source
from viewstream.shards.sources.ilsvrc import ilsvrc
from viewstream.shards.sources.matfile import load
from viewstream.shards.sources.storage import storage
from viewstream.shards.sources.tarwalk import members
from viewstream.shards.sources.webdataset import walk, webdataset

LONG = "n01440764/" + "ü" * 120 + ".JPEG"
TRUTH, META = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"


def tar(members, form=tarfile.GNU_FORMAT):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as made:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return file.getvalue()


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
    """meta.mat as the kit has it: leaves by their number, and a parent behind them."""
    names = [b"ILSVRC2012_ID", b"WNID", b"words", b"num_children"]
    rows = [(i + 1, wnid, 0) for i, wnid in enumerate(wnids)] + [(len(wnids) + 1, "n00001740", len(wnids))]
    values = [v for i, w, n in rows for v in (number(i), text(w), text("a, b"), number(n))]
    fields = element(5, struct.pack("<i", 32)) + element(1, b"".join(n.ljust(32, b"\0") for n in names))
    body = zlib.compress(matrix(2, (len(rows), 1), b"synsets", fields, *values))
    return b"MATLAB 5.0".ljust(124) + b"\0\1IM" + struct.pack("<II", 15, len(body)) + body


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_in_a_tar_is_ranges_of_the_outer_one_whatever_its_names(form):
    inside = [("n01440764/a.JPEG", b"first"), (LONG, b"x" * 513), ("./empty.JPEG", b"")]
    outer = io.BytesIO(tar([("z", b"zz"), ("n01440764.tar", tar(inside, form))], form))
    _, inner = members(outer, "outer")
    found = list(members(outer, "inner", inner.offset, inner.offset + inner.size))
    assert [m.name for m in found] == [name for name, _ in inside]
    assert [outer.getvalue()[m.offset : m.offset + m.size] for m in found] == [data for _, data in inside]


def test_folders_are_no_members_and_links_are_refused():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        for name, kind in (("d", tarfile.DIRTYPE), ("d/x.jpg", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "elsewhere"
            made.addfile(info)
    with pytest.raises(UserError, match=r"'d/x\.jpg' in t is a link: pack it with tar --dereference"):
        list(members(file, "t"))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda t: t[:1000], r"is cut off at byte 1000: 'a/0\.JPEG' at byte 0 goes on to byte 1112"),
        (lambda t: t[:1300], r"is cut off at byte 1300: it has no end mark at byte 1536"),
        (lambda t: t[:1536], r"is cut off at byte 1536: it has no end mark at byte 1536"),
        (lambda t: t[:1540] + b"\xff" * 600, r"is no tar, or damaged at byte 1536"),
        (lambda t: b"GIF89a" * 300, r"is no tar, or damaged at byte 0"),
    ],
)
def test_a_damaged_tar_is_named_with_the_place(damage, said, tmp_path):
    whole = tar([("a/0.JPEG", b"x" * 600), ("a/1.JPEG", b"y" * 600)])
    (tmp_path / "t.tar").write_bytes(damage(whole))
    with pytest.raises(UserError, match=r"t\.tar .*" + said):
        open_source(str(tmp_path / "t.tar"), "train")


def block(size, kind=b"0"):
    """A header with a size of our own and a checksum that is right."""
    made = bytearray(tar([("a/x.jpg", b"")])[:512])
    made[124:136], made[148:156], made[156:157] = size.ljust(12, b"\0"), b" " * 8, kind
    made[148:156] = b"%06o\0 " % sum(made)
    return bytes(made)


@pytest.mark.parametrize(
    "data",
    [
        block(b"-0000001000"),
        block(b"%o" % 5000, b"x") + b"9" * 5000,
        block(b"%o" % 5010, b"x") + b"5010 size=" + b"9" * 5000,
        block(b"2000000", b"x") + b"5 a=\n" * 100_000 + b"0 a=b\n",
    ],
    ids=["size below zero", "endless length", "endless size", "many records"],
)
def test_numbers_of_a_garbled_header_neither_hang_nor_break_the_walk(data):
    with pytest.raises(UserError, match=r"t is no tar, or damaged at byte 0|t is damaged at byte 512|t is cut off"):
        list(members(io.BytesIO(data + bytes(2048)), "t"))


def test_the_record_of_a_sparse_file_may_be_no_text():
    data = block(b"20", b"x") + b"16 GNU.sparse\xff=\n".ljust(512, b"\0") + bytes(1024)
    assert list(members(io.BytesIO(data), "t")) == []


WNIDS = ["n02000000", "n01000000", "n03000000"]  # by their numbers: not sorted
PICTURES = {f"ILSVRC2012_val_{i:08d}.JPEG": b"jpeg %d" % i for i in range(1, 8)}
NUMBERS = [1, 3, 2, 2, 1, 3, 3]


@pytest.fixture
def val(tmp_path):
    """The validation archive, its members in some order; the truth is for the test to put there."""
    names = sorted(PICTURES, key=lambda n: hash(n) % 7)
    (tmp_path / "ILSVRC2012_img_val.tar").write_bytes(tar([(n, PICTURES[n]) for n in names]))
    return tmp_path


def kit(root, how):
    truth, table = "".join(f"{n}\n" for n in NUMBERS).encode(), meta(WNIDS)
    if how == "packed":
        files = [(f"ILSVRC2012_devkit_t12/data/{n}", d) for n, d in ((TRUTH, truth), (META, table))]
        (root / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(gzip.compress(tar(files)))
    elif how == "kaggle":
        lines = [f"{n[:-5]},{WNIDS[c - 1]} 1 2 3 4 \n" for n, c in zip(PICTURES, NUMBERS, strict=True)]
        (root / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "".join(lines[::-1]))
    else:
        data = root / "ILSVRC2012_devkit_t12" / "data"
        data.mkdir(parents=True)
        (data / TRUTH).write_bytes(truth)
        (data / META).write_bytes(table)


@pytest.mark.parametrize("how", ["packed", "unpacked", "kaggle"])
def test_validation_pictures_get_the_classes_that_the_kit_gives_them(how, val):
    kit(val, how)
    source = pickle.loads(pickle.dumps(open_source(str(val), "val")))
    assert source.classes == tuple(sorted(WNIDS))
    want = sorted(f"{WNIDS[c - 1]}/{n}" for n, c in zip(PICTURES, NUMBERS, strict=True))
    assert source.paths == want
    assert [source.classes[c] for c in source.label] == [p[:9] for p in want]
    assert [source.reader.read(p) for p in source.places] == [PICTURES[p[10:]] for p in want]


def test_a_missing_or_damaged_truth_is_named(val):
    with pytest.raises(UserError, match=r"put there ILSVRC2012_devkit_t12\.tar\.gz, or .*LOC_val_solution\.csv"):
        ilsvrc(val, "val")
    with pytest.raises(UserError, match=r"has no ILSVRC2012_img_train\.tar: the train split is in it"):
        ilsvrc(val, "train")
    kit(val, "unpacked")
    data = val / "ILSVRC2012_devkit_t12" / "data"
    (data / TRUTH).write_text("1\n2\n")
    with pytest.raises(UserError, match="has 2 lines, there are 7 validation pictures"):
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


def sample(key, label=None, page=None, suffix="jpg"):
    made = [(f"{key}.{suffix}", key.encode(errors="replace"))]
    made += [] if label is None else [(f"{key}.cls", str(label).encode())]
    return made + ([] if page is None else [(f"{key}.json", json.dumps(page).encode())])


def test_classes_are_folders_of_keys_then_the_page_then_numbers(tmp_path):
    folders = [*sample("cat/1", 0), *sample("dog/1", 1, suffix="PNG"), *sample("dog/2.x", 1)]
    (tmp_path / "a.tar").write_bytes(tar(folders))
    source = webdataset(tmp_path / "a.tar", "val")
    assert source.classes == ("cat", "dog")
    assert source.paths[:2] == ["cat/1.jpg", "dog/1.PNG"]
    (tmp_path / "a.tar").write_bytes(tar([*sample("x/1", 0), *sample("x/2", None, {"label": 2})]))
    assert webdataset(tmp_path / "a.tar", "val").classes == ("0", "1", "2")
    (tmp_path / "dataset.json").write_text(json.dumps({"classes": ["p", "q", "r"], "split": "val"}))
    assert webdataset(tmp_path / "a.tar", "val").classes == ("p", "q", "r")
    with pytest.raises(UserError, match="this is the val split: take --split val"):
        webdataset(tmp_path / "a.tar", "train")
    (tmp_path / "dataset.json").write_text(json.dumps({"classes": ["p"]}))
    with pytest.raises(UserError, match=r"has a label 2, its dataset\.json names 1 classes"):
        webdataset(tmp_path / "a.tar", "val")


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ([*sample("x/1", 0), *sample("x/2")], "1 of 2 pictures in .* have no label: give all of them one, or none"),
        ([*sample("x/1", "cat")], "the label of x/1 cannot be read"),
        ([*sample("x/1", 10**30)], "the label of x/1 cannot be read"),
        ([*sample("x/1", 0), ("x/1.png", b"")], r"several pictures of key x/1 \(jpg and png\)"),
        ([*sample("x/1", 0), *sample("x/2", 0), *sample("x/1", 0)], "share the key x/1"),
        ([*sample("../../x/1", 0)], "leads out of the source"),
        ([("x.txt", b"")], "holds no pictures"),
        ([("x/1.jpg", b""), ("x/1.json", b"[" * 300_000)], "the label of x/1 cannot be read"),
        ([*sample("x/\udcff", 0)], "is not UTF-8"),
    ],
)
def test_samples_that_cannot_stand_are_refused_by_name(made, said, tmp_path):
    (tmp_path / "a.tar").write_bytes(tar(made))
    with pytest.raises(UserError, match=said):
        webdataset(tmp_path / "a.tar", "train")


@pytest.mark.parametrize("page", ["[" * 100_000, "[]", '{"classes": 5}', '{"classes": "ab"}', '{"files": [null]}'])
def test_a_page_that_describes_no_set_is_refused(page, tmp_path):
    (tmp_path / "a.tar").write_bytes(tar(sample("x/1", 0)))
    (tmp_path / "dataset.json").write_text(page)
    with pytest.raises(UserError, match=r"dataset\.json is damaged .*: remove it to read the tars without"):
        webdataset(tmp_path / "a.tar", "train")


def test_a_line_break_in_a_folders_name_is_part_of_the_key(tmp_path):
    (tmp_path / "a.tar").write_bytes(tar(sample("x\ny/1", 0)))
    assert webdataset(tmp_path / "a.tar", "train").paths == ["x\ny/1.jpg"]


def test_pictures_without_any_label_are_a_source_without_classes(tmp_path):
    (tmp_path / "a.tar").write_bytes(tar([*sample("2"), *sample("1")]))
    source = webdataset(tmp_path, "train")
    assert (source.classes, source.paths, source.label.tolist()) == ((), ["1.jpg", "2.jpg"], [-1, -1])


def test_tars_of_other_splits_are_left_alone_and_a_missing_one_is_named(tmp_path):
    for name in ("x-train-0.tar", "x-train-1.tar", "x-validation-0.tar"):
        (tmp_path / name).write_bytes(tar(sample(f"k/{name[:-4]}", 0)))
    assert webdataset(tmp_path, "train").paths == ["k/x-train-0.jpg", "k/x-train-1.jpg"]
    assert webdataset(tmp_path, "val").paths == ["k/x-validation-0.jpg"]
    with pytest.raises(UserError, match=r"x-train-2\.tar is not there"):
        webdataset(tmp_path / "x-train-{0..2}.tar", "train")


def test_a_built_set_is_a_source_and_the_walk_finds_what_its_manifest_says(tree, tmp_path):
    want = build(BuildOptions(source=tree, out=tmp_path / "set", format=("webdataset",), workers=1))
    source = open_source(str(want.root), "train")
    assert source.classes == want.info.classes
    assert sorted(source.uids(np.arange(len(source))).tolist()) == sorted(want.uid.tolist())
    found = list(walk(storage(str(want.root)), [p.name for p in want.tars()]))
    assert [s.key for s in found] == want.keys
    assert [s.label for s in found] == want.label.tolist()
    assert [(s.tar, s.offset, s.length) for s in found] == list(
        zip(want.shard.tolist(), want.offset.tolist(), want.bytes.tolist(), strict=True)
    )
