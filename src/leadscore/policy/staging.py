"""Which stage each lead is in under a policy, and why, in a sentence."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from leadscore.errors import DataError, explain, nearest, shown
from leadscore.models.calibration import Scale
from leadscore.models.conditions import index_of
from leadscore.models.matrix import Column, Floats
from leadscore.policy.policy import STAGES, Policy
from leadscore.policy.reasons import Places, by_chance, by_rule
from leadscore.policy.rules import Rule

Stages: TypeAlias = NDArray[np.object_]
Ints: TypeAlias = NDArray[np.int64]

_WORDS: Final = np.array(STAGES, dtype=object)
_NURTURE: Final = STAGES.index("nurture")


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """Where leads stood before, one row a lead: what hysteresis and the cool-down look at.

    Parameters
    ----------
    stage : array of shape (n,), int
        The place in `STAGES` of the stage that each was in; -1 where that is not known.
    recycled : array of shape (n,), float
        Days since it was given back; nan where it never was.

    Raises
    ------
    DataError
        The arrays differ in length, or a value cannot be meant.

    Examples
    --------
    >>> Standing([2, -1], [np.nan, 5]).stage
    array([ 2, -1])
    """

    stage: Ints
    recycled: Floats

    def __post_init__(self) -> None:
        stage, recycled = np.asarray(self.stage, np.int64), np.asarray(self.recycled, np.float64)
        if stage.ndim != 1 or stage.shape != recycled.shape:
            found = f"shapes {stage.shape} and {recycled.shape}"
            raise DataError(explain("stages and days, one a lead", found, "give one value a lead"))
        if ((stage < -1) | (stage >= len(STAGES))).any():
            do = "give places in STAGES, -1 where the stage is not known"
            raise DataError(explain(f"stages from -1 to {len(STAGES) - 1}", "others", do))
        if (recycled < 0).any():
            do = "leave out what lies ahead of the moment"
            raise DataError(explain("days since a lead was given back, 0 or more", "fewer", do))
        object.__setattr__(self, "stage", stage)
        object.__setattr__(self, "recycled", recycled)

    def take(self, rows: Ints) -> "Standing":
        """Give some of the rows, in the order asked for."""
        return Standing(self.stage[rows], self.recycled[rows])


def stages(
    policy: Policy,
    probability: Floats,
    M: Floats,
    columns: Sequence[Column],
    standing: Standing | None = None,
) -> Stages:
    """Say which stage each lead is in.

    Raising a lead's chance never lowers its stage.

    Parameters
    ----------
    policy : Policy
    probability : array of shape (n,)
    M : array of shape (n, p)
        As `to_matrix` lays it out; the rules and the segment look at it.
    columns : sequence of Column
        What the columns of M are.
    standing : Standing, optional
        Where the leads stood before; without it all are new, and neither hysteresis nor cool-down applies.

    Returns
    -------
    array of shape (n,), str
        One of `STAGES` each.

    Raises
    ------
    DataError
        A rule or the segment is about a column that the model does not have.

    Examples
    --------
    >>> from leadscore.models.conditions import Condition
    >>> rules = (Rule("competitor", (Condition("competitor", "is", 1),)),)
    >>> policy = Policy(mql=0.1, sales_ready=0.3, suppress=rules)
    >>> stages(policy, np.array([0.1, 0.5, 0.5]), np.array([[0.0], [0.0], [1.0]]), [Column("competitor")])
    array(['mql', 'sales_ready', 'unqualified'], dtype=object)
    """
    return _WORDS[_decided(policy, probability, M, columns, standing).stage]


def stage_reasons(
    policy: Policy,
    probability: Floats,
    M: Floats,
    columns: Sequence[Column],
    standing: Standing | None = None,
    *,
    scale: Scale | None = None,
) -> list[str]:
    """Say in one sentence for each lead why it is in its stage.

    Parameters
    ----------
    policy, probability, M, columns, standing
        As in `stages`.
    scale : Scale, optional
        Speak of the score in place of the chance, where chances are not to be told.

    Returns
    -------
    list of str of length n

    Examples
    --------
    >>> stage_reasons(Policy(mql=0.1, sales_ready=0.3), np.array([0.14]), np.empty((1, 0)), [])
    ['MQL: the chance of 14 % is at or above the line of 10 %; sales ready begins at 30 %.']
    """
    decided = _decided(policy, probability, M, columns, standing)
    rules = (*policy.suppress, *policy.fast_track)
    rows = zip(
        np.asarray(probability, np.float64).tolist(),
        decided.rule.tolist(),
        segment_of(policy, M, columns),
        map(Places, decided.entry.tolist(), decided.kept.tolist(), decided.stage.tolist()),
        [math.nan] * len(decided.stage) if standing is None else standing.recycled.tolist(),
        strict=True,
    )
    return [
        by_rule(policy, rules[rule]) if rule >= 0 else by_chance(policy, chance, level, places, since, scale)
        for chance, rule, level, places, since in rows
    ]


def explain_stage(
    policy: Policy,
    probability: float,
    rule: Rule | None = None,
    *,
    level: str | None = None,
    before: str | None = None,
    recycled: float | None = None,
) -> str:
    """Say in one sentence which stage a chance means, or which rule decided instead.

    Parameters
    ----------
    policy : Policy
    probability : float
    rule : Rule, optional
        The rule of the policy that decided; None where the thresholds did.
    level : str, optional
        The lead's level of the policy's segment.
    before : str, optional
        The stage that it was in.
    recycled : float, optional
        Days since it was given back.

    Returns
    -------
    str

    Examples
    --------
    >>> explain_stage(Policy(mql=0.1, sales_ready=0.3), 0.07)
    'Nurture: the chance of 7 % is below the MQL line of 10 %.'
    >>> explain_stage(Policy(mql=0.1, sales_ready=0.3, stay=0.6), 0.07, before="mql")
    'Stays MQL: the chance of 7 % is below the line of 10 % at which it enters, \
not below 6 %, at which it leaves.'
    """
    if rule is not None:
        return by_rule(policy, rule)
    stage = -1 if before is None else STAGES.index(before)
    since = math.nan if recycled is None else recycled
    own = policy.thresholds if level is None else policy.segments.get(level, policy.thresholds)
    lines = np.array([list(own.lines.values())])
    reached = _reached(policy, np.array([probability]), lines, Standing(np.array([stage]), np.array([since])))
    return by_chance(policy, probability, level, Places(*(int(each[0]) for each in reached)), since)


def lines_of(policy: Policy, M: Floats, columns: Sequence[Column]) -> Floats:
    """Give the thresholds that each lead has: those of its segment, or else those of all.

    Parameters
    ----------
    policy, M, columns
        As in `stages`.

    Returns
    -------
    array of shape (n, 3)
        The probabilities at which nurture, mql and sales_ready begin.

    Examples
    --------
    >>> from leadscore.policy.policy import Thresholds
    >>> policy = Policy(0.1, 0.3, segment="source", segments={"Fair": Thresholds(0.2, 0.5)})
    >>> lines_of(policy, np.array([[0.0], [1.0], [np.nan]]), [Column("source", ("Ads", "Fair"))])[:, 1]
    array([0.1, 0.2, 0.1])
    """
    lines = _lines(policy, M, columns)
    return lines if policy.segment is not None else np.repeat(lines, len(M), axis=0)


def _lines(policy: Policy, M: Floats, columns: Sequence[Column]) -> Floats:
    """Give the thresholds of each lead, or one row for all of them."""
    every = (policy.lines, *(own.lines for own in policy.segments.values()))
    table = np.array([list(lines.values()) for lines in every])
    if policy.segment is None:
        return table
    j = _segment_place(policy.segment, columns)
    place = {level: row for row, level in enumerate(policy.segments, start=1)}
    own = np.array([*(place.get(level, 0) for level in columns[j].levels or ()), 0])  # the last: missing
    lines: Floats = table[own[_codes(M[:, j])]]
    return lines


def segment_of(policy: Policy, M: Floats, columns: Sequence[Column]) -> list[str | None]:
    """Give each lead's level of the policy's segment; None where it is missing, or there is no segment."""
    if policy.segment is None:
        return [None] * len(M)
    j = _segment_place(policy.segment, columns)
    words = [*(columns[j].levels or ()), None]
    return [words[code] for code in _codes(M[:, j]).tolist()]


def through(policy: Policy, probability: Floats, M: Floats, columns: Sequence[Column]) -> Stages:
    """Walk one lead through its stages: each moment's stage is where it stood at the next.

    Parameters
    ----------
    policy, probability, M, columns
        As in `stages`; the rows are moments of one lead, in order of time.

    Returns
    -------
    array of shape (n,), str

    Examples
    --------
    >>> policy = Policy(mql=0.1, sales_ready=0.3, stay=0.8)
    >>> through(policy, np.array([0.09, 0.11, 0.09, 0.07]), np.empty((4, 0)), []).tolist()
    ['nurture', 'mql', 'mql', 'nurture']
    """
    if policy.stay == 1:  # where a lead stood keeps it nowhere
        return stages(policy, probability, M, columns)
    chance = np.asarray(probability, np.float64)
    rule, rules = deciding(policy, M, columns), len(policy.suppress)
    lines = lines_of(policy, M, columns)
    enters, stays = (_above(chance, part).tolist() for part in (lines, policy.stay * lines))
    walked, before = np.zeros(len(chance), np.int64), 0
    for moment, number in enumerate(rule.tolist()):
        if number >= 0:
            before = 0 if number < rules else len(STAGES) - 1
        else:
            before = max(enters[moment], min(before, stays[moment]))
        walked[moment] = before
    return _WORDS[walked]


def deciding(policy: Policy, M: Floats, columns: Sequence[Column]) -> Ints:
    """Give the number of the rule that decides each lead's stage, -1 where the thresholds do.

    Parameters
    ----------
    policy, M, columns
        As in `stages`.

    Returns
    -------
    array of shape (n,), int
        Its place among the suppressions and the fast tracks after them; the first that holds decides.
    """
    found = np.full(len(M), -1, np.int64)
    for number, rule in enumerate((*policy.suppress, *policy.fast_track)):
        found[rule.holds(M, columns) & (found < 0)] = number
    return found


def require_fit(policy: Policy, columns: Sequence[Column]) -> None:
    """Refuse a policy that cannot be applied to leads of these columns, before it is in force.

    Parameters
    ----------
    policy : Policy
    columns : sequence of Column
        The model's.

    Raises
    ------
    DataError
        A rule or the segment is about a column that is not there or of another kind, or a segment is
        about a word that no lead of training had: the message names the nearest.

    Examples
    --------
    >>> from leadscore.policy.policy import Thresholds
    >>> policy = Policy(0.1, 0.3, segment="source", segments={"Webinars": Thresholds(0.2, 0.5)})
    >>> require_fit(policy, [Column("source", ("Ads", "Webinar"))])
    Traceback (most recent call last):
    leadscore.errors.DataError: expected a level of 'source'; found 'Webinars' (did you mean 'Webinar'?); \
