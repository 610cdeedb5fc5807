"""The main job, readable as its steps: read, audit, look at leads as they were, compare, fit, keep."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from leadscore.bundle import Bundle
from leadscore.comparing import calendar_columns, compare_models, models, rows_of, weigh
from leadscore.evaluation.compare import Comparison
from leadscore.evaluation.evidence import Evidence
from leadscore.evaluation.fitting import fitted, takes
from leadscore.evaluation.reliability import reliability
from leadscore.evaluation.rolling import Plan, latest
from leadscore.explain.card import driver_families, grade_cuts
from leadscore.explain.concepts import united
from leadscore.explain.drivers import driver_points, family_sums
from leadscore.explain.wording import typical_values
from leadscore.features.declare import Feature
from leadscore.models.calibration import Scale, Sigmoid, log_odds_of, probability
from leadscore.models.matrix import Column, to_matrix
from leadscore.models.novelty import fit_familiar
from leadscore.models.scorer import Scorer
from leadscore.models.uncertainty import Interval, fit_interval
from leadscore.policy.backtest import MOST_LEVELS, Backtest
from leadscore.policy.policy import Policy
from leadscore.policy.staging import deciding
from leadscore.policy.tuning import Aim, Tuning
from leadscore.policy.tuning import tune as tuned
from leadscore.preparing import (
    Prepared,
    Progress,
    folds,
    kept_contract,
    order_of,
    parameters,
    prepare,
    refuse_capacity,
    silent,
    weeks_of,
)
from leadscore.project import Project

__all__ = [
    "Prepared",
    "Progress",
    "Trained",
    "calendar_columns",
    "compare_models",
    "fit",
    "folds",
    "models",
    "parameters",
    "prepare",
    "train",
    "tune",
    "weigh",
]

_FEW = 10  # fewer leads show nothing of what leads are like
_ENOUGH_TODAY = 200  # rows, from which it can be told how a model spreads its chances


@dataclass(frozen=True)
class Trained:
    """A model that has been compared, and the evidence.

    Parameters
    ----------
    bundle : Bundle
    comparison : Comparison
    prepared : Prepared
    evidence : Evidence
    """

    bundle: Bundle
    comparison: Comparison
    prepared: Prepared
    evidence: Evidence


def train(project: Project, *, progress: Progress = silent) -> Trained:
    """Train a project's model: audit, snapshots, compare, choose, fit.

    Parameters
    ----------
    project : Project
    progress : callable, optional
        Called with a sentence as each step begins.

    Returns
    -------
    Trained
        Nothing is written: `leadscore.bundle.save` keeps the bundle.

    Raises
    ------
    DataError
        A table breaks the contract, or there is too little to learn from.
    LeakageError
        A field knows the outcome and is neither excluded nor allowed.
    """
    prepared = prepare(project, progress=progress)
    refuse_capacity(prepared)
    comparison = compare_models(prepared, progress=progress)
    found = weigh(prepared, comparison, progress=progress)
    progress(f"Fitting the {comparison.chosen} model")
    return Trained(fit(prepared, comparison), comparison, prepared, found)


def fit(prepared: Prepared, comparison: Comparison) -> Bundle:
    """Fit the chosen model as the backtest says and put together what a score needs."""
    project, data = prepared.project, prepared.data
    plan = comparison.plans.get(comparison.chosen, Plan())
    model = models(project)[comparison.chosen]
    model = fitted(model, rows_of(prepared), _learned_from(prepared, model, plan), without=plan.without)
    scorer, scale = model.served_, Scale()
    calibration = replace(model.calibration_, intercept=model.calibration_.intercept + plan.shift)
    features = _read_by(scorer, prepared)
    backtest = _backtest(prepared, comparison, features, _today(prepared, scorer, calibration))
    M = to_matrix(data.X, scorer.columns)
    leads = len(np.unique(data.group))
    points = driver_points(scorer, calibration, scale, M).points
    features = united(features, scorer, M, points, data.group)
    sums = family_sums(points, driver_families(scorer, features))
    return Bundle(
        name=project.name,
        contract=kept_contract(project, prepared.tables, features),
        features=features,
        scorer=scorer,
        calibration=calibration,
        scale=scale,
        policy=_policy(project, backtest),
        cuts=grade_cuts(sums["fit"], sums["engagement"]),
        typical=typical_values(M, scorer.columns),
        horizon=data.horizon,
        backtest=backtest,
        calibrated=_unseen(prepared, comparison, partial(reliability, seed=project.seed)).holds,
        interval=_unseen(prepared, comparison, _interval),
        familiar=fit_familiar(M, scorer.columns, data.group, seed=project.seed) if leads >= _FEW else None,
        facts=_facts(prepared, comparison),
        phrases=project.phrases,
    )


_Found = TypeVar("_Found")


def _unseen(prepared: Prepared, comparison: Comparison, judged: Callable[..., _Found]) -> _Found:
    """Judge what the chosen model said of rows that it had not seen: outcomes, chances, leads."""
    seen = comparison.predictions
    chances = seen[comparison.chosen].to_numpy(dtype=np.float64)
    return judged(seen["y"].to_numpy(np.float64), chances, group=prepared.data.group[seen["row"]])


def _interval(y: NDArray[Any], p: NDArray[Any], *, group: NDArray[Any]) -> Interval | None:
    if min(len(np.unique(group[y == outcome])) for outcome in (0, 1)) < 2:
        return None
    return fit_interval(log_odds_of(p), y, group)


def _learned_from(prepared: Prepared, model: BaseEstimator, plan: Plan) -> NDArray[np.int64]:
    """Give the rows that the final fit learns from."""
    order = order_of(prepared.everything)[0]
    mature = np.arange(len(prepared.y))
    kept = latest(mature, order, prepared.y.astype(np.float64), plan.history)
    return np.flatnonzero(order >= order[kept].min()) if takes(model, "days") else kept


def _read_by(scorer: Scorer, prepared: Prepared) -> tuple[Feature, ...]:
    """Keep the features that the scorer reads, and those that rules do: no other is asked for."""
    read = {column.name for column in scorer.columns} | _ruled(prepared.project)
    return tuple(feature for feature in prepared.features if feature.name in read)


def _ruled(project: Project) -> set[str]:
    """Name the columns that the policy's rules and its segment read."""
    rules, segment = (*project.suppress, *project.fast_track), project.target.segment
    return {condition.column for rule in rules for condition in rule.when} | ({segment} if segment else set())


