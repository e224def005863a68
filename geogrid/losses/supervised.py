"""Losses where more than intensities is known: displacements, landmarks, labels."""

from __future__ import annotations

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.losses.entries import check_rows, entry_shares, entry_sums


def displacement_loss(
    displacement: Tensor,
    truth: Tensor,
    measure: Tensor,
    scale: float | Tensor,
    batch: Tensor | None = None,
    smoothing: float = 0.01,
) -> Tensor:
    r"""Mean length of the error in units of a scale, rounded off near zero (Charbonnier).

    .. math:: L = \frac{\sum_i v_i \left(\sqrt{|u_i - u_i^*|^2 / s^2 + \delta^2} - \delta\right)}{\sum_i v_i}

    Args:
        displacement: ``(num_points, dim)`` in mm.
        truth: ``(num_points, dim)`` in mm.
        measure: ``(num_points,)`` the volume each point stands for, not negative.
        scale: s in mm, one number or one per point.
        batch: ``(num_points,)`` int64, the entry of each point; given, the mean over the entries of each one's mean.
        smoothing: :math:`\delta`, in units of the scale, below which the loss is quadratic.

    Returns:
        The loss, no unit; 0 for the truth.

    Raises:
        GeogridError: when the shapes do not fit each other, or the scale is not positive.

    Example:
        >>> loss = displacement_loss(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2), torch.ones(1), scale=2.0)
        >>> round(float(loss), 2)
        2.49
    """
    batch = torch.zeros(len(displacement), dtype=torch.int64, device=displacement.device) if batch is None else batch
    check_rows(displacement, truth, "displacement, truth", measure, batch)
    share, weight = entry_shares(measure.to(displacement.dtype), batch)
    return (_charbonnier(displacement - truth, scale, smoothing) * share * weight[batch]).sum()


def landmark_loss(points: Tensor, targets: Tensor, scale: float | Tensor, smoothing: float = 0.01) -> Tensor:
    r"""Mean distance of landmarks from their targets in units of a scale, rounded off near zero as :func:`displacement_loss`.

    Args:
        points: ``(num_landmarks, dim)`` fixed landmarks, carried to moving space, in mm.
        targets: ``(num_landmarks, dim)`` moving landmarks in mm.
        scale: in mm, one number or one per landmark.
        smoothing: distance, in units of the scale, below which the loss is quadratic.

    Returns:
        The loss, no unit; 0 without landmarks.

    Raises:
        GeogridError: when the shapes do not fit each other, or the scale is not positive.

    Example:
        >>> round(float(landmark_loss(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2), scale=1.0)), 2)
        4.99
    """
    return displacement_loss(points, targets, torch.ones_like(points[:, 0]), scale, smoothing=smoothing)


def dice_loss(fixed_onehot: Tensor, warped_onehot: Tensor, measure: Tensor, batch: Tensor) -> Tensor:
    r"""One minus the soft Dice of each label, averaged over the labels present in the fixed entry, then over entries.

    .. math:: D_{bl} = \frac{2 \sum_{i \in b} v_i f_{il} w_{il}}{\sum_{i \in b} v_i (f_{il}^2 + w_{il}^2)}

    Equal shares score 1 even where they are fractions. Leave out the column of the background if it is not to count.

    Args:
        fixed_onehot: ``(num_points, num_labels)`` share of each label, in [0, 1].
        warped_onehot: ``(num_points, num_labels)`` likewise, of the moving labels read at the same points.
        measure: ``(num_points,)`` the volume each point stands for, not negative.
        batch: ``(num_points,)`` int64, the entry of each point.

    Returns:
        The loss, from 0 (all labels agree) to 1; entries without any label are not counted.

    Raises:
        GeogridError: when the shapes do not fit each other.

    Reference:
        Milletari et al., "V-Net", 3DV 2016.

    Example:
        >>> fixed, warped = torch.tensor([[1.0], [1.0], [0.0]]), torch.tensor([[1.0], [0.0], [1.0]])
        >>> dice_loss(fixed, warped, torch.ones(3), torch.zeros(3, dtype=torch.int64))
        tensor(0.5000)
    """
    check_rows(fixed_onehot, warped_onehot, "fixed_onehot, warped_onehot", measure, batch)
    share = entry_shares(measure.to(warped_onehot.dtype), batch)[0][:, None]
    overlap = entry_sums(share * fixed_onehot * warped_onehot, batch)
    of_fixed = entry_sums(share * fixed_onehot.square(), batch)
    size = of_fixed + entry_sums(share * warped_onehot.square(), batch)
    present = (of_fixed > 0).to(size)
    missed = present * (1 - 2 * overlap / size.clamp_min(torch.finfo(size.dtype).tiny))
    labels = present.sum(1)
    return (missed.sum(1) / labels.clamp_min(1)).sum() / (labels > 0).sum().clamp_min(1)


def _charbonnier(error: Tensor, scale: float | Tensor, smoothing: float) -> Tensor:
    if not bool((torch.as_tensor(scale) > 0).all()):
        raise GeogridError(f"scale: expected a positive length in mm, got {scale}")
    squared: Tensor = error.square().sum(1) / torch.as_tensor(scale).to(error) ** 2
    return (squared + smoothing**2).sqrt() - smoothing
