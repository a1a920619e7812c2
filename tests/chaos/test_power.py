"""A power cut at any operation: what has a final name is whole. The suite tries every one."""

import pytest

from .cases import CASES
from .failures import GOOD
from .power import outcome, states

LONG = [pytest.param(name, 40, marks=pytest.mark.full) for name in CASES]


@pytest.mark.parametrize(("name", "points"), [("build", 2), ("train", 1), *LONG])
def test_what_a_power_cut_leaves_is_whole_and_the_same_command_completes_it(name, points, tried):
    case = tried(name)
    for at, left, ended in states(case, 0, points):
        text = outcome(case, left, ended)
        assert text.partition(":")[0] in GOOD, (at, text)
