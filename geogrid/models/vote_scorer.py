"""The weights that vote on point matches."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from safetensors.torch import load

from geogrid.nn import VoteScorer

FILE = "scorers/vote_scorer.safetensors"
"""Trained by examples/train_vote_scorer.py on synthetic pairs; scorers/README.md says how and how well."""


@cache
def load_vote_scorer() -> VoteScorer:
    """The shipped :class:`geogrid.nn.VoteScorer`, in evaluation mode and without gradients.

    Example:
        >>> sum(weight.numel() for weight in load_vote_scorer().parameters()) < 10_000
        True
    """
    scorer = VoteScorer()
    scorer.load_state_dict(load((files("geogrid.models") / FILE).read_bytes()))
    scorer.requires_grad_(False)
    scorer.eval()
    return scorer
