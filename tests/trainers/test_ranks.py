"""Collectives, on two ranks of which one is pretended; ranks that lose each other or cannot meet."""

import socket
import warnings

import pytest
import torch
import torch.distributed as dist

from viewstream.shards.errors import UserError
from viewstream.trainers.ranks import complete, gather, loss_in_words, require_address


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


def test_a_rank_that_loses_another_one_says_so_in_one_line():
    words = r"another rank is gone \(closed by peer\): see what that one says"
    with pytest.raises(UserError, match=words), loss_in_words():
        raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [10.0.0.2]:1")
    with pytest.raises(RuntimeError, match="a bug"), loss_in_words():
        raise RuntimeError("a bug of the program")


def test_an_own_address_that_no_other_machine_reaches_is_refused_before_gloo_gives_it_away(monkeypatch):
    monkeypatch.setattr(socket, "gethostbyname", lambda _: "127.0.1.1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    require_address(2)  # all ranks are here
    with pytest.raises(UserError, match=r"has the address 127.0.1.1 here .* set GLOO_SOCKET_IFNAME"):
        require_address(4)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth0")
    require_address(4)
