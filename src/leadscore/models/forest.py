"""Trees as tables: LightGBM trains, a `Forest` serves its margins and exact SHAP values with NumPy alone."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from leadscore.errors import ModelError, explain
from leadscore.files import pack_arrays, unpack_arrays
from leadscore.models.matrix import Bools, Column, Floats

Ints: TypeAlias = NDArray[np.int64]

ZERO = float(np.float32(1e-35))  # what LightGBM takes for zero (its kZeroThreshold)
_MISSING = {"None": 0, "Zero": 1, "NaN": 2}  # LightGBM's missing types: which value counts as missing
_ARRAYS: Mapping[str, type[np.generic]] = {
    "inner": np.int32,  # a tree: how many inner nodes it has; it has one leaf more
    "feature": np.int32,  # a node, and so on until cover
    "threshold": np.float64,
    "missing": np.uint8,
    "default_left": np.uint8,
    "category_set": np.int32,  # -1: a number, compared with the threshold
    "left": np.int32,  # a node of the same tree, or ~leaf
    "right": np.int32,
    "cover": np.int64,
    "leaf_value": np.float64,
    "leaf_cover": np.int64,
    "set_start": np.int64,  # where each category set begins in set_bits, and where the last one ends
    "set_bits": np.uint32,
}
_ROWS, _AT_ONCE = 1 << 13, 1 << 18  # rows of X, and decisions for them, held at a time: some megabytes


@dataclass(frozen=True, eq=False)
class Forest:
    """A boosted forest as flat arrays: nodes and leaves of all trees, one tree after the other.

    Parameters
    ----------
    columns : tuple of Column
        What the features are.
    inner : array of shape (trees,), int32
        Inner nodes of each tree; a tree without any is one leaf.
    feature, category_set, left, right : arrays of shape (nodes,), int32
        The feature a node asks for; its category set, or -1 for a threshold; its children, as a node
        of the same tree (always a later one) or as ~leaf.
    threshold : array of shape (nodes,), float64
        A number goes left when it is at most this.
    missing : array of shape (nodes,), uint8
        0: nothing is missing, and NaN counts as 0; 1: zero and NaN are missing; 2: NaN is missing.
    default_left : array of shape (nodes,), uint8
        1 where missing numbers go left. Missing and unknown categories go right.
    cover, leaf_cover : arrays of shape (nodes,) and (leaves,), int64
        How many training rows came by.
    leaf_value : array of shape (leaves,), float64
    set_start, set_bits : arrays of int64 and uint32
        The category sets as bits: the words of set i are set_bits[set_start[i]:set_start[i + 1]].

    Raises
    ------
    ModelError
        The arrays do not describe a forest.
    """

    kind: ClassVar[str] = "forest"

    columns: tuple[Column, ...]
    inner: NDArray[np.int32]
    feature: NDArray[np.int32]
    threshold: Floats
    missing: NDArray[np.uint8]
    default_left: NDArray[np.uint8]
    category_set: NDArray[np.int32]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    cover: Ints
    leaf_value: Floats
    leaf_cover: Ints
    set_start: Ints
    set_bits: NDArray[np.uint32]

    def __post_init__(self) -> None:
        _check(self)

    @classmethod
    def from_dump(cls, dump: Mapping[str, Any], columns: Sequence[Column]) -> "Forest":
        """Read a LightGBM model from what `Booster.dump_model()` gives.

        Parameters
        ----------
        dump : mapping
            One output a row, no linear trees, no averaging.
        columns : sequence of Column
            What the booster's features are, in their order.

        Returns
        -------
        Forest

        Raises
        ------
        ModelError
            The model is of a kind that these tables cannot hold.

        Examples
        --------
        >>> tree = {
        ...     "split_feature": 0, "decision_type": "<=", "threshold": 2.5,
        ...     "missing_type": "NaN", "default_left": True, "internal_count": 10,
        ...     "left_child": {"leaf_value": -1.0, "leaf_count": 8},
        ...     "right_child": {"leaf_value": 1.0, "leaf_count": 2},
        ... }
        >>> dump = {"num_tree_per_iteration": 1, "average_output": False}
        >>> dump["tree_info"] = [{"tree_structure": tree}]
        >>> forest = Forest.from_dump(dump, [Column("visits")])
        >>> forest.margin(np.array([[1.0], [4.0], [np.nan]])).tolist()
        [-1.0, 1.0, -1.0]
        >>> base, parts = forest.contributions(np.array([[4.0]]))
        >>> round(base, 9), parts.round(9).tolist()
        (-0.6, [[1.6]])
        """
        if dump["num_tree_per_iteration"] != 1 or dump["average_output"]:
            found = f"{dump['num_tree_per_iteration']} outputs, averaged: {dump['average_output']}"
            raise ModelError(explain("a boosted model with one output", found, "train a binary model"))
        rows = _Rows()
        for tree in dump["tree_info"]:
            rows.add_tree(tree["tree_structure"])
        return cls(tuple(columns), **rows.arrays())

    @property
    def drivers(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def driver_columns(self) -> tuple[tuple[str, ...], ...]:
        """Each column stands behind its own driver."""
        return tuple((column.name,) for column in self.columns)

    def margin(self, M: Floats) -> Floats:
        """Add up the trees in their order, in double: LightGBM's raw score to the last bit.

        Parameters
        ----------
        M : array of shape (n, columns)

        Returns
        -------
        array of shape (n,)
        """
        margin = np.zeros(len(M))
        for rows in _blocks(len(M)):
            values = self._values(M[rows])
            for trees in self._groups(values.shape[1]):
                for leaf in self._leaves(trees, self._decisions(trees, values)):
                    margin[rows] += self.leaf_value[leaf]
        return margin

    def contributions(self, M: Floats) -> tuple[float, Floats]:
        """Give exact SHAP values: what each column moves the margin by, from the average of training on.

        The value of a coalition is the tree's expectation when absent columns follow the training rows
        (Lundberg et al. 2020, "tree path dependent"). For a leaf of value v with k distinct columns on
        its path, where column j lets a share z_j of the rows through and o_j says whether this row
        agrees, Owen's (1972) integral gives

            phi_i = v (o_i - z_i) * integral over t in [0, 1] of prod_{j != i} (z_j + t (o_j - z_j)),

        a polynomial of degree k - 1, so that Gauss-Legendre with k / 2 nodes, rounded up, is exact.
        Rows that decide alike in a unit of neighbouring leaves share its values; these are computed once.

        Parameters
        ----------
        M : array of shape (n, columns)

        Returns
        -------
        base : float
            The average margin of the training rows.
        contributions : array of shape (n, columns)
            base plus a row's sum is its margin, within rounding.
        """
        out = np.zeros((len(self.columns), len(M)))
        for rows in _blocks(len(M)):
            self._add_contributions(M[rows], out[:, rows])
        return self._base, out.T

    def to_files(self) -> dict[str, bytes]:
        """Give the saved form, forest.npz: no compression, no dates, so that equal models are equal bytes."""
        columns = json.dumps([column.to_dict() for column in self.columns]).encode()
        arrays = {"columns": np.frombuffer(columns, np.uint8)}
        arrays |= {name: getattr(self, name) for name in _ARRAYS}
        return {"forest.npz": pack_arrays(arrays)}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> "Forest":
        """Read what `to_files` gave, checking everything: nothing in the file is trusted.

        Raises
        ------
        ModelError
            The file is absent, or does not hold a forest.
        """
        try:
            arrays = unpack_arrays(files["forest.npz"])
            columns = json.loads(arrays.pop("columns").tobytes())
        except (KeyError, ValueError, RecursionError):
            raise _unreadable("none") from None
        if set(arrays) != set(_ARRAYS):
            raise _unreadable("other arrays")
        if not isinstance(columns, list):
            raise _unreadable("no list of columns")
        return cls(tuple(Column.from_dict(column) for column in columns), **arrays)

    # ---- what follows from the arrays, computed when first needed

    @cached_property
    def _first_node(self) -> Ints:
        return np.concatenate([[0], np.cumsum(self.inner, dtype=np.int64)])

    @cached_property
    def _first_leaf(self) -> Ints:
        return self._first_node + np.arange(len(self.inner) + 1)

    @cached_property
    def _children(self) -> tuple[Ints, Ints]:
        """Right and left child of each node, numbered across trees: a node, or ~leaf."""
        node = np.repeat(self._first_node[:-1], self.inner)
        leaf = np.repeat(self._first_leaf[:-1], self.inner)
        right, left = (
            np.where(child >= 0, child + node, ~(~child + leaf)) for child in (self.right, self.left)
        )
        return right, left

    @cached_property
    def _parent(self) -> Ints:
        """The node above each node, and above each leaf by ~leaf (counted from the end); -1 above a root."""
        right, left = self._children
        parent = np.full(len(self.feature) + len(self.leaf_value), -1)
        parent[right] = parent[left] = np.arange(len(self.feature))
        return parent

    @cached_property
    def _members(self) -> Bools:
        """Whether a set (row) has a code (column); the last column stands for missing and too large."""
        width = 32 * int(np.diff(self.set_start).max(initial=0))
        members = np.zeros((len(self.set_start) - 1, width + 1), dtype=bool)
        for i, (start, end) in enumerate(zip(self.set_start, self.set_start[1:], strict=False)):
            words = self.set_bits[start:end].astype("<u4").view(np.uint8)
            members[i, : 8 * len(words)] = np.unpackbits(words, bitorder="little")
        return members

    @cached_property
    def _base(self) -> float:
        """The average margin: tree by tree, each leaf weighted with its share of the training rows."""
        base = 0.0
        for tree, inner in enumerate(self.inner):
            leaf = slice(self._first_leaf[tree], self._first_leaf[tree + 1])
            total = self.cover[self._first_node[tree]] if inner else self.leaf_cover[leaf][0]
            base += float((self.leaf_cover[leaf] / total * self.leaf_value[leaf]).sum())
        return base

    @cached_property
    def _paths(self) -> "_Paths":
        return _paths(self)

    @cached_property
    def _units(self) -> "list[_Unit]":
        return _units(self)

    @cached_property
    def _first_unit(self) -> Ints:
        """Where each tree's units begin, and where the last one's end."""
        return np.searchsorted([unit.leaves.start for unit in self._units], self._first_leaf)

    # ---- walking the trees

    def _groups(self, n: int) -> Iterator[range]:
        """Cut the trees into runs whose decisions for n rows fit in memory comfortably."""
        start = 0
        while start < len(self.inner):
            full = self._first_leaf[start] + _AT_ONCE // max(n, 1)
            end = max(int(np.searchsorted(self._first_leaf, full, side="right")) - 1, start + 1)
            yield range(start, end)
            start = end

    def _values(self, M: Floats) -> Floats:
        """Lay out what nodes compare: features by missing type and side, missing as that side's infinity."""
        x = np.where(np.abs(M.T) <= ZERO, 0.0, M.T)
        none = np.where(np.isnan(x), 0.0, x)
        sides = [
            np.where(missing, infinity, x)
            for missing in (none == 0, np.isnan(x))
            for infinity in (np.inf, -np.inf)
        ]
        return np.concatenate([none, none, *sides])

    def _decisions(self, trees: range, values: Floats) -> Bools:
        """Say for each node of these trees (row) and each row of X (column) whether it goes left."""
        nodes = slice(self._first_node[trees.start], self._first_node[trees.stop])
        kind = 2 * self.missing[nodes].astype(np.int64) + self.default_left[nodes]
        left: Bools = values[kind * len(self.columns) + self.feature[nodes]] <= self.threshold[nodes, None]
        sets = self.category_set[nodes]
        asks = np.flatnonzero(sets >= 0)
        if len(asks):
            raw = values[4 * len(self.columns) + self.feature[nodes][asks]]
            last = self._members.shape[1] - 1
            code = np.where((raw > -1) & (raw < last), raw, last).astype(np.int64)
            left[asks] = self._members[sets[asks, None], code]
        return left

    def _add_contributions(self, M: Floats, out: Floats) -> None:
        values = self._values(M)
        for trees in self._groups(len(M)):
            left = self._decisions(trees, values)
            units = self._units[self._first_unit[trees.start] : self._first_unit[trees.stop]]
            alike = [_alike(left[unit.nodes - self._first_node[trees.start]]) for unit in units]
            table = self._shap(trees, left, units, [first for first, _ in alike])
            start = 0
            for unit, (first, kind) in zip(units, alike, strict=True):
                for feature in unit.features:
                    out[feature] += table[feature, start : start + len(first)][kind]
                start += len(first)

    def _leaves(self, trees: range, left: Bools) -> Ints:
        """Give the leaf of each tree (row) that each row of X (column) ends in."""
        children = np.stack(self._children)
        start, rows = self._first_node[trees.start], np.arange(left.shape[1])
        root = np.where(
            self.inner[trees.start : trees.stop] > 0,
            self._first_node[trees.start : trees.stop],
            ~self._first_leaf[trees.start : trees.stop],
        )
        at = np.repeat(root[:, None], len(rows), axis=1)
        while (inside := at >= 0).any():
            node = np.where(inside, at, start)
            at = np.where(inside, children[left[node - start, rows].astype(np.int64), node], at)
        return ~at

    def _shap(self, trees: range, left: Bools, units: "Sequence[_Unit]", rows: Sequence[Ints]) -> Floats:
        """Give the SHAP values of each unit for the rows of X named for it, all after another, by column."""
        paths = self._paths
        counts = np.array([len(some) for some in rows], dtype=np.int64)
        leaves = np.repeat(np.array([len(unit.leaves) for unit in units], dtype=np.int64), counts)
        row = np.repeat(np.arange(len(leaves)), leaves)  # pairs of a row and a leaf
        starts = np.repeat(np.array([unit.leaves.start for unit in units], dtype=np.int64), counts)
        leaf = np.arange(len(row)) + (starts - np.cumsum(leaves) + leaves)[row]
        x = np.concatenate([np.empty(0, np.int64), *rows])[row]
        agrees = np.empty((len(paths.node), len(row)), dtype=bool)
        for d, (node, goes_left, slot) in enumerate(
            zip(paths.node, paths.goes_left, paths.slot, strict=True)
        ):
            agrees[d] = left[(node - self._first_node[trees.start])[leaf], x] == goes_left[leaf]
            again = np.flatnonzero((slot != d)[leaf])
            agrees[slot[leaf[again]], again] &= agrees[d, again]
            agrees[d, again] = True
        phi = _owen(agrees, paths.share[:, leaf], self.leaf_value[leaf], paths.distinct)
        table = np.zeros(len(self.columns) * len(leaves))
        for values, feature in zip(phi, paths.feature, strict=True):
            table += np.bincount((feature * len(leaves))[leaf] + row, values, minlength=len(table))
        return table.reshape(len(self.columns), len(leaves))


