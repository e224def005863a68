"""What is learned: layers of message passing between points in space."""

from geogrid.nn.conv import ContinuousConv

__all__ = ["ContinuousConv"]
