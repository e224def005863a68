"""Which trained model a registration begins with."""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass
from pathlib import Path

import torch

from geogrid.errors import GeogridError
from geogrid.models.georeg import GeoReg
from geogrid.models.saving import load_weights, shipped_weights, weights_sha256


@dataclass(frozen=True, eq=False)
class ChosenModel:
    """A trained model and what to call it.

    Args:
        model: in evaluation mode.
        name: of shipped weights, or the path of a file.
        sha256: of the file of weights.
    """

    model: GeoReg
    name: str
    sha256: str

    @property
    def stated(self) -> dict[str, str]:
        """What ``metrics.json`` says of it."""
        return {"name": self.name, "sha256": self.sha256}

    def on(self, device: torch.device) -> GeoReg:
        """The model itself on the CPU, a copy elsewhere."""
        return self.model if device.type == "cpu" else copy.deepcopy(self.model).to(device)


def choose_model(choice: str | Path, dim: int, in_channels: int = 1) -> ChosenModel | None:
    """The trained model for images of one channel, or for points without features.

    Args:
        choice: ``auto`` (the shipped weights ``synth-2d`` or ``synth-3d`` for images, ``points-3d`` for points, where they are
            shipped), ``none``, the name of other shipped weights, or a file.
        dim: of the images or points, 2 or 3.
        in_channels: 1 for images, 0 for points.

    Returns:
        The model, the same object for the same shipped weights; None for ``none``.

    Raises:
        GeogridError: for weights that cannot be read, of another dimension, or for other numbers of features.

    Example:
        >>> choose_model("none", 3) is None
        True
    """
    if str(choice) == "none":
        return None
    if str(choice) == "auto":
        name = f"{'synth' if in_channels else 'points'}-{dim}d"
        return _shipped(name) if name in shipped_weights() else None
    chosen = _shipped(str(choice)) if str(choice) in shipped_weights() else _read(choice)
    config = chosen.model.config
    if (config.dim, config.in_channels) != (dim, in_channels):
        what = "images with 1 intensity per point" if in_channels else "points without features"
        raise GeogridError(
            f"model {choice}: expected weights for {dim}-D {what}, got {config.dim}-D and {config.in_channels}; leave it out "
            "or choose none"
        )
    return chosen


@functools.cache
def _shipped(name: str) -> ChosenModel:
    return _read(name)


def _read(choice: str | Path) -> ChosenModel:
    return ChosenModel(load_weights(choice), str(choice), weights_sha256(choice))
