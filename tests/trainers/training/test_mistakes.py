"""Mistakes in training options: an error of one line before the first step, and nothing overwritten."""

import sys
from dataclasses import replace

import pytest
import torch

from viewstream.augment import moco_v2
from viewstream.shards.errors import UserError
from viewstream.trainers.recipes import recipe_named
from viewstream.trainers.recipes.options import BYOL, KCL, M2T, SEED, MoCo, Supervised
from viewstream.trainers.tasks.options import Knn
from viewstream.trainers.tasks.run import evaluate
from viewstream.trainers.training.run import Run, pretrain

COMMON = {"arch": "test_resnet", "size": 32, "epochs": 1, "batch_size": 16}
SMALL = MoCo(arch="test_resnet", size=32, epochs=1, batch_size=16, queue=16, lr=0.03, key_momentum=0.99, bn_groups=2)


@pytest.fixture(scope="module")
def finished(built, tmp_path_factory):
    """A finished run of six steps."""
    out = tmp_path_factory.mktemp("runs") / "first"
    return pretrain(SMALL, Run(data=str(built.root), loader="webdataset", out=str(out), device="cpu"))


@pytest.mark.parametrize(
    ("recipe", "run", "reason"),
    [
        ({"batch_size": 128}, {}, "exceeds the 96 samples"),
        ({"queue": 100}, {}, "make --batch-size divide --queue"),
        ({"bn_groups": 3}, {}, "choose --bn-groups"),
        ({"arch": "resnet5"}, {}, "unknown arch 'resnet5': did you mean 'resnet50'"),
        ({}, {"loader": "fcv"}, "did you mean 'ffcv'"),
        ({}, {"data": "nowhere"}, "nowhere does not exist: `python tools/build_shards.py"),
        ({}, {"resume": "nowhere.pt"}, "there is no checkpoint nowhere.pt"),
        ({"bn_groups": 16}, {}, "two or more"),
        ({"arch": "googlenet"}, {}, "choose another --arch"),
        ({"queue": 112}, {}, "each its own negative: lower --queue"),
        ({"views": "swav"}, {}, "moco takes two views of one size"),
        ({"accumulate": 2}, {}, "its queue takes a whole batch"),
        ({"precision": "fp16"}, {}, "fp16 needs a GPU"),
        ({"stem": "cifar", "arch": "vit_tiny_patch16_224"}, {}, "--stem cifar is for ResNets"),
        ({}, {"teacher": "some.pt"}, "moco has no teacher"),
        ({}, {"network": "target"}, "chooses among a checkpoint's networks"),
        ({}, {"ema": True}, "takes the averaged weights of a checkpoint: name it"),
        ({}, {"pretrained": "nowhere.pt"}, "there is no checkpoint nowhere.pt"),
    ],
)
def test_a_mistake_is_one_line_before_the_first_step(built, tmp_path, recipe, run, reason):
    options = {"data": str(built.root), "loader": "folder", "out": str(tmp_path / "run"), "device": "cpu", **run}
    with pytest.raises(UserError, match=reason):
        pretrain(replace(SMALL, **recipe), Run(**options))
    assert not (tmp_path / "run" / "last.pt").exists()


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        (KCL(**COMMON, bn_groups=3, queue=64), "choose --bn-groups"),
        (M2T(**COMMON, views="byol", bn_groups=2, accumulate=2), "pairs the two passes"),
        (BYOL(**COMMON, views="byol", accumulate=3), "--accumulate 3 does not divide a batch of 16"),
        (SEED(**COMMON, views="seed", bn_groups=2, queue=64), "name its checkpoint with --teacher"),
        (SEED(**COMMON, views="swav", bn_groups=2, queue=64), "one view, or one and small ones"),
        (Supervised(**COMMON, views="moco_v2", bn_groups=2), "supervised takes one view"),
        (
            Supervised(**COMMON, views="supervised", bn_groups=2, trained="classifier"),
            "measures little: name a checkpoint",
        ),
        (
            Supervised(**COMMON, views="supervised", bn_groups=2, balanced=True, order="blocks"),
            "two orders: choose one",
        ),
    ],
)
def test_an_option_that_a_method_does_not_take_is_one_line_before_the_first_step(built, tmp_path, recipe, reason):
    out = tmp_path / "run"
    with pytest.raises(UserError, match=reason):
        pretrain(recipe, Run(data=str(built.root), loader="folder", out=str(out), device="cpu"))
    assert not out.exists()


