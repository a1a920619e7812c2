"""A row alone is an index of our dataset where its epoch is known or does not matter, for other samplers."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, Subset

from viewstream.augment.recipes import evaluation, moco_v2
from viewstream.pipeline import as_dataset
from viewstream.shards.errors import UserError

VIEWS = moco_v2(32)
FULL = pytest.mark.full


def new(manifest, views=VIEWS):
    return as_dataset(manifest, views, batch=16, seed=5)[0]


def assert_same(item, other):
    assert item[1:] == other[1:]
    assert all(torch.equal(a, b) for a, b in zip(item[0], other[0], strict=True))


@pytest.mark.parametrize("row", [7, -89, np.int64(7), torch.tensor(7)])
def test_a_row_alone_shows_the_views_of_the_epoch_that_was_set(built, row):
    dataset = new(built)
    for epoch in (3, 0):
        dataset.set_epoch(epoch)
        assert_same(dataset[row], dataset[epoch, 7])


def test_a_row_alone_needs_no_epoch_where_nothing_is_random(built):
    dataset = new(built, evaluation(32))
    assert_same(dataset[7], dataset[0, 7])
    assert [index for _, _, index in dataset] == list(range(len(built)))  # python's loop ends at the last row


def test_random_views_of_a_row_alone_are_refused_with_the_right_calls(built):
    dataset = new(built)
    for use in (lambda: dataset[5], lambda: next(iter(DataLoader(dataset, 16, shuffle=True)))):
        with pytest.raises(UserError, match=r"row \d+ alone has no epoch.*set_epoch.*batch_sampler=steps"):
            use()


def test_a_row_that_is_not_there_is_an_index_error(built):
    dataset = new(built, evaluation(32))
    for row in (len(built), -len(built) - 1):
        with pytest.raises(IndexError):
            dataset[row]


class Brighter(Dataset):
    """A wrapper with a transform, as other projects write them."""

    def __init__(self, inner):
        self.inner = inner

    def __len__(self):
        return len(self.inner)

    def __getitem__(self, at):
        views, target, _ = self.inner[at]
        return views[0] + 1, target


def test_subsets_and_wrappers_show_the_same_views(built):
    dataset = new(built)
    dataset.set_epoch(2)
    rows = [5, 40, 7]
    for at, (views, target, index) in enumerate(DataLoader(Subset(dataset, rows), 1)):
        assert index.item() == rows[at]
        assert torch.equal(views[0][0], dataset[2, rows[at]][0][0])
        assert target.item() == built.label[rows[at]]
    image, _ = Brighter(dataset)[5]
    assert torch.equal(image, dataset[2, 5][0][0] + 1)


@pytest.mark.parametrize("start", [None, pytest.param("fork", marks=FULL), pytest.param("spawn", marks=FULL)])
def test_workers_that_stay_follow_the_epoch_of_rows_alone(built, start):
    dataset = new(built)
    workers = {"num_workers": 2, "persistent_workers": True, "multiprocessing_context": start} if start else {}
    dataset.set_epoch(0)
    loader = DataLoader(dataset, 32, shuffle=True, **workers)
    for epoch in (0, 1):
        dataset.set_epoch(epoch)
        shown = {int(i): view for views, _, index in loader for i, view in zip(index, views[0], strict=True)}
        assert shown.keys() == set(range(len(built)))
        for row in (3, 90):
            torch.testing.assert_close(shown[row], dataset[epoch, row][0][0], rtol=0, atol=1e-5)


def test_a_copy_keeps_the_epoch_and_then_follows_its_own(built):
    dataset = new(built)
    dataset.set_epoch(4)
    for other in (pickle.loads(pickle.dumps(dataset)), copy.deepcopy(dataset)):
        assert_same(other[9], dataset[4, 9])
        other.set_epoch(5)
        assert_same(other[9], dataset[5, 9])
        assert_same(dataset[9], dataset[4, 9])
