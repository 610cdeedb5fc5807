"""A lead's timeline: against the model at every moment, brute force over moments, and hostile events."""

import base64
import hashlib
import html.parser
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadscore.data.contract import HistoryColumns, Identity
from leadscore.errors import DataError, UsageError
from leadscore.explain import strip
from leadscore.explain.drivers import whole
from leadscore.explain.ledger import Entry, ledger, settled
from leadscore.explain.timeline import MOST_STEPS, Happenings, Timeline, moments_of
from leadscore.features.declare import AttributeFeature
from leadscore.policy.policy import STAGES, Policy, Thresholds
from leadscore.predict import LeadModel
from leadscore.timelines import changed, timeline, timelines

DAY = 86_400_000_000
NOW = 1_760_000_000_000_000
SEEDS = st.integers(0, 2**32 - 1)
HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e\n\"'&amp;{{ 7*7 }}"


# ------------------------------------------------------------------------------------------- on arrays alone
def course(seed, steps=12, spread=9.0, what="page_view", content="/pricing"):
    """Make a timeline of random scores, some beyond the ends of the scale."""
    rng = np.random.default_rng(seed)
    since = np.sort(NOW + rng.integers(1, 30 * DAY, steps))
    since[rng.random(steps) < 0.2] = since[0]
    since.sort()
    moments, _ = moments_of(since, NOW, NOW + 31 * DAY)
    raw = 50 + np.cumsum(rng.normal(0, spread, len(moments)))
    score = np.clip(raw, 0, 100)
    words = np.full(steps, content, object)
    happenings = Happenings(
        since, since - 1, np.full(steps, what, object), words, np.full(steps, None), rng.random(steps) < 0.2
    )
    lines = {"nurture": 35.0, "mql": 50.0, "sales_ready": 62.0}
    parts = rng.normal(0, 3, (len(moments), 3))
    parts[:, 2] = raw - parts[:, :2].sum(axis=1)
    return Timeline(
        lead_id=7,
        moments=moments,
        score=score,
        raw=raw,
        probability=score / 100,
        rank=np.searchsorted(list(lines.values()), score, side="right"),
        stages=STAGES,
        happenings=happenings,
        lines=lines,
        chances={name: line / 100 for name, line in lines.items()},
        concepts=(("a", "A", "fit"), ("b", "B", "engagement"), ("c", HOSTILE, "engagement")),
        parts=parts,
        notes=("A note.",),
        horizon=30.0,
        model="demo",
        policy_revision=1,
    )


@given(SEEDS)
def test_moments_are_just_before_and_just_after_all_that_is_new(seed):
    rng = np.random.default_rng(seed)
    since = np.sort(rng.integers(0, 60, rng.integers(0, 30)))
    start, as_of = 5, int(rng.integers(5, 70))
    moments, together = moments_of(since, start, as_of)
    expected = {start, as_of}
    for moment in since.tolist():
        if start < moment <= as_of:
            expected |= {moment - 1, moment}
    assert moments.tolist() == sorted(expected)
    assert together == 1
    few, together = moments_of(since, start, as_of, most=3)
    assert set(few.tolist()) <= expected
    assert {start, as_of} <= set(few.tolist())
    assert len(few) <= 8
    news = len({moment for moment in since.tolist() if start < moment <= as_of})
    assert together == max(1, int(np.ceil(news / 3)))
    if news:  # nothing new lies after the last step
        assert max(moment for moment in since.tolist() if moment <= as_of) <= few[-1]


@given(SEEDS)
def test_steps_and_their_integers_add_up(seed):
    line = course(seed)
    assert sum(step.points for step in line.steps) + line.cut == pytest.approx(
        line.score[-1] - line.score[0], abs=1e-9
    )
    shown = sum(step.shown for step in line.steps) + line.shown_cut
    assert shown == whole(line.score[-1]) - whole(line.score[0])
    assert all(abs(step.shown - step.points) < 1 + 1e-5 for step in line.steps)
    for step in line.steps:
        assert sum(move.points for move in line.moves(step)) == pytest.approx(step.points, abs=1e-9)
    assert sum(step.count for step in line.steps) == len(line.happenings)


