"""One server of programs for all tests of disks, and each case run once."""

from collections.abc import Callable, Iterator
from functools import cache

import pytest

from .cases import CASES
from .disk import Disk, disk
from .failures import Tried


@pytest.fixture(scope="session")
def one_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    with disk(tmp_path_factory.mktemp("chaos") / "disk") as one:
        yield one


@pytest.fixture(scope="session")
def tried(one_disk: Disk) -> Callable[[str], Tried]:
    return cache(lambda name: Tried(one_disk, CASES[name]))
