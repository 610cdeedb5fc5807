"""Whether a lead is like those that the model learned from, and if not, what about it is unlike them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leadscore.errors import DataError, ModelError, explain
from leadscore.files import pack_arrays, unpack_arrays
from leadscore.models.matrix import Bools, Column, Floats

Ints: TypeAlias = NDArray[np.int64]

NEVER_SEEN, OUTSIDE, UNUSUAL = "never seen", "outside the range", "unusual combination"
SHARE: Final = 0.01  # of leads like those of training that are called unlike them
_QUANTILES: Final = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)  # finer where values are rare
_BINS: Final = (
    len(_QUANTILES) + 2
)  # the last is for missing; of levels, the last but one for all further ones
_FOLDS: Final = 5
_PAIRED: Final = 10_000  # rows from which the tree of dependences is drawn
_WEIGHT: Final = 5.0  # rows that what a column has of itself counts beside those that have the parent's value
_LEAST_REACH: Final = 0.1  # ranges by which a number far outside exceeds its own, at least
_BLOCK: Final = 1 << 14  # rows looked at at a time
_NAMED: Final = 3  # columns that a combination is told by


class Unlike(NamedTuple):
    """What about a lead is unlike those of training: a column, and in which way."""

    column: str
    way: str


@dataclass(frozen=True, eq=False)
class Familiar:
    """What the leads of training were like: ranges, levels, and which values go together.

    A lead is unlike them when a number lies far outside its column's range, when a level (or nothing at all)
    never occurred in its column, or when its values go together in a way that only the rarest leads show:
    minus the log-probability of its values, each column's given that of one other (the tree of Chow and Liu
    1968), is above a cut.

    Parameters
    ----------
    columns : tuple of Column
    low, high : arrays of shape (columns,)
        The numbers that are not far outside; unused for categories.
    edges : array of shape (columns * 8,)
        The upper ends of a number's bins, rising; infinite where there are fewer.
    bin_of : array of shape (levels of all categories,), int64
        In which bin a level is.
    known : array of shape (levels of all categories and one a column,), uint8
        For each level of a column, and then for a missing value: 0 where a lead that has it is unlike.
    parent : array of shape (columns,), int64
        Which column each is judged by; -1 for none.
    surprise : array of shape (columns * 10 * 10,)
        Minus the log-probability of each bin (rows) given the parent's (columns).
    typical : array of shape (columns,)
        The average surprise in training.
    cut : array of shape (1,)
        The total surprise above which a combination is unusual.

    Raises
    ------
    ModelError
        The arrays do not fit each other.
    """

    columns: tuple[Column, ...]
    low: Floats
    high: Floats
    edges: Floats
    bin_of: Ints
    known: NDArray[np.uint8]
    parent: Ints
    surprise: Floats
    typical: Floats
    cut: Floats

    def __post_init__(self) -> None:
        if not all(_claims(self)):
            raise _unreadable()

    def unlike(self, M: Floats) -> Bools:
        """Say of each row whether it is unlike the leads of training.

        Parameters
        ----------
        M : array of shape (n, columns)
            As `to_matrix` lays it out.

        Returns
        -------
        array of shape (n,)
            Each row by itself: the others do not matter.
        """
        parts = [M[start : start + _BLOCK] for start in range(0, len(M), _BLOCK)]
        return np.concatenate([np.zeros(0, bool), *(self._unlike(part) for part in parts)])

    def why(self, row: Floats) -> tuple[Unlike, ...]:
        """Tell what about one row is unlike the leads of training; nothing where it is like them.

        Parameters
        ----------
        row : array of shape (columns,)

        Returns
        -------
        tuple of Unlike
            Every column with a level never seen or a number far outside, in their order; where there is none,
            the columns that make the combination unusual, the strangest first, at most three.
        """
        M = np.asarray(row, np.float64)[None, :]
        new, far = self._new(M)[0], self._far(M)[0]
        if (new | far).any():
            ways = np.where(new, NEVER_SEEN, OUTSIDE)
            return tuple(Unlike(self.columns[j].name, str(ways[j])) for j in np.flatnonzero(new | far))
        parts = self._surprise(self._bins(M))[:, 0]
        if not _total(parts[:, None])[0] > self.cut[0]:
            return ()
        strangest = np.argsort(self.typical - parts, kind="stable")[:_NAMED]
        return tuple(Unlike(self.columns[j].name, UNUSUAL) for j in strangest if parts[j] > self.typical[j])

    def to_files(self) -> dict[str, bytes]:
        """Give the saved form, familiar.npz: equal values are equal bytes."""
        columns = json.dumps([column.to_dict() for column in self.columns]).encode()
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        return {"familiar.npz": pack_arrays({"columns": np.frombuffer(columns, np.uint8), **arrays})}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> "Familiar":
        """Read what `to_files` gave, checking everything.

        Raises
        ------
        ModelError
            The file is absent, or holds something else.
        """
        try:
            arrays = unpack_arrays(files["familiar.npz"])
            columns = json.loads(arrays.pop("columns").tobytes())
        except (KeyError, ValueError, RecursionError):
            raise _unreadable() from None
        if set(arrays) != set(_ARRAYS) or not isinstance(columns, list):
            raise _unreadable()
        return cls(tuple(Column.from_dict(column) for column in columns), **arrays)

    def _unlike(self, M: Floats) -> Bools:
        known = ~(self._new(M).any(axis=1) | self._far(M).any(axis=1))
        unlike: Bools = ~known | (_total(self._surprise(self._bins(M))) > self.cut[0])
        return unlike

    def _new(self, M: Floats) -> Bools:
        new = np.empty(M.shape, bool)
        for j, (column, start) in enumerate(zip(self.columns, self._first_known, strict=True)):
            levels = _levels(column)
            code = np.where(np.isnan(M[:, j]), levels, M[:, j] if levels else -1.0).astype(np.int64)
            new[:, j] = (code >= 0) & (self.known[start + np.maximum(code, 0)] == 0)
        return new

    def _far(self, M: Floats) -> Bools:
        number = np.array([column.levels is None for column in self.columns], bool)
        far: Bools = ((self.low > M) | (self.high < M)) & number
        return far

    def _bins(self, M: Floats) -> Ints:
        """Give each value's bin, columns down."""
        bins = np.empty(M.T.shape, np.int64)
        edges = self.edges.reshape(-1, len(_QUANTILES))
        for j, (column, start) in enumerate(zip(self.columns, self._first_level, strict=True)):
            x = M[:, j]
            absent = np.isnan(x)
            if column.levels is None:
                bins[j] = np.searchsorted(edges[j], x)
            elif column.levels:
                bins[j] = self.bin_of[start + np.where(absent, 0.0, x).astype(np.int64)]
            bins[j, absent] = _BINS - 1
        return bins

    def _surprise(self, bins: Ints) -> Floats:
        """Give each value's surprise, columns down."""
        table = self.surprise.reshape(-1, _BINS, _BINS)
        given = np.where(self.parent[:, None] >= 0, bins[self.parent], 0)
        return table[np.arange(len(bins))[:, None], bins, given]

    @cached_property
    def _first_level(self) -> Ints:
        return np.cumsum([0, *map(_levels, self.columns)])[:-1]

    @cached_property
    def _first_known(self) -> Ints:
        return self._first_level + np.arange(len(self.columns))


