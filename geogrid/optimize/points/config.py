"""Settings of point registration."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from geogrid.errors import GeogridError

Voting = Literal["learned", "agreement", "none"]


@dataclass(frozen=True)
class PointsConfig:
    r"""Settings of :func:`register_points`.

    Lengths are in units of the clouds themselves, so that neither mm nor metres matter: the *radius* (median distance from the
    middle) at coarse stages, the *spacing* (median distance to the fourth neighbour) at fine ones.

    Args:
        outliers: weight of the outlier class beside a perfect match, in (0, 1).
        affine_points: of the fixed cloud at the affine stage; of the moving cloud twice as many.
        affine_sigma: standard deviation of the soft assignment, in radii, at its begin and end.
        affine_steps: number of EM steps.
        dense_points: of the fixed cloud at the first deformable stage; of the moving cloud twice as many.
        dense_sigma: in radii at its begin, in spacings of the subset at its end.
        dense_steps: number of EM steps.
        sparse_points: most points of each cloud at the stages that only look at near neighbours.
        sparse_sigma: in spacings, at its begin and end.
        sparse_steps: number of EM steps.
        neighbors: moving points that a fixed point may be assigned to at the sparse stage.
        fine_from: clouds of at least this many points on either side that share no points get a fine stage.
        fine_points: most points of each cloud at the fine stage.
        fine_widths: of the kernel that smooths there, in radii at its begin, in spacings at its end.
        fine_sigma: likewise of the assignment.
        fine_steps: number of steps.
        control_points: centers of the kernels.
        widths: of the kernels, in radii.
        amplitudes: prior standard deviation of the displacement of each width, in radii.
        closing_points: centers of the kernels at the fits to what was voted.
        closing_widths: of these kernels, in radii.
        closing_amplitudes: prior standard deviation of the displacement of each of these widths, in radii.
        voting: what settles the matches at the end: one vote by hand (``agreement``), two by what was learned where
            that one finds support (``learned``), or distance alone (``none``).
        candidates: moving points among which a fixed point's match is voted.
        voters: neighbours that vote by hand.
        passes: of the messages of the vote by hand.
        fusion_rounds: of votes that each proposal (the affine, the dense and the sparse stage's map) gets by itself before each
            point follows the one that its neighbours agree on most, and that the fused map gets; 0: the sparse stage's alone.
        settle_steps: EM steps at the last standard deviation, where no votes are followed.
        feature_sigma: standard deviation of features between partners, in units of their spread over both clouds.
        low_support: mean match support below which votes are not followed and a warning is given.
    """

    outliers: float = 0.15
    affine_points: int = 500
    affine_sigma: tuple[float, float] = (0.55, 0.11)
    affine_steps: int = 12
    dense_points: int = 700
    dense_sigma: tuple[float, float] = (0.27, 0.3)
    dense_steps: int = 14
    sparse_points: int = 20_000
    sparse_sigma: tuple[float, float] = (0.8, 0.15)
    sparse_steps: int = 14
    neighbors: int = 16
    fine_from: int = 5000
    fine_points: int = 60_000
    fine_widths: tuple[float, float] = (0.3, 1.5)
    fine_sigma: tuple[float, float] = (0.1, 0.7)
    fine_steps: int = 20
    control_points: int = 350
    widths: tuple[float, ...] = (0.2, 0.4, 0.8)
    amplitudes: tuple[float, ...] = (0.025, 0.06, 0.12)
    closing_points: int = 1000
    closing_widths: tuple[float, ...] = (0.07, 0.15, 0.3, 0.6)
    closing_amplitudes: tuple[float, ...] = (0.008, 0.02, 0.05, 0.12)
    voting: Voting = "learned"
    candidates: int = 8
    voters: int = 20
    passes: int = 6
    fusion_rounds: int = 2
    settle_steps: int = 2
    feature_sigma: float = 0.3
    low_support: float = 0.4

    def __post_init__(self) -> None:
        if not 0 < self.outliers < 1:
            raise GeogridError(f"outliers: expected a number between 0 and 1, got {self.outliers}")
        if self.voting not in ("learned", "agreement", "none"):
            raise GeogridError(f"voting: expected learned, agreement or none, got {self.voting!r}")
        for field in fields(self):
            value = getattr(self, field.name)
            fewest = 0 if field.name == "fusion_rounds" else 1
            if isinstance(value, int) and value < fewest:
                raise GeogridError(f"{field.name}: expected a whole number from {fewest} up, got {value}")
            if isinstance(value, tuple) and not all(v > 0 for v in value):
                raise GeogridError(f"{field.name}: expected positive numbers, got {value}")
        for kind in ("", "closing_"):
            widths, amplitudes = getattr(self, f"{kind}widths"), getattr(self, f"{kind}amplitudes")
            if len(widths) != len(amplitudes):
                raise GeogridError(f"{kind}amplitudes: expected one per width, {len(widths)}, got {len(amplitudes)}")
