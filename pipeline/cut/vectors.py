"""The inner loops of the crop on LLVM vectors, which any CPU has in pieces of some size.

Rows of values lie in flat arrays of 16 or 32 bits; `at` and `to` are where one begins. A product of 16 bits is
(a * b + 2^14) >> 15, one instruction on AVX-512, AVX2 and NEON; one of 32 bits is exact. With AVX-512 one more
instruction picks a vector of values out of two (vpermi2w, vpermi2d), which brings the pixels that neighboring output
values need into their lanes; other CPUs take a pixel at a time and make the same numbers.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from .weights import TOGETHER

_PRODUCTS = {  # bits of a vector -> what a CPU must have for them, and its instruction for products of 16 bits
    512: ("+avx512bw", "avx512.pmul.hr.sw.512"),
    256: ("+avx2", "avx2.pmul.hr.sw"),
    128: ("+ssse3", "ssse3.pmul.hr.sw.128"),
}
_INDEX, _LANE, _BYTE = ir.IntType(64), ir.IntType(32), ir.IntType(8)
Body = Callable[[Any, int], None]  # emits code for some values: the first one, and how many


def _has(context: Any, feature: str) -> bool:
    return feature in context.codegen().magic_tuple()[2].split(",")


def _bits(context: Any) -> int:
    """The bits of a vector: the most that one instruction multiplies."""
    return next((bits for bits, (feature, _) in _PRODUCTS.items() if _has(context, feature)), 128)


def cpu_has_picks() -> bool:
    """Whether this CPU picks values out of two vectors in one instruction, by numba's account of it."""
    return _bits(cpu_target.target_context) == 512


@intrinsic
def has_picks(typingctx):
    """`cpu_has_picks` inside the crop, known when it is compiled."""

    def codegen(context, b, sig, args):
        return ir.Constant(ir.IntType(1), int(_bits(context) == 512))

    return types.boolean(), codegen


def _index(value: int) -> Any:
    return ir.Constant(_INDEX, value)


def _vector(value: Any, lanes: int) -> Any:
    return ir.VectorType(value, lanes)


def _same(kind: Any, number: int) -> Any:
    return ir.Constant(kind, [number] * kind.count)


def _unpacked(context: Any, b: Any, kinds: Any, args: Any) -> list[Any]:
    """The arguments; of an array the address of its first value, followed by its sizes if it has two axes."""
    found = []
    for kind, value in zip(kinds, args, strict=True):
        if isinstance(kind, types.Array):
            array = context.make_array(kind)(context, b, value)
            found += [array.data, *(cgutils.unpack_tuple(b, array.shape) if kind.ndim == 2 else ())]
        else:
            found.append(value)
    return found


def _place(b: Any, array: Any, at: Any, kind: Any) -> Any:
    return b.bitcast(b.gep(array, [at]), kind.as_pointer())


def _load(b: Any, array: Any, at: Any, kind: Any) -> Any:
    return b.load(_place(b, array, at, kind), align=kind.element.width // 8)


def _store(b: Any, value: Any, array: Any, at: Any) -> None:
    b.store(value, _place(b, array, at, value.type), align=value.type.element.width // 8)


def _spread(b: Any, value: Any, kind: Any) -> Any:
    """`value` in every lane."""
    value = b.trunc(value, kind.element) if value.type.width > kind.element.width else value
    blank = ir.Constant(kind, ir.Undefined)
    one = b.insert_element(blank, value, ir.Constant(_LANE, 0))
    return b.shuffle_vector(one, blank, _same(_vector(_LANE, kind.count), 0))


def _product(context: Any, b: Any, value: Any, weight: Any) -> Any:
    kind = value.type
    if kind.element.width == 32:
        return b.mul(value, weight)
    if kind.count < 8:
        return _resized(b, _product(context, b, _resized(b, value, 8), _resized(b, weight, 8)), kind.count)
    feature, name = _PRODUCTS[16 * kind.count]
    if _has(context, feature):
        return _call(b, name, value, weight)
    wide = _vector(ir.IntType(32), kind.count)
    product = b.add(b.mul(b.sext(value, wide), b.sext(weight, wide)), _same(wide, 1 << 14))
    return b.trunc(b.ashr(product, _same(wide, 15)), kind)


def _resized(b: Any, value: Any, lanes: int) -> Any:
    """The first `lanes` lanes of `value`, or it and further ones."""
    places = [min(i, value.type.count) for i in range(lanes)]
    return b.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), ir.Constant(_vector(_LANE, lanes), places))


