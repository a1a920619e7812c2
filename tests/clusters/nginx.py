"""A real nginx on loopback over https, with a certificate of its own."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .s3 import free_port, wait_for

CONFIGURATION = """
daemon off; pid {work}/pid; error_log {work}/error.log; user root; worker_processes 1;
events {{ worker_connections 64; }}
http {{
    access_log {work}/access.log; client_max_body_size 0;
    client_body_temp_path {work}/body; proxy_temp_path {work}/proxied; fastcgi_temp_path {work}/f;
    uwsgi_temp_path {work}/u; scgi_temp_path {work}/s;
    limit_req_zone $binary_remote_addr zone=all:1m rate={rate}r/s;
    server {{
        listen 127.0.0.1:{port} ssl; ssl_certificate {work}/ca.pem; ssl_certificate_key {work}/key.pem;
        limit_req zone=all; limit_req_status 429;
        {place}
    }}
}}
"""


def certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that no authority has signed, and its key beside it."""
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=stand-in -addext subjectAltName=IP:127.0.0.1"
    files = ("-keyout", folder / "key.pem", "-out", folder / "ca.pem")
    subprocess.run(["openssl", *words.split(), *map(str, files)], check=True, capture_output=True)
    return folder / "ca.pem"


@contextmanager
def nginx(work: Path, place: str, rate: int = 100_000) -> Iterator[int]:
    """The port of a server of what `place` says (`root ...;` or `location ...`), with the certificate work/ca.pem. It
    answers 429 to more than `rate` requests per second."""
    certificate(work)
    port = free_port()
    (work / "nginx.conf").write_text(CONFIGURATION.format(work=work, port=port, place=place, rate=rate))
    server = subprocess.Popen(["nginx", "-p", str(work), "-c", str(work / "nginx.conf")], stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        yield port
    finally:
        server.terminate()
        server.wait()
