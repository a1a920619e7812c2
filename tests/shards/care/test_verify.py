"""Files that differ from what was built are found and made again, byte by byte."""

import random
import re
import shutil
from unittest.mock import Mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from viewstream.shards.building.build import build
from viewstream.shards.care.repair import repair
from viewstream.shards.care.verify import STORED, sound, verify
from viewstream.shards.columns import FILE
from viewstream.shards.errors import UserError
from viewstream.shards.files import digest_of
from viewstream.shards.manifest import Manifest
from viewstream.shards.table import TABLE

from ...pages import change_page

ALL = ("webdataset", "ffcv", "folder")
SCRIPT = "tools/verify_shards.py"


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)


def test_a_sound_set_passes(options, in_process):
    made = build(options(format=ALL, shard_size="50KB"))
    assert verify(made) == []
    done = in_process(SCRIPT, made.root)
    assert done.returncode == 0
    assert "is as it was built: 40 samples, webdataset, ffcv, folder" in done.stdout


def test_any_flipped_byte_of_any_file_is_found(options):
    made = build(options(format=ALL, shard_size="50KB"))
    rng = random.Random(0)
    for path in sorted(p for p in made.root.rglob("*") if p.is_file() and p.name != "dataset.json"):
        for _ in range(3):
            before = path.read_bytes()
            flip(path, rng.randrange(len(before)))
            if path.name == "manifest.parquet":
                with pytest.raises(UserError, match=r"manifest\.parquet"):
                    verify(Manifest.open(made.root))
            else:
                found = [d.file for d in verify(sound(made.root))]
                assert found == [str(path.relative_to(made.root))]
            path.write_bytes(before)
    assert verify(made) == []


def test_the_damaged_samples_are_named(options, in_process):
    made = build(options(format=("webdataset", "folder")))
    flip(made.tars()[0], int(made.offset[7]) + 20)
    (damage,) = verify(made)
    assert damage.rows == (7,)
    done = in_process(SCRIPT, made.root)
    assert done.returncode == 2
    assert f"000000.tar: 1 sample differs ({made.keys[7]})" in done.stdout
    assert "--repair mends it" in done.stderr


def test_images_that_another_format_has_whole_need_no_source(options, in_process, digests):
    made = build(options(format=ALL, shard_size="50KB"))
    before = digests(made.root)
    for tar in made.tars():
        tar.unlink()
    shutil.rmtree(made.root / "folder")
    assert in_process(SCRIPT, made.root, "--repair").returncode == 0
    flip(made.beton_path(), 2)
    assert in_process(SCRIPT, made.root, "--repair").returncode == 0
    assert digests(made.root) == before


@pytest.mark.parametrize("keep", [False, True])
def test_repair_makes_damaged_files_again_and_nothing_else(keep, options, in_process, digests, tree):
    made = build(options(format=ALL, shard_size="50KB", keep=keep, raw_fraction=0.3))
    before = digests(made.root)
    tars = made.tars()
    untouched = tars[1].stat().st_mtime_ns
    flip(tars[0], 600)
    tars[2].unlink()
    tars[3].write_bytes(tars[3].read_bytes()[:5000])
    tars[1].with_suffix(".idx").unlink()
    flip(made.beton_path(), 3000)
    made.path(5).write_bytes(b"")
    shutil.rmtree(made.root / "folder" / "eel")
    done = in_process(SCRIPT, made.root, "--repair", "--source", tree)
    assert done.returncode == 0, done.stderr
    assert digests(made.root) == before
    assert tars[1].stat().st_mtime_ns == untouched


def test_a_repair_leaves_nothing_of_itself_or_of_one_that_was_killed(options, digests):
    made = build(options(format=ALL))
    before = digests(made.root)
    flip(next(made.root.glob("*.tar")), 700)
    (made.root / "repair").mkdir()
    (made.root / "repair" / "half").write_bytes(b"half")
    assert repair(made, verify(made), Mock(side_effect=AssertionError)) == ["pets-full-train-000000.tar"]
    assert digests(made.root) == before


def test_images_that_no_format_has_whole_come_from_the_source(options, in_process, digests, tree):
    made = build(options(format=("webdataset",), shard_size="50KB"))
    before = digests(made.root)
    made.tars()[0].write_bytes(b"gone")
    done = in_process(SCRIPT, made.root, "--repair")
    assert done.returncode == 2
    assert "name its source with --source" in done.stderr
    lost = made.strings("source")[0]
    sound = (tree / "train" / lost).read_bytes()
    for replaced, message in ((None, "lacks 1 image"), (sound[:-9], "is damaged"), (b"", "is damaged")):
        (tree / "train" / lost).unlink(missing_ok=True)
        if replaced is not None:
            (tree / "train" / lost).write_bytes(replaced)
        done = in_process(SCRIPT, made.root, "--repair", "--source", tree)
        assert done.returncode == 2
        assert re.search(message, done.stderr), done.stderr
    other = next(p for p in (tree / "train" / "fox").iterdir())
    (tree / "train" / lost).write_bytes(other.read_bytes())
    done = in_process(SCRIPT, made.root, "--repair", "--source", tree)
    assert "no longer gives the bytes that were built" in done.stderr
    (tree / "train" / lost).write_bytes(sound)
    assert in_process(SCRIPT, made.root, "--repair", "--source", tree).returncode == 0
    assert digests(made.root) == before


def test_a_damaged_manifest_is_an_error_of_its_own(options):
    made = build(options())
    (made.root / "manifest.parquet").write_bytes((made.root / "manifest.parquet").read_bytes()[:-50])
    with pytest.raises(UserError, match="absent or damaged"):
        Manifest.open(made.root)


def edited(made, **columns):
    """The set with other columns in its table, and a dataset.json that agrees: as a tool of others may write it."""
    table = pq.read_table(made.root / TABLE)
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values, table.schema.field(name).type))
    (made.root / FILE).unlink()
    pq.write_table(table, made.root / TABLE)
    change_page(made.root, lambda page: page.update(manifest=digest_of(made.root / TABLE)))
    return Manifest.open(made.root)


@pytest.mark.parametrize("form", ALL)
def test_a_size_that_is_not_the_one_in_the_jpeg_is_found(form, options):
    made = build(options(format=(form,)))
    height = made.height.copy()
    height[5] -= 1
    (damage,) = verify(edited(made, height=height))
    assert damage.rows == (5,)
    assert damage.remedy == STORED
    shape = f"it has {made.height[5]} x {made.width[5]} px, the manifest says [{height[5]}, {made.width[5]}]"
    assert shape in damage.cause


def test_fewer_classes_than_labels_doubled_names_and_changed_counts_are_found(options):
    made = build(options())
    classes, counts = list(made.info.classes), list(made.info.counts)
    whole = {"classes": classes, "counts": counts, "samples": len(made)}
    for change, words in (
        ({"classes": classes[:-1], "counts": counts[:-1]}, "has a label beyond its 3 classes"),
        ({"classes": [*classes[:-1], classes[0]]}, f"class '{classes[0]}' is there twice"),
        ({"counts": [counts[0] + 1, counts[1] - 1, *counts[2:]]}, f"counts {counts[0] + 1} samples of class"),
        ({"counts": [*counts, 1]}, "do not fit its counts"),
        ({"samples": len(made) + 1}, "rows, dataset.json says"),
    ):
        change_page(made.root, lambda page, change=change: page.update(whole | change))
        with pytest.raises(UserError, match=re.escape(words)):
            verify(sound(made.root))
