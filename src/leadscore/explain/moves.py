"""What could happen to a lead next, as far as the model reads it: events, answers, or time alone."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Final, NamedTuple, TypeAlias

from leadscore.explain.phrases import USUAL, Phrases
from leadscore.explain.wording import clean, days, noun_of, number
from leadscore.features.attributes import read_one
from leadscore.features.declare import OTHER, AttributeFeature, EventFeature, Feature
from leadscore.features.plan import DAY

Answer: TypeAlias = float | str

HOUR: Final = DAY // 24
# Recorded of where a lead came from, and nothing that it is asked.
_RECORDED: Final = r"(^|[\W_])(ad|campaign|channel|gclid|medium|referrer|source|utm)([\W_]|$)"
# Titles that say a seniority, a field of work, or both.
_RANKS: Final = (
    "chief {} officer", "VP of {}", "director of {}", "{} manager", "senior {} specialist", "{} specialist",
    "junior {} specialist", "{} intern", "{}",
)  # fmt: skip
_WORK: Final = (
    "marketing", "sales", "HR", "finance", "legal", "procurement", "support", "product", "IT", "operations",
    "engineering", "research",
)  # fmt: skip
_TITLES: Final = (
    *(rank.format(work) for rank, work in product(_RANKS, _WORK)),
    "CEO", "founder", "general manager", "office assistant", "office manager", "VP", "director", "manager",
    "senior specialist", "specialist", "junior specialist", "intern", "something else",
)  # fmt: skip
_TEXTS: Final[Mapping[str, tuple[str, ...]]] = {
    "seniority": _TITLES,
    "department": _TITLES,
    "email_domain_kind": ("name@company.example", "name@gmail.com"),
}


class Happening(NamedTuple):
    """A kind of event: its type, and its content and channel where the model tells them apart."""

    type: str
    content: str | None = None
    channel: str | None = None

    def holds(self, other: "Happening") -> bool:
        """Whether every event of the other kind is one of this kind as well."""
        return all(own in (None, part) for own, part in zip(self, other, strict=True))


@dataclass(frozen=True, slots=True)
class Move:
    """Something that could happen to a lead from a moment on; nothing but time passing where all is empty.

    Parameters
    ----------
    events : tuple of (Happening, int)
        Kinds of events, and how many of each: one an hour, the first at the moment, in this order.
    answers : tuple of (str, number or text)
        Fields that were missing, and the answer to each.
    days : float
        Days that pass without anything.
    """

    events: tuple[tuple[Happening, int], ...] = ()
    answers: tuple[tuple[str, Answer], ...] = ()
    days: float = 0.0

    @property
    def kind(self) -> str:
        """Give "events", "answer", "both", or "time" where nothing happens."""
        if self.events and self.answers:
            return "both"
        return "events" if self.events else "answer" if self.answers else "time"

    @property
    def happenings(self) -> tuple[Happening, ...]:
        """Every event, one an hour."""
        return tuple(kind for kind, count in self.events for _ in range(count))

    @property
    def hours(self) -> int:
        """Hours that the events take."""
        return sum(count for _, count in self.events)

    @property
    def steps(self) -> int:
        """How much has to happen: events and answers."""
        return self.hours + len(self.answers)

    @property
    def about(self) -> tuple[object, ...]:
        """What it is about, however many and whatever the answer."""
        return (*(kind for kind, _ in self.events), *(name for name, _ in self.answers))

    def ends(self, at: int) -> int:
        """Give the moment after it, in microseconds, where it begins at another."""
        return at + round(self.days * DAY) + self.hours * HOUR


def kinds_of_events(features: Sequence[Feature], types: Sequence[str]) -> list[Happening]:
    """Give the kinds of events that leads do themselves and features tell apart, the widest first.

    Parameters
    ----------
    features : sequence of Feature
        Those that the model reads.
    types : sequence of str
        All types of events, for features that count any.

    Examples
    --------
    >>> kinds_of_events([EventFeature("count", "page_view", content="/pricing")], ())
    [Happening(type='page_view', content=None, channel=None), \
Happening(type='page_view', content='/pricing', channel=None)]
    """
    kinds: dict[Happening, None] = {}
    internal: set[str] = set()
    for feature in features:
        if not isinstance(feature, EventFeature):
            continue
        counted = (feature.types or types) if feature.event is None else (feature.event,)
        if feature.family == "operations":
            internal.update(counted)
            continue
        content = feature.contents[0] if feature.contents else feature.content
        for name in counted:
            wide, kind = Happening(name), Happening(name, content, feature.channel)
            kinds |= dict.fromkeys((wide, kind._replace(channel=None), kind._replace(content=None), kind))
    told = [kind for kind in kinds if kind.type not in internal]
    return sorted(told, key=lambda kind: sum(part is not None for part in kind))


def fields_to_ask(features: Sequence[Feature]) -> dict[str, list[AttributeFeature]]:
    """Give the fields that leads can be asked, each with the features that read it.

    Fields of the family operations are not, nor are those whose names say that they record where a lead came
    from, such as its source or campaign.

    Parameters
    ----------
    features : sequence of Feature
        Those that the model reads.

    Examples
    --------
    >>> list(fields_to_ask([AttributeFeature("category", name) for name in ("Lead Source", "size")]))
    ['size']
    """
    fields: dict[str, list[AttributeFeature]] = {}
    for feature in features:
        if isinstance(feature, AttributeFeature) and feature.field is not None:
            fields.setdefault(feature.field, []).append(feature)
    return {
        name: reading
        for name, reading in fields.items()
        if not re.search(_RECORDED, name.lower()) and all(each.family != "operations" for each in reading)
    }


def answers_to(
    reading: Sequence[AttributeFeature], numbers: Mapping[str, Sequence[float]], as_of: int | None
) -> list[Answer]:
    """Give the answers to a field that the features which read it tell apart.

    Parameters
    ----------
    reading : sequence of AttributeFeature
        Those that read the field.
    numbers : mapping of str to sequence of float
        By the name of a feature that is a number, the numbers to try.
    as_of : int or None
        The moment, UTC microseconds; a number of days since is an answer as a time before it.

    Returns
    -------
    list of float or str
        As the leads table would say it.

    Examples
    --------
    >>> answers_to([AttributeFeature("category", "city", levels=("Oslo",))], {}, None)
    ['Oslo', '(other)']
    >>> len(answers_to([AttributeFeature("seniority", "title")], {}, None))
    9
    """
    first: dict[tuple[object, ...], Answer] = {}
    readers = [read_one(feature) for feature in reading if feature.categories is not None]
    for feature in reading:
        if feature.categories is not None:
            for word in _TEXTS.get(feature.aggregate, feature.categories):
                first.setdefault(
                    tuple(read({str(feature.field): word}, None, None) for read in readers), word
                )
        for x in numbers.get(feature.name, ()):
            if feature.aggregate == "number":
                first[x,] = float(x)
            elif as_of is not None and x > 0:
                first[x,] = iso(as_of - round(x * DAY))
    return list(first.values())


def in_words(
    move: Move, labels: Mapping[str, str], had: Collection[Happening] = (), phrases: Phrases = USUAL
) -> str:
    """Say what would happen: "one more page view of /pricing", ready to begin a sentence.

    Parameters
    ----------
    move : Move
    labels : mapping of str to str
        Fields in words.
    had : collection of Happening
        What the lead has done before, each event as it was: of that it is "one more".
    phrases : Phrases, optional
        The project's own.

    Examples
    --------
    >>> visit, size = Happening("page_view", "/pricing"), ("size", 250.0)
    >>> in_words(Move(((visit, 2),), (size,)), {"size": "Company size"}, [visit])
    '2 more page views of /pricing within a day, with 250 as company size,'
    >>> in_words(Move(((visit, 1),)), {}), in_words(Move(days=7), {})
    ('one page view of /pricing', '7 days without anything happening')
    """
    if not move.steps:
        return f"{days(move.days)} without anything happening"
    happened = " and ".join(_times(kind, count, had, phrases) for kind, count in move.events)
    answered = " and ".join(f"{said(value)} as {_lower(labels[name])}" for name, value in move.answers)
    if not answered:
        return happened + (" within a day" if move.hours > 1 else "")
    within = " within a day" if move.hours > 1 else ""
    return f"{happened}{within}, with {answered}," if happened else f"answering with {answered}"


def said(value: Answer) -> str:
    """Write an answer.

    Examples
    --------
    >>> said(250.0), said("Retail"), said("(other)")
    ('250', '“Retail”', 'one of the rarer ones')
    """
    if isinstance(value, float):
        return number(value)
    return "one of the rarer ones" if value == OTHER else f"“{clean(value)}”"


def iso(microseconds: int) -> str:
    """Write a moment, which is in UTC microseconds.

    Examples
    --------
    >>> iso(1_740_826_800_000_000)
    '2025-03-01T11:00:00+00:00'
    """
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)).isoformat()


def _times(kind: Happening, count: int, had: Collection[Happening], phrases: Phrases) -> str:
    feature = EventFeature("count", kind.type, content=kind.content, channel=kind.channel)
    noun = noun_of(feature, phrases)
    more = " more" if any(kind.holds(other) for other in had) else ""
    if noun.many is None:
        return f"{noun.one} once{more}" if count == 1 else f"{noun.one} {count}{more} times"
    return f"one{more} {noun.one}" if count == 1 else f"{count}{more} {noun.many}"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
