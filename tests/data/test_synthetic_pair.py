"""Synthetic pairs: the truth is true, sizes are those stated, twins share a contrast, the seed decides everything."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from geogrid.data import (
    ContrastConfig,
    DeformationConfig,
    SyntheticConfig,
    SyntheticPair,
    WorldConfig,
    pair_fields,
    scattered_fields,
    synthesize,
    synthetic_batch,
)
from geogrid.data.synthetic.scene import Scene, scan
from geogrid.data.synthetic.worlds import World
from geogrid.errors import GeogridError
from geogrid.models import GeoReg, presets
from geogrid.spatial import Grid, PointCloud
from geogrid.transforms import DisplacementField, warp_image, warp_labels
from tests.io.cases import make_affine

CLEAN = ContrastConfig(relation=("same",), texture=(0, 0), bias=(0, 0), noise=(0, 0), blur=(0, 0), missing=0)
SHAPES = {2: ((64, 56), (1.5, 1.5)), 3: ((24, 22, 20), (3.0, 3.0, 3.0))}


def config(dim: int, kind: str = "ellipsoids", **changes: object) -> SyntheticConfig:
    shape, spacing = SHAPES[dim]
    base = SyntheticConfig(
        shape,
        spacing,
        world=WorldConfig(kinds=(kind,)),  # type: ignore[arg-type]
        contrast=CLEAN,
        deformation=DeformationConfig(rotation_degrees=(10, 10), shift_mm=(4, 4), smooth_mm=(4, 4)),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def make(settings: SyntheticConfig, seed: int = 0, **options: object) -> SyntheticPair:
    return synthesize(settings, torch.Generator().manual_seed(seed), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("kind", ["blobs", "sheets", "ellipsoids"])
def test_the_truth_warps_the_moving_image_onto_the_fixed_one(dim: int, kind: str) -> None:
    """Warping interpolates, the fixed image does not, so what is left over is small but not zero: voxels are not small here."""
    pair = make(config(dim, kind, world=WorldConfig((kind,), size=(1.5, 1.5))))  # type: ignore[arg-type]
    field = DisplacementField(pair.displacement.reshape(*pair.fixed.grid.shape, dim), pair.fixed.grid)
    inside = pair.moving.grid.world_to_index(pair.truth(pair.fixed.grid.points()))
    inside = ((inside >= 0) & (inside <= torch.tensor(pair.moving.grid.shape) - 1)).all(1).reshape(pair.fixed.grid.shape)
    assert inside.float().mean() > 0.6

    def gap(a: torch.Tensor) -> float:
        return float((a - pair.fixed.data)[inside].abs().mean())

    warped = warp_image(pair.moving, field, pair.fixed.grid).data
    assert gap(warped) < 0.15 * gap(pair.moving.data)
    labels = warp_labels(pair.moving_labels, field, pair.fixed.grid).data
    same = (labels == pair.fixed_labels.data)[inside].float().mean()
    before = (pair.moving_labels.data == pair.fixed_labels.data)[inside].float().mean()
    assert same > 1 - 0.3 * (1 - before)


@pytest.mark.parametrize("dim", [2, 3])
def test_the_fixed_image_is_the_world_at_the_moved_points(dim: int) -> None:
    pair = make(config(dim))
    points = pair.fixed.grid.points()
    moved = pair.truth(points)
    torch.testing.assert_close(points + pair.displacement, moved)
    torch.testing.assert_close(pair.fixed_twin.data.flatten(), pair.moving_scene.intensities(moved)[:, 1].clamp(0, 1.2))
    assert torch.equal(pair.fixed_labels.data.flatten(), pair.moving_scene.labels(moved))


@pytest.mark.parametrize("dim", [2, 3])
def test_scattered_points_show_what_the_lattice_shows_there(dim: int) -> None:
    pair = make(config(dim))
    rows = torch.randperm(pair.fixed.grid.num_points, generator=torch.Generator().manual_seed(1))[:200]
    points = pair.fixed.grid.points()[rows]
    torch.testing.assert_close(pair.fixed_scene.intensities(points)[:, 0].clamp(0, 1.2), pair.fixed.data.flatten()[rows])
    assert torch.equal(pair.fixed_scene.labels(points), pair.fixed_labels.data.flatten()[rows])
    torch.testing.assert_close(pair.truth(points) - points, pair.displacement[rows], atol=1e-5, rtol=1e-5)


def test_thick_slices_average_through_the_slice() -> None:
    """Of intensity z^2 (piecewise linear between lattice points 1 mm apart) at 4 places: z^2 + the mean square of offsets."""
    fine = Grid((6, 6, 61), torch.tensor(make_affine((0, 0, 0), (1, 1, 1), (0, 0, -30))))
    z = fine.points()[:, 2].reshape(fine.shape)
    world, coarse = World(torch.ones(1, *fine.shape), fine), fine.pool((3, 3, 31))
    scene = Scene(world, torch.stack([z**2, z]) / 900, torch.ones(1, *coarse.shape), coarse, 0)
    thick = Grid((4, 4, 5), torch.tensor(make_affine((0, 0, 0), (1, 1, 4), (1, 1, -8.0))))
    points = thick.points()
    image, twin = scan(scene, thick, points, points, 1.0, torch.Generator())
    z = points[:, 2].reshape(thick.shape)
    torch.testing.assert_close(twin, (z / 900).clamp(0, 1.2))
    offsets = torch.tensor([-1.5, -0.5, 0.5, 1.5])
    expected = torch.stack([((z + o).floor() ** 2 + (z + o).ceil() ** 2) / 2 for o in offsets]).mean(0)
    torch.testing.assert_close(image, expected / 900)


def test_oblique_anisotropic_grids() -> None:
    """The truth holds on a moving grid of other spacing and orientation, between the images' own middles."""
    fixed = Grid((26, 24, 9), torch.tensor(make_affine((20, -15, 30), (2, 2, 6), (40, -30, 10))))
    moving = Grid((20, 24, 22), torch.tensor(make_affine((-10, 25, 5), (3, 2.5, 2.5), (-20, 60, 0))))
    pair = make(config(3), fixed_grid=fixed, moving_grid=moving)
    assert pair.fixed.grid is fixed
    assert pair.moving.grid is moving
    field = DisplacementField(pair.displacement.reshape(*fixed.shape, 3), fixed)
    labels = warp_labels(pair.moving_labels, field, fixed).data
    assert float((labels == pair.fixed_labels.data)[labels > 0].float().mean()) > 0.93