@given(SEEDS, st.integers(0, 8))
def test_lines_that_people_read_take_in_every_step(seed, most):
    line = course(seed, spread=2.0)
    rows = strip.rows(line, most)
    assert sum(row.points for row in rows) == pytest.approx(line.raw[-1] - line.raw[0], abs=1e-9)
    assert sum(row.shown for row in rows) == sum(step.shown for step in line.steps)
    assert rows[0].start == line.start
    assert rows[-1].end == line.as_of
    assert all(one.end == later.start for one, later in pairwise(rows))
    assert {stage for row in rows for stage in row.reached} == {t.stage for t in line.triggers}


@given(SEEDS)
def test_triggers_by_brute_force(seed):
    line = course(seed)
    found = {trigger.stage: trigger for trigger in line.triggers}
    for stage in ("mql", "sales_ready"):
        last = None
        for step in line.steps:
            if step.before < line.lines[stage] <= step.after:
                last = step
        assert (last is None) == (stage not in found)
        if last is not None:
            assert found[stage].step == last
            assert not found[stage].by_rule
            later = line.score[last.place + 1 :]
            assert found[stage].held == bool((later >= line.lines[stage]).all())


def test_a_long_history_is_taken_together():
    since = np.arange(NOW, NOW + 50_000 * 10, 10)
    moments, together = moments_of(since, NOW - 5, NOW + DAY)
    assert len(moments) <= 2 * MOST_STEPS + 2
    assert together == 50


class Tags(html.parser.HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found = []
        self.attributes = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)
        self.attributes += [name for name, _ in attrs]


@pytest.mark.parametrize("what", [HOSTILE, "page_view", "<img src=x onerror=alert(1)>"])
def test_hostile_events_stay_text(what):
    line = replace(course(3, what=what, content=HOSTILE), lead_id=HOSTILE, notes=(HOSTILE,))
    text = line.text()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", text)
    page = line.html()
    tags = Tags(page)
    assert "script" not in tags.found
    assert "img" not in tags.found
    assert not [name for name in tags.attributes if name.startswith("on") or name in ("href", "src")]
    assert "{{ 7*7 }}" in page
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() in page
    json.loads(json.dumps(line.to_dict()))
    article = line._repr_html_()  # for notebooks: the page's article with the page's style
    assert article.startswith(f"<style>{style}</style>")
    assert article.partition("</style>")[2].strip() in page


def test_hostile_names_of_a_ledger_stay_text():
    lines = ({"mql": 50.0}, {"mql": 41.0, "sales_ready": 70.0})
    entries = [Entry(HOSTILE, HOSTILE, "fit", 5.0 - n, 0, 0.0, 5.0 - n, f"{HOSTILE} {n}") for n in range(10)]
    book = settled(
        entries,
        lead_id=HOSTILE,
        named=("one", HOSTILE),
        score=(30.0, 35.0),
        stage=("unqualified", "mql"),
        stage_reason=("", HOSTILE),
        lines=lines,
    )
    page, article = book.html(), book._repr_html_()
    assert not {"script", "img"} & set(Tags(page).found)
    assert "{{ 7*7 }}" in page
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() in page
    assert article.partition("</style>")[2].strip() in page
    numbers = [int(n.replace("−", "-")) for n in re.findall(r'class="ls-points">([−+]?\d+)<', page)]
    assert (numbers[0], numbers[-1]) == (30, 35)
    assert sum(numbers[:-1]) == numbers[-1]
    assert "everything else (" in page.lower()
    assert "MQL from 50 (one), from 41 (" in page
    assert "Sales ready no line (one), from 70 (" in page


def test_what_the_text_says():
    line = course(1)
    text = line.text()
    assert f"{whole(line.score[-1]):>6}  score at" in text
    assert max(map(len, text.splitlines())) <= 80
    numbers = [int(n) for n in re.findall(r"^ {2,5}([+-]?\d+)  ", text, re.MULTILINE)]
    assert sum(numbers[:-1]) == numbers[-1]
    for trigger in line.triggers:
        assert f"{strip.stage_name(trigger.stage)} (from {whole(trigger.line)}): " in text


# --------------------------------------------------------------------------------------- against the model
@pytest.fixture(scope="module")
def model_of(bundle_of):
    return {kind: LeadModel(bundle, bundle.policy) for kind, bundle in bundle_of.items()}


def tables_of(world, lead):
    """Give one lead's row, and its events with those of its visitors."""
    events = world.events
    own = pc.equal(events["lead_id"], lead)
    visitors = events.filter(own)["visitor_id"].drop_null().unique()
    own = pc.or_kleene(own, pc.is_in(events["visitor_id"], value_set=visitors))
    return world.leads.filter(pc.equal(world.leads["lead_id"], lead)), events.filter(own)


