"""What grows over epochs is found, and loaders do not grow; `make soak` takes 200 epochs of each."""

import gc
import mmap
from contextlib import ExitStack
from pathlib import Path

import pytest

from viewstream.shards.files import PAGE
from viewstream.shards.manifest import Manifest

from .measures import Use, grown, use
from .soaked import SOAKED, Soak, small_set

BATCH = 2 << 20  # bytes of what a leaking loader keeps
EPOCHS, IMAGES = 10, 32


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return small_set(tmp_path_factory.mktemp("soak"), IMAGES)


def measured(name: str, small: Manifest, folder: Path, leak=None, epochs: int = EPOCHS) -> list[Use]:
    """What a loader uses after each epoch, once it has run for as many; `leak` is called in each."""
    uses: list[Use] = []

    def seen() -> None:
        if leak:
            leak()
        gc.collect()
        uses.append(use(folder))

    gc.freeze()  # looking through all of torch would take longer than an epoch
    SOAKED[name](Soak(small, folder, "", 2 * epochs, seen))
    gc.unfreeze()
    return uses[epochs:]


@pytest.mark.parametrize("name", ["webdataset", "ffcv"])
def test_ten_epochs_of_a_loader_need_no_more_than_five(name, small, tmp_path):
    assert grown(measured(name, small, tmp_path)) == []


def test_a_loader_that_keeps_its_batches_is_found(small, tmp_path):
    kept = []

    def keep() -> None:
        kept.append(mmap.mmap(-1, BATCH, flags=mmap.MAP_PRIVATE))  # malloc may have room that earlier tests have left
        kept[-1].write(b"x" * BATCH)

    found = grown(measured("webdataset", small, tmp_path, keep))
    names = {words.partition(" ")[0] for words in found}  # either may fall meanwhile by what earlier tests have left
    assert names
    assert names <= {"rss", "own"}


def test_a_loader_that_leaves_a_file_open_is_found(small, tmp_path):
    with ExitStack() as left:
        found = grown(measured("webdataset", small, tmp_path, lambda: left.enter_context((small.root / PAGE).open())))
    assert [words.partition(" ")[0] for words in found] == ["descriptors"]


def test_growth_of_one_mb_in_ten_epochs_and_jumps_are_told_apart():
    flat = Use(900.0, 500.0, 6, 20, 0, 0)
    assert grown([flat] * 100) == []
    assert grown([flat._replace(rss=900 + 8.0 * (n > 60)) for n in range(100)]) == []
    assert grown([flat._replace(rss=900 + 0.12 * n) for n in range(100)]) == ["rss by 1.20 MB in ten epochs"]
    assert grown([flat._replace(own=500 + 0.12 * n) for n in range(100)]) == ["own by 1.20 MB in ten epochs"]
    assert grown([flat._replace(threads=6 + n // 20) for n in range(100)]) == ["threads from 9 to 10"]
