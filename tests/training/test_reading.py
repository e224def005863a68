"""Settings from files: what was written arrives, and what is wrong is named."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from geogrid.errors import GeogridError
from geogrid.training import TrainingConfig, preset_names, read_config
from geogrid.training.reading import from_mapping, read_mapping

YAML = """
model: {dim: 2, channels: [4, 8], steps: [1, 2], heads: [1, 2]}
data:
  mnist: {split: validation}
loss:
  trajectory: {dissimilarity: lncc, level_weights: [1, 0.5]}
optimizer: {rate: 1e-3}
"""
TOML = """
[model]
dim = 2
channels = [4, 8]
steps = [1, 2]
heads = [1, 2]
[data.mnist]
split = "validation"
[loss.trajectory]
dissimilarity = "lncc"
level_weights = [1, 0.5]
[optimizer]
rate = 1e-3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(YAML)
    return path


def test_yaml_and_toml_say_the_same(file: Path) -> None:
    other = file.with_suffix(".toml")
    other.write_text(TOML)
    config = read_config(file)
    assert config == read_config(other)
    assert config.model.heads == (1, 2)
    assert config.loss.trajectory.level_weights == (1.0, 0.5)
    assert config.optimizer.rate == 0.001
    assert config.data.mnist is not None
    assert config.data.mnist.split == "validation"


def test_overrides_replace_and_add(file: Path) -> None:
    config = read_config(
        file, ["optimizer.rate=5e-4", "loss.trajectory.folding=1", "ema=null", "validation.mnist={}", "scale=2"]
    )
    assert (config.optimizer.rate, config.loss.trajectory.folding, config.ema, config.scale) == (5e-4, 1.0, None, 2.0)
    assert config.loss.trajectory.dissimilarity == "lncc"
    assert config.validation is not None
    assert config.validation.mnist is not None


@pytest.mark.parametrize("name", preset_names())
def test_presets_are_whole_and_come_back_from_their_own_text(name: str, tmp_path: Path) -> None:
    config = read_config(name)
    assert config.validation is not None
    assert config.licence
    path = tmp_path / "again.yaml"
    path.write_text(config.as_yaml())
    assert from_mapping(TrainingConfig, read_mapping(path), "") == config


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("stepz=3", ("unknown key stepz", "did you mean steps")),
        ("optimizer.rat=3", ("optimizer: unknown key rat", "rate")),
        ("qqq=3", ("unknown key qqq", "expected model, data, loss")),
        ("steps=many", ("steps: expected a whole number, got 'many'",)),
        ("steps=1.5", ("steps: expected a whole number, got 1.5",)),
        ("steps=true", ("steps: expected a whole number, got True",)),
        ("optimizer.rate=fast", ("optimizer.rate: expected a number, got 'fast'",)),
        ("optimizer=3", ("optimizer: expected a section of keys and values, got 3",)),
        ("model.channels=4", ("model.channels: expected a list of whole numbers, got 4",)),
        ("model.channels=[4, x]", ("model.channels.1: expected a whole number, got 'x'",)),
        ("model.heads=[a]", ("model.heads: expected a whole number or a list of whole numbers, got ['a']",)),
        ("model.matcher=1", ("model.matcher: expected true or false, got 1",)),
        ("architecture=unet", ("architecture: expected one of georeg, feature_warp, got 'unet'",)),
        ("start=3", ("start: expected text, got 3",)),
        ("model.steps=[1]", ("model: steps: expected 2 numbers from 0 up",)),
        ("loss.trajectory.diffusion=-1", ("loss.trajectory: weights: expected numbers from 0 on",)),
        ("loss.image=0", ("loss: image, displacement, dice, landmarks: expected weights",)),
        ("data.images.folder=here", ("data: expected exactly one of", "got mnist and images")),
        ("batch=0", ("batch: expected a whole number from 1 up, got 0",)),
        ("ema=1", ("ema: expected a decay",)),
        ("scale=0", ("scale: expected a length in mm above 0",)),
    ],
)
def test_what_is_wrong_is_named_with_its_file(file: Path, override: str, words: tuple[str, ...]) -> None:
    with pytest.raises(GeogridError) as caught:
        read_config(file, [override])
    message = str(caught.value)
    assert message.startswith(f"{file} with --set: ")
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("text", "message"),
    [("model: [", "not YAML"), ("- 1", "expected keys and values"), ("model: {dim: 2}", "expected the key data")],
)
def test_files_that_are_no_settings_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(GeogridError, match=message) as caught:
        read_config(path)
    assert str(path) in str(caught.value)


def test_a_name_that_is_neither_file_nor_preset_is_refused() -> None:
    with pytest.raises(GeogridError, match=r"nothing: expected an existing .* or one of the presets mnist"):
        read_config("nothing")
    with pytest.raises(GeogridError, match=r"--set steps: expected key.sub=value"):
        read_config("mnist", ["steps"])


@dataclass(frozen=True)
class Inner:
    side: Literal["left", "right"] = "left"


@dataclass(frozen=True)
class Outer:
    pair: tuple[float, float]
    parts: tuple[Inner, ...] = ()
    inner: Inner | None = None
    more: Inner = field(default_factory=Inner)


def test_nested_types_convert() -> None:
    found = from_mapping(Outer, {"pair": [1, "2e-1"], "parts": [{"side": "right"}, {}], "inner": None}, "here")
    assert found == Outer((1.0, 0.2), (Inner("right"), Inner()), None, Inner())
    with pytest.raises(GeogridError, match=r"here: pair: expected a list of 2 numbers, got \[1\]"):
        from_mapping(Outer, {"pair": [1]}, "here")
    with pytest.raises(GeogridError, match=r"here: parts.0.side: expected one of left, right, got 'up'"):
        from_mapping(Outer, {"pair": [1, 2], "parts": [{"side": "up"}]}, "here")
