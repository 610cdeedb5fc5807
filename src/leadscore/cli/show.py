"""What commands print and write, and the places and moments that they take."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from leadscore.errors import UsageError, explain, shown

if TYPE_CHECKING:
    from leadscore.evaluation.compare import Comparison
    from leadscore.policy.tuning import Tuning
    from leadscore.predict import LeadModel


def progress(step: str) -> None:
    """Say on the error stream which step begins."""
    print(f"... {step}", file=sys.stderr, flush=True)


def findings(findings: Iterable[object]) -> None:
    """Say on the error stream what was left out or mended."""
    for finding in findings:
        print(f"note: {shown(finding, 300)}", file=sys.stderr)


def comparison(comparison: "Comparison") -> None:
    """Print the comparison's table, its verdicts and its choice."""
    wide = comparison.table()
    rows = [
        (str(metric), *map(str, cells)) for metric, cells in zip(wide.index, wide.to_numpy(), strict=True)
    ]
    table("On rows that no model had seen, with 95 % intervals", ("metric", *wide.columns), rows)
    for model, verdict in comparison.verdicts.items():
        print(f"{model}: {verdict}")
    print(f"Chosen   {comparison.chosen}: {comparison.reason}")


def tuning(tuning: "Tuning") -> None:
    """Print what thresholds would have done, and which they are."""
    lines = list(dict.fromkeys(figure.line for figure in tuning.figures))
    names = list(dict.fromkeys(figure.figure for figure in tuning.figures))
    rows = []
    for name in names:
        figures = [tuning.figure(line, name) for line in lines]
        rows.append(
            (name.replace("_", " "), *(f"{f.value:.3g} [{f.low:.3g}, {f.high:.3g}]" for f in figures))
        )
    table(f"Thresholds for {tuning.rule}", ("figure", *lines), rows)
    print(f"mql {tuning.mql:g}, sales ready {tuning.sales_ready:g}, on {tuning.leads:,} past leads")
    print(tuning.verdict)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; what stands in it may be hostile."""
    table = Table(*columns, title=escape(title), title_justify="left")
    for row in rows:
        table.add_row(*(escape(shown(cell, 400)) for cell in row))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


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


def now() -> datetime:
    """Read the clock: nothing else does."""
    return datetime.now(UTC)


def moment(as_of: str | None, model: "LeadModel") -> datetime | str | None:
    """Take the moment given, or now; the future is refused."""
    today = now()
    if as_of is None:
        return today if model.needs_time else None
    from leadscore.predict import moment

    if moment(as_of, model.bundle.contract.timezone) > int(today.timestamp() * 1e6):
        raise UsageError(explain("a moment that has come", shown(as_of), "give --as-of a time in the past"))
    return as_of
