"""What a set, an archive or a server names stays inside its folder, and only files are opened."""

import os
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from viewstream.shards.building.build import build
from viewstream.shards.care.repair import repair
from viewstream.shards.care.verify import sound, verify
from viewstream.shards.errors import UserError
from viewstream.shards.files import digest_of
from viewstream.shards.formats.read import open_beton, open_folder, open_tar
from viewstream.shards.manifest import Manifest
from viewstream.shards.names import open_file, safe, within
from viewstream.shards.sources.detect import open_source
from viewstream.shards.sources.local import Local
from viewstream.shards.sources.remote import Remote

from ..pages import change_page

ALL = ("webdataset", "ffcv", "folder")
OPEN = {"webdataset": open_tar, "ffcv": open_beton, "folder": open_folder}
OUTSIDE = (
    "/etc/passwd",
    "..",
    "../x",
    "a/../x",
    "a/..",
    "a//x",
    "/",
    "",
    ".",
    "./x",
    "a/./x",
    "a/",
    "a\0b",
    "..\n/../x",
)
INSIDE = ("x", "a/x", "...", "a/..x", ".hidden", "..a/b..", "a b/é", "a\n/x", "..\n/x", "a\\..\\b")
SCRIPT = "tools/verify_shards.py"


def with_column(root, column, row, value):
    """Write `value` into the table of a set as its author could: everything else fits."""
    table = pq.read_table(root / "manifest.parquet")
    values = table[column].to_pylist()
    values[row] = value
    changed = table.set_column(table.schema.get_field_index(column), column, pa.array(values, pa.string()))
    pq.write_table(changed, root / "manifest.parquet")
    (root / "manifest.columns").unlink(missing_ok=True)
    change_page(root, lambda page: page.update(manifest=digest_of(root / "manifest.parquet")))


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leads_out_is_refused_everywhere(name, tmp_path):
    for check in (lambda: safe(name, tmp_path), lambda: within(tmp_path, name), lambda: Local(tmp_path).read(name)):
        with pytest.raises(UserError, match=r"leads out of|has a zero byte") as raised:
            check()
        assert "\n" not in str(raised.value)
    if name:  # a storage itself has no name
        for files in (Local(tmp_path), Remote("http://127.0.0.1:1")):
            with pytest.raises(UserError, match=r"leads out of the source|has a zero byte"):
                files.inside(name)


@pytest.mark.parametrize("name", INSIDE)
def test_odd_names_that_stay_inside_are_no_fault(name, tmp_path):
    path = within(tmp_path, name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    assert path.resolve().is_relative_to(tmp_path.resolve())
    assert Local(tmp_path).read(name) == b"x"


def test_a_set_is_verified_only_if_all_its_names_stay_inside(options):
    made = build(options(format=("webdataset",)))
    for name in OUTSIDE:
        with_column(made.root, "key", 3, name)
        with pytest.raises(UserError, match=r"leads out of the set|has a zero byte"):
            verify(sound(made.root))
    for name in INSIDE:
        with_column(made.root, "key", 3, name)
        verify(sound(made.root))


@pytest.mark.parametrize("column", ["key", "source"])
def test_a_set_with_a_name_that_leads_out_is_neither_verified_nor_repaired(column, options, tmp_path, program):
    made = build(options(format=ALL))
    with_column(made.root, column, 3, "../../planted")
    before = sorted(tmp_path.rglob("*"))
    done = program(SCRIPT, made.root, "--repair")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "'../../planted' leads out of the set" in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_a_key_that_leads_out_is_not_read(options, tmp_path, jpeg):
    made = build(options(format=ALL))
    (tmp_path / "secret.jpg").write_bytes(jpeg(0))
    for key in ("../../secret", f"{tmp_path}/secret"):
        with_column(made.root, "key", 3, key)
        again = Manifest.open(made.root)
        with open_folder(again) as reader:
            reader.read(2)
            with pytest.raises(UserError, match="leads out of the set"):
                reader.read(3)
            with pytest.raises(UserError, match="leads out of the set"):
                again.path(3)


@pytest.mark.parametrize("number", [0, 1])
def test_a_file_of_dataset_json_is_in_the_folder_of_the_set(number, options, tmp_path):
    made = build(options())
    line = made.info.files[number]
    outside = tmp_path / line["file"]
    (made.root / line["file"]).rename(outside)  # the set would be whole with it
    for name in (str(outside), f"../{line['file']}", f"a/../../{line['file']}"):
        change_page(made.root, lambda page, name=name: page["files"][number].update(file=name))
        with pytest.raises(UserError, match=f"{line['file']}' leads out of the set"):
            Manifest.open(made.root)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "../../planted"}, "leads out of the set"),
        ({"name": "/planted"}, "leads out of the set"),
        ({"name": "a/b"}, "is damaged"),
        (
            {"files": [{"file": "manifest.parquet", "digest": "", "bytes": 0, "samples": 0}]},
            "is damaged",
        ),
        ({"files": [{"file": 5}]}, "is damaged"),
        ({"files": ["x.tar"]}, "is damaged"),
    ],
)
def test_a_set_is_refused_for_names_that_no_build_writes(change, message, options):
    made = build(options())
    change_page(made.root, lambda page: page.update(change))
    with pytest.raises(UserError, match=message):
        Manifest.open(made.root)


