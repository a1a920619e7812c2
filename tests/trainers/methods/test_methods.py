"""Every method through the real command line: README's commands, two ranks as one, a resume on fewer."""

import re
from pathlib import Path

import pytest

from viewstream.trainers.recipes import METHODS

from ..small_runs import EVERY, WORDS, losses

FULL = pytest.mark.full


def test_the_list_of_methods_is_complete():
    assert WORDS.keys() == METHODS.keys()


def readme():
    """Method -> its command in README's table, without torchrun."""
    text = (Path(__file__).parents[3] / "README.md").read_text()
    commands = re.findall(r"`torchrun --nproc-per-node 2 (trainers/train.py --method (\w+) .*?)`", text)
    return {name: command.split() for command, name in commands}


def test_the_readme_has_a_command_for_every_method():
    assert readme().keys() == METHODS.keys()


@FULL
@pytest.mark.parametrize("name", WORDS)
def test_the_readmes_command_trains_on_two_ranks(program, words, built, tmp_path, name):
    known = {"SET": built.root, "FILE": words("seed")[words("seed").index("--teacher") + 1]}
    command = [known.get(word, word) for word in readme()[name]]
    small = [*EVERY, *WORDS[name]]
    at = small.index("--loader")
    done = program(*command, *small[:at], *small[at + 2 :], "--epochs", 1, "--out", tmp_path / "run", ranks=2)
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "run").keys() == set(range(1, 7))


@FULL
@pytest.mark.parametrize("name", WORDS)
def test_two_ranks_and_a_resume_on_one_follow_the_losses_of_one(program, words, tmp_path, name):
    one, two = tmp_path / "one", tmp_path / "two"
    # 24 steps. Two passes through BatchNorm of few images blow rounding up, some ten times a step at a rate of 0.003.
    calm = ("--lr", 1e-5 if name in ("byol", "sts", "m2t") else 0.003, "--epochs", 4)
    assert program(*words(name, *calm, "--out", one)).returncode == 0
    done = program(*words(name, *calm, "--keep-every", 2, "--out", two), ranks=2)
    assert done.returncode == 0, done.stderr
    alone, both = losses(one), losses(two)
    assert alone.keys() == both.keys() == set(range(1, 25))
    for step in range(1, 21):
        assert both[step] == pytest.approx(alone[step], abs=1e-4), (name, step)
    later = tmp_path / "later"
    done = program(*words(name, *calm, "--out", later, "--resume", two / "epoch-0002.pt"))
    assert done.returncode == 0, done.stderr
    assert losses(later).keys() == set(range(13, 25))
    for step in range(13, 21):
        assert losses(later)[step] == pytest.approx(alone[step], abs=1e-4), (name, step)


@FULL
@pytest.mark.parametrize("name", WORDS)
def test_two_ranks_agree_on_every_parameter_queue_and_teacher(program, built, name):
    mine = [w for w in (*EVERY, *WORDS[name]) if w not in ("--device", "cpu", "--loader", "webdataset")]
    at = mine.index("--log-every")
    done = program(Path(__file__).parents[1] / "agree.py", built.root, name, *mine[:at], *mine[at + 2 :], ranks=2)
    assert done.returncode == 0, done.stderr
    assert "agree" in done.stdout
