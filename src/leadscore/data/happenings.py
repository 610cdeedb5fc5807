"""What happened to the leads: events, and the outcomes that a table or some of the events tell."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leadscore.data.columns import coded, codes, found_in, ids, mask, taken
from leadscore.data.contract import (
    OTHER_TYPE,
    STAGES,
    Coded,
    Contract,
    Events,
    Finding,
    Ints,
    OutcomeColumns,
    Outcomes,
)
from leadscore.data.identity import attribute_visits
from leadscore.data.leads import People
from leadscore.data.readers import Given, read_given
from leadscore.data.screen import Screen
from leadscore.errors import DataError, explain, shown

_NEVER = np.iinfo(np.int64).max
_MACHINE = (10_000, 1_000)
"""A lead is a machine's above this many events, and above this many times those of the middle lead."""


def read_events(
    contract: Contract, given: Given, people: People, findings: list[Finding], *, training: bool
) -> tuple[Events, Outcomes | None]:
    """Read the events of known leads, and those among them that are outcomes."""
    findings.extend(given.findings)
    screen, columns = Screen(contract, given, findings), contract.event_columns
    at = screen.filled_times(
        given.column(columns["occurred_at"], "events.occurred_at"), columns["occurred_at"]
    )
    if training:
        screen.reject_far_ahead(at, columns["occurred_at"], 30)
    types = given.column(columns["event_type"], "events.event_type")
    kind = coded(types)
    screen.reject(kind.codes < 0, f"no {shown(columns['event_type'])!r}")
    known_at, late = at, "recorded_at" in columns or "visitor_id" in columns
    if "recorded_at" in columns:
        recorded = given.optional(columns["recorded_at"], "events.recorded_at")
        us, present = screen.times(recorded, columns["recorded_at"])
        known_at = np.where(present, np.maximum(us, at), at)
    delay = known_at - at
    lead, known_at = _owners(screen, at, known_at, people)
    value = screen.optional_floats(columns.get("value"), "events.value")
    if "event_id" in columns:
        worth = np.zeros(len(at)) if value is None else value
        _reject_repeats(
            screen, columns["event_id"], lead, np.maximum(known_at, at + 1), worth, kind.codes, at
        )
    if value is not None:
        screen.mend(value < 0, f"{shown(columns['value'])!r} is below 0 and counts as it is")
    if training and "recorded_at" in columns:
        _tell_late(screen, columns["recorded_at"], delay)
    _tell_machines(screen, lead, len(people.lead_id))
    stage = _stages(kind, contract.outcome_events)
    closing, keep = screen.ok & (stage >= 0), screen.ok & (stage < 0)
    kept = kind if keep.all() else coded(taken(types, keep))
    if contract.event_types and not training:
        unknown = np.array([*(word not in contract.event_types for word in kind.words), False])[kind.codes]
        what = (
            f"{shown(columns['event_type'])!r} is none that the model was trained with, and counts as other"
        )
        screen.mend(unknown & (stage < 0), what)
        kept = _known_types(kept, contract.event_types)
    events = Events(
        lead[keep],
        at[keep],
        kept.codes,
        kept.words,
        known_at=known_at[keep] if late else None,
        channel=screen.words(columns.get("channel"), "events.channel", keep),
        content=screen.words(columns.get("content"), "events.content", keep),
        campaign=screen.words(columns.get("campaign"), "events.campaign", keep),
        value=None if value is None else value[keep],
    )
    closed = Outcomes(lead[closing], stage[closing], at[closing]) if contract.outcome_events else None
    return events, closed


def _tell_late(screen: Screen, name: str, delay: Ints) -> None:
    """Say how many events became known after they occurred, and how much later the middle one did."""
    late = screen.ok & (delay > 0)
    if late.any():
        hours = float(np.median(delay[late])) / 3.6e9
        span = f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.1f} days"
        screen.mend(
            late, f"{shown(name)!r} is later, by {span} in the middle case, and the event counts then"
        )


def _reject_repeats(
    screen: Screen, name: str, lead: Ints, from_when: Ints, *ties: np.ndarray[Any, Any]
) -> None:
    """Keep one row of each id that a lead has: the first that counts, and of several the least.

    An id under two leads counts for both, so that nobody's events depend on who else is in the table.
    """
    column = screen.given.optional(name, "events.event_id")
    number, _ = codes(ids(column, typed=screen.given.typed))
    rows = np.flatnonzero(screen.ok & (number >= 0))
    rows = rows[np.bincount(number[rows])[number[rows]] > 1] if len(rows) else rows
    order = rows[np.lexsort([key[rows] for key in (*ties, from_when, number, lead)])]
    again = np.zeros(len(screen.ok), bool)
    again[order[1:]] = (np.diff(number[order]) == 0) & (np.diff(lead[order]) == 0)
    screen.reject(again, f"{shown(name)!r} is that of an event known before")


def _tell_machines(screen: Screen, lead: Ints, leads: int) -> None:
    """Say which leads have more events than a person could cause."""
    counts = np.bincount(lead[screen.ok], minlength=leads)
    if not len(counts) or counts.max() <= _MACHINE[0]:
        return
    limit = max(_MACHINE[0], _MACHINE[1] * float(np.median(counts[counts > 0])))
    many = counts > limit
    if many.any():
        who = f"{many.sum():,} {'lead' if many.sum() == 1 else 'leads'} with over {limit:,.0f} events"
        screen.mend(many[lead], f"belongs to {who}, as machines have")


def _known_types(kind: Coded, known: tuple[str, ...]) -> Coded:
    """Take types that the model was not trained with for one other."""
    if all(word in known for word in kind.words):
        return kind
    meant = [word if word in known else OTHER_TYPE for word in kind.words]
    words = sorted(set(meant))
    return Coded(np.array([words.index(word) for word in meant], np.int32)[kind.codes], tuple(words))


