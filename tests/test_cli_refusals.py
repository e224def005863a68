"""Bad input: one line that says what is wrong and what to do, exit code 2, and nothing half-written."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import psutil
import pytest
import torch

from tests.data.runs import run, tree
from tests.data.scenes import centred_grid, head, head_labels, render, save_nifti
from tests.io.cases import ordinary_user

SCRIPT = Path(sys.executable).with_name("geogrid")
GRID = centred_grid((24, 22, 20), (2.5, 2.5, 2.5))


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good pair with everything that may come along."""
    folder = tmp_path_factory.mktemp("originals")
    for side in ("fixed", "moving"):
        save_nifti(folder / f"{side}.nii.gz", render(head, GRID), GRID)
        save_nifti(folder / f"{side}_labels.nii.gz", render(head_labels, GRID), GRID)
        save_nifti(folder / f"{side}_mask.nii.gz", (render(head_labels, GRID) > 0).astype("u1"), GRID)
        (folder / f"{side}.csv").write_text("x,y,z\n1,2,3\n-4,5,6\n")
    return folder


@pytest.fixture
def scans(originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a copy of the good pair."""
    for path in originals.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Refusal:
    """Runs a command that must be refused and leave the working folder as it is."""

    def __init__(self, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capfd = folder, capfd

    def __call__(self, command: str, *words: str) -> str:
        before = tree(self.folder)
        status = run(*command.split())
        captured = self.capfd.readouterr()
        assert status == 2, captured.err
        assert captured.out == ""
        (line,) = [line for line in captured.err.splitlines() if not line.startswith("geogrid: warning:")]
        assert line.startswith("geogrid: error: ")
        assert len(line) < 500
        for word in words:
            assert word in line, f"{word!r} is not in {line!r}"
        assert tree(self.folder) == before
        return line


@pytest.fixture
def refuses(scans: Path, capfd: pytest.CaptureFixture[str]) -> Refusal:
    return Refusal(scans, capfd)


def write(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> None:
    nib.save(nib.Nifti1Image(array, GRID.affine.numpy() if affine is None else affine), path)


def noise(shape: tuple[int, ...] = GRID.shape) -> np.ndarray:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def spoiled(*values: float) -> np.ndarray:
    array = noise()
    array.reshape(-1)[: len(values)] = values
    return array


def write_truncated(path: Path) -> None:
    write(path, noise())
    path.write_bytes(path.read_bytes()[:9000])


def write_form(path: Path, affine: np.ndarray) -> None:
    image = nib.Nifti1Image(noise(), None)
    image.header.set_sform(affine, 1)
    nib.save(image, path)


SHEAR = np.diag([2.5, 2.5, 2.5, 1.0]) + 0.4 * np.eye(4, k=1) * [[1], [0], [0], [0]]
BAD_IMAGES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "missing": (lambda p: p.unlink(missing_ok=True), ["no such file", "check the path"]),
    "empty": (lambda p: p.write_bytes(b""), ["empty (0 bytes)", "export it again"]),
    "truncated": (write_truncated, ["truncated", "export it again"]),
    "not an image": (lambda p: p.write_text("words, words, words\n" * 40), ["not a readable .nii.gz image"]),
    "series": (lambda p: write(p, noise((6, 6, 6, 5))), ["4-D series of 5 frames", "extract one frame"]),
    "constant": (lambda p: write(p, np.full(GRID.shape, 7, "f4")), ["every voxel is 7", "constant"]),
    "single voxel": (lambda p: write(p, np.ones((1, 1, 1), "f4")), ["single voxel", "give a whole image"]),
    "too thin": (lambda p: write(p, noise((20, 3, 20))), ["at least 4 voxels", "(20, 3, 20)", "resample"]),
    "infinite": (lambda p: write(p, spoiled(np.inf, -np.inf)), ["2 of 10560 voxels are infinite", "replace them"]),
    "NaN": (lambda p: write(p, spoiled(np.nan, np.nan, np.nan)), ["3 of 10560 voxels are NaN", "--nan-outside"]),
    "singular": (lambda p: write_form(p, np.diag([2.5, 0, 2.5, 1])), ["singular", "sform or qform"]),
    "sheared": (lambda p: write_form(p, SHEAR), ["sheared", "resample"]),
}


@pytest.mark.filterwarnings("ignore::geogrid.GeogridWarning")
@pytest.mark.parametrize("side", ["fixed", "moving"])
@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_bad_images(refuses: Refusal, scans: Path, side: str, kind: str) -> None:
    spoil, words = BAD_IMAGES[kind]
    spoil(scans / f"{side}.nii.gz")
    refuses("register fixed.nii.gz moving.nii.gz --out runs/new", f"{side} image {side}.nii.gz: ", *words)


@pytest.mark.parametrize("side", ["fixed", "moving"])
def test_directories(refuses: Refusal, scans: Path, side: str) -> None:
    other = {"fixed": "{} moving.nii.gz", "moving": "fixed.nii.gz {}"}[side]
    (scans / "folder").mkdir()
    refuses(f"register {other.format('folder')} --out new", f"{side} image folder", "directory", "name one file")


def test_unreadable_files(scans: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """In a folder that every user may enter, since root may read everything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / "a.nii.gz").write_bytes((scans / "fixed.nii.gz").read_bytes())
        (folder / "a.nii.gz").chmod(0)
        with ordinary_user():
            status = run("register", folder / "a.nii.gz", "moving.nii.gz", "--out", folder / "out")
        assert [path.name for path in folder.iterdir()] == ["a.nii.gz"]
    assert status == 2
    expected = f"fixed image {name}/a.nii.gz: cannot be read (Permission denied); check its permissions"
    assert capfd.readouterr().err == f"geogrid: error: {expected}\n"


