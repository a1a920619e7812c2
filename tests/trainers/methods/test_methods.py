"""Every method through the real command line: README's commands, two ranks as one, a resume on fewer."""

import re
from pathlib import Path

import pytest
import torch

from viewstream.augment.recipes import views_of
from viewstream.pipeline.choose import open_loader
from viewstream.pipeline.plan.order import Plan
from viewstream.shards.cli import parse
from viewstream.shards.manifest import Manifest
from viewstream.testing import check_method
from viewstream.trainers.checkpoints.manager import CheckpointManager, TrainState
from viewstream.trainers.methods.build import METHODS, build
from viewstream.trainers.ranks import rank, world_size
from viewstream.trainers.recipes import METHODS as RECIPES
from viewstream.trainers.recipes import recipe_named
from viewstream.trainers.training import optim
from viewstream.trainers.training.log import Log
from viewstream.trainers.training.loop import train

from ..small_runs import COMMON_WORDS, ON_CPU, WORDS, losses

FULL = pytest.mark.full


def test_the_lists_of_methods_agree():
    assert METHODS.keys() == RECIPES.keys() == WORDS.keys()


def readme():
    """Method -> README's command for it, without torchrun."""
    text = (Path(__file__).parents[3] / "README.md").read_text()
    (command,) = re.findall(r"`torchrun --nproc-per-node 2 (trainers/train.py --method METHOD .*?)`", text)
    rows = re.findall(r"^\| \[`(\w+)`\]\(docs/methods/\1\.md\) \| (.*) \|$", text, re.MULTILINE)
    needed = {name: ["--teacher", "FILE"] if "`--teacher FILE`" in row else [] for name, row in rows}
    return {name: [*command.replace("METHOD", name).split(), *more] for name, more in needed.items()}


@pytest.mark.parametrize("name", WORDS)
def test_every_method_keeps_the_public_laws(name):
    (recipe,) = parse(recipe_named("", name), argv=COMMON_WORDS + WORDS[name], description="")
    check_method(recipe)


def test_the_readme_has_a_command_for_every_method():
    assert readme().keys() == METHODS.keys()


@FULL
@pytest.mark.parametrize("name", WORDS)
def test_the_readmes_command_trains_on_two_ranks(program, words, built, tmp_path, name):
    teacher = words("seed")[words("seed").index("--teacher") + 1]
    command = [{"SET": built.root, "FILE": teacher}.get(word, word) for word in readme()[name]]
    small = [*COMMON_WORDS, *WORDS[name], *ON_CPU, "--epochs", 1]
    done = program(*command, *small, "--out", tmp_path / "run", ranks=2)
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "run").keys() == set(range(1, 7))


@FULL
@pytest.mark.parametrize("name", WORDS)
def test_two_ranks_and_a_resume_on_one_follow_the_losses_of_one(program, words, tmp_path, name):
    one, two = tmp_path / "one", tmp_path / "two"
    # 24 steps. Convolutions of 16 images and of 8 round differently, and at a rate of 0.003 two passes through
    # BatchNorm of few images multiply that by some ten per step.
    rate = {"moco": 0.0005, "kcl": 0.001, "seed": 0.001, "supervised": 1e-4}.get(name, 1e-5)
    calm = ("--lr", rate, "--epochs", 4)
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


def trained(root, name, folder):
    """The method's state before and after two epochs on this rank's share of a set."""
    (recipe,) = parse(recipe_named("", name), argv=[*COMMON_WORDS, *WORDS[name]], description="")
    data, device = Manifest.open(root), torch.device("cpu")
    plan = Plan(len(data), recipe.batch_size, world_size(), rank(), 0)
    loader = open_loader("webdataset", data, plan, views_of(recipe.views, recipe.size), device=device, threads=1)
    method = build(recipe, len(data.info.classes))
    before = {key: value.clone() for key, value in method.state_dict().items()}
    state = TrainState(method, optim.optimizer_of(method, recipe), torch.amp.GradScaler("cpu", enabled=False))
    log = Log(folder, range(2 * len(loader)), batch=recipe.batch_size, every=100)
    with CheckpointManager(folder, state, {}, per_epoch=len(loader)) as checkpoints:
        train(recipe, loader, checkpoints, log)
    loader.close()
    return before, method.state_dict()


@FULL
@pytest.mark.parametrize("name", WORDS)
def test_two_ranks_agree_on_every_parameter_queue_and_teacher(on_ranks, built, tmp_path, name):
    (before, after), (_, other) = on_ranks(trained, 2, built.root, name, tmp_path)
    assert after.keys() == other.keys()
    changed = 0
    for key, value in after.items():
        if "running_" in key and not (name == "m2t" and key.startswith("target.")):
            continue  # each rank has its own running statistics, except in momentum BatchNorm
        assert value.equal(other[key]), f"the ranks differ in {key}"
        changed += not value.equal(before[key])
    assert changed > 5
