"""Convolution whose kernel is a function of millimetres, on lattices and on scattered points."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch_geometric.nn import MessagePassing

from geogrid.errors import GeogridError
from geogrid.graph import Neighborhood
from geogrid.io.storage import Storage
from geogrid.nn import checks
from geogrid.nn.knot_matrix import KnotMatrix
from geogrid.nn.lattice_kernel import convolve_lattice
from geogrid.nn.stencil import Regular, Stencil
from geogrid.spatial import Grid


class ContinuousConv(MessagePassing):
    r"""Convolution with weights on :math:`3^d` knots, a scale apart: the same weights serve any sampling (Eq. 3).

    .. math:: y_i = \beta + \sum_b W_b \, \hat f(x_i + s\, e_b), \qquad
        \hat f(x_i + s\, e_b) = \sum_j \tilde w_{jb} f_j, \qquad e_b \in \{-1, 0, 1\}^d ,

    where :math:`s` is the ``scale`` in mm. The value :math:`\hat f` at a knot is interpolated from the neighbours with hat
    kernels as wide as the scale or, where it is coarser, the sampling; between slices that are regularly spaced and further
    apart than the scale, with Keys' cubic kernel. It reproduces constants, and linear fields where there are neighbours enough;
    where a knot leaves the data it fades to zero, which is zero padding. :mod:`geogrid.nn.knots` has the formula. Everything is
    continuous in the positions.

    There are three doors. :meth:`forward` takes points; pass a :class:`~geogrid.graph.Neighborhood` for speed (the knots of a
    chunk of queries are filled, then multiplied by all weights at once) or a plain ``edge_index``, which goes through PyG's
    ``propagate``, knot by knot. :meth:`on_knots` takes points that several layers see, whose weights at the knots are made
    once. :meth:`on_grid` takes a batch of lattices. All agree, values and gradients, if points of a lattice are declared
    ``regular``; on a lattice of the scale's spacing each is exactly ``torch.nn.Conv2d`` or ``Conv3d`` with ``padding=1`` and
    the same weights.

    The neighbourhood must hold all points within :meth:`reach` of a query along each axis of the frame. Points beyond it have
    weight zero and do no harm.

    Args:
        in_channels: of the context features.
        out_channels: of the result.
        dim: dimension of space, 2 or 3.
        bias: whether to add a constant per channel.
        chunk_bytes: about how much memory the points' door may use at a time.

    Attributes:
        weight: ``(out_channels, in_channels, 3, ..., 3)``, laid out as in ``torch.nn.Conv2d`` and ``Conv3d``; the kernel's axes
            are the index axes of a :class:`~geogrid.spatial.Grid`, that is, the axes of the frame.
        bias: ``(out_channels,)`` or None.

    Raises:
        GeogridError: for another dimension than 2 or 3.

    Reference:
        Sideri-Lampretsa, Stolt-Ansó et al., "Interpretable deformable image registration: a geometric deep learning
        perspective", arXiv 2412.13294, Eq. 3.

    Example:
        >>> grid = Grid((5, 4), torch.diag(torch.tensor([2.0, 2.0, 1.0])))
        >>> everyone = torch.arange(20).repeat(20, 1)
        >>> neighborhood = Neighborhood(everyone, torch.ones(20, 20, dtype=torch.bool), num_context=20)
        >>> layer = ContinuousConv(3, 8, dim=2)
        >>> x = torch.rand(20, 3)
        >>> y = layer(x, grid.points(), neighborhood, scale=2.0)
        >>> image = layer.on_grid(x.T.reshape(1, 3, 5, 4), grid, scale=2.0)
        >>> torch.allclose(image.reshape(8, 20).T, y, atol=1e-5)
        True
    """

    def __init__(self, in_channels: int, out_channels: int, dim: int, bias: bool = True, chunk_bytes: int = 2**25) -> None:
        super().__init__(aggr="sum")
        if dim not in (2, 3):
            raise GeogridError(f"dim: expected 2 or 3, got {dim}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.dim = dim
        self.chunk_bytes = chunk_bytes
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, *[3] * dim))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights anew, as ``torch.nn.Conv3d`` does."""
        bound = 1 / math.sqrt(max(self.in_channels, 1) * 3**self.dim)
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    @classmethod
    def from_conv(cls, conv: nn.Conv2d | nn.Conv3d) -> ContinuousConv:
        """A layer with (a copy of) the weights of a 3x3 or 3x3x3 convolution.

        Args:
            conv: with kernel size 3, stride 1, dilation 1, one group and zero padding of 1 along every axis.

        Raises:
            GeogridError: for any other convolution.
        """
        checks.check_conv(conv)
        dim = conv.weight.dim() - 2
        layer = cls(conv.in_channels, conv.out_channels, dim, bias=conv.bias is not None).to(conv.weight)
        layer.load_state_dict(conv.state_dict())
        return layer

    def reach(self, scale: float, spacing: float | Sequence[float] | Tensor | None = None, regular: Regular = False) -> Tensor:
        """How far along each axis of the frame a neighbour can matter, ``(dim,)`` in mm: the scale plus the kernel's reach.

        That is the scale, or the spacing where it is wider, or twice the spacing where it is also regular. A ball that holds
        this box has the radius ``layer.reach(scale, spacing).norm()``.

        Args:
            scale: of the level, in mm.
            spacing: of the sampling in mm: one value, one per axis or ``(num_context, dim)``; default the scale.
            regular: as for :meth:`forward`.
        """
        checks.check_scale(scale)
        spacing = torch.as_tensor(scale if spacing is None else spacing, dtype=torch.float64).cpu()
        wide = torch.as_tensor(regular).cpu() & (spacing > scale)
        reach = scale + torch.where(wide, 2 * spacing, spacing.clamp_min(scale))
        return (reach.amax(0) if reach.dim() == 2 else reach).expand(self.dim).clone()

    def forward(
        self,
        x: Tensor,
        pos: Tensor | tuple[Tensor, Tensor],
        neighborhood: Neighborhood | Tensor,
        *,
        scale: float,
        spacing: float | Sequence[float] | Tensor | None = None,
        measure: Tensor | None = None,
        frame: Tensor | None = None,
        regular: Regular = False,
    ) -> Tensor:
        """Convolves features of points.

        Args:
            x: ``(num_context, in_channels)`` features.
            pos: ``(num_points, dim)`` positions in mm, or a pair ``(pos_context, pos_query)``.
            neighborhood: who talks to whom, or an ``edge_index`` ``(2, num_edges)``, row 0 context, row 1 query.
            scale: distance of the knots, in mm.
            spacing: local spacing of the context in mm: one value, one per axis of the frame, or ``(num_context, dim)``.
                Default: ``measure ** (1 / dim)``, or the scale if there is no measure.
            measure: ``(num_context,)`` the volume in mm^dim each context point stands for. Default: the product of the spacing.
            frame: ``(dim, dim)``, or one for each query point ``(num_query, dim, dim)``: unit vectors of the kernel's axes in
                the world, as columns (:attr:`geogrid.spatial.Grid.frame`). Default: the axes of the world.
            regular: the axes of the frame along which context points lie in slices or rows ``spacing`` apart: all or none,
                ``(dim,)`` or ``(num_context, dim)`` bool. Where the spacing of such an axis is wider than the scale, knots are
                filled by cubic interpolation along it, as :meth:`on_grid` does. Where only a density is known, leave it out.

        Returns:
            ``(num_query, out_channels)``. A query point without neighbours gets the bias.

        Raises:
            GeogridError: when shapes, types or devices do not fit together.
        """
        pos_context, pos_query = pos if isinstance(pos, tuple) else (pos, pos)
        self._check(x, pos_context, pos_query, neighborhood, scale, frame)
        stencil = Stencil.of(pos_context, pos_query, scale, spacing, measure, frame, regular)
        if isinstance(neighborhood, Neighborhood):
            out = self._by_table(x, neighborhood, stencil)
        else:
            out = self._by_edges(x, neighborhood, stencil)
        return out if self.bias is None else out + self.bias

    def on_knots(self, x: Tensor, knots: KnotMatrix) -> Tensor:
        """Convolves features of points whose knot weights are known already, as :func:`convolve` keeps them for a level.

        Args:
            x: ``(num_context, in_channels)`` features.
            knots: of these points and their queries.

        Returns:
            ``(num_query, out_channels)``; gradients reach features and weights, not positions.

        Raises:
            GeogridError: when shapes, types or devices do not fit together.
        """
        checks.check_features("x", x, self.in_channels, self.weight)
        knots.check(len(x), self.dim)
        out = knots.convolve(x, self._stacked(self.weight).flatten(0, 1))
        return out if self.bias is None else out + self.bias

    def on_grid(self, x: Tensor, spacing: float | Sequence[float] | Tensor | Grid, *, scale: float) -> Tensor:
        """Convolves values on lattices, by ``torch.nn.functional.conv2d`` or ``conv3d`` with one kernel.

        Where the spacing is not the scale, points in a rim as wide as :meth:`reach` along that axis have kernels of their own,
        so that this door and :meth:`forward` agree at borders too. A spacing much finer than the scale makes large kernels and
        wide rims: pool first.

        Args:
            x: ``(batch, in_channels, *shape)``.
            spacing: mm between points along each axis of ``x``, or the :class:`~geogrid.spatial.Grid` of ``x``. With a grid,
                the kernel's axes are those of the closest canonical (RAS) storage, whatever the storage of ``x``; without one,
                they are the axes of ``x``.
            scale: distance of the knots, in mm.

        Returns:
            ``(batch, out_channels, *shape)``.

        Raises:
            GeogridError: when shapes, types or devices do not fit together.
        """
        checks.check_scale(scale)
        self._check_lattice(x, spacing)
        if isinstance(spacing, Grid):
            storage = Storage(spacing.shape, spacing.affine)
            canonical = storage.to_canonical(x.movedim((0, 1), (-2, -1))).movedim((-2, -1), (0, 1))
            out = self.on_grid(canonical, storage.grid().spacing, scale=scale)
            return storage.from_canonical(out.movedim((0, 1), (-2, -1))).movedim((-2, -1), (0, 1))
        steps = torch.as_tensor(spacing, dtype=torch.float64).cpu().expand(self.dim) / scale
        return convolve_lattice(x, self.weight, self.bias, steps)

    def message(self, x_j: Tensor, weight: Tensor) -> Tensor:
        """What one context point adds to the value at one knot."""
        return weight[:, None] * x_j

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.in_channels}, {self.out_channels}, dim={self.dim}, bias={self.bias is not None})"

    def _by_table(self, x: Tensor, neighborhood: Neighborhood, stencil: Stencil) -> Tensor:
        """Chunk by chunk, nothing kept."""
        tables = 4 if stencil.cubic is None else 8
        row = 3**self.dim * (self.in_channels + tables * neighborhood.k + 24) * x.element_size() + 1
        step = max(1, self.chunk_bytes // row)
        outs = [x.new_zeros(0, self.out_channels)]
        for start in range(0, neighborhood.num_query, step):
            rows = slice(start, start + step)
            table = neighborhood.index[rows], neighborhood.mask[rows]
            outs.append(
                checkpoint(
                    self._fill_knots, x, self.weight, *table, stencil, rows, use_reentrant=False, preserve_rng_state=False
                )
            )
        return torch.cat(outs) if len(outs) > 1 else outs[0]

    def _fill_knots(self, x: Tensor, weight: Tensor, index: Tensor, mask: Tensor, stencil: Stencil, rows: slice) -> Tensor:
        knots = stencil.weights(rows, index, mask).to(x.dtype) @ x[index]
        return knots.flatten(1) @ self._stacked(weight).flatten(0, 1)

    def _by_edges(self, x: Tensor, edge_index: Tensor, stencil: Stencil) -> Tensor:
        weights = stencil.edge_weights(edge_index).to(x.dtype)
        out = x.new_zeros(len(stencil.query), self.out_channels)
        for knot, matrix in enumerate(self._stacked(self.weight)):
            out = out + checkpoint(
                self._one_knot, x, edge_index, weights[:, knot], matrix, len(stencil.query),
                use_reentrant=False, preserve_rng_state=False,
            )  # fmt: skip
        return out

    def _one_knot(self, x: Tensor, edge_index: Tensor, weight: Tensor, matrix: Tensor, num_query: int) -> Tensor:
        value = self.propagate(edge_index, x=x, weight=weight, size=(len(x), num_query))
        return value @ matrix

    def _stacked(self, weight: Tensor) -> Tensor:
        """``(3**dim, in_channels, out_channels)``."""
        return weight.flatten(2).permute(2, 1, 0)

    def _check(
        self, x: Tensor, pos_context: Tensor, pos_query: Tensor, neighborhood: Neighborhood | Tensor, scale: float,
        frame: Tensor | None,
    ) -> None:  # fmt: skip
        checks.check_scale(scale)
        checks.check_features("x", x, self.in_channels, self.weight)
        checks.check_positions("pos_context", pos_context, self.dim, len(x), x.device)
        checks.check_positions("pos_query", pos_query, self.dim, None, x.device)
        if pos_context.dtype != pos_query.dtype:
            raise GeogridError(f"pos: expected context and query of one type, got {pos_context.dtype} and {pos_query.dtype}")
        checks.check_edges(neighborhood, len(x), len(pos_query), x.device)
        if frame is not None:
            checks.check_frame(frame, self.dim, len(pos_query), x.device)

    def _check_lattice(self, x: Tensor, spacing: float | Sequence[float] | Tensor | Grid) -> None:
        sizes = ", ".join("ijk"[: self.dim])
        if x.dim() != self.dim + 2 or x.shape[1] != self.in_channels:
            raise GeogridError(
                f"x: expected (batch, {self.in_channels}, {sizes}) of a {self.dim}-D layer, got {tuple(x.shape)}"
            )
        checks.check_same_kind("x", x, self.weight)
        if isinstance(spacing, Grid):
            if spacing.shape != tuple(x.shape[2:]):
                raise GeogridError(f"grid: expected the shape {tuple(x.shape[2:])} of x, got {spacing.shape}")
            return
        steps = torch.as_tensor(spacing)
        checks.check_positive("spacing", steps, [(), (self.dim,)], steps.device)
