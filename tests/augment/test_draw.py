"""Draws are a pure function of (seed, epoch, view, uid) with the distributions of torchvision."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision import transforms

from viewstream.augment.draw import draw, hashed, uniforms
from viewstream.augment.recipes import moco_v1, moco_v2
from viewstream.augment.spec import ColorJitter, HideAndSeek, Normalize, RandomResizedCrop

UIDS = np.arange(64, dtype=np.uint64) * np.uint64(0x123456789ABCDEF)
HW = np.stack([100 + np.arange(64) * 7 % 300, 90 + np.arange(64) * 13 % 400], axis=1)

GOLDEN_KEYS = [9142828488341969641, 9603677895924039147, 3475732555583496123]
GOLDEN_BOXES = [[23, 18, 73, 58], [1, 8, 79, 93], [14, 20, 88, 79]]


def flat(draws, rows=slice(None)):
    return [a[rows] for d in draws for a in d.values()]


@given(
    picks=st.lists(st.integers(0, 63), min_size=1, max_size=64),
    seed=st.integers(0, 2**63),
    epoch=st.integers(-1, 1000),
    number=st.integers(0, 9),
)
def test_an_image_draws_the_same_in_any_batch_and_order(picks, seed, epoch, number):
    key = {"seed": seed, "epoch": epoch, "number": number}
    whole = draw(moco_v2()[0], UIDS, HW, **key)
    part = draw(moco_v2()[0], UIDS[picks], HW[picks], **key)
    for a, b in zip(flat(whole, picks), flat(part), strict=True):
        np.testing.assert_array_equal(a, b)


def test_seed_epoch_view_and_image_each_change_the_draws():
    def boxes(**change):
        key = {"seed": 0, "epoch": 0, "number": 0, **change}
        return draw(moco_v2()[0], UIDS, HW, **key)[0]["box"]

    for change in ({"seed": 1}, {"epoch": 1}, {"number": 1}):
        assert (boxes(**change) != boxes()).any(axis=1).mean() > 0.95
    same_size = np.full((64, 2), 300)
    assert len(np.unique(draw(moco_v2()[0], UIDS, same_size, seed=0, epoch=0, number=0)[0]["box"], axis=0)) > 60


def test_two_recipes_have_equal_draws_of_the_ops_they_share():
    one = draw(moco_v1()[0], UIDS, HW, seed=0, epoch=0, number=0)
    two = draw(moco_v2()[0], UIDS, HW, seed=0, epoch=0, number=0)
    np.testing.assert_array_equal(one[0]["box"], two[0]["box"])
    np.testing.assert_array_equal(one[1]["on"], two[2]["on"])  # Grayscale


def test_the_hash_is_frozen_so_that_old_runs_stay_reproducible():
    keys = hashed(7, -1, 2, np.array([0, 1, 2**63], np.uint64))
    assert keys.tolist() == GOLDEN_KEYS
    box = draw((RandomResizedCrop(224),), UIDS[:3], HW[:3], seed=3, epoch=5, number=1)[0]["box"]
    assert box.tolist() == GOLDEN_BOXES


def test_hide_and_seek_draws_are_frozen():
    view = (RandomResizedCrop(56), Normalize(), HideAndSeek(grids=(14, 28)))
    drawn = draw(view, np.arange(3, dtype=np.uint64), np.full((3, 2), 90), seed=1, epoch=2, number=0)[2]
    assert drawn["grid"].tolist() == [28, 28, 14]
    assert np.packbits(drawn["keep"], axis=1).tolist() == [[0b0111_1111, 255], [0b1110_1111, 255], [238, 40]]


def test_uniforms_are_uniform():
    u = uniforms(hashed(1, np.arange(100_000, dtype=np.uint64)))
    counts = np.histogram(u, bins=64, range=(0, 1))[0]
    chi2 = ((counts - 100_000 / 64) ** 2 / (100_000 / 64)).sum()
    assert chi2 < 103  # 63 degrees of freedom, p = 0.001
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 0.01


def test_boxes_are_distributed_as_in_torchvisions_random_resized_crop():
    n = 8000
    for h, w in ((375, 500), (120, 300), (90, 600)):  # the last nearly always takes the center
        ours = draw(
            (RandomResizedCrop(224),), np.arange(n, dtype=np.uint64), np.full((n, 2), (h, w)), seed=0, epoch=0, number=0
        )
        torch.manual_seed(0)
        image = torch.empty(3, h, w)
        theirs = np.array(
            [transforms.RandomResizedCrop.get_params(image, [0.2, 1.0], [3 / 4, 4 / 3]) for _ in range(n)]
        )
        box = ours[0]["box"]
        assert ((box[:, :2] >= 0) & (box[:, :2] + box[:, 2:] <= (h, w))).all()
        for c in range(4):
            assert distance(box[:, c], theirs[:, c]) < 1.95 * np.sqrt(2 / n)  # Kolmogorov-Smirnov, p = 0.001


def distance(a, b):
    """The largest gap between two empirical distribution functions."""
    at = np.union1d(a, b)
    return abs(
        np.searchsorted(np.sort(a), at, "right") / len(a) - np.searchsorted(np.sort(b), at, "right") / len(b)
    ).max()


def test_jitter_is_distributed_as_in_torchvisions_color_jitter():
    n = 8000
    op = ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8)
    d = draw((op,), np.arange(n, dtype=np.uint64), np.full((n, 2), 100), seed=0, epoch=0, number=0)[0]
    torch.manual_seed(0)
    law = transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)
    theirs = [
        transforms.ColorJitter.get_params(law.brightness, law.contrast, law.saturation, law.hue) for _ in range(n)
    ]
    numbers = np.array([t[1:] for t in theirs], float)
    ours = np.concatenate([d["factor"], d["hue"][:, None]], axis=1)
    for c in range(4):
        assert distance(ours[:, c], numbers[:, c]) < 1.95 * np.sqrt(2 / n)
    orders = np.unique(d["order"], axis=0, return_counts=True)
    assert len(orders[0]) == 24
    assert ((orders[1] - n / 24) ** 2 / (n / 24)).sum() < 49.7  # chi-square, 23 degrees of freedom, p = 0.001
    assert abs(d["on"].mean() - 0.8) < 4 * np.sqrt(0.8 * 0.2 / n)
