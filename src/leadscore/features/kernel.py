"""The one aggregation of events: the same code for a batch, for one lead and for events that come in parts.

Every aggregate is a set of cells (row x column x age bucket) that parts of the events add to in any order:
counts and sums are added, latest and earliest moments are compared, distinct things are sets. All cells are
whole numbers (weights in units of 2**-32, values in units of 2**-20), so the result is the same to the last
bit whatever the order of events and however they are split.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from leadscore.data.contract import Events, Floats, Ints
from leadscore.features.declare import EventFeature

DAY = 86_400_000_000  # microseconds
LARGEST_VALUE = 2.0**36  # a value beyond this, either way, counts as this: about 69 billion
_WEIGHT = 2.0**32  # units in a weight of 1
_VALUE = 2.0**20  # units in a value of 1
_DAYS_BACK = 2**16  # days before as_of that are told apart: about 179 years
_PART = 2**20  # events taken in at a time: what is worked on stays near the processor
_BLOCK = 2**14  # rows finished at a time
_NEVER = np.iinfo(np.int64).max

Selection: TypeAlias = tuple[frozenset[str] | None, str | None]  # types (None: every type), content
Atom: TypeAlias = tuple[str | None, str | None]  # type (None: any other), content (None: any other)


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


class _Measure(NamedTuple):
    """What the cells of one kind take from an event, how they merge, and what they mean in the end."""

    lift: Callable[[_Part, float], Ints | int]  # part, half-life: the whole number that each event brings
    merge: np.ufunc = np.add
    empty: int = 0
    per_one: float = 1.0
    has: str | None = None  # what an event needs in order to count
    distinct: bool = False  # the numbers name things, and the cells count the distinct ones
    since: bool = False  # the cells are moments, and mean the time since


def _one(_: _Part, __: float) -> int:
    return 1


def _weight(part: _Part, half_life: float) -> Floats:
    weight: Floats = np.exp2(part.age * (-1.0 / (half_life * DAY)))
    return weight


def _weights(part: _Part, half_life: float) -> Ints:
    return np.rint(_weight(part, half_life) * _WEIGHT).astype(np.int64)


def _values(part: _Part, half_life: float) -> Ints:
    assert part.value is not None  # noqa: S101  # the measure has="value"
    values = np.clip(part.value, -LARGEST_VALUE, LARGEST_VALUE)
    if half_life:
        values = values * _weight(part, half_life)
    units: Ints = np.rint(values * _VALUE).astype(np.int64)
    return units


def _moment(part: _Part, _: float) -> Ints:
    return part.at


def _days_back(part: _Part, _: float) -> Ints:
    days: Ints = np.minimum(part.as_of // DAY - part.at // DAY, _DAYS_BACK - 1)
    return days


def _contents(part: _Part, _: float) -> Ints:
    assert part.content is not None  # noqa: S101  # the measure has="content"
    return part.content.astype(np.int64)


_MEASURES: Mapping[str, _Measure] = {
    "events": _Measure(_one),
    "weights": _Measure(_weights, per_one=_WEIGHT),
    "values": _Measure(_values, per_one=_VALUE, has="value"),
    "valued": _Measure(_one, has="value"),
    "latest": _Measure(_moment, np.maximum, -_NEVER, DAY, since=True),
    "earliest": _Measure(_moment, np.minimum, _NEVER, DAY, since=True),
    "days": _Measure(_days_back, distinct=True),
    "contents": _Measure(_contents, has="content", distinct=True),
}
# Each aggregate's measure, and the one it is divided by.
_AGGREGATES: Mapping[str, tuple[str, str | None]] = {
    "count": ("events", None),
    "decayed_count": ("weights", None),
    "sum": ("values", None),
    "decayed_sum": ("values", None),
    "mean": ("values", "valued"),
    "recency": ("latest", None),
    "first_seen": ("earliest", None),
    "active_days": ("days", None),
    "distinct_contents": ("contents", None),
}


class _Term(NamedTuple):
    """The cells of one measure, and how the numbers wanted are read off them."""

    measure: _Measure
    half_life: float
    column: NDArray[np.intp]  # by atom; -1: the atom does not matter here
    partial: bool  # some atom does not matter
    width: int  # columns
    buckets: int  # 1, or those of the plan's age edges
    take: NDArray[np.intp]  # places among columns x buckets; those of each target together
    starts: NDArray[np.intp] | None  # where each target's places start; None: one place a target
    targets: NDArray[np.intp]  # columns of the result


@dataclass(frozen=True, eq=False, slots=True)
class Plan:
    """Event features, worked out once: which cells are filled, and what is read off them.

    An atom is the finest thing told apart: a type, or a type with a content that some feature names.

    Parameters
    ----------
    width : int
        How many features.
    types, contents : mapping of str to int
        Row and column in `atoms`; what they do not name is in its last row or column.
    atoms : array of shape (types + 1, contents + 1)
        -1 where nothing counts the event.
    edges : array
        The windows in microseconds, ascending.
    terms : tuple
        The cells.
    divided, divisors : array
        Columns of the result that are divided, and by which.
    """

    width: int
    types: Mapping[str, int]
    contents: Mapping[str, int]
    atoms: NDArray[np.intp]
    edges: Ints
    terms: tuple[_Term, ...]
    divided: NDArray[np.intp]
    divisors: NDArray[np.intp]


@lru_cache(maxsize=64)
def plan_of(features: tuple[EventFeature, ...]) -> Plan:
    """Work out how features are computed; the same features are worked out once.

    Parameters
    ----------
    features : tuple of EventFeature
        Their order is the order of the columns.

    Returns
    -------
    Plan

    Examples
    --------
    >>> plan_of((EventFeature("count", "page_view"), EventFeature("mean", "purchase"))).width
    2
    """
    edges = sorted({_microseconds(f.window) for f in features if f.window is not None})
    wanted: dict[tuple[str, float], list[_Wanted]] = {}
    divided: list[int] = []
    divisors: list[int] = []
    for j, feature in enumerate(features):
        dividend, divisor = _AGGREGATES[feature.aggregate]
        edge = len(edges) if feature.window is None else edges.index(_microseconds(feature.window))
        half_life = feature.half_life or 0.0
        wanted.setdefault((dividend, half_life), []).append(_Wanted(j, _selection(feature), edge))
        if divisor is not None:
            divided.append(j)
            divisors.append(len(features) + len(divisors))
            wanted.setdefault((divisor, 0.0), []).append(_Wanted(divisors[-1], _selection(feature), edge))
    selections = [_selection(feature) for feature in features]
    atoms = _atoms(selections)
    terms = [
        _term(_MEASURES[name], half_life, layer, atoms, len(edges))
        for (name, half_life), group in wanted.items()
        for layer in (_layers(group, atoms) if _MEASURES[name].distinct else [group])
    ]
    types = {name: i for i, name in enumerate(sorted({name for name, _ in atoms if name is not None}))}
    contents = {word: i for i, word in enumerate(sorted({word for _, word in atoms if word is not None}))}
    return Plan(
        width=len(features),
        types=types,
        contents=contents,
        atoms=_atom_table(atoms, types, contents),
        edges=np.array(edges, np.int64),
        terms=tuple(terms),
        divided=np.array(divided, np.intp),
        divisors=np.array(divisors, np.intp),
    )


class _Wanted(NamedTuple):
    """A number to be read off: its column in the result, the events it is about, the place of its window."""

    target: int
    selection: Selection
    edge: int


def _microseconds(days: float) -> int:
    return round(days * DAY)


def _selection(feature: EventFeature) -> Selection:
    if feature.event is not None:
        return frozenset([feature.event]), feature.content
    return (None if feature.types is None else frozenset(feature.types)), None


def _atoms(selections: Iterable[Selection]) -> list[Atom]:
    types = {name for named, _ in selections for name in named or ()}
    pairs = {(name, word) for named, word in selections if word is not None for name in named or ()}
    atoms: list[Atom] = [*sorted(pairs), *((name, None) for name in sorted(types))]
    return [*atoms, (None, None)] if any(named is None for named, _ in selections) else atoms


def _holds(selection: Selection, atom: Atom) -> bool:
    (types, content), (name, word) = selection, atom
    return (types is None or name in types) and (content is None or content == word)


def _atom_table(
    atoms: Sequence[Atom], types: Mapping[str, int], contents: Mapping[str, int]
) -> NDArray[np.intp]:
    place = {atom: i for i, atom in enumerate(atoms)}
    table = np.empty((len(types) + 1, len(contents) + 1), np.intp)
    for i, name in enumerate([*types, None]):
        for j, word in enumerate([*contents, None]):
            table[i, j] = place.get((name, word), place.get((name, None), -1))
    return table


def _layers(group: Iterable[_Wanted], atoms: Sequence[Atom]) -> list[list[_Wanted]]:
    """Part what is wanted so that within a layer no event is in two selections: sets do not add up."""
    layers: list[tuple[dict[Selection, frozenset[Atom]], list[_Wanted]]] = []
    for one in group:
        own = frozenset(atom for atom in atoms if _holds(one.selection, atom))
        for selections, layer in layers:
            if one.selection in selections or all(own.isdisjoint(other) for other in selections.values()):
                selections[one.selection] = own
                layer.append(one)
                break
        else:
            layers.append(({one.selection: own}, [one]))
    return [layer for _, layer in layers]


def _term(
    measure: _Measure, half_life: float, group: Sequence[_Wanted], atoms: Sequence[Atom], edges: int
) -> _Term:
    """Give atoms that always go together one column, and find the places that make up each target."""
    signatures = [tuple(_holds(one.selection, atom) for one in group) for atom in atoms]
    columns = {s: j for j, s in enumerate(dict.fromkeys(s for s in signatures if any(s)))}
    buckets = edges + 1 if any(one.edge < edges for one in group) else 1
    places = [
        [j * buckets + min(one.edge, buckets - 1) for s, j in columns.items() if s[i]]
        for i, one in enumerate(group)
    ]
    sizes = [len(own) for own in places]
    return _Term(
        measure=measure,
        half_life=half_life,
        column=np.array([columns.get(s, -1) for s in signatures], np.intp),
        partial=not all(s in columns for s in signatures),
        width=len(columns),
        buckets=buckets,
        take=np.array([place for own in places for place in own], np.intp),
        starts=None if max(sizes) == 1 else np.cumsum([0, *sizes[:-1]], dtype=np.intp),
        targets=np.array([one.target for one in group], np.intp),
    )


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
    types = np.array([plan.types.get(name, -1) for name in events.types], np.intp)
    if events.content is None or not plan.contents:
        by_type = plan.atoms[types, -1]
        return lambda part: by_type[events.type[part]]
    codes, words = events.content
    contents = np.array([*(plan.contents.get(word, -1) for word in words), -1], np.intp)
    return lambda part: plan.atoms[types[events.type[part]], contents[codes[part]]]


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
        numbers = term.measure.lift(own, term.half_life)
        code = own.row * term.width + term.column[own.atom]
        if term.measure.distinct:
            code = code * span + numbers
        if term.buckets > 1:
            code = code * term.buckets + plan.edges.searchsorted(own.age)
        if term.measure.distinct:
            keys.append(_distinct(code))
        else:
            term.measure.merge.at(cells, code, numbers)


def _needed(term: _Term, part: _Part) -> _Part | None:
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


def _count_things(term: _Term, batches: list[Ints], span: int, rows: int) -> Ints:
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
    result = np.empty((rows, plan.width + len(plan.divisors)))
    for term, cells, keys, span in zip(plan.terms, *state, strict=True):
        filled = _count_things(term, keys, span, rows) if term.measure.distinct else cells
        filled = filled.reshape(rows, term.width, term.buckets)
        for start in range(0, rows, _BLOCK):
            block = slice(start, start + _BLOCK)
            result[block, term.targets] = _read_off(term, filled[block], as_of[block])
    if len(plan.divisors):
        with np.errstate(invalid="ignore"):  # 0 / 0: nothing to take the mean of
            result[:, plan.divided] /= result[:, plan.divisors]
    return result[:, : plan.width]


def _read_off(term: _Term, cells: Ints, as_of: Ints) -> Floats:
    if term.buckets > 1:
        cells = np.cumsum(cells, axis=2)  # a window holds all younger events too
    numbers: Ints = cells.reshape(len(cells), -1)[:, term.take]
    if term.starts is not None:
        numbers = term.measure.merge.reduceat(numbers, term.starts, axis=1)
    if not term.measure.since:
        return numbers / term.measure.per_one
    return np.where(numbers == term.measure.empty, np.nan, (as_of[:, None] - numbers) / term.measure.per_one)
