from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy import ndimage

from geogrid.io import read_displacement
from geogrid.spatial import Grid, Image
from geogrid.transforms import AffineTransform
from tests.benchmarks import anchors, capture, datasets, page, run, scores, tables
from tests.benchmarks.anchors import Row
from tests.benchmarks.datasets import Problem
from tests.benchmarks.scores import Outcome

HERE = Path(__file__).parent
PEER_PYTHON = Path(os.environ.get("GEOGRID_PEER_PYTHON", HERE.parents[1] / ".venv-bench/bin/python"))


def save(path: Path, values: np.ndarray, affine: np.ndarray | None = None) -> Path:
    nib.Nifti1Image(values, np.eye(4) if affine is None else affine).to_filename(path)
    return path


def itk_warp(path: Path, values: np.ndarray) -> None:
    """A displacement file as ITK writes it: components (X, Y[, Z]) in LPS mm, array indexed by x, y, z."""
    dim = values.shape[-1]
    image = sitk.GetImageFromArray(np.ascontiguousarray(values.transpose(*range(dim - 1, -1, -1), dim)), isVector=True)
    sitk.WriteImage(image, str(path))


def test_slices_before_registration_are_those_of_the_anchors(test_data: Path) -> None:
    for problem in datasets.slices(test_data):
        assert scores.score_before(problem) == pytest.approx(anchors.ANCHORS["slices"][problem.name]["before"], abs=6e-4)


def test_slabs_before_registration_are_those_of_the_anchors(test_data: Path) -> None:
    for problem in datasets.slabs(test_data):
        assert scores.score_before(problem) == pytest.approx(anchors.ANCHORS["slabs"][problem.name]["before"], abs=1.1e-3)


def test_no_pair_that_is_reported_was_tuned_on() -> None:
    for reported, tuned in (
        (datasets.SLAB_PAIRS, datasets.SLAB_TUNING),
        (datasets.SLICE_PAIRS, datasets.SLICE_TUNING),
        (datasets.HEAD_PAIRS, datasets.HEAD_TUNING),
    ):
        assert not {frozenset(pair) for pair in reported} & {frozenset(pair) for pair in tuned}
    assert len({frozenset(pair) for pair in datasets.HEAD_PAIRS}) == 10


def test_rendered_head_is_seeded_t1_like_and_lies_where_its_labels_lie(tmp_path: Path) -> None:
    labels = np.zeros((48, 48, 48), np.int16)
    labels[8:40, 8:40, 8:40], labels[12:36, 12:36, 12:36], labels[18:30, 18:30, 18:30] = 515, 3, 2
    affine = np.diag([-1.0, 1.0, 1.0, 1.0])
    (tmp_path / "brain_labels").mkdir()
    for k in (1, 2):
        save(tmp_path / f"brain_labels/labels_{k:02d}.nii.gz", labels, affine)
    (problem,) = datasets.heads(tmp_path, tmp_path / "a", ((1, 2),))
    (again,) = datasets.heads(tmp_path, tmp_path / "b", ((1, 2),))
    image, rendered = (nib.load(p) for p in (problem.fixed, problem.fixed_labels))
    values, found = image.get_fdata(), np.asarray(rendered.dataobj)
    np.testing.assert_array_equal(values, nib.load(again.fixed).get_fdata())
    assert not np.array_equal(values, nib.load(problem.moving).get_fdata())
    skull, gray, white = (np.median(values[found == k]) for k in (515, 3, 2))
    assert white > 1.2 * gray > 3 * skull
    for value in (515, 3, 2):
        here = nib.affines.apply_affine(rendered.affine, np.argwhere(found == value)).mean(0)
        there = nib.affines.apply_affine(affine, np.argwhere(labels == value)).mean(0)
        np.testing.assert_allclose(here, there, atol=1e-6)


def test_coarse_label_is_the_commonest_of_eight() -> None:
    fine = np.array([5, 5, 5, 2, 2, 2, 2, 9], np.int32).reshape(2, 2, 2)
    assert datasets._most_frequent(fine).tolist() == [[[2]]]
    assert datasets._most_frequent(np.array([7, 1, 7, 1, 1, 7, 7, 1], np.int32).reshape(2, 2, 2)).tolist() == [[[1]]]


def test_mean_dice_counts_labels_that_either_map_contains() -> None:
    fixed, warped = np.array([1, 1, 2, 0]), np.array([1, 0, 0, 3])
    assert datasets.mean_dice(fixed, warped, (1, 2, 3, 4)) == pytest.approx((2 / 3 + 0 + 0) / 3)


