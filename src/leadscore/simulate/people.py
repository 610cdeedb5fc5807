"""Who comes: people, their companies and titles, and those who come twice."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leadscore.data.contract import Floats, Ints
from leadscore.simulate.clock import DAY, Clock, by_day
from leadscore.simulate.planted import (
    BUYER,
    COMPETING,
    COMPETITOR,
    COUNTRIES,
    INDUSTRIES,
    SEGMENTS,
    SOURCES,
    STUDENT,
    TITLES,
    column,
)


@dataclass(frozen=True, slots=True)
class People:
    """One entry a lead, in order of creation; segment, source and so on are rows of the planted tables."""

    created: Ints
    original: Ints  # row of the first record of the same person, -1 for first records
    person: Ints
    segment: Ints
    source: Ints
    company: Ints
    industry: Ints
    country: Ints
    headcount: Floats
    title: Ints
    activity: Floats
    company_fit: Floats
    fit: Floats

    def __len__(self) -> int:
        return len(self.created)

    @property
    def power(self) -> Floats:
        """Power to decide."""
        return column(TITLES, "power")[self.title]

    @property
    def form(self) -> NDArray[np.str_]:
        """What made a lead of the visitor; "" for those who never were one."""
        return column(SOURCES, "form")[self.source]


def draw_people(rng: np.random.Generator, n: int, clock: Clock) -> People:
    """Draw persons, then let some of them come a second time."""
    again = round(0.03 * n)
    persons = n - again
    created = by_day(rng, _pick(rng, clock.trade()[: clock.end // DAY], persons))
    twins = rng.choice(persons, again, replace=False)
    room = np.minimum(60 * DAY, clock.end - created[twins])
    created = np.append(created, created[twins] + (room * rng.uniform(0.02, 0.95, again)).astype(np.int64))
    order = np.argsort(created, kind="stable")
    person = np.append(np.arange(persons), twins)[order]
    first = np.zeros(persons, dtype=np.int64)
    first[person[order < persons]] = np.flatnonzero(order < persons)
    original = np.where(order < persons, -1, first[person])

    segment = _pick(rng, column(SEGMENTS, "share"), persons)
    company = (rng.random(persons) ** 1.3 * max(1, persons // 2)).astype(np.int64)
    companies = int(company.max()) + 1
    industry = _pick(rng, column(INDUSTRIES, "share"), companies)[company]
    industries = column(INDUSTRIES, "name").tolist()
    industry[segment == COMPETITOR] = industries.index(COMPETING)
    industry[segment == STUDENT] = industries.index("Education")
    country = _pick(rng, column(COUNTRIES, "share"), companies)[company]
    headcount = np.clip(10 ** rng.normal(2.2, 0.8, companies), 1, 250_000).round()[company]
    source = _pick(rng, column(SOURCES, "share"), persons)
    source = np.where(segment == BUYER, source, _pick(rng, column(SOURCES, "strangers"), persons))
    company_fit = (
        column(INDUSTRIES, "pull")[industry]
        * column(COUNTRIES, "pull")[country]
        * (0.25 + 1.3 * np.exp(-0.5 * ((np.log10(headcount) - 2.4) / 0.55) ** 2))
    )
    fit = company_fit * column(SEGMENTS, "pull")[segment] * column(SOURCES, "pull")[source]
    fit = fit * rng.lognormal(0, 0.2, persons)
    return People(
        created=created[order],
        original=original,
        person=person,
        segment=segment[person],
        source=source[person],
        company=company[person],
        industry=industry[person],
        country=country[person],
        headcount=headcount[person],
        title=_pick(rng, column(TITLES, "share"), persons)[person],
        activity=(column(SEGMENTS, "activity")[segment] * rng.lognormal(0, 0.4, persons))[person],
        company_fit=company_fit[person],
        fit=np.where(original < 0, fit[person], 0.0),  # the sale is booked on the first record
    )


def _pick(rng: np.random.Generator, weights: Floats | Sequence[float], size: int) -> Ints:
    edges = np.cumsum(weights)
    codes: Ints = np.searchsorted(edges, rng.random(size) * edges[-1], side="right")
    return np.minimum(codes, len(edges) - 1)
