"""docs/reliability.md says what the suites have found, and names tests that exist."""

import json
import re

import pytest

from .report import SUITES, page
from .results import RESULTS, ROOT

FILES = sorted(path for path in RESULTS.glob("*.json") if path.stem in SUITES)


def test_the_page_is_what_the_suites_have_found():
    assert (ROOT / "docs/reliability.md").read_text() == page(), "python -m tests.chaos.report writes it again"


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_every_test_that_a_suite_names_exists_and_nothing_it_found_is_bad(file):
    for row in json.loads(file.read_text())["rows"]:
        path, _, name = row["test"].partition("::")
        assert re.search(rf"^def {re.escape(name.partition('[')[0])}\(", (ROOT / path).read_text(), re.MULTILINE)
        assert row["tries"] == sum(row["outcomes"].values()), row
        assert not row["bad"], row


def test_only_figures_of_suites_and_what_they_were_drawn_from_lie_there():
    assert {path.stem.partition("-")[0] for path in RESULTS.glob("*")} <= {*SUITES}
