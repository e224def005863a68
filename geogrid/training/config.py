"""What a training is: model, pairs, loss, and how long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml

from geogrid.errors import GeogridError
from geogrid.models import GeoRegConfig
from geogrid.training.loss import LossConfig
from geogrid.training.reading import from_mapping, read_mapping, with_overrides
from geogrid.training.sources import DataConfig

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW under a one-cycle schedule of the learning rate.

    Args:
        rate: largest learning rate.
        weight_decay: decoupled.
        warmup: share of the steps until the largest rate is reached, above 0 and below 1.
        clip: largest norm of the gradient; 0 for any.

    Raises:
        GeogridError: for values out of their range.
    """

    rate: float = 1e-3
    weight_decay: float = 1e-4
    warmup: float = 0.05
    clip: float = 1.0

    def __post_init__(self) -> None:
        if not (self.rate > 0 and self.weight_decay >= 0 and 0 < self.warmup < 1 and self.clip >= 0):
            raise GeogridError(
                "expected rate above 0, weight_decay and clip from 0 up, warmup between 0 and 1, got "
                f"{self.rate}, {self.weight_decay}, {self.clip}, {self.warmup}"
            )


@dataclass(frozen=True)
class TrainingConfig:
    """A training from beginning to end; with the package's version it says all that is needed to repeat it.

    Args:
        model: sizes of the network.
        data: where pairs to learn from come from.
        loss: what is minimised.
        optimizer: and how.
        architecture: ``georeg`` (:class:`~geogrid.models.GeoReg`) or ``feature_warp`` (:class:`~geogrid.models.FeatureWarp`).
        start: weights to start from, a shipped name or a file; default random ones.
        validation: where pairs to validate on come from; default none.
        validation_pairs: how many of them, at most.
        steps: of the optimiser.
        batch: pairs per device and pass.
        accumulate: passes per step.
        scale: finest scale s_0 in mm; default per batch the coarser in-plane spacing.
        ema: decay of the moving average of the weights, which validation and the result use; None for the weights themselves.
        seed: of the weights at the start and of the pairs.
        val_interval: steps from validation to validation, and from checkpoint to checkpoint.
        log_interval: steps from one logged loss to the next.
        precision: ``32-true``, ``bf16-mixed`` or ``16-mixed``.
        accelerator: ``auto``, ``cpu`` or ``gpu``.
        devices: per node.
        nodes: machines.
        workers: processes per device that make pairs; 0 to make them in between the steps.
        about: of the data, for the model card.
        licence: of the weights, for the model card.

    Raises:
        GeogridError: for values out of their range.
    """

    model: GeoRegConfig
    data: DataConfig
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    architecture: Literal["georeg", "feature_warp"] = "georeg"
    start: str | None = None
    validation: DataConfig | None = None
    validation_pairs: int = 50
    steps: int = 1000
    batch: int = 1
    accumulate: int = 1
    scale: float | None = None
    ema: float | None = 0.99
    seed: int = 0
    val_interval: int = 100
    log_interval: int = 10
    precision: Precision = "32-true"
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = 1
    nodes: int = 1
    workers: int = 0
    about: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        for name in ("validation_pairs", "steps", "batch", "accumulate", "val_interval", "log_interval", "devices", "nodes"):
            if getattr(self, name) < 1:
                raise GeogridError(f"{name}: expected a whole number from 1 up, got {getattr(self, name)}")
        for name in ("seed", "workers"):
            if getattr(self, name) < 0:
                raise GeogridError(f"{name}: expected a whole number from 0 up, got {getattr(self, name)}")
        if self.scale is not None and not self.scale > 0:
            raise GeogridError(f"scale: expected a length in mm above 0, got {self.scale}")
        if self.ema is not None and not 0 <= self.ema < 1:
            raise GeogridError(f"ema: expected a decay from 0 up and below 1, or null, got {self.ema}")

    def as_yaml(self) -> str:
        """The settings as text that :func:`read_config` reads back, defaults included."""
        return yaml.safe_dump(_plain(asdict(self)), sort_keys=False, width=120)


def read_config(source: str | Path, overrides: Sequence[str] = ()) -> TrainingConfig:
    """Reads the settings of a training.

    Args:
        source: a ``.yaml``, ``.yml`` or ``.toml`` file, or the name of a preset (:func:`preset_names`).
        overrides: ``key.sub=value`` each, the value in YAML.

    Raises:
        GeogridError: in one line that names the file and the key.

    Example:
        >>> config = read_config("mnist", ["steps=20", "optimizer.rate=1e-3"])
        >>> config.model.channels, config.steps, config.optimizer.rate
        ((16, 32, 64), 20, 0.001)
    """
    path, where = Path(source), str(source)
    if str(source) in preset_names():
        path, where = Path(str(_presets() / f"{source}.yaml")), f"preset {source}"
    elif path.suffix not in (".yaml", ".yml", ".toml") or not path.exists():
        raise GeogridError(
            f"{source}: expected an existing .yaml, .yml or .toml file, or one of the presets {', '.join(preset_names())}"
        )
    values = with_overrides(read_mapping(path), overrides)
    return from_mapping(TrainingConfig, values, f"{where} with --set" if overrides else where)


def preset_names() -> tuple[str, ...]:
    """The trainings whose settings are in the package."""
    return tuple(sorted(Path(entry.name).stem for entry in _presets().iterdir() if entry.name.endswith(".yaml")))


def _presets() -> Any:
    return files("geogrid.training") / "configs"


def _plain(value: Any) -> Any:
    """Without tuples, which YAML's safe dialect does not know."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple | list) else value
