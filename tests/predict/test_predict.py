"""Scoring from Python: moments, ids, findings, and what is refused."""

import json
import re
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from leadscore.errors import DataError, LeadScoreError, UsageError
from leadscore.predict import LeadModel, load, moment
from leadscore.simulate import World


@pytest.mark.parametrize(
    "text", ["2025-12-31T00:00:00Z", "2025-12-31T01:00+01:00", "2025-12-30 19:00:00.123456-05:00"]
)
def test_a_moment_is_in_microseconds_as_the_standard_library_has_it(text: str) -> None:
    known = datetime.fromisoformat(text)
    exact = (known - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert moment(text) == moment(known) == moment(exact) == exact


@pytest.mark.parametrize(
    "other",
    [
        "",
        "soon",
        "now",
        "today",
        "NaT",
        "01/12/2025",
        "2025-12-31",
        "2025-12-31T00:00:00",
        "1764547200",
        "31.12.2025",
    ],
)
def test_what_is_no_moment_with_a_zone(other: str) -> None:
    with pytest.raises(UsageError, match="as_of as a time with its zone") as caught:
        moment(other)
    assert repr(other) in str(caught.value)


@pytest.mark.parametrize("other", [True, 1.5, pd.NaT, datetime(2025, 1, 1), date(2025, 1, 1)])
def test_other_values_that_are_no_moment(other: object) -> None:
    with pytest.raises(UsageError, match="as_of"):
        moment(other)  # type: ignore[arg-type]


@pytest.mark.parametrize("unit", [1, 10**3, 10**9])
def test_a_number_that_counts_another_unit(unit: int) -> None:
    with pytest.raises(UsageError, match="as_of in UTC microseconds"):
        moment(1_767_139_200 * unit)


def test_a_naive_moment_is_in_the_projects_zone() -> None:
    amsterdam = datetime(2025, 7, 1, 12, tzinfo=ZoneInfo("Europe/Amsterdam"))
    assert moment("2025-07-01T12:00:00", "Europe/Amsterdam") == moment(amsterdam)
    assert moment("2025-07-01T12:00:00Z", "Europe/Amsterdam") != moment(amsterdam)


# -------------------------------------------------------------------------------------------- one lead
LEAD = {"lead_id": "A1", "created_at": "2025-11-01T10:00:00Z", "industry": "Retail", "company_size": 40}
EVENT = {"lead_id": "A1", "event_type": "webinar", "occurred_at": "2025-11-20T10:00:00Z"}
AS_OF = "2025-12-01T00:00:00Z"


def test_one_lead_is_plain_values(model: LeadModel) -> None:
    one = model.score_one(LEAD, [EVENT], AS_OF)
    assert json.loads(json.dumps(asdict(one)))["lead_id"] == "A1"
    assert (type(one.probability), type(one.score), type(one.stage)) == (float, float, str)
    assert one.findings == ()
    number = model.score_one({**LEAD, "lead_id": 7}, [{**EVENT, "lead_id": 7}], AS_OF)
    assert number == replace(one, lead_id=7)
    assert type(number.lead_id) is int


@pytest.mark.parametrize(
    ("events", "said"),
    [
        (
            [EVENT, {**EVENT, "lead_id": "B2"}],
            "'lead_id' is not in the leads table: 1 row left out (1)",
        ),
        ([EVENT, {k: EVENT[k] for k in ("event_type", "occurred_at")}], "neither 'lead_id' nor 'visitor_id'"),
        (
            [EVENT, {**EVENT, "occurred_at": "soon"}],
            "'occurred_at' is no time in ISO 8601: 1 row left",
        ),
        ([EVENT, {**EVENT, "occurred_at": AS_OF}], "events: later than the moment: 1 row left out"),
    ],
)
def test_an_event_that_does_not_count_is_told_of(model: LeadModel, events: list[Any], said: str) -> None:
    one = model.score_one(LEAD, events, AS_OF)
    assert any(said in finding for finding in one.findings), one.findings
    assert replace(one, findings=()) == model.score_one(LEAD, [EVENT], AS_OF)


def test_a_value_that_is_mended_is_told_of(model: LeadModel) -> None:
    one = model.score_one({**LEAD, "company_size": "many"}, [EVENT], AS_OF)
    assert one.findings == ("leads: 'company_size' is no number and counts as missing: 1 row kept (0)",)
    assert replace(one, findings=()) == model.score_one({**LEAD, "company_size": None}, [EVENT], AS_OF)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lead_id": None}, "no 'lead_id'"),
        ({"created_at": None}, "no 'created_at'"),
        ({"created_at": "soon"}, "'created_at' is no time"),
        ({"created_at": "2026-11-01T10:00:00Z"}, "created at or after the moment"),
        ({"created_at": "2025-11-01 10:00:00"}, "set timezone in the config"),
        ({"industry": ["Retail"]}, "single values in column 'industry'"),
    ],
)
def test_a_lead_that_cannot_be_scored(model: LeadModel, change: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=re.escape(said)):
        model.score_one({**LEAD, **change}, [EVENT], AS_OF)


