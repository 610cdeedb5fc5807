"""The leads of a project: one row each, or read from an event log."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leadscore.data.columns import Mask, codes, found_in, ids, infer_kind, is_plain, mask, ranks, taken, texts
from leadscore.data.contract import ROW_NUMBER, Contract, Finding, Floats, Ints
from leadscore.data.readers import Given, finding, missing_column
from leadscore.data.screen import Screen
from leadscore.errors import DataError, explain, shown

_NEVER = np.iinfo(np.int64).max


class People(NamedTuple):
    """The leads, their ids and columns still Arrow's."""

    lead_id: pa.Array
    position: Ints
    created_at: Ints | None
    order: Floats | None
    target: Floats | None
    columns: dict[str, pa.Array]
    kinds: dict[str, str]
    findings: list[Finding]
    visitor_id: pa.Array | None = None


def leads_of_rows(contract: Contract, given: Given, log: Given | None, *, training: bool) -> People:
    """Read a table with one row a lead; `log` tells when they came in if the contract names no column."""
    screen = Screen(contract, given, [])
    if contract.lead_id == ROW_NUMBER:
        key = pa.array(given.rows)
    else:
        key = ids(given.column(contract.lead_id, "lead_id"), typed=given.typed)
    screen.reject(mask(key.is_null()), f"no {shown(contract.lead_id)!r}")
    _refuse_repeats(key, contract.lead_id, given.rows)
    created_at = None
    if contract.created_at is not None:
        created_at = screen.filled_times(given.column(contract.created_at, "created_at"), contract.created_at)
        if training:
            screen.reject_far_ahead(created_at, contract.created_at, 30)
    elif contract.event_log and log is not None:
        created_at = _first_seen(contract, log, key)
        screen.reject(created_at == _NEVER, "no event says when the lead came in")
    order = _order(contract, screen) if training else None
    target = _target(contract, screen) if training else None
    columns, kinds = _attributes(contract, screen, training=training)
    visitor = None
    if contract.visitor_id is not None:
        visitor = ids(given.optional(contract.visitor_id, "visitor_id"), typed=given.typed)
    ok = screen.ok
    return People(
        taken(key, ok),
        given.rows[ok],
        None if created_at is None else created_at[ok],
        None if order is None else order[ok],
        None if target is None else target[ok],
        {name: taken(values, ok) for name, values in columns.items()},
        kinds,
        screen.findings,
        None if visitor is None else taken(visitor, ok),
    )


class _Log(NamedTuple):
    """Whose each row of a log is (-1: nobody's) and when, and the rows that are a lead's."""

    owner: Ints
    at: Ints
    rows: Ints
    leads: int


def leads_of_log(contract: Contract, given: Given, *, quiet: bool, training: bool) -> People:
    """Read the leads of an event log: each attribute is its earliest value.

    `quiet`: rows that are no events are not told of here, as the same log is read as events too.
    """
    screen = Screen(contract, given, [])
    key, at = _keyed_times(contract, screen)
    if quiet:
        screen.findings.clear()
    rows = np.flatnonzero(screen.ok)
    lead, lead_id = codes(taken(key, screen.ok))
    owner = np.full(len(given.rows), -1)
    owner[rows] = lead
    log = _Log(owner, at, rows, len(lead_id))
    created_at = _least(at, owner, screen.ok, log.leads)
    if contract.created_at is not None:
        column = given.column(contract.created_at, "created_at")
        moments, present = screen.times(column, contract.created_at, needed=False)
        created_at = _least(moments, owner, present & screen.ok, log.leads)
    first = _least(np.arange(len(owner)), owner, screen.ok, log.leads)
    known = created_at < _NEVER
    if not known.all():
        what = f"no {shown(contract.created_at)!r} in any row of the lead"
        screen.findings.append(finding(given.name, what, given.rows[first[~known]], rejected=True))
    columns, kinds = _attributes(contract, screen, training=training)
    earliest = {name: _earliest(screen, name, values, log) for name, values in columns.items()}
    return People(
        taken(lead_id, known),
        given.rows[first[known]],
        created_at[known],
        None,
        None,
        {name: taken(values, known) for name, values in earliest.items()},
        kinds,
        screen.findings,
    )


def _least(values: Ints, owner: Ints, present: Mask, leads: int) -> Ints:
    """Give each lead's least value."""
    least = np.full(leads, _NEVER)
    np.minimum.at(least, owner[present], values[present])
    return least


def _earliest(screen: Screen, name: str, values: pa.Array, log: _Log) -> pa.Array:
    """Give each lead's first value; of several at one moment the least, whatever the order of the rows."""
    rank = ranks(values)
    filled = log.rows[mask(values.is_valid())[log.rows]]
    at = _least(log.at, log.owner, _among(filled, len(rank)), log.leads)
    ties = filled[log.at[filled] == at[log.owner[filled]]]
    ties = ties[np.lexsort((rank[ties], log.owner[ties]))]
    owners, first = np.unique(log.owner[ties], return_index=True)
    chosen = np.full(log.leads, -1)
    chosen[owners] = ties[first]
    changed = filled[rank[filled] != rank[chosen[log.owner[filled]]]]
    what = f"{shown(name)!r} differs from the lead's earliest value, which is the one read"
    screen.mend(_among(changed, len(rank)), what)
    return values.take(pa.array(chosen, mask=chosen < 0))


