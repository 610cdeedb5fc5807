"""The commands, and how their errors reach a person."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

import leadscore
from leadscore.cli import show
from leadscore.cli.options import (
    Also,
    AsOf,
    Author,
    Config,
    Events,
    Form,
    Format,
    History,
    Hold,
    Json,
    Leads,
    Model,
    NoMlflow,
    Previous,
    Withhold,
)
from leadscore.cli.points import points
from leadscore.cli.queue import queue, recycle
from leadscore.cli.threshold import Former, carried, former, publish_carried, threshold
from leadscore.cli.timeline import timeline
from leadscore.errors import LeadScoreError, UsageError, explain, shown

if TYPE_CHECKING:
    from leadscore.explain.card import Explanation
    from leadscore.explain.full import Card
    from leadscore.project import Project
    from leadscore.train import Trained

app = typer.Typer(
    name="leadscore",
    help="Train, compare, serve and explain lead scores, and choose their thresholds.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(points, name="points")
app.add_typer(threshold, name="threshold")
app.command()(timeline)
app.command()(queue)
app.command()(recycle)

# Which word is wrong, as typer tells it: it keeps the class in another place from version to version.
_WrongWords = cast("type[Exception]", typer.BadParameter.__mro__[2])


def main() -> None:
    """Run the command line: one line for what is refused, a traceback only with --debug."""
    debug = "--debug" in sys.argv
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    try:
        code = app(args=arguments, prog_name="leadscore", standalone_mode=False)
    except _WrongWords as error:
        sys.exit(_wrong_words(error))
    except LeadScoreError as error:
        if debug:
            raise
        print(f"leadscore: {shown(error, 2000)}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Exception as error:
        if debug:
            raise
        found = f"{type(error).__name__}: {shown(error, 300)}"
        print(f"leadscore: stopped by an unexpected {found}; --debug shows where", file=sys.stderr)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _wrong_words(error: Exception) -> int:
    """Say in one line which word on the command line is wrong; without any word, print the help."""
    words = error.format_message()  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    if "--help" in words or not words:
        print(words)
    else:
        path = "leadscore" if context is None else context.command_path
        line = shown(" ".join(words.replace("Value error, ", "").split()), 500).rstrip(".")
        print(f"leadscore: {line}; see {path} --help", file=sys.stderr)
    return 2


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of what is refused.")] = False,  # noqa: ARG001
) -> None:
    """Train, compare, serve and explain lead scores, and choose their thresholds."""
    if version:
        print(f"leadscore {leadscore.__version__}")
        raise typer.Exit


@app.command()
def check(
    config: Config,
    json_file: Json = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="Write the audit as a page.")] = None,
) -> None:
    """Check the tables against the contract, and every field for leaks."""
    from leadscore import checking
    from leadscore import config as configs

    show.require_place(json_file)
    show.require_place(html_file)
    project = configs.read(config)
    tables, merges = checking.read_people(project)
    audit = checking.check(project, tables)
    show.findings(tables.findings)
    handled = dict.fromkeys(project.allow, "allowed") | dict.fromkeys(project.exclude, "excluded")
    rows = [
        (
            entry.field,
            entry.verdict,
            handled.get(entry.field, ""),
            entry.evidence[0] if entry.evidence else "",
        )
        for entry in audit.fields
    ]
    title = f"{len(audit.fields)} fields of {project.name}"
    show.table(title, ("field", "verdict", "config", "evidence"), rows)
    for finding in audit.findings:
        print(f"{finding}.")
    if json_file is not None:
        merged = {} if project.contract.identity is None else {"merged": [asdict(merge) for merge in merges]}
        show.write_json(json_file, {**asdict(audit), **merged})
    if html_file is not None:
        print(f"Report   {checking.write_page(project, tables, audit, html_file)}")
    checking.refuse_leaks(project, audit)
    print("Nothing blocks training.")


@app.command()
def train(
    config: Config,
    out: Annotated[Path, typer.Option(help="The model directory to write.")],
    json_file: Json = None,
    hold: Annotated[
        Hold | None,
        typer.Option(
            help="Carry over the policy in force for the model that is there: its probabilities, or as many "
            "MQLs."
        ),
    ] = None,
    author: Author = None,
    no_mlflow: NoMlflow = False,
) -> None:
    """Audit, look at leads as they were, compare, choose, fit and save."""
    from leadscore import config as configs

    project = configs.read(config)
    before = None if hold is None else former(out, hold, author)
    _train(project, out, json_file, mlflow=not no_mlflow, before=before)


@app.command()
def compare(config: Config, json_file: Json = None, no_mlflow: NoMlflow = False) -> None:
    """Compare the models with the hand-built points, and keep none of them."""
    from leadscore import config as configs
    from leadscore import tracking
    from leadscore import train as training

    show.require_place(json_file)
    project = configs.read(config)
    if not no_mlflow:
        tracking.require_store(project.name)
    prepared = training.prepare(project, progress=show.progress)
    comparison = training.compare_models(prepared, progress=show.progress)
    evidence = training.weigh(prepared, comparison, progress=show.progress)
    show.findings(prepared.tables.findings)
    show.comparison(comparison, evidence)
    if json_file is not None:
        show.write_json(json_file, tracking.record(comparison, evidence))
    if not no_mlflow:
        parameters = training.parameters(prepared)
        run = tracking.log_run(comparison, evidence, experiment=project.name, parameters=parameters)
        print(f"MLflow   run {run}")


@app.command()
def score(
    model: Model,
    leads: Leads,
    out: Annotated[Path, typer.Option(help="Where the scores go: .csv, .parquet or .jsonl.")],
    events: Events = None,
    history: History = None,
    previous: Previous = None,
    as_of: AsOf = None,
    also: Also = None,
    withhold: Withhold = False,
) -> None:
    """Score a table of leads."""
    from leadscore.files import require_table_name, write_table
    from leadscore.predict import load

    show.require_place(require_table_name(out), model, leads, events, history)
    loaded = load(model)
    further = [name.strip() for names in also or () for name in names.split(",")]
    frame = loaded.score(
        leads,
        events,
        show.moment(as_of, loaded, previous),
        history=history,
        previous=previous or None,
        also=further,
        withhold=withhold,
    )
    show.findings(frame.attrs["findings"])
    if not loaded.bundle.calibrated:
        do = "they are withheld, and the rank is given" if withhold else "--withhold gives the rank alone"
        show.warning(f"the chances of this model have not proven to hold: {do}")
    print(f"{len(frame):,} leads scored: {write_table(frame, out)}")


@app.command("explain")
def explain_lead(
    model: Model,
    leads: Leads,
    lead: Annotated[str | None, typer.Option(help="The id of the lead.", metavar="ID")] = None,
    events: Events = None,
    history: History = None,
    previous: Previous = None,
    as_of: AsOf = None,
    every: Annotated[
        bool, typer.Option("--all", help="Cards of the best leads in place of one, with a ranked list.")
    ] = False,
    top: Annotated[int | None, typer.Option(help="With --all: how many, at most.", min=1)] = None,
    form: Form = Format.text,
    short: Annotated[bool, typer.Option("--short", help="The reasons alone.")] = False,
    all_reasons: Annotated[
        bool, typer.Option("--all-reasons", help="Every reason in place of everything else.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="A file to write instead of the screen; with --all, a folder.")
    ] = None,
) -> None:
    """Explain a lead's score: reasons in points that add up to it, what happened, what would change it."""
    from leadscore import bundle, cards
    from leadscore.files import replace_file
    from leadscore.predict import load

    if every == (lead is not None):
        found = "both" if every else "neither"
        raise UsageError(explain("--lead ID for one lead, or --all", found, "choose one of them"))
    if every:
        hand_over(model, leads, events, history, previous, as_of, top, out)
        return
    show.require_place(out, model, leads, events, history)
    loaded = load(model)
    given: dict[str, Any] = {"lead_id": lead, "history": history, "previous": previous or None}
    moment = show.moment(as_of, loaded, previous)
    if short:
        why: Explanation | Card = loaded.explain(leads, events, moment, **given)[0]
    else:
        why = cards.card(loaded, leads, events, moment, **given, digest=bundle.digest(model))
    text = {
        Format.text: lambda: why.text(all_reasons=all_reasons),
        Format.json: lambda: show.as_json(why.to_dict()),
        Format.html: why.html,
    }[form]()
    if out is None:
        print(text)
    else:
        print(replace_file(out, f"{text}\n".encode()))


