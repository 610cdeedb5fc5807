"""What leads do, as if none ever closed: the event table takes out what closing stops."""

import numpy as np

from leadscore.data.contract import Floats, Ints
from leadscore.simulate.clock import DAY, HOUR, MINUTE, NEVER, SECOND, Flags, Grid, by_day
from leadscore.simulate.planted import (
    ASSETS,
    BOT,
    BUYER,
    COMPETITOR,
    CUSTOMER,
    EARLY,
    INTERESTS,
    LATE,
    NURTURE_DAYS,
    PAGES,
    QUERIES,
    SIGNUP,
    SMALL_PRICES,
    SOURCES,
    STUDENT,
    WEBINARS,
    WON,
    column,
)
from leadscore.simulate.sales import End
from leadscore.simulate.scene import Scene


def sign_up(scene: Scene) -> None:
    """Each lead from the website becomes known by a form: an asset, a webinar or the sign-up page."""
    form = scene.people.form
    for kind, words in (("download", ASSETS), ("webinar", WEBINARS), ("page_view", (SIGNUP,))):
        who = np.flatnonzero(form == kind)
        content = scene.any_of(words, len(who))
        scene.note(kind, who, scene.people.created[who], device=0, content=content)


def receive_mail(scene: Scene) -> tuple[Ints, Ints, Floats]:
    """Send mail and let leads react; returns lead, moment and luck of the clicks that open a visit."""
    rng, people = scene.rng, scene.people
    n, bots = len(people), people.segment == BOT
    lead, at, campaign = _sendings(scene)
    intent = scene.intent[at // DAY, lead].astype(np.float64)
    wrong = np.where(bots, 0.35, column(SOURCES, "wrong_addresses")[people.source])
    bounces = (rng.random(n) < wrong)[lead]
    bored = (rng.random(len(lead)) < 0.006 / (1 + 4 * intent)) & ~bots[lead] & ~bounces
    stopped = np.full(n, NEVER)
    np.minimum.at(stopped, lead[bored], at[bored])
    # two bounces, and the address is given up
    sent = (at <= stopped[lead]) & ~(bounces & (_place(lead) >= 2))
    lead, at, campaign = lead[sent], at[sent], campaign[sent]
    intent, bounces, bored = intent[sent], bounces[sent], bored[sent]
    luck = rng.random(len(lead))

    def note(kind: str, which: Flags, moment: Ints, device: int | Ints = -1) -> None:
        shown = np.broadcast_to(device, lead.shape)[which]
        scene.note(kind, lead[which], moment[which], luck=luck[which], campaign=campaign[which], device=shown)

    note("email_sent", np.ones(len(lead), dtype=bool), at)
    note("email_bounce", bounces, at + MINUTE)
    note("unsubscribe", bored, at + HOUR)
    note("complaint", bored & (rng.random(len(lead)) < 0.12), at + 2 * HOUR)

    # Some mail programs open everything, and some gateways click on everything within seconds.
    opens_all = (rng.random(n) < 0.12)[lead]
    gateway = (rng.random(n) < np.where(bots, 0.4, 0.035))[lead]
    habit = rng.normal(-1.6, 0.8, n)[lead]
    chance = 1 / (1 + np.exp(-habit - 1.2 * np.log1p(2 * intent)))
    opened = ~bounces & (rng.random(len(lead)) < np.where(opens_all | gateway, 0.95, chance))
    seen = at + np.where(gateway, 2 * SECOND, rng.exponential(5 * HOUR, len(lead))).astype(np.int64)
    note("email_open", opened, seen)
    reads = opened & (rng.random(len(lead)) < (0.08 + 0.6 * intent / (1 + intent)) * chance)
    device = np.where(gateway, -1, _device(rng, len(lead)))
    note("email_click", opened & (reads | gateway), seen + SECOND, device)
    visits = reads & ~gateway & (seen < (scene.clock.days - 1) * DAY)
    return lead[visits], seen[visits] + 5 * SECOND, luck[visits]


def _sendings(scene: Scene) -> tuple[Ints, Ints, Ints]:
    """Lead, moment and campaign of each newsletter and nurture mail, ordered by lead and time."""
    clock, created = scene.clock, scene.people.created
    letters = np.flatnonzero((clock.weekday == 1) & (np.arange(clock.days) // 7 % 2 == 0))
    names = [f"newsletter-{k + 1:02d}" for k in range(len(letters))]
    names += [f"nurture-{k + 1}" for k in range(len(NURTURE_DAYS))]
    at = np.concatenate(
        [
            np.broadcast_to(letters[:, None] * DAY + 9 * HOUR, (len(letters), len(created))),
            created + np.array(NURTURE_DAYS)[:, None] * DAY,
        ]
    )
    at = at + scene.rng.integers(MINUTE, 20 * MINUTE, at.shape)
    which, lead = np.nonzero((at > created) & (at < clock.days * DAY))
    order = np.lexsort((at[which, lead], lead))
    which, lead = which[order], lead[order]
    return lead, at[which, lead], scene.codes(names)[which]


def join_webinars(scene: Scene) -> None:
    """Every other Thursday a webinar: the interested come, students too, bots never."""
    rng, clock, people = scene.rng, scene.clock, scene.people
    evenings = np.flatnonzero((clock.weekday == 3) & (np.arange(clock.days) // 7 % 2 == 1))
    intent = scene.intent[evenings]
    chance = np.where(people.segment == STUDENT, 0.04, 0.006) + 0.06 * intent / (1 + intent)
    chance *= (people.segment != BOT) & (evenings[:, None] > people.created // DAY)
    which, lead = np.nonzero(rng.random(chance.shape) < chance)
    n = len(lead)
    at = evenings[which] * DAY + 14 * HOUR + rng.integers(0, 10 * MINUTE, n)
    content = scene.codes(WEBINARS)[which % len(WEBINARS)]
    scene.note("webinar", lead, at, luck=rng.random(n), device=_device(rng, n), content=content)


def visit(scene: Scene, clicks: tuple[Ints, Ints, Floats]) -> None:
    """Visits to the website: pages, searches, shares, downloads, requests for a demo, small purchases."""
    rng, people = scene.rng, scene.people
    day, lead = _arrivals(rng, _visit_rates(scene))
    lead = np.append(lead, clicks[0])
    at = np.append(by_day(rng, day), clicks[1])
    luck = np.append(rng.random(len(day)), clicks[2])
    possible = (people.form != "")[lead] | (at >= people.created[lead])
    at, luck, lead = at[possible], luck[possible], _split(scene, lead[possible], at[possible])
    device, segment = _device(rng, len(lead)), people.segment[lead]
    momentum = scene.momentum[at // DAY, lead].astype(np.float64)
    late = (momentum / (1 + momentum)) ** 1.5  # how far they are on the way to buying

    pages = rng.geometric(np.where(segment == BOT, 0.2, 0.38))
    of = np.repeat(np.arange(len(lead)), pages)
    seen = at[of] + _place(of) * 50 * SECOND + rng.integers(0, 50 * SECOND, len(of))
    buying = np.where(rng.random(len(of)) < 0.06 + 0.7 * late[of], LATE, EARLY)
    taste = np.where(segment[of] == BUYER, buying, segment[of] + LATE)
    scene.note("page_view", lead[of], seen, luck=luck[of], device=device[of], content=_browse(scene, taste))

    known, student, buyer = at >= people.created[lead], segment == STUDENT, segment == BUYER
    for kind, chance, words in (
        ("search", 0.12, QUERIES),
        ("share", np.where(student, 0.05, 0.015), ()),
        ("download", known * np.where(student, 0.16, 0.10 - 0.05 * late), ASSETS),
        ("demo_request", known * np.where(buyer, 0.08 * late, 0.004), ()),
        ("purchase", known * buyer * 0.012 * late, tuple(SMALL_PRICES)),
    ):
        hit = np.flatnonzero(rng.random(len(lead)) < chance)
        when = at[hit] + rng.integers(MINUTE, 10 * MINUTE, len(hit))
        which = rng.integers(max(len(words), 1), size=len(hit))
        content = scene.codes(words)[which] if words else -1
        value = np.array(list(SMALL_PRICES.values()))[which] if kind == "purchase" else np.nan
        scene.note(kind, lead[hit], when, luck=luck[hit], device=device[hit], content=content, value=value)


def _visit_rates(scene: Scene) -> Grid:
    """Visits a day, (days, leads): from two weeks before a lead signs up on the website."""
    people = scene.people
    age = np.arange(scene.clock.days)[:, None] - people.created // DAY
    idle = people.activity * np.where(people.segment == COMPETITOR, 0.035, 0.005)
    rate = idle.astype(np.float32) + (0.10 * people.activity).astype(np.float32) * (
        scene.intent + scene.momentum
    )
    bots = people.segment == BOT
    rate[:, bots] = people.activity[bots] * 0.22 * np.exp(-np.maximum(age[:, bots], 0) / 20)
    rate *= scene.clock.trade().astype(np.float32)[:, None] * (age >= np.where(people.form != "", -14, 0))
    rate[:, people.original >= 0] = 0  # a person visits once, on whichever record it is booked
    return rate


def serve_customers(scene: Scene, end: End) -> None:
    """Bring customers back for other things, and let them pay: whoever peeks past a win sees it."""
    rng = scene.rng
    customers = np.flatnonzero(end.ending == WON)
    won, revenue = end.closed[customers], end.revenue[customers]
    stay = scene.clock.days * DAY - won

    def moments(daily: float) -> tuple[Ints, Ints]:
        who = np.repeat(np.arange(len(customers)), rng.poisson(stay / DAY * daily))
        return who, won[who] + (rng.random(len(who)) * stay[who]).astype(np.int64)

    def pay(who: Ints, at: Ints, what: str, price: Floats) -> None:
        scene.note("purchase", customers[who], at, device=0, content=scene.codes((what,))[0], value=price)

    who, at = moments(0.3)
    content = _browse(scene, np.full(len(who), CUSTOMER))
    scene.note("page_view", customers[who], at, device=_device(rng, len(who)), content=content)
    who, at = moments(1 / 120)
    pay(who, at, "extra-seats", np.round(revenue[who] * 0.1, -1))
    who = np.flatnonzero(rng.random(len(customers)) < 0.7)
    pay(who, won[who] + rng.integers(5 * MINUTE, 3 * HOUR, len(who)), "subscription", revenue[who])


def _arrivals(rng: np.random.Generator, rate: Grid) -> tuple[Ints, Ints]:
    """Draw a Poisson process with rates (days, leads): day and lead of each arrival."""
    edges = np.cumsum(rate, dtype=np.float64)
    cell = np.searchsorted(edges, np.sort(rng.random(rng.poisson(edges[-1]))) * edges[-1], side="right")
    day, lead = np.divmod(np.minimum(cell, rate.size - 1), rate.shape[1])
    return day, lead


def _place(groups: Ints) -> Ints:
    """Place of each entry among the equal ones beside it: 0, 1, 2, ..."""
    here = np.arange(len(groups))
    starts = np.append(True, groups[1:] != groups[:-1])[: len(groups)]
    began: Ints = np.maximum.accumulate(np.where(starts, here, 0))
    return here - began


def _browse(scene: Scene, taste: Ints) -> Ints:
    """Draw a page by a row of `INTERESTS` each."""
    edges = np.cumsum(np.array(INTERESTS, dtype=np.float64), axis=1)
    lot = scene.rng.random(len(taste)) * edges[taste, -1]
    page = np.zeros(len(taste), dtype=np.int64)
    for edge in edges.T[:-1]:
        page += lot >= edge[taste]
    return scene.codes(PAGES)[page]


def _device(rng: np.random.Generator, size: int) -> Ints:
    """First or second device of a person."""
    return (rng.random(size) < 0.12).astype(np.int64)


def _split(scene: Scene, lead: Ints, at: Ints) -> Ints:
    """Book about half of what a person does on the second record, once there is one."""
    people = scene.people
    second = np.full(len(people), -1)
    again = np.flatnonzero(people.original >= 0)
    second[people.original[again]] = again
    twin = second[lead]
    moves = (twin >= 0) & (at >= people.created[twin]) & (scene.rng.random(len(lead)) < 0.5)
    return np.where(moves, twin, lead)
