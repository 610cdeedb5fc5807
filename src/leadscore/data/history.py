"""What attributes were before they became what the leads table says, and which change holds at a moment."""

from collections.abc import Collection, Iterator, Mapping

import numpy as np
import pyarrow as pa

from leadscore.data.columns import coded, found_in, ids, mask, ranks
from leadscore.data.contract import Changes, Contract, Finding, HistoryColumns, Ints, Tables
from leadscore.data.readers import Given, finding, read_given
from leadscore.data.screen import Screen
from leadscore.errors import shown


def read_history(
    contract: Contract,
    columns: HistoryColumns,
    history: object,
    lead_id: pa.Array,
    kinds: Mapping[str, str],
    findings: list[Finding],
    *,
    silent: Collection[str | None] | None,
) -> dict[str, Changes]:
    """Read the changes of known leads' attributes.

    Parameters
    ----------
    kinds
        The attributes, each with the kind that its values are of.
    silent
        Fields that are no attributes on purpose; None: whatever is no attribute goes without a word.
    """
    key = columns.lead_id or contract.lead_id
    wanted = {key, columns.field, columns.value, columns.changed_at}
    given = read_given(history, "history", contract.delimiter, wanted)
    findings.extend(given.findings)
    screen = Screen(contract, given, findings)
    fields = coded(given.column(columns.field, "history.field"))
    screen.reject(fields.codes < 0, f"no {shown(columns.field)!r}")
    meant = np.array([*(name in kinds for name in fields.words), False])[fields.codes]
    if silent is not None:
        told = np.array([*(name not in silent for name in fields.words), False])[fields.codes]
        screen.reject(~meant & told, f"{shown(columns.field)!r} is no attribute of the leads")
    screen.ok &= meant
    owner = ids(given.column(key, "history.lead_id"), typed=given.typed)
    screen.reject(mask(owner.is_null()), f"no {shown(key)!r}")
    at = screen.filled_times(given.column(columns.changed_at, "history.changed_at"), columns.changed_at)
    lead = found_in(owner, lead_id)
    screen.reject(lead < 0, f"{shown(key)!r} is not in the leads table")
    values = given.optional(columns.value, "history.value")
    return {
        name: _changes(contract, given, (name, kinds[name]), (lead, at, values), rows, findings)
        for name, rows in _by_word(fields.words, np.where(screen.ok, fields.codes, -1))
    }


def latest(
    changes: Changes, lead: Ints, as_of: Ints
) -> tuple[Ints, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]:
    """Find the last change of each row's lead before the row's moment.

    Parameters
    ----------
    changes
        Of one attribute.
    lead, as_of
        Parallel, one a row.

    Returns
    -------
    tuple of arrays
        Places in `changes`, -1 where the moment lies before the first change, and whether the lead has any
        change at all.

    Examples
    --------
    >>> changes = Changes(np.array([3, 3]), np.array([10, 20]), pa.array(["a", "b"]))
    >>> place, has = latest(changes, np.array([3, 3, 3, 4]), np.array([10, 11, 99, 99]))
    >>> place.tolist(), has.tolist()
    ([-1, 0, 1, -1], [True, True, True, False])
    """
    first = changes.lead.searchsorted(lead)
    end = changes.lead.searchsorted(lead, side="right")
    low, high = first.copy(), end.copy()
    while (open_ := low < high).any():
        middle = (low + high) // 2
        earlier = open_ & (changes.at.take(middle, mode="clip") < as_of)
        low = np.where(earlier, middle + 1, low)
        high = np.where(open_ & ~earlier, middle, high)
    return np.where(low > first, low - 1, -1), first < end


def _by_word(words: tuple[str, ...], codes: Ints) -> Iterator[tuple[str, Ints]]:
    """Give the rows of each word that has any."""
    order = np.argsort(codes, kind="stable")
    edges = codes[order].searchsorted(np.arange(len(words) + 1))
    for word, start, end in zip(words, edges[:-1], edges[1:], strict=True):
        if start < end:
            yield word, order[start:end]


def _changes(
    contract: Contract,
    given: Given,
    field: tuple[str, str],
    columns: tuple[Ints, Ints, pa.Array],
    rows: Ints,
    findings: list[Finding],
) -> Changes:
    """Type the values of one field, and keep one a moment: the least, whatever the order of the rows."""
    name, kind = field
    lead, at = columns[0][rows], columns[1][rows]
    raw = columns[2].take(pa.array(rows))
    part = Given(given.name, pa.table({name: raw}), given.rows[rows], (name,), given.typed, given.loose)
    values = Screen(contract, part, findings).attribute(raw, name, kind)
    rank, empty = ranks(values), mask(values.is_null())
    order = np.lexsort((rank, empty, at, lead))
    again = np.zeros(len(order), bool)
    again[1:] = (np.diff(lead[order]) == 0) & (np.diff(at[order]) == 0)
    first = order[np.maximum.accumulate(np.where(again, 0, np.arange(len(order))))]
    other = order[again & ((rank[first] != rank[order]) | (empty[first] != empty[order]))]
    if len(other):
        what = f"{shown(name)!r} has two values at one moment, and the least is the one read"
        findings.append(finding(given.name, what, np.sort(given.rows[rows[other]]), rejected=True))
    kept = order[~again]
    return Changes(lead[kept], at[kept], values.take(pa.array(kept)))


def in_force(
    values: pa.Array, changes: Changes | None, lead: Ints, as_of: Ints | None
) -> tuple[pa.Array, Ints]:
    """Say where each row's value of an attribute is.

    Parameters
    ----------
    values
        What the leads table says.
    changes
        Of the attribute, if it has a history.
    lead, as_of
        One a row; without a moment the leads table has the word.

    Returns
    -------
    tuple
        All values there are, and each row's place among them, -1 where it has none.
    """
    if changes is None or as_of is None:
        return values, lead
    place, has = latest(changes, lead, as_of)
    places = np.where(has, np.where(place < 0, -1, place + len(values)), lead)
    return pa.concat_arrays([values, changes.value]), places


def leads_as_of(tables: Tables, as_of: Ints) -> pa.Table:
    """Give every attribute of every lead as of the lead's moment.

    Parameters
    ----------
    tables
        Leads, with or without a history.
    as_of
        One a lead, UTC microseconds.

    Examples
    --------
    >>> changes = {"size": Changes(np.array([0]), np.array([10]), pa.array([2.0]))}
    >>> leads, ids = pa.table({"size": [9.0, 8.0]}), np.arange(2)
    >>> tables = Tables(leads, ids, ids, None, None, None, None, None, {"size": "number"}, (), changes)
    >>> leads_as_of(tables, np.array([10, 10]))["size"].to_pylist()
    [None, 8.0]
    """
    history, lead = tables.history or {}, np.arange(len(tables.lead_id))
    columns = {}
    for name in tables.leads.column_names:
        values = tables.leads.column(name).combine_chunks()
        pool, place = in_force(values, history.get(name), lead, as_of)
        columns[name] = pool.take(pa.array(place, mask=place < 0))
    return pa.table(columns)
