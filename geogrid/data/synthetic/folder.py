"""Many synthetic pairs into a folder: what ``geogrid synth`` does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from geogrid.data.synthetic.config import ContrastConfig, Relation, SyntheticConfig, WorldConfig, WorldKind
from geogrid.data.synthetic.files import write_pair
from geogrid.data.synthetic.kinds import DeformationKind, deformation_kind
from geogrid.data.synthetic.maps import read_label_maps
from geogrid.data.synthetic.pair import SyntheticPair, synthesize
from geogrid.errors import GeogridError


def write_pairs(
    folder: Path,
    prefixes: Sequence[str],
    *,
    seed: int,
    dim: str,
    size: str,
    spacing: str,
    oblique: float,
    worlds: Sequence[WorldKind],
    labels: Path | None,
    deformation: DeformationKind,
    size_mm: float,
    contrast: Relation,
) -> Iterator[str]:
    """Writes one pair per prefix and tells a line about each; the options are those of ``geogrid synth``.

    Raises:
        GeogridError: for options that make no sense together.
    """
    if labels is not None and worlds:
        raise GeogridError("--labels, --world: expected one or the other, got both")
    spaces = _numbers("--spacing", spacing, int(dim))
    world = WorldConfig(kinds=("maps",)) if labels is not None else WorldConfig(kinds=tuple(worlds) or WorldConfig().kinds)
    config = SyntheticConfig(
        shape=tuple(round(n) for n in _numbers("--size", size, int(dim))),
        spacing=spaces,
        oblique_degrees=(0.0, oblique),
        world=world,
        contrast=ContrastConfig(relation=(contrast,)),
        deformation=deformation_kind(deformation, size_mm),
    )
    maps = read_label_maps(labels, min(spaces)) if labels is not None else ()
    generator = torch.Generator().manual_seed(seed)
    for prefix in prefixes:
        pair = synthesize(config, generator, maps=maps)
        write_pair(folder, pair, prefix)
        yield _line(prefix.rstrip("_"), pair)


def _numbers(option: str, text: str, dim: int) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise GeogridError(f"{option}: expected numbers separated by commas, got {text!r}") from None
    if len(numbers) not in (1, dim) or not all(0 < number < 1e5 for number in numbers):
        raise GeogridError(f"{option}: expected one number above 0 or {dim}, got {text!r}")
    return numbers * dim if len(numbers) == 1 else numbers


def _line(name: str, pair: SyntheticPair) -> str:
    length = pair.displacement.norm(dim=1)
    shape, labels = "x".join(map(str, pair.fixed.grid.shape)), pair.fixed_scene.world.num_labels - 1
    size = float(length.square().mean().sqrt())
    return f"{name}  {shape}  {labels} labels  displacement {size:.2f} mm RMS, {float(length.max()):.2f} mm at most"