@pytest.fixture(scope="module")
def some(world):
    """Leads that did much, something and nothing, each with its tables."""
    counts = world.events["lead_id"].drop_null().value_counts().to_pylist()
    counts.sort(key=lambda count: (-count["counts"], count["values"]))
    ids = [counts[place]["values"] for place in (0, 60, 400, 800)]
    ids.append(sorted(set(world.leads["lead_id"].to_pylist()) - {count["values"] for count in counts})[0])
    return {lead: tables_of(world, lead) for lead in ids}


def test_every_moment_is_what_the_model_says(kind, model_of, some, as_of):
    model, rng = model_of[kind], np.random.default_rng(0)
    checked = 0
    for lead, (leads, events) in some.items():
        if leads["created_at"].cast(pa.int64())[0].as_py() >= as_of:
            continue
        line = timeline(model, leads, events, as_of, lead_id=lead)
        chosen = {0, len(line.moments) - 1, *rng.integers(0, len(line.moments), 6).tolist()}
        for place in sorted(chosen):
            one = model.score(leads, events, int(line.moments[place])).iloc[0]
            assert one["score"] == line.score[place]
            assert one["probability"] == line.probability[place]
            assert one["stage"] == STAGES[line.rank[place]]
            checked += 1
        assert sum(step.points for step in line.steps) + line.cut == pytest.approx(
            line.score[-1] - line.score[0], abs=1e-9
        )
        for step in line.steps[:: max(1, len(line.steps) // 20)]:
            assert sum(move.points for move in line.moves(step)) == pytest.approx(step.points, abs=1e-9)
        bare = timeline(model, leads, events, as_of, lead_id=lead, drivers=False)
        assert bare.score.tolist() == line.score.tolist()
        assert bare.moves(bare.steps[0]) == ()
    assert checked > 20


def test_triggers_of_real_leads(model_of, some, as_of):
    """Stages that the model gives at the trigger's two moments, rules included."""
    seen = 0
    for kind in ("boosted", "points"):
        for leads, events in some.values():
            if leads["created_at"].cast(pa.int64())[0].as_py() >= as_of:
                continue
            line = timeline(model_of[kind], leads, events, as_of)
            for trigger in line.triggers:
                stages = [
                    STAGES.index(model_of[kind].score(leads, events, moment)["stage"][0])
                    for moment in (trigger.step.start, trigger.step.end)
                ]
                assert stages[0] < STAGES.index(trigger.stage) <= stages[1]
                seen += 1
    assert seen > 2


def event(at, kind="page_view", recorded=None, content="/pricing", number=0):
    return {
        "event_id": f"{kind}{number}{at:%Y%m%d%H%M%S%f}",
        "lead_id": "X",
        "occurred_at": at,
        "recorded_at": recorded or at,
        "event_type": kind,
        "visitor_id": None,
        "channel": "website",
        "content": content,
        "campaign": None,
        "value": None,
    }


CAME = datetime(2025, 3, 1, 8, tzinfo=UTC)
LEAD = {
    "lead_id": "X",
    "created_at": CAME,
    "email": "ann@firm.example",
    "phone": None,
    "job_title": "CEO",
    "company": "Firm",
    "industry": None,
    "company_size": 40.0,
    "country": None,
    "source": None,
    "campaign": None,
}


@settings(max_examples=12, deadline=None)
@given(SEEDS)
def test_small_histories_at_random(model_of, seed):
    rng = np.random.default_rng(seed)
    model = model_of["logistic"]
    events = []
    for number in range(int(rng.integers(0, 6))):
        at = CAME + timedelta(hours=int(rng.integers(-48, 400)), microseconds=int(rng.integers(0, 2)))
        late = timedelta(hours=int(rng.integers(0, 50))) * int(rng.integers(0, 2))
        kind = str(rng.choice(["page_view", "demo_request", "email_open", "unheard_of"]))
        events.append(event(at, kind, at + late, number=number))
    as_of = CAME + timedelta(hours=int(rng.integers(1, 500)))
    line = timeline(model, [LEAD], events, as_of)
    assert line.start == CAME + timedelta(microseconds=1)
    for place, moment in enumerate(line.moments.tolist()):
        one = model.score_one(LEAD, events, moment)
        assert (one.score, one.stage) == (line.score[place], STAGES[line.rank[place]])
    known = [
        e for e in events if max(e["occurred_at"] + timedelta(microseconds=1), e["recorded_at"]) <= as_of
    ]
    assert len(line.happenings) == len(known)


def test_what_happens_at_once_is_one_step_that_names_all(model_of):
    at = CAME + timedelta(days=2)
    events = [event(at, kind) for kind in ("page_view", "email_open", "demo_request")]
    line = timeline(model_of["boosted"], [LEAD], events, CAME + timedelta(days=9))
    (step,) = [step for step in line.steps if step.kind == "event"]
    assert step.count == 3
    assert {one.what for one in step.happened} == {"page_view", "email_open", "demo_request"}
    assert all(one.at == one.known_at == at for one in step.happened)


def test_a_late_event_is_a_step_when_it_was_recorded(model_of):
    at, recorded = CAME + timedelta(days=2), CAME + timedelta(days=5)
    line = timeline(model_of["boosted"], [LEAD], [event(at, recorded=recorded)], CAME + timedelta(days=9))
    (step,) = [step for step in line.steps if step.kind == "event"]
    assert step.end == recorded
    assert (step.happened[0].at, step.happened[0].known_at) == (at, recorded)
    assert "of 2025-03-03 and known only now" in strip.happening(step.happened[0])
    before = timeline(
        model_of["boosted"], [LEAD], [event(at, recorded=recorded)], recorded - timedelta(days=1)
    )
    assert len(before.happenings) == 0


def test_lead_without_events_and_just_created(model_of):
    for later in (timedelta(days=30), timedelta(microseconds=1)):
        line = timeline(model_of["boosted"], [LEAD], [], CAME + later)
        assert {step.kind for step in line.steps} <= {"time"}
        assert f"score at {line.as_of:%Y-%m-%d %H:%M} UTC" in line.text()
        assert "<svg" in line.html()
        json.dumps(line.to_dict())


def with_history(model):
    """Let the model's project keep the history of its attributes."""
    contract = replace(model.bundle.contract, history=HistoryColumns(lead_id="lead"))
    return LeadModel(replace(model.bundle, contract=contract), model.policy)


def test_changes_of_the_profile_are_steps(model_of):
    model = with_history(model_of["logistic"])
    rows = [
        ("company_size", "40", 0),
        ("company_size", "900", 3),
        ("job_title", None, 4),
        ("company", "F", 4),
    ]
    history = [
        {"lead": "X", "field": field, "value": value, "changed_at": CAME + timedelta(days=days)}
        for field, value, days in rows
    ]
    as_of = CAME + timedelta(days=9)
    line = timeline(model, [LEAD], [], as_of, history=history)
    changes = [step for step in line.steps if step.kind == "change"]
    assert [step.happened[0].what for step in changes] == ["company_size", "job_title"]
    assert [strip.happening(step.happened[0]) for step in changes] == [
        "company size: 900",
        "job title emptied",
    ]
    assert changes[0].points != 0
    for place, moment in enumerate(line.moments.tolist()):
        assert model.score_one(LEAD, [], moment, history=history).score == line.score[place]
    assert not any("no history" in note for note in line.notes)
    told = timeline(model, [LEAD], [], as_of).notes
    assert any("no history" in note for note in told)


def test_leads_that_are_one_person(model_of):
    contract = replace(model_of["boosted"].bundle.contract, identity=Identity(email=("email",)))
    model = LeadModel(replace(model_of["boosted"].bundle, contract=contract), model_of["boosted"].policy)
    second = LEAD | {"lead_id": "Y", "created_at": CAME + timedelta(days=4)}
    early = event(CAME + timedelta(days=1)) | {"lead_id": "Y"}
    events, as_of = [early, event(CAME + timedelta(days=2))], CAME + timedelta(days=9)
    one, other = (timeline(model, [LEAD, second], events, as_of, lead_id=lead) for lead in "XY")
    assert one.score.tolist() == other.score.tolist()
    assert one.start == other.start == CAME + timedelta(microseconds=1)
    assert any("one person with another lead" in note for note in one.notes)
    # What the second lead did counts from when it is known that they are one.
    late = [step for step in one.steps if step.kind == "event"][-1]
    assert late.end == second["created_at"] + timedelta(microseconds=1)
    for place, moment in enumerate(one.moments.tolist()):
        scored = model.score([LEAD, second], events, moment)
        assert scored["score"][0] == one.score[place]


def test_several_leads_are_read_once(model_of, world, as_of):
    ids = world.leads["lead_id"].to_pylist()[:3]
    leads = world.leads.slice(0, 3)
    lines = list(timelines(model_of["points"], leads, world.events, as_of, lead_ids=ids))
    assert [line.lead_id for line in lines] == ids
    alone = timeline(model_of["points"], *tables_of(world, ids[1]), as_of)
    assert lines[1].score[-1] == alone.score[-1]


def test_a_beginning_of_ones_own(model_of):
    events = [event(CAME + timedelta(days=days), number=days) for days in (1, 3, 5)]
    as_of, since = CAME + timedelta(days=9), CAME + timedelta(days=4)
    line = timeline(model_of["boosted"], [LEAD], events, as_of, since=since)
    whole_line = timeline(model_of["boosted"], [LEAD], events, as_of)
    assert line.start == since
    assert line.score[-1] == whole_line.score[-1]
    assert sum(step.count for step in line.steps) == 1
    before = timeline(model_of["boosted"], [LEAD], events, as_of, since=CAME - timedelta(days=1))
    assert before.moments.tolist() == whole_line.moments.tolist()


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        ({"as_of": CAME}, DataError, "a moment after lead 'X' came in, 2025-03-01 08:00 UTC"),
        ({"as_of": CAME - timedelta(days=9)}, DataError, "give a later as_of"),
        ({"as_of": None}, UsageError, "pass as_of"),
        ({"events": None}, UsageError, "pass events"),
        ({"lead_id": "nobody"}, DataError, "expected a lead 'nobody'; found none among 1 lead"),
        ({"lead_id": "\x1b[31m"}, DataError, r"expected a lead '\[31m'"),
        ({"leads": [LEAD, LEAD | {"lead_id": "Y"}]}, UsageError, "pass lead_id"),
        ({"since": CAME + timedelta(days=9)}, UsageError, "a beginning before"),
    ],
)
def test_bad_input(model_of, words, error, says):
    arguments = {"leads": [LEAD], "events": [], "as_of": CAME + timedelta(days=9)} | words
    with pytest.raises(error, match=says) as refused:
        timeline(model_of["boosted"], **arguments)
    assert "\n" not in str(refused.value)


