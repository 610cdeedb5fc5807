"""Says what is computed: frozen features that name themselves, and the set that suits a project's tables."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from leadscore.data.contract import KINDS, Coded, Events, Ints, Tables
from leadscore.errors import DataError, ModelError, UsageError, explain, nearest, shown
from leadscore.features.words import DEPARTMENTS, DOMAIN_KINDS, SENIORITIES

OTHER = "(other)"
FAMILIES = ("fit", "engagement", "operations")
MOST_EVENT_FEATURES = 150
MOST_CONTENTS = 8  # of one event type
MOST_LEVELS = 50  # of one category
_LONGEST = 36_525  # days in a window or a half-life: a hundred years
WEEK = 7.0  # the window of a trend where none is given
BEFORE = 4  # a trend compares its window with this many before it
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

# What each aggregate of events may be narrowed by, and how its name reads.
_EVENT_AGGREGATES: Mapping[str, tuple[str, str]] = {
    "count": ("window", "count"),
    "decayed_count": ("half_life", "decayed"),
    "sum": ("window", "sum"),
    "decayed_sum": ("half_life", "decayed_sum"),
    "mean": ("window", "mean"),
    "ratio": ("window", ""),
    "trend": ("window", "trend"),
    "recency": ("", "recency"),
    "first_seen": ("", "first_seen"),
    "active_days": ("window", "active_days"),
    "distinct_contents": ("window", "distinct_contents"),
}
# How the name of each aggregate of attributes reads, and its levels where they are the same for everybody.
_ATTRIBUTE_AGGREGATES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "number": ("{}", ()),
    "category": ("{}", ()),
    "seniority": ("{}_seniority", SENIORITIES),
    "department": ("{}_department", DEPARTMENTS),
    "email_domain_kind": ("{}_domain_kind", DOMAIN_KINDS),
    "days_since": ("days_since_{}", ()),
    "lead_age": ("lead_age", ()),
    "filled_share": ("filled_share", ()),
}
_NUMBERS = ("number", "days_since", "lead_age", "filled_share")
# The kinds of column that an aggregate of attributes reads, where not any.
_READS: Mapping[str, tuple[str, ...]] = {
    "number": ("number",),
    "category": ("category", "text"),
    "seniority": ("category", "text"),
    "department": ("category", "text"),
    "email_domain_kind": ("category", "text"),
    "days_since": ("time",),
}
_WITHOUT_FIELD = ("lead_age", "filled_share")


@dataclass(frozen=True, slots=True)
class EventFeature:
    """One number that a lead's events add up to, as of a moment.

    Only events before the moment and known at it count. `count`, `decayed_count`, `trend`, `active_days` and
    `distinct_contents` are 0 without an event, as are `sum` and `decayed_sum` without a value; `mean`,
    `ratio`, `recency` and `first_seen` are missing.

    Parameters
    ----------
    aggregate : str
        ``count``, ``decayed_count`` (each event weighs 2 ** (-age / half_life)), ``sum``, ``decayed_sum``
        and ``mean`` of the events' values, ``ratio`` (events for each event of the type `per`), ``trend``
        (events in the window, less the average of the four such windows before it), ``recency`` and
        ``first_seen`` (days since the last and the first event), ``active_days`` (distinct calendar days in
        UTC) or ``distinct_contents``.
    event : str or None
        The event type; None: every type of the family.
    window : float, optional
        Days: events of age up to and including it; None: all history, and a week for a trend.
    half_life : float, optional
        Days; the decayed aggregates need it, the others take none.
    content : str, optional
        Only events of the type with this content.
    family : str
        "engagement" or "operations".
    types : tuple of str, optional
        The types that count where `event` is None; None: all. `declare` fills in those of the family, so
        that a type first seen after training changes nothing.
    contents : tuple of str, optional
        Only events of the type with one of these contents; in any order.
    label : str, optional
        What `contents` are together, such as "pricing pages".
    channel : str, optional
        Only events that came this way; in a ratio, those that are counted and those they are divided by.
    per : str, optional
        The event type that a ratio divides by; no other aggregate has one.

    Raises
    ------
    UsageError
        The parts do not fit together.

    Examples
    --------
    >>> EventFeature("count", "page_view", window=30).name
    'page_view_count_30d'
    >>> EventFeature("decayed_count", "email_click", half_life=14).name
    'email_click_decayed_14d'
    >>> EventFeature("ratio", "email_click", per="email_open", channel="newsletter").name
    'email_click_via_newsletter_per_email_open'
    """

    aggregate: str
    event: str | None
    window: float | None = None
    half_life: float | None = None
    content: str | None = None
    family: str = "engagement"
    types: tuple[str, ...] | None = None
    contents: tuple[str, ...] | None = None
    label: str | None = None
    channel: str | None = None
    per: str | None = None

    def __post_init__(self) -> None:
        _one_of(self.aggregate, _EVENT_AGGREGATES, "aggregate of events")
        _one_of(self.family, FAMILIES, "family")
        if self.aggregate == "trend" and self.window is None:
            object.__setattr__(self, "window", WEEK)
        if self.contents is not None:
            object.__setattr__(self, "contents", tuple(sorted(set(self.contents))))
        self._refuse_days()
        for name in ("content", "contents", "per"):
            if self.event is None and getattr(self, name) is not None:
                raise UsageError(explain(f"an event type beside {name}", "none", "name the event type"))
        if (self.contents is None) != (not self.label) or self.contents == ():
            do = "set both, or content where it is only one"
            raise UsageError(explain("contents and the label they have together", "one of the two", do))
        if self.content is not None and self.contents is not None:
            raise UsageError(explain("either content or contents", "both", "remove one of them"))
        if (self.per is None) != (self.aggregate != "ratio"):
            found = "none" if self.per is None else f"it with {self.aggregate}"
            do = "set per to the event type to divide by" if self.per is None else "remove it"
            raise UsageError(explain("per with a ratio, and only there", found, do))
        if self.event is not None and self.types is not None:
            raise UsageError(explain("either event or types", "both", "remove one of them"))
        if self.types is not None and not self.types:
            raise UsageError(explain("at least one of types", "none", "name the event types"))

    def _refuse_days(self) -> None:
        takes, _ = _EVENT_AGGREGATES[self.aggregate]
        for name in ("window", "half_life"):
            days = getattr(self, name)
            if days is not None and name != takes:
                raise UsageError(
                    explain(
                        f"no {name} with {self.aggregate}", f"{days:g} days", "remove it or change aggregate"
                    )
                )
            if days is not None and not 0 < days <= _LONGEST:
                expected = f"{name} in days above 0, at most {_LONGEST:,}"
                raise UsageError(explain(expected, f"{days:g}", f"correct {name}"))
        if takes == "half_life" and self.half_life is None:
            raise UsageError(explain(f"a half_life with {self.aggregate}", "none", "set half_life in days"))

    @property
    def name(self) -> str:
        """The column of X: letters, digits and underscores."""
        days = self.window or self.half_life
        parts = [
            self.event or self.family,
            self.content or self.label,
            self.channel and f"via {self.channel}",
            _EVENT_AGGREGATES[self.aggregate][1],
            self.per and f"per {self.per}",
            days and f"{days:g}d",
        ]
        return "_".join(_neutral(part) for part in parts if part)

    @property
    def concept(self) -> str:
        """What it is about: the event type or the family, and the content and channel it is narrowed to."""
        what, content = self.event or self.family, self.content or self.label
        what = f"{what}: {content}" if content else what
        return f"{what} via {self.channel}" if self.channel else what

    @property
    def categories(self) -> None:
        """None: a number."""
        return None

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of the leads table that it reads: none."""
        return ()


