"""The short way in for one lead: plain values to plain values, without a table in between.

A lead and its events as dicts, in which nothing is amiss, are read value by value. Whatever is not entirely
plain (a value to mend, a row to leave out, an unusual type) goes the long way through `read_tables`, which
alone knows what to say of it. Both ways give the same numbers.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple, NoReturn, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leadscore.data.columns import NUMBER, SAME
from leadscore.data.contract import ROW_NUMBER, Coded, Contract, Events, Floats, Ints

Value: TypeAlias = float | int | str | None
Link: TypeAlias = tuple[int | str, int]  # a visitor, and since when it was known who it is

_UTC = pa.timestamp("us", "UTC")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PLAIN_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,15})?", re.ASCII)
_NONE = np.iinfo(np.int64).min  # no moment
_ALWAYS = _NONE + 1
_MOST_EVENTS = 2_000
_MOST_WHOLE = 2**53
_NAMES = (str, int)


class One(NamedTuple):
    """One lead: its attributes as a number, a text or microseconds, None where missing, and its events."""

    lead_id: int | str
    created_at: int | None
    values: Mapping[str, Value]
    events: Events | None


class _NotPlainError(Exception):
    """Something in a record that only the long way knows what to do with."""


class ShortWay:
    """Reads one lead of a saved model's contract.

    Parameters
    ----------
    contract
        With the kinds that the model reads.

    Examples
    --------
    >>> way = ShortWay(Contract(lead_id="id", kinds={"staff": "number", "city": "category"}))
    >>> way.read({"id": 7, "staff": "12", "city": " Oslo "}, None)
    One(lead_id=7, created_at=None, values={'staff': 12.0, 'city': 'Oslo'}, events=None)
    >>> way.read({"id": 7, "staff": "a dozen"}, None) is None
    True
    """

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self._columns = contract.event_columns
        self._known = frozenset(contract.event_types) - {*contract.outcome_events}
        self._events_hidden = {key: self._hidden(name) for key, name in self._columns.items()}

    def read(self, lead: object, events: object) -> One | None:
        """Read a lead and its events; None: they must go the long way."""
        if not self._open or type(lead) is not dict or any(type(key) is not str for key in lead):
            return None
        try:
            lead_id = _name(lead[self.contract.lead_id])
            if events is None or self.contract.events is None:
                if events is not None:
                    return None
                values, created_at = self._profile(lead, self._moments([self._dates(lead)])[0])
                return One(lead_id, created_at, values, None)
            if type(events) is not list or len(events) > _MOST_EVENTS:
                return None
            columns = {key: _column(events, name) for key, name in self._columns.items()}
            late = _late(columns)
            dates, at, recorded = self._moments(
                [self._dates(lead), columns["occurred_at"], [columns["recorded_at"][row] for row in late]]
            )
            values, created_at = self._profile(lead, dates)
            known_at = at.copy()
            known_at[late] = np.maximum(at[late], recorded)
            link = self._link(lead, created_at)
            return One(
                lead_id,
                created_at,
                values,
                self._happened(columns, at, _known_at(columns, lead_id, link, at, known_at)),
            )
        # What is raised by a value that is not plain is not worth telling apart: the long way tells.
        except (_NotPlainError, ArithmeticError, LookupError, TypeError, ValueError, pa.ArrowException):
            return None

    @cached_property
    def _open(self) -> bool:
        """Whether records of this contract are single leads, with times that can be read one by one."""
        contract = self.contract
        moments = [name for name, kind in contract.kinds.items() if kind == "time"]
        moments += [contract.created_at or "", *self._columns.values()]
        dates = (
            word for name in moments for word in self._hidden(name) if re.match(r"\d{4}-\d\d-\d\d", word)
        )
        return bool(
            contract.kinds and not contract.event_log and contract.lead_id != ROW_NUMBER and not any(dates)
        )

    def _hidden(self, name: str) -> tuple[str, ...]:
        return (*self.contract.missing, *self.contract.field_missing.get(name, ()))

    @cached_property
    def _fields(self) -> tuple[tuple[str, Callable[[Any], Value]], ...]:
        """Give the attributes that are not times, each with how a value of it is read."""
        kinds = self.contract.kinds.items()
        return tuple(
            (name, (_number_reader if kind == "number" else _text_reader)(self._hidden(name)))
            for name, kind in kinds
            if kind != "time"
        )

    @cached_property
    def _times(self) -> tuple[str, ...]:
        return tuple(name for name, kind in self.contract.kinds.items() if kind == "time")

    def _dates(self, lead: Mapping[str, Any]) -> list[Any]:
        """Give the times of a lead as they are written, that of its coming in last."""
        dates = [lead.get(name) for name in self._times]
        return dates if self.contract.created_at is None else [*dates, lead[self.contract.created_at]]

    def _moments(self, parts: Sequence[Sequence[Any]]) -> list[Ints]:
        """Read times that are written alike at one go, and others part by part."""
        zone = self.contract.timezone
        try:
            whole = _moments([value for part in parts for value in part], zone)
        except (_NotPlainError, pa.ArrowInvalid):
            return [_moments(part, zone) for part in parts]
        ends = list(accumulate(map(len, parts)))
        return [whole[end - len(part) : end] for part, end in zip(parts, ends, strict=True)]

    def _profile(self, lead: Mapping[str, Any], dates: Ints) -> tuple[dict[str, Value], int | None]:
        """Read the attributes, and when the lead came in."""
        get = lead.get
        values: dict[str, Value] = {name: read(get(name)) for name, read in self._fields}
        moments = [None if moment == _NONE else moment for moment in dates.tolist()]
        created_at = None
        if self.contract.created_at is not None and (created_at := moments.pop()) is None:
            _give_up()
        values.update(zip(self._times, moments, strict=True))
        return values, created_at

    def _link(self, lead: Mapping[str, Any], created_at: int | None) -> Link | None:
        """Say which visitor the lead was, which is known from just after it came in."""
        visitor = None if self.contract.visitor_id is None else lead.get(self.contract.visitor_id)
        if visitor is None:
            return None
        return _name(visitor), _ALWAYS if created_at is None else created_at + 1

    def _happened(self, columns: Mapping[str, list[Any]], at: Ints, known_at: Ints) -> Events:
        kind = _coded(columns["event_type"], ())
        if self._known and not self._known.issuperset(kind.words):
            _give_up()
        if not self._known and not self.contract.outcome_events.keys().isdisjoint(kind.words):
            _give_up()
        if None in columns["occurred_at"] or (kind.codes < 0).any():
            _give_up()
        if "event_id" in columns:
            _once(columns["event_id"])
        late = "recorded_at" in columns or "visitor_id" in columns
        words = {
            key: _coded(columns[key], self._events_hidden[key])
            for key in ("channel", "content")  # of a campaign no feature knows
            if key in columns
        }
        return Events(
            np.zeros(len(at), np.int64),
            at,
            kind.codes,
            kind.words,
            known_at=known_at if late else None,
            value=_worths(columns["value"], self._events_hidden["value"]) if "value" in columns else None,
            **words,
        )


def _late(columns: Mapping[str, list[Any]]) -> list[int]:
    """Give the events of which it is written when they became known, and not at once."""
    if "recorded_at" not in columns:
        return []
    both = zip(columns["recorded_at"], columns["occurred_at"], strict=True)
    return [row for row, (seen, at) in enumerate(both) if seen is not None and seen != at]


def _known_at(
    columns: Mapping[str, list[Any]], lead_id: int | str, link: Link | None, at: Ints, known_at: Ints
) -> Ints:
    """Say when each event was known to be the lead's, as `identity.attribute_visits` does."""
    owners, visits = columns["lead_id"], columns.get("visitor_id")
    named = [owner for owner in owners if owner is not None]
    if {*map(type, named)} - {type(lead_id)} or named.count(lead_id) < len(named):
        _give_up()
    if len(named) == len(owners):
        return known_at
    if visits is None:
        _give_up()
    told = zip(owners, visits, np.maximum(known_at, at + 1).tolist(), strict=True)
    links = [(_name(visit), moment) for owner, visit, moment in told if None not in (owner, visit)]
    links += [] if link is None else [link]
    if len({type(visit) for visit in (*visits, *(visit for visit, _ in links)) if visit is not None}) > 1:
        _give_up()
    moment_of: dict[int | str, int] = {}
    for visit, moment in links:
        moment_of[visit] = min(moment, moment_of.get(visit, moment))
    since = [
        _ALWAYS if owner is not None else moment_of[visit]
        for owner, visit in zip(owners, visits, strict=True)
    ]
    return np.maximum(known_at, since)


