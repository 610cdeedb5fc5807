"""Scores, snapshots and a training set on Spark, beside the same in memory, from the same Parquet files."""

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from leadscore import config, train
from leadscore import spark as on_spark
from leadscore.data.tables import read_tables
from leadscore.features.snapshot import snapshot, training_snapshot
from leadscore.predict import LeadModel
from leadscore.project import SimulatedWorld, Target
from leadscore.simulate import simulate

ROOT = Path(__file__).parents[1]
DAY = 86_400_000_000
ROUNDS = 3
AGES, HORIZON = (7.0, 30.0), 60.0


def seconds(way: Callable[[], object]) -> tuple[float, float]:
    """Time the first run, and the median of some more."""
    taken = []
    for _ in range(1 + ROUNDS):
        start = time.perf_counter()
        way()
        taken.append(time.perf_counter() - start)
    return taken[0], median(taken[1:])


def compute(frame: Any) -> None:
    """Have Spark compute every row, and throw it away."""
    frame.write.format("noop").mode("overwrite").save()


def small_model() -> LeadModel:
    """Train the demo's model on few leads: what it is good for does not matter here."""
    project = config.read(ROOT / "configs" / "demo.yaml")
    project = replace(project, source=SimulatedWorld(2_000, 1), ages=AGES, horizon=HORIZON, folds=2)
    bundle = train.train(replace(project, target=Target(share=0.2))).bundle
    return LeadModel(bundle, bundle.policy)


def main() -> None:
    """Print a table: what is asked, on what, seconds and rows a second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leads", type=int, default=20_000)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--buckets", type=int, default=8)
    given = parser.parse_args()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    warnings.simplefilter("ignore")  # PySpark's, of pandas 3
    from pyspark.sql import SparkSession

    model, world = small_model(), simulate(given.leads, seed=2)
    contract, features = model.bundle.contract, model.bundle.features
    as_of = world.end - 20 * DAY
    spark = (
        SparkSession.builder.master(f"local[{given.cores}]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.log.level", "OFF")
        .config("spark.driver.memory", "4g")
        .config("spark.sql.shuffle.partitions", given.buckets)
        .getOrCreate()
    )
    print(f"{given.leads:,} leads, {world.events.num_rows:,} events, {len(features)} features")
    print(f"{given.cores} cores, {given.buckets} buckets, pyspark {version('pyspark')}\n")
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.parquet" for name in ("leads", "events", "outcomes")}
        world.write(folder)
        leads, events, outcomes = (spark.read.parquet(str(path)) for path in files.values())

        def learn() -> object:
            tables = read_tables(world.contract, *files.values(), training=True)
            return training_snapshot(tables, features, ages=AGES, horizon=HORIZON)

        def look() -> object:
            tables = read_tables(contract, files["leads"], files["events"], training=False)
            return snapshot(tables, features, as_of)

        ways: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "score": (
                lambda: model.score(files["leads"], files["events"], as_of),
                lambda: compute(on_spark.score(model, leads, events, as_of)),
            ),
            "snapshot": (
                look,
                lambda: compute(on_spark.snapshot(leads, events, contract, features, as_of)),
            ),
            "training set": (
                learn,
                lambda: compute(
                    on_spark.training_set(
                        leads, events, outcomes, contract, features, ages=AGES, horizon=HORIZON
                    )
                ),
            ),
        }
        print("| what | where | first, s | then, s | leads a second | events a second | Spark takes |")
        print("|---|---|---:|---:|---:|---:|---:|")
        for what, (one, many) in ways.items():
            own = seconds(one)
            for where, (first, then) in (("in memory", own), ("Spark", seconds(many))):
                rates = f"{given.leads / then:,.0f} | {world.events.num_rows / then:,.0f}"
                print(f"| {what} | {where} | {first:.1f} | {then:.1f} | {rates} | {then / own[1]:.1f} x |")
    spark.stop()


if __name__ == "__main__":
    main()