def test_a_turned_scanner_gives_canonical_storage() -> None:
    pair = make(replace(config(3), shape=(24, 22, 8), spacing=(2.0, 2.0, 6.0), oblique_degrees=(90.0, 90.0)))
    for image in (pair.fixed, pair.moving):
        assert sorted(image.grid.shape) == [8, 22, 24]
        assert bool((image.grid.frame.diagonal() > 0).all())
    assert not pair.fixed.grid.same_space(pair.moving.grid)


@pytest.mark.parametrize("relation", ["same", "inverted", "random"])
def test_twins_share_the_fixed_contrast_whatever_the_images_do(relation: str) -> None:
    noisy = ContrastConfig((relation,), (0, 0), (0.5, 0.5), (0.2, 0.2), (1, 1), 3)  # type: ignore[arg-type]
    pair = make(config(2, contrast=noisy))
    means = []
    for image, labels in (
        (pair.fixed_twin, pair.fixed_labels),
        (pair.moving_twin, pair.moving_labels),
        (pair.fixed, pair.fixed_labels),
        (pair.moving, pair.moving_labels),
    ):
        pure = [image.data[labels.data == k] for k in range(pair.fixed_scene.world.num_labels)]
        means.append(torch.stack([values.median() if len(values) > 40 else torch.tensor(torch.nan) for values in pure]))
    both = torch.isfinite(means[0]) & torch.isfinite(means[1])
    assert both.sum() >= 3
    torch.testing.assert_close(means[0][both], means[1][both], atol=0.02, rtol=0)
    assert (means[2] - means[0])[both].abs().max() > 0.05
    if relation == "inverted":
        tissue = both.nonzero()[1:, 0]
        assert torch.corrcoef(torch.stack([means[0][tissue], means[3][tissue]]))[0, 1] < -0.6


def test_twins_are_the_images_where_nothing_was_added() -> None:
    pair = make(config(3))
    torch.testing.assert_close(pair.fixed.data, pair.fixed_twin.data)
    torch.testing.assert_close(pair.moving.data, pair.moving_twin.data)


@pytest.mark.parametrize(
    "added", [{"noise": (0.1, 0.1)}, {"bias": (0.5, 0.5)}, {"blur": (1, 1)}, {"missing": 5}], ids=lambda a: next(iter(a))
)
def test_everything_that_is_added_shows_in_the_images_alone(added: dict[str, object]) -> None:
    pair = make(config(2, contrast=replace(CLEAN, **added)), seed=3)  # type: ignore[arg-type]
    for image, twin in ((pair.fixed, pair.fixed_twin), (pair.moving, pair.moving_twin)):
        assert float((image.data - twin.data).abs().max()) > 0.05
    assert torch.equal(pair.fixed_twin.data, make(config(2), seed=3).fixed_twin.data)


