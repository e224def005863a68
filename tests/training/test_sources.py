"""Where pairs come from: the same number gives the same pair, and files that do not fit are named."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from geogrid.data import PairBatch, PointPairConfig, SyntheticConfig
from geogrid.errors import GeogridError
from geogrid.graph import point_spacing
from geogrid.models import GeoReg
from geogrid.training import (
    CloudsConfig,
    DataConfig,
    DigitsConfig,
    ImagesConfig,
    PairSource,
    PointsConfig,
    SamplingConfig,
    WorldsConfig,
    make_source,
)
from geogrid.training.draws import generator_of, shuffled_place
from geogrid.training.loader import StepSampler
from geogrid.training.samplings import resampled_pair
from tests.models.cases import small_config
from tests.training.tiny import write_subjects

SMALL = SyntheticConfig((16, 12), (2.0, 2.0))


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("subjects")
    write_subjects(folder)
    return folder


def images(folder: Path, **more: object) -> ImagesConfig:
    parts = {"labels": str(folder / "labels"), "landmarks": str(folder / "landmarks")} | more
    return ImagesConfig(str(folder / "images"), **parts)  # type: ignore[arg-type]


def same(one: PairBatch, other: PairBatch) -> bool:
    return torch.equal(one.fixed.pos, other.fixed.pos) and torch.equal(features(one), features(other))


def features(pair: PairBatch) -> torch.Tensor:
    return pair.moving.pos if pair.moving.x is None else pair.moving.x


@pytest.mark.parametrize("kind", ["mnist", "images", "points", "synthetic", "scattered", "sampled", "clouds"])
def test_the_same_number_is_the_same_pair_in_any_process(kind: str, subjects: Path) -> None:
    config = {
        "mnist": DataConfig(mnist=DigitsConfig()),
        "images": DataConfig(images=images(subjects)),
        "points": DataConfig(points=PointsConfig(str(subjects / "landmarks"))),
        "synthetic": DataConfig(synthetic=WorldsConfig((SMALL,))),
        "scattered": DataConfig(synthetic=WorldsConfig((SMALL,), num_points=50)),
        "sampled": DataConfig(synthetic=WorldsConfig((SMALL,)), sampling=SamplingConfig(share=(0.3, 0.9))),
        "clouds": DataConfig(clouds=CloudsConfig((PointPairConfig(num_points=(60, 90)),))),
    }[kind]
    first, second, other = make_source(config, 1), make_source(config, 1), make_source(config, 2)
    numbers = (5, 0, 3)
    pairs = {number: first.draw(number) for number in numbers}
    assert all(same(pairs[number], second.draw(number)) for number in reversed(numbers))
    assert not all(same(pairs[number], other.draw(number)) for number in numbers)


def drawn(source: PairSource, numbers: range) -> list[tuple[float, float]]:
    """Which subjects: their number of points tells."""
    return [(pair.fixed.num_points, pair.moving.num_points) for pair in map(source.draw, numbers)]


def test_a_folder_gives_every_ordered_pair_once_a_round(subjects: Path) -> None:
    source = make_source(DataConfig(images=images(subjects)), 0)
    assert source.num_pairs == 6
    rounds = [drawn(source, range(start, start + 6)) for start in (0, 6)]
    assert [len(set(pairs)) for pairs in rounds] == [6, 6]
    assert all(fixed != moving for fixed, moving in rounds[0])
    assert rounds[0] != rounds[1]


def test_a_list_gives_its_pairs_alone(subjects: Path, tmp_path: Path) -> None:
    table = tmp_path / "pairs.csv"
    table.write_text("fixed,moving\nanna.nii.gz,cleo.nii.gz\n")
    source = make_source(DataConfig(images=images(subjects, pairs=str(table))), 0)
    assert drawn(source, range(2)) == [(22 * 20 * 18, 24 * 20 * 18)] * 2
    table.write_text("fixed,moving\nanna.nii.gz,cleo.nii.gz\nanna.nii.gz,dora.nii.gz\n")
    with pytest.raises(GeogridError, match=r"pairs.csv, line 3: moving: no file dora.nii.gz"):
        make_source(DataConfig(images=images(subjects, pairs=str(table))), 0)


def test_centred_subjects_share_their_middle_and_keep_what_is_known(subjects: Path) -> None:
    config = images(subjects, placement="centre", spacing=3.0, shape=(16, 15, 14))
    source = make_source(DataConfig(images=config), 0)
    for number in range(6):
        pair = source.draw(number)
        assert pair.fixed.lattices[0].shape == pair.moving.lattices[0].shape == (16, 15, 14)
        torch.testing.assert_close(pair.fixed.spacing, torch.full((1, 3), 3.0, dtype=torch.float64))
        assert pair.fixed_labels is not None
        assert pair.landmarks is not None
        core = pair.fixed.pos[pair.fixed_labels == 2]
        assert core.mean(0).norm() < 1.5
        expected = torch.tensor([[5.0, 3.0, 2.0], [-4.0, 2.0, 6.0]], dtype=torch.float64)
        assert (pair.landmarks.fixed - expected).norm(dim=1).max() < 2.5
        torch.testing.assert_close(pair.landmarks.fixed.diff(dim=0), expected.diff(dim=0))
        brightness = torch.corrcoef(torch.stack([pair.fixed.x[:, 0], (pair.fixed_labels > 0).float()]))  # type: ignore[index]
        assert brightness[0, 1] > 0.9


def test_pixels_stay_where_the_world_has_them(subjects: Path) -> None:
    plain = make_source(DataConfig(images=images(subjects)), 0).draw(0)
    coarse = make_source(DataConfig(images=images(subjects, spacing=4.0)), 0).draw(0)
    for pair in (plain, coarse):
        assert pair.fixed_labels is not None
    middles = [pair.fixed.pos[pair.fixed_labels == 2].mean(0) for pair in (plain, coarse)]
    assert (middles[0] - middles[1]).norm() < 1.0


def test_corresponding_points_give_the_truth(subjects: Path) -> None:
    source = make_source(DataConfig(points=PointsConfig(str(subjects / "landmarks"), corresponding=True)), 0)
    pair = source.draw(0)
    assert pair.displacement is not None
    assert torch.equal(pair.fixed.pos + pair.displacement, pair.moving.pos)


def test_bare_points_are_what_a_model_for_clouds_sees(tmp_path: Path) -> None:
    """In spacings and without features: files in cm, two of them moved copies of one, are the same pairs as files in mm."""
    points = 80 * torch.rand(60, 3, generator=torch.Generator().manual_seed(0))
    pairs = []
    for name, unit in (("mm", 1.0), ("cm", 0.1)):
        folder = tmp_path / name
        folder.mkdir()
        for number in range(2):
            moved = unit * (points + 4 * number)
            rows = "\n".join(",".join(f"{value:.6f}" for value in row) for row in moved.tolist())
            (folder / f"{number}.csv").write_text(f"x,y,z\n{rows}\n")
        pairs.append(make_source(DataConfig(points=PointsConfig(str(folder), corresponding=True, bare=True)), 0).draw(0))
    first, second = pairs
    assert first.fixed.x is first.moving.x is None
    assert first.displacement is not None
    torch.testing.assert_close(second.fixed.pos, first.fixed.pos, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(first.displacement, first.moving.pos - first.fixed.pos)
    assert point_spacing(first.fixed.pos) == pytest.approx(1.0, rel=1e-3)
    trajectory = GeoReg(small_config(3, in_channels=0))(first.fixed, first.moving, scale=1.5)
    assert bool(trajectory.last.displacement.isfinite().all())


def test_groups_of_worlds_share_their_kind() -> None:
    kinds = (SMALL, SyntheticConfig((12, 16), (2.0, 2.0)))
    source = make_source(DataConfig(synthetic=WorldsConfig(kinds, group=2, labels=True)), 0)
    shapes = [source.draw(number).fixed.lattices[0].shape for number in range(8)]
    assert shapes[0::2] == shapes[1::2]
    assert {shapes[0], shapes[2]} == {shapes[4], shapes[6]} == {(16, 12), (12, 16)}


def test_files_that_cannot_be_used_are_named(subjects: Path, tmp_path: Path) -> None:
    for wrong, message in (
        (ImagesConfig(str(tmp_path / "none")), "none: expected a folder of images"),
        (ImagesConfig(str(subjects)), "at least two images"),
        (images(subjects, labels=str(tmp_path)), "expected labels of .*anna.nii.gz called anna"),
        (images(subjects, landmarks=str(tmp_path / "none")), "none: expected a folder of landmarks"),
    ):
        with pytest.raises(GeogridError, match=message):
            make_source(DataConfig(images=wrong), 0)
    for name in ("a", "b"):
        nib.save(nib.Nifti1Image(np.zeros((9, 9, 9), "f4"), np.eye(4)), tmp_path / f"{name}.nii.gz")
    with pytest.raises(GeogridError, match=r"[ab].nii.gz"):
        make_source(DataConfig(images=ImagesConfig(str(tmp_path))), 0).draw(0)
    with pytest.raises(GeogridError, match=r"nii.gz: 3-D, expected 2-D"):
        make_source(DataConfig(images=images(subjects, shape=(8, 8))), 0).draw(0)


def test_processes_share_out_what_one_would_see() -> None:
    def numbers(batch: int, rank: int, world: int, done: int = 0) -> list[list[int]]:
        return list(StepSampler(batch, 5, rank, world, lambda: done))

    alone = numbers(4, 0, 1)
    parts = zip(numbers(2, 0, 2), numbers(2, 1, 2), strict=True)
    assert [first + second for first, second in parts] == alone
    assert list(chain(*alone)) == list(range(20))
    assert numbers(4, 0, 1, done=3) == alone[3:]


def test_draws_depend_on_their_purpose_alone() -> None:
    seen = {float(torch.rand(1, generator=generator_of(*purpose))) for purpose in ((0,), (1,), (0, 0), (0, 1), (1, 0))}
    assert len(seen) == 5
    for turn in range(3):
        assert sorted(shuffled_place(turn * 7 + number, 7, 3) for number in range(7)) == list(range(7))


def test_sampled_pairs_are_parts_of_the_whole_ones_with_all_that_is_known() -> None:
    worlds = WorldsConfig((SMALL,), labels=True)
    whole = make_source(DataConfig(synthetic=worlds), 3)
    sampled = make_source(DataConfig(synthetic=worlds, sampling=SamplingConfig(1.0, (0.2, 0.6), gradient=4.0)), 3)
    for number in range(4):
        pair, part = whole.draw(number), sampled.draw(number)
        for side in ("fixed", "moving"):
            cloud, kept = getattr(pair, side), getattr(part, side)
            assert not kept.is_lattice
            assert 0.19 * cloud.num_points < kept.num_points < 0.61 * cloud.num_points
            rows = [int((cloud.pos == pos).all(1).nonzero()[0, 0]) for pos in kept.pos]
            assert len(set(rows)) == len(rows)
            assert torch.equal(cloud.x[rows], kept.x)
            assert torch.equal(getattr(pair, f"{side}_labels")[rows], getattr(part, f"{side}_labels"))
            assert torch.equal(getattr(pair, f"{side}_twin")[rows], getattr(part, f"{side}_twin"))
            if side == "fixed":
                assert pair.displacement is not None
                assert part.displacement is not None
                assert torch.equal(pair.displacement[rows], part.displacement)
        assert part.fixed.num_points != part.moving.num_points, "each image a part of its own"


@pytest.mark.parametrize(("group", "batch"), [(4, 16), (None, 4)])
def test_groups_are_sampled_together_and_as_often_as_asked(group: int | None, batch: int) -> None:
    config = DataConfig(mnist=DigitsConfig(), sampling=SamplingConfig(0.3, (0.5, 0.5), group=group))
    source = make_source(config, 0, batch)
    whole = [source.draw(number).fixed.is_lattice for number in range(240)]
    assert all(len(set(whole[start : start + 4])) == 1 for start in range(0, 240, 4))
    assert 0.15 < 1 - sum(whole) / 240 < 0.45


def test_sampling_out_of_range_is_refused() -> None:
    shares = ({"share": (0.0, 1.0)}, {"share": (0.9, 0.5)}, {"gradient": 0.5}, {"group": 0})
    chances = ({"probability": 1.5}, {"probability": -0.1}, {"probability": 0.6, "resampled": 0.6, "factors": ((1.0, 2.0),)})
    factors = ({"resampled": 0.3}, {"resampled": 0.3, "factors": ((1.0, 0.0),)})
    for kinds, named in ((shares, "share in"), (chances, "shares of 1 together"), (factors, "factors")):
        for wrong in kinds:
            with pytest.raises(GeogridError, match=named):
                SamplingConfig(**wrong)  # type: ignore[arg-type]


def test_resampled_pairs_keep_their_means_labels_and_truth() -> None:
    world = replace(SMALL, shape=(16, 12), moving_shape=(16, 16))
    pair = make_source(DataConfig(synthetic=WorldsConfig((world,), labels=True)), 3).draw(0)
    part = resampled_pair(pair, (2.0, 0.5))
    assert part.fixed.lattices[0].shape == (8, 24)
    assert part.moving.lattices[0].shape == (8, 32)
    assert pair.fixed.x is not None
    assert part.fixed.x is not None
    expected = pair.fixed.x.reshape(8, 2, 12).mean(1)
    between = part.fixed.x.reshape(8, 24)[:, 1:-1].reshape(8, 11, 2).mean(2)
    torch.testing.assert_close(between, (expected[:, :-1] + expected[:, 1:]) / 2)
    assert pair.displacement is not None
    assert part.displacement is not None
    inner = part.fixed.to_lattice(part.displacement)[0, :, :, 1:-1]
    whole = pair.fixed.to_lattice(pair.displacement)[0].reshape(2, 8, 2, 12).mean(2)
    torch.testing.assert_close(inner.reshape(2, 8, 11, 2).mean(3), (whole[..., :-1] + whole[..., 1:]) / 2)
    assert pair.fixed_labels is not None
    assert part.fixed_labels is not None
    same = pair.fixed_labels.reshape(8, 2, 12)
    alike = (same[:, 0] == same[:, 1])[..., None].expand(8, 12, 2)
    assert bool((part.fixed_labels.reshape(8, 12, 2) == same[:, 0, :, None])[alike].all())
    assert bool(alike.any())


def test_groups_are_resampled_together_by_each_of_the_factors() -> None:
    config = SamplingConfig(0.0, resampled=0.5, factors=((0.5, 0.5), (1.0, 2.0)), group=4)
    source = make_source(DataConfig(mnist=DigitsConfig(), sampling=config), 0)
    shapes = [source.draw(number).fixed.lattices[0].shape for number in range(160)]
    assert all(len(set(shapes[start : start + 4])) == 1 for start in range(0, 160, 4))
    assert set(shapes) == {(28, 28), (56, 56), (28, 14)}
    assert 0.3 < shapes.count((28, 28)) / 160 < 0.7


@pytest.mark.parametrize("dim", [2, 3])
def test_clouds_come_in_spacings_without_features_and_with_the_truth(dim: int) -> None:
    exact = PointPairConfig(dim=dim, num_points=(150, 150), noise=(0.0, 0.0), texture=(0.0, 0.0), kept=(1.0, 1.0), outliers=0.0)
    source = make_source(DataConfig(clouds=CloudsConfig((exact,))), 3)
    for pair in map(source.draw, range(3)):
        assert pair.fixed.x is None
        assert bool((pair.fixed.measure == 1).all())
        spacings = [point_spacing(cloud.pos) for cloud in (pair.fixed, pair.moving)]
        assert sum(spacings) / 2 == pytest.approx(1, abs=1e-3)
        assert pair.displacement is not None
        moved, there = (rows[rows[:, 0].argsort()] for rows in (pair.fixed.pos + pair.displacement, pair.moving.pos))
        torch.testing.assert_close(moved, there, atol=1e-4, rtol=0)


def test_outliers_of_a_cloud_have_no_known_place() -> None:
    config = PointPairConfig(num_points=(100, 100), kept=(1.0, 1.0), outliers=0.5)
    truth = make_source(DataConfig(clouds=CloudsConfig((config,))), 1).draw(0).displacement
    assert truth is not None
    assert int(truth.isfinite().all(1).sum()) == 100 < len(truth)


def test_clouds_need_kinds_of_one_dimension() -> None:
    with pytest.raises(GeogridError, match="all 2-D or all 3-D"):
        CloudsConfig((PointPairConfig(), PointPairConfig(dim=2)))
