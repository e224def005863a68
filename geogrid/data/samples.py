"""Real images and surfaces that come inside packages, so that everything can be tried without a download."""

from __future__ import annotations

import importlib
from typing import Any, Literal

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.io import ImageFile, as_image_file, read_labels, read_mask, read_points


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


def fsaverage5(half: Literal["left", "right"] = "left", surface: Literal["pial", "white"] = "pial") -> Tensor:
    """Points of FreeSurfer's average cortical surface, ``(10242, 3)`` float64 in mm, RAS+, from nilearn.

    Args:
        half: of the brain.
        surface: the outer (pial) or inner (white) one.

    Raises:
        GeogridError: without nilearn.

    Example:
        >>> fsaverage5("left").shape
        torch.Size([10242, 3])
    """
    return read_points(_nilearn().fetch_surf_fsaverage("fsaverage5")[f"{surface}_{half}"]).points


def _nilearn() -> Any:
    try:
        return importlib.import_module("nilearn.datasets")
    except ImportError as error:
        raise GeogridError(
            "the MNI152 template and fsaverage5 come with nilearn, which is not installed; pip install 'geogrid[demo]'"
        ) from error
