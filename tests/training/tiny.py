"""The smallest trainings that still are trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from pytorch_lightning import Callback

from geogrid.training import TrainingConfig, read_config

MODEL = ("model.channels=[4, 8]", "model.steps=[1, 1]", "model.head_channels=4", "model.hidden=4", "validation_pairs=2")


def tiny(*overrides: str) -> TrainingConfig:
    """The preset of the digits with a model that costs next to nothing."""
    return read_config("mnist", [*MODEL, *overrides])


class Losses(Callback):
    """Notes the loss of every pass; ends the training with an exception after so many of them, if told to.

    Args:
        killed_after: passes.
    """

    def __init__(self, killed_after: int | None = None) -> None:
        self.found: dict[int, float] = {}
        self.killed_after = killed_after

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.found[batch_idx] = float(outputs["loss"])
        if batch_idx + 1 == self.killed_after:
            raise RuntimeError("killed")


def write_subjects(folder: Path) -> None:
    """Three balls of different size, scattered in the world: images, labels (1, with a core 2) and two landmarks each."""
    rng = np.random.default_rng(0)
    for name in ("images", "labels", "landmarks"):
        (folder / name).mkdir()
    for number, subject in enumerate(("anna", "bert", "cleo")):
        shape, affine = (22 + number, 20, 18), np.diag([2.0, 2.0, 2.5, 1.0])
        affine[:3, 3] = 40 * number
        index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1) - (np.array(shape) - 1) / 2
        radius = np.linalg.norm(index / (7 + number, 6, 5), axis=-1)
        values = 100 / (1 + np.exp(8 * (radius - 1))) + rng.random(shape)
        nib.save(nib.Nifti1Image(values.astype("f4"), affine), folder / "images" / f"{subject}.nii.gz")
        labels = (radius < 1).astype("u1") + (radius < 0.5).astype("u1")
        nib.save(nib.Nifti1Image(labels, affine), folder / "labels" / f"{subject}.nii.gz")
        middle = affine[:3, :3] @ ((np.array(shape) - 1) / 2) + affine[:3, 3]
        points = middle + np.array([[5.0, 3.0, 2.0], [-4.0, 2.0, 6.0]])
        np.savetxt(folder / "landmarks" / f"{subject}.csv", points, delimiter=",", header="x,y,z", comments="")
