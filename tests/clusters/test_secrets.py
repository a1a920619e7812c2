"""Keys of S3, logins and signatures: nothing that a build, a run or Ray wrote holds them, however they were given."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from viewstream.shards.redaction import HIDDEN

from ..guarded import QUERY, SECRETS, assert_no_secret, guarded
from ..trainers.small_runs import EVERY, WORDS

pytestmark = pytest.mark.full
KEY, SECRET, TOKEN = "AKIAOFTHETESTS", "wJalrXUtnFEMI", "FwoGZXIvYXdz"
KEYS = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": TOKEN}
HIDE = (*SECRETS, KEY, SECRET, TOKEN)
BUILD, VERIFY, INSPECT = "tools/build_shards.py", "tools/verify_shards.py", "tools/inspect_shards.py"


def assert_hidden(*texts: str | bytes) -> None:
    for text in texts:
        data = text.encode() if isinstance(text, str) else text
        assert not [secret for secret in HIDE if secret.encode() in data], data[:2000]


def assert_hidden_below(folder: Path) -> int:
    """Neither names nor contents of files below `folder` hold a secret; how many files there are."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        assert_hidden(str(path.relative_to(folder)), path.read_bytes())
    return len(files)


@pytest.fixture(params=["environment", "file"])
def keys(request, faulty, tmp_path, monkeypatch):
    """Keys of S3 in the environment or in ~/.aws; the proxy keeps what is written to the bucket."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value) if request.param == "environment" else monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    (home / ".aws").mkdir(parents=True)
    if request.param == "file":
        lines = [f"{name.lower()} = {value}" for name, value in KEYS.items()]
        (home / ".aws" / "credentials").write_text("\n".join(["[default]", *lines]))
    monkeypatch.setenv("HOME", str(home))
    (tmp_path / "work" / "tmp").mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "work" / "tmp"))
    return request.param


def test_nothing_that_is_built_verified_and_trained_on_s3_holds_a_secret(keys, pets, bucket, faulty, tmp_path, program):
    work, out, outputs = tmp_path / "work", f"{bucket}/secrets/{keys}", []
    with guarded(pets.parent) as server:
        source = f"{server.url}/{pets.name}{QUERY}"
        lost = next((pets / "train").rglob("*_3.JPEG")).name
        server.faults = {lost: "404"}
        build = (BUILD, "--source", source, "--out", out, "--workers", "2", "--on-error", "skip")
        outputs.append(program(*build))
        assert HIDDEN in outputs[0].stdout + outputs[0].stderr
    outputs += [program(VERIFY, out), program(INSPECT, out, "--no-picture")]
    outputs.append(program("tools/stage_shards.py", out, "--stage", work / "stage", "--loader", "webdataset"))
    words = (*EVERY, *WORDS["moco"], "--cache", work / "cache", "--out", work / "run")
    outputs.append(program("trainers/train.py", "--method", "moco", "--data", out, *words))
    for done in outputs:
        assert done.returncode == 0, done.stderr
        assert_hidden(done.stdout, done.stderr)
    assert_hidden_below(work)
    assert len(faulty.written) > 20
    assert_hidden(*faulty.written)


def test_a_stage_of_a_set_that_asks_for_login_and_token_keeps_them_out_of_its_files(built, tmp_path, program):
    with guarded(built.root.parent) as server:
        url, stage = f"{server.url}/{built.root.name}{QUERY}", ("--stage", tmp_path / "stage")
        words = (*EVERY[:-1], "ffcv", *WORDS["moco"], *stage, "--out", tmp_path / "run")
        outputs = [program("trainers/train.py", "--method", "moco", "--data", url, *words)]
        outputs.append(program("tools/stage_shards.py", url, *stage))
        assert [done.returncode for done in outputs] == [0, 0], outputs
        server.faults = dict.fromkeys((path.name for path in built.root.iterdir()), "500")
        outputs.append(program("tools/stage_shards.py", url, "--stage", tmp_path / "other"))
        assert outputs[-1].returncode == 2
    for done in outputs:
        assert_hidden(done.stdout, done.stderr)
    assert assert_hidden_below(tmp_path) > 5


@pytest.mark.parametrize("login", [f"{KEY}:{SECRET}@", f"{KEY}@"])
def test_keys_in_the_address_of_a_bucket_are_shown_nowhere(login, pets, bucket, tmp_path, program):
    url = bucket.replace("s3://", f"s3://{login}") + "/set?versionId=FwoGZXIvYXdz"
    words = (*EVERY, *WORDS["moco"], "--cache", tmp_path / "cache", "--out", tmp_path / "run")
    for call in (
        (BUILD, "--source", pets, "--out", url),
        (BUILD, "--source", url, "--out", tmp_path / "out"),
        (VERIFY, url),
        (INSPECT, url, "--png", tmp_path / "set.png"),
        ("trainers/train.py", "--method", "moco", "--data", url, *words),
    ):
        done = program(*call)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert_hidden(done.stdout, done.stderr)
    assert_hidden_below(tmp_path)


def test_nothing_that_ray_keeps_of_a_build_holds_a_secret(faulty, pets, bucket, tmp_path, program, monkeypatch):
    pytest.importorskip("ray", reason="ray is not installed: the extra 'cluster' brings it")
    from ray.cluster_utils import Cluster

    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    session, out = Path("/tmp") / f"r{os.getpid()}", f"{bucket}/secrets/ray"  # paths of sockets are short
    cluster = Cluster()
    try:
        cluster.add_node(num_cpus=2, include_dashboard=False, temp_dir=str(session))
        with guarded(pets.parent) as server:
            source = f"{server.url}/{pets.name}{QUERY}"
            words = (BUILD, "--source", source, "--out", out, "--engine", "ray", "--address", cluster.address)
            done = program(*words)
            assert done.returncode == 0, done.stderr
            fails = program(*words[:4], f"{bucket}-absent/set", *words[5:])
            assert fails.returncode == 2
        for end in (done, fails):
            assert_hidden(end.stdout, end.stderr)
        assert assert_hidden_below(session) > 5
    finally:
        cluster.shutdown()
        shutil.rmtree(session, ignore_errors=True)
    assert_hidden(*faulty.written)
    assert_no_secret(sys.argv)
