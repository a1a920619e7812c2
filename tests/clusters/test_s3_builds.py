"""The life of a set on a real S3 with random faults: built, verified, trained from; nothing is half-written."""

from functools import partial

import pytest

from viewstream.shards.building import object_store
from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.errors import UserError
from viewstream.shards.sources import remote, retry
from viewstream.shards.sources.servers import file_system

from ..shards.conftest import _digests, _grow
from ..trainers.small_runs import EVERY, WORDS, losses
from .proxy import READS, WRITES
from .test_units import objects, uploads

pytestmark = pytest.mark.full
CHANGES = {"shard_size": "60KB", "raw_fraction": 0.2, "workers": 1}


@pytest.fixture(scope="module")
def whole(pets, tmp_path_factory) -> dict[str, str]:
    """{file: sha256} of the set in a local folder."""
    out = tmp_path_factory.mktemp("whole") / "set"
    return _digests(build(BuildOptions(source=pets, out=out, **CHANGES)).root)


@pytest.fixture
def quick(monkeypatch, faulty, s3_port):
    """The proxy, and short pauses and silences in this process. The bucket is looked at past the proxy."""
    monkeypatch.setattr(retry, "FIRST", 0.01)
    monkeypatch.setattr(remote, "PAUSES", (0.01,) * 12)
    monkeypatch.setattr(object_store, "retry", partial(retry.retry, pauses=(0.01,) * 12))
    monkeypatch.setattr(object_store, "file_system", partial(file_system, silence=0.5))
    return faulty


def at_rest(name: str, proxy) -> dict[str, str]:
    """{object: sha256} without faults."""
    proxy.choose = lambda method, path: ""
    return objects(name)


@pytest.mark.parametrize("seed", range(6))
def test_a_build_through_random_faults_is_that_of_a_local_folder(quick, pets, whole, bucket, seed):
    quick.seeded(seed, 0.15)
    errors = []
    while len(errors) < 9:  # the same command, after each clear error
        try:
            build(BuildOptions(source=pets, out=f"{bucket}/faults/{seed}", **CHANGES))
            break
        except UserError as error:
            errors.append(str(error))
    assert not [error for error in errors if "the same command" not in error or "\n" in error]
    assert sum(fault != "" for *_, fault in quick.asked) > 3
    assert at_rest(f"faults/{seed}", quick) == whole
    assert uploads() == []


@pytest.mark.parametrize("fault", ["cut", "lost", "503"])
def test_a_fault_of_each_first_write_of_an_object_passes(quick, pets, whole, bucket, fault):
    seen = set()

    def choose(method, path):
        known = (method, path.partition("?")[0]) in seen
        seen.add((method, path.partition("?")[0]))
        return "" if known or method in ("GET", "HEAD") else fault

    quick.choose = choose
    build(BuildOptions(source=pets, out=f"{bucket}/first/{fault}", **CHANGES))
    assert at_rest(f"first/{fault}", quick) == whole
    assert uploads() == []


@pytest.mark.parametrize("fault", WRITES)
def test_a_fault_of_each_first_part_of_an_upload_passes(quick, bucket, tmp_path, monkeypatch, fault):
    monkeypatch.setattr(object_store, "PART", 5 << 20)
    source = _grow(tmp_path / "large", {"cat": 60}, side=1000)
    options = {"source": source, "keep": True, "format": ("webdataset",), "workers": 1}
    left = {"partNumber": 2, "uploadId": 1, "uploads": 1}

    def choose(method, path):
        kind = next((kind for kind in left if kind in path), "")
        if method not in ("PUT", "POST") or not left.get(kind):
            return ""
        left[kind] -= 1
        return fault

    quick.choose = choose
    build(BuildOptions(out=f"{bucket}/parts/{fault}", **options))
    assert not any(left.values())
    assert at_rest(f"parts/{fault}", quick) == _digests(build(BuildOptions(out=tmp_path / "whole", **options)).root)
    assert uploads() == []


def test_a_store_that_fails_for_good_is_one_line_and_the_build_continues(quick, pets, whole, bucket):
    out, puts = BuildOptions(source=pets, out=f"{bucket}/lasting", **CHANGES), []

    def choose(method, path):
        puts.extend([path] * (method == "PUT"))
        return "500" if method == "PUT" and len(puts) > 8 else ""

    quick.choose = choose
    with pytest.raises(UserError, match=r"the store or the network fails .*the same command continues") as caught:
        build(out)
    assert "\n" not in str(caught.value)
    assert "dataset.json" not in at_rest("lasting", quick)
    build(out)
    assert at_rest("lasting", quick) == whole


@pytest.mark.parametrize("seed", [1])
def test_a_set_is_verified_and_trained_from_through_random_faults(quick, pets, bucket, tmp_path, program, seed):
    build(BuildOptions(source=pets, out=f"{bucket}/used/{seed}", **CHANGES))
    quick.seeded(seed, 0.05, [fault for fault in READS if fault not in ("short", "flip")])  # those are damage there
    quick.silence = 0.2
    done = program("tools/verify_shards.py", f"{bucket}/used/{seed}")
    assert done.returncode == 0, done.stderr
    quick.seeded(seed, 0.05)
    for loader, place in (("webdataset", "--cache"), ("ffcv", "--stage")):
        words = (*EVERY[:-1], loader, *WORDS["moco"], place, tmp_path / place, "--out", tmp_path / loader)
        done = program("trainers/train.py", "--method", "moco", "--data", f"{bucket}/used/{seed}", *words)
        assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "ffcv") == losses(tmp_path / "webdataset")


@pytest.mark.parametrize("seed", range(2))
def test_a_set_is_staged_through_random_faults_and_the_stage_is_sound(quick, pets, bucket, tmp_path, program, seed):
    url, words = f"{bucket}/staged/{seed}", ("--stage", tmp_path / "stage", "--loader", "webdataset")
    build(BuildOptions(source=pets, out=url, **CHANGES))
    quick.seeded(seed, 0.15)
    quick.silence = 0.2
    for _ in range(5):  # the same command, after each clear error
        done = program("tools/stage_shards.py", url, *words)
        assert program("tools/verify_shards.py", tmp_path / "stage").returncode == 0
        if not done.returncode:
            break
        assert (done.returncode, done.stderr.count("Traceback")) == (2, 0), done.stderr
    assert done.returncode == 0, done.stderr
