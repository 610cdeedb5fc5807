"""Works out which cells event features need, and what is read off them: once for a set of features.

An aggregate reads cells that events add to; a plan gives features that need the same cells the same ones.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from leadscore.data.contract import Ints
from leadscore.features.declare import BEFORE, EventFeature

DAY = 86_400_000_000  # microseconds
WEIGHT = 2.0**32  # units in a weight of 1
VALUE = 2.0**20  # units in a value of 1
NEVER = np.iinfo(np.int64).max

Bools: TypeAlias = NDArray[np.bool_]


class Selection(NamedTuple):
    """The events that a number is about, by their words; None: whatever the word."""

    types: frozenset[str] | None
    contents: frozenset[str] | None
    channels: frozenset[str] | None


class Measure(NamedTuple):
    """How the cells of one kind merge, and what they mean in the end."""

    name: str  # the kernel knows by it what an event brings
    merge: np.ufunc = np.add
    empty: int = 0
    per_one: float = 1.0
    has: str | None = None  # what an event needs in order to count
    distinct: bool = False  # the numbers name things, and the cells count the distinct ones
    since: bool = False  # the cells are moments, and mean the time since


_EVENTS = Measure("events")
_VALUES = Measure("values", per_one=VALUE, has="value")
# Each aggregate's measure, and that of the number which it is divided by or compared with.
_AGGREGATES: Mapping[str, tuple[Measure, Measure | None]] = {
    "count": (_EVENTS, None),
    "decayed_count": (Measure("weights", per_one=WEIGHT), None),
    "sum": (_VALUES, None),
    "decayed_sum": (_VALUES, None),
    "mean": (_VALUES, Measure("valued", has="value")),
    "ratio": (_EVENTS, _EVENTS),
    "trend": (_EVENTS, _EVENTS),
    "recency": (Measure("latest", np.maximum, -NEVER, DAY, since=True), None),
    "first_seen": (Measure("earliest", np.minimum, NEVER, DAY, since=True), None),
    "active_days": (Measure("days", distinct=True), None),
    "distinct_contents": (Measure("contents", has="content", distinct=True), None),
}


class Term(NamedTuple):
    """The cells of one measure, and how the numbers wanted are read off them."""

    measure: Measure
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

    An atom is the finest thing told apart: events that each feature either counts or leaves out together.

    Parameters
    ----------
    width, columns : int
        How many features, and how many columns with those that others are divided by or compared with.
    types, contents, channels : mapping of str to int
        Places along the axes of `atoms`; what they do not name is at the last.
    atoms : array of shape (types + 1, contents + 1, channels + 1)
        -1 where nothing counts the event.
    edges : array
        The windows in microseconds, ascending.
    terms : tuple
        The cells.
    divided : array of shape (2, n)
        Columns that are divided, and by which.
    trends : array of shape (2, n)
        Columns that are compared with the time before, and those that hold both times together.
    """

    width: int
    columns: int
    types: Mapping[str, int]
    contents: Mapping[str, int]
    channels: Mapping[str, int]
    atoms: NDArray[np.intp]
    edges: Ints
    terms: tuple[Term, ...]
    divided: NDArray[np.intp]
    trends: NDArray[np.intp]


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
    wanted: dict[tuple[Measure, float], list[_Wanted]] = {}
    divided: list[tuple[int, int]] = []
    trends: list[tuple[int, int]] = []
    columns = len(features)
    for j, feature in enumerate(features):
        measure, other = _AGGREGATES[feature.aggregate]
        own = _Wanted(j, _selection(feature), _microseconds(feature.window))
        wanted.setdefault((measure, feature.half_life or 0.0), []).append(own)
        if other is not None:
            wanted.setdefault((other, 0.0), []).append(_beside(feature, own)._replace(target=columns))
            (trends if feature.aggregate == "trend" else divided).append((j, columns))
            columns += 1
    everything = [one for group in wanted.values() for one in group]
    edges = sorted({one.window for one in everything if one.window is not None})
    selections = tuple(dict.fromkeys(one.selection for one in everything))
    types, contents, channels = (
        _places(selection[axis] for selection in selections) for axis in range(len(Selection._fields))
    )
    atoms, holds = _atoms(selections, (types, contents, channels))
    return Plan(
        width=len(features),
        columns=columns,
        types=types,
        contents=contents,
        channels=channels,
        atoms=atoms,
        edges=np.array(edges, np.int64),
        terms=tuple(
            _term(measure, half_life, layer, holds, edges)
            for (measure, half_life), group in wanted.items()
            for layer in (_layers(group, holds) if measure.distinct else [group])
        ),
        divided=np.array(divided, np.intp).reshape(-1, 2).T,
        trends=np.array(trends, np.intp).reshape(-1, 2).T,
    )


