"""Training on a set while it is staged: real processes that are killed, real disks, a real object store."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import pytest

from viewstream.pipeline.readers.stage import Stage, staged_set
from viewstream.shards.building.build import BuildOptions, build

from ..chaos.test_disks import mounted
from ..trainers.small_runs import SMALL_WORDS, losses
from .page import ROOT, commands

pytestmark = pytest.mark.full
TRAIN = [str(ROOT / "trainers/train.py"), "--method", "moco", *SMALL_WORDS, "--workers", "1"]
SLOW = ["--cache-mbps", "2"]  # the set takes a few seconds


@pytest.fixture(scope="module")
def data(pets, tmp_path_factory):
    """The pets in several tars and a .beton."""
    out = tmp_path_factory.mktemp("sets") / "pets"
    return build(BuildOptions(source=pets, out=out, format=("webdataset", "ffcv"), shard_size="100KB", workers=1))


@pytest.fixture(scope="module")
def expected(data, tmp_path_factory):
    """The losses of a run that reads the set where it is."""
    out = tmp_path_factory.mktemp("runs") / "plain"
    done = trained(data, out)
    assert done.returncode == 0, done.stderr
    return losses(out)


def trained(data, out, *more, loader="webdataset"):
    words = [*TRAIN, "--data", str(data.root), "--loader", loader, "--out", str(out), *more]
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=300, cwd=ROOT)


def started(data, out, *more):
    words = [*TRAIN, "--data", str(data.root), "--loader", "webdataset", "--out", str(out), *more]
    return subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def children(pid):
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def stager_of(process):
    """The process that stages, once it copies."""
    return next(pid for pid in children(process.pid) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes())


def wait_for(what, seconds=60):
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until
        time.sleep(0.01)
    return found


def sound(data, stage, form="webdataset"):
    """How many files are in a stage; an error if one is there that is not as the files of the set."""
    files = staged_set(data, form, Stage(stage, 10**9))
    here = [n for n, name in enumerate(files.names) if (files.folder / name).exists()]
    assert all(
        (files.folder / files.names[n]).read_bytes() == (data.root / files.lines[n]["file"]).read_bytes() for n in here
    )
    return len(here)


def notes(done):
    return [line for line in done.stderr.splitlines() if line.startswith("note: --stage")]


@pytest.mark.parametrize("loader", ["webdataset", "ffcv"])
def test_losses_are_those_of_the_source_while_a_set_is_staged_and_afterwards(data, expected, tmp_path, loader):
    stage = tmp_path / "stage"
    for run, cap in (("first", SLOW), ("second", [])):
        done = trained(data, tmp_path / run, "--stage", str(stage), *cap, loader=loader)
        assert done.returncode == 0, done.stderr
        assert losses(tmp_path / run) == expected
        assert not notes(done)
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("stage: ")]
        assert "s were spent waiting for data" in line
        assert line in (tmp_path / run / "rank-0.log").read_text()
        if run == "first":
            copying = ["tools/stage_shards.py", data.root, "--stage", stage, "--loader", loader]
            assert subprocess.run([sys.executable, *map(str, copying)], cwd=ROOT).returncode == 0
    assert line.startswith("stage: 100.0% of ")


def test_a_killed_run_leaves_no_process_and_the_next_one_goes_on_with_its_files(data, expected, tmp_path):
    stage = tmp_path / "stage"
    process = started(data, tmp_path / "run", "--stage", str(stage), *SLOW)
    wait_for(lambda: [*stage.glob("tars/*.partial")])
    stager = stager_of(process)
    process.kill()
    process.communicate()
    wait_for(lambda: not Path(f"/proc/{stager}").exists())
    sound(data, stage)
    done = trained(data, tmp_path / "run", "--stage", str(stage), "--resume", "auto")
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "run") == expected
    sound(data, stage)


def test_training_goes_on_when_its_stager_is_killed_and_says_so_once(data, expected, tmp_path):
    stage = tmp_path / "stage"
    process = started(data, tmp_path / "run", "--stage", str(stage), *SLOW)
    wait_for(lambda: [*stage.glob("tars/*.partial")])
    os.kill(stager_of(process), signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert (
        errors.count("note: --stage: the process that stages files ended by SIGKILL: what is not staged is read") == 1
    )
    assert losses(tmp_path / "run") == expected
    sound(data, stage)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_stage_on_a_full_disk_or_without_a_folder_is_one_note_and_the_source_is_read(data, tmp_path, ranks):
    plain = trained(data, tmp_path / "plain", "--ranks", str(ranks))
    assert plain.returncode == 0, plain.stderr
    (tmp_path / "file").touch()
    (tmp_path / "disk").mkdir()
    with mounted(tmp_path / "disk", "size=300k"):
        for stage, words in (("disk", "No space left on device"), ("file", "cannot be made")):
            done = trained(data, tmp_path / f"on-{stage}", "--stage", str(tmp_path / stage), "--ranks", str(ranks))
            assert done.returncode == 0, done.stderr
            assert words in notes(done)[0]
            assert len(notes(done)) == 1 + (stage == "disk" and "more files" in done.stderr)
            assert losses(tmp_path / f"on-{stage}") == losses(tmp_path / "plain")
        assert 0 < sound(data, tmp_path / "disk") < len(data.tars())
        answer = subprocess.run(
            [
                sys.executable,
                "tools/stage_shards.py",
                data.root,
                "--stage",
                tmp_path / "disk",
                "--loader",
                "webdataset",
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
    assert answer.returncode == 2
    assert len(answer.stderr.strip().splitlines()) == 1
    assert "No space left on device" in answer.stderr


def test_two_runs_that_stage_into_one_folder_at_once_are_as_one_alone(data, expected, tmp_path):
    both = [started(data, tmp_path / name, "--stage", str(tmp_path / "stage"), *SLOW) for name in ("one", "other")]
    for process, name in zip(both, ("one", "other"), strict=True):
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert losses(tmp_path / name) == expected
    sound(data, tmp_path / "stage")


def test_a_set_of_an_object_store_is_staged_and_then_read_from_the_disk(data, expected, bucket, tmp_path):
    at, stage = f"{bucket}/read-from-a-stage", tmp_path / "stage"  # no other test may put files there
    fsspec.filesystem("s3").put(str(data.root), at, recursive=True)
    copying = [sys.executable, "tools/stage_shards.py", at, "--stage", str(stage), "--loader", "webdataset"]
    assert subprocess.run(copying, cwd=ROOT).returncode == 0
    words = [*TRAIN, "--data", at, "--loader", "webdataset", "--stage", str(stage), "--out", str(tmp_path / "run")]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "stage: 100.0% of" in done.stdout
    assert losses(tmp_path / "run") == expected


def test_the_commands_of_the_page_about_staging_work(data, tmp_path):
    tiny = shlex.join([*SMALL_WORDS, "--workers", "1", "--epochs", "1", "--out", str(tmp_path / "run")])
    places = {"/nfs/shards/imagenet-train": str(data.root), "/scratch/stage": str(tmp_path / "stage")}
    lines = commands("Staging on the disks of nodes")
    assert len(lines) == 3
    for line in lines:
        for place, here in places.items():
            line = line.replace(place, here)
        line = line.replace("python ", f"{sys.executable} ").replace("--method moco", f"--method moco {tiny}")
        done = subprocess.run(line, shell=True, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
