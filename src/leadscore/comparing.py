"""The comparison: the team's points beside every model, and what stands beside that."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from leadscore.checking import DAY
from leadscore.evaluation.compare import Comparison, compare, judge
from leadscore.evaluation.evidence import Evidence, Optimism, evidence
from leadscore.evaluation.fitting import Course, Rows
from leadscore.evaluation.leakage import THRESHOLDS, calendar_share
from leadscore.evaluation.rolling import ADAPTIVE, rolling
from leadscore.evaluation.splits import grouped_folds
from leadscore.models.boosted import BoostedScorer, HazardScorer
from leadscore.models.estimators import LogisticScorer, PointsClassifier
from leadscore.models.segmented import SegmentedScorer
from leadscore.preparing import Prepared, Progress, folds, is_forward, order_of, silent
from leadscore.project import Project

WARM_UP = 4  # periods before those that count, from which the backtest learns how to fit


def compare_models(prepared: Prepared, *, progress: Progress = silent) -> Comparison:
    """Compare the points with every model on rows that none of them has seen.

    Forward in time that is a rolling-origin backtest, which chooses each model's history, columns and level
    as well; in grouped folds every model learns from all other rows.
    """
    data, project = prepared.data, prepared.project
    slices = _slices(prepared)

    def say(done: int, total: int, what: str) -> None:
        progress(f"Comparing the models: {done} of {total} ({what})")

    if not is_forward(project, data):
        plain = {name: model for name, model in models(project).items() if name != "hazard"}
        return compare(
            data.X,
            prepared.y,
            plain,
            folds(prepared),
            group=data.group,
            slices=slices,
            seed=project.seed,
            n_jobs=-1,
            progress=say,
        )
    order, known_at = order_of(prepared.everything)
    rolled = rolling(
        rows_of(prepared),
        models(project),
        folds(prepared, warm_up=WARM_UP),
        order=order,
        known_at=known_at,
        calendar=calendar_columns(prepared),
        n_jobs=-1,
        progress=say,
    )
    comparison = judge(
        rolled.predictions, group=data.group, slices=slices, not_to_take=(ADAPTIVE,), seed=project.seed
    )
    return replace(comparison, plans=rolled.plans, picks=rolled.picks)


def models(project: Project) -> Mapping[str, BaseEstimator]:
    """Give the models that are compared, the simplest first; late conversions need a horizon."""
    seed, horizon = project.seed, project.horizon
    learned: dict[str, BaseEstimator] = {
        "logistic": LogisticScorer(project.points, random_state=seed),
        "boosted": BoostedScorer(random_state=seed),
    }
    if project.segment is not None:
        learned = {
            name: SegmentedScorer(model, project.segment, random_state=seed)
            for name, model in learned.items()
        }
    if horizon is not None:
        learned["hazard"] = HazardScorer(horizon=horizon, random_state=seed)
    return {"points": PointsClassifier(project.points), **learned}


def calendar_columns(prepared: Prepared) -> tuple[str, ...]:
    """Name the columns of X that follow the calendar: each moment has its values, whatever the lead."""
    data = prepared.data
    if data.order is None:
        return ()
    return tuple(
        str(name)
        for name in data.X
        if calendar_share(data.X[name], data.order) >= THRESHOLDS["calendar_share"]
    )


def weigh(prepared: Prepared, comparison: Comparison, *, progress: Progress = silent) -> Evidence:
    """Put together what stands beside a comparison: the capacity, the chances, what a split flatters."""
    project, data = prepared.project, prepared.data
    target = project.target
    return evidence(
        comparison,
        group=data.group,
        period=_periods(prepared, comparison),
        capacity=target.capacity,
        share=None if target.capacity is not None else target.share,
        value=target.value,
        cost=target.cost,
        optimism=_optimism(prepared, comparison, progress),
        seed=project.seed,
    )


def _slices(prepared: Prepared) -> dict[str, NDArray[np.bool_]]:
    """Name the parts of the tested rows that are reported apart: ages, and segments."""
    data, project = prepared.data, prepared.project
    found: dict[str, NDArray[np.bool_]] = {}
    if data.age is not None and len(project.ages) > 1:
        found = {f"age={age:g}d": data.age == age for age in project.ages}
    if project.segment is not None:
        column = data.X[project.segment]
        levels = {
            f"{project.segment}={level}": (column == level).to_numpy() for level in column.cat.categories
        }
        tested = np.concatenate([fold.test for fold in folds(prepared)])
        found |= {name: rows for name, rows in levels.items() if rows[tested].any()}
    return found


def _periods(prepared: Prepared, comparison: Comparison) -> NDArray[np.int64] | None:
    """Say when a capacity is there anew: each week, or where there is no clock in each period."""
    data, seen = prepared.data, comparison.predictions
    if data.as_of is not None:
        week: NDArray[np.int64] = (data.as_of - data.as_of.min()) // (7 * DAY)
        return week
    if prepared.project.target.capacity is not None or not is_forward(prepared.project, data):
        return None
    period = np.zeros(len(data), np.int64)
    period[seen["row"]] = np.unique(seen["fold"], return_inverse=True)[1]
    return period


def _optimism(prepared: Prepared, comparison: Comparison, progress: Progress) -> Optimism | None:
    """Fit the learned family that did best as a random split would have it judged."""
    data, project = prepared.data, prepared.project
    if comparison.picks.empty:
        return None
    name = str(comparison.picks.query("model == @ADAPTIVE")["family"].iloc[-1])
    progress(f"Asking what a random split would have promised for {name}")
    split = grouped_folds(data.group, prepared.y, project.folds, seed=project.seed)
    random = compare(
        data.X,
        prepared.y,
        {name: models(project)[name]},
        split,
        group=data.group,
        baseline=name,
        draws=1,
        n_jobs=-1,
    )
    return Optimism(name, random.value("roc_auc", name), comparison.value("roc_auc", name))


def rows_of(prepared: Prepared) -> Rows:
    """Give the rows that models see: the mature ones, then the young ones for those that can use them."""
    rows, young = prepared.everything, len(prepared.everything) - len(prepared.y)
    course = None
    if (
        rows.days is not None
        and rows.ended is not None
        and rows.seen is not None
        and rows.horizon is not None
    ):
        course = Course(rows.days, rows.ended, rows.seen, rows.horizon)
    return Rows(rows.X, np.append(prepared.y, np.zeros(young)).astype(np.float64), rows.group, course)
