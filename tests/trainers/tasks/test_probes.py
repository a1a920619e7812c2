"""Linear probes and transfer: on some classes, of either network, on other data sets, frozen or finetuned."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.errors import UserError
from viewstream.shards.subsets.options import SubsetOptions
from viewstream.trainers.recipes import RECIPES
from viewstream.trainers.recipes.options import BYOL, DINO, Supervised
from viewstream.trainers.tasks.linear import recipe_of
from viewstream.trainers.tasks.model import EvaluatedModel
from viewstream.trainers.tasks.options import Knn, Linear, Shots, Transfer
from viewstream.trainers.tasks.run import evaluate
from viewstream.trainers.training.log import Log
from viewstream.trainers.training.run import Run, pretrain

from ..small_runs import rows

COMMON = {"loader": "folder", "device": "cpu", "batch_size": 16, "epochs": 1}


@pytest.fixture(scope="module")
def checkpoint(built, tmp_path_factory):
    """A checkpoint with two networks."""
    out = tmp_path_factory.mktemp("runs") / "byol"
    small = BYOL(arch="test_resnet", size=32, epochs=1, batch_size=16, views="byol", dim=16, hidden=32)
    pretrain(small, Run(data=str(built.root), loader="folder", out=str(out), device="cpu"))
    return str(out / "last.pt")


def backbone(path, prefix):
    state = torch.load(path, weights_only=True)["method"]
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def same(a, b):
    return all(torch.equal(value, b[name]) for name, value in a.items())


@pytest.mark.parametrize(("half", "names"), [("clsset1", ["cat", "dog"]), ("clsset1_comp", ["eel", "fox"])])
def test_a_probe_on_half_of_the_classes_has_only_these(checkpoint, sets, tmp_path, half, names):
    out = tmp_path / half
    evaluate(Linear(checkpoint=checkpoint, class_subset=half, out=str(out), **sets, **COMMON))
    found = json.loads(Path(checkpoint).with_name("results.json").read_text())
    assert f"linear {half} epochs=1 target pets-full-train-{half} pets-full-val-{half}" in found
    assert torch.load(out / "last.pt", weights_only=True)["method"]["online.head.weight"].shape[0] == len(names)


def test_the_probed_network_is_the_one_that_was_named(checkpoint, sets, tmp_path):
    for network in ("online", "target"):
        out = tmp_path / network
        evaluate(Linear(checkpoint=checkpoint, network=network, out=str(out), **sets, **COMMON))
        probed = backbone(out / "last.pt", "online.backbone.")
        assert same(probed, backbone(checkpoint, f"{network}.backbone."))
    assert not same(probed, backbone(checkpoint, "online.backbone."))


STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@pytest.fixture(scope="module")
def stage(built, built_val, tmp_path_factory):
    """The folder of a first stage, which has a classifier of the built set."""
    sets = {"data": str(built.root), "val": str(built_val.root), "loader": "folder", "device": "cpu"}
    recipe = Supervised(arch="test_resnet", size=32, epochs=1, batch_size=16, views="supervised", bn_groups=2)
    return pretrain(recipe, Run(**sets, eval_every=1, out=str(tmp_path_factory.mktemp("stages") / "first")))


@pytest.mark.parametrize(("chosen", "drift"), [("protocol", True), ("train", True), ("eval", False)])
def test_the_statistics_of_a_second_stage_drift_and_its_weights_stay(stage, sets, tmp_path, chosen, drift):
    out = tmp_path / "second"
    second = Linear(checkpoint=str(stage / "best.pt"), protocol="sl_second_stage", frozen_bn=chosen, out=str(out))
    evaluate(replace(second, **sets, **COMMON))
    before, after = (backbone(folder / "last.pt", "online.backbone.") for folder in (stage, out))
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert torch.equal(value, after[name]) != (drift and name.endswith(STATISTICS)), name


def test_a_second_stage_from_the_last_checkpoint_notes_that_the_program_takes_the_best(stage, sets, tmp_path, capsys):
    for name in ("last", "best"):
        second = Linear(checkpoint=str(stage / f"{name}.pt"), protocol="sl_second_stage_balanced", **sets)
        evaluate(replace(second, out=str(tmp_path / name), **COMMON))
        assert ("note: the program begins a second stage with" in capsys.readouterr().out) == (name == "last")


def test_a_probe_is_tested_as_often_as_its_program_does(checkpoint, sets, tmp_path):
    for protocol, options, tested in (
        ("linear", {}, [0, 1]),
        ("linear", {"eval_every": 2}, [1]),
        ("sts_linear", {"bn_groups": 2}, [1]),
    ):
        out = tmp_path / f"{protocol}{len(options)}"
        probe = Linear(checkpoint=checkpoint, protocol=protocol, out=str(out), **options, **sets)
        evaluate(replace(probe, **COMMON | {"epochs": 2}))
        assert [row["epoch"] for row in rows(out) if "top1" in row and "evaluation" not in row] == tested
        recipe = json.loads((out / "config.json").read_text())["recipe"]
        assert recipe["bn_groups"] == options.get("bn_groups", 8)


def test_a_stopped_probe_reports_no_numbers_and_the_same_command_continues_it(checkpoint, sets, tmp_path, monkeypatch):
    options, own = Linear(checkpoint=checkpoint, out=str(tmp_path / "probe"), **sets, **COMMON), Log.step

    def stopping(self, step, *arguments, **words):
        self.stop = True
        own(self, step, *arguments, **words)

    with monkeypatch.context() as patch:
        patch.setattr(Log, "step", stopping)
        with pytest.raises(UserError, match=r"stopped after step 6 of 6, before its last test: the same command"):
            evaluate(options)
    found = evaluate(options)
    assert found["best top1"] == found["top1"]


def test_a_probe_of_a_vit_takes_the_class_tokens_of_its_last_blocks(built, sets, tmp_path):
    recipe = DINO(arch="test_vit", size=32, epochs=1, batch_size=16, views="dino_large", dim=8, hidden=8, bottleneck=4)
    run = Run(data=str(built.root), loader="folder", out=str(tmp_path / "run"), device="cpu")
    options = Linear(checkpoint=str(pretrain(recipe, run) / "last.pt"), out=str(tmp_path / "probe"), blocks=2, **sets)
    found = evaluate(replace(options, **COMMON))
    assert found["best top1"] == found["top1"]
    probe = torch.load(tmp_path / "probe/last.pt", weights_only=True)
    assert probe["method"]["online.head.weight"].shape == (4, 2 * 64)
    with pytest.raises(UserError, match="--blocks 9 takes the class tokens of so many blocks"):
        evaluate(replace(options, blocks=9, out=str(tmp_path / "other"), **COMMON))


def test_a_probe_uses_the_views_that_were_named(checkpoint, sets, tmp_path):
    out = tmp_path / "probe"
    evaluate(Linear(checkpoint=checkpoint, views="inat", test_views="inat_evaluation", out=str(out), **sets, **COMMON))
    recipe = json.loads((out / "config.json").read_text())["recipe"]
    assert (recipe["views"], recipe["test_views"]) == ("inat", "inat_evaluation")


@pytest.fixture(scope="module")
def cifar(shared, tmp_path_factory):
    """4 training and 2 test images of each class."""
    out = tmp_path_factory.mktemp("cifar")
    for split, count in (("train", 4), ("val", 2)):
        options = BuildOptions(source=shared / "data", out=out / split, split=split, workers=1)
        build(options, SubsetOptions(per_class=count))
    return {"data": str(out / "train"), "val": str(out / "val")}


@pytest.mark.full
def test_transfer_trains_the_classifier_and_with_finetune_everything(checkpoint, cifar, tmp_path):
    frozen = Transfer(checkpoint=checkpoint, out=str(tmp_path / "frozen"), **cifar, **COMMON | {"loader": "webdataset"})
    for options in (frozen, replace(frozen, finetune=True, out=str(tmp_path / "whole"))):
        evaluate(options)
        page = json.loads((tmp_path / options.out / "config.json").read_text())["recipe"]
        after = backbone(f"{options.out}/last.pt", "online.backbone.")
        assert same(after, backbone(checkpoint, "target.backbone.")) != options.finetune
        assert page["classifier"] == "normalized"
        assert page["test_views"] == "transfer_cifar"
        assert page["views"] == ("transfer_finetune" if options.finetune else "transfer")


def test_a_shorter_probe_lowers_its_rate_at_the_same_shares_of_its_run(checkpoint):
    model = EvaluatedModel(Linear(checkpoint=checkpoint, device="cpu"), torch.device("cpu"))
    for epochs, milestones in ((0, (60, 80)), (100, (60, 80)), (20, (12, 16))):
        recipe = recipe_of(Linear(checkpoint=checkpoint, epochs=epochs), model)
        assert (recipe.epochs, recipe.milestones) == (epochs or 100, milestones)
    cosine = recipe_of(Linear(checkpoint=checkpoint, protocol="sl_second_stage", epochs=3), model)
    assert cosine.milestones == RECIPES["sl_second_stage"]().milestones


def test_caltech_is_tested_on_the_center_crop(checkpoint):
    assert Transfer(checkpoint=checkpoint, dataset="caltech101").published().test_views == "transfer_evaluation"


@pytest.mark.parametrize("kind", [Linear, Shots, Knn])
def test_a_class_without_images_is_an_error_before_anything_is_computed(checkpoint, pets, sets, tmp_path, kind):
    three = [
        f"train/{name}/{name}_{n}.JPEG {label}\n" for label, name in enumerate(("cat", "dog", "eel")) for n in (0, 1)
    ]
    (tmp_path / "list.txt").write_text("".join(three))
    build(BuildOptions(source=pets, out=tmp_path / "set", workers=1), SubsetOptions(subset=str(tmp_path / "list.txt")))
    for flag, use in (("data", "training"), ("val", "test")):
        changed = sets | {flag: str(tmp_path / "set")}
        with pytest.raises(UserError, match=rf"1 of 4 classes have no {use} images in .*set, the first is fox"):
            evaluate(kind(checkpoint=checkpoint, loader="webdataset", device="cpu", **changed))


def test_transfer_to_another_data_set_than_the_named_one_is_refused(checkpoint, sets):
    with pytest.raises(UserError, match=r"cifar100 has 100 classes, .* has 4: name its --dataset; .*--task linear"):
        evaluate(Transfer(checkpoint=checkpoint, dataset="cifar100", **sets, **COMMON))
