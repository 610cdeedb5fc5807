"""`leadscore threshold ...`: choose, preview, publish and undo thresholds."""

import getpass
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from leadscore.cli import show
from leadscore.cli.options import Author, Expect, Json, Model, Reason
from leadscore.errors import UsageError, explain

if TYPE_CHECKING:
    from leadscore.policy.ledger import Entry
    from leadscore.policy.policy import Policy

threshold = typer.Typer(no_args_is_help=True, help="Choose, preview, publish and undo MQL thresholds.")

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
    from leadscore.policy.tuning import Aim, tune
    from leadscore.predict import load

    ways: dict[str, tuple[bool, Callable[[], Aim]]] = {
        "--capacity": (capacity is not None, lambda: Aim("capacity", capacity)),
        "--share": (share is not None, lambda: Aim("share", share)),
        "--precision": (precision is not None, lambda: Aim("precision", precision)),
        "--value and --cost": (
            value is not None or cost is not None,
            lambda: Aim("value", None, *_both(value, cost)),
        ),
    }
    chosen = [way for way, (given, _) in ways.items() if given]
    if len(chosen) != 1:
        found = " and ".join(chosen) or "none"
        raise UsageError(explain(f"one of {', '.join(ways)}", found, "choose one way to tune"))
    show.require_place(json_file, model)
    loaded = load(model)
    result = tune(loaded.bundle.past, ways[chosen[0]][1](), in_force=loaded.policy)
    show.tuning(result)
    if json_file is not None:
        show.write_json(json_file, result.to_dict())


@threshold.command("preview")
def threshold_preview(model: Model, mql: Mql, sales_ready: SalesReady = None) -> None:
    """Show what new thresholds would have done on past leads; changes nothing."""
    from leadscore.policy.preview import preview
    from leadscore.predict import load

    loaded = load(model)
    result = preview(_draft(loaded.policy, mql, sales_ready), loaded.policy, loaded.bundle.past)
    for change in result.changes or ("nothing changes",):
        print(f"Draft    {change}")
    rows = [
        (c.stage, f"{c.before:,}", f"{c.after:,}", f"{c.entering:,}", f"{c.leaving:,}") for c in result.stages
    ]
    show.table(f"{result.leads:,} past leads", ("stage", "in force", "draft", "enter", "leave"), rows)
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
        at=show.now(),
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
    show.table("Published policies", ("revision", "mql", "sales ready", "at", "by", "why"), rows)


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
        at=show.now(),
        to=to,
    )
    _published(entry)


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
