"""The loops of the crop along a row: source rows are added up, and sums become levels."""

import functools
from typing import Any

from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from . import llvm


@functools.cache
def cpu_has_picks() -> bool:
    """Whether this CPU picks values out of two vectors in one instruction, by numba's account of it."""
    return llvm.bits(cpu_target.target_context) == 512


@intrinsic
def rows(typingctx, image, at, line, weights, y, row, to, n):
    """row[to..] = sum over k < T of weights[k, y] * image[at + k * line..], n values; in 16 bits of levels times 64."""

    def codegen(context, b, sig, args):
        image, at, line, weights, taps, pitch, y, row, to, n = llvm.unpacked(context, b, sig.args, args)
        value = context.get_value_type(sig.args[5].dtype)
        most = llvm.bits(context) // value.width

        def body(i: Any, count: int) -> None:
            kind = llvm.vector(value, min(count, most))
            totals = [cgutils.alloca_once_value(b, llvm.same(kind, 0)) for _ in range(0, count, most)]
            for total in totals:
                b.store(llvm.same(kind, 0), total)
            with llvm.loop(b, taps) as k:
                weight = llvm.spread(b, b.load(b.gep(weights, [b.add(b.mul(k, pitch), y)])), kind)
                source = b.add(b.add(at, b.mul(k, line)), i)
                for part, total in enumerate(totals):
                    start = b.add(source, llvm.index(part * most))
                    levels = b.zext(llvm.load(b, image, start, llvm.vector(llvm.BYTE, kind.count)), kind)
                    levels = b.shl(levels, llvm.same(kind, 6)) if value.width == 16 else levels
                    b.store(b.add(b.load(total), llvm.product(context, b, levels, weight)), total)
            for part, total in enumerate(totals):
                llvm.store(b, b.load(total), row, b.add(b.add(to, i), llvm.index(part * most)))

        llvm.over(b, n, most, 4, body)
        return context.get_dummy_value()

    number = types.intp
    return types.void(image, number, number, weights, number, row, number, number), codegen


@intrinsic
def narrow(typingctx, row, at, image, to, n, lift):
    """image[to..] = row[at..] >> lift, rounded and clipped to 0..255, n values."""

    def codegen(context, b, sig, args):
        row, at, image, to, n, lift = llvm.unpacked(context, b, sig.args, args)
        value = context.get_value_type(sig.args[0].dtype)
        lift = b.trunc(lift, value)
        half = b.shl(value(1), b.sub(lift, value(1)))

        def body(i: Any, lanes: int) -> None:
            kind = llvm.vector(value, lanes)
            level = b.add(llvm.load(b, row, b.add(at, i), kind), llvm.spread(b, half, kind))
            level, low, high = b.ashr(level, llvm.spread(b, lift, kind)), llvm.same(kind, 0), llvm.same(kind, 255)
            level = b.select(b.icmp_signed(">", level, low), level, low)
            level = b.select(b.icmp_signed("<", level, high), level, high)
            llvm.store(b, b.trunc(level, llvm.vector(llvm.BYTE, lanes)), image, b.add(to, i))

        llvm.over(b, n, llvm.bits(context) // value.width, 1, body)
        return context.get_dummy_value()

    number = types.intp
    return types.void(row, number, image, number, number, number), codegen
