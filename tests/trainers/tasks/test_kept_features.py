"""Features that are kept for the next evaluation: of the same network, set and precision, and whole."""

import json
from dataclasses import replace

import pytest
import torch

from viewstream.shards.building.build import BuildOptions, build
from viewstream.trainers.checkpoints.layouts import read
from viewstream.trainers.tasks import model as model_module
from viewstream.trainers.tasks.model import EvaluatedModel
from viewstream.trainers.tasks.options import Knn
from viewstream.trainers.tasks.run import evaluate

from ...flipping import flipped, flips

COMMON = {"loader": "folder", "device": "cpu", "batch_size": 26}


def test_averaged_weights_have_features_and_results_of_their_own(runs, sets, tmp_path):
    state = read(runs / "moco/last.pt").online
    averaged = {name: value * 1.5 if name.endswith("conv2.weight") else value for name, value in state.items()}
    torch.save({"arch": "test_resnet", "state_dict": state, "state_dict_ema": averaged}, tmp_path / "x.pth")
    options = Knn(checkpoint=str(tmp_path / "x.pth"), size=32, k=5, max_k=11, features=str(tmp_path / "kept"), **sets)
    for ema in (False, True):
        evaluate(replace(options, ema=ema, **COMMON))
    assert len(list((tmp_path / "kept").glob("*.npz"))) == 4
    entries = json.loads((tmp_path / "results.json").read_text())
    assert [entry["evaluation"] for entry in entries.values()] == ["knn size=32", "knn ema size=32"]


def test_kept_features_give_the_same_numbers_without_the_images(runs, sets, tmp_path, monkeypatch):
    options = Knn(
        checkpoint=str(runs / "moco/last.pt"), k=5, max_k=11, features=str(tmp_path / "kept"), **sets, **COMMON
    )
    first = evaluate(options)
    assert len(list((tmp_path / "kept").glob("*.npz"))) == 2
    monkeypatch.setattr(model_module, "features", lambda *_: pytest.fail("the network was used again"))
    assert evaluate(options) == first


def test_damaged_features_are_noted_and_made_again(runs, sets, tmp_path, capsys):
    options = Knn(
        checkpoint=str(runs / "moco/last.pt"), k=5, max_k=11, features=str(tmp_path / "kept"), **sets, **COMMON
    )
    first = evaluate(options)
    file = next((tmp_path / "kept").glob("*.npz"))
    whole = file.read_bytes()
    for damaged in (flipped(whole, 4 * len(whole)), whole[:-9]):
        file.write_bytes(damaged)
        assert evaluate(options) == first
        assert f"note: {file} is damaged: its features are computed and written again" in capsys.readouterr().err
        assert file.read_bytes() == whole
    evaluate(options)
    assert "is damaged" not in capsys.readouterr().err


@pytest.mark.parametrize("tries", [12, pytest.param(150, marks=pytest.mark.full)])
def test_a_flipped_bit_of_kept_features_changes_no_feature(tries, runs, built, tmp_path):
    options = Knn(checkpoint=str(runs / "moco/last.pt"), features=str(tmp_path), **COMMON)
    model = EvaluatedModel(options, torch.device("cpu"))
    x, labels = model.features(built)
    (file,) = tmp_path.glob("*.npz")
    for bit in flips(file, tries):
        found, own = model.features(built)
        assert torch.equal(found, x), f"bit {bit}"
        assert torch.equal(own, labels), f"bit {bit}"


def test_kept_features_are_not_those_of_other_labels_under_the_same_names(runs, pets, tmp_path):
    common = {"checkpoint": str(runs / "moco/last.pt"), "k": 5, "max_k": 11, **COMMON | {"loader": "webdataset"}}
    paths = sorted(path.relative_to(pets) for path in (pets / "train").rglob("*.JPEG"))
    for out, shift in (("first", 0), ("second", 1)):
        (tmp_path / out).mkdir()
        text = "".join(f"{path} {(n + shift) // 24 % 4}\n" for n, path in enumerate(paths))
        (tmp_path / out / "pets.txt").write_text(text)
        build(BuildOptions(source=tmp_path / out / "pets.txt", root=str(pets), out=tmp_path / out / "set", workers=1))
        one = {"data": str(tmp_path / out / "set"), "val": str(tmp_path / out / "set")}
        kept = evaluate(Knn(**common, **one, features=str(tmp_path / "kept")))
        assert kept == evaluate(Knn(**common, **one))
    assert len(list((tmp_path / "kept").glob("*.npz"))) == 2


def test_features_of_another_precision_are_kept_apart(runs, sets, tmp_path, capsys):
    options = Knn(
        checkpoint=str(runs / "moco/last.pt"), k=5, max_k=3, features=str(tmp_path / "kept"), **sets, **COMMON
    )
    for precision, files in (("fp32", 2), ("bf16", 4)):
        evaluate(replace(options, precision=precision))
        assert len(list((tmp_path / "kept").glob("*.npz"))) == files
        assert f"precision: {precision}, TF32 off" in capsys.readouterr().out
    saved = json.loads((runs / "moco/results.json").read_text()).values()
    own = [page["precision"] for page in saved if page["options"].get("features") == options.features]
    assert sorted(own) == ["bf16", "fp32"]  # neither took the place of the other