def _give_up() -> NoReturn:
    raise _NotPlainError


def _column(events: Sequence[Any], name: str) -> list[Any]:
    try:
        return [event[name] for event in events]
    except KeyError:
        if not all(type(event) is dict and all(type(key) is str for key in event) for event in events):
            _give_up()
        return [event.get(name) for event in events]


def _name(value: Any) -> int | str:
    """Read an id: a text with something in it, or an integer."""
    if type(value) is str and value.strip():
        _refuse_halves(value)
        return value
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    _give_up()


def _refuse_halves(text: str) -> None:
    """Give up on halves of characters, which JSON can write and UTF-8 cannot."""
    if not text.isascii():
        text.encode()


def _once(numbers: Sequence[Any]) -> None:
    """Give up where an event may have come twice."""
    filled = [number for number in numbers if number is not None]
    if len({*map(type, filled)}) > 1 or len({*filled}) < len(filled):
        _give_up()
    if filled and not (type(filled[0]) is int or (type(filled[0]) is str and all(map(str.strip, filled)))):
        _give_up()


def _moments(values: Sequence[Any], timezone: str | None) -> Ints:
    """Read moments as UTC microseconds: all text, or all datetime with an offset."""
    types = {*map(type, values)} - {type(None)}
    if types <= {str}:
        moments = _absolute(pa.array(values, pa.string()), timezone).view(pa.int64())
        us: Ints = (moments.fill_null(_NONE) if moments.null_count else moments).to_numpy()
        return us
    if types != {datetime}:
        _give_up()
    return np.array([_NONE if value is None else _microseconds(value) for value in values], np.int64)


