"""Reads `configs/*.yaml` into the library's own values; an unknown key is refused by name."""

import math
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from leadscore.data.tables import (
    ROW_NUMBER,
    Contract,
    EventColumns,
    HistoryColumns,
    Identity,
    OutcomeColumns,
)
from leadscore.errors import ConfigError, LeadScoreError, UsageError, explain, nearest, shown
from leadscore.features.declare import AttributeFeature, EventFeature, Feature
from leadscore.features.defaults import Roles
from leadscore.models.conditions import Condition
from leadscore.models.points import PointRule
from leadscore.policy.policy import Policy, Rule
from leadscore.project import Files, Project, SimulatedWorld, Target

_ROW_NUMBER = "row number"  # how a person writes ROW_NUMBER
_TABLES = ("leads", "events", "outcomes", "history")
_UNITS = {"h": 1 / 24, "d": 1.0, "w": 7.0}
_LONGEST = 36_525.0  # days; longer ones do not fit in the microseconds that time is counted in


def _days(value: object) -> object:
    """Read '30d', '12h' or '2w' as days."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([hdw])\s*", str(value))
    days = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not 0 < days <= _LONGEST:
        raise _refused("a duration above 0 and below 100 years, such as 30d, 12h or 2w", value, "correct it")
    return days


def _no_truth(value: object) -> object:
    """Refuse YAML's yes and no, which are not the words they look like, and its dates."""
    if isinstance(value, bool):
        word = "yes" if value else "no"
        raise _refused("a word or a number", value, f'YAML reads yes and no so: write "{word}", in quotes')
    if value is not None and not isinstance(value, str | int | float):
        raise _refused("a word or a number", value, "write it in quotes")
    return value


def _word(value: object) -> object:
    """Read a value as the text that the tables hold."""
    return str(value) if isinstance(_no_truth(value), int | float) else value


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise _refused("a number", value, "correct it")
    return value


