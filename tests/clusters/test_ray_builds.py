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
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg

from viewstream.shards.building.build import BuildOptions, build

from ..conftest import ROOT
from .rays import FAULTS, kill_driver, started, two_nodes, wait_for
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


def words(source: Path, out: object, size: str, address: str, *more: str) -> list[str]:
    return [*BUILD, "--source", str(source), "--out", str(out), "--shard-size", size, "--address", address, *more]


def local(source: Path, out: Path, size: str, **more: bool) -> dict[str, bytes]:
    """The set that the local engine builds."""
    build(BuildOptions(source=source, out=out, shard_size=size, **more))
    return contents(out)


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def downloaded(url: str) -> dict[str, bytes]:
    import s3fs

    fs, root = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False), url.removeprefix("s3://")
    return {path.removeprefix(f"{root}/"): fs.cat_file(path) for path in fs.find(root)}


def well(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=500)
    assert done.returncode == 0, done.stdout


@pytest.mark.full
@pytest.mark.parametrize(("images", "size"), [("photographs", "1MB"), ("tiny", "4MB")])
@pytest.mark.parametrize("to", ["a folder", "a bucket"])
def test_a_set_built_on_ray_is_that_of_the_local_engine(request, cluster, bucket, tmp_path, images, size, to):
    source = request.getfixturevalue(images)
    same = local(source, tmp_path / "local", size)
    assert sum(name.endswith(".tar") for name in same) >= 8
    out = tmp_path / "set" if to == "a folder" else f"{bucket}/ray/{images}"
    well(words(source, out, size, cluster.address))
    assert (contents(Path(out)) if to == "a folder" else downloaded(str(out))) == same


@pytest.mark.full
@pytest.mark.parametrize("to", ["a folder", "a bucket"])
def test_a_build_that_loses_workers_nodes_and_drivers_ends_in_the_same_bytes(
    cluster, bucket, photographs, tmp_path, to
):
    """Five times each, when a random number of units is finished, after which the same command is given again."""
    same, rng = local(photographs, tmp_path / "local", "2MB", keep=True), random.Random(f"{SEED} {to}")
    out = str(tmp_path / "set") if to == "a folder" else f"{bucket}/killed"
    command = words(photographs, out, "2MB", cluster.address, "--keep")
    units = sum(name.endswith(".tar") for name in same)
    faults = [*FAULTS, *rng.choices([*FAULTS], k=2)]
    rng.shuffle(faults)
    driver = started(command)
    for fault, moment in zip(faults, sorted(rng.sample(range(units - 5), 5)), strict=True):
        assert wait_for(moment, out, driver), driver.communicate()
        time.sleep(rng.uniform(0, 0.5))
        FAULTS[fault](cluster, driver, rng)
        if FAULTS[fault] is kill_driver:
            driver.communicate()
            driver = started(command)
    text, _ = driver.communicate(timeout=500)
    assert driver.returncode == 0, text
    assert (contents(Path(out)) if to == "a folder" else downloaded(out)) == same


@pytest.mark.full
def test_ctrl_c_ends_in_one_line_and_the_same_command_goes_on(cluster, photographs, tmp_path):
    command = words(photographs, tmp_path / "set", "2MB", cluster.address, "--keep")
    driver = started(command)
    assert wait_for(3, str(tmp_path / "set"), driver), driver.communicate()
    driver.send_signal(signal.SIGINT)
    text, _ = driver.communicate(timeout=60)
    assert (driver.returncode, text) == (130, "interrupted: the same command goes on from there\n")
    well(command)
    assert contents(tmp_path / "set") == local(photographs, tmp_path / "local", "2MB", keep=True)


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
        command = words(photographs, tmp_path / "set", "2MB", cluster.address, "--keep")
        # Workers look into the driver's folder first: in a checkout they would find its own viewstream.egg-info.
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
        words_ = rf"error: \S+ has {package} 9.9, this build was started with {package} \S+: install the same version"
        assert done.returncode == 2
        assert re.match(words_, done.stderr), done.stderr
        assert done.stderr.count("\n") == 1
    finally:
        cluster.remove_node(other)
