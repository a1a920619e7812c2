"""Pieces of LLVM code for the loops of the crop: vectors, which any CPU has in pieces of some size, and loops.

Rows of values lie in flat arrays of 8, 16 or 32 bits. A product of 16 bits is (a * b + 2^14) >> 15, one instruction on
AVX-512, AVX2 and SSSE3, a few elsewhere; one of 32 bits is exact.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

_PRODUCTS = {  # bits of a vector -> what a CPU must have for them, and its instruction for products of 16 bits
    512: ("+avx512bw", "avx512.pmul.hr.sw.512"),
    256: ("+avx2", "avx2.pmul.hr.sw"),
    128: ("+ssse3", "ssse3.pmul.hr.sw.128"),
}
INDEX, LANE, BYTE = ir.IntType(64), ir.IntType(32), ir.IntType(8)
Body = Callable[[Any, int], None]  # emits code for some values: the first one, and how many


def has(context: Any, feature: str) -> bool:
    return feature in context.codegen().magic_tuple()[2].split(",")


def bits(context: Any) -> int:
    """The bits of a vector: the most that one instruction multiplies."""
    return next((bits for bits, (feature, _) in _PRODUCTS.items() if has(context, feature)), 128)


def index(value: int) -> Any:
    return ir.Constant(INDEX, value)


def vector(value: Any, lanes: int) -> Any:
    return ir.VectorType(value, lanes)


def same(kind: Any, number: int) -> Any:
    return ir.Constant(kind, [number] * kind.count)


def unpacked(context: Any, b: Any, kinds: Any, args: Any) -> list[Any]:
    """The arguments; of an array the address of its first value, followed by its sizes if it has two axes."""
    found = []
    for kind, value in zip(kinds, args, strict=True):
        if isinstance(kind, types.Array):
            array = context.make_array(kind)(context, b, value)
            found += [array.data, *(cgutils.unpack_tuple(b, array.shape) if kind.ndim == 2 else ())]
        else:
            found.append(value)
    return found


def place(b: Any, array: Any, at: Any, kind: Any) -> Any:
    return b.bitcast(b.gep(array, [at]), kind.as_pointer())


def load(b: Any, array: Any, at: Any, kind: Any) -> Any:
    return b.load(place(b, array, at, kind), align=kind.element.width // 8)


def store(b: Any, value: Any, array: Any, at: Any) -> None:
    b.store(value, place(b, array, at, value.type), align=value.type.element.width // 8)


def spread(b: Any, value: Any, kind: Any) -> Any:
    """`value` in every lane."""
    value = b.trunc(value, kind.element) if value.type.width > kind.element.width else value
    blank = ir.Constant(kind, ir.Undefined)
    one = b.insert_element(blank, value, ir.Constant(LANE, 0))
    return b.shuffle_vector(one, blank, same(vector(LANE, kind.count), 0))


def product(context: Any, b: Any, value: Any, weight: Any) -> Any:
    kind = value.type
    if kind.element.width == 32:
        return b.mul(value, weight)
    feature, name = _PRODUCTS.get(16 * kind.count, ("", ""))
    if feature and has(context, feature):
        return call(b, name, value, weight)
    wide = vector(ir.IntType(32), kind.count)
    product = b.add(b.mul(b.sext(value, wide), b.sext(weight, wide)), same(wide, 1 << 14))
    return b.trunc(b.ashr(product, same(wide, 15)), kind)


def lanes_of(b: Any, value: Any, first: int, count: int) -> Any:
    """`count` lanes of `value`."""
    places = ir.Constant(vector(LANE, count), list(range(first, first + count)))
    return b.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), places)


def picked(b: Any, low: Any, places: Any, high: Any) -> Any:
    """The values of `low` and `high` at `places`, on a CPU that has picks."""
    kind = "hi" if low.type.element.width == 16 else "d"
    return call(b, f"avx512.vpermi2var.{kind}.512", low, places, high)


def call(b: Any, name: str, *args: Any) -> Any:
    kind = ir.FunctionType(args[0].type, [arg.type for arg in args])
    return b.call(cgutils.get_or_insert_function(b.module, kind, f"llvm.x86.{name}"), args)


@contextmanager
def loop(b: Any, count: Any) -> Iterator[Any]:
    """The numbers below `count`, in a loop that LLVM leaves as it is: unrolled, it takes three times as long to compile
    and no less to run."""
    with cgutils.for_range(b, count) as loop:
        yield loop.index
        block = b.basic_block
    hints = [b.module.add_metadata([f"llvm.loop.{name}.disable"]) for name in ("unroll", "vectorize")]
    node = b.module.add_metadata([f"loop {len(b.module.metadata)}", *hints])
    node.operands = (node, *node.operands[1:])  # as LLVM wants it
    block.terminator.set_metadata("llvm.loop", node)


def over(b: Any, n: Any, lanes: int, blocks: int, body: Body) -> None:
    """`body` for all of n values: `blocks` vectors at once, then single ones, the last of which overlaps the one before
    it instead of reaching beyond n; value by value where n has no room for a vector."""
    block, last = index(lanes * blocks), b.sub(n, index(lanes))
    whole = b.udiv(n, block)
    with loop(b, whole) as number:
        body(b.mul(number, block), lanes * blocks)
    start = b.mul(whole, block)
    with b.if_else(b.icmp_signed(">=", last, index(0))) as (enough, short):
        with enough, loop(b, b.udiv(b.add(b.sub(n, start), index(lanes - 1)), index(lanes))) as number:
            i = b.add(start, b.mul(number, index(lanes)))
            body(b.select(b.icmp_signed("<", i, last), i, last), lanes)
        with short, loop(b, n) as i:
            body(i, 1)
