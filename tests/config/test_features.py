"""Features declared by hand in a config: what they become, and what is said of those that cannot be meant."""

from pathlib import Path

import pytest
import yaml

from leadscore import config, train
from leadscore.errors import ConfigError
from leadscore.features.declare import EventFeature, from_dict, to_dict

DECLARED = [
    {"aggregate": "trend", "event": "any"},
    {"aggregate": "ratio", "event": "click", "per": "sent", "window": "30d", "channel": "newsletter"},
    {
        "aggregate": "count",
        "event": "view",
        "contents": ["/plans", 404],
        "label": "pricing pages",
        "window": "12h",
    },
    {"aggregate": "decayed_sum", "event": "order", "half_life": "2w"},
    {"aggregate": "recency", "event": "view", "content": "/plans"},
]
FEATURES = (
    EventFeature("trend", None, window=7),
    EventFeature("ratio", "click", window=30, family="engagement", channel="newsletter", per="sent"),
    EventFeature("count", "view", window=0.5, contents=("404", "/plans"), label="pricing pages"),
    EventFeature("decayed_sum", "order", half_life=14),
    EventFeature("recency", "view", content="/plans"),
)
EVENTS = {
    "path": "events.csv",
    "content": "page",
    "channel": "way",
    "value": "worth",
    "operations": ["sent"],
}


def settings(declared, **changes):
    return {
        "name": "mine",
        "leads": {"path": "leads.csv", "lead_id": "id", "created_at": "since"},
        "events": {**EVENTS, "lead_id": "id"},
        "outcomes": {"path": "outcomes.csv", "lead_id": "id", "stages": {"Won": "won"}},
        "features": {"declare": declared},
        "points": [{"event": "view", "each": 1}],
        **changes,
    }


def read(place: Path, declared, **changes):
    (place / "mine.yaml").write_text(yaml.safe_dump(settings(declared, **changes)))
    return config.read(place / "mine.yaml")


def test_every_key_reaches_the_feature(tmp_path):
    assert read(tmp_path, DECLARED).asked == (EventFeature("count", "view"), *FEATURES)
    bounce = {"aggregate": "count", "event": "sent"}
    assert read(tmp_path, [bounce]).asked[-1].family == "operations"


def test_what_yaml_holds_of_a_feature_is_the_feature():
    for feature in FEATURES:
        assert from_dict(yaml.safe_load(yaml.safe_dump(to_dict(feature)))) == feature


def test_the_same_as_a_rule_reads_is_declared_once(tmp_path):
    assert len(read(tmp_path, [{"aggregate": "count", "event": "view"}]).asked) == 1
    assert len(read(tmp_path, [DECLARED[0]] * 2).asked) == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"agregate": "count"}, "features.declare (entry 2).agregate' (did you mean 'aggregate'?)"),
        ({"aggregate": "cuont"}, "features.declare (entry 2): expected one of count, decayed_count"),
        ({"aggregate": "cuont"}, "found 'cuont' (did you mean 'count'?)"),
        ({"aggregate": "ratio"}, "expected per with a ratio, and only there; found none; set per"),
        ({"per": "sent"}, "expected per with a ratio, and only there; found it with count; remove it"),
        ({"aggregate": "trend", "half_life": "7d"}, "expected no half_life with trend; found 7 days"),
        ({"contents": ["/a"]}, "contents and the label they have together"),
        ({"contents": [], "label": "no"}, "features.declare (entry 2).contents: expected at least one entry"),
        ({"contents": ["/a"], "label": "a", "content": "/b"}, "either content or contents; found both"),
        ({"event": "any", "content": "/a"}, "an event type beside content"),
        ({"window": 7}, "features.declare (entry 2).window: expected a duration"),
        ({"content": True}, "features.declare (entry 2).content: expected a word or a number"),
        ({"event": None}, "features.declare (entry 2).event: expected"),
    ],
)
def test_one_line_says_what_is_wrong_and_where(tmp_path, line, said):
    said_of(tmp_path, said, declared=[DECLARED[0], {"aggregate": "count", "event": "view"} | line])


def said_of(place, said, declared, **changes):
    with pytest.raises(ConfigError) as caught:
        read(place, declared, **changes)
    assert str(caught.value).startswith(f"{place}/mine.yaml: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("column", ["content", "channel", "value"])
def test_columns_that_a_feature_needs_are_named_under_events(tmp_path, column):
    events = {key: value for key, value in settings([])["events"].items() if key != column}
    said_of(tmp_path, f"expected events.{column}, for ", DECLARED, events=events)


def test_features_of_events_need_events(tmp_path):
    said = "expected an events section, for features.declare (entry 1); found none"
    points = [{"field": "size", "each": 1}]
    said_of(tmp_path, said, DECLARED, events=None, points=points)


def test_two_of_one_name_are_refused(tmp_path):
    clash = [DECLARED[4], {"aggregate": "recency", "event": "view", "contents": ["a"], "label": "plans"}]
    said_of(tmp_path, "found another 'view_plans_recency' in features.declare (entry 2)", clash)


def test_they_are_columns_of_what_models_see(tmp_path, demo_settings):
    declared = [
        {"aggregate": "ratio", "event": "webinar", "per": "download"},
        {
            "aggregate": "trend",
            "event": "page_view",
            "contents": ["/pricing", "/features"],
            "label": "product",
        },
        {"aggregate": "recency", "event": "any", "channel": "website"},
    ]
    (tmp_path / "demo.yaml").write_text(
        yaml.safe_dump(demo_settings | {"features": demo_settings["features"] | {"declare": declared}})
    )
    X = train.prepare(config.read(tmp_path / "demo.yaml")).data.X
    for name in ("webinar_per_download", "page_view_product_trend_7d", "engagement_via_website_recency"):
        assert X[name].nunique() > 5
