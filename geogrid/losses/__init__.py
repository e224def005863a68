"""How good a registration is, as something to minimise. Losses see images and a trajectory, never a model."""

from geogrid.losses.lncc import LocalCorrelation
from geogrid.losses.objective import Objective, ObjectiveConfig
from geogrid.losses.smoothness import bending_loss, diffusion_loss, folding_loss

__all__ = ["LocalCorrelation", "Objective", "ObjectiveConfig", "bending_loss", "diffusion_loss", "folding_loss"]
