"""How good a registration is, as something to minimise. Losses see images and a trajectory, never a model."""

from geogrid.losses.dissimilarity import lncc_loss, mind_loss, mse_loss, ncc_loss, nmi_loss
from geogrid.losses.edges import EdgeTensors
from geogrid.losses.lncc import LocalCorrelation
from geogrid.losses.mind import SelfSimilarity
from geogrid.losses.nmi import MutualInformation
from geogrid.losses.objective import Objective, ObjectiveConfig
from geogrid.losses.scattered import scattered_smoothness_loss
from geogrid.losses.sinkhorn import sinkhorn_loss
from geogrid.losses.smoothness import bending_loss, diffusion_loss, folding_loss
from geogrid.losses.supervised import dice_loss, displacement_loss, landmark_loss
from geogrid.losses.trajectory import TrajectoryLoss, TrajectoryLossConfig

__all__ = [
    "EdgeTensors",
    "LocalCorrelation",
    "MutualInformation",
    "Objective",
    "ObjectiveConfig",
    "SelfSimilarity",
    "TrajectoryLoss",
    "TrajectoryLossConfig",
    "bending_loss",
    "dice_loss",
    "diffusion_loss",
    "displacement_loss",
    "folding_loss",
    "landmark_loss",
    "lncc_loss",
    "mind_loss",
    "mse_loss",
    "ncc_loss",
    "nmi_loss",
    "scattered_smoothness_loss",
    "sinkhorn_loss",
]
