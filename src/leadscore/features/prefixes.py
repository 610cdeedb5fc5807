"""One lead's event features at many moments: what each event adds, and when, instead of every pair of both.

The numbers are those of the kernel. Where an event brings the same whole number at any age, it is added once
at the moment from which it counts and taken away at the one from which its window has passed; a running sum
then gives every moment. Only what decays is computed for each pair of an event and a moment, since each such
weight is rounded.
"""

import math
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from leadscore.data.contract import Events, Floats, Ints
from leadscore.features.kernel import _LIFTS, LARGEST_VALUE, _atoms_of, _Part, compared
from leadscore.features.plan import DAY, VALUE, WEIGHT, Plan, Term

_PAIRS = 2**17  # events x moments looked at at a time: they stay next to the processor
_NEVER = np.iinfo(np.int64).max
# Half-lives after which the largest that an event can bring is less than half a unit.
_GONE: Mapping[str, int] = {"weights": 34, "values": 58}
_SPAN = 64  # half-lives between events that are looked at together, so that weights are precise
_SLACK = 2.0**-44  # beyond how much weights may be off
# The least age is that of the latest time, and what stands for none.
_EXTREME: Mapping[str, tuple[np.ufunc, int]] = {
    "latest": (np.maximum, np.iinfo(np.int64).min),
    "earliest": (np.minimum, _NEVER),
}
_PER_ONE: Mapping[str, float] = {"values": VALUE, "weights": WEIGHT, "latest": DAY, "earliest": DAY}


def prefixes(plan: Plan, events: Events, moments: Ints) -> Floats:
    """Compute one lead's event features as of many moments: its timeline.

    Parameters
    ----------
    plan : Plan
        From `plan_of`.
    events : Events
        Of one lead.
    moments : int array of shape (moments,)
        UTC microseconds, in any order.

    Returns
    -------
    array of shape (moments, features), float64
        Each row to the last bit as `aggregate` gives it for its moment.

    Examples
    --------
    >>> from leadscore.features.declare import EventFeature
    >>> from leadscore.features.plan import plan_of
    >>> at = np.array([0, DAY])
    >>> events = Events(lead=np.array([0, 0]), at=at, type=np.zeros(2, np.int32), types=("call",))
    >>> prefixes(plan_of((EventFeature("count", "call"),)), events, at + 1).tolist()
    [[1.0], [2.0]]
    """
    order = np.argsort(moments, kind="stable")
    log = _Log(plan, events, moments[order])
    found = np.zeros((len(moments), plan.columns), order="F")
    for term, reads in zip(plan.terms, _reads_of(plan), strict=True):
        if log.value is None and term.measure.has == "value":
            continue
        fill = _extremes if term.measure.name in _EXTREME else _decayed if term.half_life else _counted
        fill(term, reads, log, found)
    found = compared(plan, found)
    if (order[1:] < order[:-1]).any():
        found[order] = found.copy()
    return found


class _Log:
    """The events that count at some of the moments, and from when on each does."""

    def __init__(self, plan: Plan, events: Events, moments: Ints) -> None:
        atom = _atoms_of(plan, events)(slice(None))
        since = events.at + 1 if events.known_at is None else np.maximum(events.at + 1, events.known_at)
        rows = np.flatnonzero((atom >= 0) & (since <= moments.max(initial=-_NEVER)))
        rows = rows[np.argsort(events.at[rows], kind="stable")]
        self.plan, self.moments = plan, moments
        self.atom, self.at, self.since = atom[rows], events.at[rows], since[rows]
        self.value = None if events.value is None else events.value[rows]
        self.content = None if events.content is None else _numbered(*events.content)[rows]

    def __len__(self) -> int:
        return len(self.at)

    @cached_property
    def part(self) -> _Part:
        """The events as the kernel's lifts read them; of no age."""
        return _Part(self.at, self.atom, self.at, self.at, self.value, self.content)

    @cached_property
    def bounds(self) -> Ints:
        """From which moment on each event (column) is in each bucket (row), and at last in none."""
        older = np.maximum(self.at + 1 + self.plan.edges[:, None], self.since)
        never = np.full(len(self), len(self.moments))
        return np.vstack([self.moments.searchsorted(np.vstack([self.since, older])), never])


