"""One lead explained: an exact sum in words, as text for a terminal, JSON, or a card in HTML."""

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from leadscore.errors import ModelError, explain
from leadscore.explain.concepts import concepts_of, heading, speakers, spoken
from leadscore.explain.drivers import DriverPoints, family_sums, grouped, shown_integers, whole
from leadscore.explain.phrases import USUAL, Phrases
from leadscore.explain.wording import Value, clean, days, value_of
from leadscore.features.declare import Feature
from leadscore.models.matrix import Floats
from leadscore.models.scorer import Scorer

MOST_UP: Final = 4
MOST_DOWN: Final = 2
LIMIT: Final = "limit"
FEW: Final = 0.0095  # a chance below this is said in 1,000
WITHHELD: Final = (
    "No percentage is given: this model's chances have not proven to hold. Its scores put leads in order."
)


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
        What the lead's value is. Of several columns, the one with the most points speaks; of several fields
        that are told together, each does, the one with the most points first.
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
    calibrated : bool
        Whether the model's chances held on leads that it had not seen; if not, none is put into words.
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
    calibrated: bool = True

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
        """The chance in plain words, beside the typical one; or why it is withheld."""
        return f"{capital(odds(self.probability))} {self.convert}" if self.calibrated else WITHHELD

    @property
    def convert(self) -> str:
        """What the chance is of, beside the typical one."""
        within = "" if self.horizon is None else f" within {days(self.horizon)}"
        typical = odds(self.typical_probability).removeprefix("about ")
        return f"such leads convert{within}; typical: {typical}."

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
        from leadscore.explain import layout  # built on this module

        return layout.text(self, width, all_reasons=all_reasons)

    def html(self) -> str:
        """Give the card as a page of its own: no script, nothing fetched, every value escaped."""
        from leadscore.explain import layout  # built on this module

        return layout.html(self)

    def _repr_html_(self) -> str:
        from leadscore.explain import layout  # built on this module

        return layout.fragment(self)


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
    lines: Sequence[Mapping[str, float]] | None = None,
    calibrated: bool = True,
    phrases: Phrases = USUAL,
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
    lines : sequence of mapping of str to float, of length n, optional
        The score from which each stage begins for the lead.
    calibrated : bool
        False: no chance is told; nor may `stage_reasons` tell one.
    phrases : Phrases, optional
        The project's own.

    Returns
    -------
    list of Explanation
    """
    declared = {feature.name: feature for feature in features}
    about = concepts_of(scorer, declared)
    keys, sums = grouped(split.points, about)
    members = {key: [d for d, own in enumerate(about) if own == key] for key in keys}
    driver_columns = scorer.driver_columns
    columns_of = {
        key: tuple(dict.fromkeys(name for d in own for name in driver_columns[d]))
        for key, own in members.items()
    }
    parts = np.column_stack([split.clip, sums])
    totals = [whole(score) - whole(split.base) for score in split.score.tolist()]
    integers = shown_integers(parts, totals).tolist()
    families = family_sums(split.points, [family for family, _ in about])
    place = {column.name: j for j, column in enumerate(scorer.columns)}

    def told(i: int, key: tuple[str, str]) -> tuple[str, str, tuple[str, ...]]:
        """Give a concept's label, text and columns."""
        behind = columns_of[key]
        if not behind:
            return capital(key[1]), capital(key[1]), behind
        columns = speakers(members[key], np.abs(split.points[i]), driver_columns, declared)
        values = {name: value_of(float(M[i, place[name]]), scorer.columns[place[name]]) for name in columns}
        text = spoken(values, typical, declared, phrases)
        return heading(declared[behind[0]], phrases), text, behind

    def drivers(i: int) -> tuple[Driver, ...]:
        made = []
        for key, points, shown in zip(keys, sums[i].tolist(), integers[i][1:], strict=True):
            if points or shown:
                called, text, behind = told(i, key)
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
            lines={} if lines is None else dict(lines[i]),
            calibrated=calibrated,
        )
        for i, lead in enumerate(lead_ids)
    ]


STAGE_NAMES: Final = {
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
    return STAGE_NAMES.get(stage) or clean(stage)


def odds(probability: float) -> str:
    """Say a chance as so many in 100, or in 1,000 where it is small.

    Examples
    --------
    >>> odds(0.137), odds(0.0042), odds(0.0001), odds(0.999)
    ('about 14 in 100', 'about 4 in 1,000', 'fewer than 1 in 1,000', 'more than 99 in 100')
    """
    if probability > 0.995:
        return "more than 99 in 100"
    if probability >= FEW:
        return f"about {round(100 * probability)} in 100"
    if probability >= 0.00095:
        return f"about {round(1000 * probability)} in 1,000"
    return "fewer than 1 in 1,000"


def _moment(microseconds: int | None) -> datetime | None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return None if microseconds is None else epoch + timedelta(microseconds=int(microseconds))


def capital(text: str) -> str:
    """Begin a sentence with a capital."""
    return text[:1].upper() + text[1:]
