"""Entries of the releases' networks under the names of torchvision and timm (docs/checkpoints.md)."""

import re

from .files import State

# Names in the original EfficientNet -> names in timm.
STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
EXPANDED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
    "_se_reduce": "se.conv_reduce",
    "_se_expand": "se.conv_expand",
}
# The first blocks have no expansion, which shifts the names after it.
SEPARABLE = EXPANDED | {"_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
BLOCK = re.compile(r"_blocks\.(\d{1,3})\.([^.]+)\.(.+)")
SDCLR = {"fc1": 0, "bn1": 1, "fc2": 3, "bn2": 4}  # layers of its projection head


def library_names(state: State) -> State:
    """A network's entries with the backbone under the names of its library and the head under `fc.`."""
    if "_conv_stem.weight" in state:
        return _timm_efficientnet(state)
    own = any(name.startswith("backbone.") for name in state)  # an encoder of this project
    heads = r"^head\." if own else r"^(projection_head|cls_fc)\."
    renamed = {re.sub(heads, "fc.", name).removeprefix("backbone."): value for name, value in state.items()}
    if "fc.fc1.weight" in renamed:
        return {re.sub(r"^fc\.(fc1|bn1|fc2|bn2)", lambda n: f"fc.{SDCLR[n[1]]}", k): v for k, v in renamed.items()}
    return renamed


def _timm_efficientnet(state: State) -> State:
    blocks = _block_names(state)
    renamed = {}
    for name, value in state.items():
        part, _, rest = name.partition(".")
        if (block := BLOCK.fullmatch(name)) and int(block[1]) < len(blocks):
            layers = EXPANDED if f"_blocks.{block[1]}._expand_conv.weight" in state else SEPARABLE
            renamed[f"{blocks[int(block[1])]}.{layers.get(block[2], block[2])}.{block[3]}"] = value
        else:
            renamed[f"{STEM.get(part, part)}.{rest}"] = value
    return renamed


def _block_names(state: State) -> list[str]:
    """timm's name of each block: the original numbers all blocks in a row, timm per stage. A stage begins where the
    number of channels changes."""
    names, stage, block, channels = [], -1, 0, 0
    while (project := state.get(f"_blocks.{len(names)}._project_conv.weight")) is not None:
        before, channels = channels, project.shape[0] if project.ndim else 0
        stage, block = (stage, block + 1) if channels == before else (stage + 1, 0)
        names.append(f"blocks.{stage}.{block}")
    return names
