"""Duplicate leads that become one, against connected components the slow way."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadscore.data.identity import Merge, merge_duplicates
from leadscore.data.tables import (
    Contract,
    EventColumns,
    HistoryColumns,
    Identity,
    OutcomeColumns,
    read_tables,
)
from leadscore.errors import ConfigError, DataError
from leadscore.features.declare import AttributeFeature, EventFeature
from leadscore.features.snapshot import snapshot
from leadscore.simulate import simulate

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
START = round(EPOCH.timestamp()) * 10**6
HOUR = 3600 * 10**6
CONTRACT = Contract(
    lead_id="id",
    created_at="since",
    events=EventColumns(),
    outcomes=OutcomeColumns(revenue="worth"),
    history=HistoryColumns(),
    kinds={"mail": "text", "tel": "text", "size": "number"},
)
PERSON = Identity(email=("mail",), phone=("tel",))
FEATURES = (
    EventFeature("count", "visit"),
    EventFeature("recency", "visit"),
    AttributeFeature("number", "size"),
)


def at(hours):
    return (EPOCH + timedelta(hours=hours)).isoformat()


def lead(number, hours, mail=None, tel=None, size=None):
    mail = None if mail is None else f"m{mail}@x.org"
    return {"id": number, "since": at(hours), "mail": mail, "tel": tel and f"0171 55500{tel}", "size": size}


def visit(number, hours):
    return {"id": number, "occurred_at": at(hours), "event_type": "visit"}


def read(leads, events=(), outcomes=(), history=()):
    return read_tables(CONTRACT, leads, list(events), list(outcomes), list(history), training=False)


def sets(report):
    return {frozenset(np.flatnonzero(report.row == row).tolist()) for row in np.unique(report.row)}


def components(leads, seen):
    """Connected components of those seen, the slow way."""
    groups = [{row} for row in seen]
    for field in ("mail", "tel"):
        for value in {leads[row][field] for row in seen} - {None}:
            touched = [g for g in groups if any(leads[row][field] == value for row in g)]
            groups = [g for g in groups if g not in touched] + [set().union(*touched)]
    return groups


KEY = st.one_of(st.none(), st.integers(1, 6))
LEADS = st.lists(st.tuples(st.integers(0, 9), KEY, KEY), min_size=1, max_size=12)


@given(LEADS, st.integers(0, 99))
def test_leads_that_share_a_key_directly_or_through_others_are_one(rows, seed):
    leads = [lead(number, *row) for number, row in enumerate(rows)]
    random.Random(seed).shuffle(leads)
    merged, report = merge_duplicates(read(leads), PERSON)
    expected = components(leads, range(len(leads)))
    assert sets(report) == {frozenset(group) for group in expected}
    first = [min(group, key=lambda row: (leads[row]["since"], leads[row]["id"])) for group in expected]
    assert sorted(merged.lead_id.tolist()) == sorted(leads[row]["id"] for row in first)
    assert len(report.merges) == len(leads) - len(expected)
    for merge in report.merges:
        own, others = (
            leads_of(leads, merge.lead_id),
            [leads[row] for g in expected for row in g if merge.lead_id in {leads[r]["id"] for r in g}],
        )
        shared = [f for f in ("mail", "tel") if own[f] and sum(o[f] == own[f] for o in others) > 1]
        assert list(merge.by) == shared


def leads_of(leads, number):
    return next(one for one in leads if one["id"] == number)


@given(LEADS, st.integers(0, 11))
def test_what_another_record_did_counts_once_the_two_are_known_to_be_one(rows, now):
    """Look at the moment in two ways: with all that came later, and with nothing that came later."""
    leads = [lead(number, *row, size=number) for number, row in enumerate(rows)]
    events = [visit(number, hours) for number, (came, *_) in enumerate(rows) for hours in (came, came + 1)]
    merged, report = merge_duplicates(read(leads, events), PERSON)
    moment = START + now * HOUR
    seen = [row for row, (came, *_) in enumerate(rows) if came < now]
    for group in components(leads, seen):
        first = min(group, key=lambda row: (rows[row][0], row))
        if merged.lead_id[report.row[first]] != first:
            continue  # known by then, but part of an earlier lead later
        found = merged.events
        known_at = found.at if found.known_at is None else found.known_at
        counted = (found.lead == report.row[first]) & (found.at < moment) & (known_at <= moment)
        expected = [h for row in group for h in (rows[row][0], rows[row][0] + 1) if h < now]
        assert sorted(found.at[counted].tolist()) == sorted(START + h * HOUR for h in expected)


@given(LEADS, st.integers(0, 10))
def test_leads_that_come_in_later_change_nothing_about_a_score(rows, now):
    leads = [lead(number, *row, size=number or None) for number, row in enumerate(rows)]
    events = [visit(number, hours) for number, (came, *_) in enumerate(rows) for hours in (came, came + 1)]
    moment = START + now * HOUR

    def look(leads):
        tables, report = merge_duplicates(read(leads, events), PERSON, before=moment)
        rows = snapshot(tables, FEATURES, moment)
        return dict(zip(rows.lead_id.tolist(), rows.matrix.tolist(), strict=True)), report

    whole, report = look(leads)
    early, _ = look([one for one, (came, *_) in zip(leads, rows, strict=True) if came < now])
    np.testing.assert_equal(whole, early)
    assert all(rows[merge.lead_id][0] < now for merge in report.merges)


APART = st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=3, unique=True), max_size=3)


@given(LEADS, APART, st.integers(0, 99))
def test_leads_that_are_kept_apart_are_and_no_others(rows, apart, seed):
    identity = replace(PERSON, keep_apart=tuple(tuple(map(str, entry)) for entry in apart))
    leads = [lead(number, *row) for number, row in enumerate(rows)]
    _, report = merge_duplicates(read(leads), identity)
    whole = components(leads, range(len(leads)))
    for group in sets(report):
        assert any(group <= one for one in whole)
        assert len(components(leads, group)) == 1
        for entry in apart:
            assert len(group & set(entry)) <= 1
            assert len(entry) > 1 or len(group) == 1 or not group & set(entry)
    for group in whole:
        if not any(len(group & set(entry)) > (len(entry) > 1) for entry in apart):
            assert frozenset(group) in sets(report)
    shuffled = random.Random(seed).sample(leads, len(leads))
    _, again = merge_duplicates(read(shuffled), identity)
    assert {frozenset(shuffled[row]["id"] for row in group) for group in sets(again)} == sets(report)


# --------------------------------------------------------------------------------------- what becomes of them
def test_the_first_lead_stays_and_is_filled_from_the_next():
    leads = [
        lead("late", 5, mail=1, size=7),
        lead("other", 1),
        lead("first", 2, mail=1),
        lead("next", 3, mail=1, tel=4, size=6),
    ]
    tables, report = merge_duplicates(read(leads), PERSON)
    assert tables.lead_id.tolist() == ["other", "first"]
    assert tables.position.tolist() == [1, 2]
    assert tables.created_at.tolist() == [START + HOUR, START + 2 * HOUR]
    assert tables.leads.to_pylist()[1] == {"mail": "m1@x.org", "tel": "0171 555004", "size": 6.0}
    assert report.merges == (Merge("late", "first", ("mail",)), Merge("next", "first", ("mail",)))
    assert report.row.tolist() == [1, 0, 1, 1]
    (finding,) = tables.findings
    assert (finding.table, finding.count, finding.rows, finding.rejected) == ("leads", 2, (0, 3), False)
    assert "late" not in str(finding)
    assert "m1@" not in str(finding)


def test_the_ids_of_leads_that_came_in_together_decide():
    assert merge_duplicates(read([lead("b", 1, 1), lead("a", 1, 1)]), PERSON)[0].lead_id.tolist() == ["a"]
    undated = read_tables(
        Contract(lead_id="id"), [{"id": 2, "mail": "a@x.org"}, {"id": 1, "mail": "a@x.org"}], training=False
    )
    assert merge_duplicates(undated, Identity(email=("mail",)))[0].lead_id.tolist() == [1]


def test_a_person_is_closed_with_the_last_of_the_leads_and_won_with_the_first():
    def stages(*told):
        outcomes = [{"id": who, "stage": stage, "at": at(h), "worth": h} for who, stage, h in told]
        outcomes = merge_duplicates(read([lead(1, 0, 1), lead(2, 1, 1), lead(3, 0)], (), outcomes), PERSON)[
            0
        ].outcomes
        words = [outcomes.stages[code] for code in outcomes.stage]
        assert (START + outcomes.revenue * HOUR).tolist() == outcomes.at.tolist()
        return sorted(zip(outcomes.lead.tolist(), words, outcomes.revenue.tolist(), strict=True))

    assert stages((2, "disqualified", 3)) == []
    assert stages((2, "disqualified", 3), (1, "won", 9)) == [(0, "won", 9)]
    assert stages((2, "lost", 3), (1, "lost", 9)) == [(0, "lost", 9)]
    assert stages((2, "won", 3), (1, "lost", 2)) == [(0, "won", 3)]
    assert stages((2, "won", 3), (1, "lost", 5)) == [(0, "lost", 5), (0, "won", 3)]
    assert stages((2, "accepted", 3), (3, "lost", 4)) == [(0, "accepted", 3), (1, "lost", 4)]


def test_targets_are_won_when_one_is():
    contract = Contract(lead_id="id", target="won", won_values=("1",))
    frame = pd.DataFrame(
        {"id": range(6), "mail": [f"{m}@x.org" for m in "aabbcc"], "won": [0, 1, 0, 0, None, 0]}
    )
    tables, _ = merge_duplicates(read_tables(contract, frame, training=True), Identity(email=("mail",)))
    assert tables.target.tolist() == [1, 0, 0]


def test_the_history_is_that_of_the_first_lead_that_has_a_value_or_a_history():
    def size(*changes, first=None, now=99):
        history = [{"id": who, "field": "size", "value": v, "changed_at": at(h)} for who, v, h in changes]
        tables = read([lead(1, 0, 1, size=first), lead(2, 5, 1, size=77)], history=history)
        merged, _ = merge_duplicates(tables, PERSON)
        return snapshot(merged, FEATURES[2:], START + now * HOUR).matrix[0, 0]

    assert size((2, 20, 6)) == 20
    assert size((2, 20, 6), first=3) == 3
    assert size((1, 10, 1), (2, 20, 6), first=3) == 10
    assert np.isnan(size((2, 20, 1), (2, 21, 2), (2, 22, 8), now=5))
    assert size((2, 20, 1), (2, 21, 2), (2, 22, 8), now=6) == 21
    assert size((2, 20, 1), (2, 21, 2), (2, 22, 8), now=9) == 22


def test_an_address_of_many_leads_is_nobody_s():
    leads = [lead(row, row, mail=1) for row in range(11)]
    tables, report = merge_duplicates(read(leads), PERSON)
    assert (len(tables.lead_id), report.common, report.merges) == (11, {"mail": 1}, ())
    tables, report = merge_duplicates(read(leads[:10]), PERSON)
    assert (len(tables.lead_id), report.common) == (1, {})


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match=r"identity\.email or identity\.phone"):
        Identity(keep_apart=(("a", "b"),))
    with pytest.raises(DataError, match="did you mean 'mail'"):
        merge_duplicates(read([lead(1, 1)]), Identity(email=("male",)))


def test_the_planted_duplicates_are_found_and_no_others():
    world = simulate(3_000, seed=5)
    tables = read_tables(world.contract, world.leads, world.events, world.outcomes, training=True)
    merged, report = merge_duplicates(tables, Identity(email=("email",), phone=("phone",)))
    planted = world.truth.duplicates
    assert len(planted) > 80
    assert {(merge.into, merge.lead_id) for merge in report.merges} == {*planted}
    assert len(merged.events.at) == len(tables.events.at)
    assert merged.end == tables.end
    apart = tuple(planted[:30])
    _, undone = merge_duplicates(tables, Identity(email=("email",), phone=("phone",), keep_apart=apart))
    assert {(merge.into, merge.lead_id) for merge in undone.merges} == {*planted[30:]}
