"""`leadscore points ...`: learn a point table from outcomes, and hold the hand-set one against them."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leadscore.cli import show
from leadscore.cli.options import Config, Json

if TYPE_CHECKING:
    from leadscore.models.half_life import HalfLife
    from leadscore.points.learning import Learned

points = typer.Typer(no_args_is_help=True, help="Learn points from outcomes, and review the hand-set ones.")


@points.command("learn")
def points_learn(
    config: Config,
    out: Annotated[Path | None, typer.Option(help="Where the points go, as YAML for the config.")] = None,
    table: Annotated[
        Path | None, typer.Option("--csv", help="Where they go as a table to type into another system.")
    ] = None,
    json_file: Json = None,
) -> None:
    """Learn a table of few integer points: which fields and events, how many points, caps and half-lives."""
    from leadscore import config as configs
    from leadscore import train as training
    from leadscore.files import replace_file, require_table_name, write_table
    from leadscore.points.learning import learn
    from leadscore.points.lines import to_frame, to_yaml

    for place in (out, None if table is None else require_table_name(table), json_file):
        show.require_place(place, None, config)
    prepared = training.prepare(configs.read(config), progress=show.progress)
    learned = learn(prepared, progress=show.progress)
    _show_learned(learned)
    rules, features = learned.table.rules, learned.features
    if out is not None:
        print(f"Points   {replace_file(out, to_yaml(rules, features, learned.remarks))}")
    if table is not None:
        print(f"Table    {write_table(to_frame(rules, features), table)}")
    if json_file is not None:
        show.write_json(json_file, learned.to_dict())


@points.command("review")
def points_review(config: Config, json_file: Json = None) -> None:
    """Say of each hand-set rule whether the evidence supports its points."""
    from leadscore import config as configs
    from leadscore import train as training
    from leadscore.points.review import review

    show.require_place(json_file, None, config)
    prepared = training.prepare(configs.read(config), progress=show.progress)
    reviewed = review(prepared)
    rows = [
        (
            own.label,
            f"{own.points:+g}",
            f"{own.leads:,}",
            _percent(own.rate_with),
            _percent(own.rate_without),
            own.sentence,
        )
        for own in reviewed
    ]
    title = f"The points of {prepared.project.name} beside {len(prepared.y):,} outcomes"
    show.table(title, ("rule", "points", "leads", "with it", "without", "evidence"), rows)
    if json_file is not None:
        show.write_json(json_file, {"rules": [own.to_dict() for own in reviewed]})


@points.command("start")
def points_start(
    config: Config,
    out: Annotated[Path, typer.Option(help="The model directory to write.")],
    rate: Annotated[float, typer.Option(help="The share of leads that you expect to win, such as 0.05.")],
) -> None:
    """Put the hand-set points to use before any outcome is known; its chances are assumed."""
    from leadscore import bundle
    from leadscore import config as configs
    from leadscore.points.starting import start
    from leadscore.policy import ledger

    bundle.require_place(out)
    folder = bundle.save(start(configs.read(config), rate), out)
    ledger.set_aside(folder)
    print(f"Model    {folder}\nDigest   {bundle.digest(folder)}")
    print("Its chances are assumed, not learned: train as soon as outcomes are known.")


def _show_learned(learned: "Learned") -> None:
    from leadscore.points.lines import to_frame

    frame = to_frame(learned.table.rules, learned.features)
    rows = [
        (
            str(row["property or event"]),
            str(row["condition"]),
            f"{row['points']:+g}",
            "" if math.isnan(row["at most"]) else f"{row['at most']:g}",
            str(row["fades"]),
        )
        for row in frame.to_dict("records")
    ]
    show.table("Learned points", ("property or event", "condition", "points", "at most", "fades"), rows)
    if learned.half_lives:
        halves = [(event, *_days(found)) for event, found in learned.half_lives.items()]
        show.table("After how many days an event is worth half", ("event", "days", "95 % interval"), halves)
    for remark in learned.remarks:
        print(remark)


def _days(found: "HalfLife") -> tuple[str, str]:
    if not found.tells:
        return "cannot tell", "says nothing beside the other events"
    return _named(found.days), f"{_named(found.low)} to {_named(found.high)}"


def _named(days: float) -> str:
    return f"{days:.3g}" if math.isfinite(days) else "never fades"


def _percent(share: float) -> str:
    return "" if math.isnan(share) else f"{share:.1%}"
