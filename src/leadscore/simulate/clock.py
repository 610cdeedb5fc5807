"""The time of a simulated world: units, days with more and less business, office hours."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from leadscore.data.contract import Floats, Ints

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NEVER = np.iinfo(np.int64).max
_TAIL = 91  # days that the world goes on after its tables end: the truth knows what came of open leads

Grid = NDArray[np.float32]  # (days, leads)
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Clock:
    """The calendar; all other times in this package are microseconds since `start`."""

    start: int
    end: int
    days: int  # of the grid, the tail included
    weekday: Ints  # 0 is Monday

    def trade(self) -> Floats:
        """How much business each day sees: little at weekends and at the end of December."""
        dates = (self.start // DAY + np.arange(self.days)).astype("datetime64[D]")
        into_year = (dates - dates.astype("datetime64[Y]")).astype(np.int64)
        return np.where(self.weekday >= 5, 0.25, 1.3) * np.where(into_year >= 355, 0.4, 1.0)

    def absolute(self, moments: Ints) -> Ints:
        """UTC microseconds; never stays never."""
        return np.where(moments == NEVER, NEVER, self.start + moments)


def clock_from(start: datetime, weeks: int) -> Clock:
    """Begin at midnight UTC of the day of `start`."""
    first = int(start.timestamp()) * SECOND // DAY * DAY
    days = weeks * 7 + _TAIL
    return Clock(first, weeks * 7 * DAY, days, (first // DAY + 3 + np.arange(days)) % 7)


def by_day(rng: np.random.Generator, day: Ints) -> Ints:
    """Draw a moment of each of these days at which people are at their desks, give or take."""
    hour = np.clip(rng.normal(12.5, 3.2, len(day)), 0.05, 23.9)
    return day * DAY + (hour * HOUR).astype(np.int64)


def office_share(within: Ints) -> Floats:
    """Share of a day's hazard that is over at this time of day: leads close between 8 and 18 h UTC."""
    return np.clip((within / HOUR - 8) / 10, 0.0, 1.0)


def office_time(share: Floats) -> Ints:
    """Time of day at which this share of the day's hazard is over."""
    return ((8 + 10 * np.clip(share, 0.0, 1.0)) * HOUR).astype(np.int64)