def _per_week(value: object) -> object:
    """Read '60 a week' as 60.0."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:a|per|/)\s*week\s*", str(value))
    leads = float(match[1]) if match else 0.0
    if not 0 < leads < math.inf:
        raise _refused("a capacity such as '60 a week'", value, "correct it")
    return leads


def _refused(expected: str, found: object, do: str) -> ValueError:
    return ValueError(explain(expected, _described(found), do))


def _described(value: object) -> str:
    """Show a value, but only say of a list or section that it is one."""
    match value:
        case None:
            return "nothing"
        case list():
            return "a list"
        case dict() | BaseModel():
            return "keys and values"
    return repr(shown(value))


Days = Annotated[float, BeforeValidator(_days)]
Number = Annotated[float, BeforeValidator(_number)]
Word = Annotated[str, BeforeValidator(_word)]
Value = Annotated[str | float, BeforeValidator(_no_truth)]
PerWeek = Annotated[float, BeforeValidator(_per_week)]
Seed = Annotated[int, Field(ge=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Target(_Section):
    column: str
    won: list[Word] = Field(min_length=1)


class _Leads(_Section):
    path: Path | None = None
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    timezone: str | None = None
    lead_id: str = "lead_id"
    created_at: str | None = None
    visitor_id: str | None = None
    order_by: str | None = None
    target: _Target | None = None
    missing: list[Word] = []
    field_missing: dict[str, list[Word]] = {}
    kinds: dict[str, Literal["number", "category", "time", "text"]] = {}
    ignore: list[str] = []
    email: list[str] = []
    phone: list[str] = []
    job_title: list[str] = []


class _Events(_Section):
    path: Path | None = None
    lead_id: str | None = None  # as in the leads
    created_at: str | None = None
    occurred_at: str = "occurred_at"
    event_type: str = "event_type"
    event_id: str | None = None
    recorded_at: str | None = None
    visitor_id: str | None = None
    channel: str | None = None
    content: str | None = None
    campaign: str | None = None
    value: str | None = None
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    timezone: str | None = None
    missing: list[Word] = []
    outcomes: dict[str, Literal["won", "lost", "disqualified", "accepted", "handed_over"]] = {}
    operations: list[str] = []
    ignore: list[str] = []


class _Outcomes(_Section):
    path: Path | None = None
    lead_id: str | None = None  # as in the leads
    stage: str = "stage"
    at: str = "at"
    reason: str | None = None
    revenue: str | None = None
    stages: dict[Word, Literal["won", "lost", "disqualified", "accepted", "handed_over"]]


class _History(_Section):
    path: Path | None = None
    lead_id: str = "lead_id"
    field: str = "field"
    value: str = "value"
    changed_at: str = "changed_at"


class _Identity(_Section):
    merge: bool = False
    email: list[str] = []
    phone: list[str] = []
    keep_apart: list[list[Word]] = []

    @model_validator(mode="after")
    def _apart_from_what(self) -> "_Identity":
        if self.keep_apart and not self.merge:
            do = "set it, or remove keep_apart"
            raise ValueError(explain("merge: true beside keep_apart", "none", do))
        return self


class _World(_Section):
    leads: int = Field(default=20_000, ge=100, le=2_000_000)
    seed: Seed = 0


class _Label(_Section):
    horizon: Days = 30.0
    ages: list[Days] = Field(default=[1.0, 7.0, 14.0, 30.0], min_length=1)

    @model_validator(mode="after")
    def _no_age_twice(self) -> "_Label":
        if len(set(self.ages)) < len(self.ages):
            raise ValueError(explain("ages that differ", "one twice", "remove one"))
        return self


class _Declared(_Section):
    """An event feature, as a person declares it."""

    aggregate: str
    event: Word
    window: Days | None = None
    half_life: Days | None = None
    content: Word | None = None
    contents: list[Word] | None = Field(default=None, min_length=1)
    label: Word | None = None
    channel: Word | None = None
    per: Word | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> "_Declared":
        try:
            self.feature(())
        except UsageError as error:
            raise ValueError(str(error)) from None
        return self

    def feature(self, operations: Collection[str]) -> EventFeature:
        return EventFeature(
            self.aggregate,
            None if self.event == "any" else self.event,
            window=self.window,
            half_life=self.half_life,
            content=self.content,
            family="operations" if self.event in operations else "engagement",
            contents=None if self.contents is None else tuple(self.contents),
            label=self.label,
            channel=self.channel,
            per=self.per,
        )

    def reads(self) -> Iterator[tuple[str, str]]:
        """Give each column of the events that it needs, and the word that says so."""
        if self.content or self.contents or self.aggregate == "distinct_contents":
            yield "content", self.content or self.label or self.aggregate
        if self.channel:
            yield "channel", self.channel
        if self.aggregate in ("sum", "decayed_sum", "mean"):
            yield "value", self.aggregate


class _Features(_Section):
    windows: list[Days] = [7.0, 30.0, 90.0]
    half_lives: list[Days] = [14.0]
    declare: list[_Declared] = []


class _Evaluation(_Section):
    folds: int = Field(default=5, ge=2, le=50)
    split: Literal["forward", "grouped"] | None = None
    seed: Seed = 0


class _When(_Section):
    """A condition on a field or on the events, as a marketer writes it."""

    field: str | None = None
    read_as: Literal["seniority", "department", "email_domain_kind"] | None = None
    event: str | None = None
    content: Word | None = None
    within: Days | None = None
    inactive_for: Days | None = None
    is_: Value | None = Field(default=None, alias="is")
    in_: list[Value] | None = Field(default=None, alias="in")
    not_in: list[Value] | None = None
    at_least: Number | None = None
    below: Number | None = None
    between: tuple[Number, Number] | None = None
    missing: Literal[True] | None = None
    present: Literal[True] | None = None

    @model_validator(mode="after")
    def _one_subject(self) -> "_When":
        if (self.field is None) == (self.event is None):
            found = "neither" if self.field is None else "both"
            raise ValueError(explain("either a field or an event", found, "name one"))
        if self.event is None and (self.content or self.within or self.inactive_for):
            found = "content, within or inactive_for beside a field"
            raise ValueError(explain("what belongs to a field", found, "name an event, or remove it"))
        tests = [op for op, _ in self._tests()] + ["inactive_for"] * bool(self.inactive_for)
        if len(tests) > 1:
            raise ValueError(explain("one condition a line", " and ".join(tests), "remove one"))
        if self.event is None and not tests and getattr(self, "each", None) is None:
            do = "say when it holds, as is:, in:, at_least: or present: true"
            raise ValueError(explain("a condition on the field", "none", do))
        return self

    def _tests(self) -> list[tuple[str, Any]]:
        given = {
            "is": self.is_,
            "in": self.in_,
            "not_in": self.not_in,
            "at_least": self.at_least,
            "below": self.below,
            "between": self.between,
            "missing": self.missing,
            "present": self.present,
        }
        return [(op, value) for op, value in given.items() if value is not None]


class _Points(_When):
    points: Number | None = None
    each: Number | None = None
    cap: Number | None = Field(default=None, gt=0)
    half_life: Days | None = None
    label: str | None = None

    @model_validator(mode="after")
    def _one_worth(self) -> "_Points":
        if (self.points is None) == (self.each is None):
            found = "neither" if self.points is None else "both"
            do = "keep one: points counts once, each counts every event or unit"
            raise ValueError(explain("either points or each", found, do))
        if self.each is not None and self._tests():
            raise ValueError(explain("no condition beside each", "one", "remove it, or give points once"))
        if self.half_life and self.within:
            raise ValueError(explain("either within or half_life", "both", "remove one"))
        if self.each is None and (self.cap or self.half_life):
            raise ValueError(explain("cap and half_life beside each", "points", "remove them, or use each"))
        return self


class _Rule(_When):
    name: str
    reason: str | None = None


class _Policy(_Section):
    capacity: PerWeek | None = None
    share: float | None = Field(default=None, gt=0, lt=1)
    suppress: list[_Rule] = []
    fast_track: list[_Rule] = []

    @model_validator(mode="after")
    def _one_way(self) -> "_Policy":
        if self.capacity is not None and self.share is not None:
            raise ValueError(explain("either capacity or share", "both", "remove one"))
        return self


class _Families(_Section):
    fit: list[str] = []
    engagement: list[str] = []
    operations: list[str] = []


class _Project(_Section):
    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    simulate: _World | None = None
    leads: _Leads | None = None
    events: _Events | None = None
    outcomes: _Outcomes | None = None
    history: _History | None = None
    identity: _Identity = _Identity()
    exclude: dict[str, str] = {}
    allow: dict[str, str] = {}
    families: _Families = _Families()
    features: _Features = _Features()
    label: _Label = _Label()
    evaluation: _Evaluation = _Evaluation()
    points: list[_Points] = Field(min_length=1)
    policy: _Policy = _Policy()

    @model_validator(mode="after")
    def _tables(self) -> "_Project":
        if self.leads is None and self.events is None:
            raise ValueError(explain("leads or events", "neither", "describe at least one of the tables"))
        if self.leads is not None and self.leads.target is not None and self.outcomes is not None:
            raise ValueError(explain("either leads.target or outcomes", "both", "remove one"))
        for field, reason in [*self.exclude.items(), *self.allow.items()]:
            if not reason.strip():
                raise ValueError(explain(f"a reason for {shown(field)!r}", "none", "say why"))
        for field in self.exclude:
            if field in self.allow:
                found = f"{shown(field)!r} under both"
                raise ValueError(explain("a field under exclude or allow", found, "remove one"))
        return self


_MERGE = "tag:yaml.org,2002:merge"  # "<<: *other"


class _Loader(yaml.SafeLoader):
    """The safe loader, but a key written twice is an error instead of the last one winning."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value if key.tag != _MERGE]
    twice = next((key for i, key in enumerate(keys) if key in keys[:i]), None)
    if twice is not None:
        raise yaml.constructor.ConstructorError(
            None, None, f"key {shown(twice)!r} is written twice", node.start_mark
        )
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read(path: str | Path) -> Project:
    """Read a project's configuration.

    Parameters
    ----------
    path : path
        A YAML file; the paths in it are relative to its folder.

    Returns
    -------
    Project

    Raises
    ------
    ConfigError
        The file does not exist, is not YAML, or says something unknown; the message names file, key and,
        where there is one, the known key that was probably meant.
    """
    file = Path(path)
    where = shown(file, 300)
    try:
        values = yaml.load(file.read_bytes(), _Loader)  # noqa: S506  (a safe loader)
    except OSError as error:
        found = (error.strerror or "none").lower()
        raise ConfigError(explain(f"a configuration file {where}", found, "correct the path")) from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(explain(f"YAML in {where}", _no_yaml(error), "correct the file")) from None
    if not isinstance(values, dict):
        found = "one value" if isinstance(values, str | int | float) else _described(values)
        raise ConfigError(explain(f"keys and values in {where}", found, "start from one in configs/"))
    filled = {key: value for key, value in values.items() if value is not None}  # a section without lines
    try:
        return _project(_Project.model_validate(filled), file.parent)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_first(error)}") from None
    except LeadScoreError as error:
        raise ConfigError(f"{where}: {error}") from None


