"""Whether a cause planted in the simulated world is among the first three reasons of leads that have it."""

import argparse
import os
import platform
from collections.abc import Sequence
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
from leadscore.explain.card import LIMIT, Explanation, GradeCuts, explanations
from leadscore.explain.concepts import united
from leadscore.explain.drivers import driver_points
from leadscore.explain.wording import typical_values
from leadscore.features.declare import AttributeFeature, Feature
from leadscore.features.snapshot import Snapshot, snapshot
from leadscore.models.calibration import Scale
from leadscore.models.matrix import to_matrix
from leadscore.project import Project
from leadscore.simulate import World, simulate

ROOT = Path(__file__).parents[1]
SECTION = "## Planted causes among the reasons"
DAY = 86_400_000_000
AGE = 7  # days after it came in, each lead is explained
FIRST = 3  # reasons
STRONG = 2.0  # what doubles the hazard of a win, or halves it
AGAIN = "campaign"  # each campaign belongs to one source, so that it tells the source over again


class Found(NamedTuple):
    """Of each lead, the reason that has the planted column and whose words name the planted value."""

    points: NDArray[np.float64]  # 0 where there is none
    rank: NDArray[np.int64]  # 0 is the lead's largest reason, up or down


class Explained(NamedTuple):
    """Leads with a strong planted cause, their causes, and what their cards say."""

    cause: NDArray[np.object_]
    cards: Found
    apart: Found  # were each field a reason of its own
    united: tuple[str, ...]  # what the cards take together


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
    """Train the project's boosted model, and look for the causes of another world's leads on their cards."""
    prepared = train.prepare(project)
    data, model = prepared.data, train.models(project)["boosted"]
    model.fit(data.X, prepared.y, groups=data.group)
    scorer, calibration = model.served_, model.calibration_
    learned = to_matrix(data.X, scorer.columns)
    moved = driver_points(scorer, calibration, Scale(), learned).points
    features = united(prepared.features, scorer, learned, moved, data.group)
    tables = read_tables(project.contract, world.leads, world.events, world.outcomes, training=True)
    rows = snapshot(tables, features, np.asarray(tables.created_at) + AGE * DAY)
    at, cause = planted(world, rows, wanted)
    place = {feature.name: j for j, feature in enumerate(rows.features)}
    M = np.asfortranarray(rows.matrix[np.ix_(at, [place[column.name] for column in scorer.columns])])
    typical = typical_values(learned, scorer.columns)
    split = driver_points(scorer, calibration, Scale(), M)

    def found(declared: Sequence[Feature]) -> Found:
        cards = explanations(
            rows.lead_id[at],
            split,
            scorer,
            M,
            features=declared,
            typical=typical,
            cuts=GradeCuts((), ()),
            stages=[""] * len(M),
            stage_reasons=[""] * len(M),
            horizon=data.horizon,
            model=project.name,
            policy_revision=0,
        )
        told = [_reason(card, name) for card, name in zip(cards, cause.tolist(), strict=True)]
        points, rank = zip(*told, strict=True)
        return Found(np.array(points), np.array(rank))

    together = {f.concept for f in features if isinstance(f, AttributeFeature) and f.together}
    return Explained(cause, found(features), found(prepared.features), tuple(sorted(together)))


def _reason(card: Explanation, cause: str) -> tuple[float, int]:
    """Give the points and the place of the reason that names a planted value."""
    field, _, word = cause.partition("=")
    reasons = [driver for driver in card.drivers if driver.family != LIMIT]
    for rank, driver in enumerate(reasons):
        if field in driver.columns and word in driver.text:
            return driver.points, rank
    return 0.0, len(reasons)


def by_cause(found: Explained, pulls: dict[str, float]) -> list[list[str]]:
    """Say of each cause in how many leads it is among the first reasons."""
    lines = []
    for name in sorted({*found.cause.tolist()}, key=lambda name: -abs(np.log(pulls[name]))):
        who = found.cause == name
        points = found.cards.points[who]
        cells = [
            f"{pulls[name]:g}",
            f"{8 * np.log2(pulls[name]):+.1f}",
            f"{np.median(points):+.1f}",
            *(
                f"{share:.1%}"
                for share in ((points * np.log(pulls[name]) > 0).mean(), among(found.cards, who))
            ),
            f"{among(found.apart, who):.1%}",
        ]
        lines.append([name, f"{who.sum():,}", *cells])
    return lines


def among(found: Found, who: NDArray[np.bool_] | slice = slice(None)) -> float:
    """Give the share of leads whose cause is among the first reasons."""
    return float((found.rank[who] < FIRST).mean())


HEAD = [
    "planted",
    "leads",
    "times the hazard",
    "as points",
    "points given, median",
    "same direction",
    f"among the first {FIRST}",
    "were each field a reason of its own",
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
        (f"as it is: {AGAIN} tells the source over again", project),
        (f"without {AGAIN}: each field tells something of its own", replace(project, contract=contract)),
    ):
        found = explained(own, world, given.leads)
        bars.append(at_least(f"the demo {what}", among(found.cards), 0.85))
        said = f"Taken together: {', '.join(found.united) or 'nothing'}. "
        said += f"Were each field a reason of its own: {among(found.apart):.1%}."
        parts += [f"### The demo {what}", said, table(HEAD, by_cause(found, pulls))]
    head = (
        f"{os.cpu_count()} cores, Python {platform.python_version()}; "
        f"{given.date or datetime.now(UTC).date()}; load average {load:.1f} when it began."
    )
    what = (
        f"The boosted model of the demo explains {len(found.cause):,} leads of another world, {AGE} days "
        "after they came in: leads with a planted value that at least doubles or halves the hazard of a win. "
        "Each counts with its strongest. It is found where one of the card's first reasons, ordered by size, "
        "has the planted column and its words name the planted value. Doubled odds are 8 points."
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
