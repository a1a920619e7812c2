"""Small trees of real JPEGs, packed as every kind of source, and a server of them."""

import http.server
import io
import threading
from collections.abc import Callable, Iterator
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


def _picture(seed: int, height: int = 60, width: int = 80) -> np.ndarray:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    return np.clip(smooth + rng.integers(-4, 5, smooth.shape), 0, 255).astype(np.uint8)


def _jpeg(seed: int, height: int = 60, width: int = 80) -> bytes:
    return simplejpeg.encode_jpeg(_picture(seed, height, width), 92)


def _saved(image: Image.Image, form: str, **how: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **how)
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
def picture() -> Callable[..., np.ndarray]:
    """(seed, height, width) -> [H, W, 3] uint8, smooth with a little noise: like a photograph to a codec."""
    return _picture


@pytest.fixture(scope="session")
def jpeg() -> Callable[..., bytes]:
    """(seed, height, width) -> such an image as a JPEG."""
    return _jpeg


@pytest.fixture(scope="session")
def saved() -> Callable[..., bytes]:
    """(PIL image, format, options) -> what PIL writes."""
    return _saved


@pytest.fixture(scope="session")
def grow() -> Callable[..., Path]:
    """(root, {class: pictures}, split, side) -> root, with files `class_n.JPEG` of various sizes."""
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
    """Options for `tree` into a new folder, one process unless told otherwise."""

    def make(**changes: object) -> BuildOptions:
        return BuildOptions(**{"source": str(tree), "out": tmp_path / "out", "workers": 1, **changes})  # pyright: ignore

    return make


@pytest.fixture
def no_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the user's environment says where published lists are."""
    monkeypatch.delenv("VIEWSTREAM_LISTS", raising=False)


@pytest.fixture(scope="module")
def wnids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three of ImageNet's classes, one file with an odd name."""
    tree = _grow(tmp_path_factory.mktemp("wnids"), {f"n0000000{c}": 5 + c for c in range(3)}, side=24)
    (tree / "train" / "n00000001" / "n00000001_0.JPEG").rename(tree / "train" / "n00000001" / "é ü.JPEG")
    return tree


@pytest.fixture(scope="module")
def packed(wnids: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with `wnids` as every kind, and where in it each lies."""
    root = tmp_path_factory.mktemp("packed")
    return root, {kind: f"{kind}/{pack(wnids, kind, root / kind)}".rstrip("/") for kind in KINDS}


@pytest.fixture(scope="module")
def serve(packed: tuple[Path, dict[str, str]]) -> Iterator[Callable[..., str]]:
    """(handler) -> the URL of a server of the packed folder."""
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
