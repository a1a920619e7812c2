"""`plain.rows` and `plain.columns` on the vectors of AVX-512: 32 values of 16 bits with products of 15 bits dropped, at
most 16 taps, or 16 values of 32 bits with exact products.

A product takes one instruction (pmulhrsw, pmulld); so does picking a vector of values out of two (vpermi2w, vpermi2d),
which brings the pixels that neighboring output values need into their lanes. Whole vectors are read and written.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .weights import TOGETHER

_INDEX, _LANE = ir.IntType(64), ir.IntType(32)


def _has_vectors(context: Any) -> bool:
    return "+avx512bw" in context.codegen().magic_tuple()[2].split(",")


@intrinsic
def available(typingctx):
    """Whether the CPU has these instructions; known when the crop is compiled."""

    def codegen(context, b, sig, args):
        return ir.Constant(ir.IntType(1), int(_has_vectors(context)))

    return types.boolean(), codegen


def _index(value: int) -> Any:
    return ir.Constant(_INDEX, value)


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


class _Vectors:
    """Vectors of 64 bytes of the values of an array."""

    def __init__(self, context: Any, array: Any):
        self.value = context.get_value_type(array.dtype)
        self.lanes = 512 // self.value.width
        self.kind = ir.VectorType(self.value, self.lanes)
        self.zero = ir.Constant(self.kind, [0] * self.lanes)

    def place(self, b: Any, array: Any, at: Any) -> Any:
        return b.bitcast(b.gep(array, [at]), self.kind.as_pointer())

    def load(self, b: Any, array: Any, at: Any) -> Any:
        return b.load(self.place(b, array, at), align=2)

    def store(self, b: Any, value: Any, array: Any, at: Any) -> None:
        b.store(value, self.place(b, array, at), align=2)

    def spread(self, b: Any, value: Any) -> Any:
        """`value` in every lane."""
        value = b.trunc(value, self.value) if value.type.width > self.value.width else value
        blank = ir.Constant(self.kind, ir.Undefined)
        one = b.insert_element(blank, value, ir.Constant(_LANE, 0))
        return b.shuffle_vector(one, blank, ir.Constant(ir.VectorType(_LANE, self.lanes), [0] * self.lanes))

    def product(self, b: Any, value: Any, weight: Any) -> Any:
        return self._call(b, "pmul.hr.sw", value, weight) if self.lanes == 32 else b.mul(value, weight)

    def picked(self, b: Any, low: Any, places: Any, high: Any) -> Any:
        return self._call(b, "vpermi2var.hi" if self.lanes == 32 else "vpermi2var.d", low, places, high)

    def _call(self, b: Any, name: str, *args: Any) -> Any:
        kind = ir.FunctionType(self.kind, [self.kind] * len(args))
        return b.call(cgutils.get_or_insert_function(b.module, kind, f"llvm.x86.avx512.{name}.512"), args)


@intrinsic
def rows(typingctx, ring, line, first, weights, y, row, to, n):
    """`plain.rows`: row[to..] = sum over k < T of weights[k, y] * row (first + k) % T of the ring."""

    def codegen(context, b, sig, args):
        if not _has_vectors(context):
            return context.get_dummy_value()
        ring, line, first, weights, taps, pitch, y, row, to, n = _unpacked(context, b, sig.args, args)
        v = _Vectors(context, sig.args[0])

        def add(some: list[Any], more: bool) -> None:
            """row = taps `some` (+ row if there are more)."""
            at = [b.mul(b.urem(b.add(first, k), taps), line) for k in some]
            by = [v.spread(b, b.load(b.gep(weights, [b.add(b.mul(k, pitch), y)]))) for k in some]
            with cgutils.for_range(b, b.udiv(b.add(n, _index(v.lanes - 1)), _index(v.lanes))) as loop:
                i = b.mul(loop.index, _index(v.lanes))
                total = v.load(b, row, b.add(to, i)) if more else v.zero
                for start, weight in zip(at, by, strict=True):
                    total = b.add(total, v.product(b, v.load(b, ring, b.add(start, i)), weight))
                v.store(b, total, row, b.add(to, i))

        for count in range(1, TOGETHER + 1):
            with b.if_then(b.icmp_signed(">=" if count == TOGETHER else "==", taps, _index(count))):
                add([_index(k) for k in range(count)], more=False)
        with cgutils.for_range(b, taps, start=_index(TOGETHER)) as loop:
            add([loop.index], more=True)
        return context.get_dummy_value()

    number = types.intp
    return types.void(ring, number, number, weights, number, row, number, number), codegen


@intrinsic
def columns(typingctx, row, at, tables, channels, out, to):
    """`plain.columns` by `weights.tables_of`: lane i of group g makes value g * step + i from row[at + windows[g] +
    places[g, i] + k * channels], k < T."""

    def codegen(context, b, sig, args):
        if not _has_vectors(context):
            return context.get_dummy_value()
        row, at, tables, channels, out, to = _unpacked(context, b, sig.args, args)
        _, spread, taps, pitch, step, windows, places, groups, _, shared = _unpacked(
            context, b, sig.args[2], cgutils.unpack_tuple(b, tables)
        )
        v = _Vectors(context, sig.args[0])
        further, total = v.spread(b, channels), cgutils.alloca_once(b, v.kind)

        def group(number: Any, count: int) -> None:
            """The values of one group, `count` taps per window."""
            where, start = b.mul(number, step), b.add(at, b.sext(b.load(b.gep(windows, [number])), _INDEX))
            picks = [v.load(b, places, b.mul(number, _index(v.lanes)))]
            for _ in range(count - 1):
                picks.append(b.add(picks[-1], further))
            b.store(v.zero, total)
            with cgutils.for_range(b, b.udiv(taps, _index(count))) as loop:
                first = b.mul(loop.index, _index(count))
                source = b.add(start, b.mul(first, channels))
                low, high = v.load(b, row, source), v.load(b, row, b.add(source, _index(v.lanes)))
                for k, pick in enumerate(picks):
                    weight = v.load(b, spread, b.add(b.mul(b.add(first, _index(k)), pitch), where))
                    product = v.product(b, v.picked(b, low, pick, high), weight)
                    b.store(b.add(b.load(total), product), total)
            v.store(b, b.load(total), out, b.add(to, where))

        for count in range(1, TOGETHER + 1):
            with b.if_then(b.icmp_signed("==", shared, _index(count))), cgutils.for_range(b, groups) as loop:
                group(loop.index, count)
        return context.get_dummy_value()

    return types.void(row, types.intp, tables, types.intp, out, types.intp), codegen
