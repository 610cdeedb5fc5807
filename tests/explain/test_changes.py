"""The nearest changes against what must hold of them, and the worth of an answer against brute force."""

import re
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadscore.explain.changes import expectation, nearest, paired, sentence, shares, spread
from leadscore.explain.moves import Happening, Move, answers_to, fields_to_ask, in_words, kinds_of_events
from leadscore.features.declare import AttributeFeature, EventFeature
from leadscore.features.words import department, seniority
from leadscore.models.matrix import Column
from leadscore.models.novelty import fit_familiar

VIEW, PRICING, BLOG = Happening("view"), Happening("view", "/pricing"), Happening("view", "/blog")
NEWS, NEWS_PRICING = Happening("view", None, "news"), Happening("view", "/pricing", "news")
WEBINAR = Happening("webinar")
KINDS = (VIEW, PRICING, BLOG, NEWS, NEWS_PRICING, WEBINAR)
MOVES = (
    *(Move(days=days) for days in (7.0, 14.0, 30.0)),
    *(Move(((kind, count),)) for kind in KINDS for count in (1, 2, 3, 4)),
    *(Move(answers=((name, value),)) for name in ("size", "city") for value in (1.0, 2.0)),
)


# ------------------------------------------------------------------------------------------ the nearest
def whatever_happens(kind, count, crossing):
    """Whether so many events of a kind cross, whichever of the narrower kinds that are known they are."""
    return all(Move(((each, count),)) in crossing for each in KINDS if kind.holds(each))


@given(st.lists(st.booleans(), min_size=len(MOVES), max_size=len(MOVES)))
def test_the_nearest_changes(crosses):
    crossing = {move for move, does in zip(MOVES, crosses, strict=True) if does}
    chosen = [MOVES[place] for place in nearest(MOVES, np.array(crosses), np.zeros(len(MOVES)))]
    assert set(chosen) <= crossing
    assert len({move.about for move in chosen}) == len(chosen)
    assert [(m.steps, m.days) for m in chosen] == sorted((m.steps, m.days) for m in chosen)
    for name in ("size", "city"):
        told = [move for move in MOVES if move.about == (name,) and move in crossing]
        assert [move for move in chosen if move.about == (name,)] == told[:1]
    waits = [move for move in crossing if not move.steps]
    assert [m.days for m in chosen if not m.steps] == sorted(m.days for m in waits)[:1]
    events = {move.events[0][0]: move.hours for move in chosen if move.events}
    for kind, count in events.items():
        assert whatever_happens(kind, count, crossing)
        assert not any(whatever_happens(kind, fewer, crossing) for fewer in range(1, count))
        assert all(events[wide] > count for wide in events if wide != kind and wide.holds(kind))
    for kind in KINDS:  # and nothing is passed over
        for count in (1, 2, 3, 4):
            if whatever_happens(kind, count, crossing):
                assert any(wide.holds(kind) and events[wide] <= count for wide in events)


def test_of_equal_changes_the_strongest_comes_first():
    moves = [Move(((Happening(name), 1),)) for name in "abc"]
    assert nearest(moves, np.ones(3, bool), np.array([1.0, -3.0, 2.0])) == [1, 2, 0]


def test_two_together_are_of_those_that_raise():
    score = np.array([1.0 + move.hours if move.about == (WEBINAR,) else 0.5 for move in MOVES])
    score[[move.about in ((BLOG,), (VIEW,)) for move in MOVES]] = 1.5
    score[MOVES.index(Move(answers=(("size", 2.0),)))] = 3.0
    pairs = paired(MOVES, score, 0.9)
    assert {pair.about for pair in pairs} == {
        (WEBINAR, BLOG),
        (WEBINAR, "size"),
        (BLOG, "size"),
    }  # a view of anything is not among them
    assert [pair.steps for pair in pairs] == sorted(pair.steps for pair in pairs)
    assert {dict(pair.answers).get("size") for pair in pairs} == {None, 2.0}
    assert paired(MOVES, score, 9.0) == []


# ---------------------------------------------------------------------------------- what an answer tells
@given(st.lists(st.tuples(st.integers(1, 50), st.booleans(), st.integers(-20, 20)), min_size=1, max_size=12))
def test_the_worth_of_an_answer_is_the_mean_over_all_leads_that_give_it(answers):
    leads = [(changes, shift) for count, changes, shift in answers for _ in range(count)]
    counts, changes, shift = (np.array(column) for column in zip(*answers, strict=True))
    chance, move = expectation(counts.astype(float), changes, shift.astype(float))
    assert chance == pytest.approx(np.mean([changes for changes, _ in leads]))
    assert move == pytest.approx(np.mean([abs(shift) for _, shift in leads]))


