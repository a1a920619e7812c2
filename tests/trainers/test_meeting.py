"""The meeting of the launchers: a question never holds one up, and a node that is alone ends after a while."""

from threading import Event

import pytest

from viewstream.trainers import meeting
from viewstream.trainers.meeting import ALONE, Alone, Meeting


class Handler:
    """A meeting of torchrun, which has ended or not."""

    def __init__(self, ended=False):
        self.ended = ended

    def is_closed(self):
        return self.ended


@pytest.fixture
def clock(monkeypatch):
    """A clock that a second passes on at each look."""
    seconds = iter(range(10**6))
    monkeypatch.setattr(meeting.time, "monotonic", lambda: next(seconds))
    monkeypatch.setattr(meeting, "PAUSE", 0.0)


def looks(found, handler, most=10**4):
    """How often a launcher looks until it knows that it is alone."""
    for number in range(most):
        try:
            found.waiting(handler)
        except Alone as alone:
            return number, str(alone)
    raise AssertionError("it goes on")


@pytest.mark.usefixtures("clock")
def test_a_place_that_does_not_answer_is_given_up_after_a_while_and_looking_takes_no_time():
    release = Event()
    number, words = looks(Meeting(lambda _: release.wait() or 0), Handler())
    release.set()
    assert (number, words) == (ALONE, "does not answer")

    def refuse(_):
        raise ConnectionError("reset")

    assert looks(Meeting(refuse), Handler())[1] == "does not answer"


@pytest.mark.usefixtures("clock")
def test_a_job_that_has_ended_elsewhere_is_given_up():
    assert looks(Meeting(lambda _: 0), Handler(ended=True))[1] == "says that the job has ended on another node"


@pytest.mark.usefixtures("clock")
def test_while_good_answers_come_a_node_goes_on_and_sees_who_waits_to_join():
    found = Meeting(lambda _: 3)
    for _ in range(5 * int(ALONE)):
        found.waiting(Handler())
        found._thread.join()
    assert found.waiting(Handler()) in (0, 3)  # a question is under way, or has come back
    found._thread.join()
    assert found._waiting == 3
