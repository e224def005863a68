"""The command line: ``geogrid register | apply | apply-points | synth | train | info | doctor``."""

from geogrid.cli.main import app, main
from geogrid.cli.stopping import Stopped

__all__ = ["Stopped", "app", "main"]
