"""The complete card of a lead: why it has its score, what happened, what would change it and what to ask."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from leadscore.explain import layout, strip
from leadscore.explain.card import FEW, Explanation, capital, odds, stage_name
from leadscore.explain.changes import Change, Question
from leadscore.explain.drivers import whole
from leadscore.explain.timeline import Timeline
from leadscore.explain.wording import clean, days

MOST_CHANGES: Final = 3
MOST_QUESTIONS: Final = 2
MOST_NAMED: Final = 6  # fields that are not known, or unlike those of training
STYLES: Final = ("card.css.j2", "timeline.css.j2", "full.css.j2")


@dataclass(frozen=True, slots=True)
class Response:
    """A content that the lead responded to.

    Parameters
    ----------
    text : str
        What it did with it, in words.
    what, content : str
        The event type and the content.
    count : int
        How often.
    points : float
        What those events added to the score when they came to be known.
    """

    text: str
    what: str
    content: str
    count: int
    points: float


@dataclass(frozen=True, slots=True)
class Card:
    """All that sales reads of one lead.

    Parameters
    ----------
    explanation : Explanation
        The chance, the score, the stage, and the reasons that add up to the score.
    interval : (float, float, float) or None
        The level, and between which bounds the share of such leads that convert lies; None where that is
        not known, or the chance is withheld.
    before : (float, float) or None
        Days ago, at most 7, and the score then; None where the model does not read time.
    urgency, expected_days : float or None
        Of a hazard model: the share of the chance that falls in the next 7 days, and the days to the win of
        a lead that is won within the horizon.
    timeline : Timeline or None
        None where the model does not read time.
    responses : tuple of Response
        The contents that it responded to best, at most three.
    changes : tuple of Change
        What would move it to another stage, the nearest first.
    questions : tuple of Question
        What to ask next.
    missing : tuple of str
        Fields that the model reads and that are not known, in words.
    unlike : tuple of str
        What about the lead is unlike those of training, in sentences.
    notes : tuple of str
        What else a reader should know.
    digest : str
        The SHA-256 of the model's manifest; empty where that is not known.
    """

    explanation: Explanation
    interval: tuple[float, float, float] | None
    before: tuple[float, float] | None
    urgency: float | None
    expected_days: float | None
    timeline: Timeline | None
    responses: tuple[Response, ...]
    changes: tuple[Change, ...]
    questions: tuple[Question, ...]
    missing: tuple[str, ...]
    unlike: tuple[str, ...]
    notes: tuple[str, ...]
    digest: str = ""

    @property
    def chance(self) -> str:
        """The chance in plain words, beside the typical one and with its interval; or why it is withheld."""
        return " ".join(part for part in (self.explanation.chance, self.sure) if part)

    @property
    def sure(self) -> str:
        """How sure the chance is, in words; empty where that is not known."""
        if self.interval is None:
            return ""
        level, low, high = self.interval
        return f"{100 * level:.0f} % sure: {between(low, high)}."

    @property
    def trend(self) -> str:
        """How the score moved, in words; empty where that is not known."""
        if self.before is None:
            return ""
        then, now = whole(self.before[1]), self.explanation.shown_score
        if then == now:
            return f"unchanged in {days(self.before[0])}"
        moved = "up" if now > then else "down"
        return f"{moved} {abs(now - then)} in {days(self.before[0])}, from {then} to {now}"

    @property
    def triggers(self) -> tuple[str, ...]:
        """For each stage, what brought the lead there, in sentences."""
        return () if self.timeline is None else tuple(strip.view(self.timeline)["stages"])

    @property
    def trigger(self) -> tuple[str, str] | None:
        """What brought the lead into the highest stage that it reached and holds, and when."""
        row = None if self.timeline is None else strip.entered(self.timeline)
        return None if row is None else (row.text, row.when)

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain values for JSON, as ``docs/card.schema.json`` describes them.

        Returns
        -------
        dict
            Where the chance is withheld, every probability is None.
        """
        values = {
            **self.explanation.to_dict(),
            "chance": self.chance,
            "interval": None
            if self.interval is None
            else dict(zip(("level", "low", "high"), self.interval, strict=True)),
            "trend": None
            if self.before is None
            else {"days": self.before[0], "score": self.before[1], "text": self.trend},
            "urgency": self.urgency,
            "expected_days": self.expected_days,
            "timeline": None if self.timeline is None else self.timeline.to_dict(),
            "triggers": list(self.triggers),
            "responses": [asdict(response) for response in self.responses],
            "changes": [asdict(change) for change in self.changes],
            "questions": [
                {**asdict(question), "text": question.text, "examples": list(question.examples)}
                for question in self.questions
            ],
            "missing": list(self.missing),
            "unlike": list(self.unlike),
            "notes": list(self.notes),
            "digest": self.digest,
        }
        return values if self.explanation.calibrated else _withheld(values)

    def text(self, width: int = 80, *, all_reasons: bool = False) -> str:
        """Give the card as plain text, without control characters whatever the lead's fields hold.

        Parameters
        ----------
        width : int
            Letters a line.
        all_reasons : bool
            Whether to list every reason in place of "everything else".

        Returns
        -------
        str
        """
        why = self.explanation
        top = (layout.head(why), self.chance, why.stage_reason)
        facts = tuple(f"{name}: {said}." for name, said in _facts(self))
        lines = list(layout.wrapped((*top, *facts), width))
        lines += ["", *layout.sum_lines(why, width, all_reasons=all_reasons)]
        if self.timeline is not None:
            lines += ["", "What happened (UTC)", *layout.wrapped(self.triggers, width)]
            first = whole(float(self.timeline.score[0]))
            lines += layout.row(f"{first:d}", f"score at {self.timeline.start:%Y-%m-%d %H:%M}", width)
            for row in strip.rows(self.timeline):
                if not row.silent:
                    marks = "".join(f" >> {stage_name(stage)}" for stage in row.reached)
                    lines += layout.row(f"{row.shown:+d}", f"{row.when}  {row.text}{marks}", width)
            lines += layout.wrapped(tuple(map(_sentence, self.timeline.notes)), width)
        for heading, sentences in _lists(self):
            lines += ["", heading, *(line for said in sentences for line in layout.row("-", said, width))]
        return "\n".join([*lines, "", *layout.made_lines(why, width, self.digest)])

    def html(self) -> str:
        """Give the card as a page of its own: no script, nothing fetched, every value escaped."""
        why = self.explanation
        title = f"Lead {clean(why.lead_id)}: score {why.shown_score}"
        return layout.page("full.html.j2", title, _view(self), STYLES)

    def _repr_html_(self) -> str:
        article = layout.templates().get_template("full.html.j2").render(_view(self))
        return f"<style>{layout.style(STYLES)}</style>\n{article}"