def test_two_with_three_dimensions(refuses: Refusal, scans: Path) -> None:
    write(scans / "slice.nii.gz", noise((20, 22)), np.eye(4))
    refuses("register slice.nii.gz moving.nii.gz --out new", "slice.nii.gz is 2-D and", "is 3-D", "same dimension")
    refuses("register fixed.nii.gz slice.nii.gz --out new", "is 3-D and", "is 2-D", "same dimension")


@pytest.mark.parametrize(("shift", "gap"), [((700.0, 0, 0), "640"), ((0, 60.0, 0), "5")])
def test_no_overlap_in_the_world(refuses: Refusal, scans: Path, shift: tuple[float, ...], gap: str) -> None:
    affine = GRID.affine.numpy().copy()
    affine[:3, 3] += shift
    write(scans / "far.nii.gz", noise(), affine)
    refuses("register fixed.nii.gz far.nii.gz --out new", "do not overlap", f"{gap} mm apart", "origins")


@pytest.mark.parametrize("side", ["fixed", "moving"])
@pytest.mark.parametrize("kind", ["labels", "mask"])
def test_labels_and_masks_on_another_grid(refuses: Refusal, scans: Path, side: str, kind: str) -> None:
    other = "moving" if side == "fixed" else "fixed"
    options = f"--{side}-{kind} other.nii.gz" + (f" --{other}-labels {other}_labels.nii.gz" if kind == "labels" else "")
    moved = GRID.affine.numpy().copy()
    moved[0, 3] += 1.5
    for shape, affine in (((24, 22, 19), None), (GRID.shape, moved)):
        write(scans / "other.nii.gz", (noise(shape) > 0.5).astype("i2"), affine)
        refuses(
            f"register fixed.nii.gz moving.nii.gz --out new {options}",
            f"{side} {kind} other.nii.gz",
            "another grid",
            "resample",
        )


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (spoiled(0.5) + 0, ["integer labels", "probability map"]),
        (spoiled(np.nan), ["integer labels"]),
    ],
)
def test_labels_that_are_not_integers(refuses: Refusal, scans: Path, array: np.ndarray, words: list[str]) -> None:
    write(scans / "soft.nii.gz", array)
    options = "--fixed-labels fixed_labels.nii.gz --moving-labels soft.nii.gz"
    refuses(f"register fixed.nii.gz moving.nii.gz --out new {options}", "moving labels soft.nii.gz", *words)
    refuses(f"register fixed.nii.gz moving.nii.gz --out new {options} --quiet", "moving labels soft.nii.gz", *words)


