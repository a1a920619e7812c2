"""What tests of training steps share: a small network, batches, queues, a tolerance."""

import torch
from torch import nn

from viewstream.pipeline.batch import Batch
from viewstream.trainers.methods.method import Now
from viewstream.trainers.methods.parts import Queue

NOW = Now(3, 10, 5)


def convnet(width=6):
    """A convolution, BatchNorm and the mean over places: images of any size -> rows of `width`."""
    return nn.Sequential(
        nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def batch_of(*views):
    """These views; nothing is known of their images."""
    nothing = torch.zeros(len(views[0]), dtype=torch.long)
    return Batch(views, nothing, nothing)


def queue_of(columns, ptr=0):
    """A queue as the releases keep it, [D, K], and its next column."""
    queue = Queue(columns.T.double().contiguous())
    queue.head.fill_(int(ptr))
    return queue


def exact(ours, recorded):
    torch.testing.assert_close(ours.double(), recorded.double(), rtol=0, atol=1e-6)
