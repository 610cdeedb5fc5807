"""What a draft policy changes beside the policy in force: on past leads, week by week, and on today's."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np

from leadscore.errors import UsageError, explain, shown
from leadscore.models.matrix import Bools, Column, is_finite
from leadscore.policy.backtest import Backtest
from leadscore.policy.drift import drift
from leadscore.policy.figures import load
from leadscore.policy.moves import StageChange, changed
from leadscore.policy.policy import Policy, differences
from leadscore.policy.rules import Rule
from leadscore.policy.staging import Ints, Stages, stages

FEW: Final = 10  # conversions: with fewer a segment's figures are mostly luck
_ENOUGH: Final = 30  # conversions: with fewer so are all figures
_MOST_NAMED: Final = 5  # segments in the warnings
_LUCK: Final = 0.05
_DRAWS: Final = 20_000
_RULES: Final = ("suppress", "fast_track")

Ruled: TypeAlias = frozenset[tuple[str, Rule]]  # rules, each with the field of the policy that holds it


@dataclass(frozen=True, slots=True)
class Replay:
    """What one policy would have sent to sales, MQLs and sales-ready leads together.

    Parameters
    ----------
    sent, converted, missed : int
        Leads sent, those of them that converted, and leads that converted without being sent.
    """

    sent: int
    converted: int
    missed: int


@dataclass(frozen=True, slots=True)
class Week:
    """One past week under both policies.

    Parameters
    ----------
    week : int
        As the backtest counts them.
    leads : int
    in_force, draft : Replay
    """

    week: int
    leads: int
    in_force: Replay
    draft: Replay


@dataclass(frozen=True, slots=True)
class SegmentEffect:
    """One segment of the past leads under both policies.

    Parameters
    ----------
    column, level : str
        Such as "source" and "Referral"; the level is empty for leads without one.
    leads : int
    in_force, draft : Replay
    own_lines : bool
        Whether the draft has thresholds for this level.
    """

    column: str
    level: str
    leads: int
    in_force: Replay
    draft: Replay
    own_lines: bool

    @property
    def conversions(self) -> int:
        """How many of its leads converted, sent or not."""
        return self.draft.converted + self.draft.missed

    @property
    def few(self) -> bool:
        """Whether fewer than 10 converted, so that its figures are mostly luck."""
        return self.conversions < FEW

    @property
    def name(self) -> str:
        """What people call it: source “Referral”, or no source."""
        return f"{shown(self.column)} “{shown(self.level)}”" if self.level else f"no {shown(self.column)}"


@dataclass(frozen=True, slots=True)
class Load:
    """How many leads the draft would send in a week to come.

    Parameters
    ----------
    expected, low, high : float
        Leads a week; the 95 % prediction interval of one week.
    capacity : float or None
        Leads that the team can work in a week.
    exceeded : float or None
        The chance that a week brings more; None without a capacity.
    """

    expected: float
    low: float
    high: float
    capacity: float | None
    exceeded: float | None

    @property
    def sentence(self) -> str:
        """The load against the capacity in one sentence."""
        low, middle, high = (_leads(each) for each in (self.low, self.expected, self.high))
        told = f"Expected {middle} leads a week, from {low} to {high} in 95 of 100 weeks"
        if self.capacity is None or self.exceeded is None:
            return f"{told}."
        capacity = f"a capacity of {self.capacity:,.6g}"
        if not 0.005 <= self.exceeded < 0.995:
            return f"{told}: {capacity} is {'always' if self.exceeded > 0.5 else 'hardly ever'} exceeded."
        return f"{told}: {capacity} is exceeded in about {100 * self.exceeded:.0f} % of weeks."


@dataclass(frozen=True, slots=True)
class Preview:
    """A draft beside the policy in force.

    Parameters
    ----------
    changes : tuple of str
        What the draft changes, in words; empty when nothing.
    stages : tuple of StageChange
        One a stage, in the order of `STAGES`.
    in_force, draft : Replay
    leads : int
        Of the backtest.
    weeks : tuple of Week
        In order, weeks without leads included; empty where there is no clock.
    segments : tuple of SegmentEffect
        The segments of either policy and of the columns asked for, those with the most leads first.
    load : Load or None
        None where there is no clock.
    warnings : tuple of str
        What to look at before publishing.
    """

    changes: tuple[str, ...]
    stages: tuple[StageChange, ...]
    in_force: Replay
    draft: Replay
    leads: int
    weeks: tuple[Week, ...]
    segments: tuple[SegmentEffect, ...]
    load: Load | None
    warnings: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The replay in one sentence."""
        n = len(self.weeks)
        over = f" in {n} week{'s' * (n != 1)}" if n else ""
        now, then = self.draft, self.in_force
        return (
            f"You would have sent {now.sent:,} of {self.leads:,} leads{over}: {now.converted:,} of them"
            f" converted, {now.missed:,} conversions missed (in force: {then.sent:,} sent,"
            f" {then.converted:,} converted, {then.missed:,} missed)."
        )

    def to_dict(self) -> dict[str, Any]:
        """Give the preview as plain values for JSON, the sentences included."""
        given = asdict(self)
        lists = {name: list(each) for name, each in given.items() if isinstance(each, tuple)}
        load = None if self.load is None else given["load"] | {"sentence": self.load.sentence}
        return given | lists | {"load": load, "sentence": self.sentence}


