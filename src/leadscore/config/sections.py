"""The sections and keys of a configuration, and what each may hold."""

import math
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from leadscore.errors import UsageError, explain, shown
from leadscore.explain.phrases import EventPhrase, ValuePhrase
from leadscore.features.declare import EventFeature
from leadscore.policy import policy as policies

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
    return ValueError(explain(expected, described(found), do))


def described(value: object) -> str:
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
Money = Annotated[float, BeforeValidator(_number), Field(ge=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0)]


class Section(BaseModel):
    """Keys and values; an unknown key is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Target(Section):
    """The column of the outcome in a wide table."""

    column: str
    won: list[Word] = Field(min_length=1)


class Leads(Section):
    """The table of leads."""

    path: Path | None = None
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    timezone: str | None = None
    lead_id: str = "lead_id"
    created_at: str | None = None
    visitor_id: str | None = None
    order_by: str | None = None
    target: Target | None = None
    missing: list[Word] = []
    field_missing: dict[str, list[Word]] = {}
    kinds: dict[str, Literal["number", "category", "time", "text"]] = {}
    ignore: list[str] = []
    email: list[str] = []
    phone: list[str] = []
    job_title: list[str] = []


class Events(Section):
    """The table of events."""

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


class Outcomes(Section):
    """The table of outcomes."""

    path: Path | None = None
    lead_id: str | None = None  # as in the leads
    stage: str = "stage"
    at: str = "at"
    reason: str | None = None
    revenue: str | None = None
    stages: dict[Word, Literal["won", "lost", "disqualified", "accepted", "handed_over"]]


class History(Section):
    """The table of how attributes changed."""

    path: Path | None = None
    lead_id: str = "lead_id"
    field: str = "field"
    value: str = "value"
    changed_at: str = "changed_at"


class Identity(Section):
    """Which leads are one person."""

    merge: bool = False
    email: list[str] = []
    phone: list[str] = []
    keep_apart: list[list[Word]] = []

    @model_validator(mode="after")
    def _apart_from_what(self) -> "Identity":
        if self.keep_apart and not self.merge:
            do = "set it, or remove keep_apart"
            raise ValueError(explain("merge: true beside keep_apart", "none", do))
        return self


class World(Section):
    """A simulated world in place of files."""

    leads: int = Field(default=20_000, ge=100, le=2_000_000)
    seed: Seed = 0


class Label(Section):
    """What counts as a conversion, and at which ages leads are looked at."""

    horizon: Days = 30.0
    ages: list[Days] = Field(default=[1.0, 7.0, 14.0, 30.0], min_length=1)

    @model_validator(mode="after")
    def _no_age_twice(self) -> "Label":
        if len(set(self.ages)) < len(self.ages):
            raise ValueError(explain("ages that differ", "one twice", "remove one"))
        return self


class Declared(Section):
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
    def _fits_together(self) -> "Declared":
        try:
            self.feature(())
        except UsageError as error:
            raise ValueError(str(error)) from None
        return self

    def feature(self, operations: Collection[str]) -> EventFeature:
        """Give the feature, of the family that its event is of."""
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


class Features(Section):
    """The default set of event features, and more declared by hand."""

    windows: list[Days] = [7.0, 30.0, 90.0]
    half_lives: list[Days] = [14.0]
    declare: list[Declared] = []


class Evaluation(Section):
    """How models are compared."""

    folds: int = Field(default=5, ge=2, le=50)
    split: Literal["forward", "grouped"] | None = None
    seed: Seed = 0


class Model(Section):
    """How the learned models are built."""

    segment: str | None = None


class When(Section):
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
    def _one_subject(self) -> "When":
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


class Points(When):
    """A line of the point table."""

    points: Number | None = None
    each: Number | None = None
    cap: Number | None = Field(default=None, gt=0)
    half_life: Days | None = None
    label: str | None = None

    @model_validator(mode="after")
    def _one_worth(self) -> "Points":
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


class Rule(When):
    """A rule of the policy."""

    name: str
    reason: str | None = None


class Segment(Section):
    """A category whose levels have thresholds of their own."""

    field: str
    read_as: Literal["seniority", "department", "email_domain_kind"] | None = None
    capacity: dict[Word, PerWeek] = {}
    equal_recall: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> "Segment":
        if bool(self.capacity) == self.equal_recall:
            found = "both" if self.equal_recall else "neither"
            do = "give levels their capacity, as Webinar: 10 a week, or set equal_recall: true"
            raise ValueError(explain("either capacity or equal_recall beside the field", found, do))
        return self


class Policy(Section):
    """How many leads become MQLs, for how long they are, and the rules that come before."""

    capacity: PerWeek | None = None
    share: float | None = Field(default=None, gt=0, lt=1)
    segment: Segment | None = None
    stay: Number = 1.0
    cool_down: Days | None = None
    value: Money | None = None
    cost: Money | None = None
    missed_cost: Money | None = None
    suppress: list[Rule] = []
    fast_track: list[Rule] = []

    @model_validator(mode="after")
    def _one_way(self) -> "Policy":
        if self.capacity is not None and self.share is not None:
            raise ValueError(explain("either capacity or share", "both", "remove one"))
        if (self.value is None) != (self.cost is None):
            found = "cost alone" if self.value is None else "value alone"
            raise ValueError(explain("the value of a win beside the cost of working a lead", found, "add it"))
        own = 0.0 if self.segment is None else sum(self.segment.capacity.values())
        if self.capacity is not None and own > self.capacity:
            found, do = f"{own:g} in all", "lower them, or raise the capacity"
            raise ValueError(explain(f"levels that share {self.capacity:g} a week", found, do))
        if self.missed_cost is not None and self.value is None:
            found = "missed_cost alone"
            raise ValueError(explain("value and cost beside the cost of a missed win", found, "add them"))
        try:
            policies.Policy(1.0, 1.0, stay=self.stay)
        except UsageError as error:
            raise ValueError(str(error)) from None
        return self


class Spoken(Section):
    """How a field, a feature or an event is spoken of."""

    field: str | None = None
    read_as: Literal["seniority", "department", "email_domain_kind"] | None = None
    feature: str | None = None
    event: Word | None = None
    content: Word | None = None
    label: Word | None = None
    says: Word | None = None
    missing: Word | None = None
    one: Word | None = None
    many: Word | None = None

    @model_validator(mode="after")
    def _one_subject(self) -> "Spoken":
        given = {name for name in type(self).model_fields if getattr(self, name) is not None}
        subjects = sorted(given & set(_SPOKEN))
        if len(subjects) != 1:
            found = " and ".join(subjects) or "none of them"
            raise ValueError(explain("either a field, a feature or an event", found, "name one"))
        narrowed, says = _SPOKEN[subjects[0]]
        joined = " and " if self.event is not None else " or "
        expected = f"{joined.join(sorted(says))} beside {subjects[0]}"
        if further := sorted(given - {subjects[0]} - narrowed - says):
            raise ValueError(explain(expected, ", ".join(further), "remove it"))
        if not (says <= given if self.event is not None else says & given):
            raise ValueError(explain(expected, ", ".join(says & given) or "none", "add it"))
        try:
            self.phrase()
        except UsageError as error:
            raise ValueError(str(error)) from None
        return self

    def phrase(self) -> EventPhrase | ValuePhrase:
        """Give it as the words that explanations take."""
        if self.event is not None:
            return EventPhrase(self.event, self.one or "", self.many or "", self.content)
        kind, name = ("field", self.field) if self.field is not None else ("feature", self.feature)
        return ValuePhrase(str(name), kind, self.read_as, self.label, self.says, self.missing)


# What an entry may narrow its subject by, and what it may say of it.
_SPOKEN: dict[str, tuple[set[str], set[str]]] = {
    "field": ({"read_as"}, {"label", "says", "missing"}),
    "feature": (set(), {"says", "missing"}),
    "event": ({"content"}, {"one", "many"}),
}


class Families(Section):
    """Fields that are not fit."""

    fit: list[str] = []
    engagement: list[str] = []
    operations: list[str] = []


class Project(Section):
    """A whole configuration."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    simulate: World | None = None
    leads: Leads | None = None
    events: Events | None = None
    outcomes: Outcomes | None = None
    history: History | None = None
    identity: Identity = Identity()
    exclude: dict[str, str] = {}
    allow: dict[str, str] = {}
    families: Families = Families()
    features: Features = Features()
    label: Label = Label()
    evaluation: Evaluation = Evaluation()
    model: Model = Model()
    points: list[Points] = Field(min_length=1)
    policy: Policy = Policy()
    wording: list[Spoken] = []

    @model_validator(mode="after")
    def _tables(self) -> "Project":
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


def place(location: Sequence[str | int]) -> str:
    """Write where a value stands: ``points (entry 3).is``."""
    parts = [f" (entry {part + 1})" if isinstance(part, int) else f".{shown(part)}" for part in location]
    return "".join(parts).removeprefix(".")
