"""The page of a draft: it shows what preview and tuning found, nothing in it runs, nothing is fetched."""

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from leadscore import bundle as bundles
from leadscore import threshold_page, thresholds
from leadscore.bundle import Bundle
from leadscore.data.contract import Contract
from leadscore.evaluation import figures
from leadscore.evaluation.figures import Line
from leadscore.explain.card import GradeCuts
from leadscore.features.declare import AttributeFeature
from leadscore.models.calibration import Scale, Sigmoid
from leadscore.models.conditions import Condition
from leadscore.models.linear import LevelsTerm, LinearTable
from leadscore.models.matrix import Column
from leadscore.policy.backtest import Backtest
from leadscore.policy.figures import Money
from leadscore.policy.policy import Policy, Thresholds, percent
from leadscore.policy.rules import Rule
from leadscore.predict import LeadModel, load
from leadscore.thresholds import Aim

WEEKS = 20
ELEMENTS = {
    *("html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "b", "ul", "li", "div"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td", "img", "details", "summary"),
}
ATTRIBUTES = {
    *("lang", "charset", "http-equiv", "content", "name", "class", "tabindex", "role", "aria-label", "scope"),
    *("src", "alt"),
}
VOID = {"meta", "img"}
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")
PAYLOADS = (
    "<script>document.title='RAN'</script>",
    '"><img src=http://127.0.0.1:9/x onerror="document.title=\'RAN\'">',
    "' onmouseover='document.title=1",
    "</style><script>document.title='RAN'</script>",
    "</title></head><body onload=document.title='RAN'>",
    "<details open ontoggle=document.title='RAN'>",
    "{{ 7 * 7 }}{% include 'x' %}{# #}",
    "}*{background:url(http://127.0.0.1:9/x)}",
    "<!--",
    "&lt;script&gt;",
    "\x1b[31mred\x1b[0m\x00\x9b",
    "\u202eevil\u2066",
    "[red]bold[/red] $x_1 & co$",
)


