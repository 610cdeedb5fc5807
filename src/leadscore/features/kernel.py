"""The one aggregation of events: the same code for a batch, for one lead and for events that come in parts.

Every aggregate is a set of cells (row x column x age bucket) that parts of the events add to in any order:
counts and sums are added, latest and earliest moments are compared, distinct things are sets. All cells are
whole numbers (weights in units of 2**-32, values in units of 2**-20), so the result is the same to the last
bit whatever the order of events and however they are split.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from leadscore.data.contract import Events, Floats, Ints
from leadscore.features.declare import BEFORE
from leadscore.features.plan import DAY, VALUE, WEIGHT, Plan, Term

LARGEST_VALUE = 2.0**36  # a value beyond this, either way, counts as this: about 69 billion
_DAYS_BACK = 2**16  # days before as_of that are told apart: about 179 years
_PART = 2**20  # events taken in at a time: what is worked on stays near the processor
_BLOCK = 2**14  # rows finished at a time


class _Part(NamedTuple):
    """Some events that count, as parallel arrays."""

    row: Ints
    atom: NDArray[np.intp]
    at: Ints
    as_of: Ints
    age: Ints
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
    values = np.clip(part.value, -LARGEST_VALUE, LARGEST_VALUE)
    if half_life:
        values = values * _weight(part, half_life)
    units: Ints = np.rint(values * VALUE).astype(np.int64)
    return units


def _moment(part: _Part, _: float) -> Ints:
    return part.at


def _days_back(part: _Part, _: float) -> Ints:
    days: Ints = np.minimum(part.as_of // DAY - part.at // DAY, _DAYS_BACK - 1)
    return days


def _contents(part: _Part, _: float) -> Ints:
    assert part.content is not None  # noqa: S101  # the measure has="content"
    return part.content.astype(np.int64)


# The whole number that an event brings to the cells of a measure, given the half-life.
_LIFTS: Mapping[str, Callable[[_Part, float], Ints | int]] = {
    "events": _one,
    "weights": _weights,
    "values": _values,
    "valued": _one,
    "latest": _moment,
    "earliest": _moment,
    "days": _days_back,
    "contents": _contents,
}


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
    state = _State.empty(plan, len(as_of), events)
    if len(as_of):
        atom_of = _atoms_of(plan, events)
        for start in range(0, len(events.at), _PART):
            part = slice(start, start + _PART)
            _take_in(plan, state, _known(events, part, atom_of(part), as_of, row_of))
    return _finish(plan, state, as_of)


class _State(NamedTuple):
    """What has been taken in so far, by term: cells, and for distinct things their sorted keys in batches."""

    cells: list[Ints]
    keys: list[list[Ints]]
    spans: list[int]  # a number above all that name things

    @classmethod
    def empty(cls, plan: Plan, rows: int, events: Events) -> "_State":
        words = 0 if events.content is None else len(events.content.words)
        sizes = [0 if term.measure.distinct else rows * term.width * term.buckets for term in plan.terms]
        return cls(
            [np.full(n, t.measure.empty, np.int64) for t, n in zip(plan.terms, sizes, strict=True)],
            [[] for _ in plan.terms],
            [_DAYS_BACK if term.measure.has is None else max(1, words) for term in plan.terms],
        )


def _atoms_of(plan: Plan, events: Events) -> Callable[[slice], NDArray[np.intp]]:
    """Translate the words of these events once, and each event's words to its atom in parts."""
    table: NDArray[np.intp] = plan.atoms
    axes = [(np.array([plan.types.get(name, -1) for name in events.types], np.intp), events.type)]
    for coded, places in ((events.content, plan.contents), (events.channel, plan.channels)):
        if coded is None or not places:
            table = table.take([-1], axis=len(axes)).squeeze(len(axes))
        else:
            axes.append(
                (np.array([*(places.get(word, -1) for word in coded.words), -1], np.intp), coded.codes)
            )
    if len(axes) == 1:
        by_type = table[axes[0][0]]
        return lambda part: by_type[events.type[part]]
    return lambda part: table[tuple(place[codes[part]] for place, codes in axes)]


