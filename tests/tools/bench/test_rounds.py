"""Rounds alternate between cases and drop the first round."""

from viewstream.tools.bench.rounds import in_rounds


def test_cases_alternate_and_the_warm_up_round_is_dropped():
    calls = []

    def measure(name, number):
        calls.append((name, number))
        return f"{name}{number}"

    assert in_rounds(["a", "b"], 2, measure) == {"a": ["a1", "a2"], "b": ["b1", "b2"]}
    assert calls == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]
