"""Files that grew, names that a shell reads, folders that name a server: nothing is read or asked that the user did not
name."""

import json
import resource
import shutil
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

from viewstream.pipeline.readers.folder import open_reader
from viewstream.pipeline.readers.remote import ORIGIN, open_remote
from viewstream.pipeline.readers.sequential import SequentialTarReader
from viewstream.pipeline.readers.webdataset import open_reader as open_tars
from viewstream.shards.errors import UserError
from viewstream.shards.formats.read import open_folder
from viewstream.shards.manifest import Manifest
from viewstream.shards.plain import plain
from viewstream.shards.sources import remote, web
from viewstream.shards.subsets import fetch

from ...pages import change_page
from .fetched import QUICK

GROWN = 1 << 29  # bytes


def grow(path: Path) -> None:
    """Make a file longer, without bytes on the disk."""
    with path.open("r+b") as file:
        file.truncate(GROWN)


def test_a_file_that_grew_is_read_no_further_than_its_bytes(built, tmp_path):
    root = Path(shutil.copytree(built.root, tmp_path / "set"))
    reader = open_folder(Manifest.open(root))
    image = reader.read(3)
    grow(Path(reader.locate(3)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=r"it has more than its [\d,]+ bytes"):
        reader.read(3)
    (tmp_path / "images" / "cat").mkdir(parents=True)
    path = tmp_path / "images" / "cat" / "a.jpg"
    path.write_bytes(image)
    reader = open_reader(plain(tmp_path / "images"))
    grow(path)
    assert reader.read(0) == image
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GROWN >> 11  # KB: half of it


@pytest.mark.parametrize("name", ["-e.tar", "$(touch x).tar", "a b.tar", "a';touch x;'.tar", "a\nb.tar"])
def test_a_name_that_says_more_to_a_shell_is_not_given_to_a_command(name, built, tmp_path, monkeypatch):
    root = Path(shutil.copytree(built.root, tmp_path / "set"))
    number = next(n for n, line in enumerate(built.info.files) if line["file"].endswith(".tar"))
    change_page(root, lambda page: page["files"][number].update(file=name))
    with pytest.raises(UserError, match="which a command could take for an option"):
        SequentialTarReader(Manifest.open(root), pipe='cat "{file}"')


def test_a_folder_names_a_server_only_if_this_cache_wrote_it(server, many, tmp_path):
    root = open_remote(server.url, tmp_path / "cache", retry=QUICK).root
    opened = Manifest.open(root)
    reader = open_tars(opened)
    reader.prefetch(iter([np.arange(1)]))
    assert reader.read(0)
    reader.close()
    copied = Path(shutil.copytree(root, tmp_path / "copied"))  # as from an archive
    planted = Path(shutil.copytree(many.root, tmp_path / "planted"))
    shutil.copy(root / ORIGIN, planted / ORIGIN)
    for folder in (copied, planted):
        with pytest.raises(UserError, match="open the set by its URL, or remove the file"):
            open_tars(Manifest.open(folder))
    (planted / ORIGIN).unlink()
    assert open_tars(Manifest.open(planted)).read(0)
    for text in ("", "[]", "[" * 100_000, '{"url": 5, "file": 1}', json.dumps({"url": "http://x", "limit": 1})):
        (root / ORIGIN).write_text(text)
        with pytest.raises(UserError, match="open the set by its URL"):
            open_tars(opened)
    open_remote(server.url, tmp_path / "cache", retry=QUICK)
    open_tars(opened).close()


def test_an_object_that_is_longer_than_any_image_is_not_read_to_its_end(monkeypatch):
    import fsspec

    monkeypatch.setattr(remote, "WHOLE", 1000)
    monkeypatch.setattr(remote, "PAUSES", ())
    memory = fsspec.filesystem("memory")
    for name, size in (("long", 1001), ("whole", 1000), ("empty", 0)):
        memory.pipe_file(f"/strangers/{name}.jpg", bytes(size))
    files = remote.Remote("memory://strangers")
    assert len(files.read("whole.jpg")) == 1000
    assert files.read("empty.jpg") == b""
    with pytest.raises(OSError, match="more than 1,000 bytes"):
        files.read("long.jpg")


class Moved(BaseHTTPRequestHandler):
    """Sends every request to the same path over http, or to another path over https."""

    def do_GET(self):
        host = f"127.0.0.1:{self.server.server_port}"
        self.send_response(302)
        self.send_header(
            "Location", f"http://{host}{self.path}" if "moved" in self.path else f"https://{host}/moved.jpg"
        )
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def encrypted(tmp_path, monkeypatch):
    """The address of a server with a certificate that this process trusts."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    if not shutil.which("openssl"):
        pytest.skip("no openssl makes a certificate")
    subprocess.run(["openssl", *words.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    import aiohttp.connector

    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", ssl.create_default_context(cafile=certificate))
    with HTTPServer(("127.0.0.1", 0), Moved) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["moved.jpg", "a.jpg"])
def test_a_redirect_does_not_leave_https(name, encrypted):
    with pytest.raises(UserError, match=r"leads to http://.*, which is not encrypted"):
        remote.Remote(encrypted).read(name)
    with pytest.raises(UserError, match=r"leads to http://.*, which is not encrypted"):
        fetch._fetched(f"{encrypted}/{name}")
    web.check_redirect("http://a/b", "http://c/d")
    web.check_redirect("https://a/b", "/d")
