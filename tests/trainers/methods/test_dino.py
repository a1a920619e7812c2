"""DINO's loss and center equal the numbers recorded from the original program, and its steps keep their laws."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from viewstream.augment import RandomResizedCrop, moco_v2, views_of
from viewstream.shards.errors import UserError
from viewstream.trainers.methods import dino
from viewstream.trainers.methods.build import build, check
from viewstream.trainers.methods.dino_parts import epoch, teacher_temperature
from viewstream.trainers.methods.method import Now
from viewstream.trainers.methods.multicrop import MultiCrop
from viewstream.trainers.nets.dino_head import Head
from viewstream.trainers.nets.dropout import KeyedDropout, begin_step
from viewstream.trainers.ranks import gather, rank
from viewstream.trainers.recipes.options import DINO
from viewstream.trainers.schedules import cosine_between
from viewstream.trainers.training.optim import optimizer_of

from .steps import batch_of, convnet, distributed, share

SMALL = DINO(arch="test_resnet", views="dino", size=32, dim=12, hidden=8, bottleneck=4, epochs=10, batch_size=16)


def method(**options):
    torch.manual_seed(0)
    recipe = replace(SMALL, **options)
    shape = {"hidden": 8, "dim": 4, "norm": recipe.head_bn, "fixed": recipe.fixed_norm}
    return dino.DINO(MultiCrop(convnet(), Head(6, 12, **shape)), recipe)


def views(step, sides=(8, 8, 6, 6, 6, 6), count=8):
    made = torch.Generator().manual_seed(step)
    return [torch.rand(count, 3, s, s, generator=made, dtype=torch.float64)[share(count)] for s in sides]


def recorded_losses(g):
    """For each recorded step, this rank's scores through `targets` and `loss`; the center after each."""
    student, teacher = (g[k][:, rank()].double() for k in ("student", "teacher"))
    net = method(center_momentum=float(g["center_momentum"]), temperature=float(g["student_temp"])).double()
    net.center = g["center"][0].clone()
    losses, gradients, centers, chances = [], [], [], []
    for step in range(len(g["epoch"])):
        s = student[step].clone().requires_grad_()
        q = dino.targets(teacher[step], net.center, float(g["teacher_temp"][step]))
        loss = dino.loss(s, q, float(g["student_temp"]))
        loss.backward()
        net.means = [teacher[step].mean(dim=(0, 1))]
        net.after_step(Now(step, 10, 0))
        for kept, value in zip(
            (losses, gradients, centers, chances), (loss.detach(), s.grad, net.center.clone(), q), strict=True
        ):
            kept.append(value)
    return [torch.stack(kept) for kept in (losses, gradients, centers, chances)]


def check_recorded(g, found, number):
    losses, gradients, centers, chances = found
    torch.testing.assert_close(losses, g["loss"][:, number], rtol=0, atol=1e-12)
    torch.testing.assert_close(gradients, g["grad_student"][:, number], rtol=0, atol=1e-12)
    torch.testing.assert_close(centers, g["center"][1:], rtol=0, atol=1e-12)
    torch.testing.assert_close(chances, g["teacher_prob"][:, number].reshape(chances.shape), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["dino_loss_w1_a", "dino_loss_w1_b_2crops", "dino_loss_w1_c"])
def test_the_loss_and_the_center_after_it_equal_the_recorded_ones(name, golden):
    """student [S, R, V, N, K] and teacher [S, R, 2, N, K] -> loss [S, R], its gradient, center [S + 1, K]."""
    g = golden(name)
    check_recorded(g, recorded_losses(g), 0)
    recipe = DINO(
        epochs=int(g["epochs"]),
        teacher_temperature=float(g["teacher_temp_final"]),
        teacher_warmup_temperature=float(g["warmup_teacher_temp"]),
        teacher_warmup_epochs=int(g["warmup_teacher_temp_epochs"]),
    )
    ours = [teacher_temperature(recipe, e) for e in g["epoch"].tolist()]
    assert ours == pytest.approx(g["teacher_temp"].tolist(), abs=1e-15)


@pytest.mark.full
def test_two_ranks_share_a_center_and_the_losses_equal_the_recorded_ones(golden, on_ranks):
    g = golden("dino_loss_w2")
    for number, found in enumerate(on_ranks(recorded_losses, 2, g)):
        check_recorded(g, found, number)


def test_biases_and_norms_do_not_decay_and_the_lengths_of_the_last_layer_do():
    net = method(fixed_norm=False)
    optimizer = optimizer_of(net, net.recipe)
    names = {id(p): name for name, p in net.named_parameters()}
    decayed, spared = ({names[id(p)] for p in group["params"]} for group in optimizer.param_groups)
    assert decayed == {
        *("online.backbone.0.weight", "online.head.mlp.0.weight", "online.head.mlp.2.weight"),
        *("online.head.mlp.4.weight", "online.head.last_layer.weight_g", "online.head.last_layer.weight_v"),
    }
    assert all(name.endswith(".bias") or name == "online.backbone.1.weight" for name in spared)
    assert optimizer.param_groups[1]["weight_decay"] == 0