def test_a_model_without_a_clock(wide_folder, wide_frame):
    from leadscore.predict import load

    model = load(wide_folder)
    with pytest.raises(
        UsageError, match=r"a model that reads time; found a model of one table .*\(explain\)"
    ):
        timeline(model, wide_frame.drop(columns=["Bought", "Verdict"]), as_of=CAME, lead_id=5_000)


def there(some, as_of):
    """Leave out leads that came in later."""
    return [
        (lead, one) for lead, one in some.items() if one[0]["created_at"].cast(pa.int64())[0].as_py() < as_of
    ]


def test_a_lead_keeps_its_stage_down_to_the_line_of_leaving(model_of, some, as_of):
    kept = 0
    for lead, (leads, events) in there(some, as_of):
        bundle = model_of["boosted"].bundle
        chance = timeline(model_of["boosted"], leads, events, as_of, lead_id=lead).probability
        policy = Policy(mql=float(np.quantile(chance, 0.8)), sales_ready=0.999, stay=0.7)
        line = timeline(LeadModel(bundle, policy), leads, events, as_of, lead_id=lead)
        mql = False
        for place, p in enumerate(chance.tolist()):  # walked by hand
            mql = p >= policy.mql or (mql and p >= 0.7 * policy.mql)
            kept += mql and p < policy.mql
            assert (line.rank[place] >= STAGES.index("mql")) == mql
        assert (line.stages[line.rank[-1]] == "mql") == mql
    assert kept > 10


