"""A policy carried over to a new model: its probabilities are kept, or the number of leads it sends."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from leadscore.errors import UsageError, explain, nearest, shown
from leadscore.models.matrix import Bools, Column
from leadscore.policy.backtest import Backtest
from leadscore.policy.figures import Figure, all_of, brief, figures_of
from leadscore.policy.lines import Lines, ruled, separating
from leadscore.policy.policy import Policy, Thresholds, differences, percent
from leadscore.policy.preview import unread, without
from leadscore.policy.staging import require_fit, stages

Hold: TypeAlias = Literal["fixed", "volume"]
_HELD: Final = {"fixed": "With the probabilities kept", "volume": "With the number of leads kept"}
_FIGURES: Final = ("volume_per_week", "wins_per_week", "precision", "recall")


@dataclass(frozen=True, slots=True)
class Carried:
    """A policy for a new model, and what changes with it.

    Parameters
    ----------
    policy : Policy
        Revision 1, as a model is born with.
    hold : {"fixed", "volume"}
    changes : tuple of str
        How it differs from the old policy, in words; empty where the probabilities are kept.
    weeks : bool
        Whether both backtests have weeks.
    before, after : tuple of Figure
        Of the old policy on the old model's backtest, of this policy on the new model's: "volume_per_week"
        and "wins_per_week", or "volume_share" and "wins_share" of all leads where there are no weeks,
        "precision" and "recall"; each of "mql" (sales-ready leads among them) and "sales_ready".
    notes : tuple of str
        What could not be kept, or is not in the figures.
    """

    policy: Policy
    hold: Hold
    changes: tuple[str, ...]
    weeks: bool
    before: tuple[Figure, ...]
    after: tuple[Figure, ...]
    notes: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The change in one sentence, whichever is kept."""
        volume = "volume_per_week" if self.weeks else "volume_share"
        (sent, was_sent), (converts, converted) = (
            [_told(figure, figures) for figures in (self.after, self.before)]
            for figure in (volume, "precision")
        )
        return (
            f"{_HELD[self.hold]}, {sent} {'leads a week' if self.weeks else 'of the leads'} are sent,"
            f" before {was_sent}; {converts} of them convert, before {converted}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Give it as plain values for JSON, the sentence included."""
        figures = {name: [figure.to_dict() for figure in getattr(self, name)] for name in ("before", "after")}
        rest = {"hold": self.hold, "changes": list(self.changes), "weeks": self.weeks}
        told = {"notes": list(self.notes), "sentence": self.sentence}
        return {"policy": self.policy.to_dict(), **rest, **figures, **told}


def carried(
    policy: Policy,
    old: Backtest,
    new: Backtest,
    hold: Hold,
    *,
    columns: Sequence[Column] | None = None,
    seed: int = 0,
) -> Carried:
    """Carry a policy over to a new model, and say what changes with it.

    "fixed" keeps every probability. "volume" moves each threshold, those of segments too, to the lowest
    one that no more leads a week reach than reached the old one; leads that are level are never
    separated. A threshold that takes these leads already stays as it is.

    Parameters
    ----------
    policy : Policy
        In force on the old model.
    old, new : Backtest
        Of the old and of the new model. Where one has no weeks, the share of the leads is kept in place
        of the number a week.
    hold : {"fixed", "volume"}
    columns : sequence of Column, optional
        Of the new model's X: where they are given, a policy that reads others is refused.
    seed : int

    Returns
    -------
    Carried

    Raises
    ------
    DataError
        A rule or the segment reads what the new model does not have.
    UsageError
        `hold` is something else, a backtest did not keep the segment, or no line keeps the volume, since
        too many leads are level at the top or fast-tracked.

    Examples
    --------
    >>> old = Backtest([0.4, 0.3, 0.2, 0.1], [1, 1, 0, 0])
    >>> new = Backtest([0.8, 0.6, 0.4, 0.2], [1, 1, 0, 0])
    >>> kept = carried(Policy(0.3, 0.4), old, new, "volume")
    >>> kept.changes
    ('mql 30 % -> 60 %', 'sales_ready 40 % -> 80 %')
    """
    if hold not in _HELD:
        found = f"{shown(hold)!r}{nearest(str(hold), list(_HELD))}"
        raise UsageError(explain("'fixed' or 'volume' to hold", found, "choose one"))
    if columns is not None:
        require_fit(policy, columns)
    if policy.segment is not None and not {policy.segment}.issubset({*old.categories} & {*new.categories}):
        expected = f"backtests of both models that kept the segment {shown(policy.segment)!r}"
        raise UsageError(explain(expected, "one without it", "choose thresholds for the new model anew"))
    left_out = unread(policy, old.columns) | unread(policy, new.columns)
    names = sorted(f"“{shown(rule.name)}”" for _, rule in left_out)
    notes = [f"left out of these figures, as a backtest did not keep what they read: {', '.join(names)}"]
    notes = notes if names else []
    weeks = old.weeks is not None and new.weeks is not None
    if not weeks:
        old, new = replace(old, week=None), replace(new, week=None)
    policy = replace(policy, revision=1)
    seen, kept = without(policy, left_out), policy
    if hold == "volume":
        own, more = _volume_kept(seen, old, new)
        notes += more
        whole, segments = own[None], {level: own[level] for level in policy.segments}
        mql, ready, nurture = whole.mql, whole.sales_ready, whole.nurture
        kept = replace(policy, mql=mql, sales_ready=ready, nurture=nurture, segments=segments)
    return Carried(
        policy=kept,
        hold=hold,
        changes=differences(policy, kept),
        weeks=weeks,
        before=_figures(seen, old, seed),
        after=_figures(without(kept, left_out), new, seed),
        notes=tuple(notes),
    )


def _volume_kept(
    policy: Policy, old: Backtest, new: Backtest
) -> tuple[dict[str | None, Thresholds], list[str]]:
    """Give the thresholds of each segment, None for all others, and say which stay for want of leads."""
    chances = [ruled(backtest, policy) for backtest in (old, new)]
    kept: dict[str | None, Thresholds] = {}
    notes = []
    for level in (None, *policy.segments):
        rows = [_of(level, policy, backtest) for backtest in (old, new)]
        lines = policy.thresholds if level is None else policy.segments[level]
        if all(each.any() for each in rows):
            of_old, of_new = (
                separating(chance[mask], backtest.y[mask])
                for chance, mask, backtest in zip(chances, rows, (old, new), strict=True)
            )
            kept[level] = _moved(lines, of_old, of_new, (_size(old), _size(new)), _named(level, policy))
        else:
            kept[level] = lines
            notes.append(f"a backtest has no leads{_named(level, policy)}: the probabilities are kept there")
    return kept, notes


def _moved(lines: Thresholds, old: Lines, new: Lines, sizes: tuple[int, int], of_segment: str) -> Thresholds:
    """Move each line to the lowest that takes at most as many leads a week, or of all, as the old one did."""
    at = {}
    for stage, line in lines.lines.items():
        taken = int(old.reached(line)[0])
        room = taken * sizes[1]  # in leads x weeks of the old backtest, so that no rounding adds a lead
        place = int(np.searchsorted(new.volume * sizes[0], room, side="right")) - 1
        if place < 0 and stage == "mql" and taken > old.none[0] and room >= sizes[0]:
            fewest = int(new.volume[0]) if len(new.volume) else new.none[0]
            expected = f"a line that at most {room / sizes[0]:,.6g} leads{of_segment} reach, as before"
            found = f"at least {fewest:,} that are level at the top or fast-tracked"
            raise UsageError(explain(expected, found, "keep the probabilities, or choose thresholds anew"))
        fits = int(new.volume[place]) if place >= 0 else new.none[0]
        if int(new.reached(line)[0]) == fits:
            at[stage] = line
        else:
            at[stage] = new.shortest(place) if place >= 0 else _above(float(new.at[0]))
    return Thresholds(at["mql"], max(at["mql"], at["sales_ready"]), min(at["nurture"], at["mql"]))


def _above(chance: float) -> float:
    """Give a line of one decimal above a chance."""
    if chance >= 1:
        expected = "a line above every chance, as before"
        raise UsageError(explain(expected, "leads with a chance of 100 %", "keep the probabilities instead"))
    return (math.floor(10 * chance) + 1) / 10


def _of(level: str | None, policy: Policy, backtest: Backtest) -> Bools:
    """Say which leads the thresholds of a segment, or of all others, are for."""
    if policy.segment is None:
        return np.ones(len(backtest.y), dtype=np.bool_)
    place, words = backtest.coded(policy.segment)
    number = np.array([word == level if level is not None else word not in policy.segments for word in words])
    return np.asarray(number[place], dtype=np.bool_)


def _named(level: str | None, policy: Policy) -> str:
    if policy.segment is None:
        return ""
    return f" of {shown(policy.segment)} “{shown(level)}”" if level is not None else " of other segments"


def _size(backtest: Backtest) -> int:
    """Give what volumes are held by: weeks, or else leads."""
    return backtest.weeks or len(backtest.y)


def _figures(policy: Policy, backtest: Backtest, seed: int) -> tuple[Figure, ...]:
    M = np.empty((len(backtest.y), 0)) if backtest.M is None else backtest.M
    staged = stages(policy, backtest.probability, M, backtest.columns)
    ready = staged == "sales_ready"
    taken = {"mql": all_of(ready | (staged == "mql")), "sales_ready": all_of(ready)}
    found = [each for each in figures_of(backtest, taken, seed=seed) if each.figure in _FIGURES]
    if backtest.weeks is not None:
        return tuple(found)
    return tuple(
        _shared(each, len(backtest.y)) if each.figure.endswith("per_week") else each for each in found
    )


def _shared(figure: Figure, leads: int) -> Figure:
    """Give a number of leads as a share of all."""
    numbers = {name: getattr(figure, name) / leads for name in ("value", "low", "high")}
    return replace(figure, figure=figure.figure.replace("per_week", "share"), **numbers)


def _told(name: str, figures: Sequence[Figure]) -> str:
    (figure,) = (each for each in figures if (each.line, each.figure) == ("mql", name))
    if math.isnan(figure.value):
        return "none"
    written = brief if name == "volume_per_week" else percent
    value, low, high = (written(each) for each in (figure.value, figure.low, figure.high))
    return f"{value} ({low} to {high})"
