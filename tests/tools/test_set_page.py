"""The page about a set."""

import re

import pytest

from viewstream.shards.building.build import BuildOptions, build

from .browser import BROWSER, looked

pytest.importorskip("plotly", reason="plotly is not installed: the extra 'report' brings it")


@pytest.fixture
def data(pets, tmp_path):
    return build(BuildOptions(source=pets, out=tmp_path / "set", workers=1)).root


def test_the_page_of_a_set_shows_classes_samples_views_provenance_and_files(data, in_process):
    done = in_process("tools/inspect_shards.py", data, "--html")
    assert done.returncode == 0, done.stderr
    text = (data / "inspect.html").read_text()
    heads = ["Classes and sizes", "Samples", "Views of the recipe moco_v2", "Provenance", "Files"]
    assert re.findall(r"<h2>(.*?)</h2>", text) == heads
    assert all(f"<p>{name}: 24</p>" in text for name in ("cat", "dog", "eel", "fox"))
    assert text.count("<figure>") == 4 * 7
    assert text.count("views of epoch") == 3 * 3
    assert "<td>medium (20..100)    4 classes, 100.0% of samples</td>" in re.sub(" {5,}", "    ", text)
    assert text.count("<tr><td>cat</td><td>24</td></tr>") == 1
    assert "All files are as they were built" in text
    assert not re.findall(r"(?:src|href)=\"(?!data:)", re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL))


@pytest.mark.full
def test_the_page_names_damaged_files(data, program):
    with next(data.glob("*.tar")).open("r+b") as file:
        file.seek(2000)
        file.write(b"?")
    assert program("tools/inspect_shards.py", data, "--html").returncode == 0
    assert "-000000.tar: 1 sample differs" in (data / "inspect.html").read_text()


@pytest.mark.full
def test_classes_of_few_samples_share_a_grid(pets, program, tmp_path):
    few = build(BuildOptions(source=pets / "val" / "cat", out=tmp_path / "set", workers=1)).root
    assert program("tools/inspect_shards.py", few, "--html", "--views", "dino", "--no-verify").returncode == 0
    text = (few / "inspect.html").read_text()
    assert 'class="tiles grid"' in text
    assert text.count("<figcaption>unlabeled</figcaption>") == 6
    assert "as they were built" not in text


def test_a_set_that_is_still_being_built_is_one_line(data, in_process):
    (data / "dataset.json").unlink()
    done = in_process("tools/inspect_shards.py", data, "--html")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


@pytest.mark.full
@pytest.mark.skipif(not BROWSER, reason="no Chromium: apt-get install chromium")
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_the_page_of_a_set_in_its_window(data, program, width, tmp_path):
    assert program("tools/inspect_shards.py", data, "--html", "--views", "dino").returncode == 0
    (inner, inside, charts, content, tiny), printed = looked(data / "inspect.html", width, tmp_path)
    assert inner == width
    assert inside == charts == 3 * 3
    assert content <= width
    assert tiny == 0
    assert "CONSOLE" not in printed
