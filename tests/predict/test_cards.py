"""The complete card against the scores it is made of, and the ranked list against the frame of scores."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from leadscore import cards
from leadscore.bundle import Bundle
from leadscore.data.contract import Contract, EventColumns
from leadscore.data.tables import Identity
from leadscore.errors import DataError, LeadScoreError, UsageError
from leadscore.explain.card import WITHHELD, GradeCuts
from leadscore.explain.full import Card
from leadscore.features.declare import AttributeFeature, EventFeature
from leadscore.models.calibration import Scale, Sigmoid
from leadscore.models.linear import LinearTable, NumberTerm
from leadscore.models.matrix import Column
from leadscore.policy.policy import Policy
from leadscore.predict import LeadModel, load
from leadscore.simulate import World

DAY = 86_400_000_000
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "card.schema.json").read_text())
TYPES = {
    "object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "null": type(None),
    "number": (int, float),
}  # fmt: skip


def fits(schema: Mapping[str, Any], value: Any, where: str = "card") -> None:
    """Hold a value against the parts of JSON Schema that the card's schema uses."""
    if "$ref" in schema:
        return fits(SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")], value, where)
    if "anyOf" in schema:
        some, none = schema["anyOf"]
        return fits(none if value is None else some, value, where)
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    assert not kinds or any(isinstance(value, TYPES[kind]) for kind in kinds), where
    assert isinstance(value, bool) == ("boolean" in kinds), where
    assert value in schema.get("enum", [value]), where
    if isinstance(value, str):
        assert re.search(schema.get("pattern", ""), value), where
    elif isinstance(value, dict):
        known, more = schema.get("properties", {}), schema.get("additionalProperties", True)
        assert set(schema.get("required", [])) <= set(value), where
        assert more is not False or set(value) <= set(known), (where, set(value) - set(known))
        for name, part in value.items():
            fits(known.get(name, more if isinstance(more, dict) else {}), part, f"{where}.{name}")
    elif isinstance(value, list):
        assert len(value) <= schema.get("maxItems", len(value)), where
        for part in value:
            fits(schema.get("items", {}), part, f"{where}[]")
    elif value is not None and not isinstance(value, bool):
        assert schema.get("minimum", value) <= value <= schema.get("maximum", value), where
    return None


@pytest.fixture(scope="session")
def frames(world: World) -> tuple[pd.DataFrame, pd.DataFrame]:
    return world.leads.to_pandas(), world.events.to_pandas()


@pytest.fixture(scope="session")
def some_ids(world: World, as_of: int) -> list[str]:
    frame = world.leads.to_pandas()
    there = frame[frame["created_at"] < pd.Timestamp(as_of, unit="us", tz="UTC")]
    return [str(lead) for lead in there["lead_id"].iloc[::150]]


def test_a_card_says_what_the_model_scores(
    model: LeadModel, kind: str, frames: Any, as_of: int, some_ids: list[str]
) -> None:
    also = ["interval", *(["urgency", "expected_days"] if kind == "hazard" else [])]
    now = model.score(*frames, as_of, also=also).set_index("lead_id")
    then = model.score(*frames, as_of - 7 * DAY).set_index("lead_id")
    for lead in some_ids:
        card = cards.card(model, *frames, as_of, lead_id=lead, digest="ab" * 32)
        assert card.explanation == model.explain(*frames, as_of, lead_id=lead)[0]
        if model.bundle.calibrated:
            assert card.interval is not None
            assert card.interval[1:] == (now.loc[lead, "low"], now.loc[lead, "high"])
        assert card.timeline is not None
        assert card.timeline.score[-1] == now.loc[lead, "score"]
        assert card.before is not None
        if lead in then.index:
            assert card.before == (7.0, pytest.approx(then.loc[lead, "score"], abs=1e-9))
        else:
            assert card.before[0] < 7
        if kind == "hazard":
            assert card.urgency == now.loc[lead, "urgency"]
            assert card.expected_days == now.loc[lead, "expected_days"]
            assert "Urgency" in card.text()
        else:
            assert card.urgency is card.expected_days is None
        assert all(change.score_before == card.explanation.score for change in card.changes)
        assert "Scored as of" in card.text()
        assert "(abababababab)" in card.text()
        fits(SCHEMA, json.loads(json.dumps(card.to_dict(), allow_nan=False)))


def test_changes_and_questions_are_those_of_the_lead(frames: Any, folder_of: Any, as_of: int) -> None:
    model, (leads, events) = load(folder_of["logistic"]), frames
    seen = {"changes": 0, "questions": 0}
    for lead in leads["lead_id"].iloc[::100]:
        try:
            card = cards.card(model, leads, events, as_of, lead_id=lead)
        except DataError:
            continue
        seen["changes"] += bool(card.changes)
        seen["questions"] += bool(card.questions)
        assert len(card.changes) <= 3
        assert len(card.questions) <= 2
        assert all(change.text in unwrapped(card.text()) for change in card.changes)
    assert min(seen.values()) > 0


def unwrapped(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_paths_and_frames_give_the_same_card(
    folder_of: Any, frames: Any, files: Path, tmp_path: Path, as_of: int, some_ids: list[str]
) -> None:
    model, (leads, events) = load(folder_of["boosted"]), frames
    leads.to_csv(tmp_path / "leads.csv", index=False)
    events.to_csv(tmp_path / "events.csv", index=False)
    for lead in some_ids[:2]:
        expected = cards.card(model, leads, events, as_of, lead_id=lead).text()
        for tables in (
            (files / "leads.parquet", files / "events.parquet"),
            (tmp_path / "leads.csv", tmp_path / "events.csv"),
        ):
            assert cards.card(model, *tables, as_of, lead_id=lead).text() == expected


def test_what_is_shown_adds_up_with_every_reason_listed(
    model: LeadModel, frames: Any, as_of: int, some_ids: list[str]
) -> None:
    for lead in some_ids[:3]:
        card = cards.card(model, *frames, as_of, lead_id=lead)
        for text in (card.text(), card.text(all_reasons=True)):
            above = text.partition("   ---\n")[0]
            numbers = [int(row) for row in re.findall(r"^ {1,5}([+-]?\d+)  ", above, flags=re.M)]
            assert sum(numbers) == card.explanation.shown_score
        assert max(map(len, card.text().splitlines())) <= 80


def test_a_chance_that_did_not_hold_is_withheld(
    bundle_of: dict[str, Bundle], frames: Any, as_of: int
) -> None:
    for kind in ("logistic", "hazard"):
        bundle = replace(bundle_of[kind], calibrated=False)
        model = LeadModel(bundle, bundle.policy)
        lead = str(frames[0]["lead_id"].iloc[0])
        card = cards.card(model, *frames, as_of, lead_id=lead)
        told = json.loads(json.dumps(card.to_dict()))
        assert (told["probability"], told["typical_probability"], told["interval"]) == (None, None, None)
        assert told["timeline"]["probability"] is None
        assert all(change["probability_after"] is None for change in told["changes"])
        fits(SCHEMA, told)
        assert card.chance == WITHHELD
        said = unwrapped(card.text().partition("What happened")[0])
        assert "in 100" not in said
        assert " %" not in said.replace("filled in", "")
        assert f"score {card.explanation.shown_score} of 100" in said
        assert re.search(r"the score of [\d.]+ is (below|at or above) the|by the rule", said)
        assert "ls-dots" not in re.sub(r"<style>.*?</style>", "", card.html(), flags=re.S)


# ------------------------------------------------------------------------------------------ bad input
EMPTY = {"lead_id": "L1", "created_at": "2025-06-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("lead", "events"),
    [
        (EMPTY, []),
        (EMPTY | {"industry": "alchemy", "country": "Atlantis", "source": "?", "job_title": "☃"}, []),
        (EMPTY, [{"lead_id": "L1", "occurred_at": "2025-06-02T00:00:00Z", "event_type": "page_view"}]),
        (EMPTY, [{"lead_id": "L1", "occurred_at": "2025-06-02T00:00:00Z", "event_type": "levitation"}]),
    ],
    ids=["nothing", "unseen", "one event", "unseen event"],
)
def test_a_sparse_lead_has_a_card(model: LeadModel, lead: Any, events: Any) -> None:
    card = cards.card(model, [lead], events, "2025-07-01T00:00:00Z")
    assert card.missing
    assert "Not known: " in card.text()
    assert bool(events) != ("Nothing that the lead did is known." in card.text())
    assert card.explanation.lead_id == "L1"
    fits(SCHEMA, json.loads(json.dumps(card.to_dict(), allow_nan=False)))
    assert card.html() == cards.card(model, [lead], events, "2025-07-01T00:00:00Z").html()


def test_a_long_history_has_a_card(folder_of: Any) -> None:
    model = load(folder_of["logistic"])
    at = pd.date_range("2025-06-01", "2025-06-30", periods=20_000, tz="UTC", inclusive="neither")
    one = {"lead_id": "L1", "event_type": "page_view", "content": "/x"}
    events = [{**one, "occurred_at": moment} for moment in at.to_pydatetime()]
    card = cards.card(model, [EMPTY], events, "2025-07-01T00:00:00Z")
    assert "19,998 events: up to" in card.text().replace("\n", " ")
    assert len(card.html()) < 200_000


def test_what_has_no_card(model: LeadModel, frames: Any, as_of: int) -> None:
    with pytest.raises(DataError, match="found none among 0 leads"):
        cards.card(model, [EMPTY], [], "2025-05-01T00:00:00Z", lead_id="L1")
    with pytest.raises(UsageError, match="one lead, or the id of one; found"):
        cards.card(model, *frames, as_of)
    with pytest.raises(DataError, match="a lead 'nobody'"):
        cards.card(model, *frames, as_of, lead_id="nobody")
    for given in ((frames[0], None, as_of), (*frames, None)):
        with pytest.raises(LeadScoreError):
            cards.card(model, *given, lead_id="L000001")


def test_without_a_clock_there_is_no_timeline(wide_folder: Path, wide_frame: pd.DataFrame) -> None:
    model = load(wide_folder)
    card = cards.card(model, wide_frame, lead_id=5003)
    assert (card.timeline, card.before, card.triggers, card.trigger) == (None, None, (), None)
    assert "There is no timeline: the model does not read time." in card.text()
    assert "ls-strip" not in card.html().partition("</style>")[2]
    fits(SCHEMA, json.loads(json.dumps(card.to_dict(), allow_nan=False)))


# ------------------------------------------------------------------------------------------ the list
def handed(model: LeadModel, frames: Any, as_of: int, folder: Path, **more: Any) -> cards.HandOver:
    return cards.hand_over(model, *frames, as_of, folder=folder, **more)


def test_the_list_is_ranked_as_the_scores_are(
    folder_of: Any, frames: Any, as_of: int, tmp_path: Path
) -> None:
    model = load(folder_of["logistic"])
    told: list[str] = []
    found = handed(model, frames, as_of, tmp_path / "out", top=15, progress=told.append)
    scores = model.score(*frames, as_of)
    rows = model.rows(*frames, as_of, None)[0]
    held = np.zeros(len(rows), bool)
    for rule in model.policy.suppress:
        held |= rule.holds(rows.matrix, model.bundle.columns)
    assert held.any()
    assert (found.suppressed, found.leads) == (held.sum(), (~held).sum())
    order = pd.Categorical(scores["stage"], ["unqualified", "nurture", "mql", "sales_ready"]).codes
    best = scores.assign(order=order)[~held].sort_values(
        ["order", "probability"], ascending=False, kind="stable"
    )
    assert found.frame["lead_id"].tolist() == best["lead_id"].tolist()[:15]
    assert found.frame["score"].tolist() == best["score"].tolist()[:15]
    assert told[0] == "Scoring the leads"
    assert "Writing the cards: 11 of 15" in told
    csv, parquet = (
        pd.read_csv(found.folder / "handover.csv"),
        pd.read_parquet(found.folder / "handover.parquet"),
    )
    assert csv["card"].tolist() == parquet["card"].tolist() == found.frame["card"].tolist()
    index = (found.folder / "index.html").read_text()
    for lead, name in zip(found.frame["lead_id"], found.frame["card"], strict=True):
        card = cards.card(model, *frames, as_of, lead_id=lead)
        assert (found.folder / name).read_text() == card.html()
        assert f'<a href="{name}">{lead}</a>' in index
        trigger, moment = card.trigger or ("", "")
        row = found.frame.set_index("lead_id").loc[lead]
        assert (row["trigger"][:150], row["triggered_at"]) == (trigger[:150], moment)
        assert row["reason_1"] == card.explanation.up[0].text


def test_a_list_of_before_is_replaced_and_nothing_else(
    folder_of: Any, frames: Any, as_of: int, tmp_path: Path
) -> None:
    model, folder = load(folder_of["logistic"]), tmp_path / "out"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    assert len(handed(model, frames, as_of, folder, top=3).frame) == 3
    names = {path.name for path in folder.glob("0*.html")}
    assert len(handed(model, frames, as_of, folder, top=1).frame) == 1
    assert (
        len({path.name for path in folder.glob("0*.html")} & names) == len(list(folder.glob("0*.html"))) == 1
    )
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["index.html", "handover.csv", "0001-0123456789ab.html"])
def test_files_of_others_stay(folder_of: Any, frames: Any, as_of: int, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match=f"found {name} of something else; choose another folder"):
        handed(load(folder_of["logistic"]), frames, as_of, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_list_of_nobody(folder_of: Any, tmp_path: Path) -> None:
    model = load(folder_of["logistic"])
    found = cards.hand_over(model, [EMPTY], [], "2025-05-01T00:00:00Z", folder=tmp_path / "out")
    assert (len(found.frame), found.leads, found.suppressed) == (0, 0, 0)
    assert "The first 0 of 0" in (tmp_path / "out" / "index.html").read_text()


def test_a_card_in_a_notebook_is_an_article(
    folder_of: Any, frames: Any, as_of: int, some_ids: list[str]
) -> None:
    card: Card = cards.card(load(folder_of["logistic"]), *frames, as_of, lead_id=some_ids[0])
    fragment = card._repr_html_()
    assert fragment.count("<article") == 1
    assert "<html" not in fragment
    headings = re.findall(r"<h(\d)", card.html())
    assert headings[0] == "1"
    assert set(headings[1:]) == {"2"}
    assert all('role="img"' in svg or "aria-hidden" in svg for svg in re.findall(r"<svg[^>]*>", card.html()))


# ----------------------------------------------------------------------- what would change it, on cards
def test_a_person_with_several_leads_is_told_what_would_change_it(
    bundle_of: dict[str, Bundle], frames: Any, as_of: int
) -> None:
    born, (leads, events) = bundle_of["logistic"], frames
    contract = replace(
        born.contract,
        identity=Identity(email=("email",)),
        kinds={**born.contract.kinds, "email": "text"},
    )
    model = LeadModel(replace(born, contract=contract), born.policy)
    now = pd.Timestamp(as_of, unit="us", tz="UTC")
    there = leads[leads["created_at"] < now - pd.Timedelta("40D")]
    events = events[(events["occurred_at"] < now) & ~(events["recorded_at"] > now)]
    claims = 0
    for place in range(0, 160, 8):
        two = there.iloc[place : place + 2].assign(email="one@company.example")
        mine = events[events["lead_id"].isin(two["lead_id"])]
        card = cards.card(model, two, mine, as_of, lead_id=two["lead_id"].iloc[1])
        assert "one person with another lead" in unwrapped(card.text())
        for change in card.changes:
            if change.kind not in ("events", "time"):
                continue
            more = pd.DataFrame(change.detail["events"]).assign(lead_id=two["lead_id"].iloc[1])
            more["occurred_at"] = pd.to_datetime(more["occurred_at"]) if len(more) else None
            later = pd.concat([mine, more]) if len(more) else mine
            after = model.score(two, later, change.detail["as_of"])
            assert after["score"].tolist() == [change.score_after] * 2
            assert after["stage"].tolist() == [change.stage_after] * 2
            assert change.stage_after != card.explanation.stage
            claims += 1
    assert claims > 10


def test_a_lead_of_an_event_log_is_told_what_would_change_it() -> None:
    features = (EventFeature("count", "call", window=30), AttributeFeature("lead_age"))
    columns = tuple(Column(feature.name) for feature in features)
    terms = (
        NumberTerm(False, 0.0, 9.0, 0.0, 1.0, 0.8, missing=0.0, mean=0.5),
        NumberTerm(False, 0.0, 99.0, 0.0, 1.0, -0.05, missing=0.0, mean=-1.0),
    )
    contract = Contract(
        lead_id="case",
        created_at="opened",
        events=EventColumns(occurred_at="at", event_type="what"),
        event_log=True,
        event_types=("call", "letter"),
        outcome_events={"SIGNED": "won"},
    )
    bundle = Bundle(
        name="log",
        contract=contract,
        features=features,
        scorer=LinearTable(columns, terms, intercept=-2.0),
        calibration=Sigmoid(1.0, 0.0),
        scale=Scale(),
        policy=Policy(mql=0.3, sales_ready=0.8),
        cuts=GradeCuts((), (-4.0, 0.0, 4.0)),
        typical={},
        horizon=30.0,
        backtest=None,
        calibrated=True,
        interval=None,
        familiar=None,
        facts={},
    )
    model = LeadModel(bundle, bundle.policy)
    log = [
        {"case": case, "opened": "2025-03-01T00:00:00Z", "at": f"2025-03-0{day}T00:00:00Z", "what": "call"}
        for case, day in (("a", 2), ("b", 2), ("b", 3))
    ]
    card = cards.card(model, log, None, "2025-03-10T00:00:00Z", lead_id="a")
    (change,) = card.changes
    assert change.text.startswith("2 more calls within a day would make it an MQL")
    more = [{**event, "opened": "2025-03-01T00:00:00Z"} for event in change.detail["events"]]
    after = model.score([*log, *more], None, change.detail["as_of"]).set_index("lead_id").loc["a"]
    assert (after["stage"], after["score"]) == ("mql", change.score_after)


def test_a_card_tells_changes_of_different_sorts_and_none_that_leads_do_for_the_worse(
    model: LeadModel, frames: Any, as_of: int, some_ids: list[str]
) -> None:
    rank = {"unqualified": 0, "nurture": 1, "mql": 2, "sales_ready": 3}
    names = [rule.name for rule in model.policy.fast_track]
    seen = 0
    for lead in some_ids:
        found = [one for one in cards.card(model, *frames, as_of, lead_id=lead).changes if one.kind != "rule"]
        up = [one for one in found if rank[one.stage_after] > rank[one.stage_before]]
        down = [one for one in found if one not in up]
        assert found == [*up, *down]
        assert all(not one.detail["events"] for one in down)
        sorts = [
            (*sorted({e["event_type"] for e in one.detail["events"]}), *one.detail["fields"]) for one in up
        ]
        assert len(set(sorts)) == len(sorts)
        ruled = [any(name in one.text for name in names) for one in up]
        assert ruled == sorted(ruled)  # what holds for every lead comes last
        seen += len(up)
    assert seen