def _blocks(n: int) -> Iterator[slice]:
    """Cut many rows into blocks, so that memory does not grow with them."""
    return (slice(start, min(start + _ROWS, n)) for start in range(0, n, _ROWS))


class _Unit(NamedTuple):
    """Neighbouring leaves of a tree, few enough that rows decide in few ways between them."""

    leaves: range
    nodes: Ints  # all nodes on their paths
    features: tuple[int, ...]  # what these ask for


def _units(forest: Forest) -> list[_Unit]:
    """Cut the trees into runs of leaves whose paths have at most `_WORD` nodes together, or one leaf."""
    units: list[_Unit] = []
    paths = forest._paths.node.T.tolist()
    for first, end in zip(forest._first_leaf, forest._first_leaf[1:], strict=False):
        start, nodes = int(first), set[int]()
        for leaf in range(int(first), int(end)) if end - first > 1 else ():
            wider = nodes | set(paths[leaf])
            if nodes and len(wider) > _WORD:
                units.append(_unit(forest, range(start, leaf), nodes))
                start, wider = leaf, set(paths[leaf])
            nodes = wider
        if nodes:
            units.append(_unit(forest, range(start, int(end)), nodes))
    return units


def _unit(forest: Forest, leaves: range, nodes: set[int]) -> _Unit:
    asked = np.array(sorted(nodes))
    return _Unit(leaves, asked, tuple(np.unique(forest.feature[asked]).tolist()))


