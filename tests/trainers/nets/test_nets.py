"""Backbones have the specified widths, parameter counts, padding and stems."""

import subprocess
import sys
import textwrap

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from viewstream.shards.errors import UserError
from viewstream.trainers.nets.encoder import backbone, encoder
from viewstream.trainers.nets.mobilenet import eighths
from viewstream.trainers.nets.variants import Padded

full = pytest.mark.full


def count(net):
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(
    ("arch", "width", "parameters"),
    [
        ("resnet18", 512, 11_176_512),
        ("resnet50", 2048, 23_508_032),
        ("resnext50_32x4d", 2048, 22_979_904),
        ("wide_resnet50_2", 2048, 66_834_240),
        ("mobilenetv3_large", 1280, 4_202_032),
        ("mobilenetv3_small", 1024, 1_517_856),
        ("efficientnet_b0", 1280, 4_007_548),
        ("vit_tiny_patch16_224", 192, 5_524_416),
        *(
            pytest.param(*row, marks=full)
            for row in (
                ("resnet34", 512, 21_284_672),
                ("resnet101", 2048, 42_500_160),
                ("resnet152", 2048, 58_143_808),
                ("resnext101_32x8d", 2048, 86_742_336),
                ("resnext152_32x8d", 2048, 120_323_392),
                ("wide_resnet101_2", 2048, 124_837_696),
                ("efficientnet_b1", 1280, 6_513_184),
                ("efficientnet_b2", 1408, 7_700_994),
                ("efficientnet_b3", 1536, 10_696_232),
                ("vit_small_patch16_224", 384, 21_665_664),
                ("vit_base_patch16_224", 768, 85_798_656),
                ("deit_small_patch16_224", 384, 21_665_664),
            )
        ),
    ],
)
def test_backbones_have_the_specified_widths_and_parameters(arch, width, parameters):
    with torch.device("meta"):
        net, own = backbone(arch)
    assert (own, count(net)) == (width, parameters)


@pytest.mark.parametrize(
    ("arch", "parameters", "norms"),
    [
        ("swav_resnet50", 27_970_752, 1),
        ("swav_resnet50_w2", 128_534_784, 1),
        ("swav_resnet50_w4", 443_560_320, 1),
        ("swav_resnet50_w5", 692_628_928, 0),
        ("simclr_resnet50", 27_970_752, 1),
    ],
)
def test_teachers_have_their_own_heads(arch, parameters, norms):
    with torch.device("meta"):
        net = encoder(arch, "linear", 128)
    assert count(net) == parameters
    assert sum(isinstance(m, nn.BatchNorm1d) for m in net.head.modules()) == norms


def test_efficientnet_drops_features_and_blocks_as_specified():
    with torch.device("meta"):
        net, _ = backbone("efficientnet_b2")
    blocks = [block for stage in net.blocks for block in stage]
    assert net.classifier.p == 0.3
    for i, block in enumerate(blocks):
        if block.has_skip and i:
            assert block.drop_path.drop_prob == pytest.approx(0.2 * i / len(blocks))
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


@pytest.mark.parametrize(
    ("arch", "edges"),
    [
        pytest.param("efficientnet_b0", ((0, 1), (0, 1), (1, 2), (0, 1), (1, 2)), marks=full),
        ("efficientnet_b1", ((0, 1), (0, 1), (1, 2), (0, 1), (2, 2))),
        ("efficientnet_b2", ((0, 1), (0, 1), (2, 2), (1, 1), (2, 2))),
        pytest.param("efficientnet_b3", ((0, 1), (0, 1), (2, 2), (0, 1), (2, 2)), marks=full),
    ],
)
def test_efficientnet_pads_for_its_native_resolution(arch, edges):
    """Left and right edges (px) of the stem and of the blocks that halve the image, as listed in the spec."""
    with torch.device("meta"):
        net, _ = backbone(arch)
    assert tuple(m.edges[:2] for m in net.modules() if isinstance(m, Padded)) == edges
    assert not [m for m in net.modules() if type(m).__name__ == "Conv2dSame"]


@given(st.integers(1, 4000))
def test_channels_round_to_multiples_of_8_and_never_lose_a_tenth(channels):
    assert eighths(channels) % 8 == 0
    assert 0.9 * channels <= eighths(channels) <= max(8, channels + 8)


@pytest.mark.parametrize("arch", ["resnet18", "resnet10t"])
def test_a_small_stem_keeps_small_images(arch):
    shapes = []
    with torch.device("meta"), torch.no_grad():
        net, width = backbone(arch, stem="cifar")
        net.layer1.register_forward_pre_hook(lambda module, inputs: shapes.append(inputs[0].shape[-2:]))
        assert net(torch.zeros(2, 3, 16, 16)).shape == (2, width)
    assert shapes == [(16, 16)]


@pytest.mark.parametrize("arch", ["mobilenetv3_small", "efficientnet_b0", "vit_tiny_patch16_224"])
def test_a_small_stem_is_for_resnets(arch):
    with torch.device("meta"), pytest.raises(UserError, match=f"for ResNets, {arch} is not one"):
        backbone(arch, stem="cifar")


def test_a_seed_decides_the_weights():
    first, again, other = (encoder("mobilenetv3_small", "mlp", 8, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["head.0.weight"], other["head.0.weight"])


def test_names_of_the_releases_are_among_the_suggestions():
    with pytest.raises(UserError, match="did you mean 'mobilenetv3_small'"):
        backbone("mobilenetv3_smal")


def test_a_network_of_torchvision_trains_without_the_seconds_that_timm_and_kornia_take_to_import():
    code = """
        import sys
        import viewstream.trainers.training.run
        from viewstream.trainers.nets.encoder import encoder

        encoder("resnet18", "mlp", 8, stem="cifar")
        print({"timm", "kornia"} & set(sys.modules))
        """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
