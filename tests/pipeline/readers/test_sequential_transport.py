"""Tars are streamed from disks, web servers and commands, also tars that other tools wrote."""

import http.server
import re
import sys
import tarfile
import threading
from pathlib import Path

import fsspec
import numpy as np
import pytest

from viewstream.pipeline.readers.remote import open_remote
from viewstream.pipeline.readers.remote_tar import RemoteTarReader
from viewstream.pipeline.readers.sequential import SequentialTarReader
from viewstream.shards.care.index import index
from viewstream.shards.errors import UserError

from ...shards.archives import tar
from .streams import blocks, plain, streamed


class Ranged(http.server.SimpleHTTPRequestHandler):
    """Sends ranges of files."""

    def do_GET(self):
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        if not asked:
            return super().do_GET()
        data = Path(self.translate_path(self.path)).read_bytes()
        part = data[int(asked[1]) : int(asked[2]) + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {asked[1]}-{int(asked[1]) + len(part) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_):
        pass


def test_every_reader_of_tars_reads_the_same_bytes_from_local_and_remote_sets(many, tmp_path):
    rows, store = blocks(many.shard, 2, 3), fsspec.filesystem("memory")
    store.put(str(many.root), "/remote", recursive=True)
    try:
        remote = open_remote("memory://remote", tmp_path)
        for reader in (RemoteTarReader(remote), SequentialTarReader(remote, 4), SequentialTarReader(many, 4)):
            assert streamed(reader, rows, 2) == plain(many, rows)
            reader.close()
    finally:
        store.rm("/remote", recursive=True)


def test_tars_on_a_web_server_are_streamed(many, tmp_path):
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0),
        lambda *a: Ranged(*a, directory=str(many.root)),  # type: ignore
    ) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        rows = blocks(many.shard, 3, 0)
        reader = SequentialTarReader(open_remote(f"http://127.0.0.1:{server.server_port}", tmp_path), 4)
        assert streamed(reader, rows, 2) == plain(many, rows)
        reader.close()
        server.shutdown()


def test_a_command_can_write_the_tars(many):
    rows = blocks(many.shard, 2, 4)
    reader = SequentialTarReader(many, 4, pipe=f"cat {many.root}/{{file}}")
    assert streamed(reader, rows) == plain(many, rows)
    reader.close()
    broken = SequentialTarReader(many, 4, pipe="exit 3; echo {file}")
    with pytest.raises(UserError, match=r"sample \d+ .* cannot be streamed from exit 3"):
        streamed(broken, rows)
    broken.close()


def foreign(many, number, name="./{key}", form=tarfile.PAX_FORMAT):
    """The images of a tar of the set in a tar of another tool."""
    members = []
    for row in np.flatnonzero(many.shard == number).tolist():
        key = name.format(key=many.keys[row])
        members += [(f"{key}.JPG", plain(many, np.array([row]))[0]), (f"{key}.cls", b"%d" % many.label[row])]
    return tar(members, form)


def assert_streamed(folder):
    """Indexed, the tars of a folder give the same bytes as streams."""
    other = index(folder, workers=1)
    rows, reader = np.arange(len(other)), SequentialTarReader(other, len(other.tars()))
    assert streamed(reader, rows) == plain(other, rows)
    reader.close()
    return other


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", ["./{key}", "a/" * 60 + "{key}", "long" * 30 + "-{key}", "ü/{key}"])
def test_tars_of_other_tools_are_streamed_by_their_own_names(many, tmp_path, name, form):
    if name.startswith("long") and form == tarfile.USTAR_FORMAT:
        pytest.skip("USTAR has no room for this name")
    for number in range(2):
        (tmp_path / f"other-{number}.tar").write_bytes(foreign(many, number, name, form))
    assert_streamed(tmp_path)


def test_concatenated_tars_are_streamed_to_their_end(many, tmp_path):
    (tmp_path / "other.tar").write_bytes(foreign(many, 0) + foreign(many, 1))
    assert len(assert_streamed(tmp_path)) == (many.shard < 2).sum()


def test_a_pipe_without_the_webdataset_library_names_the_extra_that_brings_it(many, monkeypatch, tmp_path):
    (tmp_path / "webdataset.py").write_text('raise ModuleNotFoundError("No module", name="webdataset")')
    for name in [name for name in sys.modules if name.partition(".")[0] == "webdataset"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"webdataset is not installed: pip install 'viewstream\[train\]' brings it"):
        SequentialTarReader(many, 4, pipe="cat {file}")
    SequentialTarReader(many, 4).close()
