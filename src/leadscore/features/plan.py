"""Works out which cells event features need, and what is read off them: once for a set of features.

An aggregate reads cells that events add to; a plan gives features that need the same cells the same ones.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from leadscore.data.contract import Ints
from leadscore.features.declare import EventFeature

DAY = 86_400_000_000  # microseconds
WEIGHT = 2.0**32  # units in a weight of 1
VALUE = 2.0**20  # units in a value of 1
NEVER = np.iinfo(np.int64).max

Selection: TypeAlias = tuple[frozenset[str] | None, str | None]  # types (None: every type), content
Atom: TypeAlias = tuple[str | None, str | None]  # type (None: any other), content (None: any other)


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
# Each aggregate's measure, and the one it is divided by.
_AGGREGATES: Mapping[str, tuple[Measure, Measure | None]] = {
    "count": (_EVENTS, None),
    "decayed_count": (Measure("weights", per_one=WEIGHT), None),
    "sum": (_VALUES, None),
    "decayed_sum": (_VALUES, None),
    "mean": (_VALUES, Measure("valued", has="value")),
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
    terms: tuple[Term, ...]
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
    wanted: dict[tuple[Measure, float], list[_Wanted]] = {}
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
        _term(measure, half_life, layer, atoms, len(edges))
        for (measure, half_life), group in wanted.items()
        for layer in (_layers(group, atoms) if measure.distinct else [group])
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
    measure: Measure, half_life: float, group: Sequence[_Wanted], atoms: Sequence[Atom], edges: int
) -> Term:
    """Give atoms that always go together one column, and find the places that make up each target."""
    signatures = [tuple(_holds(one.selection, atom) for one in group) for atom in atoms]
    columns = {s: j for j, s in enumerate(dict.fromkeys(s for s in signatures if any(s)))}
    buckets = edges + 1 if any(one.edge < edges for one in group) else 1
    places = [
        [j * buckets + min(one.edge, buckets - 1) for s, j in columns.items() if s[i]]
        for i, one in enumerate(group)
    ]
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
