"""The evidence for thresholds: what fits together, and the segments of its leads."""

from typing import Any

import numpy as np
import pytest

from leadscore.errors import DataError, UsageError
from leadscore.models.matrix import Column
from leadscore.policy.backtest import Backtest

SOURCE = Column("source", ("Ads", "Referral"))
VISITS = Column("visits")
MANY = Column("company", tuple(map(str, range(51))))
LEADS = Backtest(
    [0.9, 0.5, 0.1],
    [1, 0, 0],
    M=[[1.0, 3.0, 50.0], [0.0, np.nan, 0.0], [np.nan, 0.0, 7.0]],
    columns=[SOURCE, VISITS, MANY],
)


def test_a_segment_is_a_level_and_empty_where_it_is_missing() -> None:
    assert LEADS.categories == ("source",)
    assert LEADS.levels("source").tolist() == ["Referral", "Ads", ""]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("sourse", "found 'sourse' (did you mean 'source'?); name one of source"),
        ("visits", "found 'visits'"),
        ("company", "found 'company'"),
    ],
)
def test_what_is_no_category_of_few_levels_is_no_segment(name: str, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        LEADS.levels(name)
    assert says in str(refused.value)


def test_without_columns_there_is_no_segment() -> None:
    with pytest.raises(UsageError, match="there is no category"):
        Backtest([0.5], [1]).levels("source")


def test_weeks_span_the_empty_ones() -> None:
    assert Backtest([0.5, 0.4], [1, 0], week=[3, 9]).weeks == 7
    assert LEADS.weeks is None


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        (([], []), "mature leads to tune on"),
        (([0.1, 0.2], [0, 0]), "found none among 2 leads"),
        (([0.1, 0.2], [0, 2]), "outcomes 0 and 1"),
        (([0.1, np.nan], [0, 1]), "probabilities from 0 to 1"),
        (([0.1, 40], [0, 1]), "probabilities from 0 to 1"),
        (([0.1, 0.2], [1]), "arrays of one length"),
        (([0.1, 0.2], [0, 1], [1, 2, 3]), "arrays of one length"),
        (([0.1, 0.2], [0, 1], None, [1, np.nan]), "finite points"),
        (([0.1, 0.2], [0, 1], None, None, [[1.0]], [SOURCE]), "a matrix of 2 leads and 1 columns"),
        (([0.1, 0.2], [0, 1], None, None, None, [SOURCE]), "found none; give M and its columns together"),
        (([0.1, 0.2], [0, 1], None, None, [[1.0], [0.0]], []), "a matrix of 2 leads and 0 columns"),
        (
            ([0.1, 0.2], [0, 1], None, None, [[1.0], [2.0]], [SOURCE]),
            "places in its levels in column 'source'",
        ),
        (
            ([0.1, 0.2], [0, 1], None, None, [[0.5], [0.0]], [SOURCE]),
            "places in its levels in column 'source'",
        ),
    ],
)
def test_a_backtest_that_does_not_fit_is_refused(arrays: tuple[Any, ...], says: str) -> None:
    with pytest.raises(DataError) as refused:
        Backtest(*arrays)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
