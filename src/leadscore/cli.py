"""`leadscore ...`: reads the clock, calls the library, prints. No logic."""

import getpass
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import leadscore
from leadscore.errors import LeadScoreError, UsageError, explain, shown

if TYPE_CHECKING:
    from leadscore.evaluation.compare import Comparison
    from leadscore.evaluation.leakage import FieldAudit
    from leadscore.policy.ledger import Entry
    from leadscore.policy.policy import Policy
    from leadscore.policy.tuning import Tuning
    from leadscore.predict import LeadModel
    from leadscore.project import Project
    from leadscore.train import Trained

app = typer.Typer(
    name="leadscore",
    help="Train, compare, serve and explain lead scores, and choose their thresholds.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
threshold = typer.Typer(no_args_is_help=True, help="Choose, preview, publish and undo MQL thresholds.")
app.add_typer(threshold, name="threshold")

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="The project's YAML file.")]
Model = Annotated[Path, typer.Argument(metavar="DIR", help="A model directory.")]
Leads = Annotated[Path, typer.Argument(metavar="LEADS", help="The leads as the config describes them.")]
Events = Annotated[Path | None, typer.Option(help="The events of these leads.")]
History = Annotated[Path | None, typer.Option(help="How the attributes of these leads changed.")]
AsOf = Annotated[str | None, typer.Option(help="The moment of the score; now, if not given.", metavar="TIME")]
Json = Annotated[Path | None, typer.Option("--json", help="Write the comparison or audit as JSON.")]
NoMlflow = Annotated[bool, typer.Option("--no-mlflow", help="Keep no record in MLflow.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the history.")]
Author = Annotated[str | None, typer.Option(help="Who; the login name, if not given.")]
# Which word is wrong, as typer tells it: it keeps the class in another place from version to version.
_WrongWords = cast("type[Exception]", typer.BadParameter.__mro__[2])
Expect = Annotated[int | None, typer.Option(help="Refuse unless this revision is in force.")]


class Format(StrEnum):
    """How an explanation is written."""

    text = "text"
    json = "json"
    html = "html"


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
def check(config: Config, json_file: Json = None) -> None:
    """Check the tables against the contract, and every field for leaks."""
    from leadscore import config as configs
    from leadscore import train as training

    _require_place(json_file)
    project = configs.read(config)
    tables, merges = training.read_people(project)
    audits = training.check(project, tables)
    _findings(tables.findings)
    handled = dict.fromkeys(project.allow, "allowed") | dict.fromkeys(project.exclude, "excluded")
    rows = [
        (
            audit.field,
            audit.verdict,
            handled.get(audit.field, ""),
            audit.evidence[0] if audit.evidence else "",
        )
        for audit in audits
    ]
    _table(f"{len(audits)} fields of {project.name}", ("field", "verdict", "config", "evidence"), rows)
    if json_file is not None:
        merged = {} if project.contract.identity is None else {"merged": [asdict(merge) for merge in merges]}
        _write_json(json_file, {"fields": [_audit_dict(audit) for audit in audits], **merged})
    training.refuse_leaks(project, audits)
    print("Nothing blocks training.")


@app.command()
def train(
    config: Config,
    out: Annotated[Path, typer.Option(help="The model directory to write.")],
    json_file: Json = None,
    no_mlflow: NoMlflow = False,
) -> None:
    """Audit, look at leads as they were, compare, choose, fit and save."""
    from leadscore import config as configs

    _train(configs.read(config), out, json_file, mlflow=not no_mlflow)


@app.command()
def compare(config: Config, json_file: Json = None, no_mlflow: NoMlflow = False) -> None:
    """Compare the models with the hand-built points, and keep none of them."""
    from leadscore import config as configs
    from leadscore import tracking
    from leadscore import train as training

    _require_place(json_file)
    project = configs.read(config)
    if not no_mlflow:
        tracking.require_store(project.name)
    prepared = training.prepare(project, progress=_progress)
    comparison = training.compare_models(prepared, progress=_progress)
    _findings(prepared.tables.findings)
    _comparison(comparison)
    if json_file is not None:
        _write_json(json_file, comparison.to_dict())
    if not no_mlflow:
        parameters = training.parameters(prepared)
        print("MLflow  run", tracking.log_run(comparison, experiment=project.name, parameters=parameters))