def test_labels_and_masks_without_content(refuses: Refusal, scans: Path) -> None:
    write(scans / "zero.nii.gz", np.zeros(GRID.shape, "u1"))
    refuses(
        "register fixed.nii.gz moving.nii.gz --out new --fixed-labels zero.nii.gz --moving-labels zero.nii.gz",
        "every voxel is 0",
        "at least one label",
    )
    refuses("register fixed.nii.gz moving.nii.gz --out new --fixed-mask zero.nii.gz", "empty mask", "leave the mask out")
    corner = np.zeros(GRID.shape, "u1")
    corner[0, 0, 0] = 1
    write(scans / "corner.nii.gz", corner)
    refuses("register fixed.nii.gz moving.nii.gz --out new --moving-mask corner.nii.gz", "moving mask", "shows nothing")


@pytest.mark.parametrize("kind", ["labels", "landmarks"])
@pytest.mark.parametrize("side", ["fixed", "moving"])
def test_one_of_two(refuses: Refusal, side: str, kind: str) -> None:
    file = f"{side}_labels.nii.gz" if kind == "labels" else f"{side}.csv"
    other = "moving" if side == "fixed" else "fixed"
    refuses(f"register fixed.nii.gz moving.nii.gz --out new --{side}-{kind} {file}", kind, f"give {other} {kind} too")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x,y,z\n1,2,3\n", ["2 fixed and 1 moving", "same order"]),
        ("x,y,z\n1,2,3\n400,0,0\n", ["moving landmarks: 1 of 2 lie outside", "RAS", "--coordinates"]),
        ("x,y,z\n1,2,3\n4,5,inf\n", ["bad.csv, line 3", "finite"]),
        ("x,y,z\n1,2,3\n4,five,6\n", ["bad.csv, line 3", "number", "five"]),
        ("x,y\n1,2\n3,4\n", ["bad.csv", "x,y,z"]),
        ("x,y,z\n", ["bad.csv", "no points"]),
        ("", ["bad.csv", "no points"]),
    ],
)
def test_bad_landmarks(refuses: Refusal, scans: Path, text: str, words: list[str]) -> None:
    (scans / "bad.csv").write_text(text)
    refuses("register fixed.nii.gz moving.nii.gz --out new --fixed-landmarks fixed.csv --moving-landmarks bad.csv", *words)


def test_missing_landmarks(refuses: Refusal) -> None:
    options = "--fixed-landmarks none.csv --moving-landmarks moving.csv"
    refuses(f"register fixed.nii.gz moving.nii.gz --out new {options}", "none.csv", "no such file")


@pytest.mark.parametrize("out", ["fixed.csv", "fixed.csv/deeper", "/proc/geogrid/deeper"])
def test_unwritable_folders(refuses: Refusal, out: str) -> None:
    refuses(f"register fixed.nii.gz moving.nii.gz --out {out}", f"{out}: cannot be written", "choose another place")
    refuses(f"register fixed.nii.gz moving.nii.gz --out {out} --overwrite", "cannot be written")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--similarity ssd", ["--similarity", "'ssd'", "'nmi'", "register --help"]),
        ("--affine similarity", ["--affine", "'similarity'", "'rigid'", "register --help"]),
        ("--device tpu", ["--device", "'tpu'", "'cpu'"]),
        ("--coordinates xyz", ["--coordinates", "'lps'"]),
        ("--resolution fine", ["--resolution", "fine", "float"]),
        ("--resolution 0", ["resolution", "positive", "got 0"]),
        ("--resolution -2", ["resolution", "positive", "-2"]),
        ("--resolution nan", ["resolution", "positive"]),
        ("--resolution inf", ["resolution", "1.25 to 7.5 mm", "leave it out for 2.5 mm"]),
        ("--resolution 8", ["resolution", "1.25 to 7.5 mm", "got 8"]),
        ("--resolution 1", ["resolution", "1.25 to 7.5 mm", "got 1"]),
        ("--effort 0", ["effort", "positive factor", "got 0"]),
        ("--effort inf", ["effort", "positive factor", "got inf"]),
        ("--smoothness -1", ["smoothness", "positive factor", "-1"]),
        ("--smoothness nan", ["smoothness", "positive factor"]),
        ("--seed x", ["--seed", "integer"]),
        ("--speed 3", ["--speed", "No such option", "register --help"]),
    ],
)
def test_unknown_option_values(refuses: Refusal, options: str, words: list[str]) -> None:
    refuses(f"register fixed.nii.gz moving.nii.gz --out new {options}", *words)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_a_device_that_is_not_there(refuses: Refusal) -> None:
    refuses("register fixed.nii.gz moving.nii.gz --out new --device cuda", "no CUDA device", "--device cpu")


