"""timm's ViTs for images of any size that their patches divide.

A ViT learns one position per patch of images of its own size. For another size they are interpolated, bicubic with
a = -0.75 and clamped at the edges, by the scale of DINO's release (facebookresearch/dino vision_transformer.py): of n
new positions in a row of g, position i lies at (i + 0.5) g / (n + 0.1) - 0.5. timm's `dynamic_img_size` is another
interpolation. This module imports timm, which takes half a second.
"""

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ...shards.errors import UserError

Grid = tuple[int, int]  # rows and columns of patches


class AnySize(VisionTransformer):
    """A VisionTransformer with the same parameters: images [N, 3, H, W] of any sides that its patches divide.

    `last_blocks`: its features are the class tokens of so many last blocks, each normalized, [N, last_blocks D]; 0: its
    own.
    """

    last_blocks = 0

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not self.last_blocks:
            return super().forward(x)
        found = self.get_intermediate_layers(x, self.last_blocks, return_prefix_tokens=True, norm=True)
        return torch.cat([first[:, 0] for _, first in found], dim=1)

    def _pos_embed(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Patches [N, H, W, D] -> tokens [N, L, D] with their positions."""
        first = [token.expand(len(x), -1, -1) for token in (self.cls_token, self.reg_token) if token is not None]
        patches = x.flatten(1, 2)
        if self.pos_embed is None:
            return torch.cat([*first, patches], dim=1)
        apart = 0 if self.no_embed_class else self.num_prefix_tokens
        positions = interpolated(self.pos_embed, self.patch_embed.grid_size, (x.shape[1], x.shape[2]), apart)
        if self.no_embed_class:
            patches = patches + positions
        tokens = torch.cat([*first, patches], dim=1)
        return self.pos_drop(tokens if self.no_embed_class else tokens + positions)


def any_size(net: nn.Module) -> nn.Module:
    """`net` for images of any size if it is a VisionTransformer of timm; another network as it is."""
    if type(net) is VisionTransformer:
        net.__class__ = AnySize
        net.dynamic_img_size, net.patch_embed.strict_img_size = True, False
        net.patch_embed.flatten, net.patch_embed.output_fmt = False, "NHWC"
    return net


def take_last_blocks(net: nn.Module, count: int) -> int:
    """Make the features of a ViT the class tokens of its `count` last blocks, as the linear probe of DINO's release;
    returns their width. UserError for another network or fewer blocks."""
    if not isinstance(net, AnySize) or net.cls_token is None or not 0 < count <= len(net.blocks):
        raise UserError(
            f"--blocks {count} takes the class tokens of so many blocks, which the network does not have: it is for "
            f"ViTs of timm, take --blocks 0"
        )
    net.last_blocks = count
    return count * net.embed_dim


def interpolated(positions: Tensor, own: Grid, grid: Grid, apart: int = 1) -> Tensor:
    """Positions [1, A + h w, D] of patches on a grid `own` (h, w) -> [1, A + H W, D] on a `grid` (H, W).

    The first `apart` (A), those of other tokens, stay. It is a product of matrices, as the gradient of torch's own
    interpolation depends on the order of additions on a GPU.
    """
    if grid == own and own[0] == own[1]:
        return positions
    first, patches = positions[:, :apart], positions[0, apart:].unflatten(0, own)  # [h, w, D]
    with torch.autocast(positions.device.type, enabled=False):
        rows, columns = (weights(old, new, positions) for old, new in zip(own, grid, strict=True))
        patches = torch.einsum("Hh,Ww,hwd->HWd", rows, columns, patches)
    return torch.cat([first, patches.flatten(0, 1)[None]], dim=1)


def weights(old: int, new: int, like: Tensor) -> Tensor:
    """The weight of each of `old` positions along a side in each of the `new` ones: [new, old], with the dtype and
    device of `like`."""
    each = torch.eye(old, dtype=like.dtype, device=like.device)[None, :, :, None]  # a channel per old position
    return F.interpolate(each, scale_factor=((new + 0.1) / old, 1.0), mode="bicubic")[0, :, :, 0].T
