"""The losses of the images of a step, from steps that are taken again: the very losses of the run, which stays as it
is."""

import json
import math
import shutil
from dataclasses import dataclass, field
from hashlib import sha256
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from viewstream.shards.errors import UserError
from viewstream.shards.exits import outcome
from viewstream.tools import replay, replayed
from viewstream.trainers.methods.method import Method
from viewstream.trainers.nets.encoder import Encoder
from viewstream.trainers.recipes.options import MoCo, Recipe
from viewstream.trainers.training.run import Run, pretrain

COMMON = {"arch": "test_resnet", "size": 32, "epochs": 3, "batch_size": 16, "lr": 0.03}
BAD = 17  # the row of an image whose loss is no number in the third epoch


class Linear(Method):
    """A linear classifier, without statistics of the batch. `norms`: of the gradients of its steps."""

    norms: ClassVar[list[float]] = []

    def __init__(self):
        super().__init__()
        self.online = Encoder(nn.Flatten(), nn.Linear(3 * 32 * 32, 4))

    @classmethod
    def build(cls, recipe, classes):
        return cls()

    @property
    def backbone(self):
        return self.online.backbone

    def forward(self, batch, now):
        scores = self.online(batch.views[0])
        if now.step >= 12:
            scores = scores * torch.where(batch.index == BAD, math.nan, 1.0)[:, None]
        self.keep(lambda: F.cross_entropy(scores, batch.target, reduction="none"))
        return F.cross_entropy(scores, batch.target), {}

    def before_update(self, optimizer):
        self.norms.append(sum(float(p.grad.square().sum()) for p in self.parameters()) ** 0.5)


@dataclass(frozen=True, kw_only=True)
class Lined(Recipe):
    """A linear classifier"""

    method_class: ClassVar = Linear
    method: str = field(init=False, default="linear")
    views: str = "supervised"


def train(recipe, data, out, **options):
    run = Run(data=str(data.root), loader="folder", out=str(out), device="cpu", log_every=1, workers=1, **options)
    return pretrain(recipe, run)


@pytest.fixture(scope="module")
def moco(built, tmp_path_factory):
    """A run of 18 steps that keeps a checkpoint of each of its three epochs."""
    recipe = MoCo(**COMMON, queue=64, dim=16, bn_groups=2)
    return train(recipe, built, tmp_path_factory.mktemp("runs") / "moco", keep_every=1)


@pytest.fixture(scope="module")
def failed(built, tmp_path_factory):
    """A run in batches of two parts that has failed, with its last words, and the norms of its gradients."""
    folder = tmp_path_factory.mktemp("runs") / "failed"
    with pytest.raises(UserError, match="the loss is nan") as error:
        train(Lined(**COMMON, accumulate=2), built, folder, save_every=7)
    return folder, str(error.value), [*Linear.norms]


@pytest.fixture
def replays(monkeypatch, capsys):
    """(words) -> code, standard output and last words of replay.py, in this process."""
    monkeypatch.setitem(replayed.METHODS, "linear", Lined)

    def call(*words):
        monkeypatch.setattr("sys.argv", ["tools/replay.py", *map(str, words)])
        capsys.readouterr()
        code, error = outcome(replay.main)
        return code, capsys.readouterr().out, error

    return call


def digests(folder):
    return {path.name: (path.stat().st_mtime_ns, sha256(path.read_bytes()).hexdigest()) for path in folder.iterdir()}


def losses(folder):
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows}


@pytest.mark.parametrize(("step", "start"), [(9, "epoch-0001.pt"), (13, "epoch-0002.pt")])
def test_a_step_that_is_taken_again_has_the_loss_of_the_log_to_the_bit_and_nothing_is_written(
    moco, replays, step, start
):
    before = digests(moco)
    code, out, error = replays(moco, "--step", step, "--losses", "--json")
    assert code == 0, error
    page = json.loads(out)
    assert (page["from"], page["steps"], page["exact"]) == (start, step - int(start[6:10]) * 6, True)
    assert page["loss"] == page["logged"] == losses(moco)[step]
    each = [row["loss"] for row in page["images"]]
    assert each == sorted(each, reverse=True)
    assert sum(each) / len(each) == pytest.approx(page["loss"], rel=1e-6)
    _, shown, _ = replays(moco, "--step", step, "--json")
    assert sorted(row["row"] for row in page["images"]) == sorted(row["row"] for row in json.loads(shown)["images"])
    assert digests(moco) == before


def test_a_step_before_every_checkpoint_is_refused_and_taken_from_the_start_if_that_is_asked_for(moco, replays):
    code, _, error = replays(moco, "--step", 6, "--losses")
    assert code == 2
    assert "keeps no checkpoint from before step 6, its first is of step 6: train with --keep-every 1" in error
    assert "\n" not in error
    code, out, error = replays(moco, "--step", 6, "--losses", "--from-start", "--json")
    assert code == 0, error
    page = json.loads(out)
    assert (page["from"], page["steps"], page["loss"], page["exact"]) == (None, 6, losses(moco)[6], True)


