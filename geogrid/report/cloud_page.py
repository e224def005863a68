"""The report on two registered point sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from geogrid.report.clouds import clouds_figure, point_values_figure
from geogrid.report.contents import HistoryPoint
from geogrid.report.convergence import convergence_figure
from geogrid.report.html import render_page, to_png

_EXPLANATIONS = {
    "clouds": (
        "Points",
        "The fixed points in green and the moving points in magenta, as they were given and after they were carried to fixed "
        "space. Where they agree, the two colours mix evenly.",
    ),
    "slabs": (
        "Slabs",
        "The same, but only what lies in thin slabs through the middle of the fixed points: surfaces become lines, and one "
        "sees whether they lie on each other.",
    ),
    "displacement": (
        "Displacement",
        "The fixed points, coloured by how far they go to get to their places in moving space: in all, and without the affine "
        "part.",
    ),
    "support": (
        "Match support",
        "How much speaks for each fixed point having a partner among the moving ones: 1 is sure, 0 says that nothing fits. Low "
        "almost everywhere means that the answer should not be trusted.",
    ),
    "convergence": (
        "Convergence",
        "The loss at every step; lower is better. Values of different stages do not compare, so each has its own scale.",
    ),
}
_NOTE = (
    "Letters say which end of the world's axes lies at each edge (RAS+): left and right (L, R), back and front (P, A), feet \
and head (I, S), or x and y in 2-D."
)
DENSE, SLAB = 1500, 0.04
"""Fewest points of which slabs are shown, and the thickness of these as a share of the cloud's largest extent."""


@dataclass(frozen=True, eq=False)
class CloudReport:
    """Everything a report on points is made from, in mm.

    Args:
        fixed: ``(num_fixed, dim)``.
        before: ``(num_moving, dim)`` the moving points as they were given.
        after: ``(num_moving, dim)`` carried to fixed space.
        displacement: ``(num_fixed, dim)`` of the fixed points, total.
        deformation: ``(num_fixed, dim)`` what is left of it without the affine part.
        support: ``(num_fixed,)`` match support of the fixed points, 0 to 1.
        metrics: as written to ``metrics.json``.
        history: the loss along the way; may be empty.
    """

    fixed: Tensor
    before: Tensor
    after: Tensor
    displacement: Tensor
    deformation: Tensor
    support: Tensor
    metrics: Mapping[str, Any]
    history: Sequence[HistoryPoint] = ()

    def figures(self) -> dict[str, Figure]:
        """The pictures by name: clouds, slabs (of dense 3-D clouds), displacement, support, convergence."""
        rows = [("total", self.displacement.norm(dim=1)), ("without affine", self.deformation.norm(dim=1))]
        found = {"clouds": clouds_figure(self.fixed, self.before, self.after)}
        if self.fixed.shape[1] == 3 and len(self.fixed) >= DENSE:
            found["slabs"] = clouds_figure(self.fixed, self.before, self.after, slab=SLAB)
        return found | {
            "displacement": point_values_figure(self.fixed, rows, "mm"),
            "support": point_values_figure(self.fixed, [("match support", self.support)], "match support", largest=1.0),
            "convergence": convergence_figure(self.history),
        }

    def render(self, title: str) -> str:
        """The report as one HTML page that needs no other file; ``title`` is its heading."""
        pictures = {name: to_png(figure) for name, figure in self.figures().items()}
        return render_page(title, self.metrics, pictures, _EXPLANATIONS, _NOTE)