class Page(HTMLParser):
    """What a browser makes of a page."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.html = html
        self.inside: list[str] = []
        self.images: list[dict[str, str]] = []
        self.tables: list[list[list[str]]] = []
        self.said: list[str] = []
        self.feed(html)
        self.close()
        assert self.inside == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ELEMENTS
        assert {name for name, _ in attrs} <= ATTRIBUTES
        if tag == "img":
            self.images.append({name: value or "" for name, value in attrs})
        if tag == "table":
            assert "div" in self.inside  # which scrolls by itself
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag not in VOID:
            self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.inside.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.inside):
            self.tables[-1][-1][-1] += data
        if "style" not in self.inside:
            self.said.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.said).split())

    def headed(self, *heads: str) -> list[list[str]]:
        """The rows of the one table whose heads begin so."""
        (rows,) = (rows for head, *rows in self.tables if head[: len(heads)] == list(heads))
        return rows


def require_inert(html: str) -> Page:
    """Hold that nothing can run and nothing is fetched: by its elements, its pictures and its own policy."""
    page = Page(html)
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'" in html
    assert not re.search(r"https?:|//|@import", style)
    assert not CONTROL.search(html)
    for image in page.images:
        assert image["alt"]
        kind, _, packed = image["src"].partition(",")
        assert kind == "data:image/svg+xml;base64"
        picture = ElementTree.fromstring(base64.b64decode(packed))
        tags = {each.tag.rpartition("}")[2] for each in picture.iter()}
        assert not tags & {"script", "image", "foreignObject", "a"}
        for each in picture.iter():
            for name, value in each.attrib.items():
                assert not name.rpartition("}")[2].startswith("on")
                assert name.rpartition("}")[2] != "href" or value.startswith("#")
    return page


@pytest.fixture
def model(folder: Path) -> LeadModel:
    return load(folder)


def page_of(model: LeadModel, draft: Policy, leads: pd.DataFrame | None = None, **more: float) -> Page:
    return require_inert(threshold_page.html(model, draft, thresholds.preview(model, draft, leads, **more)))


def test_the_preview_is_on_the_page(model: LeadModel, leads: pd.DataFrame) -> None:
    draft = replace(model.policy, mql=0.12, nurture=None)
    outlook = thresholds.preview(model, draft, leads, by=["source"], capacity=30)
    page = require_inert(threshold_page.html(model, draft, outlook))
    assert outlook.past is not None
    assert outlook.today is not None
    assert outlook.past.load is not None
    for said in (outlook.past.sentence, outlook.past.load.sentence, *outlook.past.changes):
        assert said in page.text
    assert "MQL from 12 %" in page.text
    assert "In force: revision 1, MQL from 20 %" in page.text
    stages = [rows for head, *rows in page.tables if head[0] == "stage"]
    for rows, changes in zip(stages, (outlook.past.stages, outlook.today.stages), strict=True):
        numbers = [(each.before, each.after, each.entering, each.leaving) for each in changes]
        assert [row[1:] for row in rows] == [[f"{number:,}" for number in four] for four in numbers]
    moves = page.headed("lead", "from", "to")
    assert [(row[0], row[3]) for row in moves] == [
        (str(move.lead_id), move.why) for move in outlook.today.moves[: threshold_page.MOST_MOVES]
    ]
    assert {row[0] for row in page.headed("segment")} == {each.name for each in outlook.past.segments}
    assert len(page.headed("week")) == len(outlook.past.weeks)
    titles = [image["alt"].partition(":")[0] for image in page.images]
    assert titles == ["Precision and recall", "Gains", "Volume by week"]
    assert "draft at 0.12" in page.images[0]["alt"]


def test_the_tuning_is_on_the_page(model: LeadModel) -> None:
    aim = Aim("value", value_of_win=100, cost_of_touch=25)
    tuning = thresholds.tune(model, aim, segment="source", draws=100)
    draft = tuning.draft(model.policy)
    outlook = thresholds.preview(model, draft)
    page = require_inert(threshold_page.html(model, draft, outlook, tuning=tuning, money=aim.money))
    table = thresholds.figures_table(tuning)
    assert page.headed(*table.heads) == [list(row) for row in table.rows]
    assert page.headed("source", "MQL from") == [list(row) for row in thresholds.levels_table(tuning).rows]
    for said in (*tuning.verdicts, *tuning.notes):
        assert said[1:] in page.text
    assert page.images[0]["alt"].startswith("Profit: profit by “MQL from a chance of”; draft at")
    assert "The largest profit is at" in page.text


def test_the_curves_are_those_of_counting(
    model: LeadModel, past: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every drawn figure is what filtering the past leads gives, at every drawn line."""
    drawn: dict[str, dict[str, Line]] = {}
    draw = figures.banded

    def banded(title: str, axes: tuple[str, str], lines: Sequence[Line], **more: Any) -> Figure:
        drawn[title] = {line.name: line for line in lines}
        return draw(title, axes, lines, **more)

    monkeypatch.setattr(figures, "banded", banded)
    draft = replace(model.policy, mql=0.1, suppress=(), fast_track=())
    money = Money(100.0, 20.0, 5.0)
    threshold_page.html(model, draft, thresholds.preview(model, draft), money=money)
    assert set(drawn) == {"Profit", "Precision and recall", "Gains", "Volume by week"}
    wins = past["won"].sum()

    def above(line: Line) -> Iterator[tuple[float, pd.DataFrame]]:
        assert len(line.x) > 100
        for at, value in zip(line.x, line.y, strict=True):
            yield value, past[past["chance"] >= at]

    for precision, sent in above(drawn["Precision and recall"]["precision"]):
        assert precision == pytest.approx(sent["won"].mean())
        assert len(sent) >= 20
    for recall, sent in above(drawn["Precision and recall"]["recall"]):
        assert recall == pytest.approx(sent["won"].sum() / wins)
    for profit, sent in above(drawn["Profit"]["profit"]):
        won = sent["won"].sum()
        assert profit == pytest.approx((100 * won - 20 * len(sent) - 5 * (wins - won)) / WEEKS)
    ranked = past.sort_values("chance", ascending=False)["won"].cumsum().to_numpy()
    gains = drawn["Gains"]["the model"]
    for volume, won in zip(gains.x, gains.y, strict=True):
        assert won == pytest.approx(ranked[round(volume * WEEKS) - 1] / WEEKS)
    keen = (past["source"] == "Referral") & (past["hours"] >= 9)
    sent_by = {
        "draft": past["chance"] >= 0.1,
        "in force": ((past["chance"] >= 0.2) | keen) & (past["hours"] >= 0.3),
    }
    for name, mask in sent_by.items():
        counts = past[mask].groupby("week").size()
        assert drawn["Volume by week"][name].y.tolist() == counts.tolist()
    for of in drawn.values():
        for each in of.values():
            if each.low is not None and each.high is not None:
                assert (each.low <= each.y + 1e-9).all()
                assert (each.y <= each.high + 1e-9).all()


