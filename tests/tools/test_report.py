"""The page about runs: one file with all that it shows."""

import json
import re
import shutil
import subprocess
import tempfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from viewstream.tools import report
from viewstream.trainers.recipes.options import Supervised
from viewstream.trainers.training.run import Run, pretrain

pytest.importorskip("plotly", reason="plotly is not installed: the extra 'report' brings it")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr"),
)


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
    assert text.count("<figcaption>") == 2 * 6 * 7
    assert re.search(r"<td>lr</td><td class=\"number\">0.0100</td><td class=\"number\">0.1000</td>", text)
    assert "<td>torch</td>" in text


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
@pytest.mark.parametrize("width", [1280, 500])  # 500 is the least that the window of a headless browser takes
def test_a_browser_draws_every_chart_inside_its_window_and_has_no_complaint(page, width, tmp_path):
    probe = """<script>addEventListener("load", () => setTimeout(() => {
        const boxes = [...document.querySelectorAll(".main-svg")].map(e => e.getBoundingClientRect());
        const inside = boxes.filter(b => b.width > 200 && b.right <= innerWidth && b.left >= 0).length;
        const fits = document.body.scrollWidth <= innerWidth;
        document.title = `${inside} of ${boxes.length}, wide ${fits}`; }, 500))</script>"""
    copy = tmp_path / "page.html"
    copy.write_text(page.read_text().replace("</body>", probe + "</body>"))
    with tempfile.TemporaryDirectory() as profile:
        call = [
            BROWSER,
            *QUIET,
            f"--user-data-dir={profile}",
            f"--window-size={width},2000",
            "--virtual-time-budget=4000",
        ]
        done = subprocess.run([*call, "--dump-dom", f"file://{copy}"], capture_output=True, text=True, timeout=120)
    found = re.search(r"<title>(\d+) of (\d+), wide (\w+)</title>", done.stdout)
    assert found, done.stderr[-2000:]
    assert int(found[1]) == int(found[2]) > 10
    assert found[3] == "true"
    assert "CONSOLE" not in done.stderr
