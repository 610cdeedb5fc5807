"""Chooses what is computed: the set of features that suits a project's tables."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from leadscore.data.contract import KINDS, Coded, Events, Ints, Tables
from leadscore.errors import DataError, UsageError, explain, nearest, shown
from leadscore.features.declare import FAMILIES, OTHER, AttributeFeature, EventFeature, Feature, one_of

MOST_EVENT_FEATURES = 150
MOST_CONTENTS = 8  # of one event type
MOST_LEVELS = 50  # of one category
_RARE_TYPE = 0.005  # share of leads below which an event type, or a content, is left out
_REPEATED = 1.2  # events for each lead that has any: below this, recency says it all
_RARE_LEVEL = (20, 0.002)  # a level is rare below this many leads, or below this share of them

# What is divided by what, of event types that differ in this last or first word alone: "email_click" and
# "email_open", "Mail Clicked" and "Mail Opened".
_RATIOS = (("click", "open"), ("open", "sent"), ("bounce", "sent"))
_FORMS: Mapping[str, str] = {
    form: verb
    for verb, forms in {
        "click": "click clicks clicked",
        "open": "open opens opened",
        "sent": "sent send sends",
        "bounce": "bounce bounces bounced",
    }.items()
    for form in forms.split()
}
# The kinds of column that an aggregate of attributes reads, where not any.
_READS: Mapping[str, tuple[str, ...]] = {
    "number": ("number",),
    "category": ("category", "text"),
    "seniority": ("category", "text"),
    "department": ("category", "text"),
    "email_domain_kind": ("category", "text"),
    "days_since": ("time",),
}

Codes: TypeAlias = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class Roles:
    """What a project says about its fields and events beyond their kinds.

    Parameters
    ----------
    operations : tuple of str
        Event types that are what staff and systems do; the others are the lead's own behaviour.
    ignore : tuple of str
        Event types that no feature counts.
    windows, half_lives : tuple of float
        Days, of the default features.
    titles, emails : tuple of str
        Fields that hold job titles, and e-mail addresses or their domains.
    families : mapping of str to str
        Field to family, where it is not fit: ``{"TotalVisits": "engagement"}``.
    """

    operations: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    windows: tuple[float, ...] = (7.0, 30.0, 90.0)
    half_lives: tuple[float, ...] = (14.0,)
    titles: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    families: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for family in self.families.values():
            one_of(family, FAMILIES, "family")


def declare(
    tables: Tables,
    *,
    exclude: Collection[str] = (),
    roles: Roles | None = None,
    extra: Sequence[Feature] = (),
    keep_levels: Mapping[str, Sequence[str]] | None = None,
) -> tuple[Feature, ...]:
    """Declare the features that suit a project's tables.

    Attributes: numbers, categories with rare levels pooled, days since times, job titles as seniority and
    department, e-mail domains as company or free, the lead's age and how much of the profile is filled in.
    What never varies, or for too few leads, is left out, as is text, and a category of many words of which
    the frequent ones cover less than half. Where outcomes have no time there is no clock, and nothing that
    needs one.

    Events, for each type that at least 0.5 % of leads have: its count, decayed count and recency; sum and
    mean of its values; counts of its most frequent contents; and where leads have it repeatedly, counts in
    windows, active days and distinct contents. Clicks for each open, opens and bounces for each mail sent,
    where the names of two types say so, as `email_click` and `email_open` do. Then some of these over all
    types of a family, with the trend of the last week; and count and recency of the engagement by channel,
    for channels that a type shares with others, since any other says no more than the type. Beyond 150 the
    least telling are left out: first days, contents and channels, then windows and ratios, each of the rarest
    types first. Of two whose names would be equal, the more frequent stays.

    Parameters
    ----------
    tables : Tables
        The training tables.
    exclude : collection of str
        Fields that no feature may read.
    roles : Roles, optional
    extra : sequence of Feature
        Declared by hand: always included, in place of a default of the same name. A category without levels
        is given the default ones; an event feature over all types is given those of its family.
    keep_levels : mapping of str to sequence of str, optional
        Words of fields that are never pooled, however rare; these fields are never left out.

    Returns
    -------
    tuple of Feature
        Attributes in the order of the table, then events by type; names are unique.

    Raises
    ------
    UsageError
        `extra` reads an excluded field, or names the same column twice.
    DataError
        A field named in `extra` or `roles` is not in the table.
    """
    roles = roles or Roles()
    kept = {name: tuple(words) for name, words in (keep_levels or {}).items()}
    counted = _Seen.of(tables, roles)
    _refuse(extra, tables, roles, exclude)
    asked = [_completed(feature, tables, kept, counted) for feature in extra]
    taken = {feature.name for feature in asked}
    defaults: dict[str, Feature] = {}
    candidates: list[Feature] = [*_attributes(tables, roles, kept, set(exclude)), *_of_events(counted, roles)]
    for candidate in candidates:
        if candidate.name not in taken:
            defaults.setdefault(candidate.name, candidate)
    chosen = (*defaults.values(), *asked)
    return tuple(sorted(chosen, key=lambda feature: isinstance(feature, EventFeature)))


def _refuse(extra: Sequence[Feature], tables: Tables, roles: Roles, exclude: Collection[str]) -> None:
    names = [feature.name for feature in extra]
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise UsageError(explain("features with names that differ", f"{shown(twice)!r} twice", "remove one"))
    for name in (*(name for feature in extra for name in feature.reads), *roles.titles, *roles.emails):
        if name not in tables.kinds:
            found = f"{shown(name)!r}{nearest(name, list(tables.kinds))}"
            raise DataError(explain("columns of the leads table", found, "correct the name"))
    for feature in extra:
        for name in feature.reads:
            if name in exclude:
                found = f"{shown(name)!r}, which is excluded, in {shown(feature.name)!r}"
                raise UsageError(explain("fields that may be used", found, "remove one of the two"))
            kinds = _READS.get(feature.aggregate, KINDS)
            if tables.kinds[name] not in kinds:
                found = f"a {tables.kinds[name]}"
                do = "correct what reads it, or set its kind under kinds"
                raise DataError(explain(f"a {' or '.join(kinds)} in column {shown(name)!r}", found, do))


def _completed(
    feature: Feature, tables: Tables, kept: Mapping[str, tuple[str, ...]], counted: "_Seen"
) -> Feature:
    """Fill in what a feature declared by hand leaves to the tables."""
    if isinstance(feature, EventFeature):
        types = counted.types_of(feature.family)
        open_ended = feature.event is None and feature.types is None and types
        return replace(feature, types=types) if open_ended else feature
    if feature.aggregate == "category" and not feature.levels and feature.field is not None:
        return replace(feature, levels=_levels(tables.leads[feature.field], kept.get(feature.field, ())))
    return feature


# ------------------------------------------------------------------------------------------------- attributes
def _attributes(
    tables: Tables, roles: Roles, kept: Mapping[str, tuple[str, ...]], exclude: set[str]
) -> list[AttributeFeature]:
    found: list[AttributeFeature] = []
    for name in tables.leads.column_names:
        if name not in exclude:
            found += _of_field(tables, name, roles, kept)
    read = tuple(dict.fromkeys(name for feature in found for name in feature.reads))
    if len(read) > 1 and any(0 < tables.leads[name].null_count < len(tables.leads) for name in read):
        found.append(AttributeFeature("filled_share", fields=read))
    if _has_clock(tables):
        found.append(AttributeFeature("lead_age", family=roles.families.get("lead_age", "engagement")))
    return found


def _of_field(
    tables: Tables, name: str, roles: Roles, kept: Mapping[str, tuple[str, ...]]
) -> Iterator[AttributeFeature]:
    """Declare what a field is read as; nothing when it tells leads apart in no way."""
    values, kind = tables.leads[name], tables.kinds[name]
    family = roles.families.get(name, "fit")
    if values.null_count == len(values) and name not in kept:
        return
    if name in roles.titles:
        yield AttributeFeature("seniority", name, family=family)
        yield AttributeFeature("department", name, family=family)
    if name in roles.emails:
        yield AttributeFeature("email_domain_kind", name, family=family)
    if kind == "number" and (name in kept or _varies(values)):
        yield AttributeFeature("number", name, family=family)
    if kind == "time" and _has_clock(tables):
        yield AttributeFeature("days_since", name, family=family)
    plain = kind == "category" and name not in (*roles.titles, *roles.emails) and _varies(values)
    if kind in ("category", "text") and (plain or name in kept):
        levels = _levels(values, kept.get(name, ()))
        if name in kept or _tells(levels, values):
            yield AttributeFeature("category", name, levels=levels, family=family)


def _has_clock(tables: Tables) -> bool:
    return tables.created_at is not None and tables.outcomes is not None


def _varies(values: pa.ChunkedArray) -> bool:
    return bool(pc.count_distinct(values, mode="all").as_py() > 1)


def _levels(values: pa.ChunkedArray, keep: Iterable[str]) -> tuple[str, ...]:
    """Choose the words frequent enough to stand for themselves, and those to keep, in order."""
    counts = pc.value_counts(values.drop_null())
    frequent = counts.filter(pc.greater_equal(pc.struct_field(counts, "counts"), _enough(values))).to_pylist()
    frequent.sort(key=lambda entry: (-entry["counts"], entry["values"]))
    return tuple(sorted({*(entry["values"] for entry in frequent[:MOST_LEVELS]), *keep} - {OTHER}))


def _enough(values: pa.ChunkedArray) -> float:
    return max(_RARE_LEVEL[0], _RARE_LEVEL[1] * len(values))


def _tells(levels: Sequence[str], values: pa.ChunkedArray) -> bool:
    """Whether enough leads differ from the rest, and words are few or most leads have one of the levels."""
    counts = pc.value_counts(values)
    most = pc.max(pc.struct_field(counts, "counts")).as_py() or 0
    named = pc.sum(pc.is_in(values, value_set=pa.array(levels, values.type))).as_py() or 0
    covered = len(counts) <= MOST_LEVELS or named * 2 >= len(values) - values.null_count
    return bool(levels) and len(values) - most >= _enough(values) and covered


# ----------------------------------------------------------------------------------------------------- events
class _Seen(NamedTuple):
    """What share of leads have had events: of a type, of a type with a value, of a type with a content."""

    types: dict[str, float]
    repeated: frozenset[str]  # types that leads have more than once
    valued: dict[str, float]
    contents: dict[str, dict[str, float]]
    channels: dict[str, float]  # of the engagement, where a type comes by several
    families: dict[str, str]

    @classmethod
    def of(cls, tables: Tables, roles: Roles) -> "_Seen":
        events, leads = tables.events, max(1, len(tables.lead_id))
        if events is None:
            return cls({}, frozenset(), {}, {}, {}, {})
        count = len(events.types)
        having = _leads_with(events.type, events.lead, count)
        share = having / leads
        often = np.bincount(events.type, minlength=count) >= _REPEATED * having
        types = {
            name: float(part)
            for name, part in zip(events.types, share, strict=True)
            if part > 0 and name not in roles.ignore
        }
        valued = np.zeros(count)
        if events.value is not None:
            has = np.flatnonzero(np.isfinite(events.value))
            valued = _leads_with(events.type[has], events.lead[has], count) / leads
        families = {name: "operations" if name in roles.operations else "engagement" for name in types}
        contents = _shares(events, events.content, leads)
        channels = _shares(events, events.channel, leads)
        return cls(
            types,
            frozenset(name for name, more in zip(events.types, often, strict=True) if more),
            dict(zip(events.types, valued.tolist(), strict=True)),
            {name: _most(parts) if len(parts) > 1 else {} for name, parts in contents.items()},
            _shared({name: parts for name, parts in channels.items() if families.get(name) == "engagement"}),
            families,
        )

    def types_of(self, family: str) -> tuple[str, ...]:
        return tuple(sorted(name for name, own in self.families.items() if own == family))


def _shares(events: Events, coded: Coded | None, leads: int) -> dict[str, dict[str, float]]:
    """Find what share of leads have had an event of each type with each word."""
    if coded is None:
        return {}
    words = coded.words
    has = np.flatnonzero(coded.codes >= 0)
    code = events.type[has].astype(np.int64) * len(words) + coded.codes[has]
    pairs, dense = np.unique(code, return_inverse=True)
    share = _leads_with(dense, events.lead[has], len(pairs)) / leads
    found: dict[str, dict[str, float]] = {}
    for pair, part in zip(pairs.tolist(), share.tolist(), strict=True):
        found.setdefault(events.types[pair // len(words)], {})[words[pair % len(words)]] = part
    return found


def _most(parts: Mapping[str, float]) -> dict[str, float]:
    """Keep the most frequent words."""
    most = sorted(parts.items(), key=lambda entry: (-entry[1], entry[0]))[:MOST_CONTENTS]
    return {word: part for word, part in most if part >= _RARE_TYPE}


def _shared(channels: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Keep the most frequent channels that some type does not have for itself."""
    several = [most for parts in channels.values() if len(most := _most(parts)) > 1]
    words = dict.fromkeys(word for parts in several for word in parts)
    return _most({word: max(parts.get(word, 0.0) for parts in several) for word in words})