def _among(rows: Ints, n: int) -> Mask:
    flags = np.zeros(n, bool)
    flags[rows] = True
    return flags


def _keyed_times(contract: Contract, screen: Screen) -> tuple[pa.Array, Ints]:
    """Give the lead's id and the time of each row of a log; rows without either are left out."""
    columns = contract.event_columns
    key = ids(screen.given.column(columns["lead_id"], "events.lead_id"), typed=screen.given.typed)
    screen.reject(mask(key.is_null()), f"no {shown(columns['lead_id'])!r}")
    column = screen.given.column(columns["occurred_at"], "events.occurred_at")
    return key, screen.filled_times(column, columns["occurred_at"])


def _first_seen(contract: Contract, log: Given, lead_id: pa.Array) -> Ints:
    """Say when each lead's first event occurred."""
    screen = Screen(contract, log, [])
    key, at = _keyed_times(contract, screen)
    lead = found_in(key, lead_id)
    return _least(at, lead, screen.ok & (lead >= 0), len(lead_id))


def _refuse_repeats(key: pa.Array, name: str, rows: Ints) -> None:
    code, values = codes(key)
    filled = np.flatnonzero(code >= 0)
    if len(filled) == len(values):
        return
    _, first, inverse = np.unique(code[filled], return_index=True, return_inverse=True)
    repeats = np.flatnonzero(first[inverse] != np.arange(len(filled)))
    one, other = rows[filled[first[inverse[repeats[0]]]]], rows[filled[repeats[0]]]
    found = f"ids again in {len(repeats)} rows of column {shown(name)!r} (rows {one} and {other}, for one)"
    raise DataError(explain("one row a lead", found, "keep one of them, or set event_log for an event log"))


def _order(contract: Contract, screen: Screen) -> Floats | None:
    name = contract.order_by
    if name is None:
        return None
    if name == ROW_NUMBER:
        return screen.given.rows.astype(np.float64)
    column = screen.given.column(name, "order_by")
    if infer_kind(column, screen.hidden(name)) == "time":
        return screen.filled_times(column, name).astype(np.float64)
    order = screen.floats(column, name)
    screen.reject(np.isnan(order), f"no {shown(name)!r}")
    return order


def _target(contract: Contract, screen: Screen) -> Floats | None:
    name = contract.target
    if name is None:
        return None
    text = texts(screen.given.column(name, "target"), screen.hidden(name))
    won = mask(pc.is_in(text, value_set=pa.array(contract.won_values)))
    if len(won) and not won.any():
        found = f"none of {', '.join(map(shown, contract.won_values))}"
        raise DataError(
            explain(f"won_values in column {shown(name)!r}", found, "correct won_values in the config")
        )
    unknown = mask(text.is_null())
    screen.mend(unknown, f"no {shown(name)!r}, so that the outcome is not known")
    return np.where(unknown, np.nan, won.astype(np.float64))


def _attributes(
    contract: Contract, screen: Screen, *, training: bool
) -> tuple[dict[str, pa.Array], dict[str, str]]:
    """Give the fields that describe a lead, typed, and their kinds."""
    given = screen.given
    if contract.kinds and not training:
        names = list(contract.kinds)
    else:
        if training:
            _refuse_unknown_names(contract, given)
        others = reserved(contract)
        names = [name for name in given.columns if name not in others]
    columns: dict[str, pa.Array] = {}
    kinds: dict[str, str] = {}
    for name in names:
        if name not in given.columns and not given.loose and len(given.rows):
            raise missing_column(name, given, "add it, as the model uses it")
        declared = contract.kinds.get(name)
        if declared is None and not is_plain(kind := given.table.schema.field(name).type):
            screen.mend(screen.ok, f"{shown(name)!r} holds {shown(kind)} and is not read")
            continue
        column = given.optional(name, f"kinds.{name}")
        kinds[name] = declared or infer_kind(column, screen.hidden(name))
        columns[name] = screen.attribute(column, name, kinds[name])
    return columns, kinds


def reserved(contract: Contract) -> set[str | None]:
    """Name the columns of the leads table that are no attributes."""
    log = contract.event_columns.values() if contract.event_log else ()
    named = (contract.lead_id, contract.created_at, contract.order_by, contract.target, contract.visitor_id)
    return {*named, *contract.ignore, *log}


def lead_columns(contract: Contract, *, training: bool) -> set[str | None] | None:
    """Name the columns of the leads table that are worth reading; None: all."""
    if training:
        return None
    return {*reserved(contract), *contract.kinds} if contract.kinds else None


def _refuse_unknown_names(contract: Contract, given: Given) -> None:
    """Refuse a misspelt name in the config, which would pass for a wish fulfilled."""
    if given.loose or not len(given.rows):
        return
    elsewhere = set(contract.event_columns.values()) if contract.events else set()
    if contract.outcomes is not None:
        elsewhere |= {column for column in (contract.outcomes.reason, contract.outcomes.revenue) if column}
    named = {"ignore": contract.ignore, "kinds": contract.kinds, "field_missing": contract.field_missing}
    for key, names in named.items():
        for name in names:
            if name not in given.columns and name not in elsewhere:
                raise missing_column(name, given, f"correct {key} in the config")
