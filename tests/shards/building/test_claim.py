"""One build at a time on an object store: a lock that two cannot hold, and that no dead build keeps."""

import json
import os
import subprocess
import sys
import threading

import fsspec
import pytest

from viewstream.shards.building import claim as module
from viewstream.shards.building.build import build
from viewstream.shards.building.claim import CLAIM, born, claimed, holder, machine
from viewstream.shards.building.object_store import Store
from viewstream.shards.errors import UserError


@pytest.fixture
def store(monkeypatch):
    """A folder in memory, empty, with short waits."""
    fsspec.filesystem("memory").store.clear()
    for name, seconds in (("RENEW", 0.02), ("STALE", 0.4), ("SETTLE", 0.05)):
        monkeypatch.setattr(module, name, seconds)
    return Store("memory://sets/pets")


def left(store, **changes):
    """Leave the lock of a build, by default of another machine."""
    page = {"id": "other", "host": "far", "pid": 7, "machine": "its", "born": "1", "time": 0.0} | changes
    store.write(CLAIM, json.dumps(page).encode())


def held_by(store):
    """What the lock says, which is there."""
    page = holder(store)
    assert page is not None
    return page


def begin(store):
    with claimed(store):
        pass


def until_lost(claim):
    while True:
        claim.check()


def test_a_second_build_on_the_same_machine_is_refused_at_once(store):
    with claimed(store) as first:
        with pytest.raises(UserError, match=rf"another build \(process {os.getpid()} on .*\) is writing memory://sets"):
            begin(store)
        first.check()
        assert first.mine()
    assert store.names("building") == {}


def test_a_second_build_is_refused_while_one_on_another_machine_renews_its_lock(store, monkeypatch):
    monkeypatch.setattr(module, "STALE", 1000.0)
    with claimed(store) as first:
        first.own["machine"] = "another"
        page = holder(store)
        while holder(store) == page:
            pass
        monkeypatch.setattr(module, "machine", lambda: "a second one")
        with pytest.raises(UserError, match=r"another build .* is writing memory://sets"):
            begin(store)
        assert first.mine()


def test_a_lock_tells_host_process_and_time_and_is_renewed(store):
    with claimed(store):
        page = held_by(store)
        assert (page["host"], page["pid"]) == (os.uname().nodename, os.getpid())
        while held_by(store)["time"] == page["time"]:
            pass


def test_the_lock_of_a_process_that_died_here_is_taken_over_at_once(store, monkeypatch):
    monkeypatch.setattr(module, "STALE", 1000.0)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    left(store, pid=child.pid, machine=machine(), born=born(child.pid))
    child.kill()
    child.wait()
    with claimed(store) as claim:
        assert claim.mine()


def test_the_lock_of_a_number_that_another_process_has_now_is_taken_over_too(store, monkeypatch):
    monkeypatch.setattr(module, "STALE", 1000.0)
    left(store, pid=os.getpid(), machine=machine(), born="1")
    with claimed(store) as claim:
        assert claim.mine()


def test_a_lock_without_a_sign_of_life_is_taken_over_after_a_time_that_is_named(store, capsys):
    left(store)
    with claimed(store) as claim:
        assert claim.mine()
    assert "is locked by process 7 on far: 0 s for a sign of life" in capsys.readouterr().err


def test_a_build_whose_lock_was_taken_over_ends_and_leaves_the_new_lock(store, options, monkeypatch):
    with claimed(store) as claim:
        left(store)
        with pytest.raises(UserError, match=r"another build took over memory://sets/pets"):
            until_lost(claim)
    assert held_by(store)["id"] == "other"


def test_of_two_that_take_over_a_lock_at_once_one_builds(store):
    left(store)
    held, refused, leave = [], [], threading.Barrier(2, timeout=60)

    def take():
        try:
            with claimed(store) as claim:
                held.append(claim)
                leave.wait()
        except UserError as error:
            refused.append(str(error))
            leave.wait()

    threads = [threading.Thread(target=take) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(held) == len(refused) == 1
    assert "is writing" in refused[0]


def test_a_store_that_takes_no_condition_or_ignores_it_is_refused_unless_no_lock(store, options, monkeypatch, digests):
    whole = build(options(shard_size="30KB"))
    fs = fsspec.filesystem("memory")
    for fooled in (
        lambda path, data, mode="overwrite", **_: type(fs).pipe_file(fs, path, data),
        lambda path, data, mode="overwrite": (
            (_ for _ in ()).throw(NotImplementedError("no condition"))
            if mode == "create"
            else type(fs).pipe_file(fs, path, data)
        ),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(fs, "pipe_file", fooled)
            with pytest.raises(UserError, match=r"no conditional puts.* start one alone, with --no-lock"):
                build(options(out=store.url, shard_size="30KB"))
            assert fs.find("/sets") == []
            assert build(options(out=store.url, shard_size="30KB", no_lock=True)).info == whole.info
        fs.rm("/sets", recursive=True)


def test_a_lock_that_was_made_although_the_answer_was_lost_is_held(store, monkeypatch):
    create = Store.create

    def lost(self, name, data):
        return create(self, name, data) and name != CLAIM

    monkeypatch.setattr(Store, "create", lost)
    with claimed(store) as claim:
        assert claim.mine()


def test_an_ended_build_leaves_no_lock_however_it_ends(store, options, tree, monkeypatch):
    (tree / "train" / "cat" / "cat_3.JPEG").write_bytes(b"damaged")
    with pytest.raises(UserError, match="is damaged"):
        build(options(out=store.url))
    assert fsspec.filesystem("memory").find("/sets") == []
    build(options(out=store.url, on_error="skip"))
    assert store.names("building") == {}
