"""Synthetic pairs: random worlds, contrasts and deformations, with the exact truth."""

from geogrid.data.synthetic.batches import PairFields, pair_fields, scattered_fields, synthetic_batch
from geogrid.data.synthetic.config import ContrastConfig, DeformationConfig, SyntheticConfig, WorldConfig
from geogrid.data.synthetic.deformations import random_deformation
from geogrid.data.synthetic.files import PAIR_FILES, write_pair
from geogrid.data.synthetic.kinds import DEFORMATION_KINDS, DeformationKind, deformation_kind
from geogrid.data.synthetic.maps import read_label_maps
from geogrid.data.synthetic.pair import SyntheticPair, synthesize
from geogrid.data.synthetic.scene import Scene
from geogrid.data.synthetic.sliding import SlidingMotion
from geogrid.data.synthetic.worlds import World

__all__ = [
    "DEFORMATION_KINDS",
    "PAIR_FILES",
    "ContrastConfig",
    "DeformationConfig",
    "DeformationKind",
    "PairFields",
    "Scene",
    "SlidingMotion",
    "SyntheticConfig",
    "SyntheticPair",
    "World",
    "WorldConfig",
    "deformation_kind",
    "pair_fields",
    "random_deformation",
    "read_label_maps",
    "scattered_fields",
    "synthesize",
    "synthetic_batch",
    "write_pair",
]
