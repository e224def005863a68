"""Worlds, label maps as worlds, contrasts."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from geogrid.data import (
    ContrastConfig,
    DeformationConfig,
    SyntheticConfig,
    SyntheticPair,
    World,
    WorldConfig,
    read_label_maps,
    scattered_fields,
    synthesize,
)
from geogrid.data.synthetic.canvas import Canvas, paint_over
from geogrid.data.synthetic.contrasts import random_contrast, related_contrast
from geogrid.data.synthetic.files import write_pair
from geogrid.data.synthetic.maps import draw_maps
from geogrid.data.synthetic.worlds import DRAWERS
from geogrid.errors import GeogridError
from geogrid.spatial import Grid, Image
from geogrid.spatial.sampling import inside_lattice
from tests.io.cases import make_affine


def canvas(dim: int, seed: int = 0, size: int = 0) -> Canvas:
    size = size or (64 if dim == 2 else 28)
    affine = torch.tensor(make_affine((20,) if dim == 2 else (20, -10, 30), (2.0,) * dim, (5.0,) * dim))
    grid = Grid((size,) * dim, affine)
    return Canvas(grid, grid.center, 2.0 * size, torch.Generator().manual_seed(seed), "cpu")


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("kind", sorted(DRAWERS))
@pytest.mark.parametrize("num_labels", [1, 2, 9])
def test_memberships_are_shares(dim: int, kind: str, num_labels: int) -> None:
    for seed in range(3):
        world = DRAWERS[kind](canvas(dim, seed), num_labels, 0.8)
        least = 5 if kind == "sheets" else 1 + num_labels
        assert world.num_labels == max(least, 1 + num_labels)
        assert float(world.memberships.min()) >= 0
        torch.testing.assert_close(world.memberships.sum(0), torch.ones(world.grid.shape))
        labels = world.labels(world.grid.points())
        assert len(labels.unique()) >= min(3, num_labels)
        sharp = world.memberships.amax(0) > 0.9
        assert float(sharp.float().mean()) > 0.4


@pytest.mark.parametrize("kind", ["sheets", "ellipsoids"])
def test_bodies_lie_in_air(kind: str) -> None:
    for seed in range(4):
        labels = DRAWERS[kind](canvas(2, seed), 8, 0.6).labels(canvas(2).grid.points()).reshape(64, 64)
        border = torch.cat([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
        assert float((border == 0).float().mean()) > 0.95
        assert int(labels[24:40, 24:40].min()) > 0


def test_the_cortex_is_folded_and_of_even_thickness() -> None:
    """Its border is far longer than the head's, and an erosion by two of its thicknesses leaves next to nothing."""
    for seed in range(3):
        scene = canvas(2, seed, 192)
        labels = DRAWERS["sheets"](scene, 5, 0.9).labels(scene.grid.points()).reshape(192, 192)
        cortex, head = labels == 4, labels > 0
        assert _border(cortex) > 3 * _border(head)
        thick = 0.9 * 192 / 2 * 0.08
        kernel = 2 * int(2 * thick / 2) + 1
        eroded = torch.nn.functional.avg_pool2d(cortex.float()[None, None], kernel, 1) > 0.999
        assert int(eroded.sum()) < 0.02 * int(cortex.sum())


def _border(inside: torch.Tensor) -> int:
    return int((inside[1:] != inside[:-1]).sum() + (inside[:, 1:] != inside[:, :-1]).sum())


def test_later_layers_cover_earlier_ones() -> None:
    shares = paint_over([torch.tensor([1.0, 1.0, 0.5, 0.0]), torch.tensor([0.0, 1.0, 0.5, 0.0])])
    torch.testing.assert_close(shares, torch.tensor([[0.0, 0.0, 0.25, 1.0], [1.0, 0.0, 0.25, 0.0], [0.0, 1.0, 0.5, 0.0]]))


