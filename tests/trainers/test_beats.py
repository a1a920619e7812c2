"""Beats: an exchange comes back though the store does not, and where the store fails its keeper is missed."""

from threading import Event

import pytest

from viewstream.trainers import beats
from viewstream.trainers.beats import Beat, Board
from viewstream.trainers.watchdog import TURNS, Watchdog


class Store:
    """A store in this process, which may stop to answer, or be gone."""

    def __init__(self):
        self.kept, self.answers, self.gone = {}, Event(), False
        self.answers.set()

    def set(self, key, value):
        if self.gone:
            raise RuntimeError("Connection reset by peer")
        self.kept[key] = value

    def multi_get(self, keys):
        self.answers.wait()
        return [self.kept[key].encode() for key in keys]


@pytest.fixture
def store(monkeypatch):
    store = Store()
    monkeypatch.setattr(beats, "_store", lambda *_: store)
    yield store
    store.answers.set()


def test_ranks_read_what_the_others_have_left(store):
    one, two = (Board(rank, 2, Beat(1, host=f"node-{rank}")) for rank in (0, 1))
    assert [beat.number for beat in one.exchange(Beat(2), 60)] == [2, 1]
    assert two.exchange(Beat(3, idle=4, doing="step 5"), 60)[1] == Beat(3, 4, "step 5", gone=[])


def test_an_exchange_with_a_store_that_does_not_answer_comes_back_and_the_next_one_reads_again(store):
    board = Board(0, 1, Beat(1))
    store.answers.clear()
    assert board.exchange(Beat(2), 0.01) is None
    assert board.exchange(Beat(3), 0.01) is None
    assert not board.closed
    store.answers.set()
    board._thread.join()
    assert board.exchange(Beat(4), 60)[0].number == 4


def test_a_store_whose_keeper_is_gone_is_closed(store):
    board = Board(1, 2, Beat(1))
    store.gone = True
    assert board.exchange(Beat(2), 60) is None
    assert board.closed


@pytest.mark.parametrize(("rank", "missed"), [(1, [0]), (2, [0]), (0, [1, 2])])
def test_while_the_store_is_silent_its_keeper_is_missed_and_by_the_keeper_all_others(store, rank, missed):
    """Nothing is known about the rest: a rank that cannot be heard is not the one to name."""
    for other in range(3):
        Board(other, 3, Beat(1))
    dog = Watchdog(seconds=600, rank=rank, ranks=3)
    store.gone = True
    for _ in range(TURNS):
        dog._beat()
    assert dog.gone == missed


def test_hosts_are_named_where_there_are_several():
    dog = Watchdog(seconds=600)
    dog.beats = {rank: Beat(1, TURNS, "step 5", host=f"node-{rank // 2}") for rank in range(4)}
    words = dog.words([3])
    assert words.startswith("rank 3 (node-1) has been silent for 600 s (stopped, gone, or cut off from the network): ")
    assert "ranks 0, 1 (node-0), 2 (node-1) at step 5;" in words
    dog.beats = {rank: beat._replace(host="node-0") for rank, beat in dog.beats.items()}
    assert dog.words([3]).startswith("rank 3 has been silent for 600 s (stopped, or gone): ranks 0, 1, 2 at step 5; ")
