"""timm's ViTs for images of several sizes, and what drop path drops in them."""

import copy

import pytest
import timm
import torch

from viewstream.shards.errors import UserError
from viewstream.trainers.nets import vit
from viewstream.trainers.nets.dropout import KeyedDropout, begin_step, drop_paths, keyed
from viewstream.trainers.nets.encoder import backbone, check_sizes

ARCHS = ["test_vit", "test_vit2", "vit_tiny_patch16_224"]  # test_vit2: register token, mean over patches


def images(side, count=2):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def network(arch):
    torch.manual_seed(0)
    return backbone(arch)[0].eval()


def test_positions_for_other_sizes_equal_the_recorded_ones(golden):
    """pos_embed [1, 65, 4] of a grid of 8 x 8 patches of 4 px -> "HxW" in px."""
    g = golden("dino_posembed")
    for h, w in g["sizes"].tolist():
        ours = vit.interpolated(g["pos_embed"].double(), (8, 8), (h // 4, w // 4))
        torch.testing.assert_close(ours, g[f"{h}x{w}"], rtol=0, atol=1e-14)


@pytest.mark.parametrize("arch", ARCHS)
def test_a_vit_computes_what_that_of_timm_does_at_its_own_size_and_takes_others(arch):
    net = network(arch)
    torch.manual_seed(0)
    own = timm.create_model(arch, num_classes=0).eval()
    side = net.patch_embed.img_size[0]
    assert net.state_dict().keys() == own.state_dict().keys()
    torch.testing.assert_close(net(images(side)), own(images(side)), rtol=0, atol=0)
    for other in (96, 32):
        assert net(images(other)).shape == own(images(side)).shape


def test_the_features_of_last_blocks_are_their_class_tokens_each_normalized():
    """As `get_intermediate_layers` of DINO's release, of which its linear probe takes the first token."""
    net = network("test_vit")
    own, tokens = net(images(160)), []
    hooks = [block.register_forward_hook(lambda *call: tokens.append(net.norm(call[-1])[:, 0])) for block in net.blocks]
    net(images(160))
    for hook in hooks:
        hook.remove()
    for count in (1, 3):
        assert vit.take_last_blocks(net, count) == count * 64
        torch.testing.assert_close(net(images(160)), torch.cat(tokens[-count:], dim=1), rtol=0, atol=0)
    assert net(images(160))[:, -64:].equal(own)  # of the last block, which are the own features of this network
    for wrong, count in ((network("resnet18"), 4), (net, 7), (net, 0)):
        with pytest.raises(UserError, match=f"--blocks {count} takes the class tokens of so many blocks"):
            vit.take_last_blocks(wrong, count)


def test_positions_take_gradients_at_every_size():
    net = network("test_vit")
    for side in (160, 96):
        net.zero_grad()
        net(images(side))[:, 0].sum().backward()
        assert (net.pos_embed.grad != 0).any(dim=2).all()


def test_positions_are_not_rounded_under_autocast():
    positions = network("test_vit").pos_embed.detach()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = vit.interpolated(positions, (10, 10), (6, 6))
    assert rounded.equal(vit.interpolated(positions, (10, 10), (6, 6)))


def test_channels_last_images_change_nothing():
    net, x = network("test_vit"), images(96)
    last = copy.deepcopy(net).to(memory_format=torch.channels_last)
    torch.testing.assert_close(last(x.contiguous(memory_format=torch.channels_last)), net(x), rtol=0, atol=1e-6)


def test_drop_path_rises_through_the_blocks_and_is_keyed():
    net = network("test_vit")
    drop_paths(net, 0.5)
    keyed(net)
    drops = [m for m in net.modules() if isinstance(m, KeyedDropout)]
    assert [m.p for m in drops] == pytest.approx([p for n in range(1, 6) for p in (0.1 * n,) * 2])
    assert net(images(96)).equal(network("test_vit")(images(96)))  # nothing is dropped in eval mode
    net.train()
    seen = []
    for step in (0, 1, 0):
        begin_step(net, 0, step)
        seen.append(net(images(96)))
    assert seen[0].equal(seen[2])
    assert not seen[0].equal(seen[1])


@pytest.mark.parametrize(
    ("arch", "sizes", "message"),
    [
        ("test_vit", (160, 100), "test_vit has patches of 16 px, which do not divide 100 px: choose another --size"),
        ("vit_small_patch14_dinov2", (224, 96), "patches of 14 px, which do not divide 96 px"),
        ("deit_tiny_distilled_patch16_224", (224, 96), "takes images of 224 px alone, not of 96 px: choose"),
        ("vit_b_16", (96, 48), "vit_b_16 takes images of 224 px alone, not of 96 px and 48 px"),
    ],
)
def test_a_size_that_a_vit_does_not_take_is_refused(arch, sizes, message):
    with pytest.raises(UserError, match=message):
        check_sizes(arch, sizes)


@pytest.mark.parametrize("arch", ["test_vit", "test_resnet", "resnet18", "vit_b_16", "mobilenetv3_small"])
def test_sizes_that_a_network_takes_pass(arch):
    check_sizes(arch, (224, 224))
