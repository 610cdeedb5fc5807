"""Margins, exact reasons and cold start of the served model, beside LightGBM and shap in the same run."""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from leadscore.models.boosted import BoostedScorer

ROUNDS = 5


def seconds(ways: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Time ways of doing the same thing, interleaved; the median of a few rounds each."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            taken[name].append(time.perf_counter() - start)
    return {name: median(times) for name, times in taken.items()}


def world(rows: int, columns: int = 60) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Make leads with missing values, skewed numbers and an outcome that some of them tell."""
    rng = np.random.default_rng(0)
    X = np.round(rng.lognormal(size=(rows, columns)), 2)
    X[rng.random(X.shape) < 0.1] = np.nan
    signal = np.nan_to_num(X[:, :8]) @ rng.normal(size=8) / 4 - 2
    return X, (rng.random(rows) < 1 / (1 + np.exp(-signal))).astype(np.int64)


def cold_start(model: str, code: str) -> float:
    """Time a fresh process that imports, loads and scores."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, model], check=True)
    return time.perf_counter() - start


def main() -> None:
    """Print a table a question, each with the ratio to the peer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    rows = parser.parse_args().rows
    import shap

    X, y = world(30_000)
    scorer = BoostedScorer(max_trees=400, patience=400).fit(X, y)
    forest, booster, M = scorer.served_, scorer.booster_, np.asfortranarray(X[:rows])
    trees = len(forest.inner)
    print(f"{rows:,} leads, {X.shape[1]} columns, {trees} trees of depth at most 4")
    print(f"lightgbm {version('lightgbm')}, shap {version('shap')}, numpy {version('numpy')}\n")
    C = np.ascontiguousarray(M)
    explainer = shap.TreeExplainer(booster)
    few = C[: max(1, rows // 10)]
    explained = seconds(
        {
            "leadscore": lambda: forest.contributions(M),
            "lightgbm pred_contrib, 2 threads": lambda: booster.predict(
                few, pred_contrib=True, num_threads=2
            ),
            "shap TreeExplainer": lambda: explainer.shap_values(few),
        }
    )
    sizes = {"leadscore": rows}
    print("| reasons | leads a second | leadscore is faster by |\n|---|---:|---:|")
    ours = rows / explained["leadscore"]
    for name, taken in explained.items():
        rate = sizes.get(name, len(few)) / taken
        print(f"| {name} | {rate:,.0f} | {ours / rate:.1f} x |")
    margins = seconds(
        {
            "leadscore": lambda: forest.margin(M),
            "lightgbm predict, 2 threads": lambda: booster.predict(C, raw_score=True, num_threads=2),
        }
    )
    print("\n| margins | leads a second | leadscore is faster by |\n|---|---:|---:|")
    for name, taken in margins.items():
        print(f"| {name} | {rows / taken:,.0f} | {taken / margins['leadscore']:.2f} x |")
    with tempfile.TemporaryDirectory() as folder:
        native = Path(folder) / "model.txt"
        booster.save_model(str(native))
        (Path(folder) / "forest.npz").write_bytes(forest.to_files()["forest.npz"])
        starts = {
            "leadscore's served model": (
                "import sys, pathlib, numpy as np\n"
                "from leadscore.models.saved import read_scorer\n"
                "data = pathlib.Path(sys.argv[1]).with_name('forest.npz').read_bytes()\n"
                "forest = read_scorer('forest', {'forest.npz': data})\n"
                f"forest.margin(np.zeros((1, {X.shape[1]})))"
            ),
            "lightgbm": (
                "import sys, numpy as np, lightgbm\n"
                f"lightgbm.Booster(model_file=sys.argv[1]).predict(np.zeros((1, {X.shape[1]})))"
            ),
        }
        cold = {
            name: median(cold_start(str(native), code) for _ in range(3)) for name, code in starts.items()
        }
    print("\n| a fresh process: import, load, score one | seconds |\n|---|---:|")
    for name, taken in cold.items():
        print(f"| {name} | {taken:.2f} |")


if __name__ == "__main__":
    main()
