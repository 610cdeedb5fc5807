"""What happened to the leads: events, and the outcomes that a table or some of the events tell."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leadscore.data.columns import coded, codes, found_in, ids, mask, taken
from leadscore.data.contract import STAGES, Coded, Contract, Events, Finding, Ints, OutcomeColumns, Outcomes
from leadscore.data.identity import attribute_visits
from leadscore.data.readers import Given, read_given
from leadscore.data.screen import Screen
from leadscore.errors import DataError, explain, shown


def read_events(
    contract: Contract, given: Given, lead_id: pa.Array, findings: list[Finding]
) -> tuple[Events, Outcomes | None]:
    """Read the events of known leads, and those among them that are outcomes."""
    findings.extend(given.findings)
    screen, columns = Screen(contract, given, findings), contract.event_columns
    at = screen.filled_times(
        given.column(columns["occurred_at"], "events.occurred_at"), columns["occurred_at"]
    )
    types = given.column(columns["event_type"], "events.event_type")
    kind = coded(types)
    screen.reject(kind.codes < 0, f"no {shown(columns['event_type'])!r}")
    known_at, late = at, "recorded_at" in columns or "visitor_id" in columns
    if "recorded_at" in columns:
        recorded = given.optional(columns["recorded_at"], "events.recorded_at")
        us, present = screen.times(recorded, columns["recorded_at"])
        known_at = np.where(present, np.maximum(us, at), at)
    lead, known_at = _owners(screen, at, known_at, lead_id)
    stage = _stages(kind, contract.outcome_events)
    closing, keep = screen.ok & (stage >= 0), screen.ok & (stage < 0)
    kept = kind if keep.all() else coded(taken(types, keep))
    value = screen.optional_floats(columns.get("value"), "events.value")
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


def _stages(words: Coded, stages: Mapping[str, str]) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    """Give the place of each word's stage in STAGES, -1 where it has none."""
    places = [STAGES.index(stages[word]) if word in stages else -1 for word in words.words]
    return np.array([*places, -1], np.int32)[words.codes]


def _owners(screen: Screen, at: Ints, known_at: Ints, lead_id: pa.Array) -> tuple[Ints, Ints]:
    """Give each event's row in the leads, and when it was known to be theirs; other events are left out."""
    columns, given = screen.contract.event_columns, screen.given
    name, key, visitor = columns["lead_id"], "events.lead_id", columns.get("visitor_id")
    column = given.column(name, key) if visitor is None else given.optional(name, key)
    owner, known = codes(ids(column, typed=given.typed))
    if visitor is None:
        screen.reject(owner < 0, f"no {shown(name)!r}")
    else:
        who, _ = codes(ids(given.optional(visitor, "events.visitor_id"), typed=given.typed))
        screen.reject((owner < 0) & (who < 0), f"neither {shown(name)!r} nor {shown(visitor)!r}")
        # Sorted, so that the lead of a visitor does not depend on the order of the rows.
        order = pc.array_sort_indices(known).to_numpy()
        known = known.take(pa.array(order))
        owner = np.where(screen.ok, np.append(np.argsort(order), -1)[owner], -1)
        # An event counts from just after it occurred: only then does it tell whose the earlier visits were.
        tells = np.where(owner < 0, known_at, np.maximum(known_at, at + 1))
        whose, told = attribute_visits(np.where(screen.ok, who, -1), owner, tells)
        known_at = np.where(owner < 0, told, known_at)
        owner = whose
        screen.reject(owner < 0, f"{shown(visitor)!r} never came with a {shown(name)!r}")
    lead = np.append(found_in(known, lead_id), -1)[owner]
    screen.reject(lead < 0, f"{shown(name)!r} is not in the leads table")
    return lead, known_at


def read_outcomes(
    contract: Contract, columns: OutcomeColumns, outcomes: object, lead_id: pa.Array, findings: list[Finding]
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
    words = coded(given.column(columns.stage, "outcomes.stage"))
    screen.reject(words.codes < 0, f"no {shown(columns.stage)!r}")
    stage = _stages(words, {**{word: word for word in STAGES}, **columns.stages})
    if words.words and (stage < 0).all():
        expected = f"stages in column {shown(columns.stage)!r} that outcomes.stages maps"
        raise DataError(explain(expected, "none", f"map the team's words to {', '.join(STAGES)} there"))
    screen.reject(stage < 0, f"{shown(columns.stage)!r} is not in outcomes.stages")
    lead = found_in(owner, lead_id)
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
