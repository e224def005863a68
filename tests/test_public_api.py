"""The public interface is a list: exported, on a reference page, and documented."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import ModuleType

import pytest

import geogrid

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"
WITHOUT_MODULE = {"index", "cli"}
"""Pages that list no names: the first, and the command line, which is written from its commands."""
NAMES = sorted(m.name for m in pkgutil.iter_modules(geogrid.__path__) if m.ispkg and m.name not in WITHOUT_MODULE)
PACKAGES = ["geogrid", *(f"geogrid.{name}" for name in NAMES)]
MODULES = [*PACKAGES, "geogrid.errors"]
WRITTEN_BY_PYG = {"propagate", "collect", "edge_updater", "edge_collect"}  # into a layer's class, when the first one is made


def page_of(module: str) -> Path:
    return REFERENCE / f"{module.removeprefix('geogrid.')}.md"


def listed_names(module: str) -> list[str]:
    text = page_of(module).read_text(encoding="utf-8")
    return re.findall(r"^\.\. auto(?:class|exception|function|data):: (\w+)$", text, re.MULTILINE)


def exported_names(module: ModuleType) -> list[str]:
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [n for n, thing in vars(module).items() if getattr(thing, "__module__", None) == module.__name__]


def public_things(module: ModuleType) -> Iterator[tuple[str, object]]:
    """The exported objects, and the public methods and properties that geogrid's classes define themselves."""
    for name in exported_names(module):
        thing = getattr(module, name)
        if not (inspect.isclass(thing) or inspect.isroutine(thing)):
            continue
        yield name, thing
        if inspect.isclass(thing):
            members = [(n, m) for n, m in vars(thing).items() if not n.startswith("_") or n == "__call__"]
            yield from ((f"{name}.{n}", m) for n, m in members if is_documentable(m) and n not in WRITTEN_BY_PYG)


def is_documentable(member: object) -> bool:
    return inspect.isroutine(member) or isinstance(member, property | cached_property | classmethod | staticmethod)


def test_every_package_has_a_page_and_every_page_a_package() -> None:
    pages = {p.stem for p in REFERENCE.glob("*.md")} - WITHOUT_MODULE
    assert pages == {m.removeprefix("geogrid.") for m in MODULES}


def test_every_page_is_in_the_table_of_contents() -> None:
    entries = re.findall(r"^([a-z]+)$", (REFERENCE / "index.md").read_text(), re.MULTILINE)
    assert {p.stem for p in REFERENCE.glob("*.md")} - {"index"} == set(entries)


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_say_what_they_export(package: str) -> None:
    exported = importlib.import_module(package).__all__
    assert len(exported) == len(set(exported))
    assert [n for n in exported if n.startswith("_")] == []


@pytest.mark.parametrize("module", MODULES)
def test_reference_lists_what_is_exported(module: str) -> None:
    assert sorted(listed_names(module)) == sorted(exported_names(importlib.import_module(module)))


@pytest.mark.parametrize("module", MODULES)
def test_everything_public_has_a_docstring_of_its_own(module: str) -> None:
    things = list(public_things(importlib.import_module(module)))
    automatic = [name for name, thing in things if (inspect.getdoc(thing) or "").startswith(f"{name}(")]
    missing = [name for name, thing in things if not (getattr(thing, "__doc__", None) or "").strip()]
    assert missing + automatic == []


@pytest.mark.parametrize("module", MODULES)
def test_nothing_public_comes_from_elsewhere(module: str) -> None:
    foreign = [n for n, thing in public_things(importlib.import_module(module)) if not is_ours(thing)]
    assert foreign == []


def is_ours(thing: object) -> bool:
    if isinstance(thing, cached_property):
        thing = thing.func
    origin = thing.fget if isinstance(thing, property) else getattr(thing, "__func__", thing)
    return getattr(origin, "__module__", "").split(".")[0] == "geogrid"
