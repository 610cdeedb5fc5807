"""The policy: two thresholds on the probability, and the readable rules that come before them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from leadscore.errors import UsageError, explain, nearest, shown
from leadscore.models.conditions import Condition
from leadscore.models.matrix import Bools, Column, Floats

STAGES: Final = ("unqualified", "nurture", "mql", "sales_ready")
_NAMES: Final = {
    "unqualified": "Unqualified",
    "nurture": "Nurture",
    "mql": "MQL",
    "sales_ready": "Sales ready",
}

Stages: TypeAlias = NDArray[np.object_]


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
        read = _keys(values, "a rule", required=("name", "when"), optional=("reason",))
        when, reason = read["when"], read.get("reason")
        if not isinstance(when, list | tuple) or not all(isinstance(each, Mapping) for each in when):
            raise UsageError(
                explain("a list of conditions under 'when'", shown(when), "write them as a list")
            )
        if reason is not None and not isinstance(reason, str):
            raise UsageError(explain("a reason as text", shown(reason), "put it in quotes"))
        return cls(read["name"], tuple(Condition.from_dict(each) for each in when), reason)


@dataclass(frozen=True, slots=True)
class Policy:
    """Which stage a lead is in: suppressions first, then fast tracks, then the thresholds.

    A suppressed lead is unqualified and a fast-tracked one sales ready, whatever the chance. For all
    others the chance decides: sales ready from `sales_ready`, MQL from `mql`, nurture from `nurture`,
    unqualified below. A threshold itself belongs to the stage above it.

    Parameters
    ----------
    mql : float
        Probability from which a lead is an MQL: 0.10, not 10.
    sales_ready : float
        Probability from which it goes to sales at once; not below `mql`.
    suppress, fast_track : sequence of Rule
    nurture : float, optional
        Probability from which it is worth keeping warm; not above `mql`. By default a quarter of
        `mql`: on the default scale that is a little over 16 points below the MQL line.
    revision : int
        1 for the policy a model was born with; publishing counts up.

    Raises
    ------
    UsageError
        A threshold is no probability, the thresholds cross, or two rules share a name.

    Examples
    --------
    >>> policy = Policy(mql=0.10, sales_ready=0.30)
    >>> policy.nurture
    0.025
    >>> Policy(mql=40, sales_ready=0.5)
    Traceback (most recent call last):
    leadscore.errors.UsageError: expected mql as a probability from 0 to 1; found 40; write 0.4 for 40 %
    """

    mql: float
    sales_ready: float
    suppress: tuple[Rule, ...] = ()
    fast_track: tuple[Rule, ...] = ()
    nurture: float | None = None
    revision: int = 1

    def __post_init__(self) -> None:
        if self.nurture is None:
            object.__setattr__(self, "nurture", _threshold("mql", self.mql) / 4)
        for name in ("nurture", "mql", "sales_ready"):
            object.__setattr__(self, name, _threshold(name, getattr(self, name)))
        for lower, upper in (("nurture", "mql"), ("mql", "sales_ready")):
            low, high = getattr(self, lower), getattr(self, upper)
            if low > high:
                found = f"{lower} {low:g} above {upper} {high:g}"
                raise UsageError(explain("nurture <= mql <= sales_ready", found, "swap or correct them"))
        if isinstance(self.revision, bool) or not isinstance(self.revision, int) or self.revision < 1:
            raise UsageError(explain("a revision from 1 up", shown(self.revision), "leave it out"))
        for field in ("suppress", "fast_track"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        names = [rule.name for rule in (*self.suppress, *self.fast_track)]
        twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
        if twice is not None:
            raise UsageError(explain("rules that differ in name", f"{shown(twice)!r} twice", "rename one"))

    @property
    def lines(self) -> dict[str, float]:
        """The probability at which each stage above unqualified begins, lowest first."""
        return {stage: getattr(self, stage) for stage in STAGES[1:]}

    def to_dict(self) -> dict[str, Any]:
        """Give the policy as plain values for JSON or YAML."""
        return {
            "revision": self.revision,
            "nurture": self.nurture,
            "mql": self.mql,
            "sales_ready": self.sales_ready,
            "suppress": [rule.to_dict() for rule in self.suppress],
            "fast_track": [rule.to_dict() for rule in self.fast_track],
        }

    @classmethod
    def from_dict(cls, values: object) -> "Policy":
        """Read what `to_dict` gave, or a person wrote.

        Raises
        ------
        UsageError
            A key is unknown or missing, or a value cannot be meant.

        Examples
        --------
        >>> Policy.from_dict({"mql": 0.1, "sales_reddy": 0.3})
        Traceback (most recent call last):
        leadscore.errors.UsageError: expected mql, sales_ready, suppress, fast_track, nurture, revision in a \
