"""The notebook of the ten minutes: what it shows as it is kept, and what it shows when it runs."""

import json
import os
import re
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "examples" / "ten_minutes.ipynb"
CELLS = json.loads(NOTEBOOK.read_text())["cells"]
LIMIT = 200_000  # bytes of the file


def shown(cells):
    """The text that cells show, and the number of their images."""
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    data = [output.get("data", {}) for output in outputs]
    texts = ["".join(output.get("text", "")) for output in outputs] + ["".join(d.get("text/plain", "")) for d in data]
    return "\n".join(texts), sum("image/png" in d for d in data)


def knn_of(cells):
    return float(re.findall(r"kNN top-1 ([\d.]+)", shown(cells)[0])[0])


def test_the_notebook_keeps_views_and_numbers_and_nothing_of_a_machine():
    text, images = shown(CELLS)
    assert images == 1
    assert knn_of(CELLS) > 2 / 12
    assert "the loss is that of the log: True" in text
    assert not re.search(r"/(root|home|tmp|work|usr)/|img/s|\d s\b", text)
    assert NOTEBOOK.stat().st_size < LIMIT


def test_its_commands_are_those_of_the_page():
    page = (NOTEBOOK.parents[1] / "docs" / "start.md").read_text()
    for cell in CELLS:
        for name in re.findall(r"^!?viewstream (\w+)", "".join(cell["source"]), re.MULTILINE):
            assert f"viewstream {name} " in page


@pytest.mark.full
def test_it_runs_from_top_to_bottom_and_shows_the_same(tmp_path, monkeypatch):
    nbformat, client, _ = (
        pytest.importorskip(name, reason="pip install 'viewstream[notebook]'")
        for name in ("nbformat", "nbclient", "ipykernel")
    )
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    notebook = nbformat.read(NOTEBOOK, 4)
    client.NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}}).execute()
    text, images = shown(notebook.cells)
    assert images == 1
    assert "the loss is that of the log: True" in text
    assert knn_of(notebook.cells) == pytest.approx(knn_of(CELLS), abs=0.1)
