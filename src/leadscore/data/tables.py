"""The door: any table in, checked and typed tables out, with a finding for every row that did not fit."""

import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from leadscore.data.contract import (
    KINDS,
    OTHER_TYPE,
    ROW_NUMBER,
    STAGES,
    Changes,
    Coded,
    Contract,
    EventColumns,
    Events,
    Finding,
    HistoryColumns,
    Identity,
    OutcomeColumns,
    Outcomes,
    Tables,
)
from leadscore.data.happenings import joined, read_events, read_outcomes
from leadscore.data.history import read_history
from leadscore.data.leads import lead_columns, leads_of_log, leads_of_rows, reserved
from leadscore.data.readers import Given, missing_column, read_given
from leadscore.errors import DataError, UsageError, explain

__all__ = [
    "KINDS",
    "OTHER_TYPE",
    "ROW_NUMBER",
    "STAGES",
    "Changes",
    "Coded",
    "Contract",
    "EventColumns",
    "Events",
    "Finding",
    "HistoryColumns",
    "Identity",
    "OutcomeColumns",
    "Outcomes",
    "Tables",
    "read_tables",
]


def read_tables(
    contract: Contract,
    leads: object,
    events: object = None,
    outcomes: object = None,
    history: object = None,
    *,
    training: bool,
) -> Tables:
    """Read a project's tables as its contract describes them.

    Parameters
    ----------
    contract
        How the tables read.
    leads, events, outcomes, history
        Each the path of a CSV (also .gz) or Parquet file, anything with an Arrow C stream (pandas, Polars,
        PyArrow, DuckDB), or a list of dicts, where an absent key is a missing value. With
        ``contract.event_log``, `leads` is the log and `events` may be left out; or `leads` has one row a lead
        and `events` is the log.
    training
        True: target, outcomes and history are needed, and kinds that the contract leaves open are inferred.
        False: `order_by` and `target` are not read; where the contract names kinds, exactly those fields are.

    Returns
    -------
    Tables
        What could be read, and in `Tables.findings` what could not. A lead without an id or a moment of
        creation is left out; so is an event or outcome without a lead, a time, a type or a stage, or of a
        lead that is not in the leads table. A value that does not read as its kind, or is not finite, is
        missing.

    Raises
    ------
    DataError
        A table breaks the contract: a file or column is missing, a lead has two rows, times carry no zone and
        the contract names none, most values of a column have the wrong type, or no lead is left to train on.
    UsageError
        A table is given that the contract does not describe, or one that it describes is not given.

    Examples
    --------
    >>> contract = Contract(lead_id="id", created_at="since", events=EventColumns(), timezone="Europe/Paris")
    >>> leads = [{"id": 7, "since": "2024-05-01", "staff": "12"}]
    >>> events = [{"id": 7, "occurred_at": "2024-05-02T10:00:00Z", "event_type": "visit"}]
    >>> tables = read_tables(contract, leads, events, training=False)
    >>> tables.lead_id, tables.leads.to_pydict(), tables.events.types
    (array([7]), {'staff': [12.0]}, ('visit',))
    """
    _refuse_mismatch(contract, events, outcomes, history, training=training)
    given = read_given(leads, "leads", contract.delimiter, lead_columns(contract, training=training))
    is_log = contract.event_log and contract.event_columns["event_type"] in given.columns
    shared = is_log and (events is None or _same(leads, events))
    log = replace(given, name="events", findings=()) if shared else _log(contract, events, given)
    if is_log:
        people = leads_of_log(contract, given, quiet=shared, training=training)
    else:
        people = leads_of_rows(contract, given, log, training=training)
    if training and not len(people.lead_id):
        raise DataError(explain("at least one lead", "none", "check the leads table"))
    findings = [*given.findings, *people.findings]
    happened = closed = None
    if log is not None:
        happened, closed = read_events(contract, log, people, findings, training=training)
    if outcomes is not None and contract.outcomes is not None:
        told = read_outcomes(contract, contract.outcomes, outcomes, people, findings, training=training)
        closed = told if closed is None else joined(closed, told)
    changes = None
    if history is not None and contract.history is not None:
        silent = reserved(contract) if training else None
        changes = read_history(
            contract, contract.history, history, people.lead_id, people.kinds, findings, silent=silent
        )
    return Tables(
        _table(people.columns, people.lead_id),
        people.lead_id.to_numpy(zero_copy_only=False),
        people.position,
        people.created_at,
        people.order,
        people.target,
        happened,
        closed,
        people.kinds,
        tuple(findings),
        changes,
    )


def _refuse_mismatch(
    contract: Contract, events: object, outcomes: object, history: object, *, training: bool
) -> None:
    needs_events = contract.events is not None and not contract.event_log
    for name, given, described, needed in (
        ("events", events, contract.events is not None, needs_events),
        ("outcomes", outcomes, contract.outcomes is not None, contract.outcomes is not None),
        ("history", history, contract.history is not None, contract.history is not None),
    ):
        if given is not None and not described:
            do = f"describe its columns under {name}"
            raise UsageError(explain(f"no {name} table, as the config describes none", "one", do))
        if given is None and needed and training:
            do = f"pass it, or remove {name} from the config"
            raise UsageError(explain(f"the {name} table that the config describes", "none", do))


def _same(a: object, b: object) -> bool:
    if isinstance(a, str | os.PathLike) and isinstance(b, str | os.PathLike):
        return Path(a) == Path(b)
    return a is b


def _log(contract: Contract, events: object, given: Given) -> Given | None:
    """Read the events that stand beside the leads."""
    if contract.events is None:
        return None
    if events is not None:
        return read_given(events, "events", contract.delimiter, contract.event_columns.values())
    if contract.event_log and not given.loose:
        raise missing_column(contract.events.event_type, given, "add it, or pass the events beside the leads")
    return None


def _table(columns: dict[str, pa.Array], key: pa.Array) -> pa.Table:
    # Arrow forgets how many rows a table has that never had a column.
    table = pa.table([*columns.values(), key], names=[*columns, ""])
    return table.select(list(range(len(columns))))
