"""What fell through the cracks between marketing and sales, and why: one sentence a lead."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from leadscore import timelines
from leadscore.data.contract import Array, Ints
from leadscore.explain.wording import clean, days
from leadscore.features.snapshot import snapshot
from leadscore.operate.given import GivenBack
from leadscore.operate.past import DAY, Past, day, stamps
from leadscore.operate.scored import Scored, scored
from leadscore.operate.watch import LONGEST, Entry, entered
from leadscore.policy import policy
from leadscore.policy.previous import NEVER

if TYPE_CHECKING:
    import pandas as pd

MISSED: Final = "over the line and never handed over"
UNWORKED: Final = "handed over and never worked"
LATE: Final = "worked late"
FORGOTTEN: Final = "closed as not now and never looked at again"
UNSEEN: Final = "won, though below the line and never handed over"
WHAT: Final = (MISSED, UNWORKED, LATE, FORGOTTEN, UNSEEN)


@dataclass(frozen=True, slots=True)
class Crack:
    """One lead that fell through.

    Parameters
    ----------
    what : str
        One of `WHAT`.
    lead : int
        Its place.
    since : int
        UTC microseconds.
    days : float
        For how long, or how much too late.
    why : str
        One sentence.
    """

    what: str
    lead: int
    since: int
    days: float
    why: str


@dataclass(frozen=True, eq=False)
class Case:
    """All that the cracks are found in.

    Parameters
    ----------
    now : Scored
        The leads at the moment.
    row : int array
        The row in it of each lead, -1 where it is not scored.
    people : People
    done : Past
    given : GivenBack
    back : mapping of int to Entry
        The leads that were given back and are back, by what.
    within : float
        Days that sales has to work a lead, and marketing to hand one over.
    """

    now: Scored
    row: Ints
    people: timelines.People
    done: Past
    given: GivenBack
    back: Mapping[int, Entry]
    within: float

    @property
    def when(self) -> int:
        """The moment, UTC microseconds."""
        return self.people.as_of


def cracks(case: Case) -> list[Crack]:
    """Find every lead that fell through, those of one kind with the longest first."""
    found = [*_missed(case), *_unworked(case), *_late(case), *_forgotten(case), *_unseen(case)]
    return sorted(found, key=lambda one: (WHAT.index(one.what), -one.days, one.lead))


def frame_of(found: Sequence[Crack], lead_id: Array) -> "pd.DataFrame":
    """Lay cracks out as a frame: what, lead_id, since, days, why."""
    import pandas as pd

    return pd.DataFrame(
        {
            "what": [one.what for one in found],
            "lead_id": lead_id[[one.lead for one in found]] if found else lead_id[:0],
            "since": stamps([one.since for one in found]),
            "days": np.array([one.days for one in found], np.float64),
            "why": [one.why for one in found],
        }
    )


def _missed(case: Case) -> Iterator[Crack]:
    """Leads that sales never had, and that stand over the line for longer than sales has to work one."""
    done, now = case.done, case.now
    untouched = (done.busy == NEVER) & (done.touched == NEVER) & (case.row >= 0)
    for lead in np.flatnonzero(untouched).tolist():
        row = int(case.row[lead])
        if not now.for_sales[row]:
            continue
        entry = entered(now.model, case.people, lead, "mql")
        if entry.at is None or (passed := (case.when - entry.at) / DAY) <= case.within:
            continue
        by = f"{entry.by[:1].lower()}{entry.by[1:]}"
        why = (
            f"At or above the MQL line since {day(entry.at)} ({by}), and in {days(passed)} never handed over"
        )
        yield Crack(MISSED, lead, entry.at, passed, f"{why}.")


def _unworked(case: Case) -> Iterator[Crack]:
    for lead in np.flatnonzero(case.given.unworked).tolist():
        since = int(case.done.handed[lead])
        passed = (case.when - since) / DAY
        why = f"Handed over on {day(since)}, and neither accepted, closed nor touched in {days(passed)}"
        yield Crack(UNWORKED, lead, since, passed, f"{why}{_again(case, lead)}.")


def _late(case: Case) -> Iterator[Crack]:
    done = case.done
    late = (done.handed > NEVER) & (done.worked > NEVER)
    late &= np.where(late, done.worked - done.handed, 0) > round(case.within * DAY)
    for lead in np.flatnonzero(late).tolist():
        handed, worked = int(done.handed[lead]), int(done.worked[lead])
        passed = (worked - handed) / DAY
        over = days(passed - case.within)
        why = f"Handed over on {day(handed)} and first worked on {day(worked)}, {over} after its"
        yield Crack(LATE, lead, handed, passed, f"{why} {policy.days(case.within)} were up.")


def _forgotten(case: Case) -> Iterator[Crack]:
    for lead in np.flatnonzero(case.given.not_now).tolist():
        since = int(case.done.closed[lead])
        passed = (case.when - since) / DAY
        if passed > case.within:
            reason = clean(case.done.reason[lead], LONGEST)
            why = f"Closed as lost on {day(since)} ({reason}), and not looked at in {days(passed)}"
            yield Crack(FORGOTTEN, lead, since, passed, f"{why}{_again(case, lead)}.")


def _again(case: Case, lead: int) -> str:
    """Say that a lead that was given back is over the line again."""
    entry = case.back.get(lead)
    if entry is None or entry.at is None:
        return ""
    return f"; back over the line since {day(entry.at)} ({entry.by[:1].lower()}{entry.by[1:]})"


def _unseen(case: Case) -> Iterator[Crack]:
    """Leads that were won though sales was never handed them, and that were below the line till then."""
    done, people, model = case.done, case.people, case.now.model
    alone = (done.ending == "won") & (done.handed == NEVER) & (done.accepted == NEVER)
    leads = np.flatnonzero(alone)
    if not len(leads):
        return
    tables = people.tables
    moments = (
        np.full(len(tables.lead_id), case.when) if tables.created_at is None else tables.created_at.copy()
    )
    moments[people.row[leads]] = done.closed[leads]
    before = scored(model, snapshot(tables, model.bundle.features, moments), None)
    row = np.full(len(tables.lead_id), -1)
    row[before.rows.group] = np.arange(len(before.rows))
    at = row[people.row[leads]]
    leads, at = leads[at >= 0], at[at >= 0]
    leads, at = leads[~before.for_sales[at]], at[~before.for_sales[at]]
    for lead, why in zip(leads.tolist(), before.reasons(at), strict=True):
        since = int(done.closed[lead])
        told = f"{why[:1].lower()}{why[1:].rstrip('.')}"
        yield Crack(
            UNSEEN, lead, since, (case.when - since) / DAY, f"Won on {day(since)}; until then {told}."
        )
