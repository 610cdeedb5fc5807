"""What a line should reach, and which of the lines between leads does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

import numpy as np

from leadscore.errors import UsageError, explain, nearest, shown
from leadscore.models.matrix import is_finite
from leadscore.policy.figures import Money
from leadscore.policy.lines import Lines
from leadscore.policy.policy import percent

Kind: TypeAlias = Literal["capacity", "share", "precision", "recall", "value"]
ENOUGH: Final = 30  # a precision on fewer leads than this is mostly luck
_SHARES: Final = {
    "share": "a share of the leads between 0 and 1",
    "precision": "a precision above 0 and up to 1",
    "recall": "a recall above 0 and up to 1",
}


@dataclass(frozen=True, slots=True)
class Aim:
    """What a line should reach.

    Parameters
    ----------
    kind : {"capacity", "share", "precision", "recall", "value"}
        capacity: as many leads as possible, and at most so many a week on average (where there is no clock,
        of as many leads as the backtest has). share: the same, for a share of all leads. precision: as many
        leads as possible, of whom at least this share converts. recall: as few leads as possible, with at
        least this share of the conversions among them. value: the largest profit.
    amount : float, optional
        Leads a week, or a share such as 0.2; nothing for value.
    value_of_win, cost_of_touch, cost_of_missed_win : float, optional
        As in `Money`. Value needs the first two; with any other aim they give a cost and a profit among the
        figures.

    Raises
    ------
    UsageError
        The kind is unknown, or the amount or the money cannot be meant.

    Examples
    --------
    >>> Aim("precision", 30)
    Traceback (most recent call last):
    leadscore.errors.UsageError: expected a precision above 0 and up to 1; found 30; write 0.3 for 30 %
    """

    kind: Kind
    amount: float | None = None
    value_of_win: float | None = None
    cost_of_touch: float | None = None
    cost_of_missed_win: float = 0.0

    def __post_init__(self) -> None:
        amount: object = self.amount
        if isinstance(amount, np.integer):
            object.__setattr__(self, "amount", int(amount))
        kinds = get_args(Kind)
        if self.kind not in kinds:
            found = f"{shown(self.kind)!r}{nearest(str(self.kind), kinds)}"
            raise UsageError(explain(f"an aim: {', '.join(kinds)}", found, "name one of them"))
        if (self.value_of_win is None) != (self.cost_of_touch is None):
            found = "the cost alone" if self.value_of_win is None else "the value alone"
            raise UsageError(explain("the value of a win beside the cost of a touch", found, "give both"))
        money = self.money  # which refuses what cannot be meant
        if self.kind == "value":
            if money is None:
                found = "neither"
                raise UsageError(explain("the value of a win and the cost of a touch", found, "give both"))
            if self.amount is not None:
                found = shown(self.amount)
                raise UsageError(explain("no amount beside the aim of value", found, "leave it out"))
        elif self.kind == "capacity":
            if not is_finite(self.amount) or self.amount <= 0:
                found = shown("none" if self.amount is None else self.amount)
                raise UsageError(explain("a capacity above 0", found, "say how many leads a week"))
        else:
            _check_share(self.kind, self.amount)

    @property
    def money(self) -> Money | None:
        """Value and costs, where they are given."""
        if self.value_of_win is None or self.cost_of_touch is None:
            return None
        return Money(self.value_of_win, self.cost_of_touch, self.cost_of_missed_win)

    def words(self, leads: str, a_week: str = " a week") -> str:
        """Say what the aim is, of leads of a name.

        Examples
        --------
        >>> Aim("capacity", 60).words("MQLs"), Aim("recall", 0.8).words("MQLs")
        ('at most 60 MQLs a week', 'at least 80 % of the conversions among the MQLs')
        """
        amount = self.amount or 0.0
        if self.kind == "capacity":
            return f"at most {amount:,.6g} {leads}{a_week}"
        if self.kind == "share":
            return f"at most {percent(amount)} of the leads as {leads}"
        if self.kind == "precision":
            return f"{leads} of whom at least {percent(amount)} convert"
        if self.kind == "recall":
            return f"at least {percent(amount)} of the conversions among the {leads}"
        missed = f", {self.cost_of_missed_win:,.6g} a missed win" if self.cost_of_missed_win else ""
        return (
            f"the largest profit from {leads} at {self.value_of_win:,.6g} a win, "
            f"{self.cost_of_touch:,.6g} a touch{missed}"
        )


@dataclass(frozen=True, slots=True)
class Ground:
    """What a line is drawn on: so many leads and wins, in so many weeks; and how its lines are called.

    Parameters
    ----------
    leads, wins : int
    weeks : int or None
    called : callable
        Names one of the lines, for messages.
    whose : str
        Such as " of source Ads"; empty for all leads.
    """

    leads: int
    wins: int
    weeks: int | None
    called: Callable[[Lines, int], str]
    whose: str = ""

    @property
    def a_week(self) -> str:
        """The words "a week", where there is a clock."""
        return "" if self.weeks is None else " a week"


def at_line(lines: Lines, place: int) -> str:
    """Name a line by its chance."""
    return f"at the line of {percent(float(lines.at[place]))}"


def chosen(aim: Aim, lines: Lines, ground: Ground) -> int:
    """Find the line that an aim means: its place among the lines.

    Raises
    ------
    UsageError
        No line reaches it; the message says what the best one does.
    """
    if not len(lines):
        found = f"none among {ground.leads:,}{ground.whose}: rules decide all of them"
        raise UsageError(explain("leads whose stage their chance decides", found, "look at the rules"))
    return _WAYS[aim.kind](aim, lines, ground)


def filled(lines: Lines, most: float, per: float, what: str, room: str) -> int:
    """Find the lowest line that takes at most so many leads, counted in units of `per`.

    Raises
    ------
    UsageError
        The highest line takes more.
    """
    fits = int(np.searchsorted(lines.volume / per, most, side="right"))
    if fits:
        return fits - 1
    always = f", {lines.none[0]:,} taken before them" if lines.none[0] else ""
    level = int(lines.volume[0]) - lines.none[0]
    found = f"{level:,} lead{'s' * (level != 1)} level at the top{always} and room for {room}"
    raise UsageError(explain(f"a {what} that the scores can fill", found, f"raise the {what}"))


def _capacity(aim: Aim, lines: Lines, ground: Ground) -> int:
    amount, weeks = aim.amount or 0.0, ground.weeks or 1
    if amount >= ground.leads / weeks:
        leads = f"{ground.leads / weeks:,.6g} leads there are{ground.whose}{ground.a_week}"
        raise UsageError(explain(f"a capacity below the {leads}", shown(amount), "lower it"))
    return filled(lines, amount, weeks, "capacity", f"{amount * weeks:,.6g}")


def _share(aim: Aim, lines: Lines, ground: Ground) -> int:
    amount = aim.amount or 0.0
    return filled(lines, amount, ground.leads, "share", f"{amount * ground.leads:,.6g}")


def _precision(aim: Aim, lines: Lines, ground: Ground) -> int:
    floor = aim.amount or 0.0
    precision = lines.wins / lines.volume
    judged = lines.volume >= min(ENOUGH, int(lines.volume[-1]))
    reached = np.flatnonzero(judged & (precision >= floor))
    if len(reached):
        return int(reached[-1])
    best = int(np.argmax(np.where(judged, precision, -1.0)))
    found = f"at best {percent(float(precision[best]))}, {ground.called(lines, best)}"
    raise UsageError(explain(f"a precision of {percent(floor)}", found, "ask for no more than that"))


def _recall(aim: Aim, lines: Lines, ground: Ground) -> int:
    floor = aim.amount or 0.0
    recall = lines.wins / ground.wins
    place = int(np.searchsorted(recall, floor))
    if place < len(lines):
        return place
    found = f"at best {percent(float(recall[-1]))}, {ground.called(lines, len(lines) - 1)}"
    raise UsageError(explain(f"a recall of {percent(floor)}", found, "ask for no more than that"))


def _value(aim: Aim, lines: Lines, ground: Ground) -> int:
    money = aim.money or Money(1.0, 0.0)
    wins = np.append(lines.none[1], lines.wins).astype(np.float64)
    volume = np.append(lines.none[0], lines.volume).astype(np.float64)
    profit = money.profit(volume, wins, np.full(len(wins), float(ground.wins)))
    best = int(np.argmax(profit[1:]))
    gain = float(profit[1 + best] - profit[0])  # over working no lead
    if gain > 0:
        return best
    found = f"at best {gain:,.6g}, {ground.called(lines, best)}"
    raise UsageError(explain("a line that pays", found, "check the value of a win and the cost of a touch"))


_WAYS: Final[Mapping[Kind, Callable[[Aim, Lines, Ground], int]]] = {
    "capacity": _capacity,
    "share": _share,
    "precision": _precision,
    "recall": _recall,
    "value": _value,
}


def _check_share(kind: str, amount: object) -> None:
    """Refuse what is no share; 40 in place of 0.40 gets its own message."""
    if is_finite(amount) and 0 < amount <= 1 and (kind, amount) != ("share", 1):
        return
    do = "write 0.2 for 20 %"
    if is_finite(amount) and 1 < amount <= 100:
        do = f"write {amount / 100:g} for {amount:g} %"
    raise UsageError(explain(_SHARES[kind], shown("none" if amount is None else amount), do))