def _leads_with(code: Codes, lead: Ints, size: int) -> Ints:
    """Count the distinct leads of each code."""
    pairs = np.sort(lead.astype(np.int64) * size + code)
    first = np.append(True, pairs[1:] != pairs[:-1]) if len(pairs) else np.zeros(0, bool)
    return np.bincount(pairs[first] % max(1, size), minlength=size)


def _of_events(seen: _Seen, roles: Roles) -> list[EventFeature]:
    """Rank all candidates by tier and by how many leads they concern; keep the first, in their own order."""
    frequent = {name: share for name, share in seen.types.items() if share >= _RARE_TYPE}
    ranked: dict[str, tuple[tuple[int, float, int], EventFeature]] = {}
    for tier, share, feature in _candidates(frequent, seen, roles):
        rank = (tier, -share, len(ranked))
        if feature.name not in ranked or rank < ranked[feature.name][0]:
            ranked[feature.name] = (rank, feature)
    order = {name: place for place, name in enumerate(ranked)}
    best = sorted(ranked.values(), key=lambda entry: entry[0])[:MOST_EVENT_FEATURES]
    return sorted((feature for _, feature in best), key=lambda feature: order[feature.name])


def _candidates(
    frequent: Mapping[str, float], seen: _Seen, roles: Roles
) -> Iterator[tuple[int, float, EventFeature]]:
    """Give (tier, share of leads, feature): tier 0 goes last when there are too many."""
    for name, share in frequent.items():
        yield from _of_type(name, share, seen, roles)
    for name, per in _ratios(frequent):
        share = min(frequent[name], frequent[per])
        yield 1, share, EventFeature("ratio", name, per=per, family=seen.families[name])
    for channel, share in seen.channels.items():
        for aggregate in ("count", "recency"):
            types = seen.types_of("engagement")
            yield 3, share, EventFeature(aggregate, None, channel=channel, types=types)
    for family in FAMILIES:
        types = seen.types_of(family)
        if len(types) > 1:
            for feature in _overall(roles):
                yield 0, 1.0, replace(feature, family=family, types=types)


