"""Sums of served forms: each part's margin times a weight."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from leadscore.errors import ModelError, explain
from leadscore.models.matrix import Column, Floats, is_finite
from leadscore.models.scorer import Scorer

_RESTORE = "restore the model's files"


@dataclass(frozen=True)
class Sum:
    """A margin that is a weighted sum of the margins of other served forms.

    Parameters
    ----------
    parts : tuple of Scorer
        All over the same columns.
    weights : tuple of float
        One a part.
    intercept : float

    Raises
    ------
    ModelError
        There is no part, their columns differ, or there is not one weight for each.

    Examples
    --------
    >>> from leadscore.models.points import PointRule, PointTable
    >>> table = PointTable((Column("visits"),), (PointRule("Visits", 2, per="visits"),))
    >>> Sum((table,), (0.5,), -3.0).margin(np.array([[4.0], [np.nan]])).tolist()
    [1.0, -3.0]
    """

    kind: ClassVar[str] = "sum"

    parts: tuple[Scorer, ...]
    weights: tuple[float, ...]
    intercept: float

    def __post_init__(self) -> None:
        fits = self.parts and len(self.parts) == len(self.weights)
        if not fits or any(part.columns != self.columns for part in self.parts):
            raise ModelError(explain("parts over the same columns, one weight for each", "others", _RESTORE))

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that all parts share."""
        return self.parts[0].columns

    @property
    def drivers(self) -> tuple[str, ...]:
        """The parts' drivers, one part after the other; a name that is taken is numbered."""
        names: dict[str, None] = {}
        for part in self.parts:
            for driver in part.drivers:
                names[free_name(driver, names)] = None
        return tuple(names)

    @property
    def driver_columns(self) -> tuple[tuple[str, ...], ...]:
        """As the parts have them."""
        return tuple(columns for part in self.parts for columns in part.driver_columns)

    @property
    def used(self) -> frozenset[str]:
        """What any of the parts depends on."""
        return frozenset[str]().union(*(part.used for part in self.parts))

    def margin(self, M: Floats) -> Floats:
        """Add up the parts in their order."""
        margin = np.full(len(M), self.intercept)
        for part, weight in zip(self.parts, self.weights, strict=True):
            margin = margin + weight * part.margin(M)
        return margin

    def contributions(self, M: Floats) -> tuple[float, Floats]:
        """Put the parts' contributions beside each other, each times its weight."""
        _, base, parts = self.explained(M)
        return base, parts

    def explained(self, M: Floats) -> tuple[Floats, float, Floats]:
        """Give margins, the base and contributions at one go: the bits of `margin` and `contributions`."""
        margin, base, beside = np.full(len(M), self.intercept), self.intercept, []
        for part, weight in zip(self.parts, self.weights, strict=True):
            own, middle, phi = part.explained(M)
            margin = margin + weight * own
            base += weight * middle
            beside.append(weight * phi)
        return margin, base, np.concatenate(beside, axis=1)

    def to_files(self) -> dict[str, bytes]:
        """Give the saved form: sum.json, and each part's files behind a prefix."""
        values = {
            "kinds": [part.kind for part in self.parts],
            "weights": list(self.weights),
            "intercept": self.intercept,
        }
        files = {"sum.json": json.dumps(values, indent=1, allow_nan=False).encode()}
        for i, part in enumerate(self.parts):
            files |= with_prefix(_prefix(i), part.to_files())
        return files

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> "Sum":
        """Read what `to_files` gave.

        Raises
        ------
        ModelError
            A file is absent, or they do not hold such a sum.
        """
        from leadscore.models.saved import read_scorer  # which knows this form too

        try:
            values = json.loads(files["sum.json"])
        except (KeyError, ValueError, RecursionError):
            raise ModelError(explain("a readable sum.json", "none", _RESTORE)) from None
        match values:
            case {"kinds": list(kinds), "weights": list(weights), "intercept": intercept, **rest} if not rest:
                if all(isinstance(kind, str) for kind in kinds) and all(
                    map(is_finite, [*weights, intercept])
                ):
                    parts = [
                        read_scorer(kind, without_prefix(_prefix(i), files)) for i, kind in enumerate(kinds)
                    ]
                    return cls(tuple(parts), tuple(map(float, weights)), float(intercept))
        raise ModelError(explain("kinds, weights and intercept in sum.json", "something else", _RESTORE))


def free_name(name: str, taken: Mapping[str, object]) -> str:
    """Give the name, numbered where it is taken.

    Examples
    --------
    >>> free_name("visits", {"visits": None, "visits (2)": None})
    'visits (3)'
    """
    free, number = name, 2
    while free in taken:
        free, number = f"{name} ({number})", number + 1
    return free


def with_prefix(prefix: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Put a prefix before file names, so that a form's files can lie beside others.

    Examples
    --------
    >>> with_prefix("inner.", {"linear.json": b""})
    {'inner.linear.json': b''}
    """
    return {prefix + name: content for name, content in files.items()}


def without_prefix(prefix: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Take the files behind a prefix, without it.

    Examples
    --------
    >>> without_prefix("inner.", {"inner.linear.json": b"", "sum.json": b""})
    {'linear.json': b''}
    """
    return {name.removeprefix(prefix): files[name] for name in files if name.startswith(prefix)}


def _prefix(i: int) -> str:
    return f"part{i}."
