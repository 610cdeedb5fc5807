import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadscore.errors import UsageError
from leadscore.models.conditions import Condition
from leadscore.models.matrix import Column
from leadscore.policy.rules import Rule, in_words, rule_changes, take_keys

COLUMNS = (Column("calls"), Column("industry", ("(other)", "bank", "rival")))
RIVAL = Rule("competitor", (Condition("industry", "is", "rival"),), reason="builds the same")
CALLED = Rule("called", (Condition("calls", "at_least", 1), Condition("industry", "present")))

values = st.one_of(st.just(np.nan), st.sampled_from([0.0, 1.0, 2.0, 3.0]))
tests = st.sampled_from(
    [
        (Condition("calls", "at_least", 2), lambda calls, _: calls >= 2),
        (Condition("calls", "missing"), lambda calls, _: calls != calls),
        (Condition("calls", "between", (1, 2)), lambda calls, _: 1 <= calls <= 2),
        (Condition("industry", "is", "bank"), lambda _, industry: industry == 1),
        (Condition("industry", "not_in", ("bank", "rival")), lambda _, industry: industry == 0),
        (Condition("industry", "is", "never seen"), lambda *_: False),
    ]
)


@given(st.lists(tests, min_size=1, max_size=3), st.lists(st.tuples(values, values), max_size=10))
def test_a_rule_holds_where_all_its_conditions_do(conditions, rows):
    rows = [(calls, min(industry, 2.0)) for calls, industry in rows]
    rule = Rule("x", tuple(condition for condition, _ in conditions))
    held = rule.holds(np.array(rows).reshape(-1, 2), COLUMNS)
    assert held.tolist() == [all(bool(test(*row)) for _, test in conditions) for row in rows]


def test_a_rule_survives_plain_values():
    for rule in (RIVAL, CALLED):
        assert Rule.from_dict(rule.to_dict()) == rule


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (Condition("visits", "at_least", 3), "visits at least 3"),
        (Condition("visits", "at_least", 1234567.5), "visits at least 1234567.5"),
        (Condition("visits", "between", (2, 5)), "visits between 2 and 5"),
        (Condition("phone", "missing"), "phone missing"),
        (Condition("source", "not_in", ("Ads", "Fair")), "source not in Ads, Fair"),
        (Condition("source", "is", "\x1b[31mAds"), "source is [31mAds"),
    ],
)
def test_conditions_read_as_words(condition, words):
    assert in_words(Rule("x", (condition,))) == words


def test_changes_say_what_changed_inside_of_a_rule():
    other = Rule("competitor", (Condition("industry", "in", ("rival", "bank")),), reason="builds the same")
    quiet = Rule("competitor", other.when)
    assert rule_changes("suppress", [RIVAL], [other]) == [
        "suppress “competitor”: industry is rival -> industry in rival, bank"
    ]
    assert rule_changes("suppress", [other], [quiet]) == [
        "suppress “competitor”: reason “builds the same” -> none"
    ]
    assert rule_changes("suppress", [RIVAL], [quiet]) == [
        "suppress “competitor”: industry is rival -> industry in rival, bank",
        "suppress “competitor”: reason “builds the same” -> none",
    ]
    assert rule_changes("fast_track", [CALLED, RIVAL], [RIVAL]) == ["fast_track without “called”"]
    assert rule_changes("fast_track", [RIVAL], [RIVAL, CALLED]) == [
        "fast_track with “called”: calls at least 1 and industry present"
    ]
    assert rule_changes("suppress", [RIVAL, CALLED], [CALLED, RIVAL]) == [
        "suppress in another order: “called”, “competitor”"
    ]
    assert rule_changes("suppress", [RIVAL, CALLED], [RIVAL, CALLED]) == []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"name": "x", "when": []}, "at least one condition; found none in rule 'x'"),
        ({"name": "  ", "when": [{"column": "a", "missing": True}]}, "a rule with a name"),
        ({"name": 7, "when": [{"column": "a", "missing": True}]}, "a rule with a name"),
        ({"name": "x", "when": "soon"}, "a list of conditions under 'when'"),
        ({"name": "x", "when": ["soon"]}, "a list of conditions under 'when'"),
        ({"name": "x", "when": [{"column": "a", "at_leats": 3}]}, "did you mean 'at_least'?"),
        ({"name": "x", "when": [{"column": "a", "at_least": 3}], "reason": 4}, "a reason as text"),
        ({"name": "x", "whem": []}, "found 'whem' (did you mean 'when'?)"),
        ({"when": []}, "expected 'name' in a rule"),
        ("x", "a rule as keys and values"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused_in_one_line(given, says):
    with pytest.raises(UsageError) as refused:
        Rule.from_dict(given)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_keys_that_are_no_words_are_refused():
    with pytest.raises(UsageError, match="found 'None'"):
        take_keys({None: 1}, "a thing", required=("a",), optional=())