correct it, or leave it out
    """
    none = np.empty((0, len(columns)))
    for rule in (*policy.suppress, *policy.fast_track):
        rule.holds(none, columns)
    if policy.segment is None:
        return
    levels = columns[_segment_place(policy.segment, columns)].levels or ()
    for level in policy.segments:
        if level not in levels:
            found = f"{shown(level)!r}{nearest(level, levels)}"
            expected = f"a level of {shown(policy.segment)!r}"
            raise DataError(explain(expected, found, "correct it, or leave it out"))


@dataclass(frozen=True, slots=True, eq=False)
class _Decided:
    """Each lead's stage, and what led to it, as places in `STAGES`."""

    stage: Ints
    rule: Ints  # the number of the rule that decided, -1 for none
    entry: Ints  # what the chance reaches
    kept: Ints  # what it keeps of where the lead stood, before the cool-down


def _decided(
    policy: Policy,
    probability: Floats,
    M: Floats,
    columns: Sequence[Column],
    standing: Standing | None,
) -> _Decided:
    chance = np.asarray(probability, np.float64)
    if standing is not None and len(standing.stage) != len(chance):
        found = f"{len(standing.stage):,} of {len(chance):,} leads"
        raise DataError(explain("where each lead stood", found, "give one row a lead"))
    entry, kept, stage = _reached(policy, chance, _lines(policy, M, columns), standing)
    rule = deciding(policy, M, columns)
    if policy.suppress or policy.fast_track:
        decides = np.array([0] * len(policy.suppress) + [len(STAGES) - 1] * len(policy.fast_track))
        stage = np.where(rule < 0, stage, decides[rule])
    return _Decided(stage, rule, entry, kept)


