"""Votes of neighbours, compiled by Numba for processors; arrays in, arrays out."""

from __future__ import annotations

import numpy as np
from numba import njit

FAINTEST = np.float32(-50.0)
"""Least exponent: what is fainter would be slow to multiply (denormal numbers)."""


@njit(nogil=True, cache=True, fastmath=True)
def fill_exponents(first, last, offset, voters, rate, exponents):  # pragma: no cover
    """For a range of points ``rate * |d_ik - d_jl|^2`` of every voter j, ``(num_fixed, v, k, k)``."""
    count, dim = offset.shape[1:]
    theirs, squares = np.empty((dim, count), dtype=offset.dtype), np.empty(count, dtype=offset.dtype)
    for i in range(first, last):
        for j in range(voters.shape[1]):
            other, slope = voters[i, j], rate[i, j]
            for a in range(dim):
                for m in range(count):
                    theirs[a, m] = offset[other, m, a]
            for k in range(count):
                squares[:] = 0
                for a in range(dim):
                    mine = offset[i, k, a]
                    for m in range(count):
                        away = mine - theirs[a, m]
                        squares[m] += away * away
                for m in range(count):
                    exponents[i, j, k, m] = max(slope * squares[m], FAINTEST)


@njit(nogil=True, cache=True, fastmath=True)
def fill_words(first, last, support, gain, voters, shares, words):  # pragma: no cover
    """For a range of points the sum over their voters of ``log(1 + gain_j sum_l support_kl shares_jl)``, ``(num_fixed, k)``."""
    count = shares.shape[1]
    product = np.empty(count)
    for i in range(first, last):
        product[:] = 1
        words[i] = 0
        for j in range(voters.shape[1]):
            other = voters[i, j]
            for k in range(count):
                heard = shares.dtype.type(0)
                for m in range(count):
                    heard += support[i, j, k, m] * shares[other, m]
                product[k] *= 1 + gain[i, j] * heard
                if product[k] > 1e200:
                    words[i, k] += np.log(product[k])
                    product[k] = 1
        for k in range(count):
            words[i, k] += np.log(product[k])