@app.command()
def score(
    model: Model,
    leads: Leads,
    out: Annotated[Path, typer.Option(help="Where the scores go: .csv or .parquet.")],
    events: Events = None,
    history: History = None,
    as_of: AsOf = None,
) -> None:
    """Score a table of leads."""
    from leadscore.files import require_table_name, write_table
    from leadscore.predict import load

    _require_place(require_table_name(out), model, leads, events, history)
    loaded = load(model)
    frame = loaded.score(leads, events, _moment(as_of, loaded), history=history)
    _findings(frame.attrs["findings"])
    print(f"{len(frame):,} leads scored: {write_table(frame, out)}")


@app.command("explain")
def explain_lead(
    model: Model,
    leads: Leads,
    lead: Annotated[str, typer.Option(help="The id of the lead.", metavar="ID")],
    events: Events = None,
    history: History = None,
    as_of: AsOf = None,
    form: Annotated[Format, typer.Option("--format", help="How to write it.")] = Format.text,
    out: Annotated[Path | None, typer.Option(help="A file to write instead of the screen.")] = None,
) -> None:
    """Explain one lead's score: reasons in points that add up to it."""
    from leadscore.files import replace_file
    from leadscore.predict import load

    _require_place(out, model, leads, events, history)
    loaded = load(model)
    moment = _moment(as_of, loaded)
    why = loaded.explain(leads, events, moment, lead_id=lead, history=history)[0]
    text = {
        Format.text: why.text,
        Format.json: lambda: json.dumps(why.to_dict(), indent=2, ensure_ascii=False),
        Format.html: why.html,
    }[form]()
    if out is None:
        print(text)
    else:
        print(replace_file(out, f"{text}\n".encode()))


@app.command()
def simulate(
    out: Annotated[Path, typer.Option(help="The folder for the tables, as Parquet.")],
    leads: Annotated[int, typer.Option(help="How many.", min=100)] = 20_000,
    seed: Annotated[int, typer.Option(help="Another seed, another world.")] = 0,
) -> None:
    """Simulate a company's leads, events and outcomes, whose truth is known."""
    from leadscore.simulate import simulate as run

    _require_place(out / "leads.parquet")
    world = run(leads, seed=seed)
    world.write(out)
    print(
        f"{len(world.leads):,} leads, {len(world.events):,} events, {len(world.outcomes):,} outcomes: {out}"
    )


@app.command()
def demo(config: Config, out: Annotated[Path, typer.Option(help="The model directory to write.")]) -> None:
    """Train on a simulated world, then score, explain and tune: the whole path in one go."""
    from leadscore import bundle
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
    _progress("Simulating a world of leads whose truth is known")
    world = run(project.source.leads, seed=project.source.seed)
    folder = out.with_name(f"{out.name}.world")
    world.write(folder)
    trained = _train(project, out, None, mlflow=False)
    model = load(out)
    leads, events = world.leads.filter(world.truth.closed_at >= world.end), folder / "events.parquet"
    frame = model.score(leads, events, world.end)
    best = str(frame["lead_id"].iloc[int(frame["score"].argmax())])
    why = model.explain(leads, events, world.end, lead_id=best)[0]
    print(f"\nThe best of {len(frame):,} leads that are open at the end of the data:\n\n{why.text()}\n")
    _tuning(tune(project, trained.bundle.backtest))
    print(f"\nScores   {write_table(frame, folder / 'scores.csv')}")
    print(f"Card     {replace_file(out.with_name(f'{out.name}.card.html'), why.html().encode())}")
    print(f"Report   {_report_of(out)}\nModel    {out}")


# ------------------------------------------------------------------------------------------------ thresholds
Mql = Annotated[float, typer.Option(help="The chance from which a lead is an MQL, such as 0.08.")]
SalesReady = Annotated[float | None, typer.Option(help="The chance from which it goes to sales at once.")]


@threshold.command("tune")
def threshold_tune(
    model: Model,
    capacity: Annotated[float | None, typer.Option(help="Leads that the team can work in a week.")] = None,
    share: Annotated[float | None, typer.Option(help="Share of all leads, such as 0.2.")] = None,
    precision: Annotated[float | None, typer.Option(help="Least share of MQLs that convert.")] = None,
    value: Annotated[float | None, typer.Option(help="Value of a win; needs --cost.")] = None,
    cost: Annotated[float | None, typer.Option(help="Cost of working a lead; needs --value.")] = None,
    json_file: Json = None,
) -> None:
    """Choose thresholds on the backtest by capacity, share, precision, or value and cost; changes nothing."""
    from leadscore.policy import tuning
    from leadscore.predict import load

    ways: dict[str, tuple[bool, Callable[[tuning.Backtest], tuning.Tuning]]] = {
        "--capacity": (capacity is not None, lambda past: tuning.by_capacity(past, float(capacity or 0))),
        "--share": (share is not None, lambda past: tuning.by_share(past, float(share or 0))),
        "--precision": (precision is not None, lambda past: tuning.by_precision(past, float(precision or 0))),
        "--value and --cost": (
            value is not None or cost is not None,
            lambda past: tuning.by_value(past, *_both(value, cost)),
        ),
    }
    chosen = [way for way, (given, _) in ways.items() if given]
    if len(chosen) != 1:
        found = " and ".join(chosen) or "none"
        raise UsageError(explain(f"one of {', '.join(ways)}", found, "choose one way to tune"))
    _require_place(json_file, model)
    result = ways[chosen[0]][1](load(model).bundle.backtest)
    _tuning(result)
    if json_file is not None:
        _write_json(json_file, result.to_dict())


