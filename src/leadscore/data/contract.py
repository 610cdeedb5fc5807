"""What a project's own tables look like, and what they become once they are inside."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import cached_property
from typing import Any, NamedTuple, Self
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from leadscore.errors import ConfigError, explain, nearest, shown

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Array = npt.NDArray[Any]

KINDS = ("number", "category", "time", "text")
STAGES = ("won", "lost", "disqualified", "accepted", "handed_over")
CLOSING = ("won", "lost", "disqualified")  # stages after which a lead is no longer open
ROW_NUMBER = "(row number)"
"""Stands for the row's place in the table where a contract names a column: a table without ids or dates."""
OTHER_TYPE = "(other)"
"""The type, in scoring, of every event whose own type the model never saw."""


@dataclass(frozen=True, slots=True)
class EventColumns:
    """The columns of the events table, by the names that the project uses.

    Parameters
    ----------
    occurred_at, event_type
        When it happened and what it was.
    lead_id
        Whose it was; None: the column is called as in the leads table.
    visitor_id
        Who it was before the lead was known; such events are attributed once one event carries both ids.
    recorded_at
        When it became known, if later than it occurred.
    channel, content, campaign, value
        What else is known of an event.
    event_id
        Its number: of several rows with the same one, the first that was known is the event.
    """

    occurred_at: str = "occurred_at"
    event_type: str = "event_type"
    lead_id: str | None = None
    visitor_id: str | None = None
    recorded_at: str | None = None
    channel: str | None = None
    content: str | None = None
    campaign: str | None = None
    value: str | None = None
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class OutcomeColumns:
    """The columns of the outcomes table, and what the team's words for the stages mean.

    Parameters
    ----------
    stage, at
        What came of the lead and when.
    lead_id
        Whose it was; None: the column is called as in the leads table.
    reason, revenue
        What else is known of an outcome.
    stages
        Team's word to one of `STAGES`; a word that is one of `STAGES` needs no entry.
    """

    stage: str = "stage"
    at: str = "at"
    lead_id: str | None = None
    reason: str | None = None
    revenue: str | None = None
    stages: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _one_of(self.stages, STAGES, "outcomes.stages")