def taken(net, steps, *sides, parts=1):
    """`steps` steps of ten on this rank's share of generated batches: the losses [steps]."""
    module, optimizer, losses = distributed(net.double().train()), optimizer_of(net, net.recipe), []
    for step in range(steps):
        now = Now(step, 10, 0)
        begin_step(net, 0, step)
        net.before_step(now)
        optimizer.zero_grad()
        halves = zip(*(view.chunk(parts) for view in views(step, *sides)), strict=True)
        found = []
        for half in halves:
            loss, _ = module(batch_of(*half), now)
            (loss / parts).backward()
            found.append(loss.detach())
        optimizer.step()
        net.after_step(now)
        losses.append(gather(torch.stack(found).mean()[None]).mean())
    return torch.stack(losses)


def test_weight_decay_follows_its_cosine_and_the_last_layer_learns_nothing_in_the_first_epochs():
    net = method(freeze_last=2, weight_decay=0.1, weight_decay_end=0.5)
    optimizer, before = optimizer_of(net, net.recipe), net.online.head.last_layer.weight_v.detach().clone()
    for step in range(4):
        now = Now(step, 10, 0)
        net.before_step(now)
        net(batch_of(*[v.float() for v in views(step)]), now)[0].backward()
        optimizer.step()
        assert optimizer.param_groups[0]["weight_decay"] == cosine_between(step, 10, 0.1, 0.5)
        assert optimizer.param_groups[1]["weight_decay"] == 0
        same = before.equal(net.online.head.last_layer.weight_v)
        assert same == (epoch(net.recipe, now) < 2)
    assert optimizer.state[net.online.head.last_layer.weight_v]["step"] == 2


def test_the_teacher_takes_no_gradients_and_follows_after_the_step():
    net = method(key_momentum=0.9)
    before = [p.clone() for p in net.target.parameters()]
    taken(net, 1)
    assert all(p.grad is None for p in net.target.parameters())
    for old, new, student in zip(before, net.target.parameters(), net.online.parameters(), strict=True):
        torch.testing.assert_close(new, 0.9 * old.double() + 0.1 * student, rtol=0, atol=1e-12)
    assert net.backbone is net.target.backbone


def test_a_batch_in_parts_moves_the_center_once_and_equals_the_whole_batch():
    """Without BatchNorm, whose statistics are of a part."""
    whole, halves = (method(freeze_last=0) for _ in range(2))
    for net in (whole, halves):
        for encoder in (net.online, net.target):
            encoder.backbone[1] = nn.Identity()
    torch.testing.assert_close(taken(whole, 3), taken(halves, 3, parts=2), rtol=0, atol=1e-12)
    torch.testing.assert_close(whole.state_dict(), halves.state_dict(), rtol=0, atol=1e-9)


def test_only_the_student_drops_paths():
    net = build(replace(SMALL, arch="test_vit", size=112, drop_path=0.2))
    assert any(isinstance(m, KeyedDropout) for m in net.online.modules())
    assert not any(isinstance(m, KeyedDropout) for m in net.target.modules())


def test_under_autocast_scores_are_compared_in_fp32():
    net, batch = method(), batch_of(*[v.float() for v in views(0)])
    net.before_step(Now(0, 10, 0))
    with torch.autocast("cpu", torch.bfloat16):
        loss, stats = net(batch, Now(0, 10, 0))
    assert loss.dtype == stats["entropy"].dtype == net.means[0].dtype == torch.float32
    again = method()
    again.before_step(Now(0, 10, 0))
    torch.testing.assert_close(loss, again(batch, Now(0, 10, 0))[0], rtol=0, atol=0.1)


def test_views_that_do_not_fit_are_refused(built):
    check(SMALL, views_of("dino", 32), built)
    check(SMALL, views_of("moco_v2", 32), built)
    for wrong in (views_of("dino", 32)[:1], views_of("dino", 32)[1:], (*moco_v2(32), (RandomResizedCrop(48),))):
        with pytest.raises(UserError, match="dino takes two views of one size, and smaller ones of one size if any"):
            check(SMALL, wrong, built)
    with pytest.raises(UserError, match="test_vit has patches of 16 px, which do not divide 14 px"):
        check(replace(SMALL, arch="test_vit"), views_of("dino", 32), built)


def five_steps():
    """Five steps of a network with BatchNorm, and of a ViT that drops paths: losses and states."""
    sgd = {"optimizer": "sgd", "lr": 0.1}  # AdamW makes steps of gradients that are rounding alone
    conv = method(head_bn=True, fixed_norm=False, **sgd)
    vit = build(replace(SMALL, arch="test_vit", drop_path=0.5, **sgd))
    return {
        "conv": {"loss": taken(conv, 5), **conv.state_dict()},
        "vit": {"loss": taken(vit, 5, (32, 32, 16, 16)), **vit.state_dict()},
    }


@pytest.mark.full
@pytest.mark.parametrize("kind", ["conv", "vit"])
def test_two_ranks_train_as_one_with_the_joined_batch(kind, both, alone):
    for half in both:
        torch.testing.assert_close(half[kind], alone[kind], rtol=0, atol=1e-9)
    assert alone[kind]["loss"][0] != alone[kind]["loss"][-1]


@pytest.fixture(scope="module")
def both(on_ranks):
    return on_ranks(five_steps, 2)


@pytest.fixture(scope="module")
def alone():
    return five_steps()
