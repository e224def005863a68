"""What is learned: layers of message passing between points in space."""

from geogrid.nn.attention import AttentionOutput, NeighborAttention
from geogrid.nn.choose import Choose
from geogrid.nn.conv import ContinuousConv
from geogrid.nn.convolve import convolve
from geogrid.nn.encoder import Pyramid, PyramidEncoder, ResidualBlock
from geogrid.nn.functional import neighbor_attention
from geogrid.nn.geometry import geometry_channels, local_geometry
from geogrid.nn.interpolate import Interpolate
from geogrid.nn.norm import MeasureNorm
from geogrid.nn.reference import neighbor_attention_reference
from geogrid.nn.refine import Refine
from geogrid.nn.sample import sample_scattered
from geogrid.nn.votes import VoteScorer

__all__ = [
    "AttentionOutput",
    "Choose",
    "ContinuousConv",
    "Interpolate",
    "MeasureNorm",
    "NeighborAttention",
    "Pyramid",
    "PyramidEncoder",
    "Refine",
    "ResidualBlock",
    "VoteScorer",
    "convolve",
    "geometry_channels",
    "local_geometry",
    "neighbor_attention",
    "neighbor_attention_reference",
    "sample_scattered",
]
