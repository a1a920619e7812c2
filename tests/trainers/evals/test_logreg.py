"""Logistic regression reaches the optimum that scikit-learn finds, whatever the scale of the features."""

import pytest
import torch
import torch.nn.functional as F

from viewstream.trainers.evals import logreg


def clusters(samples: int, width: int, classes: int, *, seed: int = 0, noise: float = 2.0):
    """Features [N, D] float64 around a center per class, on dimensions of other means and scales, and labels [N]."""
    random = torch.Generator().manual_seed(seed)
    y = torch.arange(samples) % classes
    centers = torch.randn(classes, width, generator=random, dtype=torch.float64)
    x = centers[y] + noise * torch.randn(samples, width, generator=random, dtype=torch.float64)
    return x * torch.logspace(-2, 2, width) + torch.arange(width), y


def test_the_optimum_is_the_one_that_scikit_learn_finds():
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    x, y = clusters(300, 8, 4)
    found = logreg.fit(x, y, 4, c=0.1)
    z = (x - x.mean(dim=0)) / x.std(dim=0, correction=0)
    theirs = linear_model.LogisticRegression(C=0.1, tol=1e-10, max_iter=10_000).fit(z.numpy(), y.numpy())
    weight = found.weight - found.weight.mean(dim=0)  # a row that all classes share changes no score
    torch.testing.assert_close(weight, torch.from_numpy(theirs.coef_), rtol=0, atol=2e-4)
    assert torch.equal(found.scores(x).argmax(dim=1), torch.from_numpy(theirs.predict(z.numpy())))


def test_the_gradient_vanishes_at_the_optimum_and_blocks_change_nothing(monkeypatch):
    x, y = clusters(200, 6, 3)
    found = logreg.fit(x, y, 3, c=0.5)
    weight, bias = found.weight.clone().requires_grad_(), found.bias.clone().requires_grad_()
    loss = F.cross_entropy(found._replace(weight=weight, bias=bias).scores(x), y) + weight.square().sum() / 200
    loss.backward()
    assert weight.grad is not None
    assert weight.grad.abs().max() < 1e-4
    monkeypatch.setattr(logreg, "BLOCK", 64)
    torch.testing.assert_close(logreg.fit(x, y, 3, c=0.5).weight, found.weight, rtol=0, atol=1e-3)


def test_scores_do_not_depend_on_the_scale_of_the_features():
    x, y = clusters(200, 6, 3)
    torch.testing.assert_close(logreg.fit(x * 1000, y, 3).scores(x * 1000), logreg.fit(x, y, 3).scores(x))


def test_a_constant_dimension_is_not_divided_by_zero():
    x, y = clusters(60, 4, 3)
    x[:, 1] = 7.0
    assert logreg.fit(x, y, 3).scores(x).isfinite().all()


def test_the_search_takes_the_strength_that_is_right_most_often_on_what_is_held_out():
    x, y = clusters(120, 40, 3, noise=4.0)  # few images with many features: little regularization overfits
    held_out = torch.arange(120) % 4 == 0
    best = logreg.searched(x, y, 3, held_out)

    def right(c: float) -> int:
        scores = logreg.fit(x[~held_out], y[~held_out], 3, c).scores(x[held_out])
        return int((scores.argmax(dim=1) == y[held_out]).sum())

    hits = [right(c) for c in logreg.GRID]
    assert best == logreg.GRID[hits.index(max(hits))]
    assert best < logreg.GRID[-1]
