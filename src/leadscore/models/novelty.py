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
_WAYS: Final = ("", NEVER_SEEN, OUTSIDE)
# Shares of held-out leads that may be called unlike those of training; one in a hundred in all, as what is
# served has seen more leads than each fold, so that fewer are far or new.
_FAR, _NEW, _RARE = 0.0025, 0.0025, 0.0085
_QUANTILES: Final = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)  # finer where values are rare
_BINS: Final = (
    len(_QUANTILES) + 2
)  # the last is for missing; of levels, the last but one for all further ones
_FOLDS: Final = 5
_PAIRED: Final = 10_000  # rows from which the tree of dependences is drawn
_WEIGHT: Final = 1.0  # rows that a column's own shares count for beside those that have the parent's value
_LEAST_REACH: Final = 0.1  # ranges by which a number far outside exceeds its column's own, at least
_BLOCK: Final = 1 << 14  # rows looked at at a time
_NAMED: Final = 3  # columns that a combination is told by
_ARRAYS: Final[Mapping[str, type[np.generic]]] = {
    "low": np.float64,
    "high": np.float64,
    "edges": np.float64,
    "bin_of": np.int64,
    "parent": np.int64,
    "surprise": np.float64,
    "cut": np.float64,
}


class Unlike(NamedTuple):
    """What about a lead is unlike those of training: a column, and in which way."""

    column: str
    way: str


@dataclass(frozen=True, eq=False)
class Familiar:
    """What the leads of training were like: ranges, levels, and which values go together.

    A lead is unlike them when a number lies far outside its column's range, when a level (or a missing value)
    never occurred in its column, or when its values go together as only the rarest leads' do: minus the
    log-probability of them all, each column's given that of one other (the tree of Chow and Liu 1968 over
    histograms), is above a cut.

    Parameters
    ----------
    columns : tuple of Column
    low, high : arrays of shape (columns,)
        The numbers that are not far outside.
    edges : array of shape (columns * 8,)
        The upper ends of a number's bins, rising; infinite where there are fewer.
    bin_of : array of shape (levels of all categories and one a column,), int64
        The bin of each level of a column, and then of a missing value; ~bin for what is new.
    parent : array of shape (columns,), int64
        Which column each is judged by; -1 for none.
    surprise : array of shape (columns * 10 * 10,)
        Minus the log-probability of each bin (rows) given the parent's (columns).
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
    parent: Ints
    surprise: Floats
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
        found = [np.zeros(0, bool)]
        for start in range(0, len(M), _BLOCK):
            bins, ways = self.read(M[start : start + _BLOCK])
            found.append(ways.any(axis=0) | (_total(self.surprises(bins)) > self.cut[0]))
        return np.concatenate(found)

    def why(self, row: Floats) -> tuple[Unlike, ...]:
        """Tell what about one row is unlike the leads of training; nothing where it is like them.

        Parameters
        ----------
        row : array of shape (columns,)

        Returns
        -------
        tuple of Unlike
            Every column with something new or a number far outside, in their order; where there is none, the
            columns that make the combination unusual, the strangest first, at most three.
        """
        bins, ways = self.read(np.asarray(row, np.float64)[None, :])
        if ways.any():
            return tuple(Unlike(self.columns[j].name, _WAYS[ways[j, 0]]) for j in np.flatnonzero(ways))
        surprise = self.surprises(bins)
        if _total(surprise)[0] <= self.cut[0]:
            return ()
        strangest = np.argsort(-surprise[:, 0], kind="stable")[:_NAMED]
        return tuple(Unlike(self.columns[j].name, UNUSUAL) for j in strangest)

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

    def read(self, M: Floats) -> tuple[Ints, NDArray[np.int8]]:
        """Give each value's bin, and in which way it is unlike by itself.

        Parameters
        ----------
        M : array of shape (n, columns)

        Returns
        -------
        bins : array of shape (columns, n)
            As `surprises` takes them.
        ways : array of shape (columns, n)
            0 where it is like those of training, 1 where it was never seen, 2 where it is outside the range.
        """
        bins, ways = np.empty(M.T.shape, np.int64), np.empty(M.T.shape, np.int8)
        edges = self.edges.reshape(-1, len(_QUANTILES))
        for j, (column, start) in enumerate(zip(self.columns, self._start, strict=True)):
            x = np.ascontiguousarray(M[:, j])
            found = self.bin_of[start + _codes(x, column)]
            bins[j], ways[j] = np.where(found < 0, ~found, found), found < 0
            if column.levels is None:
                present = ~np.isnan(x)
                bins[j] = np.where(present, np.searchsorted(edges[j], x), bins[j])
                ways[j] = np.where(present, 2 * ((x < self.low[j]) | (x > self.high[j])), ways[j])
        return bins, ways

    def surprises(self, bins: Ints) -> Floats:
        """Give minus the log-probability of each value, given that of its column's parent.

        Parameters
        ----------
        bins : array of shape (columns, n)
            From `read`.

        Returns
        -------
        array of shape (columns, n)
        """
        table = self.surprise.reshape(-1, _BINS, _BINS)
        given = np.where(self.parent[:, None] >= 0, bins[self.parent], 0)
        return table[np.arange(len(bins))[:, None], bins, given]

    @cached_property
    def _start(self) -> Ints:
        """Where each column's bins begin in bin_of."""
        return np.cumsum([0, *(_levels(column) + 1 for column in self.columns)])[:-1]


