"""Modules of kornia are ops of a view: keyed per image in any batch, printed in one line, refused if images mix."""

import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from kornia import augmentation as K

from viewstream.augment import Kornia
from viewstream.augment.checks import check
from viewstream.augment.draw import user_keys
from viewstream.augment.renderers.user_ops import KeyedGenerator, apply_user_ops
from viewstream.augment.spec import Normalize, RandomResizedCrop
from viewstream.shards.errors import UserError
from viewstream.testing import check_op

from ...fake_gpu import Crossings

GRAY = (0.5, 0.5, 0.5)
PER_IMAGE = {
    "erasing": K.RandomErasing(p=0.5),
    "noise": K.RandomGaussianNoise(std=0.3, p=0.5),
    "perspective": K.RandomPerspective(p=0.7),
    "affine": K.RandomAffine(20.0, translate=(0.1, 0.1), p=0.7),
    "salt and pepper": K.RandomSaltAndPepperNoise(),
    "blur": K.RandomGaussianBlur((5, 5), (0.1, 2.0), p=0.7),
    "several": K.ImageSequential(K.RandomErasing(p=0.5), K.RandomGaussianNoise(p=0.5)),
    "several with a matrix": K.AugmentationSequential(K.RandomRotation(20.0), K.RandomErasing(), data_keys=["input"]),
    "within 0..1": K.ImageSequential(K.Denormalize(GRAY, GRAY), K.RandomPosterize((3, 5)), K.Normalize(GRAY, GRAY)),
}
FOR_A_BATCH = {
    "an order": K.ColorJitter(0.1, 0.1, 0.1, 0.1),
    "one box for all": K.RandomErasing(p=1, same_on_batch=True),
    "one kernel for all": K.RandomMotionBlur(3, 35.0, 0.5),
    "a choice of modules": K.ImageSequential(K.RandomInvert(), K.RandomErasing(), random_apply=1),
    "mixed images": K.RandomMixUpV2(),
}


def view_of(*modules):
    return check(((RandomResizedCrop(32), Normalize(), *map(Kornia, modules)),))[0]


def keys(n, epoch=0):
    return torch.from_numpy(user_keys(np.arange(n, dtype=np.uint64), seed=3, epoch=epoch, number=0))


def images(n):
    return torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", PER_IMAGE)
def test_an_image_gets_the_same_result_in_any_batch_and_order(name):
    module, x = PER_IMAGE[name], images(16)
    check_op(Kornia(module))
    whole = apply_user_ops(view_of(module), x, keys(16))
    assert (whole.flatten(1) != x.flatten(1)).any(1).sum() > 2
    for picks in ([5], [9, 0, 5], list(range(8, 16))):
        part = apply_user_ops(view_of(module), x[picks], keys(16)[picks])
        torch.testing.assert_close(part, whole[picks], rtol=1e-5, atol=1e-5)
    assert not torch.equal(apply_user_ops(view_of(module), x, keys(16, epoch=1)), whole)


def test_generators_of_torch_are_neither_asked_nor_moved():
    module, x = K.ImageSequential(K.RandomErasing(p=0.5), K.RandomGaussianNoise(p=0.5)), images(8)
    one = apply_user_ops(view_of(module), x, keys(8))
    torch.manual_seed(7)
    state = torch.get_rng_state()
    assert torch.equal(apply_user_ops(view_of(module), x, keys(8)), one)
    assert torch.equal(torch.get_rng_state(), state)


def test_numbers_are_those_of_the_keyed_generator():
    @dataclass(frozen=True)
    class Added:
        """What RandomGaussianNoise adds with p = 1."""

        def __call__(self, x, keyed):
            return x + 0.3 * keyed.normal(*x.shape[1:])

    theirs = apply_user_ops(view_of(K.RandomGaussianNoise(std=0.3, p=1)), images(4), keys(4))
    ours = apply_user_ops((*view_of(), Added()), images(4), keys(4))
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-6)


def test_two_modules_of_a_view_draw_apart():
    one, two = (apply_user_ops(view_of(*[K.RandomGaussianNoise(p=1)] * n), images(4), keys(4)) for n in (1, 2))
    assert ((two - one) - (one - images(4))).abs().mean() > 0.5


