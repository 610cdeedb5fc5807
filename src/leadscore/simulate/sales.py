"""What sales does, and how leads end."""

from dataclasses import dataclass

import numpy as np

from leadscore.data.contract import Floats, Ints
from leadscore.simulate.clock import DAY, HOUR, NEVER, Grid, office_share, office_time
from leadscore.simulate.planted import (
    ACCEPTED_BOOST,
    BUYER,
    EVENT_TYPES,
    HANDOVER_AT,
    LOST,
    LOST_REASONS,
    OPEN,
    REASONS,
    SEGMENTS,
    WIN_RATE,
    WON,
    column,
)
from leadscore.simulate.scene import Scene


@dataclass(frozen=True, slots=True)
class End:
    """What came of each lead: moments (or never), how and why it ended, and money if it was won."""

    handed: Ints
    accepted: Ints
    closed: Ints
    ending: Ints  # row of ENDINGS
    why: Ints  # row of REASONS, -1 if won or open
    revenue: Floats


def hand_over(scene: Scene) -> tuple[Ints, Ints]:
    """Hand leads over when the team's rough score says so; sales accepts some of them."""
    rng, clock, people = scene.rng, scene.clock, scene.people
    n = len(people)
    seen = scene.happened()
    points = column(EVENT_TYPES, "points")[seen.type]
    counts = (points > 0) & (seen.at >= people.created[seen.lead]) & (seen.at < clock.days * DAY)
    cell = seen.at[counts] // DAY * n + seen.lead[counts]
    daily = np.bincount(cell, points[counts], minlength=clock.days * n).reshape(clock.days, n)
    rank = 0.6 + 0.7 * people.power  # they look at the title too
    score, handed = np.zeros(n), np.full(n, NEVER)
    for day in range(clock.days - 1):
        score = 0.96 * score + daily[day]
        if clock.weekday[day + 1] < 5:
            handed[(score * rank >= HANDOVER_AT) & (handed == NEVER)] = (day + 1) * DAY
    missed = (handed == NEVER) | (rng.random(n) < 0.15)
    handed = np.where(missed, 0, handed) + rng.integers(8 * HOUR, 17 * HOUR, n)
    scene.note("handover", np.flatnonzero(~missed), handed[~missed], luck=1.0)
    willing = rng.random(n) < np.where(people.segment == BUYER, 0.25 + 0.5 * people.power, 0.2)
    accepted = handed + rng.integers(2 * HOUR, 5 * DAY, n)
    return np.where(missed, NEVER, handed), np.where(~missed & willing, accepted, NEVER)


def call(scene: Scene, handed: Ints) -> None:
    """Call the leads that were handed over; the interested reply."""
    rng, clock = scene.rng, scene.clock
    lead = np.flatnonzero(handed != NEVER)
    lead = np.repeat(lead, 1 + rng.poisson(1.6, len(lead)))
    day = handed[lead] // DAY + 1 + rng.exponential(6, len(lead)).astype(np.int64)
    inside = day < clock.days - 7
    lead, day = lead[inside], day[inside]
    day = day + np.maximum(7 - clock.weekday[day], 0) * (clock.weekday[day] >= 5)
    at = day * DAY + rng.integers(8 * HOUR, 17 * HOUR, len(lead))
    scene.note("sales_call", lead, at, luck=1.0)
    intent = scene.intent[day, lead]
    replies = rng.random(len(lead)) < 0.12 + 0.5 * intent / (1 + intent)
    reply_at = at[replies] + rng.integers(HOUR, 2 * DAY, replies.sum())
    scene.note("sales_reply", lead[replies], reply_at, luck=1.0)


def hazards(scene: Scene, accepted: Ints) -> tuple[Grid, Grid, Grid]:
    """Daily hazards of a win, a loss and a disqualification for open leads."""
    people, momentum = scene.people, scene.momentum
    day = np.arange(scene.clock.days)[:, None]
    trade = _narrow(scene.clock.trade())[:, None]
    wanted = people.company_fit**2 / (0.5 + people.company_fit**2)
    pull = _narrow(0.15 + 1.6 * people.power * wanted)
    helped = np.where(day > accepted // DAY, np.float32(ACCEPTED_BOOST), np.float32(1))
    won = trade * _narrow(WIN_RATE * people.fit) * (0.04 + momentum * pull) * helped
    age = _narrow(day - people.created // DAY)
    lost = trade * np.float32(0.0055) * np.exp(-2 * momentum) * np.clip(age / 30, 0, 1)
    spotted = np.where(people.original < 0, column(SEGMENTS, "found_out")[people.segment], 0.02)
    alive = age >= 0
    return won * alive, lost * alive, trade * _narrow(spotted) * alive


def conclude(scene: Scene, handed: Ints, accepted: Ints, rates: tuple[Grid, Grid, Grid]) -> End:
    """End each lead, say why, and fix the price."""
    rng, people = scene.rng, scene.people
    closed, ending = _close(scene, rates)
    lost = rng.integers(len(LOST_REASONS), size=len(people))
    spotted = np.where(people.original < 0, len(LOST_REASONS) + people.segment, len(REASONS) - 1)
    why = np.where(ending == LOST, lost, np.where((ending == WON) | (ending == OPEN), -1, spotted))
    revenue = np.round(900 * people.headcount**0.55 * rng.lognormal(0, 0.35, len(people)), -1)
    return End(handed, accepted, closed, ending, why, revenue)


def _close(scene: Scene, rates: tuple[Grid, Grid, Grid]) -> tuple[Ints, Ints]:
    """Draw when and how each lead ends, by inverting the cumulative hazard of its ends together."""
    created = scene.people.created
    who = np.arange(len(created))
    total = np.zeros((scene.clock.days + 1, len(created)))
    np.cumsum(sum(rates), axis=0, dtype=np.float64, out=total[1:])
    day, within = np.divmod(created, DAY)
    level = total[day, who] + (total[day + 1, who] - total[day, who]) * office_share(within)
    level += scene.rng.exponential(size=len(created))
    day = np.minimum((total[1:] < level).sum(axis=0), scene.clock.days - 1)
    share = (level - total[day, who]) / np.maximum(total[day + 1, who] - total[day, who], 1e-300)
    closed = np.where(level <= total[-1], day * DAY + office_time(share), NEVER)
    edges = np.cumsum([rate[day, who] for rate in rates], axis=0, dtype=np.float64)
    ending = (scene.rng.random(len(created)) * edges[-1] >= edges[:-1]).sum(axis=0)
    return closed, np.where(closed == NEVER, OPEN, ending)


def _narrow(values: Floats | Ints) -> Grid:
    return values.astype(np.float32)