@pytest.mark.parametrize("dim", [2, 3])
def test_folding_of_an_itk_file_is_the_share_of_content_that_is_turned_over(tmp_path: Path, dim: int) -> None:
    shape = (12,) * dim
    fixed = np.zeros(shape, np.float32)
    fixed[2:10] = 1
    itk_fixed = sitk.GetImageFromArray(fixed.transpose())
    sitk.WriteImage(itk_fixed, str(tmp_path / "fixed.nii"))
    warp = np.zeros((*shape, dim), np.float32)
    warp[..., 0] = -2.0 * np.clip(np.arange(12) - 5, 0, 4).reshape(-1, *(1,) * (dim - 1))
    itk_warp(tmp_path / "warp.nii", warp)
    assert scores.folding(tmp_path / "fixed.nii", tmp_path) == pytest.approx(100 * 5 / 8)
    itk_warp(tmp_path / "warp.nii", -warp)
    assert scores.folding(tmp_path / "fixed.nii", tmp_path) == 0


def test_local_correlation_of_an_affine_change_is_one_and_of_noise_near_zero() -> None:
    rng = np.random.default_rng(0)
    fixed, other = rng.standard_normal((2, 24, 24, 24))
    inside = np.ones(fixed.shape, bool)
    assert scores.local_correlation(fixed, 3 * fixed + 7, inside) == pytest.approx(1, abs=1e-6)
    assert scores.local_correlation(fixed, -fixed, inside) == pytest.approx(-1, abs=1e-6)
    assert abs(scores.local_correlation(fixed, other, inside)) < 0.02
    assert scores.local_correlation(fixed, np.full_like(fixed, 4.0), inside) == 0


def test_score_before_reads_the_moving_labels_through_both_headers(tmp_path: Path) -> None:
    labels = np.zeros((10, 10, 10), np.int16)
    labels[3:6, 3:6, 3:6] = 1
    fixed = save(tmp_path / "fixed.nii", labels)
    flipped = save(
        tmp_path / "same.nii", labels[::-1].copy(), np.array([[-1, 0, 0, 9], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    )
    shifted = save(tmp_path / "moved.nii", labels, np.array([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]))
    for moving, dice in ((flipped, 1.0), (shifted, 2 / 3)):
        assert scores.score_before(Problem("p", fixed, moving, fixed, moving, (1,))) == pytest.approx(dice)


def test_turn_keeps_the_centre_and_goes_from_r_towards_a() -> None:
    center = torch.tensor([5.0, -3.0, 2.0], dtype=torch.float64)
    turn = capture.rigid(2, 90.0, np.zeros(3), center)
    torch.testing.assert_close(turn(center[None]), center[None])
    off = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close((turn((center + off)[None]) - center)[0], torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))


def test_moved_head_shows_at_the_mapped_point_what_the_head_shows() -> None:
    axes = torch.meshgrid(*[torch.arange(24.0)] * 3, indexing="ij")
    blob = torch.exp(-((axes[0] - 8) ** 2 + (axes[1] - 14) ** 2 + (axes[2] - 11) ** 2) / 20)
    fixed = Image(blob, Grid((24, 24, 24), torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0]))))
    for _, motion in capture.movements(fixed.grid.center):
        moving = capture.moved(fixed, motion.inverse(), seed=0)
        weight = (moving.data / moving.data.max() - 0.1).clamp_min(0).flatten().double()
        centre = (weight[:, None] * moving.grid.points().double()).sum(0) / weight.sum()
        expected = motion(torch.tensor([[16.0, 28.0, 22.0]], dtype=torch.float64))[0]
        assert (centre - expected).norm() < 0.5
        assert capture.endpoint_error(motion, motion, fixed) == 0


def test_endpoint_error_of_a_shift_is_its_length() -> None:
    data = torch.zeros(9, 9, 9)
    data[2:7, 2:7, 2:7] = 1
    motion = capture.rigid(0, 0.0, np.array([0.0, 3.0, 4.0]), torch.zeros(3, dtype=torch.float64))
    image = Image(data, Grid((9, 9, 9), torch.eye(4)))
    assert capture.endpoint_error(AffineTransform.identity(3), motion, image) == pytest.approx(5)


def rows(score: float = 0.73, seconds: float = 2.0, alone: float = 0.68) -> list[Row]:
    found = []
    for name, known in anchors.ANCHORS["slabs"].items():
        outcomes = {"greedy": Outcome(known["greedy"], 0, 3.0, 300, 4), "geogrid": Outcome(score, 0.01, seconds, 900, 6)}
        outcomes |= {"classical": Outcome(0.735, 0.01, 1.8, 900, 6), "network": Outcome(alone, 0.01, 3.0, 900, 6)}
        found.append(Row(name, known["before"], outcomes))
    return found


def test_checks_tell_what_is_met() -> None:
    def met(found: list[Row]) -> list[bool | None]:
        return [check.met for check in anchors.check_slabs(found)]

    assert met(rows(0.74)) == [True] * 8
    assert met(rows(0.73)) == [True, False, True, True, True, True, False, True]
    assert met(rows(0.74, seconds=5.5)) == [True, True, True, False, False, True, True, False]
    assert met(rows(0.74, alone=0.66)) == [True, True, True, True, True, False, True, True]
    alone = [Row(r.name, r.before, {"geogrid": r.outcomes["geogrid"]}) for r in rows(0.74)]
    assert met(alone) == [True, True, True, True, None, None, None, None]


