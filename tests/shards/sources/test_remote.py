"""Sources at a URL: failing reads are tried again, other faults of a server are errors."""

import io

import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.sources import remote
from viewstream.shards.sources.detect import open_source

from .server import Ranged, Whole


def test_a_read_that_fails_is_tried_again_and_then_an_error(serve, monkeypatch):
    monkeypatch.setattr(remote, "PAUSES", (0.0, 0.0))
    source = open_source(f"{serve()}/webdataset", "train")
    Ranged.failing = 2
    assert source.reader.read(source.places[0])[:2] == b"\xff\xd8"
    Ranged.failing = 3
    with pytest.raises(OSError, match="503"):
        source.reader.read(source.places[0])
    Ranged.failing = 9
    with pytest.raises(UserError, match=r"503.*is it there, and may you read it"):
        open_source(f"{serve()}/ilsvrc/ILSVRC2012_img_train.tar", "train")
    Ranged.failing = 0


def test_a_server_without_ranges_is_refused(serve, monkeypatch):
    monkeypatch.setattr(remote, "PAUSES", ())
    with pytest.raises(UserError, match="sends whole files only: fetch it first"):
        open_source(f"{serve(Whole)}/ilsvrc/ILSVRC2012_img_train.tar", "train")


def test_a_missing_remote_source_and_an_unknown_address_are_errors(serve, monkeypatch):
    monkeypatch.setattr(remote, "PAUSES", ())
    with pytest.raises(UserError, match=r"nowhere/train does not exist: a source is laid out as .*train/<class>/"):
        open_source(f"{serve()}/nowhere", "train")
    with pytest.raises(UserError, match=r"nowhere\.tar is not there"):
        open_source(f"{serve()}/nowhere.tar", "train")
    with pytest.raises(UserError, match="gopher://x/y is no address that can be read"):
        open_source("gopher://x/y", "train")
    with pytest.raises(UserError, match="cannot be read"):
        open_source("http://127.0.0.1:1/tars/a.txt", "train")


def test_images_on_an_index_page_may_have_odd_names(serve, packed, jpeg):
    names = ["a b#1.jpg", "ü?&amp.jpg", "100%.jpg", "%20.jpg"]
    folder = packed[0] / "odd" / "train"
    folder.mkdir(parents=True)
    for n, name in enumerate(names):
        (folder / name).write_bytes(jpeg(n, 16, 16))
    source = open_source(f"{serve()}/odd", "train")
    assert source.paths == sorted(names)
    assert source.classes == ()
    assert source.label.tolist() == [-1] * 4
    assert [source.reader.read(p) for p in source.places] == [(folder / p).read_bytes() for p in source.paths]


@pytest.mark.parametrize("link", ["x%2F..%2F..%2F..%2Fsecret.jpg", "%2Fsecret.jpg", "x%2F%2E%2E%2F"])
def test_an_index_page_leads_nowhere_else(serve, link):
    class Listing(Ranged):
        def list_directory(self, path):
            page = super().list_directory(path).read()
            return io.BytesIO(page.replace(b"<ul>", b'<ul><li><a href="%s">x</a></li>' % link.encode()))

        def send_header(self, keyword, value):
            if keyword != "Content-Length":
                super().send_header(keyword, value)

    with pytest.raises(UserError, match="leads out of the source"):
        open_source(f"{serve(Listing)}/imagefolder", "train")
