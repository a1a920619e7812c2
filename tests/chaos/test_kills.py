"""Programs that are killed, and two that write the same thing; `make chaos PART=kills` is the long form."""

import re

import pytest

SEED = 17


@pytest.fixture
def kills(program):
    """(runs, parts) -> the finished suite."""

    def call(runs, only):
        return program("-m", "tests.chaos.kills", "--seed", SEED, "--runs", runs, "--only", only)

    return call


def test_a_few_programs_that_are_killed_end_as_if_nothing_had_happened(kills):
    done = kills(10, "build")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^[1-9] faults, 0 bad outcomes", done.stdout, re.MULTILINE)


@pytest.mark.full
@pytest.mark.parametrize(
    "parts", ["build*,index*,repair*", "train-*", "ranks-*", "static*,convert*,evaluate*", "remote,stage*,train-staged"]
)
def test_programs_that_are_killed_end_as_if_nothing_had_happened(kills, parts):
    done = kills(100, parts)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.full
def test_of_two_that_write_one_thing_at_once_one_is_refused(kills):
    done = kills(100, "*-twice")
    assert done.returncode == 0, done.stdout + done.stderr
