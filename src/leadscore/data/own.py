"""One lead's own rows of the tables, as plain values: what a caller would pass for that lead alone."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leadscore.data.columns import Mask, ids, mask
from leadscore.data.contract import Contract
from leadscore.data.readers import read_given

_MANY: Final = 1_000


class OwnRows(NamedTuple):
    """A lead as a mapping, with its events and the changes of its profile; None where there is no table."""

    lead: dict[str, Any]
    events: list[dict[str, Any]] | pa.Table | None
    history: list[dict[str, Any]] | None


def own_rows(
    contract: Contract, leads: object, events: object, history: object, lead_ids: Sequence[int | str]
) -> Iterator[OwnRows]:
    """Read the tables once, and give each lead's own rows under the project's own names.

    Parameters
    ----------
    contract : Contract
        Not of an event log.
    leads, events, history
        As for `read_tables`.
    lead_ids : sequence of int or str
        Of leads that are there, as `Tables.lead_id` holds them.

    Yields
    ------
    OwnRows
        One a lead. Events of its visitors are among them, also of before it was known whose they are.

    Examples
    --------
    >>> contract = Contract(lead_id="id", kinds={"size": "number"})
    >>> next(own_rows(contract, [{"id": 1, "size": 3}, {"id": 2, "size": 4}], None, None, [2])).lead
    {'id': 2, 'size': 4}
    """
    people = _read(contract, leads, "leads", contract.lead_id)
    columns = contract.event_columns
    happened = None if events is None else _read(contract, events, "events", columns["lead_id"])
    changes = None
    if history is not None and contract.history is not None:
        changes = _read(contract, history, "history", contract.history.lead_id or contract.lead_id)
    for lead in lead_ids:
        (own,) = _records(people, people.of(lead))
        visitor = own.get(contract.visitor_id) if contract.visitor_id is not None else None
        yield OwnRows(
            own,
            None if happened is None else _few(happened, _visits(happened, columns, lead, visitor)),
            None if changes is None else _records(changes, changes.of(lead)),
        )


class _Keyed(NamedTuple):
    """A table, and whose each row is, as text."""

    table: pa.Table
    owner: pa.Array
    loose: bool

    def of(self, lead: int | str) -> Mask:
        return mask(pc.fill_null(pc.equal(self.owner, str(lead)), False))


def _read(contract: Contract, given: object, name: str, column: str) -> _Keyed:
    """Read a table, with its ids as the door reads them."""
    read = read_given(given, name, contract.delimiter)
    if column not in read.columns:
        return _Keyed(read.table, pa.nulls(read.table.num_rows, pa.string()), read.loose)
    key = ids(read.column(column, column), typed=read.typed)
    table = read.table.set_column(read.columns.index(column), column, key)
    return _Keyed(table, key.cast(pa.string()), read.loose)


def _visits(events: _Keyed, columns: dict[str, str], lead: int | str, visitor: Any) -> Mask:
    own, name = events.of(lead), columns.get("visitor_id")
    if name is None or name not in events.table.column_names:
        return own
    who = events.table.column(name).cast(pa.string())
    seen = set(who.filter(pa.array(own)).drop_null().to_pylist())
    seen |= set() if visitor is None else {str(visitor)}
    return own | mask(
        pc.fill_null(pc.is_in(who, pa.array(sorted(seen), pa.string())), False).combine_chunks()
    )


def _few(keyed: _Keyed, rows: Mask) -> list[dict[str, Any]] | pa.Table:
    """Give rows as mappings, which is quick for few of them, or as a table."""
    if keyed.loose or rows.sum() <= _MANY:
        return _records(keyed, rows)
    return keyed.table.filter(pa.array(rows))


def _records(keyed: _Keyed, rows: Mask) -> list[dict[str, Any]]:
    """Give rows as mappings, without what is missing."""
    taken = keyed.table.take(pa.array(np.flatnonzero(rows)))
    return [{name: value for name, value in row.items() if value is not None} for row in taken.to_pylist()]
