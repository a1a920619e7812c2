"""How much faster a run could be: the same steps on a resident batch, on cached batches, and on those of the loader.

    resident   one batch of random tensors that never leaves the device: the step alone, the ceiling
    cached     uint8 batches in the host's memory: the copy to the device and the renderer come on top
    loader     the real loader: reading, decoding and cropping come on top

Of the loader's steps, `waited` is spent waiting for data, without copy and rendering, which a cached batch takes too.
What is left beyond the cached steps was stolen: the loader's threads held the interpreter or the cores that launch the
step.
"""

import itertools
import logging
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ...pipeline.batch import Batch, Loader
from ...pipeline.loader import ViewLoader
from ...shards.files import partial_path, place, writing
from ..checkpoints.teacher import with_teacher
from ..ranks import process_group, rank
from ..recipes.options import Recipe
from ..threads import taken
from . import compiling, kernels, setup
from .device_errors import device_errors
from .limits import Headspace
from .loop import Stepper
from .options import Run
from .threads import of_run

LOG = logging.getLogger(__name__)

CACHED = 4  # batches


def profile(recipe: Recipe, run: Run) -> Headspace:
    """Measure the steps of a run on its own data; nothing of it is kept but the trace that `run.trace` names."""
    if run.trace:
        _writable(Path(run.trace))
    kernels.reserve_workspace(run)
    with process_group(run.device, run.watchdog) as device, kernels.kernels(run, device):
        recipe = with_teacher(recipe, run.teacher, run.network, ema=run.ema)
        compiles, data = compiling.compiled(run, device), run.training()
        errors = device_errors(recipe, device, None, partial(setup.takes_parts, recipe, data, None))
        with errors, closing(setup.training_loader(recipe, run, data, device)) as loader:
            state = setup.training_state(recipe, run, data, device, fresh=False)  # any weights are as fast
            threads = of_run(recipe, run, state.method, device, None, 0)
            if compiles:
                compiling.compile_encoders(state.method)
            stepper = Stepper(state, recipe, len(loader) // recipe.accumulate)
            with taken(threads):
                found = measured(stepper, loader, run.profile)
                if not rank():
                    LOG.info(f"{threads}\n{found}")
                if run.trace:
                    traced(stepper, loader, min(run.profile, 10), Path(run.trace))
    return found


def measured(stepper: Stepper, loader: Loader, steps: int, rounds: int = 3) -> Headspace:
    """Take `steps` steps of each kind in turn, `rounds` times after one to warm up: medians."""
    stepper.prefill(loader)
    resident = _random_like(loader)
    feeds: dict[str, Callable[[int], Iterator[Batch]]] = {"resident": lambda number: itertools.repeat(resident)}
    if isinstance(loader, ViewLoader):
        feeds["cached"] = _cached(loader)
    feeds["loader"] = lambda number: _epochs(loader, number)
    taken, device = itertools.count(), stepper.state.device
    times: dict[str, list[float]] = {name: [] for name in feeds}
    waits: dict[str, list[float]] = {name: [] for name in feeds}
    for number in range(rounds + 1):
        for name, feed in feeds.items():
            batches = feed(number)
            seconds, waited = _timed(stepper, batches, steps, taken, device)
            del batches  # ends the loader's reading ahead
            if number:
                times[name].append(seconds)
                waits[name].append(waited)
    peak = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else 0.0
    medians, waited = ({n: statistics.median(values) for n, values in all.items()} for all in (times, waits))
    images = len(resident.index) * stepper.recipe.accumulate
    more = max(0.0, waited["loader"] - waited.get("cached", waited["resident"]))
    return Headspace(medians, more, images, peak)


def _timed(
    stepper: Stepper, batches: Iterator[Batch], steps: int, taken: Iterator[int], device: torch.device
) -> tuple[float, float]:
    """Seconds per step, and of these the ones spent in `next(batches)`; the first two steps are not counted."""
    waited = 0.0

    def waiting() -> Iterator[Batch]:
        nonlocal waited
        while True:
            start = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - start
            yield batch

    source, begin = waiting(), 0.0
    for number in range(steps + 2):
        if number == 2:
            _wait(device)
            begin, waited = time.perf_counter(), 0.0
        stepper.step(next(taken) % stepper.total, source)
    _wait(device)
    return (time.perf_counter() - begin) / steps, waited / steps


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _random_like(loader: Loader) -> Batch:
    """The loader's first batch, its views replaced by random numbers."""
    first = next(_epochs(loader, 0))
    return first._replace(views=tuple(torch.randn_like(view) for view in first.views))


def _cached(loader: ViewLoader) -> Callable[[int], Iterator[Batch]]:
    """CACHED batches of the host over and over, copied and rendered for each step."""

    def kept(t: Tensor) -> Tensor:
        if t.is_cuda:  # decoded or held there
            return t
        return torch.empty_like(t, pin_memory=loader.device.type == "cuda").copy_(t)

    with closing(loader.host_batches(0)) as hosts:
        held = [host.map(kept) for host in itertools.islice(hosts, CACHED)]
    return lambda number: loader.rendered(itertools.cycle(held))


def _epochs(loader: Loader, number: int) -> Iterator[Batch]:
    """Batches of the loader without end."""
    for epoch in itertools.count(number):
        with closing(loader.epoch(epoch)) as batches:  # pyright: ignore[reportArgumentType]
            yield from batches


def _writable(path: Path) -> None:
    """UserError for a file that cannot be written: before the steps, and torch would only print a line."""
    with writing(path):
        if path.is_dir():
            raise IsADirectoryError("it is a folder")
        partial_path(path).touch()
        partial_path(path).unlink()


def traced(stepper: Stepper, loader: Loader, steps: int, path: Path) -> None:
    """Write a trace of `steps` steps with the loader on rank 0, which chrome://tracing and ui.perfetto.dev show."""
    batches = _epochs(loader, 0)
    for number in range(2):
        stepper.step(number, batches)
    with nullcontext() if rank() else torch.profiler.profile() as profiler:
        for number in range(2, 2 + steps):
            stepper.step(number, batches)
        _wait(stepper.state.device)
    if profiler:
        with writing(path):
            profiler.export_chrome_trace(str(partial_path(path)))
            place(partial_path(path), path)
