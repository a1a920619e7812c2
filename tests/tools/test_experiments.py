"""Experiments: pieces are worked off in order, go on after an interruption, and fill the pages."""

import json
import math
import re
from dataclasses import replace

import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.programs import ROOT
from viewstream.tools.experiments import Experiments, work_on
from viewstream.tools.learning import EXPERIMENTS
from viewstream.tools.learning.calls import words
from viewstream.tools.learning.figures import draw
from viewstream.tools.learning.job import Job
from viewstream.tools.learning.kept import thinned
from viewstream.tools.learning.pages import PAGES, filled, kept, tables
from viewstream.tools.learning.plan import Built, Experiment, Measure, Piece, Weights
from viewstream.tools.learning.rates import searched
from viewstream.tools.learning.sets import BUILDS, STATIC, building
from viewstream.tools.learning.tables import momenta, percent, tables_of, tails
from viewstream.tools.learning.work import Work, in_waves, work_off
from viewstream.tools.run_files import RunFiles

KNN = Measure("knn", {"task": "knn", "k": 5, "max_k": 5, "data": Built("train"), "val": Built("val")})
RUN = {
    "method": "moco",
    "data": Built("train"),
    "arch": "test_resnet",
    "size": 32,
    "batch_size": 16,
    "queue": 64,
    "bn_groups": 1,
}
CHAIN = Experiment(
    "chain",
    "a teacher, two students and an untrained network",
    (
        Piece("student-0", {**RUN, "teacher": Weights("teacher-0")}, (KNN,)),
        Piece("student-1", {**RUN, "teacher": Weights("teacher-0")}, (KNN,)),
        Piece("teacher-0", RUN),
        Piece("untrained-0", {}, (KNN,), of="student-0"),
    ),
)


def names(waves):
    return [[piece.name for piece in wave] for wave in waves]


def test_pieces_come_after_those_whose_weights_they_take(tmp_path):
    work = Work(CHAIN, tmp_path, {}, kept=tmp_path / "kept")
    assert names(in_waves(work, CHAIN.pieces)) == [["teacher-0"], ["student-0", "student-1"], ["untrained-0"]]
    assert names(in_waves(work, [CHAIN.piece("student-1")])) == [["teacher-0"], ["student-1"]]


def test_a_piece_that_is_done_is_trained_again_only_for_its_weights(tmp_path):
    work = Work(CHAIN, tmp_path, {}, kept=tmp_path / "kept")
    for name in ("teacher-0", "student-0"):
        page = work.page_of(CHAIN.piece(name))
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text("{}")
    assert names(in_waves(work, CHAIN.pieces[:1])) == []
    assert names(in_waves(work, CHAIN.pieces[1:2])) == [["teacher-0"], ["student-1"]]
    assert names(in_waves(work, CHAIN.pieces[3:])) == [["teacher-0"], ["student-0"], ["untrained-0"]]


def test_weights_of_a_training_that_was_cut_off_are_none(tmp_path):
    work = Work(CHAIN, tmp_path, {}, kept=tmp_path / "kept")
    run = work.run_of("teacher-0")
    run.mkdir(parents=True)
    (run / "last.pt").write_bytes(b"of the first epoch")
    for state, waves in (
        ({}, [["teacher-0"], ["student-1"]]),
        ({"trained": False}, [["teacher-0"], ["student-1"]]),
        ({"trained": True}, [["student-1"]]),
    ):
        (run / "state.json").write_text(json.dumps(state))
        assert names(in_waves(work, [CHAIN.piece("student-1")])) == waves


def test_numbers_are_kept_where_the_option_says(tmp_path):
    page = tmp_path / "kept/loaders/webdataset-0.json"
    page.parent.mkdir(parents=True)
    page.write_text("{}")
    work = work_on("loaders", Experiments(kept=tmp_path / "kept"))
    assert [piece.name for piece in work.experiment.pieces if work.done(piece)] == ["webdataset-0"]


def test_options_are_kept_with_the_names_of_sets_and_runs():
    assert words({"data": Built("train"), "teacher": Weights("t-0"), "finetune": True, "batch_size": 4}) == (
        ["--data", "sets/train", "--teacher", "runs/t-0/last.pt", "--finetune", "--batch-size", "4"]
    )


