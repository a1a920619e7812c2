"""The same pictures in every kind of source, here and behind a URL: same paths, labels, classes, bytes and uids."""

import base64
import http.server
import io
import json
import pickle
import re
import tarfile
import threading
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.sources import remote
from viewstream.shards.sources.detect import kind_of, open_source

KINDS = ["imagefolder", "ilsvrc", "parquet", "webdataset", "list", "tsv"]


def tar(members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as made:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return file.getvalue()


def contents(tree):
    """{class: {file: bytes}} of the training half."""
    folders = sorted((tree / "train").iterdir())
    return {d.name: {f.name: f.read_bytes() for f in sorted(d.iterdir())} for d in folders}


def pack(tree, kind, out):
    """The training half as another kind of source; where it is, from `out`."""
    found = contents(tree)
    rows = [(c, name, f, data) for c, (name, files) in enumerate(found.items()) for f, data in files.items()]
    rows = rows[1::2] + rows[::2]  # a source sorts
    out.mkdir(exist_ok=True)
    if kind == "imagefolder":
        for _, name, file, data in rows:
            (out / "train" / name).mkdir(parents=True, exist_ok=True)
            (out / "train" / name / file).write_bytes(data)
    if kind == "ilsvrc":
        inner = [(f"{name}.tar", tar(files.items())) for name, files in found.items()]
        (out / "ILSVRC2012_img_train.tar").write_bytes(tar(inner))
    if kind == "parquet":
        for part in range(2):
            some = rows[part::2]
            pictures = [{"bytes": d, "path": f"{f[:-5]}_{name}.JPEG"} for _, name, f, d in some]
            table = pa.table({"image": pictures, "label": [c for c, *_ in some]})
            (out / "data").mkdir(exist_ok=True)
            pq.write_table(table, out / "data" / f"train-0000{part}-of-00002.parquet", row_group_size=4)
    if kind == "webdataset":
        for part in range(2):
            made = [
                m
                for c, name, f, d in rows[part::2]
                for m in ((f"{name}/{f}", d), (f"{name}/{f[:-5]}.cls", b"%d" % c), (f"{name}/{f[:-5]}.json", b"{}"))
            ]
            (out / f"pets-train-{part:06d}.tar").write_bytes(tar(made))
    if kind == "list":
        pack(tree, "imagefolder", out)
        text = "".join(f"train/{name}/{f} {c} more\n" for c, name, f, _ in rows if " " not in f)
        (out / "train.txt").write_text(text)
        return "train.txt"
    if kind == "tsv":
        lines = [b"\t".join([f.encode(), b" %d " % c, b"0.5", base64.b64encode(d)]) for c, _, f, d in rows]
        (out / "train.tsv").write_bytes(b"\n".join(lines) + b"\n")
    return ""


@pytest.fixture(scope="module")
def wnids(grow, tmp_path_factory):
    tree = grow(tmp_path_factory.mktemp("wnids"), {f"n0000000{c}": 5 + c for c in range(3)}, side=24)
    (tree / "train" / "n00000001" / "n00000001_0.JPEG").rename(tree / "train" / "n00000001" / "é ü.JPEG")
    return tree


@pytest.fixture(scope="module")
def packed(wnids, tmp_path_factory):
    """A folder with every kind, and where in it each lies."""
    root = tmp_path_factory.mktemp("packed")
    return root, {kind: f"{kind}/{pack(wnids, kind, root / kind)}".rstrip("/") for kind in KINDS}


class Ranged(http.server.SimpleHTTPRequestHandler):
    """Python's file server, able to send parts; `failing` requests of a part fail first."""

    failing = 0
    parts = True

    def do_GET(self):
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        path = Path(self.translate_path(self.path))
        if not asked or not self.parts or not path.is_file():
            return super().do_GET()
        if Ranged.failing:
            Ranged.failing -= 1
            return self.send_error(503)
        data = path.read_bytes()
        first, last = int(asked[1]), min(int(asked[2]), len(data) - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        self.wfile.write(data[first : last + 1])

    def log_message(self, *_):
        pass


class Whole(Ranged):
    parts = False

    def end_headers(self):
        self.send_header("Accept-Ranges", "none")
        super().end_headers()


@pytest.fixture(scope="module")
def serve(packed):
    """(handler) -> the URL of a server of the packed folder."""
    servers = []

    def start(handler=Ranged):
        make = lambda *a: handler(*a, directory=str(packed[0]))  # noqa: E731
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), make))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(params=["local", "memory", "http"])
def place(request, packed):
    """The packed folder's address."""
    store = fsspec.filesystem("memory")
    if request.param == "memory":
        store.put(str(packed[0]), "/packed", recursive=True)
        yield "memory://packed"
        store.rm("/packed", recursive=True)
    else:
        yield str(packed[0]) if request.param == "local" else request.getfixturevalue("serve")()


