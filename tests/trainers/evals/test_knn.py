"""Nearest-neighbor evaluations equal recorded numbers and a plain numpy version."""

import numpy as np
import pytest
import torch

from viewstream.trainers.evals import knn


@pytest.mark.parametrize("space", ["original", "norm"])
def test_best_nn_equals_the_recorded_accuracies(space, golden):
    """train_x, train_y, test_x, test_y; accuracy per k = 1, 3, ..., max_k in each space."""
    g = golden("knn_a")
    bank, bank_y, queries, y = (g[k] for k in ("train_x", "train_y", "test_x", "test_y"))
    scale = torch.nn.functional.normalize if space == "norm" else lambda x: x
    ours = knn.best_nn_accuracies(scale(bank), bank_y, scale(queries), y, int(g["ks"][-1]))
    np.testing.assert_allclose(ours, g[f"acc_per_k_{space}"], rtol=0, atol=1e-6)
    best = dict(knn.best_nn(bank, bank_y, queries, y, max_k=int(g["ks"][-1]), space=space))
    assert best[f"best-nn/{space}"] == pytest.approx(float(g[f"best_acc_{space}"]), abs=1e-6)
    assert best[f"best-nn/{space} k"] == int(g[f"best_k_{space}"])


def test_weighted_knn_equals_a_numpy_version_for_any_chunk(monkeypatch):
    rng = np.random.default_rng(0)
    bank, queries = rng.normal(size=(150, 16)), rng.normal(size=(70, 16))
    bank_y, y = rng.integers(0, 5, 150), rng.integers(0, 5, 70)
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
    similarity = unit(queries) @ unit(bank).T
    hits = 0
    for row, truth in zip(similarity, y, strict=True):
        near = np.argsort(-row)[:20]
        votes = np.bincount(bank_y[near], np.exp(row[near] / 0.07), minlength=5)
        hits += votes.argmax() == truth
    tensors = [torch.from_numpy(a) for a in (bank, bank_y, queries, y)]
    for chunk in (7, 1024):
        monkeypatch.setattr(knn, "CHUNK", chunk)
        assert dict(knn.weighted(*tensors, k=20)).popitem()[1] == pytest.approx(hits / 70)


def test_a_set_against_itself_is_all_correct_with_one_neighbor():
    x, y = torch.randn(40, 8, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 4
    assert knn.best_nn_accuracies(x, y, x, y, 1).tolist() == [1.0]


def test_equal_votes_go_to_the_smaller_label():
    bank, labels = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([2, 1, 0])
    accuracy = knn.best_nn_accuracies(bank, labels, torch.tensor([[0.0]]), torch.tensor([0]), 3)
    assert accuracy.tolist() == [0.0, 1.0]  # k = 1: label 2 wins; k = 3: a tie of all three, which 0 wins
