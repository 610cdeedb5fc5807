"""Driver points as a `shap.Explanation`, for the plots of the shap library: the only file that imports it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from leadscore.errors import MissingExtraError, explain
from leadscore.explain.drivers import driver_points
from leadscore.models.calibration import Scale, Sigmoid
from leadscore.models.matrix import Column, Floats, to_matrix
from leadscore.models.scorer import Scorer

if TYPE_CHECKING:
    from types import ModuleType

    from shap import Explanation

# Words, since shap takes a column of words to hold nothing else, and warns of one that is all nan.
_MISSING, _NONE = "(missing)", "(none)"


def shap_explanation(
    scorer: Scorer, calibration: Sigmoid, scale: Scale, X: pd.DataFrame | NDArray[Any]
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

    Returns
    -------
    shap.Explanation
        `values` of shape (n, d), one column for each of ``scorer.drivers``, which are the `feature_names`;
        `base_values` of shape (n,), the typical lead's score; `data` of shape (n, d), what the scorer read in
        the column behind each driver: numbers, and words for categories. A point table's drivers are its
        rules, and then the limit of its scale, which has no column: "(none)".

    Raises
    ------
    MissingExtraError
        The shap library is not installed.
    DataError
        X lacks a column, or holds another type than at training.

    Examples
    --------
    Which columns move the scores of a trained model, and in which direction::

        found = shap_explanation(bundle.scorer, bundle.calibration, bundle.scale, X)
        shap.plots.beeswarm(found)
    """
    shap = _require_shap()
    M = to_matrix(X, scorer.columns)
    split = driver_points(scorer, calibration, scale, M)
    return shap.Explanation(
        values=split.points,
        base_values=np.full(len(M), split.base),
        data=_data(scorer, M),
        feature_names=list(scorer.drivers),
    )


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
