"""Whether intervals of the probability hold the truth: simulated worlds, each beside another of its kind."""

import argparse
import os
import time
import warnings
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from leadscore.data.tables import read_tables
from leadscore.evaluation.splits import grouped_folds
from leadscore.features.declare import Feature
from leadscore.features.defaults import declare
from leadscore.features.snapshot import Snapshot, training_snapshot
from leadscore.models.boosted import BoostedScorer
from leadscore.models.matrix import columns_of
from leadscore.models.novelty import fit_familiar
from leadscore.models.uncertainty import fit_interval
from leadscore.simulate import LEAKS, simulate

AGES, HORIZON = (1.0, 3.0, 7.0, 14.0), 30.0
LEADS, FURTHER = 4_000, 24_000
BANDS = 20  # of leads with nearly the same score, in each of which the true chances are averaged
ORACLES = 4  # worlds in which the truth is regressed on the features
SHIFTED = 1_000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Result:
    """Shares of leads, or of bands of leads, in one world."""

    score: Floats  # a band each: whether the interval holds the mean chance of leads with that score
    features: float  # leads whose interval holds the chance that their features tell
    lead: float  # leads whose interval holds their own chance, which knows what no table does
    width: float
    wins: int
    unlike: Floats  # of further leads; of those with mixed-up columns; of those with an absurd number


def looked_at(leads: int, seed: int, features: tuple[Feature, ...] = ()) -> tuple[Snapshot, Floats]:
    """Take a world's leads at fixed ages, and the true chance of each at that moment."""
    world = simulate(leads, seed=seed)
    tables = read_tables(world.contract, world.leads, world.events, world.outcomes, training=True)
    features = features or declare(tables, exclude=set(LEAKS))
    rows = training_snapshot(tables, features, ages=AGES, horizon=HORIZON)
    rows = rows.take(np.flatnonzero(rows.mature))
    chance = np.empty(len(rows))
    for age in AGES:
        at = np.flatnonzero(rows.age == age)
        moment = np.full(leads, world.start)
        moment[rows.position[at]] = rows.as_of[at]
        chance[at] = world.truth.probability(moment, HORIZON)[rows.position[at]]
    return rows, chance


def told(rows: Snapshot, chance: Floats) -> Floats:
    """Regress the truth on the features, for each half of the leads on the other: nearly E[truth | x]."""
    import lightgbm

    names = columns_of(rows.X)
    settings = {"objective": "cross_entropy", "num_leaves": 31, "learning_rate": 0.1, "min_data_in_leaf": 60}
    settings |= {"feature_fraction": 0.5, "verbosity": -1, "num_threads": 1, "seed": 0}
    words = [j for j, column in enumerate(names) if column.levels is not None]
    known, half = np.empty(len(chance)), rows.group % 2 == 0
    for part, other in ((half, ~half), (~half, half)):
        data = lightgbm.Dataset(rows.matrix[part], chance[part], categorical_feature=words)
        known[other] = lightgbm.train(settings, data, num_boost_round=120).predict(rows.matrix[other])
    return known


def one(seed: int) -> Result:
    """Train in one world, and judge in another whose leads behave alike."""
    warnings.simplefilter("ignore")
    rows, _ = looked_at(LEADS, seed)
    further, chance = looked_at(FURTHER, 1_000 + seed, rows.features)

    def fitted(part: NDArray[np.int64]) -> BoostedScorer:
        model = BoostedScorer(max_depth=3, learning_rate=0.1, max_trees=100, patience=15, folds=3)
        return model.fit(rows.X.iloc[part], rows.y[part], groups=rows.group[part])

    unseen = np.empty(len(rows))
    for fold in grouped_folds(rows.group, rows.y, 5):
        unseen[fold.test] = fitted(fold.train).decision_function(rows.X.iloc[fold.test])
    said = fitted(np.arange(len(rows))).decision_function(further.X)
    low, high = fit_interval(unseen, rows.y, rows.group).bounds(said)

    bands = np.array_split(np.argsort(said, kind="stable"), BANDS)
    means = [(low[band].mean(), chance[band].mean(), high[band].mean()) for band in bands]
    known = told(further, chance) if seed < ORACLES else np.full(len(chance), np.nan)
    familiar = fit_familiar(rows.matrix, columns_of(rows.X), rows.group)
    rng = np.random.default_rng(seed)
    some = further.matrix[rng.permutation(len(further))[:SHIFTED]]
    mixed = np.stack([rng.permutation(column) for column in some.T], axis=1)
    absurd = some.copy()
    absurd[:, [f.name for f in rows.features].index("company_size")] = 1e9
    return Result(
        score=np.array([below <= mean <= above for below, mean, above in means], float),
        features=float(((low <= known) & (known <= high)).mean()) if seed < ORACLES else np.nan,
        lead=float(((low <= chance) & (chance <= high)).mean()),
        width=float((high - low).mean()),
        wins=int(rows.y.sum()),
        unlike=np.array([familiar.unlike(M).mean() for M in (further.matrix, mixed, absurd)]),
    )


def main() -> None:
    """Print what the intervals held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    start = time.perf_counter()
    found = list(Parallel(n_jobs=asked.jobs)(delayed(one)(seed) for seed in range(asked.seeds)))
    held = np.array([result.score for result in found])
    error = held.mean(axis=1).std(ddof=1) / np.sqrt(len(found))
    fifths = " ".join(f"{100 * part.mean():.0f}" for part in np.array_split(held, 5, axis=1))
    unlike = 100 * np.mean([result.unlike for result in found], axis=0)
    wins = np.mean([result.wins for result in found])
    print(
        f"{len(found)} worlds of {LEADS:,} leads, {wins:,.0f} rows won; {time.perf_counter() - start:.0f} s"
    )
    print("90 % intervals of the probability hold")
    print(f"  the true rate of leads with that score   {100 * held.mean():.1f} % (± {100 * error:.1f})")
    print(f"    by fifths of the leads, lowest first   {fifths} %")
    print(f"  the chance that all its features tell    {100 * np.nanmean([r.features for r in found]):.1f} %")
    print(f"  a lead's own chance, past all data       {100 * np.mean([r.lead for r in found]):.1f} %")
    print(f"mean width {100 * np.mean([r.width for r in found]):.2f} points of a hundred")
    print("called unlike the leads of training")
    whose = ("further leads of the same kind", "columns mixed up", "an absurd number")
    for what, share in zip(whose, unlike, strict=True):
        print(f"  {what:<40} {share:.2f} %")


if __name__ == "__main__":
    main()
