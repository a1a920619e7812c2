"""A copy of a run's state is written as the state was, whatever training does meanwhile."""

import io

import pytest
import torch
from torch import nn

from viewstream.trainers.checkpoints.snapshot import Snapshots

CPU = torch.device("cpu")


def written(content):
    """The bytes that torch.save writes."""
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def stepped():
    """A network and its optimizer after a step."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(net.parameters(), 0.1)
    net(torch.randn(5, 3, 3, 3)).sum().backward()
    optimizer.step()
    return net, optimizer


def content_of(net, optimizer):
    queue = torch.arange(24.0).view(4, 6)
    return {
        "step": 4,
        "method": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "again": [net.state_dict()["3.weight"], queue.t(), queue[1:3], torch.empty(0)],
        "recipe": {"lr": 0.1, "milestones": (1, 2)},
    }


def test_a_copy_is_written_as_the_bytes_of_the_original():
    """Also tensors that share memory, look at a part of it or are empty, and the versions of a network's modules."""
    content = content_of(*stepped())
    assert written(Snapshots(CPU).take(content).wait()) == written(content)


def test_what_changes_after_a_copy_does_not_reach_it():
    net, optimizer = stepped()
    content = content_of(net, optimizer)
    before = written(content)
    copy = Snapshots(CPU).take(content)
    optimizer.step()
    net(torch.randn(5, 3, 3, 3))  # running statistics
    optimizer.param_groups[0]["lr"] = 0.2
    content["recipe"]["lr"] = 0.2
    assert written(content) != before
    assert written(copy.wait()) == before


def test_the_next_copy_uses_the_memory_of_the_last():
    snapshots = Snapshots(CPU)
    net, optimizer = stepped()
    one = snapshots.take(net.state_dict()).wait()
    places = [t.data_ptr() for t in one.values()]
    optimizer.step()
    two = snapshots.take(net.state_dict()).wait()
    assert [t.data_ptr() for t in two.values()] == places
    assert all(torch.equal(two[k], v) for k, v in net.state_dict().items())
    more = snapshots.take(content_of(net, optimizer))
    assert written(more.wait()) == written(content_of(net, optimizer))


@pytest.fixture
def steps_of_a_gpu(monkeypatch):
    """The list of what is asked of a GPU that is not there."""
    done, copy, empty = [], torch.Tensor.copy_, torch.empty

    class Event:
        def __init__(self, blocking=False):
            assert blocking, "a waiting thread would take a core from training"

        def record(self, stream):
            done.append(f"record on {stream}")

        def synchronize(self):
            done.append("wait")

    def recorded(self, source, non_blocking=False):
        done.append("copy" if non_blocking else "blocking copy")
        return copy(self, source)

    def unpinned(*size, pin_memory=False, **more):
        done.extend(["pinned memory"] * pin_memory)
        return empty(*size, **more)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"the stream of {device}")
    monkeypatch.setattr(torch.Tensor, "copy_", recorded)
    monkeypatch.setattr(torch, "empty", unpinned)
    return done


def test_a_gpu_copies_into_pinned_memory_and_the_thread_alone_waits_for_it(steps_of_a_gpu):
    snapshots, content = Snapshots(torch.device("cuda", 0)), {"a": torch.ones(3), "b": [torch.zeros(2)]}
    first = snapshots.take(content)
    assert steps_of_a_gpu == [*["pinned memory"] * 2, *["copy"] * 2, "record on the stream of cuda:0"]
    first.wait()
    assert steps_of_a_gpu.pop() == "wait"
    steps_of_a_gpu.clear()
    snapshots.take(content)
    assert steps_of_a_gpu == ["copy", "copy", "record on the stream of cuda:0"]
