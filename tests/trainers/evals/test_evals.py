"""Instance discrimination, geometry, shots and tau equal recorded numbers and brute-force versions."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from viewstream.shards.errors import UserError
from viewstream.trainers.evals import instdisc, shots, stats, tau
from viewstream.trainers.methods.supervised import classifier


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def check_recorded(g):
    """Ranks, accuracies and the printed line equal the recording, in both modes."""
    views, topk = tuple(g[f"view{i}"] for i in range(3)), int(g["topk"])
    chunk = {"samples_per_chunk": int(g["samples_per_chunk"]), "skip_odd_chunks": bool(g["skip_odd_chunks"])}
    for mode in ("d-sd", "sd-sd"):
        key = mode.replace("-", "_")
        assert torch.equal(instdisc.ranks(*instdisc.pair(views, mode)), g[f"rank_{key}"])
        found = dict(instdisc.instdisc(views, mode=mode, topk=topk, **chunk))
        assert list(found) == [f"instdisc/{mode} top{k}" for k in range(1, topk + 1)]
        np.testing.assert_allclose([*found.values()], g[f"acc_{key}"].numpy(), rtol=0, atol=1e-9)
        line = g[f"printed_{key}"]
        assert instdisc.printed(mode, [*found.values()], data=line.split("Dataset: ")[1]) == line


@pytest.mark.parametrize("name", ["instdisc_a", "instdisc_d_ragged"])
def test_instance_discrimination_equals_the_recorded_ranks_and_accuracies(name, golden):
    check_recorded(golden(name))


def test_skipping_every_second_chunk_gives_the_recorded_numbers(golden):
    check_recorded(golden("instdisc_c_half"))


@pytest.mark.parametrize("gallery", ["queries", "views"])
@pytest.mark.parametrize(("chunk", "block"), [(1024, 16384), (7, 10)])
def test_ranks_equal_a_numpy_version_for_any_blocks_and_shares(gallery, chunk, block, monkeypatch):
    monkeypatch.setattr(instdisc, "CHUNK", chunk)
    monkeypatch.setattr(instdisc, "BLOCK", block)
    q, p = (F.normalize(random(53, 4, seed=s), dim=1) for s in (1, 2))
    others = q if gallery == "queries" else p
    similar = (q.double() @ others.double().T).numpy()
    own = (q.double() * p.double()).sum(1).numpy()
    expected = [(np.delete(similar[i], i) > own[i]).sum() for i in range(53)]
    parts = [instdisc.ranks(q, p, gallery=gallery, part=slice(a, b)) for a, b in ((0, 20), (20, 20), (20, 53))]
    assert torch.cat(parts).tolist() == expected


def test_equal_views_are_found_perfectly_and_an_unknown_mode_is_refused():
    x = random(30, 8)
    assert set(dict(instdisc.instdisc((x, x, x), mode="sd-sd", samples_per_chunk=7)).values()) == {100.0}
    with pytest.raises(UserError, match="did you mean 'sd-sd'"):
        instdisc.pair((x, x, x), "sdsd")
    with pytest.raises(UserError, match="--views 2"):
        instdisc.pair((x, x), "sd-sd")


@pytest.mark.parametrize("value", [0.0, 3.0])
@pytest.mark.parametrize("gallery", ["queries", "views"])
def test_equal_features_give_chance(value, gallery):
    views = (torch.full((20, 16), value),) * 3
    for mode in ("d-sd", "sd-sd"):
        found = dict(instdisc.instdisc(views, mode=mode, samples_per_chunk=20, gallery=gallery))
        assert [*found.values()] == pytest.approx([5, 10, 15, 20, 25])


def test_a_tie_counts_its_mean_over_all_orders_of_the_equal_images():
    above, ties = torch.tensor([0, 0, 1, 3]), torch.tensor([0, 3, 1, 9])
    found = instdisc.accuracies(above, 4, 4, ties=ties) / 100
    for k, mean in enumerate(found.tolist(), 1):
        orders = [[place < k for place in range(a, a + t + 1)] for a, t in zip(above, ties, strict=True)]
        assert mean == pytest.approx(np.mean([np.mean(order) for order in orders]))
    q, p = torch.eye(3)[[0, 0, 1, 2]], torch.eye(3)[[0, 0, 1, 1]]
    assert [x.tolist() for x in instdisc.ranks_and_ties(q, p)] == [[0, 0, 0, 0], [1, 1, 0, 3]]


@pytest.mark.parametrize("name", ["stats_a_1000x4", "stats_c_60x10"])
def test_the_geometry_equals_the_recorded_numbers(name, golden):
    g = golden(name)
    labels = torch.arange(int(g["num_classes"])).repeat_interleave(int(g["samples_per_class"]))
    found = dict(stats.stats(tuple(g[f"view{i}"] for i in range(3)), labels, permutation=g["permutation"]))
    names = ("align_d_sd", "align_sd_sd", "intra_cls_d", "intra_cls_sd", "uniform_d", "uniform_sd")
    np.testing.assert_allclose([*found.values()], [float(g[n]) for n in names], rtol=0, atol=1e-5)
    unit = F.normalize(g["view0"], dim=1)
    torch.testing.assert_close(stats.intra_class(unit, labels), g["intra_cls_d_per_class"], rtol=0, atol=1e-5)
    assert stats.printed(found) == "\n".join(g["printed"].splitlines()[-2:]).rstrip()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(2, 6), min_size=1, max_size=5), st.integers(0, 99))
def test_alignment_within_classes_is_the_mean_over_pairs_of_each_class(sizes, seed):
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    labels = 3 * labels[order]  # gaps between the labels
    x = F.normalize(random(len(labels), 5, seed=seed), dim=1)
    expected = [torch.pdist(x[labels == c].double()).square().mean() for c in labels.unique()]
    torch.testing.assert_close(stats.intra_class(x, labels), torch.stack(expected))


def test_uniformity_of_a_uniform_sphere_is_the_analytic_one():
    """On the sphere in three dimensions E exp(-t |x - y|^2) = exp(-2 t) sinh(2 t) / (2 t)."""
    x = F.normalize(random(2000, 3).double(), dim=1)
    for t in (0.5, 2.0):
        expected = -2 * t + math.log(math.sinh(2 * t) / (2 * t))
        assert float(stats.uniformity(x, t)) == pytest.approx(expected, abs=0.02)


def test_subsets_are_disjoint_and_keyed_by_the_seed():
    rows = stats.subsets(500, 0)
    assert len(rows.unique()) == rows.numel() == 384
    assert int(rows.max()) < 500
    assert torch.equal(rows, stats.subsets(500, 0))
    assert not torch.equal(rows, stats.subsets(500, 1))
    with pytest.raises(UserError, match="evaluate 384 or more"):
        stats.subsets(383, 0)


def test_a_class_of_one_image_is_refused():
    with pytest.raises(UserError, match="class 4 has one image"):
        stats.intra_class(random(3, 2), torch.tensor([1, 4, 1]))


def test_shot_groups_equal_the_recorded_ones_and_the_rules_differ_at_twenty(golden):
    g = golden("shot_acc")
    found = shots.groups(g["percls_acc"], g["cls_cnts"])
    torch.testing.assert_close(found, g["many_medium_few"], rtol=0, atol=1e-12)
    accuracy, counts = torch.tensor([0.1, 0.2, 0.4, 0.8]), torch.tensor([100, 101, 20, 19])
    assert shots.groups(accuracy, counts).tolist() == pytest.approx([0.2, 0.1, 0.6])
    assert shots.groups(accuracy, counts, rule="oltr").tolist() == pytest.approx([0.2, 0.25, 0.8])


@pytest.mark.parametrize("name", ["lt_thirds_cifar10", "lt_thirds_cifar100"])
def test_thirds_of_the_classes_equal_the_recorded_ones(name, golden):
    g = golden(name)
    for split, counts in enumerate(g["counts"]):
        group = shots.group_of(counts, rule="thirds")
        for number, part in enumerate(("many", "medium", "few")):
            assert torch.equal((group == number).nonzero()[:, 0], g[f"{part}_idx"][split])
        means = shots.groups(g["acc"][split], counts, rule="thirds")
        torch.testing.assert_close(means, torch.stack([g[p][split] for p in ("many", "medium", "few")]))
        assert float(means.std(correction=0)) / 100 == pytest.approx(float(g["std_groups"][split]), abs=1e-12)


def test_groups_of_imagenet_100_lt_go_by_threshold_as_recorded(golden):
    g = golden("lt_thirds_imagenet100")
    group = shots.group_of(g["counts"], rule="oltr")
    for number, part in enumerate(("many", "medium", "few")):
        assert torch.equal((group == number).nonzero()[:, 0], g[f"{part}_idx"])


def test_thirds_yield_their_spread_and_need_three_classes():
    scores, labels = torch.eye(3)[[0, 1, 1]], torch.tensor([0, 1, 2])
    found = dict(shots.shots(scores, labels, torch.tensor([9, 8, 7]), rule="thirds"))
    assert (found["shots/many"], found["shots/medium"], found["shots/few"]) == (1, 1, 0)
    assert found["shots/std"] == pytest.approx(math.sqrt(2) / 3)
    with pytest.raises(UserError, match="2 classes cannot be cut in three: name --rule balfeat or oltr"):
        shots.group_of(torch.tensor([5, 6]), rule="thirds")


def test_groups_weigh_classes_equally_and_the_total_weighs_images_equally():
    scores = torch.eye(3)[[0, 0, 0, 1, 1, 2]]
    labels, counts = torch.tensor([0, 0, 0, 0, 1, 1]), torch.tensor([500, 30, 200])
    with pytest.raises(UserError, match="the first is class 2"):
        dict(shots.shots(scores, labels, counts))
    found = dict(shots.shots(scores[:, :2], labels, counts[:2]))
    assert found["shots/many"] == 0.75
    assert found["shots/medium"] == 0.5
    assert math.isnan(found["shots/few"])
    assert found["shots/all"] == pytest.approx(4 / 6)


def test_tau_normalized_classifiers_equal_the_recorded_ones(golden):
    g = golden("tau_norm")
    taus = g["tau"].tolist()
    assert taus == pytest.approx(tau.TAUS)
    torch.testing.assert_close(tau.weights(g["weight"], taus).flatten(0, 1), g["stacked_weight"], rtol=0, atol=1e-12)
    torch.testing.assert_close(tau.logits(g["x"], g["weight"], taus).flatten(1), g["logits"], rtol=0, atol=1e-12)


def test_a_batchnorm_after_the_classifier_is_kept_so_that_tau_0_is_the_classifier():
    head = classifier("batchnorm", 8, 5)
    with torch.no_grad():
        for place, x in enumerate((head[1].weight, head[1].bias, head[1].running_mean, head[1].running_var)):
            x.copy_(random(5, seed=place).abs() + 0.1)
        x, counts = random(300, 8, seed=9), torch.tensor([500, 5, 30, 200, 10])
        scores = head.eval()(x)
        labels = torch.where(torch.arange(300) % 3 > 0, scores.argmax(dim=1), torch.arange(300) % 5)
        weight, mean, shift = tau.folded(*head)
        torch.testing.assert_close(x @ weight.T - mean + shift, scores)
        found = dict(tau.tau_scores(x, weight, mean=mean, shift=shift))
        torch.testing.assert_close(found[0.0], scores)
        assert dict(shots.shots(found[0.0], labels, counts)) == dict(shots.shots(scores, labels, counts))
        longer = copy.deepcopy(head)  # BatchNorm makes up for the length of a row
        longer[0].weight *= torch.tensor([[1.0], [5.0], [1.0], [0.2], [1.0]])
        factor = torch.tensor([1.0, 5.0, 1.0, 0.2, 1.0])
        longer[1].running_mean.sub_(head[0].bias).mul_(factor).add_(head[0].bias)
        longer[1].running_var.add_(1e-5).mul_(factor**2).sub_(1e-5)
        for ours, theirs in zip(tau.folded(*longer), (weight, mean, shift), strict=True):
            torch.testing.assert_close(ours, theirs)


def test_tau_helps_a_class_with_short_weights():
    weight, x = torch.tensor([[4.0, 0.0], [0.0, 0.5]]), torch.tensor([[1.0, 0.9], [0.5, 1.0]])
    found = dict(tau.tau_scores(x, weight))
    assert found[0.0].argmax(dim=1).tolist() == [0, 0]
    assert found[1.0].argmax(dim=1).tolist() == [0, 1]
    assert len(found) == 11