def _numbered(codes: NDArray[np.int32], words: tuple[str, ...]) -> NDArray[np.int32]:
    """Give equal contents one number."""
    number: dict[str, int] = {}
    return np.array([*(number.setdefault(word, len(number)) for word in words), -1], np.int32)[codes]


class _Reads(NamedTuple):
    """What is read off a term's columns: which of them add up, and the columns of the result."""

    sets: tuple[NDArray[np.bool_], ...]  # by column of the term; what does not matter is at the last
    targets: tuple[tuple[int, int, int], ...]  # a column of the result, its bucket and its set

    def rows(self, column: NDArray[np.intp]) -> list[NDArray[np.intp]]:
        """Find the events of each set."""
        return [np.flatnonzero(inside[column]) for inside in self.sets]


@lru_cache(maxsize=64)
def _reads_of(plan: Plan) -> tuple[_Reads, ...]:
    return tuple(map(_reads, plan.terms))


def _reads(term: Term) -> _Reads:
    starts = np.arange(len(term.targets)) if term.starts is None else term.starts
    number: dict[bytes, int] = {}
    sets: list[NDArray[np.bool_]] = []
    targets: list[tuple[int, int, int]] = []
    for target, places in zip(term.targets.tolist(), np.split(term.take, starts[1:]), strict=True):
        columns, buckets = np.divmod(places, term.buckets)
        key = columns.tobytes()
        if key not in number:
            number[key] = len(sets)
            sets.append(np.isin(np.arange(term.width + 1), columns))
        targets.append((target, int(buckets[0]), number[key]))
    return _Reads(tuple(sets), tuple(targets))


def _counted(term: Term, reads: _Reads, log: _Log, found: Floats) -> None:
    """Let each event count from the moment at which it is known until its window has passed."""
    column, bounds = term.column.take(log.atom), log.bounds
    if term.measure.distinct:
        column, until = _things(term, log)
        bounds = np.minimum(bounds, np.maximum(until, bounds[0]))
    lift = 1 if term.measure.distinct else _LIFTS[term.measure.name](log.part, 0.0)
    size, per_one = len(log.moments) + 1, _PER_ONE.get(term.measure.name, 1.0)
    rows = reads.rows(column)
    begun = [_added(bounds[0], own, lift, size) for own in rows]
    for target, bucket, own in reads.targets:
        last = bounds[-1 if bucket == term.buckets - 1 else bucket + 1]
        added = begun[own] - _added(last, rows[own], lift, size)
        np.divide(np.cumsum(added, out=added)[:-1], per_one, out=found[:, target])


def _added(place: Ints, rows: NDArray[np.intp], lift: Ints | int, size: int) -> Ints:
    """Add up what some events bring at their places."""
    if isinstance(lift, int):
        return np.bincount(place[rows], minlength=size)
    added = np.zeros(size, np.int64)
    np.add.at(added, place[rows], lift[rows])
    return added


def _things(term: Term, log: _Log) -> tuple[NDArray[np.intp], Ints]:
    """Give each event's column, -1 where it names no thing, and from which moment on a younger one stands."""
    column, until = term.column.take(log.atom), log.bounds[-1].copy()
    if term.measure.has:
        thing = np.full(len(log), -1, np.int64) if log.content is None else log.content.astype(np.int64)
        column = np.where(thing < 0, -1, column)
    else:
        thing = log.at // DAY
    rows = np.flatnonzero(column >= 0)
    if not len(rows):
        return column, until
    key = (thing[rows] - thing[rows].min()) * term.width + column[rows]
    order = np.argsort(key, kind="stable")  # within a thing by time
    since, key = log.since[rows[order]], key[order]
    # Of the younger events of the same thing the first to be known takes an event's place. Keys that descend
    # from the back keep the least of one thing apart from that of the next.
    by_since = np.argsort(since, kind="stable")
    rank = np.empty_like(by_since)
    rank[by_since] = np.arange(len(rank))
    least = np.minimum.accumulate((key * len(key) + rank)[::-1])[::-1]
    again = np.flatnonzero(key[1:] == key[:-1])
    until[rows[order[again]]] = log.bounds[0, rows[order[by_since[least[again + 1] % len(key)]]]]
    return column, until


