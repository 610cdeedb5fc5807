import random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadscore.data.identity import attribute_visits, duplicate_groups
from leadscore.data.tables import Contract, EventColumns, read_tables
from leadscore.errors import DataError
from leadscore.features.declare import EventFeature
from leadscore.features.snapshot import snapshot

WIDE = Contract(lead_id="id")


def tables(frame, **contract):
    return read_tables(Contract(lead_id="id", **contract), frame, training=True)


def partition(codes):
    """Groups as sets of rows, whatever their numbers."""
    return {frozenset(np.flatnonzero(codes == code).tolist()) for code in np.unique(codes)}


def joined(pairs, n):
    """Connected components the slow way."""
    group = [{row} for row in range(n)]
    for a, b in pairs:
        both = group[a] | group[b]
        for row in both:
            group[row] = both
    return {frozenset(rows) for rows in group}


events = st.lists(
    st.tuples(st.integers(-1, 3), st.integers(-1, 3), st.integers(0, 5)),
    max_size=25,
)


@given(events)
def test_visits_go_to_the_lead_of_the_first_event_with_both_ids(rows):
    visitor, lead, known = (np.array([row[i] for row in rows], np.int64) for i in range(3))
    owner, known_at = attribute_visits(visitor, lead, known)
    for row, (v, who, moment) in enumerate(rows):
        links = sorted((k, other) for u, other, k in rows if u == v >= 0 and other >= 0)
        if who >= 0 or not links:
            assert (owner[row], known_at[row]) == (who, moment)
        else:
            assert (owner[row], known_at[row]) == (links[0][1], max(moment, links[0][0]))


@given(events, st.integers(0, 5))
def test_what_is_learnt_later_changes_nothing_about_what_was_known(rows, now):
    visitor, lead, known = (np.array([row[i] for row in rows], np.int64) for i in range(3))
    owner, known_at = attribute_visits(visitor, lead, known)
    early = known <= now
    owner_then, known_then = attribute_visits(visitor[early], lead[early], known[early])
    seen_now = sorted(zip(owner[known_at <= now], known_at[known_at <= now], strict=True))
    seen_then = sorted(zip(owner_then[known_then <= now], known_then[known_then <= now], strict=True))
    identified = [pair for pair in seen_now if pair[0] >= 0]
    assert identified == [pair for pair in seen_then if pair[0] >= 0]


def test_the_lead_of_a_visitor_does_not_depend_on_the_order_of_rows_or_leads():
    contract = Contract(lead_id="id", events=EventColumns(visitor_id="cookie"))
    people = pd.DataFrame({"id": ["b", "a"]})
    rows = [("b", "x", 3), ("a", "x", 3), (None, "x", 1), (None, "x", 9)]
    for seed in range(4):
        shuffled = random.Random(seed).sample(rows, len(rows))
        log = pd.DataFrame(shuffled, columns=["id", "cookie", "occurred_at"])
        log["occurred_at"] = [f"2024-05-01T0{hours}:00Z" for hours in log["occurred_at"]]
        for leads in (people, people[::-1]):
            got = read_tables(contract, leads, log.assign(event_type="visit"), training=True)
            owners = got.lead_id[got.events.lead]
            assert [owners[row] for row, (lead, _, _) in enumerate(shuffled) if lead is None] == ["a", "a"]


cells = st.sampled_from(["x", "y", None])


@given(st.lists(st.tuples(cells, cells, cells, cells), min_size=1, max_size=12))
def test_rows_that_are_equal_and_filled_are_one_person(rows):
    frame = pd.DataFrame(rows, columns=list("pqrs"), dtype=object).assign(id=range(len(rows)))
    pairs = [
        (a, b)
        for a in range(len(rows))
        for b in range(a)
        if rows[a] == rows[b] and sum(cell is not None for cell in rows[a]) >= 3
    ]
    assert partition(duplicate_groups(tables(frame))) == joined(pairs, len(rows))


def test_leads_of_whom_little_or_nothing_is_known_are_not_one_person():
    frame = pd.DataFrame({"id": [1, 2, 3, 4], "p": [None, None, 1, 1], "q": None, "r": None})
    assert duplicate_groups(tables(frame)).tolist() == [0, 1, 2, 3]
    assert duplicate_groups(tables(frame), least_filled=1).tolist() == [0, 1, 2, 2]
    assert duplicate_groups(tables(frame[["id"]])).tolist() == [0, 1, 2, 3]


def test_equal_rows_may_differ_in_type_and_spelling_of_what_is_missing():
    frame = pd.DataFrame(
        {"id": [1, 2, 3], "p": ["a", " a", "b"], "q": ["Select", None, None], "r": 1, "s": 2.0}
    )
    assert duplicate_groups(tables(frame, missing=("Select",))).tolist() == [0, 0, 1]