@dataclass(frozen=True, slots=True)
class HistoryColumns:
    """The columns of the attribute history, one row a change, by the names that the project uses.

    Parameters
    ----------
    field, value
        Which column of the leads table took which value; an empty value: it was emptied.
    changed_at
        When. A moment at or before it does not see the change.
    lead_id
        Whose it was; None: the column is called as in the leads table.
    """

    field: str = "field"
    value: str = "value"
    changed_at: str = "changed_at"
    lead_id: str | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Which leads are one person, and count as one lead.

    Parameters
    ----------
    email, phone
        Attributes: leads that share an address or a number, directly or through others, are one.
    keep_apart
        Ids, as text: those of an entry are never one; an entry of a single id keeps that lead by itself.
    """

    email: tuple[str, ...] = ()
    phone: tuple[str, ...] = ()
    keep_apart: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        if not (self.email or self.phone):
            do = "name fields under identity.email or identity.phone"
            raise ConfigError(explain("fields that tell persons apart", "none", do))


@dataclass(frozen=True, slots=True)
class Contract:
    """How a project's own tables read.

    Parameters
    ----------
    lead_id
        Column of the id; `ROW_NUMBER` when a wide table has none.
    created_at
        Column of the moment the lead came in. In an event log: the lead's earliest value, by default of
        `occurred_at`.
    order_by
        Column (or `ROW_NUMBER`) that stands in for a clock in a wide table; never an attribute.
    target, won_values
        Column of the outcome in a wide table, and its values, as text, that mean won; never an attribute.
    events, outcomes
        The columns of the other two tables.
    event_log
        The one table is the event log, and the leads are read from it: each attribute is its earliest value.
    outcome_events
        Event type to stage: these events are outcomes, and no longer events.
    timezone
        Zone of times that carry none, as "Europe/Amsterdam". A local time that occurred twice (clocks went
        back) is read as the first, one that never occurred (clocks went forward) as the moment of the change.
    delimiter
        Between the fields of a CSV file.
    missing, field_missing
        Hidden missing values of any field, and of single fields: ``{"pdays": ("999",)}``.
    kinds
        Field to one of `KINDS`; what is not named is inferred in training. A saved model names all it uses.
    ignore
        Columns that are not read.
    visitor_id
        Column of the leads table that says which visitor the lead was before it came in; needs
        ``events.visitor_id``, and is known from `created_at` on.
    history
        The columns of the attribute history.
    identity
        Which leads count as one; None: each stands for itself.
    event_types
        Event types that the model was trained with; in scoring any other counts as `OTHER_TYPE`. Empty: all.

    Examples
    --------
    >>> Contract(lead_id="id", missing=("Select",)).to_dict()["missing"]
    ['Select']
    """

    lead_id: str
    created_at: str | None = None
    order_by: str | None = None
    target: str | None = None
    won_values: tuple[str, ...] = ()
    events: EventColumns | None = None
    outcomes: OutcomeColumns | None = None
    event_log: bool = False
    outcome_events: Mapping[str, str] = field(default_factory=dict)
    timezone: str | None = None
    delimiter: str = ","
    missing: tuple[str, ...] = ()
    field_missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    visitor_id: str | None = None
    history: HistoryColumns | None = None
    identity: Identity | None = None
    event_types: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _one_of(self.kinds, KINDS, "kinds")
        _one_of(self.outcome_events, STAGES, "outcome_events")
        if len(self.delimiter) != 1:
            raise ConfigError(
                explain("one character as delimiter", repr(shown(self.delimiter)), "set delimiter")
            )
        if self.target is not None and not self.won_values:
            raise ConfigError(explain("won_values beside target", "none", 'set won_values, as ["1"]'))
        if self.event_log and self.events is None:
            raise ConfigError(
                explain("events beside event_log", "none", "name the log's columns under events")
            )
        if self.event_log and (self.target or self.order_by):
            found = "target or order_by, which belong to a wide table"
            raise ConfigError(explain("outcome_events or outcomes beside event_log", found, "remove them"))
        if self.visitor_id is not None and (self.events is None or self.events.visitor_id is None):
            expected = "events.visitor_id beside the visitor_id of the leads"
            raise ConfigError(
                explain(expected, "none", "name the column of the events, or remove visitor_id")
            )
        if self.timezone is not None:
            try:
                ZoneInfo(self.timezone)
            except (KeyError, ValueError, OSError):
                found = repr(shown(self.timezone))
                raise ConfigError(explain("a time zone", found, "name one as Europe/Amsterdam")) from None

    @property
    def event_columns(self) -> dict[str, str]:
        """Key of `EventColumns` to the column of the events table, for those that are named."""
        events = self.events or EventColumns()
        named = {key: getattr(events, key) for key in EventColumns.__slots__}
        named["lead_id"] = events.lead_id or self.lead_id
        return {key: column for key, column in named.items() if column is not None}

    def to_dict(self) -> dict[str, Any]:
        """Give the contract as plain values that JSON can hold."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave.

        Raises
        ------
        ConfigError
            A key is unknown or absent, or a value has the wrong type.

        Examples
        --------
        >>> contract = Contract(lead_id="id", events=EventColumns(), kinds={"age": "number"})
        >>> Contract.from_dict(contract.to_dict()) == contract
        True
        """
        given = dict(values)
        for name, part in _PARTS.items():
            if given.get(name) is not None:
                given[name] = part(**_arguments(part, given[name], f"{name}."))
        return cls(**_arguments(cls, given, ""))


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about rows that were left out or mended.

    Parameters
    ----------
    table
        "leads", "events", "outcomes" or "history".
    what
        The sentence, in terms of columns; it holds no value of any row.
    count
        How many rows.
    rows
        The first few of them: 0-based positions in the table given.
    rejected
        True: the rows are left out. False: they go on, and `what` says how their value is read.
    """

    table: str
    what: str
    count: int
    rows: tuple[int, ...]
    rejected: bool

    def __str__(self) -> str:
        fate = "left out" if self.rejected else "kept"
        first = ", ".join(map(str, self.rows)) + (", ..." if self.count > len(self.rows) else "")
        return (
            f"{self.table}: {self.what}: {self.count} {'row' if self.count == 1 else 'rows'} {fate} ({first})"
        )


