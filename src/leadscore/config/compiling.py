"""Turns the sections of a configuration into the library's own values."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from leadscore.config import sections
from leadscore.data.tables import (
    ROW_NUMBER,
    Contract,
    EventColumns,
    HistoryColumns,
    Identity,
    OutcomeColumns,
)
from leadscore.errors import UsageError, explain, shown
from leadscore.explain.phrases import EventPhrase, Phrases, ValuePhrase
from leadscore.features.declare import AttributeFeature, EventFeature, Feature
from leadscore.features.defaults import Roles
from leadscore.models.conditions import Condition
from leadscore.models.points import PointRule
from leadscore.policy.policy import Policy
from leadscore.policy.rules import Rule
from leadscore.project import Files, Project, SimulatedWorld, Target

_ROW_NUMBER = "row number"  # how a person writes ROW_NUMBER
_TABLES = ("leads", "events", "outcomes", "history")


def compiled(read: sections.Project, folder: Path) -> Project:
    """Give the project that a configuration describes; its paths are relative to `folder`."""
    contract = _contract(read)
    points = [_compiled(line, read) for line in read.points]
    suppress = [_compiled(line, read) for line in read.policy.suppress]
    fast_track = [_compiled(line, read) for line in read.policy.fast_track]
    segment = _segment(read)
    lines = [*points, *suppress, *fast_track, *segment]
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
        segment=read.model.segment,
        target=_target(read.policy, segment[0].column if segment else None),
        stay=read.policy.stay,
        cool_down=read.policy.cool_down or 0.0,
        suppress=decided[0],
        fast_track=decided[1],
        phrases=_phrases(read),
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


def _compiled(when: sections.When, read: sections.Project) -> _Line:
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


def _segment(read: sections.Project) -> list[_Line]:
    """Find or declare the column of the policy's segment, whose levels are kept as those of rules are."""
    own = read.policy.segment
    if own is None:
        return []
    test = {"in": list(own.capacity)} if own.capacity else {"present": True}
    when = {"field": own.field, "read_as": own.read_as, **test}
    return [_compiled(sections.When.model_validate(when), read)]


def _asked(lines: Iterable[_Line], read: sections.Project) -> tuple[Feature, ...]:
    """Give the features that rules read and those declared by hand."""
    asked = {line.feature.name: line.feature for line in lines if line.feature is not None}
    for i, own in enumerate(read.features.declare):
        where, events = sections.place(("features", "declare", i)), read.events
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


def _event_feature(when: sections.When, read: sections.Project) -> EventFeature:
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


def _point_rule(rule: sections.Points, line: _Line) -> PointRule:
    label = rule.label or line.text
    if rule.each is not None:
        return PointRule(
            label, rule.each, per=line.column, cap=rule.cap, concept=line.concept, family=line.family
        )
    return PointRule(label, rule.points or 0.0, line.condition, concept=line.concept, family=line.family)


def _rule(rule: sections.Rule, line: _Line) -> Rule:
    return Rule(rule.name, (line.condition,), rule.reason)


def _text(when: sections.When, tests: Sequence[tuple[str, Any]]) -> str:
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


def _family(field: str, read: sections.Project) -> str:
    return next((name for name, fields in read.families if field in fields), "fit")


def _roles(read: sections.Project) -> Roles:
    leads, events = read.leads or sections.Leads(), read.events or sections.Events()
    return Roles(
        operations=tuple(events.operations),
        ignore=tuple(events.ignore),
        windows=tuple(read.features.windows),
        half_lives=tuple(read.features.half_lives),
        titles=tuple(leads.job_title),
        emails=tuple(leads.email),
        families={field: name for name, fields in read.families for field in fields},
    )


def _contract(read: sections.Project) -> Contract:
    leads, events, outcomes = read.leads or sections.Leads(), read.events, read.outcomes
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


def _same_person(read: sections.Project) -> dict[str, tuple[str, ...]]:
    """Name the fields that tell persons apart: those under identity, or else those under leads."""
    leads, own = read.leads or sections.Leads(), read.identity
    if own.email or own.phone:
        return {"email": tuple(own.email), "phone": tuple(own.phone)}
    return {"email": tuple(leads.email), "phone": tuple(leads.phone)}


def _named(section: BaseModel, columns: type[Any]) -> dict[str, Any]:
    """Take what the section says for each of the columns."""
    return {field.name: getattr(section, field.name) for field in fields(columns)}


def _column(name: str) -> str:
    return ROW_NUMBER if name == _ROW_NUMBER else name


def _source(read: sections.Project, folder: Path) -> Files | SimulatedWorld:
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


def _phrases(read: sections.Project) -> Phrases:
    """Put together how the project speaks, of columns that there are."""
    for i, own in enumerate(read.wording):
        where = sections.place(("wording", i))
        if own.event is not None and read.events is None:
            do = "describe the events, or remove it"
            raise UsageError(explain(f"an events section, for {where}", "none", do))
        if own.content is not None and (read.events is None or read.events.content is None):
            do = "name the column, or remove content"
            raise UsageError(explain(f"events.content, for {where}", "none", do))
        if own.field is not None and own.field in read.exclude:
            found = f"{shown(own.field)!r}, which is excluded"
            raise UsageError(explain(f"a field that may be used in {where}", found, "remove one of the two"))
    said = [own.phrase() for own in read.wording]
    return Phrases(
        tuple(phrase for phrase in said if isinstance(phrase, EventPhrase)),
        tuple(phrase for phrase in said if isinstance(phrase, ValuePhrase)),
    )


def _target(policy: sections.Policy, segment: str | None) -> Target:
    share = 0.2 if policy.capacity is None and policy.share is None else policy.share
    return Target(
        capacity=policy.capacity,
        share=share,
        value=policy.value,
        cost=policy.cost,
        missed_cost=policy.missed_cost,
        segment=segment,
        capacities={} if policy.segment is None else dict(policy.segment.capacity),
        equal_recall=policy.segment is not None and policy.segment.equal_recall,
    )