def test_unknown_methods_and_recipes_are_refused_with_the_nearest_names():
    with pytest.raises(UserError, match="unknown method 'mocco': did you mean 'moco'"):
        recipe_named("", "mocco")
    with pytest.raises(UserError, match="unknown recipe 'sts_20': did you mean 'sts_200'"):
        recipe_named("sts_20", "")
    with pytest.raises(UserError, match="recipe sts_200 trains sts, not moco"):
        recipe_named("sts_200", "moco")


def test_a_run_is_not_overwritten_and_only_resumed_with_its_own_recipe(built, finished, tmp_path):
    before = (finished / "last.pt").read_bytes()
    run = Run(data=str(built.root), loader="folder", out=str(finished), device="cpu")
    with pytest.raises(UserError, match="already holds a run"):
        pretrain(SMALL, run)
    with pytest.raises(UserError, match=r"another recipe \(lr 0.03 -> 0.1\)"):
        pretrain(replace(SMALL, lr=0.1), replace(run, resume="auto"))
    with pytest.raises(UserError, match=r"another recipe .*arch 'test_resnet' -> 'resnet18'"):
        pretrain(replace(SMALL, arch="resnet18"), replace(run, resume="auto"))
    assert (finished / "last.pt").read_bytes() == before


def test_a_run_is_only_resumed_on_its_own_data(built_val, finished):
    run = Run(data=str(built_val.root), loader="folder", out=str(finished), device="cpu", resume="auto")
    with pytest.raises(UserError, match=r"another data \(name 'pets-full-train' -> 'pets-full-val'"):
        pretrain(SMALL, run)


def test_resuming_from_another_run_does_not_overwrite_this_run(built, finished, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "last.pt").write_bytes((finished / "last.pt").read_bytes())
    run = Run(data=str(built.root), loader="folder", out=str(tmp_path / "other"), resume=str(finished / "last.pt"))
    with pytest.raises(UserError, match="already holds a run"):
        pretrain(SMALL, run)


@pytest.mark.parametrize(("lr", "save_every"), [(1e30, 4), (3e38, 1)])  # at 3e38 the loss is finite and the step is not
def test_values_that_are_not_finite_stop_the_run_and_never_reach_a_checkpoint(built, tmp_path, lr, save_every):
    run = Run(
        data=str(built.root),
        loader="folder",
        out=str(tmp_path / "run"),
        device="cpu",
        log_every=1000,
        save_every=save_every,
    )
    with pytest.raises(UserError, match=r"lower --lr$"):  # there is no checkpoint from before
        pretrain(replace(SMALL, lr=lr, weight_decay=1e3), run)
    assert not (tmp_path / "run" / "last.pt").exists()


@pytest.mark.parametrize("package", ["tensorboard", "wandb"])
def test_an_absent_logger_is_named_before_anything_is_written(built, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    options = {"tensorboard": True} if package == "tensorboard" else {"wandb": "project"}
    run = Run(data=str(built.root), loader="folder", out=str(tmp_path / "run"), device="cpu", **options)
    with pytest.raises(UserError, match=f"{package} is not installed: pip install 'viewstream"):
        pretrain(SMALL, run)
    assert not (tmp_path / "run").exists()


def test_a_damaged_or_foreign_checkpoint_is_refused(built, tmp_path):
    bad = tmp_path / "bad.pt"
    for content in (b"", b"not a checkpoint"):
        bad.write_bytes(content)
        with pytest.raises(UserError, match="not a readable checkpoint"):
            evaluate(Knn(checkpoint=str(bad), data=str(built.root), val=str(built.root)))
    torch.save({"state_dict": {}}, bad)
    with pytest.raises(UserError, match="holds no weights"):
        evaluate(Knn(checkpoint=str(bad), data=str(built.root), val=str(built.root)))


@pytest.mark.full
def test_programs_end_with_code_2_and_one_line_for_a_mistake(program, tmp_path):
    for command in (
        ("trainers/train.py", "--epoch", 3),
        ("trainers/train.py", "--workers", -1),
        ("trainers/evaluate.py",),
    ):
        done = program(*command)
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert len(done.stderr.splitlines()) == 1


def test_a_run_with_views_of_ones_own_resumes_only_with_the_same_views(built, tmp_path):
    run = Run(data=str(built.root), loader="folder", out=str(tmp_path / "run"), device="cpu")
    views = tuple((*view[:1], *view[-1:]) for view in moco_v2(32))  # crops alone
    pretrain(SMALL, run, views=views)
    pretrain(SMALL, replace(run, resume="auto"), views=views)
    for other in (None, moco_v2(32)):
        with pytest.raises(UserError, match=r"another recipe .*views"):
            pretrain(SMALL, replace(run, resume="auto"), views=other)