def test_only_the_first_of_many_moves_are_named(
    model: LeadModel, leads: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threshold_page, "MOST_MOVES", 7)
    page = page_of(model, replace(model.policy, mql=0.05, nurture=None), leads)
    assert len(page.headed("lead")) == 7
    assert "The first 7 of" in page.text


def test_a_draft_that_changes_nothing(model: LeadModel, leads: pd.DataFrame) -> None:
    page = page_of(model, model.policy, leads)
    assert not [head for head, *_ in page.tables if head[0] == "lead"]


def test_without_a_past(unlearned: Path, leads: pd.DataFrame) -> None:
    model = load(unlearned)
    page = page_of(model, replace(model.policy, mql=0.1), leads)
    assert "No replay of past leads: the model was made before any outcome was known." in page.text
    assert not page.images
    assert page.headed("lead")


def test_where_the_backtest_lacks_what_a_rule_reads(model: LeadModel, leads: pd.DataFrame) -> None:
    rule = Rule("came often", (Condition("visits", "at_least", 6),))
    page = page_of(model, replace(model.policy, fast_track=(rule,)), leads)
    assert "the backtest did not keep what the rule “came often” reads" in page.text
    assert page.headed("lead")
    assert [image["alt"].partition(":")[0] for image in page.images] == ["Precision and recall", "Gains"]


def test_where_rules_decide_every_lead(model: LeadModel, leads: pd.DataFrame) -> None:
    everybody = Rule("nobody", (Condition("hours", "at_least", 0),))
    page = page_of(model, replace(model.policy, suppress=(everybody,), fast_track=()), leads)
    assert "You would have sent 0 of 3,000 leads" in page.text
    assert [image["alt"].partition(":")[0] for image in page.images] == ["Volume by week"]


@pytest.mark.parametrize("kept", ["weeks", "points", "neither"])
def test_with_less_of_a_past(bundle: Bundle, tmp_path: Path, kept: str) -> None:
    without = {"weeks": {"points": None}, "points": {"week": None}, "neither": {"points": None, "week": None}}
    model = load(
        bundles.save(replace(bundle, backtest=replace(bundle.past, **without[kept])), tmp_path / "m")
    )
    tuning = thresholds.tune(model, Aim("share", 0.1), draws=20)
    draft = tuning.draft(model.policy)
    page = require_inert(threshold_page.html(model, draft, thresholds.preview(model, draft), tuning=tuning))
    titles = [image["alt"].partition(":")[0] for image in page.images]
    assert titles == ["Precision and recall", "Gains", *["Volume by week"] * (kept == "weeks")]
    assert ("a week" in page.text) == (kept == "weeks")
    assert ("points" in page.text) == (kept == "points")


def test_chances_that_do_not_hold_are_no_percentages(
    bundle: Bundle, tmp_path: Path, leads: pd.DataFrame
) -> None:
    model = load(bundles.save(replace(bundle, calibrated=False), tmp_path / "m"))
    page = page_of(model, replace(model.policy, mql=0.1), leads)
    assert "read a threshold as a place in the ranking, not as a percentage" in page.text
    reasons = [row[3] for row in page.headed("lead")]
    assert all("the score of" in reason and "%" not in reason for reason in reasons)


