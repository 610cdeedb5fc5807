"""Leads that stood somewhere before: hysteresis, cool-down and segments, from the table to the card."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from leadscore import cards, timelines, what_if
from leadscore.policy.policy import STAGES, Policy, Thresholds
from leadscore.predict import LeadModel, load
from leadscore.simulate import World

DAY = 86_400_000_000


def held(model: LeadModel, **changes: Any) -> LeadModel:
    return replace(model, policy=replace(model.policy, **changes))


@pytest.fixture
def scored(model: LeadModel, world: World, as_of: int) -> pd.DataFrame:
    return model.score(world.leads, world.events, as_of)


@pytest.fixture
def before(scored: pd.DataFrame) -> pd.DataFrame:
    """Stages of another day: drawn, and some leads given back."""
    rng = np.random.default_rng(0)
    known = scored.sample(frac=0.7, random_state=1)
    back = pd.Timestamp("2025-12-01", tz="UTC") + pd.to_timedelta(rng.integers(-20, 9, len(known)), unit="D")
    return pd.DataFrame(
        {
            "lead_id": known["lead_id"],
            "stage": rng.choice(STAGES, len(known)),
            "recycled_at": back.where(rng.random(len(known)) < 0.4),
        }
    )


def test_without_hysteresis_and_cool_down_it_makes_no_difference(
    model: LeadModel, world: World, as_of: int, scored: pd.DataFrame, before: pd.DataFrame
) -> None:
    again = model.score(world.leads, world.events, as_of, previous=before)
    pd.testing.assert_frame_equal(again, scored)
    pd.testing.assert_frame_equal(model.score(world.leads, world.events, as_of, previous=[]), scored)


def test_stages_are_those_of_a_loop_over_the_leads(
    model: LeadModel, world: World, as_of: int, scored: pd.DataFrame, before: pd.DataFrame
) -> None:
    mql = float(scored["probability"].quantile(0.8))
    policy = Policy(mql, min(1.0, 2 * mql), stay=0.6, cool_down=10.0)
    model = replace(model, policy=policy)
    found = model.score(world.leads, world.events, as_of, previous=before)
    pd.testing.assert_frame_equal(found.drop(columns="stage"), scored.drop(columns="stage"))
    stood = before.set_index("lead_id")
    lines = list(policy.lines.values())
    differing = set()
    for lead, p, stage in zip(found["lead_id"], found["probability"], found["stage"], strict=True):
        place = sum(p >= line for line in lines)
        entry = place
        if lead in stood.index:
            was, back = stood.loc[lead, ["stage", "recycled_at"]]
            place = max(
                place, *(n for n in range(4) if n <= STAGES.index(was) and (not n or p >= 0.6 * lines[n - 1]))
            )
            if not pd.isna(back) and back.value // 1000 < as_of and (as_of - back.value // 1000) / DAY < 10:
                place = min(place, 1)
        assert stage == STAGES[place]
        differing.add(np.sign(place - entry))
    assert differing == {-1, 0, 1}


def test_a_lead_alone_a_file_and_an_explanation_say_the_same(
    model: LeadModel, world: World, as_of: int, scored: pd.DataFrame, before: pd.DataFrame, tmp_path: Path
) -> None:
    mql = float(scored["probability"].quantile(0.8))
    model = replace(model, policy=Policy(mql, min(1.0, 2 * mql), stay=0.6, cool_down=10.0))
    frame = model.score(world.leads, world.events, as_of, previous=before)
    path = tmp_path / "before.csv"
    before.to_csv(path, index=False)
    pd.testing.assert_frame_equal(model.score(world.leads, world.events, as_of, previous=path), frame)
    explained = model.explain(world.leads, world.events, as_of, previous=before)
    assert [why.stage for why in explained] == frame["stage"].tolist()
    told = [why.stage_reason.partition(" ")[0] for why in explained]
    assert {"Stays", "Nurture:"} <= set(told)
    assert any("given back" in why.stage_reason for why in explained)
    leads = {row["lead_id"]: row for row in world.leads.to_pylist()}
    events = world.events.to_pandas()
    for place in range(0, len(frame), 97):
        lead = frame["lead_id"].iloc[place]
        mine = own(events, lead)
        one = model.score_one(leads[lead], mine, as_of, previous=before.to_dict("records"))
        assert one.stage == frame["stage"].iloc[place]
        (why,) = model.explain(world.leads, world.events, as_of, lead_id=lead, previous=before)
        assert why.stage_reason == explained[place].stage_reason


def test_where_chances_are_not_told_no_reason_tells_one(
    model: LeadModel, world: World, as_of: int, scored: pd.DataFrame, before: pd.DataFrame
) -> None:
    mql = float(scored["probability"].quantile(0.8))
    model = replace(model, policy=Policy(mql, min(1.0, 2 * mql), stay=0.6, cool_down=10.0))
    model = replace(model, bundle=replace(model.bundle, calibrated=False))
    for why in model.explain(world.leads, world.events, as_of, previous=before)[::20]:
        assert "%" not in why.stage_reason
        assert "chance" not in why.stage_reason
        assert "score" in why.stage_reason


@pytest.fixture
def by_source(folder_of: dict[str, Path], scored: pd.DataFrame, model: LeadModel) -> LeadModel:
    """A model with thresholds of their own for two sources."""
    column = next(column for column in model.bundle.columns if column.name == "source")
    levels = [level for level in column.levels or () if level != "(other)"][:2]
    mql = float(scored["probability"].quantile(0.8))
    own = {levels[0]: Thresholds(0.5 * mql, mql), levels[1]: Thresholds(min(1.0, 3 * mql), 1.0)}
    return replace(model, policy=Policy(mql, min(1.0, 2 * mql), segment="source", segments=own))


def test_a_segment_has_its_own_lines_in_scores_explanations_and_timelines(
    by_source: LeadModel, world: World, as_of: int
) -> None:
    frame = by_source.score(world.leads, world.events, as_of)
    source = world.leads.to_pandas().set_index("lead_id")["source"].loc[frame["lead_id"]].astype(object)
    policy, seen = by_source.policy, set()
    explained = by_source.explain(world.leads, world.events, as_of)
    for level, p, stage, why in zip(source, frame["probability"], frame["stage"], explained, strict=True):
        own = policy.segments.get(level, policy.thresholds)
        assert stage == STAGES[sum(p >= line for line in own.lines.values())]
        seen.add((level in policy.segments, stage))
        assert (f"for source {level}" in why.stage_reason) == (level in policy.segments)
        chances = np.array(list(own.lines.values()))
        starts = 50 + 8 * np.log2(chances / (1 - np.minimum(chances, 1 - 1e-12)) * 9)
        assert list(why.lines.values()) == pytest.approx(np.clip(starts, 0, 100), abs=1e-6)
    assert len(seen) >= 5
    for place in (0, len(frame) // 2):
        lead = frame["lead_id"].iloc[place]
        line = timelines.timeline(by_source, world.leads, world.events, as_of, lead_id=lead)
        assert line.stages[int(line.rank[-1])] == frame["stage"].iloc[place]
        assert line.lines == explained[place].lines


def test_a_timeline_walks_through_the_stages_with_hysteresis(
    model: LeadModel, world: World, as_of: int, scored: pd.DataFrame
) -> None:
    best = scored.nlargest(40, "probability")["lead_id"]
    mql = float(scored["probability"].quantile(0.9))
    steady, flighty = (replace(model, policy=Policy(mql, 1.0, stay=stay)) for stay in (0.5, 1.0))
    fewer = 0
    for lead in best[::4]:
        one, other = (
            timelines.timeline(m, world.leads, world.events, as_of, lead_id=lead) for m in (steady, flighty)
        )
        place, expected = 0, []
        for p in one.probability:
            entry = sum(p >= line for line in steady.policy.lines.values())
            stay = sum(p >= 0.5 * line for line in steady.policy.lines.values())
            place = max(entry, min(place, stay))
            expected.append(place)
        assert one.rank.tolist() == expected
        assert (one.rank >= other.rank).all()
        fewer += int((np.diff(other.rank) != 0).sum()) - int((np.diff(one.rank) != 0).sum())
        assert any("50 %" in note for note in one.notes)
    assert fewer > 0


def test_a_card_and_its_changes_know_where_the_lead_stood(
    folder_of: dict[str, Path], world: World, as_of: int
) -> None:
    model = load(folder_of["logistic"])
    frame = model.score(world.leads, world.events, as_of)
    row = frame.sort_values("probability").iloc[-40]
    lead, p = row["lead_id"], float(row["probability"])
    model = replace(model, policy=Policy(p / 0.9, 1.0, stay=0.7, cool_down=14.0))
    back = pd.Timestamp(as_of - 3 * DAY, unit="us", tz="UTC").isoformat()
    for previous, stage, word in (
        (None, "nurture", "below the MQL line"),
        ([{"lead_id": lead, "stage": "mql"}], "mql", "Stays MQL"),
        ([{"lead_id": lead, "stage": "mql", "recycled_at": back}], "nurture", "given back 3 days ago"),
    ):
        card = cards.card(model, world.leads, world.events, as_of, lead_id=lead, previous=previous)
        assert card.explanation.stage == stage
        assert word in card.explanation.stage_reason
        assert all(change.stage_before == stage for change in card.changes)


def test_what_would_change_a_stage_is_true_when_it_is_scored_again(
    folder_of: dict[str, Path], world: World, as_of: int
) -> None:
    model = load(folder_of["logistic"])
    frame = model.score(world.leads, world.events, as_of).sort_values("probability")
    events, rows = world.events.to_pandas(), {row["lead_id"]: row for row in world.leads.to_pylist()}
    kinds = set()
    for place in (-3, -40, -80):
        lead, p = frame["lead_id"].iloc[place], float(frame["probability"].iloc[place])
        mine = own(events[events["occurred_at"] < pd.Timestamp(as_of, unit="us", tz="UTC")], lead)
        given: dict[str, Any] = {"lead": rows[lead], "events": mine, "as_of": as_of}
        for policy, previous in (
            (Policy(p / 1.05, 1.0, stay=0.8), None),
            (Policy(p / 0.95, 1.0, stay=0.9), [{"lead_id": lead, "stage": "mql"}]),
            (Policy(p / 4, 1.0, cool_down=5.0), [{"lead_id": lead, "recycled_at": iso(as_of - 2 * DAY)}]),
        ):
            ruled = replace(model, policy=policy)
            now = ruled.score_one(**given, previous=previous)
            for change in what_if.changes(ruled, **given, previous=previous):
                detail = change.detail
                again = ruled.score_one(
                    {**rows[lead], **detail["fields"]},
                    [*mine, *detail["events"]],
                    detail["as_of"],
                    previous=detail["previous"],
                )
                assert (again.stage, again.probability) == (change.stage_after, change.probability_after)
                assert change.stage_before == now.stage
                kinds.add((change.kind, STAGES.index(change.stage_after) > STAGES.index(change.stage_before)))
    assert ("time", True) in kinds


def own(events: pd.DataFrame, lead: object) -> list[dict[str, Any]]:
    """Give a lead's own events, without what is missing."""
    rows = events[events["lead_id"] == lead].to_dict("records")
    return [{key: value for key, value in row.items() if not pd.isna(value)} for row in rows]


