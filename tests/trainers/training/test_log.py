"""A damaged log costs its own lines, and no run."""

import json

import pytest

from viewstream.trainers.training.log import Log

from ...flipping import flips


@pytest.fixture
def log(tmp_path):
    """The log of three steps and an evaluation."""
    rows = [{"step": n, "loss": 0.5} for n in range(1, 4)] + [{"evaluation": "knn", "top1": 0.25}]
    file = tmp_path / "log.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_a_flipped_bit_of_a_log_costs_at_most_the_lines_that_it_is_in(log):
    lines = log.read_bytes().splitlines()
    for bit in flips(log, 300):
        Log(log.parent, range(3, 6), batch=4, every=1).close()
        left = log.read_bytes().splitlines()
        assert len(lines) - 2 <= len({*left} & {*lines}), f"bit {bit}"  # two, if it is in the end of a line


@pytest.mark.parametrize("line", [b"5", b"[]", b"null", b'{"step": "x"}', b"\xff", b"[" * 200_000])
def test_a_line_of_a_log_that_is_none_is_cut(log, line):
    whole = log.read_bytes()
    log.write_bytes(line + b"\n" + whole)
    Log(log.parent, range(3, 6), batch=4, every=1).close()
    assert log.read_bytes() == whole
    assert "1 lines of log.jsonl are cut" in (log.parent / "rank-0.log").read_text()
