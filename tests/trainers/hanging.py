"""A program for tests of the watchdog: trains a classifier, in which the first word says what takes long or stops."""

import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from viewstream.shards.cli import run
from viewstream.shards.manifest import Manifest
from viewstream.trainers.checkpoints import manager
from viewstream.trainers.launch import launch
from viewstream.trainers.methods.supervised import Supervised as Classifier
from viewstream.trainers.recipes.options import Supervised
from viewstream.trainers.training import validate
from viewstream.trainers.training.run import Run, pretrain


def last_rank():
    return int(os.environ.get("RANK", "0")) + 1 == int(os.environ.get("WORLD_SIZE", "1"))


class Stopping(Classifier):
    """A classifier whose last process gets a signal in its third step."""

    signal = signal.SIGSTOP

    def forward(self, batch, now):
        if now.step == 2 and last_rank():
            os.kill(os.getpid(), self.signal)
        return super().forward(batch, now)


@dataclass(frozen=True, kw_only=True)
class Stopped(Supervised):
    """A classifier that is stopped"""

    method_class: ClassVar = Stopping
    method: str = field(init=False, default="supervised")


class Files:
    """A reader of the images of a set, of which one never comes."""

    def __init__(self, data):
        self.data, self.reads = data, 0

    def read(self, row):
        self.reads += 1
        if last_rank() and self.reads > 40:
            time.sleep(600)
        return self.data.path(row).read_bytes()

    def locate(self, row):
        return str(self.data.path(row))

    def prefetch(self, rows):
        pass

    def close(self):
        pass


class SlowFile:
    """A file on a disk that takes a while for each write."""

    def __init__(self, file):
        self.file, self.flush = file, file.flush

    def write(self, data):
        time.sleep(0.015)
        return self.file.write(data)


class SlowLoader:
    """A loader that takes a while for each batch."""

    def __init__(self, loader):
        self.loader, self.close = loader, loader.close

    def __len__(self):
        return len(self.loader)

    def epoch(self, number):
        for batch in self.loader.epoch(number):
            time.sleep(0.8)
            yield batch


def work(what, data, val, out, seconds):
    common = {"arch": "test_resnet", "size": 32, "epochs": 1, "batch_size": 4, "views": "supervised", "bn_groups": 2}
    if what == "slow disk":
        save = manager.save
        manager.save = lambda content, file: save(content, SlowFile(file))
    if what == "slow measurement":
        evaluating = validate.evaluating
        validate.evaluating = lambda *arguments: SlowLoader(evaluating(*arguments))
    if what == "killed":
        Stopping.signal = signal.SIGKILL
    data = Manifest.open(data)
    options = {"loader": "folder", "device": "cpu", "out": str(out), "workers": 1, "log_every": 1}
    options["save_every"] = 2 * (what == "stopped")
    recipe = (Stopped if what in ("stopped", "killed") else Supervised)(**common)
    more = {"eval_every": 1, "val": val} if what == "slow measurement" else {}
    run = Run(data=str(data.root), **options, **more, watchdog=seconds)
    reader = Files(data) if what == "no image" else None
    pretrain(recipe, run, data=data, reader=reader)


def main():
    what, data, val, out, seconds, ranks = sys.argv[1:]
    launch(work, what, Path(data), val, Path(out), int(seconds), ranks=int(ranks))


if __name__ == "__main__":
    run(main)
