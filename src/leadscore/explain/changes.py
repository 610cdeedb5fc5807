"""What would change a lead's stage, and what an answer would tell: the search over scored moves."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from leadscore.explain.drivers import whole
from leadscore.explain.moves import Happening, Move
from leadscore.explain.wording import clean
from leadscore.models.matrix import Bools, Floats

Ints: TypeAlias = NDArray[np.int64]

_NAMES: Final = {"mql": "an MQL", "sales_ready": "sales ready"}
_COUNTS: Final = (1, 2, 3)  # how many of each kind of event in a combination of two
_KINDS, _FIELDS = 6, 4  # how many of each are combined


@dataclass(frozen=True, slots=True)
class Change:
    """What would move a lead to another stage, scored again to be true.

    Parameters
    ----------
    kind : {"events", "answer", "both", "time", "rule"}
        "rule" where a rule of the policy holds the lead where it is, so that nothing helps.
    text : str
        One sentence.
    stage_before, stage_after : str
    score_before, score_after : float
    probability_before, probability_after : float
    detail : mapping
        What to add to the lead so that `score_one` says the same: ``events`` (rows under the project's own
        names), ``fields`` (columns of the lead), ``as_of`` (the moment after it, in ISO 8601; None without a
        clock), where answers have a history, ``history`` (rows), and where it matters where the lead stood,
        ``previous`` (a row). For a rule: ``rule``, its name.
    """

    kind: str
    text: str
    stage_before: str
    stage_after: str
    score_before: float
    score_after: float
    probability_before: float
    probability_after: float
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """A field that is missing, and what asking for it would tell in expectation.

    Parameters
    ----------
    field : str
        The column of the leads table.
    label : str
        The field in words.
    chance_of_change : float
        The chance that the answer moves the lead to another stage.
    expected_move : float
        Points of score that the answer is expected to move, either way.
    examples : tuple of str
        The likeliest answers and what each would make of the lead, at most three.

    Examples
    --------
    >>> Question("size", "Company size", 0.394, 5.06, ()).text
    'Company size: the answer would change the stage of 39 in 100 such leads and move the score by 5.1 points'
    """

    field: str
    label: str
    chance_of_change: float
    expected_move: float
    examples: tuple[str, ...]

    @property
    def text(self) -> str:
        """One sentence."""
        moved = f"move the score by {self.expected_move:.1f} points"
        if round(100 * self.chance_of_change) == 0:
            rarely = "hardly ever " if self.chance_of_change else ""
            return f"{self.label}: the answer would {rarely or 'not '}change the stage, but {moved}"
        chance = f"{100 * self.chance_of_change:.0f} in 100 such leads"
        return f"{self.label}: the answer would change the stage of {chance} and {moved}"


def nearest(moves: Sequence[Move], crosses: Bools, shift: Floats) -> list[int]:
    """Choose the nearest moves that cross a line: what takes the fewest steps, then the least time.

    Of moves about the same the first that crosses stands for all. A kind of event that has narrower ones is
    chosen only when as many of each of those cross as well, so that it is true whichever happens; a narrower
    one only when fewer of it suffice.

    Parameters
    ----------
    moves : sequence of Move
        Those about the same by rising number of steps, the likeliest answer first.
    crosses : array of shape (n,)
        Whether each crosses the line.
    shift : array of shape (n,)
        Points of score that each moves; of equal moves the strongest comes first.

    Returns
    -------
    list of int
        Places in `moves`, the nearest first.

    Examples
    --------
    >>> click, webinar = Happening("email_click"), Happening("webinar")
    >>> moves = [Move(((click, 1),)), Move(((click, 2),)), Move(((webinar, 1),)), Move(days=7)]
    >>> nearest(moves, np.array([False, True, True, False]), np.array([1.0, 3.0, 4.0, -1.0]))
    [2, 1]
    """
    if not crosses.any():
        return []
    narrower = _narrower(moves)
    crossing = {(moves[p].events, moves[p].answers): p for p in np.flatnonzero(crosses).tolist()[::-1]}
    first: dict[tuple[object, ...], int] = {}
    enough: dict[Happening, int] = {}
    for place in np.flatnonzero(crosses).tolist():
        kind = _only(moves[place])
        if kind is None:
            first.setdefault(moves[place].about, place)
        elif all((((each, moves[place].hours),), ()) in crossing for each in narrower.get(kind, ())):
            enough.setdefault(kind, place)
    for kind, place in enough.items():
        wider = [enough[wide] for wide, narrow in narrower.items() if kind in narrow and wide in enough]
        if all(moves[place].hours < moves[other].hours for other in wider):
            first[kind,] = place
    size = {p: (moves[p].steps, moves[p].days, -abs(float(shift[p])), p) for p in first.values()}
    return sorted(size, key=lambda place: size[place])


def paired(moves: Sequence[Move], score: Floats, least: float) -> list[Move]:
    """Combine two of the moves that raise the score most, each about something else.

    Parameters
    ----------
    moves : sequence of Move
        Each of one kind of event or one answer.
    score : array of shape (n,)
        After each.
    least : float
        The lead's own score: what does not raise it is left out.

    Returns
    -------
    list of Move
        By rising number of steps.

    Examples
    --------
    >>> moves = [Move(((Happening("webinar"), 1),)), Move(answers=(("size", 9.0),)), Move(days=7)]
    >>> [move.about for move in paired(moves, np.array([44.0, 42.0, 50.0]), 40.0)][:1]
    [(Happening(type='webinar', content=None, channel=None), 'size')]
    """
    wide = _narrower(moves)
    best: dict[tuple[object, ...], Move] = {}
    for place in np.argsort(-score, kind="stable").tolist():
        if moves[place].steps and score[place] > least:
            best.setdefault(moves[place].about, moves[place])
    kinds = [move.events[0][0] for move in best.values() if move.events and move.events[0][0] not in wide]
    answers = [move.answers for move in best.values() if move.answers][:_FIELDS]
    kinds = kinds[:_KINDS]
    pairs = [
        *(Move(((a, m), (b, n))) for a, b in combinations(kinds, 2) for m, n in product(_COUNTS, _COUNTS)),
        *(Move(((kind, n),), answer) for kind in kinds for answer in answers for n in _COUNTS),
        *(Move(answers=a + b) for a, b in combinations(answers, 2)),
    ]
    return sorted(pairs, key=lambda move: move.steps)


def sentence(
    what: str, before: tuple[str, float], after: tuple[str, float], *, rises: bool, rule: str = ""
) -> str:
    """Say what a move would do; never that the lead would convert, nor why.

    Parameters
    ----------
    what : str
        As `in_words` gives it.
    before, after : tuple of str and float
        Stage and score.
    rises : bool
        Whether the stage after is the higher one.
    rule : str
        The rule of the policy that decides the stage after; empty where the thresholds do.

    Examples
    --------
    >>> sentence("one more webinar", ("nurture", 46.6), ("mql", 52.2), rises=True)
    'One more webinar would make it an MQL (score 47 -> 52)'
    >>> sentence("7 days without anything happening", ("mql", 50.2), ("nurture", 49.8), rises=False)
    '7 days without anything happening would lower it to nurture (score 50.2 -> 49.8)'
    """
    name = _NAMES.get(after[0], after[0])
    does = f"would make it {name}" if rises else f"would lower it to {name}"
    by = f" by the rule “{clean(rule)}”" if rule else ""
    return f"{what[:1].upper()}{what[1:]} {does}{by} (score {' -> '.join(_told_apart(before[1], after[1]))})"


def expectation(chance: Floats, changes: Bools, shift: Floats) -> tuple[float, float]:
    """Give the chance that an answer changes the stage, and the move of the score expected of it.

    The worth of an answer before it is known (Raiffa and Schlaifer 1961), in points in place of money.

    Parameters
    ----------
    chance : array of shape (n,)
        How likely each answer is, in any unit.
    changes : array of shape (n,)
        Whether it changes the stage.
    shift : array of shape (n,)
        Points of score that it moves.

    Examples
    --------
    >>> expectation(np.array([3.0, 1.0]), np.array([False, True]), np.array([-2.0, 10.0]))
    (0.25, 4.0)
    """
    share = chance / chance.sum()
    return float((share * changes).sum()), float((share * np.abs(shift)).sum())


def shares(surprise: Floats, bins: Ints) -> Floats:
    """Give how likely each answer is; answers in the same bins have equal parts of their chance.

    Parameters
    ----------
    surprise : array of shape (n,)
        Minus the log-probability of the lead with each answer.
    bins : array of shape (n, columns)
        The bins of the lead's values with each answer.

    Returns
    -------
    array of shape (n,)
        Their sum is 1.

    Examples
    --------
    >>> shares(np.log([4.0, 4.0, 2.0]), np.array([[0], [0], [1]])).round(3).tolist()
    [0.167, 0.167, 0.667]
    """
    _, alike, size = np.unique(bins, axis=0, return_inverse=True, return_counts=True)
    chance = np.exp(surprise.min() - surprise) / size[alike.reshape(-1)]
    found: Floats = chance / chance.sum()
    return found


def spread(chance: Floats) -> Floats:
    """Move half of each bin's chance from its upper end to its lower: numbers lie anywhere between.

    Examples
    --------
    >>> spread(np.array([0.2, 0.4, 0.4])).tolist()
    [0.4, 0.4, 0.2]
    """
    found = chance.copy()
    found[1:] /= 2
    found[:-1] += chance[1:] / 2
    return found


def _narrower(moves: Sequence[Move]) -> dict[Happening, list[Happening]]:
    """Give the kinds of events that have narrower ones, and those."""
    by_type: dict[str, dict[Happening, None]] = {}
    for move in moves:
        if (kind := _only(move)) is not None:
            by_type.setdefault(kind.type, {})[kind] = None
    narrower = {a: [b for b in kinds if a != b and a.holds(b)] for kinds in by_type.values() for a in kinds}
    return {wide: narrow for wide, narrow in narrower.items() if narrow}


def _only(move: Move) -> Happening | None:
    """Give the kind of a move that is of one kind of event alone."""
    return move.events[0][0] if len(move.events) == 1 and not move.answers else None


def _told_apart(one: float, other: float) -> tuple[str, str]:
    """Write two scores as integers, or with as many digits as it takes to tell them apart."""
    if whole(one) != whole(other) or one == other:
        return str(whole(one)), str(whole(other))
    pairs: Iterable[tuple[str, str]] = ((f"{one:.{d}f}", f"{other:.{d}f}") for d in range(1, 18))
    return next((a, b) for a, b in pairs if a != b)
