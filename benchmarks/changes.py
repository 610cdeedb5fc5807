"""What would change a lead's stage, and what to ask it: whether claims are true, and how long it takes."""

import argparse
import os
import platform
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from explain import at_least, at_most, small_model
from features import table, written
from leadscore.explain.changes import Change
from leadscore.explain.moves import iso
from leadscore.policy.policy import STAGES, Policy
from leadscore.predict import LeadModel
from leadscore.simulate import World, simulate
from leadscore.what_if import changes, questions

ROOT = Path(__file__).parents[1]
SECTION = "## What would change a lead's stage"
DAY = 86_400_000_000
MQL = STAGES.index("mql")
MANY = (1_000, 10_000, 100_000)


def crosses(model: LeadModel, lead: dict[str, Any], events: list[Any], change: Change) -> bool:
    """Whether a change, done to the lead's own tables, takes it over the line that it is said to cross."""
    detail = change.detail
    after = model.score_one({**lead, **detail["fields"]}, [*events, *detail["events"]], detail["as_of"])
    before, reached = STAGES.index(change.stage_before), STAGES.index(after.stage)
    told = (after.stage, after.score) == (change.stage_after, change.score_after)
    return told and reached != before and (before >= MQL or reached >= MQL)


def claims(model: LeadModel, wanted: int) -> tuple[Counter[str], int, list[float], list[float]]:
    """Ask of one lead after the other until so many claims are made; count those that are true.

    Every other lead is under a policy without rules, since a rule is often the nearest way.
    """
    policies = (model, replace(model, policy=without_rules(model.policy)))
    world = simulate(2_000, seed=2)  # leads that the model has not seen
    happened = by_lead(world)
    made: Counter[str] = Counter()
    true, taken, asked = 0, [], []
    for days in (20, 60, 100, 140, 180, 220, 260):
        as_of = iso(world.end - days * DAY)
        for place, row in enumerate(world.leads.to_pylist()):
            asked_of = policies[place % 2]
            lead = _plain(row)
            if sum(made.values()) >= wanted:
                return made, true, taken, asked
            if lead["created_at"] >= as_of:
                continue
            events = [e for e in happened.get(lead["lead_id"], []) if _known(e) < as_of]
            start = time.perf_counter()
            found = changes(asked_of, lead, events, as_of)
            taken.append(time.perf_counter() - start)
            start = time.perf_counter()
            questions(asked_of, lead, events, as_of)
            asked.append(time.perf_counter() - start)
            for change in found:
                if change.kind != "rule":
                    made[change.kind] += 1
                    true += crosses(asked_of, lead, events, change)
    return made, true, taken, asked


def hidden_answers(model: LeadModel, leads: int) -> list[list[str]]:
    """Hide a field that leads have answered: what was expected of asking, and what the answers then did."""
    model = replace(model, policy=without_rules(model.policy))
    world, lines = simulate(2_000, seed=2), []
    as_of, happened = iso(world.end - 60 * DAY), by_lead(world)
    rows = [lead for row in world.leads.to_pylist() if (lead := _plain(row))["created_at"] < as_of]
    for field in ("industry", "company_size", "job_title"):
        found = []
        for lead in [lead for lead in rows if lead[field] not in (None, "unknown")][:leads]:
            events = [e for e in happened.get(lead["lead_id"], []) if _known(e) < as_of]
            hidden = {**lead, field: None}
            (asked,) = [q for q in questions(model, hidden, events, as_of, most=99) if q.field == field]
            before, after = (model.score_one(each, events, as_of) for each in (hidden, lead))
            move = abs(after.score - before.score)
            found.append((asked.chance_of_change, after.stage != before.stage, asked.expected_move, move))
        chance, changed, expected, moved = np.array(found, float).mean(axis=0)
        lines.append([field, f"{chance:.3f}", f"{changed:.3f}", f"{expected:.2f}", f"{moved:.2f}"])
    return lines


def by_lead(world: World) -> dict[Any, list[dict[str, Any]]]:
    happened: dict[Any, list[dict[str, Any]]] = {}
    for event in world.events.to_pylist():
        happened.setdefault(event["lead_id"], []).append(_plain(event))
    return happened


def without_rules(policy: Policy) -> Policy:
    return replace(policy, suppress=(), fast_track=())


def _known(event: dict[str, Any]) -> str:
    return max(event["occurred_at"], event["recorded_at"] or "")


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Write times as a web request brings them, all alike, so that they sort as text."""
    return {
        name: value.astimezone(UTC).isoformat(timespec="microseconds")
        if isinstance(value, datetime)
        else value
        for name, value in row.items()
    }


def long_lives(model: LeadModel, lead: dict[str, Any], events: list[Any], as_of: int) -> list[list[str]]:
    """Time leads that have done the same again and again, under a policy without rules."""
    model = replace(model, policy=without_rules(model.policy))
    lines = []
    for size in (len(events), *MANY):
        own = []
        for i in range(size):
            back = timedelta(seconds=i // len(events))
            at = datetime.fromisoformat(events[i % len(events)]["occurred_at"]) - back
            own.append(
                {
                    **events[i % len(events)],
                    "occurred_at": at.isoformat(),
                    "recorded_at": None,
                    "event_id": None,
                }
            )
        times = []
        for _ in range(21 if size <= MANY[0] else 2):
            start = time.perf_counter()
            changes(model, lead, own, as_of)
            times.append(time.perf_counter() - start)
        lines.append([f"{size:,}", f"{1000 * median(times[1:]):,.1f}"])
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claims", type=int, default=1_000)
    parser.add_argument("--hidden", type=int, default=400, help="leads of which each answer is hidden")
    parser.add_argument("--quick", action="store_true", help="nothing written")
    parser.add_argument("--date", help="written in the document; by default today")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    bundle, lead, events, as_of = small_model()
    model = LeadModel(bundle, bundle.policy)
    made, true, taken, asked = claims(model, given.claims)
    total = sum(made.values())
    bars = [
        at_least("claims that cross the line when scored again, of all", true / total, 1),
        at_most("one lead: median ms to find what would change it", 1000 * median(taken), 50),
        at_most("one lead: median ms to find what to ask", 1000 * median(asked), 50),
    ]
    kinds = [[kind, f"{count:,}"] for kind, count in made.most_common()]
    head = (
        f"{os.cpu_count()} cores, Python {platform.python_version()}; "
        f"{given.date or datetime.now(UTC).date()}; load average {load:.1f} when it began."
    )
    what = (
        f"{true:,} of {total:,} claims about {len(taken):,} simulated leads that the model has not seen "
        "are true to the last digit when done to the lead's own tables and scored by `score_one`."
    )
    longer = table(["events of the lead", "median ms"], long_lives(model, lead, events, as_of))
    asking = table(
        ["field", "stage changes, expected", "happened", "points moved, expected", "happened"],
        hidden_answers(model, given.hidden),
    )
    hiding = (
        f"{given.hidden:,} unseen leads that answered each field: what was expected of asking, had they not."
    )
    bars_met = table(["bar", "wanted", "found", "met"], bars)
    text = "\n\n".join([head, what, bars_met, table(["kind", "claims"], kinds), hiding, asking, longer])
    print(text)
    if not given.quick:
        written(SECTION, text, ROOT / "docs" / "benchmarks.md")


if __name__ == "__main__":
    main()
