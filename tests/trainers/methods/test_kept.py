"""The losses of single images, which a method keeps when a replay asks for them."""

import pytest
import torch

from viewstream.augment.recipes import views_of
from viewstream.augment.spec import size_of
from viewstream.pipeline.batch import Batch
from viewstream.shards.cli import parse
from viewstream.trainers.methods.build import build
from viewstream.trainers.methods.method import Now
from viewstream.trainers.recipes import recipe_named

from ..small_runs import COMMON_WORDS, WORDS

OPTIONS = {name: [] for name in WORDS} | {
    "seed, with patches": ["--views", "seed_patches"],
    "kcl, summed": ["--sump"],
    "kcl, summed over all positives": ["--sump", "--tgt-avg"],
    "simclr, of two directions": ["--directions", "sum"],
}
NOW = Now(0, 12, 0)


def loss_of(case, kept, order=range(16)):
    name = case.partition(",")[0]
    (recipe,) = parse(recipe_named("", name), argv=[*COMMON_WORDS, *WORDS[name], *OPTIONS[case]], description="")
    method = build(recipe, classes=4).train()
    method.kept = kept
    made = torch.Generator().manual_seed(0)
    sizes = [size_of(view) for view in views_of(recipe.views, recipe.size)]
    views = tuple(torch.randn(16, 3, size, size, generator=made)[[*order]] for size in sizes)
    method.before_step(NOW)
    images = torch.tensor([*order])
    return method(Batch(views, images % 4, images), NOW)[0]


@pytest.mark.parametrize("case", OPTIONS)
def test_the_loss_is_the_mean_of_the_losses_of_its_images_and_keeping_them_changes_no_bit(case):
    kept = []
    loss = loss_of(case, kept)
    (rows,) = kept
    assert rows.shape == (16,)
    assert not rows.requires_grad
    assert rows.std() > 1e-4 * rows.mean()  # of single images, not their mean again
    torch.testing.assert_close(rows.mean(), loss.detach(), rtol=1e-5, atol=0)
    assert torch.equal(loss, loss_of(case, None))


@pytest.mark.parametrize("case", [case for case in OPTIONS if case.partition(",")[0] not in ("moco", "kcl")])
def test_each_loss_belongs_to_the_image_at_its_place(case):  # keys of the two are shuffled by place
    kept = []
    loss_of(case, kept)
    loss_of(case, kept, order := [1, 0, *range(2, 16)])
    torch.testing.assert_close(kept[1], kept[0][order], rtol=1e-4, atol=0)
    assert abs(kept[0][0] - kept[0][1]) > 2e-4 * kept[0][0]