def _stages(words: Coded, stages: Mapping[str, str]) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    """Give the place of each word's stage in STAGES, -1 where it has none."""
    places = [STAGES.index(stages[word]) if word in stages else -1 for word in words.words]
    return np.array([*places, -1], np.int32)[words.codes]


def _owners(screen: Screen, at: Ints, known_at: Ints, people: People) -> tuple[Ints, Ints]:
    """Give each event's row in the leads, and when it was known to be theirs; other events are left out."""
    columns, given = screen.contract.event_columns, screen.given
    name, key, visitor = columns["lead_id"], "events.lead_id", columns.get("visitor_id")
    column = ids(given.column(name, key) if visitor is None else given.optional(name, key), typed=given.typed)
    if visitor is None:
        owner, known = codes(column)
        screen.reject(owner < 0, f"no {shown(name)!r}")
        lead = np.append(found_in(known, people.lead_id), -1)[owner]
    else:
        visits = ids(given.optional(visitor, "events.visitor_id"), typed=given.typed)
        nobody = mask(pc.and_(column.is_null(), visits.is_null()))
        screen.reject(nobody, f"neither {shown(name)!r} nor {shown(visitor)!r}")
        # What the leads table says of visitors stands behind the events, as if it had happened.
        own, moments, cookies = _linked(people)
        owner, known = codes(_together(column, people.lead_id.take(pa.array(own))))
        who, _ = codes(_together(visits, cookies))
        # Sorted, so that the lead of a visitor does not depend on the order of the rows.
        order = pc.array_sort_indices(known).to_numpy()
        ok = np.append(screen.ok, np.ones(len(own), bool))
        owner = np.where(ok, np.append(np.argsort(order), -1)[owner], -1)
        # An event counts from just after it occurred: only then does it tell whose the earlier visits were.
        tells = np.where(owner[: len(at)] < 0, known_at, np.maximum(known_at, at + 1))
        whose, told = attribute_visits(np.where(ok, who, -1), owner, np.append(tells, moments))
        known_at = np.where(owner[: len(at)] < 0, told[: len(at)], known_at)
        owner = whose[: len(at)]
        screen.reject(owner < 0, f"{shown(visitor)!r} never came with a {shown(name)!r}")
        lead = np.append(found_in(known.take(pa.array(order)), people.lead_id), -1)[owner]
    screen.reject(lead < 0, f"{shown(name)!r} is not in the leads table")
    return lead, known_at


def _linked(people: People) -> tuple[Ints, Ints, pa.Array]:
    """Give the leads whose visitor the leads table names, since just after they came in or else always."""
    if people.visitor_id is None:
        return np.empty(0, np.int64), np.empty(0, np.int64), pa.nulls(0)
    own = np.flatnonzero(mask(people.visitor_id.is_valid()))
    moments = np.full(len(own), -_NEVER) if people.created_at is None else people.created_at[own] + 1
    return own, moments, people.visitor_id.take(pa.array(own))


def _together(column: pa.Array, more: pa.Array) -> pa.Array:
    """Put ids below each other, as text where they are not of one type."""
    if not len(more):
        return column
    if column.type != more.type:
        column, more = column.cast(pa.string()), more.cast(pa.string())
    return pa.concat_arrays([column, more])


def read_outcomes(
    contract: Contract,
    columns: OutcomeColumns,
    outcomes: object,
    people: People,
    findings: list[Finding],
    *,
    training: bool,
) -> Outcomes:
    """Read the outcomes of known leads from a table of their own."""
    key = columns.lead_id or contract.lead_id
    wanted = {key, columns.stage, columns.at, columns.reason, columns.revenue}
    given = read_given(outcomes, "outcomes", contract.delimiter, wanted)
    findings.extend(given.findings)
    screen = Screen(contract, given, findings)
    owner = ids(given.column(key, "outcomes.lead_id"), typed=given.typed)
    screen.reject(mask(owner.is_null()), f"no {shown(key)!r}")
    at = screen.filled_times(given.column(columns.at, "outcomes.at"), columns.at)
    if training:
        screen.reject_far_ahead(at, columns.at, 180)  # a few sales take long
    words = coded(given.column(columns.stage, "outcomes.stage"))
    screen.reject(words.codes < 0, f"no {shown(columns.stage)!r}")
    stage = _stages(words, {**{word: word for word in STAGES}, **columns.stages})
    if words.words and (stage < 0).all():
        expected = f"stages in column {shown(columns.stage)!r} that outcomes.stages maps"
        raise DataError(explain(expected, "none", f"map the team's words to {', '.join(STAGES)} there"))
    screen.reject(stage < 0, f"{shown(columns.stage)!r} is not in outcomes.stages")
    lead = found_in(owner, people.lead_id)
    screen.reject(lead < 0, f"{shown(key)!r} is not in the leads table")
    revenue, ok = screen.optional_floats(columns.revenue, "outcomes.revenue"), screen.ok
    return Outcomes(
        lead[ok],
        stage[ok],
        at[ok],
        reason=screen.words(columns.reason, "outcomes.reason", ok),
        revenue=None if revenue is None else revenue[ok],
    )


def joined(seen: Outcomes, told: Outcomes) -> Outcomes:
    """Put outcomes seen among the events, which have no reason or revenue, before those of a table."""
    none, reason = len(seen.lead), told.reason
    return Outcomes(
        np.concatenate([seen.lead, told.lead]),
        np.concatenate([seen.stage, told.stage]),
        np.concatenate([seen.at, told.at]),
        reason=reason and Coded(np.append(np.full(none, -1, np.int32), reason.codes), reason.words),
        revenue=None if told.revenue is None else np.append(np.full(none, np.nan), told.revenue),
    )
