"""X as one float64 matrix: numbers as they are, categories as level codes, missing as NaN."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeGuard

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from leadscore.errors import DataError, ModelError, explain, nearest, shown

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]

OTHER = "(other)"  # the level that rare and unseen words are pooled into, where a column has one


@dataclass(frozen=True, slots=True)
class Column:
    """One column of X: a number, or a category with fixed levels.

    Parameters
    ----------
    name : str
        Its name in X.
    levels : tuple of str, optional
        The words of a category, in the order of their codes; None for a number.

    Examples
    --------
    >>> Column("source", ("Ads", "Referral"))
    Column(name='source', levels=('Ads', 'Referral'))
    """

    name: str
    levels: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.levels is not None and len(set(self.levels)) < len(self.levels):
            found = f"one twice in column {shown(self.name)!r}"
            raise DataError(explain("levels that differ as text", found, "rename one of them"))

    def to_dict(self) -> dict[str, Any]:
        """Give the column as plain values for JSON."""
        return {"name": self.name, "levels": None if self.levels is None else list(self.levels)}

    @classmethod
    def from_dict(cls, values: object) -> "Column":
        """Read what `to_dict` gave; anything else is a ModelError."""
        match values:
            case {"name": str(name), "levels": None, **rest} if not rest:
                return cls(name)
            case {"name": str(name), "levels": list(levels), **rest} if not rest:
                if all(isinstance(level, str) for level in levels) and len(set(levels)) == len(levels):
                    return cls(name, tuple(levels))
        raise ModelError(
            explain(
                "columns as name and levels", "something else", "save the model again or restore its files"
            )
        )


def columns_of(X: pd.DataFrame | NDArray[Any]) -> tuple[Column, ...]:
    """Read the columns of an X: pandas categories become levels, everything else must be numbers.

    Parameters
    ----------
    X : DataFrame or array of shape (n, p)
        An array has columns named x0, x1, and so on.

    Returns
    -------
    tuple of Column

    Raises
    ------
    DataError
        A column is neither numbers nor categories, or a name occurs twice.

    Examples
    --------
    >>> X = pd.DataFrame({"visits": [1.0, 2.0], "source": pd.Categorical(["Ads", None])})
    >>> columns_of(X)
    (Column(name='visits', levels=None), Column(name='source', levels=('Ads',)))
    """
    if not isinstance(X, pd.DataFrame):
        return tuple(Column(f"x{j}") for j in range(np.asarray(X).shape[1]))
    if not X.columns.is_unique:
        twice = shown(X.columns[X.columns.duplicated()][0])
        raise DataError(explain("column names that differ", f"{twice!r} twice", "rename one of them"))
    columns = []
    for name, dtype in X.dtypes.items():
        if isinstance(dtype, pd.CategoricalDtype):
            columns.append(Column(str(name), tuple(str(level) for level in dtype.categories)))
        elif _numeric(X[name]):
            columns.append(Column(str(name)))
        else:
            raise _not_numbers(str(name), dtype, "turn it into a category with .astype('category')")
    return tuple(columns)


def to_matrix(X: pd.DataFrame | NDArray[Any], columns: Sequence[Column]) -> Floats:
    """Lay X out as a matrix in the order of `columns`.

    Columns are found by name: their order in X does not matter and further columns are ignored. A
    word that is not among the levels becomes "(other)" where that is a level, else missing.

    Parameters
    ----------
    X : DataFrame or array of shape (n, p)
        An array must have exactly the columns, in their order.
    columns : sequence of Column
        The columns wanted, as `columns_of` read them at training.

    Returns
    -------
    array of shape (n, len(columns)), float64
        Column-contiguous; level codes for categories, NaN for missing.

    Raises
    ------
    DataError
        A column is absent, infinite, or not of the kind it was at training.

    Examples
    --------
    >>> X = pd.DataFrame({"source": ["Ads", "Radio", None], "visits": [1, 2, 3]})
    >>> to_matrix(X, (Column("visits"), Column("source", ("(other)", "Ads")))).tolist()
    [[1.0, 1.0], [2.0, 0.0], [3.0, nan]]
    """
    if not isinstance(X, pd.DataFrame):
        return _array_matrix(np.asarray(X), len(columns))
    M = np.empty((len(X), len(columns)), order="F")
    for j, column in enumerate(columns):
        try:
            values = X[column.name]
        except KeyError:
            found = (
                f"{X.shape[1]} columns without it{nearest(column.name, [str(name) for name in X.columns])}"
            )
            do = "give the table every column the model was trained on"
            raise DataError(explain(f"a column {shown(column.name)!r}", found, do)) from None
        M[:, j] = _numbers(values, column.name) if column.levels is None else _codes(values, column.levels)
    _refuse_infinite(M, [column.name for column in columns])
    return M


def is_finite(value: object) -> TypeGuard[int | float]:
    """Say whether a value read from a file is a number that float64 can hold; booleans are not.

    Examples
    --------
    >>> is_finite(2), is_finite(float("nan")), is_finite(10**400), is_finite("2")
    (True, False, False, False)
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= sys.float_info.max  # type: ignore[arg-type]


def _array_matrix(values: NDArray[Any], width: int) -> Floats:
    if values.ndim != 2 or values.shape[1] != width:
        raise DataError(
            explain(
                f"an array of {width} columns",
                f"shape {values.shape}",
                "give the columns the model was trained on",
            )
        )
    M = np.array(values, dtype=np.float64, order="F")
    _refuse_infinite(M, [f"x{j}" for j in range(width)])
    return M


def _numeric(values: "pd.Series[Any]") -> bool:
    """Whether these are numbers; a column of objects is looked into, since it may hold nothing else."""
    if pd.api.types.is_numeric_dtype(values.dtype):
        return not pd.api.types.is_complex_dtype(values.dtype)
    return values.dtype == object and pd.api.types.infer_dtype(values, skipna=True) in {
        "integer",
        "floating",
        "mixed-integer-float",
        "boolean",
        "decimal",
        "empty",
    }


def _numbers(values: "pd.Series[Any]", name: str) -> Floats:
    if not _numeric(values):
        raise _not_numbers(name, values.dtype, "it was a column of numbers at training")
    numbers: Floats = values.to_numpy(dtype=np.float64, na_value=np.nan)
    return numbers


def _codes(values: "pd.Series[Any]", levels: tuple[str, ...]) -> Floats:
    category = values.array if isinstance(values.array, pd.Categorical) else pd.Categorical(values)
    code: Mapping[str, int] = {level: i for i, level in enumerate(levels)}
    other = code.get(OTHER, np.nan)
    lookup = np.array([*(code.get(str(word), other) for word in category.categories), np.nan])
    codes: Floats = lookup[category.codes]  # a missing value has code -1: the last entry
    return codes


def _refuse_infinite(M: Floats, names: Sequence[str]) -> None:
    infinite = np.isinf(M)
    if infinite.any():
        row, j = np.argwhere(infinite)[0]
        found = f"an infinite value in column {shown(names[j])!r} (row {row})"
        raise DataError(explain("finite numbers", found, "make it missing (NaN) or correct it"))


def _not_numbers(name: str, dtype: object, do: str) -> DataError:
    return DataError(explain(f"numbers in column {shown(name)!r}", f"type {shown(dtype)}", do))
