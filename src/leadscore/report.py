"""The report of a training run: one self-contained page with the comparison, the audit and the drivers."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from leadscore.checking import handled
from leadscore.errors import shown
from leadscore.evaluation import figures
from leadscore.evaluation.compare import Comparison
from leadscore.evaluation.rolling import ADAPTIVE
from leadscore.explain.drivers import driver_points, grouped
from leadscore.explain.wording import label
from leadscore.files import replace_file
from leadscore.models.matrix import to_matrix
from leadscore.pages import page
from leadscore.train import Trained, parameters

MOST_DRIVERS = 15
_ROWS = 5_000  # enough to rank drivers by


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
    evidence = trained.evidence
    return page(
        "report.html.j2",
        name=shown(bundle.name),
        comparison=comparison,
        evidence=evidence,
        models=comparison.models,
        table=_lines(comparison.table()),
        duel=_lines(evidence.head_to_head.table()),
        promises=_picture(figures.promises(evidence.reliability)),
        bins=evidence.reliability.table.to_dict("records"),
        picks=_picks(comparison),
        pictures={name: _picture(draw(comparison)) for name, draw in figures.ALL.items()},
        drivers=overall_drivers(trained),
        audit=prepared.audit,
        handled=handled(prepared.project),
        policy=bundle.policy,
        parameters={key.replace("_", " "): value for key, value in parameters(prepared).items()},
        findings=[shown(finding, 300) for finding in prepared.tables.findings],
    )


def overall_drivers(trained: Trained, most: int = MOST_DRIVERS) -> list[tuple[str, str, float]]:
    """Rank what moves scores: the mean size of each concept's points over the training leads.

    Returns
    -------
    list of (label, family, points)
        The largest first.
    """
    bundle, X = trained.bundle, trained.prepared.data.X
    rows = X.iloc[:: max(1, len(X) // _ROWS)]
    scorer = bundle.scorer
    points = driver_points(scorer, bundle.calibration, bundle.scale, to_matrix(rows, scorer.columns)).points
    declared = {feature.name: feature for feature in bundle.features}
    about = [declared[columns[0]] if columns else None for columns in scorer.driver_columns]
    keys, sums = grouped(points, [None if f is None else (f.family, f.concept) for f in about])
    first = {(f.family, f.concept): f for f in reversed(about) if f is not None}
    sizes = {
        key: size
        for key, size in zip(keys, np.abs(sums).mean(axis=0).tolist(), strict=True)
        if key is not None
    }
    ranked = sorted(sizes.items(), key=lambda entry: -entry[1])[:most]
    return [(label(first[key]), key[0], size) for key, size in ranked]


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


def _picture(figure: Any) -> str:
    """Give a figure as a data URI: an image, so that nothing in it can run."""
    return f"data:image/svg+xml;base64,{base64.b64encode(figures.svg(figure).encode()).decode()}"
