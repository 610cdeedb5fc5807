"""The one aggregation of events: the same code for a batch, for one lead and for events that come in parts.

Every aggregate is a set of cells (row x column x age bucket) that parts of the events add to in any order:
counts and sums are added, least and greatest ages are compared, distinct things are sets. All cells are
whole numbers (weights in units of 2**-32, values in units of 2**-20), so the result is the same to the last
bit whatever the order of events and however they are split. Sums of values hold up to 2**43, about nine
million million, a cell.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from leadscore.data.contract import Coded, Events, Floats, Ints
from leadscore.errors import UsageError, explain
from leadscore.features.declare import BEFORE
from leadscore.features.plan import DAY, VALUE, WEIGHT, Plan, Term

LARGEST_VALUE = 2.0**36  # a value beyond this, either way, counts as this: about 69 billion
_DAYS_BACK = 2**16  # days before as_of that are told apart: about 179 years
_THINGS = 2**31  # contents that are told apart
_PART = 2**14  # events taken in at a time: what is worked on stays next to the processor
_BLOCK = 2**9  # rows finished at a time
_LOOSE = 2**18  # names of distinct things that may lie unsorted
_LINE = 8  # cells in a cache line
_NO_NUMBER = np.iinfo(np.int64).min
_NO_BUCKET = np.zeros(1, np.int8)

Bucket: TypeAlias = NDArray[np.integer[Any]]


# -------------------------------------------------------------------------------------- what an event brings
class _Part(NamedTuple):
    """Some events that count, as parallel arrays."""

    row: Ints
    atom: NDArray[np.intp]
    age: Ints
    at: Ints
    value: Floats | None
    content: NDArray[np.int32] | None

    def only(self, chosen: NDArray[np.bool_]) -> "_Part":
        places = chosen.nonzero()[0]
        return _Part(*(None if array is None else array.take(places) for array in self))  # type: ignore[arg-type]


def _one(_: _Part, __: float) -> int:
    return 1


def _weight(part: _Part, half_life: float) -> Floats:
    weight: Floats = np.exp2(part.age * (-1.0 / (half_life * DAY)))
    return weight


def _weights(part: _Part, half_life: float) -> Ints:
    return np.rint(_weight(part, half_life) * WEIGHT).astype(np.int64)


def _values(part: _Part, half_life: float) -> Ints:
    assert part.value is not None  # noqa: S101  # the measure has="value"
    values = np.minimum(np.maximum(part.value, -LARGEST_VALUE), LARGEST_VALUE)
    np.putmask(values, np.isnan(values), 0.0)
    if half_life:
        values *= _weight(part, half_life)
    units: Ints = np.rint(values * VALUE).astype(np.int64)
    return units


def _valued(part: _Part, _: float) -> Ints:
    assert part.value is not None  # noqa: S101  # the measure has="value"
    valued: Ints = np.isfinite(part.value).astype(np.int64)
    return valued


def _age(part: _Part, _: float) -> Ints:
    return part.age


# The whole number that an event brings to the cells of a measure, given the half-life.
_LIFTS: Mapping[str, Callable[[_Part, float], Ints | int]] = {
    "events": _one,
    "weights": _weights,
    "values": _values,
    "valued": _valued,
    "latest": _age,
    "earliest": _age,
}
# How cells merge and what an untouched one holds, where they do not add up.
_MERGES: Mapping[str, tuple[np.ufunc, int]] = {
    "latest": (np.minimum, np.iinfo(np.int64).max),  # least age
    "earliest": (np.maximum, 0),  # greatest age; ages are above 0
}


# ---------------------------------------------------------------------------------------- where the cells are
class _Cells(NamedTuple):
    """The cells of one term within those of a row: side by side with those of other terms, by column."""

    term: Term
    merge: np.ufunc
    empty: int
    first: NDArray[np.intp]  # by column of the term: its first cell
    offset: int  # how far that is from the first cell of all terms' column

    def every(self) -> NDArray[np.intp]:
        """Give all cells, in the order of columns and buckets."""
        return (self.first[:, None] + np.arange(self.term.buckets)).reshape(-1)

    def places(self) -> NDArray[np.intp]:
        """Give the cells to be read off."""
        return self.every()[self.term.take]


class _Group(NamedTuple):
    """Terms whose cells lie side by side: what an event adds to is next to each other."""

    place: NDArray[np.intp]  # by atom: the first cell of its column
    members: tuple[_Cells, ...]


class _Read(NamedTuple):
    """Cells that are read off; with `starts`, those of each number together, to be merged."""

    take: NDArray[np.intp]
    merge: np.ufunc
    starts: NDArray[np.intp] | None


class _Layout(NamedTuple):
    """Where in a row of cells everything is, and what is read off."""

    width: int
    groups: tuple[_Group, ...]
    things: tuple[_Cells, ...]  # of distinct things, filled in when finishing
    merges: tuple[tuple[np.ufunc, slice], ...]  # which cells merge in which way
    running: tuple[tuple[np.ufunc, slice, slice], ...]  # a window holds all younger events too
    blank: Ints  # the cells of a row at first
    reads: tuple[_Read, ...]
    per_one: Floats  # of the numbers read, in their order
    empty: Ints
    order: NDArray[np.intp]  # of the result's columns among them
    every: bool  # no atom is without meaning


@lru_cache(maxsize=64)
def _layout(plan: Plan) -> _Layout:
    width = 0
    groups: list[_Group] = []
    things: list[_Cells] = []
    slices: list[tuple[np.ufunc, list[slice]]] = []
    for column, members in _grouped([term for term in plan.terms if not term.measure.distinct]):
        # What does not matter goes to cells of its own, past the last column, that nothing reads.
        count = int(column.max()) + 1
        stride = _padded(sum(term.buckets for term, _ in members))
        cells: list[_Cells] = []
        offset = 0
        for term, places in members:
            cells.append(_cells(term, width + offset + places * stride, offset))
            starts = range(width + offset, width + offset + term.buckets)
            slices.append((cells[-1].merge, [slice(k, width + count * stride, stride) for k in starts]))
            offset += term.buckets
        groups.append(_Group(width + np.where(column < 0, count, column) * stride, tuple(cells)))
        width = _whole(width + (count + 1) * stride)
    for term in plan.terms:
        if term.measure.distinct:
            end = width + term.width * term.buckets
            things.append(_cells(term, np.arange(width, end, term.buckets), 0))
            starts = range(width, width + term.buckets)
            slices.append((np.add, [slice(k, end, term.buckets) for k in starts]))
            width = _whole(end)
    everything = [*(cells for group in groups for cells in group.members), *things]
    blank = np.zeros((1, width), np.int64)
    for own in everything:
        blank[0, own.every()] = own.empty
    reads, targets, per_one, empty = _reads(everything)
    return _Layout(
        width=width,
        groups=tuple(groups),
        things=tuple(things),
        merges=tuple((merge, own) for merge, buckets in slices for own in buckets),
        running=tuple((merge, *pair) for merge, buckets in slices for pair in pairwise(buckets)),
        blank=blank,
        reads=reads,
        per_one=per_one,
        empty=empty,
        order=np.argsort(targets),
        every=bool((plan.atoms >= 0).all()),
    )


def _grouped(terms: list[Term]) -> list[tuple[NDArray[np.intp], list[tuple[Term, NDArray[np.intp]]]]]:
    """Put terms together that tell apart the same atoms, among those that matter to them.

    Gives for each group the column by atom, and its terms with the group's column of each of theirs.
    """
    groups: list[tuple[NDArray[np.intp], list[tuple[Term, NDArray[np.intp]]]]] = []
    for term in sorted(terms, key=lambda term: -term.width):
        for column, members in groups:
            places = _within(term, column)
            if places is not None:
                members.append((term, places))
                break
        else:
            groups.append((term.column, [(term, np.arange(term.width))]))
    return groups


def _within(term: Term, column: NDArray[np.intp]) -> NDArray[np.intp] | None:
    """Find the one column of a group that stands for each column of a term; None: it cannot be."""
    pairs = set(zip(term.column.tolist(), column.tolist(), strict=True))
    own = sorted(pair for pair in pairs if pair[0] >= 0)
    taken = {place for _, place in own}
    others = {place for column, place in pairs if column < 0}
    if len(own) != term.width or len(taken) != term.width or -1 in taken or taken & others:
        return None
    return np.array([place for _, place in own], np.intp)


def _padded(stride: int) -> int:
    """Let no column cross the end of a cache line that would fit into one."""
    return 1 << (stride - 1).bit_length() if stride <= _LINE else stride


def _whole(width: int) -> int:
    return -(-width // _LINE) * _LINE


def _aligned(rows: int, width: int) -> Ints:
    """Make room that starts at a cache line."""
    if rows < _BLOCK:
        return np.empty((rows, width), np.int64)
    room = np.empty(rows * width + _LINE, np.int64)
    skipped = -(room.ctypes.data // room.itemsize) % _LINE
    return room[skipped : skipped + rows * width].reshape(rows, width)


def _cells(term: Term, first: NDArray[np.intp], offset: int) -> _Cells:
    return _Cells(term, *_MERGES.get(term.measure.name, (np.add, 0)), first, offset)


def _reads(everything: list[_Cells]) -> tuple[tuple[_Read, ...], Ints, Floats, Ints]:
    """Read what is one cell at once, and what is several by how they merge."""
    found: dict[str, list[tuple[NDArray[np.intp], int, float, int, np.ufunc]]] = {"": []}
    for cells in everything:
        term = cells.term
        starts = np.arange(len(term.targets)) if term.starts is None else term.starts
        absent = cells.empty if term.measure.since else _NO_NUMBER
        for own, target in zip(np.split(cells.places(), starts[1:]), term.targets.tolist(), strict=True):
            several = "" if len(own) == 1 else cells.merge.__name__
            found.setdefault(several, []).append((own, target, term.measure.per_one, absent, cells.merge))
    kept = {key: numbers for key, numbers in found.items() if numbers}
    reads = tuple(
        _Read(
            np.concatenate([own for own, *_ in numbers]),
            numbers[0][4],
            np.cumsum([0, *(len(own) for own, *_ in numbers[:-1])], dtype=np.intp) if several else None,
        )
        for several, numbers in kept.items()
    )
    flat = [number for numbers in kept.values() for number in numbers]
    return (
        reads,
        np.array([target for _, target, *_ in flat], np.int64),
        np.array([per_one for _, _, per_one, *_ in flat]),
        np.array([absent for *_, absent, _ in flat], np.int64),
    )


# -------------------------------------------------------------------------------------------------- the state
def aggregate(plan: Plan, events: Events, as_of: Ints, row_of: Ints | None = None) -> Floats:
    """Compute event features as of a moment for each row.

    An event counts when it occurred before the row's moment and was known at it.

    Parameters
    ----------
    plan : Plan
        From `plan_of`.
    events : Events
    as_of : int array of shape (rows,)
        Each row's moment, UTC microseconds.
    row_of : int array, optional
        The row of each lead, by `Events.lead`; -1: none. None: lead i is row i.

    Returns
    -------
    array of shape (rows, features), float64
        The same to the last bit whatever the order of events and whoever else is in the batch.

    Examples
    --------
    >>> from leadscore.features.declare import EventFeature
    >>> from leadscore.features.plan import plan_of
    >>> one_day = np.array([DAY])
    >>> events = Events(lead=np.array([0]), at=np.array([0]), type=np.array([0], np.int32), types=("call",))
    >>> plan = plan_of((EventFeature("count", "call"), EventFeature("recency", "call")))
    >>> aggregate(plan, events, one_day).tolist()
    [[1.0, 1.0]]
    """
    return State(plan, as_of, row_of).lift(events).finish()


class State:
    """What events add up to, for rows that each have a moment.

    Events may be taken in in any order and in any parts, also by several states that are merged afterwards:
    the numbers in the end are the same to the last bit.

    Parameters
    ----------
    plan : Plan
        From `plan_of`.
    as_of : int array of shape (rows,)
        Each row's moment, UTC microseconds.
    row_of : int array, optional
        The row of each lead, by `Events.lead`; -1: none. None: lead i is row i.

    Examples
    --------
    >>> from leadscore.features.declare import EventFeature
    >>> from leadscore.features.plan import plan_of
    >>> plan = plan_of((EventFeature("count", "call"),))
    >>> call = Events(lead=np.array([0]), at=np.array([0]), type=np.array([0], np.int32), types=("call",))
    >>> morning, evening = (State(plan, np.array([DAY])).lift(call) for _ in range(2))
    >>> morning.merge(evening).finish().tolist()
    [[2.0]]
    """

    __slots__ = ("_cells", "_keys", "_layout", "_moment", "_words", "as_of", "plan", "row_of")

    def __init__(self, plan: Plan, as_of: Ints, row_of: Ints | None = None) -> None:
        self.plan = plan
        self.as_of = as_of
        self.row_of = row_of
        self._layout = _layout(plan)
        # Where all rows have the same moment, it need not be looked up for each event.
        same = len(as_of) == 1 or (len(as_of) > 1 and bool((as_of == as_of[0]).all()))
        self._moment = as_of[0] if same else None
        self._cells = _aligned(len(as_of), self._layout.width)
        self._cells[:] = self._layout.blank
        self._keys = tuple(_Keys() for _ in self._layout.things)
        self._words: dict[str, int] = {}

    def lift(self, events: Events) -> Self:
        """Take in events."""
        if len(self.as_of):
            atom_of, content_of = _atoms_of(self.plan, events), self._contents_of(events.content)
            for part in _batches(len(events.at), _PART):
                self._take_in(self._known(events, part, atom_of(part), content_of(part)))
        return self

    def merge(self, other: "State") -> Self:
        """Take in what another state of the same plan and moments has taken in.

        Raises
        ------
        UsageError
            The other state is of another plan or of other moments.
        """
        if other.plan is not self.plan or not np.array_equal(other.as_of, self.as_of):
            raise UsageError(explain("states of the same plan and moments", "others", "merge equal ones"))
        for merge, own in self._layout.merges:
            merge(self._cells[:, own], other._cells[:, own], out=self._cells[:, own])
        renamed = np.array([self._word(word) for word in other._words], np.int64)
        for cells, own_keys, keys in zip(self._layout.things, self._keys, other._keys, strict=True):
            own_keys.add(_renamed(keys.settled(), cells.term, renamed))
        return self

    def finish(self) -> Floats:
        """Compute the features; more events may be taken in afterwards.

        Returns
        -------
        array of shape (rows, features), float64
            In Fortran order.
        """
        layout, plan = self._layout, self.plan
        result = np.empty((len(self.as_of), plan.columns), order="F")
        for block in _batches(len(self.as_of), _BLOCK):
            cells = self._cells[block].copy()
            for own, keys in zip(layout.things, self._keys, strict=True):
                _count_things(own, keys.settled(), cells, block)
            result[block] = _read_off(layout, cells)
        return compared(plan, result)

    def _known(
        self, events: Events, part: slice, atom: NDArray[np.intp], content: NDArray[np.int32] | None
    ) -> _Part:
        """Keep the events that count: here, and only here, is decided what was known as of a moment."""
        row = events.lead[part] if self.row_of is None else self.row_of.take(events.lead[part])
        at = events.at[part]
        moment = self.as_of.take(row) if self._moment is None else self._moment
        counts = at < moment
        if self.row_of is not None:
            counts &= row >= 0
        if not self._layout.every:
            counts &= atom >= 0
        if events.known_at is not None:
            counts &= events.known_at[part] <= moment
        value = None if events.value is None else events.value[part]
        found = _Part(row, atom, moment - at, at, value, content)
        return found if np.count_nonzero(counts) == len(counts) else found.only(counts)

    def _take_in(self, part: _Part) -> None:
        """Add some events to the cells."""
        line, flat = part.row * self._layout.width, self._cells.reshape(-1)
        bucket = _buckets(self.plan.edges, part.age)
        for group in self._layout.groups:
            code = line + group.place.take(part.atom)
            in_bucket: NDArray[np.intp] | None = None
            for cells in group.members:
                term, measure = cells.term, cells.term.measure
                if measure.has == "value" and part.value is None:
                    continue
                if term.buckets > 1:
                    own = in_bucket = code + bucket if in_bucket is None else in_bucket
                else:
                    own = code
                cells.merge.at(flat[cells.offset :], own, _LIFTS[measure.name](part, term.half_life))
        for cells, keys in zip(self._layout.things, self._keys, strict=True):
            keys.add(_named(cells.term, part, self.as_of, bucket))

    def _contents_of(self, content: Coded | None) -> Callable[[slice], NDArray[np.int32] | None]:
        """Name contents as this state does, whatever the codes of these events."""
        if content is None or not any(cells.term.measure.has == "content" for cells in self._layout.things):
            return lambda _: None
        codes, words = content
        names = np.array([*(self._word(word) for word in words), -1], np.int32)
        return lambda part: names.take(codes[part])

    def _word(self, word: str) -> int:
        return self._words.setdefault(word, len(self._words))


def compared(plan: Plan, result: Floats) -> Floats:
    """Divide and compare the columns that are, and leave out what they were divided by or compared with."""
    if plan.trends.size:
        shorter, longer = plan.trends
        result[:, shorter] += (result[:, shorter] - result[:, longer]) / BEFORE
    if plan.divided.size:
        divided, divisors = plan.divided
        result[:, divided] /= np.where(result[:, divisors] == 0, np.nan, result[:, divisors])
    return result[:, : plan.width]


def _batches(size: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, size)) for start in range(0, size, step))


def taken(events: Events, places: Ints, lead: Ints) -> Events:
    """Give events by their places, as those of other leads; of their words only what features read."""
    channel, content = (
        coded and Coded(coded.codes.take(places), coded.words) for coded in (events.channel, events.content)
    )
    return Events(
        lead=lead,
        at=events.at.take(places),
        type=events.type.take(places),
        types=events.types,
        known_at=None if events.known_at is None else events.known_at.take(places),
        channel=channel,
        content=content,
        value=None if events.value is None else events.value.take(places),
    )


def _atoms_of(plan: Plan, events: Events) -> Callable[[slice], NDArray[np.intp]]:
    """Translate the words of these events once, and each event's words to its atom in parts."""
    if not (plan.contents or plan.channels):
        by_type = _atoms_by_type(plan, events.types)
        return lambda part: by_type.take(events.type[part])
    table: NDArray[np.intp] = plan.atoms
    axes = [(np.array([plan.types.get(name, -1) for name in events.types], np.intp), events.type)]
    for coded, places in ((events.content, plan.contents), (events.channel, plan.channels)):
        if coded is None or not places:
            table = table.take([-1], axis=len(axes)).squeeze(len(axes))
        else:
            axes.append(
                (np.array([*(places.get(word, -1) for word in coded.words), -1], np.intp), coded.codes)
            )
    return lambda part: table[tuple(place[codes[part]] for place, codes in axes)]


