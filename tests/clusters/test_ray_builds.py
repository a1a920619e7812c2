"""Builds on a real Ray of two nodes are byte-identical to local ones, whatever is killed on the way."""

import io
import os
import random
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg

from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.building.folder import BUILDING
from viewstream.shards.building.target import target

from ..conftest import ROOT
from .rays import two_nodes
from .s3 import environment

BUILD = [sys.executable, str(ROOT / "tools/build_shards.py"), "--engine", "ray"]
SEED = 19


@pytest.fixture(scope="module")
def cluster(s3_port: int) -> Iterator[Any]:
    pytest.importorskip("ray", reason="ray is not installed: the extra 'cluster' brings it")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(s3_port).items():  # workers have that of their node
            patch.setenv(name, value)
        with two_nodes() as cluster:
            yield cluster


@pytest.fixture(scope="module")
def photographs(shared: Path) -> Path:
    """500 photographs of ImageNet."""
    return shared / "data/imagenet-sample.tar"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tar of 20,000 images of 8 px in ten classes."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("tiny") / "tiny.tar"
    with tarfile.open(path, "w") as tar:
        for number, pixels in enumerate(rng.integers(0, 256, (20_000, 8, 8, 3), np.uint8)):
            jpeg = simplejpeg.encode_jpeg(pixels, 90)
            member = tarfile.TarInfo(f"train/class{number % 10}/{number:05d}.JPEG")
            member.size = len(jpeg)
            tar.addfile(member, io.BytesIO(jpeg))
    return path


def words(source: Path, out: object, size: str, address: str) -> list[str]:
    return [*BUILD, "--source", str(source), "--out", str(out), "--shard-size", size, "--address", address]


def local(source: Path, out: Path, size: str) -> dict[str, bytes]:
    """The set that the local engine builds."""
    build(BuildOptions(source=source, out=out, shard_size=size))
    return contents(out)


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def downloaded(url: str) -> dict[str, bytes]:
    import fsspec

    fs, root = fsspec.core.url_to_fs(url)
    fs.invalidate_cache()
    return {name.removeprefix(f"{root}/"): data for name, data in fs.cat(root, recursive=True).items()}


def well(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=500)
    assert done.returncode == 0, done.stdout


@pytest.mark.full
@pytest.mark.parametrize(("images", "size"), [("photographs", "4MB"), ("tiny", "2MB")])
@pytest.mark.parametrize("to", ["a folder", "a bucket"])
def test_a_set_built_on_ray_is_that_of_the_local_engine(request, cluster, bucket, tmp_path, images, size, to):
    source = request.getfixturevalue(images)
    same = local(source, tmp_path / "local", size)
    assert sum(name.endswith(".tar") for name in same) >= 8
    out = tmp_path / "set" if to == "a folder" else f"{bucket}/{images}"
    well(words(source, out, size, cluster.address))
    assert (contents(Path(out)) if to == "a folder" else downloaded(str(out))) == same


def workers() -> list[int]:
    """Processes that work on a task: children of nodes, which are children of this process."""
    found = [os.getpid()]
    for pid in found:
        with suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return [pid for pid in found if b"ray::_worked" in command_of(pid)]


def command_of(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def kill_worker(cluster: Any, rng: random.Random) -> None:
    if found := workers():  # else it was between two tasks
        with suppress(ProcessLookupError):
            os.kill(rng.choice(found), signal.SIGKILL)


def lose_node(cluster: Any, rng: random.Random) -> None:
    """The second node is lost, and another one joins."""
    cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
    cluster.add_node(num_cpus=1)


def kill_driver(cluster: Any, rng: random.Random) -> None:
    """None of the others; the caller does it."""


def finished(out: str) -> int:
    """How many units have a record."""
    with suppress(FileNotFoundError):
        return sum(name.endswith(".parquet") for name in target(out).names(BUILDING))
    return 0


@pytest.mark.full
@pytest.mark.parametrize("to", ["a folder", "a bucket"])
def test_a_build_that_loses_workers_nodes_and_drivers_ends_in_the_same_bytes(
    cluster, bucket, photographs, tmp_path, to
):
    """Five times each, when a random number of units is finished, after which the same command is given again."""
    same, rng = local(photographs, tmp_path / "local", "1MB"), random.Random(f"{SEED} {to}")
    out = str(tmp_path / "set") if to == "a folder" else f"{bucket}/killed"
    command = words(photographs, out, "1MB", cluster.address)
    units = sum(name.endswith(".tar") for name in same)
    faults = [kill_worker, lose_node, kill_driver, *rng.choices([kill_worker, lose_node, kill_driver], k=2)]
    rng.shuffle(faults)
    driver = started(command)
    for fault, moment in zip(faults, sorted(rng.sample(range(units - 5), 5)), strict=True):
        while finished(out) < moment:
            assert driver.poll() is None, driver.communicate()
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 0.5))
        fault(cluster, rng)
        if fault is kill_driver:
            driver.kill()
            driver.communicate()
            driver = started(command)
    text, _ = driver.communicate(timeout=500)
    assert driver.returncode == 0, text
    assert (contents(Path(out)) if to == "a folder" else downloaded(out)) == same


def started(command: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.full
def test_ctrl_c_ends_in_one_line_and_the_same_command_goes_on(cluster, photographs, tmp_path):
    command = words(photographs, tmp_path / "set", "1MB", cluster.address)
    driver = started(command)
    while finished(str(tmp_path / "set")) < 3:
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.05)
    driver.send_signal(signal.SIGINT)
    text, _ = driver.communicate(timeout=60)
    assert (driver.returncode, text) == (130, "interrupted\n")
    well(command)
    assert contents(tmp_path / "set") == local(photographs, tmp_path / "local", "1MB")


@pytest.mark.full
@pytest.mark.parametrize("package", ["viewstream", "simplejpeg", "pillow"])
def test_a_node_with_another_version_is_refused_by_name(cluster, photographs, tmp_path, monkeypatch, package):
    """A node whose packages say that they are of version 9.9."""
    (tmp_path / f"{package}-9.9.dist-info").mkdir()
    (tmp_path / f"{package}-9.9.dist-info/METADATA").write_text(f"Name: {package}\nVersion: 9.9\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    other = cluster.add_node(num_cpus=2)
    monkeypatch.undo()
    try:
        command = words(photographs, tmp_path / "set", "1MB", cluster.address)
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        words_ = rf"error: \S+ has {package} 9.9, this build was started with {package} \S+: install the same version"
        assert done.returncode == 2
        assert re.match(words_, done.stderr), done.stderr
        assert done.stderr.count("\n") == 1
    finally:
        cluster.remove_node(other)
