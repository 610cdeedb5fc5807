"""Thresholds from evidence: lines that reach an aim on leads whose outcome is known, and what they mean.

Leads with the same probability are never separated, so a line takes all of them or none. A line is given
with as few decimals as still separate the same leads.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import numpy as np

from leadscore.errors import UsageError, explain, shown
from leadscore.models.matrix import Bools, Floats
from leadscore.policy.aims import Aim, Ground, at_line, chosen
from leadscore.policy.backtest import Backtest
from leadscore.policy.by_segment import few, one_line, one_recall, own_capacities
from leadscore.policy.curve import curve
from leadscore.policy.figures import Figure, all_of, best_of, figures_of, load
from leadscore.policy.lines import NEVER, Lines, ruled, separating
from leadscore.policy.policy import Policy, Thresholds, percent
from leadscore.policy.staging import lines_of
from leadscore.policy.verdicts import against_in_force, against_points, how_sure

__all__ = ["Aim", "Tuning", "tune"]

_IN_FORCE: Final = {"mql": "in force", "sales_ready": "in force, sales_ready"}
_CALLED: Final = {"mql": "MQLs", "sales_ready": "sales-ready leads"}


@dataclass(frozen=True, slots=True)
class Tuning:
    """Thresholds, the aims that chose them, and what they would have meant.

    Parameters
    ----------
    mql, sales_ready : float
        Probabilities: of all leads, or of those whose segment has no thresholds of its own.
    rule : str
        The aims, in words.
    leads, wins : int
        Sizes of the backtest.
    weeks : int or None
        How many weeks it spans; None where there is no clock, and then a "week" in the figures is the
        whole backtest.
    busiest_week : int or None
        MQLs in the fullest of these weeks.
    figures : tuple of Figure
        The interval is over leads, with the thresholds held where they are.
    load : Figure or None
        MQLs a week to expect of the next eight weeks; None where there is no clock.
    verdicts : tuple of str
        How the lines compare with the points at the same capacity and with the policy in force, and for an
        aim of value, which lines earn as much as far as can be told.
    notes : tuple of str
        What should be known beside the figures.
    segment : str or None
        The category whose levels have figures of their own.
    segments : mapping of str to Thresholds
        Levels that have thresholds of their own.
    """

    mql: float
    sales_ready: float
    rule: str
    leads: int
    wins: int
    weeks: int | None
    busiest_week: int | None
    figures: tuple[Figure, ...]
    load: Figure | None = None
    verdicts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    segment: str | None = None
    segments: Mapping[str, Thresholds] = field(default_factory=dict)

    def figure(self, line: str, figure: str, segment: str | None = None) -> Figure:
        """Look one figure up; a KeyError where the tuning does not have it."""
        for each in self.figures:
            if (each.line, each.figure, each.segment) == (line, figure, segment):
                return each
        raise KeyError((line, figure, segment))

    def draft(self, base: Policy) -> Policy:
        """Give a policy with these thresholds; a lead is kept warm from the same share of `mql` as before.

        Examples
        --------
        >>> tuning = tune(Backtest([0.9, 0.5, 0.3, 0.1], [1, 1, 0, 0]), Aim("share", 0.5))
        >>> tuning.draft(Policy(mql=0.2, sales_ready=0.4, nurture=0.1)).lines
        {'nurture': 0.25, 'mql': 0.5, 'sales_ready': 0.9}
        """
        warm = float(base.nurture or 0.0) / base.mql if base.mql else 0.0
        return replace(
            base,
            mql=self.mql,
            sales_ready=self.sales_ready,
            nurture=warm * self.mql,
            segment=self.segment if self.segments else None,
            segments={level: replace(own, nurture=warm * own.mql) for level, own in self.segments.items()},
        )

    def to_dict(self) -> dict[str, Any]:
        """Give the tuning as plain values for JSON; what is not defined is None."""
        return asdict(self) | {
            "figures": [each.to_dict() for each in self.figures],
            "load": None if self.load is None else self.load.to_dict(),
            "verdicts": list(self.verdicts),
            "notes": list(self.notes),
            "segments": {level: own.lines for level, own in self.segments.items()},
        }


def tune(
    backtest: Backtest,
    mql: Aim,
    *,
    sales: Aim | None = None,
    segment: str | None = None,
    per_segment: Mapping[str, float] | None = None,
    equal_recall: bool = False,
    in_force: Policy | None = None,
    base: Policy | None = None,
    sales_share: float = 0.25,
    draws: int = 1000,
    seed: int = 0,
) -> Tuning:
    """Choose thresholds that reach an aim, and say what they would have meant.

    Rules of the policy come first: leads that they send to sales fill the capacity, and leads that they
    suppress are never taken. Where there are two aims, `sales_ready` is chosen among the MQLs, so that both
    hold and the thresholds never cross. The intervals hold the thresholds where they are; the sentence on
    the best line of an aim of value says how sure that itself is.

    Parameters
    ----------
    backtest : Backtest
    mql : Aim
        What MQLs should reach, the sales-ready leads among them.
    sales : Aim, optional
        What sales-ready leads should reach. Without it they are the best `sales_share` of the MQLs.
    segment : str, optional
        A category of the backtest, whose levels then have figures of their own.
    per_segment : mapping of str to float, optional
        Leads a week, by level of the segment, that a team of its own can work. Such a level has a line of
        its own; all others share what `mql` leaves.
    equal_recall : bool
        Lines by segment, so that the same share of the conversions is found in every level: as high as `mql`
        allows. Levels with fewer than 10 conversions, and leads without a level, have the line at which
        that share is found among all leads.
    in_force : Policy, optional
        What to compare with, at its own thresholds.
    base : Policy, optional
        The policy whose rules come first, if not those of the one in force.
    sales_share : float
        Leads level with the last of them are left out, unless they are the best there are.
    draws : int
        Of the bootstrap.
    seed : int

    Returns
    -------
    Tuning

    Raises
    ------
    UsageError
        An aim cannot be reached, or both cannot; a segment is not there, or has too few conversions.
    DataError
        A rule reads what the backtest does not have.

    Examples
    --------
    >>> leads = Backtest([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0], week=[1, 1, 2, 2])
    >>> tune(leads, Aim("capacity", 1)).mql        # the two leads at 0.5 cannot be separated
    0.9
    >>> tune(leads, Aim("value", value_of_win=100, cost_of_touch=30)).mql
    0.5
    """
    if not 0 < sales_share <= 1:
        raise UsageError(explain("a share of the MQLs above 0 and up to 1", shown(sales_share), "write 0.25"))
    capacities = dict(per_segment or {})
    _refuse_contradictions(mql, sales, segment, capacities, equal_recall=equal_recall)
    base = in_force if base is None else base
    chance = ruled(backtest, base)
    if segment is None or not (equal_recall or capacities):
        cut = one_line(backtest, chance, mql)
    elif equal_recall:
        cut = one_recall(backtest, chance, mql, segment)
    else:
        cut = own_capacities(backtest, chance, mql, segment, capacities)
    among = np.where(chance >= cut.of(backtest, segment), chance, NEVER)
    ready = _sales_line(backtest, among, sales, sales_share)
    marks = {"mql": among > NEVER, "sales_ready": among >= ready}
    if in_force is not None:
        marks |= dict(zip(_IN_FORCE.values(), _reached(backtest, in_force), strict=True))
    taken = {line: all_of(mark) for line, mark in marks.items()}
    differences = [(line, other) for line, other in _IN_FORCE.items() if other in marks]
    if backtest.points is not None:
        taken["points"] = best_of(ruled(backtest, base, backtest.points), int(marks["mql"].sum()))
        differences.append(("mql", "points"))
    money = mql.money or (None if sales is None else sales.money)
    figures = figures_of(
        backtest, taken, differences=differences, segment=segment, money=money, draws=draws, seed=seed
    )
    a_week = "" if backtest.week is None else " a week"
    verdicts = [] if backtest.points is None else [against_points(figures, a_week)]
    for line, other in _IN_FORCE.items():
        if other in marks:
            same, gap = np.array_equal(marks[line], marks[other]), f"{line} - {other}"
            verdicts.append(against_in_force(figures, gap, _CALLED[line], a_week, same=same))
    if mql.kind == "value" and mql.money is not None and not cut.own:
        between = curve(backtest, money=mql.money, base=base, draws=draws, seed=seed).between
        verdicts += [] if between is None else [how_sure(between, mql.money.line)]
    return Tuning(
        mql=cut.line,
        sales_ready=max(cut.line, ready),
        rule=_rule(mql, sales, sales_share, segment, capacities, a_week, equal_recall=equal_recall),
        leads=len(backtest.y),
        wins=int(backtest.y.sum()),
        weeks=backtest.weeks,
        busiest_week=_busiest(backtest, marks["mql"]),
        figures=figures,
        load=None if backtest.week is None else load(backtest, marks["mql"]),
        verdicts=tuple(verdicts),
        notes=tuple(_notes(backtest, base, segment, marks, own=bool(cut.own))),
        segment=segment,
        segments={level: Thresholds(own, max(own, ready)) for level, own in cut.own.items()},
    )


def _refuse_contradictions(
    mql: Aim,
    sales: Aim | None,
    segment: str | None,
    capacities: Mapping[str, float],
    *,
    equal_recall: bool,
) -> None:
    """Refuse what no lines can do together."""
    if equal_recall and capacities:
        do = "choose one of the two"
        raise UsageError(explain("one recall everywhere or a capacity a segment", "both", do))
    if segment is None and (equal_recall or capacities):
        raise UsageError(
            explain("a segment", "none", "name the category whose levels get lines of their own")
        )
    total = sum(capacities.values())
    if mql.kind == "capacity" and total > (mql.amount or 0.0):
        expected = f"capacities that the {mql.amount:,.6g} MQLs a week hold"
        raise UsageError(explain(expected, f"{total:,.6g} in all", "lower them, or raise the total"))
    if sales is None or sales.kind != mql.kind or sales.amount is None or mql.amount is None:
        return
    stricter = sales.amount >= mql.amount if sales.kind == "precision" else sales.amount <= mql.amount
    if not stricter:
        of = f"a {sales.kind} of sales-ready leads that those of the MQLs hold, {mql.amount:,.6g}"
        raise UsageError(explain(of, shown(sales.amount), "they are the best of the MQLs: swap or correct"))


def _sales_line(backtest: Backtest, among: Floats, sales: Aim | None, share: float) -> float:
    """Choose where sales-ready leads begin among the MQLs."""
    lines = separating(among, backtest.y)
    if sales is None:
        most = max(float(lines.volume[0]), share * float(lines.volume[-1]))
        return lines.shortest(int(np.searchsorted(lines.volume, most, side="right")) - 1)

    def called(lines: Lines, place: int) -> str:
        every = ", where every MQL is sales ready" if place == len(lines) - 1 else ""
        return f"{at_line(lines, place)}{every}"

    ground = Ground(len(among), int(backtest.y.sum()), backtest.weeks, called)
    return lines.shortest(chosen(sales, lines, ground))


def _reached(backtest: Backtest, policy: Policy) -> tuple[Bools, Bools]:
    """Say which leads are MQLs by a policy, and which are sales ready."""
    M = np.empty((len(backtest.y), 0)) if backtest.M is None else backtest.M
    lines, chance = lines_of(policy, M, backtest.columns), ruled(backtest, policy)
    return chance >= lines[:, 1], chance >= lines[:, 2]


def _busiest(backtest: Backtest, sent: Bools) -> int | None:
    if backtest.week is None:
        return None
    return int(np.bincount(backtest.week[sent] - backtest.week.min()).max())


def _rule(
    mql: Aim,
    sales: Aim | None,
    sales_share: float,
    segment: str | None,
    capacities: Mapping[str, float],
    a_week: str,
    *,
    equal_recall: bool,
) -> str:
    parts = [mql.words("MQLs", a_week)]
    if equal_recall:
        parts.append(f"with one recall in every {shown(segment)}")
    parts += [f"{amount:,.6g} of {shown(segment)} {shown(level)}" for level, amount in capacities.items()]
    best = f"the best {percent(sales_share)} of them sales ready"
    return ", ".join([*parts, best if sales is None else sales.words("sales-ready leads", a_week)])


def _notes(
    backtest: Backtest, base: Policy | None, segment: str | None, marks: Mapping[str, Bools], *, own: bool
) -> Iterator[str]:
    """Say what should be known beside the figures."""
    if base is not None and backtest.M is None and (base.suppress or base.fast_track):
        yield "the rules of the policy are left out: this backtest was kept without what they read"
    if np.array_equal(marks["mql"], marks["sales_ready"]):
        yield "every MQL is sales ready"
    if segment is None:
        return
    for level, wins in few(backtest, segment).items():
        whose = f"{shown(segment)} {shown(level)}" if level else f"leads without {shown(segment)}"
        line = "the line is that of all leads, and " if own else ""
        yield f"{whose}: {wins} conversion{'s' * (wins != 1)}, so {line}the figures say little"
