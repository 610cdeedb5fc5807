"""Learns a point table from a project's outcomes, and says what it is worth on rows that it has not seen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd

from leadscore.evaluation.metrics import METRICS
from leadscore.features.declare import Feature
from leadscore.models.calibration import probability
from leadscore.models.estimators import PointsClassifier
from leadscore.models.half_life import HalfLife
from leadscore.models.matrix import Floats, columns_of, to_matrix
from leadscore.models.points import PointRule, PointTable
from leadscore.models.ruling import total
from leadscore.points.candidates import Candidates, candidates, mature
from leadscore.points.lines import named
from leadscore.train import Prepared, Progress, folds

_METRICS: Final = ("roc_auc", "average_precision", "log_loss")


@dataclass(frozen=True)
class Learned:
    """A learned point table, and the evidence for it.

    Parameters
    ----------
    table : PointTable
        Over the columns that its rules read.
    features : mapping of str to Feature
        By column of the table.
    half_lives : mapping of str to HalfLife
        By event.
    worth : DataFrame
        Metrics of `rounded`, `unrounded` and the team's `points` on rows that none of them was fitted on.
    rows, converted : int
        Rows that `worth` was measured on.
    """

    table: PointTable
    features: Mapping[str, Feature] = field(repr=False)
    half_lives: Mapping[str, HalfLife]
    worth: pd.DataFrame = field(repr=False)
    rows: int
    converted: int

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the table is worth, in sentences."""
        auc, loss = self.worth.loc["roc_auc"], self.worth.loc["log_loss"]
        return (
            f"Learned from outcomes: {len(self.table.rules)} rules.",
            f"On {self.rows:,} rows that it had not seen, {self.converted:,} of which converted: AUC "
            f"{auc['rounded']:.3f} (the team's points {auc['points']:.3f}), log loss {loss['rounded']:.4f}.",
            f"Rounding costs {auc['unrounded'] - auc['rounded']:+.4f} AUC and "
            f"{loss['rounded'] - loss['unrounded']:+.4f} log loss.",
        )

    def to_dict(self) -> dict[str, Any]:
        """Give it as plain values for JSON."""
        return {
            "rules": [rule.to_dict() for rule in self.table.rules],
            "half_lives": {event: found.to_dict() for event, found in self.half_lives.items()},
            "worth": {name: dict(row) for name, row in self.worth.iterrows()},
            "rows": self.rows,
            "converted": self.converted,
        }


def learn(prepared: Prepared, *, progress: Progress = lambda _: None) -> Learned:
    """Learn a point table: on each fold's training rows to see what it is worth, then on all rows.

    Parameters
    ----------
    prepared : Prepared
    progress : callable, optional
        Called with a sentence as each step begins.

    Returns
    -------
    Learned

    Raises
    ------
    DataError
        There is too little to learn from, or to test on.
    """
    progress("Counting events on a grid of half-lives")
    found = candidates(prepared)
    data, y, seed, known = prepared.data, prepared.y, prepared.project.seed, mature(prepared)
    tested = unseen(prepared, found, progress=progress)
    progress(f"Learning points from all {len(known):,} rows")
    model = found.model(seed).fit(found.X.iloc[known], y[known], groups=data.group[known])
    read = dict.fromkeys(rule.column for rule in model.rules_)
    columns = tuple(column for column in model.served_.columns if column.name in read)
    rules = named(model.rules_, found.features, prepared.project.roles.families)
    table = PointTable(columns, rules).with_means(to_matrix(found.X.iloc[known], columns))
    worth = pd.DataFrame(
        {
            name: {metric: METRICS[metric](tested["y"], tested[name]) for metric in _METRICS}
            for name in ("rounded", "unrounded", "points")
        }
    )
    features = {name: found.features[name] for name in read}
    return Learned(table, features, model.half_lives_, worth, len(tested), int(tested["y"].sum()))


def unseen(prepared: Prepared, found: Candidates, *, progress: Progress = lambda _: None) -> pd.DataFrame:
    """Learn points on each fold's training rows, and give the chances of its test rows by them.

    Parameters
    ----------
    prepared : Prepared
    found : Candidates
    progress : callable, optional

    Returns
    -------
    DataFrame
        One row a tested row: `row` (its number in X), `fold`, `y`, and probabilities by the points `rounded`
        and `unrounded`, and by the team's `points`.
    """
    y, group, known = prepared.y, prepared.data.group, mature(prepared)
    parts, split = [], folds(prepared)
    for i, fold in enumerate(split):
        progress(f"Learning points without the rows they are tested on: {i + 1} of {len(split)}")
        train, test = (rows[np.isin(rows, known)] for rows in (fold.train, fold.test))
        model = found.model(prepared.project.seed).fit(found.X.iloc[train], y[train], groups=group[train])
        hand = PointsClassifier(prepared.project.points).fit(prepared.data.X.iloc[train], y[train])
        there = found.X.iloc[test]
        exact = model.calibration_.log_odds(_totals(model.exact_, there))
        chances = {
            "rounded": model.predict_proba(there)[:, 1],
            "unrounded": probability(exact),
            "points": hand.predict_proba(prepared.data.X.iloc[test])[:, 1],
        }
        parts.append(pd.DataFrame({"row": test, "fold": fold.name, "y": y[test], **chances}))
    return pd.concat(parts, ignore_index=True)


def _totals(rules: tuple[PointRule, ...], X: pd.DataFrame) -> Floats:
    columns = columns_of(X)
    return total(rules, to_matrix(X, columns), columns) if rules else np.zeros(len(X))
