"""DALI's graph on a GPU, without one: where each operand lies, and what the decoder and the pipeline get."""

import importlib.util
import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from viewstream.augment.recipes import VIEWS, byol
from viewstream.augment.renderers import dali
from viewstream.augment.renderers.dali_graph import graph, split
from viewstream.augment.spec import GaussianBlur, Grayscale, HorizontalFlip, Normalize, RandomResizedCrop, Solarize

from .dali_stub import Node, Stub
from .dali_views import drawn

WITHOUT = importlib.util.find_spec("nvidia") is None or importlib.util.find_spec("nvidia.dali") is None
installed = pytest.mark.skipif(WITHOUT, reason="DALI is not installed: the extra 'dali' brings it")
WHOLE = ((RandomResizedCrop(32), GaussianBlur(), Grayscale(), Solarize(), HorizontalFlip(), Normalize()),)
RECIPES = {name: make(96) for name, make in VIEWS.items()} | {"all in DALI": WHOLE}
ENGINE = {"hw_decoder_load": 0.5, "preallocate_width_hint": 500, "device_memory_padding": 1 << 20}


def nodes(views, device, decoder=None):
    stub = Stub()
    return graph(stub, views, device, decoder or {}), stub.made


@pytest.mark.parametrize("views", RECIPES.values(), ids=RECIPES)
def test_on_a_gpu_every_view_ends_there_and_no_argument_by_name_lies_there(views):
    outputs, made = nodes(views, "gpu")  # the stub refuses such arguments, and operands on both devices
    assert [node.device for node in outputs] == ["gpu"] * len(views)
    assert [node.named["device"] for node in made if node.op == "decoders.image"] == ["mixed"]
    assert [node.device for node in nodes(views, "cpu")[0]] == ["cpu"] * len(views)


def test_kernels_of_a_blur_and_thresholds_lie_on_the_gpu_as_operands():
    _, made = nodes(WHOLE, "gpu")
    filters = [node for node in made if node.op == "filter"]
    assert len(filters) == 2
    assert all([operand.device for operand in node.inputs] == ["gpu", "gpu"] for node in filters)
    moved = [node.inputs[0].named["name"] for node in made if node.op == "gpu"]
    assert moved == ["GaussianBlur0", "Solarize0"]
    assert not [node for node in nodes(WHOLE, "cpu")[1] if node.op == "gpu"]


def test_one_decoder_makes_all_pixels_unless_the_jpeg_engine_gets_a_share():
    (plain,) = (node.named for node in nodes(WHOLE, "gpu")[1] if node.op == "decoders.image")
    assert plain["hw_decoder_load"] == 0
    assert plain["jpeg_fancy_upsampling"]
    assert not plain["adjust_orientation"]
    (shared,) = (node.named for node in nodes(WHOLE, "gpu", ENGINE)[1] if node.op == "decoders.image")
    assert shared | ENGINE == shared
    assert shared.keys() - ENGINE.keys() == plain.keys() - ENGINE.keys()


def test_the_stub_refuses_what_dali_refuses():
    stub = Stub()
    here = stub.external_source(name="a")
    for wrong in (
        lambda: stub.slice(here, start=here.gpu()),
        lambda: stub.filter(here.gpu(), here),
        lambda: here >= here.gpu(),
        lambda: here.gpu()[0:2],
        lambda: stub.decoders.image(here.gpu(), device="mixed"),
    ):
        with pytest.raises(AssertionError):
            wrong()


@installed
@pytest.mark.parametrize("views", RECIPES.values(), ids=RECIPES)
def test_dali_accepts_the_graph_of_a_gpu(views):
    import nvidia.dali

    pipe = nvidia.dali.Pipeline(4, 1, 0, exec_dynamic=True, prefetch_queue_depth=1)
    with pipe:
        outputs = graph(nvidia.dali, views, "gpu", ENGINE)
        pipe.set_outputs(*outputs)
    assert [node.device for node in outputs] == ["gpu"] * len(views)


@installed
def test_every_argument_by_name_is_one_of_the_operator_and_may_differ_per_sample_where_it_is_fed():
    from nvidia.dali.backend import GetSchema

    _, made = nodes((*WHOLE, *byol(32)), "gpu", ENGINE)
    for node in made:
        if node.op in ("item", "gpu", "arithmetic", "external_source"):
            continue
        schema = GetSchema(
            {"decoders.image": "decoders__Image"}.get(node.op, "".join(map(str.title, node.op.split("_"))))
        )
        for name, value in node.named.items():
            assert name == "device" or schema.HasArgument(name), f"{node.op} has no {name}"
            assert not isinstance(value, Node) or schema.IsTensorArgument(name), f"{node.op}: {name} is for all samples"


@pytest.fixture
def stub(monkeypatch):
    stub = Stub()
    monkeypatch.setitem(sys.modules, "nvidia", SimpleNamespace(dali=stub))
    monkeypatch.setitem(sys.modules, "nvidia.dali", stub)
    monkeypatch.setattr(torch, "from_dlpack", lambda tensor: tensor)
    return stub


def test_the_pipeline_of_a_gpu_gives_its_outputs_in_the_order_of_the_stream_that_takes_them(stub, monkeypatch, photos):
    stream = object()
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "current_stream", {1: stream}.__getitem__)
    renderer = dali.Renderer(WHOLE, 2, "gpu", threads=3, decoder=ENGINE)
    (pipe,) = stub.pipelines
    assert (pipe.samples, pipe.threads, pipe.index) == (2, 3, 1)
    assert pipe.options == {"exec_dynamic": True, "prefetch_queue_depth": 1}  # outputs(stream) needs exec_dynamic
    (decoder,) = (node.named for node in stub.made if node.op == "decoders.image")
    assert decoder | ENGINE == decoder
    jpegs = []
    for photo in photos(2):
        file = io.BytesIO()
        photo.save(file, "JPEG")
        jpegs.append(file.getvalue())
    hw = np.array([(photo.height, photo.width) for photo in photos(2)])
    (view,) = renderer(jpegs, hw, drawn(WHOLE, hw, range(2)))
    assert not split(WHOLE[0])[1]
    assert view.shape == (2, 3, 8, 8)
    assert pipe.streams == [stream]
    assert set(pipe.fed) == {"jpeg", "crop0", "GaussianBlur0", "Grayscale0", "Solarize0", "run"}
    assert pipe.fed[-1] == "run"
