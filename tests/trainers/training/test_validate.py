"""Validation is fp32, but a classifier on a fixed backbone is tested on the features that it is trained on."""

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch

from viewstream.shards.errors import UserError
from viewstream.trainers.methods.build import build
from viewstream.trainers.recipes.options import MoCo, Supervised
from viewstream.trainers.training.online import OnlineProbe
from viewstream.trainers.training.options import Run
from viewstream.trainers.training.validate import Validator

from ..small_runs import COMMON

PROBE = Supervised(**COMMON, views="supervised", trained="classifier", bn_groups=2)
CPU = torch.device("cpu")


def measured(recipe, built, built_val, val=None):
    """The dtypes of the features in a validation of a network trained in bf16."""
    method, dtypes = build(recipe, len(built.info.classes)), set()
    method.backbone.register_forward_hook(lambda _, __, out: dtypes.add(out.dtype))
    run, recipe = Run(loader="folder", eval_every=1, knn_k=3), replace(recipe, precision="bf16")
    with closing(Validator(method, recipe, run, built, val or built_val, CPU)) as validator:
        validator.measure()
    return dtypes


@pytest.mark.parametrize(
    ("recipe", "dtype"),
    [
        (PROBE, torch.bfloat16),
        (replace(PROBE, trained="all"), torch.float32),
        (MoCo(**COMMON, queue=64, dim=16, bn_groups=2), torch.float32),
    ],
)
def test_only_a_classifier_on_a_fixed_backbone_is_tested_in_the_precision_of_its_training(
    recipe, dtype, built, built_val
):
    assert measured(recipe, built, built_val) == {dtype}


def test_validation_on_images_of_the_training_set_is_named(built, built_val, capsys):
    measured(PROBE, built, built_val, val=built)
    assert "warning: 96 of 96 test images are in the bank" in capsys.readouterr().err


def test_more_neighbors_than_training_images_are_refused_before_the_training(built, built_val):
    recipe, run = MoCo(**COMMON, queue=64, dim=16, bn_groups=2), Run(loader="folder", eval_every=1)
    with pytest.raises(UserError, match="--knn-k 200 neighbors cannot vote among 96 training images"):
        Validator(build(recipe), recipe, run, built, built_val, CPU)


def test_knn_and_the_probe_have_the_means_of_the_groups_that_have_classes(built, built_val):
    """24 images of one class, 12, 6 and 3 of the others: none with many, one with a medium number."""
    rows = np.concatenate([np.flatnonzero(built.label == label)[: 24 >> label] for label in range(4)])
    tail = built.take(np.sort(rows), built.label[np.sort(rows)], built.info.classes)
    recipe, run = MoCo(**COMMON, queue=64, dim=16, bn_groups=2), Run(loader="folder", eval_every=1, knn_k=3)
    method = build(recipe)
    run, probe = replace(run, online=("knn", "linear")), OnlineProbe(method, 4)
    with closing(Validator(method, recipe, run, tail, built_val, CPU, probe)) as validator:
        found = validator.measure()
    groups = ("medium", "few")
    assert [*found] == [name + end for name in ("knn", "linear") for end in ("", *(f"/{group}" for group in groups))]
    for name in ("knn", "linear"):  # test classes have as many images, so all of them is the mean of the classes
        assert found[name] == pytest.approx((found[f"{name}/medium"] + 3 * found[f"{name}/few"]) / 4)
    assert 0 < found["knn"] < 1
