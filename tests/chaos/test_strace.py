"""What shim.c writes down is what the kernel sees: no write goes past it, for a build and for a checkpoint."""

import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict

import pytest

from .cases import CASES
from .disk import HERE, compiled, operations, restore

CALLS = "write pwrite64 writev pwritev fsync fdatasync sync rename renameat renameat2 link linkat unlink unlinkat rmdir"
CALLS += " mkdir mkdirat ftruncate openat open creat copy_file_range sendfile fallocate truncate"
KINDS = {"write": "w", "pwrite64": "w", "writev": "w", "pwritev": "w", "fsync": "s", "fdatasync": "s", "sync": "S"}
KINDS |= {"rename": "r", "renameat": "r", "renameat2": "r", "link": "l", "linkat": "l", "unlink": "u", "unlinkat": "u"}
KINDS |= {"rmdir": "u", "mkdir": "m", "mkdirat": "m", "ftruncate": "t"}


def seen_by_the_kernel(text, root):
    """(kind, first path, second path, bytes) of each call that changed something below `root`, from lines of strace."""
    begun, found = {}, []
    for line in text.splitlines():
        process, call = line.split(None, 1)
        if call.endswith("<unfinished ...>"):
            begun[process] = call.removesuffix("<unfinished ...>")
            continue
        if resumed := re.match(r"<\.\.\. \w+ resumed>", call):
            call = begun.pop(process, "") + call[resumed.end() :]
        match = re.match(r"(\w+)\((.*)\) += (\d+)", call)
        if not match or match[1] in ("openat", "open", "creat"):
            continue
        name, words, answer = match[1], match[2], int(match[3])
        parts = re.findall(r'"([^"]*)"|(?:\d+|AT_FDCWD)<([^>]*)>', words)
        folders, paths = [], []
        for path, opened in parts:  # names are relative to the folder before them
            if opened:
                folders.append(opened)
            else:
                paths.append(os.path.normpath(os.path.join(folders.pop() if folders else root, path)))
        paths = paths or folders[:1]
        if name == "sync" or any(path == root or path.startswith(f"{root}/") for path in paths):
            first, second = [*paths, "", ""][:2]
            found.append((KINDS.get(name, name), first, second, answer if KINDS.get(name) == "w" else 0))
    return found


def by_path(calls):
    """path -> what was done to it in order, and how many bytes were written between two other operations."""
    done = defaultdict(list)
    for kind, first, second, size in calls:
        for path in filter(None, (first, second)):
            if kind == "w" and done[path] and done[path][-1][0] == "w":
                size += done[path].pop()[1]
            done[path].append((kind, size))
    return dict(done)


@pytest.mark.parametrize("name", ["build", pytest.param("train", marks=pytest.mark.full)])
def test_the_trace_of_a_build_and_of_a_checkpoint_is_what_strace_sees(name, tried, tmp_path):
    if not shutil.which("strace") or subprocess.run(["strace", "-o", os.devnull, "true"], check=False).returncode:
        pytest.skip("strace is not here, or may not trace")
    root = tmp_path / "disk"
    root.mkdir()
    restore(root, tried(name).before)
    command = ["strace", "-f", "-y", "-s", "0", "-qq", "-o", str(tmp_path / "calls")]
    command += ["-e", f"trace={','.join(CALLS.split())}", "-E", f"LD_PRELOAD={compiled()}"]
    own = {"CHAOS_ROOT": str(root), "CHAOS_TRACE": str(tmp_path / "trace"), "PYTHONDONTWRITEBYTECODE": "1"}
    argv = [str(HERE.parents[1] / CASES[name].argv[0]), *CASES[name].argv[1:]]
    subprocess.run([*command, sys.executable, *argv], cwd=root, env=os.environ | own, check=True, capture_output=True)
    ours = [(o.kind, o.first, o.second, len(o.data)) for o in operations(tmp_path / "trace")]
    ours = [call for call in ours if call[0] not in "c" and not (call[0] == "t" and not call[3])]
    kernel = [call for call in seen_by_the_kernel((tmp_path / "calls").read_text(), str(root)) if call[0] != "t"]
    assert by_path(kernel) == by_path(ours)
    assert any(kind == "r" for kind, *_ in ours)
