"""The main job, readable as its steps: read, audit, look at leads as they were, compare, fit, keep."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from leadscore.bundle import Bundle
from leadscore.checking import DAY, as_seen, check, read, refuse_leaks, too_young
from leadscore.data.identity import duplicate_groups
from leadscore.data.tables import Tables
from leadscore.errors import DataError, UsageError, explain, nearest, shown
from leadscore.evaluation.compare import Comparison, compare, judge
from leadscore.evaluation.evidence import Evidence, Optimism, evidence
from leadscore.evaluation.fitting import Course, Rows, fitted, takes
from leadscore.evaluation.leakage import THRESHOLDS, Audit, calendar_share
from leadscore.evaluation.reliability import reliability
from leadscore.evaluation.rolling import ADAPTIVE, Plan, latest, rolling
from leadscore.evaluation.splits import Fold, forward_folds, grouped_folds
from leadscore.explain.card import driver_families, grade_cuts
from leadscore.explain.drivers import driver_points, family_sums
from leadscore.explain.wording import typical_values
from leadscore.features.declare import EventFeature, Feature
from leadscore.features.defaults import declare
from leadscore.features.snapshot import Snapshot, training_snapshot
from leadscore.models.boosted import BoostedScorer, HazardScorer
from leadscore.models.calibration import Scale, log_odds_of
from leadscore.models.estimators import LogisticScorer, PointsClassifier
from leadscore.models.matrix import Column, columns_of, to_matrix
from leadscore.models.novelty import fit_familiar
from leadscore.models.scorer import Scorer
from leadscore.models.segmented import SegmentedScorer
from leadscore.models.uncertainty import Interval, fit_interval
from leadscore.policy.policy import Policy
from leadscore.policy.tuning import Backtest, Tuning, by_capacity, by_share
from leadscore.project import Project

Progress = Callable[[str], None]
_FEW = 10  # fewer leads show nothing of what leads are like
WARM_UP = 4  # periods before those that count, from which the backtest learns how to fit


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
    everything : Snapshot
        Those rows, and behind them the ones too young for a label.
    """

    project: Project
    tables: Tables = field(repr=False)
    audit: Audit = field(repr=False)
    features: tuple[Feature, ...] = field(repr=False)
    data: Snapshot = field(repr=False)
    y: NDArray[np.int8] = field(repr=False)
    everything: Snapshot = field(repr=False)


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
    found = weigh(prepared, comparison, progress=progress)
    progress(f"Fitting the {comparison.chosen} model")
    return Trained(fit(prepared, comparison), comparison, prepared, found)


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
    _refuse_segment(project, columns_of(rows.X))
    return Prepared(project, tables, audit, features, *_learnable(rows))


