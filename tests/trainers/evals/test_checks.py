"""Features that are not finite make no number, and a network that gives every image the same features is named."""

from dataclasses import dataclass

import pytest
import torch

from viewstream.pipeline.batch import Batch
from viewstream.shards.errors import UserError
from viewstream.trainers.evals import checks, instdisc, knn, stats, tsne
from viewstream.trainers.evals.features import features


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def with_one(value):
    x = random(12, 4)
    x[5, 2] = value
    return x


LABELS = torch.arange(12) % 2
EVALUATIONS = {
    "instdisc": lambda x: instdisc.instdisc((x, random(12, 4), x)),
    "its views": lambda x: instdisc.instdisc((random(12, 4), x, x), mode="sd-sd"),
    "stats": lambda x: stats.stats((random(12, 4), x, x), LABELS),
    "the bank": lambda x: knn.weighted(x, LABELS, random(12, 4), LABELS, k=3),
    "queries": lambda x: knn.best_nn(random(12, 4), LABELS, x, LABELS, max_k=3),
    "tsne": lambda x: [tsne.coordinates((random(12, 4), x), perplexity=3)],
}


@pytest.mark.parametrize("evaluation", EVALUATIONS)
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_features_that_are_not_finite_are_refused_by_every_evaluation(evaluation, value):
    with pytest.raises(UserError, match="features are not finite for 1 of 12 images"):
        list(EVALUATIONS[evaluation](with_one(value)))


@dataclass
class Whole:
    """A loader of one batch."""

    views: tuple[torch.Tensor, ...]

    def __len__(self):
        return 1

    def epoch(self, number):
        n = len(self.views[0])
        yield Batch(self.views, torch.zeros(n, dtype=torch.long), torch.arange(n))


def test_a_network_without_finite_features_is_refused_and_fp16_is_named_where_it_may_be_the_cause():
    net = torch.nn.Linear(4, 3)
    torch.nn.init.constant_(net.bias, torch.nan)
    with pytest.raises(UserError, match="12 of 12 images: the checkpoint is damaged or its training diverged; name an"):
        features(net, Whole((random(12, 4),)), 12)
    with pytest.raises(UserError, match=r"exceed the range of fp16.*take --precision fp32"):
        checks.require_finite(with_one(torch.inf), dtype=torch.float16)


def test_a_constant_network_is_named_and_an_ordinary_one_is_not():
    assert "features of 40 images are nearly constant" in checks.constant(torch.zeros(40, 8))
    assert checks.constant(torch.full((40, 8), 7.0))
    assert checks.constant(torch.full((40, 8), 7.0) * (1 + random(40, 1).abs()))  # the same direction
    assert checks.constant(torch.ones(9000, 8) + 1e-3 * random(9000, 8))
    assert not checks.constant(torch.ones(9000, 8) + 0.1 * random(9000, 8))
    assert not checks.constant(torch.ones(1, 8))
    assert checks.spread(random(500, 8)) == pytest.approx(1, abs=0.02)
