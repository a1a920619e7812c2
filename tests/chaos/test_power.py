"""A power cut at any operation: what has a final name is whole. The suite tries every one."""

import pytest

from .cases import CASES
from .failures import GOOD, are_lines_of
from .power import outcome, states

LONG = [pytest.param(name, 40, marks=pytest.mark.full) for name in CASES]


@pytest.mark.parametrize(("name", "points"), [("build", 2), ("train", 1), *LONG])
def test_what_a_power_cut_leaves_is_whole_and_the_same_command_completes_it(name, points, tried):
    case = tried(name)
    for at, left, ended in states(case, 0, points):
        text = outcome(case, left, ended)
        assert text.partition(":")[0] in GOOD, (at, text)


def test_a_cut_may_take_lines_of_a_log_but_neither_adds_nor_changes_nor_moves_one():
    one, two, three, other = (b'{"step": %d, "time": %d}\n' % pair for pair in ((1, 5), (2, 6), (3, 7), (4, 8)))
    log = one + two + three
    for lines in (one, one + two, log, one.replace(b"5", b"9")):
        assert are_lines_of(log, lines, gaps=False)
    for lines in (two, one + three, two + three):
        assert are_lines_of(log, lines, gaps=True)
        assert not are_lines_of(log, lines, gaps=False)
    for lines in (other, one + other, two + one, three + one, two.replace(b"2", b"8")):
        assert not are_lines_of(log, lines, gaps=True)
