"""Sets in small tars and of odd images, a server of tars, loaders that are closed at the end, a decoder of a GPU."""

import threading

import pytest
import simplejpeg
import torch

from viewstream.pipeline import gpu_decoder
from viewstream.shards.building.build import BuildOptions, build

from .server import FaultyServer
from .zoo import ODD, USUAL, grown, kept

HELPERS = ("dali.dali_loaders", "readers.fetched", "adapters.ffcv_loaders")
pytest.register_assert_rewrite(*(f"{__package__}.{name}" for name in HELPERS))


@pytest.fixture(scope="session")
def many(pets, tmp_path_factory):
    """The pets in many small tars."""
    out = tmp_path_factory.mktemp("sets") / "many"
    manifest = build(BuildOptions(source=pets, out=out, format=("webdataset",), shard_size="60KB", workers=1))
    assert len(manifest.tars()) > 5
    return manifest


@pytest.fixture
def server(many):
    """A web server for the set `many`."""
    with FaultyServer(many.root) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.over.set()
        running.shutdown()


@pytest.fixture(scope="session")
def image(photos):
    return photos(1)[0].resize((96, 70))


@pytest.fixture(scope="session")
def zoo(tmp_path_factory, image):
    """52 images, usual and odd."""
    return grown(tmp_path_factory.mktemp("plain") / "zoo", USUAL | ODD, image, each=2)


@pytest.fixture(scope="session")
def zoo_built(zoo, tmp_path_factory):
    out = tmp_path_factory.mktemp("sets") / "zoo"
    return build(BuildOptions(source=zoo, out=out, keep=True, format=("webdataset", "folder"), workers=1))


@pytest.fixture(scope="session")
def usual(tmp_path_factory, image):
    return grown(tmp_path_factory.mktemp("plain") / "usual", USUAL, image, each=3)


@pytest.fixture(scope="session")
def usual_kept(usual, tmp_path_factory):
    """The set built from `usual` with --keep, as tars only."""
    return kept(usual, tmp_path_factory.mktemp("sets") / "usual")


@pytest.fixture
def make_loader(built):
    """(views, loader class, ...) -> an open loader, `DaliLoader` by default; all are closed at the end."""
    from viewstream.pipeline.choose import open_reader
    from viewstream.pipeline.dali.loader import DaliLoader
    from viewstream.pipeline.options import LoaderOptions
    from viewstream.pipeline.plan.order import Plan

    opened = []

    def make(views, kind=DaliLoader, plan=None, manifest=built, reader="webdataset", **more):
        reader = open_reader(reader, manifest) if isinstance(reader, str) else reader
        plan = plan or Plan(len(manifest), 16, seed=5)
        opened.append(kind(manifest, plan, views, reader, LoaderOptions(**{"threads": 2, **more})))
        return opened[-1]

    yield make
    for loader in opened:
        loader.close()


class StandIn:
    """libjpeg-turbo in place of nvJPEG: like it, it makes planes of colors, and refuses a call without a name."""

    def __init__(self):
        self.calls = []

    def __call__(self, jpegs):
        self.calls.append(len(jpegs))
        headers = [simplejpeg.decode_jpeg_header(jpeg.numpy()) for jpeg in jpegs]
        assert all(color in ("YCbCr", "Gray") for _, _, color, _ in headers)
        try:
            images = [simplejpeg.decode_jpeg(jpeg.numpy()) for jpeg in jpegs]
        except ValueError as error:
            raise RuntimeError("nvJPEG status 2") from error
        return [torch.from_numpy(image).permute(2, 0, 1).contiguous() for image in images]


@pytest.fixture
def stand_in(monkeypatch):
    decode = StandIn()
    monkeypatch.setattr(gpu_decoder, "open_nvjpeg", lambda device: decode)
    return decode
