"""Where weights come from and what they are worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from geogrid.errors import GeogridError


@dataclass(frozen=True)
class ModelCard:
    """What a user of weights should know, and what is needed to make them again.

    Args:
        data: on which pairs they were trained.
        recipe: the command or the settings that make them.
        seed: of the training.
        commit: of geogrid's source.
        machine: on which they were made.
        date: of the end of the training, ``YYYY-MM-DD``.
        figures: by name, numbers or text with their unit in the name.
        licence: of the weights.

    Example:
        >>> card = ModelCard(data="MNIST digits", recipe="geogrid train --config mnist", seed=0, figures={"dice": 0.95})
        >>> print(card.as_markdown("mnist"))
        # mnist
        <BLANKLINE>
        | | |
        | --- | --- |
        | data | MNIST digits |
        | recipe | geogrid train --config mnist |
        | seed | 0 |
        | commit | not stated |
        | machine | not stated |
        | date | not stated |
        | licence | not stated |
        <BLANKLINE>
        | figure | value |
        | --- | --- |
        | dice | 0.95 |
    """

    data: str
    recipe: str
    seed: int
    commit: str = ""
    machine: str = ""
    date: str = ""
    figures: Mapping[str, float | str] = field(default_factory=dict)
    licence: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"figures": dict(self.figures)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelCard:
        """The card that :meth:`as_dict` was made of.

        Raises:
            GeogridError: for unknown or missing entries.
        """
        try:
            return cls(**values)
        except TypeError:
            expected = ", ".join(entry.name for entry in fields(cls))
            raise GeogridError(f"model card: expected the entries {expected}, got {', '.join(values)}") from None

    def as_markdown(self, title: str) -> str:
        """The card as a page."""
        entries = {name: value for name, value in self.as_dict().items() if name != "figures"}
        lines = [
            f"# {title}",
            "",
            *_table(("", ""), {name: value if value != "" else "not stated" for name, value in entries.items()}),
        ]
        if self.figures:
            lines += ["", *_table(("figure", "value"), self.figures)]
        return "\n".join(lines)


def _table(head: tuple[str, str], rows: Mapping[str, Any]) -> list[str]:
    cells = [(name, f"{value:.4g}" if isinstance(value, float) else _cell(value)) for name, value in rows.items()]
    top = f"| {head[0]} | {head[1]} |" if any(head) else "| | |"
    return [top, "| --- | --- |", *(f"| {name} | {value} |" for name, value in cells)]


def _cell(value: object) -> str:
    return " ".join(str(value).replace("|", "\\|").split())