def _known(events: Events, part: slice, atom: NDArray[np.intp], as_of: Ints, row_of: Ints | None) -> _Part:
    """Keep the events that count: here, and only here, is decided what was known as of a moment."""
    row = events.lead[part] if row_of is None else row_of[events.lead[part]]
    at, moment = events.at[part], as_of[row]
    counts = (at < moment) & (row >= 0) & (atom >= 0)
    if events.known_at is not None:
        counts &= events.known_at[part] <= moment
    return _Part(
        row=row,
        atom=atom,
        at=at,
        as_of=moment,
        age=moment - at,
        value=None if events.value is None else events.value[part],
        content=None if events.content is None else events.content.codes[part],
    ).only(counts)


def _take_in(plan: Plan, state: _State, part: _Part) -> None:
    """Add some events to the state."""
    for term, cells, keys, span in zip(plan.terms, *state, strict=True):
        own = _needed(term, part)
        if own is None:
            continue
        numbers = _LIFTS[term.measure.name](own, term.half_life)
        code = own.row * term.width + term.column[own.atom]
        if term.measure.distinct:
            code = code * span + numbers
        if term.buckets > 1:
            code = code * term.buckets + plan.edges.searchsorted(own.age)
        if term.measure.distinct:
            keys.append(_distinct(code))
        else:
            term.measure.merge.at(cells, code, numbers)


def _needed(term: Term, part: _Part) -> _Part | None:
    """Keep the events that this term is about; None: there cannot be any."""
    if term.measure.has is not None:
        needed = getattr(part, term.measure.has)
        if needed is None:
            return None
        part = part.only(~np.isnan(needed) if term.measure.has == "value" else needed >= 0)
    return part.only(term.column[part.atom] >= 0) if term.partial else part


def _distinct(keys: Ints) -> Ints:
    """Sort, and keep each once: linear where sorted batches follow each other.

    NumPy's own `unique` is many times slower on large codes.
    """
    keys = np.sort(keys, kind="stable")
    return keys[_first(keys)]


def _first(ordered: Ints) -> NDArray[np.bool_]:
    """Where each value comes for the first time."""
    first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return first


def _count_things(term: Term, batches: list[Ints], span: int, rows: int) -> Ints:
    """Count each thing once, in the bucket of its youngest event."""
    key = batches[0] if len(batches) == 1 else _distinct(np.concatenate([np.empty(0, np.int64), *batches]))
    cell = key // span
    if term.buckets > 1:
        thing, bucket = np.divmod(key, term.buckets)
        first = _first(thing)
        cell = thing[first] // span * term.buckets + bucket[first]
    return np.bincount(cell, minlength=rows * term.width * term.buckets)


def _finish(plan: Plan, state: _State, as_of: Ints) -> Floats:
    """Read the numbers wanted off the cells."""
    rows = len(as_of)
    result = np.empty((rows, plan.columns))
    for term, cells, keys, span in zip(plan.terms, *state, strict=True):
        filled = _count_things(term, keys, span, rows) if term.measure.distinct else cells
        filled = filled.reshape(rows, term.width, term.buckets)
        for start in range(0, rows, _BLOCK):
            block = slice(start, start + _BLOCK)
            result[block, term.targets] = _read_off(term, filled[block], as_of[block])
    compared, longer = plan.trends
    result[:, compared] += (result[:, compared] - result[:, longer]) / BEFORE
    divided, divisors = plan.divided
    divisor = np.where(result[:, divisors] == 0, np.nan, result[:, divisors])
    result[:, divided] /= divisor
    return result[:, : plan.width]


def _read_off(term: Term, cells: Ints, as_of: Ints) -> Floats:
    if term.buckets > 1:
        cells = np.cumsum(cells, axis=2)  # a window holds all younger events too
    numbers: Ints = cells.reshape(len(cells), -1)[:, term.take]
    if term.starts is not None:
        numbers = term.measure.merge.reduceat(numbers, term.starts, axis=1)
    if not term.measure.since:
        return numbers / term.measure.per_one
    return np.where(numbers == term.measure.empty, np.nan, (as_of[:, None] - numbers) / term.measure.per_one)
