"""The loop of the crop across a row: neighboring values make one value, by the tables of `weights.tables_of`.

With AVX-512 one instruction picks a vector of values out of two (vpermi2w, vpermi2d), which brings the pixels that
neighboring output values need into their lanes. Other CPUs, and crops that shrink much, make a pixel at a time: lanes
are its channels in PIECE values that follow each other, whose products are added up last. Both make the same numbers.
"""

import functools
from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from . import llvm
from .weights import PIECE, TOGETHER


@intrinsic(prefer_literal=True)
def columns(typingctx, row, at, tables, channels, out, to):
    """out[to + i] = sum over k < T of weights[k, x] * row[at + (begin[x] + k) * channels + i % channels] for
    x = i // channels; `row` and `out` have some room at their ends. `channels` is a constant."""

    def codegen(context, b, sig, args):
        row, at, _, _, out, to = llvm.unpacked(context, b, sig.args, args)
        begin, *_ = cgutils.unpack_tuple(b, args[2])
        n = context.make_array(sig.args[2][0])(context, b, begin).nitems
        begin, spread, pitch, rounds, shared, step, groups, windows, places = llvm.unpacked(
            context, b, sig.args[2], cgutils.unpack_tuple(b, args[2])
        )
        value = context.get_value_type(sig.args[0].dtype)

        def summed(some: Any, few: int = 0) -> Any:
            """The sum of some(r) for all rounds r: `few`, or in a loop."""
            if few:
                return functools.reduce(b.add, [some(llvm.index(r)) for r in range(few)])
            first = some(llvm.index(0))
            total = cgutils.alloca_once(b, first.type)
            b.store(first, total)
            with llvm.loop(b, b.sub(rounds, llvm.index(1))) as number:
                b.store(b.add(b.load(total), some(b.add(number, llvm.index(1)))), total)
            return b.load(total)

        def group(number: Any, count: int) -> None:
            """The values of a group, `count` taps per window: lane i makes value number * step + i."""
            kind = llvm.vector(value, llvm.bits(context) // value.width)
            lanes, where = llvm.index(kind.count), b.mul(number, step)
            start = b.add(at, b.sext(b.load(b.gep(windows, [number])), llvm.INDEX))
            picks, further = [llvm.load(b, places, b.mul(number, lanes), kind)], llvm.same(kind, channels)
            for _ in range(count - 1):
                picks.append(b.add(picks[-1], further))

            def window(number: Any) -> Any:
                first = b.mul(number, llvm.index(count))
                source = b.add(start, b.mul(first, llvm.index(channels)))
                low, high = llvm.load(b, row, source, kind), llvm.load(b, row, b.add(source, lanes), kind)
                found = []
                for k, pick in enumerate(picks):
                    weight = llvm.load(b, spread, b.add(b.mul(b.add(first, llvm.index(k)), pitch), where), kind)
                    found.append(llvm.product(context, b, llvm.picked(b, low, pick, high), weight))
                return functools.reduce(b.add, found)

            llvm.store(b, summed(window), out, b.add(to, where))

        def pixel(x: Any, few: int) -> None:
            """The channels of one pixel, PIECE values at once."""
            kind, taps = llvm.vector(value, PIECE), PIECE // channels
            start = b.add(at, b.mul(b.sext(b.load(b.gep(begin, [x])), llvm.INDEX), llvm.index(channels)))
            weights = b.mul(x, pitch)

            def piece(r: Any) -> Any:
                values = llvm.load(b, row, b.add(start, b.mul(r, llvm.index(taps * channels))), kind)
                weight = llvm.load(b, spread, b.add(weights, b.mul(r, llvm.index(PIECE))), kind)
                return llvm.product(context, b, values, weight)

            total = summed(piece, few)
            while taps > 1:
                taps //= 2
                half = taps * channels
                width = min(half + half % 2, total.type.count - half)  # an even one, for a store at once
                total = b.add(llvm.lanes_of(b, total, 0, width), llvm.lanes_of(b, total, half, width))
            llvm.store(b, total, out, b.add(to, b.mul(x, llvm.index(channels))))

        with b.if_then(b.icmp_signed("==", shared, llvm.index(0))):
            for few in (1, 2):
                with b.if_then(b.icmp_signed("==", rounds, llvm.index(few))), llvm.loop(b, n) as x:
                    pixel(x, few)
            with b.if_then(b.icmp_signed(">", rounds, llvm.index(2))), llvm.loop(b, n) as x:
                pixel(x, 0)
        if llvm.bits(context) == 512:
            for count in range(1, TOGETHER + 1):
                with b.if_then(b.icmp_signed("==", shared, llvm.index(count))), llvm.loop(b, groups) as number:
                    group(number, count)
        return context.get_dummy_value()

    if not isinstance(channels, types.IntegerLiteral):
        return None
    kind, channels = channels, channels.literal_value
    return types.void(row, types.intp, tables, kind, out, types.intp), codegen
