"""What comes out: maps of fixed-space points to moving space, in world mm."""

from geogrid.transforms.affine import AffineTransform
from geogrid.transforms.batch import StepBatch, TrajectoryBatch
from geogrid.transforms.carry import CarriedPoints, InverseTransform, carry_points
from geogrid.transforms.displacement import Composition, DisplacementField, compose, to_displacement
from geogrid.transforms.files import read_transform, write_transform
from geogrid.transforms.fit import affine_between, fit_affine
from geogrid.transforms.inverse import Inverse, invert, invert_points
from geogrid.transforms.jacobian import jacobian_determinant
from geogrid.transforms.kernel import KernelTransform
from geogrid.transforms.levels import LevelDisplacement, own_displacement_lengths, own_displacements
from geogrid.transforms.trajectory import Step, Trajectory
from geogrid.transforms.transform import Transform
from geogrid.transforms.warp import warp_image, warp_labels

__all__ = [
    "AffineTransform",
    "CarriedPoints",
    "Composition",
    "DisplacementField",
    "Inverse",
    "InverseTransform",
    "KernelTransform",
    "LevelDisplacement",
    "Step",
    "StepBatch",
    "Trajectory",
    "TrajectoryBatch",
    "Transform",
    "affine_between",
    "carry_points",
    "compose",
    "fit_affine",
    "invert",
    "invert_points",
    "jacobian_determinant",
    "own_displacement_lengths",
    "own_displacements",
    "read_transform",
    "to_displacement",
    "warp_image",
    "warp_labels",
    "write_transform",
]
