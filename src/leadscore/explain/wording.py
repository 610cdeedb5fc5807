"""Reasons in words: what a feature's value is, beside what a typical lead has.

Sentences are made from the feature's declaration, the lead's value, the typical value and the project's own
phrases for these, so they cannot speak of anything that the model does not use.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from leadscore.errors import shown
from leadscore.explain.phrases import USUAL, Phrases, filled
from leadscore.features.declare import BEFORE, WEEK, AttributeFeature, EventFeature, Feature
from leadscore.models.matrix import OTHER, Column, Floats

Value: TypeAlias = float | str | None

_MOST: Final = 80  # letters of one field, word or content that a sentence shows
_SENTENCE: Final = 500  # and of a sentence in a project's own words


@dataclass(frozen=True, slots=True)
class Noun:
    """How an event is spoken of.

    Parameters
    ----------
    one : str
    many : str or None
        None where it has no plural and is counted in times.
    """

    one: str
    many: str | None

    def times(self, count: float) -> str:
        """Say how often: "4 page views", "e-mail opened 4 times"."""
        if self.many is None:
            return f"{self.one} once" if count == 1 else f"{self.one} {number(count)} times"
        return f"{number(count)} {self.one if count == 1 else self.many}"

    def followed(self, tail: str) -> "Noun":
        """Narrow it: "page views of /pricing"."""
        return Noun(f"{self.one} {tail}", self.many and f"{self.many} {tail}")

    @property
    def any(self) -> str:
        """Name it without a number, ready for ": 2.4"."""
        return self.many or self.one


_LINKS: Final[Mapping[str, str]] = {  # between an event's last word and its content, where it is not "of"
    "click": "on",
    "registration": "for",
    "request": "for",
    "search": "for",
    "visit": "to",
    "webinar": "on",
}
_OVERALL: Final = {
    "engagement": Noun("activity of any kind", "activities of any kind"),
    "operations": Noun("operational event", "operational events"),
    "fit": Noun("event", "events"),
}
# Words read out of titles and addresses that are not written as they are coded.
SPOKEN: Final = {"c_level": "C-level", "vp": "VP", "it": "IT", "hr": "HR", "free": "free-mail"}


def clean(text: object, limit: int = _MOST) -> str:
    r"""Make a table's value safe to show: no control characters, none that cannot be written, not endless.

    Examples
    --------
    >>> clean("red \x1b[31malert\ud800")
    'red [31malert?'
    """
    return shown(text, limit).encode("utf-8", "replace").decode()


def typical_values(M: Floats, columns: Sequence[Column]) -> dict[str, Value]:
    """Give what a typical lead has in each column: the middle number, or the most frequent word.

    Parameters
    ----------
    M : array of shape (n, p)
        The training rows, as `to_matrix` lays them out.
    columns : sequence of Column
        What the columns of M are.

    Returns
    -------
    dict of str to float, str or None
        By column name; None where missing is what is typical.

    Examples
    --------
    >>> typical_values(np.array([[0.0, 1.0], [3.0, 1.0], [4.0, 0.0]]), [Column("n"), Column("w", ("a", "b"))])
    {'n': 3.0, 'w': 'b'}
    """
    return {column.name: _typical(M[:, j], column) for j, column in enumerate(columns)}


def _typical(x: Floats, column: Column) -> Value:
    present = x[~np.isnan(x)]
    if column.levels is not None:
        counts = np.bincount(present.astype(np.int64), minlength=len(column.levels))
        return column.levels[int(counts.argmax())] if counts.max() > len(x) - len(present) else None
    return float(np.median(present)) if 2 * len(present) > len(x) else None


def value_of(x: float, column: Column) -> Value:
    """Read one cell of a matrix: a number, a word, or None where it is missing.

    Examples
    --------
    >>> value_of(1.0, Column("source", ("Ads", "Referral")))
    'Referral'
    """
    if math.isnan(x):
        return None
    return float(x) if column.levels is None else column.levels[int(x)]


def label(feature: Feature, phrases: Phrases = USUAL) -> str:
    """Name what a feature is about in a few words; features of one concept share their label.

    Examples
    --------
    >>> label(EventFeature("recency", "page_view", content="/pricing"))
    'Page views of /pricing'
    >>> label(AttributeFeature("seniority", "job_title"))
    'Job title'
    """
    if isinstance(feature, EventFeature):
        return _capital(noun_of(feature, phrases).any)
    return _NAMES.get(feature.aggregate) or field_of(feature.field, phrases)


def sentence(feature: Feature, value: Value, typical: Value, phrases: Phrases = USUAL) -> str:
    """Say what a lead's value is, and for numbers what a typical lead has.

    Parameters
    ----------
    feature : Feature
    value : float, str or None
        The lead's, as `value_of` reads it.
    typical : float, str or None
        As `typical_values` gives it.
    phrases : Phrases, optional
        The project's own; what they leave open is worded as usual.

    Returns
    -------
    str
        Without control characters, but not escaped for HTML.

    Examples
    --------
    >>> sentence(EventFeature("count", "page_view", window=7, content="/pricing"), 4.0, 0.0)
    '4 page views of /pricing in the last 7 days; a typical lead has 0'
    >>> sentence(EventFeature("count", "email_click"), 0.0, 0.0)
    'No e-mail click so far; a typical lead has none either'
    >>> sentence(AttributeFeature("category", "industry", levels=("software",)), "software", None)
    'Industry: software'
    >>> sentence(AttributeFeature("number", "company_size"), None, 40.0)
    'Company size not given; a typical lead has 40'
    >>> from leadscore.explain.phrases import ValuePhrase
    >>> own = Phrases(values=(ValuePhrase("company_size", says="{value} employees; typical: {typical}"),))
    >>> sentence(AttributeFeature("number", "company_size"), 1200.0, 40.0, own)
    '1,200 employees; typical: 40'
    """
    own = _in_own_words(feature, value, typical, phrases)
    if own is not None:
        return _capital(clean(own, _SENTENCE))
    if isinstance(feature, EventFeature):
        of = _Counted(feature, noun_of(feature, phrases), _named(feature.per or "", phrases))
        return _capital(_EVENTS[feature.aggregate](of, _number(value), _number(typical)))
    return _capital(_ATTRIBUTES[feature.aggregate](field_of(feature.field, phrases), value, typical))


def number(value: float) -> str:
    """Write a number to three significant digits, whole ones in full.

    Examples
    --------
    >>> number(1200.0), number(2.3678), number(0.00012345), number(54321.9)
    ('1,200', '2.37', '0.000123', '54,322')
    """
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    places = 0 if float(value).is_integer() else max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{min(places, 12)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def days(value: float) -> str:
    """Write a length of time in the unit that suits it.

    Examples
    --------
    >>> days(0.01), days(0.25), days(1), days(20.6)
    ('less than an hour', '6 hours', '1 day', '21 days')
    """
    if value < 1 / 24:
        return "less than an hour"
    if value < 1:
        hours = round(24 * value)
        return f"{hours} hour{'s' * (hours != 1)}"
    whole = round(value)
    return f"{whole:,} day{'s' * (whole != 1)}"


# ---------------------------------------------------------------------------------------------- events
@dataclass(frozen=True, slots=True)
class _Counted:
    """What a feature counts, and by what it divides that, in words."""

    feature: EventFeature
    noun: Noun
    per: Noun


def _count(of: _Counted, value: float | None, typical: float | None) -> str:
    return _amount(of, value or 0.0, typical or 0.0, of.noun.times(value or 0.0))


def _decayed(of: _Counted, value: float | None, typical: float | None) -> str:
    half = days(of.feature.half_life or 0.0)
    x, usual = value or 0.0, typical or 0.0
    if not x:
        return _amount(of, x, usual, "")
    text = f"recent {of.noun.any}: {_roughly(x)} (each counts half after {half})"
    return f"{text}{_beside(x, usual, _roughly)}"


def _sum(of: _Counted, value: float | None, typical: float | None) -> str:
    return _worth(of, value or 0.0, typical or 0.0, "value of")


def _decayed_sum(of: _Counted, value: float | None, typical: float | None) -> str:
    half = days(of.feature.half_life or 0.0)
    return _worth(of, value or 0.0, typical or 0.0, "recent value of", f", halved every {half}")


def _mean(of: _Counted, value: float | None, typical: float | None) -> str:
    if value is None:
        return f"no {of.noun.one} with a value{_when(of.feature)}{_beside(None, typical, number)}"
    return _worth(of, value, typical, "average value of")


def _ratio(of: _Counted, value: float | None, typical: float | None) -> str:
    per = of.per.one
    what = f"{of.noun.any} per {per}"
    if value is None:
        return f"{what} not known: no {per}{_when(of.feature)}{_beside(None, typical, number)}"
    return f"{what}{_when(of.feature)}: {number(value)}{_beside(value, typical, number)}"


def _trend(of: _Counted, value: float | None, typical: float | None) -> str:
    window = of.feature.window or WEEK
    usual = f"an average {'week' if window == WEEK else days(window).removeprefix('1 ')}"
    before = f"{usual} of the {days(BEFORE * window)} before"
    change = value or 0.0
    than = f"as many as in {before}" if change == 0 else f"{_more(change)} than in {before}"
    return f"{of.noun.any}{_when(of.feature)}: {than}{_beside(change, typical, _more)}"


def _recency(of: _Counted, value: float | None, typical: float | None) -> str:
    return _ago(of, value, typical, "last")


def _first_seen(of: _Counted, value: float | None, typical: float | None) -> str:
    return _ago(of, value, typical, "first")


def _active_days(of: _Counted, value: float | None, typical: float | None) -> str:
    text = f"{of.noun.any} on {days(max(1.0, value or 0.0))}"
    return _amount(of, value or 0.0, typical or 0.0, text)


def _distinct_contents(of: _Counted, value: float | None, typical: float | None) -> str:
    what = "content" if value == 1 else "different contents"
    text = f"{of.noun.any}: {number(value or 0.0)} {what}"
    return _amount(of, value or 0.0, typical or 0.0, text)


def _amount(of: _Counted, value: float, typical: float, some: str) -> str:
    """Say an amount that is 0 without an event."""
    if value == 0:
        other = (
            "; a typical lead has none either" if typical == 0 else f"; a typical lead has {number(typical)}"
        )
        return f"no {of.noun.one}{_when(of.feature) or ' so far'}{other}"
    return f"{some}{_when(of.feature)}{_beside(value, typical, number)}"


def _worth(of: _Counted, value: float, typical: float | None, what: str, how: str = "") -> str:
    beside = _beside(value, typical, number)
    return f"{what} {of.noun.any}{_when(of.feature)}: {number(value)}{how}{beside}"


def _ago(of: _Counted, value: float | None, typical: float | None, which: str) -> str:
    noun = of.noun.one
    if value is None:
        other = "; a typical lead has none either" if typical is None else f"; a typical lead's {which} was "
        return f"no {noun} so far{other}" + ("" if typical is None else f"{days(typical)} ago")
    other = "; a typical lead has none" if typical is None else f"; a typical lead's was {days(typical)} ago"
    return f"{which} {noun} {days(value)} ago{other}"


def _more(change: float) -> str:
    return "as many" if change == 0 else f"{number(abs(change))} {'more' if change > 0 else 'fewer'}"


def _when(feature: EventFeature) -> str:
    """Say the window; a decayed amount has none, and none is all history."""
    if feature.window is None:
        return "" if feature.half_life is not None else " so far"
    return f" in the last {days(feature.window).removeprefix('1 ')}"


def noun_of(feature: EventFeature, phrases: Phrases = USUAL) -> Noun:
    """Say how the events are spoken of that a feature counts.

    Examples
    --------
    >>> noun_of(EventFeature("count", "page_view", content="/pricing", channel="ads")).many
    'page views of /pricing via ads'
    """
    noun = _of_type(feature.event, feature, phrases) if feature.event else _OVERALL[feature.family]
    return noun if feature.channel is None else noun.followed(f"via {_quoted(feature.channel)}")


def _of_type(event: str, feature: EventFeature, phrases: Phrases) -> Noun:
    own = None if feature.content is None else phrases.of_event(event, feature.content)
    if own is not None:
        return Noun(clean(own.one), clean(own.many))
    return _narrowed(_named(event, phrases), feature)


def _named(event: str, phrases: Phrases) -> Noun:
    own = phrases.of_event(event)
    if own is not None:
        return Noun(clean(own.one), clean(own.many))
    words = re.split(r"[ _-]+", event)
    if not all(re.fullmatch(r"[A-Za-z]?[a-z]+", word) for word in words):
        return Noun(f"“{clean(event)}”", None)  # a code: it stays as it is
    words = ["e-mail" if word.lower() == "email" else word.lower() for word in words]
    return Noun(" ".join(words), None if words[-1].endswith(("ed", "sent")) else _plural(" ".join(words)))


def _narrowed(noun: Noun, feature: EventFeature) -> Noun:
    content = _quoted(feature.content) if feature.content is not None else clean(feature.label or "")
    if not content:
        return noun
    last = re.split(r"[ -]+", noun.one)[-1]
    return noun.followed(f"{_LINKS.get(last, 'of')} {content}" if noun.many else f"({content})")


def _quoted(word: str) -> str:
    word = clean(word)
    return word if re.fullmatch(r"[\w/.#?=&%~+-]+", word) else f"“{word}”"


def _plural(noun: str) -> str:
    if re.search(r"[^aeiou]y$", noun):
        return f"{noun[:-1]}ies"
    return f"{noun}es" if re.search(r"(s|x|z|ch|sh)$", noun) else f"{noun}s"


_EVENTS: Final[Mapping[str, Callable[[_Counted, float | None, float | None], str]]] = {
    "count": _count,
    "decayed_count": _decayed,
    "sum": _sum,
    "decayed_sum": _decayed_sum,
    "mean": _mean,
    "ratio": _ratio,
    "trend": _trend,
    "recency": _recency,
    "first_seen": _first_seen,
    "active_days": _active_days,
    "distinct_contents": _distinct_contents,
}


# ------------------------------------------------------------------------------------------ attributes
def _as_number(field: str, value: Value, typical: Value) -> str:
    if value is None:
        return f"{field} not given{_beside(None, _number(typical), number)}"
    x = _number(value) or 0.0
    return f"{field}: {number(x)}{_beside(x, _number(typical), number)}"


def _as_word(field: str, value: Value, typical: Value) -> str:
    del typical  # the most frequent word says little about another
    if value is None:
        return f"{field} not given"
    return f"{field}: {'one of the rarer ones' if value == OTHER else clean(value)}"


def _as_told(told: str, absent: str) -> Callable[[str, Value, Value], str]:
    """Word what is read out of a field: its absence may mean that the field says nothing about it."""

    def worded(field: str, value: Value, typical: Value) -> str:
        del typical
        if value is None or value == OTHER:
            return f"{field}: {absent}"
        word = clean(value)
        return f"{field}: {told.format(SPOKEN.get(word, word.replace('_', ' ')))}"

    return worded


def _as_days_since(field: str, value: Value, typical: Value) -> str:
    if value is None:
        return f"{field} not given, or still ahead"
    x, usual = _number(value) or 0.0, _number(typical)
    return f"{field}: {days(x)} ago" + (f"; typically {days(usual)} ago" if usual is not None else "")


def _as_age(field: str, value: Value, typical: Value) -> str:
    del field
    if value is None:
        return "time since the lead came in not known"
    x, usual = _number(value) or 0.0, _number(typical)
    return f"came in {days(x)} ago" + (f"; a typical lead {days(usual)} ago" if usual is not None else "")


def _as_share(field: str, value: Value, typical: Value) -> str:
    del field
    x = _number(value) or 0.0
    return f"{_percent(x)} of the profile filled in" + _beside(x, _number(typical), _percent)


_ATTRIBUTES: Final[Mapping[str, Callable[[str, Value, Value], str]]] = {
    "number": _as_number,
    "category": _as_word,
    "seniority": _as_told("seniority {}", "seniority not known"),
    "department": _as_told("department {}", "department not known"),
    "email_domain_kind": _as_told("{} address", "kind of address not known"),
    "days_since": _as_days_since,
    "lead_age": _as_age,
    "filled_share": _as_share,
}
_NAMES: Final = {"lead_age": "Age of the lead", "filled_share": "Filled share of the profile"}


# --------------------------------------------------------------------------------- in a project's own words
def _in_own_words(feature: Feature, value: Value, typical: Value, phrases: Phrases) -> str | None:
    """Fill the project's template for a value in; None where it has none, or not all of it is known."""
    own = phrases.of_feature(feature)
    absent = value is None or (value == 0 and isinstance(feature, EventFeature))
    template = None if own is None else own.missing if absent else own.says
    if template is None or value == OTHER:
        return None
    window = _when(feature).removeprefix(" in ") if isinstance(feature, EventFeature) else ""
    parts = {"value": _plain(feature, value), "typical": _plain(feature, typical)}
    return filled(template, parts | {"window": window if window.startswith("the last") else None})


