"""The first page keeps its promises: two commands on top, short examples, and things that exist."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest


@pytest.fixture
def readme(root: Path) -> str:
    return (root / "README.md").read_text(encoding="utf-8")


def code(readme: str, language: str) -> list[list[str]]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    return [[line for line in block.splitlines() if line.strip()] for block in found]


def test_the_first_commands_are_demo_and_test(readme: str) -> None:
    assert code(readme, "console")[0] == ["$ make demo", "$ make test"]
    assert readme.index("$ make demo") < 1500


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_first_commands_do_their_own_setup(root: Path, target: str) -> None:
    plan = subprocess.run(["make", "-n", "-W", "pyproject.toml", target], cwd=root, capture_output=True, text=True, check=True)
    steps = plan.stdout
    assert "-m venv .venv" in steps
    assert steps.index("pip install") < steps.index({"demo": "examples/demo.py", "test": "-m pytest"}[target])


def test_python_in_ten_lines(readme: str) -> None:
    first, *more = code(readme, "python")
    assert any("geogrid.register(" in line for line in first)
    assert max(len(block) for block in (first, *more)) <= 10


def test_command_line_in_five_lines(readme: str) -> None:
    block = code(readme, "console")[1]
    assert len(block) <= 5
    assert {line.split()[2] for line in block} == {"info", "register", "apply", "apply-points"}


def test_the_picture_is_there(root: Path, readme: str) -> None:
    (picture,) = re.findall(r"!\[.+?\]\((.+?)\)", readme)
    assert (root / picture).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_extras_in_the_readme_exist(root: Path, readme: str) -> None:
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    shown = {e for group in re.findall(r"\.\[([a-z,]+)\]", readme) for e in group.split(",")}
    assert shown
    assert shown <= set(extras)
