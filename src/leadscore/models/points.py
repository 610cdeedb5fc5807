"""Point tables: rules as a marketer writes them, added up and kept within 0 to 100."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from leadscore.errors import LeadScoreError, ModelError, UsageError, explain, shown
from leadscore.models.conditions import Condition, index_of
from leadscore.models.matrix import Column, Floats, is_finite

LIMIT = "limit of the point scale"  # the driver that carries what the ends of the scale cut off
LOWEST, HIGHEST = 0.0, 100.0


@dataclass(frozen=True, slots=True)
class PointRule:
    """Points for a condition that holds, or for each unit of a number.

    A missing value earns nothing, unless the condition is `missing`.

    Parameters
    ----------
    label : str
        What people read; it names the rule, so it occurs once in a table.
    points : float
        Given when the condition holds, or for each unit; may be negative.
    when : Condition, optional
        The condition. Either this or `per`.
    per : str, optional
        The column of numbers whose units count. Numbers below 0 earn nothing.
    cap : float, optional
        With `per`: the rule never moves the total by more than this.
    concept : str
        What the rule is about, so that its reasons can be shown with others about the same.
    family : {"fit", "engagement", "operations"}

    Raises
    ------
    UsageError
        A number is not finite, or the rule has not exactly one of `when` and `per`.

    Examples
    --------
    >>> PointRule("Pages viewed", 2, per="page_view_count_30d", cap=10).to_dict()
    {'label': 'Pages viewed', 'points': 2.0, 'per': 'page_view_count_30d', 'cap': 10.0}
    """

    label: str
    points: float
    when: Condition | None = None
    per: str | None = None
    cap: float | None = None
    concept: str = ""
    family: str = "fit"

    def __post_init__(self) -> None:
        where = f"in the rule {shown(self.label)!r}"
        if (self.when is None) == (self.per is None):
            found = "neither" if self.when is None else "both"
            raise UsageError(explain(f"one of 'when' and 'per' {where}", found, "keep one"))
        if self.cap is not None and self.per is None:
            raise UsageError(explain(f"no 'cap' without 'per' {where}", "one", "leave the cap out"))
        for name in ("points",) if self.cap is None else ("points", "cap"):
            value = getattr(self, name)
            if not is_finite(value):
                raise UsageError(explain(f"a finite number of {name} {where}", shown(value), "correct it"))
            object.__setattr__(self, name, float(value))
        if self.cap is not None:
            object.__setattr__(self, "cap", abs(self.cap))  # "at most -20" and "at most 20" mean the same

        if self.family not in FAMILIES:
            raise UsageError(
                explain(
                    f"one of {', '.join(FAMILIES)} {where}", f"family {shown(self.family)!r}", "correct it"
                )
            )

    @property
    def column(self) -> str:
        """The column of X that the rule reads."""
        return self.per if self.when is None else self.when.column  # type: ignore[return-value]

    def earned(self, M: Floats, columns: Sequence[Column]) -> Floats:
        """Give each row's points from this rule.

        Parameters
        ----------
        M : array of shape (n, p)
        columns : sequence of Column

        Returns
        -------
        array of shape (n,)

        Raises
        ------
        DataError
            The rule's column is absent or of the wrong kind.
        """
        if self.when is not None:
            return np.where(self.when.holds(M, columns), self.points, 0.0)
        units = M[:, index_of(self.column, columns, numbers_for="per")]
        points = np.where(units > 0, self.points * units, 0.0)
        return points if self.cap is None else np.clip(points, -self.cap, self.cap)

    def to_dict(self) -> dict[str, Any]:
        """Give the rule as plain values for YAML, leaving out what is not set."""
        values: dict[str, Any] = {"label": self.label, "points": self.points}
        if self.when is not None:
            values["when"] = self.when.to_dict()
        optional = {"per": self.per, "cap": self.cap, "concept": self.concept or None}
        values |= {key: value for key, value in optional.items() if value is not None}
        return values if self.family == "fit" else values | {"family": self.family}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "PointRule":
        """Read what `to_dict` gave, or a person wrote.

        Raises
        ------
        UsageError
            A key is unknown, or a value cannot be read.

        Examples
        --------
        >>> rule = {"label": "Referred", "points": 20, "when": {"column": "source", "is": "Referral"}}
        >>> PointRule.from_dict(rule).when
        Condition(column='source', op='is', value='Referral')
        """
        match values:
            case {"label": str(label), "points": points, **rest}:
                if isinstance(rest.get("when"), Mapping):
                    rest["when"] = Condition.from_dict(rest["when"])
                if all(isinstance(value, _OPTIONAL.get(key, ())) for key, value in rest.items()):
                    return cls(label, points, **rest)
        found = ", ".join(shown(key) for key in values) if isinstance(values, Mapping) else shown(values)
        expected = f"a rule with label, points and {', '.join(sorted(_OPTIONAL))}"
        raise UsageError(explain(expected, found or "nothing", "correct the rule"))


_OPTIONAL: Mapping[str, type | tuple[type, ...]] = {
    "when": Condition,
    "per": str,
    "cap": (int, float),
    "concept": str,
    "family": str,
}
FAMILIES = ("fit", "engagement", "operations")


@dataclass(frozen=True)
class PointTable:
    """Rules over the columns of an X, with what each earned on average in training.

    The margin is the total of the points, kept within 0 and 100. What the ends of the scale cut off is
    a driver of its own, so that the contributions always add up to the margin.

    Parameters
    ----------
    columns : tuple of Column
    rules : tuple of PointRule
    means : tuple of float, optional
        Average points a rule, then the average cut; all 0 when not given.

    Raises
    ------
    DataError
        A rule reads a column that is absent or of another kind.
    UsageError
        Two rules have the same label.

    Examples
    --------
    >>> visits = PointRule("Visits", 2, per="visits", cap=10)
    >>> none = PointRule("No visit", -5, Condition("visits", "below", 1))
    >>> PointTable((Column("visits"),), (visits, none)).margin(np.array([[3.0], [50.0], [0.0]])).tolist()
    [6.0, 10.0, 0.0]
    """

    kind: ClassVar[str] = "points"

    columns: tuple[Column, ...]
    rules: tuple[PointRule, ...]
    means: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        labels = [rule.label for rule in self.rules]
        twice = {label for label in [*labels, LIMIT] if [*labels, LIMIT].count(label) > 1}
        if twice:
            found = f"{shown(min(twice))!r} twice"
            raise UsageError(explain("rules with labels of their own", found, "rename one of them"))
        if not self.means:
            object.__setattr__(self, "means", (0.0,) * (len(self.rules) + 1))
        self._earned(np.full((1, len(self.columns)), np.nan))  # each rule finds its column, and can read it

    @property
    def drivers(self) -> tuple[str, ...]:
        """The labels of the rules, then the limit of the scale."""
        return (*(rule.label for rule in self.rules), LIMIT)

    @property
    def driver_columns(self) -> tuple[tuple[str, ...], ...]:
        """The column of each rule; none for the limit."""
        return (*((rule.column,) for rule in self.rules), ())

    @property
    def used(self) -> frozenset[str]:
        """The columns that rules read."""
        return frozenset(rule.column for rule in self.rules)

    def margin(self, M: Floats) -> Floats:
        """Give each row's total, from 0 to 100."""
        return np.clip(self._total(self._earned(M), len(M)), LOWEST, HIGHEST)

    def contributions(self, M: Floats) -> tuple[float, Floats]:
        """Compare each rule's points with its average in training; the base is the average total."""
        _, base, parts = self.explained(M)
        return base, parts

    def explained(self, M: Floats) -> tuple[Floats, float, Floats]:
        """Give margins, the base and contributions at one go: the bits of `margin` and `contributions`."""
        margin, parts = self._parts(M)
        parts -= np.array(self.means)
        base = 0.0
        for mean in self.means:
            base += mean
        return margin, base, parts

    def with_means(self, M: Floats) -> "PointTable":
        """Give the same rules with their averages taken from these rows."""
        return replace(self, means=tuple(float(part.mean()) for part in self._parts(M)[1].T))

    def _earned(self, M: Floats) -> list[Floats]:
        return [rule.earned(M, self.columns) for rule in self.rules]

    def _total(self, earned: Sequence[Floats], n: int) -> Floats:
        total = np.zeros(n)
        for points in earned:
            total = total + points
        return total

    def _parts(self, M: Floats) -> tuple[Floats, Floats]:
        """Give each row's total within the scale, and the points of each rule and what is cut."""
        earned = self._earned(M)
        total = self._total(earned, len(M))
        margin = np.clip(total, LOWEST, HIGHEST)
        return margin, np.stack([*earned, margin - total], axis=1)

    def to_files(self) -> dict[str, bytes]:
        """Give the saved form, points.yaml, which a person can read."""
        import yaml

        values = {
            "columns": [column.to_dict() for column in self.columns],
            "rules": [rule.to_dict() for rule in self.rules],
            "means": list(self.means),
        }
        return {"points.yaml": yaml.safe_dump(values, sort_keys=False, allow_unicode=True).encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> "PointTable":
        """Read what `to_files` gave.

        Raises
        ------
        ModelError
            The file is absent or does not hold a point table.
        """
        import yaml

        do = "restore the model's files"
        try:
            values = yaml.safe_load(files["points.yaml"])
        except (KeyError, ValueError, RecursionError, yaml.YAMLError):
            raise ModelError(explain("a readable points.yaml", "none", do)) from None
        match values:
            case {"columns": list(columns), "rules": list(rules), "means": list(means), **rest} if not rest:
                if all(map(is_finite, means)) and len(means) == len(rules) + 1:
                    try:
                        return cls(
                            tuple(Column.from_dict(column) for column in columns),
                            tuple(PointRule.from_dict(rule) for rule in rules),
                            tuple(means),
                        )
                    except LeadScoreError as error:
                        raise ModelError(f"points.yaml: {error}") from None
        raise ModelError(explain("columns, rules and means in points.yaml", "something else", do))
