"""The inner loops of the crop on LLVM vectors of 16 floats; numba alone uses half the width of AVX-512.

Where the CPU has no such registers LLVM uses several smaller ones. Arrays are passed as addresses (the caller keeps
them alive), since numba would count references atomically for each row. Rows of scratch memory are whole vectors long;
the values past a row's end are never NaN, as they may be multiplied by a weight of zero. All paths sum in the same
order, so that a pixel does not depend on its path: a mirrored crop is an exact mirror.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16

_INDEX, _LANE = ir.IntType(64), ir.IntType(32)
_BYTE, _FLOAT = ir.IntType(8), ir.FloatType()
_WIDE, _QUAD = ir.VectorType(_FLOAT, LANES), ir.VectorType(_FLOAT, 4)
_WHOLE, _LEVELS = ir.VectorType(_LANE, LANES), ir.VectorType(_BYTE, LANES)


def _pointers(b: Any, args: Any, *kinds: Any) -> list[Any]:
    """The addresses among the arguments as pointers to `kinds`; None for a number."""
    return [arg if kind is None else b.inttoptr(arg, kind.as_pointer()) for arg, kind in zip(args, kinds, strict=True)]


def _index(value: int) -> Any:
    return ir.Constant(_INDEX, value)


def _place(b: Any, pointer: Any, at: Any, kind: Any) -> Any:
    return b.bitcast(b.gep(pointer, [at]), kind.as_pointer())


def _load(b: Any, pointer: Any, at: Any, kind: Any) -> Any:
    return b.load(_place(b, pointer, at, kind), align=1)


def _store(b: Any, value: Any, pointer: Any, at: Any) -> None:
    b.store(value, _place(b, pointer, at, value.type), align=1)


def _spread(b: Any, value: Any, kind: Any) -> Any:
    """`value` in every lane."""
    blank = ir.Constant(kind, ir.Undefined)
    one = b.insert_element(blank, value, ir.Constant(_LANE, 0))
    return b.shuffle_vector(one, blank, ir.Constant(ir.VectorType(_LANE, kind.count), [0] * kind.count))


def _plus(b: Any, total: Any, weight: Any, value: Any) -> Any:
    """total + weight * value, rounded once where the CPU can."""
    return b.fadd(total, b.fmul(weight, value, flags=("contract",)), flags=("contract",))


def _convert(kind: Any, made: Any, step: Any) -> Any:
    """An intrinsic (source, target, n): target[:n] = step(source[:n]).

    The last vector overlaps the one before instead of reaching beyond n.
    """

    @intrinsic
    def convert(typingctx, source, target, n):
        def codegen(context, b, sig, args):
            source, target, n = _pointers(b, args, kind, made, None)
            last = b.sub(n, _index(LANES))
            with b.if_else(b.icmp_signed("<", last, _index(0))) as (short, long):
                with short, cgutils.for_range(b, n) as loop:
                    _store(b, step(b, source, loop.index, 1), target, loop.index)
                with long, cgutils.for_range(b, b.udiv(b.add(n, _index(LANES - 1)), _index(LANES))) as loop:
                    i = b.mul(loop.index, _index(LANES))
                    i = b.select(b.icmp_signed("<", i, last), i, last)
                    _store(b, step(b, source, i, LANES), target, i)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 3), codegen

    return convert


def _vector(kind: Any, lanes: int) -> Any:
    return ir.VectorType(kind, lanes)


def _clipped(b: Any, source: Any, at: Any, lanes: int, half: float) -> Any:
    """Levels + `half`, truncated to whole numbers in 0..255."""
    value = _load(b, source, at, _vector(_FLOAT, lanes))
    value = b.fadd(value, ir.Constant(value.type, [half] * lanes))
    value = b.fptosi(value, _vector(_LANE, lanes))
    low, high = ir.Constant(value.type, [0] * lanes), ir.Constant(value.type, [255] * lanes)
    value = b.select(b.icmp_signed(">", value, low), value, low)
    return b.select(b.icmp_signed("<", value, high), value, high)


def _float(b: Any, source: Any, at: Any, lanes: int) -> Any:
    return b.uitofp(_load(b, source, at, _vector(_BYTE, lanes)), _vector(_FLOAT, lanes))


def _level(b: Any, source: Any, at: Any, lanes: int) -> Any:
    whole = b.fptosi(_load(b, source, at, _vector(_FLOAT, lanes)), _vector(_LANE, lanes))
    return b.trunc(whole, _vector(_BYTE, lanes))


floats = _convert(_BYTE, _FLOAT, _float)
levels = _convert(_FLOAT, _BYTE, _level)  # for values within 0..255
clipped = _convert(_FLOAT, _FLOAT, lambda b, p, i, n: b.sitofp(_clipped(b, p, i, n, 0.0), _vector(_FLOAT, n)))
clipped_levels = _convert(_FLOAT, _BYTE, lambda b, p, i, n: b.trunc(_clipped(b, p, i, n, 0.5), _vector(_BYTE, n)))


def _rows(taps: int) -> Any:
    """An intrinsic: out[:n] = sum over k < taps of weights[k] * row k [:n], n a multiple of 16; one row is added."""

    @intrinsic
    def blend(typingctx, r0, r1, r2, r3, weights, out, n):
        def codegen(context, b, sig, args):
            *sources, weights, out, n = _pointers(b, args, *[_FLOAT] * 6, None)
            by = [_spread(b, b.load(b.gep(weights, [_index(k)])), _WIDE) for k in range(taps)]
            with cgutils.for_range(b, b.udiv(n, _index(LANES))) as loop:
                i = b.mul(loop.index, _index(LANES))
                total = _load(b, out, i, _WIDE) if taps == 1 else None
                for weight, source in zip(by, sources, strict=False):
                    value = _load(b, source, i, _WIDE)
                    total = _plus(b, total, weight, value) if total else b.fmul(weight, value)
                _store(b, total, out, i)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 7), codegen

    return blend


add_row, rows2, rows3, rows4 = (_rows(taps) for taps in (1, 2, 3, 4))


@intrinsic
def quads(typingctx, acc, begin, weights, taps, n, out):
    """out[3x..3x + 3] = 0.5 + sum over k < taps of weights[x * taps + k] * acc[3 (begin[x] + k)..+3], for x < n.

    A pixel's three channels are one vector of four; the fourth lane belongs to the next pixel, which overwrites it,
    so `acc` and `out` need four floats of slack.
    """

    def codegen(context, b, sig, args):
        acc, begin, weights, taps, n, out = _pointers(b, args, _FLOAT, _LANE, _FLOAT, None, None, _FLOAT)
        total = cgutils.alloca_once(b, _QUAD)
        with cgutils.for_range(b, n) as outer:
            start = b.mul(b.sext(b.load(b.gep(begin, [outer.index])), _INDEX), _index(3))
            b.store(ir.Constant(_QUAD, [0.5] * 4), total)
            with cgutils.for_range(b, taps) as inner:
                weight = b.load(b.gep(weights, [b.add(b.mul(outer.index, taps), inner.index)]))
                pixel = _load(b, acc, b.add(start, b.mul(inner.index, _index(3))), _QUAD)
                b.store(_plus(b, b.load(total), _spread(b, weight, _QUAD), pixel), total)
            _store(b, b.load(total), out, b.mul(outer.index, _index(3)))
        return context.get_dummy_value()

    return types.void(*[types.intp] * 6), codegen


def _has_permutes(context: Any) -> bool:
    return "+avx512f" in context.codegen().magic_tuple()[2].split(",")


@intrinsic
def permutes(typingctx):
    """Whether the CPU picks 16 floats out of 32 in one instruction; known when the crop is compiled."""

    def codegen(context, b, sig, args):
        return ir.Constant(ir.IntType(1), int(_has_permutes(context)))

    return types.boolean(), codegen


def _columns(shared: int) -> Any:
    """An intrinsic like `quads`, for 16 neighboring output floats at a time, whichever pixels they belong to.

    Group g's tap k takes acc[begin[g] + 3k + places[16g + i]] for i < 16, out of 32 floats that `shared` taps share.
    """

    @intrinsic
    def columns(typingctx, acc, begin, places, weights, windows, groups, out):
        def codegen(context, b, sig, args):
            acc, begin, places, weights, windows, groups, out = _pointers(
                b, args, _FLOAT, _LANE, _LANE, _FLOAT, None, None, _FLOAT
            )
            if not _has_permutes(context):
                return context.get_dummy_value()
            kind = ir.FunctionType(_WIDE, [_WIDE, _WHOLE, _WIDE])
            pick = cgutils.get_or_insert_function(b.module, kind, "llvm.x86.avx512.vpermi2var.ps.512")
            total = cgutils.alloca_once(b, _WIDE)
            with cgutils.for_range(b, groups) as outer:
                to = b.mul(outer.index, _index(LANES))
                start = b.sext(b.load(b.gep(begin, [outer.index])), _INDEX)
                place = _load(b, places, to, _WHOLE)
                b.store(ir.Constant(_WIDE, [0.5] * LANES), total)
                with cgutils.for_range(b, windows) as inner:
                    at = b.add(start, b.mul(inner.index, _index(3 * shared)))
                    low, high = _load(b, acc, at, _WIDE), _load(b, acc, b.add(at, _index(LANES)), _WIDE)
                    tap = b.mul(b.add(b.mul(outer.index, windows), inner.index), _index(shared * LANES))
                    for k in range(shared):
                        value = b.call(pick, [low, b.add(place, ir.Constant(_WHOLE, [3 * k] * LANES)), high])
                        weight = _load(b, weights, b.add(tap, _index(k * LANES)), _WIDE)
                        b.store(_plus(b, b.load(total), weight, value), total)
                _store(b, b.load(total), out, to)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 7), codegen

    return columns


columns1, columns2, columns3, columns4 = (_columns(taps) for taps in (1, 2, 3, 4))