def test_heads_are_judged_against_both_peers() -> None:
    outcomes = {"greedy": Outcome(0.8, 0.02, 90, 2000, 95), "SyN": Outcome(0.7, 0.0, 180, 2000, 190)}
    good = Row("A, B", 0.27, outcomes | {"geogrid": Outcome(0.8, 0.0, 60, 8000, 80)})
    bad = Row("A, B", 0.27, outcomes | {"geogrid": Outcome(0.75, 0.01, 60, 9000, 95)})
    assert [c.met for c in anchors.check_heads_1mm([good])] == [True] * 4
    assert [c.met for c in anchors.check_heads_1mm([bad])] == [False] * 4


def test_tables_have_anchors_means_and_failures() -> None:
    found = rows()
    del found[0].outcomes["greedy"]
    lines = tables.score_table(found, ("greedy", "geogrid"), anchors.ANCHORS["slabs"]).splitlines()
    assert lines[0] == "| pair | before | greedy | geogrid | anchor greedy | anchor SyN |"
    assert lines[2] == "| 1, 10 | .664 | failed | .730 | .736 | .690 |"
    assert lines[-1] == "| mean | .664 | failed | .730 | .710 | .672 |"


def test_page_says_what_is_missing(tmp_path: Path) -> None:
    assert page.peer_versions(tmp_path / "python") == {}
    section = page.dated("## One\n\n| a |", "machine\n\ncolumns are left out.")
    assert section == "## One\n\nmachine\n\ncolumns are left out.\n\n| a |"


def test_tables_of_the_same_title_are_replaced_and_others_stay() -> None:
    first = page.updated("", ["## One\n\nold", "## Two\n\nkept"])
    second = page.updated(first, ["## One\n\nnew", "## Three\n\nadded"])
    assert second.split("\n## ")[1:] == ["One\n\nnew\n", "Two\n\nkept\n", "Three\n\nadded\n"]
    assert first.startswith("# Benchmarks")
    assert second.startswith("# Benchmarks")


def test_unknown_table_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", "--tables", "slices,slab"])
    with pytest.raises(SystemExit, match="2"):
        run.arguments()
    assert "got slab\n" in capsys.readouterr().err


@pytest.fixture
def waves(tmp_path: Path) -> tuple[Problem, np.ndarray]:
    """Texture in an LPS-stored moving file; fixed(x) = moving(x + u) with u along R; and u in mm at the fixed voxels."""
    rng = np.random.default_rng(0)
    texture = ndimage.gaussian_filter(rng.standard_normal((44, 44, 44)), 1.8)
    moving = ((texture - texture.min()) * ndimage.gaussian_filter((np.indices(texture.shape) % 43 > 5).all(0) * 1.0, 2)).astype(
        "f4"
    )
    index = np.indices(moving.shape).astype(float)
    wave = 2 * np.sin(2 * np.pi * index[1] / 22)
    fixed = ndimage.map_coordinates(moving, index + np.stack([wave, 0 * wave, 0 * wave]), order=1).astype("f4")
    turned = np.array([[-1, 0, 0, 43], [0, -1, 0, 43], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    files = [save(tmp_path / "fixed.nii", fixed), save(tmp_path / "moving.nii", moving[::-1, ::-1].copy(), turned)]
    level = np.median(moving[moving > 0.1])
    labels = [
        save(tmp_path / "fixed_labels.nii", (fixed > level).astype("i2")),
        save(tmp_path / "moving_labels.nii", (moving > level)[::-1, ::-1].astype("i2"), turned),
    ]
    return Problem("waves", files[0], files[1], labels[0], labels[1], (1,)), wave


@pytest.mark.slow
@pytest.mark.skipif(not PEER_PYTHON.exists(), reason="needs greedy and antspyx: make bench sets them up")
@pytest.mark.parametrize("program", ["greedy", "syn"])
def test_warps_of_peers_are_read_as_pull_back_displacements(
    waves: tuple[Problem, np.ndarray], tmp_path: Path, program: str
) -> None:
    problem, wave = waves
    files = [str(path) for path in (problem.fixed, problem.moving, problem.moving_labels, tmp_path / "out")]
    command = [str(PEER_PYTHON), str(HERE / "peers.py"), program, *files, "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert 0 < found["seconds"] < 600
    assert 50 < found["peak_memory_mb"] < 5000
    warp = next((tmp_path / "out").glob("warp.nii*"))
    inside = (slice(8, 36),) * 3
    along_r = read_displacement(warp)[0].numpy()[inside][..., 0]
    slope = (along_r * wave[inside]).sum() / (wave[inside] ** 2).sum()
    assert np.corrcoef(along_r.ravel(), wave[inside].ravel())[0, 1] > 0.8
    assert 0.6 < slope < 1.2
    outcome = scores.score_after(problem, tmp_path / "out", 1.0, 1.0, 1.0)
    assert 1 - outcome.score < (1 - scores.score_before(problem)) / 2
    assert outcome.folding < 1
