"""Queues and groups that a batch does not fit are refused; dropout does not depend on the ranks."""

import pytest
import torch
from torch import nn

from viewstream.shards.errors import UserError
from viewstream.trainers.methods.parts import Queue, check_groups, check_queue, shuffle_bn, split_bn
from viewstream.trainers.nets.encoder import backbone
from viewstream.trainers.ranks import gather, own_seed

from .steps import share


def dropped():
    """Outputs of a network with dropout for the global batch, of a few calls in turn."""
    torch.manual_seed(0)
    net, x = nn.Dropout(0.5), torch.ones(16, 32)[share(16)]
    torch.manual_seed(own_seed(7))
    calls = [
        split_bn(net, x, 4),
        split_bn(net, x, 4),
        shuffle_bn(net, x, 4, torch.arange(16).flip(0)),
        split_bn(net, x, 2),
    ]
    mobile = backbone("mobilenetv3_small")[0].train()
    torch.manual_seed(own_seed(8))
    images = torch.linspace(0, 1, 16 * 3 * 32 * 32).view(16, 3, 32, 32)[share(16)]
    return [gather(y.detach()) for y in (*calls, split_bn(mobile, images, 4))]


def test_two_ranks_drop_what_one_drops_and_each_call_drops_others(on_ranks):
    one, (two, _) = dropped(), on_ranks(dropped, 2)
    for alone, both in zip(one, two, strict=True):
        torch.testing.assert_close(both, alone, rtol=0, atol=1e-5)
    for calls in (one[0].split(4), one[:4]):  # groups, and calls in turn, have masks of their own
        assert len({tuple(mask.flatten().tolist()) for mask in calls}) == len(calls)


def test_a_queue_that_batches_do_not_fill_is_refused():
    for queue in (100, 0):
        with pytest.raises(UserError, match=f"a queue of {queue} rows cannot be filled by global batches of 24"):
            check_queue(queue, 24)
    with pytest.raises(UserError, match="make --batch-size divide --queue"):
        Queue(torch.zeros(100, 8)).push(torch.zeros(24, 8))
    with pytest.raises(UserError, match="a set of 40 more than once, each its own negative: lower --queue"):
        check_queue(48, 24, 40)


@pytest.mark.parametrize("groups", [0, 5, 6])
def test_groups_that_do_not_divide_the_batch_into_parts_of_two_are_refused(groups):
    with pytest.raises(UserError, match="choose --bn-groups"):
        check_groups(groups, 6)
