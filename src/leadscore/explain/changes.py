"""What would move a lead to another stage, and which open question would tell most: the search, on arrays.

What could happen to a lead is a `Move`; somebody else scores the lead as if it had. Here the nearest moves
that cross a line are chosen and put in words, and answers are weighed by how likely they are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from leadscore.explain.drivers import whole
from leadscore.explain.wording import _noun, clean, days, number
from leadscore.features.declare import EventFeature
from leadscore.models.matrix import Bools, Floats

Ints: TypeAlias = NDArray[np.int64]
Answer: TypeAlias = float | str

_NAMES: Final = {"mql": "an MQL", "sales_ready": "sales ready"}


class Happening(NamedTuple):
    """A kind of event: its type, and its content and channel where the model tells them apart."""

    type: str
    content: str | None = None
    channel: str | None = None

    def within(self, other: "Happening") -> bool:
        """Whether it is a narrower kind of the other."""
        return self != other and all(b in (None, a) for a, b in zip(self, other, strict=True))


@dataclass(frozen=True, slots=True)
class Move:
    """Something that could happen to a lead from a moment on; nothing but time passing where all is empty.

    Parameters
    ----------
    events : tuple of (Happening, int)
        Kinds of events, and how many of each: one an hour, in this order.
    answers : tuple of (str, number or text)
        Fields that were missing, and the answer to each.
    days : float
        Days that pass without anything.
    """

    events: tuple[tuple[Happening, int], ...] = ()
    answers: tuple[tuple[str, Answer], ...] = ()
    days: float = 0.0

    @property
    def hours(self) -> int:
        """Hours that the events take."""
        return sum(count for _, count in self.events)

    @property
    def steps(self) -> int:
        """How much has to happen: events and answers."""
        return self.hours + len(self.answers)

    @property
    def about(self) -> tuple[object, ...]:
        """What it is about, however many and whatever the answer."""
        return (*(kind for kind, _ in self.events), *(name for name, _ in self.answers))

    @property
    def kind(self) -> str:
        """Give "events", "answer" or "both"; "time" where nothing happens."""
        return {(1, 0): "events", (0, 1): "answer", (1, 1): "both"}.get(
            (min(len(self.events), 1), min(len(self.answers), 1)), "time"
        )


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
        What to add so that `score_one` gives the same: ``events`` (rows under the project's own names),
        ``fields`` (columns of the lead), ``as_of`` (the moment after it, in ISO 8601; None without a clock),
        and for fields with a history ``history`` (rows). For a rule: ``rule``, its name.
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
        Likely answers and what each would make of the lead, the likeliest first, at most three.
    """

    field: str
    label: str
    chance_of_change: float
    expected_move: float
    examples: tuple[str, ...]


def nearest(moves: Sequence[Move], crosses: Bools, shift: Floats, most: int) -> list[int]:
    """Choose the nearest moves that cross a line: what takes the fewest steps, then the least time.

    Of moves about the same, that with the fewest steps stands for all, and of answers the first. A kind of
    event that has narrower ones is chosen only when as many of each of those cross as well, so that it is
    true whichever happens; a narrower one only when fewer of it suffice.

    Parameters
    ----------
    moves : sequence of Move
        Those about the same by rising number of steps.
    crosses : array of shape (n,)
        Whether each crosses the line.
    shift : array of shape (n,)
        Points of score that each moves; of equal moves the strongest comes first.
    most : int

    Returns
    -------
    list of int
        Places in `moves`, the nearest first.

    Examples
    --------
    >>> click, webinar = Happening("email_click"), Happening("webinar")
    >>> moves = [Move(((click, 1),)), Move(((click, 2),)), Move(((webinar, 1),)), Move(days=7)]
    >>> nearest(moves, np.array([False, True, True, False]), np.array([1.0, 3.0, 4.0, -1.0]), 5)
    [2, 1]
    """
    first: dict[tuple[object, ...], int] = {}
    for place in np.flatnonzero(crosses).tolist():
        first.setdefault(moves[place].about, place)
    crossing = {
        moves[place].events: place for place in np.flatnonzero(crosses).tolist() if moves[place].hours
    }
    alone = {move.events[0][0] for move in moves if len(move.events) == 1 and not move.answers}
    for wide in alone:
        narrow = [kind for kind in alone if kind.within(wide)]
        if not narrow or (wide,) not in first:
            continue
        counts = sorted(events[0][1] for events in crossing if events[0][0] == wide and len(events) == 1)
        always = [n for n in counts if all(((kind, n),) in crossing for kind in narrow)]
        del first[(wide,)]
        if always:
            first[(wide,)] = crossing[((wide, always[0]),)]
            for kind in narrow:
                if (kind,) in first and moves[first[(kind,)]].steps >= always[0]:
                    del first[(kind,)]
    size = {
        place: (moves[place].steps, moves[place].days, -abs(float(shift[place]))) for place in first.values()
    }
    return sorted(size, key=lambda place: (*size[place], place))[:most]


