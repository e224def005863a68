"""Pairs by number, dealt out to processes so that any of them can go on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from geogrid.data import PairBatch, collate_pairs
from geogrid.training.config import TrainingConfig
from geogrid.training.sources import make_source
from geogrid.training.stream import PairSource

VALIDATION = 1
"""Added to the seed for the pairs to validate on."""


class NumberedPairs(Dataset[PairBatch]):
    """A source of pairs as PyTorch's loaders want it.

    Args:
        source: of the pairs.
    """

    def __init__(self, source: PairSource) -> None:
        self.source = source

    def __getitem__(self, number: int) -> PairBatch:
        """The pair of a number."""
        return self.source.draw(number)


class StepSampler(Sampler[list[int]]):
    r"""The numbers of the pairs of every pass of one process.

    Pass p of all processes together takes the pairs :math:`[pWB, (p + 1)WB)`, W processes of B pairs, process r the r-th part
    of them; so two processes see together what one sees with a batch twice as large.

    Args:
        batch: B, pairs per process and pass.
        passes: of the whole training.
        rank: of this process.
        world: number of processes.
        done: tells how many passes lie behind when an iteration begins.
    """

    def __init__(self, batch: int, passes: int, rank: int, world: int, done: Callable[[], int]) -> None:
        self.batch, self.passes, self.rank, self.world, self.done = batch, passes, rank, world, done

    def __len__(self) -> int:
        """Passes of the whole training."""
        return self.passes

    def __iter__(self) -> Iterator[list[int]]:
        """The numbers of the passes that are left."""
        for number in range(self.done(), self.passes):
            first = (number * self.world + self.rank) * self.batch
            yield list(range(first, first + self.batch))


class ResumableLoader(DataLoader[PairBatch]):
    """A loader whose sampler knows by itself where to go on, so that there is nothing to store."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the step at which a checkpoint was made says it all."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to do."""


class PairData(LightningDataModule):
    """The pairs of a training and of its validation.

    Args:
        config: of the training.

    Raises:
        GeogridError: naming the file that cannot be used.
    """

    def __init__(self, config: TrainingConfig) -> None:
        super().__init__()
        self.config, self.validation = config, None
        batch = config.batch * config.devices * config.nodes
        self.training = make_source(config.data, config.seed, batch)
        if config.validation is not None:
            self.validation = make_source(config.validation, config.seed + VALIDATION, batch)

    def train_dataloader(self) -> DataLoader[PairBatch]:
        """All passes of the training that are left, as one epoch."""
        assert self.trainer is not None
        trainer, config = self.trainer, self.config
        sampler = StepSampler(
            config.batch, config.steps * config.accumulate, trainer.global_rank, trainer.world_size,
            lambda: trainer.global_step * config.accumulate,
        )  # fmt: skip
        pairs = NumberedPairs(self.training)
        return ResumableLoader(
            pairs, batch_sampler=sampler, collate_fn=collate_pairs, num_workers=config.workers, generator=torch.Generator()
        )

    def val_dataloader(self) -> Any:
        """The validation pairs in batches, each process its share; none without a source of them."""
        if self.validation is None:
            return []
        assert self.trainer is not None
        count = min(self.config.validation_pairs, self.validation.num_pairs or self.config.validation_pairs)
        mine = list(range(self.trainer.global_rank, count, self.trainer.world_size))
        pairs = NumberedPairs(self.validation)
        return DataLoader(
            pairs, sampler=mine, batch_size=self.config.batch, collate_fn=collate_pairs, generator=torch.Generator()
        )

    def transfer_batch_to_device(self, batch: PairBatch, device: torch.device, dataloader_idx: int) -> PairBatch:
        """The batch where the model is."""
        return batch.to(device)
