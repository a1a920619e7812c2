"""--compile auto, on and off: where networks are compiled, what the first lines say, what a resume repeats."""

import pytest
import torch
import torch._functorch.config as functorch
from torch import nn

from viewstream.augment.renderers import compiler
from viewstream.shards.cli import parse
from viewstream.shards.errors import UserError
from viewstream.trainers.methods.build import build
from viewstream.trainers.nets.encoder import Encoder
from viewstream.trainers.recipes.options import BYOL, Supervised
from viewstream.trainers.training import compiling
from viewstream.trainers.training.log import Log
from viewstream.trainers.training.options import Run

from ..small_runs import COMMON, SMALL, losses, state

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)  # naming a GPU needs none
FULL = pytest.mark.full


@pytest.fixture
def works(monkeypatch):
    """(reason) -> lets a compiler lack `reason`, or nothing, on every device."""
    return lambda reason: monkeypatch.setattr(compiler, "missing", lambda device: reason)


@pytest.mark.parametrize(
    ("words", "gpu", "cpu"),
    [
        ([], True, False),
        (["--compile", "auto"], True, False),
        (["--compile"], True, True),
        (["--compile", "on"], True, True),
        (["--compile", "off"], False, False),
        (["--compile", "--deterministic"], True, True),
    ],
)
def test_networks_are_compiled_on_a_gpu_or_where_it_is_asked_for(works, words, gpu, cpu):
    works("")
    (run,) = parse(Run(), argv=words, description="")
    assert (compiling.compiled(run, GPU), compiling.compiled(run, CPU)) == (gpu, cpu)
    assert [bool(compiling.described(run, device)) for device in (GPU, CPU)] == [gpu, cpu]


def test_without_a_compiler_auto_says_why_and_on_is_refused(works):
    works("the package triton is not installed")
    assert not compiling.compiled(Run(), GPU)
    assert compiling.described(Run(), GPU) == "networks are not compiled: the package triton is not installed"
    assert not compiling.described(Run(), CPU)
    for wanted in ("on", True):
        with pytest.raises(
            UserError, match=r"--compile on: .* the package triton is not installed; choose --compile off"
        ):
            compiling.compiled(Run(compile=wanted), CPU)


def test_a_torch_that_compiles_by_speed_alone_does_not_compile_deterministic_runs(works, monkeypatch):
    works("")
    monkeypatch.setattr(compiling, "repeatable", lambda: False)
    assert not compiling.compiled(Run(deterministic=True), GPU)
    assert compiling.compiled(Run(deterministic=True, compile="on"), CPU)
    with pytest.raises(UserError, match="chooses among compiled kernels by their speed"):
        compiling.compiled(Run(deterministic=True, compile="on"), GPU)


def test_a_run_that_cannot_compile_ends_before_its_first_step(run, works, tmp_path):
    works("no C++ compiler is on the PATH")
    with pytest.raises(UserError, match=r"no C\+\+ compiler is on the PATH"):
        run("run", SMALL, compile="on")
    assert not (tmp_path / "run").exists()


def test_networks_are_compiled_in_place_with_a_backward_outside_of_autocast(monkeypatch):
    made = []
    monkeypatch.setattr(torch, "compile", lambda call, **options: made.append(options) or call)
    method = build(SMALL)
    before = list(method.state_dict())
    with functorch.patch(backward_pass_autocast="same_as_forward"):
        compiling.compile_encoders(method)
        assert functorch.backward_pass_autocast == "off"
    assert made == [{"dynamic": False}] * sum(isinstance(net, Encoder) for net in method.modules())
    assert list(method.state_dict()) == before


def test_the_tenth_run_of_a_process_is_compiled_like_the_first(monkeypatch):
    made, compiler = [], torch.compile
    monkeypatch.setattr(torch, "compile", lambda call, **options: compiler(call, backend=backend, **options))

    def backend(graph, inputs):
        made.append(graph)
        return graph

    for dim in range(1, 11):
        net = nn.ModuleList([Encoder(nn.Flatten(), nn.Linear(12, dim))])
        compiling.compile_encoders(net)
        net[0](torch.rand(4, 3, 2, 2))
        assert len(made) == dim


@FULL
def test_compiled_networks_give_the_same_losses(run, capsys):
    recipe = BYOL(**COMMON, views="byol", dim=16, hidden=32)
    plain, compiled = run("plain", recipe), run("compiled", recipe, compile=True)
    assert capsys.readouterr().out.count("networks are compiled") == 1
    ours, theirs = losses(compiled), losses(plain)
    assert [ours[step] for step in (1, 2, 3)] == pytest.approx([theirs[step] for step in (1, 2, 3)], abs=1e-3)
    assert state(compiled).keys() == state(plain).keys()


@FULL
def test_a_compiled_run_with_a_smaller_last_batch_resumes_bit_for_bit(run, monkeypatch):
    """Stopped between the batches of 40, 40 and 16 images, it sees their sizes in another order afterwards."""
    recipe, own = Supervised(**COMMON | {"batch_size": 40}, views="supervised", bn_groups=2), Log.step
    options = {"compile": "on", "eval_every": 1}
    undisturbed = run("undisturbed", recipe, **options)

    def stopping(self, step, *arguments, **more):
        self.stop = step == 2
        own(self, step, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Log, "step", stopping)
        folder = run("resumed", recipe, **options)
    torch._dynamo.reset()  # as in a process of its own
    run("resumed", recipe, resume="auto", **options)
    assert losses(folder) == losses(undisturbed)
    assert losses(folder).keys() == set(range(1, 7))
