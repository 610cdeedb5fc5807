"""Rules as lines that people write: whatever is written is read back as the same rules."""

import io
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from leadscore.config.compiling import compiled
from leadscore.config.sections import Project
from leadscore.errors import UsageError
from leadscore.features.declare import AttributeFeature, EventFeature, Feature
from leadscore.files import write_table
from leadscore.models.conditions import Condition
from leadscore.models.points import PointRule
from leadscore.points.lines import lines, named, to_frame, to_yaml

SECTIONS: dict[str, Any] = {
    "name": "demo",
    "leads": {"path": "leads.csv", "created_at": "created_at"},
    "events": {"path": "events.csv", "content": "content", "operations": ["call"]},
    "outcomes": {"path": "outcomes.csv", "stages": {"Won": "won"}},
    "families": {"engagement": ["hours"]},
}
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).filter(str.strip)
NUMBERS = st.floats(-1e9, 1e9, allow_nan=False).map(lambda value: value + 0.0)
POINTS = st.integers(-100, 100).filter(bool).map(float)


def read(text: bytes) -> tuple[PointRule, ...]:
    return compiled(Project.model_validate({**SECTIONS, **yaml.safe_load(text)}), Path()).points


@st.composite
def ruled(draw: st.DrawFn) -> tuple[PointRule, Feature]:
    feature: Feature
    kind = draw(st.sampled_from(["number", "category", "seniority", "count", "decayed_count"]))
    if kind in ("count", "decayed_count"):
        feature = EventFeature(
            kind,
            draw(st.sampled_from(["page_view", "call", None])),
            window=draw(st.sampled_from([None, 0.5, 7.0])) if kind == "count" else None,
            half_life=draw(st.sampled_from([1.0, 14.0])) if kind == "decayed_count" else None,
        )
        if feature.event == "call":
            feature = EventFeature(kind, "call", feature.window, feature.half_life, family="operations")
        if feature.event and draw(st.booleans()):
            feature = EventFeature(
                kind, feature.event, feature.window, feature.half_life, draw(WORDS), feature.family
            )
    else:
        feature = AttributeFeature(kind, draw(st.sampled_from(["hours", "Plan B", "no"])))
    if kind == "decayed_count" or (kind != "category" and kind != "seniority" and draw(st.booleans())):
        return PointRule("", draw(POINTS), per=feature.name, cap=float(draw(st.integers(1, 100)))), feature
    conditions = {
        "number": st.tuples(st.sampled_from(["at_least", "below"]), NUMBERS),
        "count": st.tuples(st.sampled_from(["at_least", "below"]), st.integers(1, 9).map(float)),
        "category": st.one_of(
            st.tuples(st.sampled_from(["in", "not_in"]), st.lists(WORDS, min_size=1, max_size=6).map(tuple)),
            st.tuples(st.just("is"), WORDS),
            st.tuples(st.sampled_from(["missing", "present"]), st.none()),
        ),
    }
    op, value = draw(conditions["category" if kind == "seniority" else kind])
    return PointRule("", draw(POINTS), Condition(feature.name, op, value)), feature


@settings(max_examples=80)
@given(st.lists(ruled(), min_size=1, max_size=5))
def test_what_is_written_is_read_back_as_the_same_rules(drawn: list[tuple[PointRule, Feature]]) -> None:
    features = {feature.name: feature for _, feature in drawn}
    mine = [(rule, feature) for rule, feature in drawn if features[feature.name] == feature]
    rules = named([rule for rule, _ in mine], features, {"hours": "engagement"})
    assert read(to_yaml(rules, features, ["learned", "so\nand so"])) == rules
    assert len({rule.label for rule in rules}) == len(rules)


def test_lines_look_as_people_write_them() -> None:
    features = {
        feature.name: feature
        for feature in (
            EventFeature("decayed_count", "page_view", half_life=14, content="/pricing"),
            EventFeature("count", None, window=7),
            AttributeFeature("seniority", "job_title"),
            AttributeFeature("number", "company_size"),
        )
    }
    decayed, anything, seniority, size = features
    rules = [
        PointRule("", 5, per=decayed, cap=15),
        PointRule("", -10, Condition(anything, "below", 1)),
        PointRule("", 15, Condition(seniority, "in", ("c_level", "vp"))),
        PointRule("", 10, Condition(size, "at_least", 200)),
        PointRule("", -3, Condition(size, "missing")),
    ]
    assert lines(named(rules, features, {}), features) == [
        {
            "event": "page_view",
            "content": "/pricing",
            "each": 5,
            "cap": 15,
            "half_life": "14d",
            "label": "Page views of /pricing, each, half after 14 days",
        },
        {
            "event": "any",
            "within": "7d",
            "below": 1,
            "points": -10,
            "label": "Activities of any kind: below 1 in 7 days",
        },
        {
            "field": "job_title",
            "read_as": "seniority",
            "in": ["c_level", "vp"],
            "points": 15,
            "label": "Job title (seniority): c_level or vp",
        },
        {"field": "company_size", "at_least": 200, "points": 10, "label": "Company size: 200 or more"},
        {"field": "company_size", "missing": True, "points": -3, "label": "Company size: not known"},
    ]
    table = to_frame(named(rules, features, {}), features)
    assert table["condition"].tolist() == [
        "each time with content /pricing",
        "below 1 times in the last 7 days",
        "seniority c_level or vp",
        "200 or more",
        "not known",
    ]
    assert table["fades"].tolist() == ["half after 14 days", "never", "never", "never", "never"]
    assert math.isnan(table["at most"].iloc[1])


def test_the_table_is_safe_for_a_spreadsheet(tmp_path: Any) -> None:
    feature = AttributeFeature("category", "source", levels=("=1+1", "@x"))
    rules = named([PointRule("", 5, Condition("source", "is", "=1+1"))], {"source": feature}, {})
    kept = write_table(to_frame(rules, {"source": feature}), tmp_path / "points.csv")
    row = pd.read_csv(io.BytesIO(kept.read_bytes())).iloc[0]
    assert row["condition"] == "'=1+1"
    assert row["points"] == 5


@pytest.mark.parametrize(
    "feature",
    [EventFeature("ratio", "click", per="open"), EventFeature("count", "open", channel="ads")],
    ids=["ratio", "channel"],
)
def test_what_no_line_can_name_is_refused(feature: EventFeature) -> None:
    rule = PointRule("", 5, Condition(feature.name, "at_least", 1))
    with pytest.raises(UsageError, match="a feature that a line of the point table can name"):
        lines([rule], {feature.name: feature})
