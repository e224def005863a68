"""What Lightning trains."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from geogrid.data import PairBatch
from geogrid.errors import GeogridError
from geogrid.models import FeatureWarp, GeoReg, load_weights
from geogrid.models.georeg import finest_scale_of
from geogrid.training.config import TrainingConfig
from geogrid.training.loss import PairLoss
from geogrid.training.scores import scores
from geogrid.transforms import AffineTransform, TrajectoryBatch


class RegistrationTask(LightningModule):
    """A model, the loss it is trained with, and the figures by which it is judged.

    Args:
        config: of the training; the model's first weights depend on its seed alone.

    Raises:
        GeogridError: when the weights to start from are not of the configured model.
    """

    def __init__(self, config: TrainingConfig) -> None:
        super().__init__()
        self.config, self.model, self.pair_loss = config, make_model(config), PairLoss(config.loss)

    def forward(self, batch: PairBatch) -> TrajectoryBatch:
        """The trajectories of a batch of pairs: features in the trainer's precision, whatever concerns places in float32."""
        model, fixed, moving = self.model, batch.fixed, batch.moving
        scale = finest_scale_of(fixed, moving) if self.config.scale is None else self.config.scale
        pyramids = model.encode(fixed, moving, scale)
        starts = (AffineTransform.identity(fixed.dim),) * batch.num_pairs
        with self._in_float32():
            first, second = (replace(p, features=tuple(x.float() for x in p.features)) for p in pyramids)
            return TrajectoryBatch(starts, tuple(model.decode(first, second, starts)))

    def training_step(self, batch: PairBatch, _: int) -> Tensor:
        """The loss of a batch, a mean over its pairs; logged every ``log_interval`` steps, as processes wait for each other."""
        terms = self._loss(self(batch), batch)
        for name, value in terms.items() if self._logs() else ():
            shown = name == "loss"
            self.log(f"train/{name}", value, prog_bar=shown, batch_size=batch.num_pairs, sync_dist=True)
        return terms["loss"]

    def validation_step(self, batch: PairBatch, _: int) -> None:
        """Logs the loss and :func:`geogrid.training.scores.scores` of some pairs."""
        trajectory = self(batch)
        terms, found = self._loss(trajectory, batch), scores(trajectory, batch)
        for name, value in (("loss", float(terms["loss"])), *found.items()):
            self.log(f"validation/{name}", value, batch_size=batch.num_pairs, sync_dist=True)

    def _logs(self) -> bool:
        """Whether Lightning writes down what is logged in this pass."""
        return (self.global_step + 1) % min(self.config.log_interval, self.config.steps) == 0

    def _loss(self, trajectory: TrajectoryBatch, batch: PairBatch) -> dict[str, Tensor]:
        with self._in_float32():
            return self.pair_loss(trajectory, batch)

    def _in_float32(self) -> torch.autocast:
        """Without the trainer's mixed precision: a place in bfloat16 is one of 256."""
        return torch.autocast(self.device.type, enabled=False)

    def configure_optimizers(self) -> Any:
        """AdamW under one cycle of the learning rate, step by step."""
        settings, steps = self.config.optimizer, self.config.steps
        fused = True if self.device.type == "cpu" else None
        optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=settings.rate, weight_decay=settings.weight_decay, fused=fused
        )
        warmup = min(max(settings.warmup, 2 / steps), 0.9)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.rate, total_steps=steps, pct_start=warmup)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def make_model(config: TrainingConfig) -> GeoReg:
    """The model at the start of a training.

    Raises:
        GeogridError: when the weights to start from are not of the configured model.
    """
    kind = FeatureWarp if config.architecture == "feature_warp" else GeoReg
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = kind(config.model)
    if config.start is None:
        return model
    found = load_weights(config.start)
    if type(found) is not kind or found.config != model.config:
        raise GeogridError(
            f"start {config.start}: expected weights of {kind.__name__} with the sizes of model, got {type(found).__name__} "
            f"with {found.config}"
        )
    return found.train()
