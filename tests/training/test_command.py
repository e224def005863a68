"""The command: one line for bad input, what to do next after a stop."""

from __future__ import annotations

import importlib.util
import signal
from pathlib import Path

import pytest

import geogrid.training
from geogrid.cli import Stopped
from geogrid.errors import GeogridError
from tests.data.runs import run


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--config", "none.yaml"), "none.yaml: expected an existing"),
        (("--config", "mnist", "--set", "stepz=3"), "unknown key stepz; did you mean steps"),
        (("--config", "mnist", "--set", "data={images: {folder: nowhere}}"), "nowhere: expected a folder of images"),
        (("--config", "mnist", "--set", "start=brain"), "weights brain: expected a file"),
    ],
)
def test_bad_input_is_one_line(
    words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("train", *words, "--out", "out") == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("geogrid: error: ")
    assert message in line


@pytest.mark.parametrize(
    ("stop", "status", "message"),
    [
        (Stopped(signal.SIGTERM), 143, "stopped by SIGTERM; go on with --resume"),
        (SystemExit(1), 130, "interrupted; go on with --resume"),
    ],
)
def test_a_stopped_training_says_how_to_go_on(
    stop: BaseException, status: int, message: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def train(*_: object, **__: object) -> None:
        raise stop

    monkeypatch.setattr(geogrid.training, "train", train)
    assert run("train", "--config", "mnist", "--out", "out") == status
    assert capfd.readouterr().err == f"geogrid: error: {message}\n"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find(name))
    with pytest.raises(GeogridError, match=r"expected the package tensorboard, .* pip install 'geogrid\[train\]'"):
        importlib.reload(geogrid.training)
