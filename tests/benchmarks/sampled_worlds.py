"""Synthetic worlds seen on other samplings: one look of a trained network, and of a voxel U-Net, against the known truth.

    python -m tests.benchmarks.sampled_worlds [--model synth-3d] [--pairs 20] [--steps 600]

Every pair is made once, on voxels of half the scale, and then sampled: isotropic at the scale; slices four times as far apart,
as they are and read by cubics at the scale, on both sides or on one with the other side averaged across as much (``geogrid
register`` does so, too, but leaves thick fixed slices as they are); averaged so without being cut, which tells what averaging
costs; a random quarter of the points; random points that are ten times rarer at one end than at the other; and a moving image
on axes turned against the fixed ones, as it is and read along the fixed axes first, as ``geogrid register`` does. The error
is taken at the isotropic points inside the object, whatever was fed. A second table has what ``geogrid register
--no-optimize`` answers for images, by a search and several looks, thick slices on one side or both shown as the optimisation
compares them.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn

from geogrid.data import ContrastConfig, DeformationConfig, SyntheticConfig, WorldConfig
from geogrid.data.synthetic import SyntheticPair, synthesize
from geogrid.graph import Level, inherit_displacement, point_volumes, random_subset
from geogrid.losses import displacement_loss
from geogrid.models import GeoReg, choose_model
from geogrid.optimize.pipeline import answer_pair
from geogrid.optimize.starts import rotation
from geogrid.spatial import Grid, Image, PointCloud, resample_cloud, scale_intensities, to_images
from geogrid.spatial.slices import see_through, split_slices
from geogrid.transforms import AffineTransform, warp_image
from tests.benchmarks.anchors import Check
from tests.benchmarks.tables import check_list, markdown_table
from tests.benchmarks.voxel_unet import VoxelUNet

TITLE = "The same weights on other samplings of synthetic worlds, 3-D, network alone"
SCALE, SIZE, WIDER = 8.0, 24, 28
SLICES = (SCALE, SCALE, 4 * SCALE)
QUARTER, RAREST, TURN_DEGREES = 0.25, 0.1, 25.0
ALLOWED_FACTOR, ALLOWED_SHARE = 1.25, 0.5
OBLIQUE = "oblique, along its own axes"
AVERAGED = "averaged across 4, not cut into slices"
FIRST_SEED = 50_000
"""Seeds of the pairs; the training of weights and of the U-Net uses others."""


def worlds() -> SyntheticConfig:
    """Worlds like those of the preset ``synth-3d``, on voxels of half its scale, the same contrast on both sides."""
    return SyntheticConfig(
        shape=(2 * SIZE,) * 3,
        spacing=(SCALE / 2,) * 3,
        moving_shape=(2 * WIDER,) * 3,
        world=WorldConfig(kinds=("blobs", "sheets", "ellipsoids"), num_labels=(4, 24), size=(0.6, 1.0)),
        contrast=ContrastConfig(relation=("same",)),
        deformation=DeformationConfig(rotation_degrees=(0.0, 15.0), scale=1.2, shift_mm=(0.0, 20.0), smooth_mm=(0.0, 10.0)),
    )


def pairs(first: int, count: int) -> Iterator[SyntheticPair]:
    """Pairs of consecutive seeds."""
    return (synthesize(worlds(), torch.Generator().manual_seed(seed)) for seed in range(first, first + count))


def isotropic(image: Image) -> PointCloud:
    """An image on voxels of the scale."""
    return resample_cloud(PointCloud.from_images(image), SCALE)


def thinned(cloud: PointCloud, generator: torch.Generator) -> PointCloud:
    """Random points, ten times rarer at one end of the first axis than at the other."""
    along = cloud.pos[:, 0]
    share = RAREST ** ((along - along.min()) / (along.max() - along.min()))
    kept = torch.rand(len(share), generator=generator) < share
    assert cloud.x is not None
    measure = point_volumes(cloud.pos[kept], dimension=cloud.dim).measure
    return PointCloud.from_points(cloud.pos[kept], measure.to(cloud.pos), cloud.x[kept])


def turned(image: Image, generator: torch.Generator) -> Image:
    """An image read on axes that are turned about its middle."""
    axis = torch.randn(3, generator=generator, dtype=torch.float64)
    turn = rotation(axis / axis.norm() * math.radians(TURN_DEGREES), 3)
    affine = image.grid.affine.clone()
    affine[:3, :3] = turn @ affine[:3, :3]
    affine[:3, 3] += image.grid.center - Grid(image.grid.shape, affine).center
    grid = Grid(image.grid.shape, affine)
    return warp_image(image, AffineTransform.identity(3), grid)


def lattices(pair: SyntheticPair, generator: torch.Generator) -> tuple[list[PointCloud], list[PointCloud], Image]:
    """Both sides isotropic and in slices, and the moving image on turned axes."""
    both = [isotropic(pair.fixed), isotropic(pair.moving)]
    return both, [resample_cloud(cloud, SLICES) for cloud in both], turned(pair.moving, generator)


def samplings(pair: SyntheticPair, seed: int) -> dict[str, tuple[PointCloud, PointCloud]]:
    """The pair on every sampling; both sides alike, but for the turned axes."""
    generator = torch.Generator().manual_seed(seed)
    both, slices, oblique = lattices(pair, generator)
    unmoved = AffineTransform.identity(3)
    images, thick = ([to_images(cloud)[0] for cloud in clouds] for clouds in (both, slices))
    split = [split_slices(image, SCALE) for image in thick]
    seen = [see_through(image, thick[0].grid, image.grid.spacing, SCALE) for image in images]
    return {
        "isotropic": tuple(both),
        "slices 4 apart": tuple(slices),
        "slices 4 apart, read at the scale": tuple(PointCloud.from_images(image) for image in split),
        "moving slices 4 apart, read at the scale": (PointCloud.from_images(seen[0]), PointCloud.from_images(split[1])),
        "fixed slices 4 apart, read at the scale": (PointCloud.from_images(split[0]), PointCloud.from_images(seen[1])),
        AVERAGED: tuple(PointCloud.from_images(image) for image in seen),
        "25 % scattered": tuple(random_subset(cloud, QUARTER, generator) for cloud in both),
        "density gradient": tuple(thinned(cloud, generator) for cloud in both),
        OBLIQUE: (both[0], isotropic(oblique)),
        "oblique": (both[0], isotropic(warp_image(oblique, unmoved, pair.moving.grid))),
    }  # type: ignore[return-value]


def error(model: nn.Module, fed: tuple[PointCloud, PointCloud], pair: SyntheticPair) -> float:
    """Mean endpoint error in mm at the isotropic points inside the object."""
    judged = isotropic(pair.fixed)
    step = model(*fed, scale=SCALE).last
    answer = inherit_displacement(Level(step.points, step.scale), judged, step.displacement)
    return _length(answer, pair, judged)


def _length(answer: Tensor, pair: SyntheticPair, judged: PointCloud) -> float:
    inside = pair.fixed_scene.labels(judged.pos) > 0
    truth = pair.truth(judged.pos) - judged.pos
    return float((answer - truth).norm(dim=1)[inside].mean())


def cropped(moving: PointCloud, fixed: PointCloud) -> PointCloud:
    """The middle of a moving lattice, of the fixed one's shape, for a network that needs both on one lattice."""
    image = to_images(moving)[0]
    shape = fixed.lattices[0].shape
    start = [(n - m) // 2 for n, m in zip(image.grid.shape, shape, strict=True)]
    return PointCloud.from_images(image.crop(start, shape))


def answered(model: GeoReg, pair: SyntheticPair, seed: int) -> dict[str, float]:
    """Mean endpoint errors in mm of what ``geogrid register --no-optimize`` answers, by sampling of the images."""
    both, slices, oblique = lattices(pair, torch.Generator().manual_seed(seed))
    fixed, moving, fixed_slices, moving_slices = (to_images(cloud)[0] for cloud in (*both, *slices))
    cases = {
        "isotropic": (fixed, moving),
        "fixed slices 4 apart": (fixed_slices, moving),
        "moving slices 4 apart": (fixed, moving_slices),
        "both slices 4 apart": (fixed_slices, moving_slices),
        "oblique": (fixed, to_images(isotropic(oblique))[0]),
    }
    judged, found = isotropic(pair.fixed), {}
    for name, (one, other) in cases.items():
        solution = answer_pair(model, scale_intensities(one), scale_intensities(other))
        moved = solution.trajectory.transform(solution.domain)(judged.pos)
        found[name] = _length(moved - judged.pos, pair, judged)
    return found


def trained_unet(steps: int, seed: int = 0, batch: int = 2) -> nn.Module:
    """A voxel U-Net that is taught the true displacement of isotropic pairs."""
    torch.manual_seed(seed)
    model, stream = VoxelUNet(dim=3), pairs(seed + 1_000_000, batch * steps)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        for pair in (next(stream) for _ in range(batch)):
            fixed, moving = isotropic(pair.fixed), isotropic(pair.moving)
            truth = pair.truth(fixed.pos) - fixed.pos
            inside = (pair.fixed_scene.labels(fixed.pos) > 0).float() + 1e-3
            found = model(fixed, cropped(moving, fixed)).last.displacement
            (displacement_loss(found, truth, inside, SCALE) / batch).backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def measure(model: nn.Module, unet: nn.Module | None, count: int) -> dict[str, dict[str, float]]:
    """Mean errors in mm: before, of the network and of the U-Net, per sampling."""
    found: dict[str, dict[str, list[float]]] = {}
    for number, pair in enumerate(pairs(FIRST_SEED, count)):
        before = _length(torch.zeros(1), pair, isotropic(pair.fixed))
        for name, fed in samplings(pair, number).items():
            row = found.setdefault(name, {"before": [], "network": [], "U-Net": []})
            row["before"].append(before)
            row["network"].append(error(model, fed, pair))
            on_one_lattice = all(cloud.is_lattice for cloud in fed) and "oblique" not in name
            if unet is not None and on_one_lattice:
                row["U-Net"].append(error(unet, (fed[0], cropped(fed[1], fed[0])), pair))
    return {name: {key: mean(values) if values else math.nan for key, values in row.items()} for name, row in found.items()}


def section(model: str = "synth-3d", count: int = 20, steps: int = 600) -> str:
    """The table of the page."""
    chosen = choose_model(model, 3)
    assert chosen is not None
    found = measure(chosen.model, trained_unet(steps), count)
    explanation = (
        f"Mean endpoint error in mm over {count} pairs of worlds in a field of view of {SIZE * SCALE:g} mm, one look without "
        f"any start or search; weights `{chosen.name}`, SHA-256 `{chosen.sha256[:12]}`. The U-Net (both images as channels) "
        f"had {steps} steps of two isotropic pairs; of points and turned axes it knows nothing."
    )
    return "\n\n".join([f"## {TITLE}", explanation, table(found), check_list(checks(found)), answers(chosen.model, count)])


def answers(model: GeoReg, count: int) -> str:
    """The second table: what is answered by several looks."""
    rows = [answered(model, pair, number) for number, pair in enumerate(pairs(FIRST_SEED, count))]
    means = {name: mean(row[name] for row in rows) for name in rows[0]}
    lines = [[name, f"{value:.2f}", f"{value / means['isotropic']:.2f}"] for name, value in means.items()]
    text = "The same pairs as images, as `geogrid register --no-optimize` answers them, by a search and several looks:"
    return "\n\n".join([text, markdown_table(["images", "network, mm", "times isotropic"], lines)])


def table(found: dict[str, dict[str, float]]) -> str:
    """A line per sampling."""
    whole = found["isotropic"]
    lines = []
    for name, row in found.items():
        numbers = [
            row["before"],
            row["network"],
            row["network"] / whole["network"],
            row["U-Net"],
            row["U-Net"] / whole["U-Net"],
        ]
        lines.append([name, *("-" if math.isnan(number) else f"{number:.2f}" for number in numbers)])
    return markdown_table(["fed", "before", "network", "times isotropic", "U-Net", "times isotropic"], lines)


def checks(found: dict[str, dict[str, float]]) -> list[Check]:
    """What is asked of the network."""
    whole = found["isotropic"]
    share = whole["network"] / whole["before"]
    asked = [Check(f"isotropic error below {ALLOWED_SHARE:g} of before", f"{share:.2f}", share < ALLOWED_SHARE)]
    for name, row in found.items():
        if name not in ("isotropic", OBLIQUE, AVERAGED):
            factor = row["network"] / whole["network"]
            asked.append(
                Check(
                    f"{name}: at most {ALLOWED_FACTOR:g} times the isotropic error", f"{factor:.2f}", factor <= ALLOWED_FACTOR
                )
            )
    return asked


def main() -> None:
    """Prints the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="synth-3d", help="name or file of the weights")
    options.add_argument("--pairs", type=int, default=20)
    options.add_argument("--steps", type=int, default=600, help="of the U-Net's training")
    chosen: Any = options.parse_args()
    print(section(chosen.model, chosen.pairs, chosen.steps))


if __name__ == "__main__":
    main()
