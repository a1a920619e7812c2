"""A checker names the part that breaks a law, and the law."""

import itertools
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from viewstream.augment import moco_v2
from viewstream.pipeline import Plan, open_loader
from viewstream.shards import SampleReader, open_source, open_tar
from viewstream.testing import BrokenLaw, check_loader, check_op, check_reader, check_source


class Wrapped(SampleReader):
    """The set's own reader, with one fault."""

    def __init__(self, manifest):
        self.inner = open_tar(manifest)

    def read(self, row):
        return self.inner.read(row)

    def locate(self, row):
        return self.inner.locate(row)

    def close(self):
        self.inner.close()


class Drifting(Wrapped):
    counter = itertools.count()

    def read(self, row):
        return self.inner.read(row) + bytes(next(self.counter) % 3)


class Nameless(Wrapped):
    def locate(self, row):
        return ""


class Shifted(Wrapped):
    def read(self, row):
        return self.inner.read(max(row - 1, 0))


class Leaking(Wrapped):
    def close(self):
        pass


class Text(Wrapped):
    def read(self, row):
        return "a JPEG"


@pytest.mark.parametrize(
    ("kind", "law"),
    [
        (Drifting, "Drifting breaks the law 'a row has the same bytes every time it is read': first at row"),
        (Nameless, "Nameless breaks the law 'locate names where a sample is stored'"),
        (Shifted, 'Shifted breaks the law "a sample has the manifest\'s height and width"'),
        (Leaking, r"Leaking breaks the law 'close ends all threads and files': left open: \['file .*tar'\]"),
        (Text, "Text breaks the law 'read returns a JPEG as bytes, or pixels"),
    ],
)
def test_a_reader_that_breaks_a_law_is_named_with_the_law(built, kind, law):
    with pytest.raises(BrokenLaw, match=law):
        check_reader(lambda: kind(built), built)


class Loader:
    """The webdataset loader, with one fault."""

    def __init__(self, manifest, plan):
        self.plan, self.inner = plan, open_loader("webdataset", manifest, plan, moco_v2(32), threads=1)

    def __len__(self):
        return len(self.inner)

    def epoch(self, number, start=0):
        return self.inner.epoch(number, start)

    def close(self):
        self.inner.close()


class Restless(Loader):
    def epoch(self, number, start=0):
        for batch in self.inner.epoch(number, start):
            yield batch._replace(views=tuple(x + torch.rand(()) for x in batch.views))


class FromTheStart(Loader):
    def epoch(self, number, start=0):
        return itertools.islice(self.inner.epoch(number), len(self) - start)


class PerRank(Loader):
    def epoch(self, number, start=0):
        for batch in self.inner.epoch(number, start):
            yield batch._replace(views=tuple(x + self.plan.rank for x in batch.views))


class Unlabeled(Loader):
    def epoch(self, number, start=0):
        for batch in self.inner.epoch(number, start):
            yield batch._replace(target=batch.target * 0 - 1)


class Alike(Loader):
    def epoch(self, number, start=0):
        for rows in self.plan.ids(number, start):
            yield self.inner.batch(rows, number)


@pytest.mark.parametrize(
    ("kind", "law"),
    [
        (Restless, "Restless breaks the law 'an epoch is the same every time': batch 1 differs"),
        (FromTheStart, "FromTheStart breaks the law 'a resume at any step gives the tail .* epoch': from step 1"),
        (PerRank, 'in rank order are the batches of one process": 2 ranks'),
        (Unlabeled, "'target holds the labels of the rows'"),
        (Alike, "Alike breaks the law 'an image that an epoch shows again has other views'"),
    ],
)
def test_a_loader_that_breaks_a_law_is_named_with_the_law(built, kind, law):
    with pytest.raises(BrokenLaw, match=law):
        check_loader(lambda plan: kind(built, plan), built)


@dataclass(frozen=True)
class Seeded:
    """Takes its numbers from torch's generator."""

    def __call__(self, x, keyed):
        return x + torch.randn_like(x)


@dataclass(frozen=True)
class Mixing:
    """Mixes the images of a batch."""

    def __call__(self, x, keyed):
        return x - x.mean(dim=0)


@dataclass
class Unhashable:
    def __call__(self, x, keyed):
        return x


@dataclass(frozen=True)
class Half:
    def __call__(self, x, keyed):
        return x.half()


@pytest.mark.parametrize(
    ("op", "law"),
    [
        (Seeded(), "Seeded breaks the law 'the same .* gives the same pixels'"),
        (Mixing(), "Mixing breaks the law 'pixels do not depend on the other images of a batch'"),
        (Unhashable(), "Unhashable breaks the law 'an op is hashable, as a frozen dataclass is'"),
        (Half(), "Half breaks the law 'an op keeps shape, dtype and device'"),
    ],
)
def test_an_op_that_breaks_a_law_is_named_with_the_law(op, law):
    with pytest.raises(BrokenLaw, match=law):
        check_op(op)


@pytest.mark.parametrize(
    ("fault", "law"),
    [
        (lambda s: replace(s, paths=s.paths[::-1]), "images are sorted by label, then by path"),
        (lambda s: replace(s, label=s.label + np.int32(9)), "labels count the classes from 0, and -1 is unlabeled"),
        (lambda s: replace(s, label=s.label.astype(np.int64)), "labels are int32"),
        (lambda s: replace(s, places=s.places[1:]), "paths, labels and places have one length"),
    ],
)
def test_a_source_that_breaks_a_law_is_named_with_the_law(pets, fault, law):
    with pytest.raises(BrokenLaw, match=f"source pets breaks the law '{law}'"):
        check_source(lambda: fault(open_source(str(pets), "train")))


def test_the_laws_hold_for_the_parts_of_this_project(built, pets):
    check_reader(lambda: open_tar(built), built)
    check_source(lambda: open_source(str(pets), "train"))
    with closing(open_loader("folder", built, Plan(len(built), 12), moco_v2(32), threads=1)) as loader:
        assert len(loader) == 8
    check_loader(lambda plan: open_loader("folder", built, plan, moco_v2(32), threads=1), built)
