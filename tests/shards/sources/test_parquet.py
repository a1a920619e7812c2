"""Parquet: listing reads no images, staging reads them in one pass, errors name the table."""

import io
import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from viewstream.shards.errors import UserError
from viewstream.shards.sources import stage as staging
from viewstream.shards.sources.detect import open_source
from viewstream.shards.sources.parquet import parquet
from viewstream.shards.sources.wanted import Wanted


def table(path, rows, names=None, image="image", label="label"):
    """Write rows (label, path, bytes) as the `datasets` library does; the path of the table."""
    data = pa.table({image: [{"bytes": d, "path": p} for _, p, d in rows], label: [c for c, *_ in rows]})
    if names:
        features = {label: {"names": names, "_type": "ClassLabel"}, image: {"_type": "Image"}}
        data = data.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(data, path, row_group_size=3)
    return path


def staged(source, folder):
    return source.stage(source, folder, np.arange(len(source)))


def test_class_names_come_from_the_schema_and_paths_from_files_or_rows(tmp_path):
    rows = [(1, "a.png", b"A"), (0, None, b"B"), (1, "x/a.png", b"C"), (0, None, b"D")]
    source = parquet(table(tmp_path / "val" / "0000.parquet", rows, ["tench, fish", "dog"]).parent.parent, "val")
    assert source.classes == ("tench, fish", "dog")
    assert source.paths == ["tench, fish/00000001", "tench, fish/00000003", "dog/a-00000002.png", "dog/a.png"]
    source = staged(source, tmp_path / "stage")
    assert [source.reader.read(p) for p in source.places] == [b"B", b"D", b"C", b"A"]
    with pytest.raises(UserError, match=r"has a label 1, its schema names 1 class: correct one of them"):
        parquet(table(tmp_path / "a.parquet", rows, ["tench, fish"]), "val")


@pytest.mark.parametrize(
    "metadata", ["[" * 100_000, json.dumps({"info": {"features": {"label": {"names": ["\ud800"]}}}})]
)
def test_class_names_that_are_not_text_are_ignored(metadata, tmp_path):
    data = pa.table({"image": [{"bytes": b"A"}], "label": [0]}).replace_schema_metadata({"huggingface": metadata})
    pq.write_table(data, tmp_path / "a.parquet")
    assert parquet(tmp_path / "a.parquet", "train").classes == ("0",)


def test_imagenets_validation_names_get_their_folders_back(tmp_path):
    names = ["ILSVRC2012_val_00000293_n02000000.JPEG", "ILSVRC2012_val_00000001_n01000000.JPEG"]
    path = table(tmp_path / "t.parquet", [(7, names[0], b"A"), (3, names[1], b"B")], list("abcdefgh"))
    source = parquet(path, "val")
    assert source.classes == ("n01000000", "n02000000")
    assert source.paths == ["n01000000/ILSVRC2012_val_00000001.JPEG", "n02000000/ILSVRC2012_val_00000293.JPEG"]


def test_columns_may_have_other_names_and_labels_may_be_missing(tmp_path):
    rows = [(2, None, b"A"), (0, None, b"B")]
    assert parquet(table(tmp_path / "a.parquet", rows, image="img", label="fine_label"), "train").classes == (*"012",)
    source = parquet(table(tmp_path / "a.parquet", [(-1, "p.jpg", b"A"), (-1, "q.jpg", b"B")]), "train")
    assert (source.classes, source.paths, source.label.tolist()) == ((), ["p.jpg", "q.jpg"], [-1, -1])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": ["a"], "label": [0]}, "has no column of images"),
        ({"a": [{"bytes": b""}], "b": [{"bytes": b""}], "label": [0]}, r"several columns of images \(a, b\)"),
        ({"image": [{"bytes": b""}], "label": [[1]]}, r"column label is list.*: labels are whole numbers or names"),
        ({"image": [{"bytes": b""}], "label": [0.5]}, "a label or a path that is invalid"),
        (
            {"image": [{"bytes": b""}], "scene_class": [1]},
            r"look like labels \(scene_class\): choose one with --label-col",
        ),
        ({"image": [{"bytes": b"", "path": p} for p in "ab"], "label": [0, None]}, "1 of 2 images in .* no label"),
        ({"image": [{"bytes": b"", "path": ".."}], "label": [0]}, "leads out of the source"),
        ({"image": [{"bytes": b"", "path": "a\0"}], "label": [0]}, "has a zero byte"),
        ({"image": [{"bytes": "text"}], "label": [0]}, "has no column of images"),
        ({"image": [{"bytes": b""}], "label": pa.array([2**64 - 1], pa.uint64())}, "a label or a path that is invalid"),
        ({"image": [{"bytes": b"", "path": b"\xff"}], "label": [0]}, "a label or a path that is invalid"),
        ({"image": pa.array([], pa.struct([("bytes", pa.binary())]))}, "its tables have no rows"),
    ],
)
def test_tables_without_valid_images_and_labels_are_refused(columns, message, tmp_path):
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=message):
        parquet(tmp_path / "a.parquet", "train")


