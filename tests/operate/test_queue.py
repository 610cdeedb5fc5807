"""The queue against the frame of scores, ranked by hand, and against the cards for what it says."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from leadscore import cards
from leadscore.data.contract import Identity
from leadscore.errors import DataError, LeadScoreError, UsageError
from leadscore.files import write_table
from leadscore.models.conditions import Condition
from leadscore.operate.queue import (
    BELOW,
    BEYOND,
    CLOSED,
    COOLING,
    HANDED_OVER,
    SAME,
    SUPPRESSED,
    WAITING,
    Queue,
    queue,
)
from leadscore.policy.policy import Policy
from leadscore.policy.rules import Rule
from leadscore.predict import LeadModel, load
from leadscore.simulate import World

DAY = 86_400_000_000
FOR_SALES = ("mql", "sales_ready")


@pytest.fixture(scope="module")
def frames(world: World) -> tuple[pd.DataFrame, pd.DataFrame]:
    return world.leads.to_pandas(), world.events.to_pandas()


@pytest.fixture(scope="module")
def outcomes(world: World) -> pd.DataFrame:
    return world.outcomes.to_pandas()


@pytest.fixture(scope="module")
def lines(folder_of: Any, frames: Any, as_of: int) -> dict[str, dict[str, float]]:
    """For each kind of model, lines that some tens of leads are over."""
    found = {}
    for kind, folder in folder_of.items():
        chance = np.sort(load(folder).score(*frames, as_of)["probability"])
        found[kind] = {"mql": float(chance[-45]), "sales_ready": float(chance[-10])}
    return found


@pytest.fixture
def many(model: LeadModel, kind: str, lines: Any) -> LeadModel:
    return over(model, lines[kind])


@pytest.fixture
def linear(folder_of: Any, lines: Any) -> LeadModel:
    return over(load(folder_of["logistic"]), lines["logistic"])


@pytest.fixture(scope="module")
def free(folder_of: Any, lines: Any, frames: Any, as_of: int) -> Queue:
    """The queue of the linear model without anything that was before."""
    return queue(over(load(folder_of["logistic"]), lines["logistic"]), *frames, as_of)


def over(model: LeadModel, lines: dict[str, float], **more: Any) -> LeadModel:
    rules = {"suppress": model.policy.suppress, "fast_track": model.policy.fast_track}
    return replace(model, policy=Policy(**(lines | rules | more)))


def fast(model: LeadModel, frames: Any, as_of: int) -> set[str]:
    rows = model.rows(*frames, as_of, None)[0]
    held = np.any([rule.holds(*model.ruled(rows)) for rule in model.policy.fast_track], axis=0)
    return set(rows.lead_id[held])


def suppressed(model: LeadModel, frames: Any, as_of: int) -> set[str]:
    rows = model.rows(*frames, as_of, None)[0]
    held = np.any([rule.holds(*model.ruled(rows)) for rule in model.policy.suppress], axis=0)
    return set(rows.lead_id[held])


# ---------------------------------------------------------------------------------------- who, in which order
def test_leads_are_ranked_by_chance_value_and_urgency(
    many: LeadModel, kind: str, frames: Any, as_of: int
) -> None:
    found = queue(many, *frames, as_of, value="company_size")
    scores = many.score(*frames, as_of, also=["urgency"] if kind == "hazard" else [])
    size = frames[0].set_index("lead_id")["company_size"].astype("float64").reindex(scores["lead_id"])
    worth = size.fillna(size.median()).to_numpy()
    urgency = scores["urgency"] if kind == "hazard" else 1.0
    scores = scores.assign(
        worth=worth, urgency=urgency, value=scores["probability"] * worth * urgency,
        late=~scores["lead_id"].isin(fast(many, frames, as_of) - suppressed(many, frames, as_of)),
    )  # fmt: skip
    best = scores[scores["stage"].isin(FOR_SALES)].sort_values(
        ["late", "value", "probability", "lead_id"], ascending=[True, False, False, True]
    )
    assert len(best) > 30
    assert not best["late"].all()
    assert found.frame["lead_id"].tolist() == best["lead_id"].tolist()
    assert found.frame["rank"].tolist() == list(range(1, len(best) + 1))
    for mine, theirs in (
        ("probability", "probability"), ("score", "score"), ("stage", "stage"), ("value", "worth"),
        ("urgency", "urgency"), ("rank_value", "value"),
    ):  # fmt: skip
        assert found.frame[mine].tolist() == best[theirs].tolist(), mine
    assert (found.frame["fast_track"] != "").tolist() == (~best["late"]).tolist()
    assert not set(found.frame["lead_id"]) & suppressed(many, frames, as_of)
    assert found.left_out[SUPPRESSED] == len(suppressed(many, frames, as_of))
    assert found.left_out[SUPPRESSED] + found.left_out[BELOW] + len(found.frame) == found.leads == len(scores)


def test_chance_times_urgency_is_the_chance_in_the_next_week(
    folder_of: Any, lines: Any, frames: Any, as_of: int
) -> None:
    model = over(load(folder_of["hazard"]), lines["hazard"])
    raw = replace(model.bundle, calibration=replace(model.bundle.calibration, slope=1.0, intercept=0.0))
    model = replace(model, bundle=raw)
    found = queue(model, *frames, as_of).frame.set_index("lead_id")
    rows = model.rows(*frames, as_of, None)[0]
    week = pd.Series(raw.scorer.within(model.matrix(rows), 7.0), rows.lead_id)  # type: ignore[attr-defined]
    np.testing.assert_allclose(found["rank_value"], week[found.index], rtol=1e-9)


def test_the_order_of_the_rows_is_no_matter_and_ties_are_broken(folder_of: Any, as_of: int) -> None:
    model = over(load(folder_of["points"]), {"mql": 1e-6, "sales_ready": 0.9}, fast_track=())
    moment = "2025-05-01T00:00:00Z"
    leads = pd.DataFrame({"lead_id": [f"T{i:02d}" for i in range(40)], "created_at": moment})
    for name in model.bundle.contract.kinds:
        leads[name] = None
    events = [{"lead_id": "T07", "occurred_at": "2025-06-01T00:00:00Z", "event_type": "demo_request"}]
    found = queue(model, leads, events, as_of, capacity=9)
    assert len(found.frame) == 9
    assert found.left_out == {BEYOND: 31}
    assert found.frame["lead_id"].tolist()[1:] == [f"T{i:02d}" for i in range(9) if i != 7][:8]
    for seed in range(2):
        again = queue(model, leads.sample(frac=1, random_state=seed), events, as_of, capacity=9)
        pd.testing.assert_frame_equal(again.frame, found.frame)


@pytest.mark.parametrize("capacity", [1, 7, 1_000])
def test_a_capacity_is_never_exceeded_and_cuts_the_end(
    linear: LeadModel, free: Queue, frames: Any, as_of: int, capacity: int
) -> None:
    some = queue(linear, *frames, as_of, capacity=capacity)
    assert len(some.frame) == min(capacity, len(free.frame))
    pd.testing.assert_frame_equal(some.frame, free.frame.head(capacity))
    assert some.left_out.get(BEYOND, 0) == len(free.frame) - len(some.frame)


def test_fast_tracked_leads_beyond_the_capacity_are_told(linear: LeadModel, frames: Any, as_of: int) -> None:
    rule = Rule("came in", (Condition("lead_age", "at_least", 0),))
    busy = replace(linear, policy=replace(linear.policy, fast_track=(rule,)))
    found = queue(busy, *frames, as_of, capacity=2)
    assert any(
        one.startswith(f"fast-tracked and left out all the same, {BEYOND}: ") for one in found.findings
    )


# ---------------------------------------------------------------------------------------------- what it says
def test_it_says_what_the_cards_say(many: LeadModel, frames: Any, as_of: int) -> None:
    found = queue(many, *frames, as_of, capacity=4, fields=["email", "phone"])
    source = frames[0].set_index("lead_id")
    for row in found.frame.to_dict("records"):
        card = cards.card(many, *frames, as_of, lead_id=row["lead_id"])
        reasons = [up.text for up in card.explanation.up]
        assert [row[f"reason_{i + 1}"] for i in range(3)] == (reasons + [""] * 3)[:3]
        if card.trigger is not None:
            assert row["trigger"] == card.trigger[0][:200]
            assert card.timeline is not None
            ends = {trigger.step.end for trigger in card.timeline.triggers if trigger.held}
            assert row["triggered_at"].to_pydatetime() in ends
        else:
            assert row["trigger"] == "Over the line since it came in"
        for name in ("email", "phone"):
            told = source.loc[row["lead_id"], name]
            assert row[name] == told or (pd.isna(row[name]) and pd.isna(told))
        assert row["handed_over_at"] == pd.Timestamp(as_of, unit="us", tz="UTC")


def test_a_chance_that_did_not_hold_ranks_and_is_withheld(
    linear: LeadModel, free: Queue, frames: Any, as_of: int
) -> None:
    held = replace(linear, bundle=replace(linear.bundle, calibrated=False))
    one, other = free.frame.head(5), queue(held, *frames, as_of, capacity=5).frame
    assert one["lead_id"].tolist() == other["lead_id"].tolist()
    assert other["probability"].isna().all()
    assert other["rank_value"].isna().all()
    assert one["rank_value"].notna().all()
    assert one["score"].tolist() == other["score"].tolist()


# ------------------------------------------------------------------------------- who is not handed over again
def test_what_sales_has_is_not_handed_over(
    linear: LeadModel, free: Queue, frames: Any, outcomes: pd.DataFrame, as_of: int
) -> None:
    before = outcomes[outcomes["at"] < pd.Timestamp(as_of, unit="us", tz="UTC")]
    last = before.sort_values("at").groupby("lead_id")["stage"].last()
    closed = set(last.index[last.isin(["Closed Won", "Closed Lost", "Disqualified"])])
    found = queue(linear, *frames, as_of, outcomes=outcomes[["lead_id", "stage", "at"]])
    assert found.frame["lead_id"].tolist() == [
        lead for lead in free.frame["lead_id"] if lead not in set(last.index)
    ]
    held = suppressed(linear, frames, as_of)
    scored = set(linear.score(*frames, as_of)["lead_id"])
    assert found.left_out[CLOSED] == len((closed - held) & scored)
    assert found.left_out[HANDED_OVER] == len((set(last.index) - closed - held) & scored)
    assert sum(found.left_out.values()) + len(found.frame) == found.leads
    pd.testing.assert_frame_equal(queue(linear, *frames, as_of, outcomes=before).frame, found.frame)


def test_a_queue_is_the_next_ones_previous(
    linear: LeadModel, frames: Any, as_of: int, tmp_path: Path
) -> None:
    first = queue(linear, *frames, as_of - DAY, capacity=10)
    path = write_table(first.frame, tmp_path / "first.csv")
    second = queue(linear, *frames, as_of, capacity=10, previous=path)
    assert second.left_out[HANDED_OVER] == 10
    third = queue(linear, *frames, as_of + DAY, capacity=10, previous=[path, second.frame])
    handed = [*first.frame["lead_id"], *second.frame["lead_id"], *third.frame["lead_id"]]
    assert len(set(handed)) == 30
    # What is handed over at the moment itself, or later, is not known yet: the same queue again is the same.
    again = queue(linear, *frames, as_of - DAY, capacity=10, previous=path)
    assert again.frame["lead_id"].tolist() == first.frame["lead_id"].tolist()


def returned(model: LeadModel, frames: Any, as_of: int, back: Mapping[str, int]) -> Queue:
    earlier = pd.DataFrame(
        {
            "lead_id": list(back),
            "stage": "nurture",
            "recycled_at": pd.to_datetime(list(back.values()), unit="us", utc=True),
        }
    )
    return queue(model, *frames, as_of, previous=earlier)


def test_a_lead_that_was_given_back_waits_for_what_brings_it_back(
    linear: LeadModel, free: Queue, frames: Any, as_of: int
) -> None:
    fast_track = free.frame["fast_track"] != ""
    slow, rushed = (free.frame.loc[which, "lead_id"].tolist() for which in (~fast_track, fast_track))
    now, events = pd.Timestamp(as_of, unit="us", tz="UTC"), frames[1]
    lately = events["recorded_at"].between(now - pd.Timedelta(days=1), now)
    still = sorted(set(slow) - set(events.loc[lately, "lead_id"]))
    assert len(still) > 3
    assert len(rushed) > 1
    found = returned(linear, frames, as_of, dict.fromkeys(slow, as_of - DAY))
    assert found.left_out[WAITING] >= len(still)
    assert not set(still) & set(found.frame["lead_id"])
    long_ago = returned(linear, frames, as_of, dict.fromkeys(slow, as_of - 100 * DAY))
    assert len(long_ago.frame) > len(found.frame) + 5
    cool = replace(linear, policy=replace(linear.policy, cool_down=2.0))
    cooling = returned(cool, frames, as_of, dict.fromkeys([*slow, *rushed], as_of - DAY))
    assert cooling.left_out[COOLING] == len(slow)
    assert set(cooling.frame["lead_id"]) == set(rushed)


def test_a_person_is_handed_over_once(linear: LeadModel, free: Queue, frames: Any, as_of: int) -> None:
    model, best, leads = linear, free.frame["lead_id"][5], frames[0]
    twin = leads[leads["lead_id"] == best].assign(lead_id="TWIN")
    both = pd.concat([leads, twin], ignore_index=True)
    if both.loc[both["lead_id"] == best, "email"].isna().any():
        both.loc[both["lead_id"].isin([best, "TWIN"]), "email"] = "same@example.com"
    contract = replace(model.bundle.contract, identity=Identity(email=("email",)))
    one = replace(model, bundle=replace(model.bundle, contract=contract))
    found = queue(one, both, frames[1], as_of, capacity=20)
    assert found.left_out[SAME] >= 1
    assert len({best, "TWIN"} & set(found.frame["lead_id"])) == 1
    handed = [{"lead_id": "TWIN", "stage": "Handed Over", "at": "2025-06-01T00:00:00Z"}]
    assert not {best, "TWIN"} & set(
        queue(one, both, frames[1], as_of, outcomes=handed, capacity=20).frame["lead_id"]
    )
    spotted = [{"lead_id": "TWIN", "stage": "Disqualified", "at": "2025-06-01T00:00:00Z"}]
    left = queue(one, both, frames[1], as_of, outcomes=spotted, capacity=20).frame
    assert {best, "TWIN"} & set(left["lead_id"]) == {best}


# ------------------------------------------------------------------------------------------------- hostile
HOSTILE = ["=cmd()", "\x1b[31mred", "\u202eevil", '"quoted"', "a\nb", "<script>", "+49 555", "007", "é\ud800"]


def test_hostile_fields_reach_files_and_nothing_runs(
    linear: LeadModel, frames: Any, as_of: int, tmp_path: Path
) -> None:
    model = linear
    leads = frames[0].copy()
    texts = [HOSTILE[i % len(HOSTILE)] for i in range(len(leads))]
    leads["note"] = [text.encode("utf-8", "replace").decode() for text in texts]
    found = queue(model, leads, frames[1], as_of, fields=["note"])
    csv = pd.read_csv(write_table(found.frame, tmp_path / "q.csv"), dtype=str, keep_default_na=False)
    assert not csv["note"].str.contains("^[=+@-]").any()
    assert {"007", "'+49 555", "'=cmd()", "[31mred", "evil", "ab"} <= set(csv["note"])
    raw = write_table(found.frame, tmp_path / "q.jsonl").read_bytes()
    lines = [json.loads(line) for line in raw.decode("ascii").splitlines()]
    assert [line["lead_id"] for line in lines] == found.frame["lead_id"].tolist()
    assert [line["note"] for line in lines] == found.frame["note"].tolist()
    parquet = pd.read_parquet(write_table(found.frame, tmp_path / "q.parquet"))
    assert parquet["note"].tolist() == found.frame["note"].tolist()


# ------------------------------------------------------------------------------------------------ bad input
def test_values_that_are_missing_or_negative_are_counted(linear: LeadModel, frames: Any, as_of: int) -> None:
    model = linear
    leads = frames[0].assign(deal=[[-5.0, None, 10.0, 30.0][i % 4] for i in range(len(frames[0]))])
    found = queue(model, leads, frames[1], as_of, value="deal", capacity=25)
    deal = leads.set_index("lead_id")["deal"].reindex(model.score(*frames, as_of)["lead_id"])
    missing, below, middle = deal.isna().sum(), (deal < 0).sum(), deal[deal >= 0].median()
    assert (
        f"leads: 'deal' is missing in {missing:,} rows and below 0 in {below:,}: "
        f"the middle value, {middle:g}, stands in"
    ) in found.findings
    own = deal.reindex(found.frame["lead_id"])
    assert found.frame["value"].tolist() == own.where(own >= 0, middle).tolist()
    with pytest.raises(DataError, match="expected values from 0 up in column 'deal'"):
        queue(model, leads.assign(deal=-1.0), frames[1], as_of, value="deal")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"capacity": 0}, "expected a capacity of at least one lead; found 0"),
        ({"capacity": True}, "a capacity of at least one lead"),
        ({"value": "company_sise"}, "did you mean 'company_size'"),
        ({"value": "country"}, "country"),
        ({"fields": ["emial"]}, "did you mean 'email'"),
        ({"fields": ["email", "email"]}, "fields that the queue does not have already; found email"),
        ({"fields": ["stage"]}, "fields that the queue does not have already; found stage"),
        ({"fields": ["company_size"], "value": "company_size"}, "does not have already; found company_size"),
        ({"previous": [{"id": 1}]}, "a column 'lead_id' in the previous table"),
        ({"outcomes": [{"lead_id": "L000001", "stage": "Gone", "at": "2025-01-01T00:00:00Z"}]}, "stages"),
    ],
)
def test_bad_input_is_one_line(folder_of: Any, frames: Any, as_of: int, more: Any, says: str) -> None:
    with pytest.raises(LeadScoreError) as error:
        queue(load(folder_of["points"]), *frames, as_of, **more)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_nobody(folder_of: Any, as_of: int) -> None:
    found = queue(load(folder_of["points"]), [], [], as_of, fields=["email"])
    assert (len(found.frame), found.left_out, found.leads) == (0, {}, 0)
    assert found.frame.columns[-2:].tolist() == ["email", "handed_over_at"]


def test_without_a_clock(wide_folder: Path, wide_frame: pd.DataFrame) -> None:
    model = load(wide_folder)
    found = queue(model, wide_frame, capacity=20, value="Hours", fields=["Verdict"])
    assert len(found.frame) == 20
    assert (found.frame["trigger"] == "").all()
    assert found.frame["handed_over_at"].isna().all()
    assert set(found.frame["Verdict"]) <= {"hot", "warm", "cold"}
    moment = "2026-01-01T00:00:00Z"
    first = queue(model, wide_frame, as_of=moment, capacity=20)
    second = queue(model, wide_frame, as_of="2026-01-02T00:00:00Z", capacity=20, previous=first.frame)
    assert not set(first.frame["lead_id"]) & set(second.frame["lead_id"])
    with pytest.raises(UsageError, match="no outcomes table, as the config describes none"):
        queue(model, wide_frame, outcomes=[])
