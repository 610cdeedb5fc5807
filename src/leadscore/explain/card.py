"""One lead explained: an exact sum in words, as text for a terminal, JSON, or a card in HTML."""

import base64
import bisect
import hashlib
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike

from leadscore.errors import ModelError, explain
from leadscore.explain.drivers import DriverPoints, family_sums, grouped, shown_integers, whole
from leadscore.explain.wording import Value, clean, days, label, sentence, value_of
from leadscore.features.declare import Feature
from leadscore.models.matrix import Floats
from leadscore.models.scorer import Scorer

if TYPE_CHECKING:
    from jinja2 import Environment

MOST_UP: Final = 4
MOST_DOWN: Final = 2
LIMIT: Final = "limit"
_FEW: Final = 0.0095  # a chance below this is said in 1,000
_HERE: Final = Path(__file__).parent
_NOTE: Final = "Reasons are associated with the score; they do not prove a cause."


@dataclass(frozen=True, slots=True)
class GradeCuts:
    """Where the grades of fit (A to D) and engagement (1 to 4) begin, in points of score.

    Parameters
    ----------
    fit, engagement : tuple of three floats, ascending, or empty
        Empty where the model has nothing of the family that varies: it then has no such grade.

    Raises
    ------
    ModelError
        They are not three ascending numbers.

    Examples
    --------
    >>> cuts = GradeCuts(fit=(-4.0, 0.0, 4.0), engagement=(-9.0, -2.0, 7.0))
    >>> cuts.grade(1.0, 8.0), cuts.grade(-5.0, -9.0)
    ('B1', 'D3')
    """

    fit: tuple[float, ...]
    engagement: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("fit", "engagement"):
            cuts = tuple(getattr(self, name))
            numbers = all(isinstance(cut, int | float) and not isinstance(cut, bool) for cut in cuts)
            if (
                len(cuts) not in (0, 3)
                or not numbers
                or not np.isfinite(cuts).all()
                or list(cuts) != sorted(cuts)
            ):
                found = f"something else for {name}"
                raise ModelError(
                    explain("three ascending cut points, or none", found, "save the model again")
                )
            object.__setattr__(self, name, tuple(float(cut) for cut in cuts))

    def grade(self, fit: float, engagement: float) -> str:
        """Give the grade, such as "B2"; a value at a cut belongs to the better side."""
        letter = "DCBA"[bisect.bisect_right(self.fit, fit)] if self.fit else ""
        digit = "4321"[bisect.bisect_right(self.engagement, engagement)] if self.engagement else ""
        return letter + digit

    def to_dict(self) -> dict[str, Any]:
        """Give the cut points as plain values for JSON."""
        return {"fit": list(self.fit), "engagement": list(self.engagement)}

    @classmethod
    def from_dict(cls, values: object) -> "GradeCuts":
        """Read what `to_dict` gave; anything else is a ModelError."""
        match values:
            case {"fit": list(fit), "engagement": list(engagement), **rest} if not rest:
                return cls(tuple(fit), tuple(engagement))
        expected = "fit and engagement as lists of cut points"
        raise ModelError(explain(expected, "something else", "save the model again or restore its files"))


def grade_cuts(fit: ArrayLike, engagement: ArrayLike) -> GradeCuts:
    """Cut the family sums of the training leads into quarters.

    Parameters
    ----------
    fit, engagement : array of shape (n,)
        As `family_sums` gives them.

    Returns
    -------
    GradeCuts

    Examples
    --------
    >>> grade_cuts([0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0, 0.0])
    GradeCuts(fit=(1.0, 2.0, 3.0), engagement=())
    """

    def cuts(sums: ArrayLike) -> tuple[float, ...]:
        values = np.asarray(sums, dtype=np.float64)
        quarters = np.quantile(values, (0.25, 0.5, 0.75)).tolist() if np.ptp(values) > 1e-9 else ()
        return tuple(quarters)

    return GradeCuts(cuts(fit), cuts(engagement))


