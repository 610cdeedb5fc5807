"""Configurations: what the shipped ones mean, and what each mistake is told."""

import copy
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from leadscore import config
from leadscore.data.tables import ROW_NUMBER
from leadscore.errors import ConfigError
from leadscore.features.declare import AttributeFeature, EventFeature
from leadscore.models.conditions import Condition
from leadscore.models.points import PointRule
from leadscore.policy.rules import Rule
from leadscore.project import Files, SimulatedWorld, Target
from leadscore.simulate import CONTRACT

CONFIGS = Path(__file__).parents[2] / "configs"
TAUGHT = re.compile(r"^(\S.*: )?expected \S.*; found \S.*; \S.*$")


def refused(path: Path) -> str:
    """The one line that a configuration is refused with."""
    with pytest.raises(ConfigError) as caught:
        config.read(path)
    line = str(caught.value)
    assert caught.value.exit_code == 2
    assert TAUGHT.match(line), line
    assert "\n" not in line
    assert path.name in line
    return line


def settled(*where_and_value: Any) -> Callable[[dict[str, Any]], object]:
    """A change that puts a value at a place in the settings."""
    *places, key, value = where_and_value

    def change(settings: dict[str, Any]) -> object:
        part = settings
        for place in places:
            part = part.setdefault(place, {})
        part[key] = value
        return None

    return change


def ruled(**line: Any) -> Callable[[dict[str, Any]], object]:
    """A change that leaves one line of points."""
    return settled("points", [{key.rstrip("_"): value for key, value in line.items()}])


@pytest.fixture
def written(tmp_path: Path, wide_settings: dict[str, Any]) -> Callable[..., Path]:
    """Write the wide table's settings, changed."""

    def written(change: Callable[[dict[str, Any]], object] = lambda _: None) -> Path:
        settings = copy.deepcopy(wide_settings)
        change(settings)
        path = tmp_path / "asked.yaml"
        path.write_text(yaml.safe_dump(settings, sort_keys=False))
        return path

    return written


# --------------------------------------------------------------------------------------- the shipped ones
@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_config_reads(path: Path) -> None:
    project = config.read(path)
    assert project.name == path.stem
    assert len(project.points) >= 8
    assert len({rule.label for rule in project.points}) == len(project.points)
    assert not {rule.column for rule in project.points} & set(project.exclude)


def test_there_is_a_config_for_each_of_the_four_projects() -> None:
    names = {path.stem for path in CONFIGS.glob("*.yaml")}
    assert names >= {"demo", "x_education", "bank_marketing", "loan_applications"}


def test_the_demo_reads_the_tables_that_the_world_has() -> None:
    project = config.read(CONFIGS / "demo.yaml")
    assert isinstance(project.source, SimulatedWorld)
    without_company = replace(project.contract, ignore=CONTRACT.ignore)
    assert without_company == CONTRACT


def test_the_bank_goes_forward_by_the_number_of_the_row() -> None:
    project = config.read(CONFIGS / "bank_marketing.yaml")
    contract = project.contract
    assert (contract.lead_id, contract.order_by, contract.delimiter) == (ROW_NUMBER, ROW_NUMBER, ";")
    assert (contract.target, contract.won_values) == ("y", ("yes",))
    assert contract.field_missing == {"pdays": ("999",)}
    assert {"duration", "campaign"} == set(project.exclude)
    assert (project.split, project.horizon, project.target) == ("forward", None, Target(share=0.10))


def test_the_loans_are_an_event_log_looked_at_at_four_ages() -> None:
    project = config.read(CONFIGS / "loan_applications.yaml")
    assert project.contract.event_log
    assert project.contract.outcome_events["A_ACTIVATED"] == "won"
    assert (project.ages, project.horizon) == ((1.0, 3.0, 7.0, 14.0), 30.0)
    assert isinstance(project.source, Files)
    assert project.source.leads is None
    assert "W_Nabellen offertes" in project.roles.operations


