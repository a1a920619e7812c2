"""The suite measures its parts on any images, keeps figures, writes pages from them, and compares ratios."""

import copy
import json
import re
from pathlib import Path

import pytest

from viewstream.shards.errors import UserError
from viewstream.tools.bench import part_flat, part_loader, part_scale, parts, suite
from viewstream.tools.bench.suite_check import compare, strongest
from viewstream.tools.bench.suite_pages import NAMES, TITLES, between, generated, replaced, saved, write_pages
from viewstream.tools.bench.suite_sets import Setting

ROOT = Path(__file__).parents[3]
ON = {"cpu": "some processor", "cores": 2, "python": "3.13", "versions": {"torch": "2.6"}, "commit": "abc", "code": "c"}


def group(**cpu):
    """Made-up figures of a loader group: wall times are twice the processor times."""
    wall = {name: [2 * us for us in values] for name, values in cpu.items()}
    peers = [name for name in cpu if name not in ("floor", "ours")]
    figures = {"unit": "image", "floor": "floor", "peers": peers, "antialiased": peers[:1], "stock": peers[1:]}
    figures |= {"left_out": {"litdata": "it needs litdata"}, "threads": 2, "images": "generated images"}
    return figures | {"cpu": cpu, "wall": wall, "on": ON | {"others": 0.25, "seconds": 9.0}}


@pytest.fixture
def loader():
    """A part of one group: ours at 0.8 of the floor, 2 times as fast as an antialiased peer, 3 times as a stock one."""
    return {
        "two views": group(
            floor=[80.0, 88.0, 80.0],
            ours=[100.0, 110.0, 100.0],
            good=[200.0, 220.0, 200.0],
            aliased=[300.0, 330.0, 300.0],
        )
    }


@pytest.fixture(scope="module")
def setting(pets, tmp_path_factory):
    return Setting(tmp_path_factory.mktemp("bench"), pets, quick=True)


def test_loaders_are_compared_with_the_floor_and_with_the_peers_on_images_of_a_folder(setting):
    figures = part_loader.crops(setting, "moco_v2", ("simplejpeg + PIL",), size=32)
    assert {"floor: decode only", "webdataset", "ffcv", "folder", "simplejpeg + PIL"} <= figures["cpu"].keys()
    assert figures["peers"] == figures["antialiased"] == ["simplejpeg + PIL"]
    assert figures["images"] == "photographs of pets"
    assert all(min(values) > 0 for values in figures["wall"].values())


def test_speed_and_memory_are_counted_by_tenths_of_a_run(setting):
    run = part_flat.flat(setting, larger=1, epochs=4, size=16, batch=16)
    assert run["samples"] == 4 * 240
    assert [len(run[key]) for key in ("cpu", "rate", "MiB")] == [10, 10, 10]


def test_an_order_of_many_rows_has_a_time_and_a_memory():
    found = part_scale.order(100_000)
    assert found["rows"] == 100_000
    assert 0 < found["seconds"] < 60
    assert found["MiB"] >= 0


def test_every_part_has_groups_and_a_title(tmp_path):
    for part in (*suite.PARTS, "check"):
        for quick in (False, True):
            assert suite.cases(part, Setting(tmp_path, quick=quick))
    assert suite.PARTS.keys() == TITLES.keys()


def test_a_ratio_that_falls_by_more_than_a_quarter_fails_the_check_and_a_smaller_fall_does_not(loader):
    slower, slow = copy.deepcopy(loader), copy.deepcopy(loader)
    slower["two views"]["cpu"]["ours"] = [140.0, 154.0, 140.0]
    slow["two views"]["cpu"]["ours"] = [120.0, 132.0, 120.0]
    assert [row.fallen for row in compare(loader, slower)] == [True, True]
    assert not any(row.fallen for row in compare(loader, slow))
    assert "LOWER  two views: ours / floor" in str(compare(loader, slower)[0])


def test_a_slower_machine_changes_no_ratio(loader):
    other = copy.deepcopy(loader)
    for values in other["two views"]["cpu"].values():
        values[:] = [3 * us for us in values]
    assert all(row.saved == pytest.approx(row.fresh) for row in compare(loader, other))


def test_a_peer_that_is_absent_does_not_fail_the_check_and_a_case_of_ours_that_is_absent_does(loader):
    without = copy.deepcopy(loader)
    without["two views"]["antialiased"] = []
    assert [(row.fresh is None, row.fallen) for row in compare(loader, without)] == [(False, False), (True, False)]
    del without["two views"]["cpu"]["ours"]
    assert compare(loader, without)[0].fallen