def _no_yaml(error: Exception) -> str:
    """Say where a file is no YAML, and why."""
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        problem = shown(getattr(error, "problem", None) or "nothing that reads").removeprefix("found ")
        return f"{problem} in line {mark.line + 1}"
    return "lists within lists without end" if isinstance(error, RecursionError) else "bytes that are no text"


def _first(error: ValidationError) -> str:
    """Put the first thing that is wrong in one line: where, what was expected, what was found, what to do."""
    # An unknown key first: it is often the misspelt name of one that seems to be missing.
    wrong = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    *section, last = wrong["loc"] or ("",)
    where, given = _place(section if wrong["type"] == "invalid_key" else wrong["loc"]), wrong["input"]
    if wrong["type"] == "missing":
        return explain(where, "none", "add it") + more
    if wrong["type"] == "extra_forbidden":
        known = _known_keys(section)
        near = nearest(str(last), known)
        do = "correct or remove it" if near else f"use one of {', '.join(known)}"
        return explain("known keys", f"{shown(where)!r}{near}", do) + more
    if wrong["type"] == "value_error":
        said = wrong["msg"].removeprefix("Value error, ")
    else:
        words = re.findall("'([^']*)'", wrong["msg"]) if wrong["type"] == "literal_error" else []
        near = nearest(given, words) if isinstance(given, str) else ""
        message = wrong["msg"].removeprefix("Input should be ").split(", unable")[0]
        said = explain(
            _EXPECTED.get(wrong["type"], "{}").format(message), _described(given) + near, "correct it"
        )
    return f"{where}: {said}{more}".removeprefix(": ")