def fit_familiar(
    M: Floats, columns: Sequence[Column], group: ArrayLike | None = None, *, seed: int = 0
) -> Familiar:
    """Learn what the leads of training are like, so that one in a hundred further ones like them is not.

    How far outside a range is far, and above which surprise a combination is unusual, is what leads held out
    show. A level that never occurred is new unless such are to be expected in its column, by how many leads
    have a level for themselves (Good 1953).

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
    leads = int(lead.max(initial=-1)) + 1
    if leads < 2 * _FOLDS or not columns:
        few = f"{leads} leads and {len(columns)} columns"
        raise DataError(explain(f"{2 * _FOLDS} leads and a column", few, "give more history"))
    rng = np.random.default_rng(seed)
    fold = (rng.permutation(leads) % _FOLDS)[lead]
    found = Familiar(
        tuple(columns),
        *_ranges(M, [j for j, column in enumerate(columns) if column.levels is None], fold),
        edges=np.concatenate([_edges(x) for x in M.T]),
        bin_of=_bins_of_levels(M, columns, lead, leads),
        parent=np.full(len(columns), -1),
        surprise=np.zeros(len(columns) * _BINS**2),
        cut=np.zeros(1),
    )
    bins, _ = found.read(M)
    parent = _tree(bins[:, rng.permutation(len(M))[:_PAIRED]])
    held_out = np.empty(len(M))
    for k in range(_FOLDS):
        part = replace(found, parent=parent, surprise=_surprise_of(bins[:, fold != k], parent))
        held_out[fold == k] = _total(part.surprises(bins[:, fold == k]))
    cut = np.array([np.quantile(held_out, 1 - _RARE)])
    return replace(found, parent=parent, surprise=_surprise_of(bins, parent), cut=cut)


def _ranges(M: Floats, numbers: Sequence[int], fold: Ints) -> tuple[Floats, Floats]:
    """Widen the range of every number by as many times itself as held-out leads exceed it, but for a few."""
    excess = np.zeros(len(M))
    for k in range(_FOLDS):
        low, high = _ends(M[fold != k])
        varied = [j for j in numbers if high[j] > low[j]]
        x, low, high = M[fold == k][:, varied], low[varied], high[varied]
        excess[fold == k] = np.fmax.reduce(np.fmax(low - x, x - high) / (high - low), axis=1, initial=0.0)
    reach = max(float(np.quantile(excess, 1 - _FAR)), _LEAST_REACH)
    low, high = _ends(M)
    return low - reach * (high - low), high + reach * (high - low)


def _ends(M: Floats) -> tuple[Floats, Floats]:
    """Give each column's range; zeros where nothing is there."""
    return np.nan_to_num(np.fmin.reduce(M, axis=0)), np.nan_to_num(np.fmax.reduce(M, axis=0))