class _Paths(NamedTuple):
    """The steps from each leaf (column) up to its root (rows); short paths repeat their first step."""

    node: Ints
    goes_left: Bools
    slot: Ints  # where a step's feature is gathered: the lowest step that asks for it
    feature: Ints  # a slot's feature
    share: Floats  # the share of the training rows that a slot's steps let through
    distinct: int  # the most features on any path


def _paths(forest: Forest) -> _Paths:
    leaves, parent, left = len(forest.leaf_value), forest._parent, forest._children[1]
    cover = np.concatenate([forest.cover, forest.leaf_cover[::-1]])
    each, at = np.arange(leaves), ~np.arange(leaves)
    shares, used = np.empty((0, leaves)), np.zeros(leaves, dtype=np.int64)
    steps: list[tuple[NDArray[Any], ...]] = []
    while (up := parent[at] >= 0).any():
        depth = len(steps)
        first_node, first_left = steps[0][:2] if steps else (np.intp(0), np.False_)
        node = np.where(up, parent[at], first_node)
        feature = forest.feature[node].astype(np.int64)
        slot = np.full(leaves, depth)
        for d in reversed(range(depth)):
            slot[steps[d][3] == feature] = d
        shares = np.concatenate([shares, np.ones((1, leaves))])
        shares[slot, each] *= np.where(up, cover[at] / cover[node], 1.0)
        used += slot == depth
        steps.append((node, np.where(up, left[node] == at, first_left), slot, feature))
        at = np.where(up, node, at)
    rows = [np.array([step[i] for step in steps]).reshape(len(steps), leaves) for i in range(4)]
    return _Paths(rows[0], rows[1], rows[2], rows[3], shares, int(used.max(initial=0)))