@pytest.mark.parametrize("dim", [2, 3])
def test_the_seed_decides_everything(dim: int) -> None:
    shape, spacing = SHAPES[dim]
    settings = SyntheticConfig(shape, spacing)
    first, again, other = (make(settings, seed) for seed in (5, 5, 6))
    for name in ("fixed", "moving", "fixed_twin", "moving_twin", "fixed_labels", "moving_labels"):
        assert torch.equal(getattr(first, name).data, getattr(again, name).data)
        assert not torch.equal(getattr(first, name).data, getattr(other, name).data)
    assert torch.equal(first.displacement, again.displacement)


def test_a_batch_as_clouds() -> None:
    generator = torch.Generator().manual_seed(0)
    pairs = synthetic_batch([config(2), config(2, "blobs")], 3, generator)
    fields = pair_fields(pairs, labels=True)
    assert fields["fixed"].num_entries == fields["moving"].num_entries == 3
    assert fields["fixed"].stackable
    for number, pair in enumerate(pairs):
        rows = fields["fixed"].rows(number)
        assert torch.equal(fields["fixed"].entry(number).x, pair.fixed.data.reshape(-1, 1))  # type: ignore[arg-type]
        assert torch.equal(fields["moving_twin"][fields["moving"].rows(number)], pair.moving_twin.data.reshape(-1, 1))
        assert torch.equal(fields["displacement"][rows], pair.displacement)
        assert fields["fixed_labels"] is not None
        assert torch.equal(fields["fixed_labels"][rows], pair.fixed_labels.data.flatten())
    assert pair_fields(pairs)["fixed_labels"] is None
    trajectory = GeoReg(presets.mnist())(fields["fixed"], fields["moving"])
    assert trajectory.last.displacement.shape == fields["displacement"].shape


@pytest.mark.parametrize("dim", [2, 3])
def test_scattered_clouds(dim: int) -> None:
    pairs = [make(config(dim), seed) for seed in (0, 1)]
    fields = scattered_fields(pairs, 300, torch.Generator().manual_seed(2))
    for side in ("fixed", "moving"):
        cloud: PointCloud = fields[side]  # type: ignore[literal-required]
        assert cloud.counts().tolist() == [300, 300]
        assert not cloud.is_lattice
        image = getattr(pairs[0], side)
        volume = image.grid.num_points * image.grid.voxel_volume
        assert float(cloud.entry(1).measure.sum()) == pytest.approx(volume, rel=1e-4)
        points = cloud.entry(0).pos
        index = image.grid.world_to_index(points)
        assert bool(((index >= -0.5) & (index <= torch.tensor(image.grid.shape) - 0.5)).all())
        seen = getattr(pairs[0], f"{side}_scene").intensities(points)
        torch.testing.assert_close(cloud.entry(0).x, seen[:, :1].clamp(0, 1.2))
        torch.testing.assert_close(fields[f"{side}_twin"][:300], seen[:, 1:].clamp(0, 1.2))  # type: ignore[literal-required]
    points = fields["fixed"].entry(1).pos
    torch.testing.assert_close(pairs[1].truth(points) - points, fields["displacement"][300:])


def test_refusals() -> None:
    with pytest.raises(GeogridError, match="read_label_maps"):
        make(config(2, world=WorldConfig(kinds=("maps",))))
    with pytest.raises(GeogridError, match="same dimension"):
        make(config(2), fixed_grid=Grid((9, 9, 9), torch.eye(4)))
    with pytest.raises(GeogridError, match="kinds of one dimension"):
        synthetic_batch([config(2), config(3)], 1, torch.Generator())
    with pytest.raises(GeogridError, match="kinds of one dimension"):
        synthetic_batch(config(2), 0, torch.Generator())
    for mixed in ([], [make(config(2)), make(config(3))]):
        with pytest.raises(GeogridError, match="all 2-D or all 3-D"):
            pair_fields(mixed)
        with pytest.raises(GeogridError, match="all 2-D or all 3-D"):
            scattered_fields(mixed, 10, torch.Generator())
    with pytest.raises(GeogridError, match="num_points"):
        scattered_fields([make(config(2))], 0, torch.Generator())


@pytest.mark.gpu
@pytest.mark.parametrize("dim", [2, 3])
def test_a_gpu_makes_the_same_pair(dim: int) -> None:
    shape, spacing = SHAPES[dim]
    settings = SyntheticConfig(shape, spacing, contrast=replace(CLEAN, noise=(0.05, 0.05)))
    here, there = make(settings), make(settings, device="cuda")
    assert there.fixed.data.device.type == there.displacement.device.type == "cuda"
    torch.testing.assert_close(there.displacement.cpu(), here.displacement, atol=2e-3, rtol=0)
    assert float((there.fixed.data.cpu() - here.fixed.data).abs().mean()) < 1e-3
    fields = pair_fields([there], labels=True)
    assert fields["fixed_labels"] is not None
    assert fields["fixed_labels"].is_cuda
    assert scattered_fields([there], 100, torch.Generator())["moving"].pos.is_cuda
