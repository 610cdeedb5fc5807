"""What would change a lead's stage, and what to ask: scored again by the one path, and by brute force."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from leadscore.bundle import Bundle
from leadscore.data.tables import HistoryColumns
from leadscore.errors import UsageError
from leadscore.explain.changes import Change
from leadscore.explain.moves import Happening, fields_to_ask, kinds_of_events
from leadscore.policy.policy import STAGES, Policy
from leadscore.predict import LeadModel, LeadScore, load
from leadscore.simulate import World
from leadscore.what_if import changes, questions

HOUR, DAY = 3_600_000_000, 86_400_000_000
Row = dict[str, Any]
Lead = tuple[Row, list[Row], list[Row]]


@pytest.fixture(scope="session")
def some(world: World, as_of: int) -> list[Lead]:
    """Leads that are there at the moment, each with all its events, and with those that are known by then."""
    events: dict[Any, list[dict[str, Any]]] = {}
    for event in world.events.to_pylist():
        events.setdefault(event["lead_id"], []).append(event)
    leads = [lead for lead in world.leads.to_pylist() if micro(lead["created_at"]) < as_of]
    chosen = [(lead, events.get(lead["lead_id"], [])) for lead in leads[::40]]
    return [(lead, own, known(own, as_of)) for lead, own in chosen]


def micro(moment: Any) -> int:
    return int(pd.Timestamp(moment).tz_convert("UTC").as_unit("us").asm8.astype(np.int64))


def known(events: list[Row], as_of: int) -> list[Row]:
    return [e for e in events if micro(e["occurred_at"]) < as_of and micro(e["recorded_at"] or 0) <= as_of]


def again(model: LeadModel, lead: Mapping[str, Any], events: list[Any], change: Change) -> LeadScore:
    detail = change.detail
    return model.score_one({**lead, **detail["fields"]}, [*events, *detail["events"]], detail["as_of"])


def ruled(model: LeadModel, **lines: float) -> LeadModel:
    """Give the model under a policy without rules."""
    return replace(model, policy=Policy(nurture=0.0, **lines))


# ------------------------------------------------------------------------------------------------ claims
def test_every_claim_is_true(model: LeadModel, some: list[Lead], as_of: int) -> None:
    claims, kinds = 0, set()
    for lead, events, mine in some:
        before = model.score_one(lead, events, as_of)
        for change in changes(model, lead, events, as_of):
            assert (change.stage_before, change.score_before) == (before.stage, before.score)
            if change.kind == "rule":
                continue
            after = again(model, lead, mine, change)
            assert (after.stage, after.score) == (change.stage_after, change.score_after)
            assert after.probability == change.probability_after
            assert (STAGES.index(before.stage) < 2) <= (STAGES.index(after.stage) >= 2)
            assert before.stage != after.stage
            assert not re.search("convert|because|will", change.text)
            claims, kinds = claims + 1, kinds | {change.kind}
    assert claims > len(some) / 2
    assert "events" in kinds


def test_the_nearest_events_are_found_by_brute_force(
    bundle_of: dict[str, Bundle], some: list[Lead], as_of: int
) -> None:
    bundle, found = bundle_of["logistic"], 0
    kinds = [kind for kind in kinds_of_events(bundle.features, ()) if kind.type in ("page_view", "webinar")]
    leaves = [kind for kind in kinds if not any(kind != other and kind.holds(other) for other in kinds)]
    for lead, _, mine in some[3::9]:
        start = LeadModel(bundle, bundle.policy).score_one(lead, mine, as_of).probability
        model = ruled(LeadModel(bundle, bundle.policy), mql=min(1.4 * start, 0.99), sales_ready=1.0)
        told = [c for c in changes(model, lead, mine, as_of, most=10**6) if c.kind == "events"]
        for kind in leaves:
            enough = next(
                (n for n in range(1, 6) if scored(model, lead, mine, as_of, kind, n).stage == "mql"), 9
            )
            counts = [len(change.detail["events"]) for change in told if made_of(change, kind)]
            wide = [len(c.detail["events"]) for c in told if made_of(c, Happening(kind.type))] or [9]
            assert counts == ([enough] if enough < min(wide) else [])
            found += len(counts)
    assert found


def scored(model: LeadModel, lead: Row, mine: list[Row], as_of: int, kind: Happening, n: int) -> LeadScore:
    row = {"lead_id": lead["lead_id"], "event_type": kind.type, "content": kind.content}
    added = [{**row, "occurred_at": stamp(as_of + hour * HOUR)} for hour in range(n)]
    return model.score_one(lead, [*mine, *added], as_of + n * HOUR)


def made_of(change: Change, kind: Happening) -> bool:
    return all(
        (e["event_type"], e.get("content")) == (kind.type, kind.content) for e in change.detail["events"]
    )


def stamp(moment: int) -> str:
    return pd.Timestamp(moment, unit="us", tz="UTC").isoformat()


def test_what_lies_ahead_does_not_count(model: LeadModel, some: list[Lead], as_of: int) -> None:
    ahead = [each for each in some if len(each[2]) < len(each[1])][:5]
    assert ahead
    for lead, events, mine in ahead:
        assert changes(model, lead, events, as_of) == changes(model, lead, mine, as_of)
        assert questions(model, lead, events, as_of) == questions(model, lead, mine, as_of)


def test_it_can_only_happen_to_what_is_missing_and_what_leads_do(
    model: LeadModel, some: list[Lead], as_of: int
) -> None:
    internal = {
        "email_sent",
        "email_bounce",
        "complaint",
        "unsubscribe",
        "sales_call",
        "sales_reply",
        "handover",
    }
    for lead, events, _ in some[:10]:
        missing = {name for name, value in lead.items() if value in (None, "unknown")}
        for change in changes(model, lead, events, as_of, most=99):
            if change.kind != "rule":
                assert set(change.detail["fields"]) <= missing
                assert not internal & {event["event_type"] for event in change.detail["events"]}
                assert all(micro(event["occurred_at"]) >= as_of for event in change.detail["events"])
                assert micro(change.detail["as_of"]) >= as_of
        assert {question.field for question in questions(model, lead, events, as_of, most=99)} <= missing


def test_no_event_is_said_to_do_what_the_hours_do(
    bundle_of: dict[str, Bundle], some: list[Lead], as_of: int
) -> None:
    model, tried = LeadModel(bundle_of["logistic"], bundle_of["logistic"].policy), 0
    for lead, events, mine in some:
        now, *later = (
            model.score_one(lead, mine, as_of + hour * HOUR).probability
            for hour in (0, 1, 2, 3, 4, 5, 168, 336, 720)
        )
        if max(later[:5]) < now < 0.9:  # the hours alone lower it
            fragile = ruled(model, mql=now, sales_ready=1.0)
            told = changes(fragile, lead, events, as_of, most=99)
            lowering = [c for c in told if c.stage_after != "sales_ready"]
            assert {change.kind for change in lowering} <= {"time", "answer"}
            waits = [as_of + d * DAY for d, p in zip((7, 14, 30), later[5:], strict=True) if p < now]
            assert [c.detail["as_of"] for c in lowering if c.kind == "time"] == list(map(stamp, waits[:1]))
            tried += 1
    assert tried > 5


def test_two_together_where_none_alone_is_enough(model: LeadModel, some: list[Lead], as_of: int) -> None:
    together = 0
    for lead, events, mine in some[:3]:
        low, high = model.score_one(lead, events, as_of).probability, 1.0
        for _ in range(10):  # find the line that nothing reaches alone, but only just
            line = (low + high) / 2
            told = changes(ruled(model, mql=line, sales_ready=1.0), lead, events, as_of)
            alone = [change for change in told if len(parts(change)) == 1]
            low, high = (line, high) if alone else (low, line)
        strict = ruled(model, mql=high, sales_ready=1.0)
        for change in changes(strict, lead, events, as_of):
            assert len(parts(change)) == 2
            assert again(strict, lead, mine, change).stage == "mql"
            for fields, own in parts(change):
                moment = as_of + len(own) * HOUR
                assert strict.score_one({**lead, **fields}, [*mine, *own], moment).stage != "mql"
            together += 1
    assert together


def parts(change: Change) -> list[tuple[Row, list[Row]]]:
    """Give the fields answered, one at a time, and the events of each kind."""
    kinds: dict[tuple[str | None, ...], list[Row]] = {}
    for event in change.detail["events"]:
        kinds.setdefault((event["event_type"], event.get("content"), event.get("channel")), []).append(event)
    answers = [({name: value}, []) for name, value in change.detail["fields"].items()]
    return [*answers, *(({}, own) for own in kinds.values())] or [({}, [])]


def test_a_lead_that_a_rule_suppresses(model: LeadModel, some: list[Lead], as_of: int) -> None:
    lead, events, _ = some[0]
    left = {"lead_id": lead["lead_id"], "event_type": "unsubscribe", "occurred_at": stamp(as_of - DAY)}
    (change,) = changes(model, lead, [*events, left], as_of)
    assert (change.kind, change.stage_before, change.stage_after) == ("rule", "unqualified", "unqualified")
    assert change.text == "No change would move it while the rule “unsubscribed” holds (wants no e-mail)"
    asked = questions(model, lead, [*events, left], as_of, most=99)
    assert all(question.chance_of_change == 0 for question in asked)


@pytest.mark.parametrize("emptied", [True, False])
def test_an_answer_becomes_part_of_the_history(
    bundle_of: dict[str, Bundle], some: list[Lead], as_of: int, emptied: bool
) -> None:
    bundle, tried = bundle_of["points"], 0
    dated = replace(bundle, contract=replace(bundle.contract, history=HistoryColumns()))
    for lead, events, mine in some[:10]:
        change = {"lead_id": lead["lead_id"], "field": "industry", "value": None}
        later = {**change, "value": "Logistics", "changed_at": stamp(as_of + DAY)}
        # a change that lies ahead also says that there was nothing before
        history = [{**change, "changed_at": stamp(as_of - DAY)}, later] if emptied else [later]
        start = LeadModel(dated, bundle.policy).score_one(lead, events, as_of, history=history).probability
        model = ruled(LeadModel(dated, bundle.policy), mql=1.01 * start, sales_ready=1.0)
        for claim in changes(model, lead, events, as_of, history=history, most=99):
            if set(claim.detail["fields"]) == {"industry"}:
                happened, told = [*mine, *claim.detail["events"]], [*history[:-1], *claim.detail["history"]]
                after = model.score_one(lead, happened, claim.detail["as_of"], history=told)
                assert (after.stage, after.score) == (claim.stage_after, claim.score_after)
                tried += 1
    assert tried


# --------------------------------------------------------------------------------------------- questions
def surprise(familiar: Any, values: Mapping[str, Any]) -> float:
    """Give minus the log-probability of a lead, looked up value by value."""
    bins, start = [], 0
    for j, column in enumerate(familiar.columns):
        edges = familiar.edges.reshape(len(familiar.columns), -1)[j]
        value = values[column.name]
        levels = column.levels or ()
        missing = value is None or value != value
        code = len(levels) if missing or not levels else levels.index(value)
        found = int(familiar.bin_of[start + code])
        found = found if found >= 0 else ~found
        bins.append(found if missing or levels else sum(edge < value for edge in edges))
        start += len(levels) + 1
    size = int((familiar.surprise.size / len(bins)) ** 0.5)
    table = familiar.surprise.reshape(len(bins), size, size)
    above = [0 if parent < 0 else bins[parent] for parent in familiar.parent]
    return float(sum(table[j, bins[j], above[j]] for j in range(len(bins))))


def test_what_an_answer_is_worth_by_brute_force(model: LeadModel, some: list[Lead], as_of: int) -> None:
    bundle, familiar = model.bundle, model.bundle.familiar
    assert familiar is not None
    levels = next(f.categories for f in bundle.features if f.name == "industry")
    tried = 0
    for lead, events in [
        (lead, events) for lead, events, mine in some if lead["industry"] in (None, "unknown")
    ][:4]:
        asked = {q.field: q for q in questions(model, lead, events, as_of, most=99)}
        before = model.score_one(lead, events, as_of)
        weights, changed, moved = [], [], []
        for level in levels or ():
            answered = {**lead, "industry": level}
            rows, _ = model.rows([answered], events, as_of, None)
            values = rows.X.iloc[0].to_dict()
            code = familiar.bin_of[
                [c.name for c in familiar.columns].index("industry") :
            ]  # sizes differ below
            assert len(code)
            after = model.score_one(answered, events, as_of)
            weights.append((level, np.exp(-surprise(familiar, values))))
            changed.append(after.stage != before.stage)
            moved.append(abs(after.score - before.score))
        chance = np.array([weight for _, weight in weights]) * seen(familiar, "industry")
        chance /= chance.sum()
        assert asked["industry"].chance_of_change == pytest.approx(chance @ np.array(changed), abs=1e-9)
        assert asked["industry"].expected_move == pytest.approx(chance @ np.array(moved), abs=1e-9)
        tried += 1
    assert tried


def seen(familiar: Any, name: str) -> np.ndarray[Any, Any]:
    """Whether training had each level, over how many share its bin."""
    start = 0
    for column in familiar.columns:
        if column.name == name:
            break
        start += len(column.levels or ()) + 1
    own = familiar.bin_of[start : start + len(column.levels)]
    return np.array([0.0 if b < 0 else 1 / (own == b).sum() for b in own])


def test_questions_come_by_what_they_tell(model: LeadModel, some: list[Lead], as_of: int) -> None:
    for lead, events, _ in some[:10]:
        asked = questions(model, lead, events, as_of, most=99)
        worth = [(question.chance_of_change, question.expected_move) for question in asked]
        assert worth == sorted(worth, reverse=True)
        assert questions(model, lead, events, as_of, most=1) == asked[:1]
        assert all(0 <= chance <= 1 + 1e-12 and move >= 0 for chance, move in worth)
        assert all(1 <= len(question.examples) <= 3 for question in asked)


def test_a_lead_of_which_nothing_is_known(model: LeadModel, as_of: int) -> None:
    lead = {"lead_id": "new", "created_at": stamp(as_of - DAY)}
    told = changes(model, lead, [], as_of)
    assert all(again(model, lead, [], change).stage == change.stage_after for change in told)
    askable = set(fields_to_ask(model.bundle.features))
    assert {q.field for q in questions(model, lead, [], as_of, most=99)} <= askable
    assert {"industry", "company_size", "job_title"} <= askable
    assert not {"source", "campaign"} & askable
    strange = {**lead, "industry": "Zzz", "company_size": 1e12, "job_title": "\x1b[31m", "email": "x"}
    assert "industry" not in {q.field for q in questions(model, strange, [], as_of, most=99)}
    assert changes(model, strange, [], as_of, most=1) == changes(model, strange, [], as_of)[:1]


def test_a_model_that_kept_no_picture_of_its_leads(model: LeadModel, some: list[Lead], as_of: int) -> None:
    plain = replace(model, bundle=replace(model.bundle, familiar=None))
    for lead, events, mine in some[:8]:
        assert questions(plain, lead, events, as_of) == ()
        for change in changes(plain, lead, events, as_of):
            if change.kind != "rule":
                assert again(plain, lead, mine, change).stage == change.stage_after


def test_a_model_without_events_or_time(wide_folder: Path, wide_frame: pd.DataFrame) -> None:
    model = load(wide_folder)
    told: list[Change] = []
    for lead in wide_frame.head(60).to_dict("records"):
        own = {str(name): value for name, value in lead.items()}
        for missing in ("Hours", "Plan", "Visits"):
            partial = {**own, missing: None}
            found = changes(model, partial)
            assert {change.kind for change in found} <= {"answer", "both"}
            for change in found:
                after = model.score_one({**partial, **change.detail["fields"]})
                assert (after.stage, after.score) == (change.stage_after, change.score_after)
                assert (change.detail["events"], change.detail["as_of"]) == ([], None)
            told += found
            assert questions(model, partial)[0].field
    assert told


def test_what_cannot_be_read_is_refused_as_by_score_one(model: LeadModel, as_of: int) -> None:
    for ask in (changes, questions):
        with pytest.raises(UsageError, match="one lead as a dict"):
            ask(model, "A1", [], as_of)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="pass as_of"):
            ask(model, {"lead_id": "A1"}, [])
