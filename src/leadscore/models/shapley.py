"""Exact SHAP values of trees, leaf by leaf: the paths to the leaves, and Owen's integral over coalitions."""

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from leadscore.models.matrix import Bools, Floats

if TYPE_CHECKING:
    from leadscore.models.forest import Forest

Ints: TypeAlias = NDArray[np.int64]


class Paths(NamedTuple):
    """The steps from each leaf (column) up to its root (rows); short paths repeat their first step."""

    node: Ints
    goes_left: Bools
    slot: Ints  # where a step's feature is gathered: the lowest step that asks for it
    feature: Ints  # a slot's feature
    share: Floats  # the share of the training rows that a slot's steps let through
    alone: Bools  # leaves without a step: each is its whole tree
    distinct: int  # the most features on any path


def paths_of(forest: "Forest") -> Paths:
    """Lay out the paths of all leaves of a forest."""
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
    alone = parent[~each] < 0
    return Paths(rows[0], rows[1].astype(bool), rows[2], rows[3], shares, alone, int(used.max(initial=0)))


def owen(agrees: Bools, share: Floats, value: Floats, distinct: int) -> Floats:
    """Give what each slot of a leaf's path moves the tree by.

    For a leaf of value v with k distinct columns on its path, where column j lets a share z_j of the
    training rows through and o_j says whether a row agrees, Owen's (1972) integral gives

        phi_i = v (o_i - z_i) * integral over t in [0, 1] of prod_{j != i} (z_j + t (o_j - z_j)),

    a polynomial of degree k - 1, so that Gauss-Legendre with k / 2 nodes, rounded up, is exact.

    Parameters
    ----------
    agrees, share : arrays of shape (slots, ...)
        o and z; 1 and 1 for a slot that is not used.
    value : array of shape (...)
    distinct : int
        The most slots in use.

    Returns
    -------
    array of shape (slots, ...)
    """
    nodes, weights = np.polynomial.legendre.leggauss(max(1, (distinct + 1) // 2))
    step = agrees - share
    integral = np.zeros(step.shape)
    for t, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        factor = share + t * step
        others = np.empty(step.shape)  # the product of the slots before, then times those after
        product = np.full(step.shape[1:], weight)
        for i in range(len(factor)):
            others[i] = product
            product = product * factor[i]
        product = np.ones(step.shape[1:])
        for i in reversed(range(len(factor))):
            others[i] *= product
            product = product * factor[i]
        integral += others
    return value * step * integral
