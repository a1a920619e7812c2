"""The hash on tensors has the bits of the hash in numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from viewstream.augment.draw import fold
from viewstream.augment.renderers import keyed
from viewstream.shards.keyed import mix

WORDS = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=8)


def tensor(words):
    return torch.from_numpy(np.array(words, np.uint64).view(np.int64))


def bits(x):
    return x.numpy().view(np.uint64).tolist()


@given(words=WORDS)
def test_mix_and_shift_equal_those_of_uint64(words):
    array = np.array(words, np.uint64)
    assert bits(keyed.mix(tensor(words))) == mix(array).tolist()
    for shift in (1, 30, 63):
        assert bits(keyed.shift_right(tensor(words), shift)) == (array >> np.uint64(shift)).tolist()


@given(words=WORDS, word=st.integers(0, 2**63 - 1))
def test_fold_equals_that_of_the_draws(words, word):
    expected = fold(np.array(words, np.uint64), word).tolist()
    assert bits(keyed.fold(tensor(words), word)) == expected
    assert bits(keyed.fold(tensor(words), torch.tensor(word))) == expected


@pytest.mark.parametrize("word", [0, 1, 2**63 - 1, 2**63, 2**64 - 1])
def test_signed_keeps_the_bits(word):
    assert keyed.signed(word) % 2**64 == word
    assert -(2**63) <= keyed.signed(word) < 2**63
