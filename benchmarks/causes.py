"""Whether a cause planted in the simulated world is among the first three reasons of leads that have it."""

import argparse
import os
import platform
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from explain import at_least
from features import table, written
from leadscore import config, train
from leadscore.data.tables import read_tables
from leadscore.explain.card import driver_families
from leadscore.explain.drivers import driver_points, grouped
from leadscore.features.snapshot import Snapshot, snapshot
from leadscore.models.calibration import Scale
from leadscore.project import Project
from leadscore.simulate import World, simulate

ROOT = Path(__file__).parents[1]
SECTION = "## Planted causes among the reasons"
DAY = 86_400_000_000
AGE = 7  # days after it came in, each lead is explained
FIRST = 3  # reasons
STRONG = 2.0  # what doubles the hazard of a win, or halves it
AGAIN = "campaign"  # each campaign belongs to one source, so that it tells the source over again


class Explained(NamedTuple):
    """Leads with a strong planted cause, their causes, and where each concept stands among their reasons."""

    cause: NDArray[np.object_]
    points: dict[str, NDArray[np.float64]]
    rank: dict[str, NDArray[np.int64]]
    together: NDArray[np.int64]  # of the cause, were its source and campaign one reason


def planted(world: World, rows: Snapshot, wanted: int) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """Find leads whose chance a strong cause moves, and which the model can see: each with its strongest.

    They may still buy, and are no second record of a person, since nothing moves the chance of others.
    """
    truth = world.truth
    place = {lead: row for row, lead in enumerate(truth.lead_id.tolist())}
    at = np.array([place[lead] for lead in rows.lead_id.tolist()])
    may_buy = (truth.fit[at] > 0) & (truth.closed_at[at] > rows.as_of) & (np.asarray(rows.as_of) < world.end)
    strength, cause = np.zeros(len(rows)), np.full(len(rows), "", dtype=object)
    for j, feature in enumerate(rows.features):
        for code, word in enumerate(feature.categories or ()):
            name = f"{feature.name}={word}"
            pull = abs(np.log(truth.causes.get(name, 1.0)))
            holds = (rows.matrix[:, j] == code) & (pull > strength)
            strength[holds], cause[holds] = pull, name
    found = np.flatnonzero(may_buy & (strength >= np.log(STRONG) - 1e-9))[:wanted]
    return found, cause[found]


def explained(project: Project, world: World, wanted: int) -> Explained:
    """Train the project's boosted model and rank the reasons of another world's leads, as a card does."""
    prepared = train.prepare(project)
    model = train.models(project)["boosted"]
    model.fit(prepared.data.X, prepared.y, groups=prepared.data.group)
    scorer, declared = model.served_, {feature.name: feature for feature in prepared.features}
    tables = read_tables(project.contract, world.leads, world.events, world.outcomes, training=True)
    rows = snapshot(tables, prepared.features, np.asarray(tables.created_at) + AGE * DAY)
    found, cause = planted(world, rows, wanted)
    place = {feature.name: j for j, feature in enumerate(rows.features)}
    M = rows.matrix[np.ix_(found, [place[column.name] for column in scorer.columns])]
    points = driver_points(scorer, model.calibration_, Scale(), np.asfortranarray(M)).points
    about = [declared[columns[0]].concept for columns in scorer.driver_columns]
    keys, sums = grouped(points, list(zip(driver_families(scorer, prepared.features), about, strict=True)))
    concepts = [concept for _, concept in keys]
    fields = [name.partition("=")[0] for name in cause]
    own = np.array([concepts.index(field) for field in fields])
    merged, each = sums.copy(), np.arange(len(sums))
    if AGAIN in concepts:
        merged[:, concepts.index("source")] += merged[:, concepts.index(AGAIN)]
        merged[:, concepts.index(AGAIN)] = 0.0
    return Explained(
        cause,
        dict(zip(concepts, sums.T, strict=True)),
        dict(zip(concepts, ranked(sums).T, strict=True)),
        ranked(merged)[each, own],
    )