@dataclass(frozen=True, slots=True)
class Driver:
    """What one concept adds to a lead's score.

    Parameters
    ----------
    concept : str
        The event type, with its content, or the field.
    label : str
        The concept in a few words.
    family : {"fit", "engagement", "operations", "limit"}
        "limit" where the end of a scale cuts.
    points : float
        Points of score; above 0 raises it.
    shown : int
        The same as people see it: with the typical lead's, these add up to the score shown.
    text : str
        What the lead's value is. Of several columns, the one with the most points speaks.
    columns : tuple of str
        The columns of X behind it.
    """

    concept: str
    label: str
    family: str
    points: float
    shown: int
    text: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a lead has its score: ``base + sum of points == score`` within 1e-9, the integers shown exactly.

    Parameters
    ----------
    lead_id : int or str
    probability : float
        Of converting within the horizon.
    score : float
        From 0 to 100.
    base : float
        The typical lead's score; the same for all leads of a model.
    drivers : tuple of Driver
        The largest first, what the end of the scale cuts last.
    stage : str
        unqualified, nurture, mql or sales_ready.
    stage_reason : str
        One sentence.
    fit, engagement, operations : float
        Points of the families.
    grade : str
        Fit A to D and engagement 1 to 4: "B2". Without a part that the model has nothing of.
    horizon : float or None
        Days; None where outcomes carry no time.
    typical_probability : float
        The chance of the typical lead, for comparison.
    as_of : datetime or None
        The moment, in UTC; None where there is no clock.
    model : str
        The model's name.
    policy_revision : int
        The revision of the policy that gave the stage.
    lines : mapping of str to float
        The score from which each stage begins.
    """

    lead_id: int | str
    probability: float
    score: float
    base: float
    drivers: tuple[Driver, ...]
    stage: str
    stage_reason: str
    fit: float
    engagement: float
    operations: float
    grade: str
    horizon: float | None
    typical_probability: float
    as_of: datetime | None
    model: str
    policy_revision: int
    lines: Mapping[str, float] = field(default_factory=dict)

    @property
    def shown_score(self) -> int:
        """The score as people see it."""
        return whole(self.score)

    @property
    def shown_base(self) -> int:
        """The typical lead's score as people see it."""
        return whole(self.base)

    @property
    def up(self) -> tuple[Driver, ...]:
        """The reasons that raise the score most, at most four."""
        return tuple(d for d in self.drivers if d.shown > 0 and d.family != LIMIT)[:MOST_UP]

    @property
    def down(self) -> tuple[Driver, ...]:
        """The reasons that lower the score most, at most two."""
        return tuple(d for d in self.drivers if d.shown < 0 and d.family != LIMIT)[:MOST_DOWN]

    @property
    def limits(self) -> tuple[Driver, ...]:
        """What the ends of a scale cut, where that shows."""
        return tuple(d for d in self.drivers if d.shown != 0 and d.family == LIMIT)

    @property
    def rest(self) -> tuple[Driver, ...]:
        """All other drivers: "everything else"."""
        listed = {*self.up, *self.down, *self.limits}
        return tuple(d for d in self.drivers if d not in listed)

    @property
    def chance(self) -> str:
        """The chance in plain words, beside the typical one."""
        return f"{_capital(_odds(self.probability))} {self._convert}"

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain values for JSON.

        Returns
        -------
        dict
            The attributes of the class under their names (``as_of`` in ISO 8601), each driver as a dict of
            its own; ``shown_score`` and ``shown_base``, the integers that the drivers' ``shown`` join; and
            ``chance``, the sentence.
        """
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return values | {
            "drivers": [{**asdict(driver), "columns": list(driver.columns)} for driver in self.drivers],
            "as_of": None if self.as_of is None else self.as_of.isoformat(),
            "lines": dict(self.lines),
            "shown_score": self.shown_score,
            "shown_base": self.shown_base,
            "chance": self.chance,
        }

    def text(self, width: int = 80) -> str:
        """Give the card as plain text, without control characters whatever the lead's fields hold.

        Parameters
        ----------
        width : int
            Letters a line.

        Returns
        -------
        str
        """
        head = f"Lead {clean(self.lead_id)} · {stage_name(self.stage)} · score {self.shown_score} of 100"
        head += f" · grade {self.grade}" if self.grade else ""
        lines = [
            line for part in (head, self.chance, self.stage_reason) for line in textwrap.wrap(part, width)
        ]
        lines.append("")
        lines += _row(f"{self.shown_base:d}", "a typical lead", width)
        for title, drivers in self._sections():
            lines += ["", f"        {title}"] if title else [""]
            for driver in drivers:
                lines += _row(f"{driver.shown:+d}", driver.text, width)
        if self.rest:
            lines += ["", *_row(f"{sum(d.shown for d in self.rest):+d}", self._everything_else, width)]
        lines += ["   ---", *_row(f"{self.shown_score:d}", "score", width), ""]
        lines += textwrap.wrap(f"{self._families}. {_NOTE}", width)
        lines += textwrap.wrap(self._made, width)
        return "\n".join(lines)

    def html(self) -> str:
        """Give the card as a page of its own: no script, nothing fetched, every value escaped."""
        digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
        return _templates().get_template("page.html.j2").render(card=self._view(), digest=digest)

    def _repr_html_(self) -> str:
        article = _templates().get_template("card.html.j2").render(card=self._view())
        return f"<style>{_style()}</style>\n{article}"

    @property
    def _convert(self) -> str:
        within = "" if self.horizon is None else f" within {days(self.horizon)}"
        typical = _odds(self.typical_probability).removeprefix("about ")
        return f"such leads convert{within}; typical: {typical}."

    def _sections(self) -> list[tuple[str, tuple[Driver, ...]]]:
        sections = [
            ("associated with a higher score", self.up),
            ("associated with a lower score", self.down),
            ("", self.limits),
        ]
        return [(title, drivers) for title, drivers in sections if drivers]

    @property
    def _everything_else(self) -> str:
        return f"everything else ({len(self.rest)} other reason{'s' * (len(self.rest) != 1)})"

    @property
    def _families(self) -> str:
        parts = {"Fit": self.fit, "engagement": self.engagement, "operations": self.operations}
        return ", ".join(f"{name} {_signed(points)}" for name, points in parts.items())

    @property
    def _made(self) -> str:
        moment = "" if self.as_of is None else f" as of {self.as_of:%Y-%m-%d %H:%M} UTC"
        return f"Scored{moment} by {clean(self.model)}, policy revision {self.policy_revision}."

    def _view(self) -> dict[str, Any]:
        """Give what the templates show: texts, integers and lengths in percent."""
        largest = max((abs(d.shown) for _, drivers in self._sections() for d in drivers), default=1)
        rank = list(_STAGES).index(self.stage) if self.stage in _STAGES else 0
        fit, engagement = self.grade.rstrip("1234"), self.grade.lstrip("ABCD")
        grades = [f"fit {fit}"] * bool(fit) + [f"engagement {engagement}"] * bool(engagement)
        return {
            "lead": clean(self.lead_id),
            "stage": stage_name(self.stage),
            "rank": rank,
            "stage_reason": self.stage_reason,
            "grade": self.grade,
            "grades": ", ".join(grades),
            "odds": _odds(self.probability),
            "convert": self._convert,
            "dots": min(99, round(100 * self.probability)) if self.probability >= _FEW else None,
            "score": self.shown_score,
            "base": self.shown_base,
            "at": f"{self.score:.2f}",
            "base_at": f"{min(100.0, max(0.0, self.base)):.2f}",
            "lines": [
                {"name": stage_name(name), "from": whole(score), "at": f"{score:.2f}"}
                for name, score in self.lines.items()
                if 0 < score < 100
            ],
            "sections": [
                {
                    "title": _capital(title),
                    "rows": [{"driver": d, "length": f"{50 * abs(d.shown) / largest:.2f}"} for d in drivers],
                }
                for title, drivers in self._sections()
            ],
            "rest": sum(d.shown for d in self.rest),
            "rest_text": _capital(self._everything_else) if self.rest else "",
            "families": self._families,
            "note": _NOTE,
            "made": self._made,
        }


def driver_families(scorer: Scorer, features: Sequence[Feature]) -> tuple[str, ...]:
    """Say which family each driver of a scorer belongs to, as `family_sums` takes it.

    Parameters
    ----------
    scorer : Scorer
    features : sequence of Feature
        Declarations; their names are the scorer's columns.

    Returns
    -------
    tuple of str
        fit, engagement, operations, or limit for a driver without a column.
    """
    families = {feature.name: feature.family for feature in features}
    return tuple(families[columns[0]] if columns else LIMIT for columns in scorer.driver_columns)


def explanations(
    lead_ids: Sequence[object],
    split: DriverPoints,
    scorer: Scorer,
    M: Floats,
    *,
    features: Sequence[Feature],
    typical: Mapping[str, Value],
    cuts: GradeCuts,
    stages: Sequence[str],
    stage_reasons: Sequence[str],
    horizon: float | None,
    as_of: Sequence[int | None] | None = None,
    model: str,
    policy_revision: int,
    lines: Mapping[str, float] | None = None,
) -> list[Explanation]:
    """Explain leads: columns of one concept become one reason, in words.

    Parameters
    ----------
    lead_ids : sequence of length n
    split : DriverPoints
        From `driver_points`, for the same rows.
    scorer : Scorer
        What its drivers and their columns are.
    M : array of shape (n, p)
        As `to_matrix` lays it out for the scorer's columns.
    features : sequence of Feature
        Declarations; their names are the columns.
    typical : mapping of str to float, str or None
        By column, from `typical_values`.
    cuts : GradeCuts
    stages, stage_reasons : sequence of length n
        From the policy in force.
    horizon : float or None
        Days.
    as_of : sequence of int of length n, optional
        UTC microseconds.
    model : str
        The model's name.
    policy_revision : int
    lines : mapping of str to float, optional
        The score from which each stage begins.

    Returns
    -------
    list of Explanation
    """
    declared = {feature.name: feature for feature in features}
    concepts = [
        declared[columns[0]].concept if columns else name
        for name, columns in zip(scorer.drivers, scorer.driver_columns, strict=True)
    ]
    about = list(zip(driver_families(scorer, features), concepts, strict=True))
    keys, sums = grouped(split.points, about)
    members = {key: [d for d, own in enumerate(about) if own == key] for key in keys}
    parts = np.column_stack([split.clip, sums])
    totals = [whole(score) - whole(split.base) for score in split.score.tolist()]
    integers = shown_integers(parts, totals).tolist()
    families = family_sums(split.points, [family for family, _ in about])
    place = {column.name: j for j, column in enumerate(scorer.columns)}

    def spoken(i: int, key: tuple[str, str]) -> tuple[str, str, tuple[str, ...]]:
        """Give a concept's label, text and columns."""
        loudest = max(members[key], key=lambda d: abs(split.points[i, d]))
        behind = tuple(dict.fromkeys(name for d in members[key] for name in scorer.driver_columns[d]))
        if not behind:
            return _capital(key[1]), _capital(key[1]), behind
        column = scorer.driver_columns[loudest][0]
        value = value_of(float(M[i, place[column]]), scorer.columns[place[column]])
        feature = declared[column]
        return label(feature), sentence(feature, value, typical.get(column)), behind

    def drivers(i: int) -> tuple[Driver, ...]:
        made = []
        for key, points, shown in zip(keys, sums[i].tolist(), integers[i][1:], strict=True):
            if points or shown:
                called, text, behind = spoken(i, key)
                made.append(Driver(key[1], called, key[0], points, shown, text, behind))
        made.sort(key=lambda driver: -abs(driver.points))
        clip, shown = float(split.clip[i]), integers[i][0]
        if clip or shown:
            end = "ends at 100" if clip < 0 else "begins at 0"
            made.append(Driver("scale", "End of the scale", LIMIT, clip, shown, f"The scale {end}", ()))
        return tuple(made)

    return [
        Explanation(
            lead_id=int(lead) if isinstance(lead, int | np.integer) else str(lead),
            probability=float(split.probability[i]),
            score=float(split.score[i]),
            base=split.base,
            drivers=drivers(i),
            stage=str(stages[i]),
            stage_reason=clean(stage_reasons[i], 500),
            fit=float(families["fit"][i]),
            engagement=float(families["engagement"][i]),
            operations=float(families["operations"][i]),
            grade=cuts.grade(float(families["fit"][i]), float(families["engagement"][i])),
            horizon=horizon,
            typical_probability=split.typical_probability,
            as_of=None if as_of is None else _moment(as_of[i]),
            model=model,
            policy_revision=policy_revision,
            lines=dict(lines or {}),
        )
        for i, lead in enumerate(lead_ids)
    ]


