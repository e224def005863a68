"""Weights come back bit by bit, and only as the model that they are."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from geogrid.errors import GeogridError
from geogrid.models import (
    FeatureWarp,
    GeoReg,
    GeoRegConfig,
    ModelCard,
    load_weights,
    read_card,
    save_weights,
    shipped_weights,
    weights_sha256,
)  # fmt: skip

CONFIG = GeoRegConfig(dim=2, channels=(4, 8), steps=(1, 1), heads=(1, 2), head_channels=4, hidden=4)
CARD = ModelCard(
    data="digits | of all kinds", recipe="geogrid train --config mnist", seed=3, commit="abc", machine="1 x x86_64",
    date="2026-01-31", figures={"dice": 0.123456, "note": "one seed"}, licence="Apache-2.0",
)  # fmt: skip


@pytest.mark.parametrize("kind", [GeoReg, FeatureWarp])
def test_a_model_comes_back(kind: type[GeoReg], tmp_path: Path) -> None:
    model = kind(CONFIG)
    found = load_weights(save_weights(tmp_path / "a.safetensors", model, CARD))
    assert type(found) is kind
    assert found.config == model.config
    assert not found.training
    assert found.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in model.state_dict().items())


def test_the_same_weights_are_the_same_bytes(tmp_path: Path) -> None:
    model = GeoReg(CONFIG)
    paths = [save_weights(tmp_path / name / "w.safetensors", model, CARD) for name in ("one", "other")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert weights_sha256(paths[0]) == weights_sha256(paths[1])
    other = save_weights(tmp_path / "w.safetensors", GeoReg(CONFIG), CARD)
    assert weights_sha256(other) != weights_sha256(paths[0])


def test_loading_draws_no_random_numbers(tmp_path: Path) -> None:
    path = save_weights(tmp_path / "a.safetensors", GeoReg(CONFIG), CARD)
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    load_weights(path)
    assert torch.equal(torch.rand(2), expected)


def test_the_card_is_inside_and_beside(tmp_path: Path) -> None:
    path = save_weights(tmp_path / "a.safetensors", GeoReg(CONFIG), CARD)
    assert read_card(path) == CARD
    page = (tmp_path / "a.md").read_text()
    assert "| dice | 0.1235 |" in page
    assert "| data | digits \\| of all kinds |" in page


@pytest.mark.parametrize("choice_radius", [0.0, 2.0])
def test_a_model_that_chooses_comes_back_and_older_files_have_none(choice_radius: float, tmp_path: Path) -> None:
    config = replace(CONFIG, choice_radius=choice_radius)
    path = save_weights(tmp_path / "a.safetensors", GeoReg(config), CARD)
    assert load_weights(path).config == config
    older = {name: value for name, value in asdict(config).items() if name != "choice_radius"}
    if choice_radius:
        with pytest.raises(GeogridError, match="tensors do not fit its model"):
            load_weights(rewritten(path, config=older))
    else:
        assert load_weights(rewritten(path, config=older)).config == config


def test_files_are_not_replaced_unasked(tmp_path: Path) -> None:
    path = save_weights(tmp_path / "a.safetensors", GeoReg(CONFIG), CARD)
    with pytest.raises(GeogridError, match="exists already"):
        save_weights(path, GeoReg(CONFIG), CARD)
    save_weights(path, GeoReg(CONFIG), CARD, overwrite=True)


def rewritten(path: Path, tensors: dict[str, torch.Tensor] | None = None, **described: object) -> Path:
    """A file of weights with parts replaced."""
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    inside = json.loads(header["__metadata__"]["geogrid"]) | described
    out = path.with_name("changed.safetensors")
    safetensors.torch.save_file(tensors or safetensors.torch.load(data), out, {"geogrid": json.dumps(inside)})
    return out


def test_tensors_must_be_exactly_the_models(tmp_path: Path) -> None:
    path = save_weights(tmp_path / "a.safetensors", GeoReg(CONFIG), CARD)
    whole = safetensors.torch.load_file(path)
    name = sorted(whole)[0]
    for tensors in (
        {n: v for n, v in whole.items() if n != name}, whole | {"more": torch.zeros(1)},
        whole | {name: whole[name].double()}, whole | {name: torch.zeros(1, 2, 3)},
    ):  # fmt: skip
        with pytest.raises(GeogridError, match=r"changed.safetensors: 1 tensors do not fit its model"):
            load_weights(rewritten(path, tensors))


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({"format": 2}, "expected weights of format 1"),
        ({"model": "Transformer"}, "describe no model"),
        ({"config": {"dim": 2, "channels": [4], "steps": [1, 2]}}, "describe no model .steps: expected 1 numbers"),
        ({"config": {"dim": 2, "channels": [4], "steps": [1], "depth": 3}}, "describe no model .unknown sizes depth"),
    ],
)
def test_another_description_is_one_clear_error(described: dict[str, object], message: str, tmp_path: Path) -> None:
    path = save_weights(tmp_path / "a.safetensors", GeoReg(CONFIG), CARD)
    with pytest.raises(GeogridError, match=message) as caught:
        load_weights(rewritten(path, **described))
    assert "\n" not in str(caught.value)


def test_what_is_no_file_of_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("hello")
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    for name, message in (
        ("text.safetensors", "not weights of geogrid"), ("foreign.safetensors", "not weights of geogrid"),
        ("none.safetensors", "No such file"), ("brain", "expected a file .*safetensors or a shipped name"),
    ):  # fmt: skip
        with pytest.raises(GeogridError, match=message):
            load_weights(tmp_path / name)


def test_wrong_names_and_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GeogridError, match="ends in"):
        save_weights(tmp_path / "a.pt", GeoReg(CONFIG), CARD)
    with pytest.raises(GeogridError, match="expected GeoReg or FeatureWarp, got Linear"):
        save_weights(tmp_path / "a.safetensors", torch.nn.Linear(1, 1), CARD)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", shipped_weights())
def test_shipped_weights_load_and_are_small(name: str, root: Path) -> None:
    assert isinstance(load_weights(name), GeoReg)
    assert read_card(name).licence
    assert (root / f"geogrid/models/weights/{name}.safetensors").stat().st_size < 10e6