def _edges(x: Floats) -> Floats:
    """Part a column at its quantiles; each bin takes its upper end in."""
    edges = np.full(len(_QUANTILES), np.inf)
    present = x[~np.isnan(x)]
    if len(present):
        places = np.unique(np.quantile(present, _QUANTILES, method="lower"))
        edges[: len(places)] = places
    return edges


def _bins_of_levels(M: Floats, columns: Sequence[Column], lead: Ints, leads: int) -> Ints:
    """Give each frequent level a bin of its own, all further ones the next, and mark what is new."""
    bins, new, alone = [], [], []
    for x, column in zip(M.T, columns, strict=True):
        levels = _levels(column)
        told = np.isnan(x) | (column.levels is not None)
        held = np.unique(_codes(x[told], column) * leads + lead[told]) // leads  # what a lead has, once
        counts = np.bincount(held, minlength=levels + 1)
        rank = np.empty(levels, np.int64)
        rank[np.argsort(-counts[:-1], kind="stable")] = np.arange(levels)
        bins.append(np.append(np.minimum(rank, _BINS - 2), _BINS - 1))
        new.append(counts == 0)
        alone.append(int((counts == 1).sum()))
    expected = np.cumsum(np.sort(alone)) / leads
    for j in np.argsort(alone, kind="stable")[expected > _NEW]:
        new[j][:] = False
    return np.where(np.concatenate(new), ~np.concatenate(bins), np.concatenate(bins))


def _tree(bins: Ints) -> Ints:
    """Give each column the parent that tells most of it: the spanning tree of most mutual information."""
    columns, rows = bins.shape
    hot = (bins[:, None, :] == np.arange(_BINS)[:, None]).reshape(columns * _BINS, rows).astype(np.float32)
    both = (hot @ hot.T).astype(np.float64).reshape(columns, _BINS, columns, _BINS) / rows
    alone = hot.mean(axis=1, dtype=np.float64).reshape(columns, _BINS)
    apart = alone[:, :, None, None] * alone
    told = (both * np.log(np.divide(both, apart, out=np.ones_like(both), where=both > 0))).sum(axis=(1, 3))
    parent = np.full(columns, -1)
    nearest, most = np.zeros(columns, np.int64), told[0]
    waiting = np.arange(columns) > 0
    while waiting.any():
        j = int(np.where(waiting, most, -np.inf).argmax())
        parent[j], waiting[j] = nearest[j], False
        nearest, most = np.where(told[j] > most, j, nearest), np.maximum(told[j], most)
    return parent


def _surprise_of(bins: Ints, parent: Ints) -> Floats:
    """Count how often each bin goes with the parent's; where that is rare, a column's own shares count."""
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


def _codes(x: Floats, column: Column) -> Ints:
    """Give each level its number, and missing the next; a column of numbers has that one alone."""
    return np.where(np.isnan(x) | (column.levels is None), _levels(column), x).astype(np.int64)


def _claims(f: Familiar) -> Iterator[bool]:
    """Say one thing after another that the arrays must fulfil; each may rely on those before."""
    columns = len(f.columns)
    levels = sum(_levels(column) + 1 for column in f.columns)
    sizes = (columns, columns, columns * len(_QUANTILES), levels, columns, columns * _BINS**2, 1)
    for (name, dtype), size in zip(_ARRAYS.items(), sizes, strict=True):
        array = getattr(f, name)
        yield array.shape == (size,) and array.dtype == dtype
    yield all(np.isfinite(array).all() for array in (f.low, f.high, f.surprise, f.cut))
    edges = f.edges.reshape(columns, -1)
    yield bool((edges[:, 1:] >= edges[:, :-1]).all())
    yield bool((np.where(f.bin_of < 0, ~f.bin_of, f.bin_of) < _BINS).all())
    yield bool(((f.parent >= -1) & (f.parent < columns)).all())


def _unreadable() -> ModelError:
    expected = "the arrays of familiar leads in familiar.npz"
    return ModelError(explain(expected, "something else", "restore the model's files"))