class Coded(NamedTuple):
    """Words stored once: `words[codes[i]]` is the i-th, and a code of -1 is missing."""

    codes: npt.NDArray[np.int32]
    words: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Events:
    """What happened, as parallel arrays, one entry an event, in no particular order.

    Parameters
    ----------
    lead
        Row of the lead in `Tables.leads`.
    at, known_at
        UTC microseconds. `known_at` is never before `at`; None: every event was known when it occurred.
    type, types
        `types[type[i]]` is the i-th event's type; `types` is sorted.
    channel, content, campaign
        Words, or None where the contract names no such column.
    value
        NaN where missing.
    """

    lead: Ints
    at: Ints
    type: npt.NDArray[np.int32]
    types: tuple[str, ...]
    known_at: Ints | None = None
    channel: Coded | None = None
    content: Coded | None = None
    campaign: Coded | None = None
    value: Floats | None = None


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What came of leads, as parallel arrays, one entry an outcome, in no particular order.

    Parameters
    ----------
    lead
        Row of the lead in `Tables.leads`.
    stage, stages
        `stages[stage[i]]` is the i-th outcome's stage; `stages` is `STAGES`.
    at
        UTC microseconds.
    reason, revenue
        None where the contract names no such column.
    """

    lead: Ints
    stage: npt.NDArray[np.int32]
    at: Ints
    stages: tuple[str, ...] = STAGES
    reason: Coded | None = None
    revenue: Floats | None = None


@dataclass(frozen=True, eq=False)
class Changes:
    """What one attribute was from when on, as parallel arrays: by lead, then by time, one a moment.

    Parameters
    ----------
    lead
        Row of the lead in `Tables.leads`.
    at
        UTC microseconds; the value holds after it.
    value
        Of the type that the attribute has in `Tables.leads`; null: it was emptied.
    """

    lead: Ints
    at: Ints
    value: pa.Array


@dataclass(frozen=True, eq=False)
class Tables:
    """Leads, events, outcomes and attribute history, checked and typed.

    Parameters
    ----------
    leads
        The attributes under their own names, missing as null. Numbers are float64 without NaN or infinity,
        categories and texts are strings, times are timestamp[us, UTC].
    lead_id
        One id a lead, unique: int64, or an object array of text.
    position
        Each lead's (first) row in the table given; rejected rows are absent.
    created_at
        UTC microseconds, or None without a clock.
    order
        The values of `order_by`; only in training.
    target
        1 won, 0 not won, NaN unknown; only in training.
    events, outcomes
        None where the project has none.
    kinds
        Field to kind, for each column of `leads`.
    findings
        What was left out or mended.
    history
        Attribute to its changes; None where the project has none. A lead with a change of an attribute has it
        as of a moment, and nothing before the first change; other leads have what `leads` says.
    """

    leads: pa.Table
    lead_id: Array
    position: Ints
    created_at: Ints | None
    order: Floats | None
    target: Floats | None
    events: Events | None
    outcomes: Outcomes | None
    kinds: Mapping[str, str]
    findings: tuple[Finding, ...]
    history: Mapping[str, Changes] | None = None

    @cached_property
    def end(self) -> int | None:
        """The latest time seen in any of the tables, UTC microseconds; None without a time."""
        times = [self.created_at]
        times += [part.at for part in (self.events, self.outcomes) if part is not None]
        latest = [int(t.max()) for t in times if t is not None and len(t)]
        return max(latest, default=None)


def _one_of(given: Mapping[str, str], known: tuple[str, ...], where: str) -> None:
    for value in given.values():
        if value not in known:
            found = repr(shown(value)) + nearest(str(value), known)
            raise ConfigError(explain(f"one of {', '.join(known)} in {where}", found, f"correct {where}"))


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple | list) else value


def _is_words(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(word, str) for word in value)


# The parts of a contract that are dataclasses of their own.
_PARTS: dict[str, type[Any]] = {
    "events": EventColumns,
    "outcomes": OutcomeColumns,
    "history": HistoryColumns,
    "identity": Identity,
}


def _is_part(part: type[Any]) -> tuple[str, Callable[[Any], bool], Callable[[Any], Any]]:
    return "values by name", lambda v: v is None or isinstance(v, part), lambda v: v


# By the type that a field declares: what a value must be, how to tell, and how to take it in from JSON.
_SHAPES: dict[Any, tuple[str, Callable[[Any], bool], Callable[[Any], Any]]] = {
    str: ("a text", lambda v: isinstance(v, str), str),
    str | None: ("a text or nothing", lambda v: v is None or isinstance(v, str), lambda v: v),
    bool: ("true or false", lambda v: isinstance(v, bool), bool),
    tuple[str, ...]: ("a list of texts", _is_words, tuple),
    Mapping[str, str]: (
        "texts by name",
        lambda v: isinstance(v, Mapping) and all(isinstance(word, str) for word in (*v, *v.values())),
        dict,
    ),
    Mapping[str, tuple[str, ...]]: (
        "lists of texts by name",
        lambda v: isinstance(v, Mapping) and all(map(_is_words, v.values())),
        lambda v: {key: tuple(words) for key, words in v.items()},
    ),
    tuple[tuple[str, ...], ...]: (
        "a list of lists of texts",
        lambda v: isinstance(v, list | tuple) and all(map(_is_words, v)),
        lambda v: tuple(map(tuple, v)),
    ),
    **{part | None: _is_part(part) for part in _PARTS.values()},
}


def _arguments(part: type[Any], values: object, where: str) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        place = where.rstrip(".") or "the contract"
        raise ConfigError(explain(f"values by name in {place}", type(values).__name__, f"correct {place}"))
    declared = {f.name: f for f in fields(part)}
    for name in values:
        if name not in declared:
            found = f"{where}{shown(name)}{nearest(str(name), list(declared))}"
            raise ConfigError(explain("known keys of the contract", found, "correct or remove it"))
    arguments = {}
    for name, f in declared.items():
        if name not in values:
            if f.default is MISSING and f.default_factory is MISSING:
                raise ConfigError(explain(f"{where}{name}", "none", f"set {where}{name}"))
            continue
        expected, holds, take = _SHAPES[f.type]
        if not holds(values[name]):
            found = type(values[name]).__name__
            raise ConfigError(explain(f"{expected} in {where}{name}", found, f"correct {where}{name}"))
        arguments[name] = take(values[name])
    return arguments
