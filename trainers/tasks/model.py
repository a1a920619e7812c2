"""The network that an evaluation names, and its features."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...augment.spec import View
from ...pipeline.batch import Loader
from ...pipeline.static.read import StaticSet
from ...shards.errors import UserError
from ...shards.manifest import Manifest
from ...shards.names import open_file
from ..checkpoints.layouts import read
from ..checkpoints.loading import load_backbone
from ..data import Sets
from ..evals.checks import constant
from ..evals.features import features, view_features
from ..evals.overlap import overlap, warned
from ..loaders import evaluating, open_pair
from ..methods.supervised import classifier
from ..nets.encoder import backbone, check_sizes, seeded
from ..precision import dtype_of
from ..ranks import rank, world_size
from ..recipes.tested import evaluation_views
from .kept import Features, kept
from .options import Evaluation

LOG = logging.getLogger(__name__)

Results = Iterator[tuple[str, float]]  # (name, value) of each number of an evaluation


class EvaluatedModel:
    """The network that `options` name, and its features of any set. UserError for a checkpoint that does not fit.

    `facts`: what results.json holds besides the numbers; the test of a probe adds to those of its evaluation.
    """

    def __init__(self, options: Evaluation, device: torch.device, facts: dict[str, Any] | None = None):
        if not options.checkpoint:
            raise UserError("no network to evaluate: name one with --checkpoint runs/<run>/last.pt")
        self.options, self.device, self.path = options, device, Path(options.checkpoint)
        self.dtype = dtype_of(options.precision, device)
        self.weights = read(self.path, ema=options.ema)
        own = {
            "network": self.weights.choice(options.network),
            "precision": options.precision,
            "checkpoint_step": self.weights.step,
        }
        self.facts: dict[str, Any] = own if facts is None else facts
        recipe = self.weights.recipe
        self.arch = options.arch or self.weights.arch
        if not self.arch:
            raise UserError(f"{self.path} does not say which network it is of: name it with --arch")
        self.stem, self.size = str(recipe.get("stem", "imagenet")), options.size or int(recipe.get("size", 224))
        check_sizes(self.arch, [self.size])

    @cached_property
    def net(self) -> nn.Module:
        """The backbone, images -> features, on the device in eval mode."""
        seeded(int(self.weights.recipe.get("seed", 0)))
        net, _ = backbone(self.arch, self.stem, int(self.weights.recipe.get("blocks", 0)))
        if not self.options.untrained:
            loaded = load_backbone(net, self.path, which=self.options.network, ema=self.options.ema)
            if not rank():
                LOG.info(f"{self.arch}: {loaded}")
        return net.to(self.device, memory_format=torch.channels_last).eval()  # pyright: ignore[reportCallIssue]

    @cached_property
    def test_views(self) -> str:
        """The augmentation recipe of evaluated images: the one that the options name, else that of the training, which
        is printed."""
        chosen, recipe = self.options.test_views, self.weights.recipe
        if not chosen:
            chosen = evaluation_views(recipe)
            if not rank():
                why = "of the checkpoint's recipe" if recipe else "since the checkpoint names no recipe"
                LOG.info(f"test views: {chosen}, {why} (--test-views names others)")
        self.facts["test_views"] = chosen
        return chosen

    def open_pair(self, options: Sets, purpose: str) -> tuple[Manifest, Manifest]:
        """Training and test set, as `open_pair` of data.py gives them; the facts name both."""
        sets = open_pair(options, purpose)
        for name, data in zip(("data", "val"), sets, strict=True):
            self.facts[name] = {"name": data.info.name, "samples": len(data), "identity": data.identity}
        return sets

    def head(self, width: int, classes: int) -> nn.Module:
        """The checkpoint's classifier, on the CPU: features [N, width] -> scores [N, classes]."""
        head = classifier(str(self.weights.recipe.get("classifier", "linear")), width, classes)
        state = self.weights.head(self.options.network)
        if _shapes(head.state_dict()) != _shapes(state):
            raise UserError(
                f"{self.path} holds no classifier of {classes} classes for {self.arch}: name the --data it was trained "
                f"on, or train one with --task linear"
            )
        head.load_state_dict(state)
        return head.eval()

    def views(self, static: str, mode: str) -> tuple[tuple[Tensor, ...], Tensor]:
        """Features [N, D] of the originals and of two views each of a static set, and labels [N]."""
        if not static:
            raise UserError(
                "no static set to evaluate on: `python tools/make_static.py` makes one, name it with --static"
            )
        self.facts["data"] = {"name": Path(static).resolve().name}
        batch, device, check = self.options.batch_size, self.device, self.options.check
        ranks = {"world_size": world_size(), "rank": rank()}
        loader = StaticSet(Path(static), mode, batch=batch, **ranks, device=device, check=check)
        with closing(loader):
            views, labels = view_features(self.net, loader, len(loader.items), 3, self.dtype)
        self._warn_if_constant(views[0])
        return views, labels

    def features(self, data: Manifest, test_views: str = "") -> tuple[Tensor, Tensor]:
        """Features [N, D] and labels [N] of a set, each image once, in manifest order, on every rank."""
        options, recipe = self.options, test_views or self.test_views
        with closing(evaluating(data, self.size, options.batch_size, options, self.device, recipe)) as loader:
            x, labels = self._kept_features(loader, len(data), f"{data.identity} {recipe} ".encode())
        self._warn_if_constant(x)
        return x, labels

    def view_features(self, data: Manifest, view: View, count: int) -> Tensor:
        """Features [N, count, D] of `count` draws of a training view of each image of a set, on every rank."""
        options = self.options
        with closing(evaluating(data, self.size, options.batch_size, options, self.device, (view,) * count)) as loader:
            views, _ = view_features(self.net, loader, len(data), count, self.dtype)
        return torch.stack(views, dim=1)

    def compare(self, bank: Manifest, test: Manifest, *, quiet: bool = False) -> None:
        """Record how many test images are in the bank, unless it is recorded; `quiet`: without a warning."""
        if "test_images_in_bank" not in self.facts:
            found = (overlap if quiet else warned)(bank, test)
            self.facts |= {"test_images": len(test), "test_images_in_bank": found}

    def _kept_features(self, loader: Loader, samples: int, identity: bytes) -> Features:
        """Features of a loader; with `--features`, those of an earlier evaluation of the same network and set."""
        options = self.options
        if not options.features:
            return features(self.net, loader, samples, self.dtype)
        with open_file(self.path) as file:  # in pieces: it may be larger than what is left of memory
            digest = hashlib.file_digest(file, lambda: hashlib.sha256(identity))
        chosen = (options.network, options.ema, self.size, options.untrained, options.precision)
        digest.update(repr((self.arch, *chosen)).encode())
        file = Path(options.features) / f"{digest.hexdigest()[:16]}.npz"
        return kept(file, self.device, lambda: features(self.net, loader, samples, self.dtype))

    def _warn_if_constant(self, x: Tensor) -> None:
        if (text := constant(x)) and "constant_features" not in self.facts:
            self.facts["constant_features"] = True
            if not rank():
                LOG.warning(text)


def _shapes(state: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in state.items()}