def compare_models(prepared: Prepared, *, progress: Progress = _silent) -> Comparison:
    """Compare the points with every model on rows that none of them has seen.

    Forward in time that is a rolling-origin backtest, which chooses each model's history, columns and level
    as well; in grouped folds every model learns from all other rows.
    """
    data, project = prepared.data, prepared.project
    slices = _slices(prepared)

    def say(done: int, total: int, what: str) -> None:
        progress(f"Comparing the models: {done} of {total} ({what})")

    if not _is_forward(project, data):
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
    order, known_at = _order(prepared.everything)
    rolled = rolling(
        _rows(prepared),
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


def fit(prepared: Prepared, comparison: Comparison) -> Bundle:
    """Fit the chosen model as the backtest says and put together what a score needs."""
    project, data = prepared.project, prepared.data
    plan = comparison.plans.get(comparison.chosen, Plan())
    model = models(project)[comparison.chosen]
    model = fitted(model, _rows(prepared), _learned_from(prepared, model, plan), without=plan.without)
    scorer, scale = model.served_, Scale()
    calibration = replace(model.calibration_, intercept=model.calibration_.intercept + plan.shift)
    backtest = _backtest(data, comparison)
    features = _read_by(scorer, prepared)
    M = to_matrix(data.X, scorer.columns)
    leads = len(np.unique(data.group))
    points = driver_points(scorer, calibration, scale, M).points
    sums = family_sums(points, driver_families(scorer, features))
    return Bundle(
        name=project.name,
        contract=replace(
            project.contract, kinds=_kinds_read(prepared, features), event_types=_types_known(prepared)
        ),
        features=features,
        scorer=scorer,
        calibration=calibration,
        scale=scale,
        policy=_policy(project, backtest),
        cuts=grade_cuts(sums["fit"], sums["engagement"]),
        typical=typical_values(M, scorer.columns),
        horizon=data.horizon,
        backtest=backtest,
        calibrated=_unseen(prepared, comparison, reliability).holds,
        interval=_unseen(prepared, comparison, _interval),
        familiar=fit_familiar(M, scorer.columns, data.group, seed=project.seed) if leads >= _FEW else None,
        facts=_facts(prepared, comparison),
    )


def weigh(prepared: Prepared, comparison: Comparison, *, progress: Progress = _silent) -> Evidence:
    """Put together what stands beside a comparison: the capacity, the chances, what a split flatters."""
    project, data = prepared.project, prepared.data
    weeks = None if data.as_of is None else (data.as_of - data.as_of.min()) // (7 * DAY)
    target = project.target
    return evidence(
        comparison,
        group=data.group,
        period=weeks,
        capacity=target.capacity,
        share=None if target.capacity is not None else target.share,
        value=target.value,
        cost=target.cost,
        optimism=_optimism(prepared, comparison, progress),
        seed=project.seed,
    )


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


def _rows(prepared: Prepared) -> Rows:
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


def _order(rows: Snapshot) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Give the order of rows and when their outcomes are known: in days where there is a clock."""
    order = np.arange(len(rows), dtype=np.float64) if rows.order is None else rows.order
    return (order, None) if rows.known_at is None else (order / DAY, rows.known_at / DAY)


def _learned_from(prepared: Prepared, model: BaseEstimator, plan: Plan) -> NDArray[np.int64]:
    """Give the rows that the final fit learns from."""
    order = _order(prepared.everything)[0]
    mature = np.arange(len(prepared.y))
    kept = latest(mature, order, prepared.y.astype(np.float64), plan.history)
    return np.flatnonzero(order >= order[kept].min()) if takes(model, "days") else kept


def _read_by(scorer: Scorer, prepared: Prepared) -> tuple[Feature, ...]:
    """Keep the features that the scorer reads, and those that rules do: no other is asked for."""
    read = {column.name for column in scorer.columns}
    for rule in (*prepared.project.suppress, *prepared.project.fast_track):
        read |= {condition.column for condition in rule.when}
    return tuple(feature for feature in prepared.features if feature.name in read)


def _refuse_unreadable_rules(project: Project, columns: tuple[Column, ...]) -> None:
    """Refuse a rule whose field is not there or of another kind, before anything is fitted."""
    nobody = np.empty((0, len(columns)))
    judges: list[tuple[str, Callable[..., object]]] = [(rule.label, rule.earned) for rule in project.points]
    judges += [(rule.name, rule.holds) for rule in (*project.suppress, *project.fast_track)]
    for name, test in judges:
        try:
            test(nobody, columns)
        except DataError as error:
            raise DataError(f"the rule {shown(name)!r}: {error}") from None


def _refuse_segment(project: Project, columns: tuple[Column, ...]) -> None:
    """Refuse a segment that is no category of the leads."""
    categories = [column.name for column in columns if column.levels is not None]
    if project.segment is not None and project.segment not in categories:
        found = f"{shown(project.segment)!r}{nearest(project.segment, categories)}"
        raise DataError(explain("a category of the leads as model.segment", found, "name one, or remove it"))


def _learnable(rows: Snapshot) -> tuple[Snapshot, NDArray[np.int8], Snapshot]:
    """Put the mature rows first, and refuse what cannot be learned from."""
    everything = rows
    if rows.mature is not None:
        everything = rows.take(np.argsort(~rows.mature, kind="stable"))
        rows = rows.take(np.flatnonzero(rows.mature))
    if not len(rows.X):
        raise too_young(rows.horizon)
    y = np.zeros(0, np.int8) if rows.y is None else rows.y
    if len(np.unique(y)) < 2:
        found = f"{int(y.sum()):,} of {len(y):,} rows that converted"
        raise DataError(explain("rows that converted and rows that did not", found, "give more history"))
    return rows, y, everything


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


def folds(prepared: Prepared, *, warm_up: int = 0) -> tuple[Fold, ...]:
    """Go forward in time where there is an order, unless the project says otherwise."""
    project, data = prepared.project, prepared.data
    if not _is_forward(project, data):
        return grouped_folds(data.group, prepared.y, project.folds, seed=project.seed)
    if data.order is None:
        do = "name created_at or order_by under leads, or set evaluation.split to grouped"
        raise DataError(explain("an order for a forward split", "none", do))
    order, known_at = _order(data)
    return forward_folds(order, data.group, project.folds, known_at=known_at, y=prepared.y, warm_up=warm_up)


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


def _kinds_read(prepared: Prepared, features: tuple[Feature, ...]) -> dict[str, str]:
    """Keep the fields that features read, and those that tell persons: no other is asked for when scoring."""
    kinds, identity = prepared.tables.kinds, prepared.project.contract.identity
    tell = () if identity is None else (*identity.email, *identity.phone)
    return {name: kinds[name] for name in (*(n for f in features for n in f.reads), *tell)}


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
