"""The command that follows one lead's score."""

from pathlib import Path
from typing import Annotated

import typer

from leadscore.cli import show
from leadscore.cli.options import AsOf, Events, Form, Format, History, Leads, Model


def timeline(
    model: Model,
    leads: Leads,
    lead: Annotated[str, typer.Option(help="The id of the lead.", metavar="ID")],
    events: Events = None,
    history: History = None,
    as_of: AsOf = None,
    since: Annotated[
        str | None, typer.Option(help="Begin here, and say what changed.", metavar="TIME")
    ] = None,
    form: Form = Format.text,
    out: Annotated[Path | None, typer.Option(help="A file to write instead of the screen.")] = None,
) -> None:
    """Follow one lead's score: what each event did, and the time between them."""
    from leadscore import timelines
    from leadscore.files import replace_file
    from leadscore.predict import load

    show.require_place(out, model, leads, events, history)
    loaded = load(model)
    moment = show.moment(as_of, loaded)
    line = timelines.timeline(loaded, leads, events, moment, lead_id=lead, history=history, since=since)
    changed = since and timelines.changed(
        loaded, leads, events, moment, before=since, lead_id=lead, history=history
    )
    text = {
        Format.text: lambda: "\n\n".join(part.text() for part in (line, changed) if part),
        Format.json: lambda: show.as_json(
            line.to_dict() | ({"changed": changed.to_dict()} if changed else {})
        ),
        Format.html: line.html,
    }[form]()
    if out is None:
        print(text)
    else:
        print(replace_file(out, f"{text}\n".encode()))
