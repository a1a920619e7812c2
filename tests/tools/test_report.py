"""The page about runs: one file with all that it shows."""

import json
import re
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from viewstream.tools import report
from viewstream.tools.pages import charts
from viewstream.trainers.recipes.options import Supervised
from viewstream.trainers.training.run import Run, pretrain

from .browser import BROWSER, looked

pytest.importorskip("plotly", reason="plotly is not installed: the extra 'report' brings it")


@pytest.fixture(scope="module")
def runs(built, built_val, tmp_path_factory):
    """A short run of a classifier, and a copy of it with another rate that was evaluated."""
    folder = tmp_path_factory.mktemp("runs")
    data = {"data": str(built.root), "val": str(built_val.root), "loader": "folder", "device": "cpu"}
    recipe = Supervised(views="supervised", arch="test_resnet", size=32, batch_size=32, epochs=2, lr=0.01)
    pretrain(recipe, Run(**data, log_every=1, eval_every=1, out=str(folder / "slow")))
    config = json.loads((shutil.copytree(folder / "slow", folder / "fast") / "config.json").read_text())
    config["recipe"]["lr"] = 0.1
    (folder / "fast/config.json").write_text(json.dumps(config))
    table = pa.table({"class": [*built.info.classes], "train_images": [24] * 4, "top1": [0.1, 0.5, 0.25, 1.0]})
    pq.write_table(table, folder / "fast/per_class.parquet")
    return folder


@pytest.fixture(scope="module")
def page(runs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["report.py", *map(str, (runs / "slow", runs / "fast", "--out", runs / "page.html"))])
        report.main()
    return runs / "page.html"


def test_the_page_shows_curves_speed_classes_views_neighbors_and_facts(page):
    text = page.read_text()
    heads = re.findall(r"<h2>(.*?)</h2>", text)
    views = ["Views of slow", "Neighbors by slow", "Views of fast", "Neighbors by fast"]
    assert heads == ["Training", "Speed", "Classes", *views, "Runs side by side"]
    for title in ("loss", "top1", "images per second", "loader time of fast", "accuracy by class frequency"):
        assert f'"text":"{title}"' in text, title
    assert "<td>cat</td>" not in text
    key = re.search(r'<div class="key">(.*?)</div>', text)
    assert [*re.findall(r"</b> (\w+) <small", key[1])] == ["slow", "fast"]
    assert all(color in key[1] for color in charts.colors(["slow", "fast"]).values())
    assert text.count("<figcaption>") == 2 * 6 * 7
    assert re.search(r"<td>lr</td><td class=\"number\">0.0100</td><td class=\"number\">0.1000</td>", text)
    assert "<td>torch</td>" in text


def test_a_run_has_one_color_in_all_charts():
    both, one = {"a": ([1, 2], [3, 4]), "b": ([1], [2])}, {"b": ([1], [2])}
    made = [charts.lines("loss", both, ["a", "b"]), charts.lines("knn", one, ["a", "b"], dots=True)]
    made.append(charts.dots("classes", one, ["a", "b"], "images", "top-1", ["cat"], log=True))
    colors = {chart.data[-1].line.color or chart.data[-1].marker.color for chart in made}
    assert [chart.data[-1].name for chart in made] == ["b"] * 3
    assert colors == {charts.colors(["a", "b"])["b"]}


def test_the_page_asks_no_server(page):
    own = re.sub(r"<script>.*?</script>", "", page.read_text(), flags=re.DOTALL)
    assert not re.findall(r"(?:src|href)=\"(?!data:)", own)


@pytest.mark.full
def test_what_the_page_cannot_show_is_said_on_it(program, runs, tmp_path):
    (tmp_path / "copy").mkdir()
    for name in ("config.json", "log.jsonl"):
        shutil.copy(runs / "slow" / name, tmp_path / "copy")
    words = ("tools/report.py", tmp_path / "copy", "--data", tmp_path / "gone")
    assert program(*words).returncode == 0
    text = (tmp_path / "copy/report.html").read_text()
    assert "left out: " in text
    assert "gone does not exist" in text


def test_two_runs_of_one_name_are_refused(in_process, runs, tmp_path):
    shutil.copytree(runs / "slow", tmp_path / "slow")
    done = in_process("tools/report.py", runs / "slow", tmp_path / "slow")
    assert done.returncode == 2
    assert "two runs are called slow" in done.stderr


@pytest.mark.full
@pytest.mark.skipif(not BROWSER, reason="no Chromium: apt-get install chromium")
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_draws_every_chart_inside_its_window_and_has_no_complaint(page, width, tmp_path):
    (inner, inside, charts, content, tiny), printed = looked(page, width, tmp_path)
    assert inner == width
    assert inside == charts > 10
    assert content <= width
    assert tiny == 0
    assert "CONSOLE" not in printed
