"""Collectives, on two ranks of which one is pretended."""

import warnings

import pytest
import torch
import torch.distributed as dist

from viewstream.trainers.ranks import complete, gather


@pytest.fixture
def two():
    """A process group of this process and one that is not there."""
    fake = pytest.importorskip("torch.testing._internal.distributed.fake_pg")
    dist.init_process_group("fake", store=fake.FakeStore(), rank=0, world_size=2)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("two")
def test_no_collective_has_a_name_that_torch_warns_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        assert gather(torch.ones(3, 2)).shape == (6, 2)
        complete(torch.ones(3, 2))
