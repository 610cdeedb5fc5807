"""The main job, readable as its steps: read, audit, look at leads as they were, compare, fit, keep."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from leadscore.bundle import Bundle
from leadscore.checking import DAY, as_seen, check, read, refuse_leaks, too_young
from leadscore.data.identity import duplicate_groups
from leadscore.data.tables import Tables
from leadscore.errors import DataError, UsageError, explain, shown
from leadscore.evaluation.compare import Comparison, compare
from leadscore.evaluation.leakage import Audit
from leadscore.evaluation.splits import Fold, forward_folds, grouped_folds
from leadscore.explain.card import driver_families, grade_cuts
from leadscore.explain.drivers import driver_points, family_sums
from leadscore.explain.wording import typical_values
from leadscore.features.declare import EventFeature, Feature
from leadscore.features.defaults import declare
from leadscore.features.snapshot import Snapshot, training_snapshot
from leadscore.models.boosted import BoostedScorer
from leadscore.models.calibration import Scale
from leadscore.models.estimators import LogisticScorer, PointsClassifier
from leadscore.models.matrix import Column, columns_of, to_matrix
from leadscore.policy.policy import Policy
from leadscore.policy.tuning import Backtest, Tuning, by_capacity, by_share
from leadscore.project import Project

Progress = Callable[[str], None]


def _silent(_: str) -> None:
    return None


@dataclass(frozen=True)
class Prepared:
    """A project's leads as they were at each snapshot, and what came of them.

    Parameters
    ----------
    project : Project
    tables : Tables
    audit : Audit
    features : tuple of Feature
    data : Snapshot
        Mature rows only.
    y : array of shape (n,)
        What came of them, 1 or 0.
    """

    project: Project
    tables: Tables = field(repr=False)
    audit: Audit = field(repr=False)
    features: tuple[Feature, ...] = field(repr=False)
    data: Snapshot = field(repr=False)
    y: NDArray[np.int8] = field(repr=False)


@dataclass(frozen=True)
class Trained:
    """A model that has been compared, and the evidence.

    Parameters
    ----------
    bundle : Bundle
    comparison : Comparison
    prepared : Prepared
    """

    bundle: Bundle
    comparison: Comparison
    prepared: Prepared


def train(project: Project, *, progress: Progress = _silent) -> Trained:
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
    _refuse_capacity(prepared)
    comparison = compare_models(prepared, progress=progress)
    progress(f"Fitting the {comparison.chosen} model on all {len(prepared.data.X):,} rows")
    return Trained(fit(prepared, comparison), comparison, prepared)


def prepare(project: Project, *, progress: Progress = _silent) -> Prepared:
    """Read the tables, refuse leaks, and look at every lead as it was at each age."""
    progress("Reading the tables")
    tables = read(project)
    progress("Auditing every field for leaks")
    audit = check(project, tables)
    refuse_leaks(project, audit)
    progress("Building features as of each snapshot")
    features = declare(
        as_seen(project, tables),
        exclude=set(project.exclude),
        roles=project.roles,
        extra=project.asked,
        keep_levels=project.keep_levels,
    )
    if not features:
        do = "exclude fewer fields, or give more that vary from lead to lead"
        raise DataError(explain("fields or events to learn from", "none that may be used", do))
    group = duplicate_groups(tables, email_fields=project.email, phone_fields=project.phone)
    rows = training_snapshot(tables, features, ages=project.ages, horizon=project.horizon, group=group)
    _refuse_unreadable_rules(project, columns_of(rows.X))
    return Prepared(project, tables, audit, features, *_learnable(rows))


def compare_models(prepared: Prepared, *, progress: Progress = _silent) -> Comparison:
    """Compare the points with every model on rows that none of them has seen."""
    data, project = prepared.data, prepared.project
    split = folds(prepared)
    slices: dict[str, NDArray[Any]] = {}
    if data.age is not None and len(project.ages) > 1:
        slices = {f"age={age:g}d": data.age == age for age in project.ages}
    return compare(
        data.X,
        prepared.y,
        models(project),
        split,
        group=data.group,
        baseline="points",
        slices=slices,
        seed=project.seed,
        n_jobs=-1,
        progress=lambda done, total, what: progress(f"Comparing the models: {done} of {total} ({what})"),
    )


def models(project: Project) -> Mapping[str, BaseEstimator]:
    """Give the models that are compared, the simplest first."""
    return {
        "points": PointsClassifier(project.points),
        "logistic": LogisticScorer(random_state=project.seed),
        "boosted": BoostedScorer(random_state=project.seed),
    }


def fit(prepared: Prepared, comparison: Comparison) -> Bundle:
    """Fit the chosen model on every mature row and put together what a score needs."""
    project, data = prepared.project, prepared.data
    model = models(project)[comparison.chosen].fit(data.X, prepared.y, groups=data.group)
    scorer, calibration, scale = model.served_, model.calibration_, Scale()
    backtest = _backtest(data, comparison)
    M = to_matrix(data.X, scorer.columns)
    points = driver_points(scorer, calibration, scale, M).points
    sums = family_sums(points, driver_families(scorer, prepared.features))
    return Bundle(
        name=project.name,
        contract=replace(project.contract, kinds=_kinds_read(prepared), event_types=_types_known(prepared)),
        features=prepared.features,
        scorer=scorer,
        calibration=calibration,
        scale=scale,
        policy=_policy(project, backtest),
        cuts=grade_cuts(sums["fit"], sums["engagement"]),
        typical=typical_values(M, scorer.columns),
        horizon=data.horizon,
        backtest=backtest,
        facts=_facts(prepared, comparison),
    )


def _refuse_unreadable_rules(project: Project, columns: tuple[Column, ...]) -> None:
    """Refuse a rule whose field is not there or of another kind, before anything is fitted."""
    nobody = np.empty((0, len(columns)))
    judges: list[tuple[str, Callable[..., object]]] = [(rule.label, rule.earned) for rule in project.points]
    judges += [(rule.name, rule.holds) for rule in (*project.suppress, *project.fast_track)]
    for name, judge in judges:
        try:
            judge(nobody, columns)
        except DataError as error:
            raise DataError(f"the rule {shown(name)!r}: {error}") from None


def _learnable(rows: Snapshot) -> tuple[Snapshot, NDArray[np.int8]]:
    """Keep the mature rows, and refuse what cannot be learned from."""
    if rows.mature is not None:
        rows = rows.take(np.flatnonzero(rows.mature))
    if not len(rows.X):
        raise too_young(rows.horizon)
    y = np.zeros(0, np.int8) if rows.y is None else rows.y
    if len(np.unique(y)) < 2:
        found = f"{int(y.sum()):,} of {len(y):,} rows that converted"
        raise DataError(explain("rows that converted and rows that did not", found, "give more history"))
    return rows, y


def _refuse_capacity(prepared: Prepared) -> None:
    """Refuse, before anything is compared, a capacity that all the leads of the backtest do not fill."""
    data, capacity = prepared.data, prepared.project.target.capacity
    if capacity is None:
        return
    tested = np.concatenate([fold.test for fold in folds(prepared)])
    weeks = 1 if data.as_of is None else int(np.ptp(data.as_of[tested])) // (7 * DAY) + 1
    most = len(np.unique(data.group[tested])) / weeks
    if capacity >= most:
        leads = f"{most:,.3g} leads there are{'' if data.as_of is None else ' a week'}"
        do = "lower it, or set policy.share in its place"
        raise UsageError(explain(f"a capacity below the {leads}", f"{capacity:g}", do))


def folds(prepared: Prepared) -> tuple[Fold, ...]:
    """Go forward in time where there is an order, unless the project says otherwise."""
    project, data = prepared.project, prepared.data
    if not _is_forward(project, data):
        return grouped_folds(data.group, prepared.y, project.folds, seed=project.seed)
    if data.order is None:
        do = "name created_at or order_by under leads, or set evaluation.split to grouped"
        raise DataError(explain("an order for a forward split", "none", do))
    return forward_folds(data.order, data.group, project.folds, known_at=data.known_at, y=prepared.y)


def _is_forward(project: Project, data: Snapshot) -> bool:
    return project.split == "forward" or (project.split is None and data.order is not None)


def _backtest(data: Snapshot, comparison: Comparison) -> Backtest:
    """Give one row a lead: a lead that was looked at several times becomes an MQL when it was best."""
    seen = comparison.predictions
    rows = seen["row"].to_numpy()
    frame = pd.DataFrame(
        {
            "group": data.group[rows],
            "probability": seen[comparison.chosen],
            "points": seen["points"],
            "y": seen["y"],
            "week": 0 if data.as_of is None else (data.as_of[rows] - data.as_of[rows].min()) // (7 * DAY),
        }
    )
    best = frame.sort_values("probability", ascending=False, kind="stable").drop_duplicates("group")
    most = frame.groupby("group")[["points", "y"]].max().loc[best["group"]]
    return Backtest(
        probability=best["probability"].to_numpy(),
        y=most["y"].to_numpy(),
        week=None if data.as_of is None else best["week"].to_numpy(dtype=np.int64),
        points=most["points"].to_numpy(),
    )


def _kinds_read(prepared: Prepared) -> dict[str, str]:
    """Keep the fields that features read, and those that tell persons: no other is asked for when scoring."""
    kinds, identity = prepared.tables.kinds, prepared.project.contract.identity
    tell = () if identity is None else (*identity.email, *identity.phone)
    return {name: kinds[name] for name in (*(n for f in prepared.features for n in f.reads), *tell)}


def _types_known(prepared: Prepared) -> tuple[str, ...]:
    """Name the event types that there were, and those that features name all the same."""
    events = prepared.tables.events
    types = set() if events is None else set(events.types)
    for feature in prepared.features:
        if isinstance(feature, EventFeature):
            types |= {name for name in (feature.event, feature.per, *(feature.types or ())) if name}
    return tuple(sorted(types))


def tune(project: Project, backtest: Backtest) -> Tuning:
    """Tune the thresholds on a backtest by what the project asks for: a capacity or a share."""
    target = project.target
    if target.capacity is not None:
        return by_capacity(backtest, target.capacity)
    return by_share(backtest, target.share or 0.2)


def parameters(prepared: Prepared) -> dict[str, Any]:
    """Give the sizes and settings of a run, as a record of it keeps them."""
    project, data = prepared.project, prepared.data
    return {
        "leads": len(prepared.tables.lead_id),
        "rows": len(data.X),
        "converted": int(prepared.y.sum()),
        "features": len(prepared.features),
        "horizon_days": data.horizon,
        "ages_days": None if data.age is None else list(project.ages),
        "first": _day(data.as_of, np.min),
        "last": _day(data.as_of, np.max),
        "split": "forward" if _is_forward(project, data) else "grouped",
        "folds": project.folds,
        "seed": project.seed,
    }


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
    tuned = tune(project, backtest)
    return Policy(
        mql=tuned.mql, sales_ready=tuned.sales_ready, suppress=project.suppress, fast_track=project.fast_track
    )


def _day(as_of: NDArray[Any] | None, pick: Callable[..., Any]) -> str | None:
    return None if as_of is None else str(pd.Timestamp(int(pick(as_of)), unit="us").date())
