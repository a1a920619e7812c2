"""A run is resumed only on its own images, labels and test set, and with the weights that it began with."""

import shutil
from ctypes.util import find_library

import pytest
import torch
from PIL import Image, ImageOps

from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.errors import UserError
from viewstream.trainers.checkpoints.same import note_other_decoder, require_same_recipe
from viewstream.trainers.recipes.options import MoCo, Supervised
from viewstream.trainers.training.run import Run, pretrain

from ...pages import change_page

RECIPE = MoCo(arch="test_resnet", size=32, epochs=1, batch_size=16, queue=16, dim=16, bn_groups=2)
CLASSES = ("cat", "dog", "eel", "fox")


def trained(data, out, **options):
    """Train on a set, or resume; returns the path of the checkpoint."""
    run = Run(data=str(data), loader="webdataset", out=str(out), device="cpu", resume="auto", **options)
    return pretrain(RECIPE, run) / "last.pt"


def edit(path, **changes):
    """Write a checkpoint again with some entries changed, or left out if None."""
    saved = torch.load(path, weights_only=True) | changes
    torch.save({key: value for key, value in saved.items() if value is not None}, path)


@pytest.fixture
def listed(pets, tmp_path):
    """(kind) -> a set of the same name and keys: `same`, or with other `pixels` or `labels`."""

    def make(kind, out):
        tree = shutil.copytree(pets / "train", tmp_path / out / "images")
        if kind == "pixels":
            ImageOps.invert(Image.open(tree / "cat/cat_0.JPEG").convert("RGB")).save(tree / "cat/cat_0.JPEG")
        label = {name: n for n, name in enumerate(CLASSES)}
        rows = {path: label[path.parent.name] for path in sorted(tree.rglob("*.JPEG"))}
        if kind == "labels":
            rows[tree / "cat/cat_0.JPEG"] = 1
        text = "".join(f"{path.relative_to(tree)} {n}\n" for path, n in rows.items())
        (tmp_path / out / "pets.txt").write_text(text)
        options = BuildOptions(
            source=tmp_path / out / "pets.txt", root=str(tree), out=tmp_path / out / "set", workers=1
        )
        return build(options).root

    return make


def test_an_option_that_a_checkpoint_of_an_earlier_version_lacks_was_off_there():
    was = {"method": "moco", "epochs": 2}
    require_same_recipe("last.pt", was, was | {"later": 0.0, "name": ""}, str)
    with pytest.raises(UserError, match=r"later None -> 0\.5"):
        require_same_recipe("last.pt", was, was | {"later": 0.5}, str)


@pytest.mark.parametrize("kind", ["pixels", "labels"])
def test_a_run_is_not_resumed_on_other_pixels_or_labels_under_the_same_names(listed, tmp_path, kind):
    trained(listed("same", "first"), tmp_path / "run")
    trained(listed("same", "again"), tmp_path / "run")  # built again from the same images
    with pytest.raises(UserError, match=r"another data \(other pixels, labels, .* under the same names"):
        trained(listed(kind, "other"), tmp_path / "run")


def test_a_checkpoint_of_an_earlier_version_is_compared_by_what_it_holds(listed, built_val, tmp_path, capsys):
    data = listed("same", "first")
    last = trained(data, tmp_path / "run")
    known = torch.load(last, weights_only=True)["data"]
    del known["identity"]
    edit(last, data=known, start=None, val=None, classes=None)
    trained(data, tmp_path / "run")
    note = f"note: {last} is of an earlier version: of its --data name, samples, uids, classes can be compared"
    assert note in capsys.readouterr().out.splitlines()
    with pytest.raises(UserError, match=r"another data \(name 'pets-full-train' -> 'pets-full-val'; samples 96 -> 24"):
        trained(built_val.root, tmp_path / "run")


def test_a_resumed_run_names_the_weights_that_it_began_with_or_none(built, moco, tmp_path):
    given, other = shutil.copyfile(moco / "last.pt", tmp_path / "given.pt"), tmp_path / "other.pt"
    last = trained(built.root, tmp_path / "run", pretrained=str(given))
    begun = torch.load(last, weights_only=True)["start"]
    assert begun.keys() == {"pretrained", "network", "ema"}
    trained(built.root, tmp_path / "run")
    trained(built.root, tmp_path / "run", pretrained=str(moco / "last.pt"))  # another name, the same bytes
    shutil.copyfile(given, other)
    edit(other, step=1)
    with pytest.raises(UserError, match=r"began with other weights \(pretrained \w{12} -> \w{12}\): give"):
        trained(built.root, tmp_path / "run", pretrained=str(other))
    assert torch.load(last, weights_only=True)["start"] == begun


def test_a_run_that_began_with_random_weights_does_not_go_on_as_if_with_others(built, moco, tmp_path):
    trained(built.root, tmp_path / "run")
    with pytest.raises(UserError, match=r"began with other weights \(pretrained None -> \w{12}"):
        trained(built.root, tmp_path / "run", pretrained=str(moco / "last.pt"))


def test_a_resumed_run_is_measured_on_its_own_test_set(built, built_val, tmp_path):
    options = {"eval_every": 1, "knn_k": 5}
    trained(built.root, tmp_path / "run", val=str(built_val.root), **options)
    with pytest.raises(UserError, match=r"another val \(name 'pets-full-val' -> 'pets-full-train'.*: name its --val"):
        trained(built.root, tmp_path / "run", val=str(built.root), **options)


def test_a_supervised_run_of_an_earlier_version_has_longer_epochs_which_a_note_says(built, tmp_path, capsys):
    recipe = Supervised(arch="test_resnet", size=32, epochs=1, batch_size=40, views="supervised", bn_groups=2)
    run = Run(data=str(built.root), loader="webdataset", out=str(tmp_path), device="cpu", resume="auto")
    pretrain(recipe, run)
    pretrain(recipe, run)
    assert "earlier version" not in capsys.readouterr().out
    edit(tmp_path / "last.pt", per_epoch=None)
    pretrain(recipe, run)
    shown = capsys.readouterr().out
    assert "left out the images after the last whole batch" in shown
    assert "its 3 steps are fewer epochs now" in shown


def test_a_set_that_is_called_otherwise_is_the_same_set(listed, tmp_path):
    data = listed("same", "first")
    trained(data, tmp_path / "run")
    change_page(data, lambda page: page.update(name="animals"))
    trained(data, tmp_path / "run")


@pytest.mark.skipif(not find_library("turbojpeg"), reason="no libturbojpeg")
def test_a_run_that_goes_on_with_another_decoder_says_so(built, tmp_path, capsys):
    path = trained(built.root, tmp_path / "run", decode="planes")
    assert torch.load(path, weights_only=True)["decode"] == "planes"
    trained(built.root, tmp_path / "run", decode="planes")
    assert "--decode" not in capsys.readouterr().out
    trained(built.root, tmp_path / "run", decode="cpu")
    assert "was trained with --decode planes, now cpu: same ids and draws" in capsys.readouterr().out


def test_a_checkpoint_that_records_no_decoder_is_of_a_version_without_planes(tmp_path, capsys):
    for now in ("cpu", "gpu"):
        note_other_decoder(tmp_path, None, now)
    assert not capsys.readouterr().out
    note_other_decoder(tmp_path, None, "planes")
    assert "was trained with --decode cpu or gpu, now planes" in capsys.readouterr().out