def hand_over(
    model: Path,
    leads: Path,
    events: Path | None,
    history: Path | None,
    previous: list[Path] | None,
    as_of: str | None,
    top: int | None,
    out: Path | None,
) -> None:
    """Write the cards of the best leads into a folder."""
    from leadscore import bundle, cards
    from leadscore.predict import load

    if out is None:
        raise UsageError(explain("a folder for the cards", "none", "name one with --out"))
    show.require_place(cards.require_folder(out) / "index.html", model, leads, events, history)
    loaded = load(model)
    found = cards.hand_over(
        loaded,
        leads,
        events,
        show.moment(as_of, loaded, previous),
        folder=out,
        top=top,
        history=history,
        previous=previous or None,
        digest=bundle.digest(model),
        progress=show.progress,
    )
    show.findings(found.findings)
    if found.suppressed:
        print(f"note: {found.suppressed:,} leads held back by a rule of the policy", file=sys.stderr)
    print(f"{len(found.frame):,} cards of {found.leads:,} leads: {found.folder / 'index.html'}")


@app.command()
def simulate(
    out: Annotated[Path, typer.Option(help="The folder for the tables, as Parquet.")],
    leads: Annotated[int, typer.Option(help="How many.", min=100)] = 20_000,
    seed: Annotated[int, typer.Option(help="Another seed, another world.")] = 0,
) -> None:
    """Simulate a company's leads, events and outcomes, whose truth is known."""
    from leadscore.simulate import simulate as run

    show.require_place(out / "leads.parquet")
    world = run(leads, seed=seed)
    world.write(out)
    print(
        f"{len(world.leads):,} leads, {len(world.events):,} events, {len(world.outcomes):,} outcomes: {out}"
    )


