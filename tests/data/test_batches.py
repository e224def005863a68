"""Batches of pairs: parts that fit, batches that are their singles."""

from __future__ import annotations

import pytest
import torch

from geogrid.data import Landmarks, PairBatch, collate_pairs
from geogrid.errors import GeogridError
from geogrid.spatial import to_cloud


def pair(shape: tuple[int, ...], seed: int, num_landmarks: int | None = 2) -> PairBatch:
    """One pair of which everything is known, the moving image larger than the fixed one."""
    generator = torch.Generator().manual_seed(seed)
    fixed, moving = (to_cloud(torch.rand(1, *size, generator=generator)) for size in (shape, [n + 1 for n in shape]))
    marks = None
    if num_landmarks is not None:
        points = torch.rand(2, num_landmarks, len(shape), generator=generator)
        marks = Landmarks(points[0], points[1], torch.zeros(num_landmarks, dtype=torch.int64))
    return PairBatch(
        fixed, moving,
        torch.rand(fixed.num_points, 1, generator=generator), torch.rand(moving.num_points, 1, generator=generator),
        torch.rand(fixed.num_points, len(shape), generator=generator),
        torch.randint(3, (fixed.num_points,), generator=generator), torch.randint(3, (moving.num_points,), generator=generator),
        marks,
    )  # fmt: skip


NAMES = ("fixed_twin", "moving_twin", "displacement", "fixed_labels", "moving_labels")


@pytest.mark.parametrize("shapes", [[(6, 5), (6, 5)], [(6, 5), (8, 9)], [(4, 5, 3), (5, 4, 4)]])
def test_entries_of_a_batch_are_what_it_was_made_of(shapes: list[tuple[int, ...]]) -> None:
    singles = [pair(shape, seed) for seed, shape in enumerate(shapes)]
    batch = collate_pairs(singles)
    assert batch.num_pairs == len(shapes)
    assert batch.fixed.stackable == (len(set(shapes)) == 1)
    for number, single in enumerate(singles):
        entry = batch.entry(number)
        assert torch.equal(entry.fixed.pos, single.fixed.pos)
        assert torch.equal(entry.moving.pos, single.moving.pos)
        for name in NAMES:
            assert torch.equal(getattr(entry, name), getattr(single, name)), name
        assert entry.landmarks is not None
        assert single.landmarks is not None
        assert all(torch.equal(one, other) for one, other in zip(entry.landmarks, single.landmarks, strict=True))


def test_pairs_may_lack_landmarks() -> None:
    batch = collate_pairs([pair((6, 5), 0, None), pair((6, 5), 1, 3), pair((6, 5), 2, 0)])
    assert batch.landmarks is not None
    assert batch.landmarks.batch.tolist() == [1, 1, 1]
    assert collate_pairs([pair((6, 5), 0, None)]).landmarks is None


def test_image_losses_see_the_twins() -> None:
    both = pair((6, 5), 0)
    assert both.scored[0].x is both.fixed_twin
    assert both.scored[1].x is both.moving_twin
    plain = PairBatch(both.fixed, both.moving)
    assert plain.scored == (plain.fixed, plain.moving)


def test_to_moves_every_part() -> None:
    moved = pair((6, 5), 0).to("meta")
    assert {getattr(moved, name).device.type for name in NAMES} == {"meta"}
    assert moved.fixed.pos.device.type == moved.moving.pos.device.type == "meta"
    assert moved.landmarks is not None
    assert {part.device.type for part in moved.landmarks} == {"meta"}


def test_parts_that_do_not_fit_are_refused() -> None:
    whole = pair((6, 5), 0)
    with pytest.raises(GeogridError, match="displacement: expected 30 rows"):
        PairBatch(whole.fixed, whole.moving, displacement=torch.zeros(29, 2))
    with pytest.raises(GeogridError, match="moving_labels: expected 42 rows"):
        PairBatch(whole.fixed, whole.moving, fixed_labels=whole.fixed_labels, moving_labels=whole.fixed_labels)
    with pytest.raises(GeogridError, match="both or neither"):
        PairBatch(whole.fixed, whole.moving, fixed_twin=whole.fixed_twin)
    with pytest.raises(GeogridError, match="expected 1 entries"):
        PairBatch(whole.fixed, to_cloud(torch.rand(2, 6, 5)))


def test_batches_that_do_not_fit_are_refused() -> None:
    flat, deep = pair((6, 5), 0), pair((4, 5, 3), 0)
    with pytest.raises(GeogridError, match="all 2-D or all 3-D"):
        collate_pairs([flat, deep])
    with pytest.raises(GeogridError, match="all 2-D or all 3-D"):
        collate_pairs([])
    with pytest.raises(GeogridError, match="fixed_twin: expected all batches to have it or none, got 1 of 2"):
        collate_pairs([flat, PairBatch(flat.fixed, flat.moving)])