def _call(b: Any, name: str, *args: Any) -> Any:
    kind = ir.FunctionType(args[0].type, [arg.type for arg in args])
    return b.call(cgutils.get_or_insert_function(b.module, kind, f"llvm.x86.{name}"), args)


@contextmanager
def _loop(b: Any, count: Any) -> Iterator[Any]:
    """The numbers below `count`, in a loop that LLVM leaves as it is: unrolled, it takes three times as long to compile
    and no less to run."""
    with cgutils.for_range(b, count) as loop:
        yield loop.index
        block = b.basic_block
    hints = [b.module.add_metadata([f"llvm.loop.{name}.disable"]) for name in ("unroll", "vectorize")]
    node = b.module.add_metadata([f"loop {len(b.module.metadata)}", *hints])
    node.operands = (node, *node.operands[1:])  # as LLVM wants it
    block.terminator.set_metadata("llvm.loop", node)


def _over(b: Any, n: Any, lanes: int, body: Body) -> None:
    """`body` for all of n values; the last vector overlaps the one before instead of reaching beyond n."""
    last = b.sub(n, _index(lanes))
    with b.if_else(b.icmp_signed("<", last, _index(0))) as (short, long):
        with short, _loop(b, n) as number:
            body(number, 1)
        with long, _loop(b, b.udiv(b.add(n, _index(lanes - 1)), _index(lanes))) as number:
            i = b.mul(number, _index(lanes))
            body(b.select(b.icmp_signed("<", i, last), i, last), lanes)


