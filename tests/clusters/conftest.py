"""Fixtures of the tests that cross machines: a real S3 server, two hosts. What is not installed skips its tests."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from viewstream.shards.manifest import Manifest

from ..trainers.small_runs import SMALL_WORDS
from .hosts import ROOT, Host, two_hosts
from .proxy import Proxy, proxied
from .s3 import BUCKET, environment, s3_server


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    for package in ("moto", "s3fs"):
        pytest.importorskip(
            package, reason=f"{package} is not installed: the extra 'cluster' and moto[server] bring it"
        )
    with s3_server() as port:
        yield port


@pytest.fixture
def bucket(s3_port: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """s3://BUCKET, which this process and its children reach through their environment."""
    for name, value in environment(s3_port).items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}"


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    """Two hosts whose network, names and processes are their own, and whose disk is shared."""
    with two_hosts(tmp_path) as pair:
        yield pair


@pytest.fixture
def training(built: Manifest) -> Callable[..., list[object]]:
    """(out, more words) -> the command that trains MoCo there."""
    first = [ROOT / "trainers/train.py", "--method", "moco", "--loader", "webdataset", "--data", built.root]
    return lambda out, *more: [*first, *SMALL_WORDS, "--out", out, *more]


@pytest.fixture
def undisturbed(training: Callable[..., list[object]], tmp_path: Path, program: Callable[..., Any]):
    """(more words) -> the folder of a run of two ranks on one host."""

    def train(*more):
        done = program(*training(tmp_path / "whole", *more, "--ranks", 2))
        assert done.returncode == 0, done.stderr
        return tmp_path / "whole"

    return train


@pytest.fixture
def faulty(bucket: str, s3_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy in front of the S3 server, which this process and its children reach through it from now on."""
    from s3fs import S3FileSystem

    with proxied(s3_port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        S3FileSystem.clear_instance_cache()  # connected to another address
        yield proxy
    S3FileSystem.clear_instance_cache()
