"""The page is whole, well-formed, needs nothing else, and says what the metrics say."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import PIL.Image
import pytest

from geogrid.report import ReportContents, render_pictures, render_report
from geogrid.report.table import metric_tables

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects tags and text, and fails on tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data
        self.words.append(data)


@pytest.fixture(scope="module")
def pictures(contents: ReportContents) -> dict[str, bytes]:
    return render_pictures(contents)


@pytest.fixture(scope="module")
def text(contents: ReportContents, pictures: dict[str, bytes]) -> str:
    return render_report(contents, "fixed.nii.gz <- moving & more", pictures)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_needs_no_other_file(page: Page, text: str):
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object")
        for name in ("src", "href", "srcset", "data"):
            assert attributes.get(name) is None or attributes[name].startswith("data:")
    assert not re.search(r"https?://|url\(|@import", text)


def test_every_picture_is_inside_and_readable(page: Page, pictures: dict[str, bytes]):
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == len(pictures) == 5
    for attributes, png in zip(images, pictures.values(), strict=True):
        kind, data = attributes["src"].split(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data, validate=True) == png
        with PIL.Image.open(io.BytesIO(png)) as picture:
            picture.verify()
        assert attributes["alt"]


def test_metrics_are_in_the_table_with_units(page: Page):
    assert ["Dice, mean over labels", "0.5512", "0.7213", ""] in page.rows
    assert ["Target registration error", "8.234", "\N{EN DASH}", "mm"] in page.rows
    assert ["Folded voxels of the content", "", "0.0123", "%"] in page.rows
    assert ["Time", "", "1.83", "s"] in page.rows
    assert ["Peak memory", "", "912", "MB"] in page.rows
    assert ["label 2", "0.4321", "0.6789", ""] in page.rows
    assert ["label 17", "0.5", "0.75", ""] in page.rows


def test_settings_are_shown_and_escaped(page: Page, text: str):
    for row in (["Device", "cpu"], ["torch", "2.13.0"], ["affine", "auto <b>"], ["seed", "0"]):
        assert row in page.rows
    assert "<b>" not in text
    assert "<title>fixed.nii.gz &lt;- moving &amp; more</title>" in text


def test_each_picture_is_explained(page: Page):
    assert [tag for tag, _ in page.tags].count("figcaption") == 5
    for word in ("magenta", "folds", "level 0 is the finest"):
        assert word in " ".join(page.words)


def test_same_contents_same_page(contents: ReportContents, text: str):
    assert render_report(contents, "fixed.nii.gz <- moving & more") == text


def test_bare_contents_make_a_page(contents: ReportContents, pictures: dict[str, bytes]):
    page = Page(render_report(replace(contents, metrics={}, history=[]), "bare", pictures))
    assert "Metrics" not in page.words
    assert page.rows == []


def test_what_was_not_measured_has_no_row():
    tables = metric_tables({"dice_before": None, "dice_after": None, "folding_percent": None, "tre_after_mm": 1.5})
    assert [(r.name, r.before, r.after) for r in tables.main] == [("Target registration error", "", "1.5")]
    assert tables.settings == {}


def test_light_enough_to_mail(text: str):
    assert text.startswith("<!DOCTYPE html>")
    assert len(text) < 3_000_000


def test_tables_sort_values_by_shape():
    tables = metric_tables(
        {"hd95_after_mm": {1: 2.5, 3: None}, "hd95_before_mm": {1: 4}, "note": None, "empty": {}, "ok": True}
    )
    rows = tables.per_label["Hd95"]
    assert [(r.name, r.unit, r.before, r.after) for r in rows] == [("label 1", "mm", "4", "2.5"), ("label 3", "mm", "–", "–")]  # noqa: RUF001
    assert tables.main == ()
    assert tables.settings["Run"] == (("Note", "none"), ("Ok", "True"))
