"""Pages show what the saved figures say, and name the strongest other program first."""

import json
import re
from pathlib import Path

import pytest

from viewstream.tools.bench.figures.pages import NAMES, between, generated, replaced, saved, write_pages
from viewstream.tools.bench.suite import RESULTS

ROOT = Path(__file__).parents[4]


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


def test_the_lead_is_about_the_pixels_of_the_default_decoder(loader):
    loader["two views"]["cpu"]["ours, planes"] = loader["two views"]["wall"]["ours, planes"] = [50.0] * 3
    page = generated({"loader": loader})["docs/loaders.md"]
    assert "Speed: `ours` is" in page
    assert "| two views: `ours, planes`, 50 us per image |" in page


def test_only_the_text_between_the_markers_is_replaced():
    page = "before\n<!-- speed: written by make bench -->\nold\n<!-- end of speed -->\nafter\n"
    changed = replaced(page, "speed", "new \\1")
    assert changed == page.replace("old", "new \\1")
    assert between(changed, "speed") == "\nnew \\1\n"


@pytest.mark.parametrize("page", NAMES)
def test_a_page_shows_what_the_saved_figures_generate(page):
    parts = saved(RESULTS)
    assert between((ROOT / page).read_text(), NAMES[page]) == f"\n{generated(parts)[page]}\n"


def test_charts_that_a_page_shows_exist():
    for page in NAMES:
        for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", (ROOT / page).read_text()):
            assert ((ROOT / page).parent / path).exists()
