"""Trainings on PyTorch Lightning: devices, checkpoints, logs, and the weights at the end."""

from __future__ import annotations

import datetime
import logging
import platform
import subprocess
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities import rank_zero_only

import geogrid
from geogrid.errors import GeogridError
from geogrid.models import GeoReg, ModelCard, save_weights
from geogrid.training.config import TrainingConfig
from geogrid.training.loader import PairData
from geogrid.training.reading import from_mapping, read_mapping
from geogrid.training.task import RegistrationTask, make_model

WEIGHTS, CHECKPOINT, SETTINGS = "weights.safetensors", "checkpoints/last.ckpt", "config.yaml"
FREE_TO_CHANGE = ("precision", "accelerator", "devices", "nodes", "workers", "log_interval", "about", "licence")
"""Settings with which a training may go on that began with others."""

NOT_FOR_US = (
    ".*does not have many workers",  # pairs of synthetic worlds and cached images need none; the setting is `workers`
    "Checkpoint directory .* exists and is not empty",  # so it must be, to resume
    "Grad strides do not match bucket view strides",  # convolutions with one channel; costs nothing that shows
    ".*broadcast_buffers. is deprecated",  # what replaces it came with torch 2.13
    ".*isinstance.treespec, LeafSpec.. is deprecated",  # Lightning's own use of torch
)
"""Warnings of Lightning that say nothing about a training's settings."""


def train(
    config: TrainingConfig,
    out: str | Path,
    *,
    resume: bool = False,
    recipe: str = "",
    quiet: bool = False,
    callbacks: Sequence[Callback] = (),
) -> Path:
    """Trains a model and writes its weights.

    The folder gets ``config.yaml`` (all settings), ``checkpoints/last.ckpt`` every ``val_interval`` steps, ``logs`` for
    TensorBoard, and at the end ``weights.safetensors`` with its card ``weights.md``.

    Args:
        config: what to train.
        out: folder of the results; made when missing.
        resume: whether to go on from the folder's checkpoint, if there is one; it must belong to the same settings, but for the
            machine's (precision, devices, workers).
        recipe: the command, for the model card.
        quiet: without a progress bar.
        callbacks: of Lightning, beside our own.

    Returns:
        The file of weights: the moving average, if there is one. A training that has ended is left as it is.

    Raises:
        GeogridError: for a folder that holds another training, and whatever is wrong with settings or data.
    """
    folder = Path(out)
    checkpoint = _prepare(config, folder, resume)
    if (folder / WEIGHTS).exists():
        return folder / WEIGHTS
    data, task = PairData(config), RegistrationTask(config)
    with _calm_lightning():
        trainer = make_trainer(config, folder, quiet, callbacks)
        trainer.fit(task, data, ckpt_path=checkpoint, weights_only=False)
    if trainer.is_global_zero:
        done_before = checkpoint is not None and _steps_of(checkpoint) >= config.steps
        model = load_checkpoint(folder) if done_before else task.model
        save_weights(folder / WEIGHTS, model, _card(config, recipe, trainer))
    return folder / WEIGHTS


def is_first_process() -> bool:
    """Whether this process is the only one of a training, or the first: the one that prints."""
    return bool(getattr(rank_zero_only, "rank", 0) == 0)


