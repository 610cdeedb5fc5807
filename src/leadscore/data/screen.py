"""Which rows of a table get in, and a finding for every one that does not or is mended."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leadscore.data.columns import Mask, coded, is_textual, numbers, shape, taken, texts, times
from leadscore.data.contract import Coded, Contract, Finding, Floats, Ints
from leadscore.data.readers import Given, finding
from leadscore.errors import DataError, explain, shown

_FEWEST_TO_JUDGE = 20
"""Below this many values a column is not refused for its type: one bad value is then a bad value."""

_DAY = 86_400_000_000
_FEW = 1_000
"""Rows behind a long gap are in the future of the data if they are at most one in so many."""


@dataclass
class Screen:
    """One table on its way in: `ok` says which rows still are, `findings` what became of the others.

    Parameters
    ----------
    contract
        How the table reads.
    given
        The table.
    findings
        Where findings go.
    """

    contract: Contract
    given: Given
    findings: list[Finding]
    ok: Mask = field(init=False)

    def __post_init__(self) -> None:
        self.ok = np.ones(len(self.given.rows), bool)

    def reject(self, bad: Mask, what: str) -> None:
        """Leave rows out."""
        self._note(bad, what, rejected=True)
        self.ok = self.ok & ~bad

    def mend(self, bad: Mask, what: str) -> None:
        """Tell how rows are read that go on."""
        self._note(bad, what, rejected=False)

    def _note(self, bad: Mask, what: str, *, rejected: bool) -> None:
        if bad.any() and (bad := bad & self.ok).any():
            self.findings.append(finding(self.given.name, what, self.given.rows[bad], rejected=rejected))

    def hidden(self, name: str) -> tuple[str, ...]:
        """List the words that mean a missing value in a field."""
        return (*self.contract.missing, *self.contract.field_missing.get(name, ()))

    def times(self, column: pa.Array, name: str, *, needed: bool = True) -> tuple[Ints, Mask]:
        """Give moments, and which rows have one.

        Rows with an unreadable one are left out where it is `needed`; otherwise it counts as missing.
        """
        found = times(column, self.contract.timezone, self.hidden(name))
        if 2 * found.naive.sum() > (found.naive | found.present | found.unreadable).sum():
            expected = f"an offset in the times of column {shown(name)!r} of the {self.given.name} table"
            do = "set timezone in the config, as Europe/Amsterdam, or ignore the column"
            raise DataError(explain(expected, "local times", do))
        self._refuse_type(column, name, found.unreadable, "times in ISO 8601, as 2024-05-31T14:00:00+02:00,")
        note, fate = (self.reject, "") if needed else (self.mend, ", and counts as missing")
        note(found.unreadable, f"{shown(name)!r} is no time in ISO 8601{fate}")
        note(found.naive, f"{shown(name)!r} has no offset, and the config no timezone{fate}")
        self.mend(
            found.shifted, f"{shown(name)!r} is in a clock change and is read as the earlier or next moment"
        )
        return found.us, found.present

    def filled_times(self, column: pa.Array, name: str) -> Ints:
        """Give moments; rows without one are left out."""
        us, present = self.times(column, name)
        self.reject(~present, f"no {shown(name)!r}")
        return us

    def reject_far_ahead(self, us: Ints, name: str, days: int) -> None:
        """Leave out the few rows that lie far behind all others in time: the end of the data is not theirs.

        One event that is dated 2099 would make every lead look as if its whole future had been seen.
        """
        few = int(self.ok.sum()) // _FEW
        if not few:
            return
        last = np.sort(np.partition(us[self.ok], -few - 1)[-few - 1 :])
        gaps = np.flatnonzero(np.diff(last) > days * _DAY)
        if len(gaps):
            what = f"{shown(name)!r} is over {days} days after all the others, in the future of the data"
            self.reject(us > last[gaps[0]], what)

    def numbers(self, column: pa.Array, name: str) -> pa.Array:
        """Give float64, null where missing, unreadable or infinite."""
        found = numbers(column, self.hidden(name))
        self._refuse_type(column, name, found.unreadable, "numbers")
        self.mend(found.unreadable, f"{shown(name)!r} is no number and counts as missing")
        self.mend(found.infinite, f"{shown(name)!r} is infinite and counts as missing")
        return found.values

    def floats(self, column: pa.Array, name: str) -> Floats:
        """Give what `numbers` gives, NaN where missing."""
        values: Floats = pc.fill_null(self.numbers(column, name), np.nan).to_numpy()
        return values

    def optional_floats(self, name: str | None, key: str) -> Floats | None:
        """Give what `floats` gives, or None for a column that the contract does not name."""
        return None if name is None else self.floats(self.given.optional(name, key), name)

    def words(self, name: str | None, key: str, keep: Mask) -> Coded | None:
        """Give the words of the rows to keep, or None for a column that the contract does not name."""
        return None if name is None else coded(taken(self.given.optional(name, key), keep), self.hidden(name))

    def attribute(self, column: pa.Array, name: str, kind: str) -> pa.Array:
        """Give a field as its kind says."""
        if kind == "number":
            return self.numbers(column, name)
        if kind == "time":
            us, present = self.times(column, name, needed=False)
            return pa.array(us, pa.timestamp("us", "UTC"), mask=~present)
        return texts(column, self.hidden(name))

    def _refuse_type(self, column: pa.Array, name: str, unreadable: Mask, expected: str) -> None:
        filled = len(column) - column.null_count
        if filled < _FEWEST_TO_JUDGE or 2 * unreadable.sum() <= filled:
            return
        found = f"text as {shape(column)!r}" if is_textual(column.type) else shown(column.type)
        expected = f"{expected} in column {shown(name)!r} of the {self.given.name} table"
        raise DataError(explain(expected, found, "correct the column, or its kind in the config"))
