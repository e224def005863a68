"""``geogrid info`` and ``geogrid doctor``."""

from __future__ import annotations

from pathlib import Path

import click

from geogrid.cli.options import IMAGE


@click.command()
@click.argument("file", type=IMAGE)
def info(file: Path) -> None:
    """Tell what FILE is and what geogrid will do with it."""
    from geogrid.description import describe

    _print_table(describe(file))


@click.command()
def doctor() -> None:
    """Tell what is installed: versions, devices, and which implementations of neighbour search are there."""
    from geogrid.doctor import examine

    _print_table(examine())


def _print_table(lines: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        click.echo(f"{name:<{width}}  {value}")