@intrinsic
def rows(typingctx, image, at, line, weights, y, row, to, n):
    """row[to..] = sum over k < T of weights[k, y] * image[at + k * line..], n values; in 16 bits of levels times 64."""

    def codegen(context, b, sig, args):
        image, at, line, weights, taps, pitch, y, row, to, n = _unpacked(context, b, sig.args, args)
        value = context.get_value_type(sig.args[5].dtype)
        total = cgutils.alloca_once(b, _vector(value, _bits(context) // value.width))

        def weight(k: Any) -> Any:
            return b.load(b.gep(weights, [b.add(b.mul(k, pitch), y)]))

        def scaled(k: Any, by: Any, i: Any, kind: Any) -> Any:
            source = b.add(b.add(at, b.mul(k, line)), i)
            levels = b.zext(_load(b, image, source, _vector(_BYTE, kind.count)), kind)
            levels = b.shl(levels, _same(kind, 6)) if value.width == 16 else levels
            return _product(context, b, levels, _spread(b, by, kind))

        def few(count: int) -> Body:
            by = [weight(_index(k)) for k in range(count)]

            def body(i: Any, lanes: int) -> None:
                kind = _vector(value, lanes)
                found = _same(kind, 0)
                for k in range(count):
                    found = b.add(found, scaled(_index(k), by[k], i, kind))
                _store(b, found, row, b.add(to, i))

            return body

        def many(i: Any, lanes: int) -> None:
            kind = _vector(value, lanes)
            found = b.bitcast(total, kind.as_pointer())
            b.store(_same(kind, 0), found)
            with _loop(b, taps) as number:
                b.store(b.add(b.load(found), scaled(number, weight(number), i, kind)), found)
            _store(b, b.load(found), row, b.add(to, i))

        for count in range(1, TOGETHER + 1):
            with b.if_then(b.icmp_signed("==", taps, _index(count))):
                _over(b, n, _bits(context) // value.width, few(count))
        with b.if_then(b.icmp_signed(">", taps, _index(TOGETHER))):
            _over(b, n, _bits(context) // value.width, many)
        return context.get_dummy_value()

    number = types.intp
    return types.void(image, number, number, weights, number, row, number, number), codegen


@intrinsic
def columns(typingctx, row, at, tables, channels, out, to):
    """out[to + i] = sum over k < T of spread[k, i] * row[at + (begin[i // channels] + k) * channels + i % channels],
    by the tables of `weights.tables_of`; `row` and `out` have some room at their ends.

    Lane i of group g makes value g * step + i from row[at + windows[g] + places[g, i] + k * channels]; where no windows
    are used, a pixel is one of four lanes, the last of which belong to the next pixels."""

    def codegen(context, b, sig, args):
        row, at, tables, channels, out, to = _unpacked(context, b, sig.args, args)
        begin, spread, taps, pitch, step, windows, places, groups, _, shared = _unpacked(
            context, b, sig.args[2], cgutils.unpack_tuple(b, tables)
        )
        n = context.make_array(sig.args[2][0])(context, b, cgutils.unpack_tuple(b, tables)[0]).nitems
        value = context.get_value_type(sig.args[0].dtype)
        kind, quad = _vector(value, _bits(context) // value.width), _vector(value, 4)

        def group(number: Any, count: int) -> None:
            """The values of one group, `count` taps per window."""
            lanes, where = _index(kind.count), b.mul(number, step)
            start = b.add(at, b.sext(b.load(b.gep(windows, [number])), _INDEX))
            picks, further = [_load(b, places, b.mul(number, lanes), kind)], _spread(b, channels, kind)
            for _ in range(count - 1):
                picks.append(b.add(picks[-1], further))

            def window(first: Any) -> Any:
                source = b.add(start, b.mul(first, channels))
                low, high = _load(b, row, source, kind), _load(b, row, b.add(source, lanes), kind)
                return _sum(
                    b,
                    [
                        product(_picked(b, low, pick, high), b.add(first, _index(k)), where)
                        for k, pick in enumerate(picks)
                    ],
                )

            summed(window, count, where)

        def pixel(x: Any, count: int) -> None:
            """The channels of one pixel, `count` taps at once."""
            start, where = b.add(at, b.mul(b.sext(b.load(b.gep(begin, [x])), _INDEX), channels)), b.mul(x, channels)

            def some(first: Any) -> Any:
                taps = [b.add(first, _index(k)) for k in range(count)]
                return _sum(b, [product(_load(b, row, b.add(start, b.mul(k, channels)), quad), k, where) for k in taps])

            summed(some, count, where)

        def product(picked: Any, k: Any, where: Any) -> Any:
            weight = _load(b, spread, b.add(b.mul(k, pitch), where), picked.type)
            return _product(context, b, picked, weight)

        def summed(some: Callable[[Any], Any], count: int, where: Any) -> None:
            """out = the sum of all taps, `count` at once."""
            found = some(_index(0))
            total = cgutils.alloca_once(b, found.type)
            b.store(found, total)
            with _loop(b, b.sub(b.udiv(taps, _index(count)), _index(1))) as number:
                b.store(b.add(b.load(total), some(b.mul(b.add(number, _index(1)), _index(count)))), total)
            _store(b, b.load(total), out, b.add(to, where))

        for count in range(1, TOGETHER + 1):
            if _bits(context) == 512:
                with b.if_then(b.icmp_signed("==", shared, _index(count))), _loop(b, groups) as number:
                    group(number, count)
            with b.if_then(b.icmp_signed("==", shared, _index(-count))), _loop(b, n) as number:
                pixel(number, count)
        return context.get_dummy_value()

    return types.void(row, types.intp, tables, types.intp, out, types.intp), codegen


def _sum(b: Any, values: list[Any]) -> Any:
    return functools.reduce(b.add, values)


def _picked(b: Any, low: Any, places: Any, high: Any) -> Any:
    kind = "hi" if low.type.element.width == 16 else "d"
    return _call(b, f"avx512.vpermi2var.{kind}.512", low, places, high)


@intrinsic
def narrow(typingctx, row, at, image, to, n, lift):
    """image[to..] = row[at..] >> lift, rounded and clipped to 0..255, n values."""

    def codegen(context, b, sig, args):
        row, at, image, to, n, lift = _unpacked(context, b, sig.args, args)
        value = context.get_value_type(sig.args[0].dtype)
        lift = b.trunc(lift, value) if value.width < 64 else lift
        half = b.shl(ir.Constant(value, 1), b.sub(lift, ir.Constant(value, 1)))

        def body(i: Any, lanes: int) -> None:
            kind = _vector(value, lanes)
            level = b.add(_load(b, row, b.add(at, i), kind), _spread(b, half, kind))
            level, low, high = b.ashr(level, _spread(b, lift, kind)), _same(kind, 0), _same(kind, 255)
            level = b.select(b.icmp_signed(">", level, low), level, low)
            level = b.select(b.icmp_signed("<", level, high), level, high)
            _store(b, b.trunc(level, _vector(_BYTE, lanes)), image, b.add(to, i))

        _over(b, n, _bits(context) // value.width, body)
        return context.get_dummy_value()

    number = types.intp
    return types.void(row, number, image, number, number, number), codegen