def groups_of(field, values):
    frame = pd.DataFrame({"id": range(len(values)), "field": values})
    got = tables(frame, kinds={"field": "text"})
    return duplicate_groups(got, **{f"{field}_fields": ["field"]}).tolist()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Ann@X.org", " ann@x.org ", True),
        ("ann+news@x.org", "ann@x.org", True),
        ("an.n@gmail.com", "ann@googlemail.com", True),
        ("an.n@x.org", "ann@x.org", False),
        ("ann@x.org", "ann@y.org", False),
        ("no address", "no address", False),
        (None, None, False),
        ("@x.org", "@x.org", False),
    ],
)
def test_addresses_are_equal_as_people_mean_them(one, other, same):
    assert groups_of("email", [one, other]) == [0, 0 if same else 1]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("+49 171 123 45 67", "0171/1234567", True),
        ("0049-171-1234567", "491711234567", True),
        ("0171 1234567", "0171 1234568", False),
        ("123456", "123456", False),
        ("unknown", "unknown", False),
        (None, None, False),
    ],
)
def test_telephone_numbers_are_equal_as_people_dial_them(one, other, same):
    assert groups_of("phone", [one, other]) == [0, 0 if same else 1]


def test_a_telephone_column_of_numbers_is_read_as_digits():
    frame = pd.DataFrame({"id": [1, 2, 3], "tel": [491711234567.0, 1711234567, np.nan]})
    assert duplicate_groups(tables(frame), phone_fields=["tel"]).tolist() == [0, 0, 1]


keys = st.one_of(st.none(), st.integers(0, 6))


@given(st.lists(st.tuples(keys, keys), min_size=1, max_size=25))
def test_sharing_is_transitive_over_several_fields(rows):
    frame = pd.DataFrame(
        {
            "id": range(len(rows)),
            "mail": [None if mail is None else f"m{mail}@x.org" for mail, _ in rows],
            "tel": [None if tel is None else f"0171 555000{tel}" for _, tel in rows],
        }
    )
    got = duplicate_groups(tables(frame), email_fields=["mail"], phone_fields=["tel"], least_filled=9)
    pairs = [
        (a, b)
        for a in range(len(rows))
        for b in range(a)
        if any(x is not None and x == y for x, y in zip(rows[a], rows[b], strict=True))
    ]
    assert partition(got) == joined(pairs, len(rows))
    assert got.tolist() == pd.factorize(got)[0].tolist()


def test_a_long_chain_of_shared_keys_is_one_group():
    n = 400
    frame = pd.DataFrame({"id": range(n)})
    frame["mail"] = [f"m{(row + 1) // 2}@x.org" for row in range(n)]
    frame["tel"] = [f"0171 5550{row // 2:04}" for row in range(n)]
    frame = frame.sample(frac=1, random_state=0)
    assert duplicate_groups(tables(frame), email_fields=["mail"], phone_fields=["tel"]).max() == 0


def test_a_field_that_is_not_there_is_refused():
    with pytest.raises(DataError, match="did you mean 'email'"):
        duplicate_groups(tables(pd.DataFrame({"id": [1], "email": ["a@x.org"]})), email_fields=["emial"])


# ----------------------------------------------------------------------------------- not before it is known
HOUR = 3600 * 10**6
START = 1_704_067_200_000_000
VISITS = Contract(
    lead_id="id",
    created_at="since",
    visitor_id="cookie",
    events=EventColumns(visitor_id="cookie", recorded_at="seen", event_id="no"),
)
SEEN = (
    EventFeature("count", "visit"),
    EventFeature("recency", "visit"),
    EventFeature("first_seen", "visit"),
    EventFeature("count", "visit", window=0.125),
)
LOG = st.lists(
    st.tuples(
        st.sampled_from(["x", "y", None]),
        st.one_of(st.none(), st.integers(0, 2)),
        st.integers(0, 9),
        st.integers(0, 4),
        st.one_of(st.none(), st.integers(0, 3)),
    ),
    max_size=20,
)


def hour(number):
    return pd.Timestamp(START + number * HOUR, unit="us", tz="UTC").isoformat()


@given(st.lists(st.sampled_from(["x", "y", None]), min_size=3, max_size=3), LOG, st.integers(1, 12))
def test_a_moment_sees_what_was_known_by_then_of_visitors_and_nothing_else(cookies, rows, now):
    """The tables as they were at the moment, and as they are when all is known, give the same numbers."""
    people = [{"id": row, "since": hour(3 * row), "cookie": cookie} for row, cookie in enumerate(cookies)]
    log = [
        {
            "cookie": c,
            "id": lead,
            "occurred_at": hour(h),
            "seen": hour(h + d),
            "no": no,
            "event_type": "visit",
        }
        for c, lead, h, d, no in rows
    ]
    then = [event for event, (_, _, h, d, _) in zip(log, rows, strict=True) if h < now and h + d <= now]
    came = [lead for row, lead in enumerate(people) if 3 * row < now]

    def look(people, log):
        found = snapshot(read_tables(VISITS, people, log, training=False), SEEN, START + now * HOUR)
        return dict(zip(found.lead_id.tolist(), found.matrix.tolist(), strict=True))

    np.testing.assert_equal(look(people, log), look(came, then))


def test_a_visit_before_the_form_counts_from_the_form_on():
    """Or the test above would hold for a reader that drops anonymous visits."""
    log = [("x", None, 1), ("x", 0, 5)]
    log = [
        {"cookie": c, "id": i, "occurred_at": hour(h), "seen": None, "event_type": "visit"} for c, i, h in log
    ]
    tables = read_tables(VISITS, [{"id": 0, "since": hour(0)}], log, training=False)
    counts = [snapshot(tables, SEEN, START + h * HOUR).matrix[0, 0] for h in (2, 5, 6)]
    assert counts == [0, 0, 2]
    assert snapshot(tables, SEEN, START + 6 * HOUR).matrix[0, 2] * 24 == 5
