"""The kernels of a GPU: the fastest, or with --deterministic those that repeat their results; later what was before."""

import os
from contextlib import suppress

import pytest
import torch

from viewstream.shards.errors import UserError
from viewstream.trainers.training import kernels
from viewstream.trainers.training.options import Run

from ..small_runs import SMALL, losses

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)  # naming a GPU needs none
NAME = "CUBLAS_WORKSPACE_CONFIG"


def chosen():
    """(cuDNN measures, cuDNN is exact, other operations are exact)."""
    cudnn = torch.backends.cudnn
    return cudnn.benchmark, cudnn.deterministic, torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    ("run", "device", "expected"),
    [
        (Run(), GPU, (True, False, False)),
        (Run(deterministic=True), GPU, (False, True, True)),
        (Run(), CPU, (False, False, False)),
        (Run(deterministic=True), CPU, (False, False, False)),
    ],
)
def test_kernels_are_the_fastest_or_exact_within_a_run_and_what_they_were_after_it(run, device, expected):
    before = chosen()
    with suppress(KeyError), kernels.kernels(run, device):
        assert chosen() == expected
        raise KeyError
    assert chosen() == before == (False, False, False)


def test_memory_that_a_batch_is_written_to_is_not_filled_before():
    assert torch.utils.deterministic.fill_uninitialized_memory
    with kernels.kernels(Run(deterministic=True), GPU):
        assert not torch.utils.deterministic.fill_uninitialized_memory
    assert torch.utils.deterministic.fill_uninitialized_memory


@pytest.mark.parametrize("lenient", [False, True])
def test_a_program_that_asked_for_exact_kernels_keeps_them(lenient):
    torch.use_deterministic_algorithms(True, warn_only=lenient)
    try:
        with kernels.kernels(Run(), GPU):
            assert chosen() == (False, True, True)
            assert torch.is_deterministic_algorithms_warn_only_enabled() == lenient
        assert chosen() == (False, False, True)
        assert torch.is_deterministic_algorithms_warn_only_enabled() == lenient
        with kernels.kernels(Run(deterministic=True), GPU):
            assert not torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.fixture
def cuda(monkeypatch):
    """(whether it has started, the workspace that the environment names) -> a GPU is there."""

    def call(started, given=None):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: started)
        monkeypatch.setenv(NAME, given or "")
        if given is None:
            monkeypatch.delenv(NAME)

    return call


def test_the_workspace_of_cublas_is_named_before_cuda_starts(cuda):
    cuda(False)
    kernels.reserve_workspace(Run())
    kernels.reserve_workspace(Run(deterministic=True, device="cpu"))
    assert NAME not in os.environ
    kernels.reserve_workspace(Run(deterministic=True))
    assert os.environ[NAME] == ":4096:8"


@pytest.mark.parametrize(
    ("started", "given", "reason"),
    [(True, None, "CUDA has started without"), (False, ":32:2", f"has {NAME}=:32:2 instead of")],
)
def test_a_workspace_that_cannot_be_named_is_one_line(cuda, started, given, reason):
    cuda(started, given)
    with pytest.raises(UserError, match=f"{reason} the workspace .*: start with {NAME}=:4096:8 in the environment"):
        kernels.reserve_workspace(Run(deterministic=True))
    cuda(True, ":16:8")
    kernels.reserve_workspace(Run(deterministic=True))


def test_on_a_cpu_deterministic_runs_are_the_same_and_say_so(run, first, capsys):
    folder = run("run", SMALL, deterministic=True)
    assert losses(folder) == losses(first)
    assert "--deterministic is for GPUs alone: a CPU repeats its results anyway\n" in capsys.readouterr().out