def _plain(feature: Feature, value: Value) -> str | None:
    """Write a value by itself, in its unit."""
    if value is None or value == OTHER:
        return None
    if isinstance(value, str):
        read = isinstance(feature, AttributeFeature) and feature.aggregate != "category"
        return clean(SPOKEN.get(value, value.replace("_", " ")) if read else value)
    return _UNITS.get(feature.aggregate, number)(value)


# ----------------------------------------------------------------------------------------------- parts
def _beside(value: float | None, typical: float | None, write: Callable[[float], str]) -> str:
    """Compare with the typical value; nothing where that is missing."""
    if typical is None:
        return ""
    same = value is not None and write(value) == write(typical)
    return f"; a typical lead has {'the same' if same else write(typical)}"


def _roughly(amount: float) -> str:
    """Write an amount that fades: its later decimals say nothing, nor how far below all others it is."""
    return "hardly any" if 0 < amount < 0.05 else number(round(amount, 1))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


_UNITS: Final[Mapping[str, Callable[[float], str]]] = {
    "recency": days,
    "first_seen": days,
    "days_since": days,
    "lead_age": days,
    "filled_share": _percent,
}


def _number(value: Value) -> float | None:
    return value if isinstance(value, float) else None


def field_of(name: str | None, phrases: Phrases = USUAL) -> str:
    """Say what a field is called.

    Examples
    --------
    >>> field_of("company_size")
    'Company size'
    """
    called = phrases.label(name)
    said = clean(name).replace("_", " ") if called is None else clean(called)
    return _capital(said.strip()) or "(unnamed)"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
