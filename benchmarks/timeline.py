"""One lead's timeline: CPU time of a thousand events, with and without drivers, and of a bot's 100,000."""

import argparse
import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from explain import at_most, small_model
from features import table, written

ROOT = Path(__file__).parents[1]
SECTION = "## A lead's timeline"
DAYS = 300
BARE = "scores and triggers, before and after each of 1,000 events"


def cpu(way: Callable[[], object], rounds: int) -> float:
    """Time one call: the median CPU milliseconds of the rounds after a first few."""
    taken = []
    for _ in range(3 + rounds):
        start = time.process_time()
        way()
        taken.append(1000 * (time.process_time() - start))
    return median(taken[3:])


def history(done: list[dict[str, Any]], came: datetime, size: int) -> pd.DataFrame:
    """Draw a long history from the events of a lead, over most of a year."""
    rng = np.random.default_rng(0)
    events = pd.DataFrame(done).iloc[rng.integers(0, len(done), size)].reset_index(drop=True)
    at = pd.to_datetime(came) + pd.to_timedelta(
        np.sort(rng.integers(0, DAYS * 86_400_000_000, size)), unit="us"
    )
    return events.assign(event_id=np.arange(size).astype(str), occurred_at=at, recorded_at=at)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    given = parser.parse_args()
    from leadscore import timelines
    from leadscore.predict import LeadModel

    bundle, lead, done, _ = small_model()
    model = LeadModel(bundle, bundle.policy)
    came = datetime.fromisoformat(lead["created_at"])
    as_of = came + timedelta(days=DAYS + 1)
    load_average = os.getloadavg()[0]
    few, many = (history(done, came, size) for size in (1_000, 100_000))
    people = timelines.read_people(model, [lead], few, as_of, None)

    def follow(*, drivers: bool) -> object:
        line = timelines.follow(model, people, 0, None, drivers=drivers)
        return line.score, line.triggers

    shown = timelines.timeline(model, [lead], few, as_of)
    taken = {
        BARE: cpu(lambda: follow(drivers=False), given.rounds),
        "the same with drivers": cpu(lambda: follow(drivers=True), given.rounds),
        "reading the tables before that": cpu(
            lambda: timelines.read_people(model, [lead], few, as_of, None), given.rounds
        ),
        "writing it as text after that": cpu(shown.text, given.rounds),
        "100,000 events, from the tables to the text": cpu(
            lambda: timelines.timeline(model, [lead], many, as_of).text(), 1
        ),
    }
    bars = [
        at_most("1,000 events: CPU ms without drivers", taken[BARE], 5),
        at_most("1,000 events: CPU ms with drivers", taken["the same with drivers"], 50),
        at_most("100,000 events: CPU ms", taken["100,000 events, from the tables to the text"], 5_000),
    ]
    head = (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, numpy {np.__version__}; "
        f"{datetime.now(UTC).date()}; load average {load_average:.1f} when it began."
    )
    what = f"{len(bundle.features)} features of the simulated world, {len(shown.moments):,} moments; medians."
    lines = [[name, f"{t:,.1f}"] for name, t in taken.items()]
    text = "\n\n".join(
        [head, what, table(["bar", "wanted", "found", "met"], bars), table(["what", "CPU ms"], lines)]
    )
    print(text)
    if given.write:
        written(SECTION, text, ROOT / "docs" / "benchmarks.md")


if __name__ == "__main__":
    main()
