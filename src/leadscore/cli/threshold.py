"""`leadscore threshold ...`: choose, preview, publish and undo thresholds."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leadscore.cli import show
from leadscore.cli.options import AsOf, Author, Events, Expect, History, Hold, Model, Previous, Reason
from leadscore.errors import UsageError, explain, shown

if TYPE_CHECKING:
    from leadscore.bundle import Bundle
    from leadscore.policy.aims import Aim, Kind
    from leadscore.policy.carrying import Carried
    from leadscore.policy.ledger import Entry
    from leadscore.policy.policy import Policy
    from leadscore.predict import LeadModel

threshold = typer.Typer(no_args_is_help=True, help="Choose, preview, publish and undo MQL thresholds.")

Mql = Annotated[float | None, typer.Option(help="The chance from which a lead is an MQL, such as 0.08.")]
SalesReady = Annotated[float | None, typer.Option(help="The chance from which it goes to sales at once.")]
Draft = Annotated[
    Path | None,
    typer.Option("--policy", help="A whole policy as YAML or JSON, as `show` and `tune` write it."),
]
Capacity = Annotated[float | None, typer.Option(help="Leads that the team can work in a week.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write it as JSON too.")]
HtmlFile = Annotated[Path | None, typer.Option("--html", help="Write it as a page with the curves too.")]


@threshold.command("show")
def threshold_show(
    model: Model,
    revision: Annotated[
        int | None, typer.Option(help="An earlier one; the one in force, if not given.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A file to write instead of the screen.")] = None,
) -> None:
    """Write the policy in force as YAML, to edit and to give to `preview` and `set` as --policy."""
    from leadscore import thresholds
    from leadscore.files import replace_file
    from leadscore.policy.written import to_yaml
    from leadscore.predict import load

    show.require_place(out, model)
    loaded = load(model)
    policies = [loaded.bundle.policy, *(entry.policy for entry in thresholds.history(model))]
    wanted = loaded.policy.revision if revision is None else revision
    chosen = next((policy for policy in policies if policy.revision == wanted), None)
    if chosen is None:
        found = f"revisions {policies[0].revision} to {policies[-1].revision}"
        raise UsageError(explain(f"revision {wanted}", found, "name one of those"))
    text = to_yaml(chosen)
    print(text.rstrip() if out is None else replace_file(out, text.encode()))


@threshold.command("tune")
def threshold_tune(
    model: Model,
    capacity: Capacity = None,
    share: Annotated[float | None, typer.Option(help="Share of all leads, such as 0.2.")] = None,
    precision: Annotated[float | None, typer.Option(help="Least share of MQLs that convert.")] = None,
    recall: Annotated[float | None, typer.Option(help="Least share of conversions that are MQLs.")] = None,
    value: Annotated[float | None, typer.Option(help="Value of a win; needs --cost.")] = None,
    cost: Annotated[float | None, typer.Option(help="Cost of working a lead; needs --value.")] = None,
    missed_cost: Annotated[float, typer.Option(help="Cost of a win that is missed, beyond its value.")] = 0.0,
    sales_capacity: Annotated[
        float | None, typer.Option(help="Of the MQLs, leads that sales can take at once in a week.")
    ] = None,
    sales_precision: Annotated[
        float | None, typer.Option(help="Least share of the sales-ready leads that convert.")
    ] = None,
    sales_share: Annotated[
        float, typer.Option(help="Share of the MQLs that go to sales at once, without another aim.")
    ] = 0.25,
    segment: Annotated[str | None, typer.Option(help="A category to look at one by one: source.")] = None,
    per: Annotated[
        list[str] | None,
        typer.Option(help="The capacity of one level of --segment: Webinar=10. May be given again."),
    ] = None,
    equal_recall: Annotated[
        bool, typer.Option("--equal-recall", help="The same recall in every level of --segment.")
    ] = False,
    draft: Annotated[
        Path | None, typer.Option(help="Write the policy with these thresholds as YAML.")
    ] = None,
    json_file: JsonFile = None,
    html_file: HtmlFile = None,
) -> None:
    """Choose thresholds on the backtest by capacity, share, precision, recall or value; changes nothing."""
    from leadscore import threshold_page, thresholds
    from leadscore.files import replace_file
    from leadscore.policy.written import to_yaml
    from leadscore.predict import load

    for path in (draft, json_file, html_file):
        show.require_place(path, model)
    ways: dict[Kind, float | None] = {
        "capacity": capacity,
        "share": share,
        "precision": precision,
        "recall": recall,
    }
    aim = _aim(ways, value, cost, missed_cost)
    sales: dict[Kind, float | None] = {"capacity": sales_capacity, "precision": sales_precision}
    loaded = load(model)
    result = thresholds.tune(
        loaded,
        aim,
        sales=_sales(sales),
        segment=segment,
        per_segment=_levels(per),
        equal_recall=equal_recall,
        sales_share=sales_share,
    )
    show.tuning(result)
    _warn(loaded)
    policy = result.draft(loaded.policy)
    if draft is not None:
        print(f"Draft    {replace_file(draft, to_yaml(policy).encode())}")
    if json_file is not None:
        show.write_json(json_file, result.to_dict())
    if html_file is not None:
        outlook = thresholds.preview(loaded, policy, capacity=capacity)
        page = threshold_page.html(loaded, policy, outlook, tuning=result, money=aim.money)
        print(f"Page     {replace_file(html_file, page.encode())}")


@threshold.command("preview")
def threshold_preview(
    model: Model,
    leads: Annotated[
        Path | None, typer.Argument(metavar="[LEADS]", help="Leads of today: whom the draft moves, and why.")
    ] = None,
    mql: Mql = None,
    sales_ready: SalesReady = None,
    policy_file: Draft = None,
    events: Events = None,
    history: History = None,
    previous: Previous = None,
    as_of: AsOf = None,
    capacity: Capacity = None,
    by: Annotated[list[str] | None, typer.Option(help="A category to show the effect by.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the leads that move as .csv, .parquet or .jsonl.")
    ] = None,
    json_file: JsonFile = None,
    html_file: HtmlFile = None,
) -> None:
    """Show whom new thresholds or rules would move, and what they would have done; changes nothing."""
    from leadscore import threshold_page, thresholds
    from leadscore.files import replace_file, require_table_name, write_table
    from leadscore.predict import load

    for path in (None if out is None else require_table_name(out), json_file, html_file):
        show.require_place(path, model, leads, events, history, policy_file, *(previous or ()))
    if out is not None and leads is None:
        raise UsageError(explain("LEADS, whose moves --out writes", "none", "give the leads of today"))
    loaded = load(model)
    policy = _drafted(loaded.policy, mql, sales_ready, policy_file)
    outlook = thresholds.preview(
        loaded,
        policy,
        leads,
        events,
        None if leads is None else show.moment(as_of, loaded, previous),
        history=history,
        previous=previous or None,
        capacity=capacity,
        by=tuple(by or ()),
    )
    show.outlook(outlook)
    _warn(loaded)
    if out is not None and outlook.today is not None:
        print(f"Moves    {write_table(outlook.today.frame, out)}")
    if json_file is not None:
        show.write_json(json_file, outlook.to_dict())
    if html_file is not None:
        page = threshold_page.html(loaded, policy, outlook)
        print(f"Page     {replace_file(html_file, page.encode())}")


@threshold.command("set")
def threshold_set(
    model: Model,
    reason: Reason,
    mql: Mql = None,
    sales_ready: SalesReady = None,
    policy_file: Draft = None,
    author: Author = None,
    expect: Expect = None,
) -> None:
    """Publish new thresholds, or a whole policy, as a new revision."""
    from leadscore import thresholds
    from leadscore.predict import load

    before = load(model).policy
    draft = _drafted(before, mql, sales_ready, policy_file)
    entry = thresholds.publish(
        model, draft, author=author or show.login(), reason=reason, at=show.now(), expected=expect
    )
    _published(entry, before)


@threshold.command("carry")
def threshold_carry(
    model: Model,
    old: Annotated[
        Path, typer.Option("--from", metavar="OLD", help="The model whose policy is carried over.")
    ],
    hold: Annotated[Hold, typer.Option(help="Keep the probabilities, or as many MQLs.")],
    reason: Annotated[str | None, typer.Option(help="Publish it, and keep this in the history.")] = None,
    author: Author = None,
    expect: Expect = None,
    draft: Annotated[Path | None, typer.Option(help="Write the policy as YAML.")] = None,
) -> None:
    """Carry an old model's policy over to a new one; published only with --reason."""
    from leadscore import thresholds
    from leadscore.files import replace_file
    from leadscore.policy.written import to_yaml
    from leadscore.predict import load

    show.require_place(draft, model)
    new = load(model)
    found = thresholds.carry(load(old), new, hold.value)
    show.carried(found)
    if draft is not None:
        print(f"Draft    {replace_file(draft, to_yaml(found.policy).encode())}")
    if reason is not None:
        entry = thresholds.publish(
            model, found.policy, author=author or show.login(), reason=reason, at=show.now(), expected=expect
        )
        _published(entry, new.policy)


