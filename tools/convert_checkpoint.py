"""Convert a checkpoint to the format of another program; prints what was found, kept and left out.

python tools/convert_checkpoint.py runs/moco/last.pt resnet50.pth --to torchvision
python tools/convert_checkpoint.py distill-checkpoint_0004.pth.tar start.pth.tar --to moco
python tools/convert_checkpoint.py moco_v2_200ep_pretrain.pth.tar moco_v2.pkl --to detectron2
"""

import pickle
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

from viewstream.shards.cli import Positional, parse, run
from viewstream.shards.errors import UserError, needs
from viewstream.shards.files import atomic, writing
from viewstream.trainers.data import Ema

if TYPE_CHECKING:  # torch is imported after --help, which needs none
    from viewstream.trainers.checkpoints.files import State
    from viewstream.trainers.checkpoints.layouts import Weights

PLAIN = (".pth", ".pt", ".safetensors")
SUFFIXES = {"torchvision": PLAIN, "timm": PLAIN, "moco": (".tar", ".pth", ".pt"), "detectron2": (".pkl",)}


@dataclass(frozen=True)
class Convert:
    """What to convert"""

    source: Annotated[Path, "checkpoint to read: of this project, a release or a library", Positional] = Path()
    out: Annotated[Path, "file to write", Positional] = Path()
    to: Annotated[Literal["torchvision", "timm", "moco", "detectron2"], "the program that reads OUT"] = "torchvision"
    format: Annotated[
        Literal[
            "auto",
            "viewstream",
            "moco",
            "mocov3",
            "solo",
            "dino",
            "seed",
            "ensemble",
            "swav",
            "simclr",
            "supervised",
            "plain",
        ],
        "the program that wrote SOURCE; auto: recognized by its entries",
    ] = "auto"
    network: Annotated[
        Literal["auto", "online", "target"], "network to take, if there are two; auto: the one that evaluations use"
    ] = "auto"
    ema: Ema = False
    arch: Annotated[str, "backbone (the one that SOURCE names)"] = ""
    head: Annotated[
        bool, "keep the head, as fc, in torchvision and timm files; moco files always have it, detectron2 files never"
    ] = False


def check_library(library: str, arch: str, body: "State") -> None:
    """Raise UserError unless `library` (torchvision or timm) has a network `arch` with the keys of `body`."""
    import timm
    import torch
    from torchvision import models

    from viewstream.trainers.nets.variants import EFFICIENTNETS

    name = "resnet50" if arch in ("simclr_resnet50", "swav_resnet50") else arch
    name = f"tf_{name}" if library == "timm" and name in EFFICIENTNETS else name
    known = timm.list_models() if library == "timm" else models.list_models(module=models)
    with torch.device("meta"):
        net = (
            (timm.create_model if library == "timm" else models.get_model)(name)
            if name in known
            else torch.nn.Identity()
        )
    if not body.keys() <= net.state_dict().keys():
        raise UserError(f"{library} has no {arch} with these keys: use --to moco, which keeps all keys")


def moco_file(found: "Weights", state: "State", arch: str) -> dict[str, Any]:
    """`state` and any queue as MoCo's linear evaluation and ssl-small's --restart read them (spec: small A.6)."""
    entries, others = {f"module.encoder_q.{name}": value for name, value in state.items()}, found.others
    if "queue" in others:
        entries |= {f"module.{name}": others[name] for name in ("queue", "queue_ptr")}
    elif "queue.rows" in others:
        if others["queue.rows"].ndim != 2 or others.get("queue.head", others["queue.rows"]).numel() != 1:
            raise UserError("its queue is no table with a pointer: take another checkpoint")
        entries |= {"module.queue": others["queue.rows"].T, "module.queue_ptr": others["queue.head"].view(1)}
    return {"epoch": found.epoch, "arch": arch, "state_dict": entries}


