"""geogrid: deformable registration of images and points, in millimetres."""

from typing import TYPE_CHECKING, Any

from geogrid.errors import GeogridError, GeogridWarning

if TYPE_CHECKING:
    from geogrid.cloud_registration import CloudRegistration
    from geogrid.registration import Registration, register

__all__ = ["CloudRegistration", "GeogridError", "GeogridWarning", "Registration", "register"]


def __getattr__(name: str) -> Any:
    """Loads torch only when a registration is asked for, so that ``geogrid --help`` answers at once."""
    if name in ("Registration", "register"):
        from geogrid import registration

        return getattr(registration, name)
    if name == "CloudRegistration":
        from geogrid import cloud_registration

        return cloud_registration.CloudRegistration
    raise AttributeError(f"module 'geogrid' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
