"""Pictures of a registration and the page that shows them."""

from geogrid.report.alignment import alignment_figure
from geogrid.report.attention import attention_figure
from geogrid.report.cloud_page import CloudReport
from geogrid.report.clouds import clouds_figure, point_values_figure
from geogrid.report.contents import HistoryPoint, ReportContents
from geogrid.report.convergence import convergence_figure
from geogrid.report.deformation import deformed_grid_figure, jacobian_figure
from geogrid.report.html import figures, render_pictures, render_report, write_pictures
from geogrid.report.images import difference_figure, overlay_figure
from geogrid.report.levels import level_displacements_figure
from geogrid.report.pairs import pairs_figure

__all__ = [
    "CloudReport",
    "HistoryPoint",
    "ReportContents",
    "alignment_figure",
    "attention_figure",
    "clouds_figure",
    "convergence_figure",
    "deformed_grid_figure",
    "difference_figure",
    "figures",
    "jacobian_figure",
    "level_displacements_figure",
    "overlay_figure",
    "pairs_figure",
    "point_values_figure",
    "render_pictures",
    "render_report",
    "write_pictures",
]
