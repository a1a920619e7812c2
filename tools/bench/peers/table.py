"""Other loaders on the same images, for `loader.py --peers`: random crops and flips as uint8, no color work.

Stock ones are set up as in their own documentation, with the same crops, batch and number of threads or processes, and
draw crops by their own rules, as they do for their users. The others are the quickest that one can write by hand.
"""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, NamedTuple

from viewstream.augment.spec import RandomResizedCrop
from viewstream.shards.errors import installed, needs
from viewstream.tools.bench.loaders.job import Case, Job
from viewstream.tools.bench.peers.pooled import (
    simplejpeg_area,
    simplejpeg_linear,
    simplejpeg_pil,
    simplejpeg_v2,
    torchvision_v2,
)
from viewstream.tools.bench.peers.spdl_loaders import spdl_once, stock_spdl
from viewstream.tools.bench.peers.streams import stock_litdata, stock_streaming
from viewstream.tools.bench.peers.torch_loaders import stock_webdataset, torchvision_folder


def stock_ffcv(job: Job) -> Case:
    """ffcv as released: one pipeline per view, which decodes the JPEG again; crops by its own INTER_AREA resize."""
    ffcv, image, moves = needs("ffcv.loader"), needs("ffcv.fields.rgb_image"), needs("ffcv.transforms")
    spec = needs("ffcv.pipeline.pipeline_spec").PipelineSpec

    def pipeline(crop: RandomResizedCrop) -> object:
        decoder = image.RandomResizedCropRGBImageDecoder((crop.size, crop.size), scale=crop.area, ratio=crop.ratio)
        return spec("image", decoder=decoder, transforms=[moves.RandomHorizontalFlip(), moves.ToTensor()])

    pipelines = {f"view{i}": pipeline(crop) for i, crop in enumerate(job.crops)} | {"image": None, "label": None}
    options = {"order": ffcv.OrderOption.RANDOM, "drop_last": True, "os_cache": True, "num_workers": job.threads}
    loader = ffcv.Loader(str(job.manifest.beton_path()), job.batch, pipelines=pipelines, **options)
    return lambda epoch: sum(len(batch[0]) for batch in islice(iter(loader), job.batches))


def stock_dali(job: Job) -> Case:
    """A DALI graph on the CPU: webdataset reader, one decode, and per view an antialiased random crop and a flip."""
    dali = needs("nvidia.dali")
    fn, types = dali.fn, dali.types
    tars = [str(tar) for tar in job.manifest.tars()]
    files = {"paths": tars, "index_paths": [tar.removesuffix(".tar") + ".idx" for tar in tars], "ext": ["jpg", "cls"]}
    order = {"random_shuffle": True, "initial_fill": 500, "missing_component_behavior": "error", "name": "reader"}
    linear = {"interp_type": types.INTERP_LINEAR, "antialias": True}

    def view(image: Any, crop: RandomResizedCrop) -> Any:
        box = {"size": (crop.size, crop.size), "random_area": crop.area, "random_aspect_ratio": crop.ratio}
        return fn.flip(fn.random_resized_crop(image, **box, **linear), horizontal=fn.random.coin_flip())

    pipe = dali.Pipeline(job.batch, job.threads, None, prefetch_queue_depth=2)
    with pipe:
        jpeg, _ = fn.readers.webdataset(**files, **order)
        image = fn.decoders.image(jpeg, device="cpu", output_type=types.RGB)
        pipe.set_outputs(*(view(image, crop) for crop in job.crops))
    pipe.build()
    steps = job.samples // job.batch
    return lambda epoch: sum(len(pipe.run()[0]) for _ in range(steps))


class Peer(NamedTuple):
    """Another loader: `antialiased` unless large boxes lose pixels between the samples."""

    packages: tuple[str, ...]
    form: str  # of the set that it reads
    case: Callable[[Job], Case]
    antialiased: bool = True


PEERS: dict[str, Peer] = {
    "stock ffcv": Peer(("ffcv",), "ffcv", stock_ffcv),
    "stock DALI": Peer(("nvidia.dali",), "webdataset", stock_dali),
    "stock webdataset": Peer(("webdataset",), "webdataset", stock_webdataset),
    "torchvision folder": Peer(("torchvision",), "folder", torchvision_folder),
    "litdata": Peer(("litdata",), "webdataset", stock_litdata),
    "streaming": Peer(("streaming",), "webdataset", stock_streaming),
    "SPDL": Peer(("spdl.io",), "folder", stock_spdl),
    "SPDL, one decode + cv2 area": Peer(("spdl.io", "cv2"), "folder", spdl_once),
    "simplejpeg + v2 antialias": Peer(("torchvision",), "webdataset", simplejpeg_v2),
    "simplejpeg + cv2 area": Peer(("cv2",), "webdataset", simplejpeg_area),
    "simplejpeg + PIL": Peer(("PIL",), "webdataset", simplejpeg_pil),
    "torchvision decode + v2 antialias": Peer(("torchvision",), "webdataset", torchvision_v2),
    "simplejpeg + cv2 linear": Peer(("cv2",), "webdataset", simplejpeg_linear, antialiased=False),
}
STOCK = (*list(PEERS)[:7],)  # set up as in their documentation; the others are written by hand


def peers_of(job: Job, chosen: Iterable[str] = PEERS) -> tuple[dict[str, Case], dict[str, str]]:
    """The cases of the peers that can run here, and what the others need."""
    found: dict[str, Case] = {}
    left_out: dict[str, str] = {}
    for name in chosen:
        peer = PEERS[name]
        absent = [package for package in peer.packages if not installed(package)]
        if peer.form not in job.manifest.info.formats:
            left_out[name] = f"it needs a set in format {peer.form}"
        elif absent:
            left_out[name] = f"it needs {' and '.join(absent)}"
        else:
            try:
                found[name] = peer.case(job)
            except ImportError as error:  # a library under the package is absent
                left_out[name] = str(error).partition("\n")[0]
    return found, left_out
