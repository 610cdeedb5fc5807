"""Everybody, the interest that drives them, and a note of all that happens."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from leadscore.data.contract import Floats, Ints
from leadscore.simulate.clock import DAY, Clock, Grid
from leadscore.simulate.people import People
from leadscore.simulate.planted import BOT, EVENT_TYPES

_TYPE_CODES = {event.name: code for code, event in enumerate(EVENT_TYPES)}


class Happened(NamedTuple):
    """Events as parallel arrays; -1 and NaN are missing.

    After its lead closed, an event happens only if its luck is below the ending's share that goes on.
    """

    type: Ints
    lead: Ints
    at: Ints
    luck: Floats
    device: Ints
    content: Ints
    campaign: Ints
    value: Floats


@dataclass(frozen=True, slots=True)
class Scene:
    """What the world knows while it runs."""

    rng: np.random.Generator
    clock: Clock
    people: People
    intent: Grid
    momentum: Grid
    parts: list[Happened] = field(default_factory=list)
    words: dict[str, int] = field(default_factory=dict)

    def codes(self, words: Sequence[str]) -> Ints:
        """Code words of content and campaigns, new ones too."""
        return np.array([self.words.setdefault(word, len(self.words)) for word in words], dtype=np.int64)

    def any_of(self, words: Sequence[str], size: int) -> Ints:
        """Draw codes of these words."""
        return self.codes(words)[self.rng.integers(len(words), size=size)]

    def note(
        self,
        type_: str,
        lead: Ints,
        at: Ints,
        *,
        luck: float | Floats = 0.0,
        device: int | Ints = -1,
        content: int | Ints = -1,
        campaign: int | Ints = -1,
        value: float | Floats = np.nan,
    ) -> None:
        """Note events of one type."""
        columns = (_TYPE_CODES[type_], lead, at, luck, device, content, campaign, value)
        self.parts.append(Happened._make(np.broadcast_to(given, lead.shape) for given in columns))

    def happened(self) -> Happened:
        """All events so far."""
        return Happened._make(np.concatenate(parts) for parts in zip(*self.parts, strict=True))


def interest(rng: np.random.Generator, people: People, clock: Clock) -> tuple[Grid, Grid]:
    """Intent: pulses that fade within days. Momentum: its slow trace, which buying follows."""
    n = len(people)
    intent = np.zeros((clock.days, n), dtype=np.float32)
    born = people.created // DAY
    first = np.maximum(born - rng.geometric(0.15, n) + 1, 0)
    np.add.at(intent, (first, np.arange(n)), rng.gamma(0.45, 3.6, n))
    again = rng.poisson((clock.days - born) * rng.gamma(1.0, 1 / 110, n))
    who = np.repeat(np.arange(n), again)
    later = born[who] + 1 + (rng.random(len(who)) * (clock.days - born[who] - 1)).astype(np.int64)
    np.add.at(intent, (later, who), rng.gamma(0.45, 2.5, len(who)))
    intent[:, people.segment == BOT] = 0
    twin = people.original >= 0
    intent[:, twin] = intent[:, people.original[twin]]
    momentum = np.zeros_like(intent)
    for day in range(1, clock.days):
        intent[day] += 0.89 * intent[day - 1]
        momentum[day] = 0.95 * momentum[day - 1] + 0.12 * intent[day - 1]
    return intent, momentum
