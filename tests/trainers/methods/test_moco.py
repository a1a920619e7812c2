"""MoCo equals the numbers recorded from the original program, on one rank and on two."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from viewstream.trainers.methods.method import Now
from viewstream.trainers.methods.moco import MoCo, acc1, logits
from viewstream.trainers.methods.parts import Queue, shuffle_bn
from viewstream.trainers.nets.grouped_norm import grouped
from viewstream.trainers.ranks import rank
from viewstream.trainers.training import optim

from .steps import batch_of, exact, queue_of


@pytest.mark.parametrize("name", ["moco_s0_small", "moco_s1_wrap", "moco_s3_fullqueue"])
def test_logits_loss_gradients_and_queue_equal_the_recorded_ones(name, golden):
    """q_raw, k_raw [S, N, D] before normalization; queue [D, K]; recorded results of each of S steps."""
    g = golden(name)
    queue = queue_of(g["queue"], g["ptr"])
    for s in range(len(g["q_raw"])):
        raw = g["q_raw"][s].double().requires_grad_()
        k = F.normalize(g["k_raw"][s].double(), dim=1)
        scores = logits(F.normalize(raw, dim=1), k, queue.rows, float(g["temperature"]))
        loss = F.cross_entropy(scores, torch.zeros(len(raw), dtype=torch.long))
        loss.backward()
        queue.push(k)
        torch.testing.assert_close(scores, g["logits"][s], rtol=0, atol=1e-5)
        torch.testing.assert_close(loss.detach(), g["loss"][s], rtol=0, atol=1e-5)
        torch.testing.assert_close(raw.grad, g["grad_q_raw"][s], rtol=0, atol=1e-5)
        torch.testing.assert_close(queue.rows.T, g["queue_after"][s], rtol=0, atol=1e-5)
        assert int(queue.head) == int(g["ptr_after"][s])


class Fc(nn.Module):
    """A recorded encoder: its parts under the release's names, `fc`, or `body` and `fc`."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        for part in self.children():
            x = part(x)
        return x


def train(moco, views, lr, momentum, weight_decay):
    """Yield the loss of each step; at each yield the method is in the state after that step."""
    optimizer = optim.sgd(moco, lr, momentum, weight_decay)
    for step, (x1, x2) in enumerate(views):
        now = Now(step, len(views), 0)
        moco.before_step(now)
        loss, _ = moco(batch_of(x1, x2), now)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        moco.after_step(now)
        yield loss.detach()


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_four_training_steps_equal_the_official_builder(kind, golden):
    g = golden(f"moco_{kind}_train")
    width = g["x"].shape[-1]
    head = nn.Linear(width, 8)
    net = Fc(fc=head if kind == "linear" else nn.Sequential(nn.Linear(width, width), nn.ReLU(), head)).double()
    moco = MoCo(net, dim=8, queue=12, momentum=float(g["momentum_m"]), temperature=float(g["temperature"]), bn_groups=1)
    for prefix, ours in (("encoder_q", moco.online), ("encoder_k", moco.target)):
        ours.load_state_dict({k: g[f"init.{prefix}.{k}"] for k in ours.state_dict()})
    moco.queue = Queue(g["queue"].T.clone())
    moco.queue.head.fill_(int(g["ptr"]))
    views = [(x[0].double(), x[1].double()) for x in g["x"]]
    for step, loss in enumerate(train(moco, views, float(g["lr"]), float(g["sgd_momentum"]), float(g["weight_decay"]))):
        torch.testing.assert_close(loss, g["loss"][step], rtol=0, atol=1e-5)
        for prefix, ours in (("encoder_q", moco.online), ("encoder_k", moco.target)):
            for k, value in ours.state_dict().items():
                torch.testing.assert_close(value, g[f"after.{prefix}.{k}"][step], rtol=0, atol=1e-5)
    torch.testing.assert_close(moco.queue.rows.T, g["queue_after_last"], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "kind"), [("moco_small_linear_t007", "linear"), ("moco_small_simple_t02", "mlp")])
