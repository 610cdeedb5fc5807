"""The arguments and options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """How an explanation is written."""

    text = "text"
    json = "json"
    html = "html"


class Hold(StrEnum):
    """What of a policy a new model keeps."""

    fixed = "fixed"
    volume = "volume"


Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="The project's YAML file.")]
Model = Annotated[Path, typer.Argument(metavar="DIR", help="A model directory.")]
Leads = Annotated[Path, typer.Argument(metavar="LEADS", help="The leads as the config describes them.")]
Events = Annotated[Path | None, typer.Option(help="The events of these leads.")]
History = Annotated[Path | None, typer.Option(help="How the attributes of these leads changed.")]
Previous = Annotated[
    list[Path] | None,
    typer.Option(
        help="Where the leads stood before: lead_id with stage or recycled_at, as score, queue or recycle "
        "wrote it. May be given more than once, the oldest first.",
        metavar="FILE",
    ),
]
AsOf = Annotated[str | None, typer.Option(help="The moment of the score; now, if not given.", metavar="TIME")]
Also = Annotated[
    list[str] | None,
    typer.Option(
        help="Further columns, with commas between: interval, unlike, rank; of a hazard model urgency and "
        "expected_days too.",
        metavar="NAMES",
    ),
]
Withhold = Annotated[
    bool,
    typer.Option(
        "--withhold",
        help="No percentage where the model's chances have not proven to hold: the rank in its place.",
    ),
]
Form = Annotated[Format, typer.Option("--format", help="How to write it.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write the comparison or audit as JSON.")]
NoMlflow = Annotated[bool, typer.Option("--no-mlflow", help="Keep no record in MLflow.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the history.")]
Author = Annotated[str | None, typer.Option(help="Who; the login name, if not given.")]
Expect = Annotated[int | None, typer.Option(help="Refuse unless this revision is in force.")]
