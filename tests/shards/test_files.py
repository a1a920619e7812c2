"""Files that several processes write at once are whole, and nothing is lost."""

import errno
import os

import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.files import append, atomic, make_folder, place, spared, writing

from ..pairs import pairs

WRITE = """
from pathlib import Path
from viewstream.shards.files import atomic

def work(number, process, path):
    for _ in range(20):
        with atomic(Path(path), "w") as file:
            for _ in range(50):
                file.write(f"{number} {process}\\n")
                file.flush()
    return "done"
"""

CHANGE = """
from pathlib import Path
from viewstream.shards.files import append, atomic

def work(number, process, path):
    for turn in range(50):
        if process:
            append(Path(path), f"{number} {turn}\\n")
        else:
            with atomic(Path(path), "w") as file:
                file.write(Path(path).read_text())
    return "done"
"""


def test_a_file_that_two_processes_write_at_once_is_that_of_one_of_them(tmp_path):
    assert pairs(WRITE, 5, tmp_path / "file") == [("done", "done")] * 5
    assert (tmp_path / "file").read_text() in {f"4 {process}\n" * 50 for process in (0, 1)}
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_no_line_is_lost_that_one_process_appends_while_another_replaces_the_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("first\n")
    assert pairs(CHANGE, 5, path) == [("done", "done")] * 5
    lines = [f"{number} {turn}\n" for number in range(5) for turn in range(50)]
    assert path.read_text() == "".join(["first\n", *lines])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_program_left_is_written_over_and_an_error_leaves_nothing(tmp_path):
    path, partial = tmp_path / "file", tmp_path / "file.partial"
    partial.write_text("a long beginning")
    with atomic(path, "w") as file:
        file.write("whole")
    assert path.read_text() == "whole"
    with pytest.raises(TypeError, match="str"), atomic(path, "w") as file:
        file.writelines(["torn", 0])
    append(path, "\n")
    assert path.read_text() == "whole\n"
    assert not partial.exists()


def test_an_error_of_the_disk_names_the_file_and_leaves_what_was_there(tmp_path, monkeypatch):
    def refused(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    path = tmp_path / "file"
    path.write_text("before")
    monkeypatch.setattr(os, "fsync", refused)
    with pytest.raises(OSError, match=str(path)), atomic(path, "w") as file:
        file.write("after")
    said = r"file cannot be written \(Input/output error\): check free space"
    with pytest.raises(UserError, match=said), writing(path), atomic(path, "w") as file:
        file.write("after")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "before")]


def test_a_cache_that_cannot_be_kept_is_a_note(tmp_path, capsys):
    (tmp_path / "file").touch()
    with spared(tmp_path / "file" / "cache"):
        make_folder(tmp_path / "file" / "cache")
    assert f"note: {tmp_path / 'file' / 'cache'} cannot be kept (Not a directory)" in capsys.readouterr().err


@pytest.mark.parametrize("within", [writing, spared])
def test_a_closed_pipe_of_what_is_printed_is_no_error_of_a_file(within, tmp_path):
    with pytest.raises(BrokenPipeError), within(tmp_path / "results.json"):
        raise BrokenPipeError(errno.EPIPE, "the reader is gone")


def test_new_names_are_synced_in_every_folder_that_has_them(tmp_path, monkeypatch):
    synced, own = [], os.fsync

    def seen(descriptor):
        synced.append(os.readlink(f"/dev/fd/{descriptor}"))
        own(descriptor)

    monkeypatch.setattr(os, "fsync", seen)
    make_folder(tmp_path / "a" / "b" / "c")
    assert sorted(synced) == [str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")]
    synced.clear()
    (tmp_path / "work").mkdir()
    place(tmp_path / "work", tmp_path / "a" / "done")
    assert synced == [str(tmp_path / "a")]
    with atomic(tmp_path / "a" / "file"):
        pass
    assert synced[1:] == [str(tmp_path / "a" / "file.partial"), str(tmp_path / "a")]
