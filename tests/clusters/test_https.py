"""Sets on a real nginx over https and on S3 through it: private certificates, wrong ones, a limit of requests."""

import re
import shutil

import pytest

from viewstream.shards.building.build import BuildOptions, build

from ..trainers.small_runs import EVERY, WORDS
from .nginx import nginx

VERIFY = "tools/verify_shards.py"
pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(
        not (shutil.which("nginx") and shutil.which("openssl")), reason="nginx and openssl are not installed"
    ),
]


@pytest.fixture(scope="module")
def served(pets, tmp_path_factory):
    """A folder with the set `many`, of many tars and a .beton."""
    root = tmp_path_factory.mktemp("served")
    options = {"format": ("webdataset", "ffcv"), "shard_size": "60KB", "workers": 1}
    build(BuildOptions(source=pets, out=root / "many", **options))
    return root


def assert_one_line(done, *facts):
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    for fact in facts:
        assert re.search(fact, done.stderr), done.stderr


def test_a_set_over_https_with_a_private_certificate_is_verified_and_trained_from(served, tmp_path, program):
    with nginx(tmp_path, f"root {served};") as port:
        url, trusted = f"https://127.0.0.1:{port}/many", {"SSL_CERT_FILE": str(tmp_path / "ca.pem")}
        assert program(VERIFY, url, **trusted).returncode == 0
        (tmp_path / "access.log").write_text("")  # verification asks for sizes
        for loader in ("webdataset", "ffcv"):
            words = (*EVERY[:-1], loader, *WORDS["moco"], "--cache", tmp_path / "cache", "--out", tmp_path / loader)
            done = program("trainers/train.py", "--method", "moco", "--data", url, *words, **trusted)
            assert done.returncode == 0, done.stderr
    log = (tmp_path / "access.log").read_text()
    assert '" 206 ' in log
    assert not re.search(r'"HEAD|"GET /many/? ', log)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_certificate_that_is_not_trusted_is_one_line_that_names_the_remedy(served, tmp_path, program, host):
    with nginx(tmp_path, f"root {served};") as port:
        trusted = {"SSL_CERT_FILE": str(tmp_path / "ca.pem")} if host == "localhost" else {}
        done = program(VERIFY, f"https://{host}:{port}/many", **trusted)
    reason = "Hostname mismatch" if trusted else "self-signed certificate"
    assert_one_line(done, rf"the certificate of the server is not trusted \({reason}", "SSL_CERT_FILE=ca.pem")


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", ""])
def test_s3_over_https_with_a_private_certificate(pets, bucket, s3_port, tmp_path, program, variable):
    place = f"location / {{ proxy_pass http://127.0.0.1:{s3_port}; proxy_set_header Host $http_host; }}"
    with nginx(tmp_path, place) as port:
        there = {"AWS_ENDPOINT_URL": f"https://127.0.0.1:{port}"}
        trusted = {variable: str(tmp_path / "ca.pem")} if variable else {}
        out = f"{bucket}/https/{variable}"
        words = ("--source", pets, "--out", out, "--workers", "1")
        done = program("tools/build_shards.py", *words, **there, **trusted)
        if not variable:
            facts = (r"the certificate of the server is not trusted \(self-signed certificate", "AWS_CA_BUNDLE=ca.pem")
            return assert_one_line(done, *facts)
        assert done.returncode == 0, done.stderr
        assert program(VERIFY, out, **there, **trusted).returncode == 0


def test_a_server_that_limits_requests_gets_its_time(served, tmp_path, program):
    with nginx(tmp_path, f"root {served};", rate=20) as port:
        done = program(VERIFY, f"https://127.0.0.1:{port}/many", SSL_CERT_FILE=str(tmp_path / "ca.pem"))
    assert done.returncode == 0, done.stderr
    assert '" 429 ' in (tmp_path / "access.log").read_text()