def _owen(agrees: Bools, share: Floats, value: Floats, distinct: int) -> Floats:
    """Evaluate the integral in `Forest.contributions` for pairs of a row and a leaf, shape (slots, pairs)."""
    nodes, weights = np.polynomial.legendre.leggauss(max(1, (distinct + 1) // 2))
    step = agrees - share
    integral = np.zeros(step.shape)
    for t, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        factor = share + t * step
        others = np.empty(step.shape)  # the product of the slots before, then times those after
        product = np.full(len(value), weight)
        for i in range(len(factor)):
            others[i] = product
            product = product * factor[i]
        product = np.ones(len(value))
        for i in reversed(range(len(factor))):
            others[i] *= product
            product = product * factor[i]
        integral += others
    return value * step * integral


def _alike(left: Bools) -> tuple[Ints, Ints]:
    """Find the rows of X (columns) that decide alike: one of each kind, and the kind of each."""
    n = left.shape[1]
    if n <= _FEW:
        return np.arange(n), np.arange(n)
    kind: Ints = np.zeros(n, dtype=np.int64)
    for byte in np.packbits(left, axis=0):
        kind = pd.factorize(kind << 8 | byte)[0].astype(np.int64)
    first = np.empty(int(kind.max()) + 1, dtype=np.int64)
    first[kind] = np.arange(n)
    return first, kind


_FEW = 32  # so few rows that looking for those alike costs more than it saves
_WORD = 8  # nodes of a unit: their decisions fit in a byte


class _Rows:
    """Nodes and leaves as they are read from a dump, one list an array."""

    def __init__(self) -> None:
        self.lists: dict[str, list[Any]] = {name: [] for name in _ARRAYS} | {"set_start": [0]}

    def add_tree(self, tree: Mapping[str, Any]) -> None:
        """Append a tree's nodes and leaves, parents before children."""
        rows, first_node, first_leaf = self.lists, len(self.lists["feature"]), len(self.lists["leaf_value"])
        waiting: list[tuple[Mapping[str, Any], str, int]] = [(tree, "left", -1)]
        while waiting:
            node, side, parent = waiting.pop()
            if "split_feature" in node:
                index = len(rows["feature"]) - first_node
                self._add_node(node)
                place = first_node + index
                waiting += [(node["right_child"], "right", place), (node["left_child"], "left", place)]
            else:
                index = ~(len(rows["leaf_value"]) - first_leaf)
                self._add_leaf(node)
            if parent >= 0:
                rows[side][parent] = index
        rows["inner"].append(len(rows["feature"]) - first_node)

    def _add_node(self, node: Mapping[str, Any]) -> None:
        rows = self.lists
        is_set = node["decision_type"] == "=="
        rows["feature"].append(node["split_feature"])
        rows["threshold"].append(0.0 if is_set else node["threshold"])
        rows["missing"].append(_MISSING[node["missing_type"]])
        rows["default_left"].append(node["default_left"])
        rows["category_set"].append(len(rows["set_start"]) - 1 if is_set else -1)
        rows["left"].append(0)
        rows["right"].append(0)
        rows["cover"].append(node["internal_count"])
        if is_set:
            codes = np.array(node["threshold"].split("||"), dtype=np.int64)
            words = np.zeros(codes.max() // 32 + 1, dtype=np.uint32)
            np.bitwise_or.at(words, codes // 32, np.uint32(1) << (codes % 32).astype(np.uint32))
            rows["set_bits"].extend(words.tolist())
            rows["set_start"].append(len(rows["set_bits"]))

    def _add_leaf(self, leaf: Mapping[str, Any]) -> None:
        if "leaf_const" in leaf:
            raise ModelError(explain("leaves of one value", "linear ones", "train without linear_tree"))
        self.lists["leaf_value"].append(leaf["leaf_value"])
        self.lists["leaf_cover"].append(max(1, leaf.get("leaf_count", 1)))

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {name: np.array(self.lists[name], dtype=dtype) for name, dtype in _ARRAYS.items()}


# ---- checking what came from a file


def _check(forest: Forest) -> None:
    """Refuse arrays that do not describe a forest, before anything is computed from them."""
    for holds, found in _claims(forest):
        if not holds:
            raise _unreadable(found)


def _claims(f: Forest) -> Iterator[tuple["bool | np.bool_", str]]:
    """Say one thing after another that a forest's arrays must fulfil; each may rely on those before."""
    for name, dtype in _ARRAYS.items():
        array = getattr(f, name)
        yield array.ndim == 1 and array.dtype == dtype, f"{name} of another shape or type"
    trees, nodes, leaves = len(f.inner), len(f.feature), len(f.leaf_value)
    of_nodes = ("threshold", "missing", "default_left", "category_set", "left", "right", "cover")
    yield all(len(getattr(f, name)) == nodes for name in of_nodes), "node arrays of several lengths"
    yield len(f.leaf_cover) == leaves == nodes + trees, "another number of leaves"
    yield _within(f.inner, 0, nodes) and f.inner.sum(dtype=np.int64) == nodes, "trees of another size"
    yield _within(f.feature, 0, len(f.columns) - 1), "a feature out of range"
    yield _within(f.missing, 0, 2) and _within(f.default_left, 0, 1), "an unknown direction"
    yield np.isfinite(f.threshold).all() and np.isfinite(f.leaf_value).all(), "infinite numbers"
    yield len(f.set_start) > 0 and f.set_start[0] == 0, "category sets of another size"
    yield f.set_start[-1] == len(f.set_bits), "category sets of another size"
    yield _within(np.diff(f.set_start), 0, _WIDEST_SET), "category sets of another size"
    yield _within(f.category_set, -1, len(f.set_start) - 2), "a category set out of range"
    yield _within(f.cover, 1, _MOST_ROWS) and _within(f.leaf_cover, 1, _MOST_ROWS), "an impossible cover"
    place = np.arange(nodes) - np.repeat(f._first_node[:-1], f.inner)
    size = np.repeat(f.inner, f.inner)
    for child in (f.left, f.right):
        later = (child > place) & (child < size)
        yield np.where(child >= 0, later, ~child <= size).all(), "a child out of range"
    children = np.concatenate(f._children)
    parents = np.bincount(np.where(children >= 0, children, nodes + ~children), minlength=nodes + leaves)
    roots = np.where(f.inner > 0, f._first_node[:-1], nodes + f._first_leaf[:-1])
    parents[roots] += 1
    yield (parents == 1).all(), "nodes that form no tree"
    cover = np.concatenate([f.cover, f.leaf_cover[::-1]])
    right, left = f._children
    yield (cover[left] + cover[right] == f.cover).all(), "covers that do not add up"

    at = ~np.arange(leaves)
    for _ in range(_DEEPEST):
        at = np.where(f._parent[at] >= 0, f._parent[at], at)
    yield (f._parent[at] < 0).all(), f"trees deeper than {_DEEPEST}"


_DEEPEST = 128  # paths are laid out in full, so their length is bounded
_WIDEST_SET = 1 << 11  # words of 32 codes
_MOST_ROWS = 1 << 52


def _within(values: NDArray[Any], low: int, high: int) -> bool:
    return not len(values) or bool(values.min() >= low and values.max() <= high)


def _unreadable(found: str) -> ModelError:
    return ModelError(explain("the arrays of a forest in forest.npz", found, "restore the model's files"))
