"""What is learned: layers of message passing between points in space."""

from geogrid.nn.attention import AttentionOutput, NeighborAttention
from geogrid.nn.conv import ContinuousConv
from geogrid.nn.functional import neighbor_attention
from geogrid.nn.reference import neighbor_attention_reference

__all__ = ["AttentionOutput", "ContinuousConv", "NeighborAttention", "neighbor_attention", "neighbor_attention_reference"]