def test_a_column_marked_as_labels_is_taken_under_any_name(tmp_path):
    rows = [(1, None, b"A"), (0, None, b"B")]
    source = parquet(table(tmp_path / "a.parquet", rows, ["husky", "pug"], label="breed"), "train")
    assert (source.classes, source.label.tolist()) == (("husky", "pug"), [0, 1])
    features = {name: {"names": ["p", "q"], "_type": "ClassLabel"} for name in ("breed", "color")}
    data = pa.table({"image": [{"bytes": b"A"}], "breed": [0], "color": [1]})
    data = data.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(data, tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"look like labels \(breed, color\): choose one with --label-column"):
        parquet(tmp_path / "b.parquet", "train")
    assert parquet(tmp_path / "b.parquet", "train", Wanted(label="color")).label.tolist() == [1]
    assert parquet(tmp_path / "b.parquet", "train", Wanted(label="none")).classes == ()


@pytest.mark.parametrize(
    ("label", "classes", "want"),
    [
        (["dog", "cat", "dog"], ("cat", "dog"), [1, 0, 1]),
        (pa.array(["dog", "cat", "dog"]).dictionary_encode(), ("cat", "dog"), [1, 0, 1]),
        (["2", "0", "2"], ("0", "1", "2"), [2, 0, 2]),
        ([1.0, 0.0, 1.0], ("0", "1"), [1, 0, 1]),
        ([True, False, True], ("0", "1"), [1, 0, 1]),
    ],
)
def test_labels_may_be_names_or_numbers_of_any_type(label, classes, want, tmp_path):
    pq.write_table(pa.table({"image": [{"bytes": b"A"}] * 3, "label": label}), tmp_path / "a.parquet")
    source = parquet(tmp_path / "a.parquet", "train")
    assert source.classes == classes
    assert source.label.tolist() == sorted(want)


def test_folders_of_paths_are_the_classes_of_images_without_labels(tmp_path):
    paths = ["x/dog/1.jpg", "x/cat/1.jpg", "x/cat/2.jpg"]
    pq.write_table(pa.table({"image": [{"bytes": b"A", "path": path} for path in paths]}), tmp_path / "a.parquet")
    source = parquet(tmp_path / "a.parquet", "train")
    assert (source.classes, source.paths) == (("cat", "dog"), ["cat/1.jpg", "cat/2.jpg", "dog/1.jpg"])
    assert parquet(tmp_path / "a.parquet", "train", Wanted(label="none")).classes == ()


