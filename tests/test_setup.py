"""`.ci/setup` with CLUSTERS=1, as `make test-all` calls it: adds to a finished .venv what the tests that cross machines
need, and names what it cannot have."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def set_up(tmp_path):
    """(exit code of the installer) -> the finished set-up of a checkout at `tmp_path`, and what it asked to install."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/setup", tmp_path / ".ci/setup")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/setup.log").touch()
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in (
        "nginx",
        "ip",
        "chromium",
        "apt-get",
        "sudo",
    ):  # nothing is missing in the system, and nothing may be installed
        (programs / name).write_text("#!/bin/sh\nexit 1\n")

    def call(code):
        (programs / "uv").write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\nexit {code}\n')
        for program in programs.iterdir():
            program.chmod(0o755)
        environment = os.environ | {"CLUSTERS": "1", "PATH": f"{programs}:{os.environ['PATH']}"}
        command = ["bash", str(tmp_path / ".ci/setup")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        return done, (tmp_path / "asked").read_text()

    return call


def test_the_set_up_for_clusters_installs_the_extras_alone_and_is_done_once(set_up, tmp_path):
    done, asked = set_up(0)
    assert done.returncode == 0, done.stderr
    assert asked == "pip install --python .venv/bin/python -e .[cluster,stores,docs,examples,notebook,log]\n"
    assert (tmp_path / ".venv/.clusters").exists()
    assert not (tmp_path / ".venv/.installed").exists()


def test_what_the_set_up_cannot_have_is_named_and_tried_again_the_next_time(set_up, tmp_path):
    done, _ = set_up(1)
    assert done.returncode == 0
    assert "NO Ray, moto, mkdocs, lightly, datasets, nbclient, wandb" in done.stderr
    assert not (tmp_path / ".venv/.clusters").exists()