def test_the_lists_of_tars_in_a_folder_name_no_file_elsewhere(options, tmp_path):
    made = build(options(format=("webdataset",)))
    (made.root / made.info.files[0]["file"]).rename(tmp_path / "secret.tar")
    change_page(made.root, lambda page: page["files"][0].update(file="../secret.tar"))
    with pytest.raises(UserError, match="leads out of the source"):
        open_source(str(made.root), "train", "webdataset")


def test_links_to_shards_are_read_and_a_repair_replaces_them(options, tmp_path, digests):
    made = build(options(format=ALL))
    before, elsewhere = digests(made.root), tmp_path / "cache"
    elsewhere.mkdir()
    shards = [*made.tars(), *made.betons(), made.path(0)]
    for path in shards:
        path.rename(elsewhere / path.name)
        path.symlink_to(elsewhere / path.name)
    assert verify(sound(made.root)) == []
    for form, opener in OPEN.items():
        with opener(Manifest.open(made.root)) as reader:
            assert reader.read(0), form
    damaged = elsewhere / made.tars()[0].name
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    held = damaged.read_bytes()
    repair(made, verify(made), lambda: pytest.fail("no source is needed"))
    assert damaged.read_bytes() == held
    assert not made.tars()[0].is_symlink()
    assert digests(made.root) == before


def test_a_repair_writes_nothing_through_a_linked_folder(options, tmp_path, program, digests):
    made = build(options(format=ALL))
    folder, elsewhere = made.path(0).parent, tmp_path / "elsewhere"
    shutil.move(folder, elsewhere)
    folder.symlink_to(elsewhere)
    assert verify(made) == []
    (elsewhere / made.path(0).name).unlink()
    made.tars()[0].unlink()
    before = digests(tmp_path)
    done = program(SCRIPT, made.root, "--repair")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"{folder} is a link" in done.stderr
    assert digests(tmp_path) == before


def test_links_that_came_with_a_set_under_the_names_of_partial_files_are_not_written_through(options, tmp_path):
    made = build(options(format=ALL))
    mine = tmp_path / "mine"
    mine.write_bytes(b"precious")
    lost = [made.tars()[0], made.betons()[0], made.path(0), made.tars()[0].with_suffix(".idx")]
    for path in lost:
        path.unlink()
    for path in (*lost, made.root / "manifest.columns", made.root / "dataset.json"):
        path.with_name(f"{path.name}.partial").symlink_to(mine)
    (made.root / "manifest.columns").unlink()
    repair(made, verify(made), lambda: open_source(str(options().source), "train"))
    assert mine.read_bytes() == b"precious"
    assert not any(path.is_symlink() for path in lost)
    assert verify(sound(made.root)) == []


@pytest.mark.parametrize("form", ALL)
def test_pipes_and_devices_in_place_of_files_are_refused_in_one_line(form, options, program):
    made = build(options(format=ALL))
    path = {"webdataset": made.tars, "ffcv": made.betons, "folder": lambda: [made.path(0)]}[form]()[0]
    for place in (os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
        path.unlink()
        place(path)
        with pytest.raises(UserError, match="is a pipe or a device, not a file"):
            OPEN[form](Manifest.open(made.root)).read(0)
        assert [damage.cause for damage in verify(made) if "pipe or a device" in damage.cause]
    assert program(SCRIPT, made.root, "--repair").returncode == 0  # which puts a file in its place
    assert path.is_file()


@pytest.mark.parametrize("name", ["dataset.json", "manifest.parquet", "manifest.columns", "pets-full-train.beton"])
def test_a_pipe_in_place_of_what_describes_a_set_is_refused(name, options):
    made = build(options())
    (made.root / name).unlink()
    os.mkfifo(made.root / name)
    with pytest.raises(UserError, match="is a pipe or a device, not a file"):
        open_beton(Manifest.open(made.root))


def test_a_pipe_in_place_of_an_index_is_repaired(options):
    made = build(options())
    index = made.tars()[0].with_suffix(".idx")
    index.unlink()
    os.mkfifo(index)
    (damage,) = found = verify(made)
    assert "is a pipe or a device, not a file" in damage.cause
    repair(made, found, lambda: pytest.fail("no source is needed"))
    assert verify(made) == []


def test_a_part_of_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for read in (lambda: Local(tmp_path).read("pipe", 0, 10), lambda: open_file(tmp_path / "pipe")):
        with pytest.raises(OSError, match="is a pipe or a device, not a file"):
            read()
