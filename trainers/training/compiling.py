"""Whether the networks of a run are compiled, and how."""

import torch
import torch._functorch.config as functorch
from torch import nn

from ...augment.renderers import compiler
from ...shards.errors import UserError
from ..marks import progress
from ..nets.encoder import Encoder
from .options import Run


def compiled(run: Run, device: torch.device) -> bool:
    """Whether `run` compiles on `device`; auto: on a GPU where that works. UserError for `on` where it does not."""
    choice: compiler.Choice = "on" if run.compile is True else "off" if run.compile is False else run.compile
    works = compiler.wanted(choice, device)
    if works and (inexact := _inexact(run, device)):
        if choice == "on":
            raise UserError(f"--compile on: {inexact}; choose --compile off")
        return False
    return works


def described(run: Run, device: torch.device) -> str:
    """What the first lines of a run say about it; empty where nothing was to be expected."""
    if compiled(run, device):
        return "networks are compiled at their first step (--compile off: not at all)"
    reason = compiler.missing(device) or _inexact(run, device)
    return f"networks are not compiled: {reason}" if run.compile == "auto" and device.type == "cuda" else ""


def compile_encoders(method: nn.Module) -> None:
    """Compile the networks of a method in place: checkpoints keep their keys.

    Each size of a batch gets its own kernels, whatever came before, so that a resumed run has those of an undisturbed
    one; there are few: whole batches and an epoch's last, in training and in validation. What the process compiled
    before is forgotten: all networks share the eight graphs that torch makes of one function before it gives up.
    """
    torch.compiler.reset()
    progress.spare_compiling()
    if hasattr(functorch, "backward_pass_autocast"):
        functorch.backward_pass_autocast = "off"  # the loop runs the backward outside of autocast
    for net in method.modules():
        if isinstance(net, Encoder):
            net.compile(dynamic=False)


def _inexact(run: Run, device: torch.device) -> str:
    """Why a run with --deterministic cannot be compiled; empty if it can."""
    if run.deterministic and device.type == "cuda" and not repeatable():
        return f"torch {torch.__version__} chooses among compiled kernels by their speed, against --deterministic"
    return ""


def repeatable() -> bool:
    """Whether torch.use_deterministic_algorithms also chooses compiled kernels without measuring them."""
    import torch._inductor.config as inductor  # half a second

    return hasattr(inductor, "deterministic")
