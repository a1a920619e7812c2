"""Laws of the random masks that choose the pieces of a teacher."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from viewstream.augment.draw import hashed, uniforms
from viewstream.shards.errors import UserError
from viewstream.shards.keyed import Purpose
from viewstream.shards.manifest import uid_of
from viewstream.trainers.methods.masks import GRANULARITIES, bernoulli_masks, mask_shapes

NET = nn.Sequential(nn.Conv2d(3, 6, 2), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(6, 4, bias=False))


def test_pieces_are_tensors_layers_channels_or_elements():
    net = nn.Sequential(nn.Conv2d(3, 6, 2), nn.BatchNorm2d(6))
    assert mask_shapes(net, "tensor") == (["0.weight", "0.bias", "1.weight", "1.bias"], [()] * 4)
    assert mask_shapes(net, "layer") == (["0", "0", "1", "1"], [()] * 4)
    assert mask_shapes(net, "channel")[1] == [(6, 1, 1, 1), (6,), (6,), (6,)]
    assert mask_shapes(net, "element")[1] == [(6, 3, 2, 2), (6,), (6,), (6,)]
    with pytest.raises(UserError, match="did you mean 'channel'"):
        mask_shapes(net, "chanel")


def test_the_tensors_of_a_layer_share_a_coin():
    names, shapes = mask_shapes(nn.Sequential(*[nn.Linear(2, 2) for _ in range(40)]), "layer")
    coins = [bool(mask) for mask in bernoulli_masks(names, shapes, 0.5, seed=0, step=0)]
    assert coins[::2] == coins[1::2]
    assert 8 < sum(coins[::2]) < 32


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(0, 10**6), st.sampled_from(GRANULARITIES), st.floats(0, 1))
def test_coins_are_the_hash_of_draws_over_seed_step_name_and_index(seed, step, granularity, preserve):
    names, shapes = mask_shapes(NET, granularity)
    masks = bernoulli_masks(names, shapes, preserve, seed=seed, step=step)
    for name, shape, mask in zip(names, shapes, masks, strict=True):
        index = np.arange(int(np.prod(shape)), dtype=np.uint64)
        u = uniforms(hashed(seed, step, Purpose.MASKS, np.array(uid_of(name), np.uint64), index))
        assert mask.shape == torch.Size(shape)
        assert mask.flatten().tolist() == (u >= preserve).tolist()


@pytest.mark.parametrize("preserve", [0.1, 0.5, 0.7])
def test_the_preserved_share_is_the_one_of_the_option(preserve):
    names, shapes = mask_shapes(nn.Linear(200, 300), "element")
    masks = bernoulli_masks(names, shapes, preserve, seed=1, step=2)
    assert 1 - masks[0].double().mean().item() == pytest.approx(preserve, abs=0.01)
    many = torch.stack(bernoulli_masks([f"{n}.weight" for n in range(5000)], [()] * 5000, preserve, seed=1, step=2))
    assert 1 - many.double().mean().item() == pytest.approx(preserve, abs=0.03)
    coins = [bernoulli_masks(["w"], [()], preserve, seed=1, step=step)[0].item() for step in range(400)]
    assert 1 - np.mean(coins) == pytest.approx(preserve, abs=0.08)
