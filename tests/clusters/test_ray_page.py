"""The commands of the section on Ray in docs/clusters.md, as they stand there, on this machine."""

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest

from viewstream.shards.building.build import BuildOptions, build

from ..conftest import ROOT
from .page import commands
from .s3 import free_port
from .test_ray_builds import contents, downloaded

APART = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]  # so that `ray stop` ends no other Ray


def test_the_first_command_installs_an_extra_that_exists():
    (extra,) = re.findall(r"^pip install '\.\[(\w+)\]'", commands("Build on a Ray cluster")[0])
    assert any(need.startswith("ray") for need in extras()[extra])


def extras() -> dict[str, list[str]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.mark.full
@pytest.mark.parametrize("mode", ["disabled", "token"])
def test_the_other_four_start_a_cluster_build_a_set_on_it_and_stop_it(bucket, pets, tmp_path, mode):
    pytest.importorskip("ray", reason="ray is not installed: the extra 'cluster' brings it")
    if subprocess.run([*APART, "true"], capture_output=True).returncode:
        pytest.skip("unshare is not allowed here: `ray stop` would end every Ray of this machine")
    assert len(commands("Build on a Ray cluster")) == 5
    script = "\n".join(commands("Build on a Ray cluster")[1:])
    port, python = str(free_port()), Path(sys.executable).parent
    out = f"{bucket}/{mode}"
    for word, ours in {
        "6379": port,
        "HEAD:": "127.0.0.1:",
        "/data/imagenet": str(pets),
        "s3://bucket/imagenet": out,
    }.items():
        assert word in script
        script = script.replace(word, ours)
    home = tempfile.mkdtemp(dir="/tmp", prefix="ray-")  # short: names of sockets have at most 107 letters
    try:
        begin = f"export PATH={python}:$PATH RAY_TMPDIR={home} HOME={home} RAY_AUTH_MODE={mode}; cd {ROOT}; set -e\n"
        begin += "ray get-auth-token --generate\n" if mode == "token" else ""
        done = subprocess.run([*APART, "bash", "-c", begin + script], capture_output=True, text=True, timeout=300)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    assert done.returncode == 0, done.stdout + done.stderr
    build(BuildOptions(source=pets, out=tmp_path / "local"))
    assert downloaded(out) == contents(tmp_path / "local")
