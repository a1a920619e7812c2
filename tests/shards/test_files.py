"""Files that several processes write at once are whole, and nothing is lost."""

import pytest

from viewstream.shards.files import append, atomic

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
