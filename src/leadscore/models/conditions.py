"""Conditions on one column, as point tables and policies write them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from leadscore.errors import DataError, UsageError, explain, nearest, shown
from leadscore.models.matrix import Bools, Column, Floats, is_finite

Value: TypeAlias = str | float | tuple[str | float, ...] | None

_WORDS = ("is", "in", "not_in")
_NUMBERS: Mapping[str, tuple[int, Callable[..., Bools]]] = {  # op -> how many values, what they decide
    "at_least": (1, lambda x, low: x >= low),
    "below": (1, lambda x, high: x < high),
    "between": (2, lambda x, low, high: (x >= low) & (x <= high)),
}
_PRESENCE: Mapping[str, Callable[[Floats], Bools]] = {"missing": np.isnan, "present": lambda x: ~np.isnan(x)}

OPS = (*_WORDS, *_NUMBERS, *_PRESENCE)


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that holds, or not, for the value of one column.

    Nothing holds for a missing value, `not_in` neither, except `missing`. `between` includes both ends.

    Parameters
    ----------
    column : str
        The column of X.
    op : {"is", "in", "not_in", "at_least", "below", "between", "missing", "present"}
        `is`, `in` and `not_in` compare words of a category or numbers; `at_least`, `below` and
        `between` numbers only.
    value : str, number, or sequence of them, optional
        What to compare with; None for `missing` and `present`.

    Raises
    ------
    UsageError
        The op is unknown, or the value does not fit it.

    Examples
    --------
    >>> Condition("visits", "between", [2, 5]).holds(np.array([[1.0], [5.0], [np.nan]]), [Column("visits")])
    array([False,  True, False])
    """

    column: str
    op: str
    value: Value = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", _checked(self.column, self.op, self.value))

    def holds(self, M: Floats, columns: Sequence[Column]) -> Bools:
        """Say for each row of a matrix whether the condition holds.

        Parameters
        ----------
        M : array of shape (n, p)
            As `to_matrix` lays it out.
        columns : sequence of Column
            What the columns of M are.

        Returns
        -------
        array of shape (n,), bool

        Raises
        ------
        DataError
            The column is not among `columns`, or is of another kind than the condition.
        """
        j = index_of(self.column, columns, numbers_for=self.op if self.op in _NUMBERS else None)
        x = M[:, j]
        if self.op in _PRESENCE:
            return _PRESENCE[self.op](x)
        values = self.value if isinstance(self.value, tuple) else (self.value,)
        if self.op in _NUMBERS:
            return _NUMBERS[self.op][1](x, *values)
        among = np.isin(x, _as_codes(self, values, columns[j]))
        return among if self.op != "not_in" else ~among & ~np.isnan(x)

    def to_dict(self) -> dict[str, Any]:
        """Give the condition as plain values: {"column": ..., op: value}.

        Examples
        --------
        >>> Condition("source", "in", ("Ads", "Referral")).to_dict()
        {'column': 'source', 'in': ['Ads', 'Referral']}
        >>> Condition("phone", "missing").to_dict()
        {'column': 'phone', 'missing': True}
        """
        value = list(self.value) if isinstance(self.value, tuple) else self.value
        return {"column": self.column, self.op: True if self.op in _PRESENCE else value}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Condition":
        """Read what `to_dict` gave, or a person wrote: a column and exactly one op.

        Raises
        ------
        UsageError
            There is no column, no op, or more than one.

        Examples
        --------
        >>> Condition.from_dict({"column": "visits", "at_least": 3})
        Condition(column='visits', op='at_least', value=3.0)
        """
        ops = [key for key in values if key != "column"]
        if len(ops) != 1 or not isinstance(values.get("column"), str):
            found = ", ".join(shown(key) for key in values) or "nothing"
            raise UsageError(explain("a column and one condition", found, f"conditions are {', '.join(OPS)}"))
        op, value = ops[0], values[ops[0]]
        if op in _PRESENCE and value is True:
            value = None
        return cls(values["column"], op, value)


def index_of(name: str, columns: Sequence[Column], *, numbers_for: str | None = None) -> int:
    """Find a column's place by name.

    Parameters
    ----------
    name : str
    columns : sequence of Column
    numbers_for : str, optional
        What needs numbers in it, such as "below"; None when any column will do.

    Returns
    -------
    int

    Raises
    ------
    DataError
        The column is absent (the nearest name is given), or is a category where numbers are needed.

    Examples
    --------
    >>> index_of("visits", [Column("source", ("Ads",)), Column("visits")])
    1
    """
    for j, column in enumerate(columns):
        if column.name == name:
            if numbers_for is not None and column.levels is not None:
                raise _wrong_kind(name, numbers_for, "is a category", "use is, in or not_in with its words")
            return j
    near = nearest(name, [column.name for column in columns])
    raise DataError(
        explain(f"a column {shown(name)!r}", f"{len(columns)} columns without it{near}", "name one of them")
    )


def _checked(column: str, op: str, value: object) -> Value:
    """Bring a value into the one form its op has, or refuse it."""
    where = f"in the condition on {shown(column)!r}"
    if op in _PRESENCE:
        if value is not None:
            raise UsageError(explain(f"no value for {op!r} {where}", shown(value), "leave the value out"))
        return None
    if op not in OPS:
        near = nearest(op, OPS)
        raise UsageError(explain(f"one of {', '.join(OPS)} {where}", f"{shown(op)!r}{near}", "correct it"))
    many = isinstance(value, list | tuple)
    given = list(value) if isinstance(value, list | tuple) else [value]
    if op in _NUMBERS:
        wanted = _NUMBERS[op][0]
        numbers = [number for v in given if (number := _number(v)) is not None]
        if len(numbers) == len(given) == wanted and numbers == sorted(numbers):
            return numbers[0] if wanted == 1 else tuple(numbers)
        what = "a finite number" if wanted == 1 else "two finite numbers, the smaller first,"
    else:
        words = [word for v in given if (word := _word(v)) is not None]
        if len(words) == len(given) > 0 and many == (op != "is"):
            return tuple(words) if many else words[0]
        what = "a list of words or numbers" if op != "is" else "one word or number"
    raise UsageError(explain(f"{what} for {op!r} {where}", shown(value), "correct the value"))


def _number(value: object) -> float | None:
    return float(value) if is_finite(value) else None


def _word(value: object) -> str | float | None:
    if isinstance(value, bool):
        return str(value)  # the way tables write booleans
    return value if isinstance(value, str) else _number(value)


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _as_codes(condition: Condition, values: Sequence[object], column: Column) -> Floats:
    """Give what a column holds for these words or numbers; a word that is no level occurs nowhere."""
    if column.levels is not None:
        texts = {_text(v) for v in values}
        return np.array([i for i, level in enumerate(column.levels) if level in texts], dtype=np.float64)
    if any(isinstance(v, str) for v in values):
        raise _wrong_kind(condition.column, condition.op, "holds numbers", "compare it with numbers")
    return np.array(values, dtype=np.float64)


def _wrong_kind(column: str, op: str, found: str, do: str) -> DataError:
    return DataError(explain(f"a column that {op!r} can judge", f"{shown(column)!r}, which {found}", do))
