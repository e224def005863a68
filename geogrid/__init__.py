"""geogrid: deformable registration of images and points, in millimetres."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from geogrid.errors import GeogridError, GeogridWarning

if TYPE_CHECKING:
    from geogrid.cloud_registration import CloudRegistration
    from geogrid.registration import register
    from geogrid.results import Registration

__all__ = ["CloudRegistration", "GeogridError", "GeogridWarning", "Registration", "register"]

_LAZY = {"register": "registration", "Registration": "results", "CloudRegistration": "cloud_registration"}


def __getattr__(name: str) -> Any:
    """Loads torch only when a registration is asked for, so that ``geogrid --help`` answers at once."""
    if name in _LAZY:
        return getattr(import_module(f"geogrid.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'geogrid' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
