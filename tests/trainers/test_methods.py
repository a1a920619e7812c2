"""Every method through the real command line: one rank and two, killed and resumed, on fewer ranks than before."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from viewstream.shards.cli import parse
from viewstream.trainers.recipes import METHODS, recipe_named
from viewstream.trainers.recipes.options import MoCo
from viewstream.trainers.run import Run, pretrain

ROOT = Path(__file__).parents[2]
FULL = pytest.mark.full
EVERY = ("--arch", "test_resnet", "--size", 32, "--epochs", 2, "--batch-size", 16, "--device", "cpu", "--log-every", 1,
         "--loader", "webdataset", "--lr", 0.03, "--schedule", "cos", "--warmup-epochs", 0)  # fmt: skip
QUEUE = ("--queue", 64, "--dim", 16, "--bn-groups", 2)
BYOL = ("--dim", 16, "--hidden", 32)
WORDS = {
    "moco": (*QUEUE, "--key-momentum", 0.99),
    "kcl": (*QUEUE, "--key-momentum", 0.99, "--posk", 2),
    "byol": BYOL,
    "sts": BYOL,
    "m2t": (*BYOL, "--bn-groups", 2),
    "seed": (*QUEUE, "--teacher-arch", "test_resnet"),
    "supervised": ("--bn-groups", 2),
}


def losses(folder):
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows if "loss" in row}


@pytest.fixture(scope="module")
def words(built, tmp_path_factory):
    """(method) -> what to type to train it."""
    out = tmp_path_factory.mktemp("teacher")
    recipe = MoCo(arch="test_resnet", size=32, epochs=1, batch_size=16, queue=64, dim=16, bn_groups=2)
    teacher = pretrain(recipe, Run(data=str(built.root), loader="folder", out=str(out / "run"), device="cpu"))

    def of(name, *more):
        known = ("--teacher", teacher / "last.pt") if name == "seed" else ()
        return ["trainers/train.py", "--method", name, "--data", built.root, *EVERY, *WORDS[name], *known, *more]

    return of


def test_the_list_of_methods_is_complete():
    assert WORDS.keys() == METHODS.keys()


def trained(words):
    """What train.py does with these words, in this process."""
    given = words[3:]  # behind the program and its method
    recipe, run = parse(recipe_named("", words[2]), Run(), words=[str(word) for word in given], about="")
    return pretrain(recipe, run)


@pytest.mark.parametrize("name", WORDS)
def test_a_method_told_to_stop_in_mid_epoch_and_resumed_repeats_its_losses_bit_for_bit(words, tmp_path, name):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    trained(words(name, "--out", whole))
    assert losses(whole).keys() == set(range(1, 13))

    def stop():
        while not ((stopped / "log.jsonl").exists() and max(losses(stopped), default=0) >= 2):
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGTERM)

    watcher = threading.Thread(target=stop)
    watcher.start()
    trained(words(name, "--out", stopped))
    watcher.join()
    assert 2 < torch.load(stopped / "last.pt", weights_only=True)["step"] < 12
    trained(words(name, "--out", stopped, "--resume", "auto"))
    assert losses(stopped) == losses(whole)
    a, b = (torch.load(f / "last.pt", weights_only=True) for f in (whole, stopped))
    assert a["step"] == b["step"] == 12
    assert all(torch.equal(a["method"][k], b["method"][k]) for k in a["method"])


@FULL
@pytest.mark.parametrize("name", WORDS)
def test_a_run_killed_in_mid_epoch_and_resumed_repeats_its_losses_bit_for_bit(program, words, tmp_path, name):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = program(*words(name, "--save-every", 2, "--out", whole))
    assert done.returncode == 0, done.stderr
    assert losses(whole).keys() == set(range(1, 13))
    start = [sys.executable, *map(str, words(name, "--save-every", 2, "--out", killed))]
    running = subprocess.Popen(
        start, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while running.poll() is None and not ((killed / "log.jsonl").exists() and max(losses(killed), default=0) >= 3):
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    reached = torch.load(killed / "last.pt", weights_only=True)["step"]
    assert 2 <= reached < 12
    again = program(*words(name, "--save-every", 2, "--out", killed, "--resume", "auto"))
    assert again.returncode == 0, again.stderr
    assert losses(killed) == losses(whole)
    a, b = (torch.load(f / "last.pt", weights_only=True) for f in (whole, killed))
    assert a["step"] == b["step"] == 12
    assert all(torch.equal(a["method"][k], b["method"][k]) for k in a["method"])


def readme():
    """Method -> its command in README's table, without torchrun."""
    commands = re.findall(
        r"`torchrun --nproc-per-node 2 (trainers/train.py --method (\w+) .*?)`", (ROOT / "README.md").read_text()
    )
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
    done = program(Path(__file__).with_name("agree.py"), built.root, name, *mine[:at], *mine[at + 2 :], ranks=2)
    assert done.returncode == 0, done.stderr
    assert "agree" in done.stdout


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=FULL), pytest.param(2, marks=FULL)])
def test_sigterm_saves_and_ends_the_run_and_a_resume_goes_on(words, tmp_path, program, ranks):
    out = tmp_path / "run"
    start = [sys.executable] if ranks == 1 else [sys.executable, "-m", "torch.distributed.run", "--standalone",
                                                 f"--nproc-per-node={ranks}"]  # fmt: skip
    long = words("moco", "--epochs", 500, "--out", out)
    running = subprocess.Popen(
        [*start, *map(str, long)], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while running.poll() is None and not ((out / "log.jsonl").exists() and max(losses(out), default=0) >= 9):
        time.sleep(0.02)
    running.terminate()
    said, _ = running.communicate(timeout=60)
    if ranks == 1:  # torchrun itself ends with an error when it is told to end
        assert running.returncode == 0
    assert "--resume auto goes on" in said
    step = torch.load(out / "last.pt", weights_only=True)["step"]
    assert step == max(losses(out))
    done = program(*words("moco", "--epochs", 500, "--out", out, "--resume", "nowhere.pt"))
    assert done.returncode == 2
    again = torch.load(out / "last.pt", weights_only=True)
    assert again["step"] == step
