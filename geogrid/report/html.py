"""The report: pictures and metrics on one page that needs no other file."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from jinja2 import Environment, StrictUndefined
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from geogrid.report.contents import ReportContents
from geogrid.report.convergence import convergence_figure
from geogrid.report.deformation import deformed_grid_figure, jacobian_figure
from geogrid.report.images import difference_figure, overlay_figure
from geogrid.report.table import metric_tables

_HEAVY = 350_000

_EXPLANATIONS = {
    "overlay": (
        "Overlay",
        "The fixed image in green and the moving image in magenta. Where they agree the picture is grey; a coloured rim is a "
        "border that does not fit. Images of different contrast stay coloured even where they fit.",
    ),
    "difference": (
        "Difference",
        "Fixed minus moving, each scaled to [0, 1]. Dark means equal; orange where the fixed image is brighter, blue where the "
        "moving image is. Meaningful for images of the same contrast.",
    ),
    "grid": (
        "Deformed grid",
        "A regular grid on the fixed image, moved by the deformation. Lines drawn together lie in tissue that is smaller "
        "in the moving image; lines that cross are folds. Movement across the slice is not drawn.",
    ),
    "jacobian": (
        "Jacobian determinant",
        "How much larger a piece of tissue is in the moving image than in the fixed one: 1 keeps its volume, red grows, blue "
        "shrinks, yellow marks voxels where space folds (determinant 0 or less).",
    ),
    "convergence": (
        "Convergence",
        "The loss at every evaluation; lower is better, and level 0 is the finest. Values of different stages "
        "and levels do not compare, so each has its own scale.",
    ),
}


_SLICES = (
    "Slices run through the centre of mass of the fixed image's content; letters say what lies at each edge: the patient's "
    "left and right (L, R), front and back (A, P), head and feet (S, I), or the two world axes of a 2-D image (x, y)."
)


def figures(contents: ReportContents) -> dict[str, Figure]:
    """The pictures of a report by name: overlay, difference, grid, jacobian, convergence."""
    return {
        "overlay": overlay_figure(contents.fixed, contents.before, contents.after),
        "difference": difference_figure(contents.fixed, contents.before, contents.after),
        "grid": deformed_grid_figure(contents.deformation, contents.fixed),
        "jacobian": jacobian_figure(contents.jacobian, contents.fixed),
        "convergence": convergence_figure(contents.history),
    }


def render_pictures(contents: ReportContents) -> dict[str, bytes]:
    """The pictures of a report as PNG files in memory, by the names of :func:`figures`."""
    return {name: to_png(figure) for name, figure in figures(contents).items()}


def render_report(contents: ReportContents, title: str, pictures: Mapping[str, bytes] | None = None) -> str:
    """A report as one HTML page: metrics with units, pictures with a short explanation, parameters and versions.

    Pictures and styles are inside the page, so it works without a network and can be sent by mail.

    Args:
        contents: what to show.
        title: heading of the page; any text.
        pictures: from :func:`render_pictures`, where they exist already.
    """
    pictures = render_pictures(contents) if pictures is None else pictures
    return render_page(title, contents.metrics, pictures, _EXPLANATIONS, _SLICES)


def render_page(
    title: str,
    metrics: Mapping[str, Any],
    pictures: Mapping[str, bytes],
    explanations: Mapping[str, tuple[str, str]],
    note: str,
) -> str:
    """One HTML page of metrics and pictures.

    Args:
        title: heading of the page; any text.
        metrics: as written to ``metrics.json``.
        pictures: PNG files by name, in the order in which they are shown.
        explanations: heading and text by the same names.
        note: last line of the page.
    """
    template = files("geogrid.report").joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    shown = [
        {"name": name, "heading": explanations[name][0], "text": explanations[name][1], "data": _base64(png)}
        for name, png in pictures.items()
    ]
    return environment.from_string(template).render(title=title, tables=metric_tables(metrics), pictures=shown, note=note)


def write_pictures(contents: ReportContents, folder: Path | str, pictures: Mapping[str, bytes] | None = None) -> list[Path]:
    """Writes the pictures of a report as PNG files.

    Args:
        contents: what to show.
        folder: an existing folder; files of the same name are replaced.
        pictures: from :func:`render_pictures`, where they exist already.

    Returns:
        The files written: ``overlay.png``, ``difference.png``, ``grid.png``, ``jacobian.png``, ``convergence.png``.
    """
    pictures = render_pictures(contents) if pictures is None else pictures
    written = []
    for name, png in pictures.items():
        path = Path(folder) / f"{name}.png"
        path.write_bytes(png)
        written.append(path)
    return written


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG; a heavy one is brought down to 256 colours, a third of the size and hard to tell from it."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = PIL.Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    png = _encoded(picture)
    return png if len(png) <= _HEAVY else _encoded(picture.quantize(256, dither=PIL.Image.Dither.NONE))


def _encoded(picture: PIL.Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="png")
    return buffer.getvalue()


def _base64(png: bytes) -> str:
    return base64.b64encode(png).decode("ascii")
