"""What SimpleITK reads: ``.mha``, ``.nrrd``, and pictures. An extra, imported when it is needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geogrid.errors import GeogridError
from geogrid.io.checks import one_line, suffix

ITK_SUFFIXES = (".mha", ".mhd", ".nrrd", ".nhdr", ".png", ".jpg", ".jpeg", ".tif", ".tiff")


@dataclass(frozen=True, eq=False)
class ItkArray:
    """What a file holds, in index order, with its geometry in RAS.

    Args:
        values: ``(*shape)``, or ``(*shape, num_components)`` when there are several.
        affine: ``(len(shape) + 1, len(shape) + 1)`` index-to-world matrix in mm, RAS+.
        num_components: numbers per voxel.
    """

    values: NDArray[Any]
    affine: NDArray[np.float64]
    num_components: int


def read_itk(path: Path, name: str) -> ItkArray:
    """Reads a file through SimpleITK and turns its LPS geometry into RAS.

    Spacing is what SimpleITK reports: a PNG has 1 mm, whatever resolution it states; a JPEG has the resolution it states.

    Raises:
        GeogridError: when SimpleITK is missing, or the file is not an image or is damaged.
    """
    try:
        import SimpleITK as sitk
    except ImportError:
        raise GeogridError(f'{name}: {path.suffix} files need SimpleITK; pip install "geogrid[itk]"') from None
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise GeogridError(f"{name}: not a readable {suffix(path)} image, or truncated ({_reason(error)})") from None
    components = int(image.GetNumberOfComponentsPerPixel())
    values = sitk.GetArrayFromImage(image)
    axes = tuple(reversed(range(image.GetDimension())))
    values = values.transpose(axes if components == 1 else (*axes, len(axes)))
    return ItkArray(values, _ras_affine(image), components)


def luminance(values: NDArray[Any]) -> NDArray[np.float32]:
    """Brightness of colours ``(..., 3)`` or ``(..., 4)``: 0.299 R + 0.587 G + 0.114 B; transparency is ignored."""
    return np.asarray(values[..., :3] @ np.array([0.299, 0.587, 0.114], dtype=np.float32), dtype=np.float32)


def lps_signs(dim: int) -> NDArray[np.float32]:
    """The factors ``(dim,)`` that turn LPS coordinates into RAS ones and back: x and y change sign."""
    return np.array([-1, -1, 1], dtype=np.float32)[:dim]


def _ras_affine(image: Any) -> NDArray[np.float64]:
    dim = image.GetDimension()
    signs = np.array([-1.0, -1.0] + [1.0] * (dim - 2))
    affine = np.eye(dim + 1)
    affine[:dim, :dim] = signs[:, None] * np.reshape(image.GetDirection(), (dim, dim)) * np.array(image.GetSpacing())
    affine[:dim, dim] = signs * np.array(image.GetOrigin())
    return affine


def _reason(error: RuntimeError) -> str:
    return one_line(error).rpartition("ITK ERROR: ")[2][:200]
