"""What was known of leads at a moment, and what came of them: the one place where tables become X and y."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from leadscore.data.contract import CLOSING, Events, Floats, Ints, Outcomes, Tables
from leadscore.errors import DataError, UsageError, explain
from leadscore.features.attributes import attribute
from leadscore.features.declare import EventFeature, Feature
from leadscore.features.kernel import aggregate
from leadscore.features.plan import DAY, plan_of

Bools: TypeAlias = NDArray[np.bool_]

_NEVER = np.iinfo(np.int64).max
_OPEN, _WON, _CLOSED = 0, 1, 2
NO_EVENTS = Events(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int32), ())


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Leads as they were at a moment each, and where it is asked for, what came of them.

    Parameters
    ----------
    features : tuple of Feature
        What the columns are.
    matrix : array of shape (n, features), float64
        Column-contiguous: numbers, or places in the feature's categories; NaN where missing.
    lead_id, position : array
        Each row's lead, and its row in the table that was given.
    as_of : int array or None
        Each row's moment, UTC microseconds; None without a clock.
    y : int8 array or None
        1: won within the horizon from `as_of`; None in scoring.
    mature : bool array or None
        Whether the whole horizon lies within the data; a row that is not mature may yet be won.
    known_at : int array or None
        When y was known for certain: `as_of` plus the horizon.
    group : int array
        Rows of one group must stay on one side of a split.
    order : float array or None
        What comes before what: `as_of`, or the column that stands in for a clock.
    age : float array or None
        Days since the lead came in, where rows were taken at fixed ages.
    horizon : float or None
        Days.
    days : float array or None
        Days from `as_of` to the win; without one, to the close; of an open lead, to the end of the data.
    ended : int8 array or None
        0: still open at the end of the data, 1: won, 2: closed and not won.
    seen : float array or None
        Days from `as_of` to the end of the data: for so long it is known whether the lead was won.
    """

    features: tuple[Feature, ...]
    matrix: Floats
    lead_id: NDArray[Any]
    position: Ints
    as_of: Ints | None
    y: NDArray[np.int8] | None
    mature: Bools | None
    known_at: Ints | None
    group: Ints
    order: Floats | None
    age: Floats | None
    horizon: float | None
    days: Floats | None = None
    ended: NDArray[np.int8] | None = None
    seen: Floats | None = None

    def __len__(self) -> int:
        return len(self.lead_id)

    @cached_property
    def X(self) -> pd.DataFrame:  # noqa: N802  # what the field calls it
        """The matrix as a frame: one column a feature, float64 or Categorical with fixed categories."""
        columns = {
            feature.name: column
            if feature.categories is None
            else pd.Categorical.from_codes(
                np.where(np.isnan(column), -1, column).astype(np.int64),
                categories=pd.Index(feature.categories),
            )
            for feature, column in zip(self.features, self.matrix.T, strict=True)
        }
        return pd.DataFrame(columns, index=range(len(self)), copy=False)

    def take(self, rows: Ints) -> "Snapshot":
        """Give the same for some of the rows, by their numbers."""
        parts = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "matrix"}
        arrays: dict[str, Any] = {
            name: part[rows] for name, part in parts.items() if isinstance(part, np.ndarray)
        }
        return replace(self, matrix=self.matrix.T.take(rows, axis=1).T, **arrays)


def snapshot(tables: Tables, features: Sequence[Feature], as_of: int | Ints | None) -> Snapshot:
    """Take leads as they were at a moment, for scoring.

    Leads that came in at the moment or later are not in it; `position` tells which are.

    Parameters
    ----------
    tables : Tables
    features : sequence of Feature
    as_of : int or int array of shape (leads,) or None
        UTC microseconds; one a lead, or one for all. None where no feature needs to know the time.

    Returns
    -------
    Snapshot
        Without y; rows in the order of the leads.

    Raises
    ------
    UsageError
        Some feature needs to know the time, and there is no moment.
    DataError
        The leads table lacks a column.
    """
    lead = np.arange(len(tables.lead_id))
    moment = None
    if as_of is not None:
        moment = np.broadcast_to(np.asarray(as_of, np.int64), lead.shape)
        if tables.created_at is not None:
            lead = np.flatnonzero(tables.created_at < moment)
        moment = moment[lead]
    elif any(_tells_time(feature) for feature in features):
        raise UsageError(explain("a moment to score as of", "none", "give as_of, as 2024-05-01T12:00:00Z"))
    return Snapshot(
        features=tuple(features),
        matrix=_matrix(tables, features, lead, moment, [slice(0, len(lead))]),
        lead_id=tables.lead_id[lead],
        position=tables.position[lead],
        as_of=moment,
        y=None,
        mature=None,
        known_at=None,
        group=lead,
        order=None if moment is None else moment.astype(np.float64),
        age=None,
        horizon=None,
    )