def preview(
    draft: Policy,
    in_force: Policy,
    backtest: Backtest,
    *,
    by: str | Sequence[str] = (),
    capacity: float | None = None,
    seed: int = 0,
) -> Preview:
    """Replay a draft and the policy in force on leads whose outcome is known.

    A backtest has one row a lead, so every lead meets the lines at which it enters a stage; what
    hysteresis and the cool-down of recycled leads change shows on today's leads alone (`moves`).

    Parameters
    ----------
    draft, in_force : Policy
    backtest : Backtest
        Mature leads, one row each, scored by a model that had not seen them.
    by : str or sequence of str
        Categories to show segments of, beside the one that the policies have thresholds for.
    capacity : float, optional
        Leads that the team can work in a week.
    seed : int
        Of the weeks drawn to judge drift, and of how often the capacity is exceeded.

    Returns
    -------
    Preview

    Raises
    ------
    UsageError
        The capacity is not above 0, or the backtest did not keep a column that is read by a segment, by
        `by`, or by a rule that differs between the policies.

    Examples
    --------
    >>> leads = Backtest([0.9, 0.5, 0.3, 0.1], [1, 0, 1, 0])
    >>> shown = preview(Policy(mql=0.3, sales_ready=0.8), Policy(mql=0.5, sales_ready=0.8), leads)
    >>> shown.sentence
    'You would have sent 3 of 4 leads: 2 of them converted, 0 conversions missed \
(in force: 2 sent, 1 converted, 1 missed).'
    """
    if capacity is not None and not (is_finite(capacity) and capacity > 0):
        raise UsageError(explain("a capacity above 0", shown(capacity), "say how many leads a week"))
    left_out = _left_out(draft, in_force, backtest)
    M = np.empty((len(backtest.y), 0)) if backtest.M is None else backtest.M
    before, after = (
        stages(without(policy, left_out), backtest.probability, M, backtest.columns)
        for policy in (in_force, draft)
    )
    sent = _Sent(_reached(before), _reached(after), backtest.y)
    own = [policy.segment for policy in (draft, in_force) if policy.segment is not None]
    asked = list(dict.fromkeys([*own, *([by] if isinstance(by, str) else by)]))
    segments = [each for name in asked for each in _segments(name, draft, backtest, sent)]
    others = [name for name in backtest.categories if name not in asked]
    further = [each for name in others for each in _segments(name, draft, backtest, sent)]
    ((leads, now, then),) = sent.by(np.zeros(len(backtest.y), dtype=np.int64), 1)
    return Preview(
        changes=differences(in_force, draft),
        stages=changed(before, after),
        in_force=now,
        draft=then,
        leads=leads,
        weeks=_weeks(backtest, sent),
        segments=tuple(segments),
        load=None if backtest.week is None else _load(backtest, sent.draft, capacity, seed),
        warnings=(
            *_unseen(draft, in_force, left_out),
            *_shut_out(segments, further, sent),
            *_few(segments, draft, backtest),
            *_poor_guide(backtest, sent.draft, capacity, seed),
        ),
    )


