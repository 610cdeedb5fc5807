"""One lead's event features at many moments: what each event adds, and when, instead of every pair of both.

The cells are those of the kernel. Where an event brings the same whole number at any age, it is added once at
the moment from which it counts in a bucket and taken away at the moment from which it counts in the next;
running sums then give every moment. Only what decays is computed for each pair of an event and a moment,
since each such weight is rounded.
"""

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from leadscore.data.contract import Events, Floats, Ints
from leadscore.features.kernel import (
    _LIFTS,
    _NO_NUMBER,
    LARGEST_VALUE,
    _atoms_of,
    _Cells,
    _Layout,
    _layout,
    _Part,
    compared,
)
from leadscore.features.plan import DAY, VALUE, WEIGHT, Plan

_PAIRS = 2**16  # events x moments looked at at a time: they stay next to the processor
_BLOCK = 2**8  # moments read off at a time
_NEVER = np.iinfo(np.int64).max
# Half-lives after which the largest that an event can bring is less than half a unit.
_GONE: Mapping[str, int] = {"weights": 34, "values": 58}


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
    found = compared(plan, _read_off(_layout(plan), _filled(log)).T)[:-1]
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
        return self.places(np.full(len(self), _NEVER))

    def places(self, until: Ints) -> Ints:
        """Give the bounds of events that count until a moment each."""
        until = np.maximum(until, self.since)
        older = self.at + 1 + self.plan.edges[:, None]
        bounds = np.vstack([self.since, np.minimum(np.maximum(older, self.since), until), until])
        found: Ints = self.moments.searchsorted(bounds)
        return found

    def columns(self, own: _Cells) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Give the events that matter to some cells, and the column of each."""
        column = own.term.column.take(self.atom)
        rows = np.flatnonzero(column >= 0)
        return rows, column[rows]


def _numbered(codes: NDArray[np.int32], words: tuple[str, ...]) -> NDArray[np.int32]:
    """Give equal contents one number."""
    number: dict[str, int] = {}
    return np.array([*(number.setdefault(word, len(number)) for word in words), -1], np.int32)[codes]


def _filled(log: _Log) -> Ints:
    """Give what the events add up to: the kernel's cells (rows) at each moment (column), and once more."""
    layout = _layout(log.plan)
    cells = np.zeros((layout.width, len(log.moments) + 1), np.int64)
    members = [own for group in layout.groups for own in group.members]
    members = [own for own in members if own.term.measure.has != "value" or log.value is not None]
    for own in members:
        measure = own.term.measure
        if measure.name in _STEADY and not own.term.half_life:
            rows, column = log.columns(own)
            lift = _LIFTS[measure.name](log.part, 0.0)
            _add(cells, own, column, log.bounds[:, rows], lift if isinstance(lift, int) else lift[rows])
    for own in layout.things:
        rows, column, until = _things(own, log)
        _add(cells, own, column, log.places(until)[:, rows], 1)
    np.cumsum(cells, axis=1, out=cells)
    for own in members:
        if own.term.measure.name in _EXTREME:
            cells[own.first, :-1] = _extreme(own, log)
        elif own.term.half_life:
            cells[own.first, :-1] = _decayed(own, log)
    return cells


_STEADY = ("events", "values", "valued")


def _add(cells: Ints, own: _Cells, column: NDArray[np.intp], bounds: Ints, lift: Ints | int) -> None:
    """Let each event count in each bucket from where it enters it to where it enters the next."""
    flat, buckets = cells.reshape(-1), own.term.buckets
    line = own.first.take(column) * cells.shape[1]
    steps = bounds if buckets > 1 else bounds[[0, -1]]
    for bucket in range(buckets):
        np.add.at(flat, line + steps[bucket], lift)
        np.subtract.at(flat, line + steps[bucket + 1], lift)
        line += cells.shape[1]


def _things(own: _Cells, log: _Log) -> tuple[NDArray[np.intp], NDArray[np.intp], Ints]:
    """Give the events that name a thing, their columns, and until when each is the youngest of it."""
    rows, column = log.columns(own)
    until = np.full(len(log), _NEVER)
    if own.term.measure.has:
        if log.content is None:
            return rows[:0], column[:0], until
        named = np.flatnonzero(log.content[rows] >= 0)
        rows, column = rows[named], column[named]
        thing = log.content[rows].astype(np.int64)
    else:
        thing = log.at[rows] // DAY
    key = np.unique(thing, return_inverse=True)[1] * own.term.width + column
    order = np.argsort(key, kind="stable")  # within a thing by time
    since, key = log.since[rows[order]], key[order]
    # Of the younger events of the same thing the first to be known takes an event's place. Keys that descend
    # from the back keep the least of one thing apart from that of the next.
    by_since = np.argsort(since, kind="stable")
    rank = np.empty_like(by_since)
    rank[by_since] = np.arange(len(rank))
    least = np.minimum.accumulate((key * len(key) + rank)[::-1])[::-1]
    last = np.append(np.diff(key) != 0, True)[: len(key)]
    taken = since[by_since[np.append(least[1:], 0)[: len(key)] % max(1, len(key))]]
    until[rows[order]] = np.where(last, _NEVER, taken)
    return rows, column, until


