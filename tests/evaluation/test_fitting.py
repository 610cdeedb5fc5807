"""What was known of a row by a moment, against a row-by-row telling of its story; and what reaches a fit."""

from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression

from leadscore.errors import ModelError
from leadscore.evaluation.fitting import Course, Rows, chance, fitted, takes

OPEN, WON, CLOSED = 0, 1, 2


class Told(ClassifierMixin, BaseEstimator):
    """Remembers what it was given, on the class: clones are thrown away."""

    last: ClassVar[dict[str, object]] = {}

    def fit(self, X, y, groups=None, days=None, ended=None, seen=None):
        Told.last = {"X": X, "y": y, "groups": groups, "days": days, "ended": ended, "seen": seen}
        self.classes_ = np.array([0, 1])
        return self


def course(stories, horizon):
    """Lay stories (day of the end, how it ended, days until the end of the data) out as a Course."""
    days, ended, seen = zip(*stories, strict=True)
    return Course(np.array(days, float), np.array(ended, np.int8), np.array(seen, float), horizon)


def told(end, how, seen, moment, horizon):
    """Tell one story as of a moment: a day after the other until the moment or the end of the data."""
    last = min(moment, seen)
    state, day = OPEN, last
    if how != OPEN and end <= last:
        state, day = how, end
    return day, state, last, float(state == WON and day < horizon)


@pytest.mark.parametrize(
    ("moment", "days", "ended", "won"),
    [(4.0, 4.0, OPEN, 0.0), (5.0, 5.0, WON, 1.0), (6.0, 5.0, WON, 1.0), (99.0, 5.0, WON, 1.0)],
)
def test_a_win_is_known_from_its_moment_on(moment, days, ended, won):
    known, wins = course([(5, WON, 40)], horizon=10.0).known(np.array([0]), np.array([moment]))
    assert {name: values.tolist() for name, values in known.items()} == {
        "days": [days],
        "ended": [ended],
        "seen": [min(moment, 40.0)],
    }
    assert wins.tolist() == [won]


def test_a_win_at_the_horizon_or_after_it_is_known_and_no_win_within():
    stories = course([(9.5, WON, 40), (10, WON, 40), (12, WON, 40), (3, CLOSED, 40)], horizon=10.0)
    known, won = stories.known(np.arange(4))
    assert known["ended"].tolist() == [WON, WON, WON, CLOSED]
    assert won.tolist() == [1, 0, 0, 0]


@given(
    stories=st.lists(
        st.tuples(st.integers(0, 8), st.sampled_from((OPEN, WON, CLOSED)), st.integers(0, 8)), min_size=1
    ),
    horizon=st.integers(1, 8),
    data=st.data(),
)
def test_what_was_known_is_the_story_cut_off_at_the_moment(stories, horizon, data):
    # as the data have it: an end lies within them, and an open row ends with them
    stories = [
        (float(seen if how == OPEN else min(end, seen)), how, float(seen)) for end, how, seen in stories
    ]
    rows = np.array(data.draw(st.lists(st.integers(0, len(stories) - 1), min_size=1)))
    since = np.array([float(data.draw(st.integers(0, 10))) for _ in rows])
    known, won = course(stories, float(horizon)).known(rows, since)
    expected = [told(*stories[row], moment, horizon) for row, moment in zip(rows, since, strict=True)]
    got = zip(known["days"], known["ended"], known["seen"], won, strict=True)
    assert [tuple(map(float, row)) for row in got] == expected
    # what came after the moment could have been anything
    later = [
        (end if how != OPEN and end <= moment else seen, how if end <= moment else OPEN, seen)
        for (end, how, seen), moment in zip((stories[row] for row in rows), since, strict=True)
    ]
    again, won_again = course(later, float(horizon)).known(np.arange(len(rows)), since)
    assert all(np.array_equal(known[name], again[name]) for name in known)
    assert np.array_equal(won, won_again)


def test_without_a_moment_all_is_known():
    stories = [(5.0, WON, 40.0), (2.0, CLOSED, 9.0), (7.0, OPEN, 7.0)]
    known, won = course(stories, horizon=10.0).known(np.array([2, 0]))
    assert (known["days"].tolist(), known["ended"].tolist()) == ([7, 5], [OPEN, WON])
    assert (known["seen"].tolist(), won.tolist()) == ([7, 40], [0, 1])


def test_a_fit_is_given_what_it_names():
    X = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 6.0]})
    y, group = np.array([0.0, 0.0, 1.0]), np.array([7, 8, 9])
    model = Told()
    rows = Rows(X, y, group, course([(5, WON, 40), (2, CLOSED, 9), (7, OPEN, 7)], 10.0))
    fitted(model, rows, np.array([2, 0]), without=("a",), since=np.array([6.0, 5.0]))
    assert not hasattr(model, "classes_")  # a clone was fitted
    assert Told.last["X"].to_dict("list") == {"b": [6.0, 4.0]}
    assert Told.last["groups"].tolist() == [9, 7]
    assert Told.last["seen"].tolist() == [6.0, 5.0]
    assert Told.last["y"].tolist() == [0, 1]  # of the course as it was then, not of `y`
    fitted(model, Rows(X, y, group), np.array([0, 1, 2]))
    assert Told.last["days"] is None
    assert Told.last["y"].tolist() == [0, 0, 1]
    assert takes(model, "days")
    assert not takes(LogisticRegression(), "days")
    assert fitted(LogisticRegression(), rows, np.array([0, 1, 2])).classes_.tolist() == [0, 1]


class Says(Told):
    """Says one number of every row."""

    def __init__(self, p=0.5):
        self.p = p

    def predict_proba(self, X):
        return np.full((len(X), 2), [1 - self.p, self.p])


def test_the_chance_is_that_of_a_win_whatever_the_order_of_the_classes():
    model = Says(0.2).fit(np.zeros((2, 1)), [0, 1])
    assert chance(model, np.zeros((3, 1)), "it").tolist() == [0.2] * 3
    model.classes_ = np.array([1, 0])
    assert chance(model, np.zeros((3, 1)), "it").tolist() == [0.8] * 3


@pytest.mark.parametrize("p", [-0.1, 1.1, np.nan])
def test_what_is_no_probability_is_refused(p):
    with pytest.raises(ModelError, match=r"probabilities between 0 and 1.*'it'"):
        chance(Says(p).fit(np.zeros((2, 1)), [0, 1]), np.zeros((3, 1)), "it")
