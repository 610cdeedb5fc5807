"""What was done with leads, against SQL over the same tables and a loop over random ones."""

from dataclasses import replace
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadscore import timelines
from leadscore.data.contract import STAGES, Outcomes
from leadscore.errors import UsageError
from leadscore.operate.past import (
    Past,
    _of_leads,
    day,
    microseconds,
    of_persons,
    past,
    read_aside,
    stamps,
    touches_of,
)
from leadscore.policy.previous import NEVER, Earlier
from leadscore.predict import LeadModel, load
from leadscore.simulate import World

DAY = 86_400_000_000


def new(n: int) -> Earlier:
    return Earlier(np.full(n, -1), np.full(n, NEVER), np.full(n, NEVER))


@pytest.fixture(scope="module")
def model(folder_of: Any) -> LeadModel:
    return load(folder_of["points"])


def done_by(model: LeadModel, world: World, when: int) -> Past:
    people = timelines.read_people(model, world.leads, world.events, when, None)
    contract = model.bundle.contract
    aside = read_aside(contract, world.leads, None, world.outcomes, reasons=True)
    touches = touches_of(people, ["sales_call"], contract)
    return past(aside.outcomes, new(len(aside.lead_id)), when=when, touches=touches)


@pytest.mark.parametrize("weeks", [8, 26, 40, 52])
def test_sql_says_the_same(model: LeadModel, world: World, weeks: int) -> None:
    when = world.start + weeks * 7 * DAY
    done = done_by(model, world, when)
    tables = {"leads": world.leads, "outcomes": world.outcomes, "events": world.events}
    connection = duckdb.connect()
    for name, table in tables.items():
        connection.register(name, table)
    told: pd.DataFrame = connection.sql(
        f"""
        WITH o AS (
            SELECT lead_id, stage, reason, epoch_us("at") AS moment FROM outcomes
            WHERE epoch_us("at") < {when}
        ),
        known AS (
            SELECT lead_id, event_id, min(epoch_us(occurred_at)) AS moment FROM events
            WHERE event_type = 'sales_call'
            AND epoch_us(occurred_at) < {when} AND epoch_us(greatest(occurred_at, recorded_at)) <= {when}
            GROUP BY lead_id, event_id
        ),
        h AS (SELECT lead_id, max(moment) AS handed FROM o WHERE stage = 'Handed Over' GROUP BY lead_id),
        work AS (
            SELECT lead_id, moment FROM o WHERE stage <> 'Handed Over'
            UNION ALL SELECT lead_id, moment FROM known
        ),
        w AS (
            SELECT lead_id, min(moment) AS worked FROM work LEFT JOIN h USING (lead_id)
            WHERE moment >= coalesce(handed, 0) GROUP BY lead_id
        ),
        c AS (
            SELECT lead_id, max(moment) AS closed, max_by(stage, moment) AS stage,
                   max_by(coalesce(reason, ''), moment) AS reason
            FROM o WHERE stage IN ('Closed Won', 'Closed Lost', 'Disqualified') GROUP BY lead_id
        )
        SELECT lead_id, handed, worked, closed, c.stage, c.reason FROM leads
        LEFT JOIN h USING (lead_id) LEFT JOIN w USING (lead_id) LEFT JOIN c USING (lead_id)
        """
    ).df()
    told = told.set_index("lead_id").loc[world.leads["lead_id"].to_pylist()]
    for name, mine in (("handed", done.handed), ("worked", done.worked), ("closed", done.closed)):
        assert told[name].fillna(NEVER).astype(np.int64).tolist() == mine.tolist(), name
    words = {"Closed Won": "won", "Closed Lost": "lost", "Disqualified": "disqualified"}
    assert [words.get(stage, "") for stage in told["stage"]] == done.ending.tolist()
    assert told["reason"].fillna("").tolist() == done.reason.tolist()
    assert (done.handed > NEVER).sum() > 5
    assert (done.worked > NEVER).sum() > (done.closed > NEVER).sum() > 10


moments = st.integers(0, 12)
rows = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(STAGES), moments), max_size=12)