def test_a_world_is_linear_between_its_points() -> None:
    grid = Grid((2, 2), torch.diag(torch.tensor([4.0, 4.0, 1.0])))
    world = World(torch.stack([torch.tensor([[1.0, 1.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [1.0, 1.0]])]), grid)
    points = torch.tensor([[1.0, 2.0], [3.0, 0.0], [-9.0, 0.0]])
    torch.testing.assert_close(world(points), torch.tensor([[0.75, 0.25, 1.0], [0.25, 0.75, 0.0]]))
    assert world.labels(points).tolist() == [0, 1, 0]
    torch.testing.assert_close(world.paint(torch.tensor([[0.0, 5.0]])), torch.tensor([[[0.0, 0.0], [5.0, 5.0]]]))


def test_the_other_side_of_a_border_shows_the_next_tissue() -> None:
    world = World(torch.eye(4)[:, [0, 1, 2, 3, 0, 1, 2, 3]].reshape(4, 2, 4), Grid((2, 4), torch.eye(3)))
    side = torch.tensor([[False], [True]]).expand(2, 4)
    assert world.with_other_side(side).labels(world.grid.points()).tolist() == [0, 1, 2, 3, 0, 2, 3, 1]


@pytest.fixture
def block() -> Image:
    """Label 9 in a block of 8 x 12 mm, 4 in its first quarter, in an oblique grid."""
    data = torch.zeros(20, 16, dtype=torch.int32)
    data[6:14, 4:10] = 9
    data[6:8, 4:10] = 4
    return Image(data, Grid((20, 16), torch.tensor(make_affine((25,), (1, 2), (10, -5)))))


def test_label_maps_are_cropped_and_stay_where_they_are(block: Image) -> None:
    (found,) = read_label_maps([block])
    assert found.grid.shape == (12, 10)
    points = found.grid.points()
    index = block.grid.world_to_index(points).round().long()
    assert torch.equal(found.data.flatten(), block.data[index[:, 0], index[:, 1]])


def test_pooling_takes_the_most_frequent_label() -> None:
    data = torch.zeros(12, 12, dtype=torch.int32)
    data[2:8, 2:8] = 5
    data[2:4, 2] = 700
    data[6:8, 6:8] = torch.tensor([[3, 3], [3, 5]])
    (found,) = read_label_maps([(data, torch.eye(3))], spacing=2.0)
    assert found.data.tolist() == [[0] * 5, [0, 5, 5, 5, 0], [0, 5, 5, 5, 0], [0, 5, 5, 3, 0], [0] * 5]
    torch.testing.assert_close(found.grid.spacing, torch.tensor([2.0, 2.0], dtype=torch.float64))


def test_a_given_map_is_shown_as_it_is_when_nothing_is_random(block: Image) -> None:
    (source,) = read_label_maps([block])
    scene = canvas(2, 0, 40)
    same = WorldConfig(kinds=("maps",), num_labels=(2, 2), zoom=(1, 1), turn_degrees=(0, 0), drop=0)
    world = draw_maps(scene, [source], same)[0]
    labels = world.labels(scene.grid.points()).reshape(40, 40)
    area = float(scene.grid.voxel_volume)
    counts = sorted(float((labels == k).sum()) * area for k in (1, 2))
    assert counts == pytest.approx([2 * 12, 6 * 12], rel=0.35)
    middle = scene.grid.points()[(labels > 0).flatten()].double().mean(0)
    assert float((middle - scene.center).norm()) < 1.5


def test_zoom_and_drop(block: Image) -> None:
    (source,) = read_label_maps([block])
    areas = []
    for zoom in (1.0, 2.0):
        scene = canvas(2, 0, 40)
        settings = WorldConfig(("maps",), (1, 1), zoom=(zoom, zoom), turn_degrees=(0, 0), drop=0)
        world = draw_maps(scene, [source], settings)[0]
        assert world.num_labels == 2
        areas.append(float(world.memberships[1].sum()))
    assert areas[1] / areas[0] == pytest.approx(4, rel=0.05)
    gone = draw_maps(canvas(2), [source], WorldConfig(("maps",), drop=1.0))[0]
    assert len(gone.labels(gone.grid.points()).unique()) == 2


def test_slices_show_sections_of_volumes() -> None:
    """A block of 8 x 16 x 32 mm gives rectangles of two of its sides, and all three pairs of sides come."""
    data = torch.zeros(20, 20, 20, dtype=torch.int32)
    data[8:12, 6:14, 2:18] = 3
    source = Image(data, Grid((20, 20, 20), torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0]))))
    settings = WorldConfig(("maps",), (1, 1), zoom=(1, 1), turn_degrees=(0, 0), drop=0)
    areas = []
    for seed in range(12):
        world = draw_maps(canvas(2, seed, 40), [source], settings)[0]
        areas.append(round(float(world.memberships[1].sum() * world.grid.voxel_volume)))
    assert {min((128, 256, 512), key=lambda known: abs(known - area)) for area in areas} == {128, 256, 512}
    assert all(min(abs(known - area) / known for known in (128, 256, 512)) < 0.1 for area in areas)


