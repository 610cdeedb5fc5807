"""Why a score changed: two explanations of one lead beside each other, as an exact sum of differences."""

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from leadscore.errors import UsageError, explain, shown
from leadscore.explain import layout
from leadscore.explain.card import Driver, Explanation, capital, stage_name
from leadscore.explain.concepts import uncapital
from leadscore.explain.drivers import shown_integers, whole
from leadscore.explain.wording import clean

BASE: Final = "base"
NOW: Final = ("before", "now")
MOST_ENTRIES: Final = 8  # differences that are lines of their own
_ARTICLE: Final = "ledger.html.j2"
_TYPICAL: Final = re.compile(r"; (?:a typical lead|typically)\b[^;]*$")


@dataclass(frozen=True, slots=True)
class Entry:
    """What one concept did to the difference of two scores.

    Parameters
    ----------
    concept, label, family : str
        As of a `Driver`; base for what the model gives a typical lead.
    points : float
        `after` less `before`.
    shown : int
        The points as people see them.
    before, after : float
        The concept's points in each of the two.
    text : str
        In words: what is known now, and what was known before where that differs.
    """

    concept: str
    label: str
    family: str
    points: float
    shown: int
    before: float
    after: float
    text: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """The difference of two scores of one lead: ``before + sum of entries == after``, within 1e-9.

    Parameters
    ----------
    lead_id : int or str
    named : (str, str)
        What sets the two apart: their moments, models or policies, in words.
    score : (float, float)
    stage, stage_reason : (str, str)
    lines : pair of mappings of str to float
        The score from which each stage begins.
    entries : tuple of Entry
        By size of their points, largest first.
    """

    lead_id: int | str
    named: tuple[str, str]
    score: tuple[float, float]
    stage: tuple[str, str]
    stage_reason: tuple[str, str]
    lines: tuple[Mapping[str, float], Mapping[str, float]]
    entries: tuple[Entry, ...]

    @property
    def shown_score(self) -> tuple[int, int]:
        """The scores as people see them; the entries' ``shown`` lead from one to the other."""
        return whole(self.score[0]), whole(self.score[1])

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain values for JSON, under the names of the class."""
        return {
            "lead_id": self.lead_id,
            "named": list(self.named),
            "score": list(self.score),
            "shown_score": list(self.shown_score),
            "stage": list(self.stage),
            "stage_reason": list(self.stage_reason),
            "lines": [dict(lines) for lines in self.lines],
            "entries": [asdict(entry) for entry in self.entries],
        }

    def text(self, width: int = 80) -> str:
        """Give the ledger as plain text, without control characters whatever the lead's fields hold.

        Parameters
        ----------
        width : int
            Letters a line.

        Returns
        -------
        str
        """
        first, last = self.shown_score
        told, rest = self._listed()
        lines = textwrap.wrap(f"Lead {clean(self.lead_id)}: {self.named[0]} against {self.named[1]}", width)
        lines += ["", *_line(f"{first:d}", f"{self.named[0]} · {stage_name(self.stage[0])}", width)]
        for entry in told:
            lines += _line(f"{entry.shown:+d}", entry.text, width)
        if rest:
            lines += _line(f"{sum(entry.shown for entry in rest):+d}", _everything_else(rest), width)
        lines += ["   ---", *_line(f"{last:d}", f"{self.named[1]} · {stage_name(self.stage[1])}", width), ""]
        lines += [line for said in self._sentences() for line in textwrap.wrap(said, width)]
        return "\n".join(lines)

    def html(self) -> str:
        """Give the ledger as a page of its own: no script, nothing fetched, every value escaped."""
        first, last = self.shown_score
        title = f"Lead {clean(self.lead_id)}: score {first} against {last}"
        return layout.page(_ARTICLE, title, {"ledger": self._view()})

    def _repr_html_(self) -> str:
        article = layout.templates().get_template(_ARTICLE).render(ledger=self._view())
        return f"<style>{layout.style()}</style>\n{article}"

    def _view(self) -> dict[str, Any]:
        """Give what the template shows."""
        told, rest = self._listed()
        first, last = (
            {"score": score, "said": f"{name} · {stage_name(stage)}"}
            for score, name, stage in zip(self.shown_score, self.named, self.stage, strict=True)
        )
        return {
            "lead": clean(self.lead_id),
            "named": self.named,
            "first": first,
            "last": last,
            "told": told,
            "rest": sum(entry.shown for entry in rest),
            "rest_text": capital(_everything_else(rest)) if rest else "",
            "sentences": list(self._sentences()),
        }

    def _listed(self) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:
        """Part the entries into those that are lines of their own, and the others."""
        places = [place for place, entry in enumerate(self.entries) if entry.shown][:MOST_ENTRIES]
        rest = [entry for place, entry in enumerate(self.entries) if place not in places]
        return tuple(self.entries[place] for place in places), tuple(rest)

    def _sentences(self) -> Iterator[str]:
        """Say which lines differ, and why the lead is in its stage in the end."""
        for name in dict.fromkeys([*self.lines[0], *self.lines[1]]):
            starts = ["no line" if name not in own else f"from {whole(own[name])}" for own in self.lines]
            if starts[0] != starts[1]:
                yield f"{stage_name(name)} {starts[0]} ({self.named[0]}), {starts[1]} ({self.named[1]})."
        yield self.stage_reason[1]


def ledger(before: Explanation, after: Explanation, named: tuple[str, str] | None = None) -> Ledger:
    """Say why one lead's score differs between two models, two policies or any two explanations.

    Between two moments, `timelines.changed` also says what each thing was before.

    Parameters
    ----------
    before, after : Explanation
        Of the same lead: of two models at one moment, or of a `LeadModel` with another policy.
    named : (str, str), optional
        What to call the two; by default what sets them apart.

    Returns
    -------
    Ledger

    Raises
    ------
    UsageError
        They are of different leads.
    """
    if str(before.lead_id) != str(after.lead_id):
        found = f"{shown(before.lead_id)!r} and {shown(after.lead_id)!r}"
        raise UsageError(explain("two explanations of one lead", found, "explain the same lead twice"))
    lift = after.base - before.base
    called = _named(before, after) if named is None else (clean(named[0]), clean(named[1]))
    entries = [_entry(pair, called) for pair in _matched(before, after)]
    text = "What the model gives a typical lead"
    entries.append(Entry(BASE, "Typical lead", BASE, lift, 0, before.base, after.base, text))
    return settled(
        entries,
        lead_id=after.lead_id,
        named=called,
        score=(before.score, after.score),
        stage=(before.stage, after.stage),
        stage_reason=(before.stage_reason, after.stage_reason),
        lines=(before.lines, after.lines),
    )


def settled(
    entries: Iterable[Entry],
    *,
    lead_id: int | str,
    named: tuple[str, str],
    score: tuple[float, float],
    stage: tuple[str, str],
    stage_reason: tuple[str, str],
    lines: tuple[Mapping[str, float], Mapping[str, float]],
) -> Ledger:
    """Put entries in order and give them integers that add up.

    Parameters
    ----------
    entries : iterable of Entry
        Whose points add up to the difference of the scores; those of no points are left out.
    lead_id, named, score, stage, stage_reason, lines
        As in `Ledger`.
    """
    made = sorted((entry for entry in entries if entry.points), key=lambda entry: -abs(entry.points))
    total = whole(score[1]) - whole(score[0])
    integers = shown_integers([[entry.points for entry in made]], [total])[0].tolist() if made else []
    told = tuple(replace(entry, shown=shown) for entry, shown in zip(made, integers, strict=True))
    return Ledger(lead_id, named, score, stage, stage_reason, lines, told)


def told(then: str, now: str, before: float, after: float, named: tuple[str, str] = NOW) -> str:
    """Say in words what is known now, and what was known before; of what stayed, how it counts.

    Parameters
    ----------
    then, now : str
        Sentences of one feature, as `wording.sentence` gives them.
    before, after : float
        Points.
    named : (str, str), optional
        What the two are called.

    Examples
    --------
    >>> told("1 webinar so far; a typical lead has 0", "2 webinars so far; a typical lead has 0", 2.0, 3.0)
    '2 webinars so far; before: 1 webinar so far'
    >>> told("Industry: Energy", "Industry: Energy", 1.2, 2.1)
    'Industry: Energy (before: +1; now: +2)'
    """
    then, now = (_TYPICAL.sub("", each) for each in (then, now))
    if then != now:
        return f"{now}; {named[0]}: {uncapital(then)}"
    return f"{now} ({named[0]}: {layout.signed(before)}; {named[1]}: {layout.signed(after)})"


class _Pair(NamedTuple):
    """Drivers of two explanations that are about the same: of one concept, or of one column."""

    about: set[tuple[str, str]]
    then: list[Driver]
    now: list[Driver]


def _matched(before: Explanation, after: Explanation) -> list[_Pair]:
    """Put side by side what is about the same; one model may take together what the other tells apart."""
    found: list[_Pair] = []
    for driver, is_now in (*((d, False) for d in before.drivers), *((d, True) for d in after.drivers)):
        about = {(driver.family, name) for name in (driver.concept, *driver.columns)}
        own = _Pair(about, [] if is_now else [driver], [driver] if is_now else [])
        apart = []
        for pair in found:
            if pair.about & about:
                own = _Pair(own.about | pair.about, pair.then + own.then, pair.now + own.now)
            else:
                apart.append(pair)
        found = [*apart, own]
    return found


def _entry(pair: _Pair, named: tuple[str, str]) -> Entry:
    drivers = [*pair.now, *pair.then]
    apart = len({driver.concept for driver in drivers}) > 1
    driver = max(drivers, key=lambda d: len(d.columns)) if apart else drivers[0]
    before, after = (sum(d.points for d in side) for side in (pair.then, pair.now))
    return Entry(
        concept=driver.concept,
        label=driver.label,
        family=driver.family,
        points=after - before,
        shown=0,
        before=before,
        after=after,
        text=told(driver.text, driver.text, before, after, named),
    )


def _everything_else(rest: Sequence[Entry]) -> str:
    return f"everything else ({len(rest)} smaller difference{'s' * (len(rest) != 1)})"


def _named(before: Explanation, after: Explanation) -> tuple[str, str]:
    """Say what sets two explanations apart."""
    parts: list[tuple[str, str]] = []
    if before.as_of != after.as_of:
        parts.append((_moment(before.as_of), _moment(after.as_of)))
    if before.model != after.model:
        parts.append((f"model {clean(before.model)}", f"model {clean(after.model)}"))
    if before.policy_revision != after.policy_revision:
        parts.append(
            (f"policy revision {before.policy_revision}", f"policy revision {after.policy_revision}")
        )
    parts = parts or [NOW]
    return ", ".join(first for first, _ in parts), ", ".join(last for _, last in parts)


def _moment(moment: datetime | None) -> str:
    return "without a clock" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"


def _line(number: str, said: str, width: int) -> list[str]:
    first, *more = textwrap.wrap(said, max(20, width - 8)) or [""]
    return [f"{number:>6}  {first}", *(f"{'':8}{line}" for line in more)]
