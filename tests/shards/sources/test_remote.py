"""Sources at a URL: failing reads are tried again, other faults of a server are errors."""

import io
import traceback

import pytest

from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.errors import UserError
from viewstream.shards.redaction import HIDDEN
from viewstream.shards.sources import remote, web
from viewstream.shards.sources.detect import open_source
from viewstream.shards.sources.remote import Remote

from ...guarded import MOST, QUERY, assert_no_secret, assert_no_secret_below, guarded
from .server import Ranged, Whole


def test_a_read_that_fails_is_tried_again_and_then_an_error(serve, monkeypatch):
    monkeypatch.setattr(remote, "PAUSES", (0.0, 0.0))
    source = open_source(f"{serve()}/webdataset", "train")
    Ranged.failing = 2
    assert source.reader.read(source.places[0])[:2] == b"\xff\xd8"
    Ranged.failing = 3
    with pytest.raises(OSError, match="500"):
        source.reader.read(source.places[0])
    Ranged.failing = 9
    with pytest.raises(UserError, match=r"500.*is it there, and may you read it"):
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


@pytest.fixture
def asking(packed, monkeypatch):
    """A server of the packed folder that asks for a login and a token."""
    monkeypatch.setattr(remote, "PAUSES", ())
    with guarded(packed[0]) as server:
        yield server


@pytest.mark.parametrize("kind", ["imagefolder", "webdataset", "parquet", "tsv", "list"])
def test_a_source_that_asks_for_login_and_token_is_built_and_nothing_shows_them(
    asking, packed, tmp_path, monkeypatch, capfd, kind
):
    monkeypatch.chdir(tmp_path)  # the set has the name that it gets by itself
    source = asking.url + "/" + packed[1][kind].replace("#", "%23") + QUERY
    more = {"source_type": "list"} if kind == "list" else {}
    if kind == "imagefolder":
        lost = open_source(source, "train")
        asking.faults = {lost.paths[0].rpartition("/")[2]: "500"}
    made = build(BuildOptions(source=source, workers=1, on_error="skip", **more))
    assert len(made.info.report["skipped"]) == (kind == "imagefolder")
    assert HIDDEN in str(made.info.report) or kind != "imagefolder"
    assert_no_secret(made.info, made.root, *capfd.readouterr())
    assert_no_secret_below(tmp_path)


@pytest.mark.parametrize("fault", ["401", "403", "500", f"gopher://h/{QUERY}"])
def test_no_fault_of_a_source_shows_login_or_token(asking, fault):
    files = Remote(f"{asking.url}/webdataset{QUERY}")
    assert_no_secret(files, files.show("a.tar"), files.inside("b").show())
    asking.faults = {"a.tar": fault, "": fault}
    for read in (
        lambda: files.read("a.tar"),
        lambda: files.read("a.tar", 0, 512),
        lambda: files.size("a.tar"),
        lambda: files.open("a.tar").read(),
    ):
        with pytest.raises(OSError, match=r"127\.0\.0\.1") as caught:
            read()
        assert_no_secret(*traceback.format_exception(caught.value))
    with pytest.raises(UserError) as caught:
        open_source(f"{asking.url}/nowhere{QUERY}", "train")
    assert_no_secret(*traceback.format_exception(caught.value))


def test_a_body_without_end_stops_at_the_range_or_at_a_limit(packed, monkeypatch):
    monkeypatch.setattr(remote, "PAUSES", ())
    monkeypatch.setattr(web, "WHOLE", 1 << 20)
    with guarded(packed[0], ask=False) as server:
        files = Remote(server.open)
        server.faults = dict.fromkeys(("a.jpg", "folder"), "endless")
        with pytest.raises(OSError, match=r"a\.jpg: ClientPayloadError: the server sends more than 512 bytes"):
            files.read("a.jpg", 100, 512)
        with pytest.raises(OSError, match="the server sends more than 1,048,576 bytes"):
            files.read("a.jpg")
        with pytest.raises(OSError, match="the server sends more than 1,048,576 bytes"):
            files.entries("folder")
        assert server.sent < 1 << 25 < MOST


@pytest.mark.parametrize("scheme", ["file", "ftp", "gopher"])
def test_a_redirect_to_another_scheme_is_refused(packed, monkeypatch, scheme):
    monkeypatch.setattr(remote, "PAUSES", ())
    with guarded(packed[0], ask=False) as server:
        server.faults = {"a.jpg": f"{scheme}:///etc/hostname"}
        with pytest.raises(OSError, match=f"a.jpg: NonHttpUrlRedirectClientError: .*{scheme}"):
            Remote(server.open).read("a.jpg")


@pytest.mark.parametrize(
    "url", ["s3://someone:hunter2@bucket/set", "gs://someone@bucket", "s3://someone:hunter2/@b/set"]
)
def test_keys_in_the_address_of_a_bucket_are_refused_and_not_shown(url):
    with pytest.raises(UserError, match=r"has keys in its address, where no library reads them") as caught:
        Remote(url).read("dataset.json")
    assert_no_secret(*traceback.format_exception(caught.value))
