"""Without a GPU the programs for it say so."""

import sys

import pytest
import torch

from viewstream.shards.errors import UserError
from viewstream.tools.bench import gpu


def test_without_a_gpu_nothing_is_made(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--part", "sync", "--work", str(tmp_path / "work")])
    with pytest.raises(UserError, match="torch finds no GPU: run this on a machine with one"):
        gpu.main()
    assert not (tmp_path / "work").exists()


@pytest.mark.full
@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here: `make gpu` would measure it")
def test_without_a_gpu_the_program_says_so_and_exits_with_2(program):
    done = program("tools/bench/gpu.py", "--part", "sync")
    assert done.returncode == 2
    assert done.stderr.startswith("error: torch finds no GPU")
