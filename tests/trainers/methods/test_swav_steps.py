"""Whole runs of SwAV equal those recorded from the release, on one rank and on two."""

import copy

import pytest
import torch
from torch import nn

from viewstream.trainers.methods.method import Now
from viewstream.trainers.methods.multicrop import MultiCrop
from viewstream.trainers.methods.sinkhorn import Assigner, sinkhorn
from viewstream.trainers.nets.heads import mlp_with_norm
from viewstream.trainers.ranks import rank, world_size
from viewstream.trainers.recipes.options import SwAV as Options
from viewstream.trainers.training.optim import optimizer_of

from .recorded_swav import Passed, as_recorded, near
from .steps import batch_of, distributed


class Body(nn.Module):
    """A convolution, BatchNorm or none, ReLU, the mean over pixels."""

    def __init__(self, width, norm):
        super().__init__()
        self.conv = nn.Conv2d(2, width, 3, padding=1, bias=not norm)
        self.bn = nn.BatchNorm2d(width) if norm else nn.Identity()

    def forward(self, x):
        return self.bn(self.conv(x)).relu().mean((2, 3))


def recorded_name(name, head):
    name = name.removeprefix("online.").removeprefix("backbone.")
    return name.replace("head.", head) if name.startswith("head.") else name


def _begin(name):
    """The name of a layer with its point, of one of its entries."""
    return name.removesuffix(name.rpartition(".")[2])


def run(g, begin=0, saved=None):
    """The release's whole main function here: losses, assignments, states and queues after each step, on this rank; and
    what a checkpoint of the middle would hold. It goes on with `saved` from step `begin`."""
    norm = "state/bn.weight" in g
    shapes = {k.removeprefix("state/"): v.shape[1:] for k, v in g.items() if k.startswith("state/")}
    k, dim = shapes["prototypes.weight"]
    width = shapes["conv.weight"][0]
    hidden = shapes["projection_head.0.weight"][0] if norm else 0
    head = mlp_with_norm(width, hidden, dim) if norm else nn.Linear(width, dim)
    per_epoch, epochs, batch = (int(g[name]) for name in ("iters_per_epoch", "epochs", "batch_size"))
    options = {"epsilon": float(g["epsilon"]), "iterations": int(g["sinkhorn_iterations"]), "epochs": epochs}
    queue = {"rows": int(g["queue_length_used"]), "batch": batch * int(g["world"])}
    assigner = Assigner(dim, **options, **queue, first_epoch=int(g["epoch_queue_starts"]))
    more = {"temperature": float(g["temperature"]), "freeze": int(g["freeze_prototypes_niters"])}
    method = Passed(MultiCrop(Body(width, norm), head), nn.Linear(dim, k, bias=False), assigner, **more).double()
    prefix = "projection_head." if norm else _begin(next(n for n in shapes if n.startswith("projection_head")))
    names = {n: recorded_name(n, prefix) for n in method.state_dict()}
    held = {n: r for n, r in names.items() if not n.startswith("assigner.") and not n.endswith("tracked")}
    method.load_state_dict({n: g[f"state/{r}"][0] for n, r in held.items()}, strict=False)
    recipe = Options(
        optimizer="larc" if g["optimizer"] == "larc" else "sgd",
        momentum=float(g["momentum"]),
        weight_decay=float(g["weight_decay"]),
    )
    optimizer, module, out = optimizer_of(method, recipe), distributed(method.train()), []
    if saved:
        method.load_state_dict(saved[0])
        optimizer.load_state_dict(saved[1])
    for step, lr in list(enumerate(g["lrs"].tolist()))[begin:]:
        now = Now(step, per_epoch * epochs, 0)
        for group in optimizer.param_groups:
            group["lr"] = lr
        method.before_step(now)
        optimizer.zero_grad()
        views = (*g["crops_global"][step, rank()].double(), *g["crops_local"][step, rank()].double())
        value, _ = module(batch_of(*views), now)
        value.backward()
        optimizer.step()
        grads = {names[n]: p.grad.clone() for n, p in method.named_parameters() if not step and p.grad is not None}
        method.after_step(now)
        state = {r: method.state_dict()[n].clone() for n, r in held.items()}
        queue = assigner.queue and as_recorded(assigner.queue, batch * world_size())
        out.append((value.detach(), method.q, state, grads, queue))
        if step == MIDDLE - 1:
            saved = copy.deepcopy((method.state_dict(), optimizer.state_dict()))
    return out, saved


