"""The commands of the pages for beginners run in their order; the site builds without a warning."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def blocks(page):
    """The commands of the bash blocks of a page."""
    found = re.findall(r"^```bash\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.MULTILINE | re.DOTALL)
    return [line for line in "".join(found).replace("\\\n", " ").splitlines() if line and not line.startswith("#")]


@pytest.mark.full
def test_the_commands_of_ten_minutes_run_in_their_order(tmp_path):
    pytest.importorskip("plotly", reason="plotly is not installed: the extra 'report' brings it")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    commands = blocks("start.md")
    assert len(commands) == 12
    for line in commands:
        program, *words = shlex.split(line)
        assert program == "viewstream"
        call = [sys.executable, "-m", "viewstream", *words]
        done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, (line, done.stderr)
    for made in ("data/views.png", "data/curves.png", "data/report.html", "runs/first/step-5.png"):
        assert (tmp_path / made).stat().st_size > 10_000


@pytest.mark.full
def test_the_site_builds_without_a_warning_and_without_a_network(tmp_path):
    pytest.importorskip("material", reason="mkdocs-material is not installed: the extra 'docs' brings it")
    call = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(call, cwd=ROOT / "docs/site", env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site/start.html").read_text()
    assert "Ten minutes" in page
    assert not re.findall(r"(?:src|href)=\"https?://(?!squidfunk|www\.mkdocs)[^\"]*\.(?:js|css|woff2?)\"", page)
