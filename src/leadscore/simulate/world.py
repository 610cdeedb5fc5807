"""The world as a whole: three tables, how they read, and the truth beside them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from leadscore.data.contract import Contract
from leadscore.errors import UsageError, explain
from leadscore.simulate.behaviour import join_webinars, receive_mail, serve_customers, sign_up, visit
from leadscore.simulate.clock import NEVER, clock_from
from leadscore.simulate.people import draw_people
from leadscore.simulate.planted import CAUSES, SEGMENTS, WON, column
from leadscore.simulate.sales import call, conclude, hand_over, hazards
from leadscore.simulate.scene import Scene, interest
from leadscore.simulate.tables import CONTRACT, LEAKS, write_down
from leadscore.simulate.truth import Truth


@dataclass(frozen=True)
class World:
    """Three tables as a company would export them, how they read, and the truth beside them.

    Attributes
    ----------
    leads, events, outcomes : pyarrow.Table
        What was recorded before ``end``.
    truth : Truth
        What is behind them.
    contract : Contract
        How ``leadscore.data.tables.read_tables`` reads them.
    start, end : int
        The calendar window, UTC microseconds.
    """

    leads: pa.Table
    events: pa.Table
    outcomes: pa.Table
    truth: Truth
    contract: Contract
    start: int
    end: int

    def write(self, folder: str | Path) -> Path:
        """Write the three tables as Parquet, each beside its place first and then renamed.

        Examples
        --------
        >>> import tempfile
        >>> folder = simulate(leads=20, seed=1).write(tempfile.mkdtemp())
        >>> sorted(path.name for path in folder.iterdir())
        ['events.parquet', 'leads.parquet', 'outcomes.parquet']
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("leads", "events", "outcomes"):
            beside = folder / f".{name}.parquet.part"
            pq.write_table(getattr(self, name), beside)
            beside.replace(folder / f"{name}.parquet")
        return folder


def simulate(
    leads: int = 20_000,
    seed: int = 0,
    *,
    weeks: int = 52,
    start: datetime = datetime(2025, 1, 1, tzinfo=UTC),
) -> World:
    """Simulate a company's leads over a calendar window.

    Parameters
    ----------
    leads : int
        Rows of the leads table; about 3 % of them repeat an earlier one.
    seed : int
        The same seed gives the same world.
    weeks : int
        Length of the window.
    start : datetime
        First day of the window, with a time zone.

    Returns
    -------
    World
        Three tables, the contract that reads them, and the truth.

    Raises
    ------
    UsageError
        Fewer than one lead or week, or a ``start`` without a zone.

    Examples
    --------
    >>> world = simulate(leads=100, seed=1)
    >>> world.leads.num_rows, world.events.num_rows > 1_000
    (100, True)
    >>> sorted(set(world.outcomes["stage"].to_pylist()))
    ['Closed Lost', 'Closed Won', 'Disqualified', 'Handed Over', 'Sales Accepted']
    """
    if leads < 1 or weeks < 1 or start.tzinfo is None:
        found = f"leads={leads}, weeks={weeks}, start={start.isoformat()}"
        raise UsageError(
            explain("at least one lead and week, and a start with a time zone", found, "change the arguments")
        )
    rng = np.random.default_rng(seed)
    clock = clock_from(start, weeks)
    people = draw_people(rng, leads, clock)
    scene = Scene(rng, clock, people, *interest(rng, people, clock))
    sign_up(scene)
    join_webinars(scene)
    visit(scene, clicks=receive_mail(scene))
    handed, accepted = hand_over(scene)
    call(scene, handed)
    won, lost, found_out = rates = hazards(scene, accepted)
    end = conclude(scene, handed, accepted, rates)
    serve_customers(scene, end)
    tables = write_down(scene, end)
    truth = Truth(
        lead_id=np.array(tables[0]["lead_id"].to_pylist(), dtype=object),
        start=clock.start,
        created_at=clock.absolute(people.created),
        won_at=clock.absolute(np.where(end.ending == WON, end.closed, NEVER)),
        closed_at=clock.absolute(end.closed),
        fit=people.fit,
        intent=scene.intent.T,
        won_hazard=won.T,
        lost_hazard=(lost + found_out).T,
        segment=column(SEGMENTS, "name")[people.segment].astype(object),
        original=people.original,
        leaks=LEAKS,
        causes=CAUSES,
    )
    return World(*tables, truth, CONTRACT, clock.start, clock.start + clock.end)
