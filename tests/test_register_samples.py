"""Images against scattered samples of images, either way round, from Python and on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest
import torch

import geogrid
from geogrid.errors import GeogridError
from geogrid.io import PointTable, SampledImage, from_arrays, read_points, write_points
from geogrid.transforms import Transform
from tests.data.runs import run
from tests.samples import errors, fixed_shown, moved, on_grid, scattered, shown

SPACINGS = {2: 1.6, 3: 2.6}
GRIDS = {2: (1.0, 2.0), 3: (2.0, 2.0, 4.0)}


def source(side: str, dim: int, kind: str) -> Any:
    image = fixed_shown if side == "fixed" else shown
    if kind == "samples":
        return scattered(image, dim, SPACINGS[dim], seed=len(side))
    return on_grid(image, GRIDS[dim] if side == "fixed" else GRIDS[dim][::-1], degrees=20 if side == "moving" else 0)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(
    ("fixed", "moving"), [("image", "image"), ("image", "samples"), ("samples", "image"), ("samples", "samples")]
)
def test_the_map_is_found_on_every_sampling(dim: int, fixed: str, moving: str) -> None:
    options = {"intensity": "intensity"} if "image" not in (fixed, moving) else {}
    found = geogrid.register(source("fixed", dim, fixed), source("moving", dim, moving), **options)
    assert isinstance(found, geogrid.Registration)
    error = errors(found.transform, dim)
    assert error.before > 3
    assert error.after < 0.1 * error.before
    assert found.metrics["folding_percent"] == 0
    assert found.metrics["lncc_after"] > found.metrics["lncc_before"]


def nifti(path: Path, side: str, dim: int) -> Path:
    values, affine = source(side, dim, "image")
    full = torch.eye(4, dtype=torch.float64)
    full[:dim, :dim], full[:dim, 3] = affine[:dim, :dim], affine[:dim, dim]
    nib.save(nib.Nifti1Image(values.float().numpy(), full.numpy()), path)
    return path


def test_fixed_samples_from_files_to_files(tmp_path: Path) -> None:
    samples = source("fixed", 2, "samples")
    write_points(tmp_path / "fixed.csv", samples, "lps")
    out = tmp_path / "out"
    moving = nifti(tmp_path / "moving.nii.gz", "moving", 2)
    assert run("register", tmp_path / "fixed.csv", moving, "--out", out, "--coordinates", "lps", "--quiet") == 0
    assert {path.name for path in out.iterdir()} == {
        *("warped.nii.gz", "displacement.nii.gz", "inverse_displacement.nii.gz", "metrics.json", "report.html"),
        *("fixed_in_moving.csv", "warped_samples.csv"),
    }
    there = read_points(out / "fixed_in_moving.csv", coordinates="lps")
    inner = samples.points.norm(dim=1) < 25
    assert float((there.points - moved(samples.points))[inner].norm(dim=1).mean()) < 0.5
    carried = tmp_path / "carried.csv"
    assert run(
        "apply-points", out / "displacement.nii.gz", tmp_path / "fixed.csv", "--coordinates", "lps", "--out", carried
    ) == 0  # fmt: skip
    torch.testing.assert_close(read_points(carried, coordinates="lps").points, there.points, atol=1e-3, rtol=0)
    warped = read_points(out / "warped_samples.csv", coordinates="lps")
    assert warped.feature_names == ("intensity", "warped")
    torch.testing.assert_close(warped.points, samples.points)
    assert warped.features is not None
    assert float((warped.features[:, 0] - warped.features[:, 1])[inner].abs().mean()) < 0.05
    assert json.loads((out / "metrics.json").read_text())["lncc_after"] > 0.8


def test_moving_samples_from_files_to_files(tmp_path: Path) -> None:
    samples = source("moving", 2, "samples")
    write_points(tmp_path / "moving.csv", samples)
    fixed = nifti(tmp_path / "fixed.nii.gz", "fixed", 2)
    out = tmp_path / "out"
    assert run("register", fixed, tmp_path / "moving.csv", "--out", out, "--quiet") == 0
    names = {path.name for path in out.iterdir()}
    assert "warped.csv" in names
    assert not names & {"fixed_in_moving.csv", "warped_samples.csv"}
    assert nib.load(out / "warped.nii.gz").shape == nib.load(fixed).shape
    back = read_points(out / "warped.csv").points
    inner = back.norm(dim=1) < 24
    assert float((moved(back) - samples.points)[inner].norm(dim=1).mean()) < 0.5


def test_tables_of_another_run_do_not_stay(tmp_path: Path) -> None:
    fixed, moving = (source(side, 2, "image") for side in ("fixed", "moving"))
    found = geogrid.register(source("fixed", 2, "samples"), moving)
    found.save(tmp_path)
    assert (tmp_path / "warped_samples.csv").exists()
    geogrid.register(fixed, moving).save(tmp_path, overwrite=True)
    assert not (tmp_path / "warped_samples.csv").exists()


def test_landmarks_judge_samples_too() -> None:
    marks = torch.tensor([[5.0, 5.0], [-10.0, 8.0], [0.0, -12.0]], dtype=torch.float64)
    found = geogrid.register(
        source("fixed", 2, "samples"), source("moving", 2, "image"), fixed_landmarks=marks, moving_landmarks=moved(marks)
    )
    assert isinstance(found.pair.fixed, SampledImage)
    assert found.metrics["tre_after_mm"] < 0.2 * found.metrics["tre_before_mm"]


def test_clouds_without_a_named_intensity_stay_clouds() -> None:
    table = source("fixed", 2, "samples")
    points, values = table.points[:40], table.features[:40]
    cloud = from_arrays(points, features=values)
    assert isinstance(geogrid.register(cloud, cloud), geogrid.CloudRegistration)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fixed_mask": "mask.nii.gz"}, "fixed_mask: scattered samples have no voxels"),
        ({"fixed_labels": "labels.nii.gz", "moving_labels": "labels.nii.gz"}, "fixed_labels: scattered samples"),
        ({"features": ("intensity",)}, "features: is for points"),
        ({"intensity": "t2"}, "fixed samples: expected a column t2"),
    ],
)
def test_options_that_do_not_fit_samples_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(GeogridError, match=words):
        geogrid.register(source("fixed", 2, "samples"), source("moving", 2, "image"), **options)


def test_an_intensity_of_images_is_refused() -> None:
    with pytest.raises(GeogridError, match="intensity: is for scattered samples"):
        geogrid.register(source("fixed", 2, "image"), source("moving", 2, "image"), intensity="intensity")


def test_other_dimensions_are_refused() -> None:
    with pytest.raises(GeogridError, match=r"2-D and .* 3-D"):
        geogrid.register(source("fixed", 2, "samples"), source("moving", 3, "image"))


def test_the_command_line_says_in_one_line_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_points(tmp_path / "bare.csv", PointTable(source("fixed", 2, "samples").points))
    moving = nifti(tmp_path / "moving.nii.gz", "moving", 2)
    assert run("register", tmp_path / "bare.csv", moving, "--out", tmp_path / "out") == 2
    said = capsys.readouterr().err.strip()
    assert "--intensity" in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("fixed", "moving"),
    [
        (((4, 5, 6), (0.5, 0.5, 7.5)), ((9, 4, 30), (1.0, 4.0, 0.3))),
        (((4, 4, 4), (10.0, 10.0, 10.0)), ((40, 40, 40), (1.0, 1.0, 1.0))),
        (((48, 49, 4), (0.5, 0.5, 7.5)), ((21, 38, 39), (1.0, 1.0, 1.0))),
        (((4, 200), (1.0, 0.2)), ((50, 5), (0.5, 6.0))),
    ],
)
def test_tiny_and_odd_fields_of_view_are_survived(fixed: Any, moving: Any) -> None:
    """Also where there is hardly anything to match: a finite map, without folds."""
    found = geogrid.register(part(fixed_shown, *fixed), part(shown, *moving))
    assert bool(found.transform.displacement.isfinite().all())
    assert found.metrics["folding_percent"] < 1
    inverse: Transform = found.inverse
    assert bool(inverse(torch.zeros(1, len(fixed[0]), dtype=torch.float64)).isfinite().all())


def part(image: Any, shape: tuple[int, ...], spacing: tuple[float, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Some voxels around the origin."""
    affine = torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))
    affine[:-1, -1] = -affine[:-1, :-1] @ ((torch.tensor(shape, dtype=torch.float64) - 1) / 2)
    return image(geogrid.spatial.Grid(shape, affine).points().double()).view(shape), affine
