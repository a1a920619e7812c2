"""Fixtures that several folders of tests share: small built sets, real input, programs run as users run them."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.exits import outcome
from viewstream.shards.manifest import Manifest
from viewstream.shards.messages import printed

os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch reads it at import: tiny networks get no faster with more threads
ROOT = Path(__file__).parents[1]
settings.register_profile("no clock", deadline=None)  # a busy machine fails no test
settings.load_profile("no clock")


def photo(rng: np.random.Generator, height: int, width: int) -> Image.Image:
    """An image of smooth colors, edges and a little noise: enough like a photograph for filters and codecs."""
    coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    edges = 40 * ((np.arange(width) // 23 + np.arange(height)[:, None] // 17) % 2)[..., None]
    return Image.fromarray((smooth + edges - 20 + rng.integers(-6, 7, smooth.shape)).clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def photos() -> Callable[[int], list[Image.Image]]:
    """(count) -> images of mixed sizes and shapes; one in eight is gray."""

    def make(count: int) -> list[Image.Image]:
        rng = np.random.default_rng(1)
        images = [photo(rng, *map(int, rng.integers(40, 320, 2))) for _ in range(count)]
        return [p.convert("L").convert("RGB") if i % 8 == 7 else p for i, p in enumerate(images)]

    return make


@pytest.fixture(scope="session", autouse=True)
def printing() -> Iterator[None]:
    """What library code has to say is printed, as programs do, so that tests can read it."""
    with printed():
        yield


@pytest.fixture(scope="session")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ImageFolder of 96 training and 24 validation images in four classes, sizes and shapes mixed."""
    root, rng = tmp_path_factory.mktemp("source") / "pets", np.random.default_rng(0)
    for split, count in (("train", 24), ("val", 6)):
        for name in ("cat", "dog", "eel", "fox"):
            (root / split / name).mkdir(parents=True)
            for n in range(count):
                size = rng.integers(40, 160, 2)
                photo(rng, *map(int, size)).save(root / split / name / f"{name}_{n}.JPEG", quality=92)
    return root


@pytest.fixture(scope="session")
def built(pets: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The training half in all three formats."""
    out = tmp_path_factory.mktemp("sets") / "pets"
    return build(BuildOptions(source=pets, out=out, format=("webdataset", "ffcv", "folder"), workers=1))


@pytest.fixture(scope="session")
def built_val(pets: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The validation half."""
    out = tmp_path_factory.mktemp("sets") / "pets-val"
    return build(BuildOptions(source=pets, out=out, split="val", format=("webdataset", "ffcv", "folder"), workers=1))


@pytest.fixture(scope="session")
def several(pets: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The training half in several tars and a .beton, a part of it raw pixels."""
    out, kinds = tmp_path_factory.mktemp("sets") / "several", ("webdataset", "ffcv")
    return build(BuildOptions(source=pets, out=out, format=kinds, shard_size="60KB", raw_fraction=0.3, workers=1))


@pytest.fixture(scope="session")
def program() -> Callable[..., subprocess.CompletedProcess[str]]:
    """(script and its arguments, ranks=1) -> the finished process; torchrun starts several ranks."""

    def call(*argv: object, ranks: int = 1, **environment: str) -> subprocess.CompletedProcess[str]:
        start = [sys.executable]
        if ranks > 1:
            start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
        return subprocess.run(
            [*start, *map(str, argv)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return call


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """`program` of one rank within this process, which has imported torch already; for programs that end by themselves
    and leave no state here."""

    def call(file: str, *argv: object) -> subprocess.CompletedProcess[str]:
        main = importlib.import_module(f"viewstream.{file.removesuffix('.py').replace('/', '.')}").main
        words = [file, *map(str, argv)]
        with monkeypatch.context() as patch:
            patch.chdir(ROOT)
            patch.setattr(sys, "argv", words)
            capfd.readouterr()
            code, last = outcome(main)
            out, err = capfd.readouterr()
        return subprocess.CompletedProcess(words, code, out, err + (last and f"{last}\n"))

    return call


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real input; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("VIEWSTREAM_SHARED") or ROOT.parent / "shared")
    if not folder.is_dir():
        pytest.skip(f"no real input: {folder} is absent, $VIEWSTREAM_SHARED can name it")
    return folder


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the test, processes that are spawned find what test files define."""
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.fixture
def fake_gpu(monkeypatch: pytest.MonkeyPatch):
    """Within the test tensors have no memory, and may lie on a GPU that is not there (fake_gpu.py)."""
    from .fake_gpu import pretended

    with pretended(monkeypatch):
        yield
