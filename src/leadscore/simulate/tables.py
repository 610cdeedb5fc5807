"""What is written down by the end: the three tables as a company would export them."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leadscore.data.contract import Contract, EventColumns, Ints, OutcomeColumns
from leadscore.simulate.clock import HOUR, NEVER, Clock
from leadscore.simulate.planted import ENDINGS, EVENT_TYPES, OPEN, REASONS, SIGNUP, WON, column
from leadscore.simulate.profiles import HIDDEN_MISSING, attributes
from leadscore.simulate.sales import End
from leadscore.simulate.scene import Happened, Scene

CONTRACT = Contract(
    lead_id="lead_id",
    created_at="created_at",
    events=EventColumns(
        visitor_id="visitor_id",
        recorded_at="recorded_at",
        channel="channel",
        content="content",
        campaign="campaign",
        value="value",
        event_id="event_id",
    ),
    outcomes=OutcomeColumns(
        reason="reason",
        revenue="revenue",
        stages={
            "Closed Won": "won",
            "Closed Lost": "lost",
            "Disqualified": "disqualified",
            "Sales Accepted": "accepted",
            "Handed Over": "handed_over",
        },
    ),
    field_missing={"industry": (HIDDEN_MISSING,)},
)
LEAKS = ("sales_notes_quality", "contract_owner", "lost_reason_code")
_SALES_REPS = ("A. Brandt", "M. Okafor", "J. Lindqvist", "R. Castellan", "S. Iyer", "T. Nowak")


def write_down(scene: Scene, end: End) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Leads, events and outcomes, as recorded before the end."""
    lead_id = _numbered("L", np.arange(len(scene.people)), 6)
    created = {"lead_id": lead_id, "created_at": _times(scene.clock, scene.people.created)}
    leads = pa.table(created | attributes(scene) | _late_fields(scene, end))
    return leads, _events(scene, end, lead_id), _outcomes(scene.clock, end, lead_id)


def _late_fields(scene: Scene, end: End) -> dict[str, pa.Array]:
    """Fill in the columns of `LEAKS`: the CRM holds them at the end, nobody knew them in time."""
    rng, clock = scene.rng, scene.clock
    closed = end.closed < clock.end
    now = np.where(closed, end.ending, OPEN)
    lots = rng.random((4, len(now)))
    at_work = ~closed & (end.handed < clock.end)
    noted = lots[0] < np.where(at_work, 0.1, column(ENDINGS, "noted")[now])
    high = column(ENDINGS, "high")[now]
    quality = np.select([lots[1] < high, lots[1] < 0.6 + 0.4 * high], ["high", "medium"], "low")
    nearly = (end.accepted < np.minimum(end.closed, clock.end)) & (now != WON)
    owned = lots[2] < np.where(nearly, 0.08, column(ENDINGS, "owned")[now])
    coded = closed & (lots[3] < 0.9)
    reps = np.array(_SALES_REPS)[rng.integers(len(_SALES_REPS), size=len(now))]
    columns = (
        pa.array(quality, mask=~noted),
        pa.array(reps, mask=~owned),
        _take([code for _, code in REASONS], np.where(coded, end.why, -1)),
    )
    return dict(zip(LEAKS, columns, strict=True))


def _events(scene: Scene, end: End, lead_id: pa.Array) -> pa.Table:
    """Keep what still happens and is recorded before the end; hide the lead until its visitor is known."""
    rng, clock, person = scene.rng, scene.clock, scene.people.person
    happened = scene.happened()
    goes_on = happened.luck < column(ENDINGS, "goes_on")[end.ending][happened.lead]
    late = rng.random(len(goes_on)) < column(EVENT_TYPES, "late")[happened.type]
    recorded = happened.at + late * rng.integers(HOUR, 30 * HOUR, len(late))
    kept = (goes_on | (happened.at < end.closed[happened.lead])) & (recorded < clock.end)
    order = np.argsort(happened.at, kind="stable")
    order = order[kept[order]]
    now = Happened._make(values[order] for values in happened)

    visitors = 2 * (int(person.max()) + 1)
    visitor = np.where(now.device >= 0, 2 * person[now.lead] + now.device, -1)
    form = column(EVENT_TYPES, "identifies")[now.type] | (now.content == scene.codes((SIGNUP,))[0])
    tells = (visitor >= 0) & form
    met = np.full(visitors, NEVER)
    np.minimum.at(met, visitor[tells], now.at[tells])
    known = (visitor < 0) | (now.at >= met[visitor])
    words = pa.array(list(scene.words))
    return pa.table(
        {
            "event_id": _numbered("E", np.arange(len(order)), 8),
            "lead_id": _take(lead_id, np.where(known, now.lead, -1)),
            "visitor_id": _take(_numbered("v", rng.permutation(visitors), 7), visitor),
            "occurred_at": _times(clock, now.at),
            "recorded_at": _times(clock, recorded[order]),
            "event_type": _take([event.name for event in EVENT_TYPES], now.type),
            "channel": _take([event.channel for event in EVENT_TYPES], now.type),
            "content": _take(words, now.content),
            "campaign": _take(words, now.campaign),
            "value": pa.array(now.value, from_pandas=True),
        }
    )


def _outcomes(clock: Clock, end: End, lead_id: pa.Array) -> pa.Table:
    """One row a step that was taken before the end: handed over, accepted, closed."""
    moments = np.stack([end.handed, end.accepted, end.closed])
    taken = moments < clock.end
    taken[:2] &= moments[:2] < end.closed
    step, lead = np.nonzero(taken)
    at = moments[step, lead]
    stage = np.where(step < 2, step, 2 + end.ending[lead])
    order = np.lexsort((stage, at))
    lead, at, stage = lead[order], at[order], stage[order]
    stages = ("Handed Over", "Sales Accepted", *(ending.name for ending in ENDINGS))
    revenue = np.where(stage == 2 + WON, end.revenue[lead], np.nan)
    return pa.table(
        {
            "lead_id": _take(lead_id, lead),
            "stage": _take(stages, stage),
            "at": _times(clock, at),
            "reason": _take([words for words, _ in REASONS], np.where(stage < 2, -1, end.why[lead])),
            "revenue": pa.array(revenue, from_pandas=True),
        }
    )


def _times(clock: Clock, moments: Ints) -> pa.Array:
    return pa.array(clock.start + moments).cast(pa.timestamp("us", tz="UTC"))


def _take(words: pa.Array | Sequence[str], codes: Ints) -> pa.Array:
    """Read words by their codes; below 0 is null."""
    return pa.array(words).take(pa.array(codes, mask=codes < 0))


def _numbered(letter: str, numbers: Ints, width: int) -> pa.Array:
    digits = pc.utf8_lpad(pa.array(numbers).cast(pa.string()), width, "0")
    return pc.binary_join_element_wise(letter, digits, "")
