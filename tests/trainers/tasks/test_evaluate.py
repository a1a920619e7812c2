"""Every evaluation task through the library and the command line, and the mistakes that it reports."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from viewstream.shards.errors import UserError
from viewstream.trainers.evals import knn, neighbors
from viewstream.trainers.evaluate import measure
from viewstream.trainers.methods.build import build as build_method
from viewstream.trainers.recipes.options import DINO, Supervised
from viewstream.trainers.tasks.model import EvaluatedModel
from viewstream.trainers.tasks.options import TASKS, Instdisc, Knn, Linear, Shots, Stats, options_of
from viewstream.trainers.tasks.run import MEASURES, evaluate

COMMON = {"loader": "folder", "device": "cpu", "batch_size": 26}
FULL = pytest.mark.full


def test_results_are_printed_written_to_results_json_and_added_to_the_log(runs, sets, capsys):
    found = evaluate(Knn(checkpoint=str(runs / "moco/last.pt"), k=5, max_k=11, **sets, **COMMON))
    name = "knn/top1 k=5 T=0.07"
    assert f"{found[name]:.4f}" in capsys.readouterr().out
    entry = json.loads((runs / "moco/results.json").read_text())["knn online pets-full-train pets-full-val"]
    assert entry["evaluation"] == "knn"
    assert entry[name] == found[name]
    last = json.loads((runs / "moco/log.jsonl").read_text().splitlines()[-1])
    assert last["evaluation"] == "knn"
    assert last[name] == found[name]


def test_json_of_an_evaluation_is_its_new_entry_alone_on_standard_output(runs, sets, capsys):
    options = Knn(checkpoint=str(runs / "byol/last.pt"), k=5, max_k=11, **sets, **COMMON)
    measure(options, as_json=True)
    out, err = capsys.readouterr()
    page = json.loads(out)
    assert page["file"] == str(runs / "byol/results.json")
    saved = json.loads(Path(page["file"]).read_text())[page["entry"]]
    assert page == {"file": page["file"], "entry": page["entry"], **saved}
    assert f"{page['knn/top1 k=5 T=0.07']:.4f}" in err
    assert f"written to {page['file']}" in err


def test_images_in_memory_have_the_numbers_of_images_in_files(runs, sets):
    options = Knn(checkpoint=str(runs / "moco/last.pt"), k=5, max_k=11, **sets, **COMMON)
    assert evaluate(replace(options, loader="memory")) == evaluate(options)


@FULL
def test_evaluation_prints_and_writes_its_numbers(program, first, built, built_val):
    arguments = ("--checkpoint", first / "last.pt", "--data", built.root, "--val", built_val.root, "--loader", "folder")
    done = program("trainers/evaluate.py", "--task", "knn", *arguments, "--k", 5, "--max-k", 11)
    assert done.returncode == 0, done.stderr
    results = json.loads((first / "results.json").read_text())["knn online pets-full-train pets-full-val"]
    assert 0 <= results["knn/top1 k=5 T=0.07"] <= 1
    assert results["best-nn/norm k"] % 2 == 1
    assert "best-nn/original" in done.stdout


def test_a_method_with_a_teacher_is_evaluated_by_its_teacher(runs, sets):
    options = Knn(checkpoint=str(runs / "byol/last.pt"), k=5, max_k=11, **sets, **COMMON)
    state = torch.load(runs / "byol/last.pt", weights_only=True)["method"]
    own = EvaluatedModel(options, torch.device("cpu")).net.state_dict()
    assert all(torch.equal(value, state[f"target.backbone.{name}"]) for name, value in own.items())
    assert any(not torch.equal(value, state[f"online.backbone.{name}"]) for name, value in own.items())


def test_a_vit_of_dino_is_evaluated_by_its_teacher_at_any_size_that_its_patches_divide(sets, tmp_path):
    recipe = DINO(arch="test_vit", size=32, dim=8, hidden=8, bottleneck=4)
    method = build_method(recipe)
    with torch.no_grad():
        for p in method.online.parameters():
            p.zero_()
    torch.save({"step": 1, "recipe": asdict(recipe), "method": method.state_dict()}, tmp_path / "last.pt")
    options = Knn(checkpoint=str(tmp_path / "last.pt"), k=5, max_k=11, **sets, **COMMON)
    found = [evaluate(replace(options, size=size))["knn/top1 k=5 T=0.07"] for size in (0, 48)]
    assert all(0 <= value <= 1 for value in found)
    with pytest.raises(UserError, match="test_vit has patches of 16 px, which do not divide 40 px: choose another --s"):
        evaluate(replace(options, size=40))
    net = EvaluatedModel(options, torch.device("cpu")).net
    assert net.pos_embed.equal(method.target.backbone.pos_embed)


def test_shots_give_accuracy_by_training_counts_and_write_each_class(runs, sets):
    found = evaluate(Shots(checkpoint=str(runs / "supervised/last.pt"), tau=True, **sets, **COMMON))
    assert found["top1"] == found["shots/all"]
    assert np.isnan(found["shots/many"])  # 24 images per class
    assert found["shots/medium"] == pytest.approx(found["top1"])  # classes have equal sizes
    assert {name for name in found if name.startswith("tau=0.5 ")} == {
        f"tau=0.5 {row}" for row in ("shots/many", "shots/medium", "shots/few", "shots/all")
    }
    table = pq.read_table(runs / "supervised/per_class.parquet").to_pydict()
    assert table["class"] == ["cat", "dog", "eel", "fox"]
    assert table["train_images"] == [24] * 4
    assert np.mean(table["top1"]) == pytest.approx(found["top1"])
    assert np.mean(table["top1 tau=0.5"]) == pytest.approx(found["tau=0.5 shots/all"])


def test_tau_0_of_a_classifier_with_batchnorm_is_that_classifier(run, sets):
    recipe = Supervised(
        arch="test_resnet", size=32, epochs=1, batch_size=16, views="supervised", classifier="batchnorm", bn_groups=2
    )
    found = evaluate(Shots(checkpoint=str(run("batchnorm", recipe) / "last.pt"), tau=True, **sets, **COMMON))
    assert found["tau=0 shots/all"] == found["top1"]
    assert found["tau=0 shots/medium"] == found["shots/medium"]


def test_a_linear_probe_trains_a_classifier_and_leaves_the_backbone_as_it_was(runs, sets, tmp_path):
    options = Linear(checkpoint=str(runs / "moco/last.pt"), epochs=2, out=str(tmp_path / "probe"), **sets, **COMMON)
    found = evaluate(options)
    assert json.loads((tmp_path / "probe/config.json").read_text())["recipe"]["precision"] == "fp32"
    before = torch.load(runs / "moco/last.pt", weights_only=True)["method"]
    after = torch.load(tmp_path / "probe/last.pt", weights_only=True)["method"]
    body = [name for name in after if name.startswith("online.backbone.")]
    assert body
    assert all(torch.equal(after[name], before[name]) for name in body)
    assert found["top1"] == found["shots/all"] <= found["best top1"]
    assert evaluate(options) == pytest.approx(found, nan_ok=True)  # the run is finished: nothing is trained again


def test_a_probe_of_another_checkpoint_is_refused(runs, sets, tmp_path):
    out = str(tmp_path / "probe")
    evaluate(Linear(checkpoint=str(runs / "moco/last.pt"), epochs=1, out=out, **sets, **COMMON))
    with pytest.raises(UserError, match="began with other weights"):
        evaluate(Linear(checkpoint=str(runs / "byol/last.pt"), epochs=1, out=out, **sets, **COMMON))


def test_shift_norm_cuts_its_mini_batches_from_shuffled_sets(runs, sets, built, built_val):
    options = Knn(
        checkpoint=str(runs / "moco/last.pt"), k=3, max_k=9, part_batch=7, rep_space=("shift-norm",), **sets, **COMMON
    )
    model = EvaluatedModel(options, torch.device("cpu"))
    x = (*model.features(built), *model.features(built_val))
    orders = neighbors.shuffled(built.uid), neighbors.shuffled(built_val.uid)
    common = {"max_k": 9, "space": "shift-norm", "batch": 7}
    shuffled, stored = (knn.best_nn_hits(*x, **common, orders=o).tolist() for o in (orders, (None, None)))
    assert shuffled != stored
    assert evaluate(options)["best-nn/shift-norm"] == max(shuffled) / 24


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (Knn(), "no network to evaluate: name one with --checkpoint"),
        (Knn(checkpoint="nowhere.pt"), "there is no checkpoint nowhere.pt"),
        (Instdisc(checkpoint="moco"), "name it with --static"),
        (Stats(checkpoint="moco", static="nowhere"), "nowhere is no folder: `python tools/make_static.py"),
        (Stats(checkpoint="moco", static="static"), "uniformity takes 3 subsets of 128 images, there are 96"),
        (Instdisc(checkpoint="moco", static="static", dataset_mode="g-mask"), "which mode g-mask needs"),
        (Knn(checkpoint="moco", k=200, data="data", val="val"), "200 neighbors cannot vote among 96"),
        (Knn(checkpoint="moco", arch="resnet18", data="data", val="val"), "does not fit the network"),
        (Linear(checkpoint="moco", protocol="linnear"), "unknown protocol 'linnear': did you mean 'linear'"),
        (Shots(checkpoint="moco", data="data", val="val"), "holds no classifier of 4 classes"),
    ],
)
def test_a_mistake_is_one_line(runs, sets, static, options, reason):
    known = {"moco": str(runs / "moco/last.pt"), "static": str(static), **sets}
    names = [name for name in ("checkpoint", "static", "data", "val") if getattr(options, name, "") in known]
    changed = {name: known[getattr(options, name)] for name in names}
    with pytest.raises(UserError, match=reason):
        evaluate(replace(options, **changed, loader="folder", device="cpu"))


def test_an_unknown_task_is_refused_with_the_nearest_names():
    with pytest.raises(UserError, match="unknown task 'kn': did you mean 'knn'"):
        options_of("kn")


def test_every_task_has_a_measure():
    assert MEASURES.keys() == TASKS.keys()


@FULL
def test_every_task_lists_its_options(program):
    for task in TASKS:
        done = program(Path("trainers/evaluate.py"), "--task", task, "--help")
        assert done.returncode == 0, done.stderr
        assert "--checkpoint" in done.stdout