def test_missing_arguments_and_unknown_commands(refuses: Refusal) -> None:
    refuses("register fixed.nii.gz moving.nii.gz", "--out", "register --help")
    refuses("register fixed.nii.gz --out new", "MOVING")
    refuses("regster fixed.nii.gz", "regster", "geogrid --help")


def free_memory(monkeypatch: pytest.MonkeyPatch, num_bytes: float) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=int(num_bytes)))


def test_not_enough_memory(refuses: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolution that the message names is one that then fits."""
    from geogrid.optimize.memory import estimate_bytes

    free_memory(monkeypatch, (estimate_bytes(GRID, GRID, 2.5) + estimate_bytes(GRID, GRID, 7.5)) / 2)
    line = refuses("register fixed.nii.gz moving.nii.gz --out new", "not enough memory", "GiB", "--resolution")
    resolution = re.search(r"--resolution (\S+) \(mm\)", line)
    assert resolution is not None
    assert 2.5 < float(resolution[1]) <= 7.5
    command = f"register fixed.nii.gz moving.nii.gz --out new --affine none --device cpu --resolution {resolution[1]}"
    assert run(*command.split(), "--quiet") == 0


def test_not_enough_memory_for_any_resolution(refuses: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    free_memory(monkeypatch, 1e6)
    refuses("register fixed.nii.gz moving.nii.gz --out new", "not enough memory", "no resolution fits", "downsample")


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")]
)
def test_memory_that_runs_out_on_the_way(refuses: Refusal, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("geogrid.registration.optimize_pair", failing)
    refuses("register fixed.nii.gz moving.nii.gz --out new --quiet", "out of memory", "--resolution")


@pytest.mark.parametrize("old", ["warped.nii.gz", "metrics.json", "warped_labels.nii.gz", "report.html"])
def test_existing_outputs(refuses: Refusal, scans: Path, old: str) -> None:
    (scans / "results").mkdir()
    (scans / "results" / old).write_text("mine")
    refuses("register fixed.nii.gz moving.nii.gz --out results", old, "exists already", "--overwrite")


def test_failing_with_overwrite_keeps_what_was_there(refuses: Refusal, scans: Path) -> None:
    (scans / "results").mkdir()
    (scans / "results" / "warped.nii.gz").write_text("mine")
    refuses("register fixed.nii.gz none.nii.gz --out results --overwrite", "no such file")


def test_nan_outside_is_a_way_out(scans: Path, capfd: pytest.CaptureFixture[str]) -> None:
    array = render(head, GRID)
    array[array < 2] = np.nan
    write(scans / "fixed.nii.gz", array)
    inputs = ["fixed.nii.gz", "moving.nii.gz", "--out", "new", "--affine", "none", "--device", "cpu", "--quiet"]
    assert run("register", *inputs) == 2
    assert f"{np.isnan(array).sum()} of {array.size} voxels are NaN" in capfd.readouterr().err
    assert run("register", *inputs, "--nan-outside") == 0
    assert np.isfinite(nib.load("new/warped.nii.gz").get_fdata()).all()
    assert np.isfinite(nib.load("new/displacement.nii.gz").get_fdata()).all()


@pytest.fixture
def field(scans: Path) -> Path:
    """A displacement file of the scans."""
    from geogrid.io import Storage, write_displacement

    write_displacement(scans / "u.nii.gz", torch.ones(*GRID.shape, 3), Storage(GRID.shape, GRID.affine))
    return scans / "u.nii.gz"


@pytest.mark.usefixtures("field")
@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("apply none.nii.gz moving.nii.gz --reference fixed.nii.gz --out a.nii.gz", ["none.nii.gz", "no such file"]),
        ("apply moving.nii.gz moving.nii.gz --reference fixed.nii.gz --out a.nii.gz", ["not a displacement file"]),
        ("apply u.nii.gz none.nii.gz --reference fixed.nii.gz --out a.nii.gz", ["image none.nii.gz", "no such file"]),
        ("apply u.nii.gz u.nii.gz --reference fixed.nii.gz --out a.nii.gz", ["3 numbers per voxel", "displacement"]),
        ("apply u.nii.gz moving.nii.gz --reference none.nii.gz --out a.nii.gz", ["reference none.nii.gz", "no such file"]),
        ("apply u.nii.gz slice.nii.gz --reference fixed.nii.gz --out a.nii.gz", ["image slice.nii.gz is 2-D", "u.nii.gz 3-D"]),
        ("apply u.nii.gz moving.nii.gz --reference slice.nii.gz --out a.nii.gz", ["reference slice.nii.gz is 2-D"]),
        ("apply u.nii.gz moving.nii.gz --reference fixed.nii.gz --out a.png", ["--out", ".nii.gz", "a.png"]),
        ("apply u.nii.gz moving.nii.gz --reference fixed.nii.gz --out fixed.nii.gz", ["fixed.nii.gz", "exists", "--overwrite"]),
        (
            "apply u.nii.gz moving.nii.gz --reference fixed.nii.gz --out fixed.csv/a.nii",
            ["fixed.csv/a.nii", "cannot be written"],
        ),
        ("apply u.nii.gz moving.nii.gz --out a.nii.gz", ["--reference", "apply --help"]),
        (
            "apply u.nii.gz moving.nii.gz --reference fixed.nii.gz --out a.nii.gz --interpolation cubic",
            ["--interpolation", "'cubic'", "'nearest'"],
        ),
        (
            "apply u.nii.gz moving.nii.gz --reference fixed.nii.gz --out a.nii.gz --interpolation label",
            ["image moving.nii.gz", "integer labels"],
        ),
        ("apply-points u.nii.gz none.csv --out a.csv", ["none.csv", "no such file"]),
        ("apply-points none.nii.gz fixed.csv --out a.csv", ["none.nii.gz", "no such file"]),
        ("apply-points u.nii.gz fixed.nii.gz --out a.csv", ["fixed.nii.gz", "not a text file"]),
        ("apply-points u.nii.gz flat.csv --out a.csv", ["flat.csv", "x,y,z"]),
        ("apply-points u.nii.gz fixed.csv --out moving.csv", ["moving.csv", "exists", "--overwrite"]),
        ("apply-points u.nii.gz fixed.csv --out a.csv --coordinates ijk", ["--coordinates", "'ijk'"]),
        ("info none.nii.gz", ["none.nii.gz", "no such file"]),
        ("info notes.txt", ["notes.txt", "no points", "one point per line"]),
        ("info constant.nii.gz", ["constant.nii.gz", "every voxel is 7"]),
    ],
)
def test_the_other_commands(refuses: Refusal, scans: Path, command: str, words: list[str]) -> None:
    write(scans / "slice.nii.gz", noise((20, 22)), np.eye(4))
    write(scans / "constant.nii.gz", np.full(GRID.shape, 7, "f4"))
    (scans / "flat.csv").write_text("x,y\n1,2\n")
    (scans / "notes.txt").write_text("to do\n")
    refuses(command, *words)


def test_through_the_installed_command(scans: Path) -> None:
    before = tree(scans)
    command = [SCRIPT, "register", "fixed.nii.gz", "none.nii.gz", "--out", "deep/er"]
    done = subprocess.run(command, cwd=scans, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "geogrid: error: moving image none.nii.gz: no such file; check the path\n"
    assert tree(scans) == before


@pytest.mark.parametrize(
    ("number", "status", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "SIGTERM"), (signal.SIGHUP, 129, "SIGHUP")],
)
def test_stopped_while_it_works(tmp_path: Path, number: signal.Signals, status: int, word: str) -> None:
    """The pair is so large that the work takes far longer than the signal."""
    grid = centred_grid((110, 100, 90), (0.6, 0.6, 0.6))
    for name in ("fixed.nii", "moving.nii"):
        save_nifti(tmp_path / name, render(head, grid), grid)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "warped.nii.gz").write_text("mine")
    before = tree(tmp_path)
    command = [str(SCRIPT), "register", "fixed.nii", "moving.nii", "--out", "old", "--overwrite", "--device", "cpu"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # a parent in the background ignores some
    )
    try:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "old").glob(".geogrid-*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(1.0)
        assert process.poll() is None, process.communicate()
        assert list((tmp_path / "old").glob(".geogrid-*"))
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == status, err
    assert "Traceback" not in err
    assert f"geogrid: error: {'interrupted' if word == 'interrupted' else f'stopped by {word}'}; nothing was written" in err
    assert out == ""
    assert tree(tmp_path) == before
