"""A build that dies at any moment continues where it stopped; the result is that of an uninterrupted build."""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.building.folder import build_folder
from viewstream.shards.errors import UserError
from viewstream.shards.manifest import Manifest

from ...pairs import pairs

ALL = ("webdataset", "ffcv", "folder")
PROGRAM = """
import sys
from pathlib import Path
from viewstream.shards.building.build import BuildOptions, build
build(BuildOptions(source=sys.argv[1], out=Path(sys.argv[2]), workers=int(sys.argv[3]), shard_size="100KB",
                   format=("webdataset", "ffcv", "folder"), raw_fraction=0.2))
"""

BUILD = """
from pathlib import Path
from viewstream.shards.building.build import BuildOptions, build

def work(number, process, source, root):
    build(BuildOptions(source=source, out=Path(root, str(number)), workers=1, shard_size="100KB"))
    return "done"
"""


def start(source: Path, out: Path, workers: int = 1) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-c", PROGRAM, source, out, workers]
    return subprocess.Popen(list(map(str, argv)), text=True, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)


def undisturbed(source: Path, out: Path) -> Manifest:
    return build(BuildOptions(source=str(source), out=out, shard_size="100KB", format=ALL, workers=1, raw_fraction=0.2))


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.full)])
def test_a_build_killed_at_any_moment_ends_byte_identical(kills, tmp_path, grow, digests):
    tree = grow(tmp_path / "pets", {f"pet{n}": 60 for n in range(8)}, side=200)
    whole = digests(undisturbed(tree, tmp_path / "whole").root)
    rng, out, killed = random.Random(0), tmp_path / "out", 0
    while killed < kills:
        child = start(tree, out, workers=1 + killed % 3)
        while not (out / "building").exists():
            assert child.poll() is None, child.communicate()
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.4))
        if child.poll() is None:
            child.send_signal(signal.SIGKILL)
            killed += 1
        child.wait()
        if (out / "dataset.json").exists():  # it finished before it was killed: start again
            if (out / "building").exists():
                undisturbed(tree, out)
            assert digests(out) == whole
            out.rename(tmp_path / f"done{killed}")
        else:
            with pytest.raises(UserError, match="not a complete data set"):
                Manifest.open(out)
    assert digests(undisturbed(tree, out).root) == whole
    assert not (out / "building").exists()


@pytest.mark.parametrize("rounds", [3, pytest.param(20, marks=pytest.mark.full)])
def test_one_of_two_that_build_a_set_at_once_builds_it_and_the_other_is_refused(rounds, tree, tmp_path, digests):
    build(BuildOptions(source=str(tree), out=tmp_path / "whole" / "0", workers=1, shard_size="100KB"))
    (tmp_path / "sets").mkdir()
    for number, answers in enumerate(pairs(BUILD, rounds, tree, tmp_path / "sets")):
        done, refused = sorted(answers)
        assert done == "done"
        assert "another build is writing" in refused or "already holds a complete data set" in refused
        assert digests(tmp_path / "sets" / str(number)) == digests(tmp_path / "whole" / "0")


def test_a_build_that_begins_while_a_folder_is_looked_at_is_no_foreign_file(tmp_path, monkeypatch):
    def begun(folder):
        (folder / "building").mkdir(exist_ok=True)
        return listed(folder)

    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", begun)
    with build_folder(tmp_path, {}) as building:
        assert building.parent == tmp_path


def test_finished_shards_are_not_made_again(tmp_path, grow, digests, capsys):
    tree = grow(tmp_path / "pets", {f"pet{n}": 60 for n in range(8)}, side=200)
    out = tmp_path / "out"
    child = start(tree, out)
    while len(list((out / "building").glob("*.parquet"))) < 3:
        assert child.poll() is None
        time.sleep(0.002)
    child.send_signal(signal.SIGSTOP)
    with pytest.raises(UserError, match="another build is writing"):
        undisturbed(tree, out)
    child.kill()
    child.wait()
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    assert len(before) >= 3
    undisturbed(tree, out)
    assert "an earlier run finished" in capsys.readouterr().out
    assert before.items() <= {path: path.stat().st_mtime_ns for path in out.glob("*.tar")}.items()


def test_a_build_killed_after_its_last_file_is_complete(options, digests):
    made = build(options())
    before = digests(made.root)
    building = made.root / "building"
    building.mkdir()
    (building / "options.json").write_text("")
    assert build(options()).info == made.info
    assert digests(made.root) == before


@pytest.mark.full
def test_ctrl_c_keeps_what_is_finished(tmp_path, grow):
    tree = grow(tmp_path / "pets", {f"pet{n}": 60 for n in range(8)}, side=200)
    child = start(tree, tmp_path / "out", workers=2)
    while not list((tmp_path / "out" / "building").glob("*.parquet")):
        assert child.poll() is None
        time.sleep(0.002)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)
    kept = list((tmp_path / "out" / "building").glob("*.parquet"))
    if not (tmp_path / "out" / "dataset.json").exists():  # on a busy machine the build may finish first
        assert kept
        assert undisturbed(tree, tmp_path / "out")


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


@pytest.mark.parametrize("where", ["limit", pytest.param("tmpfs", marks=pytest.mark.full)])
def test_a_full_disk_is_a_clear_error_and_the_build_can_continue(where, tmp_path, grow, digests):
    tree = grow(tmp_path / "pets", {f"pet{n}": 60 for n in range(4)}, side=120)
    whole = digests(undisturbed(tree, tmp_path / "whole").root)
    out = tmp_path / "small" / "out"
    out.parent.mkdir()
    command = [sys.executable, "-m", "viewstream.tools.build_shards", "--source", str(tree), "--out", str(out)]
    command += ["--shard-size", "100KB", "--format", ",".join(ALL), "--raw-fraction", "0.2", "--workers", "1"]
    mounted = where == "tmpfs"
    if mounted:
        mount = ["mount", "-t", "tmpfs", "-o", "size=900k", "tmpfs", str(out.parent)]
        if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("mounting a small tmpfs needs root")
    try:
        failed = subprocess.run(command, capture_output=True, text=True, preexec_fn=None if mounted else limited)
        assert failed.returncode == 2, failed.stderr
        assert "check free space and write permission" in failed.stderr
        assert "Traceback" not in failed.stderr
        assert not (out / "dataset.json").exists()
        if mounted:
            assert "shards finished, the same command continues from there" in failed.stderr
            subprocess.run(["mount", "-o", "remount,size=50m", str(out.parent)], check=True)
        subprocess.run(command, check=True, capture_output=True)
        assert digests(out) == whole
    finally:
        if mounted:
            subprocess.run(["umount", str(out.parent)], check=True)