def fit_familiar(
    M: Floats, columns: Sequence[Column], group: ArrayLike | None = None, *, seed: int = 0
) -> Familiar:
    """Learn what the leads of training are like, so that one in a hundred further ones like them is not.

    How far outside a range is far, and above which surprise a combination is unusual, is what leads held out
    show. A level never seen counts in a column where further ones are not to be expected, which the levels
    that one lead only has tell (Good 1953).

    Parameters
    ----------
    M : array of shape (n, columns)
    columns : sequence of Column
        What the columns of M are.
    group : array of shape (n,), optional
        Rows of one group are of one lead; every row is a lead when left out.
    seed : int
        Deals the leads to folds.

    Returns
    -------
    Familiar

    Raises
    ------
    DataError
        There are fewer than ten leads, or no columns.

    Examples
    --------
    >>> M = np.stack([np.arange(1000.0), np.arange(1000.0) % 2], axis=1)
    >>> familiar = fit_familiar(M, [Column("visits"), Column("source", ("Ads", "Referral", "Fair"))])
    >>> familiar.unlike(np.array([[500.0, 0.0], [9000.0, 1.0], [3.0, 2.0]])).tolist()
    [False, True, True]
    >>> familiar.why(np.array([9000.0, 1.0]))
    (Unlike(column='visits', way='outside the range'),)
    """
    lead = np.arange(len(M)) if group is None else np.unique(np.asarray(group), return_inverse=True)[1]
    leads = int(lead.max()) + 1 if len(lead) else 0
    if leads < 2 * _FOLDS or not columns:
        few = f"{leads} leads and {len(columns)} columns"
        raise DataError(explain(f"{2 * _FOLDS} leads and a column", few, "give more history"))
    rng = np.random.default_rng(seed)
    fold = (rng.permutation(leads) % _FOLDS)[lead]
    number = np.array([column.levels is None for column in columns], bool)
    blank = Familiar(
        tuple(columns),
        *_ranges(M, number, fold),
        edges=np.concatenate([_edges(x) for x in M.T]),
        bin_of=np.concatenate([np.zeros(0, np.int64), *map(_frequent_first, M.T, columns)]),
        known=_known(M, columns, lead, leads),
        parent=np.full(len(columns), -1),
        surprise=np.zeros(len(columns) * _BINS * _BINS),
        typical=np.zeros(len(columns)),
        cut=np.zeros(1),
    )
    bins = blank._bins(M)
    tree = replace(blank, parent=_tree(bins[:, rng.permutation(len(M))[:_PAIRED]]))
    held_out = np.empty(len(M))
    for k in range(_FOLDS):
        surprise = _surprise_table(bins[:, fold != k], tree.parent)
        held_out[fold == k] = _total(replace(tree, surprise=surprise)._surprise(bins[:, fold == k]))
    found = replace(tree, surprise=_surprise_table(bins, tree.parent))
    return replace(
        found,
        typical=found._surprise(bins).mean(axis=1),
        cut=np.array([np.quantile(held_out, 1 - SHARE / 2)]),
    )


