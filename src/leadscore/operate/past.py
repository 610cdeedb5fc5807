"""What sales has done with each lead before a moment, as outcomes, earlier queues and touches tell it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from leadscore.data.contract import CLOSING, STAGES, Contract, Ints, Outcomes, Tables
from leadscore.data.readers import read_given
from leadscore.data.tables import read_tables
from leadscore.errors import UsageError, explain, nearest, shown
from leadscore.explain.timeline import instant
from leadscore.features.snapshot import Snapshot
from leadscore.models.matrix import Bools
from leadscore.policy.previous import NEVER, Earlier
from leadscore.timelines import People

if TYPE_CHECKING:
    import pandas as pd

Words: TypeAlias = NDArray[np.object_]
Touches: TypeAlias = tuple[Ints, Ints]  # of which lead, and when

DAY: Final = 86_400_000_000  # microseconds
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNTOUCHED: Final[Touches] = (np.empty(0, np.int64), np.empty(0, np.int64))
_LATER: Final = np.iinfo(np.int64).max


# -------------------------------------------------------------------------------- what stands beside scoring
def read_aside(
    contract: Contract,
    leads: Any,
    events: Any,
    outcomes: Any,
    kinds: Mapping[str, str] | None = None,
    *,
    reasons: bool = False,
) -> Tables:
    """Read what scoring does not look at: outcomes, and columns of the leads that no feature reads.

    Parameters
    ----------
    contract : Contract
        The model's.
    leads, events, outcomes
        As for `read_tables`; without outcomes, those that are among the events.
    kinds : mapping of str to str, optional
        Columns of the leads table that are wanted, as "text" or "number".
    reasons : bool
        Whether the reasons of the outcomes are wanted too.

    Returns
    -------
    Tables
        Without events.

    Raises
    ------
    DataError
        A table breaks the contract.
    UsageError
        There is no such column, or the contract describes no outcomes.
    """
    if kinds:
        _require_columns(contract, leads, kinds)
    told = contract.event_log or bool(contract.outcome_events)
    some = dict(kinds or {}) or dict(list(contract.kinds.items())[:1])  # with none named, all would be read
    stages = contract.outcomes
    if stages is not None:
        stages = replace(stages, revenue=None, reason=stages.reason if reasons else None)
    aside = replace(contract, kinds=some, event_types=(), outcomes=stages)
    return read_tables(aside, leads, events if told else None, outcomes, training=False)


def _require_columns(contract: Contract, leads: Any, names: Mapping[str, str]) -> None:
    given = read_given(leads, "leads", contract.delimiter, set(names))
    for name in names:
        if name not in given.header and len(given.rows):
            columns = ", ".join(shown(column, 30) for column in given.header[:8])
            more = f" and {len(given.header) - 8} more" if len(given.header) > 8 else ""
            expected = f"a column {shown(name)!r} in the leads table"
            found = f"{columns}{more}{nearest(name, given.header)}"
            raise UsageError(explain(expected, found, "name one of its columns"))


def places_of(aside: Tables, rows: Snapshot) -> Ints:
    """Give the place of each row's lead among those that `read_aside` read."""
    order = np.argsort(aside.position)
    return order[aside.position[order].searchsorted(rows.position)]


def stamps(moments: Sequence[int | None]) -> "pd.Series[Any]":
    """Give UTC microseconds, or None, as times of a frame."""
    import pandas as pd

    times = [np.datetime64("NaT") if at is None else np.datetime64(at, "us") for at in moments]
    return pd.Series(np.array(times, "datetime64[us]")).dt.tz_localize("UTC")


