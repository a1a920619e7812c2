"""Any number of ranks evaluates to the numbers of one."""

import json

import pytest

from viewstream.trainers.tasks.evaluation import evaluate
from viewstream.trainers.tasks.on_features import Instdisc, Knn

from ..small_runs import SMALL_WORDS, rows

FULL = pytest.mark.full


@FULL
def test_two_ranks_evaluate_to_the_numbers_of_one(program, first, built, built_val):
    options = Knn(checkpoint=str(first / "last.pt"), data=str(built.root), val=str(built_val.root),
                         loader="folder", batch_size=26, k=5, max_k=11, device="cpu")  # fmt: skip
    one = evaluate(options)
    words = ("--checkpoint", first / "last.pt", "--data", built.root, "--val", built_val.root, "--loader", "folder",
             "--batch-size", 26, "--k", 5, "--max-k", 11, "--device", "cpu")  # fmt: skip
    done = program("trainers/evaluate.py", *words, ranks=2)
    assert done.returncode == 0, done.stderr
    two = json.loads((first / "results.json").read_text())["knn"]
    assert {k: two[k] for k in one} == one


@FULL
@pytest.mark.parametrize("ranks", [2, 3])
def test_any_number_of_ranks_gives_the_numbers_of_one(program, runs, sets, static, ranks):
    moco = str(runs / "moco/last.pt")
    one = evaluate(Knn(checkpoint=moco, k=5, max_k=11, **sets, loader="folder", device="cpu", batch_size=30))
    words = ("--checkpoint", moco, "--loader", "folder", "--device", "cpu", "--batch-size", 30)
    done = program("trainers/evaluate.py", "--task", "knn", *words, "--k", 5, "--max-k", 11,
                   *(w for name, path in sets.items() for w in (f"--{name}", path)), ranks=ranks)  # fmt: skip
    assert done.returncode == 0, done.stderr
    several = json.loads((runs / "moco/results.json").read_text())["knn"]
    assert {name: several[name] for name in one} == one
    one = evaluate(Instdisc(checkpoint=moco, static=str(static), loader="folder", device="cpu", batch_size=30))
    done = program("trainers/evaluate.py", "--task", "instdisc", "--static", static, *words, ranks=ranks)
    assert done.returncode == 0, done.stderr
    several = json.loads((runs / "moco/results.json").read_text())["instdisc"]
    assert {name: several[name] for name in one} == one


@FULL
def test_online_knn_of_two_ranks_equals_the_evaluation_of_their_checkpoint(program, built, built_val, tmp_path):
    out = tmp_path / "run"
    sets = ("--data", built.root, "--val", built_val.root, "--loader", "webdataset")
    done = program("trainers/train.py", *sets, *SMALL_WORDS, "--eval-every", 2, "--knn-k", 5, "--out", out, ranks=2)
    assert done.returncode == 0, done.stderr
    online = next(row["knn"] for row in rows(out) if "knn" in row)
    options = Knn(checkpoint=str(out / "last.pt"), data=str(built.root), val=str(built_val.root),
                         loader="webdataset", k=5, max_k=11, device="cpu")  # fmt: skip
    assert evaluate(options)["knn/top1 k=5 T=0.07"] == online
