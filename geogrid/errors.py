"""What geogrid raises when the input, not the code, is at fault."""

from __future__ import annotations


class GeogridError(ValueError):
    """An input that cannot be used, told in one line: what it is, what was expected, how to mend it.

    The command line prints the message and exits with status 2; Python callers can catch it as a ``ValueError``.
    """


class GeogridWarning(UserWarning):
    """Something the user should know, after which the work goes on."""
