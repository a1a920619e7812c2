"""Numba kernels of the host renderer: each op on the planes of one image, [3 S S] float32; `render_all` runs them."""

from typing import Any

import numpy as np

from ...shards.kernels import njit
from .packing import SLOTS

_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": True, "error_model": "numpy", "cache": True}
F = np.float32
JITTER, GRAY, BLUR, SOLARIZE, NORMALIZE, MASK = range(6)
NEGLIGIBLE = 1e-7  # outer weights of a blur kernel below this are skipped


@njit(inline="always")
def _clip(v):
    return min(max(v, F(0)), F(1))


@njit(inline="always")
def _luma(r, g, b):
    return F(0.299) * r + F(0.587) * g + F(0.114) * b


@njit(inline="always")
def _wave(high, chroma, at):
    at -= F(6) * np.floor(at * F(1 / 6))
    return high - chroma * _clip(min(at, F(4) - at))


@njit(**_OPTIONS)
def _blend(x, n, factor, mean, luma):
    """One blend of a jitter, in place; see packing._blends."""
    r, g, b, other = x[:n], x[n : 2 * n], x[2 * n : 3 * n], F(1) - factor
    if luma > 0:
        for i in range(n):
            y = other * _luma(r[i], g[i], b[i])
            r[i], g[i], b[i] = _clip(r[i] * factor + y), _clip(g[i] * factor + y), _clip(b[i] * factor + y)
        return
    add = F(0)
    if mean > 0:
        for i in range(n):
            add += _luma(r[i], g[i], b[i])
        add *= other / F(n)
    for i in range(3 * n):
        x[i] = _clip(x[i] * factor + add)


@njit(**_OPTIONS)
def _hue(x, n, turns):
    r, g, b = x[:n], x[n : 2 * n], x[2 * n : 3 * n]
    for i in range(n):
        high, low = max(r[i], max(g[i], b[i])), min(r[i], min(g[i], b[i]))
        chroma = high - low
        scale = F(1) / max(chroma, F(1e-8))
        if high == r[i]:
            at = (g[i] - b[i]) * scale
        elif high == g[i]:
            at = F(2) + (b[i] - r[i]) * scale
        else:
            at = F(4) + (r[i] - g[i]) * scale
        at += F(6) * turns
        r[i] = _wave(high, chroma, at + F(5))
        g[i] = _wave(high, chroma, at + F(3))
        b[i] = _wave(high, chroma, at + F(1))


@njit(**_OPTIONS)
def _gray(x, n):
    for i in range(n):
        x[i] = _luma(x[i], x[n + i], x[2 * n + i])
    x[n : 2 * n] = x[:n]
    x[2 * n : 3 * n] = x[:n]


@njit(**_OPTIONS)
def _blur(x, size, half, tmp):
    """Blur in place, rows then columns; pixels past the border repeat it. `half`: [reach + 1]."""
    reach = len(half) - 1
    pad, n = np.empty(size + 2 * reach, F), size * size
    for c in range(3):
        plane = x[c * n : (c + 1) * n]
        for y in range(size):
            row, o = plane[y * size : (y + 1) * size], tmp[y * size : (y + 1) * size]
            pad[:reach], pad[reach + size :] = row[0], row[size - 1]
            pad[reach : reach + size] = row
            for i in range(size):
                o[i] = half[0] * row[i]
            for k in range(1, reach + 1):
                a, b = pad[reach - k : reach - k + size], pad[reach + k : reach + k + size]
                for i in range(size):
                    o[i] += half[k] * (a[i] + b[i])
        for y in range(size):
            o, row = plane[y * size : (y + 1) * size], tmp[y * size : (y + 1) * size]
            for i in range(size):
                o[i] = half[0] * row[i]
            for k in range(1, reach + 1):
                u, d = max(y - k, 0) * size, min(y + k, size - 1) * size
                a, b = tmp[u : u + size], tmp[d : d + size]
                for i in range(size):
                    o[i] += half[k] * (a[i] + b[i])


@njit(**_OPTIONS)
def _mask(x, size, p):
    side = int(p[0])
    if side:
        count = -(-size // side)
        for c in range(3):
            for y in range(size):
                for i in range(size):
                    x[(c * size + y) * size + i] *= p[1 + (y // side) * count + i // side]


@njit(**_OPTIONS)
def _op(x, size, code, const, p, tmp):
    """Run one op in place, by its code, constants and packed parameters `p`."""
    n = size * size
    if code == JITTER:
        for slot in range(SLOTS):
            if slot == SLOTS // 2 and p[3 * SLOTS] != 0:
                _hue(x, n, p[3 * SLOTS])
            if p[3 * slot] != 1:
                _blend(x, n, p[3 * slot], p[3 * slot + 1], p[3 * slot + 2])
    elif code == GRAY:
        if p[0] > 0:
            _gray(x, n)
    elif code == BLUR:
        reach = int(const[0])
        while reach > 0 and abs(p[reach]) < NEGLIGIBLE:
            reach -= 1
        if reach:
            _blur(x, size, p[: reach + 1], tmp)
    elif code == SOLARIZE:
        if p[0] > 0:
            for i in range(3 * n):
                x[i] = F(1) - x[i] if x[i] >= const[0] else x[i]
    elif code == NORMALIZE:
        for k in range(3):
            for i in range(k * n, (k + 1) * n):
                x[i] = (x[i] - const[k]) * const[3 + k]
    else:
        _mask(x, size, p)


@njit(**_OPTIONS)
def render_all(source, size, table, consts, params, out):
    """Images [N, S S 3] uint8 -> out [N, S S 3] float32. `table` [ops, 2]: the code and the first column of each op in
    `params` [N, P]; `consts` [ops, 6]: its constants."""
    n = size * size
    x, tmp = np.empty(3 * n, F), np.empty(n, F)
    for row in range(len(source)):
        src, p = source[row], params[row]
        for i in range(n):
            for c in range(3):
                x[c * n + i] = F(src[3 * i + c]) * F(1 / 255)
        for op in range(len(table)):
            _op(x, size, table[op, 0], consts[op], p[table[op, 1] :], tmp)
        target = out[row]
        for i in range(n):
            for c in range(3):
                target[3 * i + c] = x[c * n + i]


def warm_up() -> None:
    """Call what Python calls, with arrays of the types that it passes."""
    pixels, floats = np.zeros((1, 3), np.uint8), np.zeros((1, 6), F)
    render_all(pixels, 1, np.array([[SOLARIZE, 0]]), floats, floats, np.empty((1, 3), F))
