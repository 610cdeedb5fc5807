"""One lead's row of a snapshot from plain values: the numbers that `snapshot` gives, without a table."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leadscore.data.records import One
from leadscore.features.attributes import OneReader, read_one
from leadscore.features.declare import EventFeature, Feature
from leadscore.features.kernel import aggregate
from leadscore.features.plan import Plan, plan_of
from leadscore.features.snapshot import NO_EVENTS, Snapshot

_FIRST = np.zeros(1, np.int64)


@dataclass(frozen=True, eq=False)
class Reading:
    """Features, worked out once for leads that come one at a time.

    Parameters
    ----------
    features : tuple of Feature
    plan : Plan
        Of those that read events.
    counted : array
        Where those are among the features.
    read : tuple
        The places of the others, and what reads each.
    """

    features: tuple[Feature, ...]
    plan: Plan
    counted: NDArray[np.intp]
    read: tuple[tuple[int, OneReader], ...]

    def row(self, one: One, as_of: int | None) -> Snapshot | None:
        """Take the lead as it was at a moment, as `snapshot` does; None: it came in then or later.

        Parameters
        ----------
        one : One
        as_of : int or None
            UTC microseconds; None where no feature needs to know the time.
        """
        if as_of is not None and one.created_at is not None and one.created_at >= as_of:
            return None
        matrix = np.empty((1, len(self.features)), order="F")
        moment = None if as_of is None else np.array([as_of])
        if moment is not None and self.counted.size:
            matrix[0, self.counted] = aggregate(self.plan, one.events or NO_EVENTS, moment)[0]
        for place, read in self.read:
            matrix[0, place] = read(one.values, one.created_at, as_of)
        return Snapshot(
            features=self.features,
            matrix=matrix,
            lead_id=np.array([one.lead_id], np.int64 if isinstance(one.lead_id, int) else object),
            position=_FIRST,
            as_of=moment,
            y=None,
            mature=None,
            known_at=None,
            group=_FIRST,
            order=None if moment is None else moment.astype(np.float64),
            age=None,
            horizon=None,
        )


def reading_of(features: Sequence[Feature]) -> Reading:
    """Work out how features are read off one lead.

    Parameters
    ----------
    features : sequence of Feature

    Returns
    -------
    Reading

    Examples
    --------
    >>> from leadscore.features.declare import AttributeFeature
    >>> one = One(7, None, {"staff": 12.0}, None)
    >>> reading_of([AttributeFeature("number", "staff")]).row(one, None).matrix.tolist()
    [[12.0]]
    """
    counted = [j for j, feature in enumerate(features) if isinstance(feature, EventFeature)]
    return Reading(
        features=tuple(features),
        plan=plan_of(tuple(feature for feature in features if isinstance(feature, EventFeature))),
        counted=np.array(counted, np.intp),
        read=tuple(
            (j, read_one(feature))
            for j, feature in enumerate(features)
            if not isinstance(feature, EventFeature)
        ),
    )
