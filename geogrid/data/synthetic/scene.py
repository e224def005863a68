"""One image's view of a world: what it would show at any position."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.data.synthetic.boxes import covering_grid, voxel_box
from geogrid.data.synthetic.canvas import Canvas
from geogrid.data.synthetic.config import ContrastConfig
from geogrid.data.synthetic.contrasts import Contrast
from geogrid.data.synthetic.draws import normal, uniform
from geogrid.data.synthetic.noise import smooth_noise
from geogrid.data.synthetic.worlds import World
from geogrid.spatial import Grid, sample_lattice
from geogrid.spatial.intensity import intensity_range
from geogrid.spatial.lattice import apply_per_axis
from geogrid.transforms.transform import Transform


@dataclass(frozen=True, eq=False)
class Scene:
    """What an image shows at any position of its space, before noise; and what its twin shows.

    Args:
        world: the tissues.
        volumes: ``(2, *world.grid.shape)`` intensities of the world as this image shows it, and as its twin does: in the fixed
            image's contrast, sharp, without bias, all structures there.
        bias: ``(1, *bias_grid.shape)`` factor on intensities in the image's space.
        bias_grid: where the bias is given.
        noise: standard deviation of the noise.
        to_world: map of the image's space to the world; None where they are the same.
    """

    world: World
    volumes: Tensor
    bias: Tensor
    bias_grid: Grid
    noise: float
    to_world: Transform | None = None

    def place(self, points: Tensor) -> Tensor:
        """Where ``(num_points, dim)`` points of the image lie in the world, mm."""
        return points if self.to_world is None else self.to_world(points)

    def intensities(self, points: Tensor, placed: Tensor | None = None) -> Tensor:
        """Of the image without noise and of its twin, ``(num_points, 2)``.

        Args:
            points: ``(num_points, dim)`` in mm.
            placed: ``place(points)``, where that is known already.
        """
        placed = self.place(points) if placed is None else placed
        shown = sample_lattice(self.volumes, self.world.grid.world_to_index(placed))
        bias = sample_lattice(self.bias, self.bias_grid.world_to_index(points))[0]
        return torch.stack([shown[0] * bias, shown[1]], 1)

    def labels(self, points: Tensor) -> Tensor:
        """Labels ``(num_points,)`` int32 at points ``(num_points, dim)`` in mm."""
        return self.world.labels(self.place(points))

    def noisy(self, values: Tensor, generator: torch.Generator) -> Tensor:
        """Intensities ``(num_points, 2)`` with noise on the first, both within [0, 1.2] as real images are."""
        if self.noise > 0:
            values = values.clone()
            values[:, 0] += self.noise * normal(generator, (len(values),), values.device)
        return values.clamp(0, 1.2)


def paint_scene(
    canvas: Canvas,
    world: World,
    contrast: Contrast,
    twin: Contrast,
    texture: Tensor,
    config: ContrastConfig,
    view: Grid,
    to_world: Transform | None = None,
) -> Scene:
    """Draws what a scanner adds to a contrast: blur, a bias field, structures that only this image shows.

    Intensities come out on the scale to which real images are brought, dark 0 and bright 1.

    Args:
        canvas: of the world.
        world: the tissues.
        contrast: of the image.
        twin: of its twin.
        texture: ``(*world.grid.shape)`` of unit variance.
        config: how much of everything.
        view: grid of the image.
        to_world: map of the image's space to the world.
    """
    mean, strength = (world.paint(torch.stack([getattr(c, part) for c in (contrast, twin)])) for part in ("mean", "texture"))
    volumes = mean + strength * texture
    shown = volumes[0]
    for _ in range(round(uniform(canvas.generator, 0, config.missing))):
        shown = _with_lesion(canvas, shown)
    shown = _blurred(_scaled(shown), canvas.draw(*config.blur))
    bias, bias_grid = _bias(canvas, view, canvas.draw(*config.bias))
    noise = canvas.draw(*config.noise)
    return Scene(world, torch.stack([shown, _scaled(volumes[1])]), bias, bias_grid, noise, to_world)


def scan(scene: Scene, grid: Grid, points: Tensor, placed: Tensor, thickness: float, generator: torch.Generator) -> Tensor:
    """The image and its twin, ``(2, *grid.shape)``; each voxel the mean of evaluations across the thickness of a slice.

    Args:
        scene: what there is to see.
        grid: of the image.
        points: those of the grid.
        placed: ``scene.place(points)``.
        thickness: of slices, as a share of their distance.
        generator: of the noise.
    """
    steps = _steps(grid, float(scene.world.grid.spacing[0]), thickness).to(points)
    if len(steps) == 1:
        values = scene.intensities(points, placed)
    else:
        values = torch.stack([scene.intensities(points + step) for step in steps]).mean(0)
    return scene.noisy(values, generator).T.reshape(2, *grid.shape)


def _with_lesion(canvas: Canvas, values: Tensor) -> Tensor:
    radius = canvas.extent * canvas.draw(0.03, 0.1)
    offsets = canvas.bent(canvas.offsets(), 0.3 * radius, 2 * radius)
    radii = [radius * canvas.draw(0.6, 1.4) for _ in range(canvas.grid.dim)]
    inside = canvas.cover(canvas.ellipsoid(offsets, canvas.scatter(0.35 * canvas.extent), radii))
    return values + inside * (canvas.draw(0, 1) - values)


def _scaled(values: Tensor) -> Tensor:
    """On the scale of :func:`geogrid.spatial.scale_intensities`: percentiles to 0 and 1, found on every other lattice point."""
    low, high = intensity_range(values[(slice(None, None, 2),) * values.dim()].reshape(-1))
    return (values - low) / max(high - low, 1e-6)


def _blurred(values: Tensor, sigma: float) -> Tensor:
    """Gaussian blur by ``sigma`` lattice points; at the border the border value goes on."""
    if sigma < 0.2:
        return values
    return apply_per_axis([_gaussian_matrix(n, sigma).to(values) for n in values.shape], values[None])[0]


def _gaussian_matrix(size: int, sigma: float) -> Tensor:
    place = torch.arange(size, dtype=torch.float64)
    reach = torch.arange(-int(3 * sigma + 1), int(3 * sigma + 1) + 1)
    weight = torch.exp(-0.5 * (reach / sigma) ** 2)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    for offset, share in zip(reach.tolist(), (weight / weight.sum()).tolist(), strict=True):
        matrix[place.long(), (place + offset).clamp(0, size - 1).long()] += share
    return matrix


def _bias(canvas: Canvas, view: Grid, strength: float) -> tuple[Tensor, Grid]:
    """A factor between exp(-strength) and 1 on a coarse lattice over the view; its waves are about as long as the view."""
    longest = float((torch.tensor(view.shape) * view.spacing).max())
    grid = covering_grid(view.frame, *voxel_box(view, view.frame), longest / 12)
    field = smooth_noise(grid, longest * canvas.draw(0.8, 2.0), 1, canvas.generator, canvas.device)
    field = (field - field.min()) / (field.max() - field.min()).clamp_min(1e-12)
    return torch.exp(-strength * field), grid


def _steps(grid: Grid, finest: float, thickness: float) -> Tensor:
    """From a voxel's middle to the places at which it is evaluated, ``(num_places, dim)`` mm."""
    counts = [max(1, round(thickness * step / finest)) for step in grid.spacing.tolist()]
    places = [((torch.arange(n, dtype=torch.float64) + 0.5) / n - 0.5) * thickness for n in counts]
    return torch.cartesian_prod(*places).reshape(-1, grid.dim) @ grid.affine[:-1, :-1].T
