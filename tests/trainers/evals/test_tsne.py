"""t-SNE: coordinates keep clusters apart, the table has every view, the plots show all points."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from viewstream.shards.errors import UserError
from viewstream.trainers.evals import tsne


def colors(path):
    """{RGB: number of pixels} of an image."""
    with Image.open(path) as image:
        return {rgb: n for n, rgb in image.convert("RGB").getcolors(1 << 24)}


def test_triples_are_drawn_in_the_colors_of_their_views(tmp_path):
    y = np.random.default_rng(0).normal(size=(3, 20, 2)).astype(np.float32)
    tsne.paint_views(y, tmp_path / "views.png")
    found = colors(tmp_path / "views.png")
    for color in tsne.VIEWS:
        assert found.get(tuple(bytes.fromhex(color[1:])), 0) > 500


@pytest.mark.full
def test_each_class_is_drawn_in_its_own_color(tmp_path):
    y = np.random.default_rng(0).normal(size=(400, 2))
    areas = []
    for classes in (2, 8):
        tsne.paint_classes(y, np.arange(400) % classes, tmp_path / "classes.png")
        areas.append(sum(n > 8000 / classes for n in colors(tmp_path / "classes.png").values()))
    assert areas == [2 + 2, 8 + 2]  # two more: the page and the background of the plot


def test_the_legend_names_each_class_shortened_and_no_two_of_thirty_look_alike(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(tsne, "_write", lambda axes, path: drawn.append(axes))
    names = ["a class of a really long name", "$x^$", *(f"n{c:08d}" for c in range(28))]
    y, labels = np.random.default_rng(0).normal(size=(90, 2)), np.arange(90) % 30
    tsne.paint_classes(y, labels, tmp_path / "a.png", names, "moco\nof a set")
    tsne.paint_classes(y, np.arange(90), tmp_path / "a.png")
    named, many = drawn
    texts = [text.get_text() for text in named.get_legend().get_texts()]
    assert texts[:3] == ["a class of a really l…", r"\$x^\$", "n00000000"]
    assert len(texts) == 30
    looks = {(*p.get_facecolor()[0], p.get_paths()[0].vertices.tobytes()) for p in named.collections}
    assert len(looks) == 30
    assert (named.figure.get_suptitle(), named.get_title(loc="left")) == ("moco", "of a set")
    assert many.get_legend() is None


def test_a_perplexity_as_large_as_the_number_of_points_is_refused():
    x = torch.randn(10, 4)
    with pytest.raises(UserError, match="there are 30"):
        tsne.coordinates((x, x, x), perplexity=30)


def test_features_of_one_number_are_refused():
    with pytest.raises(UserError, match="are the same, or single numbers"):
        tsne.coordinates((torch.randn(9, 1),), perplexity=5)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_features_that_are_all_the_same_are_refused(value):
    x = torch.full((10, 7), value)
    with pytest.raises(UserError, match="features of all 30 points are the same"):
        tsne.coordinates((x, x, x), perplexity=5)
    x = x + torch.randn(10, 7, generator=torch.Generator().manual_seed(0)) * 1e-7 * value
    with pytest.raises(UserError, match="features of all 30 points are the same"):
        tsne.coordinates((x, x, x), perplexity=5)


@pytest.mark.full
def test_separate_classes_stay_separate_and_the_table_holds_every_view(tmp_path):
    pytest.importorskip("sklearn")
    generator = torch.Generator().manual_seed(0)
    centers, labels = torch.randn(3, 16, generator=generator), torch.arange(3).repeat_interleave(15)
    views = tuple(centers[labels] + 0.1 * torch.randn(45, 16, generator=generator) for _ in range(3))
    values = dict(tsne.tsne(views, labels, tmp_path / "out", perplexity=10, classes=2, per_class=12))
    assert 0 < values["tsne/divergence"] < 3
    table = pq.read_table(tmp_path / "out" / "tsne.parquet").to_pydict()
    assert len(table["x"]) == 3 * 2 * 12
    assert table["row"][:24] == [*range(12), *range(15, 27)]
    places = np.stack([table["x"], table["y"]], axis=1)
    label = np.array(table["label"])
    means = [places[label == c].mean(axis=0) for c in (0, 1)]
    spread = max(np.linalg.norm(places[label == c] - means[c], axis=1).max() for c in (0, 1))
    assert np.linalg.norm(means[0] - means[1]) > spread
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"tsne.parquet", "tsne_classes.png", "tsne_views.png"}
