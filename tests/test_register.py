"""register(): known answers in mm, and the laws that hold whatever the images."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import Tensor

import geogrid
from geogrid.data import read_pair
from geogrid.results import Registration
from geogrid.spatial import Grid
from geogrid.transforms import AffineTransform, jacobian_determinant
from tests.data.runs import tree
from tests.data.scenes import LIA, Map, centred_grid, head, head_labels, marked_head, markers, render, save_nifti
from tests.io.cases import make_affine, orientations, refused, restore

Arrays = tuple[np.ndarray, Tensor]


def affine_map(turn: tuple[float, ...], stretch: tuple[float, ...], shift: tuple[float, ...]) -> AffineTransform:
    return AffineTransform(torch.from_numpy(make_affine(turn, stretch, shift)))


def waves(points: Tensor) -> Tensor:
    """A smooth deformation of up to 4 mm along each axis, over 80 mm."""
    phases = torch.arange(points.shape[1], dtype=points.dtype)
    return points + 4 * torch.sin(points.roll(1, 1) * (2 * math.pi / 80) + phases)


def big_head(points: Tensor) -> Tensor:
    return marked_head(points, 110.0)


def grids(dim: int) -> tuple[Grid, Grid]:
    """Of prime sizes, of different spacing and orientation."""
    if dim == 2:
        return centred_grid((41, 37), (1.6, 1.6)), centred_grid((47, 43), (1.4, 1.5), (14,), center=1.5)
    return centred_grid((41, 37, 31), (1.6, 1.6, 1.6)), centred_grid((47, 43, 23), (1.4, 1.4, 2.6), (12, -8, 10), center=1.5)


def big_grids(dim: int) -> tuple[Grid, Grid]:
    """Likewise, large enough for more than one level."""
    if dim == 2:
        return centred_grid((101, 97), (1.0, 1.0)), centred_grid((89, 83), (1.2, 1.3), (14,), center=1.5)
    return centred_grid((61, 59, 53), (1.8, 1.8, 1.8)), centred_grid((67, 61, 43), (1.7, 1.7, 2.6), (12, -8, 10), center=1.5)


def pair_of(moved: Map, dim: int, content: Map = marked_head, on: tuple[Grid, Grid] | None = None) -> tuple[Arrays, Arrays]:
    """Fixed and moving image such that ``moved`` is the map of fixed points to moving space."""
    fixed, moving = on or grids(dim)
    return (render(content, fixed, moved), fixed.affine), (render(content, moving), moving.affine)


def register(fixed: object, moving: object, **options: object) -> Registration:
    return geogrid.register(fixed, moving, device="cpu", **options)  # type: ignore[arg-type]


def miss(registration: Registration, moved: Map) -> Tensor:
    """Distances in mm to the true answer, over the fixed content."""
    fixed = registration.pair.fixed.image
    points = fixed.grid.points()[fixed.data.reshape(-1) > 20]
    return (registration.transform(points) - moved(points)).norm(dim=1)


SHIFT_2D = affine_map((0,), (1, 1), (4, -3))
SHIFT_3D = affine_map((0, 0, 0), (1, 1, 1), (4, -3, 2))
AFFINE: dict[str, AffineTransform] = {
    "translation 3-D": affine_map((0, 0, 0), (1, 1, 1), (9, -7, 5)),
    "rotation 3-D": affine_map((18, -9, 12), (1, 1, 1), (0, 0, 0)),
    "scaling 3-D": affine_map((0, 0, 0), (1.12, 0.9, 1.06), (0, 0, 0)),
    "translation 2-D": affine_map((0,), (1, 1), (9, -7)),
    "rotation 2-D": affine_map((25,), (1, 1), (0, 0)),
    "scaling 2-D": affine_map((0,), (1.12, 0.9), (0, 0)),
}


@pytest.mark.parametrize("name", AFFINE)
def test_affine_answers_are_recovered(name: str) -> None:
    """0.6 mm on average, 1.3 mm for 95 % of the content: a third of a voxel of 1.6 mm, and less than one."""
    registration = register(*pair_of(AFFINE[name], int(name[-3])))
    error = miss(registration, AFFINE[name])
    assert error.mean() < 0.6
    assert error.quantile(0.95) < 1.3
    assert registration.metrics["folding_percent"] == 0


@pytest.mark.parametrize("dim", [2, 3])
def test_a_smooth_deformation_is_recovered(dim: int) -> None:
    """From 4 mm on average to below 1 mm, on voxels of 1.0 mm (2-D) and 1.8 mm (3-D)."""
    registration = register(*pair_of(waves, dim, big_head, big_grids(dim)), affine="none")
    fixed = registration.pair.fixed.image
    points = fixed.grid.points()[fixed.data.reshape(-1) > 20]
    assert (points - waves(points)).norm(dim=1).mean() > 3.5
    error = miss(registration, waves)
    assert error.mean() < 1.0
    assert error.quantile(0.95) < 2.6
    assert registration.metrics["folding_percent"] == 0
    assert registration.metrics["parameters"]["levels"] >= 2


@pytest.fixture(scope="module")
def known() -> tuple[tuple[Arrays, Arrays], Registration]:
    """A 3-D pair and its registration with all defaults."""
    arrays = pair_of(SHIFT_3D, 3)
    return arrays, register(*arrays)


@pytest.fixture(scope="module")
def flat() -> tuple[tuple[Arrays, Arrays], Registration]:
    """A 2-D pair and its registration with all defaults."""
    arrays = pair_of(SHIFT_2D, 2)
    return arrays, register(*arrays)


def assert_same_map(first: Registration, second: Registration, tolerance: float) -> None:
    points = first.pair.fixed.image.grid.points()
    torch.testing.assert_close(second.transform(points), first.transform(points), rtol=0, atol=tolerance)


def test_the_same_seed_gives_the_same_bits(known: tuple[tuple[Arrays, Arrays], Registration]) -> None:
    arrays, first = known
    again = register(*arrays, seed=0)
    assert torch.equal(again.transform.displacement, first.transform.displacement)
    assert torch.equal(again.inverse.displacement, first.inverse.displacement)
    assert torch.equal(again.warped_image.data, first.warped_image.data)


@pytest.mark.parametrize("number", range(1, 8))
def test_storage_changes_nothing_in_2d(flat: tuple[tuple[Arrays, Arrays], Registration], number: int) -> None:
    (fixed, moving), first = flat
    stored = orientations(2)[number]
    turned = restore(fixed[0], fixed[1].numpy(), *stored)
    other = register(turned, restore(moving[0], moving[1].numpy(), *orientations(2)[-number]))
    assert_same_map(first, other, 1e-2)
    warped = first.warped.get_fdata().reshape(fixed[0].shape)
    again = other.warped.get_fdata().reshape(turned[0].shape)
    np.testing.assert_allclose(again, restore(warped, np.eye(3), *stored)[0], atol=0.5)


def test_storage_changes_nothing_in_3d(known: tuple[tuple[Arrays, Arrays], Registration]) -> None:
    (fixed, moving), first = known
    turned = restore(fixed[0], fixed[1].numpy(), *LIA)
    other = register(turned, restore(moving[0], moving[1].numpy(), (1, 2, 0), (True, False, True)))
    assert_same_map(first, other, 1e-2)
    assert other.warped.shape == turned[0].shape
    np.testing.assert_allclose(other.warped.affine, turned[1], atol=1e-5)
    np.testing.assert_allclose(other.warped.get_fdata(), restore(first.warped.get_fdata(), np.eye(4), *LIA)[0], atol=0.5)


@pytest.mark.parametrize(("dim", "angles"), [(2, (16,)), (3, (25, -10, 15))])
def test_a_rigid_motion_of_the_world_moves_the_answer(dim: int, angles: tuple[float, ...]) -> None:
    """Exact as long as both images keep their canonical storage; another one pools odd sizes from the other end."""
    motion = affine_map(angles, (1,) * dim, (40, -30, 20)[:dim])
    fixed, moving = pair_of(SHIFT_2D if dim == 2 else SHIFT_3D, dim)
    here = register(fixed, moving, affine="none")
    there = register((fixed[0], motion.matrix @ fixed[1]), (moving[0], motion.matrix @ moving[1]), affine="none")
    points = here.pair.fixed.image.grid.points()
    torch.testing.assert_close(there.transform(motion(points)), motion(here.transform(points)), rtol=0, atol=0.05)
    assert there.metrics["lncc_after"] == pytest.approx(here.metrics["lncc_after"], abs=1e-3)


@pytest.mark.parametrize("unit", [0.03, 700.0])
def test_the_size_of_the_world_does_not_matter(flat: tuple[tuple[Arrays, Arrays], Registration], unit: float) -> None:
    """Voxels of 0.05 mm and of a metre: the same numbers in other units."""
    (fixed, moving), first = flat
    scaling = torch.diag(torch.tensor([unit, unit, 1.0], dtype=torch.float64))
    other = register((fixed[0], scaling @ fixed[1]), (moving[0], scaling @ moving[1]))
    points = first.pair.fixed.image.grid.points()
    torch.testing.assert_close(other.transform(points * unit) / unit, first.transform(points), rtol=0, atol=0.1)
    assert other.metrics["folding_percent"] == 0


@pytest.mark.parametrize(
    ("shape", "spacing"), [((4, 37), (6.0, 1.6)), ((41, 37, 4), (1.6, 1.6, 5.0)), ((4, 4, 4), (9.0, 9, 9))]
)
def test_four_voxels_are_enough(shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    dim = len(shape)
    grid = centred_grid(shape, spacing)
    moved = affine_map((0,) * (1 if dim == 2 else 3), (1,) * dim, (0, 2, 0)[:dim])
    registration = register(*pair_of(moved, dim, on=(grid, grid)), affine="none")
    assert torch.isfinite(registration.transform.displacement).all()
    if min(shape) < max(shape):
        assert registration.metrics["lncc_after"] >= registration.metrics["lncc_before"]
        assert miss(registration, moved).mean() < 1.2


def write_as(path: Path, values: np.ndarray, affine: Tensor, kind: str) -> Path:
    """Writes whole numbers up to 100 so that nothing is lost."""
    header = nib.Nifti1Header(endianness=">" if kind == "big-endian" else "<")
    dtype = {"big-endian": np.dtype(np.int16), "scaled": np.dtype("u1"), "one frame": np.dtype("f4")}.get(kind) or np.dtype(
        kind
    )
    stored = (values + 10) * 2 if kind == "scaled" else values
    stored = (stored[..., None] if kind == "one frame" else stored).astype(dtype)
    header.set_data_dtype(dtype)
    image = nib.Nifti1Image(stored, affine.numpy(), header)
    image.set_qform(affine.numpy(), 1)
    nib.save(image, path)
    if kind == "scaled":
        content = bytearray(path.read_bytes())
        content[112:120] = struct.pack("<ff", 0.5, -10)  # scl_slope, scl_inter
        path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize("kind", ["int8", "uint8", "uint16", "int32", "float64", "big-endian", "scaled", "one frame"])
def test_the_data_type_does_not_matter(tmp_path: Path, kind: str) -> None:
    grid = centred_grid((13, 12, 11), (5.0, 5.0, 5.0))
    (fixed, affine), (moving, _) = pair_of(SHIFT_3D, 3, lambda p: head(p).round().clamp(0, 100), (grid, grid))
    first = register((fixed, affine), (moving, affine), affine="none")
    paths = [write_as(tmp_path / f"{name}.nii", v, affine, kind) for name, v in (("fixed", fixed), ("moving", moving))]
    if kind == "big-endian":
        assert paths[0].read_bytes()[:4] == b"\x00\x00\x01\x5c"
    other = register(*paths, affine="none")
    assert_same_map(first, other, 1e-4)
    assert other.warped.shape == (13, 12, 11)
    assert other.warped.get_data_dtype() == np.float32
    np.testing.assert_allclose(other.warped.get_fdata(), first.warped.get_fdata(), atol=0.01)


def test_every_kind_of_input_is_the_same(flat: tuple[tuple[Arrays, Arrays], Registration], tmp_path: Path) -> None:
    (fixed, moving), first = flat
    grids_of = first.pair.fixed.image.grid, first.pair.moving.image.grid
    paths = [
        save_nifti(tmp_path / f"{name}.nii.gz", values[0], grid)
        for name, values, grid in zip(("fixed", "moving"), (fixed, moving), grids_of, strict=True)
    ]
    kinds = [
        ((torch.from_numpy(fixed[0]), fixed[1]), (torch.from_numpy(moving[0]), moving[1])),
        (first.pair.fixed.image, first.pair.moving.image),
        (first.pair.fixed, first.pair.moving),
        tuple(paths),
        tuple(map(str, paths)),
        tuple(map(nib.load, paths)),
    ]
    for kind in kinds:
        assert_same_map(first, register(*kind), 0.05)


@pytest.mark.parametrize("side", ["fixed", "moving"])
def test_what_a_mask_excludes_does_not_matter(side: str) -> None:
    arrays = dict(zip(("fixed", "moving"), pair_of(SHIFT_2D, 2), strict=True))
    mask = np.ones(arrays[side][0].shape, np.uint8)
    mask[:14] = 0
    masks = {f"{side}_mask": (mask, arrays[side][1])}
    found = []
    for spoil in (0, 1, 2):
        values = arrays[side][0].copy()
        values[:14] = [values[:14], 900, 300 * np.random.default_rng(1).random((14, values.shape[1]))][spoil]
        spoiled = arrays | {side: (values, arrays[side][1])}
        found.append(register(spoiled["fixed"], spoiled["moving"], **masks))
    assert torch.equal(found[0].transform.displacement, found[1].transform.displacement)
    assert torch.equal(found[0].transform.displacement, found[2].transform.displacement)
    unmasked = register(spoiled["fixed"], spoiled["moving"])
    assert not torch.equal(unmasked.transform.displacement, found[2].transform.displacement)
    points = found[0].pair.fixed.image.grid.points()
    seen = SHIFT_2D(points) if side == "moving" else points
    inside = getattr(found[0].pair, side).image.grid.world_to_index(seen)[:, 0] > 20
    content = (found[0].pair.fixed.image.data.reshape(-1) > 20) & inside
    assert content.sum() > 100
    assert (found[0].transform(points) - SHIFT_2D(points)).norm(dim=1)[content].mean() < 0.8


def test_effort_finds_a_better_match_and_smoothness_a_smoother_map() -> None:
    arrays = pair_of(waves, 2, big_head, big_grids(2))
    plain, long, stiff = (register(*arrays, affine="none", **o) for o in ({}, {"effort": 4.0}, {"smoothness": 10.0}))
    assert len(long.history) > len(plain.history)
    assert long.history[-1].loss < plain.history[-1].loss
    assert jacobian_determinant(stiff.transform).std() < 0.8 * jacobian_determinant(plain.transform).std()
    assert [(r.metrics["parameters"]["effort"], r.metrics["parameters"]["smoothness"]) for r in (plain, long, stiff)] == [
        (1.0, 1.0), (4.0, 1.0), (1.0, 10.0)
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["none", "rigid", "affine"])
def test_the_start_is_what_was_asked_for(kind: str) -> None:
    stretched = affine_map((10,), (1.15, 0.9), (3, -2))
    registration = register(*pair_of(stretched, 2), affine=kind, model="none")
    start = registration.trajectory.start
    singular = torch.linalg.svdvals(start.linear)
    assert registration.metrics["parameters"]["affine"] == kind
    if kind == "none":
        assert torch.equal(start.matrix, torch.eye(3, dtype=torch.float64))
    elif kind == "rigid":
        torch.testing.assert_close(singular, torch.ones(2, dtype=torch.float64), atol=1e-6, rtol=0)
        assert not torch.equal(start.matrix, torch.eye(3, dtype=torch.float64))
    else:
        torch.testing.assert_close(start.linear, stretched.linear, atol=0.03, rtol=0)


def test_progress_rises_to_the_end() -> None:
    told: list[tuple[str, float]] = []
    arrays = pair_of(SHIFT_2D, 2, big_head, big_grids(2))
    register(*arrays, affine="none", progress=lambda message, fraction: told.append((message, fraction)))
    fractions = [fraction for _, fraction in told]
    assert len(fractions) > 5
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert fractions == sorted(fractions)
    assert all(message for message, _ in told)


def test_results_are_saved_once(flat: tuple[tuple[Arrays, Arrays], Registration], tmp_path: Path) -> None:
    registration = flat[1]
    registration.save(tmp_path / "out")
    before = tree(tmp_path)
    with refused(tmp_path / "out", "exists already", "--overwrite"):
        registration.save(tmp_path / "out")
    assert tree(tmp_path) == before
    registration.save(tmp_path / "out", overwrite=True)
    assert set(tree(tmp_path)) == set(before)


def test_numbers_that_json_does_not_know_become_null(flat: tuple[tuple[Arrays, Arrays], Registration], tmp_path: Path) -> None:
    odd = flat[1].metrics | {"tre_after_mm": math.inf, "dice_per_label_after": {"1": math.nan, "2": 0.5}}
    replace(flat[1], metrics=odd).save(tmp_path / "out")
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert found["tre_after_mm"] is None
    assert found["dice_per_label_after"] == {"1": None, "2": 0.5}
    assert found["lncc_after"] == odd["lncc_after"]


@pytest.mark.parametrize("coordinates", ["ras", "lps"])
def test_labels_and_landmarks_judge_but_do_not_steer(
    flat: tuple[tuple[Arrays, Arrays], Registration], coordinates: str
) -> None:
    (fixed, moving), first = flat
    on_fixed, on_moving = grids(2)
    sign = -1 if coordinates == "lps" else 1
    registration = register(
        fixed, moving, coordinates=coordinates,
        fixed_labels=(render(head_labels, on_fixed, SHIFT_2D), fixed[1]),
        moving_labels=(render(head_labels, on_moving), moving[1]),
        fixed_landmarks=SHIFT_2D.inverse()(markers(2)) * sign, moving_landmarks=markers(2) * sign,
    )  # fmt: skip
    assert torch.equal(registration.transform.displacement, first.transform.displacement)
    assert registration.metrics["tre_before_mm"] == pytest.approx(5, abs=1e-3)
    assert registration.metrics["tre_after_mm"] < 0.5
    assert registration.metrics["dice_before"] < registration.metrics["dice_after"]
    assert registration.warped_labels is not None
    assert first.warped_labels is None


def test_the_inverse_undoes_the_transform(known: tuple[tuple[Arrays, Arrays], Registration]) -> None:
    registration = known[1]
    points = SHIFT_3D.inverse()(markers(3)).float()
    assert (registration.inverse(registration.transform(points)) - points).norm(dim=1).max() < 0.1
    inside = ~registration.inverse_residual.isnan()
    assert inside.float().mean() > 0.3
    assert registration.inverse_residual[inside].quantile(0.99) < 0.01


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"affine": "similarity"}, ["affine", "rigid", "'similarity'"]),
        ({"similarity": "ssd"}, ["similarity", "lncc, nmi, mind or edges", "'ssd'"]),
        ({"device": "tpu"}, ["device", "cuda", "'tpu'"]),
        ({"coordinates": "ijk", "fixed_landmarks": "a.csv", "moving_landmarks": "a.csv"}, ["coordinates", "'ijk'"]),
        ({"resolution": 0.0}, ["resolution", "positive"]),
        ({"resolution": 20.0}, ["resolution", "got 20"]),
        ({"fixed_landmarks": torch.zeros(2, 3), "moving_landmarks": torch.zeros(2, 3)}, ["fixed landmarks", "(2, 3)"]),
    ],
)
def test_options_are_checked_in_python_too(
    flat: tuple[tuple[Arrays, Arrays], Registration], options: dict[str, object], words: list[str]
) -> None:
    with refused("", *words):
        geogrid.register(*flat[0], **options)  # type: ignore[arg-type]


def test_a_pair_may_be_read_without_registering(flat: tuple[tuple[Arrays, Arrays], Registration]) -> None:
    pair = read_pair(*flat[0])
    assert torch.equal(pair.fixed.image.data, flat[1].pair.fixed.image.data)
