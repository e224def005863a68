"""From text to settings: YAML and TOML files as frozen dataclasses, with errors that name the place."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from geogrid.errors import GeogridError

Config = TypeVar("Config")
NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
PLURALS = {bool: "true and false", int: "whole numbers", float: "numbers"}


def read_mapping(path: Path) -> dict[str, Any]:
    """The keys and values of a ``.yaml``, ``.yml`` or ``.toml`` file.

    Raises:
        GeogridError: when it cannot be read or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise GeogridError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or 'not text'})") from None
    try:
        found = tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
    except (tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        raise GeogridError(f"{path}: not {'TOML' if path.suffix == '.toml' else 'YAML'} ({error})") from None
    if not isinstance(found, dict):
        raise GeogridError(f"{path}: expected keys and values (key: value), got {shown(found)}")
    return found


def with_overrides(values: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of nested values with some replaced.

    Args:
        values: nested keys and values.
        overrides: ``key.sub=value`` each, the value in YAML; ``null`` stands for nothing.

    Raises:
        GeogridError: for an override of another form.

    Example:
        >>> with_overrides({"steps": 5, "optimizer": {"rate": 0.1}}, ["optimizer.rate=1e-3", "channels=[8, 16]"])
        {'steps': 5, 'optimizer': {'rate': '1e-3'}, 'channels': [8, 16]}
    """
    changed = dict(values)
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals or not all(path.split(".")):
            raise GeogridError(f"--set {override}: expected key.sub=value")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise GeogridError(f"--set {override}: expected a value in YAML, got {text!r}") from None
        *outer, last = path.split(".")
        place = changed
        for key in outer:
            inner = place.get(key)
            place[key] = dict(inner) if isinstance(inner, Mapping) else {}
            place = place[key]
        place[last] = value
    return changed


def from_mapping(config: type[Config], values: Mapping[str, Any], where: str) -> Config:
    """Nested keys and values as a frozen dataclass.

    Args:
        config: the dataclass; its fields may be numbers, text, literals, tuples, dataclasses, and unions of these.
        values: as YAML and TOML give them.
        where: put before messages, usually the file.

    Raises:
        GeogridError: for an unknown key (with the nearest known ones), a missing one, a value of another type (what was
            expected and what came), or what the dataclass itself refuses; always one line that names file and key.
    """
    return _section(config, values, where, ())


def _section(config: type[Config], values: Any, where: str, path: tuple[str, ...]) -> Config:
    place = f"{where}: {'.'.join(path)}" if path else where
    if not isinstance(values, Mapping):
        raise GeogridError(f"{place}: expected a section of keys and values, got {shown(values)}")
    known, hints = [f.name for f in fields(config) if f.init], get_type_hints(config)  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=3)
            raise GeogridError(f"{place}: unknown key {key}; {'did you mean' if near else 'expected'} {_listed(near or known)}")
    required = [f.name for f in fields(config) if f.default is MISSING and f.default_factory is MISSING]  # type: ignore[arg-type]
    missing = [name for name in required if name not in values]
    if missing:
        raise GeogridError(f"{place}: expected the key {_listed(missing)}, which has no default")
    found = {key: _converted(hints[key], value, where, (*path, key)) for key, value in values.items()}
    try:
        return config(**found)
    except GeogridError as error:
        raise GeogridError(f"{place}: {error}") from None


def _converted(kind: Any, value: Any, where: str, path: tuple[str, ...]) -> Any:
    """The value as the type of a field."""
    if get_origin(kind) in (Union, UnionType):
        return _union(kind, value, where, path)
    if is_dataclass(kind):
        return _section(kind, value, where, path)  # type: ignore[arg-type]
    if get_origin(kind) is tuple and isinstance(value, list | tuple):
        inner = get_args(kind)
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
        if len(kinds) == len(value):
            return tuple(_converted(k, v, where, (*path, str(i))) for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    elif get_origin(kind) is Literal and value in get_args(kind):
        return value
    elif kind is float:
        number = _as_number(value)
        if number is not None:
            return number
    elif type(value) is kind or (kind is NoneType and value is None):
        return value
    raise GeogridError(f"{where}: {'.'.join(path)}: expected {_named(kind)}, got {shown(value)}")


def _union(kind: Any, value: Any, where: str, path: tuple[str, ...]) -> Any:
    """The first member that takes the value; with a single one beside None its own message."""
    members = [member for member in get_args(kind) if member is not NoneType]
    if value is None and len(members) < len(get_args(kind)):
        return None
    if len(members) == 1:
        return _converted(members[0], value, where, path)
    for member in members:
        try:
            return _converted(member, value, where, path)
        except GeogridError:
            continue
    raise GeogridError(f"{where}: {'.'.join(path)}: expected {_named(kind)}, got {shown(value)}")


def _as_number(value: Any) -> float | None:
    """A number; YAML 1.1 reads ``1e-3`` as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _named(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of {_listed([str(choice) for choice in get_args(kind)])}"
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        count = "" if inner[-1] is Ellipsis else f"{len(inner)} "
        return f"a list of {count}{PLURALS.get(inner[0], 'values')}"
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_named(member) for member in get_args(kind) if member is not NoneType)
    return NAMES.get(kind, "a section of keys and values")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def shown(value: Any) -> str:
    """A value in a message, not longer than it helps."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
