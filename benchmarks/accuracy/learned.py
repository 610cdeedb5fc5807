"""Learned points beside the boosted model on the same unseen rows, and half-lives beside a large world's."""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from leadscore import config, train
from leadscore.evaluation.metrics import METRICS
from leadscore.models.boosted import BoostedScorer
from leadscore.points.candidates import candidates
from leadscore.points.learning import unseen
from leadscore.project import SimulatedWorld
from leadscore.simulate import simulate

ROOT = Path(__file__).parents[2]
SETS = ("x_education", "bank_marketing", "loan_applications", "demo")
MOST = 0.015  # AUC that points may lose
START = time.perf_counter()


def say(what: str) -> None:
    """Tell how it is going, with the seconds since it began."""
    print(f"{time.perf_counter() - START:6.0f} s  {what}", file=sys.stderr, flush=True)


def beside_boosted(name: str) -> None:
    """Print a set: AUC of points, rounded or not, and of the boosted model, pooled and fold by fold."""
    prepared = train.prepare(config.read(ROOT / "configs" / f"{name}.yaml"))
    seen = unseen(prepared, candidates(prepared), progress=say)
    y, group, seed = prepared.y, prepared.data.group, prepared.project.seed
    seen["boosted"] = np.nan
    for fold, rows in seen.groupby("fold"):
        say(f"boosted, {fold}")
        trained = next(f.train for f in train.folds(prepared) if f.name == fold)
        X = prepared.data.X
        model = BoostedScorer(random_state=seed, n_jobs=1).fit(
            X.iloc[trained], y[trained], groups=group[trained]
        )
        seen.loc[rows.index, "boosted"] = model.predict_proba(X.iloc[rows["row"]])[:, 1]
    auc = METRICS["roc_auc"]
    names = ("points", "rounded", "unrounded", "boosted")
    pooled = {one: auc(seen["y"], seen[one]) for one in names}
    within = {one: np.mean([auc(f["y"], f[one]) for _, f in seen.groupby("fold")]) for one in names}
    lost = pooled["boosted"] - pooled["rounded"]
    cells = " | ".join(f"{pooled[one]:.3f} ({within[one]:.3f})" for one in names)
    print(f"| {name} | {cells} | {lost:+.3f} {'holds' if lost <= MOST else 'DOES NOT HOLD'} |", flush=True)
    for fold, rows in seen.groupby("fold"):
        trained = next(f.train for f in train.folds(prepared) if f.name == fold)
        cells = " | ".join(f"{auc(rows['y'], rows[one]):.3f}" for one in names)
        gap = auc(rows["y"], rows["boosted"]) - auc(rows["y"], rows["rounded"])
        said = f"{fold}: {len(trained):,} rows, {int(y[trained].sum()):,} conversions to learn from"
        print(f"| &nbsp; {said} | {cells} | {gap:+.3f} |", flush=True)


def half_lives(large: int, leads: int, seeds: Sequence[int]) -> None:
    """Print for each event how often the interval of a world holds what a large world gives."""
    project = config.read(ROOT / "configs" / "demo.yaml")

    def found(size: int, seed: int) -> dict:
        say(f"half-lives in a world of {size:,} leads, seed {seed}")
        prepared = train.prepare(replace(project, source=SimulatedWorld(size, seed)))
        own = candidates(prepared)
        model = own.model(0).set_params(max_rules=1, folds=0)  # the half-lives are all that is wanted
        return model.fit(own.X, prepared.y, groups=prepared.data.group).half_lives_

    truth, worlds = found(large, 1_000), [found(leads, seed) for seed in seeds]
    print(f"\n| event | {large:,} leads | held by intervals of {leads:,} leads | their middle width |")
    print("|---|---|---|---|")
    held = []
    for event, own in truth.items():
        there = [world[event] for world in worlds if event in world and world[event].tells]
        if not own.tells or not there:
            continue
        holds = [one.low <= own.days <= one.high for one in there]
        held += holds
        width = np.median([one.high / one.low for one in there])
        said = f"{own.days:g} d [{own.low:.3g}, {own.high:.3g}]"
        print(f"| {event} | {said} | {sum(holds)} of {len(holds)} | x {width:.3g} |")
    print(f"\nIn all {sum(held)} of {len(held)} intervals hold it.", flush=True)


def signs(seeds: Sequence[int], leads: int) -> None:
    """Print how many words earn or lose in the direction of the causes that were planted."""
    project, right, judged = config.read(ROOT / "configs" / "demo.yaml"), 0, 0
    for seed in seeds:
        say(f"signs in a world of {leads:,} leads, seed {seed}")
        prepared = train.prepare(replace(project, source=SimulatedWorld(leads, seed)))
        causes = simulate(200, seed=seed).truth.causes
        own = candidates(prepared)
        fields = [name for name in own.X if any(key.startswith(f"{name}=") for key in causes)]
        model = own.model(0).set_params(columns=fields, decays=None)
        table = model.fit(own.X, prepared.y, groups=prepared.data.group).served_
        for j, column in enumerate(table.columns):
            pulls = {k.split("=")[1]: v for k, v in causes.items() if k.startswith(f"{column.name}=")}
            words = [word for word in column.levels or () if word in pulls]
            M = np.full((len(words), len(table.columns)), np.nan)
            M[:, j] = [(column.levels or ()).index(word) for word in words]
            earned = [rule.earned(M, table.columns) for rule in table.rules if rule.column == column.name]
            if not earned or not words:
                continue
            points, pull = np.sum(earned, axis=0), np.array([pulls[word] for word in words])
            some = (points != 0) & (points == 0).any()  # beside those that earn nothing
            judged += int(some.sum())
            right += int(((points[some] > 0) == (pull[some] > pull[points == 0].mean())).sum())
    print(
        f"\n{right} of {judged} words that earn or lose points do so in the direction that was planted.",
        flush=True,
    )


def main() -> None:
    """Print all of it, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--leads", type=int, default=12_000)
    parser.add_argument("--large", type=int, default=60_000)
    asked = parser.parse_args()
    print("AUC on rows that no model had seen: pooled (mean within folds).\n")
    print("| set | hand-set points | learned | before rounding | boosted | lost |\n|---|---|---|---|---|---|")
    for name in asked.sets:
        beside_boosted(name)
    seeds = range(asked.seeds)
    signs(seeds, asked.leads)
    half_lives(asked.large, asked.leads, seeds)


if __name__ == "__main__":
    main()
