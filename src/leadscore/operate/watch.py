"""Leads that were given back: what brings them over the line again."""

from dataclasses import dataclass
from typing import Final, cast

import numpy as np

from leadscore import timelines
from leadscore.data.contract import Ints
from leadscore.explain import strip
from leadscore.explain.timeline import TIME
from leadscore.explain.wording import clean
from leadscore.features.snapshot import Snapshot
from leadscore.models.calibration import probability
from leadscore.models.matrix import Bools
from leadscore.operate.past import DAY, microseconds
from leadscore.policy.policy import STAGES
from leadscore.policy.staging import Standing, deciding, stages
from leadscore.predict import LeadModel

FOR_SALES: Final = STAGES[2:]
_NURTURE: Final = STAGES.index("nurture")
LONGEST: Final = 200  # letters of what is said of a lead


@dataclass(frozen=True, slots=True)
class Back:
    """What brought a lead back that had been given back.

    Parameters
    ----------
    at : int
        When, UTC microseconds.
    by : str
        What happened, in words.
    """

    at: int
    by: str


def entered(model: LeadModel, people: timelines.People, place: int) -> tuple[str, int | None]:
    """Say what brought a lead into the highest stage that it holds, and when, in UTC microseconds.

    Parameters
    ----------
    model : LeadModel
        One that reads time.
    people : People
        As `timelines.read_people` gives them.
    place : int
        Which of them.

    Returns
    -------
    text, moment
        Empty and None where the lead is not over the line by itself.
    """
    line = timelines.follow(model, people, place, None, drivers=False)
    step = strip.entered(line)
    if step is not None:
        return clean(step.text, LONGEST), microseconds(step.end)
    if np.isin(np.array(line.stages)[line.rank], FOR_SALES).all():
        return "Over the line since it came in", int(line.moments[0])
    return "", None


def came_back(model: LeadModel, people: timelines.People, place: int, recycled: int) -> Back | None:
    """Find the first moment since a lead was given back at which it is for sales again.

    That takes two things: something has happened since that raised its score, and it stands at or above the
    line of MQL once the policy's cool-down is over. A fast track brings it back at once.

    Parameters
    ----------
    model : LeadModel
        One that reads time.
    people : People
        As `timelines.read_people` gives them.
    place : int
        Which of them.
    recycled : int
        When it was given back, UTC microseconds, before the moment of the people.

    Returns
    -------
    Back or None
        None where it is not back yet.
    """
    line = timelines.follow(model, people, place, recycled, drivers=False)
    cooled = recycled + round(model.policy.cool_down * DAY)
    also = [cooled] if line.moments[0] < cooled < people.as_of else []
    moments = np.union1d(line.moments, also).astype(np.int64)
    for_sales, rule = _for_sales(model, timelines.rows_at(model, people, place, moments), recycled)
    fast = rule >= len(model.policy.suppress)
    lifts = [step for step in line.steps if step.kind != TIME and step.points > 0]
    ends = np.array([line.moments[step.place + 1] for step in lifts], np.int64)
    again = for_sales & (fast | (moments >= min(ends, default=people.as_of + 1)))
    if not again.any():
        return None
    k = int(np.argmax(again))
    by = [strip.row_of(line, step).text for step, end in zip(lifts, ends, strict=True) if end <= moments[k]][
        -1:
    ]
    if fast[k]:
        by.insert(0, model.policy.fast_track[int(rule[k]) - len(model.policy.suppress)].name)
    return Back(int(moments[k]), ": ".join(clean(part, LONGEST) for part in by))


def _for_sales(model: LeadModel, rows: Snapshot, recycled: int) -> tuple[Bools, Ints]:
    """Say of one lead's moments at which it is an MQL or better as one given back, and by which rule."""
    bundle, ruled = model.bundle, model.ruled(rows)
    chance = probability(bundle.calibration.log_odds(bundle.scorer.margin(model.matrix(rows))))
    since = np.maximum((cast(Ints, rows.as_of) - recycled) / DAY, 0)
    standing = Standing(np.full(len(rows), _NURTURE), since)
    named = stages(model.policy, chance, *ruled, standing)
    return np.isin(named, FOR_SALES), deciding(model.policy, *ruled)
