"""Training steps on a CPU for suite.py: ours on a batch at hand and with the loader, against plain torch."""

import copy
import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from viewstream.augment.spec import IMAGENET_MEAN, IMAGENET_STD
from viewstream.pipeline.batch import Batch
from viewstream.pipeline.workers import share_of_cores
from viewstream.tools.bench.measuring.apart import Case
from viewstream.tools.bench.measuring.rounds import compared
from viewstream.tools.bench.parts.sets import Setting
from viewstream.trainers.nets.encoder import encoder
from viewstream.trainers.recipes import recipe_named
from viewstream.trainers.recipes.options import Recipe
from viewstream.trainers.threads import Threads, taken
from viewstream.trainers.training import setup
from viewstream.trainers.training.loop import Stepper
from viewstream.trainers.training.options import Run
from viewstream.trainers.training.threads import of_run

QUEUE, SIZE = 512, 64
STEPS = 8  # per round


def groups(setting: Setting) -> dict[str, Case]:
    """A small and a usual network."""
    networks = {"test_resnet": 64} if setting.quick else {"test_resnet": 64, "resnet18": 32}
    return {
        f"MoCo step, {arch}, {SIZE} px, batch of {batch}": partial(steps, setting, arch, batch)
        for arch, batch in networks.items()
    }


def steps(setting: Setting, arch: str, batch: int) -> dict[str, Any]:
    """Steps of MoCo v2: networks alone, ours, those of a plain loop; then end to end, with the data loaded.

    Ours and the networks alone take the threads of a run, and a plain loop those that torch takes by itself.
    """
    recipe = replace(
        recipe_named("", "moco"), arch=arch, size=SIZE, batch_size=batch, queue=QUEUE, bn_groups=1, epochs=1
    )
    run, device = Run(loader="webdataset"), torch.device("cpu")
    data = setting.set(SIZE, copies=8)
    with closing(setup.training_loader(recipe, run, data, device)) as loader:
        state = setup.training_state(recipe, run, data, device, fresh=False)
        threads = of_run(recipe, run, state.method, device, None, 0)
        stepper = Stepper(state, recipe, len(loader))
        held = next(_endless(loader.epoch))
        stepper.prefill(loader)
        batches, numbers = _endless(loader.epoch), itertools.count()

        def ours(feed: Iterator[Batch]) -> Callable[[int], float]:
            def case(_: int) -> float:
                for _ in range(STEPS):
                    stepper.step(next(numbers) % stepper.total, feed)
                return STEPS * batch

            return case

        plain = Plain(recipe)
        folder = _folder(str(data.root / "folder"), batch)
        todo: dict[str, Callable[[int], float]] = {
            "networks alone": partial(_on, threads, plain.case(itertools.repeat(held.views), learning=False)),
            "viewstream, a batch at hand": partial(_on, threads, ours(itertools.repeat(held))),
            "plain torch, a batch at hand": plain.case(itertools.repeat(held.views)),
            "viewstream, end to end": partial(_on, threads, ours(batches)),
            "plain torch and torchvision, end to end": plain.case(folder),
        }
        peers = [name for name in todo if "plain" in name]
        return compared(
            todo,
            setting.rounds,
            unit="image",
            floor="networks alone",
            peers=peers,
            threads=threads.number,
            threads_of_peers=torch.get_num_threads(),
        )


class Plain:
    """MoCo in a few lines of torch: what a person writes who has no framework."""

    def __init__(self, recipe: Recipe):
        network: Any = encoder(recipe.arch, "mlp", 128)
        self.online: nn.Module = network.to(memory_format=torch.channels_last).train()
        self.target, self.keys = copy.deepcopy(self.online), F.normalize(torch.randn(128, QUEUE), dim=0)
        self.optimizer = torch.optim.SGD(self.online.parameters(), 0.03, momentum=0.9, weight_decay=1e-4)

    def case(self, feed: Iterator[tuple[Tensor, ...]], *, learning: bool = True) -> Callable[[int], float]:
        """STEPS steps; without `learning` the networks run forward and backward, and nothing changes."""

        def run(_: int) -> float:
            return sum(self._step(*next(feed), learning=learning) for _ in range(STEPS))

        return run

    def _step(self, x1: Tensor, x2: Tensor, *, learning: bool) -> int:
        with torch.no_grad():
            if learning:
                for ours, theirs in zip(self.target.parameters(), self.online.parameters(), strict=True):
                    ours.mul_(0.999).add_(theirs, alpha=0.001)
            k = F.normalize(self.target(x2), dim=1)
        q = F.normalize(self.online(x1), dim=1)
        scores = torch.cat([(q * k).sum(1, keepdim=True), q @ self.keys], dim=1) / 0.2
        self.optimizer.zero_grad()
        F.cross_entropy(scores, torch.zeros(len(q), dtype=torch.long)).backward()
        if learning:
            self.optimizer.step()
            self.keys = torch.cat([self.keys[:, len(k) :], k.T], dim=1)
        return len(q)


def _on(threads: Threads, case: Callable[[int], float], number: int) -> float:
    with taken(threads):
        return case(number)


def _endless(epoch: Callable[[int], Any]) -> Iterator[Any]:
    for number in itertools.count():
        yield from epoch(number)


def _folder(root: str, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Two MoCo v2 views per image by torchvision on PIL, in worker processes."""
    view = transforms.Compose(
        [
            transforms.RandomResizedCrop(SIZE, (0.2, 1.0)),
            transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
            transforms.RandomGrayscale(0.2),
            transforms.RandomApply([transforms.GaussianBlur(9, (0.1, 2.0))], 0.5),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    data = ImageFolder(root, transform=Twice(view))
    options: dict[str, Any] = {"num_workers": share_of_cores(), "persistent_workers": True, "drop_last": True}
    loader = DataLoader(data, batch, shuffle=True, **options)
    return _endless(lambda _: (tuple(views) for views, _ in loader))


class Twice:
    """Two views of an image; worker processes can receive it."""

    def __init__(self, view: Callable[[Any], Tensor]):
        self.view = view

    def __call__(self, image: Any) -> tuple[Tensor, Tensor]:
        return self.view(image), self.view(image)
