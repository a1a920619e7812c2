"""SimCLR gives the numbers recorded from four original programs, on one rank and on two."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from viewstream.shards.errors import UserError
from viewstream.trainers.methods.method import Now
from viewstream.trainers.methods.moco import acc1
from viewstream.trainers.methods.simclr import SimCLR, logits, loss
from viewstream.trainers.nets.encoder import Encoder, head
from viewstream.trainers.ranks import rank
from viewstream.trainers.recipes.options import SimCLR as Options
from viewstream.trainers.training import optim

from .steps import batch_of, distributed


def measured(g, own=slice(None)):
    """Logits, their loss and its gradients of recorded raw projections."""
    raw = [g[name][own].double().requires_grad_() for name in ("z1_raw", "z2_raw")]
    scores = logits(*(F.normalize(z, dim=1) for z in raw), float(g["temperature"]))
    value = loss(scores)
    value.backward()
    return scores.detach(), value.detach(), [z.grad for z in raw]


def sorted_rows(scores):
    """Rows of scores as sets: without what is -inf, in ascending order."""
    return torch.stack([row[row.isfinite()].sort().values for row in scores])


@pytest.mark.parametrize("name", ["a", "b", "c", "d", "e_ties"])
def test_loss_gradients_and_accuracy_equal_the_recorded_ones(name, golden):
    g = golden(f"simclr_w1_{name}")
    scores, value, grads = measured(g)
    torch.testing.assert_close(value, g["loss"], rtol=0, atol=1e-10)
    for grad, key in zip(grads, ("grad_z1_raw", "grad_z2_raw"), strict=True):
        torch.testing.assert_close(grad, g[key], rtol=0, atol=1e-10)
    torch.testing.assert_close(scores[:, 0], g["logits"][:, 0], rtol=0, atol=1e-10)
    torch.testing.assert_close(sorted_rows(scores), g["logits"].sort().values, rtol=0, atol=1e-10)
    assert 100 * acc1(scores) == pytest.approx(float(g["acc1"]))


def on_a_rank(pairs, steps):
    """What a rank computes of recorded pairs of projections, and of recorded steps."""
    own = [{"temperature": g["temperature"], **{k: g[k][rank()] for k in ("z1_raw", "z2_raw")}} for g in pairs]
    return [measured(g) for g in own], six_steps(steps)


@pytest.fixture(scope="module")
def two_ranks(golden, on_ranks):
    """What each of two ranks computes: losses and gradients of two recordings, six steps of a third."""
    return on_ranks(on_a_rank, 2, [golden("simclr_w2_a"), golden("simclr_w2_b")], golden("simclr_steps_w2"))


@pytest.mark.parametrize("name", ["a", "b"])
def test_two_ranks_have_the_recorded_losses_and_the_gradients_of_the_global_batch(name, golden, two_ranks):
    g = golden(f"simclr_w2_{name}")
    joined = {k: g[k].flatten(0, 1) for k in ("z1_raw", "z2_raw")}
    _, whole, whole_grads = measured({"temperature": g["temperature"], **joined})
    found = [pairs["ab".index(name)] for pairs, _ in two_ranks]
    for r, (scores, value, grads) in enumerate(found):
        torch.testing.assert_close(value, g["loss"][r], rtol=0, atol=1e-10)
        torch.testing.assert_close(sorted_rows(scores), g["logits"][r].sort().values, rtol=0, atol=1e-10)
        for grad, key in zip(grads, ("grad_sum_z1_raw", "grad_sum_z2_raw"), strict=True):
            torch.testing.assert_close(grad, g[key][r], rtol=0, atol=1e-10)
        for grad, all_of_it in zip(grads, whole_grads, strict=True):  # DDP divides by the number of ranks
            torch.testing.assert_close(grad / 2, all_of_it.chunk(2)[r], rtol=0, atol=1e-12)
    torch.testing.assert_close((found[0][1] + found[1][1]) / 2, whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(whole, g["loss_global"][0], rtol=0, atol=1e-10)


class Body(nn.Module):
    """A convolution, BatchNorm if wanted, ReLU, the mean over pixels."""

    def __init__(self, norm):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4) if norm else nn.Identity()

    def forward(self, x):
        return self.bn(self.conv(x)).relu().mean((2, 3))


NAMES = {  # ours -> those of SDCLR, with BatchNorm
    "backbone.": "",
    "head.0.": "fc.fc1.",
    "head.1.": "fc.bn1.",
    "head.3.": "fc.fc2.",
    "head.4.": "fc.bn2.",
}
BARE = {"backbone.": "", "head.0.": "fc.0.", "head.2.": "fc.2."}


def recorded_name(name, names):
    begin = next(prefix for prefix in names if name.startswith(prefix))
    return names[begin] + name.removeprefix(begin)


def six_steps(g):
    """The losses of SDCLR's six steps here, and the states before and after each."""
    names = NAMES if "state/fc.bn1.weight" in g else BARE
    bare = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 5, bias=False))
    net = Encoder(Body(names is NAMES), head("sdclr", 4, 5) if names is NAMES else bare).double()
    net.load_state_dict({name: g[f"state/{recorded_name(name, names)}"][0] for name in net.state_dict()})
    method = SimCLR(net, temperature=float(g["temperature"])).train()
    module, losses, states = distributed(method), [], []
    optimizer = optim.sgd(method, 0.0, float(g["momentum"]), float(g["weight_decay"]))
    for step, x in enumerate(g["x"][:, rank()].double()):
        for group in optimizer.param_groups:
            group["lr"] = float(g["lrs"][step])
        value, _ = module(batch_of(x[:, 0], x[:, 1]), Now(step, 6, 0))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.detach())
        states.append({recorded_name(k, names): v.clone() for k, v in net.state_dict().items()})
    return torch.stack(losses), states