def _absolute(text: pa.Array, timezone: str | None) -> pa.Array:
    """Read times that all have an offset, or that all have none."""
    try:
        return text.cast(_UTC)
    except pa.ArrowInvalid:
        if timezone is None:
            raise
    local = text.cast(pa.timestamp("us"))
    # Raises in the hour of a clock change.
    return pc.assume_timezone(local, timezone, ambiguous="raise", nonexistent="raise").cast(_UTC)


def _microseconds(moment: datetime) -> int:
    span = moment - _EPOCH
    return (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds


def _coded(values: Sequence[Any], hidden: Sequence[str]) -> Coded:
    """Store each word once, in sorted order, as `columns.coded` does."""
    types = {*map(type, values)} - {type(None)}
    if not types:
        return Coded(np.full(len(values), -1, np.int32), ())
    if len(types) > 1 or not types <= {*_NAMES}:
        _give_up()
    read = _text_reader(hidden)
    texts = {value: read(value) for value in {*values}}
    words = sorted({text for text in texts.values() if text is not None})
    code_of = {value: -1 if text is None else words.index(text) for value, text in texts.items()}
    codes = np.fromiter(map(code_of.__getitem__, values), np.int32, len(values))
    return Coded(codes, tuple(words))


def _worths(values: Sequence[Any], hidden: Sequence[str]) -> Floats:
    """Read numbers, of which none is below 0."""
    types = {*map(type, values)} - {type(None)}
    if not types:
        return np.full(len(values), np.nan)
    if types - {int, float}:
        _give_up()
    read = _number_reader(hidden)
    numbers = [np.nan if (number := read(value)) is None else number for value in values]
    worths = np.array(numbers, np.float64)
    if (worths < 0).any():
        _give_up()
    return worths


def _number_reader(hidden: Sequence[str]) -> Callable[[Any], float | None]:
    """Read numbers as `columns.numbers` does."""
    missing = frozenset(float(word) for word in hidden if re.fullmatch(NUMBER, word))
    words = frozenset(hidden)

    def read(value: Any) -> float | None:
        kind = type(value)
        if value is None or (kind is str and (not value or value in words)):
            return None
        if kind is str:
            if not _PLAIN_NUMBER.fullmatch(value):
                _give_up()
        elif kind is int:
            if not -(2**63) <= value < 2**63:
                _give_up()
        elif kind is not float:
            _give_up()
        number = float(value)
        if math.isinf(number):
            _give_up()
        return None if math.isnan(number) or number in missing else number

    return read


def _text_reader(hidden: Sequence[str]) -> Callable[[Any], str | None]:
    """Read words as `columns.texts` does."""
    missing = frozenset(("", *hidden))

    def read(value: Any) -> str | None:
        kind = type(value)
        if value is None:
            return None
        if kind is str:
            text: str = value.strip()
            _refuse_halves(text)
            if text.endswith(".0") or text.lower() in ("true", "false"):
                for spelt, shown in SAME:
                    text = re.sub(spelt, shown, text, flags=re.ASCII)
        elif kind is bool or (kind is int and -(2**63) <= value < 2**63):
            text = str(value)
        elif kind is float and math.isnan(value):
            return None
        elif kind is float and value.is_integer() and abs(value) < _MOST_WHOLE:
            text = str(int(value))
        else:
            _give_up()
        return None if text in missing else text

    return read
