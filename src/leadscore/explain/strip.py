"""How a timeline is shown: as text for a terminal, and as a strip of HTML that a card can include."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from leadscore.explain import layout
from leadscore.explain.card import stage_name
from leadscore.explain.concepts import uncapital
from leadscore.explain.drivers import whole
from leadscore.explain.phrases import USUAL, Phrases
from leadscore.explain.wording import clean, days, field_of, noun_of
from leadscore.features.declare import EventFeature

if TYPE_CHECKING:
    from leadscore.explain.timeline import Happening, Step, Timeline, Trigger

MOST_ROWS: Final = 8  # steps that are lines of their own; those between them are taken together
_MOVED: Final = 2  # concepts that a line names
_LONGEST: Final = 500  # letters of a note
_TYPES: Final = 4  # types of events that a line counts
_MANY: Final = 3  # different things at one moment that are named; of more, the types are counted
_DAY: Final = 86_400_000_000  # microseconds
_CHANGE: Final = "change"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a timeline: one step, or several that are small.

    Parameters
    ----------
    start, end : datetime
        In UTC.
    points : float
    shown : int
        All rows, the first score and the cut add up to the last score.
    score : float
        After it.
    text : str
        Without control characters, but not escaped for HTML.
    moved : str
        The concepts that moved most, in words; empty where that is not known or says nothing.
    reached : tuple of str
        The stages that it brought the lead into.
    together : bool
        Whether it stands for all steps between two that are large.
    """

    start: datetime
    end: datetime
    points: float
    shown: int
    score: float
    text: str
    moved: str
    reached: tuple[str, ...]
    together: bool = False

    @property
    def silent(self) -> bool:
        """Whether it is left out where people read: it takes several small steps together that show as 0."""
        return self.together and not self.shown

    @property
    def when(self) -> str:
        """The day and time of a step, or the two days of what takes longer."""
        if self.end - self.start < timedelta(minutes=1):
            return f"{self.start:%Y-%m-%d %H:%M}"
        first, last = f"{self.start:%Y-%m-%d}", f"{self.end:%Y-%m-%d}"
        return first if first == last else f"{first} to {last}"


def rows(timeline: "Timeline", most: int = MOST_ROWS) -> tuple[Row, ...]:
    """Lay a timeline out in lines: its largest steps, those that were triggers, and what lies between.

    Parameters
    ----------
    timeline : Timeline
    most : int
        Steps that get a line of their own, beside triggers.

    Returns
    -------
    tuple of Row
        In the order of time; together they take in every step.
    """
    reached: dict[int, tuple[str, ...]] = {}
    for trigger in timeline.triggers:
        reached[trigger.step.place] = (*reached.get(trigger.step.place, ()), trigger.stage)
    points = np.abs(np.diff(timeline.raw))
    largest = np.argsort(-points, kind="stable")[:most].tolist()
    own = sorted({*(place for place in largest if points[place] >= 0.5), *reached})
    made, place = list[Row](), 0
    for step in [*own, len(points)]:
        if place < step:
            made.append(_between(timeline, place, step))
        if step < len(points):
            made.append(row_of(timeline, timeline.steps[step], reached.get(step, ())))
        place = step + 1
    return tuple(made)


def entered(timeline: "Timeline") -> Row | None:
    """Lay out the step that brought the lead into the highest stage that it reached and holds.

    Parameters
    ----------
    timeline : Timeline

    Returns
    -------
    Row or None
        None where there is no such step: the lead is below the line, or was above it from the beginning.
    """
    held = [trigger for trigger in timeline.triggers if trigger.held]
    return row_of(timeline, held[-1].step, (held[-1].stage,)) if held else None


