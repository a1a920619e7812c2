"""What decides a run's numbers: one frozen dataclass per method, saved in checkpoints and compared on resume.

This module imports no torch, so that `--help` and `--list-recipes` answer at once.
"""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Options of every method"""

    spares_vectors: ClassVar[bool] = False  # whether biases and other parameters of one dimension do not decay
    method_class: ClassVar[type | None] = None  # a subclass of Method; None: the one called `method`
    method: str = field(init=False, default="")  # set by the class; the names are those of trainers/methods/build.py
    views: Annotated[str, "augmentation recipe (`python tools/look.py --list`)"] = "moco_v2"
    arch: Annotated[str, "backbone, a torchvision or timm name"] = "resnet50"
    stem: Annotated[Literal["imagenet", "cifar"], "stem of a ResNet; cifar: 3x3, stride 1, no pooling"] = "imagenet"
    size: Annotated[int, "side of a (large) view, px", 8] = 224
    epochs: Annotated[int, "passes over the data", 1] = 200
    batch_size: Annotated[int, "global batch, over all ranks", 1] = 256
    accumulate: Annotated[int, "parts of a batch whose gradients are added up, to save memory", 1] = 1
    optimizer: Annotated[
        Literal["sgd", "adam", "adamw", "lars", "lars-simclr", "larc"],
        "optimizer; lars-simclr: biases and norms do not decay, other ratios; larc: of SwAV",
    ] = "sgd"
    lr: Annotated[float, "highest learning rate, for this batch size: it is not scaled", 0] = 0.03
    schedule: Annotated[
        Literal["cos", "cos-late", "step", "warmcos", "warmcos-closed", "warmcos-ahead"],
        "learning rate: cos and step change by the epoch, warmcos by the step; closed: the warm-up's last step has "
        "--lr; ahead: a step has the rate of the next one; cos-late: of sthalles/SimCLR",
    ] = "cos"
    milestones: Annotated[tuple[int, ...], "epochs at which `step` changes the rate"] = (120, 160)
    step_factor: Annotated[float, "factor of the rate at each milestone", 0] = 0.1
    lr_end: Annotated[float, "learning rate at the end of `cos` and `warmcos`", 0] = 0.0
    warmup_epochs: Annotated[int, "epochs in which the rate goes from --warmup-lr to --lr", 0] = 0
    warmup_lr: Annotated[
        float | Literal["per-256"], "learning rate of the first step; per-256: --lr x 256 / --batch-size, as in SEED", 0
    ] = 0.0
    momentum: Annotated[float, "momentum of SGD, LARS and LARC", 0] = 0.9
    weight_decay: Annotated[float, "weight decay, on all weights", 0] = 1e-4
    precision: Annotated[
        Literal["auto", "auto-fp16", "bf16", "fp16", "fp32"],
        "precision of the forward; auto: bf16 on a GPU, fp32 on the CPU; auto-fp16: fp16 on a GPU, fp32 on the CPU",
    ] = "auto"
    order: Annotated[Literal["shuffled", "blocks"], "epoch order; blocks: tar after tar, for slow storage"] = "shuffled"
    window: Annotated[int, "tars that `blocks` shuffles together", 1] = 8
    seed: Annotated[int, "seed of order, draws, weights, coins and shuffles"] = 0


@dataclass(frozen=True, kw_only=True)
class Grouped(Recipe):
    """Options of methods that take BatchNorm statistics in groups"""

    bn_groups: Annotated[int, "groups of BatchNorm statistics in the global batch, a multiple of the ranks", 1] = 8


@dataclass(frozen=True, kw_only=True)
class Tempered(Recipe):
    """Options of methods that may change their temperature"""

    temperature_max: Annotated[
        float, "the temperature goes from this to --temperature and back on a cosine; 0: it is constant", 0
    ] = 0.0
    temperature_period: Annotated[int, "epochs after which it is at --temperature-max again", 0] = 0


@dataclass(frozen=True, kw_only=True)
class MoCo(Tempered, Grouped):
    """MoCo: an image's other view among a queue of older images"""

    method: str = field(init=False, default="moco")
    head: Annotated[Literal["linear", "mlp", "wide", "deep", "dropout"], "projection head"] = "mlp"
    dim: Annotated[int, "size of the embedding", 1] = 128
    queue: Annotated[int, "keys that a view is compared with", 1] = 65536
    key_momentum: Annotated[float, "momentum of the key encoder", 0] = 0.999
    temperature: Annotated[float, "temperature of the logits", 1e-4] = 0.2