def test_a_set_without_its_source_says_which_option_names_it(tmp_path):
    with pytest.raises(
        UserError, match="cifar10-lt is made of cifar10, whose place is not known: give it with --cifar10"
    ):
        building("cifar10-lt", {"cifar10": ""}, tmp_path)


@pytest.mark.parametrize("peak", [0.01, 0.4, 1.0, 30.0])
def test_a_search_ends_with_worse_rates_on_both_sides(peak):
    best, found = searched((0.15, 0.45, 1.35), lambda rate: -abs(math.log(rate / peak)))
    tried = sorted(found)
    assert tried[0] < best < tried[-1]
    assert abs(math.log(best / peak)) <= math.log(3) / 2 + 1e-4


def test_a_search_ends_where_no_rate_is_better():
    assert searched((1.0, 3.0, 9.0), lambda _: 0.5)[1] == {1.0: 0.5, 3.0: 0.5, 9.0: 0.5, 0.333333: 0.5}


def test_a_rate_whose_loss_is_not_finite_reaches_nothing_and_any_other_error_ends_the_search(tmp_path, monkeypatch):
    measure = Measure("own", {}, rates=(1.0, 3.0), held_out={"epochs": 1})
    job = Job(Piece("piece-0", {}, (measure,)), tmp_path, {}, str)
    folder = tmp_path / "own-3"
    folder.mkdir()
    (folder / "failure.json").write_text("of an earlier call")
    diverged = True

    def numbers(_, name, options):
        if options["lr"] < 3:
            return {"best top1": options["lr"]}
        if diverged:
            (folder / "failure.json").write_text("{}")
        raise UserError("the loss is nan")

    monkeypatch.setattr(job, "numbers", numbers)
    assert [job.held_out(measure, rate) for rate in (1.0, 3.0)] == [1.0, 0.0]
    diverged = False
    with pytest.raises(UserError, match="the loss is nan"):
        job.held_out(measure, 3.0)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_piece_has_a_name_of_its_own_a_seed_and_known_sets_and_pieces(name):
    experiment = EXPERIMENTS[name]
    pieces = [piece.name for piece in experiment.pieces]
    assert len(set(pieces)) == len(pieces)
    for piece in experiment.pieces:
        assert piece.name.rpartition("-")[2].isdigit()
        assert {*piece.needs} <= {*pieces}
        assert {*piece.sets} <= {*BUILDS, *STATIC}


