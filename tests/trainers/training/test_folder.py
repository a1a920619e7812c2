"""One trainer per run folder, and disks that refuse: one line, and the last whole checkpoint stays."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from viewstream.shards.errors import UserError
from viewstream.trainers.checkpoints import files
from viewstream.trainers.tasks.options import Knn
from viewstream.trainers.tasks.run import evaluate
from viewstream.trainers.training import log
from viewstream.trainers.training.folder import claimed
from viewstream.trainers.training.run import Run, pretrain

from ...pairs import pairs
from ..small_runs import SMALL, losses, rows

HOLD = """
import sys, time
from pathlib import Path
from viewstream.trainers.training.folder import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(120)
"""

TRAIN = """
from dataclasses import replace
from tests.trainers.small_runs import SMALL
from viewstream.trainers.training.run import Run, pretrain

def work(number, process, data, root):
    run = Run(data=data, loader="folder", out=f"{root}/{number}", device="cpu", log_every=1)
    pretrain(replace(SMALL, epochs=1, seed=process), run)
    return "done"
"""


@pytest.fixture
def small(built, tmp_path):
    """The options of a small run in a folder of its own."""
    return Run(data=str(built.root), loader="folder", out=str(tmp_path / "run"), device="cpu", log_every=1)


def test_a_second_trainer_in_a_folder_is_refused_until_the_first_dies(small, sets, tmp_path):
    folder = pretrain(replace(SMALL, epochs=1), small)
    holder = subprocess.Popen([sys.executable, "-c", HOLD, folder], stdout=subprocess.PIPE, text=True)
    assert holder.stdout
    assert holder.stdout.readline() == "held\n"
    before = (folder / "last.pt").read_bytes()
    with pytest.raises(UserError, match=f"another process trains in {folder}: wait for it, or name another --out"):
        pretrain(replace(SMALL, epochs=1), replace(small, resume="auto"))
    evaluate(Knn(checkpoint=str(folder / "last.pt"), **sets, loader="folder", device="cpu", k=5, max_k=1))
    assert (folder / "last.pt").read_bytes() == before
    holder.kill()
    holder.wait()
    pretrain(replace(SMALL, epochs=1), replace(small, resume="auto"))


@pytest.mark.parametrize("rounds", [1, pytest.param(20, marks=pytest.mark.full)])
def test_one_of_two_that_train_into_a_folder_at_once_trains_and_the_other_is_refused(built, tmp_path, rounds):
    for number, answers in enumerate(pairs(TRAIN, rounds, built.root, tmp_path)):
        folder = tmp_path / str(number)
        assert sorted(answer.partition(":")[0] for answer in answers) == ["done", "refused"]
        seed = answers.index("done")
        assert json.loads((folder / "config.json").read_text())["recipe"]["seed"] == seed
        assert torch.load(folder / "last.pt", weights_only=True)["recipe"]["seed"] == seed
        assert [row["step"] for row in rows(folder)] == [1, 2, 3, 4, 5, 6]
        assert {path.name for path in folder.iterdir()} == {"config.json", "last.pt", "log.jsonl", "rank-0.log"}


def _claim(folder):
    """What a rank of a second job learns about a folder that is held."""
    try:
        with claimed(Path(folder)):
            return "claimed"
    except UserError as error:
        return str(error)


@pytest.mark.full
def test_every_rank_learns_that_its_folder_is_taken(on_ranks, tmp_path):
    with claimed(tmp_path / "run"):
        refusals = on_ranks(_claim, 2, tmp_path / "run")
    assert refusals == [f"another process trains in {tmp_path / 'run'}: wait for it, or name another --out"] * 2
    assert _claim(tmp_path / "run") == "claimed"
    assert not (tmp_path / "run").exists()


def test_a_run_that_writes_nothing_leaves_no_folder(small, tmp_path):
    with pytest.raises(UserError, match="there is no checkpoint"):
        pretrain(SMALL, replace(small, pretrained="nowhere.pt"))
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").write_text("mine")
    with pytest.raises(UserError, match="is a file: name a folder with --out"):
        pretrain(SMALL, small)


def test_a_run_writes_nothing_into_a_data_set(small, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/dataset.json").write_text("{}")
    with pytest.raises(UserError, match=f"{tmp_path}/run holds a data set: name a folder for the run with --out"):
        pretrain(SMALL, small)
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["dataset.json"]


@pytest.mark.parametrize("name", [".lock", "log.jsonl", "config.json.partial", "rank-0.log"])
def test_a_file_of_a_run_that_cannot_be_written_is_one_line(small, tmp_path, monkeypatch, name):
    def refusing(own):
        def call(path, *arguments, **options):
            if getattr(path, "name", "") == name:
                raise OSError(errno.EROFS, "Read-only file system", str(path))
            return own(path, *arguments, **options)

        return call

    monkeypatch.setattr(Path, "open", refusing(Path.open))
    monkeypatch.setattr(os, "open", refusing(os.open))
    with pytest.raises(UserError, match=r"cannot be written \(Read-only file system\)"):
        pretrain(SMALL, small)
    assert not (tmp_path / "run" / "last.pt").exists()


class Full:
    """A file on a disk that is full after `room` bytes."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, content):
        self.room -= len(content)
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(content)

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_a_full_disk_at_a_checkpoint_is_one_line_and_the_last_one_stays(small, monkeypatch):
    own, calls = torch.save, []

    def refusing(content, file):
        calls.append(content["step"])
        own(content, Full(file, 1000) if len(calls) > 1 else file)

    with monkeypatch.context() as patch:
        patch.setattr(files.torch, "save", refusing)
        with pytest.raises(UserError, match=r"last.pt cannot be written \(No space left on device\): .*--resume auto"):
            pretrain(SMALL, small)
    folder = Path(small.out)
    assert torch.load(folder / "last.pt", weights_only=True)["step"] == 6
    assert not list(folder.glob("*.partial"))
    pretrain(SMALL, replace(small, resume="auto"))
    assert torch.load(folder / "last.pt", weights_only=True)["step"] == 12


def test_the_half_line_that_a_full_disk_leaves_in_the_log_is_cut(small, tmp_path):
    pretrain(replace(SMALL, epochs=1), small)
    with (tmp_path / "run" / "log.jsonl").open("a") as file:
        file.write('{"step": 7, "lo')
    pretrain(replace(SMALL, epochs=1), replace(small, resume="auto"))
    assert losses(tmp_path / "run").keys() == set(range(1, 7))


@pytest.mark.parametrize("name", ["log.jsonl", "rank-0.log"])
def test_a_full_disk_at_a_log_is_one_line(small, monkeypatch, name):
    own = log._lines
    monkeypatch.setattr(log, "_lines", lambda path: Full(own(path), 900) if path.name == name else own(path))
    with pytest.raises(UserError, match=rf"{name} cannot be written \(No space left on device\): check free space"):
        pretrain(SMALL, small)