def between(low: float, high: float) -> str:
    """Say an interval of chances as so many in 100, or in 1,000 where they are small.

    Examples
    --------
    >>> between(0.108, 0.184), between(0.0021, 0.0087), between(0.0001, 0.0004)
    ('between 11 and 18 in 100', 'between 2 and 9 in 1,000', 'fewer than 1 in 1,000')
    """
    of = 1000 if high < 2 * FEW else 100
    first, last = round(of * low), round(of * high)
    if last == 0:
        return "fewer than 1 in 1,000"
    return f"about {first} in {of:,}" if first == last else f"between {first} and {last} in {of:,}"


def _facts(card: Card) -> list[tuple[str, str]]:
    """Give what stands beside the chance, each under its name."""
    why = card.explanation
    letter, digit = why.grade.rstrip("1234"), why.grade.lstrip("ABCD")
    found = [("Trend", card.trend)] if card.trend else []
    for name, grade, points in (("Fit", letter, why.fit), ("Engagement", digit, why.engagement)):
        said = f"({layout.signed(points)} point{'s' * (abs(whole(points)) != 1)})"
        found.append((name, f"{grade} {said}" if grade else said.strip("()")))
    if card.urgency is not None and card.expected_days is not None:
        soon = f"{days(card.expected_days)} to the win on average"
        if why.calibrated:
            found.append(("Quality", f"{odds(why.probability).removeprefix('about ')} convert"))
            soon = f"{odds(card.urgency)} of these in the next 7 days; {soon}"
        else:
            found.append(("Quality", f"score {why.shown_score}"))
        found.append(("Urgency", soon.removeprefix("about ")))
    return found


def _lists(card: Card) -> list[tuple[str, list[str]]]:
    """Give the sentences below the sum, under their headings."""
    responses = [f"{response.text} ({layout.signed(response.points)})" for response in card.responses]
    gaps = [f"Not known: {listed(card.missing)}."] if card.missing else []
    gaps += [*card.unlike[:MOST_NAMED], *card.notes]
    found = {
        "Responded to best": responses,
        "What would change it": [change.text for change in card.changes],
        "What to ask next": [_asked(question) for question in card.questions],
        "Gaps in the data": gaps,
    }
    return [(heading, list(map(_sentence, said))) for heading, said in found.items() if said]


def _asked(question: Question) -> str:
    examples = f" ({'; '.join(question.examples[:2])})" if question.examples else ""
    return f"{question.text}{examples}"


def listed(words: Sequence[str]) -> str:
    """Name a few, and say how many more there are.

    Examples
    --------
    >>> listed(["industry"]), listed(list("abcdefgh"))
    ('industry', 'a, b, c, d, e, f and 2 more')
    """
    more = len(words) - MOST_NAMED
    named = [*words[:MOST_NAMED], *([f"{more:,} more"] * (more > 0))]
    return ", ".join(named[:-1]) + " and " * (len(named) > 1) + named[-1]


def _sentence(said: str) -> str:
    return clean(said, 500)


def _view(card: Card) -> dict[str, Any]:
    """Give the variables of ``full.html.j2``."""
    why = card.explanation
    shown = layout.view(why) | {"made": layout.made(why, card.digest), "sure": card.sure, "full": True}
    return {
        "card": shown,
        "facts": [{"name": name, "text": capital(said.replace("(-", "(−"))} for name, said in _facts(card)],
        "lists": [
            {"heading": heading, "lines": [each.replace(" -> ", "\u00a0→\u00a0") for each in said]}
            for heading, said in _lists(card)
        ],
        "timeline": None if card.timeline is None else strip.view(card.timeline),
    }


def _withheld(values: Any) -> Any:
    """Take every chance out of plain values."""
    match values:
        case Mapping():
            return {
                key: None if str(key).startswith(("probability", "typical_probability")) else _withheld(value)
                for key, value in values.items()
            }
        case list():
            return [_withheld(value) for value in values]
    return values
