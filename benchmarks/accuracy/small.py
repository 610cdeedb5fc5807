"""Small data: points, logistics and trees trained on 20 to 3,000 leads; and a segment with 30 leads.

    python benchmarks/accuracy/small.py [--draws 6] [--quick]

The demo's simulated world, and the real data sets where ../shared/data holds them. One row a lead, as it
was at one age; training rows are drawn at random, whole leads, and the rest that is tested is the same for
every model. In brackets: the loss or gain beside the points, and twice its standard error over the draws.
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.metrics import log_loss, roc_auc_score

from leadscore.config.reading import read
from leadscore.models.boosted import BoostedScorer
from leadscore.models.calibration import probability
from leadscore.models.conditions import Condition
from leadscore.models.estimators import LogisticScorer, PointsClassifier
from leadscore.models.points import PointRule
from leadscore.models.segmented import SegmentedScorer
from leadscore.train import prepare

ROOT = Path(__file__).parents[2]
AGES = {"demo": (7.0,), "loan_applications": (1.0,)}
NAMES = ("demo", "x_education", "bank_marketing", "loan_applications")
SIZES = (20, 50, 100, 300, 1000, 3000)
TESTED = 5000

Floats = NDArray[np.float64]


def models(rules: tuple[PointRule, ...]) -> dict[str, BaseEstimator]:
    """Give the ladder's rungs, and the logistics beside which the shrunk one must stand."""
    return {
        "points": PointsClassifier(rules),
        "logistic C=1": LogisticScorer(Cs=(1.0,)),
        "logistic": LogisticScorer(),
        "shrunk": LogisticScorer(rules),
        "boosted": BoostedScorer(),
    }


def data(name: str) -> tuple[pd.DataFrame, NDArray[Any], NDArray[Any], tuple[PointRule, ...]] | None:
    """Give one row a lead, its outcome, its group and the team's points; None where the file is not there."""
    project = read(ROOT / "configs" / f"{name}.yaml")
    file = getattr(project.source, "leads", None) or getattr(project.source, "events", None)
    if name != "demo" and not Path(file or "").exists():
        return None
    prepared = prepare(replace(project, ages=AGES.get(name, project.ages)))
    return prepared.data.X, np.asarray(prepared.y), np.asarray(prepared.data.group), project.points


