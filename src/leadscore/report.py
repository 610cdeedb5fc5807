"""The report of a training run: one self-contained page with the comparison, the audit and the drivers."""

import base64
from pathlib import Path
from typing import Any

import numpy as np

from leadscore.checking import handled
from leadscore.errors import shown
from leadscore.evaluation import figures
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
    wide = comparison.table()
    return page(
        "report.html.j2",
        name=shown(bundle.name),
        comparison=comparison,
        models=list(wide.columns),
        table=[
            (name.replace("_", " "), list(cells))
            for name, cells in zip(wide.index, wide.to_numpy(), strict=True)
        ],
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


def _picture(figure: Any) -> str:
    """Give a figure as a data URI: an image, so that nothing in it can run."""
    return f"data:image/svg+xml;base64,{base64.b64encode(figures.svg(figure).encode()).decode()}"
