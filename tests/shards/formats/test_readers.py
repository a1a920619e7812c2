"""Stock readers read what we write, and our own readers need numpy and pyarrow alone."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from viewstream.shards.building.build import build
from viewstream.shards.formats.read import open_beton, open_folder, open_tar

REUSE = """
import hashlib, sys
from viewstream.shards import Manifest, open_beton, open_folder, open_tar
data = Manifest.open(sys.argv[1])
for open_reader in (open_tar, open_beton, open_folder):
    reader = open_reader(data)
    for row, sha256 in enumerate(data.strings("sha256")):
        assert hashlib.sha256(reader.read(row)).digest() == sha256
print(len(data), data.info.classes[data.label[0]])
print(*{name.partition(".")[0] for name in sys.modules})
"""
HEAVY = {"torch", "PIL", "simplejpeg", "tqdm", "ffcv", "webdataset", "numba", "cv2"}


@pytest.fixture
def made(options):
    return build(options(format=("webdataset", "ffcv", "folder"), shard_size="50KB"))


def test_our_readers_agree(made):
    readers = [open_reader(made) for open_reader in (open_tar, open_beton, open_folder)]
    for row in range(len(made)):
        first, *others = (reader.read(row) for reader in readers)
        assert all(other == first for other in others)


def test_a_set_is_read_with_numpy_and_pyarrow_alone(made):
    done = subprocess.run([sys.executable, "-c", REUSE, made.root], capture_output=True, text=True, check=True)
    head, modules = done.stdout.splitlines()
    assert head == f"40 {made.info.classes[made.label[0]]}"
    assert not HEAVY & set(modules.split())


@pytest.mark.full
def test_another_project_installs_us_and_reads_a_set(made, tmp_path):
    away = shutil.ignore_patterns(".*", "data", "runs", "build", "__pycache__", "*.egg-info")
    root = shutil.copytree(Path(__file__).parents[3], tmp_path / "viewstream", ignore=away)  # pip builds in the tree
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", root], check=True, cwd=tmp_path, capture_output=True)
    done = subprocess.run([python, "-c", REUSE, made.root], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    installed = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout
    assert "pyarrow" in installed
    assert "torch" not in installed


def test_stock_webdataset_reads_the_tars(made):
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")
    urls = [str(path) for path in made.tars()]
    rows = {key: row for row, key in enumerate(made.keys)}
    seen = []
    for sample in webdataset.WebDataset(urls, shardshuffle=False):
        row = rows[sample["__key__"]]
        seen.append(row)
        assert sample["jpg"] == open_folder(made).read(row)
        assert int(sample["cls"]) == made.label[row]
        page = json.loads(sample["json"])
        assert (page["height"], page["width"]) == tuple(made.hw[row])
    assert seen == list(range(40))


def test_the_list_of_tars_is_what_wids_reads(made):
    page = json.loads((made.root / f"{made.info.name}.wids.json").read_text())
    assert [page["__kind__"], page["wids_version"]] == ["wids-shard-index-v1", 1]
    for line, tar in zip(page["shardlist"], made.tars(), strict=True):
        assert line["url"] == tar.name
        assert line["filesize"] == tar.stat().st_size
    assert sum(line["nsamples"] for line in page["shardlist"]) == 40


def test_dali_reads_the_tars_by_our_indices(made):
    if not find_spec("nvidia.dali"):
        pytest.skip("DALI is not installed")
    from nvidia.dali import fn, pipeline_def

    @pipeline_def(batch_size=8, num_threads=1, device_id=None)
    def reading():
        paths = [str(path) for path in made.tars()]
        indices = [str(path.with_suffix(".idx")) for path in made.tars()]
        return tuple(fn.readers.webdataset(paths=paths, index_paths=indices, ext=["jpg", "cls"]))

    pipe = reading()
    pipe.build()
    got = [(bytes(np.array(j)), int(bytes(np.array(c)))) for _ in range(5) for j, c in zip(*pipe.run(), strict=True)]
    folder = open_folder(made)
    assert got == [(folder.read(row), int(made.label[row])) for row in range(40)]


def test_our_index_is_the_one_that_dalis_tool_writes(made, tmp_path):
    tool = Path(sysconfig.get_path("scripts")) / "wds2idx"
    if not tool.exists():
        pytest.skip("DALI is not installed")
    for tar in made.tars():
        subprocess.run([tool, tar, tmp_path / "idx"], check=True, capture_output=True, env=dict(os.environ))
        assert (tmp_path / "idx").read_text() == tar.with_suffix(".idx").read_text()


def test_a_header_of_ours_is_what_tarfile_makes():
    import tarfile

    from viewstream.shards.formats.tar import header

    for name, size in (("a/b.jpg", 0), ("ü" * 50, 123_456), ("x" * 100, 8**11 - 1)):
        info = tarfile.TarInfo(name)
        info.size = size
        assert (
            tarfile.TarInfo.frombuf(header(name, size), "utf-8", "strict").get_info()
            == tarfile.TarInfo.frombuf(info.tobuf(tarfile.USTAR_FORMAT), "utf-8", "strict").get_info()
        )


def test_kept_bytes_in_a_beton_decode_as_they_do_anywhere(options):
    made = build(options(keep=True, format=("ffcv", "folder")))
    reader = open_beton(made)
    for row in range(len(made)):
        assert reader.read(row) == made.path(row).read_bytes()
        assert simplejpeg.decode_jpeg(reader.read(row)).shape[:2] == tuple(made.hw[row])