def test_a_log_is_thinned_to_some_lines_with_the_last_and_every_measure(tmp_path):
    rows = [{"step": step, "epoch": step // 10, "loss": 1.0 / step, "host": "x"} for step in range(1, 101)]
    notes = [{"step": 50, "knn": 0.5}, {"step": 100, "knn": 0.6}]
    kept = thinned(RunFiles(tmp_path, {}, [*rows, *notes], {}))
    assert len(kept) < 30
    assert kept[-2:] == [{"step": 100, "epoch": 10, "loss": 0.01}, {"step": 100, "knn": 0.6}]
    assert {"step": 50, "knn": 0.5} in kept


def test_the_pages_show_the_kept_numbers():
    made = tables()
    for page in PAGES:
        text = (ROOT / page).read_text()
        assert filled(text, made) == text, f"{page} differs: python tools/experiments.py --table writes it"


def test_a_mean_has_its_deviation_if_there_are_several_seeds():
    assert percent([0.5]) == "50.0"
    assert percent([0.5, 0.52, 0.54]) == "52.0 ± 2.0"


def test_a_tail_has_a_row_of_its_best_tau_with_the_spread_over_its_classes():
    thirds = ("many", "medium", "few", "all", "std")
    found = {f"shots/{third}": 0.1 for third in thirds}
    found |= {f"tau={tau} shots/{third}": score for tau, score in (("0", 0.1), ("0.5", 0.3)) for third in thirds}
    found["classes"] = {"train_images": [9, 5, 1], "top1": [0.1] * 3, "top1 tau=0": [0.1] * 3}
    found["classes"]["top1 tau=0.5"] = [0.2, 0.3, 0.4]
    assert tails({"x-ce-0": {"measures": {"own classifier": found}}}).splitlines()[2:] == [
        "| `x-ce`, own classifier | 10.0 | 10.0 | 10.0 | 10.0 | 10.0 | 0.0 |",
        "| `x-ce`, tau-normalized, tau = 0.5, best of 2 on the test | 30.0 | 30.0 | 30.0 | 30.0 | 30.0 | 10.0 |",
    ]


def test_the_table_of_momenta_has_a_cell_for_each_that_was_tried():
    tried = {("byol", 0.9): 0.5, ("byol", 0.97): 0.4, ("sts", 0.0): 0.3}
    pieces = {
        f"{method}_{momentum:g}-0": {
            "recipe": {"method": method, "key_momentum": momentum},
            "measures": {"knn": {"knn/top1 k=20 T=0.07": top1}},
        }
        for (method, momentum), top1 in tried.items()
    }
    assert momenta(pieces).splitlines() == [
        "| kNN top-1, % | 0.97 | 0.9 | 0 |",
        "| --- | --- | --- | --- |",
        "| `byol` | 40.0 | 50.0 |  |",
        "| `sts` |  |  | 30.0 |",
    ]


def test_figures_are_drawn_of_pieces_that_have_some_of_the_measures(tmp_path):
    found = {name: kept(name) for name in EXPERIMENTS}
    assert {"scratch-0", "pixels-0", "moco-0"} <= found["cifar10"].keys()
    names = {"ranking.png", "geometry.png", "tails.png"}
    assert {file.name for file in draw(found, tmp_path)} == names
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in names)


def test_a_piece_that_fails_stops_none_of_the_others(small_sets, tmp_path, capsys):
    odd = Piece("odd-0", {"method": "mocco"})  # an unknown method
    pieces = (odd, Piece("empty-0", {}), Piece("untrained-0", {}, (KNN,), of="odd-0"))
    work = Work(Experiment("small", "", pieces), small_sets, {}, kept=tmp_path / "kept")
    with pytest.raises(UserError, match="1 piece failed, as named above"):
        work_off(work, pieces)
    shown = capsys.readouterr().out
    assert re.search(r"odd-0: training ended with code 2 .*did you mean 'moco'.*output\.log has it all", shown)
    assert "empty-0: 0.0 min" in shown
    assert "untrained-0: waits for the training of odd-0" in shown


@pytest.fixture
def small_sets(built, tmp_path):
    """The folder of a work whose sets are there."""
    (tmp_path / "sets").mkdir()
    for name in ("train", "val"):
        (tmp_path / "sets" / name).symlink_to(built.root)
    return tmp_path


@pytest.mark.full
def test_an_experiment_that_is_killed_goes_on_and_leaves_one_json_of_each_piece(small_sets, tmp_path):
    """The real programs on a few textures; the piece that is killed ends with the losses of the one that is not."""
    whole = Piece("whole-0", {**RUN, "epochs": 3, "log_every": 1, "seed": 0}, (KNN,))
    killed = replace(whole, name="killed-0", killed_at=4, training={**whole.training, "save_every": 2})
    bare = Piece("untrained-0", {}, (replace(KNN, options={**KNN.options, "untrained": True}),), of="whole-0")
    work = Work(
        Experiment("small", "", (whole, killed, bare)),
        small_sets,
        {},
        kept=tmp_path / "kept",
        always={"device": "cpu", "threads": 1, "workers": 1, "loader": "memory"},
    )
    work_off(work, work.experiment.pieces, jobs=1)
    pages = {piece.name: json.loads(work.page_of(piece).read_text()) for piece in work.experiment.pieces}
    assert pages["killed-0"]["killed"] >= 4
    assert pages["killed-0"]["losses_sha256"] == pages["whole-0"]["losses_sha256"]
    assert pages["whole-0"]["measures"]["knn"].keys() >= {"knn/top1 k=5 T=0.07"}
    assert "sets/train" in pages["whole-0"]["commands"]["training"]
    assert not work.run_of("whole-0").exists()  # weights go when no open piece needs them
    shown = dict(tables_of("loaders", {name: pages[name] for name in ("whole-0", "killed-0")}))
    assert shown["loaders losses"].count("equal") == 2
