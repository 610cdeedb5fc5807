"""The report of a training run: one self-contained page with the comparison, the audit and the drivers."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import pandas as pd

from leadscore.checking import handled
from leadscore.errors import shown
from leadscore.evaluation import figures
from leadscore.evaluation.compare import Comparison
from leadscore.evaluation.reliability import Estimate
from leadscore.evaluation.rolling import ADAPTIVE
from leadscore.explain.overall import Cell, Overall, Reason, Values, overall
from leadscore.files import replace_file
from leadscore.pages import page
from leadscore.train import Trained, parameters

MOST_DRIVERS: Final = 15  # reasons that the page shows; `overall_of` gives all
MOST_SEGMENTS: Final = 8
_IN_SEGMENT: Final = 5  # reasons of each segment whose values the page shows
_COLUMNS: Final = 2  # of a reason
_EDGE: Final = 6  # pixels


def write(trained: Trained, path: str | Path) -> Path:
    """Write the report of a training run as one HTML page: no script, nothing fetched, every value escaped.

    Parameters
    ----------
    trained : Trained
    path : path

    Returns
    -------
    Path
    """
    return replace_file(path, html(trained).encode())


def html(trained: Trained) -> str:
    """Give the report as a page."""
    comparison, bundle, prepared = trained.comparison, trained.bundle, trained.prepared
    evidence, found = trained.evidence, overall_of(trained)
    return page(
        "report.html.j2",
        name=shown(bundle.name),
        comparison=comparison,
        evidence=evidence,
        models=comparison.models,
        table=_lines(comparison.table()),
        duel=_lines(evidence.head_to_head.table()),
        promises=figures.data_uri(figures.promises(evidence.reliability)),
        bins=evidence.reliability.table.to_dict("records"),
        picks=_picks(comparison),
        pictures={name: figures.data_uri(draw(comparison)) for name, draw in figures.ALL.items()},
        overall=found,
        reasons=found.reasons[:MOST_DRIVERS],
        segments=dict(islice(found.segments.items(), MOST_SEGMENTS)),
        horizon=bundle.horizon,
        segment=shown(prepared.project.segment or ""),
        columns=_COLUMNS,
        in_segment=_IN_SEGMENT,
        axis=_points_axis(found),
        rate_axis=_rate_axis,
        ends=_ends,
        varied=_varied,
        signed=_signed,
        percent=_percent,
        audit=prepared.audit,
        handled=handled(prepared.project),
        policy=bundle.policy,
        parameters={key.replace("_", " "): value for key, value in parameters(prepared).items()},
        findings=[shown(finding, 300) for finding in prepared.tables.findings],
    )


def overall_of(trained: Trained) -> Overall:
    """Say what drives the scores of a trained model, over the mature rows of its project, and by segment.

    Parameters
    ----------
    trained : Trained

    Returns
    -------
    Overall
    """
    bundle, prepared = trained.bundle, trained.prepared
    return overall(
        bundle.scorer,
        bundle.calibration,
        bundle.scale,
        prepared.data.X,
        prepared.y,
        features=bundle.features,
        phrases=bundle.phrases,
        group=prepared.data.group,
        segment=prepared.project.segment,
    )


@dataclass(frozen=True, slots=True)
class _Axis:
    """Where numbers lie on a picture of so many pixels."""

    low: float
    high: float
    width: int = 200

    def at(self, value: float) -> float:
        """Give the place of a number; what lies beyond an end is drawn there."""
        share = (value - self.low) / (self.high - self.low)
        return round(_EDGE + (self.width - 2 * _EDGE) * min(max(share, 0.0), 1.0), 1)


def _points_axis(found: Overall) -> _Axis:
    """Take in the spread of every reason shown, the ends of its values, and 0."""
    places = [0.0]
    for reason in found.reasons[:MOST_DRIVERS]:
        places += reason.spread
        places += [end.points for end in _ends(reason) or ()]
    return _Axis(min(places), max(*places, min(places) + 1e-9))


def _rate_axis(values: Values) -> _Axis:
    """Take in every interval of a table but those of few leads."""
    highs = [cell.rate.high for cell in values.cells if not cell.few] or [1.0]
    return _Axis(0.0, max(highs), 120)


def _ends(reason: Reason) -> tuple[Cell, Cell] | None:
    return reason.values[0].ends if reason.values else None


def _varied(part: Overall) -> list[Reason]:
    """Leave out reasons that have one value in a segment, as the segment itself has."""
    return [reason for reason in part.reasons if reason.values and len(reason.values[0].cells) > 1]


def _signed(points: float) -> str:
    text = f"{points:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def _percent(rate: Estimate) -> str:
    return f"{100 * rate.value:.1f} % [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"


def _lines(wide: pd.DataFrame) -> list[tuple[str, list[str]]]:
    cells = zip(wide.index, wide.to_numpy(), strict=True)
    return [(str(name).replace("_", " "), list(row)) for name, row in cells]


def _picks(comparison: Comparison) -> list[tuple[str, list[list[str]]]]:
    """Lay out what the backtest chose: models across; origins down, and how each is to be fitted now."""
    if comparison.picks.empty:
        return []
    picks = {
        (pick["fold"], pick["model"]): [pick["family"]]
        if pick["model"] == ADAPTIVE
        else _way(pick["history"], pick["without"], pick["shift"])
        for pick in comparison.picks.to_dict("records")
    }
    folds = dict.fromkeys(comparison.picks["fold"])
    origins = [(fold, [picks[fold, name] for name in comparison.models]) for fold in folds]
    plans = [comparison.plans.get(name) for name in comparison.models]
    now = [[] if plan is None else _way(plan.history, len(plan.without), plan.shift) for plan in plans]
    return [*origins, ("now", now)]


def _way(history: float, without: int, shift: float) -> list[str]:
    learned = "all history" if history >= 1 else f"latest {100 * history:.3g} %"
    columns = f"{without} column{'s' if without > 1 else ''} left out" if without else ""
    return [learned, *filter(None, (columns, f"log-odds {shift:+.3f}" if shift else ""))]
