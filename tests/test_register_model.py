"""``register(model=...)``."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import pytest
import torch
from click.testing import CliRunner

from geogrid import register
from geogrid.cli import app
from geogrid.errors import GeogridError
from geogrid.models import GeoReg, GeoRegConfig, ModelCard, choose_model, save_weights, shipped_weights, weights_sha256


def blob(x: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A lopsided blob on a 40 x 32 grid of 1 mm, and its affine."""
    axes = torch.meshgrid(torch.arange(40.0), torch.arange(32.0), indexing="ij")
    first = torch.exp(-((axes[0] - x) ** 2 + (axes[1] - 16) ** 2) / 40)
    return first + 0.5 * torch.exp(-((axes[0] - x - 4) ** 2 + (axes[1] - 20) ** 2) / 10), torch.eye(3)


def saved(folder: Path, dim: int = 2, in_channels: int = 1) -> Path:
    """Weights of an untrained model."""
    torch.manual_seed(0)
    model = GeoReg(GeoRegConfig(dim, (8, 8), (1, 1), in_channels=in_channels))
    return save_weights(folder / "weights.safetensors", model, ModelCard(data="none", recipe="random", seed=0))


def test_metrics_tell_the_model_and_the_loss_of_every_start(tmp_path: Path) -> None:
    path = saved(tmp_path)
    found = register(blob(20.0), blob(23.0), device="cpu", model=path).metrics["parameters"]
    assert found["model"] == {"name": str(path), "sha256": weights_sha256(path)}
    assert set(found["start_losses"]) == {"affine", "headers", "learned"}
    assert found["start"] == min(found["start_losses"], key=found["start_losses"].__getitem__)


def test_none_uses_no_model() -> None:
    found = register(blob(20.0), blob(23.0), device="cpu", model="none").metrics["parameters"]
    assert found["model"] is None
    assert set(found["start_losses"]) == {"affine", "headers"}


def test_auto_is_the_shipped_model_of_the_dimension_where_there_is_one() -> None:
    for dim in (2, 3):
        chosen = choose_model("auto", dim)
        if f"synth-{dim}d" in shipped_weights():
            assert chosen is not None
            assert (chosen.name, chosen.model.config.dim) == (f"synth-{dim}d", dim)
        else:
            assert chosen is None


@pytest.mark.parametrize(("dim", "channels"), [(3, 1), (2, 2)])
def test_weights_for_other_images_are_refused(tmp_path: Path, dim: int, channels: int) -> None:
    path = saved(tmp_path, dim, channels)
    with pytest.raises(GeogridError, match=r"expected weights for 2-D images with 1 intensity per point"):
        register(blob(20.0), blob(23.0), device="cpu", model=path)


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(GeogridError, match=r"nowhere\.safetensors: cannot be read"):
        register(blob(20.0), blob(23.0), device="cpu", model="nowhere.safetensors")


def test_a_model_answers_alone() -> None:
    steps = []
    found = register(blob(20.0), blob(23.0), device="cpu", optimize=False, progress=lambda message, _: steps.append(message))
    point = torch.tensor([[22.0, 18.0]])
    assert (found.transform(point) - point - torch.tensor([3.0, 0.0])).norm() < 0.7
    parameters = found.metrics["parameters"]
    assert (parameters["optimize"], parameters["start"], parameters["start_losses"]) == (False, "learned", {})
    assert parameters["model"]["name"] == "synth-2d"
    assert found.history == []
    assert not any("level" in message for message in steps)


def test_without_a_model_nobody_answers() -> None:
    with pytest.raises(GeogridError, match="optimize: without optimisation a model has to answer"):
        register(blob(20.0), blob(23.0), device="cpu", model="none", optimize=False)


def test_the_command_line_writes_what_a_model_answers(tmp_path: Path) -> None:
    files, out = [tmp_path / "fixed.nii", tmp_path / "moving.nii"], tmp_path / "out"
    for file, x in zip(files, (20.0, 23.0), strict=True):
        nib.save(nib.Nifti1Image(blob(x)[0].numpy(), torch.eye(4).numpy()), file)
    done = CliRunner().invoke(app, ["register", *map(str, files), "--out", str(out), "--quiet", "--no-optimize"])
    assert done.exit_code == 0, done.output
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["parameters"]["optimize"] is False
    assert metrics["lncc_after"] > metrics["lncc_before"]
    assert {"displacement.nii.gz", "inverse_displacement.nii.gz", "report.html"} <= {file.name for file in out.iterdir()}
