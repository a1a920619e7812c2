"""A disk that fails at any operation: one line and code 2, nothing torn, nothing lost. The suite tries every one."""

import pytest

from .cases import CASES
from .failures import FAULTS, GOOD, numbers, outcome

LONG = [pytest.param(name, 40, marks=pytest.mark.full) for name in CASES]


@pytest.mark.parametrize(("name", "count"), [("build", 2), ("train", 1), *LONG])
def test_any_operation_may_fail_in_one_line_and_nothing_is_torn_or_lost(name, count, tried):
    case = tried(name)
    for shift, fault in enumerate(FAULTS):
        for number in numbers(case.answer.count, count):
            at = min(case.answer.count, number + 7 * shift)
            text = outcome(case, fault, at)
            assert text.partition(":")[0] in GOOD, (fault, at, text)
