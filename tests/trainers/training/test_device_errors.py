"""Full memory and operations without an exact kernel: one line with the flags that help, whatever the run was doing."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import pytest
import torch

from viewstream.shards.errors import UserError
from viewstream.trainers.methods.supervised import Supervised as Classifier
from viewstream.trainers.recipes.options import Supervised
from viewstream.trainers.training import loop

from ..small_runs import COMMON, SMALL

FULL = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB"


class Failing(Classifier):
    """A classifier whose third step raises `error`."""

    error: ClassVar = torch.OutOfMemoryError(FULL)

    def forward(self, batch, now):
        if now.step == 2:
            raise self.error
        return super().forward(batch, now)


@dataclass(frozen=True, kw_only=True)
class Failed(Supervised):
    """A classifier that fails"""

    method_class: ClassVar = Failing
    method: str = field(init=False, default="supervised")


RECIPE = Failed(**COMMON, views="supervised", bn_groups=2)


def test_full_memory_is_one_line_with_three_flags_that_help(run, tmp_path):
    with pytest.raises(UserError) as error:
        run("run", RECIPE)
    assert str(error.value) == (
        "the memory of the cpu is too small for --batch-size 16 (16 images at once) at --size 32: take a smaller "
        "--batch-size, --accumulate 2 or --precision bf16"
    )
    assert not (tmp_path / "run" / "last.pt").exists()


def test_full_memory_after_a_checkpoint_says_that_it_is_whole_and_what_continues_it(run, tmp_path):
    with pytest.raises(UserError, match=r"last\.pt is from before: more --ranks continue it, another recipe needs an"):
        run("run", RECIPE, save_every=1)
    assert torch.load(tmp_path / "run" / "last.pt", weights_only=True)["step"] == 2


@pytest.mark.parametrize("words", ["CUDA error: out of memory", "cuDNN: out of memory"])
def test_flags_are_those_that_the_run_can_take(run, monkeypatch, words):
    """MoCo takes no parts; a run in bf16 can be no more precise than it is."""

    def full(self, *_):
        raise RuntimeError(words)

    monkeypatch.setattr(loop.Stepper, "step", full)
    with pytest.raises(UserError, match=r"take a smaller --batch-size, a smaller --size or more --ranks$"):
        run("run", replace(SMALL, precision="bf16"))


def test_memory_that_fills_up_while_a_batch_is_made_is_the_same_line(run, monkeypatch):
    def full(loader, epoch, start, log):
        raise torch.OutOfMemoryError(FULL)
        yield

    monkeypatch.setattr(loop, "_timed", full)
    with pytest.raises(UserError, match="is too small for --batch-size 16"):
        run("run", SMALL)


def test_an_operation_without_an_exact_kernel_is_named(run, monkeypatch):
    words = "adaptive_avg_pool2d_backward_cuda does not have a deterministic implementation, but you set ..."
    monkeypatch.setattr(Failing, "error", RuntimeError(words))
    with pytest.raises(UserError, match=r"rules out adaptive_avg_pool2d_backward_cuda of --arch test_resnet, .*leave"):
        run("run", RECIPE)


def test_other_errors_of_a_program_stay_what_they_are(run, monkeypatch):
    monkeypatch.setattr(Failing, "error", RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        run("run", RECIPE)


@pytest.mark.full
def test_full_memory_on_one_rank_ends_all_with_its_line_and_a_whole_checkpoint(program, built, tmp_path):
    done = program("tests/trainers/training/full_memory.py", built.root, tmp_path / "run")
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert "error: the memory of the cpu is too small for --batch-size 16 (8 images at once)" in last
    assert "Traceback" not in done.stderr
    step = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["step"]
    assert step in (1, 2)  # rank 0 may be ended while it writes the second
