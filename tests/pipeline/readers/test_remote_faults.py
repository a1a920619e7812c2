"""Failing servers: requests are tried again, an error names the cause in one line, and no bad file is kept."""

import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from viewstream.pipeline.readers.remote import open_remote
from viewstream.pipeline.readers.remote_tar import RemoteTarReader
from viewstream.shards.errors import UserError

from ...pages import change_page
from ..server import FaultyHandler
from .fetched import QUICK, assert_same, assert_sound, cached, opened


@pytest.mark.parametrize("kind", ["500", "drop", "stall", "short", "long", "flip"])
def test_a_temporary_fault_is_tried_again(server, many, tmp_path, kind):
    tar = many.tars()[many.shard[0]].name
    server.faults = {"dataset.json": ["500"], "manifest.parquet": [kind], tar: [kind, kind]}
    reader = opened(server, tmp_path)
    assert_same(reader, many, [0])
    reader.close()
    assert server.asked.count(tar) == 3
    assert server.asked.count("manifest.parquet") == 2
    assert_sound(tmp_path, many)


@pytest.mark.parametrize(
    ("kind", "cause"),
    [("500", "500"), ("drop", "Payload"), ("short", "bytes, not"), ("long", "bytes, not"), ("flip", "digest")],
)
def test_a_lasting_fault_is_an_error_of_one_line_and_leaves_no_file(server, many, tmp_path, kind, cause):
    reader = opened(server, tmp_path)
    tar = many.tars()[many.shard[0]].name
    server.faults = {tar: [kind] * 4}
    with pytest.raises(UserError, match=rf"{server.url}/{tar} .*4 tries .*{cause}.*: try again") as caught:
        reader.read(0)
    assert "\n" not in str(caught.value)
    assert not cached(tmp_path)
    assert_sound(tmp_path, many)
    assert_same(reader, many, [0])  # the reader works again once the server does
    reader.close()


def test_a_permanent_fault_is_not_tried_again(server, many, tmp_path):
    server.faults = {"dataset.json": ["403"]}
    with pytest.raises(UserError, match=r"dataset.json may not be read"):
        open_remote(server.url, tmp_path, retry=QUICK)
    gone = replace(QUICK, pauses=(60.0,))
    reader = RemoteTarReader(open_remote(server.url, tmp_path, retry=gone), 0, gone)
    reader.lines[0] = {**reader.lines[0], "file": "gone.tar"}
    row = int(np.flatnonzero(many.shard == 0)[0])
    with pytest.raises(UserError, match=r"gone.tar is not there: check that the whole set was uploaded"):
        reader.read(row)
    reader.close()


@pytest.mark.parametrize("name", ["../secret.tar", "/secret.tar", "a/../../secret.tar"])
def test_a_server_cannot_name_a_file_elsewhere(server, many, tmp_path, name):
    served = shutil.copytree(many.root, tmp_path / "served")
    change_page(served, lambda page: page["files"][0].update(file=name))
    server.RequestHandlerClass = partial(FaultyHandler, directory=str(served))
    with pytest.raises(UserError, match="leads out of the set"):
        open_remote(server.url, tmp_path / "cache", retry=QUICK)
    assert server.asked == ["dataset.json", "manifest.parquet"]


def test_a_manifest_that_does_not_match_its_page_is_refused(server, many, tmp_path):
    server.faults = {"manifest.parquet": ["flip"] * 4}
    with pytest.raises(
        UserError, match=r"manifest.parquet could not be fetched .*sha256 is not what dataset.json says"
    ):
        open_remote(server.url, tmp_path, retry=QUICK)
    for kind in ("short", "flip"):
        server.faults = {"dataset.json": [kind] * 4}
        with pytest.raises(UserError, match=r"dataset.json could not be fetched .*damaged"):
            open_remote(server.url, tmp_path, retry=QUICK)
    assert not list(tmp_path.rglob("dataset.json"))