def text(timeline: "Timeline", width: int = 80) -> str:
    """Give a timeline as plain text, without control characters whatever its events hold.

    Parameters
    ----------
    timeline : Timeline
    width : int
        Letters a line.

    Returns
    -------
    str
    """
    first, last = whole(float(timeline.score[0])), whole(float(timeline.score[-1]))
    lines = textwrap.wrap(_head(timeline), width)
    for sentence in _stages(timeline):
        lines += textwrap.wrap(sentence, width)
    lines += ["", *_line(f"{first:d}", f"score {_beginning(timeline)}", width)]
    for row in rows(timeline):
        if row.silent:
            continue
        marks = "".join(f" >> {stage_name(stage)}" for stage in row.reached)
        moved = f" ({row.moved})" if row.moved else ""
        lines += _line(f"{row.shown:+d}", f"{row.when}  {row.text}{moved}{marks}", width)
    if timeline.shown_cut:
        lines += _line(f"{timeline.shown_cut:+d}", "the ends of the scale, 0 and 100", width)
    lines += ["   ---", *_line(f"{last:d}", f"score at {timeline.as_of:%Y-%m-%d %H:%M} UTC", width), ""]
    for note in _notes(timeline):
        lines += textwrap.wrap(note, width)
    return "\n".join(lines)


def html(timeline: "Timeline") -> str:
    """Give a timeline as a page of its own: no script, nothing fetched, every value escaped."""
    given = {"timeline": view(timeline)}
    title = f"Timeline of lead {given['timeline']['lead']}: score {given['timeline']['score']}"
    return layout.page(_PAGE, title, given, _STYLES)


def fragment(timeline: "Timeline") -> str:
    """Give a timeline as an article with its style, for notebooks."""
    article = layout.templates().get_template(_PAGE).render(timeline=view(timeline))
    return f"<style>{layout.style(_STYLES)}</style>\n{article}"


def view(timeline: "Timeline") -> dict[str, Any]:
    """Give what the template shows: texts, integers and places.

    Parameters
    ----------
    timeline : Timeline

    Returns
    -------
    dict
        The variable ``timeline`` of ``timeline.html.j2``.
    """
    low, high = _range(timeline)
    x, y = _places(timeline, low, high)
    span = max(1, int(timeline.moments[-1] - timeline.moments[0]))
    marks: list[dict[str, Any]] = []
    listed = []
    for row in rows(timeline):
        number = None
        if row.reached:
            number = len(marks) + 1
            at = (row.end - timeline.start) / timedelta(microseconds=span)
            marks.append(
                {
                    "number": number,
                    "x": f"{100 * at:.2f}",
                    "y": f"{100 * _height(row.score, low, high):.2f}",
                }
            )
        reached = [stage_name(stage) for stage in row.reached]
        if not row.silent:
            listed.append({"row": row, "number": number, "reached": " and ".join(reached)})
    return {
        "lead": clean(timeline.lead_id),
        "head": _head(timeline),
        "stages": _stages(timeline),
        "first": whole(float(timeline.score[0])),
        "beginning": _beginning(timeline),
        "score": whole(float(timeline.score[-1])),
        "cut": timeline.shown_cut,
        "low": low,
        "high": high,
        "path": _path(x, y),
        "ticks": _ticks(timeline),
        "lines": [
            {
                "name": stage_name(stage),
                "from": whole(line),
                "at": f"{100 * _height(line, low, high):.2f}",
                "inside": low < line < high,
                "kind": stage.replace("_", "-"),
            }
            for stage, line in timeline.lines.items()
            if stage in timeline.stages[2:]
        ],
        "marks": marks,
        "rows": listed,
        "start": f"{timeline.start:%Y-%m-%d}",
        "as_of": f"{timeline.as_of:%Y-%m-%d %H:%M} UTC",
        "end": f"{timeline.as_of:%Y-%m-%d}",
        "notes": _notes(timeline),
    }


# ----------------------------------------------------------------------------------------------- in words
def happening(one: "Happening", phrases: Phrases = USUAL) -> str:
    """Say what happened: "page view of /pricing via website", "company size: 250".

    Parameters
    ----------
    one : Happening
    phrases : Phrases, optional
        The project's own.

    Returns
    -------
    str
        Without control characters, but not escaped for HTML.

    Examples
    --------
    >>> from datetime import UTC
    >>> from leadscore.explain.timeline import Happening
    >>> at = datetime(2025, 3, 1, tzinfo=UTC)
    >>> happening(Happening("event", at, at, "page_view", "/pricing", "website"))
    'page view of /pricing via website'
    >>> happening(Happening("change", at, at, "company_size", "250"))
    'company size: 250'
    """
    if one.kind == _CHANGE:
        field = uncapital(field_of(one.what, phrases))
        said = f"{field} emptied" if one.content is None else f"{field}: {clean(one.content)}"
    else:
        feature = EventFeature("count", one.what, content=one.content, channel=one.channel)
        said = noun_of(feature, phrases).one
    return f"{said}, of {one.at:%Y-%m-%d} and known only now" if _is_late(one) else said


