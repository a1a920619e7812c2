"""A run says and keeps its number of threads, and a resumed one takes that of its checkpoint."""

import json
from dataclasses import replace

import pytest
import torch

from viewstream.trainers.training.run import Run, pretrain

from ..small_runs import SMALL, losses

RECIPE = replace(SMALL, epochs=2)


@pytest.fixture
def options(built):
    return Run(data=str(built.root), loader="folder", device="cpu", log_every=1, keep_every=1)


@pytest.fixture
def environment(monkeypatch):
    """(threads) -> as if the process had been started with so many in OMP_NUM_THREADS; None: without it."""
    before = torch.get_num_threads()

    def call(threads):
        if threads is None:
            monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        else:
            monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
            torch.set_num_threads(threads)

    yield call
    torch.set_num_threads(before)


def resumed(whole, folder):
    """What a run in `folder` needs to go on from the first epoch of the run `whole`."""
    return {"resume": str(whole / "epoch-0001.pt"), "out": str(folder)}


def saved(folder):
    return torch.load(folder / "last.pt", weights_only=True)["threads"]


def test_a_run_by_the_rule_that_is_resumed_under_another_omp_num_threads_repeats_its_losses(
    options, environment, tmp_path, capsys
):
    environment(None)
    whole = pretrain(RECIPE, replace(options, out=str(tmp_path / "whole")))
    assert "torch takes 1 thread, by the size of its networks" in capsys.readouterr().out
    environment(2)
    again = pretrain(RECIPE, replace(options, **resumed(whole, tmp_path / "again")))
    assert torch.get_num_threads() == 2
    shown = capsys.readouterr().out
    assert "note: torch takes 2 threads, as OMP_NUM_THREADS says; but " in shown
    assert f"torch takes 1 thread, as {whole / 'epoch-0001.pt'} was trained with" in shown
    second = {step: loss for step, loss in losses(whole).items() if step > 6}
    assert losses(again) == second
    assert saved(whole) == saved(again) == json.loads((again / "config.json").read_text())["threads"] == 1
    states = [torch.load(folder / "last.pt", weights_only=True)["method"] for folder in (whole, again)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_the_flag_counts_more_than_the_checkpoint_with_a_note(options, environment, tmp_path, capsys):
    environment(None)
    whole = pretrain(RECIPE, replace(options, out=str(tmp_path / "whole")))
    capsys.readouterr()
    again = pretrain(RECIPE, replace(options, **resumed(whole, tmp_path / "again"), threads=2))
    shown = capsys.readouterr().out
    assert "was trained with --threads 1: from here on losses are equal to rounding only" in shown
    assert "torch takes 2 threads, as --threads says" in shown
    assert saved(again) == 2
