"""The command line as a whole: the commands, and how errors end."""

from __future__ import annotations

import signal
import sys
import warnings
from typing import Any

import click

from geogrid.cli.apply import apply, apply_points
from geogrid.cli.register import register
from geogrid.cli.stopping import Stopped, fail, stopping_cleanly
from geogrid.cli.synth import synth
from geogrid.cli.tell import doctor, info
from geogrid.cli.train import train
from geogrid.errors import GeogridError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120}, invoke_without_command=True)
@click.version_option(package_name="geogrid")
@click.pass_context
def app(context: click.Context) -> None:
    """Deformable registration of medical images, in millimetres."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for command in (register, apply, apply_points, synth, train, info, doctor):
    app.add_command(command)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line; bad input ends in one line on standard error and exit status 2."""
    with warnings.catch_warnings(), stopping_cleanly():
        warnings.showwarning = _show_warning
        try:
            status = app.main(arguments, prog_name="geogrid", standalone_mode=False)
        except click.UsageError as error:
            fail(f"{error.format_message()} (see geogrid {_command(error)}--help)", 2)
        except click.ClickException as error:
            fail(error.format_message(), 2)
        except GeogridError as error:
            fail(str(error), 2)
        except (KeyboardInterrupt, click.Abort):
            fail("interrupted; nothing was written", 130)
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            fail("out of memory; use a coarser --resolution", 2)
        except Stopped as stopped:
            fail(f"stopped by {signal.Signals(stopped.number).name}; nothing was written", 128 + stopped.number)
    sys.exit(status if isinstance(status, int) else 0)


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "allocate memory" in str(error) or type(error).__name__ == "OutOfMemoryError"


def _command(error: click.UsageError) -> str:
    return f"{error.ctx.info_name} " if error.ctx is not None and error.ctx.info_name != "geogrid" else ""


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    click.echo(f"geogrid: warning: {' '.join(str(message).split())}", err=True)
