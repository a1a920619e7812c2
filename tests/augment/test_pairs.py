"""Pairs of crops keep their limits and are a pure function of seed, epoch and image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viewstream.augment import pairs
from viewstream.augment.draw import draw
from viewstream.augment.spec import RandomResizedCrop

CROP = RandomResizedCrop(64)
SIZES = st.lists(st.tuples(st.integers(8, 500), st.integers(8, 500)), min_size=1, max_size=8)


def uids_and_sizes(sizes):
    return np.arange(len(sizes), dtype=np.uint64) * 7 + 3, np.array(sizes)


def plain_iou(a, b):
    """The IoU of two boxes, in plain Python."""
    high = [min(a[i] + a[i + 2], b[i] + b[i + 2]) - max(a[i], b[i]) for i in range(2)]
    shared = max(high[0], 0) * max(high[1], 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def inside(a, b):
    """Whether box b contains box a."""
    return all(b[i] <= a[i] and a[i] + a[i + 2] <= b[i] + b[i + 2] for i in range(2))


@settings(deadline=None, max_examples=20)
@given(sizes=SIZES, seed=st.integers(0, 50), mode=st.sampled_from([*pairs.OVERLAPS]))
def test_pairs_keep_their_limits_or_are_the_last_try(sizes, seed, mode):
    uid, hw = uids_and_sizes(sizes)
    limits = pairs.OVERLAPS[mode]._replace(tries=30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(pairs.OVERLAPS, mode, limits)
        found = pairs.boxes(mode, CROP, uid, hw, seed=seed, epoch=0)
    last = [draw((CROP,), uid, hw, seed=seed, epoch=0, number=58 + v)[0]["box"].tolist() for v in range(2)]
    for row, (a, b) in enumerate(found.tolist()):
        for top, left, height, width in (a, b):
            assert 0 <= top <= top + height <= hw[row, 0]
            assert 0 <= left <= left + width <= hw[row, 1]
        kept = limits.low <= plain_iou(a, b) <= limits.high and not inside(a, b) and not inside(b, a)
        assert kept or (a, b) == (last[0][row], last[1][row])


@pytest.mark.parametrize(
    ("mode", "share"), [("easy", 1.0), ("hard", 1.0), pytest.param("super-hard", 0.9, marks=pytest.mark.full)]
)
def test_pairs_of_ordinary_images_are_found(mode, share):
    uid = np.arange(40, dtype=np.uint64)
    found = pairs.boxes(mode, CROP, uid, np.full((40, 2), 300), seed=0, epoch=0)
    assert pairs.fits(found, pairs.OVERLAPS[mode]).mean() >= share


@settings(deadline=None, max_examples=25)
@given(sizes=SIZES, seed=st.integers(0, 50))
def test_nointer_crops_come_from_two_different_corners(sizes, seed):
    uid, hw = uids_and_sizes(sizes)
    for (height, width), pair in zip(hw, pairs.boxes("nointer", CROP, uid, hw, seed=seed, epoch=0), strict=True):
        corners = set()
        for top, left, tall, wide in pair.tolist():
            quarters = [
                (y, x)
                for y in (0, height - height // 2)
                for x in (0, width - width // 2)
                if y <= top and top + tall <= y + height // 2 and x <= left and left + wide <= x + width // 2
            ]
            assert len(quarters) == 1
            corners |= set(quarters)
        assert len(corners) == 2


def test_all_corners_are_drawn_about_equally():
    n = 4000
    pair = pairs.boxes("nointer", CROP, np.arange(n, dtype=np.uint64), np.full((n, 2), 200), seed=0, epoch=0)
    corner = 2 * (pair[..., 0] >= 100) + (pair[..., 1] >= 100)  # [N, 2]
    counts = np.bincount(corner[:, 0] * 4 + corner[:, 1], minlength=16).reshape(4, 4)
    assert counts.diagonal().sum() == 0
    assert (abs(counts[~np.eye(4, dtype=bool)] - n / 12) < 5 * np.sqrt(n / 12)).all()


@pytest.mark.parametrize("mode", ["nointer", "easy", "hard", pytest.param("super-hard", marks=pytest.mark.full)])
def test_a_pair_depends_on_seed_epoch_and_image_but_not_on_the_batch(mode):
    uid, hw = uids_and_sizes([(100, 130), (200, 300), (260, 180), (150, 150)])
    together = pairs.boxes(mode, CROP, uid, hw, seed=1, epoch=0)
    mixed = np.array([2, 0, 3])
    np.testing.assert_array_equal(pairs.boxes(mode, CROP, uid[mixed], hw[mixed], seed=1, epoch=0), together[mixed])
    assert (pairs.boxes(mode, CROP, uid, hw, seed=1, epoch=1) != together).any()
    assert (pairs.boxes(mode, CROP, uid, hw, seed=2, epoch=0) != together).any()


def test_the_first_try_gives_the_crops_of_ordinary_views():
    uid, hw = uids_and_sizes([(200, 200)] * 40)
    found = pairs.boxes("easy", CROP, uid, hw, seed=0, epoch=0)
    plain = np.stack([draw((CROP,), uid, hw, seed=0, epoch=0, number=v)[0]["box"] for v in range(2)], axis=1)
    first = pairs.fits(plain, pairs.OVERLAPS["easy"])
    assert 0 < first.sum() < 40
    np.testing.assert_array_equal(found[first], plain[first])


def position_views(pair, size=32):
    """Two views [2, S, S, 3] whose levels are the row and the column of the source pixel, and 0."""
    middles = (np.arange(size) + 0.5) / size
    views = []
    for top, left, height, width in pair:
        rows, columns = np.meshgrid(top + middles * height, left + middles * width, indexing="ij")
        views.append(np.stack([rows, columns, np.zeros_like(rows)], axis=-1))
    return np.stack(views).round().astype(np.uint8)


@pytest.mark.parametrize("flipped", [(False, False), (True, False)])
def test_patches_cover_the_overlap_or_as_large_a_random_place(flipped):
    pair = np.array([[0, 0, 100, 100], [60, 40, 100, 120]])
    views = position_views(pair)
    found = pairs.variants(views, pair, np.array(flipped), 5, seed=0, epoch=0)
    assert found.shape == (10, 32, 32, 3)
    for v in range(2):
        plain, *patched = [x[:, ::-1] if flipped[v] else x for x in found[v::2]]  # view, noise, noise, gray, gray
        np.testing.assert_array_equal(plain, views[v])
        y, x = views[v][..., 0].astype(int), views[v][..., 1].astype(int)
        shared = (y >= 60) & (y < 100) & (x >= 40) & (x < 100)
        changed = [(x != plain).any(axis=-1) for x in patched]
        gray = (patched[2] == pairs.GRAY).all(axis=-1)
        assert gray[shared].all()
        assert gray.sum() <= shared.sum() * 1.35  # a patch has whole px
        np.testing.assert_array_equal(changed[0] & ~gray, np.zeros_like(gray))  # noise and gray cover the same place
        assert (patched[3] == pairs.GRAY).all(axis=-1).sum() == gray.sum()
        noise = patched[0][gray]
        assert noise.std() > 60
        assert len(np.unique(patched[1][changed[1]], axis=0)) > 0.9 * changed[1].sum()
        again = pairs.variants(views, pair, np.array(flipped), 5, seed=0, epoch=0)
        np.testing.assert_array_equal(again, found)
    other = pairs.variants(views, pair, np.array(flipped), 6, seed=0, epoch=0)
    assert (other[2] != found[2]).any()
    np.testing.assert_array_equal(other[:2], found[:2])


def test_a_pair_without_overlap_gets_no_patch():
    pair = np.array([[0, 0, 40, 40], [60, 60, 40, 40]])
    views = position_views(pair)
    found = pairs.variants(views, pair, np.zeros(2, bool), 1, seed=0, epoch=0)
    np.testing.assert_array_equal(found, np.tile(views, (5, 1, 1, 1)))
