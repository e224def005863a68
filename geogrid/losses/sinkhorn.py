"""Optimal transport between two sets of points, by geomloss."""

from __future__ import annotations

from importlib.util import find_spec

import torch
from torch import Tensor

from geogrid.errors import GeogridError


def sinkhorn_loss(
    points: Tensor, others: Tensor, measure: Tensor | None = None, other_measure: Tensor | None = None, *, blur: float
) -> Tensor:
    r"""The Sinkhorn divergence of two sets of points without correspondences, in mm², 0 for equal ones.

    .. math:: S_\epsilon = \mathrm{OT}_\epsilon(\alpha, \beta) - \tfrac12 \mathrm{OT}_\epsilon(\alpha, \alpha)
        - \tfrac12 \mathrm{OT}_\epsilon(\beta, \beta), \qquad \mathrm{OT}_\epsilon(\alpha, \beta)
        = \min_\pi \int |x - y|^2 \, d\pi + \epsilon \, \mathrm{KL}(\pi \,|\, \alpha \otimes \beta)

    Every point of either side finds its place on the other one, so it suits clouds that show the same thing; a point without a
    partner is carried to a wrong one (:func:`geogrid.optimize.register_points` has an outlier class). Time and memory are those
    of all pairs: a few thousand points on each side.

    Args:
        points: ``(num_points, dim)``, mm.
        others: ``(num_others, dim)``, mm.
        measure: ``(num_points,)`` not negative, what each point stands for; None: all the same. Their sum is taken to be 1.
        other_measure: ``(num_others,)``, likewise.
        blur: mm, the distance below which points are not told apart; :math:`\epsilon` is twice its square.

    Raises:
        GeogridError: without geomloss, or for sets of points that do not fit.

    Reference:
        Feydy et al., "Interpolating between optimal transport and MMD using Sinkhorn divergences", AISTATS 2019.

    Example:
        >>> points = torch.rand(50, 3)
        >>> round(float(sinkhorn_loss(points, points + torch.tensor([3.0, 0.0, 4.0]), blur=0.1)), 1)
        25.0
    """
    if find_spec("geomloss") is None:
        raise GeogridError("sinkhorn_loss: expected the package geomloss, which is missing; pip install 'geogrid[transport]'")
    sides = ("points", points, measure), ("others", others, other_measure)
    shares = [_shares(name, side, of) for name, side, of in sides]
    if points.shape[1] != others.shape[1]:
        raise GeogridError(f"others: expected points in {points.shape[1]}-D as the first ones, got {others.shape[1]}-D")
    if not blur > 0:
        raise GeogridError(f"blur: expected a length in mm above 0, got {blur}")
    from geomloss import SamplesLoss

    divergence = SamplesLoss("sinkhorn", p=2, blur=blur, scaling=0.7, backend="tensorized")
    found: Tensor = 2 * divergence(shares[0], points, shares[1], others)
    return found


def _shares(name: str, points: Tensor, measure: Tensor | None) -> Tensor:
    if points.dim() != 2 or not len(points):
        raise GeogridError(f"{name}: expected (num_points, dim) and at least one point, got {tuple(points.shape)}")
    measure = torch.ones_like(points[:, 0]) if measure is None else measure.to(points)
    if measure.shape != points.shape[:1] or bool((measure < 0).any()) or not bool(measure.sum() > 0):
        raise GeogridError(
            f"measure of {name}: expected {len(points)} numbers from 0 up, some above, got {tuple(measure.shape)}"
        )
    return measure / measure.sum()
