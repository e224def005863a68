"""The loops over edges of the fused attention, compiled by Numba for processors; arrays in, arrays out.

Each function works on a range of queries or context points and touches no others, so several threads can share the work and
the result does not depend on how many there are.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_MATH = {"contract", "reassoc", "nsz", "arcp"}
APART = 64
"""Numbers between scratch arrays. A vectorised loop that writes closer than its width (256 bytes with AVX-512) behind what it
reads takes a slow way, which rounds otherwise: the last bit would depend on where memory was free."""


@njit(nogil=True, cache=True, fastmath=_MATH)
def edges_of_query(
    i, index, mask, place_query, place_context, measure, per_radius, per_width, rim_slope, context, column, taper, mass
):  # pragma: no cover
    """Lists the neighbours that count, with their taper times measure and their part of each knot; gives their number.

    ``mass`` has a row per neighbour of the table, or none where there is no cost volume.
    """
    dim, count, total = place_query.shape[1], 0, taper.dtype.type(0)
    zero, one = taper.dtype.type(0), taper.dtype.type(1)
    hats = np.ones((3, 3), taper.dtype)
    for k in range(index.shape[1]):
        if not mask[i, k]:
            continue
        j, inside = np.uintp(index[i, k]), one
        if per_radius > 0:
            for a in range(dim):
                inside -= ((place_context[j, a] - place_query[i, a]) * per_radius) ** 2
            if inside <= 0:
                continue
        context[count], column[count] = j, k
        taper[count] = inside * inside * measure[j]
        total += inside * inside
        if len(per_width):
            near = measure[j] * (min(one, rim_slope * inside) if per_radius > 0 else one)
            for a in range(dim):
                rel = place_context[j, a] - place_query[i, a]
                narrow = per_width[a]
                hats[a, 0] = max(one - abs(rel + one) * narrow, zero) * narrow
                hats[a, 1] = max(one - abs(rel) * narrow, zero) * narrow
                hats[a, 2] = max(one - abs(rel - one) * narrow, zero) * narrow
            b = 0
            for first in range(3):
                for second in range(3):
                    both = near * hats[0, first] * hats[1, second]
                    for third in range(3 if dim == 3 else 1):
                        mass[count, b] = both * hats[2, third]
                        b += 1
        count += 1
    return count, total


@njit(nogil=True, cache=True, fastmath=_MATH)
def weights_of_query(i, h, count, context, taper, asks, rows, logit, share):  # pragma: no cover
    """Logits and weights of a query's neighbours in one head; the first columns of a row are what it is asked for."""
    asked, zero, highest = asks[i, h], asks.dtype.type(0), asks.dtype.type(0)
    for n in range(count):
        row, found = rows[context[n], h], zero
        for c in range(len(asked)):
            found += asked[c] * row[c]
        logit[n] = found
        highest = max(highest, found) if n else found
    total = zero
    for n in range(count):
        share[n] = taper[n] * np.exp(logit[n] - highest)
        total += share[n]
    for n in range(count):
        share[n] /= total


@njit(nogil=True, cache=True, fastmath=_MATH)
def attend(
    first, last, asks, rows, place_query, place_context, measure, index, mask, per_radius, per_width, fade, rim_slope, half,
    with_offset, sums, coverage, offset, cost, weights,
):  # fmt: skip  # pragma: no cover
    """For a range of queries the sums of each row's last columns, coverage, offsets, cost volume and weights.

    ``asks`` is ``(num_query, heads, a)`` and compared with the first columns of ``rows`` ``(num_context, heads, r)``; ``sums``
    ``(num_query, heads, s)`` are of the last ones. The two may overlap.
    """
    k, knots, dim, dtype = index.shape[1], cost.shape[2], place_query.shape[1], asks.dtype
    summed = rows.shape[2] - sums.shape[2]
    context, column = np.empty(k, np.uintp), np.empty(k, np.uintp)
    scratch = np.empty((3, k + APART), dtype)
    taper, logit, share = scratch[0], scratch[1], scratch[2]
    mass, reached = np.empty((k, max(knots, 1)), dtype), np.empty(APART + knots, dtype)[APART:]
    for i in range(first, last):
        count, total = edges_of_query(
            i, index, mask, place_query, place_context, measure, per_radius, per_width, rim_slope, context, column, taper, mass
        )
        covered = min(total / fade, fade / fade)
        coverage[i] = covered
        if count == 0:
            continue
        reached[:] = half
        if knots:
            reached[:] = 0
            for n in range(count):
                for b in range(knots):
                    reached[b] += mass[n, b]
        for h in range(asks.shape[1]):
            weights_of_query(i, h, count, context, taper, asks, rows, logit, share)
            if knots:
                for n in range(count):
                    for b in range(knots):
                        cost[i, h, b] += mass[n, b] * logit[n]
                for b in range(knots):
                    cost[i, h, b] /= max(half, reached[b])
            if weights.shape[1]:
                for n in range(count):
                    weights[i, column[n], h] = share[n]
            here = sums[i, h]
            for n in range(count):
                part, row = share[n] * covered, rows[context[n], h, summed:]
                for c in range(len(here)):
                    here[c] += part * row[c]
            if with_offset:
                for n in range(count):
                    for a in range(dim):
                        offset[i, h, a] += share[n] * covered * (place_context[context[n], a] - place_query[i, a])


