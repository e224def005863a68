"""Pictures of a registration and the page that shows them."""

from geogrid.report.contents import HistoryPoint, ReportContents
from geogrid.report.convergence import convergence_figure
from geogrid.report.deformation import deformed_grid_figure, jacobian_figure
from geogrid.report.html import figures, render_pictures, render_report, write_pictures
from geogrid.report.images import difference_figure, overlay_figure

__all__ = [
    "HistoryPoint",
    "ReportContents",
    "convergence_figure",
    "deformed_grid_figure",
    "difference_figure",
    "figures",
    "jacobian_figure",
    "overlay_figure",
    "render_pictures",
    "render_report",
    "write_pictures",
]