def _extreme(own: _Cells, log: _Log) -> Ints:
    """Give the least or greatest age of the events of each column."""
    merge, none = _EXTREME[own.term.measure.name]
    rows, column = log.columns(own)
    at = np.full((own.term.width, len(log.moments)), none, np.int64)
    merge.at(at, (column, log.bounds[0, rows]), log.at[rows])
    merge.accumulate(at, axis=1, out=at)
    age: Ints = np.where(at == none, own.empty, log.moments - np.where(at == none, 0, at))
    return age


# The least age is the latest time, and what stands for none.
_EXTREME: Mapping[str, tuple[np.ufunc, int]] = {
    "latest": (np.maximum, np.iinfo(np.int64).min),
    "earliest": (np.minimum, np.iinfo(np.int64).max),
}


def _decayed(own: _Cells, log: _Log) -> Ints:
    """Add up what events of each column bring after some half-lives, rounded one by one as in the kernel."""
    term, moments, half_life = own.term, log.moments, own.term.half_life
    rows, column = log.columns(own)
    if (worth := _worth(own, log)) is not None:
        valued = worth[rows] != 0
        rows, column = rows[valued], column[valued]
    found = np.zeros((len(moments), term.width), np.int64)
    if not len(rows):
        return found.T
    order = np.argsort(column, kind="stable")
    rows, column = rows[order], column[order]
    at, since = log.at[rows], log.since[rows]
    gone = round(_GONE[term.measure.name] * half_life * DAY)
    # Time from the first moment on: exact as a float, and so is every age.
    moment, happened = (
        (moments - moments[0]).astype(np.float64)[:, None],
        (at - moments[0]).astype(np.float64),
    )
    step = max(1, _PAIRS // len(rows))
    for block in (slice(start, start + step) for start in range(0, len(moments), step)):
        start, end = moments[block][[0, -1]].tolist()
        seen = np.flatnonzero((since <= end) & (at >= start - gone))
        if not len(seen):
            continue
        brought = np.subtract(moment[block], happened[seen])
        brought *= -1.0 / (half_life * DAY)
        np.exp2(brought, out=brought)
        if worth is not None:
            brought *= worth[rows[seen]]
        brought *= WEIGHT if worth is None else VALUE
        np.rint(brought, out=brought)
        late = np.flatnonzero(since[seen] > start)
        brought[:, late] *= since[seen[late]] <= moments[block, None]
        first = np.flatnonzero(np.append(True, column[seen][1:] != column[seen][:-1]))
        units = brought if worth is None else brought.astype(np.int64)
        found[block, column[seen[first]]] = np.add.reduceat(units, first, axis=1)
    return found.T


def _worth(own: _Cells, log: _Log) -> Floats | None:
    """Give each event's value within the kernel's limits; None where cells are not about values."""
    if own.term.measure.has != "value" or log.value is None:
        return None
    values = np.minimum(np.maximum(log.value, -LARGEST_VALUE), LARGEST_VALUE)
    return np.where(np.isnan(values), 0.0, values)


def _read_off(layout: _Layout, cells: Ints) -> Floats:
    """Read the numbers wanted off the cells, which are used up; the kernel does so with a moment a row."""
    found = np.empty((len(layout.order), cells.shape[1]))
    target = np.argsort(layout.order)  # where each number read goes
    for start in range(0, cells.shape[1], _BLOCK):
        block = slice(start, start + _BLOCK)
        own = np.ascontiguousarray(cells[:, block])
        for merge, younger, older in layout.running:
            merge(own[older], own[younger], out=own[older])
        first = 0
        for read in layout.reads:
            numbers = own.take(read.take, axis=0)
            if read.starts is not None:
                numbers = read.merge.reduceat(numbers, read.starts, axis=0)
            some = slice(first, first := first + len(numbers))
            found[target[some], block] = numbers / layout.per_one[some, None]
            for place in np.flatnonzero(layout.empty[some] != _NO_NUMBER).tolist():
                absent = numbers[place] == layout.empty[some][place]
                found[target[some][place], block][absent] = np.nan
    return found
