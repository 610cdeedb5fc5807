import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadscore.errors import DataError, ModelError
from leadscore.models.matrix import OTHER, Column, columns_of, to_matrix

FRAME = pd.DataFrame(
    {
        "visits": [1, 2, 3],
        "share": [0.5, np.nan, 1.5],
        "asked": [True, False, True],
        "seats": pd.array([10, None, 30], dtype="Int64"),
        "mixed": pd.Series([1, 2.5, None], dtype=object),
        "source": pd.Categorical(["Ads", None, "Referral"], categories=["Ads", "Referral", "Event"]),
        "tier": pd.Categorical([2, 1, 2]),
    }
)


def test_every_kind_of_number_and_category_is_laid_out():
    columns = columns_of(FRAME)
    nan = np.nan
    expected = [
        [1, 0.5, 1, 10, 1.0, 0, 1],
        [2, nan, 0, nan, 2.5, nan, 0],
        [3, 1.5, 1, 30, nan, 1, 1],
    ]
    assert [column.levels for column in columns[-2:]] == [("Ads", "Referral", "Event"), ("1", "2")]
    np.testing.assert_array_equal(to_matrix(FRAME, columns), expected)


@given(order=st.permutations(list(FRAME)), rows=st.permutations(range(3)))
def test_order_of_columns_and_rows_and_further_columns_do_not_matter(order, rows):
    columns = columns_of(FRAME)
    shuffled = FRAME[order].assign(further="text").iloc[rows]
    np.testing.assert_array_equal(to_matrix(shuffled, columns), to_matrix(FRAME, columns)[rows])


@pytest.mark.parametrize(
    "words",
    [
        pd.Series(["Radio", "Ads", None]),
        pd.Series(["Radio", "Ads", None], dtype=object),
        pd.Series(pd.Categorical(["Radio", "Ads", None])),
    ],
)
def test_an_unseen_word_is_other_where_that_is_a_level_and_missing_where_not(words):
    X = words.to_frame("source")
    pooled = to_matrix(X, (Column("source", ("Ads", OTHER)),))[:, 0]
    np.testing.assert_array_equal(pooled, [1, 0, np.nan])
    np.testing.assert_array_equal(to_matrix(X, (Column("source", ("Ads",)),))[:, 0], [np.nan, 0, np.nan])


def test_codes_follow_the_levels_of_training_not_those_of_the_frame():
    X = pd.DataFrame({"source": pd.Categorical(["b", "a"], categories=["b", "a"])})
    assert to_matrix(X, (Column("source", ("a", "b")),))[:, 0].tolist() == [1, 0]


def test_the_frame_is_not_changed():
    before = FRAME.copy(deep=True)
    to_matrix(FRAME, columns_of(FRAME))[:] = 0
    pd.testing.assert_frame_equal(FRAME, before)


def test_an_array_goes_by_position():
    X = np.array([[1.0, 2.0]])
    assert columns_of(X) == (Column("x0"), Column("x1"))
    assert to_matrix(X, columns_of(X)).tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("X", "columns", "message"),
    [
        (pd.DataFrame({"visit": [1]}), (Column("visits"),), "did you mean 'visit'"),
        (pd.DataFrame({"visits": ["a"]}), (Column("visits"),), "numbers in column 'visits'"),
        (pd.DataFrame({"visits": [1.0, -np.inf]}), (Column("visits"),), r"column 'visits' \(row 1\)"),
        (np.zeros((2, 3)), (Column("x0"),), "an array of 1 columns"),
    ],
)
def test_what_does_not_fit_is_refused(X, columns, message):
    with pytest.raises(DataError, match=message):
        to_matrix(X, columns)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (pd.DataFrame({"note": ["a", "b"]}), "astype"),
        (pd.DataFrame({"at": pd.to_datetime(["2024-01-01"])}), "numbers in column 'at'"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "'a' twice"),
        (pd.DataFrame({"tier": pd.Categorical([1, "1"])}), "levels that differ"),
    ],
)
def test_columns_that_are_neither_numbers_nor_categories_are_refused(X, message):
    with pytest.raises(DataError, match=message):
        columns_of(X)


@pytest.mark.parametrize("column", [Column("visits"), Column("source", ("Ads", OTHER))])
def test_columns_are_read_back(column):
    assert Column.from_dict(column.to_dict()) == column


@pytest.mark.parametrize(
    "values",
    [
        None,
        {"name": "a"},
        {"name": 1, "levels": None},
        {"name": "a", "levels": [1]},
        {"name": "a", "levels": ["x", "x"]},
        {"name": "a", "levels": None, "more": 1},
    ],
)
def test_altered_columns_are_refused(values):
    with pytest.raises(ModelError, match="columns as name and levels"):
        Column.from_dict(values)
