"""A classifier that is trained along changes no loss, goes on after a resume, and is measured with the rest."""

import shutil

import pytest
import torch
from torch import nn

from viewstream.pipeline.batch import Batch
from viewstream.shards.errors import UserError
from viewstream.trainers.methods.build import build
from viewstream.trainers.methods.method import Now
from viewstream.trainers.recipes.options import BYOL, SEED, MoCo, Supervised
from viewstream.trainers.training.online import OnlineProbe

from ..small_runs import COMMON, losses, rows

QUEUE = {"queue": 64, "dim": 16, "bn_groups": 2}
RECIPES = {
    "moco": MoCo(**COMMON, **QUEUE, key_momentum=0.99),
    "byol": BYOL(**COMMON, views="byol", dim=16, hidden=32),
    "seed": SEED(**COMMON, **QUEUE, views="seed", teacher_arch="test_resnet"),
}
ALL = {"eval_every": 1, "knn_k": 5, "online": ("knn", "linear", "rankme")}


def probe_of(folder):
    return torch.load(folder / "last.pt", weights_only=True)["probe"]


@pytest.mark.parametrize("name", ["moco", pytest.param("byol", marks=pytest.mark.full), "seed"])
def test_losses_are_those_of_a_run_without_it_to_the_bit(name, run, moco):
    teacher = {"teacher": str(moco / "last.pt")} if name == "seed" else {}
    with_it, without = run("with", RECIPES[name], **teacher, **ALL), run("without", RECIPES[name], **teacher)
    assert losses(with_it) == losses(without)
    states = [torch.load(f / "last.pt", weights_only=True)["method"] for f in (with_it, without)]
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    steps = [row for row in rows(with_it) if "loss" in row]
    assert all(row["probe"] > 0 and 0 <= row["probe/top1"] <= 1 for row in steps)
    measured = [row for row in rows(with_it) if "linear" in row]
    assert [row["step"] for row in measured] == [6, 12]
    assert all(0 <= row["linear"] <= 1 and row["rankme"] >= 1 for row in measured)
    assert all([*row][3:] == ["knn", "linear", "rankme"] for row in measured)


def test_it_goes_on_from_the_checkpoint_that_a_killed_run_left(run, tmp_path):
    whole = run("whole", RECIPES["moco"], keep_every=1, **ALL)
    shutil.copytree(whole, tmp_path / "killed")
    (tmp_path / "killed/epoch-0001.pt").replace(tmp_path / "killed/last.pt")
    resumed = run("killed", RECIPES["moco"], resume="auto", **ALL)
    assert [r["probe"] for r in rows(resumed) if "probe" in r] == [r["probe"] for r in rows(whole) if "probe" in r]
    states = [probe_of(folder)["head"] for folder in (resumed, whole)]
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def test_it_may_begin_in_a_run_that_is_resumed(run):
    folder = run("late", RECIPES["moco"], eval_every=1, knn_k=5, keep_every=1)
    assert "probe" not in torch.load(folder / "last.pt", weights_only=True)
    (folder / "epoch-0001.pt").replace(folder / "last.pt")
    run("late", RECIPES["moco"], resume="auto", **ALL)
    assert probe_of(folder)["optimizer"]["state"][0]["step"] == 6


class Body(nn.Module):
    """A method whose backbone passes pixels on."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Flatten()

    def forward(self, batch, now):
        first = self.backbone(batch.views[0])
        self.backbone(batch.views[1])  # another pass, of another view
        return first.sum(), {"own": first.mean().detach()}


def batch_of(samples, seed=0):
    random = torch.Generator().manual_seed(seed)
    target = torch.randint(3, (samples,), generator=random)
    x = torch.randn(samples, 1, 2, 3, generator=random)
    x[:, 0, 0] += 2 * nn.functional.one_hot(target, 3)
    return Batch((x, torch.full_like(x, torch.nan)), target, torch.arange(samples))


def test_it_learns_from_the_first_pass_of_a_step_and_from_no_other():
    method = Body()
    probe = OnlineProbe(method, 3)  # pyright: ignore[reportArgumentType]
    before = torch.get_rng_state()
    for step in range(200):
        _, stats = method(batch_of(64, step), Now(step, 200, 0))
    assert torch.equal(torch.get_rng_state(), before)  # it draws nothing
    assert [*stats] == ["own", "probe", "probe/top1"]
    test = batch_of(1000, 12345)
    assert (probe.scores(test.views[0].flatten(1)).argmax(dim=1) == test.target).double().mean() > 0.8
    probe.close()
    assert [*method(batch_of(4), Now(0, 1, 0))[1]] == ["own"]


def on_two(folder):
    method = Body()
    probe = OnlineProbe(method, 3)  # pyright: ignore[reportArgumentType]
    rank = torch.distributed.get_rank()
    for step in range(3):
        whole = batch_of(8, step)
        half = slice(4 * rank, 4 * rank + 4)
        method(Batch(tuple(v[half] for v in whole.views), whole.target[half], whole.index[half]), Now(step, 3, 0))
    return probe.state_dict()["head"]


def test_two_ranks_learn_what_one_learns_from_the_joined_batch(on_ranks, tmp_path):
    method = Body()
    probe = OnlineProbe(method, 3)  # pyright: ignore[reportArgumentType]
    for step in range(3):
        method(batch_of(8, step), Now(step, 3, 0))
    for state in on_ranks(on_two, 2, str(tmp_path)):
        torch.testing.assert_close(state, dict(probe.state_dict()["head"]), rtol=0, atol=0)


def test_a_compiled_network_is_still_one_graph():
    method = build(RECIPES["moco"])
    probe = OnlineProbe(method, 4)
    method.get_submodule("online").compile(backend="aot_eager", fullgraph=True, dynamic=False)
    views = tuple(torch.randn(16, 3, 32, 32) for _ in range(2))
    batch = Batch(views, torch.arange(16) % 4, torch.arange(16))
    _, stats = method.train()(batch, Now(0, 10, 0))
    assert float(stats["probe"]) == pytest.approx(torch.tensor(4.0).log().item())  # zeros at the start
    assert probe.head is not None


@pytest.mark.parametrize(
    ("recipe", "options", "reason"),
    [
        (RECIPES["moco"], {"online": ("linear",)}, "--online is measured every --eval-every epochs"),
        (RECIPES["moco"], {"online": (), "eval_every": 1}, "--online names nothing to measure"),
        (
            Supervised(**COMMON, views="supervised", bn_groups=2),
            {"online": ("rankme",), "eval_every": 1},
            "supervised training is measured by its classifier",
        ),
    ],
)
def test_options_that_do_nothing_are_named(recipe, options, reason, run):
    with pytest.raises(UserError, match=reason):
        run("run", recipe, **options)
