"""Crops of one size pass through a network together; rows are crop-major."""

import pytest
import torch
from torch import nn

from viewstream.trainers.methods.multicrop import MultiCrop, by_size

from .steps import convnet

SIZES = {"2 + 3": (8, 8, 6, 6, 6), "two": (8, 8), "one": (8,), "mixed": (8, 6, 8)}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_crops_of_one_size_are_embedded_together_and_rows_stay_in_order(sizes):
    passes, views = [], [torch.full((2, 3, side, side), float(v)) for v, side in enumerate(sizes)]

    class Mean(nn.Module):
        def forward(self, x):
            passes.append(tuple(x.shape))
            return x.mean((2, 3))

    rows = by_size(Mean(), views)
    assert rows[:, 0].tolist() == [v for v in range(len(sizes)) for _ in range(2)]
    expected = {"2 + 3": [4, 6], "two": [4], "one": [2], "mixed": [2, 2, 2]}
    assert [shape[0] for shape in passes] == expected[next(name for name, own in SIZES.items() if own == sizes)]


def test_an_encoder_of_crops_takes_the_statistics_of_its_head_over_all_of_them():
    net, views = MultiCrop(convnet(), nn.BatchNorm1d(6)), [torch.randn(4, 3, side, side) for side in (8, 8, 6)]
    rows = by_size(net.backbone, views)
    torch.testing.assert_close(net(views), (rows - rows.mean(0)) / (rows.var(0, correction=0) + 1e-5).sqrt())


def test_views_stay_channels_last():
    layouts = []

    class Watched(nn.Module):
        def forward(self, x):
            layouts.append(x.is_contiguous(memory_format=torch.channels_last))
            return x.mean((2, 3))

    by_size(Watched(), [torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last) for _ in range(2)])
    assert layouts == [True]


def test_an_encoder_of_crops_compiles_as_one_graph():
    graphs, net = [], MultiCrop(convnet(), nn.Linear(6, 4))
    views = tuple(torch.randn(4, 3, side, side) for side in (8, 8, 6, 6, 6))
    expected = net.eval()(views)

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    net.compile(dynamic=False, fullgraph=True, backend=backend)
    for _ in range(2):
        torch.testing.assert_close(net(views), expected)
    assert len(graphs) == 1
