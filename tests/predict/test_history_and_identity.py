"""Scores with an attribute history, of people with several leads, and of events that the model never saw."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from leadscore import bundle as bundles
from leadscore.bundle import Bundle
from leadscore.data.tables import HistoryColumns, Identity
from leadscore.predict import LeadModel
from leadscore.simulate import World

DAY = 86_400_000_000
NUMBERS = ["probability", "score", "stage", "fit", "engagement"]


@pytest.fixture(scope="session")
def dated(bundle_of: dict[str, Bundle]) -> LeadModel:
    """The points, of a project that keeps the history of attributes."""
    born = bundle_of["points"]
    contract = replace(born.contract, history=HistoryColumns())
    return LeadModel(replace(born, contract=contract), born.policy)


@pytest.fixture(scope="session")
def merging(bundle_of: dict[str, Bundle]) -> LeadModel:
    """The boosted trees, of a project that makes one lead of those of one person."""
    born = bundle_of["boosted"]
    contract = replace(
        born.contract,
        identity=Identity(email=("email",), phone=("phone",)),
        kinds={**born.contract.kinds, "email": "text", "phone": "text"},
    )
    return LeadModel(replace(born, contract=contract), born.policy)


@pytest.fixture(scope="session")
def history(world: World, as_of: int) -> pd.DataFrame:
    """Every lead was in an industry worth points until a day before the moment, and then was not."""
    ids = world.leads["lead_id"].to_pandas()
    when = pd.Timestamp(as_of, unit="us", tz="UTC")
    steps = [("Logistics", when - pd.Timedelta("500D")), ("Retail", when - pd.Timedelta("1D"))]
    return pd.concat(
        pd.DataFrame({"lead_id": ids, "field": "industry", "value": value, "changed_at": moment})
        for value, moment in steps
    )


def test_attributes_are_those_of_the_moment(
    dated: LeadModel, world: World, history: pd.DataFrame, as_of: int
) -> None:
    leads = world.leads.to_pandas()
    for moment, industry in ((as_of, "Retail"), (as_of - DAY, "Logistics"), (as_of - DAY + 1, "Retail")):
        found = dated.score(leads, world.events, moment, history=history)
        expected = dated.score(leads.assign(industry=industry), world.events, moment)
        pd.testing.assert_frame_equal(found[["lead_id", *NUMBERS]], expected[["lead_id", *NUMBERS]])
    plain = dated.score(leads, world.events, as_of)
    assert (plain["fit"] != dated.score(leads, world.events, as_of, history=history)["fit"]).any()


def test_one_lead_and_reasons_see_the_history(
    dated: LeadModel, world: World, history: pd.DataFrame, as_of: int
) -> None:
    whole = dated.score(world.leads, world.events, as_of, history=history).set_index("lead_id")
    for lead in world.leads.slice(0, 40).to_pylist():
        if lead["lead_id"] in whole.index:
            own = history[history["lead_id"] == lead["lead_id"]].to_dict("records")
            one = dated.score_one(lead, [], as_of, history=own)
            assert one.fit == whole.loc[one.lead_id, "fit"]
            (why,) = dated.explain([lead], [], as_of, history=own)
            assert why.score == one.score


def test_the_command_line_takes_a_history(
    run: Callable[..., Any],
    dated: LeadModel,
    world: World,
    files: Path,
    history: pd.DataFrame,
    as_of: int,
    tmp_path: Path,
) -> None:
    folder = bundles.save(dated.bundle, tmp_path / "model")
    history.to_csv(tmp_path / "history.csv", index=False)
    moment = pd.Timestamp(as_of, unit="us", tz="UTC").isoformat()
    words = (files / "leads.parquet", "--events", files / "events.parquet", "--as-of", moment)
    words = (*words, "--history", tmp_path / "history.csv")
    assert run("score", folder, *words, "--out", tmp_path / "scores.csv").code == 0
    expected = dated.score(world.leads, world.events, as_of, history=history)
    found = pd.read_csv(tmp_path / "scores.csv")
    assert found["score"].tolist() == expected["score"].tolist()
    done = run("explain", folder, *words, "--lead", expected["lead_id"][0], "--format", "json")
    assert json.loads(done.out)["score"] == expected["score"][0]


# ----------------------------------------------------------------------------------------------------- people
def test_every_lead_has_a_row_and_those_of_one_person_share_it(
    merging: LeadModel, bundle_of: dict[str, Bundle], world: World, as_of: int
) -> None:
    alone = LeadModel(bundle_of["boosted"], merging.policy).score(world.leads, world.events, as_of)
    found = merging.score(world.leads, world.events, as_of)
    assert found["lead_id"].tolist() == alone["lead_id"].tolist()
    by_id = found.set_index("lead_id")
    pairs = [pair for pair in world.truth.duplicates if set(pair) <= set(by_id.index)]
    assert len(pairs) > 10
    for one, other in pairs:
        assert by_id.loc[one].tolist() == by_id.loc[other].tolist()
    planted = found["lead_id"].isin({lead for pair in world.truth.duplicates for lead in pair})
    pd.testing.assert_frame_equal(found[~planted], alone[~planted])
    assert not found[planted].equals(alone[planted])
    assert any("count as one" in line for line in found.attrs["findings"])


def test_a_lead_that_comes_in_at_the_moment_tells_nothing(
    merging: LeadModel, world: World, as_of: int
) -> None:
    leads = world.leads.to_pandas()
    twin = leads.head(30).assign(
        lead_id=lambda rows: "twin " + rows["lead_id"], created_at=pd.Timestamp(as_of, unit="us", tz="UTC")
    )
    twin["phone"] = leads["phone"].iloc[30:60].to_numpy()  # as if they knew two leads of two people
    more = merging.score(pd.concat([leads, twin]), world.events, as_of)
    pd.testing.assert_frame_equal(more, merging.score(leads, world.events, as_of), check_like=True)


def test_the_reasons_of_leads_of_one_person_are_the_person_s(
    merging: LeadModel, world: World, as_of: int
) -> None:
    scores = merging.score(world.leads, world.events, as_of).set_index("lead_id")["score"]
    _, other = next(pair for pair in world.truth.duplicates if set(pair) <= set(scores.index))
    (why,) = merging.explain(world.leads, world.events, as_of, lead_id=other)
    assert (why.lead_id, why.score) == (other, scores[other])


# ----------------------------------------------------------------------------------------------------- events
def test_a_type_that_the_model_never_saw_changes_nothing_and_is_told_of(
    bundle_of: dict[str, Bundle], world: World, as_of: int
) -> None:
    for born in bundle_of.values():
        model = LeadModel(born, born.policy)
        assert "page_view" in born.contract.event_types
        more = pd.DataFrame(
            {
                "lead_id": world.leads["lead_id"].to_pandas(),
                "event_type": "carrier pigeon",
                "occurred_at": pd.Timestamp(as_of - DAY, unit="us", tz="UTC"),
            }
        )
        found = model.score(world.leads, pd.concat([world.events.to_pandas(), more]), as_of)
        expected = model.score(world.leads, world.events, as_of)
        np.testing.assert_array_equal(found[NUMBERS], expected[NUMBERS])
        told = [line for line in found.attrs["findings"] if "none that the model was trained with" in line]
        assert len(told) == 1
        assert f"{len(more)} rows kept" in told[0]


def test_events_after_the_moment_are_counted_in_one_line(
    bundle_of: dict[str, Bundle], world: World, as_of: int
) -> None:
    model = LeadModel(bundle_of["points"], bundle_of["points"].policy)
    (line,) = [
        line
        for line in model.score(world.leads, world.events, as_of).attrs["findings"]
        if "later than" in line
    ]
    late = world.events.to_pandas().query("lead_id.notna()")
    moment = pd.Timestamp(as_of, unit="us", tz="UTC")
    least = ((late["occurred_at"] >= moment) | (late["recorded_at"] > moment)).sum()
    assert int(line.split(": ")[2].split()[0].replace(",", "")) >= least > 100
