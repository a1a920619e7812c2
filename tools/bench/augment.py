"""Images a second of MoCo v2's view behind its crop: ours against kornia, torchvision v2 and PIL, in one run.

Rounds go through the cases in turn (A B C D A B C D ...), medians are compared. Ratios carry over to other days,
absolute numbers do not. All start at uint8 squares, end at normalized float32 and have the same threads; PIL has one
process, so it is compared per core. torchvision runs image by image, as in a data set: a whole batch would share
one draw. Kernels of blur have the same reach. On a GPU also: the distance to its memory's speed, host syncs, compiling.

  python tools/bench/augment.py --data data/shards/imagenet-lt6-train
"""

import json
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torchvision.transforms import transforms as v1
from torchvision.transforms import v2

from viewstream.augment.crops import on_device, rest
from viewstream.augment.draw import draw
from viewstream.augment.recipes import moco_v2
from viewstream.augment.renderers import device, host, packing
from viewstream.augment.spec import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    GaussianBlur,
    HideAndSeek,
    Normalize,
    RandomResizedCrop,
    Solarize,
    View,
)
from viewstream.pipeline.choose import open_reader
from viewstream.pipeline.loader import ViewLoader
from viewstream.pipeline.plan.order import Plan
from viewstream.pipeline.workers import share_of_cores
from viewstream.shards.cli import parse, run
from viewstream.shards.errors import needs
from viewstream.shards.files import atomic
from viewstream.shards.manifest import Manifest

JITTER, SIGMA = (0.4, 0.4, 0.4, 0.1), (0.1, 2.0)
TAPS = 2 * packing.reach(GaussianBlur()) + 1
DRAWN = 256  # samples a batch, for the time of a draw


@dataclass(frozen=True)
class Bench:
    """What to measure"""

    data: Annotated[str, "a built data set whose images to use, instead of synthetic ones"] = ""
    size: Annotated[int, "side of a view, px", 16] = 224
    batch_size: Annotated[int, "images a batch", 1] = 64
    rounds: Annotated[int, "measured rounds, after one that is not", 1] = 5
    threads: Annotated[int, "of torch, in every case (the cores that are there)", 0] = 0
    device: Annotated[Literal["auto", "cpu", "cuda"], "where; PIL stays on the CPU"] = "auto"
    out: Annotated[str, "JSON to write"] = ""


def squares(options: Bench) -> np.ndarray:
    """[N, S, S, 3] uint8, cut at random from the data set, or smooth colors with grain."""
    n, size = options.batch_size, options.size
    if options.data:
        manifest = Manifest.open(options.data)
        reader, views = open_reader(manifest.info.formats[0], manifest), ((RandomResizedCrop(size), Normalize()),)
        stream = ViewLoader(manifest, Plan(len(manifest), n), views, reader)
        with closing(stream), closing(stream.host_batches(0)) as batches:
            return next(batches).pixels.views()[0].numpy().copy()
    rng = np.random.default_rng(0)
    coarse = [Image.fromarray(c) for c in rng.integers(0, 256, (n, 7, 9, 3), dtype=np.uint8)]
    smooth = np.stack([np.asarray(c.resize((size, size), Image.Resampling.BICUBIC)) for c in coarse]).astype(np.int16)
    return (smooth + rng.integers(-6, 7, smooth.shape)).clip(0, 255).astype(np.uint8)


def parameters(view: View, samples: int, epoch: int) -> np.ndarray:
    """BatchParams and packed."""
    uid, hw = np.arange(samples, dtype=np.uint64), np.full((samples, 2), 400)
    return packing.pack(rest(view, draw(view, uid, hw, seed=0, epoch=epoch, number=0)), samples)


def ours(pixels: Tensor, view: View, render: Callable[..., Tensor], epochs: "count[int]") -> Tensor:
    """Draw, pack and render; the host would mirror while it cuts, at no cost, so here nobody does."""
    packed = torch.from_numpy(parameters(view, len(pixels), next(epochs)))
    if pixels.is_cuda:
        packed = packed.pin_memory().to(pixels.device, non_blocking=True)
    return render(on_device(view), pixels, packed)


def kornia_container(pixels: Tensor) -> Callable[[], Any]:
    """From [N, 3, S, S] uint8 in planes, which it likes best."""
    aug = needs("kornia.augmentation")
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    moves = (aug.ColorJitter(*JITTER, p=0.8), aug.RandomGrayscale(p=0.2),
             aug.RandomGaussianBlur((TAPS, TAPS), SIGMA, p=0.5), aug.RandomHorizontalFlip(p=0.5),
             aug.Normalize(mean=mean, std=std))  # fmt: skip
    container = aug.AugmentationSequential(*moves, data_keys=["input"]).to(pixels.device)
    planes = pixels.permute(0, 3, 1, 2).contiguous()
    return lambda: container(planes.float() / 255)


def torchvision_v2(pixels: Tensor) -> Callable[[], Any]:
    compose = v2.Compose(
        [v2.RandomApply([v2.ColorJitter(*JITTER)], 0.8), v2.RandomGrayscale(0.2),
         v2.RandomApply([v2.GaussianBlur(TAPS, SIGMA)], 0.5), v2.RandomHorizontalFlip(),
         v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(IMAGENET_MEAN), list(IMAGENET_STD))]
    )  # fmt: skip
    planes = pixels.permute(0, 3, 1, 2).contiguous()
    return lambda: torch.stack([compose(picture) for picture in planes])


