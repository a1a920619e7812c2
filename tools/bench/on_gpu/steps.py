"""Training steps on a GPU for gpu.py: through `train` where waiting is an error, and against the ceiling."""

import itertools
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from viewstream.pipeline.batch import Batch, Loader
from viewstream.trainers.checkpoints.manager import CheckpointManager
from viewstream.trainers.precision import without_tf32
from viewstream.trainers.recipes import recipe_named
from viewstream.trainers.recipes.options import Recipe
from viewstream.trainers.training import compiling, kernels, setup
from viewstream.trainers.training.headspace import profile
from viewstream.trainers.training.log import Log
from viewstream.trainers.training.loop import Stepper, train
from viewstream.trainers.training.options import Run

WARM, CHECKED = 10, 50  # steps before waiting is an error, and steps for which it is
QUEUE = 2048
BATCH = {"resnet50": 256, "resnet18": 512, "mobilenetv3_large": 512}


class Guarded:
    """A loader whose consumer must not wait for the GPU in steps WARM to WARM + CHECKED."""

    def __init__(self, loader: Loader, device: torch.device):
        self.loader, self.device = loader, device

    def __len__(self) -> int:
        return WARM + CHECKED + 1

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Batches of as many epochs as it takes."""
        more = itertools.chain.from_iterable(self.loader.epoch(n) for n in itertools.count(number))
        for step, batch in enumerate(itertools.islice(more, len(self))):
            if self.device.type == "cuda" and step in (WARM, WARM + CHECKED):
                torch.cuda.set_sync_debug_mode("error" if step == WARM else "default")
            yield batch

    def close(self) -> None:
        self.loader.close()


def small(method: str, arch: str, size: int, batch: int, **more: Any) -> Recipe:
    """The recipe of a method that needs little time: one epoch, in bf16 on a GPU."""
    queue = {"queue": QUEUE} if method in ("moco", "kcl", "seed") else {}
    teacher = {"teacher_arch": arch} if method == "seed" else {}
    recipe = recipe_named("", method)
    common = {"arch": arch, "size": size, "batch_size": batch, "epochs": 1, "accumulate": 1, "precision": "auto"}
    return replace(recipe, **common, **queue, **teacher, **more)


def without_waiting(
    method: str, data: Path, *, compiled: bool, arch: str = "resnet18", size: int = 64, batch: int = 256
) -> dict[str, Any]:
    """Train a method for WARM + CHECKED steps; RuntimeError if one of the last CHECKED waits for the GPU."""
    run = Run(data=str(data), loader="webdataset", compile="on" if compiled else "off", log_every=10**6)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    manifest, recipe = run.training(), small(method, arch, size, batch)
    with (
        kernels.kernels(run, device),
        closing(setup.training_loader(recipe, run, manifest, device)) as loader,
        tempfile.TemporaryDirectory() as folder,
    ):
        state = setup.training_state(recipe, run, manifest, device, fresh=False)
        if compiled:
            compiling.compile_encoders(state.method)
        guarded, metadata = Guarded(loader, device), setup.metadata_of(recipe, run, manifest, None, None)
        checkpoints = CheckpointManager(Path(folder), state, metadata, per_epoch=len(guarded))
        steps = range(len(guarded))
        with checkpoints, closing(Log(Path(folder), steps, batch=batch, every=run.log_every)) as log:
            begin = time.perf_counter()
            taken = train(recipe, guarded, checkpoints, log)
            return {"steps": taken, "checked": CHECKED, "seconds": round(time.perf_counter() - begin, 1)}


def headspace(
    method: str, arch: str, data: Path, *, size: int = 224, batch: int = 0, steps: int = 20
) -> dict[str, Any]:
    """What limits a step in bf16, compiled, channels_last."""
    found = profile(small(method, arch, size, batch or BATCH[arch]), _run(data, steps))
    return {**asdict(found), "reached": found.reached, "lost": found.lost}


@without_tf32()
def plain(method: str, arch: str, data: Path, *, size: int = 224, batch: int = 0, steps: int = 20) -> dict[str, Any]:
    """Seconds per step on one resident batch in fp32, eager, NCHW, without TF32."""
    recipe, run = small(method, arch, size, batch or BATCH[arch]), _run(data, steps)
    recipe = replace(recipe, precision="fp32")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    manifest = run.training()
    state = setup.training_state(recipe, run, manifest, device, fresh=False)
    state.method.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
    stepper, n = Stepper(state, recipe, steps + 3), recipe.batch_size
    with closing(setup.training_loader(recipe, run, manifest, device)) as loader:
        shapes = [view.shape for view in next(iter(loader.epoch(0))).views]
    views = tuple(torch.randn(shape, device=device) for shape in shapes)
    resident = Batch(views, torch.zeros(n, dtype=torch.long, device=device), torch.arange(n, device=device))
    batches, begin = itertools.repeat(resident), 0.0
    with kernels.kernels(run, device):  # those of the step that it is compared with
        for number in range(steps + 3):
            if number == 3:
                torch.cuda.synchronize() if device.type == "cuda" else None
                begin = time.perf_counter()
            stepper.step(number, batches)
        torch.cuda.synchronize() if device.type == "cuda" else None
    return {"seconds": (time.perf_counter() - begin) / steps}


def _run(data: Path, steps: int) -> Run:
    return Run(data=str(data), loader="ffcv", profile=steps, compile="auto")
