"""Driver points as a `shap.Explanation`, for the plots of the shap library: the only file that imports it."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from leadscore.errors import MissingExtraError, explain
from leadscore.explain.concepts import concept_label, concepts_of
from leadscore.explain.drivers import driver_points, grouped
from leadscore.explain.phrases import USUAL, Phrases
from leadscore.features.declare import Feature
from leadscore.models.calibration import Scale, Sigmoid
from leadscore.models.matrix import Column, Floats, to_matrix
from leadscore.models.scorer import Scorer
from leadscore.models.sums import free_name

if TYPE_CHECKING:
    from types import ModuleType

    from shap import Explanation

# Words, since shap takes a column of words to hold nothing else, and warns of one that is all nan.
_MISSING, _NONE = "(missing)", "(none)"


def shap_explanation(
    scorer: Scorer,
    calibration: Sigmoid,
    scale: Scale,
    X: pd.DataFrame | NDArray[Any],
    *,
    features: Sequence[Feature] = (),
    phrases: Phrases = USUAL,
) -> "Explanation":
    """Give the driver points of leads as a `shap.Explanation`, ready for ``shap.plots``.

    The values are exact SHAP values, in points of the score: for each lead ``base_values + values.sum()``
    is its score before it is clipped to 0 to 100. Of a fitted classifier, pass ``served_`` and
    ``calibration_``.

    Parameters
    ----------
    scorer : Scorer
    calibration : Sigmoid
    scale : Scale
    X : DataFrame or array of shape (n, p)
        As the model was fitted on; columns are found by name.
    features : sequence of Feature, optional
        Declarations of X's columns: all drivers of one concept are then taken together, as cards and reports
        do, under its label. SHAP values add up, so that these are exact too.
    phrases : Phrases, optional
        The project's own words, for these labels.

    Returns
    -------
    shap.Explanation
        `values` of shape (n, d), one column for each of ``scorer.drivers``, which are the `feature_names`;
        `base_values` of shape (n,), the typical lead's score; `data` of shape (n, d), what the scorer read in
        the column behind each driver: numbers, and words for categories. A point table's drivers are its
        rules, and then the limit of its scale, which has no column: "(none)". Of a concept, the column with
        the largest points.

    Raises
    ------
    MissingExtraError
        The shap library is not installed.
    DataError
        X lacks a column, or holds another type than at training.

    Examples
    --------
    Which columns move the scores of a trained model, and in which direction::

        found = shap_explanation(
            bundle.scorer, bundle.calibration, bundle.scale, X, features=bundle.features
        )
        shap.plots.beeswarm(found)
    """
    shap = _require_shap()
    M = to_matrix(X, scorer.columns)
    split = driver_points(scorer, calibration, scale, M)
    data, names, points = _data(scorer, M), list(scorer.drivers), split.points
    if features:
        data, names, points = _by_concept(scorer, {f.name: f for f in features}, phrases, data, points)
    return shap.Explanation(
        values=points, base_values=np.full(len(M), split.base), data=data, feature_names=names
    )


def _by_concept(
    scorer: Scorer, declared: Mapping[str, Feature], phrases: Phrases, data: NDArray[Any], points: Floats
) -> tuple[NDArray[Any], list[str], Floats]:
    """Add up the drivers of each concept, and show the column of the one with the largest points."""
    about = concepts_of(scorer, declared)
    keys, sums = grouped(points, about)
    sizes = np.abs(points).mean(axis=0) if len(points) else np.zeros(len(about))
    names: dict[str, None] = {}
    loudest = []
    for key in keys:
        mine = [d for d, own in enumerate(about) if own == key]
        loudest.append(max(mine, key=lambda d: float(sizes[d])))
        behind = scorer.driver_columns[mine[0]]
        called = concept_label(key[1], behind[0] if behind else None, declared, phrases)
        names[free_name(called, names)] = None
    return data[:, loudest], list(names), sums


def _require_shap() -> "ModuleType":
    try:
        return import_module("shap")
    except ModuleNotFoundError:
        do = "pip install 'leadscore[explain]'"
        raise MissingExtraError(explain("the shap library, for its plots", "none installed", do)) from None


def _data(scorer: Scorer, M: Floats) -> NDArray[Any]:
    """Put together what the scorer read in the one column behind each driver."""
    read = {column.name: _read(M[:, j], column) for j, column in enumerate(scorer.columns)}
    none = np.full(len(M), _NONE, dtype=object)
    return np.stack(
        [read[behind[0]] if len(behind) == 1 else none for behind in scorer.driver_columns], axis=1
    )


def _read(values: Floats, column: Column) -> NDArray[Any]:
    if column.levels is None:
        return values
    words = np.array([*column.levels, _MISSING], dtype=object)
    return words[np.where(np.isnan(values), len(column.levels), values).astype(np.int64)]
