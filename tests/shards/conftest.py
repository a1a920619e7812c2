"""Small trees of JPEGs, packed as every kind of source, and a server for them."""

import http.server
import io
import os
import pty
import resource
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from viewstream.shards.building.build import BuildOptions
from viewstream.shards.files import digest_of

from .sources.packed import KINDS, pack
from .sources.server import Ranged


def _smooth_pixels(seed: int, height: int = 60, width: int = 80) -> np.ndarray:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    return np.clip(smooth + rng.integers(-4, 5, smooth.shape), 0, 255).astype(np.uint8)


def _jpeg(seed: int, height: int = 60, width: int = 80) -> bytes:
    return simplejpeg.encode_jpeg(_smooth_pixels(seed, height, width), 92)


def _saved(image: Image.Image, form: str, **kwargs: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **kwargs)
    return file.getvalue()


def _grow(root: Path, counts: dict[str, int], split: str = "train", side: int = 60) -> Path:
    seed = 0
    for name, count in counts.items():
        (root / split / name).mkdir(parents=True, exist_ok=True)
        for n in range(count):
            data = _jpeg(seed, side + seed % 7, side + 20 - seed % 11)
            (root / split / name / f"{name}_{n}.JPEG").write_bytes(data)
            seed += 1
    return root


@pytest.fixture(scope="session")
def smooth_pixels() -> Callable[..., np.ndarray]:
    """(seed, height, width) -> [H, W, 3] uint8, smooth with a little noise: like a photograph to a codec."""
    return _smooth_pixels


@pytest.fixture(scope="session")
def jpeg() -> Callable[..., bytes]:
    """(seed, height, width) -> `smooth_pixels` as a JPEG."""
    return _jpeg


@pytest.fixture(scope="session")
def saved() -> Callable[..., bytes]:
    """(PIL image, format, options) -> the file that PIL writes, as bytes."""
    return _saved


@pytest.fixture(scope="session")
def grow() -> Callable[..., Path]:
    """(root, {class: number of images}, split, side) -> root, with files `class_n.JPEG` of various sizes."""
    return _grow


def _digests(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): digest_of(p) for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.fixture(scope="session")
def digests() -> Callable[[Path], dict[str, str]]:
    """(folder) -> {file in it: sha256}."""
    return _digests


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Four classes, 40 images."""
    return _grow(tmp_path / "pets", {"cat": 12, "dog": 10, "eel": 8, "fox": 10})


@pytest.fixture
def options(tree: Path, tmp_path: Path) -> Callable[..., BuildOptions]:
    """(changes) -> options for `tree` into a new folder, by default with one process."""

    def make(**changes: object) -> BuildOptions:
        return BuildOptions(**{"source": str(tree), "out": tmp_path / "out", "workers": 1, **changes})  # pyright: ignore

    return make


@pytest.fixture
def no_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the environment variable that names a folder of published lists."""
    monkeypatch.delenv("VIEWSTREAM_LISTS", raising=False)


@pytest.fixture(scope="module")
def wnids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes with names as in ImageNet; one file has an odd name."""
    tree = _grow(tmp_path_factory.mktemp("wnids"), {f"n0000000{c}": 5 + c for c in range(3)}, side=24)
    (tree / "train" / "n00000001" / "n00000001_0.JPEG").rename(tree / "train" / "n00000001" / "é ü.JPEG")
    return tree


@pytest.fixture(scope="module")
def packed(wnids: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with `wnids` as every kind of source, and the path of each kind in it."""
    root = tmp_path_factory.mktemp("packed")
    return root, {kind: f"{kind}/{pack(wnids, kind, root / kind)}".rstrip("/") for kind in KINDS}


@pytest.fixture(scope="module")
def serve(packed: tuple[Path, dict[str, str]]) -> Iterator[Callable[..., str]]:
    """(handler) -> the URL of a new server of the packed folder."""
    servers = []

    def start(handler: type[Ranged] = Ranged) -> str:
        serving = partial(handler, directory=str(packed[0]))
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), serving))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def within_memory():
    """The peak memory of this process does not grow by much in the test."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KB


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[Callable[[str], str]]]:
    """() -> a block in which standard error is a terminal; its value: (last word) -> what the terminal has shown."""

    @contextmanager
    def block() -> Iterator[Callable[[str], str]]:  # pytest puts its own stream after the fixtures
        ours, theirs = pty.openpty()
        with os.fdopen(theirs, "w") as screen:
            monkeypatch.setattr(sys, "stderr", screen)
            termios.tcsetwinsize(theirs, (24, 80))

            def shown(last: str) -> str:
                screen.write(last)
                screen.flush()
                text = ""
                while not text.endswith(last):  # a terminal hands on in parts
                    text += os.read(ours, 10_000).decode()
                return text

            yield shown
        os.close(ours)

    return block
