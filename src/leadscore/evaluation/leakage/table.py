"""What is to be said of the table as a whole: leads that repeat others, and what a random split flatters."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from leadscore.evaluation.leakage.levels import Coded, rates
from leadscore.evaluation.leakage.signals import Ground
from leadscore.evaluation.metrics import METRICS, Floats, Ints
from leadscore.evaluation.splits import Fold, grouped_folds

_ROWS_REMEMBERED: Final = 1.0  # a lead's own outcome is remembered as if it were all but certain
_FLATTERS: Final = 0.01  # a difference of AUCs that is worth a sentence


def duplicates(ground: Ground, fields: Sequence[Coded], seed: int) -> tuple[str, ...]:
    """Say how many leads repeat others, and what a model would gain if they were split between the folds."""
    code, size = ground.group, np.bincount(ground.group)
    again = size[code] > 1
    if not again.any():
        return ()
    groups = int((size > 1).sum())
    said = (
        f"{int(again.sum()):,} of {len(code):,} leads are duplicates in {groups:,} groups: rows that "
        "are equal but for their ids, or persons with one address; they stay on one side of every split"
    )
    same = _agreement(code, ground.y, size)
    kept = auc_of(fields, ground.y, ground.folds, code)
    split = auc_of(fields, ground.y, grouped_folds(None, ground.y, len(ground.folds), seed), code)
    chance = float(ground.y.mean() ** 2 + (1 - ground.y.mean()) ** 2)
    return (
        f"{said}. Two of a group have the same outcome in {same:.1%} of the cases, any two leads in "
        f"{chance:.1%}; split at random, a quick model that remembers rows has AUC {split:.3f} in place of "
        f"{kept:.3f}",
    )


def optimism(ground: Ground, fields: Sequence[Coded]) -> tuple[str, ...]:
    """Say what a quick model of the fields has in random folds, and in later periods."""
    if not ground.later or not fields:
        return ()
    random, forward = (auc_of(fields, ground.y, folds) for folds in (ground.folds, ground.later))
    verdict = (
        f"a random split flatters by {random - forward:.3f}"
        if random - forward >= _FLATTERS
        else "a random split does not flatter"
    )
    return (
        f"A quick model of the fields that are not blocked (their levels' log odds, added up) has AUC "
        f"{random:.3f} in random folds and {forward:.3f} in later periods: {verdict}",
    )


def auc_of(
    fields: Sequence[Coded], y: Floats, folds: Sequence[Fold], remembered: Ints | None = None
) -> float:
    """Add up the log odds of the fields' levels, fold by fold, and average the AUCs by their pairs."""
    pairs, ranked = 0.0, 0.0
    for fold in folds:
        margin = np.zeros(len(fold.test))
        for field in fields:
            margin += _log_odds(rates(field.code[fold.train], y[fold.train], field.size))[
                field.code[fold.test]
            ]
        if remembered is not None:
            size = int(remembered.max()) + 1
            rate = rates(remembered[fold.train], y[fold.train], size, _ROWS_REMEMBERED)
            margin += _log_odds(rate)[remembered[fold.test]]
        place = np.unique(margin, return_inverse=True)[1] / len(margin)
        won = y[fold.test].sum()
        weight = won * (len(fold.test) - won)
        if weight:
            ranked += METRICS["roc_auc"](y[fold.test], place, np.ones(len(place))) * weight
            pairs += weight
    return float(ranked / pairs) if pairs else 0.5


def _agreement(code: Ints, y: Floats, size: NDArray[Any]) -> float:
    """Return the share of the pairs within groups that have the same outcome."""
    won = np.bincount(code, weights=y)
    lost = size - won
    pairs = (size * (size - 1)).sum()
    return float((won * (won - 1) + lost * (lost - 1)).sum() / pairs)


def _log_odds(rate: Floats) -> Floats:
    return np.asarray(np.log(rate) - np.log1p(-rate))
