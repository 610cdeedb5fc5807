"""The policy: thresholds on the probability, for all leads or by segment, and the rules before them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from leadscore.errors import UsageError, explain, shown
from leadscore.models.matrix import is_finite
from leadscore.policy.rules import Rule, rule_changes, take_keys

STAGES: Final = ("unqualified", "nurture", "mql", "sales_ready")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The probabilities at which the stages above unqualified begin.

    Parameters
    ----------
    mql : float
        Probability from which a lead is an MQL: 0.10, not 10.
    sales_ready : float
        Probability from which it goes to sales at once; not below `mql`.
    nurture : float, optional
        Probability from which it is worth keeping warm; not above `mql`. By default a quarter of
        `mql`: on the default scale that is a little over 16 points below the MQL line.

    Raises
    ------
    UsageError
        One is no probability, or they cross.

    Examples
    --------
    >>> Thresholds(mql=0.10, sales_ready=0.30).lines
    {'nurture': 0.025, 'mql': 0.1, 'sales_ready': 0.3}
    """

    mql: float
    sales_ready: float
    nurture: float | None = None

    def __post_init__(self) -> None:
        if self.nurture is None:
            object.__setattr__(self, "nurture", _threshold("mql", self.mql) / 4)
        for name in STAGES[1:]:
            object.__setattr__(self, name, _threshold(name, getattr(self, name)))
        for lower, upper in (("nurture", "mql"), ("mql", "sales_ready")):
            low, high = getattr(self, lower), getattr(self, upper)
            if low > high:
                found = f"{lower} {low:g} above {upper} {high:g}"
                raise UsageError(explain("nurture <= mql <= sales_ready", found, "swap or correct them"))

    @property
    def lines(self) -> dict[str, float]:
        """The probability at which each stage above unqualified begins, lowest first."""
        return {stage: getattr(self, stage) for stage in STAGES[1:]}

    @classmethod
    def from_dict(cls, values: object) -> "Thresholds":
        """Read what a policy's `to_dict` gives for a segment, or a person wrote; else a UsageError."""
        return cls(**take_keys(values, "thresholds", required=("mql", "sales_ready"), optional=("nurture",)))


