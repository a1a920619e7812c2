"""What tests of training steps share: a small network, batches, queues, ranks, a tolerance."""

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from viewstream.pipeline.batch import Batch
from viewstream.trainers.methods.method import Now
from viewstream.trainers.methods.parts import Queue
from viewstream.trainers.ranks import rank, world_size
from viewstream.trainers.training.loop import _NO_BUFFERS

NOW = Now(3, 10, 5)


def convnet(width=6):
    """A convolution, BatchNorm, ReLU and the mean over pixels: images of any size -> rows of `width`."""
    return nn.Sequential(
        nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def batch_of(*views):
    """A batch of these views, with zeros as labels and rows."""
    zeros = torch.zeros(len(views[0]), dtype=torch.long)
    return Batch(views, zeros, zeros)


def share(count):
    """This rank's slice of a global batch of `count` images."""
    size = count // world_size()
    return slice(rank() * size, (rank() + 1) * size)


def distributed(method):
    """The method as the training loop calls it: in DDP if there are several ranks."""
    if world_size() == 1:
        return method
    return DistributedDataParallel(method, gradient_as_bucket_view=True, **_NO_BUFFERS)


def queue_of(columns, ptr=0):
    """A queue from the release's buffer [D, K] and its next column."""
    queue = Queue(columns.T.double().contiguous())
    queue.head.fill_(int(ptr))
    return queue


def exact(ours, recorded):
    torch.testing.assert_close(ours.double(), recorded.double(), rtol=0, atol=1e-6)