policy; found 'sales_reddy' (did you mean 'sales_ready'?); correct or remove it
        """
        optional = ("suppress", "fast_track", "nurture", "revision")
        read = dict(_keys(values, "a policy", required=("mql", "sales_ready"), optional=optional))
        for field in ("suppress", "fast_track"):
            rules = read.get(field, [])
            if not isinstance(rules, list | tuple):
                raise UsageError(explain(f"a list of rules under {field!r}", shown(rules), "write a list"))
            read[field] = tuple(Rule.from_dict(rule) for rule in rules)
        return cls(**read)


def stages(policy: Policy, probability: Floats, M: Floats, columns: Sequence[Column]) -> Stages:
    """Say which stage each lead is in.

    Parameters
    ----------
    policy : Policy
    probability : array of shape (n,)
    M : array of shape (n, p)
        As `to_matrix` lays it out; the rules look at it.
    columns : sequence of Column
        What the columns of M are.

    Returns
    -------
    array of shape (n,), str
        One of `STAGES` each.

    Raises
    ------
    DataError
        A rule is about a column that the model does not have.

    Examples
    --------
    >>> rules = (Rule("competitor", (Condition("competitor", "is", 1),)),)
    >>> policy = Policy(mql=0.1, sales_ready=0.3, suppress=rules)
    >>> stages(policy, np.array([0.1, 0.5, 0.5]), np.array([[0.0], [0.0], [1.0]]), [Column("competitor")])
    array(['mql', 'sales_ready', 'unqualified'], dtype=object)
    """
    stage, _ = _decided(policy, probability, M, columns)
    return np.array(STAGES, dtype=object)[stage]


def stage_reasons(policy: Policy, probability: Floats, M: Floats, columns: Sequence[Column]) -> list[str]:
    """Say in one sentence for each lead why it is in its stage; parameters as in `stages`.

    Examples
    --------
    >>> stage_reasons(Policy(mql=0.1, sales_ready=0.3), np.array([0.14]), np.empty((1, 0)), [])
    ['MQL: the chance of 14 % is at or above the line of 10 %; sales ready begins at 30 %.']
    """
    _, rule = _decided(policy, probability, M, columns)
    rules = (*policy.suppress, *policy.fast_track)
    return [
        explain_stage(policy, float(p), rules[r] if r >= 0 else None)
        for p, r in zip(np.asarray(probability, dtype=np.float64), rule, strict=True)
    ]


def explain_stage(policy: Policy, probability: float, rule: Rule | None = None) -> str:
    """Say in one sentence which stage a chance means, or which rule decided instead.

    Parameters
    ----------
    policy : Policy
    probability : float
    rule : Rule, optional
        The rule of the policy that decided; None where the thresholds did.

    Returns
    -------
    str

    Examples
    --------
    >>> explain_stage(Policy(mql=0.1, sales_ready=0.3), 0.07)
    'Nurture: the chance of 7 % is below the MQL line of 10 %.'
    """
    if rule is not None:
        stage = "unqualified" if rule in policy.suppress else "sales_ready"
        why = f" ({shown(rule.reason, 200)})" if rule.reason else ""
        return f"{_NAMES[stage]} by the rule “{shown(rule.name)}”{why}, whatever the chance."
    reached = int(_by_threshold(policy, np.array([probability]))[0])
    lines = policy.lines
    above = STAGES[reached + 1] if reached + 1 < len(STAGES) else None
    if reached < STAGES.index("mql"):
        chance, line = _percents(probability, lines[str(above)])
        name = "MQL" if above == "mql" else above
        return f"{_NAMES[STAGES[reached]]}: the chance of {chance} is below the {name} line of {line}."
    chance, line = _percents(probability, lines[STAGES[reached]])
    more = f"; sales ready begins at {percent(policy.sales_ready)}" if above else ""
    return f"{_NAMES[STAGES[reached]]}: the chance of {chance} is at or above the line of {line}{more}."


def differences(before: Policy, after: Policy) -> tuple[str, ...]:
    """Say what changed between two policies, a phrase for each change; empty when only the revision did.

    Examples
    --------
    >>> differences(Policy(mql=0.1, sales_ready=0.3), Policy(mql=0.12, sales_ready=0.3, nurture=0.025))
    ('mql 10 % -> 12 %',)
    """
    changes = []
    for stage in STAGES[1:]:
        old, new = before.lines[stage], after.lines[stage]
        if old != new:
            changes.append("{} {} -> {}".format(stage, *_percents(old, new)))
    for field in ("suppress", "fast_track"):
        old_rules = {rule.name: rule for rule in getattr(before, field)}
        new_rules = {rule.name: rule for rule in getattr(after, field)}
        changes += [f"{field} without “{shown(name)}”" for name in old_rules if name not in new_rules]
        changes += [f"{field} with “{shown(name)}”" for name in new_rules if name not in old_rules]
        both = [name for name in new_rules if name in old_rules]
        changes += [f"{field} “{shown(name)}” changed" for name in both if old_rules[name] != new_rules[name]]
    return tuple(changes)


def percent(probability: float, digits: int = 3) -> str:
    """Write a probability as people read it, to so many significant digits.

    Examples
    --------
    >>> percent(0.1), percent(0.02468), percent(0.9996)
    ('10 %', '2.47 %', '99.96 %')
    """
    near_end = min(probability, 1 - probability)
    places = max(0, digits - 3 - math.floor(math.log10(near_end))) if near_end > 0 else 0
    text = f"{100 * probability:.{places}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def _percents(one: float, other: float) -> tuple[str, str]:
    """Write two probabilities with as many digits as it takes to tell them apart."""
    digits = range(2, 18)
    pairs = ((percent(one, d), percent(other, d)) for d in digits)
    return next(((a, b) for a, b in pairs if a != b or one == other), (percent(one, 17), percent(other, 17)))


def _decided(
    policy: Policy, probability: Floats, M: Floats, columns: Sequence[Column]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give each lead's stage, and the number of the rule that decided it, or -1."""
    stage = _by_threshold(policy, probability)
    rule = np.full(len(stage), -1, dtype=np.int64)
    rules = [(each, 0) for each in policy.suppress] + [(each, len(STAGES) - 1) for each in policy.fast_track]
    for number, (each, decides) in enumerate(rules):
        held = each.holds(M, columns) & (rule < 0)
        stage[held], rule[held] = decides, number
    return stage, rule


