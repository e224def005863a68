"""Overlap of label maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from geogrid.errors import GeogridError

_WIDEST_TABLE = 1 << 20


def dice(fixed_labels: Tensor, warped_labels: Tensor, labels: Sequence[int] | None = None) -> dict[int, float]:
    r"""Dice coefficient of every label, :math:`2 |F \cap W| / (|F| + |W|)`.

    A label that only one map contains scores 0; a label that neither contains is left out.

    Args:
        fixed_labels: ``(*shape)`` integers, 2-D or 3-D (integral floats are accepted).
        warped_labels: ``(*shape)``, the moving labels on the fixed grid.
        labels: which labels to score; by default every label of either map except the background 0.

    Returns:
        Label to score in [0, 1], in ascending order of the label, or in the order of ``labels``.

    Raises:
        GeogridError: when the shapes differ or values are not whole numbers.

    Example:
        >>> dice(torch.tensor([[0, 1, 1, 2]]), torch.tensor([[0, 0, 1, 3]]))
        {1: 0.6666666666666666, 2: 0.0, 3: 0.0}
    """
    if fixed_labels.shape != warped_labels.shape:
        raise GeogridError(
            f"labels: expected two maps of the same shape, got {tuple(fixed_labels.shape)} and "
            f"{tuple(warped_labels.shape)}; warp the moving labels onto the fixed grid first"
        )
    values, fixed, warped = _compacted(_integers(fixed_labels), _integers(warped_labels))
    common = torch.bincount(fixed[fixed == warped], minlength=len(values))
    total = torch.bincount(fixed, minlength=len(values)) + torch.bincount(warped, minlength=len(values))
    present = total.nonzero()[:, 0]
    score = (2 * common[present].double() / total[present]).tolist()
    scores = dict(zip(values[present].tolist(), score, strict=True))
    if labels is None:
        return {label: value for label, value in scores.items() if label != 0}
    return {int(label): scores[int(label)] for label in labels if int(label) in scores}


def mean_dice(fixed_labels: Tensor, warped_labels: Tensor, labels: Sequence[int] | None = None) -> float:
    """Mean of :func:`dice` over its labels, each counted once whatever its size.

    Raises:
        GeogridError: when no label is left to score, and as :func:`dice` does.
    """
    scores = dice(fixed_labels, warped_labels, labels)
    if not scores:
        raise GeogridError("mean Dice: neither map contains any of the labels; pass label maps with values other than 0")
    return sum(scores.values()) / len(scores)


def _integers(labels: Tensor) -> Tensor:
    whole = labels.reshape(-1).long()
    if labels.is_floating_point() and not torch.equal(whole.to(labels.dtype), labels.reshape(-1)):
        raise GeogridError("labels: expected whole numbers, got fractions; resample label maps with `label` interpolation")
    return whole


def _compacted(fixed: Tensor, warped: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A table of label values, and both maps as positions in it; sorting is left for values far apart."""
    if fixed.numel() == 0:
        return fixed, fixed, warped
    low = int(torch.minimum(fixed.min(), warped.min()))
    high = int(torch.maximum(fixed.max(), warped.max()))
    if high - low < _WIDEST_TABLE:
        return torch.arange(low, high + 1, device=fixed.device), fixed - low, warped - low
    values, position = torch.cat([fixed, warped]).unique(return_inverse=True)
    return values, position[: len(fixed)], position[len(fixed) :]