def ranked(sums: NDArray[np.float64]) -> NDArray[np.int64]:
    """Give each reason its place among a lead's: 0 has the most points, up or down."""
    order = np.argsort(-np.abs(sums), axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(sums.shape[1])[None, :], axis=1)
    return rank


def by_cause(found: Explained, pulls: dict[str, float]) -> tuple[list[list[str]], dict[str, float]]:
    """Say of each cause, and of all leads, in how many it is among the first reasons."""
    shares: dict[str, list[NDArray[np.bool_]]] = {"alone": [], "either": [], "together": []}
    lines = []
    for name in sorted({*found.cause.tolist()}, key=lambda name: -abs(np.log(pulls[name]))):
        who, field = found.cause == name, name.partition("=")[0]
        alone = found.rank[field][who] < FIRST
        repeats = field == "source" and AGAIN in found.rank
        either = alone | (found.rank[AGAIN][who] < FIRST) if repeats else alone
        together = found.together[who] < FIRST
        points = float(np.median(found.points[field][who]))
        right = np.sign(found.points[field][who]) == np.sign(np.log(pulls[name]))
        cells = [
            f"{pulls[name]:g}",
            f"{8 * np.log2(pulls[name]):+.1f}",
            f"{points:+.1f}",
            f"{right.mean():.1%}",
        ]
        lines.append(
            [name, f"{who.sum():,}", *cells, *(f"{s.mean():.1%}" for s in (alone, either, together))]
        )
        for key, share in zip(shares, (alone, either, together), strict=True):
            shares[key].append(share)
    return lines, {key: float(np.concatenate(own).mean()) for key, own in shares.items()}


HEAD = [
    "planted",
    "leads",
    "times the hazard",
    "as points",
    "points given, median",
    "same direction",
    f"among the first {FIRST}",
    f"or its {AGAIN} is",
    "were they one reason",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leads", type=int, default=5_000, help="leads with a strong planted cause")
    parser.add_argument("--quick", action="store_true", help="nothing written")
    parser.add_argument("--date", help="written in the document; by default today")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    project = config.read(ROOT / "configs" / "demo.yaml")
    contract = replace(project.contract, ignore=(*project.contract.ignore, AGAIN))
    world = simulate(4 * given.leads, seed=8)  # about one lead in three has a strong cause
    pulls = dict(world.truth.causes)
    parts, bars = [], []
    for what, own in (
        (f"without {AGAIN}: each field tells something of its own", replace(project, contract=contract)),
        (f"as it is: {AGAIN} tells the source over again", project),
    ):
        found = explained(own, world, given.leads)
        lines, shares = by_cause(found, pulls)
        parts += [f"### The demo {what}", table(HEAD, lines)]
        bars.append(at_least(f"the demo {what}", shares["alone"], 0.85))
        if AGAIN in found.rank:
            bars.append(at_least(f"the same, or the {AGAIN}", shares["either"], 0.85))
            bars.append(at_least(f"the same, were source and {AGAIN} one reason", shares["together"], 0.85))
    head = (
        f"{os.cpu_count()} cores, Python {platform.python_version()}; "
        f"{given.date or datetime.now(UTC).date()}; load average {load:.1f} when it began."
    )
    what = (
        f"The boosted model of the demo explains {len(found.cause):,} leads of another world, {AGE} days "
        "after they came in: leads with a planted value that at least doubles or halves the hazard of a win. "
        "Each counts with its strongest; reasons are ordered by size. Doubled odds are 8 points."
    )
    text = "\n\n".join(
        [
            head,
            what,
            table([f"leads whose cause is among the first {FIRST}", "wanted", "found", "met"], bars),
            *parts,
        ]
    )
    print(text)
    if not given.quick:
        written(SECTION, text, ROOT / "docs" / "benchmarks.md")


if __name__ == "__main__":
    main()
