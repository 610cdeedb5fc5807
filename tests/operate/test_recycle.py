"""What is given back and what fell through, against loops over the tables and the model's own scores."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from leadscore import cards, timelines
from leadscore.data.contract import Identity
from leadscore.errors import LeadScoreError
from leadscore.files import write_table
from leadscore.operate.cracks import FORGOTTEN, LATE, MISSED, UNSEEN, UNWORKED, WHAT
from leadscore.operate.queue import queue
from leadscore.operate.recycle import COLUMNS, Recycled, recycle
from leadscore.policy.policy import Policy
from leadscore.predict import LeadModel, load
from leadscore.simulate import World

DAY = pd.Timedelta(days=1)
MICROSECOND = pd.Timedelta(microseconds=1)
FOR_SALES = ("mql", "sales_ready")
GIVEN: dict[str, Any] = {"within": 5.0, "not_now": ["bad timing "], "touches": ["sales_call"]}
CLOSING = ("Closed Won", "Closed Lost", "Disqualified")


@pytest.fixture(scope="module")
def frames(world: World) -> tuple[pd.DataFrame, pd.DataFrame]:
    return world.leads.to_pandas(), world.events.to_pandas()


@pytest.fixture(scope="module")
def outcomes(world: World) -> pd.DataFrame:
    return world.outcomes.to_pandas()


@pytest.fixture(scope="module")
def now(as_of: int) -> pd.Timestamp:
    return pd.Timestamp(as_of, unit="us", tz="UTC")


@pytest.fixture(scope="module")
def model(folder_of: Any, frames: Any, as_of: int) -> LeadModel:
    model = load(folder_of["logistic"])
    chance = np.sort(model.score(*frames, as_of)["probability"])
    rules = {"suppress": model.policy.suppress, "fast_track": model.policy.fast_track}
    return replace(model, policy=Policy(float(chance[-250]), float(chance[-10]), **rules))


@pytest.fixture(scope="module")
def found(model: LeadModel, frames: Any, outcomes: pd.DataFrame, as_of: int) -> Recycled:
    return recycle(model, *frames, as_of, outcomes=outcomes, **GIVEN)


def stage_at(model: LeadModel, frames: Any, lead: str, at: pd.Timestamp, previous: Any = None) -> str:
    """The stage by `score`, of a table of this lead alone."""
    one = frames[0][frames[0]["lead_id"] == lead]
    events = frames[1]
    visitors = events.loc[events["lead_id"] == lead, "visitor_id"].dropna().unique()
    own = events[(events["lead_id"] == lead) | events["visitor_id"].isin(visitors)]
    return str(model.score(one, own, at, previous=previous)["stage"].item())


def told(found: Recycled, what: str) -> pd.DataFrame:
    return found.cracks[found.cracks["what"] == what].set_index("lead_id")


def lives(frames: Any, outcomes: pd.DataFrame, now: pd.Timestamp) -> Iterator[tuple[str, Any, Any, Any]]:
    """For each lead: its outcomes, its calls, and its last hand-over, before a moment."""
    events = frames[1]
    calls = events[(events["event_type"] == "sales_call") & (events["occurred_at"] < now)]
    calls = calls[calls["recorded_at"] <= now]
    by_lead = {lead: own["occurred_at"].tolist() for lead, own in calls.groupby("lead_id")}
    before = outcomes[outcomes["at"] < now].sort_values("at")
    for lead, own in before.groupby("lead_id"):
        handed = own.loc[own["stage"] == "Handed Over", "at"].max()
        yield str(lead), own, by_lead.get(lead, []), handed


# ---------------------------------------------------------------------------------------------- given back
def test_a_loop_finds_the_same_leads(
    found: Recycled, frames: Any, outcomes: pd.DataFrame, now: pd.Timestamp
) -> None:
    unworked, late, forgotten = {}, {}, {}
    for lead, own, calls, handed in lives(frames, outcomes, now):
        work = [at for at in [*own.loc[own["stage"] != "Handed Over", "at"], *calls] if not at < handed]
        if not pd.isna(handed) and not work and handed + 5 * DAY < now:
            unworked[lead] = handed
        if not pd.isna(handed) and work and min(work) > handed + 5 * DAY:
            late[lead] = handed
        last = own.iloc[-1]
        if (
            last["stage"] == "Closed Lost"
            and last["reason"] == "Bad timing"
            and not any(at > last["at"] for at in calls)
        ):
            forgotten[lead] = last["at"]
    assert min(len(late), len(forgotten)) > 3
    assert told(found, UNWORKED)["since"].to_dict() == unworked
    assert told(found, LATE)["since"].to_dict() == late
    old = {lead: at for lead, at in forgotten.items() if at + 5 * DAY < now}
    assert told(found, FORGOTTEN)["since"].to_dict() == old
    given = {lead: at + 5 * DAY for lead, at in unworked.items()} | forgotten
    assert found.frame.set_index("lead_id")["recycled_at"].to_dict() == given
    assert found.frame["recycled_at"].is_monotonic_increasing
    assert found.counts == {what: int((found.cracks["what"] == what).sum()) for what in WHAT}
    assert tuple(found.frame.columns) == COLUMNS


def test_without_touches_more_leads_are_not_worked(
    model: LeadModel, frames: Any, outcomes: pd.DataFrame, as_of: int, found: Recycled
) -> None:
    more = recycle(model, *frames, as_of, outcomes=outcomes, within=5.0, nearest_of=0)
    assert set(told(more, UNWORKED).index) > set(told(found, UNWORKED).index)
    assert more.counts[FORGOTTEN] == 0
    assert any("--not-now" in one and "Bad timing (" in one for one in more.findings)
    reasons = more.frame.set_index("lead_id")["reason"]
    assert reasons.str.fullmatch(r"Handed over on \d{4}-\d\d-\d\d and not worked within 5 days").all()


def test_later_outcomes_do_not_count_and_the_moment_does_not_depend_on_when_it_is_asked(
    model: LeadModel, frames: Any, outcomes: pd.DataFrame, as_of: int, now: pd.Timestamp, found: Recycled
) -> None:
    cut = recycle(model, *frames, as_of, outcomes=outcomes[outcomes["at"] < now], **GIVEN)
    pd.testing.assert_frame_equal(cut.frame, found.frame)
    pd.testing.assert_frame_equal(cut.cracks, found.cracks)
    later = recycle(model, *frames, now + 3 * DAY, outcomes=outcomes, **GIVEN, nearest_of=0)
    both = found.frame.merge(later.frame, on="lead_id")
    assert len(both) > len(found.frame) / 2
    assert (both["recycled_at_x"] == both["recycled_at_y"]).all()
    again = recycle(
        model, *frames, now + 3 * DAY, outcomes=outcomes, previous=found.frame, **GIVEN, nearest_of=0
    )
    pd.testing.assert_frame_equal(again.frame, later.frame)


# ---------------------------------------------------------------------------------------------- watched for
@pytest.mark.parametrize("cool_down", [0.0, 20.0])
def test_what_is_back_is_so_by_the_models_own_scores(
    model: LeadModel, frames: Any, outcomes: pd.DataFrame, as_of: int, now: pd.Timestamp, cool_down: float
) -> None:
    model = replace(model, policy=replace(model.policy, cool_down=cool_down))
    found = recycle(model, *frames, as_of, outcomes=outcomes, **GIVEN, nearest_of=0)
    back = found.frame[found.frame["back_at"].notna()]
    assert len(back) > 3
    assert (back["back_at"] > back["recycled_at"]).all()
    assert (back["back_by"] != "").all()
    assert (back["watch"] == "").all()
    assert (found.frame.loc[found.frame["back_at"].isna(), "watch"] != "").all()
    previous = found.frame[["lead_id", "stage", "recycled_at"]]
    stages = model.score(*frames, now, previous=previous).set_index("lead_id")["stage"]
    assert stages[back["lead_id"]].isin(FOR_SALES).all()
    fast = model.policy.fast_track[0].name
    for row in back.head(6).to_dict("records"):
        own = frames[1][frames[1]["lead_id"] == row["lead_id"]]
        at, given = row["back_at"], row["recycled_at"]
        assert stage_at(model, frames, row["lead_id"], at, previous) in FOR_SALES
        assert at >= given + cool_down * DAY or row["back_by"].startswith(fast)
        before = stage_at(model, frames, row["lead_id"], at - MICROSECOND, previous)
        news = own["recorded_at"].clip(lower=own["occurred_at"] + MICROSECOND)
        risen = not news.between(given, at - MICROSECOND).any()
        assert before not in FOR_SALES or risen or at == given + cool_down * DAY


def test_what_would_bring_a_lead_back_does(
    model: LeadModel, frames: Any, as_of: int, found: Recycled
) -> None:
    would = found.frame[found.frame["watch"].str.contains(" would make it ")]
    assert len(would) > 0
    for row in would.head(3).to_dict("records"):
        changes = cards.card(model, *frames, as_of, lead_id=row["lead_id"]).changes
        assert row["watch"] in [change.text for change in changes]
    waits = found.frame.set_index("lead_id")["watch"].drop(would["lead_id"])
    stages = model.score(*frames, as_of).set_index("lead_id")["stage"]
    held = set(found.frame.loc[found.frame["stage"] == "unqualified", "lead_id"])
    for lead, watch in waits[waits != ""].items():
        if lead in held:
            assert watch.startswith("Unqualified by the rule")
        elif stages[lead] in FOR_SALES:
            assert watch == "Anything that raises its score: it is over the line as it is"
        else:
            assert " is below the " in watch


# -------------------------------------------------------------------------------------- through the cracks
def test_what_was_missed_is_over_the_line_since_then(
    model: LeadModel, frames: Any, outcomes: pd.DataFrame, as_of: int, now: pd.Timestamp, found: Recycled
) -> None:
    missed = told(found, MISSED)
    had = {lead for lead, own, calls, _ in lives(frames, outcomes, now) if len(own) or calls}
    scores = model.score(*frames, as_of).set_index("lead_id")
    over = set(scores.index[scores["stage"].isin(FOR_SALES)]) - had
    assert set(missed.index) <= over
    assert len(missed) > 3
    for line in timelines.timelines(model, *frames, as_of, lead_ids=sorted(over)):
        recent = line.moments >= as_of - 5 * 86_400_000_000
        lately = line.moments[0] >= as_of - 5 * 86_400_000_000
        since = max(0, int(np.argmax(recent)) - 1)  # the moment before tells where it stood at the beginning
        assert (line.lead_id in missed.index) == (not lately and bool((line.rank[since:] >= 2).all()))
    assert (missed["days"] > 5).all()
    assert missed["days"].is_monotonic_decreasing
    for lead, row in missed.head(4).iterrows():
        for at in pd.date_range(row["since"], now, periods=5):
            assert stage_at(model, frames, str(lead), at) in FOR_SALES


def test_what_was_won_below_the_line_was_below_it_until_then(
    model: LeadModel, frames: Any, outcomes: pd.DataFrame, now: pd.Timestamp, found: Recycled
) -> None:
    unseen = told(found, UNSEEN)
    before = outcomes[outcomes["at"] < now].sort_values("at")
    last = before.groupby("lead_id").last()
    touched = set(before.loc[before["stage"].isin(["Handed Over", "Sales Accepted"]), "lead_id"])
    alone = [lead for lead in last.index[last["stage"] == "Closed Won"] if lead not in touched]
    assert 3 < len(unseen) < len(alone)
    some = [*unseen.index[:8], *[lead for lead in alone if lead not in unseen.index][:8]]
    for lead in some:
        stage = stage_at(model, frames, lead, last.loc[lead, "at"])
        assert (stage in FOR_SALES) == (lead not in unseen.index)
        if lead in unseen.index:
            assert unseen.loc[lead, "since"] == last.loc[lead, "at"]
            assert "until then" in unseen.loc[lead, "why"]


def test_every_why_is_one_sentence(found: Recycled) -> None:
    assert found.cracks["why"].str.fullmatch(r"[A-Z][^\n]{20,400}\.").all()
    assert not found.cracks["why"].str.contains("@").any()


# ----------------------------------------------------------------------------------------------- day by day
def test_a_lead_goes_round(model: LeadModel, frames: Any, now: pd.Timestamp, tmp_path: Any) -> None:
    first = queue(model, *frames, now - 30 * DAY, capacity=30)
    handed = write_table(first.frame, tmp_path / "first.csv")
    nothing: list[dict[str, Any]] = []
    early = recycle(model, *frames, now - 27 * DAY, outcomes=nothing, previous=handed, within=5.0)
    assert early.frame.empty
    given = recycle(model, *frames, now, outcomes=nothing, previous=handed, within=5.0, nearest_of=0)
    assert set(given.frame["lead_id"]) == set(first.frame["lead_id"])
    assert (given.frame["recycled_at"] == now - 25 * DAY).all()
    path = write_table(given.frame, tmp_path / "given.parquet")
    second = queue(model, *frames, now, outcomes=nothing, previous=[handed, path])
    back = given.frame.dropna(subset="back_at").set_index("lead_id")
    again = second.frame.set_index("lead_id")
    assert set(back.index) == set(first.frame["lead_id"]) & set(again.index)
    assert len(back) > 3
    assert again.loc[back.index, "trigger"].tolist() == back["back_by"].tolist()
    assert again.loc[back.index, "triggered_at"].tolist() == back["back_at"].tolist()
    earlier = [handed, path, second.frame]
    third = recycle(model, *frames, now + DAY, outcomes=nothing, previous=earlier, nearest_of=0)
    assert not set(third.frame["lead_id"]) & set(back.index)


# ------------------------------------------------------------------------------------------------ bad input
@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"within": 0}, "expected within above 0 days; found 0"),
        ({"within": float("nan")}, "within above 0 days"),
        ({"outcomes": None}, "expected the outcomes of the leads; found none"),
        ({"touches": ["sales_cal"]}, "did you mean 'sales_call'"),
        ({"previous": [{"lead_id": "L000001", "recycled_at": "yesterday"}]}, "recycled_at"),
        ({"as_of": None}, "as_of"),
        ({"outcomes": [{"lead_id": "L000001", "stage": "Closed Lost"}]}, "'at'"),
    ],
)
def test_bad_input_is_one_line(model: LeadModel, frames: Any, as_of: int, more: Any, says: str) -> None:
    with pytest.raises(LeadScoreError) as error:
        recycle(model, *frames, **({"as_of": as_of, "outcomes": []} | more))
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_reason_that_no_lead_has_is_told(
    model: LeadModel, frames: Any, outcomes: pd.DataFrame, as_of: int
) -> None:
    found = recycle(model, *frames, as_of, outcomes=outcomes, not_now=["Bad timming"], nearest_of=0)
    assert "no lead is lost for the reason 'Bad timming' (did you mean 'Bad timing'?)" in found.findings
    assert found.counts[FORGOTTEN] == 0


def test_a_model_without_outcomes_or_reasons(model: LeadModel, frames: Any, as_of: int) -> None:
    bundle = model.bundle
    none = replace(model, bundle=replace(bundle, contract=replace(bundle.contract, outcomes=None)))
    with pytest.raises(LeadScoreError, match="a model whose config describes outcomes"):
        recycle(none, *frames, as_of, outcomes=[])
    assert bundle.contract.outcomes is not None
    mute = replace(bundle.contract, outcomes=replace(bundle.contract.outcomes, reason=None))
    silent = replace(model, bundle=replace(bundle, contract=mute))
    with pytest.raises(LeadScoreError, match="a column with the reasons of lost leads"):
        recycle(silent, *frames, as_of, outcomes=[], not_now=["Bad timing"])
    quiet = recycle(silent, *frames, as_of, outcomes=[])
    assert quiet.frame.empty
    assert quiet.counts[MISSED] == len(quiet.cracks) > 0


@pytest.mark.parametrize("event_log", [False, True])
def test_hand_overs_among_the_events(
    model: LeadModel, frames: Any, outcomes: pd.DataFrame, as_of: int, now: pd.Timestamp, event_log: bool
) -> None:
    told_by = {"outcomes": None, "outcome_events": {"handover": "handed_over"}, "event_log": event_log}
    logged = replace(model.bundle.contract, **told_by)  # type: ignore[arg-type]
    own = replace(model, bundle=replace(model.bundle, contract=logged))
    found = recycle(own, *frames, as_of, touches=["sales_call"])
    unworked = {
        lead: handed
        for lead, _, calls, handed in lives(frames, outcomes, now)
        if not pd.isna(handed) and not any(at >= handed for at in calls) and handed + 5 * DAY < now
    }
    assert len(unworked) > 1
    assert told(found, UNWORKED)["since"].to_dict() == unworked
    assert queue(own, *frames, as_of, capacity=3).left_out["handed over already"] > 10


def test_who_accepts_a_lead_has_worked_the_person(model: LeadModel, frames: Any, now: pd.Timestamp) -> None:
    leads = frames[0].head(40)
    both = pd.concat([leads, leads.head(1).assign(lead_id="TWIN")], ignore_index=True)
    both.loc[[0, 40], "email"] = "same@example.com"
    first = str(both["lead_id"][0])
    outcomes = [
        {"lead_id": first, "stage": "Handed Over", "at": (now - 9 * DAY).isoformat()},
        {"lead_id": "TWIN", "stage": "Sales Accepted", "at": (now - 8 * DAY).isoformat()},
    ]
    apart = recycle(model, both, frames[1], now, outcomes=outcomes, nearest_of=0)
    assert apart.frame["lead_id"].tolist() == [first]
    contract = replace(model.bundle.contract, identity=Identity(email=("email",)))
    merging = replace(model, bundle=replace(model.bundle, contract=contract))
    assert recycle(merging, both, frames[1], now, outcomes=outcomes, nearest_of=0).frame.empty
    late = recycle(merging, both, frames[1], now, outcomes=outcomes, within=0.5, nearest_of=0)
    assert told(late, LATE).index.tolist() == [first]


def test_nobody(model: LeadModel, as_of: int) -> None:
    found = recycle(model, [], [], as_of, outcomes=[])
    assert (len(found.frame), len(found.cracks), found.leads) == (0, 0, 0)
