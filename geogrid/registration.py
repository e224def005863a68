"""``register()``: the one call that most users make."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Literal

import torch

from geogrid.data import Pair, read_pair
from geogrid.dispatch import points_too
from geogrid.errors import GeogridError
from geogrid.evaluation import evaluate, machine
from geogrid.io import ImageFile, PointSource, Source
from geogrid.io.points import Coordinates
from geogrid.losses.similarity import Similarity, check_similarity
from geogrid.models import ChosenModel, choose_model
from geogrid.optimize.affine import AffineKind
from geogrid.optimize.history import Progress, no_progress
from geogrid.optimize.memory import check_memory, coarsest_scale
from geogrid.optimize.pipeline import OptimizeConfig, Solution, answer_pair, optimize_pair
from geogrid.results import Registration, smooth_transform
from geogrid.spatial import Image, finest_scale, scale_intensities
from geogrid.spatial.slices import split_grid
from geogrid.transforms import to_displacement

Device = Literal["auto", "cpu", "cuda"]


@points_too
def register(
    fixed: Source | ImageFile,
    moving: Source | ImageFile,
    *,
    fixed_labels: Source | None = None,
    moving_labels: Source | None = None,
    fixed_landmarks: PointSource | None = None,
    moving_landmarks: PointSource | None = None,
    coordinates: Coordinates = "ras",
    intensity: str | None = None,
    fixed_mask: Source | None = None,
    moving_mask: Source | None = None,
    affine: AffineKind = "auto",
    similarity: Similarity = "lncc",
    model: str | Path = "auto",
    optimize: bool = True,
    resolution: float | None = None,
    effort: float = 1.0,
    smoothness: float = 1.0,
    device: Device = "auto",
    seed: int = 0,
    nan_outside: bool = False,
    progress: Progress = no_progress,
    config: OptimizeConfig | None = None,
) -> Registration:
    """Registers a moving image to a fixed one, or moving points to fixed ones.

    Points may be a path (CSV, GIFTI, PLY, VTK), an array of 2 or 3 columns in mm, a ``PointCloud``, a PyG ``Data`` or a
    PyTorch3D ``Pointclouds``. Of points on both sides a :class:`~geogrid.CloudRegistration` comes back; labels, masks,
    ``affine``, ``resolution`` and ``nan_outside`` are for images, ``model`` is one for points (``points-3d``), and ``config``
    is a :class:`~geogrid.optimize.PointsConfig`. ``features``, for points only, names the further columns that partners share,
    and ``correspondences`` the rows that are known to be partners.

    Points beside an image, or with an ``intensity``, are scattered samples of an image. They are registered as the image that
    they give on a lattice (:func:`geogrid.io.as_sampled_image`).

    Args:
        fixed: a path, a nibabel image, or an (array or tensor, affine) pair; the affine maps indices to world mm, RAS+.
        moving: likewise, on any other grid of the same dimension.
        fixed_labels: integer labels on the fixed grid, for Dice; they do not drive the registration.
        moving_labels: likewise on the moving grid.
        fixed_landmarks: CSV path or ``(num_landmarks, dim)`` world mm, for the target registration error.
        moving_landmarks: the same landmarks in the moving image, in the same order.
        coordinates: convention of points and landmarks, ``ras`` or ``lps``.
        intensity: of scattered samples, the name of the column of intensities; default ``intensity``, or the only column.
        fixed_mask: where the fixed image counts.
        moving_mask: where the moving image counts.
        affine: the classical start: ``auto`` (affine, unless trusting the headers turns out better), ``rigid``, ``affine`` or
            ``none``. A model finds an affine part of its own; with ``model="none"`` the start is of the asked kind for certain.
        similarity: ``lncc`` (local correlation, for images of the same contrast), ``nmi`` (normalised mutual information),
            ``edges`` (directions of edges, after the affine start of ``nmi``) or ``mind`` (self-similarity) for images of
            different contrast; it drives the affine start too.
        model: a trained model whose answer is one more start: ``auto`` (the shipped ``synth-2d`` or ``synth-3d``, asked where
            the classical starts end at different places), the name of shipped weights or a file of weights (always asked), or
            ``none``. The start from which the coarse levels end best is kept; ``metrics["parameters"]`` says which that was,
            and the losses of all that were tried.
        optimize: False gives the answer of the model alone: in a few seconds whatever the resolution, and less exact. The
            ``affine`` start, ``resolution``, ``effort``, ``smoothness`` and masks of the moving image then do not count.
        resolution: finest scale in mm; default the coarser of the two in-plane spacings.
        effort: factor of the iterations of the deformable stage. 4 takes two to two and a half times as long and is more exact.
        smoothness: factor of the weights that keep the deformation smooth.
        device: ``auto``, ``cpu`` or ``cuda``.
        seed: of all that is random; today's optimisation draws nothing, so it is only recorded.
        nan_outside: treat NaN voxels as outside the image instead of refusing them.
        progress: called with a message and the fraction of the work that is done.
        config: settings of the optimisation; ``affine``, ``similarity`` and ``resolution`` take precedence, and ``effort`` and
            ``smoothness`` multiply what it says.

    Returns:
        The transform, the warped images, metrics; ``save(folder)`` writes them.

    Raises:
        GeogridError: for inputs that cannot be registered, saying why and what to do.

    Example:
        >>> axes = torch.meshgrid(torch.arange(40.0), torch.arange(32.0), indexing="ij")
        >>> fixed = torch.exp(-((axes[0] - 20) ** 2 + (axes[1] - 16) ** 2) / 40)
        >>> moving = torch.exp(-((axes[0] - 23) ** 2 + (axes[1] - 16) ** 2) / 40)
        >>> result = register((fixed, torch.eye(3)), (moving, torch.eye(3)), device="cpu")
        >>> (result.transform(torch.tensor([[20.0, 16.0]])) - torch.tensor([[23.0, 16.0]])).norm() < 0.5
        tensor(True)
    """
    _check_options(affine, device, resolution, effort=effort, smoothness=smoothness)
    check_similarity(similarity)
    pair = read_pair(
        fixed, moving, fixed_labels=fixed_labels, moving_labels=moving_labels, fixed_mask=fixed_mask, moving_mask=moving_mask,
        fixed_landmarks=fixed_landmarks, moving_landmarks=moving_landmarks, coordinates=coordinates, nan_outside=nan_outside,
    )  # fmt: skip
    config = replace(config or OptimizeConfig(), affine=affine, similarity=similarity)
    config = replace(config, instance=config.instance.with_effort(effort), objective=config.objective.smoother(smoothness))
    config = replace(config, scale=_scale(pair, resolution or config.scale))
    if model != "auto":
        config = replace(config, learned=replace(config.learned, doubt=0.0))
    place = _device(device)
    check_memory(pair.fixed.image.grid, split_grid(pair.moving.image.grid, config.scale or 1.0), config.scale or 1.0)
    chosen = choose_model(model, pair.fixed.image.dim)
    if chosen is None and not optimize:
        raise GeogridError("optimize: without optimisation a model has to answer; leave model at auto, or name one")
    began = perf_counter()
    solution = _solve(pair, config, place, chosen, optimize, lambda message, fraction: progress(message, 0.9 * fraction))
    transform = to_displacement(smooth_transform(solution), pair.fixed.image.grid)
    seconds = perf_counter() - began
    parameters = {
        "affine": affine, "similarity": similarity, "start": solution.start, "start_losses": solution.losses,
        "optimize": optimize, "model": None if chosen is None else chosen.stated,
        "resolution_mm": config.scale, "effort": effort, "smoothness": smoothness, "seed": seed, "nan_outside": nan_outside,
        "coordinates": coordinates, "intensity": intensity,
        "levels": len({step.level for step in solution.trajectory.steps}),
    }  # fmt: skip
    progress("metrics", 0.9)
    metrics = (
        evaluate(pair, transform, similarity) | {"seconds": round(seconds, 3)} | machine(place) | {"parameters": parameters}
    )
    progress("done", 1.0)
    return Registration(pair, transform, solution, metrics)


def _solve(
    pair: Pair, config: OptimizeConfig, device: torch.device, chosen: ChosenModel | None, optimize: bool, progress: Progress
) -> Solution:
    images, weights = [], []
    for side in ("fixed", "moving"):
        file: ImageFile = getattr(pair, side)
        support = pair.support(side)
        images.append(scale_intensities(file.image, pair.weight(side)).to(device))
        weights.append(None if support is None else Image(support.to(device), file.image.grid))
    model = None if chosen is None else chosen.on(device)
    if model is not None and not optimize:
        return answer_pair(model, images[0], images[1], config, weights[0])
    return optimize_pair(images[0], images[1], config, weights[0], weights[1], progress, model)


def _scale(pair: Pair, resolution: float | None) -> float:
    grids = pair.fixed.image.grid, pair.moving.image.grid
    if resolution is None:
        return finest_scale(*grids)
    smallest = min(float(g.spacing.min()) for g in grids) / 2
    largest = max(coarsest_scale(*grids), finest_scale(*grids))
    if not smallest <= resolution <= largest:
        raise GeogridError(
            f"resolution: expected {smallest:.3g} to {largest:.3g} mm (half the finest voxel to 8 voxels along the image), got "
            f"{resolution:g}; leave it out for {finest_scale(*grids):.3g} mm"
        )
    return float(resolution)


def _check_options(affine: str, device: str, resolution: float | None, **factors: float) -> None:
    if affine not in ("auto", "rigid", "affine", "none"):
        raise GeogridError(f"affine: expected auto, rigid, affine or none, got {affine!r}")
    if device not in ("auto", "cpu", "cuda"):
        raise GeogridError(f"device: expected auto, cpu or cuda, got {device!r}")
    if resolution is not None and not resolution > 0:
        raise GeogridError(f"resolution: expected a positive number of mm, got {resolution}")
    for name, value in factors.items():
        if not 0 < value < math.inf:
            raise GeogridError(f"{name}: expected a positive factor, 1 for the default, got {value}")


def _device(name: Device) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise GeogridError("device: cuda was asked for, but torch sees no CUDA device; use --device cpu or auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
