"""--quiet: answers and errors, nothing else."""

import pytest

SMALL = ("--arch", "test_resnet", "--size", 32, "--batch-size", 32, "--queue", 64, "--epochs", 1, "--bn-groups", 2)


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.full)])
def test_a_training_says_nothing_and_writes_the_same(program, built, tmp_path, ranks):
    words = ("--method", "moco", *SMALL, "--data", built.root, "--loader", "ffcv", "--device", "cpu", "--ranks", ranks)
    done = program("trainers/train.py", *words, "--out", tmp_path / "run", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "run/last.pt").exists()


def test_a_build_says_nothing_and_an_error_is_shown(program, pets, tmp_path):
    words = ("tools/build_shards.py", "--source", pets, "--out", tmp_path / "set", "--workers", 1, "--quiet")
    done = program(*words)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    again = program(*words)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr.startswith("error: ")


def test_an_answer_is_printed(program, built):
    done = program("tools/inspect_shards.py", built.root, "--no-picture", "--quiet")
    assert done.returncode == 0
    assert "samples  96" in done.stdout