# ------------------------------------------------------------------------------------------ what it means
def test_paths_are_relative_to_the_file(written: Callable[..., Path]) -> None:
    path = written()
    assert config.read(path).source == Files(leads=path.parent / "leads.csv")


@pytest.mark.parametrize(("text", "days"), [("30d", 30.0), ("12h", 0.5), ("2w", 14.0), ("1.5 d", 1.5)])
def test_durations(written: Callable[..., Path], text: str, days: float) -> None:
    assert config.read(written(settled("label", "ages", [text]))).ages == (days,)


def test_lines_of_points_and_rules(written: Callable[..., Path]) -> None:
    lines = [
        {"field": "Channel", "in": ["Ads", "Search"], "points": 5},
        {"field": "Hours", "between": [2, 4], "points": -3, "label": "a few hours"},
        {"field": "Visits", "each": 2, "cap": 6},
        {"field": "Title", "read_as": "seniority", "is": "vp", "points": 9},
        {"event": "visit", "content": "/pricing", "each": 1, "half_life": "1w"},
        {"event": "visit", "each": 1, "within": "30d"},
        {"event": "any", "inactive_for": "2w", "points": -4},
        {"event": "call", "points": 8},
    ]

    def change(settings: dict[str, Any]) -> None:
        settings["points"] = lines
        settings["events"] = {"path": "e.csv", "content": "page", "operations": ["call"]}
        settings["policy"] = {
            "capacity": "5 per week",
            "suppress": [{"name": "rival", "field": "Plan", "is": "rival"}],
            "fast_track": [{"name": "called", "event": "call", "within": "2d", "reason": "waits"}],
        }

    project = config.read(written(change))
    seniority = AttributeFeature("seniority", "Title", family="fit")
    decayed = EventFeature("decayed_count", "visit", half_life=7.0, content="/pricing")
    visits = EventFeature("count", "visit", window=30.0)
    quiet = EventFeature("recency", None)
    called = EventFeature("count", "call", family="operations")
    recently = EventFeature("count", "call", window=2.0, family="operations")
    assert project.points == (
        PointRule(
            "Channel in Ads, Search", 5, Condition("Channel", "in", ["Ads", "Search"]), concept="Channel"
        ),
        PointRule(
            "a few hours", -3, Condition("Hours", "between", [2, 4]), concept="Hours", family="engagement"
        ),
        PointRule("Visits", 2, per="Visits", cap=6, concept="Visits", family="engagement"),
        PointRule(
            "Title seniority is vp", 9, Condition(seniority.name, "is", "vp"), concept=seniority.concept
        ),
        PointRule("visit /pricing", 1, per=decayed.name, concept=decayed.concept, family="engagement"),
        PointRule("visit in 30 days", 1, per=visits.name, concept=visits.concept, family="engagement"),
        PointRule(
            "nothing happened for 14 days",
            -4,
            Condition(quiet.name, "at_least", 14.0),
            concept=quiet.concept,
            family="engagement",
        ),
        PointRule(
            "call", 8, Condition(called.name, "at_least", 1), concept=called.concept, family="operations"
        ),
    )
    assert set(project.asked) == {seniority, decayed, visits, quiet, called, recently}
    words = {"Channel": ("Ads", "Search"), "Hours": (), "Visits": (), "Plan": ("rival",)}
    assert project.keep_levels == words
    assert project.target == Target(capacity=5.0)
    assert project.suppress == (Rule("rival", (Condition("Plan", "is", "rival"),)),)
    assert project.fast_track == (Rule("called", (Condition(recently.name, "at_least", 1),), "waits"),)


