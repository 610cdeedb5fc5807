"""Trees as tables: LightGBM trains, a `Forest` serves its margins and exact SHAP values with NumPy alone."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from leadscore.errors import ModelError, explain
from leadscore.files import pack_arrays, unpack_arrays
from leadscore.models.lookup import Lookup
from leadscore.models.matrix import Column, Floats
from leadscore.models.shapley import Ints

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

    @cached_property
    def used(self) -> frozenset[str]:
        """The columns that nodes ask for."""
        return frozenset(self.columns[j].name for j in np.unique(self.feature))

    def margin(self, M: Floats) -> Floats:
        """Add up the trees in their order, in double: LightGBM's raw score to the last bit.

        Parameters
        ----------
        M : array of shape (n, columns)

        Returns
        -------
        array of shape (n,)
        """
        margin: Floats = self._lookup.margin(M)[0]
        return margin

    def contributions(self, M: Floats) -> tuple[float, Floats]:
        """Give exact SHAP values: what each column moves the margin by, from the average of training on.

        The value of a coalition is the tree's expectation when absent columns follow the training rows
        (Lundberg et al. 2020, "tree path dependent"); `shapley.owen` has the formula.

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
        return self.base, self._lookup.contributions(M)[0].T

    def explained(self, M: Floats) -> tuple[Floats, float, Floats]:
        """Give what `margin` and `contributions` give, to the last bit; trees are asked once.

        Parameters
        ----------
        M : array of shape (n, columns)

        Returns
        -------
        margin : array of shape (n,)
        base : float
        contributions : array of shape (n, columns)
        """
        margin, phi = self._lookup.explained(M)
        return margin[0], self.base, phi[0].T

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
    def base(self) -> float:
        """The average margin: tree by tree, each leaf weighted with its share of the training rows."""
        base = 0.0
        for tree, inner in enumerate(self.inner):
            leaf = slice(self._first_leaf[tree], self._first_leaf[tree + 1])
            total = self.cover[self._first_node[tree]] if inner else self.leaf_cover[leaf][0]
            base += float((self.leaf_cover[leaf] / total * self.leaf_value[leaf]).sum())
        return base

    @cached_property
    def _lookup(self) -> Lookup:
        return Lookup(self, (len(self.inner),))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what follows from the arrays: it is large, and soon computed again."""
        return {name: getattr(self, name) for name in ("columns", *_ARRAYS)}


def joined(forests: Sequence[Forest]) -> Forest:
    """Put the trees of forests over the same columns one after the other.

    Parameters
    ----------
    forests : sequence of Forest
        At least one.

    Returns
    -------
    Forest

    Examples
    --------
    >>> tree = {"tree_info": [{"tree_structure": {"leaf_value": 0.5}}]}
    >>> one = Forest.from_dump(tree | {"num_tree_per_iteration": 1, "average_output": False}, [Column("x")])
    >>> joined([one, one]).margin(np.zeros((1, 1)))
    array([1.])
    """
    arrays = {name: np.concatenate([getattr(forest, name) for forest in forests]) for name in _ARRAYS}
    sets = np.cumsum([0, *(len(forest.set_start) - 1 for forest in forests)])
    bits = np.cumsum([0, *(len(forest.set_bits) for forest in forests)])
    arrays["category_set"] = np.concatenate(
        [
            np.where(forest.category_set < 0, -1, forest.category_set + first).astype(np.int32)
            for forest, first in zip(forests, sets, strict=False)
        ]
    )
    starts = (forest.set_start[:-1] + first for forest, first in zip(forests, bits, strict=False))
    arrays["set_start"] = np.concatenate([*starts, bits[-1:]])
    return Forest(forests[0].columns, **arrays)


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