def _today(prepared: Prepared, scorer: Scorer, calibration: Sigmoid) -> NDArray[np.float64]:
    """Score the rows that are too young to have taught the model."""
    young = prepared.everything.take(np.arange(len(prepared.y), len(prepared.everything)))
    return probability(calibration.log_odds(scorer.margin(to_matrix(young.X, scorer.columns))))


def in_service(chances: NDArray[np.float64], today: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring chances of a backtest onto the scale of the model in service; their order stays.

    The models of a backtest learned from less, and tell leads apart less well, so that fewer reach a high
    chance than the final model will send there: a line would take more leads than it took in the backtest.
    Each chance becomes the one that the same share of today's rows is below; a handful of rows says too
    little for that.

    Parameters
    ----------
    chances : array of shape (n,)
        What the backtest's models said.
    today : array of shape (m,)
        What the final model says of rows that it did not learn from.

    Returns
    -------
    array of shape (n,)

    Examples
    --------
    >>> in_service(np.linspace(0.1, 0.3, 101), np.linspace(0.0, 0.4, 201))[[0, 25, 100]].round(3)
    array([0.002, 0.101, 0.398])
    """
    if len(today) < _ENOUGH_TODAY:
        return chances
    ordered = np.sort(chances)
    below, upto = (np.searchsorted(ordered, chances, side=side) for side in ("left", "right"))
    return np.quantile(today, (below + upto) / (2 * len(chances)))


def _backtest(
    prepared: Prepared,
    comparison: Comparison,
    features: Sequence[Feature],
    today: NDArray[np.float64],
) -> Backtest:
    """Give one row a lead: a lead that was looked at several times becomes an MQL when it was best.

    That is where a fast track holds, then where its chance was best and no suppression held. What it was
    like then is kept as far as rules and segments may read it.
    """
    project, data, seen = prepared.project, prepared.data, comparison.predictions
    named = _ruled(project)
    columns = tuple(
        Column(feature.name, feature.categories)
        for feature in features
        if feature.name in named or 0 < len(feature.categories or ()) <= MOST_LEVELS
    )
    rows = seen["row"].to_numpy()
    week = weeks_of(data, rows)
    M = to_matrix(data.X.iloc[rows], columns)
    rule = deciding(_rules(project), M, columns)
    frame = pd.DataFrame(
        {
            "group": data.group[rows],
            "place": np.arange(len(rows)),
            "turn": np.where(rule < 0, 0, np.where(rule < len(project.suppress), -1, 1)),
            "probability": in_service(seen[comparison.chosen].to_numpy(dtype=np.float64), today),
            "points": seen["points"],
            "y": seen["y"],
            "week": 0 if week is None else week,
        }
    )
    whole = frame[frame["week"] >= 0]
    frame = whole if whole["y"].any() else frame.assign(week=frame["week"] - frame["week"].min())
    best = frame.sort_values(["turn", "probability"], ascending=False, kind="stable").drop_duplicates("group")
    most = frame.groupby("group")[["points", "y"]].max().loc[best["group"]]
    return Backtest(
        probability=best["probability"].to_numpy(),
        y=most["y"].to_numpy(),
        week=None if week is None else best["week"].to_numpy(dtype=np.int64),
        points=most["points"].to_numpy(),
        M=M[best["place"]],
        columns=columns,
    )


def tune(project: Project, backtest: Backtest) -> Tuning:
    """Tune the thresholds on a backtest by what the project asks for: a capacity or a share."""
    target = project.target
    money = (target.value, target.cost, target.missed_cost or 0.0)
    aim = Aim("share", target.share or 0.2, *money)
    if target.capacity is not None:
        aim = Aim("capacity", target.capacity, *money)
    return tuned(
        backtest,
        aim,
        segment=target.segment,
        per_segment=target.capacities,
        equal_recall=target.equal_recall,
        base=_rules(project),
    )


def _rules(project: Project) -> Policy:
    """Give the policy that has the project's rules and takes nobody else."""
    return Policy(
        1.0,
        1.0,
        suppress=project.suppress,
        fast_track=project.fast_track,
        stay=project.stay,
        cool_down=project.cool_down,
    )


def _facts(prepared: Prepared, comparison: Comparison) -> dict[str, Any]:
    project = prepared.project
    return {
        "training": parameters(prepared),
        "comparison": comparison.to_dict(),
        "verdicts": dict(comparison.verdicts),
        "reason": comparison.reason,
        "excluded": dict(project.exclude),
        "allowed": dict(project.allow),
        "audit": {entry.field: entry.verdict for entry in prepared.audit.fields},
    }


def _policy(project: Project, backtest: Backtest) -> Policy:
    return tune(project, backtest).draft(_rules(project))
