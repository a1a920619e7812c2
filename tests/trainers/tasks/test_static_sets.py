"""The tasks on a static augmented set, through the library."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from viewstream.shards.errors import UserError
from viewstream.tools.make_static import Static, make
from viewstream.trainers.evals import instdisc, knn, stats, tsne
from viewstream.trainers.tasks.model import EvaluatedModel
from viewstream.trainers.tasks.options import Instdisc, Tsne
from viewstream.trainers.tasks.run import evaluate

COMMON = {"loader": "folder", "device": "cpu", "batch_size": 26}


def test_instance_discrimination_gives_accuracies_and_the_line_of_the_release(runs, static, capsys):
    found = evaluate(
        Instdisc(checkpoint=str(runs / "moco/last.pt"), static=str(static), samples_per_chunk=24, **COMMON)
    )
    values = [found[f"instdisc/d-sd top{k}"] for k in range(1, 6)]
    assert values == sorted(values)
    assert 0 < values[-1] <= 100
    assert "Mode: d-sd; Top1-5: [" in capsys.readouterr().out


def test_a_static_set_of_either_renderer_measures_the_same(runs, built, static, tmp_path):
    device = make(Static(data=built.root, size=32, renderer="device", out=tmp_path / "set"))
    model = EvaluatedModel(Instdisc(checkpoint=str(runs / "moco/last.pt"), **COMMON), torch.device("cpu"))
    measured = []
    for folder in (static, device):
        (original, *views), labels = model.views(str(folder), "normal")
        ranks, ties = instdisc.ranks_and_ties(*instdisc.pair((original, *views), "sd-sd"), gallery="queries")
        hits = knn.best_nn_hits(original, labels, views[0], labels, max_k=9, space="original")
        d, one, two = (torch.nn.functional.normalize(x.double(), dim=1) for x in (original, *views))
        parts = [stats.alignment(one, two), stats.alignment(d, one), stats.uniformity(one)]
        measured.append((instdisc.accuracies(ranks, 5, 24, ties=ties).tolist(), hits.tolist(), torch.stack(parts)))
    assert measured[0][:2] == measured[1][:2]
    torch.testing.assert_close(measured[0][2], measured[1][2], rtol=0, atol=1e-4)


def test_an_evaluation_with_check_digest_names_a_file_of_a_static_set_that_was_changed(runs, static, tmp_path):
    changed = Path(shutil.copytree(static, tmp_path / "static"))
    file = sorted(changed.glob("*/*-2.jpeg"))[0]
    Image.open(file).save(file, quality=50)
    options = Instdisc(checkpoint=str(runs / "moco/last.pt"), static=str(changed), samples_per_chunk=24, **COMMON)
    assert evaluate(options)
    checked = replace(options, check="digest")
    assert evaluate(replace(checked, static=str(static)))
    with pytest.raises(UserError, match=f"{file.name} is damaged .its bytes are not those that were written"):
        evaluate(checked)


@pytest.mark.full
def test_tsne_writes_its_table_and_plots_with_their_titles(runs, static, tmp_path, monkeypatch):
    options = Tsne(
        checkpoint=str(runs / "moco/last.pt"), static=str(static), out=str(tmp_path), perplexity=5.0, **COMMON
    )
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: no t-SNE")
    titles, write = [], tsne._write
    monkeypatch.setattr(tsne, "_write", lambda axes, path: (titles.append(_words(axes)), write(axes, path)))
    evaluate(options)
    assert titles[0][:1] == ["t-SNE of moco (last.pt, step 6)"], titles
    assert "perplexity 5" in titles[0][1]
    assert titles[0][2:] == ["cat", "dog", "eel", "fox"]
    assert "images of cat and their views" in titles[1][1]
    assert {path.name for path in tmp_path.iterdir()} == {"tsne.parquet", "tsne_classes.png", "tsne_views.png"}


def _words(axes):
    """The titles of a plot, then the names of its legend."""
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    return [axes.figure.get_suptitle(), axes.get_title(loc="left"), *legend]