@pytest.mark.parametrize("kind", KINDS)
def test_a_tree_is_the_same_in_every_kind_and_place(kind, place, packed, wnids, tmp_path):
    where = f"{place}/{packed[1][kind]}"
    assert kind_of(where, "train") == kind
    want = open_source(str(wnids), "train")
    source = open_source(where, "train")
    if source.stage:
        source = source.stage(source, tmp_path / "stage", np.arange(len(source)))
    rows = np.arange(len(want))
    classes, files = want.classes, [wnids / "train" / path for path in want.paths]
    if kind == "tsv":  # numbers for names
        classes = tuple(map(str, range(3)))
        want.paths[:] = [f"{c}/{p.partition('/')[2]}" for c, p in zip(want.label.tolist(), want.paths, strict=True)]
    if kind == "list":  # its fields are parted by spaces
        rows = np.array([i for i in rows if " " not in want.paths[i]])
    assert source.classes == classes
    assert source.paths == [want.paths[i] for i in rows]
    assert source.label.tolist() == want.label[rows].tolist()
    assert source.label.dtype == np.int32
    assert source.uids(np.arange(len(source))).tolist() == want.uids(rows).tolist()
    reader = pickle.loads(pickle.dumps(source.reader))
    for row, file in enumerate(files[i] for i in rows):
        assert reader.read(source.places[row]) == file.read_bytes()
        assert abs(reader.size(source.places[row]) - file.stat().st_size) <= (60 if kind == "tsv" else 0)


def test_a_kind_overrides_what_is_found(packed):
    root = packed[0]
    assert open_source(str(root / "list"), "train", kind="imagefolder").name == "list"
    assert open_source(str(root / "webdataset"), "train").name == "webdataset"
    assert open_source(str(root / "webdataset" / "pets-train-{000000..000001}.tar"), "train").name == "pets-train"
    with pytest.raises(UserError, match="unknown kind of source 'parket': did you mean 'parquet'"):
        open_source(str(root), "train", kind="parket")
    with pytest.raises(UserError, match=r"tsv has no train-00000|tsv has no .parquet file of the train split"):
        open_source(str(root / "tsv"), "train", kind="parquet")
    with pytest.raises(UserError, match="--root says where the pictures of a list are"):
        open_source(str(root / "tsv"), "train", root="elsewhere")


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "imagefolder"])
def test_a_split_that_is_not_there_is_an_error(kind, packed):
    if kind != "list":  # a list is what it is called
        with pytest.raises(UserError, match=r"the val split|of the val split"):
            open_source(str(packed[0] / kind), "val")


def test_a_moment_without_a_server_is_waited_for_and_a_longer_one_is_an_error(serve, monkeypatch):
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


def test_a_server_that_sends_whole_files_only_is_named(serve, monkeypatch):
    monkeypatch.setattr(remote, "PAUSES", ())
    with pytest.raises(UserError, match="sends whole files only: fetch it first"):
        open_source(f"{serve(Whole)}/ilsvrc/ILSVRC2012_img_train.tar", "train")


def test_an_absent_remote_source_and_an_unknown_address_are_errors(serve, monkeypatch):
    monkeypatch.setattr(remote, "PAUSES", ())
    with pytest.raises(UserError, match=r"nowhere/train does not exist: a source is laid out as .*train/<class>/"):
        open_source(f"{serve()}/nowhere", "train")
    with pytest.raises(UserError, match=r"nowhere\.tar is not there"):
        open_source(f"{serve()}/nowhere.tar", "train")
    with pytest.raises(UserError, match="gopher://x/y is no address that can be read"):
        open_source("gopher://x/y", "train")
    with pytest.raises(UserError, match="cannot be read"):
        open_source("http://127.0.0.1:1/tars/a.txt", "train")


def test_pictures_of_an_index_page_may_have_odd_names(serve, packed, jpeg):
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


def test_a_json_label_serves_too(tmp_path, jpeg):
    page = {"label": 1, "width": 3}
    (tmp_path / "x.tar").write_bytes(tar([("k.jpg", jpeg(0, 16, 16)), ("k.json", json.dumps(page).encode())]))
    assert open_source(str(tmp_path / "x.tar"), "val").label.tolist() == [1]