def training_snapshot(
    tables: Tables,
    features: Sequence[Feature],
    *,
    ages: Sequence[float] = (),
    horizon: float | None = None,
    group: Ints | None = None,
) -> Snapshot:
    """Take leads as they were at fixed ages, with what came of them; without a clock, each lead once.

    A lead is in the snapshot at every age at which it was still open: not won, lost or disqualified before.
    The label is whether it is won at that moment or later, but before the horizon has passed. Beside it
    stands what is known of each row, mature or not: when the lead was won or closed, and how long it was
    seen.

    Parameters
    ----------
    tables : Tables
        With outcomes and `created_at`, or with a target.
    features : sequence of Feature
    ages : sequence of float
        Days after the lead came in; above 0.
    horizon : float
        Days; None with a target.
    group : int array of shape (leads,), optional
        Leads that belong together, such as duplicates; by default each stands for itself.

    Returns
    -------
    Snapshot
        By age, then in the order of the leads. With a target, leads without a known one are left out.

    Raises
    ------
    UsageError
        Ages or horizon are missing or not above 0.
    DataError
        There are no outcomes, or no clock beside them, or no lead is left.
    """
    own = np.arange(len(tables.lead_id)) if group is None else group
    taken = _at_ages if tables.outcomes is not None else _with_target
    found = taken(tables, features, ages, horizon, own)
    if not len(found):
        do = "check the target" if found.as_of is None else "give leads that were open at some age"
        raise DataError(explain("leads to learn from", "none", do))
    return found


def _with_target(
    tables: Tables, features: Sequence[Feature], _: Sequence[float], __: float | None, group: Ints
) -> Snapshot:
    if tables.target is None:
        do = "give outcomes, or name the column of the outcome as target"
        raise DataError(explain("what came of the leads", "neither outcomes nor a target", do))
    if any(_tells_time(feature) for feature in features):
        do = "give a table of outcomes with their times, or leave out the features that need one"
        raise DataError(explain("outcomes with their times beside events", "a target without times", do))
    lead = np.flatnonzero(~np.isnan(tables.target))
    order = tables.order
    if order is None and tables.created_at is not None:
        order = tables.created_at.astype(np.float64)
    return Snapshot(
        features=tuple(features),
        matrix=_matrix(tables, features, lead, None, [slice(0, len(lead))]),
        lead_id=tables.lead_id[lead],
        position=tables.position[lead],
        as_of=None,
        y=tables.target[lead].astype(np.int8),
        mature=None,
        known_at=None,
        group=group[lead],
        order=None if order is None else order[lead],
        age=None,
        horizon=None,
    )


def _at_ages(
    tables: Tables, features: Sequence[Feature], ages: Sequence[float], horizon: float | None, group: Ints
) -> Snapshot:
    if tables.created_at is None or tables.end is None or tables.outcomes is None:
        do = "name the column of the moment the lead came in as created_at"
        raise DataError(explain("the moment each lead came in", "outcomes without it", do))
    if horizon is None or not horizon > 0 or not ages or not min(ages) > 0:
        do = "set both, as ages 1d, 7d and horizon 30d"
        raise UsageError(explain("ages and a horizon above 0", f"ages {list(ages)}, horizon {horizon}", do))
    closed = earliest(tables.outcomes, CLOSING, len(tables.lead_id))
    won = earliest(tables.outcomes, ("won",), len(tables.lead_id))
    leads: list[Ints] = []
    moments: list[Ints] = []
    parts: list[slice] = []
    for age in ages:
        moment = tables.created_at + round(age * DAY)
        open_then = np.flatnonzero((closed >= moment) & (moment <= tables.end))
        start = parts[-1].stop if parts else 0
        leads.append(open_then)
        moments.append(moment[open_then])
        parts.append(slice(start, start + len(open_then)))
    lead, as_of = np.concatenate(leads), np.concatenate(moments)
    known_at = as_of + round(horizon * DAY)
    ended = np.where(won < _NEVER, _WON, np.where(closed < _NEVER, _CLOSED, _OPEN)).astype(np.int8)
    until = np.choose(ended, (np.full(len(won), tables.end), won, closed))
    return Snapshot(
        features=tuple(features),
        matrix=_matrix(tables, features, lead, as_of, parts),
        lead_id=tables.lead_id[lead],
        position=tables.position[lead],
        as_of=as_of,
        y=(won[lead] < known_at).astype(np.int8),
        mature=known_at <= tables.end,
        known_at=known_at,
        group=group[lead],
        order=as_of.astype(np.float64),
        age=np.repeat(np.asarray(ages, np.float64), [len(open_then) for open_then in leads]),
        horizon=float(horizon),
        days=(until[lead] - as_of) / DAY,
        ended=ended[lead],
        seen=(tables.end - as_of) / DAY,
    )


def earliest(outcomes: Outcomes, stages: Sequence[str], leads: int) -> Ints:
    """Find when each lead first reached one of the stages; far in the future where it did not."""
    wanted = np.array([stage in stages for stage in outcomes.stages])[outcomes.stage]
    earliest = np.full(leads, _NEVER, np.int64)
    np.minimum.at(earliest, outcomes.lead[wanted], outcomes.at[wanted])
    return earliest


def _tells_time(feature: Feature) -> bool:
    return isinstance(feature, EventFeature) or feature.aggregate in ("days_since", "lead_age")


def _matrix(
    tables: Tables, features: Sequence[Feature], lead: Ints, as_of: Ints | None, parts: Sequence[slice]
) -> Floats:
    """Compute every feature; within each part of the rows a lead occurs at most once."""
    places = [j for j, feature in enumerate(features) if isinstance(feature, EventFeature)]
    matrix = np.empty((len(lead), len(features)), order="F")
    if places and as_of is not None:
        plan = plan_of(tuple(feature for feature in features if isinstance(feature, EventFeature)))
        events = tables.events or NO_EVENTS
        for part in parts:
            row_of = np.full(len(tables.lead_id), -1, np.int64)
            row_of[lead[part]] = np.arange(len(lead[part]))
            matrix[part, places] = aggregate(plan, events, as_of[part], row_of)
    for j, feature in enumerate(features):
        if not isinstance(feature, EventFeature):
            matrix[:, j] = attribute(feature, tables, lead, as_of)
    return matrix
