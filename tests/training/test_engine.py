"""Trainings from beginning to end: repeatable, resumable, the same on two processes as on one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from geogrid.errors import GeogridError
from geogrid.models import load_weights, read_card
from geogrid.training import load_checkpoint, train
from tests.training.tiny import MODEL, Losses, tiny


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Losses]:
    """A training that nobody disturbed: eight steps of two passes, validated and stored every three."""
    folder, losses = tmp_path_factory.mktemp("whole"), Losses()
    train(tiny("steps=8", "val_interval=3", "batch=2", "accumulate=2"), folder, quiet=True, callbacks=[losses])
    return folder, losses


def test_a_training_leaves_weights_a_card_settings_and_logs(whole: tuple[Path, Losses]) -> None:
    folder, losses = whole
    assert sorted(losses.found) == list(range(16))
    assert {path.name for path in folder.iterdir()} == {
        "checkpoints",
        "config.yaml",
        "logs",
        "weights.md",
        "weights.safetensors",
    }
    card = read_card(folder / "weights.safetensors")
    assert card.figures["steps"] == 8
    assert len(logged(folder, "train/loss")) == 1, "every log_interval steps, or once"
    assert {"validation/dice", "validation/folding_percent", "validation/loss"} < set(card.figures)
    assert card.licence == "Apache-2.0"


def test_a_killed_training_goes_on_as_if_nothing_had_been(whole: tuple[Path, Losses], tmp_path: Path) -> None:
    config = tiny("steps=8", "val_interval=3", "batch=2", "accumulate=2")
    before, after = Losses(killed_after=9), Losses()
    with pytest.raises(RuntimeError, match="killed"):
        train(config, tmp_path, quiet=True, callbacks=[before])
    assert not (tmp_path / "weights.safetensors").exists()
    train(config, tmp_path, resume=True, quiet=True, callbacks=[after])
    assert sorted(after.found) == list(range(6, 16))
    assert before.found == {number: whole[1].found[number] for number in range(9)}
    assert after.found == {number: whole[1].found[number] for number in range(6, 16)}
    assert same_weights(whole[0], tmp_path) == 0


def test_weights_are_the_moving_average_that_checkpoints_have(tmp_path: Path) -> None:
    weights = train(tiny("steps=4", "val_interval=2", "batch=2", "ema=0.5"), tmp_path, quiet=True)
    stored = torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=False)
    average = load_checkpoint(tmp_path).state_dict()
    last = {name.removeprefix("model."): value for name, value in stored["current_model_state"].items()}
    assert all(torch.equal(average[name], value) for name, value in load_weights(weights).state_dict().items())
    assert any(not torch.equal(average[name], value) for name, value in last.items())


def test_a_finished_training_is_left_as_it_is(whole: tuple[Path, Losses]) -> None:
    before, losses = (whole[0] / "weights.safetensors").read_bytes(), Losses()
    train(tiny("steps=8", "val_interval=3", "batch=2", "accumulate=2"), whole[0], resume=True, callbacks=[losses])
    assert losses.found == {}
    assert (whole[0] / "weights.safetensors").read_bytes() == before


def test_weights_lost_after_the_end_come_back_from_the_checkpoint(tmp_path: Path) -> None:
    config = tiny("steps=2", "val_interval=2", "batch=1", "ema=0.5")
    weights = train(config, tmp_path, quiet=True)
    before = load_weights(weights).state_dict()
    weights.unlink()
    weights.with_suffix(".md").unlink()
    train(config, tmp_path, resume=True, quiet=True)
    assert all(torch.equal(before[name], value) for name, value in load_weights(weights).state_dict().items())


def test_a_folder_with_another_training_is_refused(whole: tuple[Path, Losses]) -> None:
    config = tiny("steps=9", "val_interval=3", "batch=2", "accumulate=2", "optimizer.rate=0.5", "workers=1")
    with pytest.raises(GeogridError, match="holds a training already"):
        train(config, whole[0])
    with pytest.raises(GeogridError, match="a training with other optimizer, steps;"):
        train(config, whole[0], resume=True)


def test_global_random_numbers_are_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(tiny("steps=1", "val_interval=1", "batch=1"), tmp_path, quiet=True)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.slow
def test_two_processes_do_what_one_does_with_twice_the_batch(tmp_path: Path) -> None:
    """Twenty steps as DDP, at a rate that does not blow rounding up: sums come in another order."""
    options = [*MODEL, "steps=20", "val_interval=10", "log_interval=1", "accelerator=cpu", "optimizer.rate=1e-3"]
    one, two = tmp_path / "one", tmp_path / "two"
    train_by_command(one, *options, "batch=4")
    train_by_command(two, *options, "batch=2", "devices=2")
    alone, together = logged(one, "train/loss"), logged(two, "train/loss")
    assert len(alone) == len(together) == 20
    assert together == pytest.approx(alone, rel=1e-4)
    assert logged(two, "validation/loss") == pytest.approx(logged(one, "validation/loss"), rel=1e-4)
    assert same_weights(one, two) < 1e-3


def train_by_command(out: Path, *overrides: str) -> None:
    words = ["-m", "geogrid", "train", "--config", "mnist", "--out", str(out), "--quiet"]
    words += [word for override in overrides for word in ("--set", override)]
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"weights: {out / 'weights.safetensors'}\n"
    assert done.stderr.count("warning") == 0, done.stderr


def logged(folder: Path, name: str) -> list[float]:
    events = EventAccumulator(str(folder / "logs"))
    events.Reload()
    return [event.value for event in events.Scalars(name)]


def same_weights(first: Path, second: Path) -> float:
    """Largest difference of the weights of two trainings."""
    one, other = (load_weights(folder / "weights.safetensors").state_dict() for folder in (first, second))
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_settings_in_the_folder_are_complete(whole: tuple[Path, Losses]) -> None:
    values = yaml.safe_load((whole[0] / "config.yaml").read_text())
    assert values["optimizer"] == {"rate": 0.01, "weight_decay": 1e-4, "warmup": 0.025, "clip": 1.0}
    assert values["data"]["mnist"] == {"split": "train"}


def test_lattices_and_scattered_parts_take_turns_in_one_training(tmp_path: Path) -> None:
    sampling = "data.sampling={probability: 0.5, share: [0.3, 0.9], gradient: 3.0, group: null}"
    losses = Losses()
    train(tiny("steps=4", "val_interval=4", "batch=2", sampling), tmp_path, quiet=True, callbacks=[losses])
    assert "sampling" in (tmp_path / "config.yaml").read_text()
    assert all(0 < value < 10 for value in losses.found.values())
