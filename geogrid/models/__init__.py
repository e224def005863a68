"""Models: from a pair of images or clouds to a trajectory of transforms, coarse to fine."""

from geogrid.models.attended import Attended, attended
from geogrid.models.card import ModelCard
from geogrid.models.choice import ChosenModel, choose_model
from geogrid.models.feature_warp import FeatureWarp
from geogrid.models.georeg import GeoReg, GeoRegConfig
from geogrid.models.saving import load_weights, read_card, save_weights, shipped_weights, weights_sha256
from geogrid.models.vote_scorer import load_vote_scorer

__all__ = [
    "Attended",
    "ChosenModel",
    "FeatureWarp",
    "GeoReg",
    "GeoRegConfig",
    "ModelCard",
    "attended",
    "choose_model",
    "load_vote_scorer",
    "load_weights",
    "read_card",
    "save_weights",
    "shipped_weights",
    "weights_sha256",
]
