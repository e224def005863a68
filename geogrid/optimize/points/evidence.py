"""How smooth and how noisy: the marginal likelihood of a fit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.optimize.points.fit import SmoothFit, moments

STIFFNESS = 2.0 ** torch.arange(-4, 5, dtype=torch.float64)
"""Prior precisions that are tried, relative to the configured one."""


@dataclass(frozen=True, eq=False)
class EvidenceFit:
    """The fit whose prior and noise make the matches most likely.

    Args:
        theta: coefficients of the map.
        noise: standard deviation of a match around the map, per axis.
        stiffness: factor on the prior precision.
    """

    theta: Tensor
    noise: float
    stiffness: float


def evidence_fit(fit: SmoothFit, basis: Tensor, displacement: Tensor, weight: Tensor, noises: Tensor) -> EvidenceFit:
    r"""Chooses noise and stiffness by the marginal likelihood of the matches (empirical Bayes).

    With :math:`P = L L^\top` and the eigenvalues :math:`s` of :math:`L^{-1} B^\top W B L^{-\top}` it is, for each axis,

    .. math:: 2 \log p = n \log \beta + \sum_c \log \frac{\alpha}{\alpha + \beta s_c} - \beta |r|_W^2
        + \sum_c \frac{\beta^2 b_c^2}{\alpha + \beta s_c} ,

    so that every pair :math:`\alpha, \beta` costs next to nothing.

    Args:
        fit: the family of maps.
        basis: its rows at the fixed points.
        displacement: ``(num_points, dim)`` of the matches.
        weight: ``(num_points,)`` of the matches, in [0, 1].
        noises: standard deviations to try.

    Reference:
        MacKay, "Bayesian interpolation", Neural Computation 4(3), 1992.
    """
    lower, right = moments(basis, displacement, weight)
    factor = torch.linalg.cholesky(fit.precision)
    half = torch.linalg.solve_triangular(factor, lower + lower.tril(-1).T, upper=False)
    values, vectors = torch.linalg.eigh(torch.linalg.solve_triangular(factor, half.T, upper=False))
    values = values.clamp_min(0)
    turned = vectors.T @ torch.linalg.solve_triangular(factor, right, upper=False)
    beta, alpha = noises.double()[:, None, None] ** -2, STIFFNESS[None, :, None]
    down = alpha + beta * values
    data = beta[..., 0] * ((turned.square().sum(1) * beta / down).sum(-1) - (weight[:, None] * displacement.square()).sum())
    dim = displacement.shape[1]
    score = dim * (weight.sum() * beta[..., 0].log() + (alpha / down).log().sum(-1)) + data
    row, column = divmod(int(score.argmax()), len(STIFFNESS))
    best = turned * (beta[row, 0] / down[row, column])[:, None]
    theta = torch.linalg.solve_triangular(factor.T, vectors @ best, upper=True)
    return EvidenceFit(theta, float(noises[row]), float(STIFFNESS[column]))