def stripes(linear: np.ndarray | None = None, count: int = 12, size: int = 24) -> Image:
    """A volume of ``count`` blocks, each with a label of its own, in a frame that ``linear`` maps its voxels to."""
    data = torch.zeros(size, size, size, dtype=torch.int32)
    corners = [(x, y, z) for x in (3, 9, 15) for y in (3, 12) for z in (3, 12)][:count]
    for number, (x, y, z) in enumerate(corners, 1):
        data[x : x + 5, y : y + 8, z : z + 8] = 10 * number
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, :3] = 2.0 * torch.eye(3) if linear is None else 2.0 * torch.tensor(linear)
    affine[:3, 3] = torch.tensor([7.0, -30.0, 11.0])
    return Image(data, Grid((size,) * 3, affine))


@pytest.mark.parametrize("dim", [2, 3])
def test_two_people_who_differ_by_an_affine_map_look_the_same(dim: int) -> None:
    turn = np.array([[0.96, 0.0, -0.28], [0.0, 1.0, 0.0], [0.28, 0.0, 0.96]])
    tilted = stripes(turn @ np.diag([0.9, 1.1, 1.2]))
    settings = WorldConfig(("maps",), (12, 12), drop=0.0, people=2)
    for seed in range(4):
        fixed, moving = draw_maps(canvas(dim, seed, 30), [stripes(), tilted], settings)
        assert fixed.memberships[1:].sum() > 20
        torch.testing.assert_close(fixed.memberships, moving.memberships, atol=2e-3, rtol=0)


def test_two_people_share_names_of_labels_and_not_their_shapes() -> None:
    rolled = stripes().data.roll(1, 0)
    other = Image(torch.where(rolled == 30, 0, rolled), stripes().grid)
    settings = WorldConfig(("maps",), (12, 12), zoom=(1, 1), drop=0.0, people=2)
    fixed, moving = draw_maps(canvas(3, 0, 30), [stripes(), other], settings)
    sizes = torch.stack([world.memberships.flatten(1).sum(1) for world in (fixed, moving)])
    gone = (sizes[0] > 0) != (sizes[1] > 0)
    assert int(gone.sum()) == 1, "one of the two has no label 30"
    overlap = torch.minimum(fixed.memberships, moving.memberships)[1:].flatten(1).sum(1) / sizes.amin(0)[1:].clamp_min(1)
    assert float(overlap[~gone[1:]].min()) > 0.5
    assert not torch.allclose(fixed.memberships, moving.memberships, atol=0.2)


@pytest.mark.parametrize("relation", ["same", "inverted", "random"])
def test_nobody_knows_the_displacement_between_two_people(relation: str) -> None:
    maps = [stripes(), stripes(np.diag([1.2, 1.0, 0.9]))]
    contrast = ContrastConfig((relation,), bias=(0, 0), noise=(0, 0), blur=(0, 0), missing=0, texture=(0, 0))  # type: ignore[arg-type]
    still = DeformationConfig()
    world = WorldConfig(("maps",), (12, 12), people=2, drop=0.0)
    config = SyntheticConfig((14, 12, 13), (3.0,) * 3, world=world, contrast=contrast, deformation=still)
    pair = synthesize(config, torch.Generator().manual_seed(0), maps=maps)
    assert bool(pair.displacement.isnan().all())
    scattered = scattered_fields([pair], 50, torch.Generator().manual_seed(0))
    assert scattered["displacement"].shape == (50, 3)
    assert bool(scattered["displacement"].isnan().all())
    torch.testing.assert_close(pair.fixed_twin.data, pair.moving_twin.data, atol=0.02, rtol=0)
    assert float((pair.fixed_labels.data == pair.moving_labels.data).float().mean()) > 0.98
    assert (relation == "same") == torch.allclose(pair.fixed.data, pair.moving.data, atol=0.02)


def test_refusals_of_two_people(tmp_path: Path) -> None:
    def make(maps: list[Image]) -> SyntheticPair:
        config = SyntheticConfig((8, 8, 8), (4.0,) * 3, world=WorldConfig(("maps",), people=2))
        return synthesize(config, torch.Generator().manual_seed(0), maps=maps)

    with pytest.raises(GeogridError, match="two label maps or more, got 1"):
        make([stripes()])
    with pytest.raises(GeogridError, match="8 labels or more in common, got 3"):
        make([stripes(), stripes(count=3)])
    with pytest.raises(GeogridError, match="kind maps alone"):
        WorldConfig(people=2)
    with pytest.raises(GeogridError, match="people=1"):
        write_pair(tmp_path, make([stripes(), stripes()]))


