"""A classifier is measured on the classes that it was trained on, and by their groups."""

import json
import shutil

import pytest
import torch

from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.errors import UserError
from viewstream.shards.subsets.options import SubsetOptions
from viewstream.trainers.recipes.options import Supervised
from viewstream.trainers.tasks.options import Shots
from viewstream.trainers.tasks.run import evaluate
from viewstream.trainers.training.run import Run, pretrain

COMMON = {"loader": "webdataset", "device": "cpu", "batch_size": 26}
SMALL = {"arch": "test_resnet", "size": 32, "epochs": 1, "batch_size": 16, "views": "supervised", "bn_groups": 2}


@pytest.fixture(scope="module")
def half(built, tmp_path_factory):
    """A classifier of the classes cat and dog."""
    out = tmp_path_factory.mktemp("runs") / "half"
    run = Run(data=str(built.root), class_subset="clsset1", loader="webdataset", out=str(out), device="cpu")
    return str(pretrain(Supervised(**SMALL), run) / "last.pt")


def test_a_classifier_is_not_measured_on_other_classes_unless_asked(half, sets):
    found = evaluate(Shots(checkpoint=half, class_subset="clsset1", **sets, **COMMON))
    assert 0 <= found["top1"] <= 1
    other = {"checkpoint": half, "class_subset": "clsset1_comp", **sets, **COMMON}
    reason = r"was trained on other classes than .* has \(2 of 2: class 0 is cat, not eel\): .*--other-classes"
    with pytest.raises(UserError, match=reason):
        evaluate(Shots(**other))
    assert evaluate(Shots(other_classes=True, **other)).keys() == found.keys()


def test_a_classifier_of_another_number_of_classes_is_refused_by_their_number(half, sets):
    with pytest.raises(UserError, match=r"other classes than .* has \(2, not 4\)"):
        evaluate(Shots(checkpoint=half, **sets, **COMMON))


def test_training_images_that_change_the_groups_are_named(runs, pets, sets, tmp_path, capsys):
    shutil.copytree(runs / "supervised", tmp_path / "run")
    few = build(BuildOptions(source=pets, out=tmp_path / "few", workers=1), SubsetOptions(per_class=10))
    options = {"checkpoint": str(tmp_path / "run/last.pt"), **COMMON}
    evaluate(Shots(**options, **sets))
    assert "note: " not in capsys.readouterr().err
    evaluate(Shots(**options, **sets | {"data": str(few.root)}))
    assert "note: 4 of 4 classes are in another group (many, medium, few) by the images of" in capsys.readouterr().err
    *_, entry = json.loads((tmp_path / "run/results.json").read_text()).values()
    assert entry["classes_in_other_groups"] == 4


def test_a_checkpoint_that_names_no_classes_is_measured_with_a_note(runs, sets, tmp_path, capsys):
    saved = torch.load(runs / "supervised/last.pt", weights_only=True)
    assert saved.pop("classes") == {"names": ["cat", "dog", "eel", "fox"], "counts": [24] * 4}
    torch.save(saved, tmp_path / "last.pt")
    evaluate(Shots(checkpoint=str(tmp_path / "last.pt"), **sets, **COMMON))
    assert "last.pt does not name its classes: only their number is compared" in capsys.readouterr().err
