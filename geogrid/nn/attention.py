"""Cross-attention between points in space."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

import torch
from torch import Tensor
from torch.nn import Linear, Parameter, init
from torch.nn.functional import normalize
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import softmax

from geogrid.errors import GeogridError
from geogrid.graph import Neighborhood
from geogrid.nn import checks, taper
from geogrid.nn.cost import knot_weights, normalized
from geogrid.nn.fourier import fourier_features, turn
from geogrid.nn.functional import neighbor_attention

QUIET = 0.1


class AttentionOutput(NamedTuple):
    """What a layer of attention gives when more than the update is asked for; parts that were not asked for are None.

    Args:
        update: ``(num_query, out_channels)``, zero for a query without neighbours.
        coverage: ``(num_query,)`` in [0, 1], the factor in the update: 0 without neighbours, 1 well inside the data.
        weights: ``(num_query, k, heads)`` of a table, ``(num_edges, heads)`` of an ``edge_index``; per head the sum over a
            query's neighbours is 1, or 0 where there are none.
        offset: ``(num_query, heads, dim)`` mm, the expected relative position times the coverage.
        cost: ``(num_query, heads, 3^dim)`` continuous cost volume, the last axis of the knots fastest.
    """

    update: Tensor
    coverage: Tensor
    weights: Tensor | None = None
    offset: Tensor | None = None
    cost: Tensor | None = None


class NeighborAttention(MessagePassing):
    r"""Multi-head cross-attention with relative Fourier features, over neighbours in space.

    With :math:`r = (x_j - x_i) / s`, :math:`\gamma(r) = [\sin(rB), \cos(rB)]`, measure :math:`\mu_j` and taper :math:`t`,

    .. math::
        l_{ij} &= \tfrac{1}{\sqrt d}\, (W_q f_i) \cdot (W_k f_j + P_k \gamma(r)), \\
        a_{ij} &= t(|r|)\, \mu_j\, e^{l_{ij}} \Big/ \sum_{j'} t(|r|)\, \mu_{j'}\, e^{l_{ij'}}, \\
        \mathrm{out}_i &= c_i \sum_j a_{ij}\, (W_v f_j + P_v \gamma(r)),

    per head, heads concatenated. The angle-difference identities split the position terms into terms of one point each, so
    work over edges is one dot product and one weighted sum, without approximation. With ``cosine`` the first product becomes
    :math:`\tau\, \widehat{W_q f_i} \cdot \widehat{W_k f_j}` of unit vectors with a learned temperature per head. The factor
    :math:`c_i` is 1 unless all neighbours are close to the rim, where it fades to 0: the update is a continuous function of all
    positions. A query without neighbours gets zero.

    A :class:`~geogrid.graph.Neighborhood` is served by the fused operation
    :func:`~geogrid.nn.neighbor_attention`, an ``edge_index`` by PyG's ``propagate``; both give the same.

    Args:
        in_channels: of context and query, or one number for both.
        out_channels: a multiple of ``heads``.
        dim: 2 or 3.
        heads: number of heads.
        key_channels: width of queries and keys over all heads, a multiple of ``heads``; default ``out_channels``.
        num_frequencies: m, columns of B, drawn once from a normal distribution and kept as a buffer.
        frequency_scale: standard deviation of B in radians per scale.
        radius: in units of the scale, where the smooth taper reaches 0; None for none (neighbours leave with a jump). The
            neighbourhood must cover it.
        cosine: whether the logits compare directions of features.
        temperature: factor on the cosine at the start.
        tied: start with :math:`W_q = W_k`, orthogonal, and a tenth of the usual position terms: the untrained layer is a
            matcher. Needs equal in_channels.
        bias: whether :math:`W_q` and :math:`W_v` have one.
        memory: bytes that the temporary tables of the fused operation may take; default by the device, see
            :func:`~geogrid.nn.functional.neighbor_attention`.
        generator: source of the random start.

    Raises:
        GeogridError: for channels or options that do not fit.

    Reference:
        Sideri-Lampretsa et al., Interpretable deformable image registration: a geometric deep learning perspective,
        arXiv 2412.13294, Eq. 4-7.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> layer = NeighborAttention(8, 16, dim=3, heads=4, radius=2.0, generator=generator)
        >>> x, pos = torch.rand(5, 8, generator=generator), torch.rand(5, 3, generator=generator)
        >>> edge_index = torch.cartesian_prod(torch.arange(5), torch.arange(2)).T
        >>> layer((x, x[:2]), (pos, pos[:2]), edge_index, scale=1.0).shape
        torch.Size([2, 16])
        >>> table = Neighborhood.from_edge_index(edge_index, num_context=5, num_query=2)
        >>> found = layer((x, x[:2]), (pos, pos[:2]), table, return_offset=True, return_cost=True)
        >>> found.offset.shape, found.cost.shape
        (torch.Size([2, 4, 3]), torch.Size([2, 4, 27]))
    """

    frequencies: Tensor

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        dim: int,
        heads: int = 1,
        key_channels: int | None = None,
        num_frequencies: int = 16,
        frequency_scale: float = 1.0,
        radius: float | None = None,
        cosine: bool = False,
        temperature: float = 30.0,
        tied: bool = False,
        bias: bool = True,
        memory: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(aggr="add", node_dim=0)
        self.in_channels = (in_channels, in_channels) if isinstance(in_channels, int) else in_channels
        self.out_channels, self.dim, self.heads = out_channels, dim, heads
        self.key_channels = out_channels if key_channels is None else key_channels
        self.frequency_scale, self.radius, self.memory = frequency_scale, radius, memory
        self.cosine, self.temperature, self.tied = cosine, temperature, tied
        self._check_options()
        self.register_buffer("frequencies", torch.empty(dim, num_frequencies))
        self.lin_query = Linear(self.in_channels[1], self.key_channels, bias=bias)
        self.lin_key = Linear(self.in_channels[0], self.key_channels, bias=False)
        self.lin_value = Linear(self.in_channels[0], out_channels, bias=bias)
        self.position_key = Parameter(torch.empty(heads, self.key_channels // heads, 2 * num_frequencies))
        self.position_value = Parameter(torch.empty(heads, 2 * num_frequencies, out_channels // heads))
        self.log_temperature = Parameter(torch.empty(heads)) if cosine else None
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draws frequencies and weights anew."""
        super().reset_parameters()
        init.normal_(self.frequencies, std=self.frequency_scale, generator=generator)
        for linear in (self.lin_query, self.lin_key, self.lin_value):
            init.xavier_uniform_(linear.weight, generator=generator)
            if linear.bias is not None:
                init.zeros_(linear.bias)
        if self.tied:
            init.orthogonal_(self.lin_key.weight, generator=generator)
            with torch.no_grad():
                self.lin_query.weight.copy_(self.lin_key.weight)
        bound = math.sqrt(3 / self.position_key.shape[2])
        quiet = QUIET if self.tied else 1.0
        init.uniform_(self.position_key, -quiet * bound, quiet * bound, generator=generator)
        init.uniform_(self.position_value, -bound, bound, generator=generator)
        if self.log_temperature is not None:
            init.constant_(self.log_temperature, math.log(self.temperature))

    def forward(
        self,
        x: Tensor | tuple[Tensor, Tensor],
        pos: Tensor | tuple[Tensor, Tensor],
        neighborhood_or_edge_index: Neighborhood | Tensor,
        log_measure: Tensor | None = None,
        return_attention: bool = False,
        *,
        scale: float = 1.0,
        frame: Tensor | None = None,
        spacing: Sequence[float] | None = None,
        return_offset: bool = False,
        return_cost: bool = False,
    ) -> Tensor | AttentionOutput:
        """The update of every query point.

        Args:
            x: ``(num_context, in_channels[0])`` and ``(num_query, in_channels[1])`` features; one tensor serves as both.
            pos: their positions ``(num_points, dim)`` in mm; one tensor serves as both.
            neighborhood_or_edge_index: a table, or ``(2, num_edges)`` with the context in row 0 and the query in row 1.
            log_measure: ``(num_context,)``, log of ``v_j / scale^dim`` with v_j the volume in mm^dim that a point stands for.
            return_attention: whether the weights are wanted.
            scale: the level's scale in mm, the unit of radius, frequencies and knots.
            frame: ``(dim, dim)`` unit vectors as columns, in whose axes the layer computes; default the world's.
            spacing: mm between context points along each axis of the frame; where it is wider than the scale, so are the
                hats of the cost volume.
            return_offset: whether the expected relative position is wanted.
            return_cost: whether the cost volume is wanted. It is complete where the radius reaches one scale plus one width
                along each axis; a smaller radius leaves knots with fewer neighbours.

        Returns:
            The update ``(num_query, out_channels)``, or an :class:`AttentionOutput` when more is asked for.

        Raises:
            GeogridError: for shapes, types, devices or edges that do not fit.
        """
        x, pos = _pair(x), _pair(pos)
        edges = neighborhood_or_edge_index
        self._check_inputs(x, pos, edges, log_measure, scale, frame)
        dtype = torch.float64 if x[1].dtype == torch.float64 else torch.float32
        local = self._local(pos, scale, frame)
        waves = (self._wave(local[0], dtype), self._wave(local[1], dtype))
        places = (local[0].to(dtype), local[1].to(dtype))
        weights = (self.position_key.to(dtype), self.position_value.to(dtype))
        parts = (self._queries(x[1], dtype), *self._keys_values(x[0], dtype), waves, weights, places)
        measure = None if log_measure is None else log_measure.to(dtype)
        options: dict[str, Any] = {
            "cost_width": self._cost_width(scale, spacing) if return_cost else None,
            "return_offset": return_offset,
            "return_weights": return_attention,
        }
        if isinstance(edges, Neighborhood):
            found = neighbor_attention(*parts, edges, measure, radius=self.radius, memory=self.memory, **options)
        else:
            with torch.autocast(x[1].device.type, enabled=False):
                found = self._propagate(*parts, edges, measure, **options)
        update = found[0].flatten(1).to(x[1].dtype)
        if not (return_attention or return_offset or return_cost):
            return update
        offset = self._to_world(found[2], scale, frame).to(pos[1].dtype)
        wanted = zip((return_attention, return_offset, return_cost), (found[4], offset, found[3]), strict=True)
        return AttentionOutput(update, found[1], *(part if asked else None for asked, part in wanted))

    def edge_update(
        self, query_i: Tensor, key_j: Tensor, wave_j: Tensor, place_i: Tensor, place_j: Tensor, log_measure_j: Tensor,
        cost_width: Optional[list[float]], index: Tensor, size_i: Optional[int],  # noqa: UP045 (PyG reads these)
    ) -> Tensor:  # fmt: skip
        """Per edge: weights of the heads, taper, and what the cost volume sums."""
        own = key_j.shape[2]
        logits = (query_i[..., :own] * key_j).sum(-1) + (query_i[..., own:] * wave_j[:, None]).sum(-1)
        rel = place_j - place_i
        share = torch.ones_like(rel[:, :1])
        near = share
        if self.radius is not None:
            share = taper.inside(rel.square().sum(-1, keepdim=True), self.radius)
            near = taper.rim(share)
        base = log_measure_j[:, None] + 2 * share.clamp_min(torch.finfo(share.dtype).tiny).log()
        biased = torch.where(share > 0, logits + base, torch.full_like(logits, -1e30))
        parts = [softmax(biased, index, num_nodes=size_i) * (share > 0), share.square()]
        if cost_width:
            masses = knot_weights(rel, cost_width) * near * log_measure_j.exp()[:, None]
            parts += [masses, (logits[..., None] * masses[:, None]).flatten(1)]
        return torch.cat(parts, 1)

    def message(self, value_j: Tensor, shared_j: Tensor, edge: Tensor) -> Tensor:
        """Weighted values, and what else is summed."""
        weights, rest = edge[:, : self.heads], edge[:, self.heads :]
        values = torch.cat([value_j, shared_j[:, None].expand(-1, self.heads, -1)], -1)
        return torch.cat([(weights[..., None] * values).flatten(1), rest], 1)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.in_channels}, {self.out_channels}, dim={self.dim}, heads={self.heads})"

    def _propagate(
        self, queries: tuple[Tensor, Tensor], key: Tensor, value: Tensor, waves: tuple[Tensor, Tensor],
        position_weights: tuple[Tensor, Tensor], places: tuple[Tensor, Tensor], edge_index: Tensor, log_measure: Tensor | None,
        cost_width: Sequence[float] | None, return_offset: bool, return_weights: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        """What the fused operation returns, by PyG's generic way."""
        size = (len(key), len(waves[1]))
        wave = waves[1][:, None]
        asked = torch.einsum("nhd,hdm->nhm", queries[1], position_weights[0])
        query = torch.cat([queries[0], turn(asked, wave, forward=True)], 2)
        shared = torch.cat([waves[0], places[0]], 1)
        measure = key.new_zeros(size[0]) if log_measure is None else log_measure
        edge = self.edge_updater(
            edge_index, size=size, query=(key.new_zeros(size[0], 0), query), key=(key, None), wave=(waves[0], None),
            place=places, log_measure=(measure, None), cost_width=cost_width,
        )  # fmt: skip
        total = self.propagate(edge_index, size=size, value=(value, None), shared=(shared, None), edge=edge)
        widths = (value.shape[2], wave.shape[2], self.dim)
        knots = 3**self.dim if cost_width else 0
        sums, tapers, reached, cost = total.split([self.heads * sum(widths), 1, knots, self.heads * knots], 1)
        covered = taper.coverage(tapers[:, 0])
        own, waved, place = (sums.unflatten(1, (self.heads, sum(widths))) * covered[:, None, None]).split(widths, 2)
        update = own + torch.einsum("nhm,hmd->nhd", turn(waved, wave, forward=False), position_weights[1])
        offset = place - (covered[:, None] * places[1])[:, None]
        return (
            update,
            covered,
            offset,
            normalized(cost.unflatten(1, (self.heads, knots)), reached[:, None]),
            edge[:, : self.heads],
        )

    def _queries(self, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """What is compared with the keys, and what asks for positions."""
        raw = self._heads(self.lin_query(x), dtype)
        probe = raw / math.sqrt(raw.shape[2])
        if self.log_temperature is None:
            return probe, probe
        return normalize(raw, dim=2) * self.log_temperature.to(dtype).exp()[:, None], probe

    def _keys_values(self, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        key = self._heads(self.lin_key(x), dtype)
        return (normalize(key, dim=2) if self.cosine else key), self._heads(self.lin_value(x), dtype)

    def _heads(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        return x.to(dtype).view(len(x), self.heads, x.shape[1] // self.heads)

    def _local(self, pos: tuple[Tensor, Tensor], scale: float, frame: Tensor | None) -> tuple[Tensor, Tensor]:
        """Positions in float64 from the context's centre, in the frame's axes, in units of the scale."""
        center = pos[0].detach().double().mean(0) if len(pos[0]) else pos[0].new_zeros(self.dim, dtype=torch.float64)
        context, query = ((p.double() - center) / scale for p in pos)
        return (context, query) if frame is None else (context @ frame.to(context), query @ frame.to(query))

    def _wave(self, local: Tensor, dtype: torch.dtype) -> Tensor:
        return fourier_features(local, self.frequencies, dtype)

    def _to_world(self, offset: Tensor, scale: float, frame: Tensor | None) -> Tensor:
        return offset * scale if frame is None or offset.shape[2] == 0 else offset @ frame.to(offset).T * scale

    def _cost_width(self, scale: float, spacing: Sequence[float] | None) -> list[float]:
        if spacing is None:
            return [1.0] * self.dim
        if len(spacing) != self.dim or min(spacing) <= 0:
            raise GeogridError(f"spacing: expected {self.dim} positive numbers of mm, got {tuple(spacing)}")
        return [max(1.0, float(s) / scale) for s in spacing]

    def _check_options(self) -> None:
        if self.dim not in (2, 3):
            raise GeogridError(f"dim: expected 2 or 3, got {self.dim}")
        for name, channels in (("out_channels", self.out_channels), ("key_channels", self.key_channels)):
            if self.heads < 1 or channels < 1 or channels % self.heads:
                raise GeogridError(f"{name}: expected a multiple of heads={self.heads}, got {channels}")
        if self.radius is not None and self.radius <= 0:
            raise GeogridError(f"radius: expected a positive number of scales or None, got {self.radius}")
        if self.tied and self.in_channels[0] != self.in_channels[1]:
            raise GeogridError(f"tied: expected equal in_channels of context and query, got {self.in_channels}")

    def _check_inputs(
        self, x: tuple[Tensor, Tensor], pos: tuple[Tensor, Tensor], edges: Neighborhood | Tensor,
        log_measure: Tensor | None, scale: float, frame: Tensor | None,
    ) -> None:  # fmt: skip
        for side, features, places, channels in zip(("context", "query"), x, pos, self.in_channels, strict=True):
            checks.check_features(f"x_{side}", features, channels, self.lin_key.weight)
            checks.check_positions(f"pos_{side}", places, self.dim, len(features), features.device)
        sizes = (len(x[0]), len(x[1]), x[1].device)
        checks.check_edges(edges, *sizes)
        if log_measure is not None:
            checks.check_log_measure(log_measure, sizes[0], sizes[2])
        checks.check_scale(scale)
        if frame is not None:
            checks.check_frame(frame, self.dim, None, frame.device)


def _pair(given: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return (given, given) if isinstance(given, Tensor) else given