def test_thresholds_by_segment_hysteresis_and_cool_down(written: Callable[..., Path]) -> None:
    policy = {
        "capacity": "60 a week",
        "segment": {"field": "Channel", "capacity": {"Webinar": "10 a week", 2024: "2.5 a week"}},
        "stay": 0.8,
        "cool_down": "2w",
        "value": 1200,
        "cost": 30,
        "missed_cost": 5,
    }
    project = config.read(written(settled("policy", policy)))
    assert project.target == Target(
        capacity=60.0,
        value=1200.0,
        cost=30.0,
        missed_cost=5.0,
        segment="Channel",
        capacities={"Webinar": 10.0, "2024": 2.5},
    )
    assert (project.stay, project.cool_down) == (0.8, 14.0)
    assert set(project.keep_levels["Channel"]) >= {"Webinar", "2024"}
    persona = {"segment": {"field": "Title", "read_as": "department", "equal_recall": True}}
    project = config.read(written(settled("policy", persona)))
    department = AttributeFeature("department", "Title", family="fit")
    assert project.target == Target(share=0.2, segment=department.name, equal_recall=True)
    assert department in project.asked
    assert (project.stay, project.cool_down) == (1.0, 0.0)


def test_the_demo_says_how_it_speaks() -> None:
    phrases = config.read(CONFIGS / "demo.yaml").phrases
    visits = phrases.of_event("page_view", "/pricing")
    assert visits is not None
    assert (visits.one, visits.many) == ("visit to the pricing page", "visits to the pricing page")
    assert phrases.of_event("page_view") is None
    assert phrases.label("company_size") == "number of employees"


def test_a_number_of_words_is_text(written: Callable[..., Path]) -> None:
    entries = [
        {"field": "404", "label": 404},
        {"feature": "days", "says": "{value} of 7", "missing": "none of 7"},
        {"field": "title", "read_as": "seniority", "says": "{value}"},
    ]
    found = config.read(written(settled("wording", entries))).phrases
    assert [(one.kind, one.name, one.read_as, one.label, one.says, one.missing) for one in found.values] == [
        ("field", "404", None, "404", None, None),
        ("feature", "days", None, None, "{value} of 7", "none of 7"),
        ("field", "title", "seniority", None, "{value}", None),
    ]


def test_ids_are_called_as_in_the_leads_unless_said_otherwise(written: Callable[..., Path]) -> None:
    def change(settings: dict[str, Any]) -> None:
        del settings["leads"]["target"]
        settings["events"] = {"path": "e.csv", "lead_id": "who"}
        settings["outcomes"] = {"path": "o.csv", "stages": {}}

    contract = config.read(written(change)).contract
    assert contract.event_columns["lead_id"] == "who"
    assert contract.outcomes is not None
    assert contract.outcomes.lead_id is None


def test_a_section_without_lines_is_as_none_at_all(written: Callable[..., Path]) -> None:
    path = written()
    before = config.read(path)
    path.write_text(path.read_text() + "label:\n  # horizon: 30d\npolicy:\nallow:\n")
    assert config.read(path) == before


def test_a_section_may_be_merged_from_another(written: Callable[..., Path]) -> None:
    path = written(lambda settings: settings.pop("points"))
    path.write_text(
        path.read_text() + "points:\n- &ads {field: Channel, is: Ads, points: 3}\n- {<<: *ads, is: Search}\n"
    )
    assert [rule.when.value for rule in config.read(path).points if rule.when] == ["Ads", "Search"]


