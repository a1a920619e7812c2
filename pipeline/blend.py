"""The cut's inner loops, written as LLVM vectors: numba's own vectors stay at half the width that the CPU has.

A vector of 16 floats is one register with AVX-512 and several elsewhere; LLVM splits it. Rows of scratch begin at
multiples of 16 floats and are as long, so that whole vectors do; what lies behind a row's end must be finite.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

ROWS = 4  # rows that `columns` blends at once: they share its weights and addresses
LANES = 16

_INDEX, _LANE, _FLOAT = ir.IntType(64), ir.IntType(32), ir.FloatType()
_WIDE, _QUAD = ir.VectorType(_FLOAT, LANES), ir.VectorType(_FLOAT, 4)
_LEVELS = ir.VectorType(ir.IntType(8), LANES)


def _pointer(context: Any, b: Any, kind: Any, array: Any) -> Any:
    return context.make_array(kind)(context, b, array).data


def _vector(b: Any, pointer: Any, at: Any, kind: Any) -> Any:
    """The place of a vector at element `at`, aligned or not."""
    return b.bitcast(b.gep(pointer, [at]), kind.as_pointer())


def _spread(b: Any, value: Any, kind: Any) -> Any:
    """`value` in every lane."""
    blank = ir.Constant(kind, ir.Undefined)
    one = b.insert_element(blank, value, ir.Constant(_LANE, 0))
    return b.shuffle_vector(one, blank, ir.Constant(ir.VectorType(_LANE, kind.count), [0] * kind.count))


def _add_product(b: Any, total: Any, weight: Any, value: Any) -> None:
    product = b.fmul(value, weight, flags=("fast",))
    b.store(b.fadd(b.load(total), product, flags=("fast",)), total)


@intrinsic
def floats(typingctx, image, at, row, to, n):
    """row[to..to + n] = image[at..at + n] for n >= 16: the last vector overlaps the one before, none reads beyond."""
    signature = types.void(image, at, row, to, n)

    def codegen(context, b, sig, args):
        source, target = _pointer(context, b, sig.args[0], args[0]), _pointer(context, b, sig.args[2], args[2])
        lanes = ir.Constant(_INDEX, LANES)
        last = b.sub(args[4], lanes)
        with cgutils.for_range(b, b.udiv(b.add(args[4], ir.Constant(_INDEX, LANES - 1)), lanes)) as loop:
            i = b.mul(loop.index, lanes)
            i = b.select(b.icmp_signed("<", i, last), i, last)
            levels = b.load(_vector(b, source, b.add(args[1], i), _LEVELS), align=1)
            b.store(b.uitofp(levels, _WIDE), _vector(b, target, b.add(args[3], i), _WIDE), align=4)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def levels(typingctx, row, at, out, to, n):
    """out[to..to + n] = row[at..at + n] truncated to 8 bits, for n >= 16; overlaps as `floats` does."""
    signature = types.void(row, at, out, to, n)

    def codegen(context, b, sig, args):
        source, target = _pointer(context, b, sig.args[0], args[0]), _pointer(context, b, sig.args[2], args[2])
        lanes = ir.Constant(_INDEX, LANES)
        last = b.sub(args[4], lanes)
        with cgutils.for_range(b, b.udiv(b.add(args[4], ir.Constant(_INDEX, LANES - 1)), lanes)) as loop:
            i = b.mul(loop.index, lanes)
            i = b.select(b.icmp_signed("<", i, last), i, last)
            value = b.load(_vector(b, source, b.add(args[1], i), _WIDE), align=4)
            value = b.trunc(b.fptosi(value, ir.VectorType(_LANE, LANES)), _LEVELS)
            b.store(value, _vector(b, target, b.add(args[3], i), _LEVELS), align=1)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def rows(typingctx, ring, places, weights, first, taps, out, to, n):
    """out[to + i] = sum over k < taps of weights[first + k] * ring[places[k] + i], for i < n, a multiple of 16."""
    signature = types.void(ring, places, weights, first, taps, out, to, n)

    def codegen(context, b, sig, args):
        ring_p, places_p, weights_p, out_p = (_pointer(context, b, sig.args[i], args[i]) for i in (0, 1, 2, 5))
        lanes = ir.Constant(_INDEX, LANES)
        total = cgutils.alloca_once(b, _WIDE)
        with cgutils.for_range(b, b.udiv(args[7], lanes)) as outer:
            i = b.mul(outer.index, lanes)
            b.store(ir.Constant(_WIDE, [0.0] * LANES), total)
            with cgutils.for_range(b, args[4]) as inner:
                weight = _spread(b, b.load(b.gep(weights_p, [b.add(args[3], inner.index)])), _WIDE)
                place = b.add(b.load(b.gep(places_p, [inner.index])), i)
                _add_product(b, total, weight, b.load(_vector(b, ring_p, place, _WIDE), align=4))
            b.store(b.load(total), _vector(b, out_p, b.add(args[6], i), _WIDE), align=4)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def columns(typingctx, acc, pitch, begin, weights, taps, n, out, pitch_out):
    """ROWS rows at once, of `acc` [ROWS * pitch] and `out` [ROWS * pitch_out]: out[r, 3x..3x + 3] = 0.5 +
    sum over k < taps of weights[x * taps + k] * acc[r, 3 (begin[x] + k)..+3], for x < n.

    A pixel's three channels travel as one vector of four; the fourth lane is the next pixel's and is overwritten by it,
    so rows need four floats of slack.
    """
    signature = types.void(acc, pitch, begin, weights, taps, n, out, pitch_out)

    def codegen(context, b, sig, args):
        acc_p, begin_p, weights_p, out_p = (_pointer(context, b, sig.args[i], args[i]) for i in (0, 2, 3, 6))
        three = ir.Constant(_INDEX, 3)
        sources = [b.gep(acc_p, [b.mul(args[1], ir.Constant(_INDEX, r))]) for r in range(ROWS)]
        targets = [b.gep(out_p, [b.mul(args[7], ir.Constant(_INDEX, r))]) for r in range(ROWS)]
        totals = [cgutils.alloca_once(b, _QUAD) for _ in range(ROWS)]
        with cgutils.for_range(b, args[5]) as outer:
            x = outer.index
            start = b.mul(b.sext(b.load(b.gep(begin_p, [x])), _INDEX), three)
            for total in totals:
                b.store(ir.Constant(_QUAD, [0.5] * 4), total)
            with cgutils.for_range(b, args[4]) as inner:
                at = b.add(start, b.mul(inner.index, three))
                weight = _spread(b, b.load(b.gep(weights_p, [b.add(b.mul(x, args[4]), inner.index)])), _QUAD)
                for source, total in zip(sources, totals, strict=True):
                    _add_product(b, total, weight, b.load(_vector(b, source, at, _QUAD), align=4))
            for target, total in zip(targets, totals, strict=True):
                b.store(b.load(total), _vector(b, target, b.mul(x, three), _QUAD), align=4)
        return context.get_dummy_value()

    return signature, codegen
