"""Images per second of MoCo v2's view without its crop: this project, kornia, torchvision v2 and PIL in one run.

Cases alternate (A B C D A B C D ...), and medians are compared. Ratios are comparable across days, absolute numbers
are not. All cases start from uint8 squares, end at normalized float32 and use the same threads; PIL has one process, so
it is compared per core. torchvision runs one image at a time, as in a data set: a whole batch would share one draw. All
blur kernels have the same reach. A GPU adds the time relative to its memory bandwidth, a check for host syncs, and the
compiled renderer.

  python tools/bench/augment.py --data data/shards/imagenet-lt6-train
"""

import json
import statistics
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from viewstream.shards.cli import parse, run

# isort: split
import numpy as np

from viewstream.augment.crops import on_device, rest
from viewstream.augment.draw import draw
from viewstream.augment.recipes import moco_v2
from viewstream.augment.renderers import packing
from viewstream.augment.spec import HideAndSeek, Normalize, RandomResizedCrop, Solarize, View
from viewstream.pipeline.workers import share_of_cores
from viewstream.shards.files import atomic
from viewstream.tools.bench.measuring.rounds import in_rounds

if TYPE_CHECKING:  # torch is imported after --help, which needs none
    from torch import Tensor

    from viewstream.tools.bench.augment_cases import Case

DRAWN = 256  # samples per batch when draws are timed
TARGETS = {"ours / kornia container": 3.0, "ours / (PIL x threads)": 5.0}  # ratios on a CPU


@dataclass(frozen=True)
class Bench:
    """What to measure"""

    data: Annotated[str, "a built data set whose images to use instead of synthetic ones"] = ""
    size: Annotated[int, "side of a view, px", 16] = 224
    batch_size: Annotated[int, "images per batch", 1] = 64
    rounds: Annotated[int, "measured rounds, after one warm-up round", 1] = 5
    threads: Annotated[int, "torch threads in every case (the cores available)", 0] = 0
    device: Annotated[Literal["auto", "cpu", "cuda"], "device of all cases but PIL, which stays on the CPU"] = "auto"
    out: Annotated[Path | None, "JSON to write"] = None


def seconds(cases: "dict[str, Case]", rounds: int, cuda: bool = False) -> dict[str, float]:
    """Median seconds per call of each case."""

    def timed(name: str, _: int) -> float:
        start = time.perf_counter()
        cases[name]()
        if cuda:
            import torch

            torch.cuda.synchronize()
        return time.perf_counter() - start

    return {name: statistics.median(values) for name, values in in_rounds(cases, rounds, timed).items()}


def time_draws(view: View, rounds: int) -> dict[str, float]:
    """Microseconds per op, view and sample: of each op drawn alone, of the whole view, and of packing it."""
    uid, hw = np.arange(DRAWN, dtype=np.uint64), np.full((DRAWN, 2), 400)
    drawn = partial(draw, uid=uid, hw=hw, seed=0, epoch=0, number=0)
    ops = [op for op in (*view, Solarize()) if not isinstance(op, Normalize)]
    cases: dict[str, Case] = {type(op).__name__: partial(drawn, (op,)) for op in ops}
    cases["HideAndSeek after a RandomResizedCrop"] = partial(drawn, (RandomResizedCrop(224), HideAndSeek()))
    cases["view"] = partial(drawn, view)
    cases["pack"] = partial(packing.pack, rest(view, drawn(view)), DRAWN)
    took = seconds(cases, 20 * rounds)
    whole = len(view) - 1  # ops of the whole view: Normalize draws nothing
    return {name: took[name] * 1e6 / DRAWN / (whole if name in ("view", "pack") else 1) for name in cases}


