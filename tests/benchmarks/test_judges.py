"""The judges of large displacements, sliding borders and retinal layers measure what they say."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
import torch

from geogrid.data import synthesize
from geogrid.models import GeoReg, GeoRegConfig, ModelCard, save_weights
from geogrid.spatial import Grid, Image
from geogrid.transforms import AffineTransform, warp_image
from tests.benchmarks import capture_range, moved_heads, oct, sliding
from tests.benchmarks.anchors import Row
from tests.benchmarks.capture import endpoint_error, head_mask
from tests.benchmarks.scores import Outcome, score_before


@pytest.fixture(scope="module")
def head() -> Image:
    """Soft texture in a soft ball, 8 mm voxels."""
    draw = torch.Generator().manual_seed(0)
    axes = torch.meshgrid(*[torch.arange(24.0) - 11.5] * 3, indexing="ij")
    texture = torch.nn.functional.interpolate(torch.rand(1, 1, 7, 7, 7, generator=draw), (24, 24, 24), mode="trilinear")[0, 0]
    ball = torch.sigmoid(8 - torch.stack(axes).norm(dim=0))
    return Image(ball * (0.3 + texture), Grid((24, 24, 24), torch.diag(torch.tensor([8.0, 8.0, 8.0, 1.0]))))


def test_every_kind_has_the_size_it_states_and_the_moving_head_is_the_head_under_it(
    head: Image, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(moved_heads, "head", lambda data, name: head)
    monkeypatch.setattr("tests.benchmarks.capture.PAD_VOXELS", 8)
    points = head.grid.points()
    cases = list(moved_heads.moved_heads(None, ("oasis_B",), draws=1, work=tmp_path))
    assert [case.kind for case in cases] == list(moved_heads.KINDS)
    for case in cases:
        smooth, affine = case.truth.transforms
        assert float((smooth(points) - points).square().sum(1).mean().sqrt()) == pytest.approx(8, abs=0.01)
        stretches = torch.linalg.svdvals(affine.linear)
        degrees = math.degrees(math.acos(float((affine.linear @ torch.linalg.inv(_stretch(affine))).trace() - 1) / 2))
        shift = float((affine(head.grid.center[None]) - head.grid.center).norm())
        expected = {"28 mm": (0, 28), "45 degrees": (45, 0), "scales": (0, 0), "30 degrees, 15 mm, scales": (30, 15)}[case.kind]
        assert (degrees, shift) == pytest.approx(expected, abs=0.1)
        assert stretches.log().abs().max() <= (math.log(1.4) if "scales" in case.kind else 0) + 1e-6
        seen = warp_image(case.moving, case.truth, head.grid).data
        assert torch.corrcoef(torch.stack([seen.flatten(), head.data.flatten()]))[0, 1] > 0.97
        assert endpoint_error(AffineTransform.identity(3), case.truth, head) > 5


def _stretch(affine: AffineTransform) -> torch.Tensor:
    """The diagonal matrix that acts before the turn: the lengths of the columns."""
    return torch.diag(affine.linear.norm(dim=0))


def test_a_case_is_the_same_in_a_part_of_the_whole(head: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moved_heads, "head", lambda data, name: head)
    whole = {case.name: case for case in moved_heads.moved_heads(None, moved_heads.HEADS)}
    assert len(whole) == 40
    for case in moved_heads.moved_heads(None, ("oasis_B",), draws=1):
        assert torch.equal(case.truth(head.grid.points()), whole[case.name].truth(head.grid.points()))
    assert not set(moved_heads.HEADS) & set(moved_heads.TUNING_HEADS)


def rows(errors: list[float], starts: list[float], program: str = "net") -> list[capture_range.Measured]:
    shared = {"kind": "scales", "contrast": "same", "similarity": "lncc", "before": 30.0, "folding": 0.0, "seconds": 1.0}
    return [
        {"case": f"{k}", "program": program, "error": error, "start": start} | shared
        for k, (error, start) in enumerate(zip(errors, starts, strict=True))
    ]


def test_summary_counts_the_cases_below_the_limits() -> None:
    found = rows([1.0, 1.9, 2.1, 9.0], [3.0, 3.9, 4.1, 1.0])
    lines = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:5]]
        for line in capture_range.summary(found).splitlines()
    }
    assert lines["net + optimisation"] == ["2 of 4", "3 of 4", "2.00"]
    assert lines["net start"] == ["1 of 4", "3 of 4", "3.45"]
    assert lines["before"] == ["0 of 4", "0 of 4", "30.00"]


def test_demands_are_met_by_38_and_36_of_40_and_not_by_fewer() -> None:
    met = capture_range.checks(rows([1.0] * 38 + [9.0] * 2, [3.0] * 36 + [9.0] * 4))
    assert [check.met for check in met] == [True] * 3
    missed = capture_range.checks(rows([1.0] * 37 + [9.0] * 3, [3.0] * 35 + [9.0] * 5))
    assert [check.met for check in missed] == [False, False, True]
    assert capture_range.checks(rows([1.0], [1.0], "classical")) == []


def test_what_a_file_has_is_not_run_again(head: Image, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(moved_heads, "head", lambda data, name: head)
    measured: list[str] = []

    def measure(case: moved_heads.MovedHead, program: str, settings: capture_range.Settings) -> capture_range.Measured:
        measured.append(case.name)
        return {"error": 1.0, "start": 2.0, "folding": 0.0, "seconds": 1.0}

    monkeypatch.setattr(capture_range, "measure", measure)
    for draws in (1, 2):
        cases = moved_heads.moved_heads(None, ("oasis_B",), draws=draws)
        capture_range.run(cases, ["classical"], "same", capture_range.Settings(), tmp_path / "rows.jsonl")
    assert len(measured) == len(set(measured)) == 8
    assert len(capture_range.read_rows(tmp_path / "rows.jsonl")) == 8


def test_a_model_is_judged_alone_and_as_a_start(head: Image, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(moved_heads, "head", lambda data, name: head)
    monkeypatch.setattr("tests.benchmarks.capture.PAD_VOXELS", 8)
    model = GeoReg(GeoRegConfig(dim=3, channels=(4, 4), steps=(0, 1), num_blocks=1)).eval()
    file = save_weights(tmp_path / "random.safetensors", model, ModelCard(data="none", recipe="random weights", seed=0))
    case = next(moved_heads.moved_heads(None, ("oasis_B",), draws=1))
    found = [capture_range.measure(case, program, capture_range.Settings()) for program in ("classical", str(file))]
    assert all(math.isfinite(row[key]) for row in found for key in ("start", "error", "folding", "seconds"))
    assert {row["kept"] for row in found} <= {"affine", "headers", "learned"}
    assert found[0]["start"] != found[1]["start"]


def test_standing_still_at_a_sliding_border_is_half_the_slip_near_and_far() -> None:
    def still(fixed: object, moving: object) -> SimpleNamespace:
        return SimpleNamespace(last=SimpleNamespace(displacement=torch.zeros(32 * 32, 2)))

    found = sliding.evaluate(still, 2)  # type: ignore[arg-type]
    assert found == pytest.approx({"near mm": 3.0, "far mm": 3.0}, abs=1e-4)


def test_distance_to_the_border_changes_sides_where_the_displacement_jumps() -> None:
    pair = synthesize(sliding.pairs_of((6.0, 6.0)), torch.Generator().manual_seed(4))
    displacement, distance = (values.reshape(32, 32, -1) for values in (pair.displacement, sliding.distance_to_border(pair)))
    jumps = displacement.diff(dim=0).norm(dim=-1) > 5
    assert jumps.any()
    assert distance[:-1][jumps].max() <= 2.0 + 1e-4
    assert displacement.diff(dim=0).norm(dim=-1)[~jumps].max() < 1e-4


def test_the_truth_handed_down_is_right_away_from_the_border_and_untrained_h_inherits_it() -> None:
    model = GeoReg(GeoRegConfig(dim=2, channels=(4, 4), steps=(0, 1), num_blocks=1)).eval()
    pairs = [synthesize(sliding.pairs_of((6.0, 6.0)), torch.Generator().manual_seed(seed)) for seed in (4, 5)]
    with torch.no_grad():
        inherited, learned = sliding.handed_down(model, pairs)
    torch.testing.assert_close(inherited, learned)
    error = (inherited - torch.cat([pair.displacement for pair in pairs])).norm(dim=1)
    distance = torch.cat([sliding.distance_to_border(pair) for pair in pairs])
    assert error[distance > 6].max() < 1e-3
    assert error[distance < 1].mean() > 0.5


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Eight bright layers under a dark half, in the format of the files."""
    (tmp_path / "oct").mkdir()
    depth = np.arange(160)[:, None] + 6 * np.sin(np.arange(64) / 10)[None]
    for k, top in ((1, 50), (2, 60)):
        layer = np.clip((depth - top) // 6, -1, 8)
        values = np.where((layer < 0) | (layer > 7), 240, layer * 30).astype(np.uint8)
        picture = np.where(values == 240, 20, 60 + 20 * (layer % 3)).astype(np.uint8)
        PIL.Image.fromarray(values).save(tmp_path / f"oct/bscan{k}_layers.png")
        PIL.Image.fromarray(picture).save(tmp_path / f"oct/bscan{k}.png")
    return tmp_path


def test_layers_are_numbered_and_move_with_their_scan(scans: Path, tmp_path: Path) -> None:
    labels = oct.layers(scans, 1)
    assert labels.data.unique().tolist() == list(range(9))
    assert labels.grid.shape == oct.bscan(scans, 1).grid.shape == (64, 160)
    problems = list(oct.oct_scans(scans, tmp_path / "work"))
    assert [problem.name for problem in problems] == ["1, 1 moved", "2, 2 moved", "1, 2", "2, 1"]
    assert all(score_before(problem) < 0.6 for problem in problems)
    draw = torch.Generator().manual_seed(1)
    back = oct.random_deformation(oct.MOTION, labels.grid, labels.grid, draw)
    layer, shade = oct.moved(labels, back, labels=True).data, oct.moved(oct.bscan(scans, 1), back).data
    for k in (1, 2, 3):
        assert shade[layer == k].median() == pytest.approx((60 + 20 * ((k - 1) % 3)) / 255, abs=0.02)


def test_oct_is_judged_against_syn_of_the_same_run() -> None:
    outcomes = {"SyN": Outcome(0.7, 0, 1, 1, 1), "geogrid": Outcome(0.8, 0.2, 1, 1, 1)}
    assert [check.met for check in oct.check_oct([Row("1, 2", 0.2, outcomes)])] == [True, False]
    alone = {"geogrid": Outcome(0.8, 0.0, 1, 1, 1)}
    assert [check.met for check in oct.check_oct([Row("1, 2", 0.2, alone)])] == [None, True]


def test_the_head_is_not_the_air_around_it_nor_only_its_bright_parts() -> None:
    axes = torch.meshgrid(*3 * [torch.linspace(-1, 1, 40)], indexing="ij")
    radius = torch.stack(axes).norm(dim=0)
    values = 0.08 * (radius < 0.95).float()
    values[radius < 0.7] = 0.45
    values[radius < 0.62] = 0.02
    values[radius < 0.55] = 1.0
    values[0, 0, 0] = 1.0
    image = Image(values, Grid((40, 40, 40), torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0]))))
    assert torch.equal(head_mask(image), radius < 0.7)
