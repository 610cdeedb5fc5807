"""What a score says beyond its six columns: how sure it is, how usual the lead, how soon it may be won."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from leadscore.errors import UsageError
from leadscore.predict import LeadModel, load
from leadscore.simulate import World

ALL = ("interval", "unlike", "rank")


@pytest.fixture
def scored(model: LeadModel, world: World, as_of: int) -> pd.DataFrame:
    return model.score(world.leads, world.events, as_of, also=ALL)


def test_the_six_columns_stay_what_they_are(
    model: LeadModel, scored: pd.DataFrame, world: World, as_of: int
) -> None:
    plain = model.score(world.leads, world.events, as_of)
    pd.testing.assert_frame_equal(scored[plain.columns], plain)
    assert scored.columns.tolist() == [*plain.columns, "low", "high", "unlike", "rank"]


def test_the_interval_holds_the_probability(scored: pd.DataFrame) -> None:
    assert (scored["low"] <= scored["probability"]).all()
    assert (scored["probability"] <= scored["high"]).all()
    assert (scored["high"] - scored["low"]).mean() > 0.001


def test_the_best_lead_ranks_first_and_equal_ones_share_a_rank(scored: pd.DataFrame) -> None:
    ranks = scored["probability"].rank(ascending=False, method="min").astype(int)
    assert scored["rank"].tolist() == ranks.tolist()


def test_an_absurd_lead_is_unlike_those_of_training(
    world: World, as_of: int, folder_of: dict[str, Path]
) -> None:
    model = load(folder_of["boosted"])
    lead = world.leads.slice(0, 1).to_pylist()[0]
    absurd = {**lead, "lead_id": "absurd", "employees": 10.0**12}
    events = [{**event, "lead_id": "absurd"} for event in world.events.slice(0, 3).to_pylist()]
    assert model.score_one(absurd, events, as_of, also=["unlike"]).also == {"unlike": True}


def test_leads_of_the_ages_of_training_are_like_it_and_far_older_ones_are_not(
    scored: pd.DataFrame, world: World, as_of: int
) -> None:
    created = world.leads.to_pandas().set_index("lead_id")["created_at"].loc[scored["lead_id"]]
    age = (pd.Timestamp(as_of, unit="us", tz="UTC") - created).dt.days.to_numpy()
    near = (abs(age - 14) <= 5) | (abs(age - 45) <= 5)
    assert scored["unlike"][near].mean() < 0.15
    assert scored["unlike"][age > 200].mean() > 0.9


def test_one_lead_and_the_batch_agree(
    model: LeadModel, scored: pd.DataFrame, world: World, as_of: int
) -> None:
    place = int(np.flatnonzero(world.truth.original < 0)[7])
    assert place not in world.truth.original  # nobody else is this person
    lead_id = world.truth.lead_id[place]
    lead = next(row for row in world.leads.to_pylist() if row["lead_id"] == lead_id)
    devices = {e["visitor_id"] for e in world.events.to_pylist() if e["lead_id"] == lead_id} - {None}
    events = [
        event
        for event in world.events.to_pylist()
        if event["lead_id"] == lead_id or event["visitor_id"] in devices
    ]
    one = model.score_one(lead, events, as_of, also=["interval", "unlike"])
    row = scored.set_index("lead_id").loc[lead_id]
    assert one.also == {"low": row["low"], "high": row["high"], "unlike": bool(row["unlike"])}


def test_urgency_and_expected_days_are_a_hazard_models(
    world: World, as_of: int, folder_of: dict[str, Path]
) -> None:
    frame = load(folder_of["hazard"]).score(
        world.leads, world.events, as_of, also=["urgency", "expected_days"]
    )
    assert frame["urgency"].between(0, 1).all()
    assert frame["urgency"].nunique() > 1
    assert frame["expected_days"].between(0, 60).all()
    with pytest.raises(UsageError, match=r"further columns that this model has \(interval, unlike, rank\)"):
        load(folder_of["boosted"]).score(world.leads, world.events, as_of, also="urgency")


@pytest.mark.parametrize("asked", ["rnak", ["interval", "rnak"]])
def test_a_further_column_that_there_is_not(folder_of: dict[str, Path], asked: Any) -> None:
    with pytest.raises(UsageError, match=r"'rnak' \(did you mean 'rank'\?\)"):
        load(folder_of["points"]).score([], [], 0, also=asked)


def test_chances_that_did_not_hold_are_withheld(world: World, as_of: int, folder_of: dict[str, Path]) -> None:
    model = load(folder_of["logistic"])
    plain = model.score(world.leads, world.events, as_of, also=["rank"])
    for held in (True, False):
        judged = replace(model, bundle=replace(model.bundle, calibrated=held))
        frame = judged.score(world.leads, world.events, as_of, also=["interval"], withhold=True)
        assert (frame["calibrated"] == held).all()
        assert frame["stage"].tolist() == plain["stage"].tolist()
        told = frame[["probability", "score", "low", "high"]]
        assert told.notna().to_numpy().all() if held else told.isna().to_numpy().all()
        if not held:
            assert frame["rank"].tolist() == plain["rank"].tolist()
            assert np.isfinite(frame[["fit", "engagement"]]).to_numpy().all()


def test_whether_chances_held_is_kept_in_the_model(
    folder_of: dict[str, Path], bundle_of: dict[str, Any]
) -> None:
    for kind, folder in folder_of.items():
        again, bundle = load(folder).bundle, bundle_of[kind]
        assert again.calibrated is bundle.calibrated
        assert again.interval is not None
        assert again.interval.to_dict() == bundle.interval.to_dict()
        assert again.familiar is not None
        assert again.familiar.to_files() == bundle.familiar.to_files()