def _ranges(M: Floats, number: Bools, fold: Ints) -> tuple[Floats, Floats]:
    """Widen each column's range by as many times itself as held-out leads exceed it, all but a few."""
    excess = np.zeros(len(M))
    for k in range(_FOLDS):
        low, high = _ends(M[fold != k])
        rest = M[fold == k]
        with np.errstate(invalid="ignore", divide="ignore"):
            beyond = np.maximum(low - rest, rest - high) / (high - low)
        usable = number & (high > low)
        excess[fold == k] = np.fmax.reduce(beyond[:, usable], axis=1, initial=0.0)
    low, high = _ends(M)
    reach = max(float(np.quantile(excess, 1 - SHARE / 4)), _LEAST_REACH) * (high - low)
    return np.where(number, low - reach, 0.0), np.where(number, high + reach, 0.0)


def _ends(M: Floats) -> tuple[Floats, Floats]:
    """Give each column's range; zeros where nothing is there."""
    low, high = np.fmin.reduce(M, axis=0), np.fmax.reduce(M, axis=0)
    return np.nan_to_num(low), np.nan_to_num(high)


def _edges(x: Floats) -> Floats:
    """Part a column at its quantiles; each bin takes its upper end in."""
    present = x[~np.isnan(x)]
    edges = np.full(len(_QUANTILES), np.inf)
    if len(present):
        places = np.unique(np.quantile(present, _QUANTILES, method="lower"))
        edges[: len(places)] = places
    return edges


