"""Real images that come inside packages, so that everything can be tried without a download."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from geogrid.errors import GeogridError
from geogrid.io import ImageFile, as_image_file, read_labels, read_mask


def mni152(resolution: int = 1) -> ImageFile:
    """The MNI152 T1 template (ICBM 2009a, skull-stripped), 197x233x189 at 1 mm, from nilearn.

    Args:
        resolution: voxel size in mm, a whole number.

    Raises:
        GeogridError: without nilearn.
    """
    return as_image_file(_nilearn().load_mni152_template(resolution=resolution), name="MNI152 template")


def mni152_tissues(resolution: int = 1) -> ImageFile:
    """Labels of the MNI152 template: 1 grey matter, 2 white matter, from nilearn's masks.

    Raises:
        GeogridError: without nilearn.
    """
    gray = read_mask(_nilearn().load_mni152_gm_mask(resolution=resolution), name="MNI152 grey matter")
    white = read_mask(_nilearn().load_mni152_wm_mask(resolution=resolution), name="MNI152 white matter").image.data
    labels = torch.where(white, 2, gray.image.data.int()).int()
    return read_labels((labels, gray.image.grid.affine), name="MNI152 tissues")


def _nilearn() -> Any:
    try:
        return importlib.import_module("nilearn.datasets")
    except ImportError as error:
        raise GeogridError(
            "the MNI152 template comes with nilearn, which is not installed; pip install 'geogrid[demo]'"
        ) from error
