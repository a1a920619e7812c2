"""Runs begin with the weights of the given checkpoint: a backbone, a teacher, a classifier."""

from dataclasses import replace

import pytest
import torch

from viewstream.shards.errors import UserError
from viewstream.trainers.recipes.options import DINO, KCL, SEED, STS, MoCo, SimCLR, Supervised, SwAV

from ..small_runs import COMMON, state


def test_a_run_begins_with_the_weights_it_is_given(run, moco):
    given = state(moco)
    body = [name for name in given if name.startswith("online.backbone.") and given[name].is_floating_point()]
    still = {**COMMON, "lr": 0.0, "epochs": 1}  # only BatchNorm statistics change
    weights = [name for name in body if "running" not in name]
    for name, recipe in {
        "moco": MoCo(**still, queue=64, dim=16, bn_groups=2, key_momentum=1.0),
        "kcl": KCL(**still, queue=64, dim=16, bn_groups=2, key_momentum=1.0),
        "sts": STS(**still, views="byol", dim=16, hidden=32),
        "dino": DINO(**still, views="dino_large", dim=16, hidden=32, bottleneck=8),
        "simclr": SimCLR(**still, views="simclr", dim=16),
        "swav": SwAV(**still, views="swav", dim=16, hidden=32, prototypes=8),
        "supervised": Supervised(**still, views="supervised", bn_groups=2),
    }.items():
        after = state(run(name, recipe, pretrained=str(moco / "last.pt")))
        assert all(torch.equal(after[key], given[key]) for key in weights), name
        if name in ("moco", "kcl", "sts", "dino"):
            for key in weights:
                assert torch.equal(after[key.replace("online.", "target.")], given[key]), name


def test_seed_takes_the_given_teacher_and_leaves_it_unchanged(run, moco):
    recipe = SEED(**COMMON, views="seed", queue=64, dim=16, bn_groups=2, teacher_arch="test_resnet")
    after, given = state(run("seed", recipe, teacher=str(moco / "last.pt"))), state(moco)
    own = [name for name in after if name.startswith("teacher.")]
    assert own
    assert all(torch.equal(after[name], given[name.replace("teacher.", "online.")]) for name in own)


def test_seed_takes_a_vit_that_dino_trained_here_for_a_resnet(run, capsys):
    vit = {**COMMON, "arch": "test_vit", "lr": 1e-4, "epochs": 1}
    dino = run("dino", DINO(**vit, views="dino_large", dim=16, hidden=32, bottleneck=8))
    recipe = SEED(**COMMON, views="seed", queue=64, dim=8, bn_groups=2)
    seed = run("seed", recipe, teacher=str(dino / "last.pt"))
    printed = capsys.readouterr().out
    assert "says what its network is: --teacher-arch test_vit, --teacher-head dino, --teacher-hidden 32" in printed
    assert "left out: fc.last_layer.weight_g, fc.last_layer.weight_v, center" in printed
    after, given = state(seed), state(dino)
    own = [name for name in after if name.startswith("teacher.")]
    assert all(torch.equal(after[name], given[name.replace("teacher.", "target.")]) for name in own)
    with pytest.raises(UserError, match="embeds in 8 dimensions, the student in 16: take --dim 8"):
        run("other", replace(recipe, dim=16), teacher=str(dino / "last.pt"))


def test_second_stages_keep_a_classifier_of_equal_shape_and_probes_draw_a_new_one(run):
    first = run("first", Supervised(**COMMON, views="supervised", bn_groups=2))
    frozen = Supervised(
        **{**COMMON, "lr": 0.0, "epochs": 1}, views="supervised", trained="classifier", weight_decay=0.0
    )
    warm = state(run("warm", replace(frozen, fresh=False), pretrained=str(first / "last.pt")))
    cold = state(run("cold", frozen, pretrained=str(first / "last.pt")))
    assert torch.equal(warm["online.head.weight"], state(first)["online.head.weight"])
    assert cold["online.head.weight"].std() == pytest.approx(0.01, rel=0.1)


def test_a_second_stage_says_that_the_classifier_it_begins_with_is_of_other_classes(run, capsys):
    first = run("first", Supervised(**COMMON, views="supervised", bn_groups=2), class_subset="clsset1")
    frozen = Supervised(**COMMON | {"epochs": 1}, views="supervised", trained="classifier", fresh=False)
    for half, expected in (("clsset1", False), ("clsset1_comp", True)):
        run(half, frozen, pretrained=str(first / "last.pt"), class_subset=half)
        assert ("which this one begins with, is of other classes" in capsys.readouterr().out) == expected


def test_a_checkpoint_that_does_not_fit_is_refused_with_its_keys(run, moco):
    with pytest.raises(UserError, match=r"does not fit the network, .* entries differ"):
        run(
            "run",
            MoCo(**{**COMMON, "arch": "resnet18"}, queue=64, dim=16, bn_groups=2),
            pretrained=str(moco / "last.pt"),
        )