_STAGES: Final = {
    "unqualified": "Unqualified",
    "nurture": "Nurture",
    "mql": "MQL",
    "sales_ready": "Sales ready",
}


def stage_name(stage: str) -> str:
    """Name a stage as people say it.

    Examples
    --------
    >>> stage_name("sales_ready")
    'Sales ready'
    """
    return _STAGES.get(stage) or clean(stage)


def _odds(probability: float) -> str:
    """Say a chance as so many in 100, or in 1,000 where it is small.

    Examples
    --------
    >>> _odds(0.137), _odds(0.0042), _odds(0.0001), _odds(0.999)
    ('about 14 in 100', 'about 4 in 1,000', 'fewer than 1 in 1,000', 'more than 99 in 100')
    """
    if probability > 0.995:
        return "more than 99 in 100"
    if probability >= _FEW:
        return f"about {round(100 * probability)} in 100"
    if probability >= 0.00095:
        return f"about {round(1000 * probability)} in 1,000"
    return "fewer than 1 in 1,000"


def _moment(microseconds: int | None) -> datetime | None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return None if microseconds is None else epoch + timedelta(microseconds=int(microseconds))


def _signed(points: float) -> str:
    rounded = whole(points)
    return f"{rounded:+d}" if rounded else "0"


def _row(number: str, text: str, width: int) -> list[str]:
    """Lay one line of the sum out, its text wrapped beside the number."""
    first, *more = textwrap.wrap(text, max(20, width - 8)) or [""]
    return [f"{number:>6}  {first}", *(f"{'':8}{line}" for line in more)]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["signed"] = lambda points: f"{points:+d}".replace("-", "−")
    return templates


@cache
def _style() -> str:
    return _templates().get_template("card.css.j2").render()
