"""``geogrid train``."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from geogrid.cli.options import IMAGE
from geogrid.cli.stopping import Stopped, fail


@click.command()
@click.option("--config", required=True, metavar="FILE|PRESET", help="Settings, YAML or TOML; or the name of a preset.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Replaces a setting: optimizer.rate=1e-3.")
@click.option("--out", type=IMAGE, required=True, help="Folder for checkpoints, logs and weights; made when missing.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in --out, if there is one.")
@click.option("--quiet", is_flag=True, help="Without a progress bar.")
def train(config: str, overrides: tuple[str, ...], out: Path, resume: bool, quiet: bool) -> None:
    """Train a model and write its weights into a folder."""
    from geogrid.training import is_first_process, read_config, train

    recipe = shlex.join(["geogrid", "train", "--config", config, *(f"--set={override}" for override in overrides)])
    settings = read_config(config, overrides)
    with _resumable():
        weights = train(settings, out, resume=resume, recipe=recipe, quiet=quiet)
    if is_first_process():
        click.echo(f"weights: {weights}")


@contextmanager
def _resumable() -> Iterator[None]:
    """Ends a training that is stopped with what to do next; Lightning turns Ctrl-C into an exit."""
    try:
        yield
    except Stopped as stopped:
        fail(f"stopped by {signal.Signals(stopped.number).name}; go on with --resume", 128 + stopped.number)
    except SystemExit:
        fail("interrupted; go on with --resume", 130)
