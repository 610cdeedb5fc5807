"""Thresholds: the speed of tuning, its figures against closed forms, and simulated weeks after it."""

import argparse
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import beta

from explain import at_most
from features import table, written
from leadscore import config, train
from leadscore.checking import read
from leadscore.features.snapshot import Snapshot, training_snapshot
from leadscore.models.calibration import probability
from leadscore.models.matrix import Column, columns_of, to_matrix
from leadscore.policy.backtest import Backtest
from leadscore.policy.curve import curve
from leadscore.policy.figures import Figure, Money, all_of, best_of, figures_of
from leadscore.policy.lines import separating
from leadscore.policy.policy import Policy
from leadscore.policy.staging import stages
from leadscore.policy.tuning import Aim, tune
from leadscore.simulate import DAY, World, simulate

ROOT = Path(__file__).parents[1]
SECTION = "## Thresholds"
A, B = 1.5, 12.0  # of the beta distribution of chances in the closed forms
MONEY = Money(100.0, 8.0, 30.0)
LEADS, DRAWS = 1_000_000, 1_000
WEEKS = 8  # that follow a tuning
SHARE = 0.25  # of all leads, which a simulated team can work


# ------------------------------------------------------------------------------------------------- speed
def drawn(n: int, seed: int, weeks: int = 40) -> Backtest:
    """Draw leads who convert with exactly their chance, with points that know half of it."""
    rng = np.random.default_rng(seed)
    p = rng.beta(A, B, n)
    columns = [Column("source", tuple("abcdefghijkl"))]
    points = np.round(100 * p + rng.normal(0, 10, n))
    return Backtest(
        p, rng.random(n) < p, rng.integers(0, weeks, n), points, rng.integers(0, 12, n)[:, None], columns
    )