def test_a_run_that_went_on_from_another_one_has_no_start_of_its_own(moco, replays, tmp_path):
    shutil.copytree(moco, tmp_path / "later")
    log = tmp_path / "later" / "rank-0.log"
    log.write_text(log.read_text().replace("from step 0 of", "from step 6 of"))
    code, _, error = replays(tmp_path / "later", "--step", 6, "--losses", "--from-start")
    assert code == 2
    assert "does not say that the run began at step 0" in error


def test_best_pt_serves_where_the_best_weights_are_the_latest_from_before(moco, replays, tmp_path):
    for name in ("config.json", "log.jsonl", "rank-0.log", "last.pt"):
        shutil.copy(moco / name, tmp_path)
    shutil.copy(moco / "epoch-0001.pt", tmp_path / "best.pt")
    code, out, error = replays(tmp_path, "--step", 8, "--losses", "--json")
    assert code == 0, error
    page = json.loads(out)
    assert (page["from"], page["loss"]) == ("best.pt", losses(moco)[8])


def test_the_norm_is_that_of_the_gradients_which_the_run_stepped_with(failed, replays):
    folder, _, norms = failed
    code, out, error = replays(folder, "--step", 8, "--losses", "--json")
    assert code == 2
    assert "keeps no checkpoint" in error
    code, out, error = replays(folder, "--step", 8, "--losses", "--from-start", "--json")
    assert code == 0, error
    assert json.loads(out)["gradient_norm"] == pytest.approx(norms[7], rel=1e-6)


def test_the_image_whose_loss_is_not_finite_comes_first_by_the_command_that_replay_prints(failed, replays, built):
    folder, words, _ = failed
    step = json.loads((folder / "failure.json").read_text())["step"]
    assert step > 12
    offered = words.partition("`")[2].partition("`")[0].split()
    code, out, error = replays(*offered[2:], "--images", 0)
    assert code == 0, error
    again = out.splitlines()[-1].removeprefix("next: ").split()
    code, out, error = replays(*again[2:], "--images", 0)
    assert code == 0, error
    assert "loss nan, gradient norm nan" in out
    lines = out.splitlines()
    assert lines[1].startswith(f"{step - 14} steps from last.pt, ")  # in the middle of an epoch
    at = lines.index("the loss of 1 of 16 images is not finite")
    assert lines[at + 1].split() == ["nan", str(BAD), built.key(BAD)]


def test_the_views_of_the_images_of_highest_loss_are_drawn_where_a_place_is_named(moco, replays, tmp_path):
    code, out, error = replays(moco, "--step", 13, "--losses", "--images", 2, "--out", tmp_path / "a.png")
    assert code == 0, error
    assert "views of the first 2" in out
    assert (tmp_path / "a.png").read_bytes()[1:4] == b"PNG"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--step", 100, "--losses"), "has 18 steps: --step 100 is none of them"),
        (("--step", 9, "--from-start"), "say how losses are computed: add --losses"),
        (("--step", 9, "--losses", "--device", "cuda"), "has no GPU"),
    ],
)
def test_what_cannot_be_taken_again_is_one_line(moco, replays, words, message):
    code, _, error = replays(moco, *words)
    assert code == 2
    assert message in error
    assert "\n" not in error


@pytest.mark.full
def test_two_ranks_repeat_the_losses_of_two_and_one_says_that_it_rounds_differently(built, program, tmp_path):
    words = ("--method", "moco", "--queue", 64, "--dim", 16, "--bn-groups", 2, "--epochs", 3, "--keep-every", 1)
    small = ("--arch", "test_resnet", "--size", 32, "--batch-size", 16, "--lr", 0.003, "--loader", "folder")
    where = ("--data", built.root, "--out", tmp_path / "run", "--device", "cpu", "--log-every", 1, "--ranks", 2)
    done = program("trainers/train.py", *words, *small, *where)
    assert done.returncode == 0, done.stderr
    again = ("tools/replay.py", tmp_path / "run", "--step", 9, "--losses", "--json")
    both, one = (program(*again, "--ranks", ranks) for ranks in (2, 1))
    assert both.returncode == one.returncode == 0, both.stderr + one.stderr
    page, alone = json.loads(both.stdout), json.loads(one.stdout)
    assert (page["loss"], page["exact"]) == (losses(tmp_path / "run")[9], True)
    assert alone["loss"] == pytest.approx(page["loss"], abs=1e-4)
    assert (alone["exact"], alone["differs"]) == (False, ["it ran on 2 x cpu, this is 1 x cpu"])
    first, second = ({row["row"]: row["loss"] for row in found["images"]} for found in (page, alone))
    assert first == pytest.approx(second, abs=1e-3)