def test_the_program_that_checks_ends_with_1_when_a_ratio_has_fallen(loader, tmp_path, monkeypatch, capsys):
    slower = copy.deepcopy(loader)
    slower["two views"]["cpu"]["ours"] = [140.0, 154.0, 140.0]
    (tmp_path / "check.json").write_text(json.dumps(loader))

    def measured(options, part, out):
        (out / f"{part}.json").write_text(json.dumps(slower))
        return True

    monkeypatch.setattr(suite, "measure", measured)
    with pytest.raises(SystemExit) as end:
        suite.check(suite.Suite(out=tmp_path))
    assert end.value.code == 1
    assert "2 of 2 ratios are more than a quarter lower" in capsys.readouterr().out
    slower = loader
    suite.check(suite.Suite(out=tmp_path))
    with pytest.raises(UserError, match="make bench PART=check"):
        suite.check(suite.Suite(out=tmp_path / "none"))


def test_the_strongest_peer_is_the_quickest_that_antialiases(loader):
    assert strongest(loader["two views"]) == "good"
    loader["two views"]["cpu"]["aliased"] = [101.0] * 3
    assert strongest(loader["two views"]) == "good"


def test_figures_of_this_code_are_kept_and_those_of_other_code_are_measured_again(tmp_path, monkeypatch, cases):
    monkeypatch.setattr(suite, "groups", lambda part, setting: {"a group": cases.half})
    options = suite.Suite(part="draw", work=tmp_path)
    assert suite.measure(options, "draw", tmp_path)
    first = json.loads((tmp_path / "draw.json").read_text())["a group"]
    assert first["checked"] == 50
    assert first["on"]["cores"] >= 1
    monkeypatch.setattr(parts, "apart", refuse)
    assert suite.measure(options, "draw", tmp_path)
    monkeypatch.setattr(suite, "code", lambda: "other")
    with pytest.raises(AssertionError, match="measured again"):
        suite.measure(options, "draw", tmp_path)


def refuse(case, seconds):
    raise AssertionError("measured again")


def test_pages_name_the_strongest_peer_first_and_what_was_left_out(loader, tmp_path):
    pages = generated({"loader": loader})
    lead = " ".join(pages["README.md"].partition("Speed: ")[2].split())  # without line breaks
    assert lead.startswith("`ours` is 2.00 times as fast as the strongest antialiased loader that is not ours (good),")
    assert "reaches 0.80 of decoding alone (0.80 in wall time)" in lead
    assert "3.0 to 3.0 times as fast as stock loaders" in lead
    table = pages["docs/performance.md"]
    assert "| **ours** | 100 | 200 | 0.80 (0.80-0.80) | 0.80 | 2.00 |" in table
    assert "* litdata is left out: it needs litdata" in table
    assert "other programs took up to 25% of the cores" in table
    (tmp_path / "loader.json").write_text(json.dumps(loader))
    write_pages(tmp_path, None)
    assert (tmp_path / "loader.png").stat().st_size > 5000
    assert (tmp_path / "table.md").read_text() == table + "\n"


def test_only_the_text_between_the_markers_is_replaced():
    page = "before\n<!-- speed: written by make bench -->\nold\n<!-- end of speed -->\nafter\n"
    changed = replaced(page, "speed", "new \\1")
    assert changed == page.replace("old", "new \\1")
    assert between(changed, "speed") == "\nnew \\1\n"


@pytest.mark.parametrize("page", ["README.md", "docs/performance.md"])
def test_a_page_shows_what_the_saved_figures_generate(page):
    parts = saved(suite.RESULTS)
    assert between((ROOT / page).read_text(), NAMES[page]) == f"\n{generated(parts)[page]}\n"


def test_charts_that_a_page_shows_exist():
    for page in ("README.md", "docs/performance.md"):
        for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", (ROOT / page).read_text()):
            assert ((ROOT / page).parent / path).exists()


@pytest.mark.full
def test_the_suite_runs_a_part_from_the_command_line(program, pets, tmp_path):
    words = ("--part", "scale", "--quick", "--images", pets, "--work", tmp_path / "work", "--out", tmp_path)
    done = program("tools/bench/suite.py", *words)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "scale.json").read_text())["order of 100,000 rows"]["rows"] == 100_000
    assert "order of 1,000,000 rows" in (tmp_path / "table.md").read_text()