@pytest.mark.parametrize("name", FOR_A_BATCH)
def test_a_module_that_draws_for_a_whole_batch_is_refused(name):
    with pytest.raises(UserError, match=r"draws by aten\.\w+\.\w+ for a whole batch") as error:
        apply_user_ops(view_of(FOR_A_BATCH[name]), images(8), keys(8))
    assert "\n" not in str(error.value)


def test_a_module_that_changes_the_shape_is_refused():
    with pytest.raises(UserError, match=r"Kornia\(CenterCrop.* returned \[4, 3, 16, 16\] for views \[4, 3, 32, 32\]"):
        apply_user_ops(view_of(K.CenterCrop(16)), images(4), keys(4))


def test_a_bare_module_or_none_is_refused_with_the_remedy():
    with pytest.raises(UserError, match=r"which draws from generators of torch: write Kornia\(RandomErasing\("):
        check(((RandomResizedCrop(32), Normalize(), K.RandomErasing()),))
    with pytest.raises(UserError, match="wraps no module"):
        Kornia(K.RandomErasing)


def test_an_op_is_known_by_what_kornia_prints_in_one_line_before_and_after_use():
    op, same = (
        Kornia(PER_IMAGE["several"]),
        Kornia(K.ImageSequential(K.RandomErasing(p=0.5), K.RandomGaussianNoise(p=0.5))),
    )
    printed = repr(op)
    assert printed.startswith("Kornia(ImageSequential( (RandomErasing_0): RandomErasing(scale=(0.02, 0.33)")
    op(images(4), KeyedGenerator(keys(4)))
    copied = pickle.loads(pickle.dumps(op))
    assert printed == repr(op) == repr(copied) == repr(same)
    assert op == copied == same != Kornia(K.RandomErasing(p=0.4))
    assert len({op, copied, same}) == 1
    right = op(images(4), KeyedGenerator(keys(4)))
    assert torch.equal(copied(images(4), KeyedGenerator(keys(4))), right)


def test_it_computes_in_float32_under_autocast_and_for_views_of_half_precision():
    view = view_of(K.RandomPerspective(p=1), K.RandomGaussianNoise(std=0.3, p=1))
    right = apply_user_ops(view, images(4), keys(4))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(apply_user_ops(view, images(4), keys(4)), right)
    half = apply_user_ops(view, images(4).bfloat16(), keys(4))
    assert half.dtype == torch.bfloat16
    assert (half.float() - right).abs().max() < 0.1
    assert apply_user_ops(view, images(0), keys(0)).shape == (0, 3, 32, 32)


@pytest.mark.parametrize(
    "name", ["erasing", "noise", "perspective", "affine", "salt and pepper", "several", "within 0..1"]
)
def test_on_a_gpu_parameters_are_drawn_on_the_host_and_nothing_waits(name, fake_gpu):
    view = view_of(PER_IMAGE[name])
    with Crossings() as crossings:
        x, host = torch.empty(4, 3, 32, 32, device="cuda"), torch.empty(4, dtype=torch.int64)
        out = apply_user_ops(view, x, host)
    assert out.device.type == "cuda"
    assert not crossings.seen


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
@pytest.mark.parametrize("name", ["erasing", "affine", "several"])
def test_a_gpu_gives_the_pixels_of_a_cpu_without_a_wait(name):
    view, x = view_of(PER_IMAGE[name]), images(8).cuda()
    apply_user_ops(view, x, keys(8))  # kernels are loaded
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = apply_user_ops(view, x, keys(8))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(found.cpu(), apply_user_ops(view, images(8), keys(8)), rtol=0, atol=1e-3)


def test_a_module_moved_to_a_gpu_draws_there_and_nothing_waits(fake_gpu):
    view = view_of(K.RandomGaussianNoise(p=0.5).to("cuda"))
    with Crossings() as crossings:
        x, host = torch.empty(4, 3, 32, 32, device="cuda"), torch.empty(4, dtype=torch.int64)
        out = apply_user_ops(view, x, host)
    assert out.device.type == "cuda"
    assert not crossings.seen
