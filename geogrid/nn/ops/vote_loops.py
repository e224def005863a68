"""Passes of :class:`geogrid.nn.VoteScorer`, compiled by Numba for processors; arrays in, arrays out, no gradients."""

from __future__ import annotations

import numpy as np
from numba import njit

FAINTEST = np.float32(-50.0)
"""Least exponent: what is fainter would be slow to multiply (denormal numbers)."""


@njit(nogil=True, cache=True, fastmath=True)
def fill_exponents(first, last, offset, rows, voters, rates, exponents):  # pragma: no cover
    """For a range of rows ``rates_b * |d_ik - d_jl|^2`` of every voter j, ``(num_rows, v, kernels, k, k)``."""
    count, dim = offset.shape[1:]
    for i in range(first, last):
        own = rows[i]
        for j in range(voters.shape[1]):
            other = voters[i, j]
            for k in range(count):
                for m in range(count):
                    squared = offset.dtype.type(0)
                    for a in range(dim):
                        away = offset[own, k, a] - offset[other, m, a]
                        squared += away * away
                    for b in range(len(rates)):
                        exponents[i, j, b, k, m] = max(rates[b] * squared, FAINTEST)


@njit(nogil=True, cache=True, fastmath=True)
def hear(first, last, agreement, shares, voters, distance, weight, bias, slope, heard):  # pragma: no cover
    """For a range of rows the mean of what the voters say about each candidate, ``(num_rows, k, hidden)``.

    ``agreement`` is ``(num_rows, v, kernels, k, k)``, ``weight`` ``(kernels + 2, hidden)``.
    """
    kernels, count = agreement.shape[2:4]
    hidden = weight.shape[1]
    base, told = bias.copy(), bias.copy()
    for i in range(first, last):
        heard[i] = 0
        for j in range(voters.shape[1]):
            word = shares[voters[i, j]]
            total = word.sum()
            for h in range(hidden):
                base[h] = bias[h] + total * weight[kernels, h] + distance[i, j] * weight[kernels + 1, h]
            for k in range(count):
                told[:] = base
                for b in range(kernels):
                    agree = shares.dtype.type(0)
                    for m in range(count):
                        agree += agreement[i, j, b, k, m] * word[m]
                    for h in range(hidden):
                        told[h] += agree * weight[b, h]
                for h in range(hidden):
                    heard[i, k, h] += max(told[h], slope * told[h])
        heard[i] /= voters.shape[1]