@lru_cache(maxsize=256)
def _atoms_by_type(plan: Plan, types: tuple[str, ...]) -> NDArray[np.intp]:
    return plan.atoms[:, -1, -1][[plan.types.get(name, -1) for name in types]]


def _buckets(edges: Ints, age: Ints) -> Bucket:
    """Find how many edges each age is beyond."""
    if not len(edges):
        return _NO_BUCKET
    if len(age) < 1000 or len(edges) > 8:
        found: Bucket = edges.searchsorted(age)
        return found
    bucket: Bucket = (age > edges[0]).view(np.int8)
    for edge in edges[1:]:
        bucket += (age > edge).view(np.int8)
    return bucket


# -------------------------------------------------------------------------------------------- distinct things
class _Keys:
    """A growing set of whole numbers: what lies loose is sorted in when there is as much as is settled."""

    __slots__ = ("_loose", "_loose_size", "_settled")

    def __init__(self) -> None:
        self._settled: Ints = np.empty(0, np.int64)
        self._loose: list[Ints] = []
        self._loose_size = 0

    def add(self, keys: Ints) -> None:
        self._loose.append(keys)
        self._loose_size += len(keys)
        if self._loose_size > max(_LOOSE, len(self._settled)):
            self.settled()

    def settled(self) -> Ints:
        """Give all, sorted, each once."""
        if self._loose:
            keys = np.concatenate([self._settled, *self._loose])
            keys.sort()
            self._settled = keys[_first(keys)]
            self._loose, self._loose_size = [], 0
        return self._settled


