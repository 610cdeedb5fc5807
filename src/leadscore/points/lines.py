"""Learned rules as the lines that people write by hand, and as a table to type into another system."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import pandas as pd
import yaml

from leadscore.errors import UsageError, explain, shown
from leadscore.explain.wording import label as spoken
from leadscore.explain.wording import number
from leadscore.features.declare import AttributeFeature, EventFeature, Feature
from leadscore.models.conditions import Condition
from leadscore.models.points import PointRule

_READ_AS: Final = ("seniority", "department", "email_domain_kind")
_MOST_WORDS: Final = 4  # of a list, that a label names


def named(
    rules: Sequence[PointRule], features: Mapping[str, Feature], families: Mapping[str, str]
) -> tuple[PointRule, ...]:
    """Give rules labels that people read, and the concept and family that reading their lines gives them.

    Parameters
    ----------
    rules : sequence of PointRule
    features : mapping of str to Feature
        By the column that a rule reads.
    families : mapping of str to str
        Of fields that are not fit.

    Returns
    -------
    tuple of PointRule
    """
    found: list[PointRule] = []
    for rule in rules:
        feature = features[rule.column]
        if isinstance(feature, EventFeature):
            concept, family = feature.concept, feature.family
        else:
            concept = _field(feature)
            family = families.get(concept, "fit")
        said, taken = _label(rule, feature), {own.label for own in found}
        again = next(text for text in _numbered(said) if text not in taken)
        found.append(replace(rule, label=again, concept=concept, family=family))
    return tuple(found)


def lines(rules: Sequence[PointRule], features: Mapping[str, Feature]) -> list[dict[str, Any]]:
    """Write rules as entries of a config's `points`.

    Parameters
    ----------
    rules : sequence of PointRule
    features : mapping of str to Feature
        By the column that a rule reads.

    Returns
    -------
    list of dict
        Ready for YAML; reading them back gives the same rules.

    Raises
    ------
    UsageError
        A feature has no line in a point table.

    Examples
    --------
    >>> rule = PointRule("Visits", 2, per="visit_decayed_14d", cap=10)
    >>> lines([rule], {"visit_decayed_14d": EventFeature("decayed_count", "visit", half_life=14)})
    [{'event': 'visit', 'each': 2, 'cap': 10, 'half_life': '14d', 'label': 'Visits'}]
    """
    return [_line(rule, features[rule.column]) for rule in rules]


def to_yaml(
    rules: Sequence[PointRule], features: Mapping[str, Feature], remarks: Sequence[str] = ()
) -> bytes:
    """Write rules as a `points:` section, with remarks above it.

    Examples
    --------
    >>> rule = PointRule("Visits", 2, per="visits", cap=10)
    >>> print(to_yaml([rule], {"visits": AttributeFeature("number", "visits")}, ["learned"]).decode())
    # learned
    points:
    - {field: visits, each: 2, cap: 10, label: Visits}
    <BLANKLINE>
    """
    entries = [
        yaml.safe_dump(line, sort_keys=False, allow_unicode=True, default_flow_style=True, width=math.inf)
        for line in lines(rules, features)
    ]
    head = [f"# {shown(remark, 400)}" for remark in remarks]
    return "\n".join([*head, "points:", *(f"- {entry.strip()}" for entry in entries), ""]).encode()


def to_frame(rules: Sequence[PointRule], features: Mapping[str, Feature]) -> pd.DataFrame:
    """Write rules as a table to type into HubSpot, Marketo or a spreadsheet: one row a rule.

    Examples
    --------
    >>> rule = PointRule("Visits", 2, per="visit_decayed_14d", cap=10)
    >>> to_frame([rule], {rule.per: EventFeature("decayed_count", "visit", half_life=14)}).to_numpy().tolist()
    [['visit', 'event', 'each time', 2.0, 10.0, 'half after 14 days', 'Visits']]
    """
    rows = []
    for rule in rules:
        feature = features[rule.column]
        event = isinstance(feature, EventFeature)
        half_life = feature.half_life if isinstance(feature, EventFeature) else None
        rows.append(
            {
                "property or event": (feature.event or "any event")
                if isinstance(feature, EventFeature)
                else _field(feature),
                "kind": "event" if event else "property",
                "condition": _condition(rule, feature),
                "points": rule.points,
                "at most": math.nan if rule.cap is None else rule.cap,
                "fades": "never"
                if half_life is None
                else f"half after {half_life:g} day{'s' * (half_life != 1)}",
                "why": rule.label,
            }
        )
    columns = ["property or event", "kind", "condition", "points", "at most", "fades", "why"]
    return pd.DataFrame(rows, columns=columns)


def _line(rule: PointRule, feature: Feature) -> dict[str, Any]:
    line: dict[str, Any] = {}
    if isinstance(feature, AttributeFeature):
        line["field"] = _field(feature)
        if feature.aggregate in _READ_AS:
            line["read_as"] = feature.aggregate
    elif (
        feature.aggregate in ("count", "decayed_count")
        and feature.channel is None
        and feature.contents is None
    ):
        line["event"] = feature.event or "any"
        if feature.content is not None:
            line["content"] = feature.content
        if feature.window is not None:
            line["within"] = f"{feature.window:g}d"
    else:
        found = shown(feature.name)
        raise UsageError(explain("a feature that a line of the point table can name", found, "leave it out"))
    if rule.when is None:
        line |= {"each": _plain(rule.points)} | ({} if rule.cap is None else {"cap": _plain(rule.cap)})
        if isinstance(feature, EventFeature) and feature.half_life is not None:
            line["half_life"] = f"{feature.half_life:g}d"
    else:
        condition = rule.when.to_dict()
        value = condition[rule.when.op]
        line |= {
            rule.when.op: _plain(value) if isinstance(value, float) else value,
            "points": _plain(rule.points),
        }
    return line | {"label": rule.label}


def _field(feature: Feature) -> str:
    """Give what a line calls it: the field, or the column where it is read as something else."""
    if (
        not isinstance(feature, AttributeFeature)
        or feature.field is None
        or feature.aggregate == "days_since"
    ):
        return feature.name
    return feature.field


def _plain(value: float) -> float:
    return int(value) if float(value).is_integer() else value


def _label(rule: PointRule, feature: Feature) -> str:
    about = spoken(feature)
    if isinstance(feature, AttributeFeature) and feature.aggregate in _READ_AS:
        about = f"{about} ({feature.aggregate.replace('_', ' ')})"
    if rule.when is None:
        half_life = feature.half_life if isinstance(feature, EventFeature) else None
        return f"{about}, each" + ("" if half_life is None else f", half after {half_life:g} days")
    window = feature.window if isinstance(feature, EventFeature) else None
    return f"{about}: {_said(rule.when, _MOST_WORDS)}" + ("" if window is None else f" in {window:g} days")


def _condition(rule: PointRule, feature: Feature) -> str:
    """Say when a rule holds, in full."""
    narrowed = (
        f" with content {feature.content}" if isinstance(feature, EventFeature) and feature.content else ""
    )
    read_as = (
        feature.aggregate if isinstance(feature, AttributeFeature) and feature.aggregate in _READ_AS else ""
    )
    if rule.when is None:
        return ("each time" if isinstance(feature, EventFeature) else "each unit") + narrowed
    said = _said(rule.when, None)
    if isinstance(feature, EventFeature):
        said = f"{said} times" + ("" if feature.window is None else f" in the last {feature.window:g} days")
    return f"{read_as.replace('_', ' ')} {said}".strip() + narrowed


def _said(when: Condition, most: int | None) -> str:
    op, value = when.op, when.value
    if isinstance(value, float):
        return {"at_least": f"{number(value)} or more", "below": f"below {number(value)}"}.get(
            op, number(value)
        )
    if value is None:
        return {"missing": "not known", "present": "known"}[op]
    words = [str(word) for word in (value if isinstance(value, tuple) else (value,))]
    kept = (
        words if most is None or len(words) <= most else [*words[: most - 1], f"{len(words) - most + 1} more"]
    )
    listed = " or ".join(([", ".join(kept[:-1])] if len(kept) > 1 else []) + kept[-1:])
    return shown(f"none of {listed}" if op == "not_in" else listed, 200 if most else 2000)


def _numbered(text: str) -> Any:
    yield text
    yield from (f"{text} ({n})" for n in range(2, 1000))
