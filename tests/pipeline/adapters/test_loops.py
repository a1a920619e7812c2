"""Lightning and accelerate show the plan's images and new views in each epoch, on one and on two processes."""

import importlib.util
from pathlib import Path

import pytest
import torch

from viewstream.pipeline.plan.order import Plan

LOOPS = Path(__file__).parent / "loops.py"
PACKAGES = {"lightning": "pytorch_lightning", "accelerate": "accelerate"}
LIGHTNING, ACCELERATE = (
    pytest.param(
        loop,
        marks=pytest.mark.skipif(not importlib.util.find_spec(package), reason=f"{package} is not installed"),
    )
    for loop, package in PACKAGES.items()
)
FULL = pytest.mark.full


def seen(program, built, folder, loop, ranks=1):
    """[rank][epoch][step] -> what that step saw."""
    done = program(LOOPS, loop, built.root, folder / "seen", ranks=ranks)
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"seen-{rank}.pt") for rank in range(ranks)]


def assert_new_views(epochs):
    """No two epochs show a row with the same view."""
    views = [item for epoch in epochs for step in epoch for item in step]
    assert len(set(views)) == len(views)


@pytest.mark.parametrize("loop", [LIGHTNING, pytest.param("accelerate", marks=[*ACCELERATE.marks, FULL])])
def test_each_epoch_has_the_plans_rows_and_new_views(program, built, tmp_path, loop):
    (epochs,) = seen(program, built, tmp_path, loop)
    batch = 16 if loop == "lightning" else 8
    for number, epoch in enumerate(epochs):
        rows = [[row for row, _ in step] for step in epoch]
        assert rows == [ids.tolist() for ids in Plan(len(built), batch, seed=5).ids(number)]
    assert len(epochs) == 3
    assert_new_views(epochs)


@pytest.mark.full
@pytest.mark.parametrize("loop", [LIGHTNING, ACCELERATE])
def test_two_processes_share_the_rows_of_one(program, built, tmp_path, loop):
    (one,), two = seen(program, built, tmp_path, loop), seen(program, built, tmp_path, loop, ranks=2)
    for number, epoch in enumerate(one):
        items = [item for step in epoch for item in step]
        shared = [item for rank in two for step in rank[number] for item in step]
        assert sorted(row for row, _ in shared) == sorted(row for row, _ in items)
        assert set(shared) == set(items)
    for rank in two:
        assert_new_views(rank)
