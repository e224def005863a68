"""Fixed and moving image at one scale, with all that does not change between iterations."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from geogrid.losses.similarity import ImageLoss
from geogrid.spatial import Grid, Image, map_points
from geogrid.spatial.cut import background_of, known_beyond
from geogrid.spatial.lattice import inheritance_matrices, place_children
from geogrid.spatial.sampling import normalization, sample_normalized
from geogrid.transforms import AffineTransform, Step


class LevelPair(ABC):
    """What is read on one lattice, compared on another; a subclass says what and how.

    Args:
        fixed_grid: where the pair is compared.
        moving_grid: of what is read.
        gain: factor of the loss.
        moving_weight: weight in [0, 1] of each moving point; default 1.
        background: of a moving image that is cut (:func:`geogrid.spatial.cut.background_of`), on ``moving_grid``: what lies
            beyond its border counts only where the border shows background. Default: beyond every border it goes on.
    """

    def __init__(
        self, fixed_grid: Grid, moving_grid: Grid, gain: float,
        moving_weight: Image | None = None, background: Tensor | None = None,
    ) -> None:  # fmt: skip
        self.fixed_grid, self.moving_grid, self.gain = fixed_grid, moving_grid, gain
        self.moving_weight, self.background = moving_weight, background
        self._start: tuple[AffineTransform, Tensor, Tensor] | None = None
        self._parents: tuple[Grid, list[Tensor]] | None = None

    def dissimilarity(self, step: Step, start: AffineTransform) -> Tensor:
        """Reads the moving side where the step has brought the fixed points, and compares."""
        values, shape = self.channels(start), self.fixed_grid.shape
        base, linear = self._positions(start, values)
        moved = (linear @ step.displacement.flatten(1)).reshape(step.displacement.shape)
        position = place_children(self._inheritance(step.points, values), moved, base)
        weight = self._weight(position.detach())
        warped = sample_normalized(values, position).reshape(-1, *shape)
        return self.gain * self.compare(warped, None if weight is None else weight.reshape(shape))

    @abstractmethod
    def channels(self, start: AffineTransform) -> Tensor:
        """What is read, ``(channels, *moving_grid.shape)``, when the moving image is seen through a start."""

    @abstractmethod
    def compare(self, warped: Tensor, weight: Tensor | None) -> Tensor:
        """The loss of what was read, ``(channels, *fixed_grid.shape)``; ``weight`` multiplies the fixed weight."""

    def _weight(self, position: Tensor) -> Tensor | None:
        """What is known of the moving side at positions in its cube, ``(num_points,)``; None for everything."""
        weight = None if self.moving_weight is None else sample_normalized(self.moving_weight.data[None], position)[0]
        if self.background is None:
            return weight
        known = known_beyond(self.background, position)
        return known if weight is None else known * weight

    def _inheritance(self, points: Grid, values: Tensor) -> list[Tensor]:
        """The matrices that carry values of points to the fixed voxels."""
        if self._parents is None or self._parents[0] is not points:
            matrices = [m.to(values) for m in inheritance_matrices(points, self.fixed_grid)]
            self._parents = (points, matrices)
        return self._parents[1]

    def _positions(self, start: AffineTransform, values: Tensor) -> tuple[Tensor, Tensor]:
        """Where undisplaced voxels read the moving image, and how a displacement in mm moves that place."""
        if self._start is None or self._start[0] is not start:
            scale, shift = normalization(self.moving_grid.shape)
            to_cube = torch.linalg.inv(self.moving_grid.affine) @ start.matrix
            to_cube[:-1] *= scale[:, None]
            to_cube[:-1, -1] += shift
            base = map_points(to_cube @ self.fixed_grid.affine, self.fixed_grid.indices(values.device)).flip(-1).contiguous()
            self._start = (start, base, to_cube[:-1, :-1].flip(0).to(base))
        return self._start[1], self._start[2]


class ImagePair(LevelPair):
    """A pair of images at one scale.

    Args:
        fixed_grid: of the fixed image.
        moving: at the same scale.
        loss: with the fixed image built in.
        gain: factor of the loss.
        moving_weight: weight in [0, 1] of each moving point; default 1.
        cut: whether the moving image shows a part of something larger (:func:`geogrid.spatial.cut.is_cut`).
    """

    def __init__(
        self, fixed_grid: Grid, moving: Image, loss: ImageLoss, gain: float,
        moving_weight: Image | None = None, cut: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(fixed_grid, moving.grid, gain, moving_weight, background_of(moving) if cut else None)
        self.values, self.loss = moving.data[None], loss

    def channels(self, start: AffineTransform) -> Tensor:
        """The moving image, whatever the start."""
        return self.values

    def compare(self, warped: Tensor, weight: Tensor | None) -> Tensor:
        """The loss of the only channel."""
        return self.loss(warped[0], weight)
