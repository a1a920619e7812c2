"""Programs where something is absent: packages, a system call, a GPU, the reader of a pipe. One line, or none."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from viewstream.shards.programs import FILES

ROOT = Path(__file__).parents[2]
FOLDERS = ("tools", "tools/bench", "trainers")
PROGRAMS = [
    str(path.relative_to(ROOT))
    for folder in FOLDERS
    for path in sorted((ROOT / folder).glob("*.py"))
    if 'if __name__ == "__main__"' in path.read_text()
]
SLOW = ("torch", "torchvision", "timm", "kornia", "numba", "matplotlib")  # to import


def started(*argv: object, before: str = "", folder: Path, **options: object) -> subprocess.Popen[str]:
    """A program in a process of its own that runs the code `before` first."""
    (folder / "sitecustomize.py").write_text(textwrap.dedent(before))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT.parent)])}
    command = [sys.executable, *map(str, argv)]
    return subprocess.Popen(
        command, cwd=ROOT, env=env, text=True, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    )


def without(*packages: str) -> str:
    """Code that hides installed packages."""
    return f"""
        import sys

        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in {packages!r}:
                    raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

        sys.meta_path.insert(0, Absent())
        """


def answer(*argv: object, before: str = "", folder: Path) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    process = started(*argv, before=before, folder=folder)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_every_folder_with_programs_lends_them_the_package():
    assert {str(Path(name).parent) for name in PROGRAMS} == set(FOLDERS)
    for folder in FOLDERS:
        assert (ROOT / folder / "viewstream.py").resolve() == ROOT / "tools" / "viewstream.py"


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_python_without_the_packages_is_one_line_with_both_remedies(name):
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    bare = [sys.executable, "-S", name, "--help"]  # no site-packages
    done = subprocess.run(bare, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert "`source .venv/bin/activate`" in done.stderr
    assert "`pip install -e .`" in done.stderr


def test_a_program_runs_the_code_of_its_own_checkout_wherever_the_package_comes_from(tmp_path):
    other = tmp_path / "viewstream" / "shards"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("raise RuntimeError('the code of another checkout')")
    code, out, err = answer("tools/build_shards.py", "--help", folder=tmp_path)
    assert code == 0, err
    assert "--source" in out


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.full) if n in FILES else n for n in PROGRAMS]
)  # test_console.py asks the commands
def test_help_imports_nothing_that_takes_seconds(name, tmp_path):
    code, out, err = answer(name, "--help", before=without(*SLOW), folder=tmp_path)
    assert (code, err) == (0, "")
    assert "--help" in out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("trainers/train.py", "--epoch", 3), "did you mean '--epochs'"),
        (("trainers/train.py", "--method", "mocco"), "did you mean 'moco'"),
        (("trainers/train.py", "--lr", "fast"), "--lr"),
        (("trainers/train.py", "--trace", "a.json"), "add --profile 20"),
        (("trainers/evaluate.py", "--task", "kn"), "did you mean 'knn'"),
        (("trainers/evaluate.py", "--task", "tsne", "--data", "set"), "unknown option '--data' of --task tsne"),
        (("trainers/train.py", "--method", "moco", "--posk", "3"), "unknown option '--posk' of --method moco"),
    ],
)
def test_a_wrong_option_is_answered_as_quickly(argv, words, tmp_path):
    code, out, err = answer(*argv, before=without(*SLOW), folder=tmp_path)
    assert (code, out) == (2, "")
    assert words in err


def test_the_recipes_are_listed_as_quickly(tmp_path):
    code, out, err = answer("trainers/train.py", "--list-recipes", before=without(*SLOW), folder=tmp_path)
    assert (code, err) == (0, "")
    assert "moco_v2" in out


def test_what_needs_an_absent_torch_says_so_in_one_line(built, tmp_path):
    training = ("trainers/train.py", "--data", built.root, "--out", tmp_path / "run")
    code, _, err = answer(*training, before=without("torch"), folder=tmp_path)
    assert (code, err) == (2, "error: torch is not installed: pip install 'viewstream[train]' brings it\n")


def test_without_fcntl_a_program_says_that_it_needs_linux_or_macos(tmp_path):
    code, _, err = answer("tools/build_shards.py", "--help", before=without("fcntl"), folder=tmp_path)
    assert code == 2
    assert err == "error: viewstream runs on Linux and macOS, not on this system: on Windows, run it in WSL\n"


def test_building_and_reading_work_without_the_calls_that_only_linux_has(pets, tmp_path):
    before = """
        import os

        del os.sched_getaffinity, os.posix_fadvise, os.POSIX_FADV_WILLNEED
        """
    code, _, err = answer(
        "tools/build_shards.py",
        "--source",
        pets,
        "--out",
        tmp_path / "set",
        "--workers",
        1,
        before=before,
        folder=tmp_path,
    )
    assert code == 0, err
    reading = f"""
        import pathlib
        from viewstream.pipeline import Plan, open_loader, open_set
        from viewstream.augment import moco_v2
        from viewstream.pipeline.readers import row_prefetch

        absent = pathlib.Path("/nowhere")
        assert row_prefetch.free_memory(absent, absent) > 1 << 28
        data = open_set({str(tmp_path / "set")!r})
        loader = open_loader("ffcv", data, Plan(len(data), batch=32), moco_v2(32))
        print(sum(len(batch.target) for batch in loader.epoch(0)))
        """
    code, out, err = answer("-c", textwrap.dedent(reading), before=before, folder=tmp_path)
    assert (code, out) == (0, "96\n"), err


def test_the_table_of_a_set_needs_no_matplotlib_and_the_absent_image_is_named(built, tmp_path):
    tool = ("tools/inspect_shards.py", built.root)
    code, out, err = answer(*tool, before=without("matplotlib"), folder=tmp_path)
    assert (code, err) == (0, "")
    assert "samples  96" in out
    assert "figure  left out, matplotlib is not installed" in out
    code, out, err = answer(*tool, "--png", tmp_path / "a.png", before=without("matplotlib"), folder=tmp_path)
    assert (code, out) == (2, "")
    assert err == "error: matplotlib is not installed: pip install 'viewstream[train]' brings it\n"


@pytest.mark.parametrize(
    "argv",
    [
        ("tools/build_shards.py", "--help"),
        ("trainers/train.py", "--list-recipes"),
        ("tools/inspect_shards.py", "SET", "--no-picture"),
        *(pytest.param((name, "--help"), marks=pytest.mark.full) for name in PROGRAMS),
    ],
)
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_pipe_whose_reader_is_gone_ends_a_program_quietly_with_141(argv, stream, built, tmp_path):
    read, write = os.pipe()
    os.close(read)
    argv = [built.root if word == "SET" else word for word in argv]
    shared = {"stderr": write} if stream == "stderr" else {}
    process = started(*argv, folder=tmp_path, stdout=write, **shared)
    os.close(write)
    err = process.communicate(timeout=120)[1]
    assert process.returncode in ((0, 141) if "--help" in argv else (141,))  # argparse may ignore a closed pipe
    assert not err


def test_an_error_is_shown_although_the_reader_of_the_output_is_gone(tmp_path):
    read, write = os.pipe()
    os.close(read)
    process = started("tools/inspect_shards.py", tmp_path / "nowhere", folder=tmp_path, stdout=write)
    os.close(write)
    assert "nowhere does not exist" in process.communicate(timeout=120)[1]
    assert process.returncode == 2


def test_a_broken_pipe_of_the_program_itself_keeps_its_trace(tmp_path):
    code = "from viewstream.shards.cli import run\ndef main(): raise BrokenPipeError('a worker is gone')\nrun(main)"
    status, _, err = answer("-c", code, folder=tmp_path)
    assert status == 1
    assert "BrokenPipeError: a worker is gone" in err
