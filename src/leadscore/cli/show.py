"""What commands print and write, and the places and moments that they take."""

import getpass
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from leadscore.errors import UsageError, explain, shown

if TYPE_CHECKING:
    import pandas as pd

    from leadscore.evaluation.compare import Comparison
    from leadscore.evaluation.evidence import Evidence
    from leadscore.policy.carrying import Carried
    from leadscore.policy.ledger import Entry
    from leadscore.policy.moves import StageChange
    from leadscore.policy.policy import Policy
    from leadscore.policy.tuning import Tuning
    from leadscore.predict import LeadModel
    from leadscore.thresholds import Outlook

_WIDTH: Final = 140  # columns, where there is no terminal to ask
_MOST_MOVES: Final = 20  # leads that a terminal names; --out writes all


def progress(step: str) -> None:
    """Say on the error stream which step begins."""
    print(f"... {step}", file=sys.stderr, flush=True)


def findings(findings: Iterable[object]) -> None:
    """Say on the error stream what was left out or mended."""
    for finding in findings:
        print(f"note: {shown(finding, 300)}", file=sys.stderr)


def warning(what: str) -> None:
    """Say on the error stream what a person should not overlook."""
    print(f"warning: {what}", file=sys.stderr)


def comparison(comparison: "Comparison", evidence: "Evidence") -> None:
    """Print the comparison's table, its verdicts and its choice, and the evidence that stands beside them."""
    _laid_out("On rows that no model had seen, with 95 % intervals", "metric", comparison.table())
    for model, verdict in comparison.verdicts.items():
        print(f"{model}: {verdict}")
    if not comparison.picks.empty:
        print("adaptive is the learned model that had done best by each origin; it is compared, never taken")
    _evidence(comparison, evidence)
    print(f"\nChosen   {comparison.chosen}: {comparison.reason}")
    if not evidence.reliability.holds:
        warning(
            f"the chances of {comparison.chosen} did not hold on leads that it had not seen: use its scores "
            "to rank leads, not as percentages; leadscore score --withhold gives the rank alone"
        )


def _evidence(comparison: "Comparison", evidence: "Evidence") -> None:
    duel, chosen = evidence.head_to_head, comparison.chosen
    title = f"Head to head on {duel.leads:,} leads, {duel.conversions:,} of whom converted: {duel.capacity}"
    print()
    _laid_out(title, "figure", duel.table())
    _lines("Who finds more with that capacity", map(": ".join, duel.verdicts.items()))
    rules = (f"{name}: {rule.sentence}" for name, rule in duel.success.items())
    _lines("MadKudu's rule for a model that works", rules)
    said = (evidence.reliability.sentence, evidence.top.sentence)
    _lines(f"Can the chances of {chosen} be believed?", said)
    inside = ", ".join(f"{name} {auc:.3f}" for name, auc in evidence.within.items())
    seen = [f"mean AUC within the periods or folds, where no change of the rate helps: {inside}"]
    if evidence.optimism is not None:
        seen.append(evidence.optimism.sentence)
    _lines("What the AUC hides", seen)
    if not comparison.picks.empty:
        _lines(f"What the backtest chose for {chosen}", _chosen_by(comparison))


def _chosen_by(comparison: "Comparison") -> Iterable[str]:
    """Say how the chosen model was fitted at the latest origin, and is fitted now."""
    pick = comparison.picks.query("model == @comparison.chosen").iloc[-1]
    plan = comparison.plans[comparison.chosen]
    yield f"at the latest origin, {pick['fold']}: {_way(pick['history'], pick['without'], pick['shift'])}"
    yield f"now: {_way(plan.history, len(plan.without), plan.shift)}"
    if plan.without:
        yield f"left out now: {shown(', '.join(plan.without), 400)}"


def _way(history: float, without: int, shift: float) -> str:
    learned = "all that is known" if history >= 1 else f"the latest {100 * history:.3g} % of what is known"
    read = f"without {without} that follow the calendar" if without else "every column"
    level = f"{shift:+.3f} on its log-odds" if shift else "its level as it is"
    return f"{learned}, {read}, {level}"


def _lines(heading: str, lines: Iterable[str]) -> None:
    print(f"\n{heading}")
    for line in lines:
        print(f"  {line}")


def _laid_out(title: str, first: str, wide: "pd.DataFrame") -> None:
    """Print a frame of text with its index in front."""
    cells = zip(wide.index, wide.to_numpy(), strict=True)
    table(title, (first, *wide.columns), [(str(name), *map(str, row)) for name, row in cells])


def tuning(tuning: "Tuning") -> None:
    """Print what thresholds would have done, and which they are."""
    from leadscore.thresholds import figures_table, levels_table

    of_all, by_level = figures_table(tuning), levels_table(tuning)
    table(f"Thresholds for {tuning.rule}", of_all.heads, of_all.rows)
    if by_level.rows:
        table(f"MQLs by {tuning.segment}", by_level.heads, by_level.rows)
    if tuning.load is not None:
        print(f"To expect in the next weeks: {tuning.load.text} MQLs a week")
    for said in (*tuning.verdicts, *tuning.notes):
        print(shown(said, 400))
    print(f"mql {tuning.mql:g}, sales ready {tuning.sales_ready:g}, on {tuning.leads:,} past leads")