def test_a_lead_of_a_segment_has_the_lines_of_its_segment(model_of, some, as_of):
    bundle, seen = model_of["boosted"].bundle, 0
    for lead, (leads, events) in there(some, as_of):
        level = leads["source"][0].as_py()
        if level is None:
            continue
        chance = timeline(model_of["boosted"], leads, events, as_of, lead_id=lead).probability
        own = Thresholds(mql=float(np.quantile(chance, 0.9)), sales_ready=0.99)
        by_segment = Policy(mql=0.98, sales_ready=0.99, segment="source", segments={level: own})
        line, same, other = (
            timeline(LeadModel(bundle, policy), leads, events, as_of, lead_id=lead)
            for policy in (by_segment, Policy(own.mql, own.sales_ready), Policy(0.98, 0.99))
        )
        assert line.chances == same.chances != other.chances
        assert line.lines == same.lines
        assert line.rank.tolist() == same.rank.tolist()
        assert line.triggers == same.triggers
        seen += len(line.triggers) > len(other.triggers)
    assert seen


# ----------------------------------------------------------------------------------------------- the ledger
def added_up(book):
    assert sum(entry.points for entry in book.entries) == pytest.approx(
        book.score[1] - book.score[0], abs=1e-9
    )
    assert sum(entry.shown for entry in book.entries) == book.shown_score[1] - book.shown_score[0]
    numbers = [int(n) for n in re.findall(r"^ {2,5}([+-]?\d+)  ", book.text(), re.MULTILINE)]
    assert sum(numbers[:-1]) == numbers[-1]
    json.dumps(book.to_dict())


