"""Rules of a policy: what decides a lead's stage before its chance is looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from leadscore.errors import DataError, UsageError, explain, nearest, shown
from leadscore.models.conditions import Condition
from leadscore.models.matrix import Bools, Column, Floats


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that decides a lead's stage whatever its probability: all its conditions must hold.

    Parameters
    ----------
    name : str
        What people call it: "competitor", "asked to be called".
    when : sequence of Condition
        At least one, on columns of X.
    reason : str, optional
        Shown beside the name.

    Examples
    --------
    >>> Rule("asked to be called", (Condition("call_request_count_1d", "at_least", 1),)).reason is None
    True
    """

    name: str
    when: tuple[Condition, ...]
    reason: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise UsageError(
                explain("a rule with a name", "none", "give the rule a name people will recognise")
            )
        when = tuple(self.when)
        if not when or not all(isinstance(condition, Condition) for condition in when):
            found = f"none in rule {shown(self.name)!r}"
            raise UsageError(explain("at least one condition", found, "say when the rule holds"))
        object.__setattr__(self, "when", when)

    def holds(self, M: Floats, columns: Sequence[Column]) -> Bools:
        """Say for each row of a matrix whether all conditions hold."""
        held = np.ones(len(M), dtype=np.bool_)
        for condition in self.when:
            held &= condition.holds(M, columns)
        return held

    def to_dict(self) -> dict[str, Any]:
        """Give the rule as plain values: {"name": ..., "when": [...], "reason": ...}."""
        return {
            "name": self.name,
            "when": [condition.to_dict() for condition in self.when],
            "reason": self.reason,
        }

    @classmethod
    def from_dict(cls, values: object) -> "Rule":
        """Read what `to_dict` gave; anything else is a UsageError."""
        read = take_keys(values, "a rule", required=("name", "when"), optional=("reason",))
        when, reason = read["when"], read.get("reason")
        if not isinstance(when, list | tuple) or not all(isinstance(each, Mapping) for each in when):
            raise UsageError(
                explain("a list of conditions under 'when'", shown(when), "write them as a list")
            )
        if reason is not None and not isinstance(reason, str):
            raise UsageError(explain("a reason as text", shown(reason), "put it in quotes"))
        return cls(read["name"], tuple(Condition.from_dict(each) for each in when), reason)


def in_words(rule: Rule) -> str:
    """Say when a rule holds.

    Examples
    --------
    >>> in_words(Rule("rival", (Condition("industry", "is", "bank"), Condition("size", "below", 9))))
    'industry is bank and size below 9'
    """
    return " and ".join(map(_condition, rule.when))


def require_words(rules: Sequence[Rule], columns: Sequence[Column]) -> None:
    """Refuse rules about a word that the model does not know: it takes all such words for one.

    Parameters
    ----------
    rules : sequence of Rule
        On columns that are there.
    columns : sequence of Column
        The model's.

    Raises
    ------
    DataError
        A word is none of its column's levels; the nearest is named.

    Examples
    --------
    >>> rule = Rule("met at a fair", (Condition("source", "is", "Fairs"),))
    >>> require_words([rule], [Column("source", ("Ads", "Fair"))])
    Traceback (most recent call last):
    leadscore.errors.DataError: expected a level of 'source' in the rule “met at a fair”; found 'Fairs' \
(did you mean 'Fair'?); correct it, or train with a config that names it
    """
    levels = {column.name: column.levels for column in columns if column.levels is not None}
    for rule in rules:
        for condition in rule.when:
            values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
            known = levels.get(condition.column)
            strange = [word for word in values if isinstance(word, str) and known and word not in known]
            if strange:
                expected = f"a level of {shown(condition.column)!r} in the rule “{shown(rule.name)}”"
                found = f"{shown(strange[0])!r}{nearest(strange[0], known or ())}"
                do = "correct it, or train with a config that names it"
                raise DataError(explain(expected, found, do))


def rule_changes(field: str, before: Sequence[Rule], after: Sequence[Rule]) -> list[str]:
    """Say what became of the rules under a policy's "suppress" or "fast_track", a phrase a change.

    Examples
    --------
    >>> called = Rule("called", (Condition("calls", "at_least", 1),))
    >>> rule_changes("fast_track", [called], [Rule("called", (Condition("calls", "at_least", 2),))])
    ['fast_track “called”: calls at least 1 -> calls at least 2']
    """
    old, new = ({rule.name: rule for rule in rules} for rules in (before, after))
    told = [f"{field} without “{shown(name)}”" for name in old if name not in new]
    told += [f"{field} with “{shown(name)}”: {in_words(new[name])}" for name in new if name not in old]
    for name in new:
        if name in old and old[name] != new[name]:
            told += [f"{field} “{shown(name)}”: {change}" for change in _changes(old[name], new[name])]
    if not told and list(old) != list(new):
        told = [f"{field} in another order: {', '.join(f'“{shown(name)}”' for name in new)}"]
    return told


def take_keys(
    values: object, what: str, *, required: tuple[str, ...], optional: tuple[str, ...]
) -> Mapping[str, Any]:
    """Take a mapping with these keys and no others.

    Raises
    ------
    UsageError
        It is something else; an unknown key is named with the known one that was probably meant.
    """
    if not isinstance(values, Mapping):
        raise UsageError(explain(f"{what} as keys and values", shown(values), "write it as a mapping"))
    known = (*required, *optional)
    unknown = [key for key in values if key not in known]
    if unknown:
        found = f"{shown(unknown[0])!r}{nearest(str(unknown[0]), known)}"
        raise UsageError(explain(f"{', '.join(known)} in {what}", found, "correct or remove it"))
    absent = next((key for key in required if key not in values), None)
    if absent is not None:
        raise UsageError(explain(f"{absent!r} in {what}", "none", "add it"))
    return values


def _changes(old: Rule, new: Rule) -> list[str]:
    told = [f"{in_words(old)} -> {in_words(new)}"] if old.when != new.when else []
    if old.reason != new.reason:
        reasons = [f"“{shown(rule.reason)}”" if rule.reason else "none" for rule in (old, new)]
        told.append(f"reason {reasons[0]} -> {reasons[1]}")
    return told


def _condition(condition: Condition) -> str:
    column, op = shown(condition.column), condition.op.replace("_", " ")
    if condition.value is None:
        return f"{column} {op}"
    values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    written = [f"{value:.15g}" if isinstance(value, float) else shown(value) for value in values]
    return f"{column} {op} {(' and ' if condition.op == 'between' else ', ').join(written)}"
