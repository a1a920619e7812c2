"""Queues and groups that a batch does not fit are refused."""

import pytest
import torch

from viewstream.shards.errors import UserError
from viewstream.trainers.methods.parts import Queue, check_groups, check_queue


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