def test_names_of_columns_choose_images_and_labels_and_other_columns_are_counted(tmp_path):
    columns = {"left": [{"bytes": b"A"}], "right": [{"bytes": b"B"}], "kind": ["cat"], "text": ["a"]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    source = parquet(tmp_path / "a.parquet", "train", Wanted(image="right", label="kind"))
    assert source.reader.column == "right.bytes"
    assert source.classes == ("cat",)
    assert source.passed.counts == {"columns other than image and label": 2}
    with pytest.raises(UserError, match="unknown column of images 'kind'"):
        parquet(tmp_path / "a.parquet", "train", Wanted(image="kind"))
    with pytest.raises(UserError, match="--fields does not apply to a source of kind parquet"):
        parquet(tmp_path / "a.parquet", "train", Wanted(fields=("txt",)))


def test_a_table_that_is_one_of_several_says_so_and_a_folder_without_the_others_is_refused(tmp_path):
    path = table(tmp_path / "train-00000-of-00002.parquet", [(0, None, b"A")])
    with pytest.raises(
        UserError, match=r"1 of 2 files of the split are in .*, train-00001-of-00002.parquet is missing"
    ):
        parquet(tmp_path, "train")
    passed = parquet(path, "train").passed
    assert passed.names == {"tables of the split that were not named": ["train-00001-of-00002.parquet"]}


@pytest.mark.parametrize("name", ["plain_text/train-00000-of-00001.parquet", "default/train/0000.parquet"])
def test_tables_may_lie_in_the_folder_of_a_config(name, tmp_path):
    path = table(tmp_path / name.rpartition("/")[2], [(0, None, b"A")])
    (tmp_path / name).parent.mkdir(parents=True)
    path.rename(tmp_path / name)
    (tmp_path / "README.md").touch()
    source = open_source(str(tmp_path), "train")
    assert source.reader.files == (name,)
    with pytest.raises(UserError, match=r"no \.parquet file of the val split"):
        open_source(str(tmp_path), "val")


def test_a_damaged_table_is_named_at_opening_and_staging(tmp_path, monkeypatch):
    monkeypatch.setattr(staging, "BUFFER", 4096)
    rows = [(0, f"{n}.jpg", np.random.default_rng(n).bytes(5000)) for n in range(9)]
    path = table(tmp_path / "a.parquet", rows)
    source, whole = parquet(path, "train"), path.read_bytes()
    path.write_bytes(whole[:-100])
    for call in (lambda: parquet(path, "train"), lambda: staged(source, tmp_path / "s")):
        with pytest.raises(UserError, match=r"a\.parquet is damaged"):
            call()
    path.write_bytes(whole.replace(b"label", b"\xffabel"))
    with pytest.raises(UserError, match=r"a\.parquet is damaged"):
        parquet(path, "train")
    assert not (tmp_path / "s" / "pictures.npz").exists()
    with pytest.raises(UserError, match=r"b\.parquet cannot be read \(No such file"):
        parquet(tmp_path / "b.parquet", "train")


def test_staging_copies_the_given_rows_and_reuses_a_complete_copy(tmp_path, monkeypatch):
    rows = [(n % 2, f"{n:02d}.jpg", b"image %d" % n if n else None) for n in range(20)]
    table(tmp_path / "data" / "train-0.parquet", rows[:11])
    table(tmp_path / "data" / "train-1.parquet", rows[11:])
    source, folder = open_source(str(tmp_path), "train"), tmp_path / "stage"
    with pytest.raises(OSError, match="stage the source first"):
        source.reader.read(source.places[0])
    want = np.array([17, 0, 3, 12])
    copied = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(source)).stage(source, folder, want)))
    assert [copied.reader.read(copied.places[i]) for i in want] == [b"image 15", b"", b"image 6", b"image 5"]
    assert [copied.reader.size(copied.places[i]) for i in (17, 0, 1)] == [8, 0, 0]
    with pytest.raises(OSError, match="was not staged"):
        copied.reader.read(copied.places[1])
    monkeypatch.setattr(staging, "_images", lambda *_: pytest.fail("read again"))
    again = source.stage(source, folder, want[::-1])
    assert again.places.tolist() == copied.places.tolist()
    monkeypatch.undo()
    (folder / "pictures.bin").write_bytes(b"torn")  # as after a crash
    assert staged(source, folder).reader.size(again.places[17]) == 8
    assert len((folder / "pictures.bin").read_bytes()) == sum(len(d or b"") for *_, d in rows)


def test_cifar_is_read_in_one_pass(shared, tmp_path):
    path = shared / "data" / "cifar10-test.parquet"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    source = open_source(str(path), "val")
    assert (source.name, len(source), len(source.classes)) == ("cifar10-test", 10_000, 10)
    assert np.bincount(source.label).tolist() == [1000] * 10
    rows = np.arange(0, 10_000, 500)
    source = source.stage(source, tmp_path / "stage", rows)
    for row in rows:
        assert Image.open(io.BytesIO(source.reader.read(source.places[row]))).size == (32, 32)
