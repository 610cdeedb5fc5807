"""Whether the integers of rendered explanations add up: in the text, in the JSON and in the HTML."""

import argparse
import json
import os
import platform
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from explain import at_least
from features import table, written
from leadscore import config, train
from leadscore.data.tables import read_tables
from leadscore.explain.card import Explanation, driver_families, explanations, grade_cuts
from leadscore.explain.drivers import driver_points, family_sums
from leadscore.explain.wording import typical_values
from leadscore.features.snapshot import Snapshot, snapshot
from leadscore.models.calibration import Scale
from leadscore.models.matrix import to_matrix
from leadscore.project import SimulatedWorld
from leadscore.simulate import simulate

ROOT = Path(__file__).parents[1]
SECTION = "## Integers on rendered explanations"
DAY = 86_400_000_000
AGES = (1, 7, 30, 90)  # days after it came in, each lead is explained
PLACES = re.compile(r'<td class="ls-points">([^<]*)</td>')


def rendered(prepared: train.Prepared, seen: Sequence[Snapshot], name: str, wanted: int) -> list[Explanation]:
    """Fit one of the project's models, and explain so many of the leads that it has not seen."""
    project, data = prepared.project, prepared.data
    model = train.models(project)[name]
    model.fit(data.X, prepared.y, groups=data.group)
    scorer, calibration, scale = model.served_, model.calibration_, Scale()
    learned = to_matrix(data.X, scorer.columns)
    sums = family_sums(
        driver_points(scorer, calibration, scale, learned).points,
        driver_families(scorer, prepared.features),
    )
    made: list[Explanation] = []
    for rows in seen:
        place = {feature.name: j for j, feature in enumerate(rows.features)}
        M = np.asfortranarray(rows.matrix[:, [place[column.name] for column in scorer.columns]])
        M = np.asfortranarray(M[: wanted - len(made)])
        made += explanations(
            rows.lead_id[: len(M)],
            driver_points(scorer, calibration, scale, M),
            scorer,
            M,
            features=prepared.features,
            typical=typical_values(learned, scorer.columns),
            cuts=grade_cuts(sums["fit"], sums["engagement"]),
            stages=["nurture"] * len(M),
            stage_reasons=[""] * len(M),
            horizon=data.horizon,
            model=project.name,
            policy_revision=1,
            phrases=project.phrases,
        )
    return made


def said(why: Explanation, *, all_reasons: bool) -> list[int]:
    """Read the integers that lines of the text begin with: a typical lead's, the reasons', the score."""
    lines = (line[:6].strip() for line in why.text(all_reasons=all_reasons).splitlines() if line[6:8] == "  ")
    return [int(number) for number in lines if re.fullmatch(r"[+-]?\d+", number)]


def adds_up(numbers: Sequence[int]) -> bool:
    """Whether the last is the sum of the others."""
    return len(numbers) > 1 and sum(numbers[:-1]) == numbers[-1]


def failures(made: Sequence[Explanation]) -> list[int]:
    """Count the explanations whose numbers do not add up, in each of the ways in which they are told."""
    found = np.zeros(5, np.int64)
    for why in made:
        told = json.loads(json.dumps(why.to_dict()))
        integers = [told["shown_base"], *(d["shown"] for d in told["drivers"]), told["shown_score"]]
        exact = told["base"] + sum(driver["points"] for driver in told["drivers"])
        page = [int(cell.replace("−", "-")) for cell in PLACES.findall(why.html().split("<details")[0])]
        found += [
            abs(exact - told["score"]) > 1e-9,
            not adds_up(integers),
            not adds_up(said(why, all_reasons=False)),
            not adds_up(said(why, all_reasons=True)),
            not adds_up(page) or page[-1] != told["shown_score"],
        ]
    return found.tolist()


HEAD = [
    "model",
    "explanations",
    "points and score differ by more than 1e-9",
    "integers in JSON",
    "in text",
    "in text with every reason",
    "in HTML",
    "milliseconds each",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leads", type=int, default=5_000, help="explanations of each model")
    parser.add_argument("--quick", action="store_true", help="nothing written")
    parser.add_argument("--date", help="written in the document; by default today")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    project = replace(config.read(ROOT / "configs" / "demo.yaml"), source=SimulatedWorld(3_000, seed=7))
    prepared = train.prepare(project)
    world = simulate(max(100, given.leads // 2), seed=9)  # leads that no model has seen
    tables = read_tables(project.contract, world.leads, world.events, training=False)
    came = np.asarray(tables.created_at)
    seen = [snapshot(tables, prepared.features, came + age * DAY) for age in AGES]
    lines, right, all_made = [], 0, 0
    for name in train.models(project):
        made = rendered(prepared, seen, name, given.leads)
        began = time.process_time()
        wrong = failures(made)
        each = 1e3 * (time.process_time() - began) / len(made)
        lines.append([name, f"{len(made):,}", *map(str, wrong), f"{each:.2g}"])
        right, all_made = right + len(made) - max(wrong), all_made + len(made)
    text = "\n\n".join(
        [
            f"{os.cpu_count()} cores, Python {platform.python_version()}; "
            f"{given.date or datetime.now(UTC).date()}; load average {load:.1f} when it began.",
            "Every number is read back from what is shown: the typical lead's, each reason's and the score. "
            "The columns count explanations whose numbers do not add up.",
            table(
                ["share of rendered explanations that add up", "wanted", "found", "met"],
                [at_least("all models of the demo", right / all_made, 1.0)],
            ),
            table(HEAD, lines),
        ]
    )
    print(text)
    if not given.quick:
        written(SECTION, text, ROOT / "docs" / "benchmarks.md")


if __name__ == "__main__":
    main()
