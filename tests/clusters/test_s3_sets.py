"""A set on a real S3 server: verified, looked at, trained from with the losses of the local one, and its faults."""

import json
import re
from pathlib import Path

import fsspec
import numpy as np
import pytest

from ..trainers.small_runs import SMALL_WORDS, losses

pytestmark = pytest.mark.full


@pytest.fixture
def store(bucket):
    """The objects of the server."""
    files = fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
    yield files
    files.rm(bucket, recursive=True)
    files.mkdirs(bucket, exist_ok=True)


@pytest.fixture
def url(store, bucket, several):
    """That set in a bucket."""
    store.put(f"{several.root}/", f"{bucket}/sets/pets/", recursive=True)
    return f"{bucket}/sets/pets"


def train(program, folder: Path, data: object, loader: str):
    out = folder / f"{loader}-{'url' if '://' in str(data) else 'local'}"
    done = program(
        "trainers/train.py",
        *("--method", "moco", *SMALL_WORDS, "--loader", loader, "--workers", 2),
        *("--data", data, "--out", out, "--cache", folder / "cache"),
    )
    assert done.returncode == 0, done.stderr
    return losses(out)


@pytest.mark.parametrize("loader", ["webdataset", "ffcv", "webdataset-stream", "memory"])
def test_training_from_a_bucket_has_the_losses_of_the_local_set(several, url, program, tmp_path, loader):
    there, here = (train(program, tmp_path, data, loader) for data in (url, several.root))
    assert len(there) == 12
    assert there == here


def test_an_evaluation_on_a_bucket_has_the_numbers_of_the_local_set(several, url, program, tmp_path):
    train(program, tmp_path, several.root, "ffcv")
    found = []
    for data in (url, several.root):
        sets = ("--data", data, "--val", data, "--loader", "ffcv", "--cache", tmp_path / "cache", "--device", "cpu")
        done = program(
            "trainers/evaluate.py",
            *("--task", "knn", "--checkpoint", tmp_path / "ffcv-local/last.pt", "--k", 5, "--max-k", 11, *sets),
        )
        assert done.returncode == 0, done.stderr
        found.append(json.loads((tmp_path / "ffcv-local/results.json").read_text()))
        (tmp_path / "ffcv-local/results.json").unlink()
    numbers = [{k: v for k, v in entry.items() if "/" in k} for page in found for entry in page.values()]
    assert numbers[0] == numbers[1]
    assert numbers[0]


def test_a_set_in_a_bucket_is_verified_inspected_and_looked_at(several, url, program, tmp_path):
    done = program("tools/verify_shards.py", url)
    assert (done.returncode, done.stdout) == (
        0,
        f"{url} is as it was built: {len(several)} samples, webdataset, ffcv, {len(several.info.files)} files\n",
    )
    here, there = (
        program("tools/inspect_shards.py", data, "--no-picture", "--cache", tmp_path).stdout
        for data in (several.root, url)
    )
    assert there == here
    argv = ("--loader", "ffcv", "--size", 32, "--ids", "0-1", "--renderers", "device", "--out", tmp_path / "views.png")
    done = program("tools/look.py", "--data", url, *argv, "--cache", tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "cache/tars").exists()


def test_a_truncated_object_is_one_line_in_verification_and_in_training(several, store, url, program, tmp_path):
    tar, beton = several.tars()[0].name, several.beton_path().name
    for name in (tar, beton):
        data = store.cat_file(f"{url}/{name}")
        store.pipe_file(f"{url}/{name}", data[: len(data) // 2])
    done = program("tools/verify_shards.py", url)
    assert done.returncode == 2
    assert re.search(rf"{tar}: it has [\d,]+ bytes, not [\d,]+", done.stdout)
    assert f"2 files of {url} are damaged or absent" in done.stderr
    for loader, name in (("webdataset", tar), ("ffcv", beton)):
        done = program(
            "trainers/train.py",
            *("--method", "moco", *SMALL_WORDS, "--loader", loader, "--data", url),
            *("--out", tmp_path / loader, "--cache", tmp_path / "cache"),
        )
        assert done.returncode == 2
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("error")]
        assert re.search(rf"{url}/{name} .*(cut off|bytes, not|not satisfiable)", line), line


def test_a_bucket_that_is_not_there_is_one_line(url, bucket, program, tmp_path):
    done = program("tools/inspect_shards.py", f"{bucket}-absent/set", "--cache", tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(rf"error: {bucket}-absent/set/dataset.json is not there: .*\n", done.stderr)


def test_rows_of_a_bucket_are_those_of_the_set(several, url, tmp_path):
    from viewstream.pipeline.readers.ranged import RangedReader
    from viewstream.pipeline.readers.remote import open_remote
    from viewstream.shards.formats.read import open_beton

    order = np.random.default_rng(0).permutation(len(several))
    with RangedReader(open_remote(url, tmp_path), "ffcv") as reader, open_beton(several) as right:
        reader.prefetch(iter([order]))
        assert all(np.array_equal(reader.read(row), right.read(row)) for row in order.tolist())
