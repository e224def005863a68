"""Weights as files: safetensors with the model's sizes and its card inside."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.io import atomic_directory
from geogrid.models.card import ModelCard
from geogrid.models.feature_warp import FeatureWarp
from geogrid.models.georeg import GeoReg, GeoRegConfig

KEY = "geogrid"
FORMAT = 1
ENDING = ".safetensors"


def save_weights(path: str | Path, model: GeoReg, card: ModelCard, overwrite: bool = False) -> Path:
    """Writes a model's weights with its sizes and its card, and the card as Markdown beside them.

    Args:
        path: of the file, ending in ``.safetensors``; the card has the same name and ends in ``.md``.
        model: a :class:`GeoReg` or :class:`FeatureWarp`.
        card: where the weights come from.
        overwrite: whether existing files may be replaced.

    Returns:
        The path.

    Raises:
        GeogridError: for another ending, another kind of model, or a place that cannot be written.

    Example:
        >>> import tempfile
        >>> from geogrid.models import presets
        >>> model, card = GeoReg(presets.mnist()), ModelCard(data="none", recipe="random weights", seed=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     same = load_weights(save_weights(f"{folder}/random.safetensors", model, card))
        >>> all(torch.equal(a, b) for a, b in zip(model.parameters(), same.parameters()))
        True
    """
    path = Path(path)
    if path.suffix != ENDING:
        raise GeogridError(f"{path}: expected a name that ends in {ENDING}")
    if type(model) not in KINDS.values():
        raise GeogridError(f"model: expected {' or '.join(KINDS)}, got {type(model).__name__}")
    described = {"format": FORMAT, "model": type(model).__name__, "config": asdict(model.config), "card": card.as_dict()}
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    names = (path.name, f"{path.stem}.md")
    with atomic_directory(path.parent, overwrite, names) as folder:
        safetensors.torch.save_file(tensors, folder / names[0], {KEY: json.dumps(described, sort_keys=True)})
        (folder / names[1]).write_text(card.as_markdown(path.stem) + "\n", encoding="utf-8")
    return path


def load_weights(name_or_path: str | Path) -> GeoReg:
    """The model that a file of weights describes, with these weights, on the CPU and in evaluation mode.

    Args:
        name_or_path: one of :func:`shipped_weights`, or a file.

    Raises:
        GeogridError: when there is no such file, or it is none that :func:`save_weights` wrote.
    """
    data, where = _bytes(name_or_path)
    described, tensors = _parsed(data, where)
    try:
        config = _config(described["config"])
        with torch.random.fork_rng(devices=[]):
            model: GeoReg = KINDS[described["model"]](config)
    except (GeogridError, KeyError, TypeError, ValueError) as error:
        raise GeogridError(f"{where}: its settings describe no model ({error}); was it written by a newer geogrid?") from None
    _check_same(model.state_dict(), tensors, where)
    model.load_state_dict(tensors)
    return model.eval()


def read_card(name_or_path: str | Path) -> ModelCard:
    """The card inside a file of weights.

    Args:
        name_or_path: as for :func:`load_weights`.

    Raises:
        GeogridError: as :func:`load_weights` does.
    """
    data, where = _bytes(name_or_path)
    return ModelCard.from_dict(_parsed(data, where)[0]["card"])


def weights_sha256(name_or_path: str | Path) -> str:
    """The SHA-256 of a file of weights, so that figures can say which weights they belong to.

    Args:
        name_or_path: as for :func:`load_weights`.

    Raises:
        GeogridError: when there is no such file.
    """
    return hashlib.sha256(_bytes(name_or_path)[0]).hexdigest()


def shipped_weights() -> tuple[str, ...]:
    """Names of the weights in the package."""
    return tuple(sorted(entry.name.removesuffix(ENDING) for entry in _shipped().iterdir() if entry.name.endswith(ENDING)))


KINDS: dict[str, type[GeoReg]] = {"GeoReg": GeoReg, "FeatureWarp": FeatureWarp}


def _shipped() -> Any:
    return files("geogrid.models") / "weights"


def _bytes(name_or_path: str | Path) -> tuple[bytes, str]:
    """The content of a file of weights, and what messages call it."""
    if str(name_or_path) in shipped_weights():
        with as_file(_shipped() / f"{name_or_path}{ENDING}") as path:
            return path.read_bytes(), f"weights {name_or_path}"
    path = Path(name_or_path)
    if path.suffix != ENDING:
        known = ", ".join(shipped_weights()) or "none yet"
        raise GeogridError(f"weights {name_or_path}: expected a file *{ENDING} or a shipped name ({known})")
    try:
        return path.read_bytes(), str(path)
    except OSError as error:
        raise GeogridError(f"{path}: cannot be read ({error.strerror}); check the path") from None


def _parsed(data: bytes, where: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a file says about its model, and its tensors."""
    try:
        tensors = safetensors.torch.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        described = json.loads(header["__metadata__"][KEY])
    except (safetensors.SafetensorError, ValueError, KeyError):
        raise GeogridError(f"{where}: not weights of geogrid; expected a file that save_weights wrote") from None
    if (
        not isinstance(described, dict)
        or described.get("format") != FORMAT
        or not {"model", "config", "card"} <= set(described)
    ):
        raise GeogridError(f"{where}: expected weights of format {FORMAT}, got another; was it written by a newer geogrid?")
    return described, tensors


def _config(values: Mapping[str, Any]) -> GeoRegConfig:
    """The sizes; those that came later than the file have their defaults, and JSON has lists for tuples."""
    unknown = set(values) - {entry.name for entry in fields(GeoRegConfig)}
    if unknown:
        raise GeogridError(f"unknown sizes {', '.join(sorted(unknown))}")
    sizes: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return GeoRegConfig(**sizes)


def _check_same(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], where: str) -> None:
    """The tensors of a file must be exactly those of its model."""
    wrong = sorted(
        name for name in {*expected, *found}
        if name not in expected or name not in found
        or (expected[name].shape, expected[name].dtype) != (found[name].shape, found[name].dtype)
    )  # fmt: skip
    if wrong:
        raise GeogridError(f"{where}: {len(wrong)} tensors do not fit its model, for instance {wrong[0]}; the file is damaged")
