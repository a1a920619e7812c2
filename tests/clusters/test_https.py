"""Sets on a real nginx over https and on S3 through it: private certificates, wrong ones, a limit of requests."""

import re
import shlex
import shutil

import pytest

from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.sources.servers import file_system

from ..trainers.small_runs import EVERY, SMALL_WORDS, WORDS
from .nginx import nginx
from .page import commands

VERIFY = "tools/verify_shards.py"
FORWARD = "location / {{ proxy_pass http://127.0.0.1:{port}; proxy_set_header Host $http_host; }}"
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


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", ""])
def test_s3_over_https_with_a_private_certificate(pets, bucket, s3_port, tmp_path, program, variable):
    with nginx(tmp_path, FORWARD.format(port=s3_port)) as port:
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


def test_the_commands_for_throttling_work_as_they_are_printed(served, bucket, s3_port, tmp_path, program):
    folders = {scheme: tmp_path / scheme for scheme in ("https", "s3")}
    for folder in folders.values():
        folder.mkdir()
    store, root = file_system(f"{bucket}/imagenet-train")
    store.put(str(served / "many"), root, recursive=True)
    places = f"location /imagenet-train/ {{ alias {served}/many/; }}", FORWARD.format(port=s3_port)
    with nginx(folders["https"], places[0]) as web, nginx(folders["s3"], places[1]) as s3:
        for command in commands("Throttling"):
            name = "s3" if "s3://" in command else "https"
            authority = str(folders[name] / "ca.pem")
            words = shlex.split(command.replace("https://host", f"https://127.0.0.1:{web}"))
            given = dict(word.split("=") for word in words[: words.index("python")])
            assert set(given.values()) <= {"ca.pem"}
            given = dict.fromkeys(given, authority) or {"SSL_CERT_FILE": authority}
            script, *rest = words[words.index("python") + 1 :]
            if script == "trainers/train.py":
                rest += [*SMALL_WORDS, "--cache", tmp_path / "cache", "--out", tmp_path / "run"]
            done = program(script, *rest, **given, AWS_ENDPOINT_URL=f"https://127.0.0.1:{s3}")
            assert done.returncode == 0, f"{command}\n{done.stderr}"
    store.rm(root, recursive=True)  # other tests of the worker build a set there