@given(rows, st.lists(st.tuples(st.integers(0, 3), moments), max_size=4), st.integers(1, 12))
def test_a_loop_says_the_same(
    told: list[tuple[int, str, int]], touched: list[tuple[int, int]], when: int
) -> None:
    lead, stage, at = (np.array([row[i] for row in told]) for i in range(3))
    outcomes = Outcomes(
        lead.astype(np.int64), np.array([STAGES.index(s) for s in stage], np.int32), at.astype(np.int64)
    )
    touches = tuple(np.array([row[i] for row in touched if row[1] < when], np.int64) for i in range(2))
    done = past(outcomes, new(4), when=when, touches=touches)  # type: ignore[arg-type]
    for one in range(4):
        own = sorted((at, stage) for lead, stage, at in told if lead == one and at < when)
        handed = max((at for at, stage in own if stage == "handed_over"), default=NEVER)
        work = [at for at, stage in own if stage != "handed_over"]
        work += [at for lead, at in touched if lead == one and at < when]
        closing = [(at, stage) for at, stage in own if stage in ("won", "lost", "disqualified")]
        again = max((at for at, stage in own if stage in ("handed_over", "accepted")), default=NEVER)
        closed = max((at for at, _ in closing), default=NEVER)
        closed = closed if closed >= again else NEVER
        assert done.handed[one] == handed
        assert done.worked[one] == min((at for at in work if at >= handed), default=NEVER)
        assert done.closed[one] == closed
        assert (done.ending[one] == "") == (closed == NEVER)
        assert (closed, done.ending[one]) in [*closing, (NEVER, "")]
        assert done.busy[one] == max(again, closed)


def test_what_is_done_with_a_lead_is_done_with_the_person_but_for_a_disqualification() -> None:
    never = np.full(5, NEVER)
    done = Past(
        handed=np.array([5, NEVER, NEVER, NEVER, NEVER]),
        worked=never,
        accepted=never,
        closed=np.array([NEVER, 9, NEVER, 7, NEVER]),
        ending=np.array(["", "disqualified", "", "lost", ""], object),
        reason=np.array(["", "Duplicate", "", "No budget", ""], object),
        touched=never,
        recycled=never,
    )
    group = np.array([0, 0, 1, 1, 2])
    person = of_persons(done, group)
    assert person.handed.tolist() == [5, 5, NEVER, NEVER, NEVER]
    assert person.ending.tolist() == ["", "disqualified", "lost", "lost", ""]
    assert person.reason.tolist() == ["", "Duplicate", "No budget", "No budget", ""]
    assert person.busy.tolist() == [5, 9, 7, 7, NEVER]
    alone = of_persons(done, np.arange(5))
    assert all(
        getattr(alone, name).tolist() == getattr(done, name).tolist() for name in Past.__dataclass_fields__
    )


def test_a_lead_is_back_when_it_was_given_back_last() -> None:
    outcomes = Outcomes(np.array([0, 1, 2]), np.full(3, STAGES.index("handed_over"), np.int32), np.full(3, 5))
    earlier = replace(new(4), recycled=np.array([4, 5, NEVER, 6]))
    done = past(outcomes, earlier, when=10)
    assert done.back.tolist() == [False, True, False, True]


def test_moments_of_a_frame() -> None:
    times = stamps([1_740_826_800_000_001, None])
    assert times.dtype == pd.DatetimeTZDtype("us", "UTC")
    assert microseconds(times[0].to_pydatetime()) == 1_740_826_800_000_001
    assert times.isna().tolist() == [False, True]
    assert stamps([]).dtype == times.dtype
    assert day(1_740_826_800_000_001) == "2025-03-01"


def test_a_touch_of_an_unknown_type(model: LeadModel, world: World, as_of: int) -> None:
    people = timelines.read_people(model, world.leads, world.events, as_of, None)
    with pytest.raises(UsageError, match="found 'sales_cal' \\(did you mean 'sales_call'"):
        touches_of(people, ["sales_cal"], model.bundle.contract)


@given(st.lists(st.tuples(st.integers(0, 4), moments), max_size=12), st.lists(st.integers(0, 4), max_size=6))
def test_what_a_person_did_is_what_each_of_its_leads_did(told: list[tuple[int, int]], row: list[int]) -> None:
    person, at = (np.array([one[i] for one in told], np.int64) for i in range(2))
    lead, moment = _of_leads(person, at, np.array(row, np.int64))
    expected = sorted((lead, at) for lead, own in enumerate(row) for person, at in told if person == own)
    assert sorted(zip(lead.tolist(), moment.tolist(), strict=True)) == expected
