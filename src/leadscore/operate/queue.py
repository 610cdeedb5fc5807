"""The hand-over queue: which leads go to sales now, in which order, with what a person needs to begin."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from leadscore import timelines
from leadscore.cards import REASONS
from leadscore.data.columns import found_in
from leadscore.data.contract import Array, Ints, Tables
from leadscore.errors import DataError, UsageError, explain, shown
from leadscore.explain.wording import clean
from leadscore.models.hazard import HazardForest
from leadscore.models.matrix import Floats
from leadscore.operate.past import Past, of_persons, past, places_of, read_aside, stamps
from leadscore.operate.scored import Scored, scored
from leadscore.operate.watch import LONGEST, Entry, came_back, entered
from leadscore.policy.previous import NEVER, read_earlier
from leadscore.predict import LeadModel, Moment, moment

if TYPE_CHECKING:
    import pandas as pd

RANKED: Final = (
    "rank", "lead_id", "stage", "fast_track", "score", "probability", "value", "urgency", "rank_value",
    "trigger", "triggered_at", *(f"reason_{i + 1}" for i in range(REASONS)),
)  # fmt: skip
HANDED: Final = "handed_over_at"
SUPPRESSED: Final = "held back by a rule of the policy"
CLOSED: Final = "closed"
HANDED_OVER: Final = "handed over already"
COOLING: Final = "given back, and in the cool-down"
BELOW: Final = "below the line of MQL"
WAITING: Final = "given back, and nothing has brought it back"
SAME: Final = "the same person as another in the queue"
BEYOND: Final = "beyond the capacity"
OUT: Final = (SUPPRESSED, CLOSED, HANDED_OVER, COOLING, BELOW, WAITING, SAME, BEYOND)
_IN: Final = -1
_FIELD: Final = 1_000  # letters of a field
_EVER: Final = np.iinfo(np.int64).max
_FEW: Final = 50  # leads between two words of progress


@dataclass(frozen=True, eq=False)
class Queue:
    """The leads to hand over now, the best first.

    Parameters
    ----------
    frame : DataFrame
        One row a person: rank, lead_id, stage, fast_track (the rule that sends the lead to sales whatever its
        chance), score, probability, value, urgency, rank_value, trigger and triggered_at (what brought it
        over the line, and when), reason_1 to reason_3, the fields that were asked for, and handed_over_at,
        the moment of the queue. Probability and rank_value are nan where chances have not proven to hold.
    left_out : mapping of str to int
        Why the other leads are not in it, and how many; with those in the frame they are all leads.
    leads : int
        How many leads could be scored.
    findings : tuple of str
        What was left out or mended of the tables, and what else a reader should know.
    """

    frame: "pd.DataFrame"
    left_out: Mapping[str, int]
    leads: int
    findings: tuple[str, ...]


def queue(
    model: LeadModel,
    leads: Any,
    events: Any = None,
    as_of: Moment = None,
    *,
    capacity: int | None = None,
    value: str | None = None,
    fields: Sequence[str] = (),
    previous: Any = None,
    outcomes: Any = None,
    history: Any = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Queue:
    """Rank the sales-ready leads and MQLs that sales does not have yet by chance x value x urgency.

    Fast-tracked leads come first, whatever their chance; what a rule suppresses never comes. A lead that
    sales was handed, accepted or closed comes only after it was given back (`recycle`), and then once what
    happened since brings it back over the line, past the policy's cool-down. Equal leads are in the order of
    their chances, then of their ids.

    The urgency of a hazard model is the share of the chance that falls in the next 7 days, so that
    chance x urgency is the chance of a win in these days. Other models do not say when: their urgency is 1
    for all, since how recent everything is already makes their chances.

    Parameters
    ----------
    model, leads, events, as_of, history
        As for `LeadModel.score`.
    capacity : int, optional
        How many leads at most.
    value : str, optional
        The column of the leads table that says what a win is worth, such as the size of the deal. Where it
        is missing or below 0, the middle value of all leads stands in. Without it, each is worth 1.
    fields : sequence of str
        Columns of the leads table that are handed over too, such as email and phone.
    previous : table or list of tables, optional
        What `queue` and `recycle` gave before: lead_id, and stage, handed_over_at or recycled_at.
    outcomes : table, optional
        As the project's config describes it; what is not before `as_of` does not count.
    progress : callable, optional
        Told which step begins.

    Returns
    -------
    Queue

    Raises
    ------
    DataError
        A table breaks the contract, or no lead has a value.
    UsageError
        As `LeadModel.score`; a capacity below 1; a column that is not there; or outcomes that the config
        does not describe.
    """
    _require(capacity, fields, value)
    contract = model.bundle.contract
    when = _EVER if as_of is None else moment(as_of, contract.timezone)
    kinds = dict.fromkeys(fields, "text") | ({} if value is None else {value: "number"})
    aside = read_aside(contract, leads, events, outcomes, kinds)
    progress("Scoring the leads")
    rows, found = model.rows(leads, events, as_of, history)
    place = places_of(aside, rows)
    earlier = read_earlier(previous, contract, aside.lead_id, None if as_of is None else when)
    worth, told = _worth(aside, value, place)
    case = scored(model, rows, model.standing(rows, previous, as_of)[0])
    by = _Rank(worth, _urgency(case))
    done = of_persons(past(aside.outcomes, earlier, when=when).take(place), rows.group)
    people = timelines.read_people(model, leads, events, as_of, history) if model.needs_time else None
    back = _returning(case, done, people)
    out = _left_out(case, done, back)
    chosen = _chosen(case, by, out, capacity)
    frame = _frame(case, by, chosen, list(_triggers(case, chosen, back, people, progress)))
    for name in fields:
        frame[name] = _texts(aside, name, place[chosen])
    frame[HANDED] = stamps([None if as_of is None else when] * len(chosen))
    counts = {why: int((out == number).sum()) for number, why in enumerate(OUT)}
    return Queue(
        frame=frame,
        left_out={why: count for why, count in counts.items() if count},
        leads=len(rows),
        findings=(
            *found,
            *(str(one) for one in aside.findings if str(one) not in found),
            *earlier.findings,
            *told,
            *_urgent_left_out(case, out),
        ),
    )


def _require(capacity: int | None, fields: Sequence[str], value: str | None) -> None:
    if capacity is not None and (isinstance(capacity, bool) or capacity < 1):
        do = "give a number from 1 up, or leave it out"
        raise UsageError(explain("a capacity of at least one lead", shown(capacity), do))
    for number, name in enumerate(fields):
        if name in (*RANKED, HANDED, value, *fields[:number]):
            raise UsageError(
                explain("fields that the queue does not have already", shown(name), "leave it out")
            )


# ------------------------------------------------------------------------------------------ what is ranked
@dataclass(frozen=True, eq=False)
class _Rank:
    """What leads are ranked by, beside their chances."""

    worth: Floats
    urgency: Floats

    def value(self, case: Scored) -> Floats:
        return case.chance * self.worth * self.urgency


def _urgency(case: Scored) -> Floats:
    scorer = case.model.bundle.scorer
    if isinstance(scorer, HazardForest):
        return scorer.urgency(case.model.matrix(case.rows))
    return np.ones(len(case.rows))


def _worth(aside: Tables, value: str | None, place: Ints) -> tuple[Floats, list[str]]:
    """Give what each lead is worth, and say where another value stands in."""
    if value is None:
        return np.ones(len(place)), []
    worth: Floats = aside.leads[value].to_numpy().astype(np.float64)[place]
    known = worth >= 0
    if known.all():
        return worth, []
    if not known.any():
        expected = f"values from 0 up in column {shown(value)!r} of the leads table"
        raise DataError(explain(expected, "none", "choose another column, or none"))
    middle, below = float(np.median(worth[known])), int((worth < 0).sum())
    absent = len(worth) - int(known.sum()) - below
    said = f"leads: {shown(value)!r} is missing in {absent:,} rows and below 0 in {below:,}"
    return np.where(known, worth, middle), [f"{said}: the middle value, {middle:,.10g}, stands in"]


def _returning(case: Scored, done: Past, people: timelines.People | None) -> dict[int, Entry]:
    """Find which of the leads that were given back, and would be for sales, are back, and by what."""
    if people is None:
        return {}
    wanted = np.flatnonzero(done.back & case.for_sales)
    found = {
        row: came_back(case.model, people, at, int(done.recycled[row]))
        for row, at in zip(wanted.tolist(), _among(people, case.rows.lead_id[wanted]), strict=True)
    }
    return {row: back for row, back in found.items() if back is not None}


def _left_out(case: Scored, done: Past, back: Mapping[int, Entry]) -> Ints:
    """Say why each lead is left out, as its place in `OUT`; `_IN`: it is not."""
    held = (done.busy > NEVER) & ~done.back
    returned = np.isin(np.arange(len(done)), list(back)) | case.fast | (case.rows.as_of is None)
    conditions = {
        SUPPRESSED: case.suppressed,
        CLOSED: held & (done.ending != ""),
        HANDED_OVER: held,
        COOLING: done.back & case.cooling,
        BELOW: ~case.for_sales,
        WAITING: done.back & ~returned,
    }
    out = np.full(len(done), _IN)
    for why, holds in conditions.items():
        out[(out == _IN) & holds] = OUT.index(why)
    return out


def _chosen(case: Scored, by: _Rank, out: Ints, capacity: int | None) -> Ints:
    """Order the leads that are left, and say in `out` which of them a person or the capacity leaves out."""
    value = by.value(case)
    _, by_id = np.unique(case.rows.lead_id, return_inverse=True)
    some = np.flatnonzero(out == _IN)
    order = some[np.lexsort((by_id[some], -case.chance[some], -value[some], ~case.fast[some]))]
    _, first = np.unique(case.rows.group[order], return_index=True)
    first.sort()
    out[np.delete(order, first)] = OUT.index(SAME)
    order = order[first]
    out[order[capacity:]] = OUT.index(BEYOND) if capacity is not None else _IN
    return order[:capacity]


def _urgent_left_out(case: Scored, out: Ints) -> Iterator[str]:
    """Say how many leads a rule would send to sales at once, and are not sent."""
    for why in (CLOSED, BEYOND):
        count = int((case.fast & (out == OUT.index(why))).sum())
        if count:
            leads = "lead" if count == 1 else "leads"
            yield f"fast-tracked and left out all the same, {why}: {count:,} {leads}"


# --------------------------------------------------------------------------------------- what is handed over
def _triggers(
    case: Scored,
    chosen: Ints,
    back: Mapping[int, Entry],
    people: timelines.People | None,
    progress: Callable[[str], None],
) -> Iterator[Entry]:
    """Say of each lead what brought it over the line, and when."""
    if people is None:
        yield from [Entry(None, "")] * len(chosen)
        return
    places = _among(people, case.rows.lead_id[chosen])
    for number, (row, at) in enumerate(zip(chosen.tolist(), places, strict=True)):
        if number % _FEW == 0:
            progress(f"Looking for what brought them over the line: {number + 1:,} of {len(chosen):,}")
        yield back.get(row) or entered(case.model, people, at)


def _among(people: timelines.People, lead_ids: Array) -> list[int]:
    places: list[int] = found_in(pa.array(lead_ids), pa.array(people.lead_id)).tolist()
    return places


def _frame(case: Scored, by: _Rank, chosen: Ints, triggers: Sequence[Entry]) -> "pd.DataFrame":
    import pandas as pd

    model, rows = case.model, case.rows
    chance = case.chance[chosen] if model.bundle.calibrated else np.full(len(chosen), np.nan)
    worth, urgency = by.worth[chosen], by.urgency[chosen]
    rules = [*(rule.name for rule in (*model.policy.suppress, *model.policy.fast_track)), ""]
    why = model.explained(rows.take(chosen)) if len(chosen) else []
    reasons = [[clean(up.text, LONGEST) for up in each.up[:REASONS]] for each in why]
    columns = {
        "rank": np.arange(1, len(chosen) + 1),
        "lead_id": rows.lead_id[chosen],
        "stage": case.stage[chosen],
        "fast_track": [clean(rules[number]) for number in case.rule[chosen]],
        "score": case.score[chosen],
        "probability": chance,
        "value": worth,
        "urgency": urgency,
        "rank_value": chance * worth * urgency,
        "trigger": [trigger.by for trigger in triggers],
        "triggered_at": stamps([trigger.at for trigger in triggers]),
    }
    for i in range(REASONS):
        columns[f"reason_{i + 1}"] = [said[i] if i < len(said) else "" for said in reasons]
    return pd.DataFrame(columns, columns=list(RANKED))


def _texts(aside: Tables, name: str, places: Ints) -> list[str | None]:
    texts = aside.leads[name].take(pa.array(places)).to_pylist()
    return [None if text is None else clean(text, _FIELD) for text in texts]