@threshold.command("preview")
def threshold_preview(model: Model, mql: Mql, sales_ready: SalesReady = None) -> None:
    """Show what new thresholds would have done on past leads; changes nothing."""
    from leadscore.policy.preview import preview
    from leadscore.predict import load

    loaded = load(model)
    result = preview(_draft(loaded.policy, mql, sales_ready), loaded.policy, loaded.bundle.backtest)
    for change in result.changes or ("nothing changes",):
        print(f"Draft    {change}")
    rows = [
        (c.stage, f"{c.before:,}", f"{c.after:,}", f"{c.entering:,}", f"{c.leaving:,}") for c in result.stages
    ]
    _table(f"{result.leads:,} past leads", ("stage", "in force", "draft", "enter", "leave"), rows)
    print(result.sentence)


@threshold.command("set")
def threshold_set(
    model: Model,
    mql: Mql,
    reason: Reason,
    sales_ready: SalesReady = None,
    author: Author = None,
    expect: Expect = None,
) -> None:
    """Publish new thresholds as a new revision."""
    from leadscore.policy import ledger
    from leadscore.predict import load

    loaded = load(model)
    entry = ledger.publish(
        model,
        _draft(loaded.policy, mql, sales_ready),
        expected=loaded.policy.revision if expect is None else expect,
        born=loaded.bundle.policy,
        author=author or _login(),
        reason=reason,
        at=datetime.now(UTC),
    )
    _published(entry)


@threshold.command("history")
def threshold_history(model: Model) -> None:
    """List the published revisions, once their chain is verified."""
    from leadscore.policy import ledger
    from leadscore.predict import load

    born = load(model).bundle.policy
    first = (str(born.revision), f"{born.mql:g}", f"{born.sales_ready:g}", "", "", "born with the model")
    rows = [first]
    for entry in ledger.history(model, born):
        policy, back = entry.policy, "" if entry.restores is None else f" (back to {entry.restores})"
        numbers = (str(policy.revision), f"{policy.mql:g}", f"{policy.sales_ready:g}")
        rows.append((*numbers, entry.at, entry.author, entry.reason + back))
    _table("Published policies", ("revision", "mql", "sales ready", "at", "by", "why"), rows)


@threshold.command("undo")
def threshold_undo(
    model: Model,
    reason: Reason = "undo",
    to: Annotated[
        int | None, typer.Option(help="The revision to go back to; the one before, if not given.")
    ] = None,
    author: Author = None,
    expect: Expect = None,
) -> None:
    """Bring an earlier policy back as a new revision."""
    from leadscore.policy import ledger
    from leadscore.predict import load

    loaded = load(model)
    entry = ledger.undo(
        model,
        expected=loaded.policy.revision if expect is None else expect,
        born=loaded.bundle.policy,
        author=author or _login(),
        reason=reason,
        at=datetime.now(UTC),
        to=to,
    )
    _published(entry)


# ---------------------------------------------------------------------------------------------- shared parts
def _train(project: "Project", out: Path, json_file: Path | None, *, mlflow: bool) -> "Trained":
    from leadscore import bundle, report, tracking
    from leadscore import train as training
    from leadscore.policy import ledger

    bundle.require_place(out)
    _require_place(json_file, out)
    _require_place(_report_of(out))
    if mlflow:
        tracking.require_store(project.name)
    trained = training.train(project, progress=_progress)
    folder = bundle.save(trained.bundle, out)
    kept = ledger.set_aside(folder)
    page = report.write(trained, _report_of(out))
    _findings(trained.prepared.tables.findings)
    if kept is not None:
        what = "the thresholds published for the model that was here are kept in"
        print(f"note: {what} {kept}; this model's own are in force", file=sys.stderr)
    _comparison(trained.comparison)
    if json_file is not None:
        _write_json(json_file, trained.comparison.to_dict())
    print(f"Report   {page}\nModel    {folder}\nDigest   {bundle.digest(folder)}")
    if mlflow:
        parameters = training.parameters(trained.prepared)
        run = tracking.log_run(
            trained.comparison, experiment=project.name, parameters=parameters, folder=folder
        )
        print(f"MLflow   run {run}")
    return trained