MIDDLE = 5  # the queue is full, the prototypes learn


LOOSE = ("projection_head.0.bias",)  # a gradient of rounding noise alone


def compare(g, found, r=0, begin=0):
    for step, (value, q, state, grads, queue) in enumerate(found, begin):
        near(value, g["loss"][step, r], 1e-8)
        near(q, g["q"][step, r], 1e-8)
        for name, expected in state.items():
            near(expected, g[f"state/{name}"][step + 1], 1e-6 if name in LOOSE else 1e-8)
        for name, grad in grads.items():
            near(grad, g[f"grad/{name}"][0], 1e-10)
        assert ("prototypes.weight" in grads) <= (not g["prototypes_frozen"][step])
        if queue is not None:
            near(queue, g["queue_after"][step, r])


@pytest.mark.parametrize("name", ["sgd", "larc"])
def test_the_whole_program_of_the_release_is_repeated(name, golden):
    """Frozen prototypes, the queue from its epoch on, BatchNorm by size and over all crops, LARC on every tensor."""
    g = golden(f"swav_main_{name}_w1")
    compare(g, run(g)[0])


def bare(g):
    """A run as one of the recorded ones, without BatchNorm, with one linear layer as the head and LARC."""
    random = torch.Generator().manual_seed(0)
    shapes = {"conv.weight": (5, 2, 3, 3), "conv.bias": (5,), "projection_head.weight": (4, 5)}
    shapes |= {"projection_head.bias": (4,), "prototypes.weight": (6, 4)}
    kept = {k: v for k, v in g.items() if not k.startswith(("state/", "grad/"))}
    made = {f"state/{k}": torch.randn(1, *shape, generator=random).double() for k, shape in shapes.items()}
    return kept | made | {"optimizer": "larc"}


def on_two(runs, sinkhorns):
    """What two ranks compute: their share of each of some runs of one rank, and assignments."""
    cut = [{k: torch.cat(g[k].chunk(2, dim=3), dim=1) for k in ("crops_global", "crops_local")} for g in runs]
    shares = [
        g | crops | {"batch_size": g["batch_size"] // 2, "world": torch.tensor(2)}  # [S, 2, V, N / 2, ...]
        for g, crops in zip(runs, cut, strict=True)
    ]
    q = [
        sinkhorn(sinkhorns[f"c{c}/scores"][rank()].double(), float(sinkhorns[f"c{c}/epsilon"]), 3)
        for c in range(int(sinkhorns["cases"]))
    ]
    return [run(share) for share in shares], q


def test_two_ranks_share_prototypes_queue_and_statistics_of_one_which_goes_on_alone(golden, on_ranks):
    """Runs of one rank, their batches cut in two: the recorded ones, with SGD and a queue and with LARC, one without
    BatchNorm with both; the second half of the first again on one rank; assignments over two."""
    g, sinkhorns = golden("swav_main_sgd_w1"), golden("swav_sinkhorn_w2")
    runs = [g, golden("swav_main_larc_w1"), bare(g)]
    ranks = on_ranks(on_two, 2, runs, sinkhorns)
    compare(g, run(g, MIDDLE, ranks[0][0][0][1])[0], begin=MIDDLE)
    for number, one in enumerate(runs):
        halves = [found[number][0] for found, _ in ranks]
        for whole, *steps in zip(run(one)[0], *halves, strict=True):
            near((steps[0][0] + steps[1][0]) / 2, whole[0], 1e-8)
            near(torch.cat([q for _, q, *_ in steps], dim=1), whole[1], 1e-8)
            for _, _, state, _, queue in steps:
                for name in ("prototypes.weight",) if "state/bn.weight" in one else whole[2]:
                    near(state[name], whole[2][name], 1e-8)
                if queue is not None:
                    near(queue, whole[4], 1e-8)
    for r, (_, q) in enumerate(ranks):
        for case, ours in enumerate(q):
            near(ours, sinkhorns[f"c{case}/q"][r], 1e-12)