@dataclass(frozen=True, slots=True)
class Policy:
    """Which stage a lead is in: suppressions first, then fast tracks, then the thresholds.

    A suppressed lead is unqualified and a fast-tracked one sales ready, whatever the chance. For all
    others the chance decides: sales ready from `sales_ready`, MQL from `mql`, nurture from `nurture`,
    unqualified below. A threshold itself belongs to the stage above it.

    Parameters
    ----------
    mql, sales_ready, nurture : float
        As in `Thresholds`: of all leads whose segment has none of its own.
    suppress, fast_track : sequence of Rule
    revision : int
        1 for the policy a model was born with; publishing counts up.
    segment : str, optional
        The categorical column of X by whose levels thresholds differ.
    segments : mapping of str to Thresholds
        By level; a level that is not here, was never seen or is missing has the thresholds of all leads.
    stay : float
        Hysteresis: a lead that was in a stage stays in it down to this share of the stage's line. At 0.8
        a lead becomes an MQL at 10 % and is one until its chance is below 8 %. 1: no hysteresis.
    cool_down : float
        Days after a lead was given back in which its chance does not take it above nurture; a fast track
        does.

    Raises
    ------
    UsageError
        A threshold is no probability, the thresholds cross, two rules share a name, or another value
        cannot be meant.

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
    segment: str | None = None
    segments: Mapping[str, Thresholds] = field(default_factory=dict, hash=False)
    stay: float = 1.0
    cool_down: float = 0.0

    def __post_init__(self) -> None:
        for name, line in Thresholds(self.mql, self.sales_ready, self.nurture).lines.items():
            object.__setattr__(self, name, line)
        if isinstance(self.revision, bool) or not isinstance(self.revision, int) or self.revision < 1:
            raise UsageError(explain("a revision from 1 up", shown(self.revision), "leave it out"))
        for name in ("suppress", "fast_track"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        names = [rule.name for rule in (*self.suppress, *self.fast_track)]
        twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
        if twice is not None:
            raise UsageError(explain("rules that differ in name", f"{shown(twice)!r} twice", "rename one"))
        object.__setattr__(self, "segments", _segments(self.segment, self.segments))
        object.__setattr__(self, "stay", _stay(self.stay))
        object.__setattr__(self, "cool_down", _cool_down(self.cool_down))

    def __reduce__(self) -> tuple[Any, ...]:
        return Policy.from_dict, (self.to_dict(),)  # a read-only mapping does not pickle

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds of all leads whose segment has none of its own."""
        return Thresholds(self.mql, self.sales_ready, self.nurture)

    @property
    def lines(self) -> dict[str, float]:
        """The probability at which each stage above unqualified begins, lowest first; as `thresholds`."""
        return {stage: getattr(self, stage) for stage in STAGES[1:]}

    def to_dict(self) -> dict[str, Any]:
        """Give the policy as plain values for JSON or YAML; without what it makes no use of.

        Examples
        --------
        >>> policy = Policy(0.1, 0.3, segment="source", segments={"Fair": Thresholds(0.2, 0.5)}, stay=0.8)
        >>> policy.to_dict()["segments"]
        {'Fair': {'nurture': 0.05, 'mql': 0.2, 'sales_ready': 0.5}}
        """
        values: dict[str, Any] = {
            "revision": self.revision,
            **self.lines,
            "suppress": [rule.to_dict() for rule in self.suppress],
            "fast_track": [rule.to_dict() for rule in self.fast_track],
        }
        if self.segment is not None:
            values["segment"] = self.segment
            values["segments"] = {level: own.lines for level, own in self.segments.items()}
        return values | {
            name: getattr(self, name) for name, unused in _UNUSED.items() if getattr(self, name) != unused
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
        leadscore.errors.UsageError: expected mql, sales_ready, nurture, segment, segments, stay, cool_down, \
suppress, fast_track, revision in a policy; found 'sales_reddy' (did you mean 'sales_ready'?); \
correct or remove it
        """
        optional = ("nurture", "segment", "segments", *_UNUSED, "suppress", "fast_track", "revision")
        read = dict(take_keys(values, "a policy", required=("mql", "sales_ready"), optional=optional))
        for name in ("suppress", "fast_track"):
            rules = read.get(name, [])
            if not isinstance(rules, list | tuple):
                raise UsageError(explain(f"a list of rules under {name!r}", shown(rules), "write a list"))
            read[name] = tuple(Rule.from_dict(rule) for rule in rules)
        return cls(**(read | {"segments": _by_level(read.get("segments", {}))}))


_UNUSED: Final[Mapping[str, float]] = {"stay": 1.0, "cool_down": 0.0}


def differences(before: Policy, after: Policy) -> tuple[str, ...]:
    """Say what changed between two policies, a phrase for each change; empty when only the revision did.

    Examples
    --------
    >>> differences(Policy(mql=0.1, sales_ready=0.3), Policy(mql=0.12, sales_ready=0.3, nurture=0.025))
    ('mql 10 % -> 12 %',)
    """
    changes = _line_changes(before.thresholds, after.thresholds, "")
    changes += _segment_changes(before, after)
    if before.stay != after.stay:
        old, new = percents(before.stay, after.stay)
        changes.append(f"a lead stays in its stage down to {new} of the line, before {old}")
    if before.cool_down != after.cool_down:
        changes.append(f"cool-down {days(before.cool_down)} -> {days(after.cool_down)}")
    for name in ("suppress", "fast_track"):
        changes += rule_changes(name, getattr(before, name), getattr(after, name))
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


def percents(*values: float) -> tuple[str, ...]:
    """Write probabilities with as many digits as it takes to tell them apart.

    Examples
    --------
    >>> percents(0.1, 0.1234, 0.1235)
    ('10 %', '12.34 %', '12.35 %')
    """
    written: tuple[str, ...] = ()
    for digits in range(3, 18):
        written = tuple(percent(value, digits) for value in values)
        if len(set(written)) == len(set(values)):
            break
    return written


def days(number: float) -> str:
    """Write a number of days.

    Examples
    --------
    >>> days(14.0), days(1.0), days(0.5)
    ('14 days', '1 day', '0.5 days')
    """
    return f"{number:.15g} day{'s' * (number != 1)}"


def _line_changes(before: Thresholds, after: Thresholds, whose: str) -> list[str]:
    return [
        "{}{} {} -> {}".format(stage, whose, *percents(old, new))
        for (stage, old), new in zip(before.lines.items(), after.lines.values(), strict=True)
        if old != new
    ]


def _segment_changes(before: Policy, after: Policy) -> list[str]:
    old, new = (
        {(policy.segment, level): own for level, own in policy.segments.items()} for policy in (before, after)
    )
    told = []
    for which in dict.fromkeys((*old, *new)):
        whose = " ".join(map(shown, which))
        if which not in new:
            told.append(f"{whose} no longer has thresholds of its own")
        elif which not in old:
            lines = ", ".join(f"{stage} {percent(line)}" for stage, line in new[which].lines.items())
            told.append(f"{whose} now has thresholds of its own: {lines}")
        else:
            told += _line_changes(old[which], new[which], f" for {whose}")
    return told


def _threshold(name: str, value: object) -> float:
    """Read a threshold; 40 in place of 0.40 gets its own message."""
    number = _number(value)
    if 0 <= number <= 1:
        return number
    do = f"write {number / 100:g} for {number:g} %" if 1 < number <= 100 else "write 0.4 for 40 %"
    raise UsageError(explain(f"{name} as a probability from 0 to 1", shown(value), do))


def _stay(value: object) -> float:
    number = _number(value)
    if 0 < number <= 1:
        return number
    do = f"write {number / 100:g} for {number:g} %" if 1 < number <= 100 else "write 0.8 for 80 %"
    raise UsageError(explain("stay as a share of the line, above 0 and up to 1", shown(value), do))


def _cool_down(value: object) -> float:
    number = _number(value)
    if number >= 0:
        return number
    raise UsageError(explain("cool_down as days, 0 or more", shown(value), "write 14 for two weeks"))


def _number(value: object) -> float:
    return float(value) if is_finite(value) else math.nan


def _by_level(values: object) -> dict[str, Thresholds]:
    if not isinstance(values, Mapping):
        expected, do = "thresholds by level under 'segments'", "write Webinar: {mql: 0.1, sales_ready: 0.3}"
        raise UsageError(explain(expected, shown(values), do))
    read = {}
    for level, own in values.items():
        try:
            read[level] = Thresholds.from_dict(own)
        except UsageError as error:
            raise UsageError(f"segments, {shown(level)!r}: {error}") from None
    return read


def _segments(segment: object, segments: Mapping[str, Thresholds]) -> Mapping[str, Thresholds]:
    """Take thresholds by level where there is a column of such levels, and neither without the other."""
    if segment is None and segments:
        raise UsageError(
            explain("a segment beside segments", "none", "name the column whose levels they are")
        )
    if segment is not None and not segments:
        do = "give at least one level its own, or leave segment out"
        raise UsageError(explain("thresholds by level beside a segment", "none", do))
    for name in () if segment is None else (segment, *segments):
        if not isinstance(name, str) or not name.strip():
            expected = "a segment and its levels as words"
            raise UsageError(explain(expected, repr(shown(name)), "write them in quotes"))
    wrong = next((own for own in segments.values() if not isinstance(own, Thresholds)), None)
    if wrong is not None:
        raise UsageError(explain("Thresholds for each level", type(wrong).__name__, "give Thresholds"))
    return MappingProxyType(dict(segments))
