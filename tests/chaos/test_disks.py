"""Disks as users have them: full, read-only, of several ranks. One line and code 2; then the same command completes."""

import errno
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from .cases import CASES
from .disk import HERE, compiled, restore
from .failures import said

pytestmark = pytest.mark.full
FOLDERS = {"train": "runs", "static": "static", "look": "seen", "knn": "kept"}  # where they write


@contextmanager
def mounted(folder, options):
    """A tmpfs at `folder`, which needs root."""
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs needs root")
    try:
        yield lambda options: subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("options", ["size=60k", "size=4m", "size=9m,ro"])
@pytest.mark.parametrize("name", FOLDERS)
def test_a_full_or_read_only_disk_is_one_line_and_with_room_the_same_command_completes(name, options, tried):
    case, folder = tried(name), FOLDERS[name]
    restore(case.disk.root, case.before)
    (case.disk.root / folder).mkdir()
    with mounted(case.disk.root / folder, options) as again:
        answer = case.disk.run(case.case.argv)
        assert said(answer) == ""
        assert answer.code == 2 or not case.differing()
        assert not case.torn()
        again("rw,size=60m")
        assert case.continued() == ""


@pytest.mark.parametrize("number", [1, 12, 40])
@pytest.mark.parametrize("start", [["trainers/train.py", "--ranks", "2"], ["-m", "torch.distributed.run"]])
def test_a_disk_that_two_ranks_find_full_is_one_line(start, number, tried, tmp_path):
    root = tmp_path / "disk"
    root.mkdir()
    restore(root, tried("train").before)
    command = [*start, *CASES["train"].argv[1:]]
    if start[0] == "-m":
        command = [*start, "--standalone", "--nproc-per-node=2", *CASES["train"].argv]
    command = [str(HERE.parents[1] / word) if word == "trainers/train.py" else word for word in command]
    own = {"LD_PRELOAD": str(compiled()), "CHAOS_ROOT": str(root / "runs"), "CHAOS_FAIL": f"{number}:{errno.ENOSPC}:1"}
    done = subprocess.run([sys.executable, *command], cwd=root, env=os.environ | own, capture_output=True, text=True)
    text = done.stdout + done.stderr
    assert done.returncode == (1 if start[0] == "-m" else 2), text
    assert "No space left on device" in text
    if start[0] != "-m":  # torchrun shows a trace of its own, and what the other rank says of its gone peer
        assert "Traceback" not in text
        assert len([line for line in text.splitlines() if "error" in line]) == 1
