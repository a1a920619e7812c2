"""The parts of the suite measure on the images of a folder."""

import pytest
import torch

from viewstream.tools.bench.parts import flat, loader, scale, stage, step, threads
from viewstream.tools.bench.parts.sets import Setting
from viewstream.trainers.threads import Threads, taken


@pytest.fixture(scope="module")
def setting(pets, tmp_path_factory):
    return Setting(tmp_path_factory.mktemp("bench"), pets, quick=True)


def test_loaders_are_compared_with_the_floor_and_with_the_peers_on_images_of_a_folder(setting):
    figures = loader.crops(setting, "moco_v2", ("simplejpeg + PIL",), size=32)
    assert {"floor: decode only", "webdataset", "ffcv", "folder", "simplejpeg + PIL"} <= figures["cpu"].keys()
    assert figures["peers"] == figures["antialiased"] == ["simplejpeg + PIL"]
    assert figures["images"] == "photographs of pets"
    assert all(min(values) > 0 for values in figures["wall"].values())


def test_our_steps_take_the_threads_of_a_run_and_plain_torch_its_own(setting, monkeypatch):
    counts = {"ours": set(), "plain": set()}

    def counted(kind, method):
        def call(*args, **options):
            counts[kind].add(torch.get_num_threads())
            return method(*args, **options)

        return call

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(step, "STEPS", 1)
    monkeypatch.setattr(step.Stepper, "step", counted("ours", step.Stepper.step))
    monkeypatch.setattr(step.Plain, "_step", counted("plain", step.Plain._step))
    with taken(Threads(3, "what torch takes by itself")):
        figures = step.steps(setting, "test_resnet", 8)
    assert counts == {"ours": {1}, "plain": {1, 3}}  # 1: the networks alone
    assert (figures["threads"], figures["threads_of_peers"]) == (1, 3)


def test_threads_that_sleep_are_asked_for_the_interpreter_by_task_or_by_image(setting, monkeypatch):
    monkeypatch.setattr(threads, "BATCH", 32)
    slept = []
    monkeypatch.setattr(threads.time, "sleep", slept.append)
    figures = threads.waiting(setting, 2)
    assert list(figures["wall"]) == ["the sleep alone", "one call per task", "one call per image"]
    lengths = {round(seconds / threads.DECODE) for seconds in slept if seconds >= threads.DECODE}
    assert {1, 8} <= lengths  # images per call


def test_speed_and_memory_are_counted_by_tenths_of_a_run(setting):
    run = flat.flat(setting, larger=1, epochs=4, size=16, batch=16)
    assert run["samples"] == 4 * 240
    assert [len(run[key]) for key in ("cpu", "rate", "MiB")] == [10, 10, 10]


def test_an_order_of_many_rows_has_a_time_and_a_memory():
    found = scale.order(100_000)
    assert found["rows"] == 100_000
    assert 0 < found["seconds"] < 60
    assert found["MiB"] >= 0


def test_staging_is_compared_with_plain_copies_and_reads_with_those_of_the_set(setting):
    setting.work.mkdir(exist_ok=True)
    copied, read = stage.copies(setting, "webdataset"), stage.reads(setting, "ffcv")
    assert list(copied["wall"]) == ["cp, sync, sha256sum", "staging"]
    assert list(read["wall"]) == ["a set", "a staged set"]
    assert not [*setting.work.glob("stage-*")]
