"""Every method with every recipe of views: a step, or a refusal that lists the views that fit."""

import pytest
import torch

from viewstream.augment import RandomResizedCrop, moco_v2, seed_patches, views_of
from viewstream.augment.recipes import VIEWS
from viewstream.augment.spec import size_of
from viewstream.pipeline.batch import Batch
from viewstream.shards.cli import parse
from viewstream.shards.errors import UserError
from viewstream.trainers.methods.build import build, check
from viewstream.trainers.methods.method import Now
from viewstream.trainers.recipes import recipe_named

from ..small_runs import COMMON_WORDS, WORDS

TWO = {"moco_v1", "moco_v2", "ssl_small", "ssl_small_cj1", "ssl_small_mask", "byol", "slaug", "ltaug", "inat_slaug"}
TWO |= {"simclr", "simclr_cifar", "simclr_sthalles", "sdclr", "sdclr_cifar", "swav_large", "dino_large"}
MANY = {"swav", "dino", "dino_resnet"}  # beside two large views, small ones
ONE = VIEWS.keys() - TWO - MANY - {"seed_patches"}
FIT = dict.fromkeys(("moco", "kcl", "byol", "sts", "m2t", "simclr"), TWO) | dict.fromkeys(("swav", "dino"), TWO | MANY)
FIT |= {"seed": ONE | {"seed_patches"}, "supervised": ONE}


def recipe_of(method, views):
    words = [*COMMON_WORDS, *WORDS[method], "--views", views, "--batch-size", "4"]
    words += ["--queue", "0"] if method == "swav" else []
    return parse(recipe_named("", method), argv=words, description="")[0]


QUICK = ("moco", "swav", "seed", "supervised")  # one for each set of views


@pytest.mark.parametrize(
    "method", [name if name in QUICK else pytest.param(name, marks=pytest.mark.full) for name in FIT]
)
def test_views_that_fit_train_and_others_are_refused_with_those_that_fit(method, built):
    for name in VIEWS:
        recipe = recipe_of(method, name)
        views = views_of(name, recipe.size)
        if name not in FIT[method]:
            with pytest.raises(UserError, match=f"--views {name} makes .*: {method} takes .*, as of --views") as found:
                check(recipe, views, built)
            listed = str(found.value).rpartition("--views ")[2].split(", ")
            assert set(listed) == FIT[method]
            continue
        check(recipe, views, built)
        net = build(recipe, classes=4).train()
        batch = Batch(tuple(torch.randn(4, 3, size_of(v), size_of(v)) for v in views), torch.arange(4), torch.arange(4))
        net.before_step(Now(0, 10, 0))
        loss, _ = net(batch, Now(0, 10, 0))
        net.after_step(Now(0, 10, 0))
        assert loss.isfinite()


def test_views_of_ones_own_have_small_patches_exactly_if_the_recipe_says_so(built):
    check(recipe_of("seed", "seed_patches"), seed_patches(32)[:3], built)
    check(recipe_of("seed", "seed"), seed_patches(32)[:1], built)
    for name, views in (("seed", seed_patches(32)), ("seed_patches", seed_patches(32)[:1])):
        with pytest.raises(UserError, match=f"{len(views)} views of your own beside --views {name}"):
            check(recipe_of("seed", name), views, built)
    wide = ((RandomResizedCrop(48), *moco_v2(48)[0][1:]),)
    with pytest.raises(UserError, match="one and small ones of one size"):
        check(recipe_of("seed", "seed_patches"), seed_patches(32)[:1] + wide, built)
