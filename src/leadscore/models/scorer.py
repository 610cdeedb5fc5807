"""The shape that all served scorers share."""

from typing import Protocol

from leadscore.models.matrix import Column, Floats


class Scorer(Protocol):
    """A fitted model as numbers: a margin for each row, and what it is made of.

    `drivers` names the columns of the contributions: columns of X, or the rules of a point table;
    `driver_columns` says which columns of X stand behind each.
    """

    @property
    def kind(self) -> str:
        """Which served form this is: points, linear, forest, hazard, sum or segmented."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """What the columns of a matrix are."""

    @property
    def drivers(self) -> tuple[str, ...]:
        """What the columns of the contributions are."""

    @property
    def driver_columns(self) -> tuple[tuple[str, ...], ...]:
        """The columns of X behind each driver."""

    @property
    def used(self) -> frozenset[str]:
        """The columns of X that margin and contributions depend on; the others may hold anything."""

    def margin(self, M: Floats) -> Floats:
        """Give the margin of each row, shape (n,): the same bits for one row and for many."""

    def contributions(self, M: Floats) -> tuple[float, Floats]:
        """Split the margins: a base, and an (n, drivers) array whose row sums lead from it to the margin."""

    def explained(self, M: Floats) -> tuple[Floats, float, Floats]:
        """Give what `margin` and `contributions` give, to the last bit, at one go."""

    def to_files(self) -> dict[str, bytes]:
        """Give the saved form: file names and their bytes, the same bytes for the same model."""