def _extremes(term: Term, reads: _Reads, log: _Log, found: Floats) -> None:
    """Give the least or greatest age of events."""
    merge, none = _EXTREME[term.measure.name]
    rows, size, since = reads.rows(term.column.take(log.atom)), len(log.moments), log.bounds[0]
    for target, _, own in reads.targets:
        some = rows[own]
        first = since[some].min(initial=size)
        at = np.full(size, none, np.int64)
        merge.at(at, since[some], log.at[some])
        found[:first, target] = np.nan
        age = log.moments[first:] - merge.accumulate(at[first:])
        np.divide(age, DAY, out=found[first:, target])


def _decayed(term: Term, reads: _Reads, log: _Log, found: Floats) -> None:
    """Add up what events bring after some half-lives, rounded one by one as in the kernel.

    Moments a microsecond apart are looked at together: where a little more than what an event brings at the
    first of them and a little less than at the last round to the same number, it brings that at all of them.
    """
    moments, per_one, rate = log.moments, _PER_ONE[term.measure.name], -1.0 / (term.half_life * DAY)
    column, worth = term.column.take(log.atom), np.ones(len(log))
    if term.measure.has == "value" and log.value is not None:
        worth = np.minimum(np.maximum(log.value, -LARGEST_VALUE), LARGEST_VALUE)
        column = np.where(np.isnan(worth), -1, column)
    first = np.flatnonzero(np.append(True, moments[1:] - moments[:-1] > 1)[: len(moments)])
    size = np.diff(first, append=len(moments))
    start, end = moments[first], moments[first + size - 1]
    since = end.searchsorted(log.since)
    less = (1 - 2 * _SLACK) * math.exp2(rate * int((end - start).max(initial=0)))
    sums, common = (np.zeros((term.width, len(own)), np.int64) for own in (moments, start))
    for rows in _parts(column, log.at, max(1, _PAIRS // max(1, len(start))), -_SPAN / rate):
        own, at, begun = column[rows], log.at[rows], since[rows]
        gone = int(at.max()) + round(_GONE[term.measure.name] * term.half_life * DAY)
        block = slice(int(begun.min()), int(start.searchsorted(gone, side="right")))
        if block.start >= block.stop:
            continue
        origin = start[block.start]
        weight = np.exp2((start[block] - origin) * rate) * (1 + _SLACK)
        brought = np.multiply.outer(weight, np.exp2((origin - at) * rate) * worth[rows] * per_one)
        least = brought * less
        unsure = np.rint(brought, out=brought) != np.rint(least, out=least)
        late = np.arange(block.start, min(block.stop, int(begun.max()) + 1))[:, None]
        brought[: len(late)] *= begun <= late
        here = np.flatnonzero(begun < block.stop)
        unsure[begun[here] - block.start, here] = True
        group, event = np.divmod(np.flatnonzero(unsure), len(rows))
        brought[group, event] = 0
        edges = np.flatnonzero(np.append(True, own[1:] != own[:-1]))
        # Whole weights are exact as floats; values may be larger.
        units = brought if term.measure.has is None else brought.astype(np.int64)
        common[own[edges], block] += np.add.reduceat(units, edges, axis=1).T.astype(np.int64)
        times = size[group + block.start]
        event, skipped = event.repeat(times), np.cumsum(times) - times
        moment = (first[group + block.start] - skipped).repeat(times) + np.arange(len(event))
        exact = np.rint(np.exp2((moments[moment] - at[event]) * rate) * worth[rows[event]] * per_one)
        exact *= log.since[rows[event]] <= moments[moment]
        np.add.at(sums, (own[event], moment), exact.astype(np.int64))
    sums += common.repeat(size, axis=1)
    for target, _, some in reads.targets:
        columns = np.flatnonzero(reads.sets[some])
        np.divide(sums[columns].sum(axis=0), per_one, out=found[:, target])


def _parts(column: NDArray[np.intp], at: Ints, most: int, span: float) -> Iterator[NDArray[np.intp]]:
    """Give events that have a column, in parts that follow each other in time, and by column within each."""
    rows = np.flatnonzero(column >= 0)
    while len(rows):
        part = rows[:most]
        part = part[: at[part].searchsorted(at[part[0]] + span, side="right")]
        yield part[np.argsort(column[part], kind="stable")]
        rows = rows[len(part) :]