def time_cuda(pixels: "Tensor", view: View, rounds: int) -> dict[str, float]:
    """The renderer alone, to half precision, eager and compiled. Raises if the host would wait for the device.

    Images per second, and the time over the floor: the smallest possible traffic (read uint8, write halves) at the
    bandwidth that a copy within the memory reaches.
    """
    import torch

    from viewstream.augment.renderers import device
    from viewstream.tools.bench.augment_cases import parameters

    n, ops, block = len(pixels), on_device(view), torch.empty(1 << 28, dtype=torch.uint8, device="cuda")
    packed = torch.from_numpy(parameters(view, n, 0)).cuda()
    cases: dict[str, Case] = {"copy": block.clone}
    for name, render in (("eager", device.render), ("compiled", device.compiled(n))):
        cases[name] = partial(render, ops, pixels, packed, torch.float16)
        cases[name]()
    torch.cuda.set_sync_debug_mode("error")
    try:
        cases["eager"]()
        cases["compiled"]()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    took = seconds(cases, 4 * rounds, cuda=True)
    floor = pixels.numel() * 3 / (2 * block.numel() / took["copy"])  # seconds
    rates = {f"{name}, images per second": n / took[name] for name in ("eager", "compiled")}
    return rates | {f"{name}, time over the floor": took[name] / floor for name in ("eager", "compiled")}


def measure(options: Bench, threads: int, where: str) -> dict[str, Any]:
    """All measurements, as --out keeps them."""
    import torch

    from viewstream.augment.renderers import device, host
    from viewstream.tools.bench import augment_cases as made

    images, view = made.squares(options.data, options.batch_size, options.size), moco_v2(options.size)[0]
    pixels = torch.from_numpy(images).to(where)
    cases: dict[str, Case] = {
        "ours": made.ours(pixels, view, host.render if pixels.device.type == "cpu" else device.render),
        "torchvision v2, an image": made.torchvision_v2(pixels),
        "kornia container": made.kornia_container(pixels),
        "PIL, one process": made.pil(images),
    }
    took = seconds(cases, options.rounds, where == "cuda")
    rates = {name: len(images) / took[name] for name in cases}
    ratios = {f"ours / {name}": rates["ours"] / rates[name] for name in list(cases)[1:3]}
    ratios["ours / (PIL x threads)"] = rates["ours"] / (rates["PIL, one process"] * threads)
    draws = seconds({"draw and pack": partial(made.parameters, view, len(images), 0)}, options.rounds)
    results: dict[str, Any] = {"pictures_per_second": rates, "ratios": ratios}
    results["share of draw and pack"] = draws["draw and pack"] / took["ours"]
    results["microseconds_per_op_view_and_sample"] = time_draws(view, options.rounds)
    if where == "cuda":
        results["cuda"] = time_cuda(pixels, view, options.rounds)
    return results


def main() -> None:
    (options,) = parse(Bench(), description=__doc__ or "")

    import torch

    threads = options.threads or share_of_cores()
    where = options.device if options.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(threads)
    with torch.inference_mode():
        results = measure(options, threads, where)
    print(f"{options.batch_size} images of {options.size} px, {threads} threads, {where}")
    for name, rate in results["pictures_per_second"].items():
        print(f"{name:<32} {rate:8.0f} images/s")
    for name, ratio in results["ratios"].items():
        target = f"   target {TARGETS[name]:g}" if where == "cpu" and name in TARGETS else ""
        print(f"{name:<32} {ratio:8.2f}{target}")
    print(f"{'draw and pack, share of ours':<32} {results['share of draw and pack']:8.1%}")
    for name, took in results["microseconds_per_op_view_and_sample"].items():
        print(f"{'draw ' * (name != 'pack') + name:<32} {took:8.3f} us per op, view and sample, batches of {DRAWN}")
    for name, value in results.get("cuda", {}).items():
        print(f"{name:<32} {value:8.2f}")
    if options.out:
        with atomic(options.out, "w") as file:
            json.dump({**results, "threads": threads, "device": where, "size": options.size}, file, indent=1)


if __name__ == "__main__":
    run(main)
