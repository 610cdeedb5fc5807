"""Declarations: their names, their JSON, and the set that suits a table."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from leadscore.data.contract import Coded, Events, Outcomes, Tables
from leadscore.errors import DataError, ModelError, UsageError
from leadscore.features.declare import AttributeFeature, EventFeature, from_dict, to_dict
from leadscore.features.defaults import MOST_EVENT_FEATURES, Roles, declare

LEADS = 1000
TEXT = st.text(min_size=1, max_size=8)
DAYS = st.one_of(st.integers(1, 400), st.floats(0.01, 400))
FEATURES = st.one_of(
    st.builds(
        EventFeature,
        st.sampled_from(("count", "sum", "mean", "active_days", "distinct_contents")),
        TEXT,
        window=st.none() | DAYS,
        content=st.none() | TEXT,
        family=st.sampled_from(("engagement", "operations")),
    ),
    st.builds(
        EventFeature,
        st.sampled_from(("decayed_count", "decayed_sum")),
        st.none(),
        half_life=DAYS,
        types=st.none() | st.lists(TEXT, min_size=1, max_size=3).map(tuple),
    ),
    st.builds(
        EventFeature,
        st.sampled_from(("count", "trend", "recency")),
        TEXT,
        contents=st.lists(TEXT, min_size=1, max_size=3).map(tuple),
        label=TEXT,
        channel=st.none() | TEXT,
    ),
    st.builds(
        EventFeature, st.just("ratio"), TEXT, per=TEXT, window=st.none() | DAYS, content=st.none() | TEXT
    ),
    st.builds(AttributeFeature, st.just("category"), TEXT, levels=st.lists(TEXT, unique=True).map(tuple)),
    st.builds(
        AttributeFeature, st.sampled_from(("number", "seniority", "department", "email_domain_kind")), TEXT
    ),
    TEXT.map(lambda field: AttributeFeature("category", field, together=("source", field))),
    st.just(AttributeFeature("lead_age", family="engagement")),
    st.builds(AttributeFeature, st.just("filled_share"), fields=st.lists(TEXT, min_size=1).map(tuple)),
)


def tables(columns=None, events=None, clock=True, kinds=None):
    columns = columns or {}
    leads = pa.table(columns) if columns else pa.table({}).select([])
    kinds = {name: "number" if leads[name].type == pa.float64() else "category" for name in columns} | (
        kinds or {}
    )
    outcomes = Outcomes(np.array([0]), np.array([0], np.int32), np.array([10**15]))
    return Tables(
        leads=leads,
        lead_id=np.arange(LEADS),
        position=np.arange(LEADS),
        created_at=np.zeros(LEADS, np.int64) if clock else None,
        order=None,
        target=None if clock else np.zeros(LEADS),
        events=events,
        outcomes=outcomes if clock else None,
        kinds=kinds,
        findings=(),
    )


def happened(*groups, contents=None, value=None):
    """Make a log: each group is a type and the leads it happened to."""
    types = tuple(sorted({name for name, _ in groups}))
    lead = np.concatenate([np.asarray(leads, np.int64) for _, leads in groups])
    kind = np.concatenate([np.full(len(leads), types.index(name), np.int32) for name, leads in groups])
    content = None
    if contents is not None:
        words = tuple(sorted(set(contents)))
        content = Coded(np.array([words.index(word) for word in contents], np.int32), words)
    return Events(lead, np.zeros(len(lead), np.int64), kind, types, content=content, value=value)


def names(features):
    return [feature.name for feature in features]


# -------------------------------------------------------------------------------------------- one declaration
@given(FEATURES)
def test_json_and_yaml_round_trip(feature):
    again = from_dict(json.loads(json.dumps(to_dict(feature))))
    assert again == feature == from_dict(yaml.safe_load(yaml.safe_dump(to_dict(feature))))
    assert hash(again) == hash(feature)
    assert (again.name, again.concept, again.categories) == (
        feature.name,
        feature.concept,
        feature.categories,
    )


@pytest.mark.parametrize(
    ("feature", "name", "concept"),
    [
        (EventFeature("count", "page_view", window=30), "page_view_count_30d", "page_view"),
        (EventFeature("count", "page_view", window=0.5), "page_view_count_0_5d", "page_view"),
        (
            EventFeature("decayed_count", "email_click", half_life=14),
            "email_click_decayed_14d",
            "email_click",
        ),
        (EventFeature("count", "view", content="/pricing"), "view_pricing_count", "view: /pricing"),
        (
            EventFeature("recency", "W_Nabellen offertes"),
            "W_Nabellen_offertes_recency",
            "W_Nabellen offertes",
        ),
        (EventFeature("active_days", None, window=7), "engagement_active_days_7d", "engagement"),
        (EventFeature("count", "view", content="/"), "view_u2f_count", "view: /"),
        (EventFeature("trend", "view"), "view_trend_7d", "view"),
        (
            EventFeature("count", "view", contents=("/plans", "/pricing"), label="pricing pages", window=7),
            "view_pricing_pages_count_7d",
            "view: pricing pages",
        ),
        (
            EventFeature("recency", None, channel="Google Ads"),
            "engagement_via_Google_Ads_recency",
            "engagement via Google Ads",
        ),
        (
            EventFeature("ratio", "click", content="/a", per="open", channel="mail", window=30),
            "click_a_via_mail_per_open_30d",
            "click: /a via mail",
        ),
        (EventFeature("count", None, family="operations"), "operations_count", "operations"),
        (AttributeFeature("number", "Total Visits"), "Total Visits", "Total Visits"),
        (AttributeFeature("seniority", "title"), "title_seniority", "title"),
        (AttributeFeature("days_since", "trial"), "days_since_trial", "trial"),
        (
            AttributeFeature("category", "campaign", together=("source", "campaign")),
            "campaign",
            "source and campaign",
        ),
        (AttributeFeature("lead_age"), "lead_age", "lead_age"),
        (AttributeFeature("filled_share", fields=("a", "b")), "filled_share", "filled_share"),
    ],
)
def test_names_and_concepts(feature, name, concept):
    assert (feature.name, feature.concept) == (name, concept)


def test_other_is_always_the_last_category_and_only_once():
    assert AttributeFeature("category", "a", levels=("(other)", "x")).categories == ("x", "(other)")
    assert AttributeFeature("category", "a").categories == ("(other)",)
    assert AttributeFeature("number", "a").categories is None


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: EventFeature("cuont", "a"), "did you mean 'count'"),
        (lambda: EventFeature("count", "a", family="engagment"), "did you mean 'engagement'"),
        (lambda: EventFeature("recency", "a", window=7), "no window with recency"),
        (lambda: EventFeature("count", "a", half_life=7), "no half_life with count"),
        (lambda: EventFeature("decayed_sum", "a"), "a half_life with decayed_sum"),
        (lambda: EventFeature("count", "a", window=0), "above 0"),
        (lambda: EventFeature("count", "a", window=float("nan")), "above 0"),
        (lambda: EventFeature("count", "a", window=1e9), "at most 36,525"),
        (lambda: EventFeature("ratio", "a"), "per with a ratio, and only there; found none"),
        (lambda: EventFeature("count", "a", per="b"), "found it with count; remove it"),
        (lambda: EventFeature("ratio", None, per="b"), "an event type beside per"),
        (lambda: EventFeature("trend", "a", half_life=7), "no half_life with trend"),
        (lambda: EventFeature("count", None, contents=("x",), label="x"), "an event type beside contents"),
        (lambda: EventFeature("count", "a", contents=("x",)), "contents and the label they have together"),
        (lambda: EventFeature("count", "a", label="x"), "contents and the label they have together"),
        (lambda: EventFeature("count", "a", contents=(), label="x"), "contents and the label"),
        (lambda: EventFeature("count", "a", contents=("x",), label="x", content="x"), "found both"),
        (lambda: EventFeature("count", None, content="a"), "an event type beside content"),
        (lambda: EventFeature("count", "a", types=("a",)), "either event or types"),
        (lambda: EventFeature("count", None, types=()), "at least one of types"),
        (lambda: AttributeFeature("category"), "a field with category"),
        (lambda: AttributeFeature("lead_age", "a"), "no field with lead_age"),
        (lambda: AttributeFeature("filled_share"), "fields with filled_share"),
        (lambda: AttributeFeature("number", "a", levels=("x",)), "no levels with number"),
        (
            lambda: AttributeFeature("number", "a", together=("b", "c")),
            "the field among those it is told together",
        ),
        (lambda: AttributeFeature("lead_age", together=("a",)), "the field among those it is told together"),
        (lambda: Roles(families={"a": "engaged"}), "as family"),
    ],
)
def test_parts_that_do_not_fit_are_refused(make, text):
    with pytest.raises(UsageError, match=text):
        make()


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"of": "events", "aggregate": "count", "event": "a"},
        {"of": "event", "event": "a"},
        {"of": "event", "aggregate": "count", "event": "a", "windw": 7},
        {"of": "event", "aggregate": "count", "event": "a", "window": "7"},
        {"of": "event", "aggregate": "count", "event": "a", "window": True},
        {"of": "event", "aggregate": "count", "event": "a", "window": -1},
        {"of": "event", "aggregate": ["count"], "event": "a"},
        {"of": "event", "aggregate": "count", "event": "a", "contents": "x", "label": "x"},
        {"of": "event", "aggregate": "count", "event": "a", "channel": 7},
        {"of": "event", "aggregate": "ratio", "event": "a"},
        {"of": "attribute", "aggregate": "category", "field": "a", "levels": "abc"},
        {"of": "attribute", "aggregate": "category", "field": "a", "levels": [1]},
        {"of": "attribute", "aggregate": "category", "field": "a", "together": "ab"},
        {"of": "attribute", "aggregate": "category", "field": "a", "together": ["b", "c"]},
        {"of": ["event"], "aggregate": "count"},
    ],
)
def test_what_was_not_saved_is_refused(values):
    with pytest.raises(ModelError, match="a feature as it was saved"):
        from_dict(values)


# -------------------------------------------------------------------------------------- attributes by default
def test_attributes_by_their_kinds():
    rng = np.random.default_rng(0)
    found = declare(
        tables(
            {
                "size": pa.array(rng.normal(size=LEADS)),
                "colour": pa.array(rng.choice(["red", "blue", "green"], LEADS)),
                "title": pa.array(rng.choice(["CEO", "Intern"], LEADS)),
                "mail": pa.array(rng.choice(["a@gmail.com", "a@acme.com"], LEADS)),
                "trial": pa.array(rng.integers(0, 9, LEADS), pa.timestamp("us", "UTC")),
                "note": pa.array([f"note {i}" for i in range(LEADS)]),
                "person": pa.array([f"person {i}" for i in range(LEADS)]),
                "constant": pa.array(["x"] * LEADS),
                "zero": pa.array(np.zeros(LEADS)),
                "nothing": pa.nulls(LEADS, pa.string()),
                "secret": pa.array(rng.choice(["yes", "no"], LEADS)),
            },
            kinds={"trial": "time", "note": "text"},
        ),
        exclude={"secret"},
        roles=Roles(titles=("title",), emails=("mail",), families={"size": "engagement"}),
    )
    assert found == (
        AttributeFeature("number", "size", family="engagement"),
        AttributeFeature("category", "colour", levels=("blue", "green", "red")),
        AttributeFeature("seniority", "title"),
        AttributeFeature("department", "title"),
        AttributeFeature("email_domain_kind", "mail"),
        AttributeFeature("days_since", "trial"),
        AttributeFeature("lead_age", family="engagement"),
    )


def test_without_a_clock_nothing_needs_one():
    columns = {
        "trial": pa.array(np.arange(LEADS), pa.timestamp("us", "UTC")),
        "size": pa.array(np.arange(1.0, LEADS + 1)),
    }
    assert names(declare(tables(columns, clock=False, kinds={"trial": "time"}))) == ["size"]


def test_rare_levels_are_pooled_and_named_ones_kept():
    words = ["common"] * 900 + ["twenty"] * 20 + ["nineteen"] * 19 + ["seven"] * 7 + [None] * 54
    (found, *_) = declare(tables({"a": pa.array(words)}))
    assert found.levels == ("common", "twenty")
    (found, *_) = declare(tables({"a": pa.array(words)}), keep_levels={"a": ("seven", "never seen")})
    assert found.levels == ("common", "never seen", "seven", "twenty")


@pytest.mark.parametrize(("others", "stays"), [(19, False), (20, True)])
def test_category_must_vary_for_enough_leads(others, stays):
    words = ["no"] * (LEADS - others) + ["yes"] * (others - 5) + ["perhaps"] * 5
    assert names(declare(tables({"a": pa.array(words)}, clock=False))) == (["a"] if stays else [])


def test_missing_counts_as_variation():
    columns = {"a": pa.array(["yes"] * 500 + [None] * 500), "b": pa.array([1.0] * 500 + [None] * 500)}
    assert names(declare(tables(columns, clock=False))) == ["a", "b", "filled_share"]


def test_named_fields_are_never_left_out():
    columns = {
        "constant": pa.array([1.0] * LEADS),
        "rare": pa.array(["only one"] + [None] * (LEADS - 1)),
        "empty": pa.nulls(LEADS, pa.string()),
        "text": pa.array([f"note {i}" for i in range(LEADS)]),
    }
    named = {"constant": (), "rare": ("only one",), "empty": (), "text": ("note 7",)}
    title = Roles(titles=("text",))
    found = declare(tables(columns, clock=False, kinds={"text": "text"}), roles=title, keep_levels=named)
    assert [(f.name, f.levels) for f in found if f.name in named] == list(named.items())


@pytest.mark.parametrize(("frequent", "stays"), [(499, False), (501, True)])
def test_category_of_many_words_needs_frequent_ones(frequent, stays):
    words = ["acme"] * frequent + [f"company {i}" for i in range(LEADS - frequent)]
    found = declare(tables({"company": pa.array(words)}, clock=False))
    assert names(found) == (["company"] if stays else [])


def test_filled_share_looks_at_the_fields_that_are_read():
    half = [None, 1.0] * (LEADS // 2)
    columns = {"a": pa.array(half), "b": pa.array(np.arange(LEADS, dtype=float)), "leak": pa.array(half)}
    found = declare(tables(columns), exclude={"leak"})
    assert AttributeFeature("filled_share", fields=("a", "b")) in found


# ------------------------------------------------------------------------------------------ events by default
def test_events_of_enough_leads():
    """5 of 1,000 leads are enough, 4 are not; what happens once a lead needs no windows."""
    events = happened(("often", [*range(100)] * 3), ("once", range(5)), ("rare", [*range(4)] * 9))
    found = declare(tables(events=events), roles=Roles(operations=("once",)))
    assert names(found) == [
        "lead_age",
        *(f"often_{what}" for what in ("count", "decayed_14d", "recency")),
        *(f"often_count_{days}d" for days in (7, 30, 90)),
        "often_active_days",
        *(f"once_{what}" for what in ("count", "decayed_14d", "recency")),
        "engagement_count",
        *(f"engagement_{what}_{days}d" for days in (7, 30, 90) for what in ("count", "active_days")),
        *(f"engagement_{what}" for what in ("decayed_14d", "trend_7d", "recency", "active_days")),
    ]
    assert {f.event: f.family for f in found if isinstance(f, EventFeature) and f.event} == {
        "often": "engagement",
        "once": "operations",
    }
    # rare types have no features of their own and still count among all
    assert all(f.types == ("often", "rare") for f in found if f.name.startswith("engagement_"))


def test_types_to_ignore_are_nowhere():
    events = happened(("a", range(99)), ("b", range(99)), ("c", range(99)))
    found = declare(tables(events=events), roles=Roles(ignore=("b",)))
    assert {f.event for f in found if isinstance(f, EventFeature)} == {None, "a", "c"}
    assert all(f.types == ("a", "c") for f in found if f.name.startswith("engagement_"))


def test_values_and_contents_where_there_are_any():
    leads = [*range(100)] * 2
    contents = ["/pricing"] * 150 + ["/docs"] * 40 + ["/rare"] * 4 + ["/docs"] * 6 + ["only"] * 200
    value = np.r_[np.full(200, np.nan), np.full(200, 3.0)]
    events = happened(("view", leads), ("buy", leads), contents=contents, value=value)
    found = names(declare(tables(events=events)))
    assert {"buy_sum", "buy_mean", "view_pricing_count", "view_docs_count", "view_distinct_contents"} <= {
        *found
    }
    assert not {"view_sum", "view_rare_count", "buy_only_count", "buy_distinct_contents"} & {*found}


def test_ratios_where_names_say_so():
    types = (
        "email_click",
        "email_open",
        "email_sent",
        "email_bounce",
        "Link Clicked",
        "LinkOpened",
        "sms_open",
    )
    events = happened(*((name, range(40)) for name in types), ("sms_sent", range(4)))  # too rare
    found = declare(tables(events=events), roles=Roles(operations=("email_sent", "email_bounce")))
    ratios = {(f.event, f.per): f.family for f in found if isinstance(f, EventFeature) and f.per}
    assert ratios == {
        ("email_click", "email_open"): "engagement",
        ("Link Clicked", "LinkOpened"): "engagement",
        ("email_open", "email_sent"): "engagement",
        ("email_bounce", "email_sent"): "operations",
    }


def test_channels_that_types_share():
    leads = [*range(100)]
    events = happened(("call", leads), ("staff", leads), ("visit", leads * 2), ("web", leads))
    channel = (
        ["phone"] * 100 + ["web", "crm"] * 50 + ["ads"] * 90 + ["mail"] * 96 + ["rare"] * 4 + ["ads"] * 10
    )
    words = tuple(sorted({*channel, "site"}))
    codes = np.array([words.index(word) for word in [*channel, *["site"] * 100]], np.int32)
    events = replace(events, channel=Coded(codes, words))
    found = declare(tables(events=events), roles=Roles(operations=("staff",)))
    by_channel = [f for f in found if isinstance(f, EventFeature) and f.channel]
    assert [(f.channel, f.aggregate, f.event) for f in by_channel] == [
        (channel, aggregate, None) for channel in ("ads", "mail") for aggregate in ("count", "recency")
    ]
    assert all(f.types == ("call", "visit", "web") for f in by_channel)


def test_at_most_eight_contents_the_most_frequent():
    pages = [f"page {i:02d}" for i in range(12) for _ in range(20 + i)]
    events = happened(("view", range(len(pages))), contents=pages)
    found = [f.content for f in declare(tables(events=events)) if isinstance(f, EventFeature) and f.content]
    assert sorted(found) == [f"page {i:02d}" for i in range(4, 12)]


def test_of_two_with_one_name_the_more_frequent_stays():
    events = happened(("e mail", range(50)), ("e_mail", range(90)))
    found = declare(tables(events=events))
    assert Counter(names(found)).most_common(1)[0][1] == 1
    assert next(f for f in found if f.name == "e_mail_count").event == "e_mail"


def test_too_many_are_cut_from_the_least_telling():
    events = happened(*((f"type {i:02d}", [*range(20 + i)] * 2) for i in range(30)))
    found = [f for f in declare(tables(events=events)) if isinstance(f, EventFeature)]
    assert len(found) == MOST_EVENT_FEATURES
    counts = {f.event for f in found if f.event and f.aggregate == "count" and f.window is None}
    windows = Counter(f.event for f in found if f.event and f.window is not None)
    assert len(counts) == 30
    assert not any(f.aggregate == "active_days" and f.event for f in found)
    assert set(windows) == {f"type {i:02d}" for i in range(30 - len(windows), 30)}
    assert 0 < len(windows) < 30


# ------------------------------------------------------------------------------------------- declared by hand
def test_extra_comes_in_place_of_a_default():
    events = happened(("a", range(99)), ("b", [*range(99)] * 2))
    mine = EventFeature("count", "b", window=7, family="operations")
    found = declare(tables(events=events), extra=(mine, EventFeature("first_seen", "a")))
    assert Counter(names(found)).most_common(1)[0][1] == 1
    assert mine in found
    assert "a_first_seen" in names(found)


def test_extra_is_completed_from_the_tables():
    events = happened(("a", range(99)), ("b", range(99)), ("staff", range(99)))
    columns = {"source": pa.array(["ads"] * 500 + ["fair"] * 490 + ["odd"] * 10)}
    found = declare(
        tables(columns, events=events),
        roles=Roles(operations=("staff",)),
        extra=(EventFeature("recency", None), AttributeFeature("category", "source", family="operations")),
        keep_levels={"source": ("odd",)},
    )
    assert EventFeature("recency", None, types=("a", "b")) in found
    assert AttributeFeature("category", "source", levels=("ads", "fair", "odd"), family="operations") in found


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"extra": [AttributeFeature("number", "siez")]}, DataError, "did you mean 'size'"),
        (
            {"extra": [AttributeFeature("category", "size")]},
            DataError,
            "a category or text in column 'size'; found a number",
        ),
        (
            {"extra": [AttributeFeature("number", "size")], "exclude": ["size"]},
            UsageError,
            "which is excluded",
        ),
        ({"extra": [AttributeFeature("number", "size")] * 2}, UsageError, "'size' twice"),
        ({"roles": Roles(titles=("titel",))}, DataError, "'titel'"),
    ],
)
def test_extra_that_cannot_be_meant(arguments, error, text):
    with pytest.raises(error, match=text):
        declare(tables({"size": pa.array(np.arange(LEADS, dtype=float))}), **arguments)


def test_order_of_leads_and_events_does_not_matter():
    rng = np.random.default_rng(3)
    order = rng.permutation(LEADS)
    columns = {
        "a": pa.array(rng.choice([f"word {i}" for i in range(60)], LEADS)),
        "b": pa.array(rng.choice([1.0, 2.0, np.nan], LEADS), from_pandas=True),
    }
    events = happened(("x", rng.integers(0, LEADS, 300)), ("y", rng.integers(0, LEADS, 300)))
    mixed = rng.permutation(len(events.lead))
    shuffled = Events(np.argsort(order)[events.lead][mixed], events.at, events.type[mixed], events.types)
    again = tables({name: values.take(pa.array(order)) for name, values in columns.items()}, events=shuffled)
    assert declare(again) == declare(tables(columns, events=events))
