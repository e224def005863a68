"""Pairs to register, and samples to try things on."""

from geogrid.data.augment import random_affine
from geogrid.data.batches import Landmarks, PairBatch, collate_pairs
from geogrid.data.mnist import Digits, DigitSplit, mnist, same_digit_pairs
from geogrid.data.pair import Pair, read_pair
from geogrid.data.point_pairs import PointPair, PointPairConfig, random_point_pair
from geogrid.data.samples import fsaverage5, mni152, mni152_tissues
from geogrid.data.scanner import Scan, simulate_scan
from geogrid.data.synthetic import (
    ContrastConfig,
    DeformationConfig,
    PairFields,
    Scene,
    SlidingMotion,
    SyntheticConfig,
    SyntheticPair,
    World,
    WorldConfig,
    deformation_kind,
    pair_fields,
    random_deformation,
    read_label_maps,
    scattered_fields,
    synthesize,
    synthetic_batch,
    write_pair,
)

__all__ = [
    "ContrastConfig",
    "DeformationConfig",
    "DigitSplit",
    "Digits",
    "Landmarks",
    "Pair",
    "PairBatch",
    "PairFields",
    "PointPair",
    "PointPairConfig",
    "Scan",
    "Scene",
    "SlidingMotion",
    "SyntheticConfig",
    "SyntheticPair",
    "World",
    "WorldConfig",
    "collate_pairs",
    "deformation_kind",
    "fsaverage5",
    "mni152",
    "mni152_tissues",
    "mnist",
    "pair_fields",
    "random_affine",
    "random_deformation",
    "random_point_pair",
    "read_label_maps",
    "read_pair",
    "same_digit_pairs",
    "scattered_fields",
    "simulate_scan",
    "synthesize",
    "synthetic_batch",
    "write_pair",
]
