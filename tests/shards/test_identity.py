"""The identity of a set: the same for the same images, labels and classes, another for any other."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from viewstream.shards import in_memory
from viewstream.shards.building.build import build
from viewstream.shards.care.index import index
from viewstream.shards.care.repair import repair
from viewstream.shards.care.verify import verify
from viewstream.shards.columns import FILE
from viewstream.shards.errors import UserError
from viewstream.shards.manifest import Manifest
from viewstream.shards.plain import plain
from viewstream.shards.seals import KEY
from viewstream.shards.table import TABLE


def page(made):
    return json.loads((made.root / "dataset.json").read_text())


def forget(made):
    """The set as a version without identities wrote it."""
    text = page(made)
    del text["subset"]["identity"], text["subset"][KEY]
    (made.root / "dataset.json").write_text(json.dumps(text))
    return Manifest.open(made.root)


def test_a_set_built_twice_has_the_same_identity_in_any_format_and_shard_size(options, tmp_path):
    sets = [
        build(options(out=tmp_path / str(n), format=form, shard_size=size, workers=1))
        for n, (form, size) in enumerate([(("webdataset",), "50KB"), (("ffcv",), "1GB"), (("folder",), "1GB")])
    ]
    assert len({made.identity for made in sets}) == 1
    assert len({made.info.manifest for made in sets}) == 3
    assert sets[0].identity == page(sets[0])["subset"]["identity"]


def test_other_pixels_under_the_same_names_are_another_identity(options, tree, tmp_path, jpeg):
    before = build(options(out=tmp_path / "before"))
    one = next((tree / "train" / "cat").iterdir())
    one.write_bytes(jpeg(77))
    after = build(options(out=tmp_path / "after"))
    assert before.uid.tolist() == after.uid.tolist()
    assert before.identity != after.identity


def test_labels_order_and_class_names_are_part_of_the_identity(options):
    made = build(options())
    rows, names = np.arange(40), made.info.classes
    parts = [
        made.take(rows, made.label, names),
        made.take(rows, (made.label + 1) % 4, names),
        made.take(rows[::-1], made.label[::-1], names),
        made.take(rows[:-1], made.label[:-1], names),
        made.take(rows, made.label, ("w", "x", "y", "z")),
    ]
    assert len({part.identity for part in [made, *parts]}) == 6
    assert parts[0].identity == made.take(rows, made.label, names).identity


def test_an_older_set_gets_the_identity_that_a_build_writes(options):
    made = build(options())
    older = forget(made)
    assert older.info.identity == ""
    assert older.identity == made.identity
    part = older.take(np.arange(9), older.label[:9], older.info.classes)
    assert part.identity == made.take(np.arange(9), made.label[:9], made.info.classes).identity


def test_a_table_that_was_written_again_with_other_labels_is_another_identity(options):
    made = build(options())
    table = pq.read_table(made.root / TABLE)
    label = pa.array((made.label + 1) % 4, pa.int32())
    pq.write_table(table.set_column(table.column_names.index("label"), "label", label), made.root / TABLE)
    with pytest.raises(UserError, match=r"was made of another manifest\.parquet"):
        Manifest.open(made.root)
    (made.root / FILE).unlink()
    assert Manifest.open(made.root).identity != made.identity


def test_shards_that_are_indexed_have_the_identity_of_their_images(options, tmp_path):
    made = build(options(format=("webdataset",), shard_size="50KB"))
    copies = [shutil.copytree(made.root, tmp_path / name) for name in ("one", "two")]
    for copy in copies:
        for name in ("dataset.json", TABLE, FILE):
            (copy / name).unlink()
    one, two = (index(copy) for copy in copies)
    assert one.identity == two.identity == page(one)["subset"]["identity"]


def test_repair_writes_the_identity_that_an_older_set_lacks(options):
    made = build(options(format=("webdataset", "folder")))
    before = (made.root / "dataset.json").read_bytes()
    older = forget(made)
    older.path(3).write_bytes(b"")
    repair(older, verify(older), lambda: pytest.fail("the tar has the image"))
    assert (made.root / "dataset.json").read_bytes() == before


def test_earlier_readers_of_dataset_json_find_only_keys_that_they_know(options):
    made = build(options())
    known = "name split subset classes counts samples encoding formats files report tool manifest version"
    assert list(page(made)) == known.split()
    assert "identity" not in made.info.subset


def test_a_folder_without_a_build_is_known_by_names_sizes_and_times(tree, jpeg):
    before = plain(tree).identity
    assert plain(tree).identity == before
    one = next((tree / "train" / "cat").iterdir())
    content = one.read_bytes()
    one.write_bytes(content)  # the same size at another time
    after = plain(tree).identity
    assert after != before
    shutil.move(one, tree / "train" / "dog")
    assert plain(tree).identity not in (before, after)


def test_a_set_in_memory_is_known_by_what_it_holds():
    hw = np.array([(30, 40), (50, 60)])
    made = in_memory("pets", ["cat/a", "dog/b"], np.array([0, 1]), hw, ("cat", "dog"))
    same = in_memory("other", ["cat/a", "dog/b"], np.array([0, 1]), hw, ("cat", "dog"))
    label = in_memory("pets", ["cat/a", "dog/b"], np.array([0, 0]), hw, ("cat", "dog"))
    size = in_memory("pets", ["cat/a", "dog/b"], np.array([0, 1]), hw + 1, ("cat", "dog"))
    assert made.identity == same.identity
    assert len({made.identity, label.identity, size.identity}) == 3
    assert replace(made, info=replace(made.info, name="x")).identity == made.identity
