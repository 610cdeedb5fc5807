"""A lead's score through its life, on arrays: what each event, each change and the time between them did."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from leadscore.explain import strip
from leadscore.explain.drivers import whole
from leadscore.explain.phrases import USUAL, Phrases
from leadscore.models.matrix import Floats

Ints: TypeAlias = NDArray[np.int64]

EVENT: Final = "event"
CHANGE: Final = "change"
TIME: Final = "time"
MOST_STEPS: Final = 1_000  # steps told apart; more events than that are taken together
MOST_NAMED: Final = 10  # happenings of a step that are named
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_LAST: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Happening:
    """An event of the lead, or a change of its profile that became known.

    Parameters
    ----------
    kind : str
        event or change.
    at : datetime
        When it happened, in UTC.
    known_at : datetime
        When it became known; for most the same moment.
    what : str
        The event's type, or the field that changed.
    content, channel : str or None
        Of an event; the content of a change is the field's new value.
    """

    kind: str
    at: datetime
    known_at: datetime
    what: str
    content: str | None = None
    channel: str | None = None

    @property
    def late(self) -> bool:
        """Whether it became known after it happened."""
        return self.known_at > self.at


@dataclass(frozen=True, eq=False)
class Happenings:
    """What came to be known of a lead, as parallel arrays in the order in which it did.

    Parameters
    ----------
    since : int array of shape (n,), ascending
        UTC microseconds: from this moment on, a score knows of it.
    at : int array of shape (n,)
        When it happened.
    what, content, channel : object arrays of shape (n,)
        As in `Happening`; None where there is none.
    change : bool array of shape (n,)
        True: the profile changed; False: an event.
    """

    since: Ints
    at: Ints
    what: NDArray[Any]
    content: NDArray[Any]
    channel: NDArray[Any]
    change: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.since)

    def one(self, place: int) -> Happening:
        """Give one of them as plain values."""
        at = int(self.at[place])
        return Happening(
            kind=CHANGE if self.change[place] else EVENT,
            at=instant(at),
            # It counts from just after the moment at which it was known, or from the one it was recorded at.
            known_at=instant(max(at, int(self.since[place]) - (int(self.since[place]) == at + 1))),
            what=str(self.what[place]),
            content=self.content[place],
            channel=self.channel[place],
        )


@dataclass(frozen=True, slots=True)
class Step:
    """A difference between two scores of the lead: what happened at a moment, or time that passed.

    Parameters
    ----------
    kind : str
        event, change (of the profile; both at once is an event), or time.
    start, end : datetime
        The moments of the two scores, in UTC. Around an event they are a microsecond apart.
    points : float
        What the step added to the score, before the ends of the scale cut it.
    shown : int
        The difference of the two scores as people see them, but for the ends of the scale.
    before, after : float
        The two scores, within 0 to 100.
    count : int
        How many things happened.
    happened : tuple of Happening
        The first few of them.
    place : int
        Where the step is among those of the timeline.
    """

    kind: str
    start: datetime
    end: datetime
    points: float
    shown: int
    before: float
    after: float
    count: int
    happened: tuple[Happening, ...]
    place: int

    @property
    def days(self) -> float:
        """How much time the step takes, in days."""
        return (self.end - self.start) / timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Move:
    """What a step did to one concept's points.

    Parameters
    ----------
    concept, label, family : str
        As of a `Driver`.
    points : float
    """

    concept: str
    label: str
    family: str
    points: float


@dataclass(frozen=True, slots=True)
class Trigger:
    """The step that brought the lead into a stage, the last time before the moment.

    Parameters
    ----------
    stage : str
        mql or sales_ready.
    line : float
        The score from which the stage begins.
    step : Step
    by_rule : bool
        A rule of the policy brought the lead there, not its chance.
    held : bool
        Whether the lead has been there ever since.
    """

    stage: str
    line: float
    step: Step
    by_rule: bool
    held: bool


@dataclass(frozen=True, eq=False)
class Timeline:
    """A lead's score at the moments at which something came to be known, and just before each.

    Parameters
    ----------
    lead_id : int or str
    moments : int array of shape (k,), ascending
        UTC microseconds; the first is just after the lead came in, the last the moment asked for.
    score, probability : array of shape (k,)
    raw : array of shape (k,)
        The scores before the ends of the scale cut them.
    rank : int array of shape (k,)
        The stage at each moment, as its place in `stages`.
    stages : tuple of str
        From the lowest up.
    happenings : Happenings
        What counts at the last moment, with what already counted at the first.
    lines : mapping of str to float
        The score from which each stage begins.
    chances : mapping of str to float
        The probability from which each stage begins.
    concepts : tuple of (concept, label, family)
        What the columns of `parts` are; empty without drivers.
    parts : array of shape (k, concepts) or None
        Points of each concept at each moment.
    notes : tuple of str
        What a reader should know, in sentences.
    horizon : float or None
        Days.
    model : str
    policy_revision : int
    phrases : Phrases
        The project's own words for what happened.
    """

    lead_id: int | str
    moments: Ints
    score: Floats
    raw: Floats
    probability: Floats
    rank: NDArray[np.int64]
    stages: tuple[str, ...]
    happenings: Happenings
    lines: Mapping[str, float]
    chances: Mapping[str, float]
    concepts: tuple[tuple[str, str, str], ...]
    parts: Floats | None
    notes: tuple[str, ...]
    horizon: float | None
    model: str
    policy_revision: int
    phrases: Phrases = USUAL

    @property
    def start(self) -> datetime:
        """The first moment."""
        return instant(int(self.moments[0]))

    @property
    def as_of(self) -> datetime:
        """The last moment."""
        return instant(int(self.moments[-1]))

    @property
    def cut(self) -> float:
        """What the ends of the scale add to the sum of the steps."""
        clip = self.score - self.raw
        return float(clip[-1] - clip[0])

    @property
    def shown_cut(self) -> int:
        """The cut as people see it: first score, steps and cut add up to the last score."""
        first, last = whole(float(self.score[0])), whole(float(self.score[-1]))
        return last - first - (whole(float(self.raw[-1])) - whole(float(self.raw[0])))

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """What led from the first score to the last, in the order of time."""
        return tuple(self._step(place) for place in range(len(self.moments) - 1))

    def _step(self, place: int) -> Step:
        start, end = self._first[place : place + 2].tolist()
        raw, score = self.raw[place : place + 2].tolist(), self.score[place : place + 2].tolist()
        moments = self.moments[place : place + 2].tolist()
        return Step(
            kind=self._kind(start, end),
            start=instant(moments[0]),
            end=instant(moments[1]),
            points=raw[1] - raw[0],
            shown=whole(raw[1]) - whole(raw[0]),
            before=score[0],
            after=score[1],
            count=end - start,
            happened=tuple(self.happenings.one(one) for one in range(start, min(end, start + MOST_NAMED))),
            place=place,
        )

    def moves(self, step: Step, most: int | None = None) -> tuple[Move, ...]:
        """Say which concepts a step moved, the largest first; together they are its points.

        Parameters
        ----------
        step : Step
            Of this timeline.
        most : int, optional
            How many.

        Returns
        -------
        tuple of Move
            Empty where the timeline was made without drivers.
        """
        if self.parts is None:
            return ()
        moved = self.parts[step.place + 1] - self.parts[step.place]
        order = np.argsort(-np.abs(moved), kind="stable")[:most].tolist()
        named = ((self.concepts[j], float(moved[j])) for j in order if moved[j])
        return tuple(Move(concept, called, family, points) for (concept, called, family), points in named)

    def happened(self, step: Step) -> NDArray[Any]:
        """Give what each happening of a step was: the types of events, and fields that changed.

        Parameters
        ----------
        step : Step
            Of this timeline.
        """
        found: NDArray[Any] = self.happenings.what[self._first[step.place] : self._first[step.place + 1]]
        return found

    @cached_property
    def mixed(self) -> frozenset[str]:
        """The types of events that came in several ways, of which the channel tells something."""
        known = self.happenings
        seen = Counter(what for what, _ in {*zip(known.what.tolist(), known.channel.tolist(), strict=True)})
        return frozenset(str(what) for what, ways in seen.items() if ways > 1)

    @cached_property
    def triggers(self) -> tuple[Trigger, ...]:
        """The steps that brought the lead into the stages mql and sales_ready, where it got there."""
        found = []
        for stage in self.stages[2:]:
            reached = self.rank >= self.stages.index(stage)
            crossings = np.flatnonzero(reached[1:] & ~reached[:-1])
            if not len(crossings):
                continue
            place = int(crossings[-1])
            over = self.probability[place : place + 2] >= self.chances[stage]
            by_rule = bool(over[0] or not over[1])
            held = bool(reached[place + 1 :].all())
            found.append(Trigger(stage, self.lines[stage], self._step(place), by_rule, held))
        return tuple(found)

    @cached_property
    def _first(self) -> Ints:
        """Where the happenings of each step begin, and where those of the last one end."""
        found: Ints = self.happenings.since.searchsorted(self.moments, side="right")
        return found

    def _kind(self, start: int, end: int) -> str:
        if start == end:
            return TIME
        return CHANGE if self.happenings.change[start:end].all() else EVENT

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain values for JSON.

        Returns
        -------
        dict
            The first and the last score with their moments, ``cut``, ``steps`` (with ``moves`` where there
            are drivers), ``triggers``, and the ``shown`` integers that add up.
        """
        return {
            "lead_id": self.lead_id,
            "start": self.start.isoformat(),
            "as_of": self.as_of.isoformat(),
            "first_score": float(self.score[0]),
            "score": float(self.score[-1]),
            "probability": float(self.probability[-1]),
            "stage": self.stages[int(self.rank[-1])],
            "shown_first_score": whole(float(self.score[0])),
            "shown_score": whole(float(self.score[-1])),
            "cut": self.cut,
            "shown_cut": self.shown_cut,
            "steps": [self._plain(step) for step in self.steps],
            "triggers": [
                {
                    "stage": trigger.stage,
                    "line": trigger.line,
                    "by_rule": trigger.by_rule,
                    "held": trigger.held,
                    "step": trigger.step.place,
                }
                for trigger in self.triggers
            ],
            "lines": dict(self.lines),
            "notes": list(self.notes),
            "horizon": self.horizon,
            "model": self.model,
            "policy_revision": self.policy_revision,
        }

    def text(self, width: int = 80) -> str:
        """Give the timeline as plain text, without control characters whatever its events hold.

        Parameters
        ----------
        width : int
            Letters a line.

        Returns
        -------
        str
        """
        return strip.text(self, width)

    def html(self) -> str:
        """Give the timeline as a page of its own: no script, nothing fetched, every value escaped."""
        return strip.html(self)

    def _repr_html_(self) -> str:
        return strip.fragment(self)

    def _plain(self, step: Step) -> dict[str, Any]:
        plain: dict[str, Any] = {
            "kind": step.kind,
            "start": step.start.isoformat(),
            "end": step.end.isoformat(),
            "points": step.points,
            "shown": step.shown,
            "before": step.before,
            "after": step.after,
            "count": step.count,
            "happened": [
                {
                    "kind": happening.kind,
                    "at": happening.at.isoformat(),
                    "known_at": happening.known_at.isoformat(),
                    "what": happening.what,
                    "content": happening.content,
                    "channel": happening.channel,
                }
                for happening in step.happened
            ],
        }
        if self.parts is not None:
            plain["moves"] = [
                {"concept": move.concept, "label": move.label, "family": move.family, "points": move.points}
                for move in self.moves(step)
            ]
        return plain


