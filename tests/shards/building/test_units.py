"""A set that is built by units, on any storage and by any number of processes, is that of a build to a local folder."""

import dataclasses
import os
import pickle
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import pytest

from viewstream.shards.building import finish, task, units
from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.building.claim import born
from viewstream.shards.building.object_store import SCRATCH, Store
from viewstream.shards.care.summary import summary
from viewstream.shards.errors import UserError

from ..sources.packed import pack

ALL = ("webdataset", "ffcv", "folder")
SHARD = "30KB"
PROGRAM, ROOT = "tools/build_shards.py", Path(__file__).parents[3]


@pytest.fixture
def memory():
    """The URL of a folder in the memory of this process, empty."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    return "memory://sets/pets"


@pytest.fixture
def held(memory, tmp_path, digests):
    """() -> {file in the folder in memory: sha256}."""

    def read() -> dict[str, str]:
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        for path in fsspec.filesystem("memory").find("/sets/pets"):
            file = copy / path.removeprefix("/sets/pets/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(fsspec.filesystem("memory").cat_file(path))
        return digests(copy)

    return read


def damage(tree: Path, *names: str) -> None:
    for name in names:
        path = tree / "train" / name.partition("_")[0] / f"{name}.JPEG"
        path.write_bytes(b"damaged".ljust(path.stat().st_size))  # as large, so that it is planned for the same tar


@pytest.mark.parametrize(
    "changes",
    [
        {"raw_fraction": 0.4},
        {"keep": True, "raw_fraction": 0.4, "on_error": "skip"},
        {"format": ("ffcv",)},
        pytest.param({"format": ("webdataset",)}, marks=pytest.mark.full),
    ],
)
def test_a_set_on_an_object_store_is_that_of_a_local_build(changes, options, tree, tmp_path, memory, held, digests):
    if "on_error" in changes:
        damage(tree, "cat_3", "fox_0")
    whole = build(options(shard_size=SHARD, **changes))
    made = build(options(shard_size=SHARD, out=memory, **changes))
    assert held() == digests(whole.root)
    assert made.info == whole.info
    assert (made.uid == whole.uid).all()
    assert f"where  {memory}\n" in summary(made)


@pytest.mark.parametrize("workers", [1, pytest.param(3, marks=pytest.mark.full)])
def test_a_set_by_units_of_any_processes_in_a_folder_is_that_of_a_local_build(
    workers, options, tree, tmp_path, digests, monkeypatch
):
    damage(tree, "cat_3")
    changes = {"shard_size": SHARD, "format": ALL, "raw_fraction": 0.3, "on_error": "skip"}
    whole = build(options(**changes))
    if workers == 1:  # what processes get passes through pickle
        work = units.unordered
        monkeypatch.setattr(
            units,
            "unordered",
            lambda task, todo, workers: work(pickle.loads(pickle.dumps(task)), pickle.loads(pickle.dumps([*todo])), 1),
        )
    made = build(options(out=f"file://{tmp_path}/apart", workers=workers, **changes))
    assert made.root == tmp_path / "apart"
    assert digests(made.root) == digests(whole.root)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(10))
def test_a_build_by_units_in_a_folder_that_is_killed_at_any_moment_ends_byte_identical(seed, tmp_path, grow, digests):
    tree = grow(tmp_path / "pets", {f"pet{n}": 60 for n in range(4)}, side=150)
    options = BuildOptions(source=str(tree), shard_size="100KB", raw_fraction=0.2, format=ALL, workers=1 + seed % 3)
    whole, out = build(dataclasses.replace(options, out=tmp_path / "whole")), tmp_path / "apart"
    command = [sys.executable, PROGRAM, "--source", tree, "--out", f"file://{out}", "--shard-size", "100KB"]
    command += ["--raw-fraction", 0.2, "--format", ",".join(ALL), "--workers", options.workers]
    rng = random.Random(seed)
    for _ in range(3):
        child = subprocess.Popen([*map(str, command)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (out / "building").exists() and child.poll() is None:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 3))
        child.kill()
        child.wait()
    if not (out / "dataset.json").exists() or (out / "building").exists():
        build(dataclasses.replace(options, out=f"file://{out}"))
    assert digests(out) == digests(whole.root)


def stopped_at(monkeypatch, place, name: str, count: int) -> None:
    """Let a method or function raise KeyboardInterrupt at its `count`-th call."""
    original, calls = getattr(place, name), []

    def call(*args, **kwargs):
        calls.append(args)
        if len(calls) == count:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    monkeypatch.setattr(place, name, call)


@pytest.mark.parametrize("write", [2, 22, *(pytest.param(n, marks=pytest.mark.full) for n in range(3, 28, 2))])
def test_a_build_stopped_before_any_write_to_the_store_continues_to_the_same_set(
    write, options, tree, memory, held, digests, monkeypatch, capsys
):
    whole = build(options(shard_size=SHARD))
    with monkeypatch.context() as patch:
        stopped_at(patch, Store, "put", write)
        with pytest.raises(KeyboardInterrupt):
            build(options(shard_size=SHARD, out=memory))
        assert "dataset.json" not in held()
    capsys.readouterr()
    build(options(shard_size=SHARD, out=memory))
    assert ("an earlier run finished" in capsys.readouterr().out) == (write > 3)
    assert held() == digests(whole.root)


@pytest.fixture
def shifted(options, tree, tmp_path):
    """Options by which all samples of the second tar are skipped."""
    sound = build(options(out=tmp_path / "sound", shard_size=SHARD))
    damage(tree, *(key.rpartition("/")[2] for key, shard in zip(sound.keys, sound.shard, strict=True) if shard == 1))
    return lambda **changes: options(shard_size=SHARD, on_error="skip", **changes)


@pytest.mark.parametrize("form", [ALL[:2], pytest.param(("ffcv",), marks=pytest.mark.full)])
def test_tars_after_one_whose_samples_were_all_skipped_are_numbered_without_a_gap(
    form, shifted, tmp_path, memory, held, digests
):
    whole = build(shifted(format=form))
    build(shifted(format=form, out=memory))
    build(shifted(format=form, out=f"file://{tmp_path}/apart"))
    assert held() == digests(tmp_path / "apart") == digests(whole.root)


@pytest.mark.parametrize("kind", ["memory", pytest.param("file", marks=pytest.mark.full)])
@pytest.mark.parametrize(
    "rename", [5, pytest.param(3, marks=pytest.mark.full), pytest.param(6, marks=pytest.mark.full)]
)
def test_a_build_stopped_as_tars_are_renamed_takes_none_for_another(
    kind, rename, shifted, tmp_path, memory, held, digests, monkeypatch
):
    whole, out = build(shifted()), memory if kind == "memory" else f"file://{tmp_path}/apart"
    with monkeypatch.context() as patch:
        stopped_at(patch, Store if kind == "memory" else units.target("").__class__, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            build(shifted(out=out))
    build(shifted(out=out))
    assert (held() if kind == "memory" else digests(tmp_path / "apart")) == digests(whole.root)


def test_a_record_counts_only_for_its_unit_and_with_its_tar(
    options, tree, jpeg, memory, held, digests, monkeypatch, capsys
):
    stopped_at(monkeypatch, units, "finish", 1)
    with pytest.raises(KeyboardInterrupt):
        build(options(shard_size=SHARD, out=memory))
    fs = fsspec.filesystem("memory")
    tars = sorted(path for path in fs.find("/sets/pets") if path.endswith(".tar"))
    fs.pipe_file(tars[0], b"cut")
    fs.rm_file(tars[1].replace(".tar", ".idx"))
    record = "/sets/pets/building/000002.parquet"
    data = bytearray(fs.cat_file(record))
    data[100] ^= 1
    fs.pipe_file(record, bytes(data))
    build(options(shard_size=SHARD, out=memory))
    assert "making 3 finished shards again" in capsys.readouterr().err
    assert held() == digests(build(options(shard_size=SHARD)).root)


def test_a_source_that_changes_and_changes_back_brings_no_tar_of_the_other_one(
    options, tree, jpeg, memory, held, digests, monkeypatch
):
    image = tree / "train" / "cat" / "cat_0.JPEG"
    sound = image.read_bytes()
    for data, stop in ((sound, 1), (jpeg(9, 61, 80), 2)):
        image.write_bytes(data)
        with monkeypatch.context() as patch:
            if stop == 1:
                stopped_at(patch, units, "finish", 1)
            else:
                stopped_at(patch, task.records, "write", 1)  # its tar is there, its record not
            with pytest.raises(KeyboardInterrupt):
                build(options(shard_size=SHARD, out=memory))
    image.write_bytes(sound)
    build(options(shard_size=SHARD, out=memory))
    assert held() == digests(build(options(shard_size=SHARD)).root)


def test_images_copied_from_tables_are_copied_once(options, tree, tmp_path, memory, held, digests, monkeypatch):
    source = tmp_path / "tables" / pack(tree, "parquet", tmp_path / "tables")
    changes = {"source": str(source), "shard_size": SHARD}
    with monkeypatch.context() as patch:
        stopped_at(patch, Store, "put", 7)
        with pytest.raises(KeyboardInterrupt):
            build(options(out=memory, **changes))
    with monkeypatch.context() as patch:
        patch.setattr("viewstream.shards.sources.stage._images", None)
        build(options(out=memory, **changes))
    assert held() == digests(build(options(**changes)).root)


def test_a_build_with_other_options_or_of_the_other_kind_is_refused(options, memory, tmp_path, monkeypatch):
    stopped_at(monkeypatch, units, "finish", 1)
    stopped_at(monkeypatch, units, "_records", 2)
    with pytest.raises(KeyboardInterrupt):
        build(options(shard_size=SHARD, out=memory))
    with pytest.raises(UserError, match=r"unfinished build with other options \(quality was 90, is 80\)"):
        build(options(shard_size=SHARD, out=memory, quality=80))
    with pytest.raises(KeyboardInterrupt):
        build(options(shard_size=SHARD, out=f"file://{tmp_path}/apart"))
    with pytest.raises(UserError, match=r"in_units was True, is None"):
        build(options(shard_size=SHARD, out=tmp_path / "apart"))


def test_a_store_that_holds_a_set_or_other_files_is_refused(options, memory, held):
    fsspec.filesystem("memory").pipe_file("/sets/pets/other", b"mine")
    with pytest.raises(UserError, match="holds files that no build wrote"):
        build(options(out=memory))
    assert held().keys() == {"other"}
    fsspec.filesystem("memory").rm_file("/sets/pets/other")
    build(options(out=memory))
    with pytest.raises(UserError, match="already holds a complete data set"):
        build(options(out=memory))


def test_a_build_killed_after_its_last_file_is_complete_on_a_store(options, memory, held):
    made = build(options(out=memory))
    before = held()
    fsspec.filesystem("memory").pipe_file("/sets/pets/building/conditional-1", b"")
    assert build(options(out=memory)).info == made.info
    assert held() == before


def test_formats_and_places_that_cannot_work_are_refused_before_anything_is_built(options, memory, held):
    for out, form, words in (
        (memory, ALL, "an object for each image"),
        ("https://example.org/set", ("ffcv",), "web server, which takes no files"),
        ("noprotocol://x/set", ("ffcv",), "noprotocol"),
    ):
        with pytest.raises(UserError, match=words):
            build(options(out=out, format=form))
    assert held() == {}


def test_a_damaged_image_ends_a_build_and_finished_shards_stay(options, tree, jpeg, memory, held, digests):
    image = tree / "train" / "dog" / "dog_1.JPEG"
    sound = image.read_bytes()
    image.write_bytes(b"damaged".ljust(len(sound)))
    with pytest.raises(UserError, match=r"dog_1.JPEG is damaged.*shards finished, the same command continues"):
        build(options(shard_size="40KB", out=memory))
    image.write_bytes(sound)
    build(options(shard_size="40KB", out=memory))
    assert held() == digests(build(options(shard_size="40KB")).root)


def test_a_build_that_skips_every_image_leaves_nothing(options, tree, memory, held):
    damage(tree, *(path.stem for path in tree.rglob("*.JPEG")))
    with pytest.raises(UserError, match="all 40 images are damaged"):
        build(options(shard_size=SHARD, out=memory, on_error="skip"))
    assert held() == {}


def test_a_worker_with_other_versions_of_what_decides_the_bytes_refuses_its_first_unit(options, memory, monkeypatch):
    task._same_versions.cache_clear()
    monkeypatch.setattr(task, "versions", lambda: {"viewstream": "0.1.0", "simplejpeg": "0", "pillow": "1"})
    with pytest.raises(
        UserError, match=rf"{os.uname().nodename} has simplejpeg 0, this build was started with simplej"
    ):
        build(options(out=memory))


def test_a_tar_that_was_damaged_on_the_store_is_named_when_the_beton_is_made(options, memory, monkeypatch):
    original = finish.assemble

    def damaged(*args):
        fs = fsspec.filesystem("memory")
        path = next(path for path in fs.find("/sets/pets") if path.endswith("1.tar"))
        fs.pipe_file(path, fs.cat_file(path)[:600].ljust(len(fs.cat_file(path))))
        return original(*args)

    monkeypatch.setattr(finish, "assemble", damaged)
    with pytest.raises(
        UserError, match=r"000001.tar was damaged since it was made: remove it, .* continues from there"
    ):
        build(options(shard_size=SHARD, out=memory))


def test_a_beton_that_does_not_fit_into_the_scratch_is_refused_with_what_helps(options, memory, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 1000))  # pyright: ignore
    with pytest.raises(UserError, match=r"let TMPDIR name a larger disk; [0-9]+ shards finished"):
        build(options(shard_size=SHARD, out=memory))
    assert "is made in" in capsys.readouterr().out


def test_scratch_folders_of_killed_programs_are_deleted_and_those_in_use_stay(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / f"{SCRATCH}left"
    left.mkdir()
    (left / "000000.tar").write_bytes(b"half")
    with Store("memory://a").scratch() as first, Store("memory://b").scratch() as second:
        assert {*tmp_path.iterdir()} == {first, second}
    assert [*tmp_path.iterdir()] == []


def test_a_unit_that_is_sent_holds_its_own_samples_alone(options, tree, monkeypatch, memory):
    seen = []
    original = units.UnitTask.__call__
    monkeypatch.setattr(units.UnitTask, "__call__", lambda self, item: (seen.append(item), original(self, item))[1])
    made = build(options(shard_size=SHARD, out=memory))
    assert sum(len(unit.source) for _, unit in seen) == len(made) == 40
    assert len(seen) > 2
    assert {number for number, _ in seen} == set(range(len(seen)))
    assert all(unit.digest() == dataclasses.replace(unit).digest() for _, unit in seen)
    assert born(os.getpid())
