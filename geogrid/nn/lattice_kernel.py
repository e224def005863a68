"""The continuous kernel written out on a lattice, block by block. Spacings ("steps") are in units of the scale."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from geogrid.nn.knots import interpolation_weights

ON_KNOTS = 1e-6
"""How far a spacing may be from the scale, relative to it, for points to lie on knots: what float32 affines leave."""


class Run(NamedTuple):
    """Neighbouring lattice points along an axis that have as many points before and after them within reach.

    Args:
        start: the first.
        stop: one past the last.
        before: points in reach before each of them.
        after: likewise after.
        padding: zeros that stand for missing points, on both sides.
    """

    start: int
    stop: int
    before: int
    after: int
    padding: int = 0


def convolve_lattice(x: Tensor, weight: Tensor, bias: Tensor | None, steps: Tensor) -> Tensor:
    """Convolves values on a lattice with the continuous kernel, as its points would be convolved one by one.

    Along axes sampled at the scale, zero padding is exact. Along others, points whose window leaves the lattice have kernels of
    their own, so the lattice is cut into blocks of points with one kernel; inside there is a single block.

    Args:
        x: ``(batch, in_channels, *shape)``.
        weight: ``(out_channels, in_channels, 3, ..., 3)`` weights on the knots.
        bias: ``(out_channels,)`` or None.
        steps: ``(dim,)`` float64 spacing of the lattice in units of the scale.

    Returns:
        ``(batch, out_channels, *shape)``.
    """
    conv = nn.functional.conv2d if x.dim() == 4 else nn.functional.conv3d
    if all(_is_scale(h) for h in steps.tolist()):
        return conv(x, weight, bias, padding=1)
    axes = [axis_runs(n, r, h) for n, r, h in zip(x.shape[2:], reaches(steps), steps.tolist(), strict=True)]

    def fill(chosen: tuple[Run, ...]) -> Tensor:
        if len(chosen) == len(axes):
            return _block(x, weight, bias, steps, chosen)
        parts = [fill((*chosen, run)) for run in axes[len(chosen)]]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 2 + len(chosen))

    return fill(())


def axis_runs(size: int, reach: int, step: float) -> list[Run]:
    """The runs of an axis of ``size`` points, ``reach`` of which are to be seen to each side."""
    if _is_scale(step):
        return [Run(0, size, 1, 1, padding=1)]
    runs: list[Run] = []
    for place in range(size):
        before, after = min(place, reach), min(size - 1 - place, reach)
        if runs and runs[-1][2:4] == (before, after):
            runs[-1] = runs[-1]._replace(stop=place + 1)
        else:
            runs.append(Run(place, place + 1, before, after))
    return runs


def reaches(steps: Tensor) -> list[int]:
    """How many lattice points to each side a kernel covers along each axis: all closer than a knot plus the kernel's reach."""
    reach = [1 + (2 * h if _is_wide(h) else 1.0) for h in steps.tolist()]
    return [max(1, math.ceil(r / h - 2 * ON_KNOTS) - 1) for r, h in zip(reach, steps.tolist(), strict=True)]


def lattice_kernel(weight: Tensor, steps: Tensor, before: Sequence[int], after: Sequence[int]) -> Tensor:
    """The kernel for ``conv2d`` or ``conv3d`` at points of a lattice.

    Args:
        weight: ``(out_channels, in_channels, 3, ..., 3)`` weights on the knots.
        steps: ``(dim,)`` float64 spacing of the lattice in units of the scale.
        before: per axis, how many points there are before.
        after: likewise after.

    Returns:
        ``(out_channels, in_channels, before_1 + 1 + after_1, ...)``, differentiable in the weights.
    """
    if all(_is_scale(h) for h in steps.tolist()):
        return weight
    spread, sizes = knot_stencils(tuple(steps.tolist()), tuple(before), tuple(after))
    return (weight.flatten(2) @ spread.to(weight)).unflatten(2, sizes)


@functools.lru_cache(maxsize=512)
def knot_stencils(
    spacings: tuple[float, ...], before: tuple[int, ...], after: tuple[int, ...]
) -> tuple[Tensor, tuple[int, ...]]:
    """How the knots' values are made of the lattice points around: ``(3**dim, points)`` float64, and the window's sizes."""
    with torch.inference_mode(False), torch.no_grad():
        steps = torch.tensor(spacings, dtype=torch.float64)
        places = [torch.arange(-b, a + 1, dtype=torch.float64) for b, a in zip(before, after, strict=True)]
        rel, width = (torch.cartesian_prod(*places) * steps)[None], steps.clamp_min(1)
        share = (steps / width).prod().expand(rel.shape[:2])
        return interpolation_weights(rel, width, share, _wide(steps))[0], tuple(len(place) for place in places)


def _block(x: Tensor, weight: Tensor, bias: Tensor | None, steps: Tensor, runs: Sequence[Run]) -> Tensor:
    kernel = lattice_kernel(weight, steps, [run.before for run in runs], [run.after for run in runs])
    for axis, run in enumerate(runs):
        if not run.padding:
            x = x.narrow(2 + axis, run.start - run.before, run.stop - run.start + run.before + run.after)
    conv = nn.functional.conv2d if len(runs) == 2 else nn.functional.conv3d
    return conv(x, kernel, bias, padding=tuple(run.padding for run in runs))


def _wide(steps: Tensor) -> Tensor | None:
    """The axes along which lattice points are further apart than the scale, ``(dim,)`` bool; None if there are none."""
    wide = [_is_wide(h) for h in steps.tolist()]
    return torch.tensor(wide) if any(wide) else None


def _is_wide(step: float) -> bool:
    return step > 1 + ON_KNOTS


def _is_scale(step: float) -> bool:
    return abs(step - 1) < ON_KNOTS