def check_steps(g, losses, states):
    torch.testing.assert_close(losses, g["loss"], rtol=0, atol=1e-8)
    for step, state in enumerate(states):
        for name, value in state.items():
            expected = g[f"state/{name}"][step + 1]
            torch.testing.assert_close(value, expected, rtol=0, atol=1e-8, msg=lambda m, name=name: f"{name}: {m}")


def test_six_steps_equal_the_recorded_ones_of_sdclr(golden):
    g = golden("simclr_steps_w1")
    check_steps(g, *six_steps(g))


def test_six_steps_on_two_ranks_equal_the_recorded_ones_of_sdclr(golden, two_ranks):
    (one, states), (two, _) = (steps for _, steps in two_ranks)
    check_steps(golden("simclr_steps_w2"), (one + two) / 2, states)


def test_the_last_norm_of_a_head_has_no_offset():
    for kind, layers in (("simclr-3", 3), ("simclr-2", 2)):
        net = head(kind, 6, 4)
        assert sum(isinstance(layer, nn.Linear) for layer in net) == layers
        assert not any(layer.bias is not None for layer in net if isinstance(layer, nn.Linear))
        assert [layer.bias.requires_grad for layer in net if isinstance(layer, nn.BatchNorm1d)][-2:] == [True, False]
        assert net[-1].bias.tolist() == [0.0] * 4
        assert net(torch.randn(8, 6)).mean(0).abs().max() < 1e-6


def test_the_program_of_google_adds_both_directions(golden):
    g = golden("simclr_w1_a")
    scales = [SimCLR.build(Options(arch="test_resnet", directions=kind), 0).scale for kind in ("mean", "sum")]
    assert scales == [1.0, 2.0]
    torch.testing.assert_close(2 * measured(g)[1], g["loss_google"], rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            {"accumulate": 2},
            "simclr does not take --accumulate 2: the other images of its whole batch are its negatives",
        ),
        ({"views": "swav"}, "simclr takes two views of one size, as of --views moco_v1,.* simclr"),
        ({"views": "seed"}, "simclr takes two views of one size"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_built(options, reason, built):
    from viewstream.augment.recipes import views_of
    from viewstream.trainers.methods.build import check

    recipe = Options(**{"views": "simclr", **options})
    with pytest.raises(UserError, match=reason):
        check(recipe, views_of(recipe.views), built)