def make_trainer(
    config: TrainingConfig, folder: Path, quiet: bool = False, callbacks: Sequence[Callback] = ()
) -> lightning.Trainer:
    """The trainer of :func:`train`: one epoch of ``steps`` steps, however many devices.

    Args:
        config: what to train.
        folder: of checkpoints and logs.
        quiet: without a progress bar.
        callbacks: of Lightning, beside our own.
    """
    interval = min(config.val_interval, config.steps)
    ours: list[Callback] = [
        ModelCheckpoint(
            folder / "checkpoints", "last", save_top_k=1, every_n_train_steps=interval, enable_version_counter=False
        )
    ]
    ours += [] if quiet else [TQDMProgressBar(refresh_rate=config.log_interval)]
    ours += [] if config.ema is None else [EMAWeightAveraging(decay=config.ema)]
    return lightning.Trainer(
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=config.nodes,
        precision=config.precision,
        strategy=DDPStrategy(broadcast_buffers=False) if config.devices * config.nodes > 1 else "auto",
        max_steps=config.steps,
        accumulate_grad_batches=config.accumulate,
        gradient_clip_val=config.optimizer.clip or None,
        val_check_interval=interval * config.accumulate,
        limit_val_batches=0 if config.validation is None else 1.0,
        num_sanity_val_steps=0,
        log_every_n_steps=min(config.log_interval, config.steps),
        logger=TensorBoardLogger(folder, name="logs", version=""),
        callbacks=[*ours, *callbacks],
        enable_progress_bar=not quiet,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def load_checkpoint(out: str | Path) -> GeoReg:
    """The model of a training that has not ended, as its last checkpoint has it (the moving average, if there is one).

    Args:
        out: folder of the training.

    Raises:
        GeogridError: when there is no checkpoint.
    """
    folder = Path(out)
    path = folder / CHECKPOINT
    if not path.exists():
        raise GeogridError(f"{path}: no such checkpoint; expected the folder of a training that has made one")
    model = make_model(_settings(folder))
    state = torch.load(path, map_location="cpu", weights_only=False)["state_dict"]
    model.load_state_dict({name.removeprefix("model."): value for name, value in state.items()})
    return model.eval()


def _steps_of(checkpoint: Path) -> int:
    return int(torch.load(checkpoint, map_location="cpu", weights_only=False)["global_step"])


def _prepare(config: TrainingConfig, folder: Path, resume: bool) -> Path | None:
    """The folder with the settings in it; the checkpoint to go on from, if any."""
    checkpoint = folder / CHECKPOINT
    begun = checkpoint.exists() or (folder / WEIGHTS).exists()
    if begun and not resume:
        raise GeogridError(f"{folder}: holds a training already; go on with it (--resume) or choose another place")
    if begun:
        before, now = asdict(_settings(folder)), asdict(config)
        other = [name for name in now if name not in FREE_TO_CHANGE and before[name] != now[name]]
        if other:
            raise GeogridError(
                f"{folder}: holds a training with other {', '.join(other)}; resume with the settings of {folder / SETTINGS}"
            )
        return checkpoint if checkpoint.exists() else None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SETTINGS).write_text(config.as_yaml(), encoding="utf-8")
    except OSError as error:
        raise GeogridError(f"{folder}: cannot be written ({error.strerror}); choose another place") from None
    return None


def _settings(folder: Path) -> TrainingConfig:
    path = folder / SETTINGS
    return from_mapping(TrainingConfig, read_mapping(path), str(path))


def _card(config: TrainingConfig, recipe: str, trainer: lightning.Trainer) -> ModelCard:
    figures: dict[str, Any] = {"steps": trainer.global_step}
    figures |= {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("validation/")}
    kind = next(name for name, value in asdict(config.data).items() if value is not None)
    return ModelCard(
        data=config.about or kind,
        recipe=recipe or "geogrid.training.train",
        seed=config.seed,
        commit=_commit(),
        machine=_machine(trainer),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        figures=figures,
        licence=config.licence,
    )


def _commit() -> str:
    """Of geogrid's source where it is a git checkout, with a plus if it has changes; otherwise nothing."""

    def git(*words: str) -> str:
        where = Path(geogrid.__file__).parent
        return subprocess.run(["git", *words], cwd=where, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _machine(trainer: lightning.Trainer) -> str:
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return f"{trainer.world_size} x {name}, torch {torch.__version__}"


@contextmanager
def _calm_lightning() -> Iterator[None]:
    """Without Lightning's remarks on itself, and without its warnings that do not apply here."""
    logs = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in NOT_FOR_US:
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)
