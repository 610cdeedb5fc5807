"""Which leads are given back: those that sales did not work in time, and those closed as "not now"."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from leadscore.data.contract import Ints
from leadscore.explain.wording import clean
from leadscore.models.matrix import Bools
from leadscore.operate.past import DAY, Past, day
from leadscore.operate.watch import LONGEST
from leadscore.policy.policy import days
from leadscore.policy.previous import NEVER


@dataclass(frozen=True, eq=False)
class GivenBack:
    """Which leads are given back, when and why; one entry a lead.

    Parameters
    ----------
    at : int array
        UTC microseconds, `NEVER` of those that are not.
    unworked : bool array
        Handed over, and not worked before its time was up or since.
    not_now : bool array
        Closed as lost for a reason that means "not now", and not touched since.
    """

    at: Ints
    unworked: Bools
    not_now: Bools

    @property
    def some(self) -> Bools:
        """Whether it is given back."""
        return self.unworked | self.not_now


def given_back(done: Past, when: int, within: float, not_now: Sequence[str]) -> GivenBack:
    """Find the leads that are given back by a moment.

    When depends on what was done alone, not on when it is asked: a lead was given back when its time was up,
    or when it was closed, unless an earlier table says that it was later.

    Parameters
    ----------
    done : Past
    when : int
        UTC microseconds.
    within : float
        Days that sales has to work a lead.
    not_now : sequence of str
        Reasons, in upper or lower case.
    """
    deadline = np.where(done.handed > NEVER, done.handed, when) + round(within * DAY)
    unworked = (done.handed > NEVER) & (done.worked == NEVER) & (deadline < when)
    wanted = [reason.strip().casefold() for reason in not_now]
    meant = np.array([reason.strip().casefold() in wanted for reason in done.reason], np.bool_)
    refused = (done.ending == "lost") & meant & (done.touched <= done.closed)
    at = np.full(len(done), NEVER)
    for holds, since, anyway in ((unworked, done.handed, deadline), (refused, done.closed, done.closed)):
        at = np.where(holds, np.where(done.recycled >= since, done.recycled, anyway), at)
    return GivenBack(at, unworked, refused)


def why(done: Past, given: GivenBack, lead: int, within: float) -> str:
    """Say in a sentence why a lead is given back."""
    if given.unworked[lead]:
        return f"Handed over on {day(int(done.handed[lead]))} and not worked within {days(within)}"
    reason = clean(done.reason[lead], LONGEST)
    return f"Closed as lost on {day(int(done.closed[lead]))}: {reason}"
