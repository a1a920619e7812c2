"""Fixtures of the tests that cross machines: a real S3 server. What is not installed skips its tests."""

from collections.abc import Iterator

import pytest

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