def speed() -> tuple[list[list[str]], list[list[str]]]:
    """Time every way to tune a million leads, beside the points and a policy in force."""
    leads, in_force = drawn(LEADS, 0), Policy(0.1, 0.3)
    per_week = Aim("capacity", 5_000, 100.0, 8.0, 30.0)
    ways: dict[str, Callable[[], object]] = {
        "by capacity": lambda: tune(leads, per_week, in_force=in_force, draws=DRAWS),
        "by capacity, sales-ready leads by precision": lambda: tune(
            leads, per_week, sales=Aim("precision", 0.3), in_force=in_force, draws=DRAWS
        ),
        "by capacity, one recall in 12 segments": lambda: tune(
            leads, per_week, segment="source", equal_recall=True, in_force=in_force, draws=DRAWS
        ),
        "by value": lambda: tune(leads, Aim("value", None, 100, 8, 30), in_force=in_force, draws=DRAWS),
        "the curves of 500 lines": lambda: curve(leads, money=MONEY, draws=DRAWS),
    }
    rows, slowest = [], 0.0
    for name, way in ways.items():
        started, began = time.process_time(), time.perf_counter()
        way()
        slowest = max(slowest, time.perf_counter() - began)
        rows.append([name, f"{time.perf_counter() - began:.2f}", f"{time.process_time() - started:.2f}"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    what = f"{LEADS:,} leads, {DRAWS:,} draws: seconds of the slowest way"
    return [at_most(what, slowest, 20), at_most("the same: peak GB", peak, 2)], rows


# ------------------------------------------------------------------------------------------ closed forms
def above(line: float) -> tuple[float, float]:
    """Give the shares of leads at or above a line, and of those who convert: integrals of the density."""
    return float(beta(A, B).sf(line)), float(A / (A + B) * beta(A + 1, B).sf(line))


def closed_forms(worlds: int) -> tuple[list[list[str]], list[list[str]]]:
    """Tune again and again, and count how often the truth lies within the intervals."""
    n, weeks, rate = 20_000, 40, A / (A + B)
    a_week = n / weeks
    aims = {
        "capacity of a tenth": (Aim("capacity", n / weeks / 10), float(beta(A, B).isf(0.1))),
        "precision of 25 %": (
            Aim("precision", 0.25),
            float(brentq(lambda x: above(x)[1] / above(x)[0] - 0.25, 0.01, 0.5)),
        ),
        "recall of 60 %": (Aim("recall", 0.6), float(beta(A + 1, B).isf(0.6))),
        "value": (Aim("value", None, 100, 8, 30), MONEY.line),
    }
    rows, held, judged = [], 0, 0
    for way, (name, (aim, truth)) in enumerate(aims.items()):
        found = []
        for seed in range(way * worlds, (way + 1) * worlds):
            leads = drawn(n, seed)
            found.append(tune(leads, aim, draws=1).mql)
            volume, wins = above(truth)
            truths = {
                "volume_per_week": a_week * volume,
                "wins_per_week": a_week * wins,
                "wins_missed_per_week": a_week * (rate - wins),
                "precision": wins / volume,
                "recall": wins / rate,
                "lift": wins / volume / rate,
                "profit_per_week": a_week * (100 * wins - 8 * volume - 30 * (rate - wins)),
            }
            taken = {"mql": all_of(leads.probability >= truth)}
            for figure in figures_of(leads, taken, money=MONEY, draws=DRAWS, seed=seed):
                if figure.figure in truths:
                    held += figure.low <= truths[figure.figure] <= figure.high
                    judged += 1
        error = float(np.std(found) / np.sqrt(worlds))
        far = abs(float(np.mean(found)) - truth) / error
        rows.append([name, f"{truth:.4f}", f"{np.mean(found):.4f}", f"{np.std(found):.4f}", f"{far:.1f}"])
    inside = 100 * held / judged
    bar = [
        "intervals that hold the truth, %",
        "92 to 98",
        f"{inside:.1f}",
        "yes" if 92 <= inside <= 98 else "NO",
    ]
    return [bar], rows


def monotone() -> list[str]:
    """Count how often the volume rises as the threshold does."""
    leads = drawn(LEADS, 1)
    volume, _ = separating(leads.probability, leads.y).reached(np.linspace(0, 1, 10_001))
    return at_most(
        "10,001 thresholds, 1,000,000 leads: times the volume rises", int((np.diff(volume) > 0).sum()), 0
    )


# --------------------------------------------------------------------------------------- simulated weeks
@dataclass(frozen=True)
class Later:
    """What a capacity tuned on the past came to in the weeks that followed."""

    capacity: float
    load: Figure
    weeks: NDArray[np.int64]
    sent: int
    wins: tuple[float, float, int]  # of the leads sent, of as many by points, and of all

    @property
    def inside(self) -> bool:
        """Whether the mean of the weeks is within the interval."""
        return self.load.low <= self.weeks.mean() <= self.load.high


def folder_of(world: World, until: int, place: Path) -> Path:
    """Write what was known of a world at a moment, and the demo's configuration for it."""
    moment = pa.scalar(until, pa.timestamp("us", tz="UTC"))
    settings = yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text())
    del settings["simulate"]
    place.mkdir()
    for name, at in (("leads", "created_at"), ("events", "recorded_at"), ("outcomes", "at")):
        known = getattr(world, name)
        pq.write_table(known.filter(pc.less(known[at], moment)), place / f"{name}.parquet")
        settings[name]["path"] = f"{name}.parquet"
    settings["policy"]["capacity"] = f"{SHARE * len(world.leads) / 52:.0f} a week"
    path = place / "project.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    return path


def later(leads: int, seed: int) -> Later:
    """Train and tune on the first part of a world, then send leads of the next weeks by that policy.

    The load is of leads that reach the line for the first time in those weeks; wins are counted among the
    leads that were first looked at in them, over all their looks.
    """
    world = simulate(leads, seed=seed)
    with tempfile.TemporaryDirectory() as scratch:
        past = config.read(folder_of(world, world.end + 1, Path(scratch) / "whole"))
        span = round((max(past.ages) - min(past.ages) + (past.horizon or 0)) * DAY)
        now = world.end - WEEKS * 7 * DAY - span
        trained = train.train(config.read(folder_of(world, now, Path(scratch) / "past")))
        tables = read(past)
    bundle, project = trained.bundle, trained.prepared.project
    tuning = train.tune(project, bundle.past)
    rows = training_snapshot(tables, trained.prepared.features, ages=project.ages, horizon=project.horizon)
    columns = columns_of(rows.X)
    M = to_matrix(rows.X, columns)
    margin = bundle.scorer.margin(to_matrix(rows.X, bundle.scorer.columns))
    chance = probability(bundle.calibration.log_odds(margin))
    stage = stages(tuning.draft(bundle.policy), chance, M, columns).astype(str)
    sent = np.isin(stage, ("mql", "sales_ready"))
    points = sum(rule.earned(M, columns) for rule in project.points)
    when, by_points, won = weekly(rows, sent, np.asarray(points), now, min(project.ages))
    chosen = best_of(by_points[:, 0], int(by_points[:, 1].sum()))
    wins = (float(by_points[:, 1] @ won), float(chosen.share[chosen.place] @ won), int(won.sum()))
    assert tuning.load is not None
    return Later(project.target.capacity or 0.0, tuning.load, when, int(by_points[:, 1].sum()), wins)


def weekly(
    rows: Snapshot, sent: NDArray[np.bool_], points: NDArray[np.float64], now: int, youngest: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Count leads first sent, by week; of leads first looked at then, give points, whether sent, and won."""
    assert rows.as_of is not None
    assert rows.age is not None
    assert rows.y is not None
    order = np.argsort(rows.as_of, kind="stable")
    first = order[sent[order]]
    first = first[np.unique(rows.group[first], return_index=True)[1]]
    week = (rows.as_of[first] - now) // (7 * DAY)
    counts = np.bincount(week[(week >= 0) & (week < WEEKS)], minlength=WEEKS)
    looked_at = rows.as_of - np.rint((rows.age - youngest) * DAY).astype(np.int64)
    seen = np.flatnonzero((looked_at >= now) & (looked_at < now + WEEKS * 7 * DAY))
    lead = np.unique(rows.group[seen], return_inverse=True)[1]
    own = np.full((int(lead.max()) + 1, 3), -np.inf)
    for column, values in enumerate((points, sent, rows.y)):
        np.maximum.at(own[:, column], lead, np.asarray(values, dtype=np.float64)[seen])
    return counts, own[:, :2], own[:, 2]


def followed(worlds: int, leads: int) -> tuple[list[list[str]], list[list[str]], str]:
    """Follow every world, and say how often the load was within its interval, and what points would find."""
    rows, inside, found, by_points, there = [], 0, 0.0, 0.0, 0
    for seed in range(worlds):
        one = later(leads, 500 + seed)
        inside += one.inside
        wins, others, of_all = one.wins
        found, by_points, there = found + wins, by_points + others, there + of_all
        rows.append(
            [
                str(500 + seed),
                f"{one.capacity:.0f}",
                f"{one.load.value:.1f} [{one.load.low:.1f}, {one.load.high:.1f}]",
                f"{one.weeks.mean():.1f}",
                "yes" if one.inside else "NO",
                f"{one.sent}",
                f"{wins:.0f} of {of_all}",
                f"{others:.1f}",
            ]
        )
        print(rows[-1], flush=True)
    fewest = int(np.floor(worlds * 0.95 - 2 * np.sqrt(worlds * 0.95 * 0.05)))
    bars = [
        [
            f"worlds whose load in the next {WEEKS} weeks is within its interval",
            f"at least {fewest} of {worlds}",
            str(inside),
            "yes" if inside >= fewest else "NO",
        ]
    ]
    said = (
        f"In all, the leads sent held {found:.0f} of {there} conversions ({100 * found / there:.0f} %); as "
        f"many leads by the points would have held {by_points:.0f} ({100 * by_points / there:.0f} %)."
    )
    return bars, rows, said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=12, help="simulated worlds to follow")
    parser.add_argument("--leads", type=int, default=6_000, help="leads in each")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    given = parser.parse_args()
    load_average = os.getloadavg()[0]
    fast, times = speed()
    held, lines = closed_forms(100)
    kept, weeks, said = followed(given.worlds, given.leads)
    head = (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, numpy {np.__version__}; "
        f"{datetime.now(UTC).date()}; load average {load_average:.1f} when it began."
    )
    world = (
        f"{given.worlds} simulated years of {given.leads:,} leads, trained and tuned on what was known at a "
        f"moment with the demo's configuration; then the {WEEKS} weeks that followed, with the same model "
        "and policy. Load: leads a week that reach the line for the first time, with the 95 % prediction "
        "interval."
    )
    weeks_head = ["world", "capacity", "load tuned", "load found", "inside", "sent", "wins", "by points"]
    text = "\n\n".join(
        [
            head,
            table(["bar", "wanted", "found", "met"], [*fast, monotone(), *held, *kept]),
            f"Tuning {LEADS:,} leads beside points and a policy in force, with {DRAWS:,} draws.",
            table(["what", "seconds", "CPU seconds"], times),
            "Lines chosen in 100 worlds of 20,000 leads, whose chances are Beta(1.5, 12) and who convert "
            "with exactly their chance, beside the closed form.",
            table(["aim", "closed form", "mean", "spread", "standard errors away"], lines),
            world,
            table(weeks_head, weeks),
            said,
        ]
    )
    print(text)
    if given.write:
        written(SECTION, text, ROOT / "docs" / "benchmarks.md")


if __name__ == "__main__":
    main()
