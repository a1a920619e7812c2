"""Sets that are built onto a real S3 server, by several processes, killed and cut off: those of a build to a folder."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg

from viewstream.shards.building import object_store
from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.errors import UserError

from ..shards.conftest import _digests, _grow
from ..shards.sources.packed import pack
from .s3 import BUCKET, environment, s3_server

pytestmark = pytest.mark.full
PROGRAM = "tools/build_shards.py"
ROOT = Path(__file__).parents[2]
CHANGES = {"shard_size": "250KB", "raw_fraction": 0.2}


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """480 images in eight classes, three of them damaged."""
    tree = _grow(tmp_path_factory.mktemp("trees") / "pets", {f"pet{n}": 60 for n in range(8)}, side=120)
    for path in sorted(tree.rglob("*_7.JPEG"))[:3]:
        path.write_bytes(b"damaged")
    return tree


@pytest.fixture(scope="module")
def whole(trees: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """{file: sha256} of the set in a local folder."""
    out = tmp_path_factory.mktemp("whole") / "set"
    return _digests(build(BuildOptions(source=trees, out=out, on_error="skip", workers=2, **CHANGES)).root)


def store(name: str) -> tuple[Any, str]:
    """The file system, and a path in the bucket."""
    import s3fs

    return s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False), f"{BUCKET}/{name}"


def finished(fs: Any, root: str) -> list[str]:
    """The records of a build. Their folder may go while fsspec looks at it: a build tries there what the store can."""
    try:
        return fs.glob(f"{root}/building/*.parquet")
    except FileNotFoundError:
        return []


def objects(name: str) -> dict[str, str]:
    """{object: sha256} below a name in the bucket."""
    fs, root = store(name)
    return {path.removeprefix(f"{root}/"): hashlib.sha256(fs.cat_file(path)).hexdigest() for path in fs.find(root)}


def uploads() -> list[str]:
    """The keys of uploads that were begun and neither completed nor aborted."""
    fs, _ = store("")
    return [line["Key"] for line in fs.call_s3("list_multipart_uploads", Bucket=BUCKET).get("Uploads", ())]


def words(source: Path, out: str, workers: int) -> list[str]:
    options = ("--shard-size", "250KB", "--raw-fraction", "0.2", "--on-error", "skip", "--workers", workers)
    return [sys.executable, PROGRAM, *map(str, ("--source", source, "--out", out, *options))]


def start(source: Path, out: str, workers: int) -> "subprocess.Popen[str]":
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": ROOT}
    return subprocess.Popen(words(source, out, workers), **pipes)  # pyright: ignore


@pytest.mark.parametrize("workers", [1, 3])
def test_a_set_on_s3_is_that_of_a_local_build(workers, bucket, trees, whole):
    out = f"{bucket}/sets/w{workers}"
    build(BuildOptions(source=trees, out=out, workers=workers, on_error="skip", **CHANGES))
    assert objects(f"sets/w{workers}") == whole
    with pytest.raises(UserError, match="already holds a complete data set"):
        build(BuildOptions(source=trees, out=out))


@pytest.mark.parametrize("kind", ["parquet", "webdataset"])
def test_a_packed_source_gives_the_same_set_on_s3(kind, bucket, tmp_path):
    tree = _grow(tmp_path / "pets", {"cat": 30, "dog": 20})
    source = tmp_path / kind / pack(tree, kind, tmp_path / kind)
    options = {"source": source, "shard_size": "50KB", "keep": True}
    local = build(BuildOptions(out=tmp_path / "whole", workers=1, **options))
    build(BuildOptions(out=f"{bucket}/packed/{kind}", workers=2, **options))
    assert objects(f"packed/{kind}") == _digests(local.root)


@pytest.mark.parametrize("seed", range(10))
def test_a_build_to_s3_whose_driver_is_killed_at_any_moment_ends_byte_identical(seed, bucket, trees, whole):
    rng, name = random.Random(seed), f"kills/{seed}"
    fs, root = store(name)
    for _ in range(2):
        child = start(trees, f"{bucket}/{name}", 1 + seed % 3)
        while not fs.exists(f"{root}/building/options.json"):
            assert child.poll() is None, child.communicate()
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 4))
        child.send_signal(signal.SIGKILL)
        child.communicate()
        if fs.exists(f"{root}/dataset.json"):
            break
    child = start(trees, f"{bucket}/{name}", 2)
    said = child.communicate()[0]
    assert child.returncode == 0 or "already holds a complete data set" in said, said
    assert objects(name) == whole


def test_a_build_to_s3_that_loses_a_worker_says_so_and_continues(bucket, trees, whole):
    child = start(trees, f"{bucket}/worker", 2)
    children = Path(f"/proc/{child.pid}/task/{child.pid}/children")
    fs, root = store("worker")
    while not finished(fs, root):
        assert child.poll() is None, child.communicate()
    workers = [
        int(pid) for pid in children.read_text().split() if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    os.kill(workers[0], signal.SIGKILL)
    said = child.communicate()[0]
    assert child.returncode == 2, said
    assert "a worker process died" in said
    assert "the same command continues from there" in said
    assert subprocess.run(words(trees, f"{bucket}/worker", 2), cwd=ROOT, capture_output=True).returncode == 0
    assert objects("worker") == whole


def test_of_two_builds_of_one_set_on_s3_one_is_refused(bucket, trees, whole):
    ends = [(child, child.communicate()[0]) for child in [start(trees, f"{bucket}/two", 1) for _ in range(2)]]
    (_, done), (_, refused) = sorted(ends, key=lambda end: end[0].returncode)
    assert sorted(child.returncode for child, _ in ends) == [0, 2], (done, refused)
    assert "is writing s3://bucket/two: wait for it" in refused or "already holds a complete data set" in refused
    assert objects("two") == whole


@pytest.fixture
def large(tmp_path, monkeypatch):
    """Options of a build whose tar goes up in several parts, with the calls to S3 in `calls`."""
    monkeypatch.setattr(object_store, "PART", 5 << 20)
    (tmp_path / "large/train/cat").mkdir(parents=True)
    noise = simplejpeg.encode_jpeg(np.random.default_rng(0).integers(0, 256, (800, 800, 3), np.uint8), 92)
    for n in range(16):
        (tmp_path / f"large/train/cat/cat_{n}.JPEG").write_bytes(noise)
    return {"source": tmp_path / "large", "keep": True, "format": ("webdataset",), "workers": 1}


def test_parts_of_an_upload_that_fail_are_sent_again(bucket, large, tmp_path, monkeypatch):
    import s3fs

    call, calls = s3fs.S3FileSystem._call_s3, []

    async def faulty(self, method, *args, **kwargs):
        calls.append(method)
        if method == "upload_part" and calls.count(method) in (1, 4):
            raise ConnectionResetError("the network is gone")
        return await call(self, method, *args, **kwargs)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", faulty)
    build(BuildOptions(out=f"{bucket}/parts", **large))
    assert calls.count("upload_part") > 4
    assert uploads() == []
    assert objects("parts") == _digests(build(BuildOptions(out=tmp_path / "whole", **large)).root)


@pytest.mark.parametrize("method", ["upload_part", "complete_multipart_upload"])
def test_an_upload_that_never_ends_leaves_no_object_and_no_parts(method, bucket, large, tmp_path, monkeypatch):
    import s3fs

    call = s3fs.S3FileSystem._call_s3

    async def faulty(self, name, *args, **kwargs):
        if name == method:
            raise ConnectionResetError("the network is gone")
        return await call(self, name, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(s3fs.S3FileSystem, "_call_s3", faulty)
        with pytest.raises(
            UserError, match=r"the store or the network fails .*: when it answers, the same command contin"
        ):
            build(BuildOptions(out=f"{bucket}/{method}", **large))
    assert objects(method) == {}
    assert uploads() == []
    build(BuildOptions(out=f"{bucket}/{method}", **large))
    assert objects(method) == _digests(build(BuildOptions(out=tmp_path / "whole", **large)).root)


def test_uploads_that_killed_programs_left_are_aborted_and_those_of_others_stay(bucket, trees, whole):
    fs, _ = store("left")
    for key in ("left/pets-full-train-000000.tar", "left-of-others"):
        fs.call_s3("create_multipart_upload", Bucket=BUCKET, Key=key)
    build(BuildOptions(source=trees, out=f"{bucket}/left", on_error="skip", workers=2, **CHANGES))
    assert uploads() == ["left-of-others"]
    assert objects("left") == whole
    fs.clear_multipart_uploads(BUCKET)


def test_a_bucket_that_is_absent_or_refuses_and_a_missing_package_are_one_line(bucket, trees, monkeypatch, program):
    absent = program(PROGRAM, "--source", trees, "--out", "s3://absent/set")
    assert (absent.returncode, absent.stderr.count("\n")) == (2, 1)
    assert "s3://absent/set cannot be written: there is no such bucket, make it first" in absent.stderr
    monkeypatch.setenv("INITIAL_NO_AUTH_ACTION_COUNT", "1")  # moto asks for rights after the bucket is made
    with s3_server() as port:
        refused = program(PROGRAM, "--source", trees, "--out", f"{bucket}/set", **environment(port))
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "is refused" in refused.stderr
    assert "see that your credentials may list, read, write and delete there" in refused.stderr
    hidden = "import sys, runpy; sys.modules['s3fs'] = None; del sys.argv[0]"
    missing = program(
        "-c",
        f"{hidden}; runpy.run_path(sys.argv[0], run_name='__main__')",
        PROGRAM,
        "--source",
        trees,
        "--out",
        f"{bucket}/set",
    )
    assert missing.returncode == 2, missing.stderr
    assert "pip install 'viewstream[remote]' brings it" in missing.stderr


def test_a_server_that_goes_away_in_the_middle_ends_a_build_in_one_line(trees, whole, monkeypatch):
    with s3_server() as port:
        for name, value in environment(port).items():
            monkeypatch.setenv(name, value)
        child = start(trees, "s3://bucket/gone", 2)
        fs, root = store("gone")
        while not finished(fs, root):
            assert child.poll() is None, child.communicate()
    said = child.communicate()[0]
    assert child.returncode == 2, said
    assert "when it answers, the same command continues" in said.splitlines()[-1]
    assert "Traceback" not in said


def test_20_000_tiny_images_and_500_photographs_are_the_same_on_s3(bucket, tmp_path, shared):
    import tarfile

    with tarfile.open(shared / "data/imagenet-sample.tar") as archive:
        archive.extractall(tmp_path / "photographs", filter="data")
    tiny = _grow(tmp_path / "tiny", {"cat": 1}, side=12)
    data = (tiny / "train/cat/cat_0.JPEG").read_bytes()
    for n in range(1, 20_000):
        path = tiny / f"train/class{n % 20}/image{n}.JPEG"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    for name, source, size in (("tiny", tiny, "10MB"), ("photographs", tmp_path / "photographs", "4MB")):
        options = {"source": source, "shard_size": size, "raw_fraction": 0.01}
        local = build(BuildOptions(out=tmp_path / name / "whole", **options))
        build(BuildOptions(out=f"{bucket}/{name}", workers=2, **options))
        assert objects(name) == _digests(local.root)