def moments_of(since: Ints, start: int, as_of: int, most: int = MOST_STEPS) -> tuple[Ints, int]:
    """Choose the moments of a timeline: just before and just after each moment at which something is new.

    Parameters
    ----------
    since : int array of shape (n,), ascending
        From when on each happening is known, UTC microseconds.
    start, as_of : int
        The first moment and the last.
    most : int
        Moments of news that are told apart; of more, those that follow each other are taken together.

    Returns
    -------
    moments : int array, ascending, each once
    together : int
        How many moments of news are taken together, at most; 1 for all but the longest histories.

    Examples
    --------
    >>> moments_of(np.array([5, 9, 9]), 2, 20)
    (array([ 2,  4,  5,  8,  9, 20]), 1)
    >>> moments_of(np.array([5, 7, 9, 12]), 2, 20, most=2)
    (array([ 2,  4,  7,  8, 12, 20]), 2)
    """
    news = _each_once(since[(since > start) & (since <= as_of)])
    together = max(1, -(-len(news) // most))
    last = np.append(news[together - 1 :: together], news[-1:])
    moments = np.sort(np.concatenate([[start], news[::together] - 1, last, [as_of]]), kind="stable")
    return _each_once(moments), together


def _each_once(ascending: Ints) -> Ints:
    """Leave out what is equal to the one before."""
    found: Ints = ascending[np.append(True, ascending[1:] != ascending[:-1])[: len(ascending)]]
    return found


def instant(microseconds: int) -> datetime:
    """Give a moment in UTC microseconds as a datetime, or the nearest that there is."""
    return _EPOCH + timedelta(microseconds=min(max(microseconds, _FIRST), _LAST))