def test_folders_of_label_maps(block: Image, tmp_path: Path) -> None:
    with pytest.raises(GeogridError, match=r"no \.nii"):
        read_label_maps(tmp_path)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    for number in (1, 2):
        data = np.zeros((9, 9, 9), np.int16)
        data[3:6, 3:6, 3:6] = number
        nib.save(nib.Nifti1Image(data, affine), tmp_path / f"{number}.nii.gz")
    assert [int(found.data.max()) for found in read_label_maps(tmp_path)] == [1, 2]
    config = SyntheticConfig((16, 16, 16), (1.0, 1.0, 1.0), world=WorldConfig(kinds=("maps",)))
    with pytest.raises(GeogridError, match="of the images' dimension 3 or more, got 2-D"):
        synthesize(config, torch.Generator(), maps=read_label_maps([block]))
    with pytest.raises(GeogridError, match="every voxel is 0"):
        read_label_maps([(torch.zeros(9, 9, dtype=torch.int32), torch.eye(3))])
    with pytest.raises(GeogridError, match="from 0 up, got -3"):
        read_label_maps([(-3 * torch.eye(9, dtype=torch.int32), torch.eye(3))])


@pytest.mark.slow
def test_real_heads(test_data: Path) -> None:
    maps = read_label_maps([test_data / "brain_labels" / "labels_01.nii.gz"], spacing=4.0)
    config = SyntheticConfig((40, 40, 40), (4.0,) * 3, world=WorldConfig(kinds=("maps",), num_labels=(12, 12)))
    pair = synthesize(config, torch.Generator().manual_seed(0), maps=maps)
    labels = pair.moving_labels.data
    assert 8 <= len(labels.unique()) <= 13
    assert 0.1 < float((labels > 0).float().mean()) < 0.9


@pytest.mark.parametrize("num_labels", [2, 3, 12])
def test_contrasts(num_labels: int) -> None:
    generator = torch.Generator().manual_seed(0)
    backgrounds = []
    for _ in range(20):
        first = random_contrast(num_labels, 0.1, generator)
        assert len(first.mean) == len(first.texture) == num_labels
        assert 0 <= float(first.mean.min()) <= float(first.mean.max()) <= 1
        backgrounds.append(float(first.mean[0]))
        inverted = related_contrast(first, "inverted", 0.1, generator)
        assert inverted.mean[0] == first.mean[0]
        assert torch.equal(inverted.mean[1:].argsort(), first.mean[1:].argsort().flip(0))
        assert float(first.texture[0]) == 0
        assert related_contrast(first, "same", 0.1, generator) is first
    assert 0.5 < np.mean(np.array(backgrounds) == 0) < 1


def test_contrasts_drawn_anew_are_not_monotonic_in_each_other() -> None:
    generator = torch.Generator().manual_seed(0)
    first = random_contrast(12, 0.0, generator)
    second = related_contrast(first, "random", 0.0, generator)
    steps = second.mean[first.mean.argsort()].diff()
    assert 2 <= int((steps > 0).sum()) <= 9


@pytest.mark.parametrize(
    ("build", "word"),
    [
        (lambda: WorldConfig(kinds=("cubes",)), "world kinds"),  # type: ignore[arg-type]
        (lambda: WorldConfig(kinds=()), "world kinds"),
        (lambda: WorldConfig(num_labels=(0, 3)), "num_labels"),
        (lambda: WorldConfig(drop=1.5), "drop"),
        (lambda: ContrastConfig(relation=("other",)), "relation"),  # type: ignore[arg-type]
        (lambda: ContrastConfig(noise=(0.1, 0.0)), "noise"),
        (lambda: ContrastConfig(thickness=2.0), "thickness"),
        (lambda: SyntheticConfig((64, 64), (1.0, 1.0, 1.0)), "as many for both"),
        (lambda: SyntheticConfig((64, 3), (1.0, 1.0)), "at least 4"),
        (lambda: SyntheticConfig((64, 64), (1.0, 0.0)), "above 0"),
        (lambda: SyntheticConfig((64, 64), (1.0, 1.0), moving_shape=(64, 64, 64)), "as many for both"),
    ],
)
def test_settings_that_make_no_sense(build: object, word: str) -> None:
    with pytest.raises(GeogridError, match=word):
        build()  # type: ignore[operator]


def test_the_world_covers_what_both_images_see() -> None:
    for seed in range(4):
        pair = synthesize(SyntheticConfig((24, 20, 18), (2.0, 3.0, 4.0)), torch.Generator().manual_seed(seed))
        grid = pair.moving_scene.world.grid
        for points in (pair.moving.grid.points(), pair.truth(pair.fixed.grid.points())):
            assert bool(inside_lattice(grid.world_to_index(points), grid.shape).all())