# ------------------------------------------------------------------------------------ what is no such file
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "nothing"),
        (b"# only a comment\n", "nothing"),
        (b"- a\n- b\n", "a list"),
        (b"hello", "one value"),
        (b"name: a\n\tleads: b\n", "line 2"),
        (b"name: [a\n", "line 2"),
        (b"name: a\nleads: {path: x, path: y}\n", "key 'path' is written twice in line 2"),
        (b"name: a\nname: b\n", "key 'name' is written twice"),
        (b"? [a, b]\n: c\n", "unhashable key"),
        (b"name: !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
        (b"a: &a [*a]\n", "recursive"),
        (b"[" * 1_000 + b"]" * 1_000, "without end"),
        (bytes(range(256)), "bytes that are no text"),
        (b"\x00" * 64, "bytes that are no text"),
        ("name: Müller\n".encode("latin-1"), "bytes that are no text"),
        (b"PAR1" + b"\xc8\x03\x09" * 50, "bytes that are no text"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "asked.yaml"
    path.write_bytes(content)
    assert said in refused(path)


def test_no_file(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "nothing.yaml")
    (tmp_path / "folder.yaml").mkdir()
    assert "directory" in refused(tmp_path / "folder.yaml")


def test_a_bomb_of_aliases_is_not_written_out(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    path = tmp_path / "asked.yaml"
    path.write_text("\n".join([*lines, "name: *a9"]))
    refused(path)


# ----------------------------------------------------------------------------------------- what is mistaken
MISTAKES: dict[str, tuple[Callable[[dict[str, Any]], object], tuple[str, ...]]] = {
    # keys
    "unknown section": (settled("pionts", []), ("'pionts'", "did you mean 'points'")),
    "unknown key": (settled("leads", "created", "x"), ("'leads.created'", "did you mean 'created_at'")),
    "unknown key in a line": (ruled(feild="A", is_="B", points=1), ("points (entry 1).feild", "'field'")),
    "unknown key, none near": (settled("families", "mood", ["x"]), ("fit, engagement, operations",)),
    "a number as key": (settled(3, "x"), ("keys that are words", "'3'")),
    "control characters": (settled("\x1b[31mred\n", 1), ("'[31mred'",)),
    "no name": (lambda settings: settings.pop("name"), ("expected name",)),
    "no points": (lambda settings: settings.pop("points"), ("expected points",)),
    "no tables": (lambda settings: settings.pop("leads"), ("leads or events",)),
    "no path": (lambda settings: settings["leads"].pop("path"), ("leads.path",)),
    # values
    "a name with spaces": (settled("name", "my model/2"), ("name:", "letters, digits")),
    "a word for a number": (settled("evaluation", "folds", "five"), ("evaluation.folds", "whole number")),
    "too few folds": (settled("evaluation", "folds", 1), ("evaluation.folds", "equal to 2")),
    "a negative seed": (settled("evaluation", "seed", -1), ("evaluation.seed", "equal to 0")),
    "a misspelt choice": (settled("evaluation", "split", "foward"), ("did you mean 'forward'",)),
    "a misspelt kind": (settled("leads", "kinds", {"Plan": "categry"}), ("leads.kinds.Plan", "'category'")),
    "a list for a mapping": (settled("exclude", ["Tags"]), ("exclude:", "a list")),
    "a mapping for a list": (settled("points", {"a": 1}), ("points:", "keys and values")),
    "an unknown zone": (settled("leads", "timezone", "Mars/Olympus"), ("time zone", "Europe/Amsterdam")),
    "a long delimiter": (settled("leads", "delimiter", ";;"), ("leads.delimiter", "one character")),
    "a share in percent": (settled("policy", "share", 20), ("policy.share", "less than 1")),
    "a capacity without a unit": (settled("policy", "capacity", 60), ("policy.capacity", "60 a week")),
    "no capacity": (settled("policy", "capacity", "0 a week"), ("policy.capacity",)),
    "two targets": (settled("policy", {"capacity": "5 a week", "share": 0.1}), ("capacity or share",)),
    # thresholds by segment, hysteresis, cool-down
    "a segment without lines": (
        settled("policy", "segment", {"field": "Channel"}),
        ("policy.segment", "either capacity or equal_recall beside the field; found neither"),
    ),
    "a segment with both": (
        settled("policy", "segment", {"field": "A", "capacity": {"x": "1 a week"}, "equal_recall": True}),
        ("policy.segment", "found both"),
    ),
    "a segment that is excluded": (
        settled("policy", "segment", {"field": "Verdict", "equal_recall": True}),
        ("'Verdict'", "excluded"),
    ),
    "a capacity of a level without a unit": (
        settled("policy", "segment", {"field": "A", "capacity": {"x": 10}}),
        ("policy.segment.capacity.x", "60 a week"),
    ),
    "more for levels than there is": (
        settled("policy", {"capacity": "5 a week", "segment": {"field": "A", "capacity": {"x": "6 a week"}}}),
        ("levels that share 5 a week", "6 in all"),
    ),
    "yes as a level": (
        settled("policy", "segment", {"field": "A", "capacity": {True: "1 a week"}}),
        ("policy.segment.capacity", "in quotes"),
    ),
    "stay in percent": (settled("policy", "stay", 80), ("policy:", "found 80", "write 0.8 for 80 %")),
    "stay of nothing": (settled("policy", "stay", 0), ("policy:", "above 0 and up to 1")),
    "a cool-down without a unit": (
        settled("policy", "cool_down", 14),
        ("policy.cool_down", "30d, 12h or 2w"),
    ),
    "the cost of a missed win alone": (settled("policy", "missed_cost", 5), ("found missed_cost alone",)),
    # YAML's own ideas
    "yes as an outcome": (settled("leads", "target", "won", [True]), ('write "yes", in quotes',)),
    "no as missing": (settled("leads", "missing", [False]), ("leads.missing (entry 1)", 'write "no"')),
    "yes in a line": (ruled(field="Plan", is_=True, points=1), ("points (entry 1).is", 'write "yes"')),
    "a date in a line": (ruled(field="Plan", is_="2024-01-01", points=True), ("points (entry 1).points",)),
    # durations
    **{
        f"duration {text}": (settled("label", "horizon", text), ("label.horizon", "30d, 12h or 2w"))
        for text in (30, "30", "30x", "-3d", "0d", "1e3d", "99999999d", "9" * 400 + "d", True, ["30d"], "")
    },
    "no ages": (settled("label", "ages", []), ("label.ages", "at least one")),
    "an age twice": (settled("label", "ages", ["7d", "1w"]), ("ages that differ",)),
    # lines of points
    "no lines": (settled("points", []), ("points:", "at least one")),
    "no condition": (ruled(field="Plan", points=1), ("points (entry 1)", "present: true")),
    "no worth": (ruled(field="Plan", is_="pro"), ("either points or each", "neither")),
    "two worths": (ruled(field="Hours", points=1, each=2), ("points (entry 1)",)),
    "two conditions": (ruled(field="Hours", at_least=1, below=3, points=1), ("at_least and below",)),
    "a condition beside each": (ruled(field="Hours", at_least=1, each=1), ("beside each",)),
    "a cap without each": (ruled(field="Hours", at_least=1, points=1, cap=3), ("cap and half_life",)),
    "two kinds of forgetting": (
        lambda s: s.update(
            events={"path": "e.csv"}, points=[{"event": "v", "each": 1, "within": "9d", "half_life": "9d"}]
        ),
        ("either within or half_life",),
    ),
    "a cap below 0": (ruled(field="Hours", each=1, cap=-3), ("points (entry 1).cap",)),
    "nothing to judge": (ruled(points=1), ("field or an event", "neither")),
    "two things to judge": (ruled(field="A", event="b", points=1), ("field or an event", "both")),
    "a window of a field": (ruled(field="A", is_="b", within="3d", points=1), ("within",)),
    "absent by false": (ruled(field="A", present=False, points=1), ("points (entry 1).present",)),
    "an empty list": (ruled(field="A", in_=[], points=1), ("'A'", "[]")),
    "a range backwards": (ruled(field="A", between=[5, 3], points=1), ("'A'", "smaller first")),
    "endless points": (ruled(field="A", present=True, points=float("inf")), ("finite",)),
    "a misspelt reading": (ruled(field="A", read_as="senority", is_="vp", points=1), ("'seniority'",)),
    "a line twice": (
        settled("points", [{"field": "A", "is": "b", "points": n} for n in (1, 2)]),
        ("'A is b' twice", "label"),
    ),
    "an event without events": (ruled(event="visit", points=1), ("events section", "'visit'")),
    "content without a column": (
        lambda s: s.update(
            events={"path": "e.csv"}, points=[{"event": "visit", "content": "/pricing", "points": 1}]
        ),
        ("events.content", "'/pricing'"),
    ),
    "an excluded field": (ruled(field="Verdict", present=True, points=1), ("'Verdict'", "excluded")),
    # rules of the policy
    "an excluded field in a rule": (
        settled("policy", "suppress", [{"name": "q", "field": "Verdict", "is": "cold"}]),
        ("'Verdict'", "excluded"),
    ),
    "a rule without a name": (
        settled("policy", "suppress", [{"field": "A", "is": "b"}]),
        ("(entry 1).name",),
    ),
    "a rule without a condition": (
        settled("policy", "fast_track", [{"name": "q", "field": "A"}]),
        ("policy.fast_track (entry 1)", "present: true"),
    ),
    "a rule twice": (
        settled("policy", "suppress", [{"name": "q", "field": "A", "is": word} for word in "bc"]),
        ("'q' twice",),
    ),
    # fields
    "no reason": (settled("exclude", "Tags", " "), ("'Tags'", "say why")),
    "an empty reason": (settled("allow", "Tags", None), ("allow.Tags", "nothing")),
    "excluded and allowed": (settled("allow", "Verdict", "why not"), ("'Verdict'", "both")),
    "two kinds of outcome": (
        settled("outcomes", {"path": "o.csv", "stages": {"Won": "won"}}),
        ("leads.target or outcomes",),
    ),
    "an unknown stage": (
        lambda s: s.update(
            outcomes={"path": "o.csv", "stages": {"Won": "wonn"}}, leads={"path": "l.csv", "lead_id": "Id"}
        ),
        ("outcomes.stages.Won", "did you mean 'won'"),
    ),
    "a small world": (settled("simulate", "leads", 5), ("simulate.leads",)),
    # wording
    "words for nothing": (settled("wording", [{"label": "x"}]), ("wording (entry 1)", "none of them")),
    "words for two": (settled("wording", [{"field": "A", "event": "b"}]), ("event and field; name one",)),
    "a field without words": (
        settled("wording", [{"field": "A"}]),
        ("label or missing or says beside field",),
    ),
    "an event of one word": (
        settled("wording", [{"event": "visit", "one": "visit"}]),
        ("many and one beside event; found one",),
    ),
    "words of an event for a field": (
        settled("wording", [{"field": "A", "label": "a", "content": "/b"}]),
        ("found content; remove it",),
    ),
    "a misspelt word of wording": (settled("wording", [{"field": "A", "lable": "a"}]), ("mean 'label'?",)),
    "a misspelt placeholder": (
        settled("wording", [{"field": "A", "says": "{valeu} people"}]),
        ("wording (entry 1)", "{value}, {typical}, {window}; found {valeu} (did you mean 'value'?)"),
    ),
    "a sentence without the value": (
        settled("wording", [{"field": "A", "says": "a large company"}]),
        ("names the value", "put {value}"),
    ),
    "two words for one field": (
        settled("wording", [{"field": "A", "label": word} for word in "bc"]),
        ("two about the field 'A'",),
    ),
    "words for an event of no table": (
        settled("wording", [{"event": "visit", "one": "visit", "many": "visits"}]),
        ("an events section, for wording (entry 1)",),
    ),
    "words for an excluded field": (
        settled("wording", [{"field": "Verdict", "label": "a"}]),
        ("'Verdict', which is excluded",),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_where_it_is(written: Callable[..., Path], mistake: str) -> None:
    change, said = MISTAKES[mistake]
    line = refused(written(change))
    for part in said:
        assert part in line, line


def test_a_date_is_not_taken_for_a_word(written: Callable[..., Path]) -> None:
    path = written(lambda settings: settings.pop("points"))
    path.write_text(path.read_text() + "points: [{field: Plan, is: 2024-01-01, points: 1}]\n")
    assert "points (entry 1).is" in refused(path)


def test_of_several_mistakes_the_rest_is_counted(written: Callable[..., Path]) -> None:
    path = written(lambda s: s.update(pionts=1, lable=2, evaluation={"folds": 0}))
    with pytest.raises(ConfigError, match=r"\(and 2 more\)$"):
        config.read(path)


def test_the_end_of_a_long_path_is_still_named(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 60) / ("b" * 60)
    folder.mkdir(parents=True)
    (folder / "asked.yaml").write_text("")
    refused(folder / "asked.yaml")