@dataclass(frozen=True, kw_only=True)
class KCL(MoCo):
    """KCL: MoCo with k queued images of the same class as additional positives"""

    method: str = field(init=False, default="kcl")
    posk: Annotated[int, "positives from the queue; 0: all of the class", 0] = 6
    pick: Annotated[Literal["random", "first"], "which of them; first: the lowest slots, as released"] = "random"
    losstype: Annotated[Literal["v1", "v2"], "v2 sets the logits of positives beyond k to 0"] = "v1"
    sump: Annotated[bool, "-log of the positives' summed probability instead of cross-entropy"] = False
    tgt_avg: Annotated[bool, "with --sump: divide by the number of positives"] = False


@dataclass(frozen=True, kw_only=True)
class BYOL(Recipe):
    """BYOL: predict a slow copy's embedding of the other view"""

    method: str = field(init=False, default="byol")
    dim: Annotated[int, "size of the embedding", 1] = 256
    hidden: Annotated[int, "width of the hidden layers of projector and predictor", 1] = 4096
    key_momentum: Annotated[float, "momentum of the teacher at the start; it rises to 1 on a cosine", 0] = 0.99


@dataclass(frozen=True, kw_only=True)
class STS(BYOL):
    """Spatial Ensemble: BYOL whose teacher keeps a random part of its weights at each step"""

    method: str = field(init=False, default="sts")
    preserve: Annotated[float, "chance that a piece keeps its weights; 0: BYOL, 1: a fixed teacher", 0] = 0.7
    granularity: Annotated[Literal["tensor", "layer", "channel", "element"], "what a piece is"] = "tensor"
    initial_copy: Annotated[Literal["full", "coin"], "teacher at the start; coin: partly random, as released"] = "full"


@dataclass(frozen=True, kw_only=True)
class M2T(BYOL, Grouped):
    """Momentum^2 Teacher: BYOL whose teacher's BatchNorm has moving statistics"""

    method: str = field(init=False, default="m2t")


@dataclass(frozen=True, kw_only=True)
class SimCLR(Tempered):
    """SimCLR: an image's other view among all other images of the batch"""

    method: str = field(init=False, default="simclr")
    head: Annotated[
        Literal["simclr-3", "simclr-2", "sdclr", "mlp"],
        "projection head; simclr-3, simclr-2: layers with BatchNorm; sdclr: of SDCLR; mlp: without BatchNorm",
    ] = "simclr-3"
    dim: Annotated[int, "size of the embedding", 1] = 128
    temperature: Annotated[float, "temperature of the logits", 1e-4] = 0.1
    directions: Annotated[
        Literal["mean", "sum"], "the losses of both views; sum: added up, as Google's program does"
    ] = "mean"


@dataclass(frozen=True, kw_only=True)
class SwAV(Recipe):
    """SwAV: prototypes of an image's crops, predicted from its other crops"""

    method: str = field(init=False, default="swav")
    dim: Annotated[int, "size of the embedding", 1] = 128
    hidden: Annotated[int, "width of the hidden layer of the projection head", 1] = 2048
    prototypes: Annotated[int, "prototypes that images are assigned to", 1] = 3000
    temperature: Annotated[float, "temperature of the predictions", 1e-4] = 0.1
    epsilon: Annotated[float, "softness of the assignments", 0.02] = 0.05
    iterations: Annotated[int, "iterations of Sinkhorn", 1] = 3
    freeze: Annotated[int, "steps for which the prototypes are fixed, an epoch as released", 0] = 313
    queue: Annotated[int, "earlier images that take part in the assignment; 0: none", 0] = 0
    queue_epoch: Annotated[int, "epochs before the queue begins to fill", 0] = 15


