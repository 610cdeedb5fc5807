"""Margins, exact reasons and cold start of the served model, beside LightGBM and shap in the same run."""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from features import table, written

ROOT = Path(__file__).parents[1]
SECTION = "## Margins and reasons"
THREADS = 2
MILLION, AT_ONCE = 1_000_000, 100_000
PROVEN, BATCH, ALONE = 100_000, 10_000, 100  # leads of each kind of model; of each batch so many go alone


def seconds(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Time ways of doing the same thing, in turns; the median of the rounds after a first one."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(1 + rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            taken[name].append(time.perf_counter() - start)
    return {name: median(times[1:]) for name, times in taken.items()}


def leads(rows: int, seed: int = 0, columns: int = 60) -> NDArray[np.float64]:
    """Make features with missing values and skewed numbers."""
    rng = np.random.default_rng(seed)
    X = np.round(rng.lognormal(size=(rows, columns)), 2)
    X[rng.random(X.shape) < 0.1] = np.nan
    return X


def outcomes(X: NDArray[np.float64]) -> NDArray[np.int64]:
    """Make an outcome that eight of the columns tell."""
    rng = np.random.default_rng(1)
    signal = np.nan_to_num(X[:, :8]) @ rng.normal(size=8) / 4 - 2
    return (rng.random(len(X)) < 1 / (1 + np.exp(-signal))).astype(np.int64)


# ------------------------------------------------------------------------------------------- the questions
def rates(taken: dict[str, float], rows: int) -> str:
    """Say how many leads a second each way does; the first is ours."""
    ours, *_ = taken.values()
    lines = [[name, f"{rows / t:,.0f}", f"{t / ours:.1f}"] for name, t in taken.items()]
    return table(["way", "leads a second", "times leadscore's seconds"], lines)


def batch(scorer: Any, X: NDArray[np.float64], rounds: int) -> tuple[list[str], list[list[str]]]:
    """Compare margins and reasons of the same leads and trees."""
    import shap

    forest, booster, M = scorer.served_, scorer.booster_, np.asfortranarray(X)
    explainer = shap.TreeExplainer(booster)
    margins = seconds(
        {
            "leadscore": lambda: forest.margin(M),
            "LightGBM predict(raw_score=True)": lambda: booster.predict(
                X, raw_score=True, num_threads=THREADS
            ),
        },
        rounds * 3,
    )
    reasons = seconds(
        {
            "leadscore": lambda: forest.contributions(M),
            "LightGBM predict(pred_contrib=True)": lambda: booster.predict(
                X, pred_contrib=True, num_threads=THREADS
            ),
            "shap.TreeExplainer": lambda: explainer.shap_values(X),
        },
        rounds,
    )
    apart = np.abs(forest.contributions(M)[1] - booster.predict(X, pred_contrib=True)[:, :-1]).max()
    same = forest.margin(M).tolist() == booster.predict(X, raw_score=True).tolist()
    text = [
        "### Margins of a batch",
        rates(margins, len(X)),
        "### Exact SHAP values of a batch",
        rates(reasons, len(X)),
        f"Margins are {'equal to the last bit' if same else 'NOT EQUAL'}, SHAP values within {apart:.0e}.",
    ]
    ours, *peers = reasons.values()
    ratio = margins["LightGBM predict(raw_score=True)"] / margins["leadscore"]
    return text, [
        at_least("margins: times LightGBM's leads a second", ratio, 0.8),
        at_least("reasons: times the faster peer's leads a second", min(peers) / ours, 15),
    ]


def small_model(kind: str = "boosted") -> tuple[Any, dict[str, Any], list[dict[str, Any]], int]:
    """Train a model of the demo's world; give it, one of its leads, what that did, and a moment."""
    from leadscore import config, train
    from leadscore.project import SimulatedWorld, Target
    from leadscore.simulate import simulate

    world, project = simulate(2_000, seed=1), config.read(ROOT / "configs" / "demo.yaml")
    project = replace(project, source=SimulatedWorld(2_000, 1), target=Target(share=0.2), folds=2)
    trained = train.train(project)
    bundle = train.fit(trained.prepared, replace(trained.comparison, chosen=kind))
    counts = world.events["lead_id"].drop_null().value_counts()
    lead = min(counts.to_pylist(), key=lambda count: abs(count["counts"] - 60))["values"]
    (row,) = world.leads.filter(pc.field("lead_id") == lead).to_pylist()
    done = world.events.filter(pc.field("lead_id") == lead).to_pylist()
    row, done = json.loads(
        json.dumps([row, done], default=datetime.isoformat)
    )  # as a web request brings them
    return bundle, row, done, world.end


def one_lead(
    forest: Any, M: NDArray[np.float64], given: Any, hazard: Any
) -> tuple[list[str], list[list[str]]]:
    """Time one lead: the trees alone, and from plain values to the score with its drivers."""
    from leadscore.predict import LeadModel

    bundle, lead, events, as_of = given
    model, one = LeadModel(bundle, bundle.policy), np.asfortranarray(M[:1])
    other = LeadModel(hazard, hazard.policy)
    of_hazard = "score_one of a hazard model"
    ways: dict[str, Callable[[], object]] = {
        "margin": lambda: forest.margin(one),
        "SHAP values": lambda: forest.contributions(one),
        "score_one: score, stage, fit and engagement": lambda: model.score_one(lead, events, as_of),
        of_hazard: lambda: other.score_one(lead, events, as_of),
        "explain: every driver in words": lambda: model.explain([lead], events, as_of),
    }
    # one after the other is how a service is asked; in turns, each finds the cache full of what others did
    taken = {name: seconds({name: way}, 300)[name] for name, way in ways.items()}
    turns = seconds(ways, 100)
    lines = [[name, f"{1000 * t:.2f}", f"{1000 * turns[name]:.2f}"] for name, t in taken.items()]
    trees = taken["margin"] + taken["SHAP values"]
    score = taken["score_one: score, stage, fit and engagement"]
    what = (
        f"The first two on the {len(forest.inner)} trees above, the others from dicts, {len(events)} events, "
        f"with {len(bundle.scorer.inner)} trees and {len(bundle.features)} features of the simulated world."
    )
    return ["### One lead", what, table(["from", "median ms, one after the other", "in turns"], lines)], [
        at_most("one lead: ms for margin and SHAP values", 1000 * trees, 0.3),
        at_most("one lead: ms from events to score with drivers", 1000 * score, 1),
        at_most("the same of a hazard model", 1000 * taken[of_hazard], 1),
    ]


def cold(booster: Any, given: Any) -> tuple[list[str], list[list[str]]]:
    """Time fresh processes that import, load and score one lead."""
    from leadscore import bundle as bundles

    bundle, lead, events, as_of = given
    with tempfile.TemporaryDirectory() as place:
        folder, native = Path(place) / "model", Path(place) / "model.txt"
        bundles.save(bundle, folder)
        booster.save_model(str(native), num_iteration=len(bundle.scorer.inner))
        (Path(place) / "one.json").write_text(json.dumps([lead, events]))
        ways = {
            "leadscore.predict": (
                "import json, sys\nfrom leadscore.predict import load\n"
                f"load(sys.argv[1]).score_one(*json.load(open(sys.argv[2])), {as_of})"
            ),
            "lightgbm": (
                "import sys, numpy as np, lightgbm\n"
                f"lightgbm.Booster(model_file=sys.argv[1]).predict(np.zeros((1, {booster.num_feature()})))"
            ),
        }
        paths = dict(zip(ways, (folder, native), strict=True))
        taken = seconds(
            {
                name: lambda name=name, code=code: subprocess.run(
                    [sys.executable, "-c", code, paths[name], f"{place}/one.json"], check=True
                )
                for name, code in ways.items()
            },
            5,
        )
    lines = [[name, f"{t:.2f}"] for name, t in taken.items()]
    return ["### A fresh process: import, load, score one lead", table(["way", "seconds"], lines)], [
        at_most("cold start: time / LightGBM's", taken["leadscore.predict"] / taken["lightgbm"], 0.5)
    ]


def fitted(rows: int = 5_000) -> list[Any]:
    """Fit a model of each kind to the same leads: numbers, counts, gaps and a category."""
    from leadscore.models.boosted import BoostedScorer, HazardScorer
    from leadscore.models.conditions import Condition
    from leadscore.models.estimators import LogisticScorer, PointsClassifier
    from leadscore.models.points import PointRule
    from leadscore.models.segmented import SegmentedScorer

    X = named(rows, seed=2)
    y, rng = outcomes(X.to_numpy()[:, :-1].astype(float)), np.random.default_rng(3)
    days = np.where(y == 1, rng.uniform(0.1, 29.9, rows), 60.0)
    rules = (
        PointRule("x0", 4, per="x0", cap=20),
        PointRule("x1", 2.5, per="x1"),
        PointRule("x2 is small", -7, Condition("x2", "below", 0.5)),
        PointRule("no x3", 3, Condition("x3", "missing")),
        PointRule("region", 12, Condition("region", "is", "r1")),
    )
    return [
        PointsClassifier(rules).fit(X, y),
        LogisticScorer().fit(X, y),
        BoostedScorer(n_jobs=THREADS).fit(X, y),
        HazardScorer(n_jobs=THREADS).fit(X, y, days=days, ended=y, seen=np.full(rows, 60.0)),
        LogisticScorer(rules).fit(X, y),  # the sum of a point table and a linear one
        SegmentedScorer(BoostedScorer(n_jobs=THREADS), "region").fit(X, y),
    ]


def named(rows: int, seed: int) -> Any:
    """Make a table of such leads."""
    import pandas as pd

    X = pd.DataFrame(leads(rows, seed, columns=20)).add_prefix("x")
    words = np.array([f"r{i}" for i in range(5)])
    region = words[np.random.default_rng(seed).integers(0, 5, rows)]
    return X.assign(region=pd.Categorical(region, categories=words))


def exact() -> tuple[list[str], list[list[str]]]:
    """Count explanations of each kind that add up, as numbers and as integers, and are the same alone."""
    from leadscore.explain.drivers import driver_points, grouped, shown_integers, whole
    from leadscore.models.calibration import Scale
    from leadscore.models.matrix import to_matrix

    X, lines, apart, integers, same = named(PROVEN, seed=4), [], [], [], []
    for model in fitted():
        scorer, gap, added, alike = model.served_, 0.0, 0, 0
        M, drivers = to_matrix(X, scorer.columns), range(len(scorer.drivers))
        for start in range(0, PROVEN, BATCH):
            rows = M[start : start + BATCH]
            found = driver_points(scorer, model.calibration_, Scale(), rows)
            total = found.base + found.points.sum(axis=1) + found.clip
            gap = max(gap, float(np.abs(total - found.score).max()))
            _, sums = grouped(found.points, [driver // 3 for driver in drivers])
            scores, base = [whole(score) for score in found.score.tolist()], whole(found.base)
            shown = shown_integers(np.column_stack([found.clip, sums]), [s - base for s in scores])
            added += int((base + shown.sum(axis=1) == scores).sum())
            for i in range(ALONE):
                one = driver_points(scorer, model.calibration_, Scale(), rows[i : i + 1])
                bits = (one.points[0].tolist(), one.score[0], one.probability[0], one.clip[0])
                batch = (found.points[i].tolist(), found.score[i], found.probability[i], found.clip[i])
                alike += bits == batch
        apart.append(gap)
        integers.append(added / PROVEN)
        same.append(alike / (PROVEN // BATCH * ALONE))
        lines.append([scorer.kind, f"{len(drivers)}", f"{gap:.0e}", f"{added:,}", f"{same[-1]:.0%}"])
    head = ["model", "drivers", "furthest from the score", "integers add up", "alone as in a batch"]
    what = (
        f"{PROVEN:,} explanations of each kind of model; of every {BATCH:,}, {ALONE} are explained alone too."
    )
    return ["### Every explanation adds up", what, table(head, lines)], [
        at_most("base plus drivers: furthest from the score", max(apart), 1e-9),
        at_least("integers shown that add up, of all", min(integers), 1),
        at_least("one lead equal to a batch of 10,000 to the last bit, of all", min(same), 1),
    ]


def million(scorer: Any) -> tuple[list[str], list[list[str]]]:
    """Score and explain many leads in a process of its own, so that its memory is its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "forest.npz"
        file.write_bytes(scorer.served_.to_files()["forest.npz"])
        command = [sys.executable, __file__, "--serve", str(file)]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    lines = [[name, f"{value:,.1f}"] for name, value in found.items()]
    what = f"{MILLION:,} leads from the matrix of features to scores and points of every driver."
    return ["### A million leads", what, table(["what", "found"], lines)], [
        at_most("a million leads: seconds", found["seconds"], 60),
        at_most("a million leads: peak GB", found["peak GB"], 2),
    ]


def serve(file: Path) -> None:
    """Score and explain a million leads, some at a time, and print what it took."""
    from leadscore.explain.drivers import driver_points
    from leadscore.models.calibration import Scale, Sigmoid
    from leadscore.models.saved import read_scorer

    forest = read_scorer("forest", {"forest.npz": file.read_bytes()})
    M = np.empty((MILLION, len(forest.columns)), order="F")
    for start in range(0, MILLION, AT_ONCE):
        M[start : start + AT_ONCE] = leads(AT_ONCE, seed=start)
    score, strongest = np.empty(MILLION), np.empty(MILLION, dtype=np.int64)
    began = time.perf_counter()
    for start in range(0, MILLION, AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        found = driver_points(forest, Sigmoid(1.0, 0.0), Scale(), M[rows])
        score[rows], strongest[rows] = found.score, found.points.argmax(axis=1)
        print(f"\r{rows.stop:,} of {MILLION:,}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": time.perf_counter() - began, "peak GB": peak}))


# ------------------------------------------------------------------------------------------------ the report
def at_least(what: str, found: float, least: float) -> list[str]:
    return [what, f"at least {least:g}", f"{found:.3g}", "yes" if found >= least else "NO"]


def at_most(what: str, found: float, most: float) -> list[str]:
    return [what, f"at most {most:g}", f"{found:.3g}", "yes" if found <= most else "NO"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000, help="leads in a batch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="batches only, nothing written")
    parser.add_argument("--date", help="written in the document; by default today")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve)
        return
    from leadscore.models.boosted import BoostedScorer

    # shap tells everybody that it gives an array for a binary model, which is what is wanted
    warnings.filterwarnings("ignore", "LightGBM binary classifier with TreeExplainer", UserWarning)
    load = os.getloadavg()[0]
    X = leads(30_000)
    scorer = BoostedScorer(n_jobs=THREADS).fit(X, outcomes(X))
    if not given.quick:  # before the peers have threads of their own in this process
        small = small_model()
        single = one_lead(scorer.served_, X, small, small_model("hazard")[0])
    parts, bars = batch(scorer, X[: given.rows], given.rounds)
    if not given.quick:
        for text, found in (
            single,
            cold(scorer.booster_, small),
            exact(),
            million(scorer),
        ):
            parts += text
            bars += found
    names = ("numpy", "lightgbm", "shap")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    head = (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, {versions}; "
        f"{given.date or datetime.now(UTC).date()}; load average {load:.1f} when it began."
    )
    what = (
        f"{given.rows:,} leads, {X.shape[1]} columns, the default boosted model: {len(scorer.served_.inner)} "
        f"trees of depth 4. {THREADS} threads each, in turns; medians."
    )
    text = "\n\n".join([head, what, table(["bar", "wanted", "found", "met"], bars), *parts])
    print(text)
    if not given.quick:
        written(SECTION, text, ROOT / "docs" / "benchmarks.md")


if __name__ == "__main__":
    main()
