"""How a project speaks of its own fields and events: words that it gives in place of the usual ones."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, TypeVar

from leadscore.errors import ModelError, UsageError, explain, nearest, shown
from leadscore.features.declare import AttributeFeature, Feature, one_of

PLACEHOLDERS: Final = ("value", "typical", "window")
LONGEST: Final = 200  # letters of a phrase
_MARK: Final = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class EventPhrase:
    """How events are spoken of: those of a type, or only those with a content.

    Parameters
    ----------
    event : str
        The type.
    one, many : str
        "visit to the pricing page", "visits to the pricing page".
    content : str, optional

    Raises
    ------
    UsageError
        A word is empty or very long.
    """

    event: str
    one: str
    many: str
    content: str | None = None

    def __post_init__(self) -> None:
        _refuse_length(self.one, self.many)

    @property
    def about(self) -> tuple[str, ...]:
        """What it speaks of; no two phrases of a project are about the same."""
        return ("event", self.event) if self.content is None else ("event", self.event, self.content)


@dataclass(frozen=True, slots=True)
class ValuePhrase:
    """How the value of a field, or of one feature, is spoken of.

    In a template, ``{value}`` and ``{typical}`` are the lead's value and the typical lead's, and ``{window}``
    is "the last 7 days". Where one of them is not known, the usual sentence stands in.

    Parameters
    ----------
    name : str
        The field's or the feature's.
    kind : {"field", "feature"}
    read_as : str, optional
        Only what is read out of the field as this: seniority, department or email_domain_kind.
    label : str, optional
        The field in a few words.
    says : str, optional
        A template with ``{value}``: a reason names what the lead's value is.
    missing : str, optional
        A template for where there is no value, or there are no events.

    Raises
    ------
    UsageError
        A template has another placeholder, or has none for the value.

    Examples
    --------
    >>> ValuePhrase("company_size", says="{value} employees; a typical lead has {typical}").about
    ('field', 'company_size')
    """

    name: str
    kind: str = "field"
    read_as: str | None = None
    label: str | None = None
    says: str | None = None
    missing: str | None = None

    def __post_init__(self) -> None:
        one_of(self.kind, ("field", "feature"), "kind of phrase")
        _refuse_length(self.label, self.says, self.missing)
        for template in (self.says, self.missing):
            _refuse_placeholders(template or "")
        if self.says is not None and "{value}" not in self.says:
            do = "put {value} where the lead's value belongs"
            raise UsageError(explain("a template that names the value", repr(shown(self.says)), do))
        if self.missing is not None and "{value}" in self.missing:
            do = "remove {value}: there is none"
            raise UsageError(explain("a template without a value", repr(shown(self.missing)), do))

    @property
    def about(self) -> tuple[str, ...]:
        """What it speaks of; no two phrases of a project are about the same."""
        return (self.kind, self.name) if self.read_as is None else (self.kind, self.name, self.read_as)


Phrase = TypeVar("Phrase", EventPhrase, ValuePhrase)


@dataclass(frozen=True, slots=True)
class Phrases:
    """All that a project says of how it speaks; what it leaves open is worded as usual.

    They are of use only where a reason, an event or a change is spoken of: they cannot bring in a field that
    the model does not read.

    Parameters
    ----------
    events : tuple of EventPhrase
    values : tuple of ValuePhrase

    Raises
    ------
    UsageError
        Two are about the same.
    """

    events: tuple[EventPhrase, ...] = ()
    values: tuple[ValuePhrase, ...] = ()

    def __post_init__(self) -> None:
        seen: set[tuple[str, ...]] = set()
        for about in (*(one.about for one in self.events), *(one.about for one in self.values)):
            if about in seen:
                found = f"two about the {about[0]} {shown(' '.join(about[1:]))!r}"
                raise UsageError(explain("one phrase about each", found, "remove one"))
            seen.add(about)

    def of_event(self, event: str, content: str | None = None) -> EventPhrase | None:
        """Find the words for events of a type with a content; without one, for all of the type."""
        return next((own for own in self.events if (own.event, own.content) == (event, content)), None)

    def of_feature(self, feature: Feature) -> ValuePhrase | None:
        """Find the templates of a feature: its own before those of the field that it reads."""
        found = next((own for own in self.values if own.about == ("feature", feature.name)), None)
        if found is not None or not isinstance(feature, AttributeFeature):
            return found
        read_as = None if feature.aggregate in ("number", "category", "days_since") else feature.aggregate
        said = [own for own in self.values if (own.kind, own.name) == ("field", feature.field)]
        return next((own for own in said if own.read_as == read_as), None)

    def label(self, field: str | None) -> str | None:
        """Find what a field is called."""
        named = (own for own in self.values if (own.kind, own.name) == ("field", field))
        return next((own.label for own in named if own.label is not None), None)

    def idle(self, features: Iterable[Feature]) -> tuple[str, ...]:
        """Say which templates speak of nothing that a model reads.

        Parameters
        ----------
        features : iterable of Feature
            Those of the model.

        Examples
        --------
        >>> Phrases(values=(ValuePhrase("sise", label="Size"),)).idle([AttributeFeature("number", "size")])
        ("wording: 'sise' is no field that the model reads (did you mean 'size'?)",)
        """
        own = list(features)
        read = {
            "field": [str(one.field) for one in own if isinstance(one, AttributeFeature) and one.field],
            "feature": [one.name for one in own],
        }
        return tuple(
            f"wording: {shown(one.name)!r} is no {one.kind} that the model reads"
            + nearest(one.name, read[one.kind])
            for one in self.values
            if one.name not in read[one.kind]
        )

    def to_dict(self) -> dict[str, Any]:
        """Give the phrases as plain values for JSON."""
        return {name: [asdict(one) for one in getattr(self, name)] for name in ("events", "values")}

    @classmethod
    def from_dict(cls, values: object) -> "Phrases":
        """Read what `to_dict` gave; anything else is a ModelError.

        Examples
        --------
        >>> phrases = Phrases((EventPhrase("page_view", "visit", "visits"),))
        >>> Phrases.from_dict(phrases.to_dict()) == phrases
        True
        """
        match values:
            case {"events": list(events), "values": list(own), **rest} if not rest:
                try:
                    return cls(_read(EventPhrase, events), _read(ValuePhrase, own))
                except UsageError as error:
                    raise ModelError(f"the wording of the model: {error}") from None
        raise _unreadable()


USUAL: Final = Phrases()  # none of a project's own


def filled(template: str, parts: Mapping[str, str | None]) -> str | None:
    """Put words in the places of a template; None where one that it needs is not known.

    Parameters
    ----------
    template : str
        As `ValuePhrase` takes it.
    parts : mapping of str to str or None
        By placeholder.

    Examples
    --------
    >>> filled("{value} employees, as against {typical}", {"value": "250", "typical": "40"})
    '250 employees, as against 40'
    >>> filled("{value} employees, as against {typical}", {"value": "{typical}", "typical": None}) is None
    True
    """
    needed = _MARK.findall(template)
    if any(parts.get(name) is None for name in needed):
        return None
    return _MARK.sub(lambda match: str(parts[match[1]]), template)


def _refuse_length(*phrases: str | None) -> None:
    for phrase in phrases:
        if phrase is not None and not 0 < len(phrase.strip()) <= len(phrase) <= LONGEST:
            found = f"{len(phrase):,} letters" if phrase.strip() else "nothing"
            raise UsageError(explain(f"a phrase of 1 to {LONGEST} letters", found, "say it shortly"))


def _refuse_placeholders(template: str) -> None:
    known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    for name in _MARK.findall(template):
        if name not in PLACEHOLDERS:
            found = f"{{{shown(name)}}}{nearest(name, PLACEHOLDERS)}"
            raise UsageError(explain(f"placeholders among {known}", found, "correct it"))
    if {"{", "}"} & set(_MARK.sub("", template)):
        found = repr(shown(template))
        raise UsageError(explain(f"braces around {known} alone", found, "remove the other braces"))


def _read(kind: type[Phrase], entries: Sequence[object]) -> tuple[Phrase, ...]:
    names = {each.name for each in fields(kind)}
    read = []
    for entry in entries:
        match entry:
            case dict() if set(entry) == names and all(isinstance(v, str | None) for v in entry.values()):
                read.append(kind(**entry))
            case _:
                raise _unreadable()
    required = ("event", "one", "many") if kind is EventPhrase else ("name", "kind")
    if any(getattr(one, name) is None for one in read for name in required):
        raise _unreadable()
    return tuple(read)


def _unreadable() -> ModelError:
    expected = "how the model's fields and events are spoken of"
    return ModelError(explain(expected, "something else", "restore the model's files"))
