"""A real S3 server on loopback, that of moto, and one bucket in it."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

KEYS = {
    "AWS_ACCESS_KEY_ID": "key-of-the-tests",
    "AWS_SECRET_ACCESS_KEY": "secret-of-the-tests",
    "AWS_DEFAULT_REGION": "us-east-1",
}
BUCKET = "bucket"


def free_port() -> int:
    """A port that nothing listens at now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def wait_for(port: int, host: str = "127.0.0.1", seconds: float = 30) -> None:
    """Wait until something listens at a port."""
    until = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host, port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def environment(port: int) -> Mapping[str, str]:
    """What a program finds the server by."""
    return {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}


@contextmanager
def s3_server(host: str = "127.0.0.1") -> Iterator[int]:
    """The port of a server whose only bucket, BUCKET, is empty."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", host, "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port, host)
        make_bucket(port, host)
        yield port
    finally:
        server.kill()
        server.wait()


def make_bucket(port: int, host: str) -> None:
    import boto3

    names = {name.lower(): value for name, value in KEYS.items() if name.startswith("AWS_") and "KEY" in name}
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1", **names)
    client.create_bucket(Bucket=BUCKET)