def test_thresholds_by_segment(model: LeadModel, leads: pd.DataFrame) -> None:
    own = {"Fair": Thresholds(0.1, 0.3), "Referral": Thresholds(0.3, 0.6)}
    page = page_of(model, replace(model.policy, segment="source", segments=own), leads)
    assert "source Fair now has thresholds of its own" in page.text
    assert "thresholds of its own for 2 levels of source." in page.text
    assert {"source “Fair”", "source “Ads”"} < {row[0] for row in page.headed("segment")}
    tuning = thresholds.tune(model, Aim("capacity", 40.0), segment="source", equal_recall=True, draws=20)
    draft = tuning.draft(model.policy)
    page = require_inert(threshold_page.html(model, draft, thresholds.preview(model, draft), tuning=tuning))
    lines = {row[0]: row[1] for row in page.headed("source", "MQL from")}
    assert lines == {level: percent(each.mql) for level, each in draft.segments.items()}


def test_one_win_and_one_lead_above_the_line(bundle: Bundle, tmp_path: Path) -> None:
    few = Backtest(np.array([0.9, 0.1, 0.1, 0.2]), np.array([1, 0, 0, 0]), week=np.array([3, 3, 4, 9]))
    model = load(bundles.save(replace(bundle, backtest=few, policy=Policy(0.2, 0.5)), tmp_path / "m"))
    page = page_of(model, replace(model.policy, mql=0.95, sales_ready=0.95))
    assert "0 of 4 leads in 7 weeks" in page.text


@pytest.mark.parametrize(
    "texts", [(*PAYLOADS, *PAYLOADS)[start : start + 5] for start in range(0, len(PAYLOADS), 4)]
)
def test_hostile_words_stay_words(texts: tuple[str, ...]) -> None:
    """As names of the model, of its columns, levels, rules, and their reasons, and as ids of leads."""
    field, rule, reason, level, name = texts
    feature = AttributeFeature("category", field, levels=(level, "plain"))
    column = Column(feature.name, feature.categories)
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2, 400).astype(float)
    chance = np.where(codes == 0, 0.4, 0.1)
    backtest = Backtest(
        chance, rng.random(400) < chance, week=rng.integers(0, 14, 400), M=codes[:, None], columns=(column,)
    )
    ruled = Rule(rule, (Condition(column.name, "is", level),), reason)
    policy = Policy(0.2, 0.5)
    model = LeadModel(
        Bundle(
            name=name,
            contract=Contract(lead_id="id", kinds={field: "category"}),
            features=(feature,),
            scorer=LinearTable((column,), (LevelsTerm((1.8, 0.0, 0.0), missing=0.0, mean=0.9),), -2.2),
            calibration=Sigmoid(1.0, 0.0),
            scale=Scale(),
            policy=policy,
            cuts=GradeCuts((-1.0, 0.0, 1.0), (-1.0, 0.0, 1.0)),
            typical={},
            horizon=None,
            backtest=backtest,
            calibrated=True,
            interval=None,
            familiar=None,
            facts={},
        ),
        policy,
    )
    draft = replace(policy, suppress=(ruled,), segment=column.name, segments={level: Thresholds(0.05, 0.3)})
    leads = [{"id": text, field: level} for text in texts]
    tuning = thresholds.tune(model, Aim("share", 0.6), segment=column.name, draws=20)
    outlook = thresholds.preview(model, draft, leads, by=[column.name])
    page = require_inert(threshold_page.html(model, draft, outlook, tuning=tuning))
    ids = [" ".join(row[0].split()) for row in page.headed("lead")]
    assert len(ids) == len(texts)
    shown = [" ".join(CONTROL.sub("", text).split())[:59] for text in texts]
    assert all(any(each.startswith(text[:50]) for each in ids) for text in shown)
    assert page.text.count(shown[1][:40]) >= 2  # the rule's name, in a change and in a reason