@pytest.mark.parametrize("lead", [None, "A1", [1, 2], pd.Series(LEAD)])
def test_what_is_no_lead(model: LeadModel, lead: Any) -> None:
    with pytest.raises(UsageError, match="expected one lead as a dict"):
        model.score_one(lead, [EVENT], AS_OF)


@pytest.mark.parametrize("leads", [None, 5, LEAD, (row for row in [LEAD]), pd.Series(LEAD)])
def test_what_is_no_table(model: LeadModel, leads: Any) -> None:
    with pytest.raises(LeadScoreError, match=r"expected .*; found .*; (pass|give) "):
        model.score(leads, [EVENT], AS_OF)


def test_what_a_model_needs_is_asked_for(model: LeadModel, wide_folder: Path) -> None:
    with pytest.raises(UsageError, match=r"events.*or \[\] if there are none"):
        model.score([LEAD], None, AS_OF)
    with pytest.raises(UsageError, match="pass as_of"):
        model.score([LEAD], [EVENT])
    clockless = load(wide_folder)
    assert (clockless.needs_time, clockless.needs_events) == (False, False)
    assert (model.needs_time, model.needs_events) == (True, True)


def test_nobody_is_scored_as_nobody(model: LeadModel) -> None:
    frame = model.score([], [], AS_OF)
    assert list(frame.columns) == ["lead_id", "probability", "score", "stage", "fit", "engagement"]
    assert frame.empty
    assert model.explain([], [], AS_OF) == []


def test_the_policy_in_force_decides_the_stage(model: LeadModel, world: World, as_of: int) -> None:
    """Rules first, then thresholds, by hand from the events table."""
    events = world.events.to_pandas()
    events = events[events["occurred_at"].astype("datetime64[us, UTC]").astype("int64") < as_of]
    frame = model.score(world.leads, world.events, as_of).set_index("lead_id")
    since = pd.Timestamp(as_of - 3 * 86_400_000_000, unit="us", tz="UTC")
    unsubscribed = set(events.loc[events["event_type"] == "unsubscribe", "lead_id"])
    asked = set(
        events.loc[(events["event_type"] == "demo_request") & (events["occurred_at"] >= since), "lead_id"]
    )
    p = frame["probability"]
    lines = model.policy.lines
    expected = pd.cut(p, [-1, *lines.values(), 2], right=False, labels=["unqualified", *lines]).astype(object)
    expected[frame.index.isin(asked)] = "sales_ready"
    expected[frame.index.isin(unsubscribed)] = "unqualified"
    assert asked
    assert unsubscribed
    wrong = frame.index[frame["stage"] != expected]
    assert wrong.empty, frame.loc[wrong]