def _first(ordered: Ints) -> NDArray[np.bool_]:
    """Where each value comes for the first time."""
    first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return first


def _span(term: Term) -> int:
    return _THINGS if term.measure.has else _DAYS_BACK


def _named(term: Term, part: _Part, as_of: Ints, bucket: Bucket) -> Ints:
    """Name the thing of each event within its row and column, and the bucket of its age."""
    column = term.column.take(part.atom)
    chosen = column >= 0
    if term.measure.has:
        if part.content is None:
            return np.empty(0, np.int64)
        chosen &= part.content >= 0
        number = part.content
    else:
        number = np.minimum(as_of.take(part.row) // DAY - part.at // DAY, _DAYS_BACK - 1)
    key: Ints = (part.row * term.width + column) * _span(term) + number
    if term.buckets > 1:
        key = key * term.buckets + bucket
    return key[chosen]


def _renamed(keys: Ints, term: Term, names: Ints) -> Ints:
    """Translate the contents within keys."""
    if not term.measure.has or not len(keys):
        return keys
    thing, bucket = np.divmod(keys, term.buckets)
    cell, content = np.divmod(thing, _THINGS)
    renamed: Ints = (cell * _THINGS + names[content]) * term.buckets + bucket
    return renamed


def _count_things(own: _Cells, keys: Ints, cells: Ints, block: slice) -> None:
    """Count each thing of a block of rows once, in the bucket of its youngest event."""
    term = own.term
    per_row = term.width * _span(term) * term.buckets
    first, last = keys.searchsorted([block.start * per_row, block.stop * per_row])
    thing, bucket = np.divmod(keys[first:last] - block.start * per_row, term.buckets)
    once = _first(thing)
    row, column = np.divmod(thing[once] // _span(term), term.width)
    place = row * cells.shape[1] + own.first[column] + bucket[once]
    np.add.at(cells.reshape(-1), place, 1)


# ------------------------------------------------------------------------------------------------ the result
def _read_off(layout: _Layout, cells: Ints) -> Floats:
    """Read the numbers wanted off the cells, which are used up."""
    for merge, younger, older in layout.running:
        merge(cells[:, older], cells[:, younger], out=cells[:, older])
    numbers = [
        cells.take(read.take, axis=1)
        if read.starts is None
        else read.merge.reduceat(cells.take(read.take, axis=1), read.starts, axis=1)
        for read in layout.reads
    ]
    if not numbers:
        return np.empty((len(cells), 0))
    joined = numbers[0] if len(numbers) == 1 else np.concatenate(numbers, axis=1)
    found: Floats = joined / layout.per_one
    np.putmask(found, joined == layout.empty, np.nan)
    return found.take(layout.order, axis=1)
