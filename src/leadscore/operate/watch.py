"""Leads that were given back, and what brings leads over the line."""

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
LONGEST: Final = 200  # letters of what is said of a lead
_NURTURE: Final = STAGES.index("nurture")


@dataclass(frozen=True, slots=True)
class Entry:
    """What brought a lead over the line of MQL, or back over it, and since when it is there.

    Parameters
    ----------
    at : int or None
        UTC microseconds; None where the lead is not over the line by itself.
    by : str
        What happened, in words.
    """

    at: int | None
    by: str


def entered(model: LeadModel, people: timelines.People, place: int, stage: str | None = None) -> Entry:
    """Say what brought a lead into a stage that it holds.

    Parameters
    ----------
    model : LeadModel
        One that reads time.
    people : People
        As `timelines.read_people` gives them.
    place : int
        Which of them.
    stage : str, optional
        mql: into that or a higher one; by default into the highest that it holds.

    Returns
    -------
    Entry
    """
    line = timelines.follow(model, people, place, None, drivers=False)
    held = [one for one in line.triggers if one.held and stage in (None, one.stage)]
    if held:
        row = strip.row_of(line, held[-1].step)
        return Entry(microseconds(row.end), clean(row.text, LONGEST))
    if np.isin(np.array(line.stages)[line.rank], FOR_SALES).all():
        return Entry(int(line.moments[0]), "Over the line since it came in")
    return Entry(None, "")


def came_back(model: LeadModel, people: timelines.People, place: int, recycled: int) -> Entry | None:
    """Find since when a lead that was given back is for sales again.

    That takes two things: something has happened since that raised its score, and it stands at or above the
    line of MQL once the policy's cool-down is over. A fast track brings it back at once.

    Parameters
    ----------
    model, people, place
        As for `entered`.
    recycled : int
        When it was given back, UTC microseconds, before the moment of the people.

    Returns
    -------
    Entry or None
        None where it is not back.
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
    if not again[-1]:
        return None
    k = int(np.flatnonzero(~again).max(initial=-1)) + 1
    told = [strip.row_of(line, step).text for step, end in zip(lifts, ends, strict=True) if end <= moments[k]]
    rules = [model.policy.fast_track[int(rule[k]) - len(model.policy.suppress)].name] if fast[k] else []
    return Entry(int(moments[k]), ": ".join(clean(part, LONGEST) for part in (*rules, *told[-1:])))


def _for_sales(model: LeadModel, rows: Snapshot, recycled: int) -> tuple[Bools, Ints]:
    """Say at which of one lead's moments it is an MQL or better, as one given back, and by which rule."""
    bundle, ruled = model.bundle, model.ruled(rows)
    chance = probability(bundle.calibration.log_odds(bundle.scorer.margin(model.matrix(rows))))
    since = np.maximum((cast(Ints, rows.as_of) - recycled) / DAY, 0)
    named = stages(model.policy, chance, *ruled, Standing(np.full(len(rows), _NURTURE), since))
    return np.isin(named, FOR_SALES), deciding(model.policy, *ruled)