def _report_of(model: Path) -> Path:
    return model.with_name(f"{model.name}.report.html")


def _require_place(path: Path | None, model: Path | None = None, *inputs: Path | None) -> None:
    """Refuse, before any work is done, an output that cannot be written, or that would spoil what is read."""
    from leadscore.files import require_writable

    if path is None:
        return
    require_writable(path)
    if path.resolve() in {given.resolve() for given in inputs if given is not None}:
        raise UsageError(explain("an output beside the tables", "one of them", "choose another place"))
    if model is not None and path.resolve().is_relative_to(model.resolve()):
        expected = "an output outside the model's directory, which holds nothing else"
        raise UsageError(explain(expected, shown(path, 300), "choose another place"))


def _progress(step: str) -> None:
    print(f"... {step}", file=sys.stderr, flush=True)


def _findings(findings: Iterable[object]) -> None:
    for finding in findings:
        print(f"note: {shown(finding, 300)}", file=sys.stderr)


def _comparison(comparison: "Comparison") -> None:
    wide = comparison.table()
    rows = [
        (str(metric), *map(str, cells)) for metric, cells in zip(wide.index, wide.to_numpy(), strict=True)
    ]
    _table("On rows that no model had seen, with 95 % intervals", ("metric", *wide.columns), rows)
    for model, verdict in comparison.verdicts.items():
        print(f"{model}: {verdict}")
    print(f"Chosen   {comparison.chosen}: {comparison.reason}")


def _tuning(tuning: "Tuning") -> None:
    lines = list(dict.fromkeys(figure.line for figure in tuning.figures))
    names = list(dict.fromkeys(figure.figure for figure in tuning.figures))
    rows = []
    for name in names:
        figures = [tuning.figure(line, name) for line in lines]
        rows.append(
            (name.replace("_", " "), *(f"{f.value:.3g} [{f.low:.3g}, {f.high:.3g}]" for f in figures))
        )
    _table(f"Thresholds for {tuning.rule}", ("figure", *lines), rows)
    print(f"mql {tuning.mql:g}, sales ready {tuning.sales_ready:g}, on {tuning.leads:,} past leads")
    print(tuning.verdict)


def _published(entry: "Entry") -> None:
    policy = entry.policy
    print(f"Revision {policy.revision} is in force: mql {policy.mql:g}, sales ready {policy.sales_ready:g}")


def _draft(now: "Policy", mql: float, sales_ready: float | None) -> "Policy":
    """Move the thresholds; the one for sales follows the MQL's up where it is not given."""
    from dataclasses import replace

    ready = max(now.sales_ready, mql) if sales_ready is None else sales_ready
    return replace(now, mql=mql, sales_ready=ready, nurture=None)


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as somebody without a name
        raise UsageError(
            explain("--author, as there is no login name", "none", "say who publishes")
        ) from None


def _both(value: float | None, cost: float | None) -> tuple[float, float]:
    if value is None or cost is None:
        found = "--cost alone" if value is None else "--value alone"
        raise UsageError(explain("--value and --cost", found, "give both"))
    return value, cost


def _moment(as_of: str | None, model: "LeadModel") -> datetime | str | None:
    """Take the moment given, or now; the future is refused."""
    now = datetime.now(UTC)
    if as_of is None:
        return now if model.needs_time else None
    from leadscore.predict import moment

    if moment(as_of, model.bundle.contract.timezone) > int(now.timestamp() * 1e6):
        raise UsageError(explain("a moment that has come", shown(as_of), "give --as-of a time in the past"))
    return as_of


def _audit_dict(audit: "FieldAudit") -> dict[str, Any]:
    return {"field": audit.field, "verdict": audit.verdict, "evidence": list(audit.evidence)}


def _write_json(path: Path, values: object) -> None:
    from leadscore.files import replace_file

    replace_file(path, (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode())


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(*columns, title=escape(title), title_justify="left")
    for row in rows:
        table.add_row(*(escape(shown(cell, 400)) for cell in row))
    Console(width=None if sys.stdout.isatty() else 120).print(table)