def _frequent_first(x: Floats, column: Column) -> Ints:
    """Give each frequent level a bin of its own, and all further ones the last."""
    levels = _levels(column)
    counts = np.bincount(x[~np.isnan(x)].astype(np.int64), minlength=levels) if levels else np.zeros(0)
    rank = np.empty(levels, np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(levels)
    return np.minimum(rank, _BINS - 2)


def _known(M: Floats, columns: Sequence[Column], lead: Ints, leads: int) -> NDArray[np.uint8]:
    """Mark what occurred; where many a level is one lead's only, further ones are to be expected."""
    marks, rates = [], []
    for x, column in zip(M.T, columns, strict=True):
        levels = _levels(column)
        code = np.where(np.isnan(x), levels, x if levels else -1.0).astype(np.int64)
        pairs = np.unique(code[code >= 0] * leads + lead[code >= 0]) // leads
        holders = np.bincount(pairs, minlength=levels + 1)
        marks.append((holders > 0).astype(np.uint8))
        rates.append((holders == 1).sum() / leads)
    expected = 0.0
    for j in np.argsort(rates, kind="stable"):
        expected += rates[j]
        if expected > SHARE / 4:
            marks[j][:] = 1
    return np.concatenate(marks)


def _tree(bins: Ints) -> Ints:
    """Give each column the parent that tells most of it: the spanning tree of the most mutual information."""
    p, n = bins.shape
    hot = (bins[:, None, :] == np.arange(_BINS)[:, None]).reshape(p * _BINS, n).astype(np.float32)
    both = (hot @ hot.T).astype(np.float64).reshape(p, _BINS, p, _BINS) / n
    one = np.stack([np.bincount(b, minlength=_BINS) for b in bins]) / n
    told = np.where(both > 0, both, 1.0)
    told /= np.where(both > 0, one[:, :, None, None] * one[None, None], 1.0)
    information = (both * np.log(told)).sum(axis=(1, 3))
    parent = np.full(p, -1)
    nearest, best = np.zeros(p, np.int64), information[0].copy()
    waiting = np.arange(p) > 0
    while waiting.any():
        j = int(np.where(waiting, best, -np.inf).argmax())
        parent[j], waiting[j] = nearest[j], False
        nearer = information[j] > best
        nearest, best = np.where(nearer, j, nearest), np.where(nearer, information[j], best)
    return parent


def _surprise_table(bins: Ints, parent: Ints) -> Floats:
    """Count how often each bin goes with the parent's; what a column has of itself fills in for few rows."""
    tables = []
    for own, above in zip(bins, parent, strict=True):
        given = bins[above] if above >= 0 else np.zeros_like(own)
        both = np.bincount(own * _BINS + given, minlength=_BINS**2).reshape(_BINS, _BINS)
        alone = (both.sum(axis=1) + 0.5) / (len(own) + _BINS / 2)
        tables.append(-np.log((both + _WEIGHT * alone[:, None]) / (both.sum(axis=0) + _WEIGHT)))
    return np.concatenate(tables, axis=None)


def _total(surprise: Floats) -> Floats:
    """Add up column by column, so that one row and many give the same bits."""
    total = np.zeros(surprise.shape[1])
    for part in surprise:
        total += part
    return total


def _levels(column: Column) -> int:
    return 0 if column.levels is None else len(column.levels)


_ARRAYS: Final[Mapping[str, type[np.generic]]] = {
    "low": np.float64,
    "high": np.float64,
    "edges": np.float64,
    "bin_of": np.int64,
    "known": np.uint8,
    "parent": np.int64,
    "surprise": np.float64,
    "typical": np.float64,
    "cut": np.float64,
}


def _claims(f: Familiar) -> Iterator[bool]:
    """Say one thing after another that the arrays must fulfil; each may rely on those before."""
    p, levels = len(f.columns), sum(map(_levels, f.columns))
    sizes = (p, p, p * len(_QUANTILES), levels, levels + p, p, p * _BINS**2, p, 1)
    for (name, dtype), size in zip(_ARRAYS.items(), sizes, strict=True):
        array = getattr(f, name)
        yield array.shape == (size,) and array.dtype == dtype
    for name in ("low", "high", "surprise", "typical", "cut"):
        yield bool(np.isfinite(getattr(f, name)).all())
    edges = f.edges.reshape(p, -1)
    yield bool((edges[:, 1:] >= edges[:, :-1]).all())
    yield bool(((f.bin_of >= 0) & (f.bin_of < _BINS - 1)).all())
    yield bool(((f.parent >= -1) & (f.parent < p)).all())


def _unreadable() -> ModelError:
    return ModelError(
        explain("the arrays of familiar leads in familiar.npz", "something else", "restore the model's files")
    )