@app.command()
def demo(config: Config, out: Annotated[Path, typer.Option(help="The model directory to write.")]) -> None:
    """Train on a simulated world, then score, explain and tune: the whole path in one go."""
    from leadscore import bundle, cards
    from leadscore import config as configs
    from leadscore.files import replace_file, write_table
    from leadscore.predict import load
    from leadscore.project import SimulatedWorld
    from leadscore.simulate import simulate as run
    from leadscore.train import tune

    project = configs.read(config)
    if not isinstance(project.source, SimulatedWorld):
        raise UsageError(
            explain("a config with a simulate section", "one with files", "use configs/demo.yaml")
        )
    bundle.require_place(out)
    show.progress("Simulating a world of leads whose truth is known")
    world = run(project.source.leads, seed=project.source.seed)
    folder = out.with_name(f"{out.name}.world")
    world.write(folder)
    trained = _train(project, out, None, mlflow=False)
    model = load(out)
    leads, events = world.leads.filter(world.truth.closed_at >= world.end), folder / "events.parquet"
    frame = model.score(leads, events, world.end)
    best = str(frame["lead_id"].iloc[int(frame["score"].argmax())])
    card = cards.card(model, leads, events, world.end, lead_id=best, digest=bundle.digest(out))
    why = card.explanation
    print(f"\nThe best of {len(frame):,} leads that are open at the end of the data:\n\n{why.text()}\n")
    show.tuning(tune(project, trained.bundle.past))
    print(f"\nScores   {write_table(frame, folder / 'scores.csv')}")
    print(f"Card     {replace_file(out.with_name(f'{out.name}.card.html'), card.html().encode())}")
    print(f"Report   {_report_of(out)}\nModel    {out}")


def _train(
    project: "Project", out: Path, json_file: Path | None, *, mlflow: bool, before: Former | None = None
) -> "Trained":
    from leadscore import bundle, report, tracking
    from leadscore import train as training
    from leadscore.policy import ledger

    bundle.require_place(out)
    show.require_place(json_file, out)
    show.require_place(_report_of(out))
    if mlflow:
        tracking.require_store(project.name)
    trained = training.train(project, progress=show.progress)
    draft = None if before is None else carried(before, trained.bundle)  # refused before all is replaced
    folder = bundle.save(trained.bundle, out)
    kept = ledger.set_aside(folder)
    if before is not None and draft is not None:
        publish_carried(folder, before, draft)
    page = report.write(trained, _report_of(out))
    show.findings(trained.prepared.tables.findings)
    show.findings(trained.bundle.phrases.idle(trained.bundle.features))
    if kept is not None:
        what = "the thresholds published for the model that was here are kept in"
        now = "this model's own are in force (train with --hold carries such thresholds over, and so does"
        own = "" if draft is not None else f"; {now} threshold carry, from a model that is kept elsewhere)"
        print(f"note: {what} {kept}{own}", file=sys.stderr)
    show.comparison(trained.comparison, trained.evidence)
    if json_file is not None:
        show.write_json(json_file, tracking.record(trained.comparison, trained.evidence))
    print(f"Report   {page}\nModel    {folder}\nDigest   {bundle.digest(folder)}")
    if mlflow:
        parameters = training.parameters(trained.prepared)
        run = tracking.log_run(
            trained.comparison,
            trained.evidence,
            experiment=project.name,
            parameters=parameters,
            folder=folder,
        )
        print(f"MLflow   run {run}")
    return trained


def _report_of(model: Path) -> Path:
    return model.with_name(f"{model.name}.report.html")
