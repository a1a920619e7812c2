"""A network of a few thousand weights, so that its checkpoints can be kept; timm knows it once this is imported."""

from timm.models import register_model
from timm.models.resnet import BasicBlock, ResNet

ARCH = "compat_resnet"


@register_model
def compat_resnet(pretrained=False, **options):
    options = {name: options[name] for name in ("num_classes",) if name in options}
    return ResNet(BasicBlock, [1, 1, 1, 1], channels=(4, 4, 8, 8), stem_width=4, stem_type="", **options)
