"""What makes a loader slower on this machine is named, once and by one rank."""

import pytest

from viewstream.pipeline import kernels, turbojpeg, workers
from viewstream.pipeline.cut import vectors


@pytest.mark.parametrize(("picks", "rank", "notes"), [(True, "0", 0), (False, "0", 1), (False, "1", 0)])
@pytest.mark.parametrize("planes", [False, True])
def test_a_cpu_with_the_slower_path_is_named_once_and_what_planes_cost_there(
    monkeypatch, capsys, picks, rank, notes, planes
):
    monkeypatch.setattr(vectors, "cpu_has_picks", lambda: picks)
    monkeypatch.setattr(kernels, "ready", lambda modules: None)
    monkeypatch.setenv("RANK", rank)
    kernels._note_slower_path.cache_clear()
    for _ in range(2):
        kernels.warm_up(rendering=False, planes=planes)
    printed = capsys.readouterr().err
    kernels._note_slower_path.cache_clear()
    assert printed.count("has no AVX-512: crops take the slower path") == notes
    assert printed.count("--decode planes takes longer than --decode cpu") == notes * planes


@pytest.mark.parametrize(
    ("cores", "library", "rank", "notes"),
    [(16, False, "0", 1), (16, False, "1", 0), (16, True, "0", 0), (4, False, "0", 0)],
)
def test_many_threads_without_libturbojpeg_are_told_what_brings_it(monkeypatch, capsys, cores, library, rank, notes):
    monkeypatch.setattr(workers, "share_of_cores", lambda: cores)
    monkeypatch.setattr(turbojpeg, "has_turbojpeg", lambda: library)
    monkeypatch.setattr(kernels, "ready", lambda modules: None)
    monkeypatch.setenv("RANK", rank)
    kernels._note_slower_path.cache_clear()
    for _ in range(2):
        kernels.warm_up(rendering=False)
    printed = capsys.readouterr().err
    kernels._note_slower_path.cache_clear()
    assert printed.count("apt-get install libturbojpeg0 or pip install 'viewstream[planes]' brings it") == notes
