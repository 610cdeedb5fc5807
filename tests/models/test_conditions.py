import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadscore.errors import DataError, UsageError
from leadscore.models.conditions import OPS, Condition
from leadscore.models.matrix import Column

COLUMNS = (Column("visits"), Column("source", ("Ads", "Referral", "3")))
numbers = st.integers(-3, 3).map(float)
words = st.sampled_from(["Ads", "Referral", "3", "Radio"])

PLAIN = {  # what a person means by each op, on the value itself
    "is": lambda x, v: x == v,
    "in": lambda x, v: x in v,
    "not_in": lambda x, v: x not in v,
    "at_least": lambda x, v: x >= v,
    "below": lambda x, v: x < v,
    "between": lambda x, v: v[0] <= x <= v[1],
}


def values(op, kind):
    if op == "between":
        return st.tuples(kind, kind).map(lambda pair: tuple(sorted(pair)))
    return st.lists(kind, min_size=1, max_size=3).map(tuple) if op in ("in", "not_in") else kind


@given(st.data(), st.sampled_from(list(PLAIN)), st.lists(st.none() | numbers, min_size=1, max_size=6))
def test_conditions_on_numbers_mean_what_they_say(data, op, rows):
    value = data.draw(values(op, numbers))
    M = np.array([[np.nan if x is None else x, 0.0] for x in rows])
    expected = [x is not None and PLAIN[op](x, value) for x in rows]
    assert Condition("visits", op, value).holds(M, COLUMNS).tolist() == expected


@given(
    st.data(), st.sampled_from(["is", "in", "not_in"]), st.lists(st.none() | words, min_size=1, max_size=6)
)
def test_conditions_on_words_mean_what_they_say(data, op, rows):
    value = data.draw(values(op, words))
    rows = [None if x == "Radio" else x for x in rows]  # not a level: missing
    levels = COLUMNS[1].levels
    M = np.array([[0.0, np.nan if x is None else levels.index(x)] for x in rows])
    expected = [x is not None and PLAIN[op](x, value) for x in rows]
    assert Condition("source", op, value).holds(M, COLUMNS).tolist() == expected


def test_presence():
    M = np.array([[np.nan, 0.0], [0.0, np.nan]])
    assert Condition("visits", "missing").holds(M, COLUMNS).tolist() == [True, False]
    assert Condition("source", "present").holds(M, COLUMNS).tolist() == [True, False]


def test_a_number_names_a_level_by_its_text():
    assert Condition("source", "is", 3).holds(np.array([[0.0, 2.0]]), COLUMNS).tolist() == [True]


@pytest.mark.parametrize(
    ("column", "op", "value", "message"),
    [
        ("visits", "equals", 1, "one of is, in"),
        ("visits", "at_leest", 1, "did you mean 'at_least'"),
        ("visits", "is", None, "one word or number"),
        ("visits", "is", [1, 2], "one word or number"),
        ("visits", "in", "Ads", "a list of words"),
        ("visits", "in", [], "a list of words"),
        ("visits", "at_least", "many", "a finite number"),
        ("visits", "below", True, "a finite number"),
        ("visits", "at_least", float("inf"), "a finite number"),
        ("visits", "at_least", 10**400, "a finite number"),
        ("visits", "between", [5, 2], "the smaller first"),
        ("visits", "between", 5, "two finite numbers"),
        ("visits", "missing", 1, "no value"),
    ],
)
def test_what_cannot_be_meant_is_refused(column, op, value, message):
    with pytest.raises(UsageError, match=message):
        Condition(column, op, value)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (Condition("visit", "missing"), "did you mean 'visits'"),
        (Condition("source", "at_least", 2), "which is a category"),
        (Condition("visits", "is", "Ads"), "which holds numbers"),
    ],
)
def test_columns_of_another_kind_are_refused(condition, message):
    with pytest.raises(DataError, match=message):
        condition.holds(np.zeros((1, 2)), COLUMNS)


@given(st.data(), st.sampled_from(OPS))
def test_conditions_are_read_back(data, op):
    value = None if op in ("missing", "present") else data.draw(values(op, numbers))
    condition = Condition("visits", op, value)
    assert Condition.from_dict(condition.to_dict()) == condition


def test_yaml_booleans_are_the_words_that_tables_write():
    assert Condition.from_dict({"column": "opted_in", "is": True}).value == "True"


@pytest.mark.parametrize("written", [{}, {"column": "a"}, {"is": 1}, {"column": "a", "is": 1, "below": 2}])
def test_a_condition_has_one_column_and_one_op(written):
    with pytest.raises(UsageError, match="a column and one condition"):
        Condition.from_dict(written)
