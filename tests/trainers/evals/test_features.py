"""Features are fp32 in full unless another precision is asked for."""

from dataclasses import dataclass, field

import pytest
import torch
from torch import nn

from viewstream.pipeline.batch import Batch
from viewstream.shards.errors import UserError
from viewstream.trainers.evals.features import features
from viewstream.trainers.precision import dtype_of, without_tf32

BACKENDS = (torch.backends.cudnn, torch.backends.cuda.matmul)


@dataclass
class Whole:
    """A loader of one batch."""

    x: torch.Tensor = field(default_factory=lambda: torch.randn(6, 4, generator=torch.Generator().manual_seed(0)))

    def epoch(self, number):
        yield Batch((self.x,), torch.zeros(6, dtype=torch.long), torch.arange(6))


class Recording(nn.Module):
    """A linear layer that notes the switches of TF32."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.tf32 = nn.Linear(4, 3), []

    def forward(self, x):
        self.tf32.append([backend.allow_tf32 for backend in BACKENDS])
        return self.layer(x)


@pytest.fixture
def tf32():
    """TF32 is on, as a program may have set it."""
    before = [backend.allow_tf32 for backend in BACKENDS]
    for backend in BACKENDS:
        backend.allow_tf32 = True
    yield
    for backend, was in zip(BACKENDS, before, strict=True):
        backend.allow_tf32 = was


@pytest.mark.usefixtures("tf32")
def test_features_are_exact_and_without_tf32_which_is_on_again_afterwards():
    net = Recording()
    x, _ = features(net, Whole())
    assert net.tf32 == [[False, False]]
    assert all(backend.allow_tf32 for backend in BACKENDS)
    assert torch.equal(x, net.layer(Whole().x))


@pytest.mark.parametrize("on", [(True, False), (True, True), (False, False), (False, True)])
def test_every_setting_of_tf32_is_put_back(on, tf32):
    for backend, one in zip(BACKENDS, on, strict=True):
        backend.allow_tf32 = one
    with without_tf32():
        assert [backend.allow_tf32 for backend in BACKENDS] == [False, False]
    assert tuple(backend.allow_tf32 for backend in BACKENDS) == on


@pytest.mark.usefixtures("tf32")
def test_tf32_is_on_again_after_an_error():
    with pytest.raises(UserError), without_tf32():
        raise UserError("stop")
    assert all(backend.allow_tf32 for backend in BACKENDS)


def test_features_of_another_precision_are_those_of_autocast():
    net = Recording()
    x, _ = features(net, Whole(), torch.bfloat16)
    assert x.dtype == torch.float32
    assert torch.equal(x, x.bfloat16().float())
    assert not torch.equal(x, features(net, Whole())[0])


def test_fp16_needs_a_gpu():
    assert dtype_of("fp16", torch.device("cuda")) == torch.float16
    assert dtype_of("bf16", torch.device("cpu")) == torch.bfloat16
    with pytest.raises(UserError, match="--precision fp16 needs a GPU"):
        dtype_of("fp16", torch.device("cpu"))