@dataclass(frozen=True, slots=True)
class AttributeFeature:
    """One number or category read from a lead's attributes.

    Parameters
    ----------
    aggregate : str
        ``number`` and ``category`` as they are; ``seniority`` and ``department`` of a job title;
        ``email_domain_kind`` (company or free) of an e-mail address or domain; ``days_since`` a time, missing
        while it lies ahead; ``lead_age``, days since the lead came in; ``filled_share`` of `fields`.
    field : str or None
        The column of the leads table; None for ``lead_age`` and ``filled_share``.
    levels : tuple of str
        The words of a category that stand for themselves; every other word is "(other)", and missing stays
        missing. Job titles and e-mail domains have levels of their own where none are given.
    family : str
        "fit", "engagement" or "operations".
    fields : tuple of str
        The columns that ``filled_share`` looks at.

    Raises
    ------
    UsageError
        The parts do not fit together.

    Examples
    --------
    >>> feature = AttributeFeature("category", "source", levels=("Ads", "Referral"))
    >>> feature.name, feature.categories
    ('source', ('Ads', 'Referral', '(other)'))
    """

    aggregate: str
    field: str | None = None
    levels: tuple[str, ...] = ()
    family: str = "fit"
    fields: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _one_of(self.aggregate, _ATTRIBUTE_AGGREGATES, "aggregate of attributes")
        _one_of(self.family, FAMILIES, "family")
        if (self.field is None) != (self.aggregate in _WITHOUT_FIELD):
            expected = "no field" if self.aggregate in _WITHOUT_FIELD else "a field"
            found = "none" if self.field is None else "one"
            raise UsageError(explain(f"{expected} with {self.aggregate}", found, "correct field"))
        if bool(self.fields) != (self.aggregate == "filled_share"):
            found = "some" if self.fields else "none"
            raise UsageError(explain("fields with filled_share, and only there", found, "correct fields"))
        if self.levels and self.aggregate in _NUMBERS:
            raise UsageError(explain(f"no levels with {self.aggregate}", "some", "remove levels"))
        if not self.levels:
            object.__setattr__(self, "levels", _ATTRIBUTE_AGGREGATES[self.aggregate][1])

    @property
    def name(self) -> str:
        """The column of X: the field's own name, with what is read from it where that is not its value."""
        return _ATTRIBUTE_AGGREGATES[self.aggregate][0].format(self.field)

    @property
    def concept(self) -> str:
        """What it is about: the field, or the name where it has none."""
        return self.field or self.aggregate

    @property
    def categories(self) -> tuple[str, ...] | None:
        """The fixed categories of the column of X, "(other)" last; None for a number."""
        if self.aggregate in _NUMBERS:
            return None
        return (*(level for level in self.levels if level != OTHER), OTHER)

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of the leads table that it reads."""
        return self.fields if self.field is None else (self.field,)


Codes: TypeAlias = NDArray[np.integer[Any]]
Feature: TypeAlias = EventFeature | AttributeFeature
_KINDS: Mapping[str, type[EventFeature] | type[AttributeFeature]] = {
    "event": EventFeature,
    "attribute": AttributeFeature,
}


def to_dict(feature: Feature) -> dict[str, Any]:
    """Give a feature as plain values that JSON can hold; what is left at its default is left out.

    Examples
    --------
    >>> to_dict(EventFeature("count", "page_view", window=30))
    {'of': 'event', 'aggregate': 'count', 'event': 'page_view', 'window': 30}
    """
    kind = "event" if isinstance(feature, EventFeature) else "attribute"
    values = {f.name: (getattr(feature, f.name), f.default) for f in fields(feature)}
    given = {name: value for name, (value, default) in values.items() if value != default}
    return {"of": kind, **{k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}}


def from_dict(values: Mapping[str, Any]) -> Feature:
    """Read what `to_dict` gave.

    Raises
    ------
    ModelError
        It is not what `to_dict` gives.

    Examples
    --------
    >>> from_dict({"of": "event", "aggregate": "recency", "event": "webinar"})  # doctest: +ELLIPSIS
    EventFeature(aggregate='recency', event='webinar', ...)
    """
    try:
        given = dict(values)
        kind = _KINDS[given.pop("of")]
        if kind is EventFeature:
            given.setdefault("event", None)
        if all(_fits(name, value) for name, value in given.items()):
            known: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
            return kind(**known)
        found = "a value of another type"
    except (KeyError, TypeError, ValueError) as error:
        found = f"{type(error).__name__}: {shown(error)}"
    except UsageError as error:
        found = str(error)
    raise ModelError(explain("a feature as it was saved", found, "save the model again or restore its files"))


def _fits(name: str, value: object) -> bool:
    if name in ("levels", "fields", "types", "contents"):
        return isinstance(value, list | tuple) and all(isinstance(word, str) for word in value)
    if name in ("window", "half_life"):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str) or (value is None and name in ("event", "field"))


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
            _one_of(family, FAMILIES, "family")


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


# ------------------------------------------------------------------------------------------------------ words
@lru_cache(maxsize=4096)
def _neutral(text: str) -> str:
    """Keep letters, digits and underscores; the codes of its characters where there are none, as of "/"."""
    kept = re.sub(r"\W+", "_", text).strip("_")
    return kept or "_".join(f"u{ord(character):x}" for character in text)


def _one_of(value: str, known: Collection[str], what: str) -> None:
    if value not in known:
        found = f"{shown(value)!r}{nearest(str(value), list(known))}"
        raise UsageError(explain(f"one of {', '.join(known)} as {what}", found, f"correct the {what}"))
