"""Distances in mm between points and where they should be."""

from __future__ import annotations

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.transforms import Transform


def target_registration_error(transform: Transform, fixed_points: Tensor, moving_points: Tensor) -> Tensor:
    r"""Target registration error (TRE) of landmark pairs, :math:`\|T(x_i) - y_i\|`.

    Args:
        transform: maps fixed-space points to moving space.
        fixed_points: ``(num_points, dim)`` landmarks of the fixed image, world mm.
        moving_points: ``(num_points, dim)`` the same landmarks in the moving image, world mm.

    Returns:
        ``(num_points,)`` distances in mm.

    Raises:
        GeogridError: when the lists differ in shape or are not of the transform's dimension.
    """
    _check_points("fixed landmarks", fixed_points, transform.dim)
    if moving_points.shape != fixed_points.shape:
        raise GeogridError(
            f"moving landmarks: expected as many as fixed ones, {tuple(fixed_points.shape)}, got {tuple(moving_points.shape)}; "
            "row i of both lists must be the same landmark"
        )
    distance: Tensor = torch.linalg.vector_norm(transform(fixed_points) - moving_points.to(fixed_points), dim=1)
    return distance


def endpoint_error(transform: Transform, truth: Transform, points: Tensor) -> Tensor:
    r"""Distance between the places to which two transforms send a point, :math:`\|T(x_i) - T^*(x_i)\|`.

    Args:
        transform: the transform to judge.
        truth: the known answer.
        points: ``(num_points, dim)`` fixed-space points, world mm.

    Returns:
        ``(num_points,)`` distances in mm.

    Raises:
        GeogridError: when transforms and points are not of one dimension.
    """
    _check_points("points", points, transform.dim)
    _check_points("points", points, truth.dim)
    distance: Tensor = torch.linalg.vector_norm(transform(points) - truth(points), dim=1)
    return distance


def _check_points(name: str, points: Tensor, dim: int) -> None:
    if points.dim() != 2 or points.shape[1] != dim:
        raise GeogridError(f"{name}: expected shape (num_points, {dim}) for a {dim}-D transform, got {tuple(points.shape)}")
