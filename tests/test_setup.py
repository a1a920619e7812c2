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

    def call(code, installer="uv"):
        (programs / installer).write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\nexit {code}\n')
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


def test_pip_is_asked_for_uv_alone_which_resolves_the_extras_in_seconds(set_up, tmp_path):
    python = tmp_path / ".venv/bin/python"
    made = f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\nln -s ../../programs/pip_uv {tmp_path}/.venv/bin/uv\n'
    python.parent.mkdir()
    python.write_text(made)
    python.chmod(0o755)
    done, asked = set_up(0, "pip_uv")
    assert done.returncode == 0, done.stderr
    assert asked.splitlines() == [
        "-m pip install --no-compile --progress-bar off uv",
        "pip install --python .venv/bin/python -e .[cluster,stores,docs,examples,notebook,log]",
    ]


def test_clusters_without_a_venv_ends_with_one_line(set_up, tmp_path):
    shutil.rmtree(tmp_path / ".venv")
    (tmp_path / "asked").touch()
    done, asked = set_up(0)
    assert (done.returncode, asked) == (1, "")
    assert done.stderr.splitlines() == [
        "set-up: CLUSTERS=1 adds to a finished .venv, and there is none: make setup makes it"
    ]
