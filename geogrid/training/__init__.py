"""Training on PyTorch Lightning: pairs from folders, point sets and digits; checkpoints; weights to share.

Needs ``pip install 'geogrid[train]'``.
"""

import importlib.util

from geogrid.errors import GeogridError

for _package in ("pytorch_lightning", "tensorboard", "yaml"):
    if importlib.util.find_spec(_package) is None:
        raise GeogridError(f"geogrid.training: expected the package {_package}, which is missing; pip install 'geogrid[train]'")

from geogrid.training.clouds import CloudsConfig
from geogrid.training.config import OptimizerConfig, TrainingConfig, preset_names, read_config
from geogrid.training.digits import DigitsConfig
from geogrid.training.engine import is_first_process, load_checkpoint, train
from geogrid.training.folders import ImagesConfig
from geogrid.training.loss import LossConfig, PairLoss
from geogrid.training.point_sets import PointsConfig
from geogrid.training.samplings import SampledPairs, SamplingConfig, sampled_pair
from geogrid.training.scores import scores
from geogrid.training.sources import DataConfig, make_source
from geogrid.training.stream import PairSource
from geogrid.training.task import RegistrationTask
from geogrid.training.worlds import WorldsConfig

__all__ = [
    "CloudsConfig",
    "DataConfig",
    "DigitsConfig",
    "ImagesConfig",
    "LossConfig",
    "OptimizerConfig",
    "PairLoss",
    "PairSource",
    "PointsConfig",
    "RegistrationTask",
    "SampledPairs",
    "SamplingConfig",
    "TrainingConfig",
    "WorldsConfig",
    "is_first_process",
    "load_checkpoint",
    "make_source",
    "preset_names",
    "read_config",
    "sampled_pair",
    "scores",
    "train",
]
