"""Fixtures of the tests that cross machines: a real S3 server. What is not installed skips its tests."""

from collections.abc import Iterator

import pytest

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
def faulty(bucket: str, s3_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy in front of the S3 server, which this process and its children reach through it from now on."""
    from s3fs import S3FileSystem

    with proxied(s3_port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        S3FileSystem.clear_instance_cache()  # connected to another address
        yield proxy
    S3FileSystem.clear_instance_cache()
