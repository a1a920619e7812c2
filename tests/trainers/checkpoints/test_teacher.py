"""SEED takes teachers that were trained here: their checkpoints say architecture and head; others are refused."""

from dataclasses import asdict, replace

import pytest
import torch

from viewstream.shards.errors import UserError
from viewstream.trainers.checkpoints.pretrained import load_pretrained
from viewstream.trainers.checkpoints.teacher import with_teacher
from viewstream.trainers.methods.build import build
from viewstream.trainers.nets.encoder import Encoder
from viewstream.trainers.recipes.options import BYOL, DINO, KCL, SEED, STS, MoCo, SimCLR, Supervised, SwAV
from viewstream.trainers.training.run import Run, pretrain

from ..small_runs import COMMON, losses
from .layouts import ARCH

DIM = {"arch": ARCH, "dim": 16, "batch_size": 16}
TEACHERS = {
    "swav": SwAV(**DIM, hidden=24, prototypes=5),
    "swav with a queue": SwAV(**DIM, hidden=24, prototypes=5, queue=32),
    "simclr": SimCLR(**DIM),
    "simclr v1": SimCLR(**DIM, head="simclr-2"),
    "simclr of sdclr": SimCLR(**DIM, head="sdclr"),
    "simclr of sthalles": SimCLR(**DIM, head="mlp", stem="cifar"),
    "byol": BYOL(**DIM, hidden=24),
    "sts": STS(**DIM, hidden=24),
    "moco": MoCo(**DIM, head="wide", queue=16, bn_groups=1),
    "kcl": KCL(**DIM, head="linear", queue=16, bn_groups=1),
    "seed": SEED(**DIM, teacher_arch=ARCH, queue=16, bn_groups=1),
}
STUDENT = SEED(**DIM, queue=16, bn_groups=1, views="seed")  # names no teacher's architecture: resnet50 by default


@pytest.fixture
def saved(tmp_path):
    """(recipe) -> its method, with running statistics of no new network, and the path of its checkpoint."""

    def make(recipe):
        method = build(recipe, classes=4)
        for name, buffer in method.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_()
        path = tmp_path / "last.pt"
        torch.save({"step": 3, "recipe": asdict(recipe), "method": method.state_dict()}, path)
        return method.eval(), path

    return make


@pytest.mark.parametrize("name", TEACHERS)
def test_the_teacher_of_seed_is_the_network_of_the_checkpoint(name, saved, capsys):
    method, path = saved(TEACHERS[name])
    recipe = with_teacher(STUDENT, str(path))
    assert recipe.teacher_arch == ARCH
    assert f"note: {path} says what its network is: --teacher-arch {ARCH}" in capsys.readouterr().out
    seed = build(recipe, classes=4).eval()
    load_pretrained(seed, recipe, "", str(path), "auto")
    trained = method.target if name in ("byol", "sts") else method.online
    x = torch.randn(4, 3, 32, 32)
    assert torch.equal(seed.teacher(x), Encoder(trained.backbone, trained.head)(x))
    assert with_teacher(recipe, str(path)) == recipe  # a resume, which names it again


def test_the_head_of_a_dino_teacher_ends_at_its_unit_rows(saved):
    method, path = saved(DINO(arch=ARCH, dim=32, hidden=24, bottleneck=16, batch_size=16))
    recipe = with_teacher(STUDENT, str(path))
    seed = build(recipe, classes=4).eval()
    load_pretrained(seed, recipe, "", str(path), "auto")
    x = torch.randn(4, 3, 32, 32)
    rows = seed.teacher(x)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(4))
    scores = method.target.head.last_layer(rows)
    assert torch.equal(scores, Encoder(method.target.backbone, method.target.head)(x))
    _, path = saved(DINO(arch=ARCH, dim=32, hidden=24, bottleneck=16, head_bn=True))
    with pytest.raises(UserError, match="is of dino with BatchNorm in its head, whose embeddings SEED cannot take"):
        with_teacher(STUDENT, str(path))


@pytest.mark.parametrize("network", ["online", "target"])
def test_a_network_of_two_can_be_named(network, saved):
    method, path = saved(TEACHERS["byol"])
    torch.nn.init.ones_(method.online.head[0].bias)
    torch.save({"step": 3, "recipe": asdict(TEACHERS["byol"]), "method": method.state_dict()}, path)
    recipe = with_teacher(STUDENT, str(path), network)
    seed = build(recipe, classes=4)
    load_pretrained(seed, recipe, "", str(path), network)
    assert bool((seed.teacher.head[0].bias == 1).all()) == (network == "online")


def test_a_teacher_without_a_projection_head_is_refused(saved, tmp_path, body):
    _, path = saved(Supervised(arch=ARCH))
    with pytest.raises(UserError, match=r"\(viewstream checkpoint\) holds no projection head, and SEED imitates"):
        with_teacher(STUDENT, str(path))
    torch.save(body, tmp_path / "bare.pth")
    with pytest.raises(UserError, match=r"\(plain checkpoint\) holds no projection head"):
        with_teacher(STUDENT, str(tmp_path / "bare.pth"))
    with pytest.raises(UserError, match="holds no projection head"):  # before anything is built
        pretrain(STUDENT, Run(data=str(tmp_path), teacher=str(tmp_path / "bare.pth"), device="cpu"))


def test_a_teacher_that_embeds_in_another_size_is_refused(saved):
    _, path = saved(replace(TEACHERS["swav"], dim=24))
    with pytest.raises(UserError, match="embeds in 24 dimensions, the student in 16: take --dim 24"):
        with_teacher(STUDENT, str(path))


def test_other_recipes_and_files_of_others_are_left_as_they_are(tmp_path, body):
    assert with_teacher(TEACHERS["moco"], "nowhere.pt") == TEACHERS["moco"]
    head = {"fc.0.weight": torch.rand(96, 96), "fc.2.weight": torch.rand(16, 96)}
    torch.save(body | head, tmp_path / "x.pth")
    assert with_teacher(STUDENT, str(tmp_path / "x.pth")) == STUDENT


@pytest.mark.parametrize("name", ["swav", pytest.param("simclr", marks=pytest.mark.full)])
def test_a_student_trains_from_a_teacher_trained_here_and_resumes(name, built, tmp_path):
    run = {"data": str(built.root), "loader": "folder", "device": "cpu", "log_every": 1}
    small = COMMON | {"epochs": 1, "dim": 16}
    first = {"swav": SwAV(**small, views="swav", hidden=24, prototypes=5), "simclr": SimCLR(**small, views="simclr")}
    teacher = pretrain(first[name], Run(**run, out=str(tmp_path / "teacher"))) / "last.pt"
    student = SEED(**small | {"epochs": 2}, queue=32, bn_groups=2, views="seed")
    options = {"teacher": str(teacher), "out": str(tmp_path / "student")}
    folder = pretrain(student, Run(**run, **options))
    assert losses(folder).keys() == set(range(1, 13))
    saved = torch.load(folder / "last.pt", weights_only=True)
    assert (saved["recipe"]["teacher_arch"], saved["recipe"]["teacher_head"]) == (
        ARCH,
        "projector" if name == "swav" else "simclr-3",
    )
    pretrain(student, Run(**run, **options, resume="auto"))
