"""How different two intensities are at the same points, on any sampling."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.losses.entries import check_rows, entry_shares, entry_sums
from geogrid.losses.lncc import LocalCorrelation
from geogrid.losses.mind import SelfSimilarity
from geogrid.losses.nmi import BINS, MutualInformation
from geogrid.losses.similarity import ImageLoss
from geogrid.spatial import Grid, PointCloud


def mse_loss(fixed: Tensor, warped: Tensor, measure: Tensor, batch: Tensor) -> Tensor:
    r"""Mean squared difference of each entry, averaged over the entries.

    .. math:: L = \frac{1}{B} \sum_b \frac{\sum_{i \in b} v_i |f_i - w_i|^2 / C}{\sum_{i \in b} v_i}

    with measures v, C channels and B entries. An entry without points, or without measure, is not counted.

    Args:
        fixed: ``(num_points, channels)`` intensities.
        warped: ``(num_points, channels)`` moving intensities at the same points.
        measure: ``(num_points,)`` the volume each point stands for, not negative; only ratios within an entry matter.
        batch: ``(num_points,)`` int64, the entry of each point.

    Returns:
        The loss, 0 where both are equal; squared unit of the intensities.

    Raises:
        GeogridError: when the shapes do not fit each other.

    Example:
        >>> fixed, warped = torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[2.0], [1.0], [8.0]])
        >>> mse_loss(fixed, warped, torch.tensor([1.0, 3.0, 1.0]), torch.tensor([0, 0, 1]))
        tensor(5.)
    """
    check_rows(fixed, warped, "fixed, warped", measure, batch)
    share, weight = entry_shares(measure.to(warped.dtype), batch)
    return ((fixed - warped).square().mean(1) * share * weight[batch]).sum()


def ncc_loss(fixed: Tensor, warped: Tensor, measure: Tensor, batch: Tensor, floor: float = 0.01) -> Tensor:
    r"""One minus the correlation of each entry, averaged over channels and entries.

    With measure-weighted means over an entry, covariance c and variances :math:`v_f, v_w`,

    .. math:: L = 1 - \frac{c + \varepsilon}{\sqrt{(v_f + \varepsilon)(v_w + \varepsilon)}} .

    Neither a shift of the intensities nor a factor above zero changes it, up to the floor :math:`\varepsilon`, which makes two
    flat images a match. An entry without points, or without measure, is not counted.

    Args:
        fixed: ``(num_points, channels)`` intensities.
        warped: ``(num_points, channels)`` moving intensities at the same points.
        measure: ``(num_points,)`` the volume each point stands for, not negative; only ratios within an entry matter.
        batch: ``(num_points,)`` int64, the entry of each point.
        floor: standard deviation :math:`\sqrt\varepsilon`, in intensity units, below which an image counts as flat.

    Returns:
        The loss, from 0 (perfectly correlated) over 1 (not at all) to 2 (inverted).

    Raises:
        GeogridError: when the shapes do not fit each other.

    Example:
        >>> fixed = torch.rand(50, 1, generator=torch.Generator().manual_seed(0))
        >>> loss = ncc_loss(fixed, 3 * fixed + 1, torch.ones(50), torch.zeros(50, dtype=torch.int64), floor=1e-4)
        >>> round(abs(float(loss)), 4)
        0.0
    """
    check_rows(fixed, warped, "fixed, warped", measure, batch)
    share, weight = entry_shares(measure.to(warped.dtype), batch)
    share = share[:, None]
    fixed = fixed - entry_sums(share * fixed, batch)[batch]
    warped = warped - entry_sums(share * warped, batch)[batch]
    products = torch.stack([fixed * warped, fixed.square(), warped.square()], 2)
    covariance, of_fixed, of_warped = (entry_sums(share[:, None] * products, batch) + floor**2).unbind(2)
    return ((1 - covariance / (of_fixed * of_warped).sqrt()).mean(1) * weight).sum()


def lncc_loss(fixed: PointCloud, warped: Tensor, radius: float, floor: float = 0.01, stride: int = 2) -> Tensor:
    """The squared local correlation of each entry (:class:`LocalCorrelation`), averaged over channels and entries.

    Windows weigh as much as the point at their centre stands for. Entries are taken one by one.

    Args:
        fixed: lattices with intensities.
        warped: ``(num_points, channels)`` moving intensities at the same points.
        radius: half width of a window in mm.
        floor: standard deviation, in intensity units, below which a window counts as flat.
        stride: points from window to window, 1 or 2.

    Returns:
        The loss, from -1 (a match in every window) to 0.

    Raises:
        GeogridError: for scattered points, for fixed points without features, and when the shapes do not fit each other.

    Example:
        >>> from geogrid.spatial import Grid
        >>> values = torch.rand(72, 1, generator=torch.Generator().manual_seed(0))
        >>> cloud = PointCloud.on_lattices([Grid((9, 8), torch.eye(3))], values)
        >>> round(float(lncc_loss(cloud, 3 * values + 1, radius=2.0, floor=1e-4)), 3)
        -1.0
    """
    return _over_lattices(
        fixed, warped, "lncc", lambda f, grid, w: LocalCorrelation(f, grid.spacing.tolist(), radius, w, floor, stride)
    )


def mind_loss(fixed: PointCloud, warped: Tensor, offset: float, radius: float, floor: float = 0.01, stride: int = 2) -> Tensor:
    """The mean squared difference of the self-similarity descriptors (:class:`SelfSimilarity`), over channels and entries.

    Descriptors weigh as much as the point at their centre stands for. Entries are taken one by one.

    Args:
        fixed: lattices with intensities.
        warped: ``(num_points, channels)`` moving intensities at the same points.
        offset: distance in mm of the neighbours that are compared.
        radius: half width of a patch in mm.
        floor: standard deviation, in intensity units, below which a place counts as flat.
        stride: points from descriptor to descriptor, 1 or 2.

    Returns:
        The loss, from 0 (the same descriptors everywhere) to below 1.

    Raises:
        GeogridError: for scattered points, for fixed points without features, and when the shapes do not fit each other.

    Example:
        >>> from geogrid.spatial import Grid
        >>> values = torch.rand(72, 1, generator=torch.Generator().manual_seed(0))
        >>> cloud = PointCloud.on_lattices([Grid((9, 8), torch.eye(3))], values)
        >>> round(float(mind_loss(cloud, 1 - 3 * values, offset=2.0, radius=1.0, floor=1e-4)), 3)
        0.0
    """
    return _over_lattices(
        fixed, warped, "mind", lambda f, grid, w: SelfSimilarity(f, grid.spacing.tolist(), offset, radius, w, floor, stride)
    )


def nmi_loss(fixed: Tensor, warped: Tensor, measure: Tensor, batch: Tensor, bins: int = BINS) -> Tensor:
    """The normalised mutual information of each entry (:class:`MutualInformation`), averaged over channels and entries.

    Entries are taken one by one; one without points, or without measure, is not counted.

    Args:
        fixed: ``(num_points, channels)`` intensities in about [0, 1]; what lies beyond counts as 0 or 1.
        warped: ``(num_points, channels)`` moving intensities at the same points, likewise.
        measure: ``(num_points,)`` the volume each point stands for, not negative; only ratios within an entry matter.
        batch: ``(num_points,)`` int64, sorted: the entry of each point.
        bins: of each image, 2 or more.

    Returns:
        The loss, from -1 (each intensity tells the other's) to 0 (neither tells anything).

    Raises:
        GeogridError: when the shapes do not fit each other.

    Example:
        >>> fixed = torch.rand(500, 1, generator=torch.Generator().manual_seed(0))
        >>> measure, batch = torch.ones(500), torch.zeros(500, dtype=torch.int64)
        >>> bool(nmi_loss(fixed, 1 - fixed, measure, batch) < 0.5 * nmi_loss(fixed, fixed.roll(9, 0), measure, batch))
        True
    """
    check_rows(fixed, warped, "fixed, warped", measure, batch)
    share, weight = entry_shares(measure.to(warped.dtype), batch)
    counts = torch.bincount(batch, minlength=len(weight)).tolist()
    parts = zip(fixed.split(counts), warped.split(counts), share.split(counts), weight, strict=True)
    total = warped.new_zeros(())
    for f, w, measured, counted in parts:
        for one, other in zip(f.T, w.T, strict=True):
            total = total + counted / fixed.shape[1] * MutualInformation(one, measured, bins)(other)
    return total


def _over_lattices(
    fixed: PointCloud, warped: Tensor, name: str, loss_of: Callable[[Tensor, Grid, Tensor], ImageLoss]
) -> Tensor:
    """The mean over entries and channels of a loss that is made of an image, its lattice and a weight."""
    if not fixed.is_lattice or fixed.x is None:
        raise GeogridError(f"{name}: expected fixed points on lattices with intensities, got others; use ncc_loss or mse_loss")
    check_rows(fixed.x, warped, "fixed, warped", fixed.measure)
    _, weight = entry_shares(fixed.measure, fixed.batch)
    counts = fixed.counts().tolist()
    parts = zip(fixed.x.split(counts), warped.split(counts), fixed.measure.split(counts), fixed.lattices, strict=True)
    total = warped.new_zeros(())
    for (f, w, measure, grid), share in zip(parts, weight, strict=True):
        fixed_image, image = (rows.T.reshape(-1, *grid.shape) for rows in (f, w))
        volume = (measure / measure.max().clamp_min(1e-12)).to(warped.dtype).reshape(grid.shape)
        for one, other in zip(fixed_image, image, strict=True):
            total = total + share * loss_of(one, grid, volume)(other) / len(image)
    return total