def ladder(name: str, draws: int, sizes: tuple[int, ...]) -> None:
    """Print log loss and AUC of every model at every size."""
    found = data(name)
    if found is None:
        print(f"\n{name}: not in ../shared/data, left out")
        return
    X, y, group, rules = found
    print(f"\n## {name}: {len(y):,} leads, {y.mean():.1%} won, {X.shape[1]} columns")
    print(
        f"{'leads':>6} {'won':>5}  "
        + "".join(f"{model:>30}" for model in models(rules))
        + "   (log loss / AUC)"
    )
    for size in sizes:
        if size > 0.6 * len(y):
            continue
        scores: dict[str, list[tuple[float, float]]] = {model: [] for model in models(rules)}
        wins = []
        for draw in range(max(2, draws if size < 3000 else draws // 2)):
            train, test = _split(y, group, size, seed=draw)
            wins.append(int(y[train].sum()))
            for model, scorer in models(rules).items():
                scorer.fit(X.iloc[train], y[train], groups=group[train])
                p = scorer.predict_proba(X.iloc[test])[:, 1]
                scores[model].append((log_loss(y[test], p), roc_auc_score(y[test], p)))
        means = {model: np.mean(values, axis=0) for model, values in scores.items()}
        print(
            f"{size:>6,} {np.mean(wins):>5.0f}  " + "".join(_cell(scores[m], scores["points"]) for m in means)
        )


def _cell(own: list[tuple[float, float]], points: list[tuple[float, float]]) -> str:
    loss, auc = np.mean(own, axis=0)
    apart = np.array(own)[:, 0] - np.array(points)[:, 0]
    beside = f"({apart.mean():+.3f}±{2 * apart.std(ddof=1) / np.sqrt(len(apart)):.3f})" if apart.any() else ""
    return f"{f'{loss:.3f}{beside} {auc:.3f}':>30}"


def _split(y: NDArray[Any], group: NDArray[Any], size: int, seed: int) -> tuple[Any, Any]:
    """Draw groups until there are enough rows of both kinds; the rest, up to a limit, is tested."""
    rng = np.random.default_rng([seed, size])
    while True:
        dealt = rng.permutation(len(y))
        train = dealt[:size]
        if 0 < y[train].sum() < size:
            rest = dealt[size:]
            return train, rest[~np.isin(group[rest], group[train])][:TESTED]


def segments(draws: int) -> None:
    """Print the log loss of each segment under one model, one model a segment, and partial pooling."""
    print("\n## Segments: log loss beyond the truth's own, in thousandths, on 20,000 new leads")
    print("Four regions, each with a shift in log-odds of its own. Plus and minus two standard errors.")
    print(f"{'':34}" + "".join(f"{region:>12}" for region in ("A", "B", "C", "D")))
    worlds: dict[str, tuple[tuple[int, ...], tuple[float, ...]]] = {
        "30 leads differ (D, +1)": ((1500, 1000, 500, 30), (0.0, 0.0, 0.0, 1.0)),
        "all differ, D has 30": ((1500, 1000, 500, 30), (0.5, -0.5, 0.3, 1.0)),
        "none differs": ((1500, 1000, 500, 30), (0.0, 0.0, 0.0, 0.0)),
        "thousands differ": ((3000, 3000, 3000, 3000), (0.5, -0.5, 0.3, 1.0)),
    }
    ways: dict[str, Callable[[], BaseEstimator]] = {
        "points, blind to regions": lambda: PointsClassifier(_RULES),
        "points, a calibration a region": lambda: Apart(PointsClassifier(_RULES)),
        "points, pooled": lambda: SegmentedScorer(PointsClassifier(_RULES), "region"),
        "logistic, region a column": LogisticScorer,
        "logistic, a model a region": lambda: Apart(LogisticScorer()),
        "logistic, pooled": lambda: SegmentedScorer(LogisticScorer(), "region"),
    }
    for world, (sizes, shifts) in worlds.items():
        beyond: dict[str, list[Floats]] = {way: [] for way in ways}
        for draw in range(draws):
            X, y, _ = _regions(draw, sizes, shifts)
            new, _, truth = _regions(1000 + draw, (5000,) * 4, shifts)
            for way, made in ways.items():
                p = np.clip(made().fit(X, y).predict_proba(new)[:, 1], 1e-9, 1 - 1e-9)
                extra = truth * np.log(truth / p) + (1 - truth) * np.log((1 - truth) / (1 - p))
                beyond[way].append(extra.reshape(4, -1).mean(axis=1))
        print(f"{world}: leads {', '.join(f'{size:,}' for size in sizes)}; shifts {shifts}")
        for way, values in beyond.items():
            mean, error = np.mean(values, axis=0), np.std(values, axis=0, ddof=1) / np.sqrt(draws)
            cells = (f"{1000 * m:.1f}±{2000 * e:.1f}" for m, e in zip(mean, error, strict=True))
            print(f"   {way:31}" + "".join(f"{cell:>12}" for cell in cells))


def _regions(
    seed: int, sizes: tuple[int, ...], shifts: tuple[float, ...]
) -> tuple[pd.DataFrame, Any, Floats]:
    rng = np.random.default_rng(seed)
    code = np.repeat(np.arange(len(sizes)), sizes)
    X = pd.DataFrame(rng.normal(size=(len(code), 6)), columns=[f"x{j}" for j in range(6)])
    truth = probability(
        -2.0 + X.to_numpy() @ np.array([0.8, 0.5, -0.4, 0.3, 0.0, 0.0]) + np.array(shifts)[code]
    )
    X["region"] = pd.Categorical.from_codes(code, ["A", "B", "C", "D"][: len(sizes)])
    return X, (rng.random(len(code)) < truth).astype(int), truth


_RULES = (
    PointRule("x0", 8, per="x0"),
    PointRule("x1", 5, per="x1"),
    PointRule("everybody", 30, Condition("x0", "present")),
)


class Apart(BaseEstimator):  # type: ignore[misc]
    """A model of each region's own, the share of wins where a region has one class only."""

    def __init__(self, scorer: BaseEstimator) -> None:
        self.scorer = scorer

    def fit(self, X: pd.DataFrame, y: Any) -> "Apart":
        """Fit each region's model."""
        self.rate_, self.own_ = y.mean(), {}
        for region in X["region"].cat.categories:
            rows = (X["region"] == region).to_numpy()
            if 0 < y[rows].sum() < rows.sum():
                self.own_[region] = clone(self.scorer).fit(X[rows], y[rows])
        return self

    def predict_proba(self, X: pd.DataFrame) -> Floats:
        """Ask each region's model."""
        p = np.full(len(X), self.rate_)
        for region, scorer in self.own_.items():
            rows = (X["region"] == region).to_numpy()
            p[rows] = scorer.predict_proba(X[rows])[:, 1]
        return np.stack([1 - p, p], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--quick", action="store_true", help="the simulated world alone, up to 300 leads")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    start = time.perf_counter()
    for name in NAMES[:1] if asked.quick else NAMES:
        ladder(name, asked.draws, SIZES[:4] if asked.quick else SIZES)
    segments(asked.draws)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
