"""What keeps a displacement of scattered points smooth and unfolded, in physical units."""

from __future__ import annotations

import torch
from torch import Tensor

from geogrid.graph import knn
from geogrid.graph.pooling import own_positions
from geogrid.losses.entries import entry_shares
from geogrid.spatial import PointCloud
from geogrid.transforms.jacobian import determinant

NEIGHBORS = {2: 8, 3: 14}
RIDGE, TINY = 1e-6, 1e-24


class Slopes:
    r"""The derivatives of values at scattered points, from the affine map that fits their nearest neighbours best.

    Point i has the :math:`k` nearest points of its entry as neighbours (8 in 2-D, 14 in 3-D; distances in units of the spacing,
    so that thick slices have neighbours on other slices) with offsets :math:`d_{ij}`, and the Jacobian

    .. math:: J_i = \arg\min_J \sum_j |u_j - u_i - J d_{ij}|^2 + \epsilon |J|^2 .

    Affine values have their own slope everywhere, up to :math:`\epsilon`, a millionth of the mean squared offset; along axes in
    which the neighbours do not spread the slope is 0. Points that lie on each other are no neighbours.

    Args:
        points: scattered points or lattices.
    """

    def __init__(self, points: PointCloud) -> None:
        dim = points.dim
        own = own_positions(points) / points.spacing.to(points.pos)[points.batch]
        table = knn(own, own, NEIGHBORS[dim] + 1, batch_context=points.batch, batch_query=points.batch)
        self.index = table.index
        offsets = (own[table.index] - own[:, None]).double()
        self.near = table.mask & (offsets.square().sum(-1) > 0)
        self.offsets = offsets * self.near[..., None]
        gram = self.offsets.mT @ self.offsets
        spread = gram.diagonal(dim1=1, dim2=2).mean(1).clamp_min(TINY)
        gram = gram + RIDGE * spread[:, None, None] * torch.eye(dim).to(gram)
        self.weights = torch.linalg.solve(gram, self.offsets.mT)
        self.frame = points.frame.to(self.weights)[points.batch]
        self.spacing = points.spacing.to(self.weights)[points.batch]
        self.squares = (self.spacing[:, None] * self.offsets).square().sum(-1)

    def __call__(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """The slopes of values, and what they leave.

        Args:
            values: ``(num_points, dim)`` in mm along the world axes.

        Returns:
            ``(num_points, dim, dim)`` the derivative of component a along world axis b, and ``(num_points,)`` the mean over the
            neighbours of :math:`|u_j - u_i - J d_{ij}|^2 / |d_{ij}|^2`.
        """
        changes = (values[self.index] - values[:, None]).double() * self.near[..., None]
        own = self.weights @ changes
        rest = (changes - self.offsets @ own).square().sum(-1) / self.squares.clamp_min(TINY)
        slope = (self.frame @ (own / self.spacing[..., None])).mT
        return slope.to(values), (rest.sum(1) / self.near.sum(1).clamp_min(1)).to(values)


def scattered_smoothness_loss(
    displacement: Tensor, points: PointCloud, diffusion: float, folding: float, folding_margin: float
) -> Tensor:
    r"""The smoothness of a displacement of scattered points, no unit; the mean over the entries.

    With the slopes :math:`J_i` and residuals :math:`r_i` of :class:`Slopes`, means by measure over the points of an entry of

    .. math:: \lambda (|J_i|_F^2 + \dim \cdot r_i) + \mu \max(0, m - \det(I + J_i))^2 .

    For affine displacements both are what :func:`diffusion_loss` and :func:`folding_loss` give on lattices. What changes from
    one point to the next counts in the first, through the residual; the second sees folds that reach over a neighbourhood.

    Args:
        displacement: ``(num_points, dim)`` mm along the world axes.
        points: where it is given.
        diffusion: weight :math:`\lambda` of the first.
        folding: weight :math:`\mu` of the second.
        folding_margin: :math:`m`.

    Example:
        >>> points = PointCloud.from_points(torch.rand(50, 2), torch.ones(50))
        >>> stretched = scattered_smoothness_loss(0.5 * points.pos, points, 1.0, 0.0, 0.3)
        >>> round(float(stretched), 3)
        0.5
    """
    slope, rest = Slopes(points)(displacement)
    shares, weights = entry_shares(points.measure, points.batch)
    terms = torch.zeros_like(rest)
    if diffusion:
        terms = terms + diffusion * (slope.square().sum((1, 2)) + points.dim * rest)
    if folding:
        volume = determinant(slope + torch.eye(points.dim).to(slope))
        terms = terms + folding * (folding_margin - volume).clamp_min(0).square()
    return (terms * shares * weights[points.batch]).sum()
