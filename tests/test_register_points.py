"""Points to points, from Python: what comes back, what is written, and what is refused or survives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import geogrid
from geogrid.io import PointTable, from_arrays, read_points, to_pyg, to_pytorch3d
from geogrid.metrics import target_registration_error
from geogrid.models import weights_sha256
from geogrid.optimize import PointsConfig
from geogrid.optimize.pipeline import OptimizeConfig
from geogrid.transforms import AffineTransform, KernelTransform, carry_points, read_transform
from tests.graph.clouds import usable
from tests.io.cases import refused

FILES = {"warped.csv", "fixed_in_moving.csv", "transform.json", "metrics.json", "report.html"}
QUICK = PointsConfig(control_points=60)


def cloud(dim: int = 3, count: int = 120) -> Tensor:
    """A lopsided cloud of about 100 mm, far from the origin."""
    points = torch.rand(count, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return 100 * points * (0.4 + 0.6 * points[:, :1]) + 40


def truth(dim: int = 3) -> KernelTransform:
    """A small turn, a shift, and two smooth bumps of 6 mm."""
    matrix = torch.eye(dim + 1, dtype=torch.float64)
    matrix[0, 1], matrix[1, 0] = 0.06, -0.06
    matrix[:-1, -1] = torch.tensor([5.0, -4.0, 3.0])[:dim]
    centers = torch.full((2, dim), 60.0, dtype=torch.float64) + torch.tensor([[0.0], [30.0]])
    push = torch.tensor([[6.0, 0.0, 0.0], [0.0, -6.0, 3.0]], dtype=torch.float64)[:, :dim]
    return KernelTransform(AffineTransform(matrix), centers, push, (30.0,), (1.0,))


def pair(dim: int = 3) -> tuple[Tensor, Tensor]:
    """Fixed points, and where they go, shuffled."""
    fixed = cloud(dim)
    order = torch.randperm(len(fixed), generator=torch.Generator().manual_seed(1))
    return fixed, truth(dim)(fixed)[order]


@pytest.fixture(scope="module")
def done() -> geogrid.CloudRegistration:
    fixed, moving = pair()
    landmarks = cloud()[:20] + 1
    found = geogrid.register(fixed, moving, fixed_landmarks=landmarks, moving_landmarks=truth()(landmarks), config=QUICK)
    assert isinstance(found, geogrid.CloudRegistration)
    return found


@pytest.mark.parametrize("dim", [2, 3])
def test_the_motion_is_found_and_its_direction_is_right(dim: int) -> None:
    fixed, moving = pair(dim)
    found = geogrid.register(fixed, moving, config=QUICK)
    error = target_registration_error(found.transform, fixed, truth(dim)(fixed))
    before = target_registration_error(AffineTransform.identity(dim), fixed, truth(dim)(fixed))
    assert float(error.mean()) < 0.2 * float(before.mean())
    assert found.metrics["chamfer_after_mm"] < 0.3 * found.metrics["chamfer_before_mm"]


def test_there_and_back(done: geogrid.CloudRegistration) -> None:
    torch.testing.assert_close(done.transform(done.warped), done.moving.points, atol=1e-2, rtol=0)
    torch.testing.assert_close(done.inverse(done.fixed_in_moving), done.fixed.points, atol=1e-2, rtol=0)
    torch.testing.assert_close(done.inverse(done.moving.points), done.warped)


def test_metrics(done: geogrid.CloudRegistration) -> None:
    metrics = done.metrics
    assert metrics["tre_after_mm"] < 0.2 * metrics["tre_before_mm"]
    assert metrics["hausdorff_after_mm"] < metrics["hausdorff_before_mm"]
    assert 0.3 < metrics["match_support"] <= 1
    assert (metrics["num_fixed"], metrics["num_moving"], metrics["without_inverse"]) == (120, 120, 0)
    assert metrics["num_matched"] > 80
    assert {"seconds", "versions", "peak_memory_mb", "parameters"} <= set(metrics)
    assert set(metrics["followed"]) == {"affine", "dense", "sparse", "network"}
    assert metrics["parameters"]["model"] == {"name": "points-3d", "sha256": weights_sha256("points-3d")}


@pytest.mark.parametrize(("dim", "model"), [(2, "auto"), (3, "none")])
def test_without_a_model_the_classical_stages_stand_alone(dim: int, model: str) -> None:
    fixed, moving = pair(dim)
    metrics = geogrid.register(fixed, moving, model=model, config=QUICK).metrics
    assert metrics["parameters"]["model"] is None
    assert set(metrics["followed"]) == {"affine", "dense", "sparse"}


def test_the_shipped_model_alone_finds_most_of_the_motion() -> None:
    fixed, moving = pair()
    found = geogrid.register(fixed, moving, optimize=False, config=QUICK)
    assert found.metrics["followed"] == {"network": 1.0}
    assert found.metrics["parameters"]["optimize"] is False
    left = (found.transform(fixed) - truth()(fixed)).norm(dim=1).mean()
    assert left < 0.6 * (truth()(fixed) - fixed).norm(dim=1).mean()


def test_weights_for_images_are_refused_for_points() -> None:
    fixed, moving = pair()
    with refused("model synth-3d", "expected weights for 3-D points without features, got 3-D and 1"):
        geogrid.register(fixed, moving, model="synth-3d")
    with refused("optimize", "no model"):
        geogrid.register(fixed, moving, model="none", optimize=False)


def test_what_is_written(done: geogrid.CloudRegistration, tmp_path: Path) -> None:
    done.save(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    assert torch.equal(read_points(tmp_path / "out" / "warped.csv").points, done.warped)
    assert torch.equal(read_points(tmp_path / "out" / "fixed_in_moving.csv").points, done.fixed_in_moving)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == done.metrics
    page = (tmp_path / "out" / "report.html").read_text()
    for words in ("Chamfer distance", "Match support", 'id="clouds"', 'id="displacement"', 'id="convergence"'):
        assert words in page
    with refused("warped.csv", "exists already"):
        done.save(tmp_path / "out")
    done.save(tmp_path / "out", overwrite=True)


def test_the_file_is_the_transform(done: geogrid.CloudRegistration, tmp_path: Path) -> None:
    done.save(tmp_path)
    again = read_transform(tmp_path / "transform.json")
    anywhere = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 300
    assert torch.equal(again(anywhere), done.transform(anywhere))
    torch.testing.assert_close(carry_points(again, done.moving.points, inverse=True).points, done.warped)


def test_the_same_from_any_container(tmp_path: Path) -> None:
    fixed, moving = (points.float() for points in pair())
    expected = geogrid.register(fixed, moving, config=QUICK).fixed_in_moving
    (tmp_path / "f.csv").write_text("\n".join(",".join(map(repr, row)) for row in fixed.tolist()))
    sources: list[Any] = [
        fixed.numpy(),
        from_arrays(fixed),
        to_pyg(from_arrays(fixed)),
        tmp_path / "f.csv",
        str(tmp_path / "f.csv"),
    ]
    for source in sources:
        found = geogrid.register(source, from_arrays(moving), config=QUICK)  # type: ignore[call-overload]
        torch.testing.assert_close(found.fixed_in_moving, expected, atol=1e-6, rtol=0)


@pytest.mark.backend
def test_pytorch3d_clouds_end_to_end() -> None:
    usable("pytorch3d")
    fixed, moving = (points.float() for points in pair())
    expected = geogrid.register(fixed, moving, config=QUICK)
    found: Any = geogrid.register(to_pytorch3d(from_arrays(fixed)), to_pytorch3d(from_arrays(moving)), config=QUICK)  # type: ignore[call-overload]
    torch.testing.assert_close(found.fixed_in_moving, expected.fixed_in_moving, atol=1e-4, rtol=0)


def test_lps_in_lps_out(tmp_path: Path) -> None:
    signs = torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64)
    fixed, moving = pair()
    ras = geogrid.register(fixed, moving, config=QUICK)
    lps = geogrid.register(fixed * signs, moving * signs, coordinates="lps", config=QUICK)
    torch.testing.assert_close(lps.warped, ras.warped)
    lps.save(tmp_path)
    torch.testing.assert_close(read_points(tmp_path / "warped.csv").points, ras.warped * signs)


def test_order_does_not_matter() -> None:
    fixed, moving = pair()
    expected = geogrid.register(fixed, moving, config=QUICK).fixed_in_moving
    again = geogrid.register(fixed.flip(0), moving.roll(7, 0), config=QUICK).fixed_in_moving.flip(0)
    torch.testing.assert_close(again, expected, atol=1e-4, rtol=0)


@pytest.mark.filterwarnings("ignore::geogrid.GeogridWarning")
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(("count", "limit"), [(1, 0.5), (2, 0.5), (4, None), (10, 0.5)])
def test_few_points_follow_a_shift(dim: int, count: int, limit: float | None, tmp_path: Path) -> None:
    """Of 3 to 7 points a part of the shift is left over (up to 3.2 mm of 5.4 mm with 4 points); it must at least shrink."""
    fixed = cloud(dim, count)
    shift = torch.tensor([4.0, -3.0, 2.0], dtype=torch.float64)[:dim]
    found = geogrid.register(fixed, fixed + shift)
    assert float((found.fixed_in_moving - fixed - shift).norm(dim=1).max()) < (limit or float(shift.norm()))
    if count == 1:
        found.save(tmp_path / "out")
        assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


THIN = {
    "duplicates": cloud().repeat_interleave(3, 0),
    "collinear": cloud()[:, :1] * torch.tensor([[1.0, 0.5, -0.25]], dtype=torch.float64),
    "coplanar": cloud() * torch.tensor([[1.0, 1.0, 0.0]], dtype=torch.float64),
    "one place": cloud()[:1].expand(12, 3),
}


@pytest.mark.filterwarnings("ignore::geogrid.GeogridWarning")
@pytest.mark.parametrize("kind", THIN)
def test_thin_clouds_follow_a_shift(kind: str, tmp_path: Path) -> None:
    fixed = THIN[kind]
    found = geogrid.register(fixed, fixed + 3, config=QUICK)
    assert found.metrics["hausdorff_after_mm"] < 0.5
    torch.testing.assert_close(found.warped, fixed, atol=0.5, rtol=0)
    if kind in ("one place", "collinear"):
        found.save(tmp_path / "out")


def test_other_units_are_told() -> None:
    fixed, moving = pair()
    with pytest.warns(geogrid.GeogridWarning, match="multiplied by 1000"):
        found = geogrid.register(fixed, moving / 1000)
    plain = geogrid.register(fixed, moving)
    torch.testing.assert_close(found.fixed_in_moving * 1000, plain.fixed_in_moving, atol=1e-3, rtol=0)
    torch.testing.assert_close(found.warped, plain.warped, atol=1e-2, rtol=0)
    with refused("moving points", "unit", "metres"):
        geogrid.register(fixed, moving / 320)


def test_low_support_warns() -> None:
    other = 100 * torch.rand(150, 3, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    with pytest.warns(geogrid.GeogridWarning, match="match support"):
        geogrid.register(cloud(), other, config=PointsConfig(control_points=20, low_support=0.8))


REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "labels": ({"fixed_labels": "a.nii"}, ["fixed_labels", "is for images"]),
    "affine": ({"affine": "rigid"}, ["affine", "is for images"]),
    "resolution": ({"resolution": 2.0}, ["resolution", "is for images"]),
    "config": ({"config": OptimizeConfig()}, ["config", "PointsConfig", "OptimizeConfig"]),
    "one landmark list": ({"fixed_landmarks": cloud()}, ["landmarks", "moving landmarks too"]),
    "lengths": ({"fixed_landmarks": cloud()[:3], "moving_landmarks": cloud()[:4]}, ["landmarks", "3 fixed and 4 moving"]),
    "flat landmarks": ({"fixed_landmarks": cloud(2), "moving_landmarks": cloud(2)}, ["fixed landmarks", "3-D", "(120, 2)"]),
    "features": ({"features": ["size"]}, ["fixed points", "size", "none"]),
    "coordinates": ({"coordinates": "RAI"}, ["coordinates", "ras or lps"]),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_does_not_fit_is_refused(kind: str) -> None:
    options, words = REFUSED[kind]
    with refused(words[0], *words):
        geogrid.register(*pair(), **options)


def test_two_kinds_are_refused() -> None:
    image: Any = (torch.rand(8, 8, 8), torch.eye(4))
    with refused("fixed samples", "column intensity", "got none", "two sets of points"):
        geogrid.register(cloud(), image)
    with refused("moving samples", "column intensity", "got none", "two sets of points"):
        geogrid.register("scan.nii.gz", cloud())
    with refused("features", "is for points"):
        geogrid.register(image, image, features=["size"])
    with refused("2-D", "3-D", "same dimension"):
        geogrid.register(cloud(2), cloud(3))


def test_features_settle_what_positions_cannot() -> None:
    """A ring turned by 40 degrees looks like one turned by 0; the feature says which point is which."""
    angle = torch.arange(36, dtype=torch.float64) * torch.pi / 18
    ring = 50 * torch.stack([angle.cos(), angle.sin()], 1)
    turned = ring.roll(-2, 0)
    table = PointTable(ring, features=ring, feature_names=("a", "b"))
    other = PointTable(turned, features=ring, feature_names=("a", "b"))
    plain = geogrid.register(table, other)
    told = geogrid.register(table, other, features=("a", "b"))
    miss = [float((found.fixed_in_moving - turned).norm(dim=1).mean()) for found in (plain, told)]
    assert miss[1] < 0.3 * miss[0]