def in_words(move: Move, labels: Mapping[str, str]) -> str:
    """Say what would happen: "one more page view of /pricing", ready to begin a sentence.

    Parameters
    ----------
    move : Move
    labels : mapping of str to str
        Fields in words.

    Examples
    --------
    >>> move = Move(((Happening("page_view", "/pricing"), 2),), (("size", 250.0),))
    >>> in_words(move, {"size": "Company size"})
    '2 more page views of /pricing within a day, and company size answered with 250,'
    >>> in_words(Move(days=7), {})
    '7 days without anything happening'
    """
    if not move.steps:
        return f"{days(move.days)} without anything happening"
    parts = [_more(kind, count) for kind, count in move.events]
    happened = " and ".join(parts) + (" within a day" if move.hours > 1 else "")
    answered = " and ".join(
        f"{_lower(labels[name])} answered with {said(value)}" for name, value in move.answers
    )
    return f"{happened}, and {answered}," if parts and answered else happened or answered


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
    name = _NAMES.get(after[0], after[0]) if rises else after[0].replace("_", " ").replace("mql", "MQL")
    verb = f"would make it {name}" if rises else f"would lower it to {name}"
    by = f" by the rule “{clean(rule)}”" if rule else ""
    old, new = _told_apart(before[1], after[1])
    return f"{what[:1].upper()}{what[1:]} {verb}{by} (score {old} -> {new})"


def said(value: Answer) -> str:
    """Write an answer."""
    return number(value) if isinstance(value, float) else f"“{clean(value)}”"


def expectation(chance: Floats, changes: Bools, move: Floats) -> tuple[float, float]:
    """Give the chance that an answer changes the stage, and the move of the score expected of it.

    The expected value of an answer before it is known (Raiffa and Schlaifer 1961), with the move of the
    score in place of money.

    Parameters
    ----------
    chance : array of shape (n,)
        How likely each answer is, in any unit.
    changes : array of shape (n,)
        Whether it changes the stage.
    move : array of shape (n,)
        Points of score that it moves.

    Examples
    --------
    >>> expectation(np.array([3.0, 1.0]), np.array([False, True]), np.array([-2.0, 10.0]))
    (0.25, 4.0)
    """
    share = chance / chance.sum()
    return float((share * changes).sum()), float((share * np.abs(move)).sum())


def shares(surprise: Floats, bins: Ints) -> Floats:
    """Give how likely each answer is, where answers of the same bins share their chance alike.

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
    """Move half of each bin's chance from its upper end to its lower, where numbers lie anywhere between.

    Examples
    --------
    >>> spread(np.array([0.2, 0.4, 0.4])).tolist()
    [0.4, 0.4, 0.2]
    """
    found = chance.copy()
    found[1:] /= 2
    found[:-1] += chance[1:] / 2
    return found


def _more(kind: Happening, count: int) -> str:
    noun = _noun(EventFeature("count", kind.type, content=kind.content, channel=kind.channel))
    if noun.many is None:
        return f"{noun.one} once more" if count == 1 else f"{noun.one} {count} more times"
    return f"one more {noun.one}" if count == 1 else f"{count} more {noun.many}"


def _told_apart(one: float, other: float) -> tuple[str, str]:
    """Write two scores as integers, or with as many digits as it takes to tell them apart."""
    if whole(one) != whole(other) or one == other:
        return str(whole(one)), str(whole(other))
    pairs: Iterable[tuple[str, str]] = ((f"{one:.{d}f}", f"{other:.{d}f}") for d in range(1, 18))
    return next((a, b) for a, b in pairs if a != b)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
