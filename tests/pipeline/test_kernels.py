"""A CPU on which crops take the slower path is named, once and by one rank."""

import pytest

from viewstream.pipeline import kernels
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
