"""Passes of :class:`geogrid.nn.VoteScorer`, compiled by Numba for processors; arrays in, arrays out, no gradients."""

from __future__ import annotations

import numpy as np
from numba import njit

FAINTEST = np.float32(-50.0)
"""Least exponent: what is fainter would be slow to multiply (denormal numbers)."""


@njit(nogil=True, cache=True, fastmath=True)
def fill_exponents(first, last, offset, rows, voters, exponents, rate):  # pragma: no cover
    """For a range of rows ``rate * |d_ik - d_jl|^2`` of every voter j, ``(num_rows, v, k, k)``."""
    count, dim = offset.shape[1:]
    slope = offset.dtype.type(rate)
    theirs, squares = np.empty((dim, count), dtype=offset.dtype), np.empty(count, dtype=offset.dtype)
    for i in range(first, last):
        own = rows[i]
        for j in range(voters.shape[1]):
            other = voters[i, j]
            for a in range(dim):
                for m in range(count):
                    theirs[a, m] = offset[other, m, a]
            for k in range(count):
                squares[:] = 0
                for a in range(dim):
                    mine = offset[own, k, a]
                    for m in range(count):
                        away = mine - theirs[a, m]
                        squares[m] += away * away
                for m in range(count):
                    exponents[i, j, k, m] = max(slope * squares[m], FAINTEST)


@njit(nogil=True, cache=True, fastmath=True)
def hear(first, last, agreement, shares, voters, distance, weight, bias, slope, least, heard):  # pragma: no cover
    """For a range of rows the mean of what the voters say about each candidate, ``(num_rows, k, hidden)``.

    ``agreement`` is ``(num_rows, v, k, k)`` of the widest of three kernels, ``weight`` ``(3 + 2, hidden)``; no
    agreement below ``least`` is raised to a power.
    """
    count, hidden = agreement.shape[2], weight.shape[1]
    base, told, faint = bias.copy(), bias.copy(), shares.dtype.type(least)
    for i in range(first, last):
        heard[i] = 0
        for j in range(voters.shape[1]):
            word = shares[voters[i, j]]
            total = word.sum()
            for h in range(hidden):
                base[h] = bias[h] + total * weight[3, h] + distance[i, j] * weight[4, h]
            for k in range(count):
                wide, middle, narrow = shares.dtype.type(0), shares.dtype.type(0), shares.dtype.type(0)
                for m in range(count):
                    one = agreement[i, j, k, m]
                    two = max(one, faint)
                    two = two * two
                    two = two * two
                    two = two * two
                    three = max(two, faint)
                    three = three * three
                    three = three * three
                    three = three * three
                    wide += one * word[m]
                    middle += two * word[m]
                    narrow += three * word[m]
                for h in range(hidden):
                    told[h] = base[h] + wide * weight[0, h] + middle * weight[1, h] + narrow * weight[2, h]
                for h in range(hidden):
                    heard[i, k, h] += max(told[h], slope * told[h])
        heard[i] /= voters.shape[1]
