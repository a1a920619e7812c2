"""Runs and evaluations on sets that ask for a login and a token keep these out of every file."""

import json

from viewstream.shards.redaction import HIDDEN
from viewstream.trainers.tasks.options import Knn
from viewstream.trainers.tasks.run import evaluate
from viewstream.trainers.training.run import Run, pretrain

from ...guarded import QUERY, assert_no_secret, assert_no_secret_below, guarded
from ..small_runs import SMALL


def test_no_file_of_a_run_or_an_evaluation_holds_login_or_token(built, tmp_path, capfd):
    with guarded(built.root.parent) as server:
        url = f"{server.url}/{built.root.name}{QUERY}"
        options = {"data": url, "val": url, "cache": tmp_path / "cache", "loader": "webdataset", "device": "cpu"}
        out = pretrain(SMALL, Run(**options, out=str(tmp_path / "run"), eval_every=2, knn_k=5))
        evaluate(Knn(**options, checkpoint=str(out / "last.pt"), k=5, max_k=3, features=str(tmp_path / "kept")))
    assert HIDDEN in json.loads((out / "config.json").read_text())["run"]["data"]
    assert HIDDEN in (out / "results.json").read_text()
    assert_no_secret_below(tmp_path)
    assert_no_secret(*capfd.readouterr())