def pil(pixels: np.ndarray) -> Callable[[], Any]:
    def blur(image: Image.Image) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(float(np.random.default_rng().uniform(*SIGMA))))

    compose = v1.Compose(
        [v1.RandomApply([v1.ColorJitter(*JITTER)], 0.8), v1.RandomGrayscale(0.2), v1.RandomApply([blur], 0.5),
         v1.RandomHorizontalFlip(), v1.ToTensor(), v1.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    )  # fmt: skip
    images = [Image.fromarray(picture) for picture in pixels]
    return lambda: torch.stack([compose(image) for image in images])  # pyright: ignore


def seconds(todo: dict[str, Callable[[], Any]], rounds: int, cuda: bool = False) -> dict[str, float]:
    """Median seconds a call of each case; the first round warms up and is not counted."""
    took: dict[str, list[float]] = {name: [] for name in todo}
    for _ in range(rounds + 1):
        for name, case in todo.items():
            start = time.perf_counter()
            case()
            if cuda:
                torch.cuda.synchronize()
            took[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[1:]) for name, values in took.items()}


def drawing(view: View, rounds: int) -> dict[str, float]:
    """Microseconds an op, view and sample: each op drawn alone, then the whole view, and packing it."""
    uid, hw = np.arange(DRAWN, dtype=np.uint64), np.full((DRAWN, 2), 400)
    how = partial(draw, uid=uid, hw=hw, seed=0, epoch=0, number=0)
    ops = [op for op in (*view, Solarize()) if not isinstance(op, Normalize)]
    todo: dict[str, Callable[[], Any]] = {type(op).__name__: partial(how, (op,)) for op in ops}
    todo["HideAndSeek after a RandomResizedCrop"] = partial(how, (RandomResizedCrop(224), HideAndSeek()))
    drawn, many = how(view), len(view) - 1  # Normalize draws nothing
    todo |= {"view": partial(how, view), "pack": partial(packing.pack, rest(view, drawn), DRAWN)}
    took = seconds(todo, 20 * rounds)
    return {name: took[name] * 1e6 / DRAWN / (many if name in ("view", "pack") else 1) for name in todo}


def on_cuda(pixels: Tensor, view: View, rounds: int) -> dict[str, float]:
    """The renderer alone, to half precision: images a second, as it is and compiled, and the share of the least
    traffic there can be (read uint8, write halves) in what the memory carries. Raises where the host would wait."""
    n, ops, one = len(pixels), on_device(view), torch.empty(1 << 28, dtype=torch.uint8, device="cuda")
    packed = torch.from_numpy(parameters(view, n, 0)).cuda()
    todo: dict[str, Callable[[], Any]] = {"copy": one.clone}
    for name, render in (("eager", device.render), ("compiled", torch.compile(device.render))):
        todo[name] = partial(render, ops, pixels, packed, torch.float16)
        todo[name]()
    torch.cuda.set_sync_debug_mode("error")
    try:
        todo["eager"]()
        todo["compiled"]()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    took = seconds(todo, 4 * rounds, cuda=True)
    least = pixels.numel() * 3 / (2 * one.numel() / took["copy"])  # seconds
    rates = {f"{name}, images a second": n / took[name] for name in ("eager", "compiled")}
    return rates | {f"{name}, time over the floor": took[name] / least for name in ("eager", "compiled")}


def report(options: Bench, threads: int, where: str) -> dict[str, Any]:
    """Everything measured, as --out keeps it."""
    given, view = squares(options), moco_v2(options.size)[0]
    pixels, epochs = torch.from_numpy(given).to(where), count()
    todo: dict[str, Callable[[], Any]] = {
        "ours": partial(ours, pixels, view, host.render if pixels.device.type == "cpu" else device.render, epochs),
        "torchvision v2, an image": torchvision_v2(pixels),
        "kornia container": kornia_container(pixels),
        "PIL, one process": pil(given),
    }
    took = seconds(todo, options.rounds, where == "cuda")
    rates = {name: len(given) / took[name] for name in todo}
    mine = rates["ours"]
    ratios = {f"ours / {name}": mine / rates[name] for name in todo if name in list(todo)[1:3]}
    ratios["ours / (PIL x threads)"] = mine / (rates["PIL, one process"] * threads)
    made = seconds({"draw and pack": partial(parameters, view, len(given), 0)}, options.rounds)
    found: dict[str, Any] = {"pictures_per_second": rates, "ratios": ratios}
    found["share of draw and pack"] = made["draw and pack"] / took["ours"]
    found["microseconds_per_op_view_and_sample"] = drawing(view, options.rounds)
    if where == "cuda":
        found["cuda"] = on_cuda(pixels, view, options.rounds)
    return found


def main() -> None:
    (options,) = parse(Bench(), description=__doc__ or "")
    threads = options.threads or share_of_cores()
    where = options.device if options.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(threads)
    with torch.inference_mode():
        found = report(options, threads, where)
    print(f"{options.batch_size} images of {options.size} px, {threads} threads, {where}")
    for name, rate in found["pictures_per_second"].items():
        print(f"{name:<32} {rate:8.0f} pictures/s")
    aims = {"ours / kornia container": 3.0, "ours / (PIL x threads)": 5.0}
    for name, ratio in found["ratios"].items():
        aim = f"   target {aims[name]:g}" if where == "cpu" and name in aims else ""
        print(f"{name:<32} {ratio:8.2f}{aim}")
    print(f"{'draw and pack, share of ours':<32} {found['share of draw and pack']:8.1%}")
    for name, took in found["microseconds_per_op_view_and_sample"].items():
        print(f"{'draw ' * (name != 'pack') + name:<32} {took:8.3f} us an op, view and sample, batches of {DRAWN}")
    for name, value in found.get("cuda", {}).items():
        print(f"{name:<32} {value:8.2f}")
    if options.out:
        with atomic(Path(options.out), "w") as file:
            json.dump({**found, "threads": threads, "device": where, "size": options.size}, file, indent=1)


if __name__ == "__main__":
    run(main)
