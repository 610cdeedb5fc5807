"""Where MQLs begin, for all leads or by segment: one line, a line for each team, or one recall everywhere."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from leadscore.errors import UsageError, explain, nearest, shown
from leadscore.models.matrix import Bools, Floats
from leadscore.policy.aims import Aim, Ground, at_line, chosen
from leadscore.policy.backtest import Backtest
from leadscore.policy.lines import ALWAYS, NEVER, Lines, separating
from leadscore.policy.policy import percent

FEWEST: Final = 10  # conversions below which a segment gets no line of its own


@dataclass(frozen=True, slots=True)
class Cut:
    """Where MQLs begin.

    Parameters
    ----------
    line : float
        Of all leads whose segment has no line of its own.
    own : mapping of str to float
        Lines by level.
    """

    line: float
    own: Mapping[str, float] = field(default_factory=dict)

    def of(self, backtest: Backtest, segment: str | None) -> Floats:
        """Give each lead's line."""
        if segment is None or not self.own:
            return np.full(len(backtest.y), self.line)
        code, words = backtest.coded(segment)
        return np.array([self.own.get(word, self.line) for word in words])[code]


def one_line(backtest: Backtest, chance: Floats, aim: Aim) -> Cut:
    """Choose one line for all leads."""
    lines = separating(chance, backtest.y)
    return Cut(lines.shortest(chosen(aim, lines, _ground(backtest))))


def own_capacities(
    backtest: Backtest, chance: Floats, aim: Aim, segment: str, capacities: Mapping[str, float]
) -> Cut:
    """Choose a line for each level that a team of its own works, and one for all other leads.

    Raises
    ------
    UsageError
        A level is not there or has too few conversions, or its capacity cannot be filled.
    """
    code, words = backtest.coded(segment)
    own: dict[str, float] = {}
    rest = chance.copy()
    for level, capacity in capacities.items():
        mine = code == _place(segment, level, words)
        lines = _own_lines(backtest, chance, mine, segment, level)
        whose = f" of {shown(segment)} {shown(level)}"
        own[level] = lines.shortest(chosen(Aim("capacity", capacity), lines, _ground(backtest, mine, whose)))
        rest[mine] = np.where(chance[mine] >= own[level], ALWAYS, NEVER)
    if not np.isfinite(rest).any():  # the line of levels that are yet to come
        rest = chance
    return Cut(one_line(backtest, rest, aim).line, own)


def one_recall(backtest: Backtest, chance: Floats, aim: Aim, segment: str) -> Cut:
    """Choose lines so that the same share of the conversions is found in every level of a segment.

    Equal opportunity: equal true positive rates (Hardt, Price and Srebro, 2016). In each level that is the
    highest line that finds at least the common share.

    Raises
    ------
    UsageError
        Fewer than two levels have enough conversions, or the aim cannot be reached.
    """
    code, words = backtest.coded(segment)
    wins = np.bincount(code[backtest.y], minlength=len(words))
    own = {
        words[at]: separating(chance[code == at], backtest.y[code == at])
        for at in np.flatnonzero(wins[:-1] >= FEWEST).tolist()
    }
    own = {word: lines for word, lines in own.items() if len(lines)}
    if len(own) < 2:
        expected = (
            f"two levels of {shown(segment)!r} with at least {FEWEST} conversions each, not all by rules"
        )
        raise UsageError(explain(expected, str(len(own)), "choose one line for all, or another segment"))
    recall = {word: lines.wins / wins[words.index(word)] for word, lines in own.items()}
    everybody = separating(chance, backtest.y)
    left = ~np.isin(code, [words.index(word) for word in own])
    others = separating(chance[left], backtest.y[left])
    most = {word: float(each[-1]) for word, each in recall.items()}
    most[""] = float(everybody.wins[-1] / backtest.y.sum())
    common = np.unique(np.concatenate(list(recall.values())))
    common = common[(common > 0) & (common <= min(most.values()))]
    place = {word: np.searchsorted(each, common) for word, each in recall.items()}
    pooled = np.searchsorted(everybody.wins / backtest.y.sum(), common)
    volume, found_wins = others.reached(everybody.at[pooled])
    for word, lines in own.items():
        volume, found_wins = volume + lines.volume[place[word]], found_wins + lines.wins[place[word]]
    steps = Lines(-common, volume, found_wins, everybody.none)
    if aim.kind == "recall":
        at = _reaching(aim.amount or 0.0, common, most, segment)
    else:
        at = chosen(aim, steps, _ground(backtest, called=_with_recall))
    return Cut(
        everybody.shortest(int(pooled[at])),
        {word: lines.shortest(int(place[word][at])) for word, lines in own.items()},
    )


def few(backtest: Backtest, segment: str) -> dict[str, int]:
    """Name the levels of a segment with too few conversions for a line of their own, and how many."""
    code, words = backtest.coded(segment)
    wins = np.bincount(code[backtest.y], minlength=len(words))
    leads = np.bincount(code, minlength=len(words))
    return {
        word: int(wins[place]) for place, word in enumerate(words) if leads[place] and wins[place] < FEWEST
    }


def _place(segment: str, level: str, words: tuple[str, ...]) -> int:
    if level and level in words:
        return words.index(level)
    found = f"{shown(level)!r}{nearest(str(level), words)}"
    known = ", ".join(shown(word) for word in words if word)
    raise UsageError(explain(f"a level of {shown(segment)!r}", found, f"name one of {known}"))


def _own_lines(backtest: Backtest, chance: Floats, mine: Bools, segment: str, level: str) -> Lines:
    wins = int(backtest.y[mine].sum())
    if wins < FEWEST:
        expected = f"at least {FEWEST} conversions in {shown(segment)} {shown(level)} for a line of its own"
        raise UsageError(explain(expected, str(wins), "leave it to the line of all leads"))
    return separating(chance[mine], backtest.y[mine])


def _ground(
    backtest: Backtest,
    mine: Bools | None = None,
    whose: str = "",
    called: Callable[[Lines, int], str] = at_line,
) -> Ground:
    y = backtest.y if mine is None else backtest.y[mine]
    return Ground(len(y), int(y.sum()), backtest.weeks, called, whose)


def _with_recall(lines: Lines, place: int) -> str:
    return f"where {percent(float(-lines.at[place]))} are found in every level"


def _reaching(floor: float, common: Floats, most: Mapping[str, float], segment: str) -> int:
    place = int(np.searchsorted(common, floor))
    if place < len(common):
        return place
    level = min(most, key=lambda word: most[word])
    where = f"in {shown(segment)} {shown(level)}" if level else "among all leads"
    found = f"at best {percent(most[level])} {where}: rules suppress the others"
    raise UsageError(explain(f"a recall of {percent(floor)}", found, "ask for no more than that"))
