"""Before models: every lead as it was at each age, what came of it, and how to split them in time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from leadscore.checking import DAY, as_seen, check, read, refuse_leaks, too_young
from leadscore.data.contract import Contract
from leadscore.data.identity import duplicate_groups
from leadscore.data.tables import Tables
from leadscore.errors import DataError, UsageError, explain, nearest, shown
from leadscore.evaluation.leakage import Audit
from leadscore.evaluation.splits import Fold, forward_folds, grouped_folds
from leadscore.features.declare import EventFeature, Feature
from leadscore.features.defaults import declare
from leadscore.features.snapshot import Snapshot, training_snapshot
from leadscore.models.matrix import Column, columns_of
from leadscore.project import Project

Progress: TypeAlias = Callable[[str], None]

_WEEK = 7 * DAY
_FEW_WEEKS = 4


def silent(_: str) -> None:
    """Say nothing of how far it has come."""


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


def prepare(project: Project, *, progress: Progress = silent) -> Prepared:
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
    refuse_unreadable_rules(project, columns_of(rows.X))
    _refuse_segment(project, rows.X)
    return Prepared(project, tables, audit, features, *_learnable(rows))


def refuse_unreadable_rules(project: Project, columns: tuple[Column, ...]) -> None:
    """Refuse a rule whose field is not there or of another kind, before anything is fitted."""
    nobody = np.empty((0, len(columns)))
    judges: list[tuple[str, Callable[..., object]]] = [(rule.label, rule.earned) for rule in project.points]
    judges += [(rule.name, rule.holds) for rule in (*project.suppress, *project.fast_track)]
    for name, test in judges:
        try:
            test(nobody, columns)
        except DataError as error:
            raise DataError(f"the rule {shown(name)!r}: {error}") from None


def _refuse_segment(project: Project, X: pd.DataFrame) -> None:
    """Refuse a segment that is no category of the leads, or a level that none of them has."""
    categories = [column.name for column in columns_of(X) if column.levels is not None]
    for key, segment in (("model", project.segment), ("policy", project.target.segment)):
        if segment is not None and segment not in categories:
            found = f"{shown(segment)!r}{nearest(segment, categories)}"
            expected = f"a category of the leads as {key}.segment"
            raise DataError(explain(expected, found, "name one, or remove it"))
    levels = [] if project.target.segment is None else X[project.target.segment].dropna().unique().tolist()
    for level in project.target.capacities:
        if level not in levels:
            found = f"{shown(level)!r}{nearest(level, levels)}"
            expected = f"words of {shown(project.target.segment)!r} under policy.segment.capacity"
            raise DataError(explain(expected, found, "correct it, or remove it"))


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


def refuse_capacity(prepared: Prepared) -> None:
    """Refuse, before anything is compared, a capacity that all the leads of the backtest do not fill."""
    data, capacity = prepared.data, prepared.project.target.capacity
    if capacity is None:
        return
    tested = np.concatenate([fold.test for fold in folds(prepared)])
    week = weeks_of(data, tested)
    kept = tested if week is None else tested[week >= 0]
    most = len(np.unique(data.group[kept])) / (1 if week is None else int(week.max()) + 1)
    if capacity >= most:
        leads = f"{most:,.3g} leads there are{'' if data.as_of is None else ' a week'}"
        do = "lower it, or set policy.share in its place"
        raise UsageError(explain(f"a capacity below the {leads}", f"{capacity:g}", do))


def weeks_of(data: Snapshot, tested: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Give the week in which the lead of each tested row was first looked at; None without a clock.

    Leads that were looked at before the test began, or whose last look lies behind its end, are in no week
    (-1), and so is what is left over of whole weeks at the beginning: at both ends a week would seem to have
    more or fewer leads than it had. Where less than four whole weeks are left, all rows are in a week.
    """
    if data.as_of is None or data.age is None:
        return None
    moment, youngest, oldest = data.as_of[tested], float(data.age.min()), float(data.age.max())
    first = moment - np.rint((data.age[tested] - youngest) * DAY).astype(np.int64)
    begin, end = int(moment.min()), int(moment.max()) - round((oldest - youngest) * DAY)
    whole = (end - begin) // _WEEK
    if whole < _FEW_WEEKS:
        return (moment - begin) // _WEEK
    back = (end - first) // _WEEK
    return np.where((first >= begin) & (back >= 0) & (back < whole), whole - 1 - back, -1)


def folds(prepared: Prepared, *, warm_up: int = 0) -> tuple[Fold, ...]:
    """Go forward in time where there is an order, unless the project says otherwise."""
    project, data = prepared.project, prepared.data
    if not is_forward(project, data):
        return grouped_folds(data.group, prepared.y, project.folds, seed=project.seed)
    if data.order is None:
        do = "name created_at or order_by under leads, or set evaluation.split to grouped"
        raise DataError(explain("an order for a forward split", "none", do))
    order, known_at = order_of(data)
    return forward_folds(order, data.group, project.folds, known_at=known_at, y=prepared.y, warm_up=warm_up)


def is_forward(project: Project, data: Snapshot) -> bool:
    """Tell whether models are compared forward in time."""
    return project.split == "forward" or (project.split is None and data.order is not None)


def order_of(rows: Snapshot) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Give the order of rows and when their outcomes are known: in days where there is a clock."""
    order = np.arange(len(rows), dtype=np.float64) if rows.order is None else rows.order
    return (order, None) if rows.known_at is None else (order / DAY, rows.known_at / DAY)


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
        "split": "forward" if is_forward(project, data) else "grouped",
        "folds": project.folds,
        "seed": project.seed,
    }


def _day(as_of: NDArray[Any] | None, pick: Callable[..., Any]) -> str | None:
    return None if as_of is None else str(pd.Timestamp(int(pick(as_of)), unit="us").date())


def kept_contract(project: Project, tables: Tables, features: Sequence[Feature]) -> Contract:
    """Give the contract that a model keeps: the fields that it asks for, and the event types that there were.

    Asked for are the fields that features read and those that tell persons.
    """
    kinds, identity = tables.kinds, project.contract.identity
    tell = () if identity is None else (*identity.email, *identity.phone)
    types = set() if tables.events is None else set(tables.events.types)
    for feature in features:
        if isinstance(feature, EventFeature):
            types |= {name for name in (feature.event, feature.per, *(feature.types or ())) if name}
    return replace(
        project.contract,
        kinds={name: kinds[name] for name in (*(n for f in features for n in f.reads), *tell)},
        event_types=tuple(sorted(types)),
    )