def test_steps_through_batchnorm_equal_the_small_model_program(name, kind, golden):
    """Body: Linear(10, 6), BatchNorm, ReLU. state{t}: everything after t steps of SGD, lr 0.06."""
    g = golden(name)
    body = nn.Sequential(nn.Linear(10, 6), nn.BatchNorm1d(6), nn.ReLU())
    head = nn.Linear(6, 8)
    net = Fc(body=body, fc=head if kind == "linear" else nn.Sequential(nn.Linear(6, 6), nn.ReLU(), head))
    moco = MoCo(net, dim=8, queue=32, momentum=float(g["momentum"]), temperature=float(g["temperature"]), bn_groups=1)

    def pairs(step):
        for prefix, ours in (("encoder_q", moco.online), ("encoder_k", moco.target)):
            yield from ((ours, k, g[f"state{step}/{prefix}.{k}"]) for k in ours.state_dict())

    for ours in (moco.online, moco.target):
        ours.load_state_dict({k: v for net, k, v in pairs(0) if net is ours})
    moco.queue = Queue(g["state0/queue"].T.clone())
    moco.queue.head.fill_(int(g["state0/queue_ptr"]))
    views = [(g[f"im_q{t}"], g[f"im_k{t}"]) for t in range(3)]
    for step, loss in enumerate(train(moco, views, float(g["lr"]), 0.9, 1e-4)):
        torch.testing.assert_close(loss.double(), g["loss"][step], rtol=0, atol=1e-5)
        for ours, k, expected in pairs(step + 1):
            torch.testing.assert_close(ours.state_dict()[k], expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(moco.queue.rows.T, g[f"state{step + 1}/queue"], rtol=0, atol=1e-5)


def recorded_net(g):
    net = nn.Sequential(nn.Linear(6, 8, bias=False), nn.BatchNorm1d(8, affine=False)).double()
    net[0].weight.data = g["W"].double()
    return net


def recorded_step(g):
    """This rank's share of the recorded step: logits, loss, queue and its next slot."""
    net, queue = grouped(recorded_net(g), 2), queue_of(g["queue"], g["ptr"])
    x1, x2 = g["x"][rank()].double()
    q = F.normalize(net(x1), dim=1)
    k = F.normalize(shuffle_bn(net, x2, g["idx_shuffle"]), dim=1)
    scores = logits(q, k, queue.rows, float(g["temperature"]))
    loss = F.cross_entropy(scores, torch.zeros(len(q), dtype=torch.long))
    queue.push(k)
    return scores.detach(), loss.detach(), queue.rows, int(queue.head)


def test_two_ranks_shuffle_batchnorm_and_fill_the_queue_as_recorded(on_ranks, golden):
    g = golden("moco_world2_shuffle_bn")
    for number, (scores, loss, rows, head) in enumerate(on_ranks(recorded_step, 2, g)):
        exact(scores, g["logits"][number])
        exact(loss, g["loss"][number])
        exact(rows.T, g["queue_after"])
        assert head == int(g["ptr_after"])


def test_groups_on_one_process_equal_the_two_recorded_ranks(golden):
    g = golden("moco_world2_shuffle_bn")
    net = grouped(recorded_net(g), 2)
    x = g["x"].double()  # [rank, view, N, 6]
    keys = F.normalize(shuffle_bn(net, x[:, 1].flatten(0, 1), g["idx_shuffle"]), dim=1)
    q = F.normalize(net(x[:, 0].flatten(0, 1)), dim=1)
    ours = logits(q, keys, g["queue"].T.double(), float(g["temperature"]))
    torch.testing.assert_close(ours, g["logits"].flatten(0, 1), rtol=0, atol=1e-5)


def test_equal_scores_count_as_chance_and_not_as_hits():
    assert acc1(torch.zeros(5, 4)) == pytest.approx(1 / 4)
    assert acc1(torch.tensor([[2.0, 1.0], [1.0, 2.0], [1.0, 1.0]])) == pytest.approx((1 + 0 + 1 / 2) / 3)
