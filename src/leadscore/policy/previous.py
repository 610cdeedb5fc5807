"""Where leads stood before, as tables of earlier scores, queues and given-back leads tell it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from leadscore.data.columns import found_in, ids, texts, times
from leadscore.data.contract import Contract, Ints
from leadscore.data.readers import Given, missing_column, read_given
from leadscore.errors import DataError, explain, nearest, shown
from leadscore.models.matrix import Bools
from leadscore.policy.policy import STAGES
from leadscore.policy.staging import Standing

NEVER: Final = np.iinfo(np.int64).min
_DAY: Final = 86_400_000_000  # microseconds
_TELLS: Final = ("stage", "recycled_at", "handed_over_at")
_GUARDED: Final = r"^'([=+\-@\t\r])"  # as `files.write_table` writes such an id into CSV
_DO: Final = "give what score, queue or recycle wrote"


@dataclass(frozen=True, eq=False)
class Earlier:
    """What tables of before say of leads; one entry a lead.

    Parameters
    ----------
    stage : int array
        The place in the policy's stages, -1 where none is given.
    handed, recycled : int array
        When it was last handed over and given back: UTC microseconds, `NEVER` where it was not.
    findings : tuple of str
        What of the tables did not count, in sentences.
    """

    stage: Ints
    handed: Ints
    recycled: Ints
    findings: tuple[str, ...] = ()


def read_earlier(previous: Any, contract: Contract, lead_id: NDArray[Any], when: int | None) -> Earlier:
    """Read tables with a column lead_id, and stage, recycled_at or handed_over_at.

    Parameters
    ----------
    previous
        A table as `read_tables` takes them, several in a list, or None. Of several rows of a lead the last
        one that has a stage tells the stage, and the latest of the moments counts.
    contract : Contract
        The model's: its time zone and delimiter.
    lead_id : array of shape (n,)
        The leads that are asked about; those that no table has stand nowhere.
    when : int or None
        UTC microseconds: moments at or after it do not count; None without a clock: none does.

    Returns
    -------
    Earlier

    Raises
    ------
    DataError
        A table has no lead_id or none of the other columns, or a stage or moment does not read.

    Examples
    --------
    >>> before = [{"lead_id": 7, "stage": "mql"}]
    >>> read_earlier(before, Contract(lead_id="id"), np.array([5, 7]), None).stage
    array([-1,  2])
    """
    n, known = len(lead_id), pa.array(lead_id)
    found = Earlier(np.full(n, -1), np.full(n, NEVER), np.full(n, NEVER))
    rows, matched, ahead, untimed = 0, 0, 0, 0
    for given in (read_given(table, "previous", contract.delimiter) for table in _several(previous)):
        if not len(given.rows):
            continue
        lead = found_in(_ids(given), known)
        ours = lead >= 0
        rows, matched = rows + len(lead), matched + int(ours.sum())
        if "stage" in given.columns:
            stage = _stages(given)
            told = ours & (stage >= 0)
            found.stage[lead[told]] = stage[told]
        for name, latest in (("handed_over_at", found.handed), ("recycled_at", found.recycled)):
            if name not in given.columns:
                continue
            at, present = _moments(given, name, contract.timezone)
            if when is None:
                untimed += int((ours & present).sum())
                continue
            ahead += int((ours & present & (at >= when)).sum())
            seen = ours & present & (at < when)
            np.maximum.at(latest, lead[seen], at[seen])
    counts = {
        "of no lead that is scored, so that all count as new": rows if n and not matched else 0,
        "times that do not count, as no moment (as_of) is given": untimed,
        "times later than the moment": ahead,
    }
    findings = tuple(
        f"previous: {what}: {count:,} {'row' if count == 1 else 'rows'} left out"
        for what, count in counts.items()
        if count
    )
    return Earlier(found.stage, found.handed, found.recycled, findings)


def standing_of(earlier: Earlier, group: Ints, when: int | None) -> Standing:
    """Say where leads stand at a moment; those of one group are one person, and stand where its best does.

    Parameters
    ----------
    earlier : Earlier
        Of n leads.
    group : int array of shape (n,)
    when : int or None
        The moment that `earlier` was read for.

    Examples
    --------
    >>> earlier = Earlier(np.array([1, 2]), np.full(2, NEVER), np.array([NEVER, 0]))
    >>> standing_of(earlier, np.array([4, 4]), 5 * 86_400_000_000)
    Standing(stage=array([2, 2]), recycled=array([5., 5.]))
    """
    _, person = np.unique(group, return_inverse=True)
    stage = np.full(len(group), -1)
    back = np.full(len(group), NEVER)
    np.maximum.at(stage, person, earlier.stage)
    np.maximum.at(back, person, earlier.recycled)
    ago = ((0 if when is None else when) - back[person].astype(np.float64)) / _DAY
    return Standing(stage[person], np.where(back[person] > NEVER, ago, np.nan))


def _several(previous: Any) -> Iterator[Any]:
    if isinstance(previous, list | tuple) and not all(isinstance(row, Mapping) for row in previous):
        yield from previous
    elif previous is not None:
        yield previous


def _ids(given: Given) -> pa.Array:
    if "lead_id" not in given.columns:
        raise missing_column("lead_id", given, _DO)
    if not any(name in given.columns for name in _TELLS):
        raise missing_column("stage", given, _DO)
    key = ids(given.column("lead_id", "lead_id"), typed=given.typed)
    if not given.typed and pa.types.is_string(key.type):
        key = pc.replace_substring_regex(key, _GUARDED, r"\1")
    return key


def _stages(given: Given) -> Ints:
    words = texts(given.column("stage", "stage"))
    place: Ints = pc.fill_null(pc.index_in(words, value_set=pa.array(STAGES)).cast(pa.int64()), -1).to_numpy()
    strange = np.flatnonzero((place < 0) & words.is_valid().to_numpy(zero_copy_only=False))
    if len(strange):
        word = words[int(strange[0])].as_py()
        near = nearest(word.lower().replace(" ", "_"), STAGES)
        found = f"{shown(word)!r}{near} in {len(strange):,} rows (row {given.rows[strange[0]]}, for one)"
        expected = f"stages {', '.join(STAGES)} in the previous table"
        raise DataError(explain(expected, found, _DO))
    return place


def _moments(given: Given, name: str, timezone: str | None) -> tuple[Ints, Bools]:
    found = times(given.column(name, name), timezone)
    bad = np.flatnonzero(found.unreadable | found.naive)
    if len(bad):
        told = f"others in {len(bad):,} rows (row {given.rows[bad[0]]}, for one)"
        expected = f"times with their zone in column {name!r} of the previous table"
        raise DataError(explain(expected, told, "write them as 2025-03-01T12:00:00Z"))
    return found.us, found.present
