"""Ratios of two runs are compared, never their times."""

import copy

import pytest

from viewstream.tools.bench.figures.check import compare, strongest


def test_a_ratio_that_falls_by_more_than_a_quarter_fails_the_check_and_a_smaller_fall_does_not(loader):
    slower, slow = copy.deepcopy(loader), copy.deepcopy(loader)
    slower["two views"]["cpu"]["ours"] = [140.0, 154.0, 140.0]
    slow["two views"]["cpu"]["ours"] = [120.0, 132.0, 120.0]
    assert [row.fallen for row in compare(loader, slower)] == [True, True]
    assert not any(row.fallen for row in compare(loader, slow))
    assert "LOWER  two views: ours / floor" in str(compare(loader, slower)[0])


def test_a_slower_machine_changes_no_ratio(loader):
    other = copy.deepcopy(loader)
    for values in other["two views"]["cpu"].values():
        values[:] = [3 * us for us in values]
    assert all(row.saved == pytest.approx(row.fresh) for row in compare(loader, other))


def test_a_peer_that_is_absent_does_not_fail_the_check_and_a_case_of_ours_that_is_absent_does(loader):
    without = copy.deepcopy(loader)
    without["two views"]["antialiased"] = []
    assert [(row.fresh is None, row.fallen) for row in compare(loader, without)] == [(False, False), (True, False)]
    del without["two views"]["cpu"]["ours"]
    assert compare(loader, without)[0].fallen


def test_the_strongest_peer_is_the_quickest_that_antialiases(loader):
    assert strongest(loader["two views"]) == "good"
    loader["two views"]["cpu"]["aliased"] = [101.0] * 3
    assert strongest(loader["two views"]) == "good"
