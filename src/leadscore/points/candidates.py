"""What learned points may read: fields and events that a line of the point table can name."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import pandas as pd

from leadscore.data.contract import Ints
from leadscore.data.identity import duplicate_groups
from leadscore.features.declare import AttributeFeature, EventFeature, Feature
from leadscore.features.snapshot import training_snapshot
from leadscore.models.learned import LearnedPoints
from leadscore.train import Prepared

HALF_LIVES: Final = (1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 14.0, 21.0, 30.0, 45.0, 60.0, 90.0, 180.0)  # days
_FIELDS: Final = (
    "number",
    "category",
    "seniority",
    "department",
    "email_domain_kind",
    "days_since",
    "lead_age",
)


@dataclass(frozen=True)
class Candidates:
    """The columns that rules may read, and the features behind them.

    Parameters
    ----------
    X : DataFrame
        One row a row of the training data.
    features : mapping of str to Feature
        By column of X.
    decays : mapping of str to mapping of float to str
        For each event type, its columns by half-life in days; `inf` does not fade.
    """

    X: pd.DataFrame = field(repr=False)
    features: Mapping[str, Feature] = field(repr=False)
    decays: Mapping[str, Mapping[float, str]]

    def model(self, seed: int) -> LearnedPoints:
        """Give the learner, ready to be fitted on rows of X."""
        fading = {name for grid in self.decays.values() for name in grid.values()}
        return LearnedPoints(
            [str(name) for name in self.X if name not in fading], self.decays, random_state=seed
        )


def candidates(prepared: Prepared) -> Candidates:
    """Find what rules may read, and add the decayed counts of every frequent event on a grid of half-lives.

    Fields, seniority, department and e-mail domain, ages in days, and counts within windows and of frequent
    contents are taken as the project has them; ratios, trends and the like have no line in a point table.

    Parameters
    ----------
    prepared : Prepared

    Returns
    -------
    Candidates
    """
    plain = {f.name: f for f in prepared.features if _has_a_line(f)}
    events = [f for f in prepared.features if isinstance(f, EventFeature)]
    grids = {f.concept: _grid(f) for f in events if _is_count(f) and not _narrowed(f)}
    fading = {f.name: f for grid in grids.values() for f in grid.values()}
    plain = {name: feature for name, feature in plain.items() if name not in fading}
    X = prepared.data.X[list(plain)]
    if fading:
        X = pd.concat([X, _counts(prepared, tuple(fading.values()))], axis=1)
    decays = {event: {days: f.name for days, f in grid.items()} for event, grid in grids.items()}
    return Candidates(X, {**plain, **fading}, decays)


def _has_a_line(feature: Feature) -> bool:
    if isinstance(feature, AttributeFeature):
        return feature.aggregate in _FIELDS
    return _is_count(feature) and _narrowed(feature)


def _is_count(feature: EventFeature) -> bool:
    """Whether it counts events of a type, of one content of it, or of the engagement."""
    return (
        feature.aggregate == "count"
        and feature.channel is None
        and feature.contents is None
        and (feature.event is not None or feature.family == "engagement")
    )


def _narrowed(feature: EventFeature) -> bool:
    return feature.content is not None or feature.window is not None


def _grid(feature: EventFeature) -> dict[float, EventFeature]:
    faded = {d: replace(feature, aggregate="decayed_count", half_life=d) for d in HALF_LIVES}
    return {**faded, math.inf: feature}


def _counts(prepared: Prepared, features: tuple[EventFeature, ...]) -> pd.DataFrame:
    """Look at the leads again, at the same moments, for more features."""
    project, tables = prepared.project, prepared.tables
    group = duplicate_groups(tables, email_fields=project.email, phone_fields=project.phone)
    again = training_snapshot(tables, features, ages=project.ages, horizon=project.horizon, group=group)
    if again.mature is not None and len(again) > len(prepared.data):
        again = again.take(np.flatnonzero(again.mature))
    return again.X


def mature(prepared: Prepared) -> Ints:
    """Give the numbers of the rows whose outcome has had the time to show."""
    flags = prepared.data.mature
    return np.arange(len(prepared.y)) if flags is None else np.flatnonzero(flags)
