"""A run that is stopped or killed in mid-epoch and resumed repeats its losses bit for bit."""

import os
import signal
import threading
import time
from unittest.mock import Mock

import pytest
import torch

from viewstream.shards.cli import parse
from viewstream.shards.errors import UserError
from viewstream.trainers.checkpoints import rules
from viewstream.trainers.recipes import recipe_named
from viewstream.trainers.recipes.options import MoCo
from viewstream.trainers.training import signals
from viewstream.trainers.training.epochs import objection
from viewstream.trainers.training.run import Run, pretrain

from ..small_runs import WORDS, losses, rows
from .resuming import assert_same, reached


def train_here(command):
    """Do what train.py does with this command line, in this process."""
    _, _, method, *options = command
    recipe, run = parse(recipe_named("", method), Run(), argv=[str(word) for word in options], description="")
    return pretrain(recipe, run)


QUICK = ("moco", "swav", "dino")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.full) for name in WORDS]
)
def test_a_method_stopped_in_mid_epoch_and_resumed_repeats_its_losses(words, tmp_path, name):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train_here(words(name, "--out", whole))
    assert losses(whole).keys() == set(range(1, 13))

    def stop():
        while not reached(stopped, 2):
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGTERM)

    watcher = threading.Thread(target=stop)
    watcher.start()
    train_here(words(name, "--out", stopped))
    watcher.join()
    assert 2 < torch.load(stopped / "last.pt", weights_only=True)["step"] < 12
    train_here(words(name, "--out", stopped, "--resume", "auto"))
    assert_same(stopped, whole)


@pytest.mark.parametrize("checkpoint", ["epoch-0001.pt", None])
def test_a_log_is_cut_back_to_the_checkpoint_that_a_killed_run_left(words, tmp_path, checkpoint):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="no tensorboard")
    folder = tmp_path / "run"
    command = words("moco", "--keep-every", 1, "--tensorboard", "--csv", "--out", folder)
    train_here(command)
    before, log = losses(folder), folder / "log.jsonl"
    first, second = log.read_text().splitlines()[:6], log.read_text().splitlines()[6:9]
    damaged = ["\xff" + first[0], "[3]", '{"step": null}']
    lines = [*first, *second, '{"evaluation": "knn"}', *damaged, '{"step": 10, "lo']
    log.write_bytes("\n".join(lines).encode("latin-1"))  # one is no text in UTF-8
    (folder / "last.pt").unlink()
    if checkpoint:
        (folder / checkpoint).replace(folder / "last.pt")
    train_here([*command, "--resume", "auto"])
    kept = 6 if checkpoint else 0
    assert [row.get("step") for row in rows(folder)] == [*range(1, kept + 1), None, *range(kept + 1, 13)]
    assert losses(folder) == before
    own = (folder / "rank-0.log").read_text()
    assert f"{13 - kept} lines of log.jsonl are cut: steps after {kept} are taken again" in own
    shown = events.EventAccumulator(str(folder)).Reload().Scalars("loss")
    assert [event.step for event in shown] == [*range(1, 13)]
    table = [line.split(",") for line in (folder / "log.csv").read_text().splitlines()]
    assert [int(step) for step, name, _ in table[1:] if name == "loss"] == [*range(1, 13)]


def press_ctrl_c_at(step, folder):
    """Start a thread that presses Ctrl-C once `folder` has logged `step`."""

    def press():
        while not reached(folder, step):
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    return thread


def test_ctrl_c_saves_and_the_resumed_run_repeats_the_losses(words, tmp_path, capfd):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train_here(words("moco", "--out", whole))
    before = signal.getsignal(signal.SIGINT)  # a shell starts programs in the background with SIG_IGN
    watcher = press_ctrl_c_at(2, stopped)
    with pytest.raises(KeyboardInterrupt):
        train_here(words("moco", "--out", stopped))
    watcher.join()
    shown = capfd.readouterr()
    assert "once more ends at once" in shown.err
    assert "--resume auto continues" in shown.out
    assert 2 < torch.load(stopped / "last.pt", weights_only=True)["step"] < 12
    assert signal.getsignal(signal.SIGINT) is before
    train_here(words("moco", "--out", stopped, "--resume", "auto"))
    assert_same(stopped, whole)


def test_a_run_that_began_with_older_orders_keeps_them_when_it_is_resumed(words, tmp_path, monkeypatch):
    new, whole, stopped = (tmp_path / name for name in ("new", "whole", "stopped"))
    train_here(words("moco", "--out", new))
    with monkeypatch.context() as before:
        before.setitem(rules.VERSIONS, "order", 1)
        train_here(words("moco", "--out", whole))
        watcher = press_ctrl_c_at(2, stopped)
        with pytest.raises(KeyboardInterrupt):
            train_here(words("moco", "--out", stopped))
    watcher.join()
    saved = torch.load(stopped / "last.pt", weights_only=True)
    assert 2 < saved["step"] < 12
    del saved["versions"]["order"]  # as the checkpoints from before there were versions of orders
    torch.save(saved, stopped / "last.pt")
    train_here(words("moco", "--out", stopped, "--resume", "auto"))
    assert_same(stopped, whole)
    assert losses(stopped) != losses(new)
    assert torch.load(stopped / "last.pt", weights_only=True)["versions"]["order"] == 1


def test_a_second_ctrl_c_ends_at_once_and_the_same_one_from_a_launcher_does_not(monkeypatch):
    log = Mock(every=10, stop=False)
    with signals.stopping(log) as received:
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
        assert log.stop
        assert received == {signal.SIGINT}
        monkeypatch.setattr(signals, "AGAIN", 0.0)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_more_epochs_continue_a_run_whose_past_they_do_not_change(words, tmp_path, capsys):
    whole, longer = tmp_path / "whole", tmp_path / "longer"
    step = ("--schedule", "step", "--milestones", 1)
    train_here(words("moco", *step, "--out", whole))
    train_here(words("moco", *step, "--epochs", 1, "--out", longer))
    capsys.readouterr()
    train_here(words("moco", *step, "--epochs", 2, "--out", longer, "--resume", "auto"))
    assert "note: epochs 1 -> 2: the steps already taken are the same" in capsys.readouterr().out
    assert_same(longer, whole)
    with pytest.raises(UserError, match=r"epochs 2 -> 1\), and it has taken 12 steps, more than 1 epoch of them"):
        train_here(words("moco", *step, "--epochs", 1, "--out", longer, "--resume", "auto"))


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("moco", "--schedule cos would have given the steps already taken other learning rates"),
        ("byol", "byol follows a schedule over all epochs"),
    ],
)
def test_other_epochs_that_change_the_past_are_refused_with_the_reason(words, tmp_path, method, reason):
    out = ("--out", tmp_path / "run")
    train_here(words(method, "--epochs", 2, "--save-every", 2, *out))
    with pytest.raises(UserError, match=rf"epochs 2 -> 3\), and {reason}.*: repeat --epochs 2, or start again"):
        train_here(words(method, "--epochs", 3, *out, "--resume", "auto"))


def test_epochs_change_freely_in_the_warm_up():
    recipe = MoCo(epochs=20, schedule="warmcos", warmup_epochs=2)
    method = Mock(uses_total=False)
    assert not objection(recipe, method, 10, before=10, step=20)
    assert "other learning rates" in objection(recipe, method, 10, before=10, step=22)
