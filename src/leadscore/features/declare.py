"""Says what is computed: frozen features that name themselves."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, TypeAlias

from leadscore.errors import ModelError, UsageError, explain, nearest, shown
from leadscore.features.words import DEPARTMENTS, DOMAIN_KINDS, SENIORITIES

OTHER = "(other)"
FAMILIES = ("fit", "engagement", "operations")
_LONGEST = 36_525  # days in a window or a half-life: a hundred years
WEEK = 7.0  # the window of a trend where none is given
BEFORE = 4  # a trend compares its window with this many before it
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
        one_of(self.aggregate, _EVENT_AGGREGATES, "aggregate of events")
        one_of(self.family, FAMILIES, "family")
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
    together : tuple of str
        Fields that tell the same thing, such as a campaign and its source, this one's field among them: in
        explanations they are one concept. It changes no value.

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
    together: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        one_of(self.aggregate, _ATTRIBUTE_AGGREGATES, "aggregate of attributes")
        one_of(self.family, FAMILIES, "family")
        if (self.field is None) != (self.aggregate in _WITHOUT_FIELD):
            expected = "no field" if self.aggregate in _WITHOUT_FIELD else "a field"
            found = "none" if self.field is None else "one"
            raise UsageError(explain(f"{expected} with {self.aggregate}", found, "correct field"))
        if bool(self.fields) != (self.aggregate == "filled_share"):
            found = "some" if self.fields else "none"
            raise UsageError(explain("fields with filled_share, and only there", found, "correct fields"))
        if self.levels and self.aggregate in _NUMBERS:
            raise UsageError(explain(f"no levels with {self.aggregate}", "some", "remove levels"))
        if self.together and self.field not in self.together:
            expected = "the field among those it is told together with"
            raise UsageError(explain(expected, "others only", "add it to together"))
        if not self.levels:
            object.__setattr__(self, "levels", _ATTRIBUTE_AGGREGATES[self.aggregate][1])

    @property
    def name(self) -> str:
        """The column of X: the field's own name, with what is read from it where that is not its value."""
        return _ATTRIBUTE_AGGREGATES[self.aggregate][0].format(self.field)

    @property
    def concept(self) -> str:
        """What it is about: the field, or the fields told together, or the name where it has none."""
        return " and ".join(self.together) or self.field or self.aggregate

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
    if name in ("levels", "fields", "together", "types", "contents"):
        return isinstance(value, list | tuple) and all(isinstance(word, str) for word in value)
    if name in ("window", "half_life"):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str) or (value is None and name in ("event", "field"))


@lru_cache(maxsize=4096)
def _neutral(text: str) -> str:
    """Keep letters, digits and underscores; the codes of its characters where there are none, as of "/"."""
    kept = re.sub(r"\W+", "_", text).strip("_")
    return kept or "_".join(f"u{ord(character):x}" for character in text)


def one_of(value: str, known: Collection[str], what: str) -> None:
    """Refuse a word that is not known, naming the nearest that is."""
    if value not in known:
        found = f"{shown(value)!r}{nearest(str(value), list(known))}"
        raise UsageError(explain(f"one of {', '.join(known)} as {what}", found, f"correct the {what}"))