def detectron2_file(state: "State", arch: str) -> dict[str, Any]:
    """A ResNet under detectron2's names: stem, res2 to res5, shortcut, and a `norm` in each convolution."""
    from torch import bfloat16

    if not {"conv1.weight", "layer4.0.conv1.weight"} <= state.keys():
        raise UserError(f"detectron2 reads only ResNets, and {arch} is not one: use --to torchvision or timm")
    model = {}
    for name, value in state.items():
        name = re.sub(r"^layer(\d)", lambda n: f"res{int(n[1]) + 1}", name) if "layer" in name else f"stem.{name}"
        name = re.sub(r"\bbn(\d)", r"conv\1.norm", name)
        name = name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")
        value = value.detach()  # numpy has no bfloat16
        model[name] = (value.float() if value.dtype == bfloat16 else value).numpy()
    return {"model": model, "__author__": "viewstream", "matching_heuristics": True}


def convert(options: Convert) -> str:
    """Write `options.out`; returns the report to print. UserError if reading, converting or writing fails."""
    if options.out.suffix not in SUFFIXES[options.to]:
        suffixes = " or ".join(SUFFIXES[options.to])
        raise UserError(f"{options.out} is no {options.to} file: give it a name that ends with {suffixes}")
    if options.out.exists():
        raise UserError(f"{options.out} already exists: name another file, or remove it first")
    import torch

    from viewstream.trainers.checkpoints.layouts import read
    from viewstream.trainers.checkpoints.loading import match_state_dict, unfit
    from viewstream.trainers.nets.encoder import backbone

    found = read(options.source, options.format, ema=options.ema)
    arch = options.arch or found.arch
    if not arch:
        raise UserError(f"{options.source} does not name its network: name it with --arch")
    state = found.network(options.network)
    with torch.device("meta"):
        body, left, wrong = match_state_dict(backbone(arch, found.recipe.get("stem", "imagenet"))[0], state)
    if wrong:
        raise unfit(options.source, found, wrong)
    whole = {"moco": True, "detectron2": False}.get(options.to, options.head)
    kept = body | {name: state[name] for name in left} if whole else body
    if options.to == "moco":
        content = moco_file(found, kept, arch)
    elif options.to == "detectron2":
        content = detectron2_file(kept, arch)
    else:
        check_library(options.to, arch, body)
        content = kept
    with writing(options.out, "name another file, or make room"), atomic(options.out) as file:
        dump(content, options.out, file)
    broken = [name for name, value in kept.items() if value.is_floating_point() and not value.isfinite().all()]
    return report(options, found, arch, state, list(kept), broken)


def dump(content: dict[str, Any], out: Path, file: IO[bytes]) -> None:
    """Write `content` to `file`, in the format that the suffix of `out` names."""
    if out.suffix == ".pkl":
        pickle.dump(content, file)
    elif out.suffix == ".safetensors":
        from viewstream.trainers.checkpoints.whole import DIGEST, tensors_digest

        state = {name: value.contiguous() for name, value in content.items()}
        file.write(needs("safetensors.torch").save(state, metadata={DIGEST: tensors_digest(state)}))
    else:
        from viewstream.trainers.checkpoints.files import save

        save(content, file)


def report(options: Convert, found: "Weights", arch: str, state: "State", kept: list[str], broken: list[str]) -> str:
    """Four lines: what was found, kept and left out, and the file written; one more if weights are not finite."""
    from viewstream.trainers.checkpoints.loading import listed

    online = state is found.online
    other = found.target if online else found.online
    queue = [name for name in found.others if name.startswith("queue") and options.to == "moco"]
    out = Counter(name.partition(".")[0] for name in [*state, *found.others] if name not in {*kept, *queue})
    out |= {"target network" if online else "online network": len(other)} if other else {}
    left = ", ".join(f"{name} ({content})" for name, content in {**out, **found.beside}.items())
    network = "online network" if online else "target network"
    return (
        f"found: {found.kind} checkpoint, {arch}, {network}{f' of {found.averaged}' if found.averaged else ''}\n"
        f"kept: {len(kept) + len(queue)} entries, {listed(kept + queue)}\n"
        f"left out: {left or 'nothing'}\n"
        + f"not finite: {len(broken)} of {len(kept)} entries, {listed(broken)}\n" * bool(broken)
        + f"written to {options.out}"
    )


def main() -> None:
    (options,) = parse(Convert(), description=__doc__ or "")
    print(convert(options))


if __name__ == "__main__":
    run(main)
