"""A project's own words: where they are used, that they stay what was said, and what is refused."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadscore import bundle as bundles
from leadscore import cards, timelines
from leadscore.errors import LeadScoreError, ModelError, UsageError
from leadscore.explain.card import Explanation
from leadscore.explain.ledger import ledger
from leadscore.explain.phrases import LONGEST, EventPhrase, Phrases, ValuePhrase, filled
from leadscore.explain.wording import label, sentence
from leadscore.features.declare import AttributeFeature, EventFeature, Feature
from leadscore.predict import LeadModel, load
from leadscore.simulate import World

VISIT = EventPhrase("page_view", "visit to our prices", "visits to our prices", content="/pricing")
VIEW = EventPhrase("page_view", "look around", "looks around")
SIZE = ValuePhrase(
    "company_size", label="employees", says="{value} people (typical: {typical})", missing="nobody counted"
)
RANK = ValuePhrase("job_title", read_as="seniority", label="role", says="signs as {value}")
OWN = ValuePhrase(
    "page_view_count_7d", "feature", says="{value} looks in {window}", missing="not here in {window}"
)
PHRASES = Phrases((VISIT, VIEW), (SIZE, RANK, OWN))
SIZED, TITLED = AttributeFeature("number", "company_size"), AttributeFeature("seniority", "job_title")


@pytest.mark.parametrize(
    ("feature", "value", "typical", "said"),
    [
        (SIZED, 1200.0, 40.0, "1,200 people (typical: 40)"),
        (SIZED, 1200.0, None, "Employees: 1,200"),  # no typical value: the usual sentence, with the label
        (SIZED, None, 40.0, "Nobody counted"),
        (TITLED, "c_level", None, "Signs as C-level"),
        (TITLED, "(other)", None, "Role: seniority not known"),  # no word of its own to name
        (AttributeFeature("department", "job_title"), "it", None, "Role: department IT"),
        (AttributeFeature("number", "budget"), 3.0, 1.0, "Budget: 3; a typical lead has 1"),
        (EventFeature("count", "page_view", window=7), 2.0, 0.0, "2 looks in the last 7 days"),
        (EventFeature("count", "page_view", window=7), 0.0, 0.0, "Not here in the last 7 days"),
        (
            EventFeature("count", "page_view", window=30, content="/pricing"), 1.0, 0.0,
            "1 visit to our prices in the last 30 days; a typical lead has 0",
        ),
        (
            EventFeature("count", "page_view", window=30, content="/blog"), 3.0, 0.0,
            "3 looks around of /blog in the last 30 days; a typical lead has 0",
        ),
        (
            EventFeature("ratio", "demo_request", per="page_view"), None, None,
            "Demo requests per look around not known: no look around so far",
        ),
    ],
)  # fmt: skip
def test_values_are_spoken_of_in_the_projects_words(
    feature: Feature, value: Any, typical: Any, said: str
) -> None:
    assert sentence(feature, value, typical, PHRASES) == said


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_value_with_braces_is_no_template(value: str, typical: str) -> None:
    found = filled("{value}|{typical}|{value}", {"value": value, "typical": typical, "window": None})
    assert found == f"{value}|{typical}|{value}"


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_template_that_is_taken_names_the_value_and_fills_in_nothing_else(before: str, after: str) -> None:
    template = f"{before}{{value}}{after}"
    try:
        ValuePhrase("size", says=template)
    except UsageError:
        return
    found = filled(template, {"value": "x", "typical": "y", "window": "z"})
    assert found is not None
    assert "x" in found
    assert not {"{", "}"} & set(found)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ValuePhrase("a", says="{valu} people"), r"found \{valu\} \(did you mean 'value'\?\)"),
        (lambda: ValuePhrase("a", says="large company"), "put {value} where"),
        (lambda: ValuePhrase("a", says="{value} of {"), "remove the other braces"),
        (lambda: ValuePhrase("a", says="{value.__class__}"), "found {value.__class__}"),
        (lambda: ValuePhrase("a", missing="{value}"), "without a value"),
        (lambda: ValuePhrase("a", label=" "), "found nothing"),
        (lambda: EventPhrase("a", "x" * (LONGEST + 1), "y"), "found 201 letters"),
        (lambda: ValuePhrase("a", "column", label="b"), "one of field, feature"),
        (lambda: Phrases((VIEW, VIEW)), "found two about the event 'page_view'"),
        (lambda: Phrases(values=(SIZE, replace(SIZE, label="x"))), "about the field 'company_size'"),
    ],
)
def test_what_cannot_be_said(make: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said if "\\" in said else re.escape(said)):
        make()


def test_phrases_survive_being_kept() -> None:
    assert Phrases.from_dict(json.loads(json.dumps(PHRASES.to_dict()))) == PHRASES


@pytest.mark.parametrize(
    "break_it",
    [
        lambda kept: kept.pop("events"),
        lambda kept: kept.update(more=[]),
        lambda kept: kept["values"][0].update(says="{password} {value}"),
        lambda kept: kept["values"][0].update(says="no value"),
        lambda kept: kept["values"][0].update(name=None),
        lambda kept: kept["values"][0].update(kind=7),
        lambda kept: kept["values"].append("company_size"),
        lambda kept: kept["values"].append({"name": "a"}),
        lambda kept: kept["events"][0].update(one=None),
        lambda kept: kept["events"].append(kept["events"][0]),
        lambda kept: kept.update(events={}),
    ],
)
def test_kept_phrases_that_were_altered_are_refused(break_it: Any) -> None:
    kept = json.loads(json.dumps(PHRASES.to_dict()))
    break_it(kept)
    with pytest.raises(ModelError):
        Phrases.from_dict(kept)


def test_a_saved_model_keeps_its_words(model: LeadModel, tmp_path: Path) -> None:
    kept = bundles.save(speaking(model, PHRASES).bundle, tmp_path / "model")
    assert load(kept).bundle.phrases == PHRASES


# ------------------------------------------------------------------------------------------ of a model
def speaking(model: LeadModel, phrases: Phrases) -> LeadModel:
    return replace(model, bundle=replace(model.bundle, phrases=phrases))


@pytest.fixture(scope="module")
def model(folder_of: Any) -> LeadModel:
    return load(folder_of["logistic"])


def test_words_are_the_same_wherever_something_is_told(model: LeadModel, world: World, as_of: int) -> None:
    leads, events = world.leads.to_pandas(), world.events.to_pandas()
    seen = events[(events["content"] == "/pricing") & (events["event_type"] == "page_view")]["lead_id"]
    own = speaking(model, PHRASES)
    told = {"sentence": 0, "timeline": 0, "ledger": 0}
    for lead in seen.dropna().unique()[:20]:
        mine = leads[leads["lead_id"] == lead], events[events["lead_id"] == lead]
        try:
            why, plain = own.explain(*mine, as_of)[0], model.explain(*mine, as_of)[0]
        except (LeadScoreError, IndexError):
            continue
        assert numbers(why) == numbers(plain)  # words change no number
        assert not [d for d in why.drivers if d.label.startswith(("Page views of /pricing", "Company size"))]
        told["sentence"] += any(
            "people (typical: " in d.text or "to our prices" in d.text for d in why.drivers
        )
        line = timelines.timeline(own, *mine, as_of).text()
        told["timeline"] += "isit to our prices" in line
        assert "age view of /pricing" not in line
        moved = timelines.changed(own, *mine, as_of, before=as_of - 30 * 86_400_000_000).text()
        told["ledger"] += "our prices" in moved
        assert "page views of /pricing" not in moved.lower()
        assert "page views of /pricing" not in ledger(plain, why).text().replace("\n", " ").lower()
    assert min(told.values()) > 0


def numbers(why: Explanation) -> list[tuple[Any, ...]]:
    return [(d.concept, d.points, d.shown, d.columns) for d in why.drivers] + [(why.score, why.base)]


def test_a_template_cannot_speak_of_what_the_model_does_not_read(
    model: LeadModel, world: World, as_of: int
) -> None:
    secret = ValuePhrase("contract_owner", label="SECRET", says="SECRET {value}", missing="SECRET")
    other = ValuePhrase("seecret_count", "feature", says="SECRET {value}", missing="SECRET")
    own = speaking(model, Phrases((EventPhrase("never", "SECRET", "SECRET"),), (secret, other)))
    lead, events = world.leads.slice(0, 1).to_pylist()[0], world.events.to_pandas()
    mine = events[events["lead_id"] == lead["lead_id"]].to_dict("records")
    card = cards.card(own, [{**lead, "contract_owner": "Kim"}], mine, as_of)
    assert "SECRET" not in card.text(all_reasons=True) + card.html() + json.dumps(card.to_dict())
    assert [each.split(" is no ")[0] for each in own.bundle.phrases.idle(own.bundle.features)] == [
        "wording: 'contract_owner'",
        "wording: 'seecret_count'",
    ]


def test_hostile_words_stay_text(model: LeadModel, world: World, as_of: int) -> None:
    bad = "<script>alert(1)</script>\x1b[31m\x9b31m\u202e=1"
    read = [f for f in model.bundle.features if isinstance(f, AttributeFeature) and f.field]
    own = speaking(
        model,
        Phrases(
            tuple(EventPhrase(name, bad, bad) for name in model.bundle.contract.event_types),
            tuple(
                ValuePhrase(f.name, "feature", says=bad + "{value}", missing=bad)
                for f in model.bundle.features
            )
            + tuple(ValuePhrase(name, label=bad) for name in dict.fromkeys(str(f.field) for f in read)),
        ),
    )
    lead, events = world.leads.slice(0, 1).to_pylist()[0], world.events.to_pandas()
    mine = events[events["lead_id"] == lead["lead_id"]].to_dict("records")
    card = cards.card(own, [lead], mine, as_of)
    page, text = card.html(), card.text(all_reasons=True)
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", page + text)


def test_labels_of_the_global_view_are_the_projects() -> None:
    assert label(TITLED, PHRASES) == "Role"
    assert label(SIZED, PHRASES) == "Employees"
    assert label(EventFeature("recency", "page_view", content="/pricing"), PHRASES) == "Visits to our prices"
