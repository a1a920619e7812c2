"""The commands of the section on object stores, as they are printed, against a real S3 server and a web server."""

import shlex
import threading
from functools import partial
from http.server import ThreadingHTTPServer

import fsspec
import pytest

from viewstream.shards.building.build import BuildOptions, build

from ..shards.sources.server import Ranged
from ..trainers.small_runs import SMALL_WORDS
from .page import commands

pytestmark = pytest.mark.full


@pytest.fixture
def tars(pets, tmp_path):
    """A folder of tars alone."""
    made = build(BuildOptions(source=pets, out=tmp_path / "made", format=("webdataset",), shard_size="60KB", workers=1))
    folder = tmp_path / "web" / "their-tars"
    folder.mkdir(parents=True)
    for tar in made.tars():
        tar.rename(folder / tar.name)
    return folder


def test_the_commands_for_object_stores_work_as_they_are_printed(bucket, pets, tars, program, tmp_path):
    store = fsspec.filesystem("s3", skip_instance_cache=True)
    store.put(f"{tars}/", f"{bucket}/their-tars/", recursive=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Ranged, directory=str(tars.parent))) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        places = {
            "/data/imagenet": str(pets),
            "s3://bucket": bucket,
            "https://host": f"http://127.0.0.1:{server.server_port}",
            "/scratch": str(tmp_path / "scratch"),
        }
        for number, command in enumerate(commands("Sets on object stores")):
            for here, there in places.items():
                command = command.replace(here, there)
            first, script, *words = shlex.split(command)
            assert first == "python"
            if script == "trainers/train.py":
                words += [*SMALL_WORDS, "--workers", "2", "--out", str(tmp_path / f"run-{number}")]
            done = program(script, *words)
            assert done.returncode == 0, f"{command}\n{done.stderr}"
        server.shutdown()
    store.rm(bucket, recursive=True)
    store.mkdirs(bucket, exist_ok=True)
