"""Transforms in files: kernels as JSON, dense fields as displacement images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.io import read_displacement
from geogrid.io.checks import check_readable
from geogrid.spatial import Grid
from geogrid.transforms.affine import AffineTransform
from geogrid.transforms.displacement import DisplacementField
from geogrid.transforms.kernel import KernelTransform

FORMAT, VERSION, DETAILED = "geogrid kernel transform", 1, 2


def write_transform(path: str | Path, transform: KernelTransform) -> None:
    r"""Writes an affine map with kernels as JSON.

    The file says :math:`T(x) = A x + t + \sum_c k(|x - c|)\, \alpha_c` with :math:`k(r) = \sum_w a_w \exp(-r^2 / 2 l_w^2)`,
    RAS+ world mm, fixed points to moving space: ``affine`` is the homogeneous matrix of :math:`A, t`, ``centers`` the
    :math:`c`, ``coefficients`` the :math:`\alpha_c`, ``widths`` the :math:`l_w` and ``amplitudes`` the :math:`a_w`. Numbers
    are written in full, so what is read back is the same map, everywhere in space.

    Raises:
        GeogridError: when the file cannot be written.
    """
    content = {
        "format": FORMAT, "version": VERSION, "maps": "fixed points to moving space", "coordinates": "RAS+", "unit": "mm",
        "affine": transform.affine.matrix.tolist(), "widths": list(transform.widths), "amplitudes": list(transform.amplitudes),
        "centers": transform.centers.double().tolist(), "coefficients": transform.coefficients.double().tolist(),
    }  # fmt: skip
    if transform.detail is not None:
        content |= {"version": DETAILED, "detail": _detail_content(transform.detail)}
    try:
        Path(path).write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise GeogridError(f"{path}: cannot be written ({error.strerror})") from None


def read_transform(path: str | Path) -> KernelTransform | DisplacementField:
    """Reads a transform: ``.json`` as :func:`write_transform` writes it, else a displacement image.

    Raises:
        GeogridError: when the file cannot be read or holds no transform.
    """
    path = Path(path)
    if path.suffix.lower() != ".json":
        return DisplacementField(*read_displacement(path))
    content = _read_json(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("version") not in (VERSION, DETAILED):
        raise GeogridError(f"{path}: expected a transform.json of geogrid, version {VERSION} or {DETAILED}, got something else")
    try:
        affine = AffineTransform(_numbers(content["affine"]))
        centers, coefficients = (_numbers(content[name]).reshape(-1, affine.dim) for name in ("centers", "coefficients"))
        detail = _detail(content["detail"]) if content["version"] == DETAILED else None
        return KernelTransform(affine, centers, coefficients, tuple(content["widths"]), tuple(content["amplitudes"]), detail)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise GeogridError(f"{path}: not a complete transform ({' '.join(str(error).split())}); write it again") from None


def _detail_content(detail: DisplacementField) -> dict[str, Any]:
    grid = detail.grid
    values = detail.displacement.double().flatten().tolist()
    return {"shape": list(grid.shape), "affine": grid.affine.tolist(), "displacement": values}


def _detail(content: Any) -> DisplacementField:
    grid = Grid(tuple(content["shape"]), _numbers(content["affine"]))
    values = _numbers(content["displacement"]).reshape(*grid.shape, grid.dim)
    return DisplacementField(values.float(), grid, outside="extend")


def _numbers(values: Any) -> Tensor:
    numbers = torch.tensor(values, dtype=torch.float64)
    if not numbers.isfinite().all():
        raise ValueError("numbers that are not finite")
    return numbers


def _read_json(path: Path) -> Any:
    check_readable(path, str(path))
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise GeogridError(f"{path}: not a JSON file; expected a transform.json as geogrid writes it") from None
