"""The same images in every kind of source, local and remote: same paths, labels, classes, bytes and uids."""

import os
import pickle

import fsspec
import numpy as np
import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.sources.detect import kind_of, open_source
from viewstream.testing import check_source

from .packed import KINDS


def linked(root, out):
    """The tree `root` as a cache of Hugging Face keeps it: each file is a link to a blob outside of the tree."""
    for number, path in enumerate(sorted(path for path in root.rglob("*") if path.is_file())):
        blob, link = out / "blobs" / f"{number}", out / "snapshot" / path.relative_to(root)
        for folder in (blob.parent, link.parent):
            folder.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(path.read_bytes())
        link.symlink_to(os.path.relpath(blob, link.parent))
    return str(out / "snapshot")


@pytest.fixture(params=["local", "links", "memory", "http"])
def place(request, packed, tmp_path):
    """The address of the packed folder."""
    store = fsspec.filesystem("memory")
    if request.param == "links":
        yield linked(packed[0], tmp_path)
        return
    if request.param == "memory":
        store.put(str(packed[0]), "/packed", recursive=True)
        yield "memory://packed"
        store.rm("/packed", recursive=True)
    else:
        yield str(packed[0]) if request.param == "local" else request.getfixturevalue("serve")()


@pytest.mark.parametrize("kind", KINDS)
def test_a_tree_is_the_same_in_every_kind_and_place(kind, place, packed, wnids, tmp_path):
    where = f"{place}/{packed[1][kind]}"
    assert kind_of(where, "train") == kind
    want = open_source(str(wnids), "train")
    source = open_source(where, "train")
    if source.stage:
        source = source.stage(source, tmp_path / "stage", np.arange(len(source)))
    rows = np.arange(len(want))
    classes, files = want.classes, [wnids / "train" / path for path in want.paths]
    if kind == "tsv":  # its classes are numbers
        classes = tuple(map(str, range(3)))
        want.paths[:] = [f"{c}/{p.partition('/')[2]}" for c, p in zip(want.label.tolist(), want.paths, strict=True)]
    if kind == "list":  # its fields are separated by spaces
        rows = np.array([i for i in rows if " " not in want.paths[i]])
    assert source.classes == classes
    assert source.paths == [want.paths[i] for i in rows]
    assert source.label.tolist() == want.label[rows].tolist()
    assert source.label.dtype == np.int32
    assert source.uids(np.arange(len(source))).tolist() == want.uids(rows).tolist()
    reader = pickle.loads(pickle.dumps(source.reader))
    for row, file in enumerate(files[i] for i in rows):
        assert reader.read(source.places[row]) == file.read_bytes()
        assert abs(reader.size(source.places[row]) - file.stat().st_size) <= (60 if kind == "tsv" else 0)
    check_source(lambda: open_source(where, "train"), samples=8)


def test_a_given_kind_overrides_the_detected_one(packed):
    root = packed[0]
    assert open_source(str(root / "list"), "train", kind="imagefolder").name == "list"
    assert open_source(str(root / "webdataset"), "train").name == "webdataset"
    assert open_source(str(root / "webdataset" / "pets-train-{000000..000001}.tar"), "train").name == "pets-train"
    with pytest.raises(UserError, match="unknown kind of source 'parket': did you mean 'parquet'"):
        open_source(str(root), "train", kind="parket")
    with pytest.raises(UserError, match=r"tsv has no train-00000|tsv has no .parquet file of the train split"):
        open_source(str(root / "tsv"), "train", kind="parquet")
    with pytest.raises(UserError, match="--root says where the images of a list are"):
        open_source(str(root / "tsv"), "train", root="elsewhere")


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("imagefolder", "list")])  # a list serves any split
def test_a_missing_split_is_an_error(kind, packed):
    with pytest.raises(UserError, match=r"the val split|of the val split"):
        open_source(str(packed[0] / kind), "val")
