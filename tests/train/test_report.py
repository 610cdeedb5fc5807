"""What drives scores overall, as the report shows it: the figures of `overall`, escaped, in boxes."""

import html.parser
import re
from collections.abc import Iterator
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from leadscore import report
from leadscore.bundle import Bundle
from leadscore.explain.overall import FEW, Overall
from leadscore.train import Trained

HOSTILE = "</details><script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


class Page(html.parser.HTMLParser):
    """A page as the rows of its tables, by caption or heading, and its pictures in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.tables: list[list[list[str]]] = []
        self.boxed = True
        self._open: list[str] = []
        self.feed(text)
        self.pictures = [
            ElementTree.fromstring(each) for each in re.findall(r"<svg.*?</svg>", text, re.DOTALL)
        ]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag in ("meta", "img", "br"):
            return
        self._open.append(f"{tag}.{dict(attrs).get('class', '')}")
        if tag == "table":
            self.boxed &= "div.wide" in self._open
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().startswith(f"{tag}.")

    def handle_data(self, data: str) -> None:
        if any(each.startswith(("td.", "th.")) for each in self._open):
            self.tables[-1][-1][-1] += data

    def headed(self, *names: str) -> Iterator[list[list[str]]]:
        """Give the rows of the tables whose head begins so."""
        for head, *rows in self.tables:
            if [cell.strip() for cell in head][: len(names)] == list(names):
                yield [[cell.strip() for cell in row] for row in rows]


@pytest.fixture(scope="module")
def segmented(trained: Trained) -> Trained:
    prepared = trained.prepared
    return replace(trained, prepared=replace(prepared, project=replace(prepared.project, segment="source")))


@pytest.fixture(scope="module")
def found(segmented: Trained) -> Overall:
    return report.overall_of(segmented)


@pytest.fixture(scope="module")
def page(segmented: Trained) -> Page:
    return Page(report.html(segmented))


def test_reasons_are_shown_in_their_order_with_their_size(page: Page, found: Overall) -> None:
    (rows,) = page.headed("reason", "family", "points")
    shown = [(row[0], row[1], row[2]) for row in rows]
    assert shown == [(r.label, r.family, f"{r.size:.1f}") for r in found.reasons[: report.MOST_DRIVERS]]
    assert len(shown) == report.MOST_DRIVERS


def test_values_are_shown_with_their_rate_and_points(page: Page, found: Overall) -> None:
    tables = iter(page.headed("value", "leads", "converted"))
    checked = few = 0
    for reason in found.reasons[: report.MOST_DRIVERS]:
        for values in reason.values[:2]:
            for cell, row in zip(values.cells, next(tables), strict=True):
                rate = (
                    f"{100 * cell.rate.value:.1f} % [{100 * cell.rate.low:.1f}, {100 * cell.rate.high:.1f}]"
                )
                assert row[:3] == [cell.value, f"{cell.leads:,}", rate]
                arrow = {1: "▲ ", -1: "▼ ", 0: ""}[cell.side]
                assert row[4] == ("few leads" if cell.leads < FEW else f"{arrow}{cell.lift:.2f} ×")
                assert float(row[5].replace("−", "-")) == pytest.approx(cell.points, abs=0.0501)
                checked, few = checked + 1, few + cell.few
    assert checked > 40
    assert few
    behind = sum(1 for _ in tables)  # those of the segments
    assert behind >= len(found.segments)


def test_segments_stand_beside_each_other(page: Page, found: Overall) -> None:
    (table,) = (rows for rows in page.headed("reason") if rows[0][0] == "leads")
    parts = list(found.segments.values())[: report.MOST_SEGMENTS]
    assert table[0] == ["leads", *(f"{part.leads:,}" for part in parts)]
    assert table[1] == ["converted", *(f"{100 * part.average.value:.1f} %" for part in parts)]
    sizes = [{reason.label: reason.size for reason in part.reasons} for part in parts]
    for row, reason in zip(table[2:], found.reasons, strict=False):
        assert row == [reason.label, *(f"{size[reason.label]:.1f}" for size in sizes)]


def test_without_a_segment_there_are_none(trained: Trained) -> None:
    assert not report.overall_of(trained).segments
    assert not [rows for rows in Page(report.html(trained)).headed("reason") if rows[0][0] == "leads"]


def test_pictures_are_well_formed_and_lie_within_their_frame(page: Page) -> None:
    assert len(page.pictures) > 60
    for picture in page.pictures:
        *_, width, height = map(float, picture.attrib["viewBox"].split())
        for shape in picture:
            for name, value in shape.attrib.items():
                if name in ("x", "x1", "x2", "cx"):
                    assert 0 <= float(value) <= width
                if name in ("y", "y1", "y2", "cy"):
                    assert 0 <= float(value) <= height
        assert picture.attrib.get("aria-label") or picture.attrib["aria-hidden"] == "true"
    spoken = [picture for picture in page.pictures if "aria-label" in picture.attrib]
    assert len(spoken) == report.MOST_DRIVERS


def test_a_strip_lies_where_its_points_are(page: Page, found: Overall) -> None:
    spoken = [picture for picture in page.pictures if "aria-label" in picture.attrib]
    places, points = [], []
    for picture, reason in zip(spoken, found.reasons, strict=False):
        zero, most, half, middle, *_ = picture
        places += [
            zero.attrib["x1"],
            most.attrib["x1"],
            half.attrib["x"],
            middle.attrib["x1"],
            most.attrib["x2"],
        ]
        points += [0.0, *(reason.spread[i] for i in (0, 1, 2, 4))]
    slope, start = np.polyfit(points, [float(place) for place in places], 1)
    np.testing.assert_allclose(
        [float(place) for place in places], start + slope * np.array(points), atol=0.11
    )
    assert slope > 0


def test_a_model_of_any_kind_has_a_page(trained: Trained, bundle_of: dict[str, Bundle], kind: str) -> None:
    told = report.overall_of(replace(trained, bundle=bundle_of[kind]))
    assert told.reasons[0].size > 0
    assert told.rows == len(trained.prepared.y)


def test_hostile_words_stay_words(
    segmented: Trained, found: Overall, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hostile(part: Overall) -> Overall:
        reasons = [
            replace(
                reason,
                label=HOSTILE,
                values=tuple(
                    replace(
                        each,
                        measure=HOSTILE,
                        cells=tuple(replace(cell, value=HOSTILE) for cell in each.cells),
                    )
                    for each in reason.values
                ),
            )
            for reason in part.reasons
        ]
        return replace(part, reasons=tuple(reasons))

    told = replace(hostile(found), segments={HOSTILE: hostile(found)})
    monkeypatch.setattr(report, "overall_of", lambda _: told)
    text = report.html(segmented)
    page = Page(text)
    assert "script" not in page.tags
    assert not [name for name in page.attributes if name.startswith("on")]
    assert "style" not in page.attributes  # which the policy would refuse
    assert "<img src=x" not in text
    assert text.count("&lt;script&gt;") > 100


def test_every_table_has_a_scroll_box_of_its_own(page: Page) -> None:
    assert page.boxed
    assert "details" in page.tags
    assert "script" not in page.tags
