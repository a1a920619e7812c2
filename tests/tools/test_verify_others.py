"""verify_shards.py knows every kind of folder that this project writes, and says what is damaged and what to do."""

import json
import shutil
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch

from viewstream.pipeline.readers.remote import open_remote
from viewstream.pipeline.readers.remote_tar import RemoteTarReader
from viewstream.shards.building.folder import BUILDING

from ..flipping import flipped, flips

V1 = Path(__file__).parents[1] / "compat" / "v1"


@pytest.fixture
def run(tmp_path):
    """The folder of a run with everything that trainers and evaluations leave in one."""
    root = Path(shutil.copytree(V1 / "moco", tmp_path / "runs" / "moco"))
    for name in ("best.pt", "epoch-0001.pt"):
        shutil.copy(root / "last.pt", root / name)
    (root / "results.json").write_text(json.dumps({"knn": {"evaluation": "knn", "top1": 0.5}}))
    (root / "failure.json").write_text("{}")
    (root / "linear-pets").mkdir()
    shutil.copy(root / "last.pt", root / "linear-pets" / "last.pt")
    np.savez(root / "0123456789abcdef.npz", features=np.ones((64, 8), np.float32), labels=np.arange(64))
    return root


def test_a_whole_run_says_what_was_compared_and_what_was_only_read(run, verified):
    done = verified(run)
    assert (done.code, done.error) == (0, "")
    assert "is whole: 5 files as the checksums say" in done.out
    assert "4 without checksums can be read (config.json, failure.json, log.jsonl, results.json)" in done.out
    assert "is whole: 5 files" in verified(run.parent).out


def test_nothing_is_written(run, static, verified):
    roots = (run, static, V1 / "static")

    def state():
        return {path: path.stat().st_mtime_ns for root in roots for path in (root, *root.rglob("*"))}

    before = state()
    assert [verified(root).code for root in roots] == [0, 0, 0]
    (run / "config.json").write_bytes(b"{")
    before[run / "config.json"] = (run / "config.json").stat().st_mtime_ns
    assert verified(run).code == 2
    assert state() == before


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("last.pt", ("is damaged", "is whole, name that one")),
        ("best.pt", ("is damaged", "is whole, name that one")),
        ("epoch-0001.pt", ("is damaged", "is whole, name that one")),
        ("linear-pets/last.pt", ("is damaged", "copy or download it again")),
        ("0123456789abcdef.npz", ("is damaged", "the evaluation makes it again")),
        ("config.json", ("is damaged", "the next start of the run writes it again")),
        ("results.json", ("is damaged", "move it away, then evaluate again")),
        ("failure.json", ("is damaged", "remove it")),
        ("log.jsonl", ("is damaged (line 6", "remove that line")),
    ],
)
def test_each_damaged_file_of_a_run_is_named_with_what_to_do(run, name, words, verified):
    file = run / name
    data = file.read_bytes()
    binary = file.suffix in (".pt", ".npz")
    file.write_bytes(flipped(data, 4 * len(data)) if binary else data[:-2])
    for where in (run, file):
        done = verified(where)
        assert done.code == 2
        (line,) = done.out.splitlines()
        assert line.startswith(str(file))
        for word in words:
            assert word in line
        assert f"1 file of {where} is damaged" in done.error


def test_flipped_bits_of_checkpoints_and_features_are_found_or_change_nothing(run, verified):
    for name, read in (
        ("0123456789abcdef.npz", lambda file: {k: v.tolist() for k, v in np.load(file).items()}),
        ("last.pt", lambda file: repr(torch.load(file, weights_only=True))),
    ):
        file, found = run / name, 0
        whole = read(file)
        for _ in flips(file, 20):
            damaged = verified(file).code == 2
            found += damaged
            assert damaged or read(file) == whole
        assert found > 10


def test_a_log_whose_steps_go_back_is_named(run, verified):
    lines = (run / "log.jsonl").read_text().splitlines(keepends=True)
    (run / "log.jsonl").write_text("".join([*lines, lines[1]]))
    done = verified(run / "log.jsonl")
    assert done.code == 2
    assert "goes back from step 6 to 2 in line 7" in done.out


def test_a_checkpoint_without_checksums_says_so(tmp_path, verified):
    file = tmp_path / "old.pth.tar"
    torch.save({"state_dict": {"w": torch.ones(3)}}, file, _use_new_zipfile_serialization=False)
    done = verified(file)
    assert (done.code, done.error) == (0, "")
    assert "0 files as the checksums say, 1 without checksums can be read (old.pth.tar)" in done.out


def test_the_cache_of_remote_sets_is_compared_with_their_digests(built, tmp_path, verified):
    store = fsspec.filesystem("memory")
    store.put(str(built.root), "/cached", recursive=True)
    try:
        with RemoteTarReader(open_remote("memory://cached", tmp_path)) as reader:
            reader.read(0)
    finally:
        store.rm("/cached", recursive=True)
    done = verified(tmp_path)
    assert (done.code, done.error) == (0, "")
    assert "is as it was fetched: 1 set, 1 file" in done.out
    (tar,) = (path for path in (tmp_path / "tars").iterdir() if "." not in path.name)
    tar.write_bytes(flipped(tar.read_bytes(), 8 * 3000))
    for where in (tmp_path, reader.manifest.root):
        done = verified(where)
        assert done.code == 2
        assert done.out.startswith(f"{tar} ({built.tars()[0].name} of ")
        assert "remove it, the next start brings it again" in done.out


def test_an_unfinished_build_says_how_to_go_on(tmp_path, verified):
    (tmp_path / "set" / BUILDING).mkdir(parents=True)
    (tmp_path / "set" / BUILDING / "000000.parquet").touch()
    done = verified(tmp_path / "set")
    assert done.code == 2
    assert "is an unfinished build, 1 shard of it finished: the same build_shards.py command goes on" in done.error


def test_an_unfinished_static_set_says_how_to_go_on(tmp_path, verified):
    (tmp_path / "pets.partial" / "images").mkdir(parents=True)
    assert "the same make_static.py command makes it, and begins again" in verified(tmp_path / "pets.partial").error


def test_unknown_folders_and_files_list_what_is_known(tmp_path, verified, built):
    for known in ("static sets", "caches of remote sets", "runs", "checkpoints", "results.json", "kept features"):
        assert known in verified(tmp_path).error
    (tmp_path / "notes.txt").write_text("none of ours")
    done = verified(tmp_path / "notes.txt")
    assert done.code == 2
    assert "is not a readable checkpoint" in done.out
    assert f"is a file of a set: name {built.root}" in verified(built.tars()[0]).error
    assert "does not exist" in verified(tmp_path / "absent").error


def test_with_json_standard_output_is_one_document(run, built, verified, tmp_path):
    assert json.loads(verified(run, "--json").out) == {"folder": str(run), "damaged": []}
    copy = shutil.copytree(built.root, tmp_path / "set")
    (copy / "folder" / f"{built.key(5)}.jpg").unlink()
    done = verified(copy, "--json", "--repair")
    assert done.code == 0
    assert [damage["samples"] for damage in json.loads(done.out)["damaged"]] == [[built.key(5)]]


def test_repair_is_refused_for_what_is_no_set(run, verified):
    assert "--repair makes files of a set again" in verified(run, "--repair").error