@threshold.command("history")
def threshold_history(model: Model, json_file: JsonFile = None) -> None:
    """List the published revisions and what each changed, once their chain is verified."""
    from leadscore import thresholds
    from leadscore.predict import load

    show.require_place(json_file, model)
    entries = thresholds.history(model)
    show.revisions(load(model).bundle.policy, entries)
    if json_file is not None:
        show.write_json(json_file, [entry.to_dict() for entry in entries])


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
    from leadscore import thresholds
    from leadscore.predict import load

    before = load(model).policy
    entry = thresholds.undo(
        model, author=author or show.login(), reason=reason, at=show.now(), to=to, expected=expect
    )
    _published(entry, before)


@dataclass(frozen=True)
class Former:
    """A model that is about to be replaced, and how its policy is carried over to the one after it."""

    model: "LeadModel"
    hold: Hold
    author: str
    reason: str


def former(folder: Path, hold: Hold, author: str | None) -> Former | None:
    """Take the model that is in a folder, before another one takes its place; None where there is none."""
    from leadscore import bundle
    from leadscore.predict import load

    if not (folder / "manifest.json").exists():
        show.findings(["no model is there yet, whose thresholds could be carried over"])
        return None
    model = load(folder)
    reason = f"carried over from revision {model.policy.revision} of model {bundle.digest(folder)[:12]}"
    return Former(model, hold, author or show.login(), reason)


