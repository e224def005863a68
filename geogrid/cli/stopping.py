"""Signals that end the process, and how it ends: one line on standard error, and nothing half written."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import click

CLEAN_STOPS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Stopped(BaseException):
    """The process was asked to end; raised so that unfinished files are removed on the way out.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def stopping_cleanly() -> Iterator[None]:
    """Turns signals that end the process into :class:`Stopped`; those that the caller ignores (nohup) stay ignored."""

    def stop(number: int, _: object) -> None:
        raise Stopped(number)

    in_main = threading.current_thread() is threading.main_thread()
    replaced = [number for number in CLEAN_STOPS if in_main and signal.getsignal(number) == signal.SIG_DFL]
    for number in replaced:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in replaced:
            signal.signal(number, signal.SIG_DFL)


def fail(message: str, status: int) -> NoReturn:
    """Ends the process with one line on standard error."""
    click.echo(f"geogrid: error: {' '.join(message.split())}", err=True)
    sys.exit(status)