def outlook(outlook: "Outlook") -> None:
    """Print what a draft would change, on past leads and on those of today."""
    past, today = outlook.past, outlook.today
    if past is None:
        warning(f"no replay of past leads: {shown(outlook.unseen, 400)}")
    else:
        for change in past.changes or ("nothing changes",):
            print(f"Draft    {shown(change, 400)}")
        _stages(f"{past.leads:,} past leads", past.stages)
        rows = [
            (each.name, f"{each.leads:,}", *(f"{r.sent:,}, {r.converted:,}, {r.missed:,}" for r in both))
            for each in past.segments
            for both in [(each.in_force, each.draft)]
        ]
        if rows:
            title = "Past leads by segment: sent, of them converted, conversions missed"
            table(title, ("segment", "leads", "in force", "draft"), rows)
        print(past.sentence)
        if past.load is not None:
            print(past.load.sentence)
        for said in past.warnings:
            warning(shown(said, 400))
    if today is not None:
        findings(today.findings)
        _stages(f"{today.leads:,} leads of today", today.stages)
        moved = [(str(m.lead_id), m.before, m.after, m.why) for m in today.moves[:_MOST_MOVES]]
        if moved:
            some = "" if len(moved) == len(today.moves) else f"the first {len(moved)} of "
            title = f"Leads that move: {some}{len(today.moves):,}"
            table(title, ("lead", "from", "to", "why"), moved)


def _stages(title: str, changes: "Iterable[StageChange]") -> None:
    rows = [(c.stage, f"{c.before:,}", f"{c.after:,}", f"{c.entering:,}", f"{c.leaving:,}") for c in changes]
    table(title, ("stage", "in force", "draft", "enter", "leave"), rows)


def revisions(born: "Policy", entries: "Sequence[Entry]") -> None:
    """Print the published revisions, and what each changed and was expected to do."""
    from leadscore.policy.policy import differences

    rows = [
        (
            str(born.revision),
            "",
            "",
            "born with the model",
            f"mql {born.mql:g}, sales ready {born.sales_ready:g}",
        )
    ]
    before = born
    for entry in entries:
        back = "" if entry.restores is None else f" (back to {entry.restores})"
        changes = "; ".join(differences(before, entry.policy)) or "nothing"
        rows.append((str(entry.policy.revision), entry.at, entry.author, entry.reason + back, changes))
        before = entry.policy
    table("Published policies", ("revision", "at", "by", "why", "changed"), rows)
    for entry in entries:
        expected(entry, f"Expected of revision {entry.policy.revision}: ")


def expected(entry: "Entry", before: str) -> None:
    """Print what a revision was expected to do, where the log has it."""
    effect = entry.effect or {}
    if "sentence" in effect:
        print(f"{before}{shown(effect['sentence'], 400)}")
    elif "unseen" in effect:
        print(f"{before}not known: {shown(effect['unseen'], 400)}")


def carried(found: "Carried") -> None:
    """Print what a policy becomes for a new model, and what changes with it."""
    for change in found.changes or ("the probabilities stay as they are",):
        print(f"Draft    {shown(change, 400)}")
    print(found.sentence)
    for note in found.notes:
        print(f"note: {shown(note, 400)}", file=sys.stderr)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; what stands in it may be hostile."""
    table = Table(*columns, title=escape(title), title_justify="left")
    for row in rows:
        table.add_row(*(escape(shown(cell, 400)) for cell in row))
    Console(width=None if sys.stdout.isatty() else _WIDTH).print(table)


def as_json(values: object) -> str:
    """Write values as JSON for a terminal: whatever is no plain letter is escaped, so that nothing acts."""
    return json.dumps(values, indent=2).replace("\x7f", "\\u007f")


def write_json(path: Path, values: object) -> None:
    """Write values as JSON, whole or not at all."""
    from leadscore.files import replace_file

    replace_file(path, (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode())


def require_place(path: Path | None, model: Path | None = None, *inputs: Path | None) -> None:
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


def login() -> str:
    """Give the name that the system knows for whoever publishes."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as somebody without a name
        raise UsageError(
            explain("--author, as there is no login name", "none", "say who publishes")
        ) from None


def now() -> datetime:
    """Read the clock: nothing else does."""
    return datetime.now(UTC)


def moment(as_of: str | None, model: "LeadModel", previous: object = None) -> datetime | str | None:
    """Take the moment given, or now where the model or a table of before needs one; the future is refused."""
    today = now()
    if as_of is None:
        return today if model.needs_time or previous else None
    from leadscore.predict import moment

    if moment(as_of, model.bundle.contract.timezone) > int(today.timestamp() * 1e6):
        raise UsageError(explain("a moment that has come", shown(as_of), "give --as-of a time in the past"))
    return as_of
