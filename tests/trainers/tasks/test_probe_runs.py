"""A probe's run is of one checkpoint, one network and one pair of sets: another is never reported as it."""

import shutil

import pytest
import torch

from viewstream.shards.errors import UserError
from viewstream.trainers.recipes.options import BYOL, MoCo
from viewstream.trainers.tasks.options import Linear
from viewstream.trainers.tasks.run import evaluate
from viewstream.trainers.training.run import Run, pretrain

COMMON = {"loader": "folder", "device": "cpu", "batch_size": 16, "epochs": 1, "protocol": "sl_lt"}
SMALL = {"arch": "test_resnet", "size": 32, "batch_size": 16, "dim": 16}


@pytest.fixture(scope="module")
def epochs(built, tmp_path_factory):
    """A run with two kept epochs."""
    out = tmp_path_factory.mktemp("runs") / "moco"
    recipe = MoCo(**SMALL, epochs=2, queue=16, bn_groups=2)
    return pretrain(recipe, Run(data=str(built.root), loader="folder", out=str(out), device="cpu", keep_every=1))


@pytest.fixture
def run(epochs, tmp_path):
    """A copy of that run, for probes beside its checkpoints."""
    return shutil.copytree(epochs, tmp_path / "run")


def test_two_checkpoints_of_one_run_have_probes_of_their_own(run, sets):
    """Each is trained from its own weights, where the second got the number of the first."""
    for name in ("epoch-0001", "epoch-0002", "last"):
        evaluate(Linear(checkpoint=str(run / f"{name}.pt"), **sets, **COMMON))
    found = sorted(path.parent.name for path in run.glob("*/last.pt"))
    assert found == [f"sl_lt-pets-full-train{end}" for end in ("", "-epoch-0001", "-epoch-0002")]
    first, second, last = (torch.load(run / name / "last.pt", weights_only=True) for name in (*found[1:], found[0]))
    weight = "online.head.weight"
    assert not torch.equal(first["method"][weight], second["method"][weight])
    assert torch.equal(second["method"][weight], last["method"][weight])  # epoch 2 is the last


@pytest.mark.parametrize("protocol", ["sl_lt", "linear"])
def test_a_probe_of_another_checkpoint_in_the_same_folder_is_refused(run, sets, tmp_path, protocol):
    options = COMMON | {"protocol": protocol, "out": str(tmp_path / "probe")}
    evaluate(Linear(checkpoint=str(run / "epoch-0001.pt"), **sets, **options))
    with pytest.raises(UserError, match=r"probe/last.pt .* began with other weights \(pretrained .*--out"):
        evaluate(Linear(checkpoint=str(run / "epoch-0002.pt"), **sets, **options))


def test_a_checkpoint_that_has_moved_on_is_refused_and_a_copy_is_the_same(run, sets):
    options = Linear(checkpoint=str(run / "last.pt"), **sets, **COMMON)
    found = evaluate(options)
    shutil.copyfile(run / "last.pt", run / "again.pt")
    (run / "last.pt").unlink()
    (run / "again.pt").rename(run / "last.pt")
    assert evaluate(options) == pytest.approx(found, nan_ok=True)
    shutil.copyfile(run / "epoch-0001.pt", run / "last.pt")
    with pytest.raises(UserError, match="began with other weights"):
        evaluate(options)


def test_the_two_networks_of_a_checkpoint_have_probes_of_their_own(built, sets, tmp_path):
    out = tmp_path / "byol"
    recipe = BYOL(**SMALL, epochs=1, views="byol", hidden=32)
    pretrain(recipe, Run(data=str(built.root), loader="folder", out=str(out), device="cpu"))
    for network in ("online", "target"):
        evaluate(Linear(checkpoint=str(out / "last.pt"), network=network, **sets, **COMMON))
    assert {path.name for path in out.glob("sl_lt-*")} == {f"sl_lt-pets-full-train-{n}" for n in ("online", "target")}
    one = {"checkpoint": str(out / "last.pt"), "out": str(out / "sl_lt-pets-full-train-online"), **sets, **COMMON}
    with pytest.raises(UserError, match=r"other weights \(network online -> target\)"):
        evaluate(Linear(network="target", **one))


def test_another_test_set_does_not_get_the_best_number_of_the_first(run, sets):
    options = {"checkpoint": str(run / "last.pt"), **COMMON}
    evaluate(Linear(**options, **sets))
    with pytest.raises(UserError, match=r"trained with another val \(name .*: name its --val"):
        evaluate(Linear(**options, data=sets["data"], val=sets["data"]))


def test_a_whole_network_probe_of_an_earlier_version_is_refused(run, sets):
    options = Linear(checkpoint=str(run / "last.pt"), **sets, **COMMON)
    evaluate(options)
    last = run / "sl_lt-pets-full-train" / "last.pt"
    saved = torch.load(last, weights_only=True)
    del saved["start"], saved["val"], saved["data"]["identity"]
    torch.save(saved, last)
    with pytest.raises(UserError, match=r"does not say which checkpoint it began with.*remove .*sl_lt-pets-full-train"):
        evaluate(options)


def test_a_frozen_probe_of_an_earlier_version_is_compared_by_what_it_holds(run, sets, capsys):
    options = Linear(checkpoint=str(run / "last.pt"), **sets, **COMMON | {"protocol": "linear"})
    found = evaluate(options)
    last = run / "linear-pets-full-train" / "last.pt"
    saved = torch.load(last, weights_only=True)
    del saved["start"], saved["val"], saved["data"]["identity"]
    torch.save(saved, last)
    assert evaluate(options) == pytest.approx(found, nan_ok=True)
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert any("what it began with cannot be compared" in note for note in notes)
    assert any("of its --data name, samples, uids, classes can be compared" in note for note in notes)