def _is_late(one: "Happening") -> bool:
    return one.known_at - one.at >= timedelta(hours=1)


def row_of(timeline: "Timeline", step: "Step", reached: tuple[str, ...] = ()) -> Row:
    """Lay one step of a timeline out, with the stages that it brought the lead into."""
    if not step.count:
        passed = days(step.days)
        said = f"{_capital(passed)} {'passes' if passed.startswith(('1 ', 'less')) else 'pass'}"
    elif step.days * _DAY >= 2:  # microseconds
        said = f"{step.count:,} events: {_listed(_counted(timeline, step))}"
    else:
        said = _capital(_happened(timeline, step))
    moves = [move for move in timeline.moves(step, _MOVED) if abs(move.points) >= 0.5]
    return Row(
        start=step.start,
        end=step.end,
        points=step.points,
        shown=step.shown,
        score=step.after,
        text=said,
        moved=", ".join(f"{clean(move.label)} {_signed(move.points)}" for move in moves),
        reached=reached,
    )


def _happened(timeline: "Timeline", step: "Step") -> str:
    """Name what happened at one moment; of many events, how many of each type."""
    told = [one if one.what in timeline.mixed else replace(one, channel=None) for one in step.happened]
    named = list(dict.fromkeys(happening(one, timeline.phrases) for one in told))
    more = step.count - len(told)
    if (len(named) <= _MANY and not more) or any(one.kind == _CHANGE for one in told):
        return _listed([*named, *([f"{more:,} more"] * (more > 0))])
    late = [_is_late(one) for one in told]
    known = f", {'' if all(late) else 'some of them '}known only now" if any(late) else ""
    counted = _counted(timeline, step)
    return f"{f'{step.count:,} events: ' * (len(counted) > 1)}{_listed(counted)}{known}"


def _counted(timeline: "Timeline", step: "Step") -> list[str]:
    """Say how many of each type of event are taken together in a step, the most frequent first."""
    what = Counter(map(str, timeline.happened(step)))
    told = [
        noun_of(EventFeature("count", name), timeline.phrases).times(count)
        for name, count in what.most_common(_TYPES)
    ]
    rest = step.count - sum(count for _, count in what.most_common(_TYPES))
    return [*told, *([f"{rest:,} more"] * (rest > 0))]


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + " and " * (len(words) > 1) + words[-1]


def _between(timeline: "Timeline", first: int, end: int) -> Row:
    """Take steps together that follow each other."""
    some = timeline.steps[first:end]
    count = sum(step.count for step in some)
    passed = days((some[-1].end - some[0].start) / timedelta(days=1)).removeprefix("less than ")
    what = (
        "event" if not any(h.kind == _CHANGE for step in some for h in step.happened) else "event or change"
    )
    said = f"{count:,} {what}{'s' * (count != 1)} within {passed}" if count else f"{passed} without an event"
    raw = timeline.raw
    return Row(
        start=some[0].start,
        end=some[-1].end,
        points=float(raw[end] - raw[first]),
        shown=sum(step.shown for step in some),
        score=some[-1].after,
        text=_capital(said),
        moved="",
        reached=(),
        together=True,
    )


def _head(timeline: "Timeline") -> str:
    now = stage_name(timeline.stages[int(timeline.rank[-1])])
    first, last = whole(float(timeline.score[0])), whole(float(timeline.score[-1]))
    return f"Lead {clean(timeline.lead_id)} · {now} · score {last} of 100, {first} {_beginning(timeline)}"


def _beginning(timeline: "Timeline") -> str:
    return f"at the beginning, {timeline.start:%Y-%m-%d %H:%M} UTC"