def unread(policy: Policy, columns: Sequence[Column]) -> Ruled:
    """Give a policy's rules that read a column which is not among these, each with its field.

    Examples
    --------
    >>> from leadscore.models.conditions import Condition
    >>> rule = Rule("asked to be called", (Condition("calls", "at_least", 1),))
    >>> [(field, each.name) for field, each in unread(Policy(0.1, 0.3, fast_track=(rule,)), [Column("age")])]
    [('fast_track', 'asked to be called')]
    """
    names = {column.name for column in columns}
    return frozenset(
        (field, rule)
        for field in _RULES
        for rule in getattr(policy, field)
        if not names.issuperset(condition.column for condition in rule.when)
    )


def without(policy: Policy, left_out: Ruled) -> Policy:
    """Give a policy without some of its rules.

    Examples
    --------
    >>> without(Policy(0.1, 0.3), frozenset()) == Policy(0.1, 0.3)
    True
    """
    suppress, fast_track = (
        tuple(rule for rule in getattr(policy, field) if (field, rule) not in left_out) for field in _RULES
    )
    return replace(policy, suppress=suppress, fast_track=fast_track)


@dataclass(frozen=True, slots=True)
class _Sent:
    """Which past leads each policy sends, and which converted."""

    in_force: Bools
    draft: Bools
    won: Bools

    def by(self, place: Ints, n: int) -> list[tuple[int, Replay, Replay]]:
        """Give the leads and both replays of each of n groups."""
        leads, wins = (np.bincount(place[rows], minlength=n).tolist() for rows in (slice(None), self.won))
        both = []
        for sent in (self.in_force, self.draft):
            volume, converted = (
                np.bincount(place[rows], minlength=n).tolist() for rows in (sent, sent & self.won)
            )
            both.append([Replay(s, c, w - c) for s, c, w in zip(volume, converted, wins, strict=True)])
        return list(zip(leads, *both, strict=True))


def _left_out(draft: Policy, in_force: Policy, backtest: Backtest) -> Ruled:
    """Give the rules that both policies have and the backtest cannot apply; refuse what only one has."""
    new, old = (unread(policy, backtest.columns) for policy in (draft, in_force))
    lacking = [f"rule {shown(rule.name)!r}" for _, rule in sorted(new ^ old, key=repr)]
    kept = {column.name for column in backtest.columns}
    lacking += [
        f"segment {shown(policy.segment)!r}"
        for policy in (draft, in_force)
        if policy.segment is not None and policy.segment not in kept
    ]
    if lacking:
        expected = "rules and segments on columns that the backtest kept"
        raise UsageError(explain(expected, lacking[0], "preview it on today's leads instead"))
    return new


def _reached(staged: Stages) -> Bools:
    """Say who is sent."""
    return np.asarray((staged == "mql") | (staged == "sales_ready"), dtype=np.bool_)


def _weeks(backtest: Backtest, sent: _Sent) -> tuple[Week, ...]:
    if backtest.week is None:
        return ()
    first, last = int(backtest.week.min()), int(backtest.week.max())
    rows = sent.by(backtest.week - first, last - first + 1)
    return tuple(Week(first + number, *row) for number, row in enumerate(rows))