def iso(moment: int) -> str:
    return pd.Timestamp(moment, unit="us", tz="UTC").isoformat()


def test_the_command_line_takes_an_earlier_score(
    folder_of: dict[str, Path], files: Path, tmp_path: Path, as_of: int, run: Callable[..., Any]
) -> None:
    scores = tmp_path / "scores.csv"
    given = [folder_of["points"], files / "leads.parquet", "--events", files / "events.parquet"]
    given += ["--as-of", iso(as_of)]
    assert run("score", *given, "--out", scores).code == 0
    assert run("score", *given, "--previous", scores, "--out", tmp_path / "again.csv").code == 0
    assert (tmp_path / "again.csv").read_bytes() == scores.read_bytes()
    lead = pd.read_csv(scores)["lead_id"].iloc[0]
    back = tmp_path / "back.csv"
    back.write_text(f"lead_id,recycled_at\n{lead},{iso(as_of - DAY)}\n")
    more = ("--lead", lead, "--previous", scores, "--previous", back)
    for form in (("--short",), ()):
        done = run("explain", *given, *more, *form)
        assert done.code == 0
        assert "Stage" in done.out or "line of" in done.out or "rule" in done.out
    wrong = tmp_path / "wrong.csv"
    wrong.write_text(f"lead_id,stage\n{lead},MQL\n")
    done = run("score", *given, "--previous", wrong, "--out", tmp_path / "never.csv")
    assert done.code == 1
    assert "did you mean 'mql'?" in done.err
    assert not (tmp_path / "never.csv").exists()