def _reached(
    policy: Policy, chance: Floats, lines: Floats, standing: Standing | None
) -> tuple[Ints, Ints, Ints]:
    """Give the stage that each chance reaches, then with what it keeps, then with the cool-down."""
    entry = _above(chance, lines)
    if standing is None:
        return entry, entry, entry
    kept = np.maximum(entry, np.minimum(standing.stage, _above(chance, policy.stay * lines)))
    cooling = standing.recycled < policy.cool_down
    return entry, kept, np.where(cooling, np.minimum(kept, _NURTURE), kept)


def _above(chance: Floats, lines: Floats) -> Ints:
    """Count the lines that each chance is at or above; they rise, so that is a place in `STAGES`."""
    count = np.zeros(len(chance), np.int64)
    for line in lines.T:
        count += chance >= line
    return count


def _segment_place(segment: str, columns: Sequence[Column]) -> int:
    j = index_of(segment, columns)
    if columns[j].levels is None:
        found = f"{shown(segment)!r}, which holds numbers"
        do = f"name one of {', '.join(shown(c.name) for c in columns if c.levels is not None) or 'none'}"
        raise DataError(explain("a segment that is a category", found, do))
    return j


def _codes(column: Floats) -> Ints:
    """Give the codes of a category as places, -1 where missing."""
    return np.where(np.isnan(column), -1, column).astype(np.int64)