def _segments(name: str, draft: Policy, backtest: Backtest, sent: _Sent) -> list[SegmentEffect]:
    """Give the effect on every level that has leads, those with the most leads first."""
    place, words = backtest.coded(name)
    own = draft.segments if name == draft.segment else {}
    found = [
        SegmentEffect(name, word, *row, own_lines=word in own)
        for word, row in zip(words, sent.by(place, len(words)), strict=True)
        if row[0]
    ]
    return sorted(found, key=lambda each: -each.leads)


def _load(backtest: Backtest, sent: Bools, capacity: float | None, seed: int) -> Load:
    """Expect a week; how often it brings more than the capacity follows from the interval's distribution."""
    week = load(backtest, sent, weeks=1)
    exceeded = None
    if capacity is not None:
        rng, freedom = np.random.default_rng(seed), (backtest.weeks or 1) - 1
        drawn = rng.standard_t(freedom, _DRAWS) if freedom else rng.standard_normal(_DRAWS)
        half = np.quantile(np.abs(drawn), 0.95)
        more = week.value + (week.high - week.value) / half * drawn > math.floor(capacity) + 0.5
        exceeded = float(more.mean())
    return Load(week.value, week.low, week.high, capacity, exceeded)


def _leads(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"


def _unseen(draft: Policy, in_force: Policy, left_out: Ruled) -> list[str]:
    """Say what the replay cannot show."""
    told = []
    if left_out:
        names = ", ".join(sorted(f"“{shown(rule.name)}”" for _, rule in left_out))
        told.append(f"left out on both sides, as the backtest did not keep what they read: {names}")
    if (draft.stay, draft.cool_down) != (in_force.stay, in_force.cool_down):
        told.append("a replay sees each lead once: what `stay` and `cool_down` change is not in it")
    return told


def _shut_out(asked: Sequence[SegmentEffect], further: Sequence[SegmentEffect], sent: _Sent) -> list[str]:
    """Name the segments of which no lead is sent any more; of columns not asked for, only by more than luck.

    If the draft keeps a share r of the leads sent, a segment with k of them is left with none by luck
    with a chance of (1 - r)^k.
    """
    before = int(sent.in_force.sum())
    gone = 1 - int((sent.in_force & sent.draft).sum()) / max(before, 1)
    named = [each for each in asked if not each.draft.sent and (each.in_force.sent or each.conversions)]
    named += [
        each
        for each in further
        if each.in_force.sent and not each.draft.sent and gone**each.in_force.sent < _LUCK
    ]
    told = [
        f"{each.name} is shut out: none of its {each.leads:,} leads would be sent"
        f" ({each.in_force.sent:,} in force); {each.conversions:,} of them converted"
        for each in named[:_MOST_NAMED]
    ]
    more = len(named) - len(told)
    return [*told, f"{more} more segments are shut out"] if more else told


def _few(segments: Sequence[SegmentEffect], draft: Policy, backtest: Backtest) -> list[str]:
    """Say whose figures are mostly luck, and which thresholds no past lead has met."""
    told = []
    wins = int(backtest.y.sum())
    if wins < _ENOUGH:
        told.append(f"only {wins:,} of {len(backtest.y):,} leads converted: these counts are mostly luck")
    told += [
        f"{each.name} has {each.conversions:,} conversions among {each.leads:,} leads: too few to judge"
        " thresholds of its own"
        for each in segments
        if each.own_lines and each.few
    ]
    met = {each.level for each in segments if each.own_lines}
    told += [
        f"no past lead has {shown(draft.segment)} “{shown(level)}”: its thresholds are not in this replay"
        for level in draft.segments
        if level not in met
    ]
    return told


def _poor_guide(backtest: Backtest, sent: Bools, capacity: float | None, seed: int) -> list[str]:
    """Say why the weeks to come may differ."""
    if backtest.week is None:
        told = "the backtest has no weeks: how the draft fills a capacity is not known"
        return [] if capacity is None else [told]
    found = drift(backtest, sent, seed=seed)
    if found is None:
        return ["fewer than 12 weeks have leads: too few to see whether recent ones differ from those before"]
    return list(found.sentences)
