"""The commands of every day: hand leads over, and take back those that were not worked."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from leadscore.cli import show
from leadscore.cli.options import AsOf, Events, History, Leads, Model, Previous
from leadscore.errors import UsageError, explain, shown

if TYPE_CHECKING:
    from leadscore.operate.recycle import Recycled

Outcomes = Annotated[Path | None, typer.Option(help="What came of these leads, as the config describes it.")]

_DAYS: Final = {"h": 1 / 24, "d": 1.0, "w": 7.0}


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


def recycle(
    model: Model,
    leads: Leads,
    outcomes: Outcomes = None,
    events: Events = None,
    history: History = None,
    as_of: AsOf = None,
    within: Annotated[
        str, typer.Option(help="How long sales has to work a lead: 12h, 5d or 2w.", metavar="TIME")
    ] = "5d",
    not_now: Annotated[
        list[str] | None,
        typer.Option(help="A reason of lost leads that means not now; can be given again.", metavar="REASON"),
    ] = None,
    touch: Annotated[
        list[str] | None,
        typer.Option(
            help="A type of events by which sales works a lead; can be given again.", metavar="TYPE"
        ),
    ] = None,
    previous: Previous = None,
    top: Annotated[int, typer.Option(help="How many leads of each crack are listed.", min=0)] = 5,
    out: Annotated[
        Path | None, typer.Option(help="Where the leads given back go: .csv, .parquet or .jsonl.")
    ] = None,
    cracks: Annotated[
        Path | None, typer.Option(help="Where all that fell through goes: .csv, .parquet or .jsonl.")
    ] = None,
) -> None:
    """Take back the leads that sales does not work, and say what fell through the cracks."""
    from leadscore.files import require_table_name, write_table
    from leadscore.operate import recycle as recycling
    from leadscore.predict import load

    for place in (out, cracks):
        if place is not None:
            show.require_place(
                require_table_name(place), model, leads, events, history, outcomes, *(previous or ())
            )
    loaded = load(model)
    found = recycling.recycle(
        loaded,
        leads,
        events,
        show.moment(as_of, loaded),
        outcomes=outcomes,
        within=_days(within),
        not_now=not_now or (),
        touches=touch or (),
        previous=previous,
        history=history,
        progress=show.progress,
    )
    show.findings(found.findings)
    _tell(found, top)
    if cracks is not None:
        print(f"{len(found.cracks):,} leads that fell through: {write_table(found.cracks, cracks)}")
    back = int(found.frame["back_at"].notna().sum())
    written = "" if out is None else f": {write_table(found.frame, out)}"
    print(f"{len(found.frame):,} of {found.leads:,} leads given back, {back:,} of them back already{written}")


def _days(span: str) -> float:
    """Read 12h, 5d or 2w as days."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([hdw])\s*", span)
    if match is None:
        raise UsageError(explain("a duration such as 12h, 5d or 2w", shown(span), "correct --within"))
    return float(match[1]) * _DAYS[match[2]]


def _tell(found: "Recycled", top: int) -> None:
    """Print how many leads fell through which crack, and those that did for longest."""
    longest = found.cracks.groupby("what")["days"].max()
    rows = [
        (what, f"{count:,}", f"{longest[what]:,.0f} days" if count else "")
        for what, count in found.counts.items()
    ]
    show.table("What fell through the cracks", ("what", "leads", "longest"), rows)
    for what, count in found.counts.items():
        some = found.cracks[found.cracks["what"] == what].head(top)
        if len(some):
            title = f"{what[:1].upper()}{what[1:]}: {len(some):,} of {count:,}"
            show.table(
                title,
                ("lead", "why"),
                [(str(lead), why) for lead, why in zip(some["lead_id"], some["why"], strict=True)],
            )
