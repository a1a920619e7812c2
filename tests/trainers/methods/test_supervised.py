"""Supervised training, its frozen stages and its classifiers."""

import copy

import pytest
import torch
import torch.nn.functional as F

from viewstream.pipeline.batch import Batch
from viewstream.trainers.evals import classify
from viewstream.trainers.methods.build import build
from viewstream.trainers.methods.method import Now
from viewstream.trainers.methods.supervised import Supervised, classifier
from viewstream.trainers.nets.encoder import Encoder
from viewstream.trainers.recipes import options as recipes
from viewstream.trainers.training import optim
from viewstream.trainers.training.compiling import compile_encoders

from .steps import convnet


def net(kind="linear", **options):
    torch.manual_seed(0)
    return Encoder(convnet(), classifier(kind, 6, 4, **options))


def batch(n=16, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return Batch((torch.randn(n, 3, 8, 8, generator=generator),), torch.arange(n) % 4, torch.arange(n))


def steps(method, count=3, lr=0.1):
    optimizer = optim.sgd(method.train(), lr, 0.9, 1e-4)
    for step in range(count):
        loss, stats = method(batch(seed=step), Now(step, count, 0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.detach(), stats


def test_the_loss_is_cross_entropy_in_groups_of_batchnorm_statistics():
    online, data = net(), batch()
    copied = copy.deepcopy(online)
    method = Supervised(online, bn_groups=2).train()
    loss, stats = method(data, Now(0, 1, 0))
    scores = torch.cat([copied(half) for half in data.views[0].chunk(2)])
    torch.testing.assert_close(loss, F.cross_entropy(scores, data.target))
    assert stats["acc1"] == (scores.argmax(1) == data.target).float().mean()


@pytest.mark.parametrize("bn", ["eval", "train"])
def test_a_frozen_backbone_keeps_its_weights_and_in_eval_mode_its_statistics(bn):
    method = Supervised(net(small=True), frozen=True, frozen_bn=bn, bn_groups=2)
    before = copy.deepcopy(method.online.state_dict())
    steps(method)
    after = method.online.state_dict()
    same = {k for k in before if torch.equal(before[k], after[k])}
    moving = {"backbone.1.running_mean", "backbone.1.running_var", "backbone.1.num_batches_tracked"}
    assert {k for k in before if k.startswith("backbone.")} - same == (moving if bn == "train" else set())
    assert not {"head.weight", "head.bias"} & same


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_network_is_compiled_too(frozen, monkeypatch):
    called = []
    monkeypatch.setattr(torch, "compile", lambda call, **_: lambda x: called.append(len(x)) or call(x))
    method = Supervised(net(), frozen=frozen, bn_groups=2).train()
    compile_encoders(method)
    method(batch(), Now(0, 1, 0))
    assert called == [16]


def test_the_backward_of_a_frozen_network_ends_at_its_features():
    method = Supervised(net(), frozen=True, frozen_bn="train", bn_groups=2).train()
    seen = []
    method.online.head.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    method(batch(), Now(0, 1, 0))
    assert not seen[0].requires_grad


def test_the_whole_network_learns_if_not_frozen():
    method = Supervised(net(), bn_groups=1)
    before = copy.deepcopy(method.online.state_dict())
    steps(method)
    assert not any(torch.equal(before[k], v) for k, v in method.online.state_dict().items() if v.is_floating_point())


def test_probes_start_small_and_a_classifier_without_bias_keeps_it_at_zero():
    torch.manual_seed(0)
    last = classifier("linear", 2048, 100, small=True)
    assert last.weight.detach().std() == pytest.approx(0.01, rel=0.02)
    assert not last.bias.any()
    method = Supervised(net(bias=False), frozen=True, bn_groups=1)
    steps(method)
    assert not method.online.head.bias.any()


def test_the_classifier_of_a_second_stage_is_not_drawn_small():
    small = {"arch": "test_resnet", "trained": "classifier", "views": "supervised"}
    for fresh, expected in ((True, 0.01), (False, None)):
        head = build(recipes.Supervised(**small, fresh=fresh), classes=100).online.head
        bound = expected or (1 / (3 * head.in_features)) ** 0.5  # of U(-1/sqrt(n), 1/sqrt(n)), the default of torch
        assert head.weight.detach().std() == pytest.approx(bound, rel=0.05)


def test_a_normalized_classifier_sees_unit_rows():
    x = torch.randn(5, 6)
    unit = classifier("normalized", 6, 4)
    torch.testing.assert_close(unit(x), unit(7 * x))
    assert set(unit.state_dict()) == {"1.weight", "1.bias"}  # fc.1.* in ssl-small


def test_a_classifier_with_batchnorm_has_normalized_scores():
    x = torch.randn(5, 6)
    both = classifier("batchnorm", 6, 4).train()
    torch.testing.assert_close(both(x).mean(0), torch.zeros(4), atol=1e-6, rtol=0)
    assert set(both.state_dict()) >= {"0.weight", "0.bias", "1.running_mean"}


@pytest.mark.parametrize("kind", ["linear", "batchnorm", "normalized"])
@pytest.mark.parametrize("frozen", [True, False])
def test_scores_and_loss_are_not_rounded_under_autocast(kind, frozen):
    online, data = net(kind).eval(), batch()
    method = Supervised(online, frozen=frozen, bn_groups=1)
    with torch.autocast("cpu", torch.bfloat16):
        features = online.backbone(data.views[0])
        scores = online(data.views[0])
        loss, _ = method(data, Now(0, 1, 0))
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, online.head(features.float()), rtol=0, atol=0)
    torch.testing.assert_close(loss, F.cross_entropy(scores, data.target), rtol=0, atol=0)


def test_accuracy_counts_labels_among_the_highest_scores():
    scores = torch.tensor([[0.1, 0.9, 0.0], [0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.3, 0.4, 0.2]])
    labels = torch.tensor([1, 1, 2, 2])
    assert dict(classify.accuracy(scores, labels, (1, 2, 5))) == {"top1": 0.5, "top2": 0.75}
    each = classify.per_class(scores, labels, 3)
    assert each[0].isnan()
    assert each[1:].tolist() == [0.5, 0.5]