def _stages(timeline: "Timeline") -> list[str]:
    """Say for each stage what brought the lead there."""
    triggers = {trigger.stage: trigger for trigger in timeline.triggers}
    said, together = list[str](), list[str]()
    for rank, stage in enumerate(timeline.stages):
        if rank < 2:
            continue
        name = stage_name(stage)
        if stage not in triggers:
            was = bool(timeline.rank[0] >= rank)
            still = bool(timeline.rank[-1] >= rank)
            line = f"from {whole(timeline.lines[stage])}"
            said.append(
                f"{name} ({line}): since the beginning."
                if still
                else f"{name} ({line}): at the beginning, and no longer."
                if was
                else f"{name} ({line}): not reached."
            )
            continue
        trigger, above = triggers[stage], timeline.stages[rank + 1 : rank + 2]
        together.append(name)
        if above and _alike(trigger, triggers.get(above[0])):
            continue
        name, together = " and ".join(together), []
        row = row_of(timeline, trigger.step)
        how = " by a rule of the policy" if trigger.by_rule else f" (from {whole(trigger.line)})"
        since = "" if trigger.held else "; no longer"
        what = f"{row.text[:1].lower()}{row.text[1:]}"
        moment = f"by {row.end:%Y-%m-%d}" if not trigger.step.count else f"{row.end:%Y-%m-%d %H:%M}"
        said.append(f"{name}{how}: {moment}, {what} ({row.shown:+d}, to {whole(row.score)}){since}.")
    return said


def _alike(one: "Trigger", other: "Trigger | None") -> bool:
    """Whether one event brought the lead into two stages at once, by the same rule of the policy."""
    if other is None or not (one.by_rule and other.by_rule):
        return False
    return (one.step.place, one.held) == (other.step.place, other.held)


def _notes(timeline: "Timeline") -> list[str]:
    made = f"Scored by {clean(timeline.model)}, policy revision {timeline.policy_revision}"
    told = f"Times are UTC. {made}. A step is what the score did then; that does not prove a cause."
    return [*(clean(note, _LONGEST) for note in timeline.notes), told]


def _line(number: str, said: str, width: int) -> list[str]:
    first, *more = textwrap.wrap(said, max(20, width - 8)) or [""]
    return [f"{number:>6}  {first}", *(f"{'':8}{line}" for line in more)]


def _signed(points: float) -> str:
    rounded = whole(points)
    return f"{rounded:+d}" if rounded else "0"


def _capital(said: str) -> str:
    return said[:1].upper() + said[1:]


# ------------------------------------------------------------------------------------------- in a picture
def _range(timeline: "Timeline") -> tuple[int, int]:
    """Give the tens between which all scores and the MQL line are."""
    shown = [*timeline.score.tolist(), timeline.lines[timeline.stages[2]]]
    low, high = 10 * int((min(shown) - 1) // 10), 10 * int(-(-(max(shown) + 1) // 10))
    return max(0, low), min(100, max(high, low + 10))


def _height(score: float, low: int, high: int) -> float:
    """Give how far below the top a score is, as a share."""
    return (high - min(max(score, low), high)) / (high - low)


def _places(timeline: "Timeline", low: int, high: int) -> tuple[list[int], list[int]]:
    since = timeline.moments - timeline.moments[0]
    x = np.rint(1000 * since / max(1, int(since[-1]))).astype(int)
    y = np.rint(1000 * (high - np.clip(timeline.score, low, high)) / (high - low)).astype(int)
    return x.tolist(), y.tolist()


def _path(x: Sequence[int], y: Sequence[int]) -> str:
    """Draw a line through places, each once."""
    places = [(x[0], y[0])]
    for place in zip(x, y, strict=True):
        if place != places[-1]:
            places.append(place)
    if len(places) == 1:
        places.append((1000, places[0][1]))
    return "M" + "L".join(f"{a} {b}" for a, b in places)


def _ticks(timeline: "Timeline") -> str:
    """Draw a short line for each event, those at one place once."""
    begin, span = int(timeline.moments[0]), max(1, int(timeline.moments[-1] - timeline.moments[0]))
    since = timeline.happenings.since
    places = np.unique(np.rint(1000 * (since[since > begin] - begin) / span).astype(int)).tolist()
    return "".join(f"M{place} 960V1000" for place in places)


_PAGE: Final = "timeline_page.html.j2"
_STYLES: Final = ("card.css.j2", "timeline.css.j2")
