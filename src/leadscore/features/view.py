"""Leads as they are when a score is asked for: tables and a moment become rows; what is left out is said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadscore.data.contract import CLOSING, Contract, Events, Finding, Tables
from leadscore.data.identity import merge_duplicates
from leadscore.data.records import ShortWay
from leadscore.data.tables import read_tables
from leadscore.features.declare import Feature
from leadscore.features.single import Reading, reading_of
from leadscore.features.snapshot import Snapshot, earliest, snapshot


@dataclass(frozen=True)
class View:
    """What is looked at of leads: the project's tables, and the features.

    Parameters
    ----------
    contract : Contract
    features : tuple of Feature
    """

    contract: Contract
    features: tuple[Feature, ...]

    def rows(
        self, leads: Any, events: Any, when: int | None, history: Any = None
    ) -> tuple[Snapshot, list[str]]:
        """Look at leads as they were at a moment.

        Parameters
        ----------
        leads, events, history
            As for `read_tables`.
        when : int or None
            UTC microseconds; None without a clock.

        Returns
        -------
        Snapshot
            One row a lead; leads that are one person have the person's row. Leads that an event log knows to
            be closed by then are left out: no model has learned from such.
        list of str
            Which rows of the tables were left out or mended.

        Raises
        ------
        DataError
            A table breaks the contract.

        Examples
        --------
        >>> from leadscore.features.declare import AttributeFeature
        >>> size = AttributeFeature("number", "size")
        >>> rows, found = View(Contract(lead_id="id", kinds={"size": "number"}), (size,)).rows(
        ...     [{"id": 7, "size": "12"}], None, None
        ... )
        >>> rows.matrix.tolist(), found
        ([[12.0]], [])
        """
        if history is None and (one := self._quickly(leads, events, when)) is not None:
            return one
        contract, features = self.contract, self.features
        tables = read_tables(contract, leads, events, history=history, training=False)
        if contract.identity is None or len(tables.lead_id) < 2:
            rows = _open(snapshot(tables, features, when), tables, when)
            return rows, _found(tables.findings, tables.events, when, _absent(tables, rows))
        people, report = merge_duplicates(tables, contract.identity, before=when)
        rows = _each(snapshot(people, features, when), tables, report.row)
        return rows, _found(people.findings, tables.events, when, _absent(tables, rows))

    def _quickly(self, leads: Any, events: Any, when: int | None) -> tuple[Snapshot, list[str]] | None:
        """Read one lead from plain values without a table in between; None: it must go the long way."""
        if self._short_way is None or type(leads) is not list or len(leads) != 1:
            return None
        way, reading = self._short_way
        one = way.read(leads[0], events)
        row = None if one is None else reading.row(one, when)
        return None if one is None or row is None else (row, _found((), one.events, when, {}))

    @cached_property
    def _short_way(self) -> tuple[ShortWay, Reading] | None:
        if any(name not in self.contract.kinds for feature in self.features for name in feature.reads):
            return None
        return ShortWay(self.contract), reading_of(self.features)


def _each(rows: Snapshot, tables: Tables, row: NDArray[np.int64]) -> Snapshot:
    """Give each lead the row of its person: of the people that are seen, and of them only these leads."""
    place = rows.group.searchsorted(row)
    seen = np.flatnonzero(np.append(rows.group, -1)[place] == row)
    return replace(rows.take(place[seen]), lead_id=tables.lead_id[seen], position=tables.position[seen])


def _open(rows: Snapshot, tables: Tables, when: int | None) -> Snapshot:
    """Leave out leads that a log knows to be closed by then: no model has learned from such."""
    if tables.outcomes is None or when is None:
        return rows
    closed = earliest(tables.outcomes, CLOSING, len(tables.lead_id)) < when
    return rows.take(np.flatnonzero(~np.isin(rows.position, tables.position[closed])))


def _absent(tables: Tables, rows: Snapshot) -> dict[str, int]:
    closed = "" if tables.outcomes is None else ", or closed before it"
    return {f"leads: created at or after the moment{closed}": len(tables.lead_id) - len(rows)}


def _found(
    findings: Sequence[Finding], events: Events | None, when: int | None, absent: Mapping[str, int]
) -> list[str]:
    """Say what became of rows, of leads that are not there, and of events that lie ahead of the moment."""
    unseen = 0
    if events is not None and when is not None:
        known_at = events.at if events.known_at is None else events.known_at
        unseen = int(((events.at >= when) | (known_at > when)).sum())
    counts = {**absent, "events: later than the moment": unseen}
    return [
        *map(str, findings),
        *(f"{what}: {n:,} {'row' if n == 1 else 'rows'} left out" for what, n in counts.items() if n),
    ]
