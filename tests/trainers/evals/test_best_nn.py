"""best-NN and weighted kNN equal recorded numbers in every space, and do not depend on blocks or shares."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from viewstream.shards.errors import UserError
from viewstream.trainers.evals import knn, neighbors


def sets(g):
    return [g[k] for k in ("train_x", "train_y", "test_x", "test_y")]


@pytest.mark.parametrize("space", ["original", "norm", "shift-norm"])
@pytest.mark.parametrize("name", ["knn_a", "knn_c"])
@pytest.mark.parametrize(("block", "slices"), [(65536, 512), (97, 13)])
def test_best_nn_equals_the_recorded_numbers_whatever_the_blocks(name, space, block, slices, monkeypatch, golden):
    monkeypatch.setattr(neighbors, "BLOCK", block)
    monkeypatch.setattr(neighbors, "SLICE", slices)
    g, key = golden(name), space.replace("-", "_")
    bank, bank_labels, queries, labels = sets(g)
    max_k, options = int(g["max_k"]), {"space": space, "gpus": int(g["gpus"]), "batch": int(g["batch_size"])}
    hits = knn.best_nn_hits(bank, bank_labels, queries, labels, max_k=max_k, **options)
    np.testing.assert_allclose(hits / len(labels), g[f"acc_per_k_{key}"], rtol=0, atol=1e-6)
    distances, rows = knn.neighbors(bank, queries, max_k, **options)
    torch.testing.assert_close(distances, g[f"neighbour_dist_{key}"], rtol=0, atol=1e-4)
    assert rows.sort(dim=1).values.diff(dim=1).min() > 0  # no neighbor twice
    values = dict(knn.best_nn(bank, bank_labels, queries, labels, max_k=max_k, **options))
    assert knn.printed(values, space) == g[f"printed_{key}"]


def test_the_spelling_of_the_readme_is_accepted_and_an_unknown_space_is_refused(golden):
    g = golden("knn_c")
    options = {"max_k": 41, "gpus": 3, "batch": 64}
    ours, theirs = (dict(knn.best_nn(*sets(g), space=s, **options)) for s in ("shift-norm", "shifted-norm"))
    assert list(ours.values()) == list(theirs.values())
    with pytest.raises(UserError, match="did you mean 'shift-norm'"):
        dict(knn.best_nn(*sets(g), space="shift-nrm"))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.integers(0, 4), min_size=9, max_size=9), min_size=1, max_size=4))
def test_the_most_frequent_label_wins_and_the_smallest_wins_a_tie(near):
    expected = [
        [min(Counter(row[:k]).items(), key=lambda x: (-x[1], x[0]))[0] for k in range(1, 10, 2)] for row in near
    ]
    assert knn.votes(torch.tensor(near)).tolist() == expected


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_hits_of_all_shares_add_up_to_the_hits_of_one_rank(world, monkeypatch, golden):
    monkeypatch.setattr(neighbors, "SLICE", 16)
    monkeypatch.setattr(knn, "SLICE", 16)
    monkeypatch.setattr(knn, "CHUNK", 48)
    g = golden("knn_c")
    parts = [knn.share(120, world, rank) for rank in range(world)]
    assert [i for part in parts for i in range(120)[part]] == list(range(120))
    for space in ("norm", "shift-norm"):
        options = {"max_k": 41, "space": space, "gpus": 3, "batch": 64}
        summed = sum(knn.best_nn_hits(*sets(g), part=part, **options) for part in parts)
        assert torch.equal(summed, knn.best_nn_hits(*sets(g), **options))
    weighted = {"k": 20, "temperature": 0.1}
    summed = sum(int(knn.weighted_hits(*sets(g), part=part, **weighted)) for part in parts)
    assert summed == int(knn.weighted_hits(*sets(g), **weighted))


def by_class(classes, per_class, seed):
    """Features with little noise around a center per class, and their labels, sorted by class as folders are."""
    centers = np.random.default_rng(0).normal(size=(classes, 8))
    labels = np.arange(classes).repeat(per_class)
    noise = 0.3 * np.random.default_rng(seed).normal(size=(len(labels), 8))
    return torch.from_numpy(centers[labels] + noise).float(), torch.from_numpy(labels)


def test_shift_norm_shuffles_so_that_sets_sorted_by_class_keep_their_classes_apart():
    (bank, bank_labels), (queries, labels) = by_class(6, 20, 1), by_class(6, 10, 2)
    sets = {"space": "shift-norm", "max_k": 1, "batch": 10}
    orders = tuple(neighbors.shuffled(np.arange(len(x), dtype=np.uint64)) for x in (bank, queries))
    found = knn.best_nn_hits(bank, bank_labels, queries, labels, orders=orders, **sets) / len(labels)
    assert found > 0.9
    as_they_are = knn.best_nn_hits(bank, bank_labels, queries, labels, **sets) / len(labels)
    assert as_they_are < 0.5  # each mini-batch is of one class: without its mean the classes are alike


def test_shuffled_mini_batches_do_not_depend_on_the_order_of_the_rows():
    x, uid = torch.randn(100, 4, generator=torch.Generator().manual_seed(0)), np.random.default_rng(0).permutation(100)
    order = neighbors.shuffled(uid.astype(np.uint64))
    assert sorted(order.tolist()) == list(range(100))
    other = torch.randperm(100, generator=torch.Generator().manual_seed(1))
    rows, moved = (
        neighbors.rows_of(features, "shift-norm", 3, 8, neighbors.shuffled(keys.astype(np.uint64)))(0, 100)
        for features, keys in ((x, uid), (x[other], uid[other.numpy()]))
    )
    torch.testing.assert_close(rows[other], moved)
    plain = neighbors.rows_of(x[order], "shift-norm", 3, 8)(0, 100)
    torch.testing.assert_close(rows[order], plain)


def test_more_neighbors_than_images_and_unlabeled_images_are_refused(golden):
    bank, bank_labels, queries, labels = sets(golden("knn_c"))
    with pytest.raises(UserError, match="ask for 1 to 330"):
        dict(knn.weighted(bank, bank_labels, queries, labels, k=331))
    with pytest.raises(UserError, match="ask for 1 to 330"):
        dict(knn.best_nn(bank, bank_labels, queries, labels, max_k=1001))
    with pytest.raises(UserError, match="some test images are unlabeled"):
        dict(knn.weighted(bank, bank_labels, queries, labels - 5, k=3))