def carried(before: Former, bundle: "Bundle") -> "Carried":
    """Draft the policy for the new model, while the old one is still in its place."""
    from leadscore.predict import LeadModel
    from leadscore.thresholds import carry

    return carry(before.model, LeadModel(bundle, bundle.policy), before.hold.value)


def publish_carried(folder: Path, before: Former, draft: "Carried") -> None:
    """Put what was carried over in force for the new model, if another policy is, and say what changes."""
    from leadscore import thresholds
    from leadscore.policy.policy import differences
    from leadscore.predict import load

    show.carried(draft)
    now = load(folder).policy
    if not differences(now, draft.policy):
        print(f"Policy   revision {now.revision} is in force, and is the same")
        return
    entry = thresholds.publish(
        folder,
        draft.policy,
        author=before.author,
        reason=before.reason,
        at=show.now(),
        expected=now.revision,
    )
    print(f"Policy   revision {entry.policy.revision} is in force, {before.reason}")


def _warn(model: "LeadModel") -> None:
    if not model.bundle.calibrated:
        what = "read a threshold as a place in the ranking, not as a percentage"
        show.warning(f"the chances of this model have not proven to hold: {what}")


def _aim(ways: "dict[Kind, float | None]", value: float | None, cost: float | None, missed: float) -> "Aim":
    """Read the one way to tune; money beside another way gives a profit among the figures."""
    from leadscore.policy.aims import Aim

    given = {kind: amount for kind, amount in ways.items() if amount is not None}
    money = value is not None or cost is not None
    if len(given) > 1 or not (given or money):
        found = " and ".join(f"--{kind}" for kind in given) or "none"
        expected = "one of --capacity, --share, --precision, --recall, or --value and --cost"
        raise UsageError(explain(expected, found, "choose one way to tune"))
    if (value is None) != (cost is None):
        found = "--cost alone" if value is None else "--value alone"
        raise UsageError(explain("--value and --cost", found, "give both"))
    for kind, amount in given.items():
        return Aim(kind, amount, value, cost, missed)
    return Aim("value", None, value, cost, missed)


def _sales(ways: "dict[Kind, float | None]") -> "Aim | None":
    from leadscore.policy.aims import Aim

    given = [Aim(kind, amount) for kind, amount in ways.items() if amount is not None]
    if len(given) > 1:
        expected = "--sales-capacity or --sales-precision"
        raise UsageError(explain(expected, "both", "choose one way to draw the line for sales"))
    return given[0] if given else None


def _levels(per: list[str] | None) -> dict[str, float] | None:
    """Read capacities of levels: Webinar=10."""
    if not per:
        return None
    read: dict[str, float] = {}
    for each in per:
        level, _, amount = each.rpartition("=")
        try:
            read[level] = float(amount)
        except ValueError:
            level = ""
        if not level:
            raise UsageError(explain("a level and its capacity", shown(each), "write --per Webinar=10"))
    return read


def _drafted(now: "Policy", mql: float | None, sales_ready: float | None, path: Path | None) -> "Policy":
    """Read a draft, or move the thresholds of all leads.

    That for sales follows the MQL's up; a lead is kept warm from the same share of it as before.
    """
    if path is not None:
        if mql is not None or sales_ready is not None:
            raise UsageError(explain("--policy or --mql", "both", "write the thresholds into the file"))
        from leadscore.policy.written import read_policy

        return read_policy(path)
    if mql is None and sales_ready is None:
        raise UsageError(explain("--mql, --sales-ready or --policy", "none", "say what should change"))
    line = now.mql if mql is None else mql
    ready = max(now.sales_ready, line) if sales_ready is None else sales_ready
    if now.segments:
        one = len(now.segments) == 1
        levels = "1 level" if one else f"{len(now.segments)} levels"
        own = "keeps thresholds of its own" if one else "keep thresholds of their own"
        show.findings([f"{levels} of {now.segment} {own}"])
    moved = replace(now, mql=line, sales_ready=ready, nurture=now.nurture if mql is None else None)
    warm = float(now.nurture or 0.0) / now.mql if now.mql else 0.0
    return moved if mql is None else replace(moved, nurture=warm * line)


def _published(entry: "Entry", before: "Policy") -> None:
    """Say what is in force by now, what that changed and what is expected of it."""
    from leadscore.policy.policy import differences

    policy = entry.policy
    print(f"Revision {policy.revision} is in force: mql {policy.mql:g}, sales ready {policy.sales_ready:g}")
    for change in differences(before, policy) or ("nothing but the revision",):
        print(f"Changed  {shown(change, 400)}")
    show.expected(entry, "Expected ")
