"""A lock is released by any death of its process, and refused or waited for while that lives."""

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from viewstream.shards import locks
from viewstream.shards.errors import UserError
from viewstream.shards.locks import held

HOLD = """
import sys, time
from pathlib import Path
from viewstream.shards.locks import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(120)
"""


def test_a_lock_is_refused_until_its_process_is_killed(tmp_path):
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="it is taken"), held(path, "it is taken"):
            pass
        holder.kill()
    with held(path, "it is taken") as file:
        file.write(b"mine")
    with held(path) as file:
        assert file.read() == b"mine"


@pytest.mark.parametrize("leave", [Path.unlink, lambda path: path.rename(path.with_name("done"))])
def test_a_file_that_its_holder_removes_or_renames_is_made_again_for_those_who_wait(tmp_path, leave):
    path = tmp_path / "lock"

    def work(number):
        with held(path) as file:
            assert os.path.samestat(os.fstat(file.fileno()), path.stat())
            assert not file.read()
            file.write(b"mine")
            leave(path)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(100)))
    assert not path.exists()


def test_a_file_whose_holder_leaves_between_opening_and_locking_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "_lock", lambda file, refusal: (tmp_path / "lock").unlink())
    with pytest.raises(UserError, match="it is taken"), held(tmp_path / "lock", "it is taken"):
        pass


def test_a_second_name_of_a_file_in_place_is_no_file_to_write(tmp_path):
    (tmp_path / "kept").write_bytes(b"old")
    os.link(tmp_path / "kept", tmp_path / "lock")
    with held(tmp_path / "lock") as file:
        file.write(b"new")
    assert (tmp_path / "kept").read_bytes() == b"old"


def test_a_file_system_without_locks_is_named_once_and_by_one_rank(tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    for number in range(3):
        with held(tmp_path / str(number), "it is taken"):
            pass
    reason = f"note: files in {tmp_path} cannot be locked (No locks available): start no second program there\n"
    assert capsys.readouterr().err == reason
    monkeypatch.setenv("RANK", "1")
    (tmp_path / "sub").mkdir()
    with held(tmp_path / "sub" / "lock"):
        pass
    assert not capsys.readouterr().err


def test_a_link_or_a_pipe_in_place_of_a_file_is_replaced_and_what_it_leads_to_stays(tmp_path):
    mine, path = tmp_path / "mine", tmp_path / "file"
    mine.write_text("precious")
    for place in (lambda: path.symlink_to(mine), lambda: os.mkfifo(path)):
        place()
        with held(path) as file:
            file.write(b"new")
        assert path.read_text() == "new"
        path.unlink()
    assert mine.read_text() == "precious"
