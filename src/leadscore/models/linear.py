"""A logistic model as a table: what each column adds to the margin, in closed form."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from leadscore.errors import ModelError, explain
from leadscore.models.lookup import in_order
from leadscore.models.matrix import Column, Floats, is_finite


@dataclass(frozen=True, slots=True)
class NumberTerm:
    """What a column of numbers adds: coefficient * (f(x) - centre) / scale, or `missing`.

    Numbers beyond those of the training count as its lowest or highest, so that a margin is never
    drawn out to where nothing was learned.

    Parameters
    ----------
    signed_log : bool
        f(x) is sign(x) * log(1 + |x|) for a skewed column, else x.
    low, high : float
        The ends of x in training.
    centre, scale : float
        Mean and standard deviation of f(x) in training.
    coefficient : float
    missing : float
        What a missing value adds.
    mean : float
        What the column added on average in training.
    """

    signed_log: bool
    low: float
    high: float
    centre: float
    scale: float
    coefficient: float
    missing: float
    mean: float

    def added(self, x: Floats) -> Floats:
        """Give what each value of the column adds to the margin."""
        seen = np.clip(x, self.low, self.high)
        values = signed_log(seen) if self.signed_log else seen
        standard = (values - self.centre) / self.scale
        return np.where(np.isnan(x), self.missing, self.coefficient * standard)


@dataclass(frozen=True, slots=True)
class LevelsTerm:
    """What a category adds: one number a level, one for a missing value.

    Parameters
    ----------
    coefficients : tuple of float
        In the order of the column's levels.
    missing : float
    mean : float
        What the column added on average in training.
    """

    coefficients: tuple[float, ...]
    missing: float
    mean: float

    def added(self, x: Floats) -> Floats:
        """Give what each code of the column adds to the margin."""
        table = np.array([*self.coefficients, self.missing])
        codes = np.where(np.isnan(x), len(self.coefficients), x).astype(np.int64)
        added: Floats = table[codes]
        return added


Term: TypeAlias = NumberTerm | LevelsTerm


class _Numbers(NamedTuple):
    """The terms of all columns of numbers at once, one row a term: the bits of `NumberTerm.added`."""

    place: NDArray[np.intp]
    logged: NDArray[np.intp]  # which of them
    low: Floats
    high: Floats
    centre: Floats
    scale: Floats
    coefficient: Floats
    missing: Floats

    def added(self, x: Floats) -> Floats:
        values = np.clip(x, self.low, self.high)
        values[self.logged] = signed_log(values[self.logged])
        standard = (values - self.centre) / self.scale
        return np.where(np.isnan(x), self.missing, self.coefficient * standard)


@dataclass(frozen=True)
class LinearTable:
    """A linear margin: the intercept plus what each column adds.

    Parameters
    ----------
    columns : tuple of Column
    terms : tuple of NumberTerm and LevelsTerm
        One a column, of its kind.
    intercept : float

    Raises
    ------
    ModelError
        The terms do not fit the columns.

    Examples
    --------
    >>> term = NumberTerm(False, 0.0, 9.0, centre=2.0, scale=1.0, coefficient=0.5, missing=-1.0, mean=0.25)
    >>> table = LinearTable((Column("visits"),), (term,), intercept=-2.0)
    >>> table.margin(np.array([[4.0], [np.nan]])).tolist()
    [-1.0, -3.0]
    >>> base, parts = table.contributions(np.array([[4.0], [np.nan]]))
    >>> base, parts.tolist()
    (-1.75, [[0.75], [-1.25]])
    """

    kind: ClassVar[str] = "linear"

    columns: tuple[Column, ...]
    terms: tuple[Term, ...]
    intercept: float

    def __post_init__(self) -> None:
        if len(self.terms) != len(self.columns) or not all(map(_fits, self.terms, self.columns)):
            raise ModelError(explain("one term of its kind for each column", "others", _RESTORE))

    @property
    def drivers(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def driver_columns(self) -> tuple[tuple[str, ...], ...]:
        """Each column stands behind its own driver."""
        return tuple((column.name,) for column in self.columns)

    @property
    def used(self) -> frozenset[str]:
        """All columns."""
        return frozenset(self.drivers)

    def margin(self, M: Floats) -> Floats:
        """Add up the columns in their order, so that one row and many give the same bits."""
        margin = np.full(len(M), self.intercept)
        for rows, added in self._added(M):
            margin[rows] = in_order(margin[rows], added)
        return margin

    def contributions(self, M: Floats) -> tuple[float, Floats]:
        """Compare what each column adds with its average in training: exact SHAP for independent columns."""
        _, base, parts = self.explained(M)
        return base, parts

    def explained(self, M: Floats) -> tuple[Floats, float, Floats]:
        """Give margins, the base and contributions at one go: the bits of `margin` and `contributions`."""
        margin, parts = np.full(len(M), self.intercept), np.empty((len(self.terms), len(M)))
        base, means = self._typical
        for rows, added in self._added(M):
            np.subtract(added, means, out=parts[:, rows])
            margin[rows] = in_order(margin[rows], added)
        return margin, base, parts.T

    def _added(self, M: Floats) -> Iterator[tuple[slice, Floats]]:
        """Give what each column (row) adds to some of the rows (column), block by block."""
        numbers = self._numbers
        for first in range(0, len(M) if self.terms else 0, _ROWS):
            rows = slice(first, first + _ROWS)
            X = np.ascontiguousarray(M[rows].T)
            added = np.empty(X.shape)
            added[numbers.place] = numbers.added(X[numbers.place])
            for j, term in enumerate(self.terms):
                if isinstance(term, LevelsTerm):
                    added[j] = term.added(X[j])
            yield rows, added

    @cached_property
    def _numbers(self) -> "_Numbers":
        terms = [(j, term) for j, term in enumerate(self.terms) if isinstance(term, NumberTerm)]
        own = [[getattr(term, name) for name in _Numbers._fields[2:]] for _, term in terms]
        each = np.array(own, dtype=np.float64).reshape(len(terms), len(_Numbers._fields) - 2)
        place = np.array([j for j, _ in terms], np.intp)
        logged = np.flatnonzero([term.signed_log for _, term in terms])
        return _Numbers(place, logged, *each.T[:, :, None])

    @cached_property
    def _typical(self) -> tuple[float, Floats]:
        """The average margin, and what each column adds to it."""
        base = self.intercept
        for term in self.terms:
            base += term.mean
        return base, np.array([term.mean for term in self.terms])[:, None]

    def to_files(self) -> dict[str, bytes]:
        """Give the saved form, linear.json."""
        values = {
            "columns": [column.to_dict() for column in self.columns],
            "terms": [asdict(term) for term in self.terms],
            "intercept": self.intercept,
        }
        return {"linear.json": json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False).encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> "LinearTable":
        """Read what `to_files` gave.

        Raises
        ------
        ModelError
            The file is absent or does not hold a linear table.
        """
        try:
            values = json.loads(files["linear.json"])
        except (KeyError, ValueError, RecursionError):
            raise ModelError(explain("a readable linear.json", "none", _RESTORE)) from None
        match values:
            case {"columns": list(columns), "terms": list(terms), "intercept": intercept, **rest} if not rest:
                return cls(
                    tuple(Column.from_dict(column) for column in columns),
                    tuple(_term(term) for term in terms),
                    _finite(intercept),
                )
        raise ModelError(explain("columns, terms and intercept in linear.json", "something else", _RESTORE))


def signed_log(x: Floats) -> Floats:
    """Draw in both tails of a skewed column: sign(x) * log(1 + |x|)."""
    return np.sign(x) * np.log1p(np.abs(x))


_RESTORE = "restore the model's files"
_ROWS = 1 << 10  # rows served at a time: they stay in the cache


def _fits(term: Term, column: Column) -> bool:
    if isinstance(term, NumberTerm):
        return column.levels is None and term.scale > 0 and term.low <= term.high
    return column.levels is not None and len(term.coefficients) == len(column.levels)


def _term(values: object) -> Term:
    match values:
        case {"coefficients": list(coefficients), "missing": missing, "mean": mean, **rest} if not rest:
            return LevelsTerm(tuple(_finite(c) for c in coefficients), _finite(missing), _finite(mean))
        case {"signed_log": bool(logged), **numbers} if numbers.keys() == set(_NUMBERS):
            return NumberTerm(logged, *(_finite(numbers[name]) for name in _NUMBERS))
    raise ModelError(explain("terms of numbers or levels in linear.json", "something else", _RESTORE))


_NUMBERS = ("low", "high", "centre", "scale", "coefficient", "missing", "mean")


def _finite(value: object) -> float:
    if not is_finite(value):
        raise ModelError(explain("finite numbers in linear.json", "something else", _RESTORE))
    return float(value)