_EXPECTED = {  # where pydantic's words are a programmer's
    "dict_type": "keys and values",
    "greater_than": "a number {}",
    "greater_than_equal": "a number {}",
    "invalid_key": "keys that are words (in quotes, if need be)",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "less_than": "a number {}",
    "less_than_equal": "a number {}",
    "list_type": "a list",
    "model_type": "keys and values",
    "path_type": "a path",
    "string_pattern_mismatch": "letters, digits, '.', '_' and '-' only",
    "string_too_long": "one character",
    "string_too_short": "one character",
    "string_type": "text (in quotes, if need be)",
    "too_short": "at least one entry",
}


def _place(location: Sequence[str | int]) -> str:
    """Write where a value stands: ``points (entry 3).is``."""
    parts = [f" (entry {part + 1})" if isinstance(part, int) else f".{shown(part)}" for part in location]
    return "".join(parts).removeprefix(".")


def _known_keys(location: Sequence[str | int]) -> list[str]:
    section: type[BaseModel] = _Project
    for part in location:
        if isinstance(part, str) and part in section.model_fields:
            section = _section_of(section.model_fields[part].annotation)
    return [field.alias or name for name, field in section.model_fields.items()]


def _section_of(annotation: Any) -> type[BaseModel]:
    """Find the section in `X`, `X | None` or `list[X]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(_section_of(part) for part in annotation.__args__ if part is not type(None))


def _project(read: _Project, folder: Path) -> Project:
    contract = _contract(read)
    points = [_compiled(line, read) for line in read.points]
    suppress = [_compiled(line, read) for line in read.policy.suppress]
    fast_track = [_compiled(line, read) for line in read.policy.fast_track]
    lines = [*points, *suppress, *fast_track]
    rules = tuple(_point_rule(rule, line) for rule, line in zip(read.points, points, strict=True))
    decided = (
        tuple(_rule(rule, line) for rule, line in zip(read.policy.suppress, suppress, strict=True)),
        tuple(_rule(rule, line) for rule, line in zip(read.policy.fast_track, fast_track, strict=True)),
    )
    _refuse_repeats(rule.label for rule in rules)
    Policy(0.5, 0.5, *decided)  # refuses two rules of one name
    return Project(
        name=read.name,
        contract=contract,
        source=_source(read, folder),
        roles=_roles(read),
        points=rules,
        asked=_asked(lines, read),
        keep_levels=_keep_levels(lines),
        exclude=read.exclude,
        allow=read.allow,
        email=_same_person(read)["email"],
        phone=_same_person(read)["phone"],
        horizon=None if contract.target is not None else read.label.horizon,
        ages=tuple(read.label.ages),
        split=read.evaluation.split,
        folds=read.evaluation.folds,
        seed=read.evaluation.seed,
        target=_target(read.policy),
        suppress=decided[0],
        fast_track=decided[1],
    )


def _refuse_repeats(labels: Iterable[str]) -> None:
    seen: set[str] = set()
    for label in labels:
        if label in seen:
            expected = "points with labels that differ"
            raise UsageError(explain(expected, f"{shown(label)!r} twice", "give one of them another label"))
        seen.add(label)


@dataclass(frozen=True, slots=True)
class _Line:
    """A condition as written, over a column of X."""

    column: str
    condition: Condition
    feature: Feature | None  # to be declared for it
    field: str | None
    words: tuple[str, ...]
    family: str
    concept: str
    text: str


def _compiled(when: _When, read: _Project) -> _Line:
    """Find or declare the column that a condition is about."""
    tests = when._tests()
    op, value = tests[0] if tests else ("at_least", 1.0)
    feature: Feature | None = None
    words: tuple[str, ...] = ()
    if when.event is not None:
        feature = _event_feature(when, read)
        column, family, concept = feature.name, feature.family, feature.concept
        if when.inactive_for is not None:
            op, value = "at_least", when.inactive_for
    else:
        field = str(when.field)
        if field in read.exclude:
            found = f"one about {shown(field)!r}, which is excluded"
            raise UsageError(explain("rules about fields that may be used", found, "remove one of the two"))
        family, concept, column = _family(field, read), field, field
        if when.read_as is not None:
            feature = AttributeFeature(when.read_as, field, family=family)
            column = feature.name
        elif op in ("is", "in", "not_in"):
            words = tuple(str(word) for word in (value if isinstance(value, list) else [value]))
    condition = Condition(column, op, None if op in ("missing", "present") else value)
    return _Line(column, condition, feature, when.field, words, family, concept, _text(when, tests))


def _asked(lines: Iterable[_Line], read: _Project) -> tuple[Feature, ...]:
    """Give the features that rules read and those declared by hand."""
    asked = {line.feature.name: line.feature for line in lines if line.feature is not None}
    for i, own in enumerate(read.features.declare):
        where, events = _place(("features", "declare", i)), read.events
        if events is None:
            raise UsageError(
                explain(f"an events section, for {where}", "none", "describe the events, or remove it")
            )
        for column, word in own.reads():
            if getattr(events, column) is None:
                expected = f"events.{column}, for {shown(word)!r} in {where}"
                raise UsageError(explain(expected, "none", "name the column, or remove the feature"))
        feature = own.feature(events.operations)
        if asked.setdefault(feature.name, feature) != feature:
            found = f"another {shown(feature.name)!r} in {where}"
            raise UsageError(explain("features with names that differ", found, "change its label or content"))
    return tuple(asked.values())


def _event_feature(when: _When, read: _Project) -> EventFeature:
    event = None if when.event == "any" else when.event
    if read.events is None:
        expected = f"an events section, for a rule about {shown(when.event)!r}"
        raise UsageError(explain(expected, "none", "describe the events, or remove the rule"))
    if when.content is not None and read.events.content is None:
        expected = f"events.content, for a rule about {shown(when.content)!r}"
        raise UsageError(explain(expected, "none", "name the column, or remove content"))
    operations = read.events.operations
    family = "operations" if event in operations else "engagement"
    half_life = getattr(when, "half_life", None)
    aggregate = "recency" if when.inactive_for else "decayed_count" if half_life else "count"
    return EventFeature(
        aggregate, event, window=when.within, half_life=half_life, content=when.content, family=family
    )


def _point_rule(rule: _Points, line: _Line) -> PointRule:
    label = rule.label or line.text
    if rule.each is not None:
        return PointRule(
            label, rule.each, per=line.column, cap=rule.cap, concept=line.concept, family=line.family
        )
    return PointRule(label, rule.points or 0.0, line.condition, concept=line.concept, family=line.family)


def _rule(rule: _Rule, line: _Line) -> Rule:
    return Rule(rule.name, (line.condition,), rule.reason)


def _text(when: _When, tests: Sequence[tuple[str, Any]]) -> str:
    """Name a rule that has no label."""
    if when.event is not None:
        parts = [
            "nothing happened" if when.event == "any" and when.inactive_for else when.event,
            when.content,
        ]
        parts += [f"in {when.within:g} days"] if when.within else []
        parts += [f"for {when.inactive_for:g} days"] if when.inactive_for else []
    else:
        parts = [when.field, when.read_as]
    for op, value in tests:
        said = ", ".join(str(part) for part in value) if isinstance(value, list | tuple) else value
        parts.append(op.replace("_", " ") if value is True else f"{op.replace('_', ' ')} {said}")
    return " ".join(str(part) for part in parts if part)


def _keep_levels(lines: Iterable[_Line]) -> dict[str, tuple[str, ...]]:
    kept: dict[str, tuple[str, ...]] = {}
    for line in lines:
        if line.field is not None and line.feature is None:
            kept[line.field] = tuple(dict.fromkeys((*kept.get(line.field, ()), *line.words)))
    return kept


def _family(field: str, read: _Project) -> str:
    return next((name for name, fields in read.families if field in fields), "fit")


def _roles(read: _Project) -> Roles:
    leads, events = read.leads or _Leads(), read.events or _Events()
    return Roles(
        operations=tuple(events.operations),
        ignore=tuple(events.ignore),
        windows=tuple(read.features.windows),
        half_lives=tuple(read.features.half_lives),
        titles=tuple(leads.job_title),
        emails=tuple(leads.email),
        families={field: name for name, fields in read.families for field in fields},
    )


def _contract(read: _Project) -> Contract:
    leads, events, outcomes = read.leads or _Leads(), read.events, read.outcomes
    log = events if read.leads is None else None
    return Contract(
        lead_id=_column((log.lead_id if log else None) or leads.lead_id),
        created_at=log.created_at if log else leads.created_at,
        order_by=None if leads.order_by is None else _column(leads.order_by),
        target=leads.target.column if leads.target else None,
        won_values=tuple(leads.target.won) if leads.target else (),
        events=EventColumns(**_named(events, EventColumns)) if events else None,
        outcomes=OutcomeColumns(**_named(outcomes, OutcomeColumns)) if outcomes else None,
        event_log=log is not None,
        outcome_events=dict(events.outcomes) if events else {},
        timezone=log.timezone if log else leads.timezone,
        delimiter=log.delimiter if log else leads.delimiter,
        missing=tuple(log.missing if log else leads.missing),
        field_missing={} if log else {field: tuple(words) for field, words in leads.field_missing.items()},
        kinds={} if log else dict(leads.kinds),
        ignore=() if log else tuple(leads.ignore),
        visitor_id=leads.visitor_id,
        history=HistoryColumns(**_named(read.history, HistoryColumns)) if read.history else None,
        identity=Identity(**_same_person(read), keep_apart=tuple(map(tuple, read.identity.keep_apart)))
        if read.identity.merge
        else None,
    )


def _same_person(read: _Project) -> dict[str, tuple[str, ...]]:
    """Name the fields that tell persons apart: those under identity, or else those under leads."""
    leads, own = read.leads or _Leads(), read.identity
    if own.email or own.phone:
        return {"email": tuple(own.email), "phone": tuple(own.phone)}
    return {"email": tuple(leads.email), "phone": tuple(leads.phone)}


def _named(section: BaseModel, columns: type[Any]) -> dict[str, Any]:
    """Take what the section says for each of the columns."""
    return {field.name: getattr(section, field.name) for field in fields(columns)}


def _column(name: str) -> str:
    return ROW_NUMBER if name == _ROW_NUMBER else name


def _source(read: _Project, folder: Path) -> Files | SimulatedWorld:
    if read.simulate is not None:
        return SimulatedWorld(read.simulate.leads, read.simulate.seed)
    paths = {
        name: folder / section.path
        for name in _TABLES
        if (section := getattr(read, name)) is not None and section.path is not None
    }
    for name in _TABLES:
        if getattr(read, name) is not None and name not in paths:
            raise UsageError(explain(f"{name}.path", "none", "say where the file is"))
    return Files(**paths)


def _target(policy: _Policy) -> Target:
    if policy.capacity is None and policy.share is None:
        return Target(share=0.2)
    return Target(policy.capacity, policy.share)
