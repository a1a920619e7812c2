"""Ops of the user's own run last in a view, with numbers that depend on nothing but seed, epoch, view, image and op."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from viewstream.augment.checks import check
from viewstream.augment.crops import crop_params, on_device, rest
from viewstream.augment.draw import LANES, USER_LANE, draw, fold, user_keys
from viewstream.augment.recipes import moco_v2
from viewstream.augment.renderers import dali, dali_inputs, keyed, reference
from viewstream.augment.renderers.user_ops import KeyedGenerator, apply_user_ops
from viewstream.augment.spec import Normalize, RandomResizedCrop
from viewstream.shards.errors import UserError

UIDS = np.arange(32, dtype=np.uint64) * np.uint64(0x123456789ABCDEF)
ON = [
    "cpu",
    pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")]),
]

# of images 0, 1 and 2^63 with seed 7, epoch -1, view 2, op 0
GOLDEN_UNIFORM = [[1704625, 1322739], [2125712, 1854691], [7190509, 337958]]  # / 2^24
GOLDEN_NORMAL = [[-0.74126, -0.772635], [-0.736806, 0.707161], [-0.490998, 0.828083]]


@dataclass(frozen=True)
class Noise:
    """Adds noise and a brightness drawn per image."""

    sigma: float = 0.5

    def __call__(self, x, keyed):
        return x + self.sigma * keyed.normal(*x.shape[1:]) + keyed.uniform(1, 1, 1)


@dataclass(frozen=True)
class Scale:
    factor: float

    def __call__(self, x, keyed):
        return x * self.factor


def keys(uid=UIDS, *, seed=0, epoch=0, number=0):
    return torch.from_numpy(user_keys(uid, seed=seed, epoch=epoch, number=number))


def view_of(*ops):
    return check(((RandomResizedCrop(8), Normalize(), *ops),))[0]


def images(n):
    return torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@settings(deadline=None)
@given(
    picks=st.lists(st.integers(0, 31), min_size=1, max_size=32), seed=st.integers(0, 2**63), number=st.integers(0, 9)
)
def test_an_image_gets_the_same_numbers_in_any_batch_and_order(picks, seed, number):
    view, x, key = view_of(Noise(), Noise()), images(32), {"seed": seed, "epoch": 3, "number": number}
    whole = apply_user_ops(view, x, keys(**key))
    part = apply_user_ops(view, x[picks], keys(UIDS[picks], **key))
    assert torch.equal(part, whole[picks])


def test_seed_epoch_view_image_and_place_each_change_the_numbers():
    def numbers(place=0, **change):
        return KeyedGenerator(keyed.fold(keys(**change), place)).uniform(50)

    for change in ({"seed": 1}, {"epoch": 1}, {"number": 1}, {"place": 1}):
        assert (numbers(**change) != numbers()).float().mean() > 0.99
    assert len(numbers().unique()) > 0.99 * 32 * 50
    x = images(4)
    first, second = (apply_user_ops(view_of(*[Scale(0.0)] * n, Noise()), x, keys(UIDS[:4])) for n in (1, 2))
    assert (first != second).float().mean() > 0.99


def test_numbers_are_the_hash_of_the_draws():
    rows = fold(user_keys(UIDS, seed=5, epoch=2, number=1).view(np.uint64), 3)
    expected = (fold(rows[:, None], np.arange(6)) >> np.uint64(40)) * 2.0**-24
    found = KeyedGenerator(keyed.fold(keys(seed=5, epoch=2, number=1), 3)).uniform(2, 3)
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found.flatten(1).numpy(), expected)
    assert USER_LANE not in {lane for lane, _ in LANES.values()}  # else an op of ours would draw the same numbers


def test_calls_continue_where_the_last_one_ended():
    whole = KeyedGenerator(keys()).uniform(7)
    generator = KeyedGenerator(keys())
    parts = [generator.uniform()[:, None], generator.uniform(2), generator.normal(1), generator.uniform(3)]
    for part, begin in ((0, 0), (1, 1), (3, 4)):  # number 3 became a normal one
        assert torch.equal(parts[part], whole[:, begin : begin + parts[part].shape[1]])


@pytest.mark.parametrize("on", ON)
def test_the_numbers_are_frozen_on_every_device(on):
    key = keys(np.array([0, 1, 2**63], np.uint64), seed=7, epoch=-1, number=2).to(on)
    generator = KeyedGenerator(keyed.fold(key, 0))
    uniform, normal = generator.uniform(2).cpu(), generator.normal(2).cpu()
    assert (uniform.double() * 2**24).tolist() == GOLDEN_UNIFORM
    torch.testing.assert_close(normal, torch.tensor(GOLDEN_NORMAL), rtol=1e-5, atol=1e-6)


def test_uniform_and_normal_numbers_follow_their_laws():
    n, generator = 200_000, KeyedGenerator(keys())
    uniform, normal = (call(n // 32).flatten().double() for call in (generator.uniform, generator.normal))
    for found, law in ((uniform, lambda x: x), (normal, torch.special.ndtr)):
        levels = law(found.sort().values)
        steps = torch.arange(n, dtype=torch.float64) / n
        assert (levels - steps).abs().max() < 1.95 / n**0.5  # Kolmogorov-Smirnov, p = 0.001
        assert found.view(32, -1).corrcoef().fill_diagonal_(0).abs().max() < 5 * (32 / n) ** 0.5
    assert 0 <= uniform.min() <= uniform.max() < 1


def test_ops_run_in_order_and_keep_type_and_layout():
    x = images(4).to(torch.bfloat16)
    once = apply_user_ops(view_of(Scale(2.0), Noise()), x, keys(UIDS[:4]))
    assert once.dtype == torch.bfloat16
    assert once.is_contiguous(memory_format=torch.channels_last)
    other = apply_user_ops(view_of(Noise(), Scale(2.0)), x, keys(UIDS[:4]))
    assert (once != other).any()
    assert apply_user_ops(view_of(), x, keys(UIDS[:4])) is x
    assert apply_user_ops(view_of(Noise()), x[:0], keys(UIDS[:0])).shape == (0, 3, 8, 8)


@pytest.mark.parametrize(
    ("op", "found"), [(lambda x, keyed: x[:, :1], r"\[4, 1, 8, 8\]"), (lambda x, keyed: None, "None")]
)
def test_an_op_that_returns_something_else_is_refused(op, found):
    with pytest.raises(UserError, match=rf"returned {found} for views \[4, 3, 8, 8\]"):
        apply_user_ops(view_of(op), images(4), keys(UIDS[:4]))


def test_draws_and_renderers_see_the_built_in_ops_only():
    plain = moco_v2(32)[0]
    view = (*plain, Noise(), Scale(2.0), Noise())
    check((view,))
    assert on_device(view) == on_device(plain)
    assert dali.split(view) == dali.split(plain)
    hw, key = np.array([[60, 50]] * 2), {"seed": 0, "epoch": 0, "number": 0}
    draws, plain_draws = (draw(v, UIDS[:2], hw, **key) for v in (view, plain))
    np.testing.assert_equal(draws, plain_draws)
    np.testing.assert_array_equal(crop_params(view, draws, hw), crop_params(plain, draws, hw))
    for ops in (rest, dali.rest):
        np.testing.assert_equal(ops(view, draws), ops(plain, draws))
    jpegs = [b"a", b"b"]
    np.testing.assert_equal(*(dali_inputs.feeds((v,), jpegs, hw, [draws]) for v in (view, plain)))
    image = Image.effect_noise((50, 60), 60).convert("RGB")
    assert torch.equal(*(reference.render(v, image, draws, 0) for v in (view, plain)))