@njit(nogil=True, cache=True, fastmath=_MATH)
def gradients_of_queries(
    first, last, asks, rows, place_query, place_context, measure, index, mask, per_radius, per_width, fade, rim_slope, half,
    on_sums, on_offset, on_cost, on_weights, on_asks, waved, share_of, slope_of,
):  # fmt: skip  # pragma: no cover
    """From the gradients of the sums to those of what is asked, and per edge what the context's gradients are made of.

    ``waved`` gets the sums of the last of the asked columns, as many as it has.
    """
    k, knots, dim, dtype = index.shape[1], on_cost.shape[2], place_query.shape[1], asks.dtype
    context, column = np.empty(k, np.uintp), np.empty(k, np.uintp)
    scratch = np.empty((4, k + APART), dtype)
    taper, logit, share, on_share = scratch[0], scratch[1], scratch[2], scratch[3]
    mass, on_knot = np.empty((k, max(knots, 1)), dtype), np.empty(APART + knots, dtype)[APART:]
    summed, unwaved = rows.shape[2] - on_sums.shape[2], asks.shape[2] - waved.shape[2]
    for i in range(first, last):
        count, total = edges_of_query(
            i, index, mask, place_query, place_context, measure, per_radius, per_width, rim_slope, context, column, taper, mass
        )
        covered = min(total / fade, fade / fade)
        for h in range(asks.shape[1] if count else 0):
            weights_of_query(i, h, count, context, taper, asks, rows, logit, share)
            given, mean = on_sums[i, h], asks.dtype.type(0)
            for n in range(count):
                row, found = rows[context[n], h, summed:], asks.dtype.type(0)
                for c in range(len(given)):
                    found += given[c] * row[c]
                on_share[n] = found
            if on_offset.shape[2]:
                for n in range(count):
                    for a in range(dim):
                        on_share[n] += on_offset[i, h, a] * (place_context[context[n], a] - place_query[i, a])
            for n in range(count):
                on_share[n] *= covered
                if on_weights.shape[1]:
                    on_share[n] += on_weights[i, column[n], h]
                mean += share[n] * on_share[n]
            if knots:
                on_knot[:] = 0
                for n in range(count):
                    for b in range(knots):
                        on_knot[b] += mass[n, b]
                for b in range(knots):
                    on_knot[b] = on_cost[i, h, b] / max(half, on_knot[b])
            here, wave = on_asks[i, h], waved[i, h]
            for n in range(count):
                slope = share[n] * (on_share[n] - mean)
                if knots:
                    for b in range(knots):
                        slope += mass[n, b] * on_knot[b]
                part, row = share[n] * covered, rows[context[n], h]
                share_of[i - first, column[n], h], slope_of[i - first, column[n], h] = part, slope
                for c in range(len(here)):
                    here[c] += slope * row[c]
                for c in range(len(wave)):
                    wave[c] += part * row[unwaved + c]


@njit(nogil=True, cache=True, fastmath=_MATH)
def turned(first, last, pairs, start, wave, forward, out, place):  # pragma: no cover
    """For a range of points :func:`geogrid.nn.fourier.turn` of some columns of each head, written to other columns.

    The pairs begin at column ``start`` of ``pairs``, what they become at column ``place`` of ``out``.
    """
    half = wave.shape[1] // 2
    for i in range(first, last):
        for h in range(pairs.shape[1]):
            for c in range(half):
                sin, cos = wave[i, c], wave[i, half + c]
                sin = sin if forward else -sin
                a, b = pairs[i, h, start + c], pairs[i, h, start + half + c]
                out[i, h, place + c] = a * cos + b * sin
                out[i, h, place + half + c] = b * cos - a * sin


@njit(nogil=True, cache=True)
def seen_from_context(index, mask, num_context, start, order):  # pragma: no cover
    """Lists the valid edges of each context point, in the order of the table: ``order[start[j] : start[j + 1]]``."""
    for i in range(index.shape[0]):
        for k in range(index.shape[1]):
            if mask[i, k]:
                start[index[i, k] + 1] += 1
    for j in range(num_context):
        start[j + 1] += start[j]
    place = start[:-1].copy()
    for i in range(index.shape[0]):
        for k in range(index.shape[1]):
            if mask[i, k]:
                j = index[i, k]
                order[place[j]] = i * index.shape[1] + k
                place[j] += 1


@njit(nogil=True, cache=True, fastmath=_MATH)
def gradients_of_context(
    first, last, start, order, k, offset, query, on_own, share_of, slope_of, on_key, on_value
):  # pragma: no cover
    """Adds the gradients of keys and values of a range of context points; ``offset`` is the first query of the chunk."""
    for j in range(first, last):
        for place in range(start[j], start[j + 1]):
            i, column = order[place] // k, order[place] % k
            for h in range(query.shape[1]):
                slope, share = slope_of[i, column, h], share_of[i, column, h]
                for c in range(query.shape[2]):
                    on_key[j, h, c] += slope * query[offset + i, h, c]
                for c in range(on_own.shape[2]):
                    on_value[j, h, c] += share * on_own[offset + i, h, c]