@dataclass(frozen=True, kw_only=True)
class DINO(Recipe):
    """DINO: give every crop the scores that a slow copy gives the image's other large crop"""

    spares_vectors: ClassVar[bool] = True
    method: str = field(init=False, default="dino")
    optimizer: Annotated[Literal["sgd", "adamw"], "optimizer; biases and norms do not decay"] = "adamw"
    weight_decay: Annotated[float, "weight decay at the start; it goes to --weight-decay-end on a cosine", 0] = 0.04
    weight_decay_end: Annotated[float, "weight decay at the end", 0] = 0.4
    dim: Annotated[int, "number of scores", 1] = 65536
    hidden: Annotated[int, "width of the hidden layers of the head", 1] = 2048
    bottleneck: Annotated[int, "width of the head before its last layer", 1] = 256
    head_bn: Annotated[bool, "BatchNorm in the head"] = False
    fixed_norm: Annotated[bool, "keep the weight vectors of the last layer at length one"] = True
    freeze_last: Annotated[int, "epochs in which the last layer learns nothing", 0] = 1
    drop_path: Annotated[float, "chance that a branch of the student's last block is dropped, if it is a ViT", 0] = 0.1
    clip: Annotated[float, "norm to which the gradient of each parameter is shortened; 0: none", 0] = 3.0
    key_momentum: Annotated[float, "momentum of the teacher at the start; it rises to 1 on a cosine", 0] = 0.996
    center_momentum: Annotated[float, "momentum of the center of the teacher's scores", 0] = 0.9
    temperature: Annotated[float, "temperature of the student", 1e-4] = 0.1
    teacher_temperature: Annotated[float, "temperature of the teacher", 1e-6] = 0.04
    teacher_warmup_temperature: Annotated[float, "temperature of the teacher at the start of its warm-up", 1e-6] = 0.04
    teacher_warmup_epochs: Annotated[int, "epochs in which it goes from there to --teacher-temperature", 0] = 0


@dataclass(frozen=True, kw_only=True)
class SEED(Grouped):
    """SEED: a small network imitates a teacher's similarities to a queue (--teacher names its checkpoint)"""

    method: str = field(init=False, default="seed")
    head: Annotated[Literal["linear", "mlp"], "the student's projection head"] = "mlp"
    dim: Annotated[int, "size of the embedding", 1] = 128
    queue: Annotated[int, "teacher's embeddings that an image is compared with", 1] = 65536
    temperature: Annotated[float, "temperature of the student", 1e-4] = 0.2
    teacher_temperature: Annotated[float, "temperature of the teacher", 1e-6] = 1e-4
    teacher_arch: Annotated[
        str,
        "backbone of the teacher (what its checkpoint says, if that is of this project); swav_* and simclr_* have "
        "their own heads",
    ] = "resnet50"
    teacher_head: Annotated[
        Literal["linear", "mlp", "wide", "deep", "dropout", "projector", "simclr-3", "simclr-2", "sdclr", "dino"],
        "projection head of the teacher (what its checkpoint says, if that is of this project); linear: MoCo v1; "
        "dino: up to its last layer",
    ] = "mlp"
    teacher_hidden: Annotated[int, "hidden width of a `projector`, as of BYOL and SwAV, or `dino`; 0: 2048", 0] = 0
    teacher_cifar: Annotated[bool, "the teacher's ResNet has the stem for 32 px"] = False


@dataclass(frozen=True, kw_only=True)
class Supervised(Grouped):
    """Cross-entropy on labels: whole networks, second stages and linear probes"""

    method: str = field(init=False, default="supervised")
    trained: Annotated[Literal["all", "classifier"], "classifier: the backbone (--pretrained) is fixed"] = "all"
    frozen_bn: Annotated[
        Literal["eval", "train"], "BatchNorm of a fixed backbone; train: its statistics drift, as released"
    ] = "eval"
    classifier: Annotated[
        Literal["linear", "batchnorm", "normalized"], "batchnorm: BatchNorm after it; normalized: unit features"
    ] = "linear"
    bias: Annotated[bool, "give the classifier a bias"] = True
    blocks: Annotated[int, "last blocks of a ViT whose class tokens are the features; 0: its own features", 0] = 0
    test_views: Annotated[str, "augmentation recipe of the --val images"] = "evaluation"
    fresh: Annotated[bool, "draw the classifier's weights at random, whatever --pretrained holds"] = True
    balanced: Annotated[bool, "take the classes in turn, whatever their sizes"] = False
    bal_repeat: Annotated[int, "images per class and turn", 1] = 1