def test_what_changed_between_two_moments(kind, model_of, some, as_of):
    model, seen = model_of[kind], 0
    for lead, (leads, events) in some.items():
        came = leads["created_at"].cast(pa.int64())[0].as_py()
        if came >= as_of:
            continue
        before = max(came + 1, as_of - 15 * DAY)
        book = changed(model, leads, events, as_of, before=before, lead_id=lead)
        added_up(book)
        for place, moment in enumerate((before, as_of)):
            one = model.score(leads, events, moment).iloc[0]
            assert (one["score"], one["stage"]) == (book.score[place], book.stage[place])
        # Each concept's points are those that the card gives it.
        card = model.explain(leads, events, as_of)[0]
        points = {(driver.family, driver.concept): driver.points for driver in card.drivers}
        for entry in book.entries:
            assert entry.after == pytest.approx(points.get((entry.family, entry.concept), 0.0), abs=1e-9)
            seen += 1
    assert seen > 2


def test_what_one_model_takes_together_stands_beside_what_another_tells_apart(model_of, some, as_of):
    leads, events = next(iter(some.values()))
    model = model_of["boosted"]
    features = tuple(
        replace(f, together=()) if isinstance(f, AttributeFeature) else f for f in model.bundle.features
    )
    other = LeadModel(replace(model.bundle, features=features), model.policy)
    one, two = model.explain(leads, events, as_of)[0], other.explain(leads, events, as_of)[0]
    assert {"source", "campaign"} <= {driver.concept for driver in two.drivers}
    for before, after in ((one, two), (two, one)):
        book = ledger(before, after)
        added_up(book)
        assert max((abs(entry.points) for entry in book.entries), default=0.0) < 1e-9
    cut = replace(two, drivers=tuple(driver for driver in two.drivers if driver.concept != "campaign"))
    (lost,) = (driver.points for driver in two.drivers if driver.concept == "campaign")
    cut = replace(cut, score=cut.score - lost)
    for before, after, points in ((one, cut, -lost), (cut, one, lost)):
        entry = ledger(before, after).entries[0]
        assert (entry.concept, entry.label) == ("source and campaign", "Source and campaign")
        assert entry.points == pytest.approx(points, abs=1e-9)
        assert entry.text.startswith(next(d.text for d in one.drivers if d.concept == entry.concept))


def test_what_differs_between_two_models_and_two_policies(model_of, some, as_of):
    leads, events = next(iter(some.values()))
    why = {kind: model_of[kind].explain(leads, events, as_of)[0] for kind in model_of}
    for one, other in (("boosted", "logistic"), ("points", "hazard"), ("hazard", "boosted")):
        book = ledger(why[one], why[other], named=(one, other))
        added_up(book)
        base = sum(entry.points for entry in book.entries if entry.family == "base")
        assert base == pytest.approx(why[other].base - why[one].base, abs=1e-9)
        assert f"{one} against {other}" in book.text()
        alike = [entry for entry in book.entries if entry.before and entry.after and entry.family != "base"]
        assert alike
        for entry in alike:
            assert re.search(rf"\({one}: [+-]?\d+; {other}: [+-]?\d+\)$", entry.text)
    model = model_of["boosted"]
    moved = LeadModel(model.bundle, Policy(mql=0.01, sales_ready=0.02, revision=2))
    book = ledger(why["boosted"], moved.explain(leads, events, as_of)[0])
    assert book.entries == ()
    assert book.stage == (why["boosted"].stage, "sales_ready")
    assert "policy revision 1 against policy revision 2" in book.text()
    assert re.search(r"MQL from \d+ \(policy\s+revision 1\), from \d+ \(policy\s+revision 2\)\.", book.text())
    other = replace(why["boosted"], lead_id="another")
    with pytest.raises(UsageError, match="two explanations of one lead"):
        ledger(why["boosted"], other)
