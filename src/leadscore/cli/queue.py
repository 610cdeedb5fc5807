"""The commands of every day: hand leads over, and take back those that were not worked."""

from pathlib import Path
from typing import Annotated

import typer

from leadscore.cli import show
from leadscore.cli.options import AsOf, Events, History, Leads, Model

Outcomes = Annotated[Path | None, typer.Option(help="What came of these leads, as the config describes it.")]
Previous = Annotated[
    list[Path] | None,
    typer.Option(
        help="What queue and recycle wrote before, .csv or .parquet; can be given again.", metavar="FILE"
    ),
]


def queue(
    model: Model,
    leads: Leads,
    out: Annotated[Path, typer.Option(help="Where the queue goes: .csv, .parquet or .jsonl.")],
    events: Events = None,
    history: History = None,
    as_of: AsOf = None,
    capacity: Annotated[int | None, typer.Option(help="How many leads, at most.", min=1)] = None,
    value: Annotated[
        str | None, typer.Option(help="The column that says what a win is worth.", metavar="COLUMN")
    ] = None,
    fields: Annotated[
        list[str] | None,
        typer.Option(help="Columns to hand over too, with commas between: email,phone.", metavar="NAMES"),
    ] = None,
    previous: Previous = None,
    outcomes: Outcomes = None,
) -> None:
    """Rank the leads for sales to call now, by chance x value x urgency."""
    from leadscore.files import require_table_name, write_table
    from leadscore.operate import queue as queues
    from leadscore.predict import load

    show.require_place(require_table_name(out), model, leads, events, history, outcomes, *(previous or ()))
    loaded = load(model)
    found = queues.queue(
        loaded,
        leads,
        events,
        show.moment(as_of, loaded) or show.now(),
        capacity=capacity,
        value=value,
        fields=[name.strip() for names in fields or () for name in names.split(",")],
        previous=previous,
        outcomes=outcomes,
        history=history,
        progress=show.progress,
    )
    write_table(found.frame, out)
    show.findings(found.findings)
    if not loaded.bundle.calibrated:
        show.warning(
            "the chances of this model have not proven to hold: leads are ranked by them, and none is given"
        )
    for why, count in found.left_out.items():
        print(f"{count:>9,}  {why}")
    print(f"{len(found.frame):>9,}  handed over, of {found.leads:,} leads: {out}")
