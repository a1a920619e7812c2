"""The commands of the sections "Several nodes" and "What to size" of docs/clusters.md are those that tests run."""

import shlex
import sys

import pytest

from .hosts import ROOT, launcher
from .page import commands


def test_the_commands_of_several_nodes_are_those_that_the_tests_of_two_hosts_start():
    *lines, slurm = [shlex.split(line) for line in commands("Several nodes")]
    ours = [
        launcher("node-1"),
        launcher("node-1", options=("--max-restarts", 3)),
        launcher("node-1", nnodes="1:2", options=("--max-restarts", 3)),
    ]
    for words, own in zip(lines, ours, strict=True):
        program = words.index("trainers/train.py")
        started = [word.replace(sys.executable, "python").replace(f"{ROOT}/", "") for word in own]
        start, one = words[:program], words.index("--nproc-per-node") + 1
        assert [*start[:one], "1", *start[one + 1 :]] == started
    assert slurm[:2] == ["sbatch", "tools/slurm.sbatch"]
    assert f"{' '.join(slurm[:4])} " in (ROOT / "tools/slurm.sbatch").read_text()
    assert all("--resume auto" in " ".join(words) for words in lines[1:])


@pytest.mark.full
def test_the_commands_of_what_to_size_answer(program):
    for line in commands("What to size"):
        python, *words = shlex.split(line)
        done = program(*words)
        assert python == "python"
        assert done.returncode == 0, done.stderr
        for start in ("a store that they share: ", "--stage: ", "build: ", "memory: ", "limits on 64 cores: "):
            assert any(shown.startswith(start) for shown in done.stdout.splitlines())