def test_answers_are_weighed_as_leads_like_this_one_gave_them():
    rng = np.random.default_rng(5)
    n, columns = 20_000, [Column("industry", ("bank", "shop", "farm")), Column("country", ("NL", "DE"))]
    country = rng.integers(0, 2, n)
    industry = np.where(rng.random(n) < 0.3 + 0.5 * country, 0, rng.integers(1, 3, n)).astype(float)
    industry[rng.random(n) < 0.2] = np.nan
    familiar = fit_familiar(np.column_stack([industry, country]), columns)
    for own in (0, 1):
        rows = np.array([[answer, own] for answer in (0.0, 1.0, 2.0)])
        bins, _ = familiar.read(rows)
        told = industry[(country == own) & ~np.isnan(industry)]
        expected = [(told == answer).mean() for answer in (0, 1, 2)]
        assert shares(familiar.surprises(bins).sum(axis=0), bins.T) == pytest.approx(expected, abs=0.002)


def test_numbers_between_two_quantiles_lie_on_both_sides():
    edges = np.quantile(np.arange(1001.0), (0.25, 0.5, 0.75, 1.0))
    upper = np.full(4, 0.25)
    assert upper @ edges == 625
    assert spread(upper) @ edges == pytest.approx(531.25)  # 500, but for what lies below the first
    assert spread(upper).sum() == pytest.approx(1)


# -------------------------------------------------------------------------------------- what could happen
def test_only_kinds_of_events_that_leads_do_themselves_and_the_model_reads():
    features = [
        EventFeature("count", "view", content="/pricing"),
        EventFeature("count", "view", contents=("/b", "/a"), label="blog"),
        EventFeature("recency", "click", channel="news"),
        EventFeature("ratio", "open", per="sent"),
        EventFeature("count", None, types=("view", "call", "webinar")),
        EventFeature("count", "call", family="operations"),
        AttributeFeature("number", "size"),
    ]
    found = kinds_of_events(features, ())
    assert found[:4] == [Happening("view"), Happening("click"), Happening("open"), Happening("webinar")]
    narrow = {Happening("view", "/pricing"), Happening("view", "/a"), Happening("click", None, "news")}
    assert set(found[4:]) == narrow
    assert kinds_of_events([EventFeature("count", None)], ("x",)) == [Happening("x")]


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("company_size", True),
        ("Outsourced", True),
        ("Address", True),
        ("source", False),
        ("Lead Source", False),
        ("utm_medium", False),
        ("campaign", False),
    ],
)
def test_what_is_recorded_is_no_question(field, asked):
    assert (field in fields_to_ask([AttributeFeature("number", field)])) == asked
    assert fields_to_ask([AttributeFeature("number", field, family="operations")]) == {}


def test_titles_say_every_seniority_and_department():
    reading = [AttributeFeature("seniority", "title"), AttributeFeature("department", "title")]
    titles = answers_to(reading, {}, None)
    assert {seniority(title) for title in titles} == {*reading[0].levels, None}
    assert {department(title) for title in titles} == {*reading[1].levels, None}
    assert len({(seniority(title), department(title)) for title in titles}) == len(titles) > 60


def test_a_time_is_answered_as_so_many_days_before():
    reading, as_of = [AttributeFeature("days_since", "seen")], 1_740_826_800_000_000
    found = answers_to(reading, {"days_since_seen": [-2.0, 0.0, 0.25, 30.0]}, as_of)
    assert [as_of / 1e6 - datetime.fromisoformat(str(moment)).timestamp() for moment in found] == [
        21_600,
        2_592_000,
    ]
    assert answers_to(reading, {"days_since_seen": [30.0]}, None) == []


# --------------------------------------------------------------------------------------------- in words
@pytest.mark.parametrize(
    ("move", "had", "words"),
    [
        (Move(((VIEW, 1),)), (), "one view"),
        (Move(((VIEW, 1),)), (PRICING,), "one more view"),
        (Move(((PRICING, 3),)), (BLOG,), "3 views of /pricing within a day"),
        (Move(((Happening("email_opened"), 2),)), (Happening("email_opened"),), "e-mail opened 2 more times"),
        (Move(((VIEW, 2), (WEBINAR, 1))), (WEBINAR,), "2 views and one more webinar within a day"),
        (
            Move(answers=(("size", 40.0), ("city", "Oslo"))),
            (),
            "answering with 40 as size and “Oslo” as city",
        ),
    ],
)
def test_what_would_happen_in_words(move, had, words):
    labels = {"size": "Size", "city": "City"}
    assert in_words(move, labels, had).removesuffix(" within a day") == words.removesuffix(" within a day")
    assert ("within a day" in in_words(move, labels, had)) == (move.hours > 1)


def test_words_hold_no_control_characters():
    kind = Happening("view\x1b[31m", "/a\u202eb\n", "\x00")
    words = in_words(Move(((kind, 1),), (("size\x1b", "\x07big"),)), {"size\x1b": "Size"})
    assert not re.search(r"[\x00-\x1f\x7f\u202e]", words)


def test_scores_that_look_alike_are_told_apart():
    text = sentence("one view", ("nurture", 49.96), ("mql", 50.04), rises=True)
    assert text == "One view would make it an MQL (score 50.0 -> 50.0)".replace(
        "50.0 -> 50.0", "49.96 -> 50.04"
    )
    by = sentence("one view", ("nurture", 30.0), ("sales_ready", 30.0), rises=True, rule="asked\x1b")
    assert by == "One view would make it sales ready by the rule “asked” (score 30 -> 30)"
