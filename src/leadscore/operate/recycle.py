"""Leads that sales does not work come back: which, why, and what would make each one for sales again."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from leadscore import timelines, what_if
from leadscore.data.contract import Array, Contract, Ints
from leadscore.data.own import own_rows
from leadscore.errors import DataError, UsageError, explain, nearest, shown
from leadscore.explain.timeline import instant
from leadscore.explain.wording import clean
from leadscore.models.matrix import is_finite
from leadscore.operate.cracks import WHAT, Case, cracks, frame_of
from leadscore.operate.given import GivenBack, given_back, why
from leadscore.operate.past import Past, past, places_of, read_aside, stamps, touches_of
from leadscore.operate.scored import Scored, scored
from leadscore.operate.watch import LONGEST, Entry, came_back
from leadscore.policy.policy import STAGES
from leadscore.policy.previous import Earlier, read_earlier, standing_of
from leadscore.policy.staging import Standing
from leadscore.predict import LeadModel, Moment

if TYPE_CHECKING:
    import pandas as pd

COLUMNS: Final = ("lead_id", "stage", "recycled_at", "reason", "watch", "back_at", "back_by")
_NURTURE: Final = STAGES.index("nurture")
_NAMED: Final = 8  # reasons of lost leads that a finding names


@dataclass(frozen=True, eq=False)
class Recycled:
    """Leads that are given back, and what fell through the cracks.

    Parameters
    ----------
    frame : DataFrame
        One row a lead that is given back: lead_id, stage (nurture, or unqualified where a rule holds it
        back), recycled_at (when its time was up, or it was closed), reason, watch (what would bring it back),
        back_at and back_by (since when it is back, and what brought it). It is a `previous` table of
        `LeadModel.score` and `queue`.
    cracks : DataFrame
        One row a finding: what (a key of `counts`), lead_id, since, days, and why in one sentence.
    counts : mapping of str to int
        How many leads fell through which crack, in the order of the frame.
    leads : int
        How many leads there are.
    findings : tuple of str
        What was left out or mended of the tables, and what else a reader should know.
    """

    frame: "pd.DataFrame"
    cracks: "pd.DataFrame"
    counts: Mapping[str, int]
    leads: int
    findings: tuple[str, ...]


def recycle(
    model: LeadModel,
    leads: Any,
    events: Any = None,
    as_of: Moment = None,
    *,
    outcomes: Any = None,
    within: float = 5.0,
    not_now: Sequence[str] = (),
    touches: Sequence[str] = (),
    previous: Any = None,
    history: Any = None,
    nearest_of: int = 20,
    progress: Callable[[str], None] = lambda _: None,
) -> Recycled:
    """Give back the leads that sales did not work in time, or closed as "not now", and watch them.

    A lead that was handed over is worked once sales accepts it, closes it or touches it. It is given back at
    the moment at which its time is up, or at which it was closed, however often and late this is asked; so
    the policy's cool-down runs from there. It is back once something that happened since raised its score,
    and it stands over the line of MQL past the cool-down; a fast track brings it back at once.

    Parameters
    ----------
    model : LeadModel
        One that reads time.
    leads, events, as_of, history
        As for `LeadModel.score`.
    outcomes : table
        As the project's config describes it; what is not before `as_of` does not count. It can be left out
        where outcomes are among the events.
    within : float
        Days that sales has to work a lead.
    not_now : sequence of str
        Reasons of lost leads that mean "not now", in upper or lower case: "Bad timing".
    touches : sequence of str
        Types of events by which sales works a lead: "sales_call".
    previous : table or list of tables, optional
        What `queue` and `recycle` gave before: hand-overs that the outcomes do not tell, and leads that were
        given back already.
    nearest_of : int
        Of how many leads, those nearest to the line, the nearest change that brings them back is looked for.
    progress : callable, optional
        Told which step begins.

    Returns
    -------
    Recycled

    Raises
    ------
    DataError
        A table breaks the contract.
    UsageError
        As `LeadModel.score`; the model does not read time; no outcomes are described or given; `within` is
        not above 0; or a type of events is unknown.
    """
    contract = model.bundle.contract
    _require(contract, outcomes, within, not_now)
    progress("Scoring the leads")
    people = timelines.read_people(model, leads, events, as_of, history)
    when = people.as_of
    aside = read_aside(contract, leads, events, outcomes, reasons=True)
    earlier = read_earlier(previous, contract, aside.lead_id, when)
    touched = touches_of(people, touches, contract, aside.outcomes)
    done = past(aside.outcomes, earlier, when=when, touches=touched)
    given = given_back(done, when, within, not_now)
    rows, found = model.rows(leads, events, as_of, history)
    place = places_of(aside, rows)
    row = np.full(len(done), -1)
    row[place] = np.arange(len(rows))
    now = scored(model, rows, _standing(earlier, given, place, rows.group, when))
    case = Case(now, row, people, done, given, _returned(now, row, people, given), within)
    progress("Looking for what brings leads back")
    order = np.flatnonzero(given.some)
    order = order[np.lexsort((np.unique(aside.lead_id, return_inverse=True)[1][order], given.at[order]))]
    waiting = np.array([lead for lead in order.tolist() if lead not in case.back], np.int64)
    watch = dict(zip(waiting.tolist(), _watched(now, row[waiting]), strict=True))
    near = _near(now, row, waiting)[:nearest_of]
    changes = _changes(now, (leads, events, as_of, history), row[near], given.at[near])
    watch |= {lead: said for lead, said in zip(near.tolist(), changes, strict=True) if said}
    progress("Looking for what fell through the cracks")
    fell = cracks(case)
    told = [*found, *(str(one) for one in aside.findings if str(one) not in found), *earlier.findings]
    return Recycled(
        frame=_frame(case, aside.lead_id, order, watch),
        cracks=frame_of(fell, aside.lead_id),
        counts={what: sum(one.what == what for one in fell) for what in WHAT},
        leads=len(done),
        findings=(*told, *_reasons(done, not_now)),
    )


def _require(contract: Contract, outcomes: Any, within: float, not_now: Sequence[str]) -> None:
    if contract.outcomes is None and not contract.outcome_events:
        do = "describe them in the config under outcomes, and train again"
        raise UsageError(explain("a model whose config describes outcomes", "none", do))
    if outcomes is None and not contract.outcome_events:
        do = "pass outcomes (--outcomes), which tell what was handed over and worked"
        raise UsageError(explain("the outcomes of the leads", "none", do))
    if not is_finite(within) or within <= 0:
        do = "give the days that sales has to work a lead"
        raise UsageError(explain("within above 0 days", shown(within), do))
    if not_now and (contract.outcomes is None or contract.outcomes.reason is None):
        do = "name it in the config under outcomes.reason, and train again"
        raise UsageError(explain("a column with the reasons of lost leads", "none", do))


def _standing(earlier: Earlier, given: GivenBack, place: Ints, group: Ints, when: int) -> Standing:
    """Say where leads stand once those that are given back are."""
    stage = np.where(given.some, _NURTURE, earlier.stage)
    recycled = np.where(given.some, given.at, earlier.recycled)
    return standing_of(Earlier(stage[place], earlier.handed[place], recycled[place]), group, when)


def _reasons(done: Past, not_now: Sequence[str]) -> Iterator[str]:
    """Say which reasons there are where none is named, and which of those named there are not."""
    lost = Counter(clean(reason) for reason in done.reason[done.ending == "lost"] if reason)
    if lost and not not_now:
        named = ", ".join(f"{reason} ({count:,})" for reason, count in lost.most_common(_NAMED))
        more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
        yield f"no reason is said to mean not now (--not-now), of those of lost leads: {named}{more}"
    known = {reason.strip().casefold() for reason in lost}
    for reason in not_now:
        if lost and reason.strip().casefold() not in known:
            yield f"no lead is lost for the reason {shown(reason)!r}{nearest(reason, list(lost))}"


# ------------------------------------------------------------------------------------- what is watched for
def _returned(now: Scored, row: Ints, people: timelines.People, given: GivenBack) -> dict[int, Entry]:
    """Find the leads that were given back and are back, and by what."""
    some = np.flatnonzero(given.some & (row >= 0))
    some = some[now.for_sales[row[some]]].tolist()
    found = {lead: came_back(now.model, people, lead, int(given.at[lead])) for lead in some}
    return {lead: entry for lead, entry in found.items() if entry is not None}


def _watched(now: Scored, row: Ints) -> list[str]:
    """Say of leads that wait what keeps them from coming back; a row of -1 is of one that is not scored."""
    told = np.full(len(row), "It is closed among the events too, and is not scored", object)
    there = np.flatnonzero(row >= 0)
    told[there] = now.reasons(row[there])
    told[there[now.for_sales[row[there]]]] = "Anything that raises its score: it is over the line as it is"
    return [clean(text, LONGEST).rstrip(".") for text in told]


def _near(now: Scored, row: Ints, waiting: Ints) -> Ints:
    """Order the leads that wait, and that something could bring back, by how near they are to the line."""
    some = waiting[row[waiting] >= 0]
    some = some[~now.suppressed[row[some]] & ~now.for_sales[row[some]]]
    return some[np.argsort(-now.chance[row[some]], kind="stable")]


def _changes(now: Scored, tables: tuple[Any, Any, Moment, Any], rows: Ints, given: Ints) -> Iterator[str]:
    """Say of leads what is the nearest change that brings each back; empty where there is none."""
    leads, events, as_of, history = tables
    contract, ids = now.model.bundle.contract, now.rows.lead_id[rows].tolist()
    if contract.event_log:
        yield from [""] * len(ids)
        return
    own = own_rows(contract, leads, events, history, ids)
    for row, lead_id, at, alone in zip(rows.tolist(), ids, given.tolist(), own, strict=True):
        before = [{"lead_id": lead_id, "stage": "nurture", "recycled_at": instant(at).isoformat()}]
        rest: dict[str, Any] = {"history": alone.history, "previous": before, "most": 1}
        try:
            found = what_if.changes(now.model, alone.lead, alone.events, as_of, **rest)
        except DataError:  # what its own rows do not make a lead, such as one of an event log
            found = ()
        said = [one.text for one in found if one.kind != "rule" and one.score_before == now.score[row]]
        yield clean(said[0], LONGEST) if said else ""


# ---------------------------------------------------------------------------------------------- what is told
def _frame(case: Case, lead_id: Array, order: Ints, watch: Mapping[int, str]) -> "pd.DataFrame":
    import pandas as pd

    now, given, back = case.now, case.given, case.back
    held = np.append(now.suppressed, False)[case.row[order]]
    leads = order.tolist()
    return pd.DataFrame(
        {
            "lead_id": lead_id[order],
            "stage": np.where(held, STAGES[0], STAGES[_NURTURE]).astype(object),
            "recycled_at": stamps(given.at[order].tolist()),
            "reason": [why(case.done, given, lead, case.within) for lead in leads],
            "watch": [watch.get(lead, "") for lead in leads],
            "back_at": stamps([back[lead].at if lead in back else None for lead in leads]),
            "back_by": [back[lead].by if lead in back else "" for lead in leads],
        },
        columns=list(COLUMNS),
    )
