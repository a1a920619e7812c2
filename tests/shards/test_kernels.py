"""Cold kernels are compiled once by processes of their own, announced, and never later than their warm-up."""

import os
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ANNOUNCED = "compiling kernels for adding, doubling: once on this machine"
MODULE = """
    import os
    from pathlib import Path
    from numba.core import event
    from viewstream.shards.kernels import njit

    class Count(event.Listener):
        def on_start(self, event):
            with Path(__file__).with_suffix(".compiled").open("a") as file:
                file.write(f"{os.getpid()}\\n")

        def on_end(self, event):
            pass

    event.register("numba:run_pass", Count())

    @njit(cache=True)
    def kernel(x):
        return x + x

    def warm_up():
        kernel(1)
    """
PROGRAM = """
    from viewstream.shards.kernels import ready

    ready({"adding": "adding", "doubling": "doubling"})
    import adding, doubling

    print(adding.kernel(2), *adding.kernel.stats.cache_hits.values(), *doubling.kernel.stats.cache_hits.values())
    """


@pytest.fixture
def start(tmp_path):
    """(code that runs first) -> a program, just started, whose two modules of kernels have never been compiled."""
    for name in ("adding", "doubling"):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(MODULE))
    (tmp_path / "cache").mkdir()
    paths = os.pathsep.join([str(tmp_path), str(ROOT.parent)])
    env = {**os.environ, "PYTHONPATH": paths, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def call(before="", **more):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        command = [sys.executable, "-c", textwrap.dedent(before) + textwrap.dedent(PROGRAM)]
        return subprocess.Popen(command, env=env | more, text=True, **pipes)

    return call


def compilers(folder, name):
    """The processes that compiled a module: each of numba's passes has left a line."""
    file = folder / f"{name}.compiled"
    return set(file.read_text().split()) if file.exists() else set()


def test_cold_kernels_are_compiled_by_a_process_for_each_module_and_loaded_here(start, tmp_path):
    process = start()
    out, err = process.communicate(timeout=120)
    assert out == "4 1 1\n", err
    assert ANNOUNCED in err
    assert len(compilers(tmp_path, "adding") | compilers(tmp_path, "doubling") | {str(process.pid)}) == 3
    out, err = start().communicate(timeout=120)
    assert (out, err) == ("4 1 1\n", "")


def test_processes_that_start_cold_at_once_compile_once_and_announce_it_once(start, tmp_path):
    processes = [start() for _ in range(3)]
    answers = [process.communicate(timeout=120) for process in processes]
    assert [out for out, _ in answers] == ["4 1 1\n"] * 3
    assert sum(ANNOUNCED in err for _, err in answers) == 1
    assert len(compilers(tmp_path, "adding")) == len(compilers(tmp_path, "doubling")) == 1


def test_a_program_that_was_made_quiet_announces_nothing(start):
    before = """
        import os
        import viewstream.shards.kernels

        os.environ["TQDM_DISABLE"] = "1"  # as --quiet does, after tqdm was imported
        """
    out, err = start(before).communicate(timeout=120)
    assert (out, err) == ("4 1 1\n", "")


@pytest.mark.parametrize("rank", ["0", "1"])
def test_without_a_folder_for_machine_code_kernels_work_and_rank_0_says_so_once(start, rank):
    before = """
        from numba.core.caching import CacheImpl
        from viewstream.shards.messages import begin_printing

        begin_printing()
        CacheImpl._locator_classes = []  # as if no folder could be written: numba asks each of these for one
        """
    out, err = start(before, RANK=rank).communicate(timeout=120)
    assert out == "4\n", err
    assert err.count("NUMBA_CACHE_DIR=DIR in the environment names one") == (rank == "0")
    assert err.count("\n") == (rank == "0")


@pytest.mark.parametrize("loader", ["folder", "memory"])
def test_a_loader_compiles_nothing_after_its_warm_up(built, loader):
    from numba.core import event

    from viewstream.augment import byol
    from viewstream.pipeline import Plan, open_loader

    opened = closing(open_loader(loader, built, Plan(len(built), 16), byol(32)))
    with opened as batches, event.install_recorder("numba:compile") as compiled:
        assert len(list(batches.epoch(0))) == 6
    assert not compiled.buffer


def test_shrinking_compiles_nothing_after_its_warm_up():
    import numpy as np
    from numba.core import event

    from viewstream.shards.encoding.shrink import shrink, warm_up

    warm_up()
    with event.install_recorder("numba:compile") as compiled:
        shrink(np.zeros((40, 30, 3), np.uint8), 20, 15)
    assert not compiled.buffer
