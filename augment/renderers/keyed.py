"""The hash of `shards/keyed.py` and `augment/draw.py` on tensors: the same bits on every device.

torch computes with int64, whose sums and products wrap like those of uint64; only shifts need care.
"""

from torch import Tensor

from ...shards.keyed import STEP

_STEP = int(STEP)  # torch.compile takes a number of numpy for a tensor


def fold(key: Tensor, word: int | Tensor) -> Tensor:
    """`draw.fold`: int64 hashes of (`key`, `word`), which broadcast. An int `word` is not negative."""
    if isinstance(word, int):
        return mix(key + signed(_STEP * (word + 1) % 2**64))
    return mix(key + signed(_STEP) * (word + 1))


def mix(x: Tensor) -> Tensor:
    """`shards.keyed.mix`: int64 in, int64 out, every input bit in every output bit."""
    x = x ^ shift_right(x, 30)  # a new tensor, which the next steps may write to
    x *= signed(0xBF58476D1CE4E5B9)
    x ^= shift_right(x, 27)
    x *= signed(0x94D049BB133111EB)
    x ^= shift_right(x, 31)
    return x


def shift_right(x: Tensor, bits: int) -> Tensor:
    """`x` shifted as uint64: zeros come in from the left, where `>>` alone copies the sign."""
    return (x >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def signed(word: int) -> int:
    """The int64 that has the bits of the uint64 `word`."""
    return word - 2**64 if word >= 2**63 else word