def _by_threshold(policy: Policy, probability: Floats) -> NDArray[np.int64]:
    lines = np.array(list(policy.lines.values()))
    return np.searchsorted(lines, np.asarray(probability, dtype=np.float64), side="right")


def _threshold(name: str, value: object) -> float:
    """Read a threshold; 40 in place of 0.40 gets its own message."""
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if 0 <= number <= 1:
        return number
    do = f"write {number / 100:g} for {number:g} %" if 1 < number <= 100 else "write 0.4 for 40 %"
    raise UsageError(explain(f"{name} as a probability from 0 to 1", shown(value), do))


def _keys(
    values: object, what: str, *, required: tuple[str, ...], optional: tuple[str, ...]
) -> Mapping[str, Any]:
    """Take a mapping with these keys and no others."""
    if not isinstance(values, Mapping):
        raise UsageError(explain(f"{what} as keys and values", shown(values), "write it as a mapping"))
    known = (*required, *optional)
    unknown = next((key for key in values if key not in known), None)
    if unknown is not None:
        found = f"{shown(unknown)!r}{nearest(str(unknown), known)}"
        raise UsageError(explain(f"{', '.join(known)} in {what}", found, "correct or remove it"))
    absent = next((key for key in required if key not in values), None)
    if absent is not None:
        raise UsageError(explain(f"{absent!r} in {what}", "none", "add it"))
    return values