class _Wanted(NamedTuple):
    """A number to be read off: its column in the result, the events it is about, its window."""

    target: int
    selection: Selection
    window: int | None  # microseconds


def _microseconds(days: float | None) -> int | None:
    return None if days is None else round(days * DAY)


def _selection(feature: EventFeature) -> Selection:
    types = feature.types if feature.event is None else (feature.event,)
    contents = feature.contents if feature.content is None else (feature.content,)
    channels = None if feature.channel is None else (feature.channel,)
    return Selection(*(None if words is None else frozenset(words) for words in (types, contents, channels)))


def _beside(feature: EventFeature, own: _Wanted) -> _Wanted:
    """Find the number that a feature is divided by or compared with."""
    if feature.per is not None:
        return own._replace(selection=own.selection._replace(types=frozenset([feature.per]), contents=None))
    if feature.aggregate == "trend" and own.window is not None:
        return own._replace(window=own.window * (1 + BEFORE))
    return own


def _places(named: Iterable[frozenset[str] | None]) -> dict[str, int]:
    return {word: i for i, word in enumerate(sorted({word for words in named for word in words or ()}))}


def _atoms(
    selections: Sequence[Selection], axes: Sequence[Mapping[str, int]]
) -> tuple[NDArray[np.intp], dict[Selection, Bools]]:
    """Give the atom of every combination of words, and for each selection which atoms it holds."""
    shape = [len(axis) + 1 for axis in axes]
    inside = np.zeros((len(selections), *shape), np.bool_)
    for i, selection in enumerate(selections):
        places = [
            list(range(size)) if words is None else [axis[word] for word in words]
            for words, axis, size in zip(selection, axes, shape, strict=True)
        ]
        inside[i][np.ix_(*places)] = True
    known: dict[bytes, int] = {}
    atoms = [
        known.setdefault(own.tobytes(), len(known)) if own.any() else -1
        for own in inside.reshape(len(selections), math.prod(shape)).T
    ]
    holds = [np.frombuffer(own, np.bool_) for own in known]
    by_selection = np.array(holds, np.bool_).reshape(len(known), len(selections)).T
    return np.array(atoms, np.intp).reshape(shape), dict(zip(selections, by_selection, strict=True))


def _layers(group: Iterable[_Wanted], holds: Mapping[Selection, Bools]) -> list[list[_Wanted]]:
    """Part what is wanted so that within a layer no event is in two selections: sets do not add up."""
    layers: list[dict[Selection, list[_Wanted]]] = []
    for one in group:
        own = holds[one.selection]
        for layer in layers:
            if one.selection in layer or not any((own & holds[other]).any() for other in layer):
                break
        else:
            layers.append(layer := {})
        layer.setdefault(one.selection, []).append(one)
    return [[one for same in layer.values() for one in same] for layer in layers]


def _term(
    measure: Measure,
    half_life: float,
    group: Sequence[_Wanted],
    holds: Mapping[Selection, Bools],
    edges: Sequence[int],
) -> Term:
    """Give atoms that always go together one column, and find the places that make up each target."""
    signatures = [tuple(own) for own in np.array([holds[one.selection] for one in group]).T]
    columns = {s: j for j, s in enumerate(dict.fromkeys(s for s in signatures if any(s)))}
    buckets = 1 if all(one.window is None for one in group) else len(edges) + 1
    bucket = [buckets - 1 if one.window is None else edges.index(one.window) for one in group]
    places = [[j * buckets + bucket[i] for s, j in columns.items() if s[i]] for i in range(len(group))]
    sizes = [len(own) for own in places]
    return Term(
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