def _of_type(name: str, share: float, seen: _Seen, roles: Roles) -> Iterator[tuple[int, float, EventFeature]]:
    family = seen.families[name]
    yield 0, share, EventFeature("count", name, family=family)
    for days in roles.half_lives:
        yield 0, share, EventFeature("decayed_count", name, half_life=days, family=family)
    yield 0, share, EventFeature("recency", name, family=family)
    for days in roles.windows if name in seen.repeated else ():
        yield 1, share, EventFeature("count", name, window=days, family=family)
    if seen.valued[name] >= _RARE_TYPE:
        yield 1, seen.valued[name], EventFeature("sum", name, family=family)
        yield 1, seen.valued[name], EventFeature("mean", name, family=family)
    contents = seen.contents.get(name, {})
    for word, part in contents.items():
        yield 2, part, EventFeature("count", name, content=word, family=family)
    if contents and name in seen.repeated:
        yield 3, share, EventFeature("distinct_contents", name, family=family)
    if name in seen.repeated:
        yield 3, share, EventFeature("active_days", name, family=family)


def _overall(roles: Roles) -> Iterator[EventFeature]:
    yield EventFeature("count", None)
    for days in roles.windows:
        yield EventFeature("count", None, window=days)
        yield EventFeature("active_days", None, window=days)
    for days in roles.half_lives:
        yield EventFeature("decayed_count", None, half_life=days)
    yield EventFeature("trend", None)
    yield EventFeature("recency", None)
    yield EventFeature("active_days", None)


def _ratios(types: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pair event types where the one follows from the other, by their names."""
    named: dict[tuple[str, ...], str] = {}
    for name in types:
        words = re.sub(r"(?<=[a-z])(?=[A-Z])|[\W_]+", " ", name).lower().split()
        for verb_first in ([*words[-1:], *words[:-1]], words):
            if verb_first and verb_first[0] in _FORMS:
                named.setdefault((_FORMS[verb_first[0]], *verb_first[1:]), name)
    for verb, per in _RATIOS:
        for (own, *about), name in named.items():
            if own == verb and (per, *about) in named:
                yield name, named[per, *about]