def microseconds(at: datetime) -> int:
    """Give a moment in UTC as UTC microseconds."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def day(at: int) -> str:
    """Name the day of a moment, in UTC.

    Examples
    --------
    >>> day(1_740_826_800_000_000)
    '2025-03-01'
    """
    return f"{instant(at):%Y-%m-%d}"


# ------------------------------------------------------------------------------------------ what was done
@dataclass(frozen=True, eq=False)
class Past:
    """What was done with each lead before a moment: one entry a lead, UTC microseconds or `NEVER`.

    Parameters
    ----------
    handed : int array
        When it was last handed over.
    worked : int array
        When sales first worked on it from then on: accepted it, closed it or touched it; of a lead that was
        never handed over, ever.
    accepted : int array
        When sales last accepted it.
    closed : int array
        When it was closed, if it was not handed over or accepted again since.
    ending : object array
        won, lost or disqualified; "" of a lead that is not closed.
    reason : object array
        Why it was closed, "" where that is not known.
    touched : int array
        When sales last touched it.
    recycled : int array
        When it was last given back, by what an earlier table says.
    """

    handed: Ints
    worked: Ints
    accepted: Ints
    closed: Ints
    ending: Words
    reason: Words
    touched: Ints
    recycled: Ints

    def __len__(self) -> int:
        return len(self.handed)

    def take(self, places: Ints) -> "Past":
        """Give the same for some of the leads, by their places."""
        return Past(**{name: getattr(self, name)[places] for name in self.__dataclass_fields__})

    @property
    def busy(self) -> Ints:
        """When sales was last handed the lead, accepted or closed it; `NEVER` where it never had it."""
        return np.maximum(np.maximum(self.handed, self.accepted), self.closed)

    @property
    def back(self) -> Bools:
        """Whether the lead was given back after all of that."""
        return (self.recycled > NEVER) & (self.recycled >= self.busy)


def past(outcomes: Outcomes | None, earlier: Earlier, *, when: int, touches: Touches = _UNTOUCHED) -> Past:
    """Say what was done with each lead before a moment.

    Parameters
    ----------
    outcomes : Outcomes or None
        Those at or after the moment do not count.
    earlier : Earlier
    when : int
        UTC microseconds.
    touches : (lead, at), optional
        When sales touched which lead, as `touches_of` gives them.

    Returns
    -------
    Past

    Examples
    --------
    >>> import numpy as np
    >>> handed_over = Outcomes(np.array([0]), np.array([STAGES.index("handed_over")]), np.array([5]))
    >>> nothing = Earlier(np.full(2, -1), np.full(2, NEVER), np.full(2, NEVER))
    >>> past(handed_over, nothing, when=9).handed == 5
    array([ True, False])
    """
    n = len(earlier.handed)
    by_stage: dict[str, Touches] = dict.fromkeys(STAGES, _UNTOUCHED)
    if outcomes is not None:
        seen = outcomes.at < when
        for number, stage in enumerate(outcomes.stages):
            own = seen & (outcomes.stage == number)
            by_stage[stage] = outcomes.lead[own], outcomes.at[own]
    handed = np.maximum(_last(*by_stage["handed_over"], n), earlier.handed)
    accepted = _last(*by_stage["accepted"], n)
    closed, ending = np.full(n, NEVER), np.full(n, "", object)
    for stage in reversed(CLOSING):  # of two at one moment, won counts
        at = _last(*by_stage[stage], n)
        later = (at >= closed) & (at > NEVER)
        closed[later], ending[later] = at[later], stage
    work = [by_stage[stage] for stage in (*CLOSING, "accepted")] + [touches]
    worked = _first_from(
        np.concatenate([lead for lead, _ in work]), np.concatenate([at for _, at in work]), handed
    )
    again = np.maximum(handed, accepted) > closed
    closed[again], ending[again] = NEVER, ""
    return Past(
        handed=handed,
        worked=worked,
        accepted=accepted,
        closed=closed,
        ending=ending,
        reason=_reasons(outcomes, closed, ending),
        touched=_last(*touches, n),
        recycled=earlier.recycled,
    )


def of_persons(done: Past, group: Ints) -> Past:
    """Let what was done with one lead be done with the person: leads of one group are one.

    A disqualification is of the lead alone, which may be the duplicate of one that is open.

    Parameters
    ----------
    done : Past
    group : int array of shape (n,)
    """
    _, person = np.unique(group, return_inverse=True)

    def latest(at: Ints) -> Ints:
        return _last(person, at, len(group))[person]

    handed, accepted = latest(done.handed), latest(done.accepted)
    ends = np.where(np.isin(done.ending, ("won", "lost")), done.closed, NEVER)
    order = np.argsort(ends, kind="stable")
    last = np.zeros(len(group), np.int64)
    last[person[order]] = order  # the latest end of each person
    theirs = last[person]
    own = done.closed > ends[theirs]
    closed = np.where(own, done.closed, ends[theirs])
    ended = (closed > NEVER) & (closed >= np.maximum(handed, accepted))
    return Past(
        handed=handed,
        worked=latest(done.worked),
        accepted=accepted,
        closed=np.where(ended, closed, NEVER),
        ending=np.where(ended, np.where(own, done.ending, done.ending[theirs]), ""),
        reason=np.where(ended, np.where(own, done.reason, done.reason[theirs]), ""),
        touched=latest(done.touched),
        recycled=latest(done.recycled),
    )


def touches_of(
    people: People, types: Sequence[str], contract: Contract, outcomes: Outcomes | None = None
) -> Touches:
    """Find when sales touched which lead, before the moment of the people.

    Parameters
    ----------
    people : People
        As `timelines.read_people` gives them.
    types : sequence of str
        The types of events by which sales touches leads: "sales_call".
    contract : Contract
        The model's.
    outcomes : Outcomes, optional
        Of leads that are one person: who accepts, wins or loses one of them has touched the others too.

    Returns
    -------
    lead, at : int arrays
        A person's touches are touches of each of its leads.

    Raises
    ------
    UsageError
        The model knows no such type.
    """
    events = people.tables.events
    known = contract.event_types or (() if events is None else events.types)
    for name in types:
        if name not in known:
            expected = f"a type of events that the model knows ({', '.join(map(shown, known[:8]))}, ...)"
            found = f"{shown(name)!r}{nearest(name, known)}"
            raise UsageError(explain(expected, found, "name one of them"))
    person, at = _UNTOUCHED
    if events is not None and types:
        seen = np.isin(events.type, [place for place, name in enumerate(events.types) if name in types])
        seen &= events.at < people.as_of
        if events.known_at is not None:
            seen &= events.known_at <= people.as_of
        person, at = events.lead[seen], events.at[seen]
    if outcomes is not None and len(np.unique(people.row)) < len(people.row):
        meant = np.isin(outcomes.stage, [STAGES.index(stage) for stage in ("accepted", "won", "lost")])
        meant &= outcomes.at < people.as_of
        person = np.append(person, people.row[outcomes.lead[meant]])
        at = np.append(at, outcomes.at[meant])
    return _of_leads(person, at, people.row)


def _of_leads(person: Ints, at: Ints, row: Ints) -> Touches:
    """Give each lead what its person has; `row` says which person each lead is."""
    order = np.argsort(person, kind="stable")
    first, end = (person[order].searchsorted(row, side) for side in ("left", "right"))
    count = end - first
    lead = np.repeat(np.arange(len(row)), count)
    among = np.arange(len(lead)) - np.repeat(np.cumsum(count) - count, count)
    return lead, at[order][np.repeat(first, count) + among]


def _last(lead: Ints, at: Ints, n: int) -> Ints:
    last = np.full(n, NEVER)
    np.maximum.at(last, lead, at)
    return last


def _first_from(lead: Ints, at: Ints, start: Ints) -> Ints:
    """Give each lead's first moment from its own start on."""
    first = np.full(len(start), _LATER)
    counts = at >= start[lead]
    np.minimum.at(first, lead[counts], at[counts])
    first[first == _LATER] = NEVER
    return first


def _reasons(outcomes: Outcomes | None, closed: Ints, ending: Words) -> Words:
    """Give the reason of each lead's closing."""
    found = np.full(len(closed), "", object)
    if outcomes is None or outcomes.reason is None:
        return found
    stage = np.array(outcomes.stages, object)[outcomes.stage]
    own = (outcomes.at == closed[outcomes.lead]) & (stage == ending[outcomes.lead])
    own &= outcomes.reason.codes >= 0
    words = np.array([*outcomes.reason.words, ""], object)[outcomes.reason.codes]
    order = np.flatnonzero(own)[np.argsort(-outcomes.reason.codes[own])]  # of several, the first as sorted
    found[outcomes.lead[order]] = words[order]
    return found
