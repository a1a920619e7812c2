"""RankMe, alpha-ReQ and LiDAR equal the numbers recorded from the programs of others."""

import pytest
import torch

from viewstream.shards.errors import UserError
from viewstream.trainers.evals.alpha_req import power_law, spectrum
from viewstream.trainers.evals.lidar import lidar
from viewstream.trainers.evals.rankme import rankme


def case(g, name):
    return {key.removeprefix(f"{name}/"): value for key, value in g.items() if key.startswith(f"{name}/")}


def test_rankme_equals_the_recorded_ranks(golden):
    g = golden("rankme_a")
    for name in g["names"]:
        assert rankme(g[f"{name}/x"], eps=1e-5) == pytest.approx(float(g[f"{name}/rankme"]), abs=1e-8)
    assert rankme(torch.eye(16)) == pytest.approx(16, abs=1e-4)
    with pytest.raises(UserError, match="the features of 4 images are all zero"):
        rankme(torch.zeros(4, 3))


@pytest.mark.parametrize("name", ["c0", "c1", "c2", "c3"])
def test_alpha_req_equals_the_recorded_fit(name, golden):
    """c3 has fewer images than dimensions: its last variance is zero but for rounding."""
    g = case(golden("rankme_alphareq"), name)
    shares = spectrum(g["x"])
    torch.testing.assert_close(shares, g["eigenspectrum"], rtol=0, atol=1e-12)
    law = power_law(shares, int(g["fit_lo"]), int(g["fit_hi_exclusive"]))
    assert law.alpha == pytest.approx(float(g["alpha"]), abs=1e-7)  # whose weights were float32
    assert law.r2 == pytest.approx(float(g["r2"]), abs=1e-7)
    torch.testing.assert_close(law.predicted, g["prediction"], rtol=0, atol=1e-7)
    assert power_law(shares, int(g["fit_lo"]), int(g["fit_hi_exclusive"])).alpha == law.alpha  # it changes no argument


def test_alpha_is_that_of_a_power_law_and_rounding_is_no_variance():
    exact = torch.arange(1, 201, dtype=torch.float64) ** -1.3
    law = power_law(exact / exact.sum())
    assert (law.alpha, law.r2) == (pytest.approx(1.3), pytest.approx(1.0))
    x = torch.randn(30, 200, generator=torch.Generator().manual_seed(0))
    assert power_law(spectrum(x)).alpha < 2  # 29 directions; the 30th is 1e-33
    with pytest.raises(UserError, match=r"features vary in 11 directions: .* needs 13, measure more images"):
        power_law(spectrum(x[:12]))
    with pytest.raises(UserError, match="the features of 5 images are all the same"):
        spectrum(torch.ones(5, 3))


@pytest.mark.parametrize("name", ["c0", "c1", "c2", "c3"])
def test_lidar_equals_the_recorded_ranks(name, golden):
    """Rows are grouped by class; surplus ones, and classes that have no rows, are left out."""
    g = case(golden("rankme_lidar"), name)
    each = int(g["samples_per_class"])
    classes = min(int(g["n_classes"]), len(g["x"]) // each)
    x = g["x"][: classes * each].unflatten(0, (classes, each))
    assert lidar(x, float(g["delta"]), float(g["epsilon"])) == pytest.approx(float(g["lidar"]), abs=1e-8)


def test_lidar_counts_the_directions_that_tell_images_apart():
    random = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(400, 10, 6, generator=random)
    apart = 100 * torch.randn(400, 1, 6, generator=random)
    assert lidar(noise + apart) == pytest.approx(6, abs=0.2)
    assert lidar(noise + apart * torch.tensor([1, 1, 1, 0, 0, 0])) == pytest.approx(3, abs=0.2)
    for wrong in (noise[:1], noise[:, :1]):
        with pytest.raises(UserError, match="LiDAR compares two images and two views of each or more"):
            lidar(wrong)
