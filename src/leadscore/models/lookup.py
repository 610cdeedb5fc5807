"""A forest as lookup tables: decisions become bytes, and bytes become margins and exact SHAP values.

Nodes that ask the same are one question. Neighbouring leaves of a tree whose paths have at most eight
nodes together form a unit, so that a row's decisions in it are one byte: its code. For each of the 256
codes, a unit's share of the margin and of each column's SHAP value is computed once; serving a row is then
to answer the questions, to put the codes together and to add up what the tables hold, in a fixed order.
Leaves on longer paths are left to formulas, and so is what would make the tables too large.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from leadscore.models.matrix import Bools, Floats
from leadscore.models.shapley import Ints, Paths, owen, paths_of

if TYPE_CHECKING:
    from leadscore.models.forest import Forest

Bytes: TypeAlias = NDArray[np.uint8]

ZERO = float(np.float32(1e-35))  # what LightGBM takes for zero (its kZeroThreshold)
FEW = 64  # so many rows are served question by question at once; more of them, column by column
_BITS = 8
_CODES = 1 << _BITS
_ROOM = 1 << 24  # numbers in the tables of a forest: 128 MB
_AT_ONCE = 1 << 17  # numbers looked up at a time: they stay in the cache
_ROWS, _ANSWERS = 1 << 13, 1 << 24  # rows of X, and answers for them, that a thread holds at a time
_NO_CODE = 1 << 30  # stands for a missing category, and for codes that no set can have
_CATEGORY = 6  # the kind of a question for categories; for numbers it is 2 * missing + default_left


class Questions(NamedTuple):
    """What nodes ask, each question once, sorted by kind, column and threshold."""

    columns: Ints  # the columns asked about, by kind; a column of several kinds once for each
    kinds: tuple[tuple[int, slice], ...]  # the kinds that occur, and where their columns are
    place: Ints  # of each question: where its column is among those
    threshold: Floats  # at most this goes left; for categories the set's number
    numbers: int  # how many questions are about numbers; those about categories follow
    of_node: Ints


class Unit(NamedTuple):
    """Neighbouring leaves of a tree, and all nodes on their paths."""

    leaves: range
    nodes: tuple[int, ...]


class Codes(NamedTuple):
    """How the tabulated units are coded, and what their leaves say to each code."""

    question: Ints  # (bits, units): the highest bit first; one past the last question is always no
    leaf: Ints  # the leaves of all units, one unit after the other
    unit: Ints  # a leaf's unit
    place: Ints  # (steps, leaves): which bit a step of a leaf's path is


def _cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, eq=False)
class Lookup:
    """The tables of forests whose trees are asked together, computed when first needed.

    Parameters
    ----------
    forest : Forest
        The trees of all of them, one forest after the other.
    ends : tuple of int
        Behind which tree each forest ends.
    """

    forest: "Forest"
    ends: tuple[int, ...]

    def margin(self, M: Floats) -> Floats:
        """Add up the trees of each forest in their order.

        Parameters
        ----------
        M : array of shape (n, columns)

        Returns
        -------
        array of shape (forests, n)
        """
        (margin,) = self._served(M, (1, self._margin))
        return margin[:, 0]

    def contributions(self, M: Floats) -> Floats:
        """Add up the SHAP values of all units of each forest, column by column.

        Parameters
        ----------
        M : array of shape (n, columns)

        Returns
        -------
        array of shape (forests, columns, n)
        """
        (phi,) = self._served(M, (len(self.forest.columns), self._contributions))
        return phi

    def explained(self, M: Floats) -> tuple[Floats, Floats]:
        """Give both to the same answers: the bits of `margin` and of `contributions`."""
        columns = len(self.forest.columns)
        margin, phi = self._served(M, (1, self._margin), (columns, self._contributions))
        return margin[:, 0], phi

    def _served(self, M: Floats, *ways: tuple[int, Callable[[Bools, Bytes], Floats]]) -> list[Floats]:
        """Give so many numbers a forest and row in each way; neither blocks nor cores change bits."""
        found = [np.zeros((len(self.ends), height, len(M))) for height, _ in ways]

        def fill(rows: slice) -> None:
            answers = self._answers(M[rows])
            codes = self._codes_of(answers)
            for out, (_, way) in zip(found, ways, strict=True):
                out[..., rows] = way(answers, codes)

        most = min(_ROWS, max(1, _ANSWERS // (self.questions + 1)))
        threads = max(1, min(_cores(), 2 * len(M) // most))
        blocks = threads * max(1, -(-len(M) // (threads * most)))
        cuts = [len(M) * i // blocks for i in range(blocks + 1)]
        parts = [slice(start, end) for start, end in pairwise(cuts)]
        if threads == 1:
            for part in parts:
                fill(part)
        else:
            fill(slice(0, 0))  # what follows from the forest is computed once, before threads want it
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(fill, parts))
        return found

    @property
    def questions(self) -> int:
        """How many answers a row needs."""
        return len(self._questions.place)

    # ---- what follows from the forest

    @cached_property
    def _questions(self) -> Questions:
        f = self.forest
        kind = np.where(f.category_set >= 0, _CATEGORY, 2 * f.missing.astype(np.int64) + f.default_left)
        threshold = np.where(f.category_set >= 0, f.category_set, f.threshold)
        asked, place = np.unique(kind * len(f.columns) + f.feature, return_inverse=True)
        order = np.lexsort((threshold, place))
        place, threshold = place[order], threshold[order]
        new = np.ones(len(order), dtype=bool)
        new[1:] = (place[1:] != place[:-1]) | (threshold[1:] != threshold[:-1])
        of_node = np.empty(len(order), dtype=np.int64)
        of_node[order] = np.cumsum(new) - 1
        numbers = len(np.unique(of_node[kind < _CATEGORY]))
        of_kind, columns = np.divmod(asked, max(1, len(f.columns)))
        runs = pairwise(_runs(of_kind))
        kinds = tuple((int(of_kind[start]), slice(start, end)) for start, end in runs)
        return Questions(columns, kinds, place[new], threshold[new], numbers, of_node)

    @cached_property
    def _members(self) -> tuple[Ints, Ints, Bools]:
        """Category sets, one after the other: where each begins, its codes, and whether it has each code.

        After its codes each set has a place for missing and larger ones, which it does not have.
        """
        words = np.diff(self.forest.set_start)
        bits = np.unpackbits(self.forest.set_bits.astype("<u4").view(np.uint8), bitorder="little")
        first = 32 * self.forest.set_start[:-1] + np.arange(len(words))
        return first, 32 * words, np.insert(bits.astype(bool), 32 * self.forest.set_start[1:], False)

    @cached_property
    def _paths(self) -> Paths:
        return paths_of(self.forest)

    @cached_property
    def _units(self) -> tuple[list[Unit], list[Unit]]:
        """Cut the trees into units: those with tables, and the others."""
        short: list[Unit] = []
        long: list[Unit] = []
        room, feature = _ROOM // _CODES, self.forest.feature
        for unit in _cut(self.forest, self._paths):
            room -= 1 + len(np.unique(feature[list(unit.nodes)]))
            (short if len(unit.nodes) <= _BITS and room >= 0 else long).append(unit)
        return short, long

    @property
    def _long(self) -> list[Unit]:
        return self._units[1]

    @cached_property
    def _leaf_ends(self) -> Ints:
        """Behind which leaf each forest ends."""
        return self.forest._first_leaf[list(self.ends)]

    @cached_property
    def _of(self) -> Ints:
        """The forest of each unit with tables."""
        starts = np.array([unit.leaves.start for unit in self._units[0]], np.int64)
        found: Ints = self._leaf_ends.searchsorted(starts, side="right")
        return found

    @cached_property
    def _codes(self) -> Codes:
        units, nodes = self._units[0], max(1, len(self.forest.feature))
        leaf = np.array([leaf for unit in units for leaf in unit.leaves], dtype=np.int64)
        unit = np.repeat(np.arange(len(units)), np.array([len(unit.leaves) for unit in units], np.int64))
        key = np.array([u * nodes + node for u, unit in enumerate(units) for node in unit.nodes], np.int64)
        first = key.searchsorted(np.arange(len(units)) * nodes)
        question = np.full((_BITS, len(units)), self.questions)
        of, node = np.divmod(key, nodes)
        question[np.arange(len(key)) - first[of], of] = self._questions.of_node[node]
        steps = self._paths.node[:_BITS, leaf]
        return Codes(question, leaf, unit, key.searchsorted(unit * nodes + steps) - first[unit])

    @cached_property
    def _value(self) -> Floats:
        """What each unit adds to the margin by code, shape (units, 256): its one leaf that agrees, or 0."""
        value = np.zeros((len(self._units[0]), _CODES))
        for leaves in self._parts():
            agrees = self._agreement(leaves) == _CODES - 1
            of, some = self._codes.unit[leaves], self.forest.leaf_value[self._codes.leaf[leaves]]
            first = np.flatnonzero(np.diff(of, prepend=-1))
            value[of[first]] = np.add.reduceat(np.where(agrees, some[:, None], 0.0), first, axis=0)
        return value

    @cached_property
    def _phi(self) -> tuple[Ints, Ints, Floats]:
        """What units add to SHAP values: places, their units, and by code an array of shape (pairs, 256).

        Places are columns, those of one forest after the other.
        """
        codes, paths, units = self._codes, self._paths, len(self._units[0])
        steps = len(codes.place)
        used = (paths.slot[:steps, codes.leaf] == np.arange(steps)[:, None]) & ~paths.alone[codes.leaf]
        place = self._of[codes.unit] * len(self.forest.columns) + paths.feature[:steps, codes.leaf]
        key = place * units + codes.unit
        keys = np.unique(key[used])
        table = np.empty((len(keys), _CODES))
        patterns = np.arange(1 << steps)
        agrees = (patterns >> np.arange(steps)[:, None, None] & 1).astype(bool)
        for leaves in self._parts():
            leaf = codes.leaf[leaves]
            share, value = paths.share[:steps, leaf], self.forest.leaf_value[leaf]
            phi = owen(agrees, share[:, :, None], value[:, None], min(steps, paths.distinct))
            slot, which = np.nonzero(used[:, leaves])
            pair = keys.searchsorted(key[:, leaves][slot, which])
            order = np.argsort(pair, kind="stable")
            slot, which, pair = slot[order], which[order], pair[order]
            pattern = (self._agreement(leaves) & (len(patterns) - 1)).astype(np.int64)
            index = pattern[which] + (slot * len(leaf) + which)[:, None] * len(patterns)
            first = np.flatnonzero(np.diff(pair, prepend=-1))
            if len(first):
                table[pair[first]] = np.add.reduceat(phi.ravel()[index], first, axis=0)
        place, unit = np.divmod(keys, max(1, units))
        return place, unit, table

    def _parts(self) -> Iterator[slice]:
        """Cut the leaves with tables into runs of whole units."""
        ends = self._codes.unit.searchsorted(np.arange(0, len(self._units[0]) + 64, 64))
        return (slice(start, end) for start, end in pairwise(ends))

    def _agreement(self, leaves: slice) -> Bytes:
        """Say which slots of a leaf (row) agree with a code (column): the lowest bit is the first slot."""
        codes, paths = self._codes, self._paths
        leaf, every = codes.leaf[leaves], np.arange(_CODES, dtype=np.uint8)
        agrees = np.full((len(leaf), _CODES), _CODES - 1, dtype=np.uint8)
        for d, place in enumerate(codes.place[:, leaves]):
            bit = every >> (_BITS - 1 - place).astype(np.uint8)[:, None] & 1
            against = (bit != paths.goes_left[d, leaf][:, None]) & ~paths.alone[leaf][:, None]
            agrees &= ~(against.astype(np.uint8) << paths.slot[d, leaf].astype(np.uint8)[:, None])
        return agrees

    # ---- from rows to codes

    def _answers(self, M: Floats) -> Bools:
        """Answer each question (row) for each row of M (column), and one more that nobody says yes to."""
        q, seen = self._questions, self._compared(M)
        out = np.empty((len(q.place) + 1, len(M)), dtype=bool)
        out[-1] = False
        if len(M) <= FEW:
            np.less_equal(seen[q.place[: q.numbers]], q.threshold[: q.numbers, None], out=out[: q.numbers])
            if q.numbers < len(q.place):
                out[q.numbers : -1] = self._holds(q.threshold[q.numbers :], seen[q.place[q.numbers :]])
            return out
        alike = seen[:, 0] == seen[:, -1]
        alike[alike] = (seen[alike] == seen[alike, :1]).all(axis=1)
        for start, end in pairwise(_runs(q.place)):
            place, threshold = q.place[start], q.threshold[start:end]
            values = seen[place, :1] if alike[place] else seen[place]  # what is alike in all rows, once
            if start >= q.numbers:
                out[start:end] = self._holds(threshold, values)
            else:
                np.less_equal(values, threshold[:, None], out=out[start:end])
        return out

    def _compared(self, M: Floats) -> Floats:
        """Give what nodes compare, in a row for each column that is asked about."""
        X = M.T.take(self._questions.columns, axis=0)
        np.putmask(X, np.abs(X) <= ZERO, 0.0)
        for kind, some in self._questions.kinds:
            self._mend(X[some], kind)
        return X

    def _mend(self, x: Floats, kind: int) -> None:
        """Put in what nodes of a kind compare: missing numbers as the infinity on their side."""
        missing, default_left = divmod(kind, 2)
        if kind == _CATEGORY:
            np.putmask(x, ~((x > -1) & (x < _NO_CODE)), _NO_CODE)
        elif missing == 0:
            np.putmask(x, np.isnan(x), 0.0)
        elif missing == 1 or default_left:  # else NaN stays: it is at most nothing
            absent = np.isnan(x) | (x == 0) if missing == 1 else np.isnan(x)
            np.putmask(x, absent, -np.inf if default_left else np.inf)

    def _holds(self, sets: Floats, codes: Floats) -> Bools:
        """Say whether each set (row) has the codes, which are in one row for all or in a row each."""
        first, size, members = self._members
        some = sets.astype(np.int64)[:, None]
        code = np.minimum(codes.astype(np.int64), widest := size[some].max())
        each = np.arange(widest + 1) if code.ndim == 1 and code.size > widest else code
        holds: Bools = members.take(np.minimum(each, size[some]) + first[some])
        return holds if each is code else holds.take(code, axis=1)  # fewer codes than rows: each asked once

    def _codes_of(self, answers: Bools) -> Bytes:
        """Put the answers together: the code of each unit (row) for each row of X (column)."""
        bits = answers.view(np.uint8)
        codes: Bytes = bits.take(self._codes.question[0], axis=0)
        for question in self._codes.question[1:]:
            codes += codes
            codes += bits.take(question, axis=0)
        return codes

    # ---- from codes to numbers

    def _margin(self, answers: Bools, codes: Bytes) -> Floats:
        out = np.zeros((len(self.ends), answers.shape[1]))
        if self._long:
            self._walk(answers, out)
        else:
            _add(self._value, np.arange(len(self._value)), self._of, codes, out)
        return out[:, None]

    def _contributions(self, answers: Bools, codes: Bytes) -> Floats:
        forests, columns, n = len(self.ends), len(self.forest.columns), answers.shape[1]
        out = np.zeros((forests * columns, n))
        place, unit, table = self._phi
        _add(table, unit, place, codes, out)
        self._add_long(answers, out)
        return out.reshape(forests, columns, n)

    # ---- what has no tables

    def _walk(self, answers: Bools, out: Floats) -> None:
        """Add up the one leaf of each tree whose whole path agrees, and zeros for the others."""
        paths, asks, n = self._paths, self._questions.of_node[self._paths.node], answers.shape[1]
        at_once = max(1, _AT_ONCE // max(1, n))
        runs = enumerate(pairwise([0, *self._leaf_ends.tolist()]))
        cuts = ((k, slice(*cut)) for k, run in runs for cut in pairwise([*range(*run, at_once), run[1]]))
        for k, leaves in cuts:
            agrees = np.ones((len(paths.alone[leaves]), n), dtype=bool)
            for question, goes_left in zip(asks[:, leaves], paths.goes_left[:, leaves], strict=True):
                agrees &= answers[question] == goes_left[:, None]
            agrees |= paths.alone[leaves][:, None]
            values = np.where(agrees, self.forest.leaf_value[leaves][:, None], 0.0)
            out[k] = in_order(out[k], values)

    def _add_long(self, answers: Bools, out: Floats) -> None:
        """Add the SHAP values of units without tables: computed for each way in which rows decide there."""
        of_node, start = self._questions.of_node, 0
        while start < len(self._long):
            units, kinds, size = list[Unit](), list[tuple[Ints, Ints]](), 0
            while start < len(self._long) and size < _AT_ONCE:
                unit = self._long[start]
                kinds.append(_alike(answers[of_node[list(unit.nodes)]]))
                units.append(unit)
                size += len(kinds[-1][0]) * len(unit.leaves)
                start += 1
            table = self._shap(answers, units, [first for first, _ in kinds])
            end = 0
            for unit, (first, kind) in zip(units, kinds, strict=True):
                begin, end = end, end + len(first)
                first_place = self._leaf_ends.searchsorted(unit.leaves.start, side="right") * len(table)
                for j in np.unique(self.forest.feature[list(unit.nodes)]):
                    out[first_place + j] += table[j, begin:end][kind]

    def _shap(self, answers: Bools, units: list[Unit], rows: list[Ints]) -> Floats:
        """Give the SHAP values of each unit for the rows of X named for it, all after another, by column."""
        paths, columns, asks = self._paths, len(self.forest.columns), self._questions.of_node
        counts = np.array([len(some) for some in rows], dtype=np.int64)
        leaves = np.repeat(np.array([len(unit.leaves) for unit in units], dtype=np.int64), counts)
        row = np.repeat(np.arange(len(leaves)), leaves)  # pairs of a row and a leaf
        starts = np.repeat(np.array([unit.leaves.start for unit in units], dtype=np.int64), counts)
        leaf = np.arange(len(row)) + (starts - np.cumsum(leaves) + leaves)[row]
        x = np.concatenate(rows)[row]
        agrees = np.empty((len(paths.node), len(row)), dtype=bool)
        for d, (node, goes_left, slot) in enumerate(
            zip(paths.node, paths.goes_left, paths.slot, strict=True)
        ):
            agrees[d] = answers[asks[node[leaf]], x] == goes_left[leaf]
            again = np.flatnonzero((slot != d)[leaf])
            agrees[slot[leaf[again]], again] &= agrees[d, again]
            agrees[d, again] = True
        phi = owen(agrees, paths.share[:, leaf], self.forest.leaf_value[leaf], paths.distinct)
        table = np.zeros(columns * len(leaves))
        for values, feature in zip(phi, paths.feature, strict=True):
            table += np.bincount((feature * len(leaves))[leaf] + row, values, minlength=len(table))
        return table.reshape(columns, len(leaves))


def _cut(forest: "Forest", paths: Paths) -> Iterator[Unit]:
    """Cut the trees into runs of leaves whose paths have at most eight nodes together, or one leaf."""
    steps = paths.node.T.tolist()
    for first, end in zip(forest._first_leaf.tolist(), forest._first_leaf[1:].tolist(), strict=False):
        start, nodes = first, set[int]()
        for leaf in range(first, end) if end - first > 1 else ():
            wider = nodes.union(steps[leaf])
            if nodes and len(wider) > _BITS:
                yield Unit(range(start, leaf), tuple(sorted(nodes)))
                start, wider = leaf, set(steps[leaf])
            nodes = wider
        yield Unit(range(start, end), tuple(sorted(nodes)))


def _add(table: Floats, unit: Ints, column: Ints, codes: Bytes, out: Floats) -> None:
    """Add what each row of a table holds for its unit's codes to its row of `out`, one after the other."""
    n = codes.shape[1]
    most = max(1, min(len(table), _AT_ONCE // max(1, n)))
    few = len(table) <= most
    index, values = np.empty((most, n), dtype=np.int64), np.empty((most, n))
    for start in range(0, len(table), most):
        some = slice(start, start + most)
        size = len(table[some])
        index[:size] = codes.take(unit[some], axis=0)
        index[:size] += np.arange(size)[:, None] * _CODES
        table[some].ravel().take(index[:size], out=values[:size], mode="clip")
        if few:
            place = column[:, None] * n + np.arange(n)
            out += np.bincount(place.ravel(), values.ravel(), minlength=out.size).reshape(out.shape)
        else:
            for first, end in pairwise(_runs(column[some])):
                row = out[column[start + first]]
                row[:] = in_order(row, values[first:end])


def _runs(values: Ints | Floats) -> list[int]:
    """Say where runs of equal values begin, and where the last one ends."""
    new = np.flatnonzero(values[1:] != values[:-1]) + 1
    return [0, *new.tolist(), len(values)] if len(values) else []


def in_order(total: Floats, values: Floats) -> Floats:
    """Add rows to a total one after the other: NumPy would sum a single column in pairs, with other bits.

    Parameters
    ----------
    total : array of shape (n,)
    values : array of shape (at least 1, n), row-contiguous
        Used up.

    Returns
    -------
    array of shape (n,)

    Examples
    --------
    >>> in_order(np.array([1.0]), np.array([[2.0], [3.0]]))
    array([6.])
    """
    values[0] += total
    few = len(total) <= FEW
    added: Floats = np.add.accumulate(values, axis=0)[-1] if few else np.add.reduce(values, axis=0)
    return added


def _alike(answers: Bools) -> tuple[Ints, Ints]:
    """Find the rows of X (columns) that decide alike: one of each kind, and the kind of each."""
    n = answers.shape[1]
    if n <= FEW:
        return np.arange(n), np.arange(n)
    kind: Ints = np.zeros(n, dtype=np.int64)
    for byte in np.packbits(answers, axis=0):
        kind = pd.factorize(kind << 8 | byte)[0].astype(np.int64)
    first = np.empty(int(kind.max()) + 1, dtype=np.int64)
    first[kind] = np.arange(n)
    return first, kind
