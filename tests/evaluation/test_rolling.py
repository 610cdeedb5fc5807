"""The backtest against its definition told row by row, fits by hand, and worlds whose drift is known."""

import functools
import math
from typing import ClassVar

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression

from leadscore.errors import DataError, UsageError
from leadscore.evaluation.fitting import Course, Rows
from leadscore.evaluation.rolling import ADAPTIVE, HISTORIES, latest, rolling
from leadscore.evaluation.splits import Fold, forward_folds
from leadscore.models.calibration import probability

TWO = (1.0, 0.5)


class Said(ClassifierMixin, BaseEstimator):
    """Says the probability that stands in a column: a model that needs no fitting."""

    def __init__(self, column="a"):
        self.column = column

    def fit(self, X, y):
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, X):
        p = X[self.column].to_numpy()
        return np.stack([1 - p, p], axis=1)


class Rate(ClassifierMixin, BaseEstimator):
    """Says the share of wins among its training rows."""

    def fit(self, X, y):
        self.classes_ = np.array([0, 1])
        self.rate_ = (y.sum() + 1) / (len(y) + 2)
        return self

    def predict_proba(self, X):
        return np.full((len(X), 2), [1 - self.rate_, self.rate_])


class Newton(Rate):
    """A logistic regression with a weak ridge, in a few milliseconds less than scikit-learn's."""

    def fit(self, X, y):
        self.classes_ = np.array([0, 1])
        Z = self._with_one(X)
        self.coef_ = np.zeros(Z.shape[1])
        for _ in range(8):
            p = probability((Z * self.coef_).sum(axis=1))
            curve = (Z * (p * (1 - p))[:, None]).T @ Z + np.eye(Z.shape[1])
            self.coef_ += np.linalg.solve(curve, Z.T @ (y - p) - self.coef_)
        return self

    def predict_proba(self, X):
        p = probability((self._with_one(X) * self.coef_).sum(axis=1))
        return np.stack([1 - p, p], axis=1)

    def _with_one(self, X):
        return np.column_stack([np.ones(len(X)), np.asarray(X)])


class Follows(Rate):
    """Remembers the course that it was given, on the class, by the number of rows in X's first column."""

    given: ClassVar[list[dict[str, np.ndarray]]] = []

    def fit(self, X, y, days=None, ended=None, seen=None):
        course = {"days": days, "ended": ended, "seen": seen}
        Follows.given.append({"row": np.asarray(X)[:, 0].astype(int), "y": y, **course})
        return super().fit(X, y)


def losses(p, y):
    return -(y * np.log(p) + (1 - y) * np.log1p(-p))


# ---- a world in which every choice comes up ---------------------------------------------------------------


def drifting(seed, rows=900):
    """Groups of one to three rows, outcomes that take a while, a relation and a rate that move."""
    rng = np.random.default_rng(seed)
    when = np.round(np.sort(rng.uniform(0, 300, rows)), 1)[rng.permutation(rows)]
    group = rng.integers(0, rows // 2, rows)
    a, b = rng.normal(size=(2, rows))
    season = np.sin(when / rng.uniform(10, 80))
    bend, moved = rng.normal(size=2)
    margin = (a if seed % 2 else np.where(when < 190, a, -a)) + bend * season + moved * when / 300
    y = (rng.random(rows) < probability(margin + rng.normal(0, 0.5, rows // 2)[group])).astype(float)
    X = pd.DataFrame({"a": a, "b": b, "month": when / 30, "season": season})
    return Rows(X, y, group), when, when + rng.uniform(0, 40, rows)


MODELS = {
    "logistic": LogisticRegression(C=0.1),
    "points": DummyClassifier(),
    "sure": LogisticRegression(C=10.0),
}
CALENDAR = ("month", "season")


def roll(rows, when, known, origins, **more):
    asked = {"order": when, "known_at": known, "calendar": CALENDAR, "histories": TWO, **more}
    return rolling(rows, asked.pop("models", MODELS), origins, **asked)


WORLDS = (0, 4, 3, 6)  # together they bring every choice up


@functools.cache
def rolled_over(seed):
    rows, when, known = drifting(seed)
    origins = forward_folds(when, rows.group, 4, known_at=known, y=rows.y, warm_up=3)
    return rows, when, known, origins, roll(rows, when, known, origins)


@pytest.fixture(params=WORLDS)
def told(request):
    return rolled_over(request.param)


def definition(rows, when, known, origins, models, *, calendar, histories, baseline="points"):
    """Do what the docstring says, slowly: row by row, with scikit-learn's fits and SciPy's root."""
    n, at = len(origins), [fold.at for fold in origins]
    origin_of = {int(row): k for k, fold in enumerate(origins) for row in fold.test}

    def learned_from(k, share):
        train = origins[k].train.tolist()
        moments = sorted(when[row] for row in train)
        kept = [row for row in train if when[row] >= moments[math.floor(len(train) * (1 - share))]]
        wins = sum(rows.y[row] for row in kept)
        return train if min(wins, len(kept) - wins) < 50 else kept

    def past(k):
        return [r for r in origin_of if k == n or (origin_of[r] < k and known[r] <= at[k])]

    def clustered(a, b, members):
        worse = [a[r] - b[r] for r in members]
        mean = sum(worse) / len(worse)
        sums = {}
        for row, more in zip(members, worse, strict=True):
            sums[rows.group[row]] = sums.get(rows.group[row], 0.0) + more - mean
        return mean, math.sqrt(sum(total**2 for total in sums.values())) / len(worse)

    def first_as_good(candidates, members):
        mean = [sum(loss[r] for r in members) / len(members) for loss in candidates]
        best = candidates[mean.index(min(mean))]
        for place, loss in enumerate(candidates):
            more, error = clustered(loss, best, members)
            if more <= error:
                return place

    def loss_of(log_odds):
        return {
            r: math.log1p(math.exp(-z if rows.y[r] else z)) if abs(z) < 700 else abs(z)
            for r, z in log_odds.items()
        }

    ways, streams, plans = {}, {}, {}
    for name, model in models.items():
        ways[name] = []
        for without in [()] if name == baseline else [tuple(calendar), ()]:
            for share in histories:
                raw = {}
                for k, fold in enumerate(origins):
                    train = learned_from(k, share)
                    X = rows.X.drop(columns=list(without))
                    fitted = clone(model).fit(X.iloc[train], rows.y[train].astype(int))
                    p = fitted.predict_proba(X.iloc[fold.test])[:, 1]
                    raw.update(zip(fold.test.tolist(), (np.log(p) - np.log1p(-p)).tolist(), strict=True))
                shifts = []
                for k in range(n + 1):
                    z = np.array([raw[r] for r in past(k) if origin_of[r] >= k - 5])
                    won = sum(rows.y[r] for r in past(k) if origin_of[r] >= k - 5)
                    lost = len(z) - won
                    asked = won * (won + 1) / (won + 2) + lost / (lost + 2)
                    shifts.append(
                        brentq(lambda s, z=z, a=asked: (1 / (1 + np.exp(-z - s))).sum() - a, -30, 30)
                        if len(z)
                        else 0.0
                    )
                moved = {r: raw[r] + shifts[origin_of[r]] for r in raw}
                ways[name].append((share, without, raw, shifts, loss_of(raw), loss_of(moved)))

        def choose(k, options):
            members = past(k)
            if not members:
                return options[0], 0.0
            best = {}
            for way in options:
                mean = sum(way[5][r] for r in members)
                if way[1] not in best or mean < best[way[1]][0]:
                    best[way[1]] = (mean, way)
            candidates = [way for _, way in best.values()]
            way = candidates[first_as_good([way[5] for way in candidates], members)]
            helps = sum(way[5][r] for r in members) < sum(way[4][r] for r in members)
            return way, way[3][k] if helps else 0.0

        picks = [choose(k, ways[name]) for k in range(n + 1)]
        streams[name] = (
            {r: way[2][r] + shift for k, (way, shift) in enumerate(picks[:n]) for r in origins[k].test},
            [(name, way[0], len(way[1]), shift) for way, shift in picks],
        )
        plans[name] = (picks[n][0][0], picks[n][0][1], picks[n][1])
    learned = [name for name in models if name != baseline]
    told = {name: loss_of(streams[name][0]) for name in learned}
    said, followed = {}, []
    for k, fold in enumerate(origins):
        name = learned[first_as_good([told[each] for each in learned], past(k)) if past(k) else 0]
        said.update((r, streams[name][0][r]) for r in fold.test)
        followed.append(streams[name][1][k])
    streams[ADAPTIVE] = (said, followed)
    return streams, plans


def test_predictions_picks_and_plans_are_those_of_the_definition(told):
    rows, when, known, origins, rolled = told
    streams, plans = definition(rows, when, known, origins, MODELS, calendar=CALENDAR, histories=TWO)
    assert list(rolled.predictions) == ["row", "fold", "y", *MODELS, ADAPTIVE]
    counted = [k for k, fold in enumerate(origins) if not fold.warm_up]
    assert len(counted) < len(origins)
    for name, (log_odds, picks) in streams.items():
        expected = [1 / (1 + math.exp(-log_odds[row])) for row in rolled.predictions["row"]]
        np.testing.assert_allclose(rolled.predictions[name], expected, rtol=1e-9)
        mine = rolled.picks[rolled.picks["model"] == name]
        assert mine["fold"].tolist() == [origins[k].name for k in counted]
        for pick, k in zip(mine.itertuples(), counted, strict=True):
            assert (pick.family, pick.history, pick.without) == picks[k][:3]
            assert pick.shift == pytest.approx(picks[k][3], abs=1e-9)
    for name, (history, without, shift) in plans.items():
        plan = rolled.plans[name]
        assert (plan.history, plan.without) == (history, without)
        assert plan.shift == pytest.approx(shift, abs=1e-9)
    assert set(rolled.plans) == set(MODELS)


def test_these_worlds_bring_every_choice_up():
    """Otherwise the test above would prove less than it seems to."""
    every = pd.concat([rolled_over(seed)[-1].picks for seed in WORLDS])
    assert set(every["history"]) == set(TWO)
    assert set(every["without"]) == {0, len(CALENDAR)}
    assert set(every["shift"] == 0) == {True, False}
    today = [plan.shift for seed in WORLDS for plan in rolled_over(seed)[-1].plans.values()]
    assert {shift == 0 for shift in today} == {True, False}
    assert set(every.query("model == @ADAPTIVE")["family"]) == {"logistic", "sure"}


def test_a_prediction_is_a_refit_by_hand_with_the_picked_plan(told):
    rows, when, _, origins, rolled = told
    for fold in origins[-2:]:
        for pick in rolled.picks[rolled.picks["fold"] == fold.name].itertuples():
            X = rows.X.drop(columns=list(CALENDAR[: pick.without]))
            train = latest(fold.train, when, rows.y, pick.history)
            by_hand = clone(MODELS[pick.family]).fit(X.iloc[train], rows.y[train].astype(int))
            p = by_hand.predict_proba(X.iloc[fold.test])[:, 1]
            said = rolled.predictions.set_index("row").loc[fold.test, pick.model]
            odds = p / (1 - p) * math.exp(pick.shift)
            np.testing.assert_allclose(said, odds / (1 + odds), rtol=1e-12)


def test_predictions_hold_every_tested_row_of_the_counted_periods_once(told):
    rows, _, _, origins, rolled = told
    counted = [fold for fold in origins if not fold.warm_up]
    assert rolled.predictions["row"].tolist() == sorted(np.concatenate([fold.test for fold in counted]))
    np.testing.assert_array_equal(rolled.predictions["y"], rows.y[rolled.predictions["row"]])
    for fold in counted:
        here = rolled.predictions["fold"] == fold.name
        assert set(rolled.predictions["row"][here]) == set(fold.test.tolist())


# ---- no peeking -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", WORLDS[-1:])
def test_what_is_known_after_an_origin_changes_nothing_of_it(seed):
    rows, when, known, origins, before = rolled_over(seed)
    rng = np.random.default_rng(seed)
    hidden = 0
    for k, fold in enumerate(origins):
        if fold.warm_up:
            continue
        later = known > fold.at
        hidden += int((later & (when < fold.at)).sum())
        y = np.where(later | (when >= fold.at), rng.integers(0, 2, len(when)), rows.y).astype(float)
        # half of the tested rows keep their X: only these may be asked after
        end = origins[k + 1].at if k + 1 < len(origins) else np.inf
        changed = (when >= end) | ((when >= fold.at) & (rng.random(len(when)) < 0.5))
        X = rows.X.where(np.repeat(~changed[:, None], 4, axis=1), rng.normal(size=rows.X.shape))
        after = roll(Rows(X, y, rows.group), when, known, origins)
        kept = np.flatnonzero(~changed[fold.test])
        for name in (*MODELS, ADAPTIVE):
            was, now = (r.predictions.set_index("row")[name][fold.test[kept]] for r in (before, after))
            np.testing.assert_allclose(was, now, rtol=1e-12)  # another memory layout: other last bits
        was, now = (r.picks[r.picks["fold"] == fold.name] for r in (before, after))
        pd.testing.assert_frame_equal(was, now)
    assert hidden > 20  # there were outcomes of earlier rows to be peeked at


@pytest.mark.parametrize(("moment", "counts"), [(650.0, True), (700.0, True), (700.5, False)])
def test_an_outcome_does_not_count_before_it_is_known_though_its_row_is_earlier(moment, counts):
    """The rate jumps at 400; by origin 700 it can be seen that the level must follow, if all is known."""
    n, when = 800, np.arange(800.0)
    y = (np.random.default_rng(0).random(n) < np.where(when < 400, 0.1, 0.6)).astype(float)
    origins = [
        Fold(np.arange(400), np.arange(start, start + 100), f"from {start}", float(start))
        for start in (400, 500, 600, 700)
    ]
    known = np.where(when < 400, when, np.maximum(when, moment))
    models = {"points": DummyClassifier(), "rate": Rate()}
    rows = Rows(np.zeros((n, 1)), y, np.arange(n))
    rolled = rolling(rows, models, origins, order=when, known_at=known, histories=(1.0,))
    # today all is known, but unless a shift was tried at 700 nothing says that shifts help
    expected = math.log(0.6 / 0.4) - math.log(0.1 / 0.9) if counts else 0.0
    assert rolled.plans["rate"].shift == pytest.approx(expected, abs=0.3 * counts)
    assert set(rolled.picks["shift"]) == {0.0}


# ---- the one-standard-error rule --------------------------------------------------------------------------


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), families=st.integers(2, 4), size=st.integers(1, 30))
def test_adaptive_takes_the_simplest_within_one_clustered_standard_error(seed, families, size):
    rng = np.random.default_rng(seed)
    n = 120
    group = rng.integers(0, max(1, n // size), n)
    truth = rng.normal(-0.5, 1, n) + rng.normal(0, 1, n)[group]
    X = pd.DataFrame(
        {f"m{i}": probability(truth + rng.normal(0, rng.choice([0.1, 0.4, 1.0]), n)) for i in range(families)}
    )
    y = (rng.random(n) < probability(truth)).astype(float)
    models = {"points": Rate()} | {name: Said(name) for name in X}
    first, second = Fold(np.arange(40), np.arange(40, 80), "one", 40.0), np.arange(80, 120)
    origins = [first, Fold(np.arange(80), second, "two", 80.0)]
    rolled = rolling(Rows(X, y, group), models, origins, order=np.arange(n), histories=(1.0,))
    loss = [losses(X[name][first.test].to_numpy(), y[first.test]) for name in X]
    best = min(loss, key=np.mean)
    for name, own in zip(X, loss, strict=True):
        off = (own - best) - (own - best).mean()
        sums = [off[group[first.test] == code].sum() for code in np.unique(group[first.test])]
        if (own - best).mean() <= np.sqrt(np.sum(np.square(sums))) / 40:
            expected = name
            break
    picked = rolled.picks.query("model == @ADAPTIVE")["family"].tolist()
    assert picked == [next(iter(X)), expected]


def test_the_order_of_simplicity_decides_among_equals():
    rng = np.random.default_rng(0)
    p = probability(rng.normal(size=300))
    X = pd.DataFrame({"one": p, "two": p})
    rows = Rows(X, (rng.random(300) < p).astype(float), np.arange(300))
    origins = forward_folds(np.arange(300), None, 3)
    for order in (("one", "two"), ("two", "one")):
        models = {"points": DummyClassifier()} | {name: Said(name) for name in order}
        picks = rolling(rows, models, origins, order=np.arange(300)).picks
        assert set(picks.query("model == @ADAPTIVE")["family"]) == {order[0]}


# ---- worlds whose drift is known --------------------------------------------------------------------------


def world(seed, margin, n=2400, columns=None, **options):
    """Roll over rows in order; `margin(t, x)` with t from 0 to 1. Also what all history says, as it is."""
    rng = np.random.default_rng(seed)
    t, x = np.arange(n) / n, rng.normal(size=n)
    X = pd.DataFrame({"x": x, **(columns or {})})
    y = (rng.random(n) < probability(margin(t, x))).astype(float)
    origins = forward_folds(t, None, 8, y=y, warm_up=4)
    options = {"calendar": tuple(columns or ()), "order": t, **options}
    rolled = rolling(Rows(X, y, np.arange(n)), {"points": Rate(), "model": Newton()}, origins, **options)
    plain = [
        Newton().fit(X.iloc[fold.train], y[fold.train]).predict_proba(X.iloc[fold.test])[:, 1]
        for fold in origins
        if not fold.warm_up
    ]
    said = rolled.predictions
    picks = rolled.picks.query("model == 'model'").reset_index(drop=True)
    return picks, said["y"].to_numpy(), said["model"].to_numpy(), np.concatenate(plain)


def gained(y, said, plain):
    return float((losses(plain, y) - losses(said, y)).mean())


@pytest.mark.parametrize("seed", range(4))
def test_after_the_relation_has_flipped_a_shorter_history_is_soon_picked(seed):
    # in the second of the eight periods that count
    picks, *said = world(seed, lambda t, x: np.where(t < 0.6, 2 * x, -2 * x))
    assert (picks["history"][3:] < 1).all()
    assert gained(*said) > 0.2


def test_in_a_stationary_world_choosing_costs_next_to_nothing():
    gains = [gained(*world(seed, lambda t, x: x - 1)[1:]) for seed in range(5)]
    assert np.mean(gains) > -0.0025  # of about 0.5
    assert min(gains) > -0.01


@pytest.mark.parametrize("seed", range(3))
def test_a_calendar_column_that_misleads_is_left_out(seed):
    """Each period has its own number, and what it did in one it undoes in the next."""
    block = np.arange(2400) // 150
    number = np.random.default_rng(seed + 100).normal(size=16)[block]
    effect = 1.5 * number * (-1.0) ** block
    picks, *said = world(seed, lambda t, x: x + effect, columns={"number": number})
    assert (picks["without"] == 1).all()
    assert gained(*said) > 0  # `plain` reads it


@pytest.mark.parametrize("seed", range(3))
def test_a_calendar_column_that_helps_by_more_than_an_error_is_kept(seed):
    season = np.sin(np.arange(2400) / 60)
    picks, y, said, plain = world(seed, lambda t, x: x + 2 * season, columns={"season": season})
    assert (picks["without"] == 0).all()
    assert abs(gained(y, said, plain)) < 0.01  # `plain` reads it too
    assert losses(said, y).mean() < losses(y.mean(), y).mean() - 0.1


def test_a_calendar_column_that_says_nothing_is_left_out():
    season = np.sin(np.arange(2400) / 60)
    left_out = [
        world(seed, lambda t, x: x, columns={"season": season})[0]["without"].mean() for seed in range(3)
    ]
    assert np.mean(left_out) > 0.9


def test_a_rate_that_doubles_is_followed_by_the_level():
    gaps, gains = [], []
    for seed in range(4):
        picks, y, said, plain = world(
            seed, lambda t, x: x - 2.5 + np.log(2) * np.maximum(0, 2 * t - 0.5), n=6000, histories=(1.0,)
        )
        assert (picks["shift"][4:] > 0.05).all()
        gains.append(gained(y, said, plain))
        gaps.append([abs(np.log(p.mean() / y.mean())) for p in (said, plain)])
    shifted, as_it_was = np.mean(gaps, axis=0)
    assert shifted < 0.6 * as_it_was
    assert np.mean(gains) > 0


def test_in_a_stationary_world_the_level_is_hardly_ever_harmful():
    gains = [gained(*world(seed, lambda t, x: x - 2, histories=(1.0,))[1:]) for seed in range(10)]
    assert np.mean(gains) > -0.0005  # of about 0.4
    assert min(gains) > -0.005


# ---- histories --------------------------------------------------------------------------------------------


@given(
    moments=st.lists(st.integers(0, 9), min_size=1, max_size=400),
    share=st.sampled_from(HISTORIES),
    seed=st.integers(0, 99),
)
def test_the_latest_rows_hold_ties_whole_and_enough_of_both_outcomes(moments, share, seed):
    rng = np.random.default_rng(seed)
    order = np.array(moments * 3, dtype=float)
    y = (rng.random(len(order)) < 0.5).astype(float)
    rows = np.flatnonzero(rng.random(len(order)) < 0.9)
    kept = latest(rows, order, y, share)
    if len(kept) < len(rows):
        assert len(kept) >= share * len(rows)
        assert order[kept].min() > np.delete(order[rows], np.searchsorted(rows, kept)).max()
        assert (order[kept] > order[kept].min()).sum() < share * len(rows)
        assert min((y[kept] == 1).sum(), (y[kept] == 0).sum()) >= 50
    else:
        assert kept.tolist() == rows.tolist()


def test_too_few_outcomes_or_one_moment_keep_all_rows():
    order = np.arange(400.0)
    few = (order >= 351).astype(float)  # 49 wins, all late
    assert len(latest(np.arange(400), order, few, 0.25)) == 400
    enough = (order >= 350).astype(float)
    assert latest(np.arange(400), order, enough, 0.25).tolist() == list(range(300, 400))
    assert len(latest(np.arange(400), np.zeros(400), enough, 0.25)) == 400
    assert latest(np.arange(0), order, few, 0.25).tolist() == []


# ---- the same whatever the order of rows, the number of jobs, or the run ----------------------------------


def test_the_order_of_rows_says_nothing(told):
    rows, when, known, _, rolled = told
    shuffled = np.random.default_rng(0).permutation(len(when))
    X, y, group = rows.X.iloc[shuffled].reset_index(drop=True), rows.y[shuffled], rows.group[shuffled]
    origins = forward_folds(when[shuffled], group, 4, known_at=known[shuffled], y=y, warm_up=3)
    again = roll(Rows(X, y, group), when[shuffled], known[shuffled], origins)
    there = again.predictions.assign(row=shuffled[again.predictions["row"]]).sort_values("row")
    pd.testing.assert_frame_equal(there.reset_index(drop=True), rolled.predictions, rtol=1e-6)
    pd.testing.assert_frame_equal(again.picks, rolled.picks, rtol=1e-6)


def test_two_runs_and_two_jobs_say_the_same_to_the_last_bit():
    rows, when, known = drifting(1, rows=600)
    origins = forward_folds(when, rows.group, 2, known_at=known, y=rows.y, warm_up=1)
    one = roll(rows, when, known, origins)
    steps = []
    again = roll(rows, when, known, origins, progress=lambda *step: steps.append(step))
    with joblib.parallel_config(backend="threading"):
        two = roll(rows, when, known, origins, n_jobs=2)
    for other in (again, two):
        pd.testing.assert_frame_equal(one.predictions, other.predictions, check_exact=True)
        pd.testing.assert_frame_equal(one.picks, other.picks, check_exact=True)
        assert one.plans == other.plans
    assert [done for done, _, _ in steps] == list(range(1, len(steps) + 1))
    assert {total for _, total, _ in steps} == {len(steps)}


def test_models_are_cloned_and_equal_windows_are_fitted_once():
    Follows.given.clear()
    rows = Rows(np.arange(80.0)[:, None], np.tile([0.0, 1.0], 40), np.arange(80))
    models = {"points": DummyClassifier(), "follows": Follows()}
    origins = forward_folds(np.arange(80), None, 2, y=rows.y)
    rolled = rolling(rows, models, origins, order=np.arange(80))  # every shorter history would be too short
    assert len(Follows.given) == 2
    assert not hasattr(models["follows"], "classes_")
    assert {plan.history for plan in rolled.plans.values()} == {1.0}


# ---- rows too young for a label ---------------------------------------------------------------------------


def young():
    """240 rows, one a day; the horizon is 30 days, and the data end on day 240: the last 30 have no label."""
    rng = np.random.default_rng(5)
    n, horizon, end = 240, 30.0, 240.0
    when = np.arange(float(n))
    until = rng.exponential(60, n)
    seen = end - when
    ended = np.where(until <= seen, rng.integers(1, 3, n), 0).astype(np.int8)
    days = np.where(ended == 0, seen, until)
    y = ((ended == 1) & (days < horizon)).astype(float)
    y[210:] = 0.0  # not known
    X = np.stack([when, rng.normal(size=n)], axis=1)
    group = np.arange(n)
    group[60:210:6] = group[80:230:6]  # some leads are looked at again twenty days later, in time for a test
    rows = Rows(X, y, group, Course(days, ended, seen, horizon))
    origins = forward_folds(when[:210], group[:210], 3, known_at=when[:210] + horizon, y=y[:210], warm_up=1)
    return rows, when, when + horizon, origins


def test_rows_without_a_label_reach_only_models_that_follow_a_course():
    rows, when, known, origins = young()
    models = {"points": DummyClassifier(), "logistic": LogisticRegression(), "follows": Follows()}
    Follows.given.clear()
    rolled = rolling(rows, models, origins, order=when, known_at=known, histories=(1.0,))
    assert rolled.predictions["row"].max() < 210
    given = sorted(Follows.given, key=lambda each: each["row"].max())
    assert len(given) == len(origins)
    course = rows.course
    for fold, each in zip(origins, given, strict=True):
        expected = [r for r in range(240) if when[r] < fold.at and rows.group[r] not in rows.group[fold.test]]
        assert each["row"].tolist() == expected
        assert len(expected) > len(fold.train)  # some were not known by then, and taught all the same
        assert len(expected) < (when < fold.at).sum()  # and some are of leads that are tested
        for place, row in enumerate(expected):
            passed = fold.at - when[row]
            over = course.days[row] <= passed
            assert each["seen"][place] == passed
            assert each["ended"][place] == (course.ended[row] if over else 0)
            assert each["days"][place] == min(course.days[row], passed)
            assert each["y"][place] == (over and course.ended[row] == 1 and course.days[row] < 30)
    # the others learn from what is known, as if there were no young rows
    plain = rolling(
        Rows(rows.X[:210], rows.y[:210], rows.group[:210]),
        {name: models[name] for name in ("points", "logistic")},
        origins,
        order=when[:210],
        known_at=known[:210],
        histories=(1.0,),
    )
    for name in ("points", "logistic"):
        assert rolled.predictions[name].tolist() == plain.predictions[name].tolist()


def test_a_model_that_follows_a_course_learns_from_all_of_it():
    n = 1200
    rng = np.random.default_rng(0)
    when, y = np.arange(float(n)), rng.integers(0, 2, n).astype(float)
    days = np.where(y == 1, 5.0, 100.0)
    seen = n + 200.0 - when
    rows = Rows(when[:, None], y, np.arange(n), Course(days, (2 - y).astype(np.int8), seen, 30.0))
    origins = forward_folds(when, None, 1, known_at=when + 30, y=y)
    Follows.given.clear()
    models = {"points": DummyClassifier(), "follows": Follows()}
    rolled = rolling(rows, models, origins, order=when, known_at=when + 30, histories=(1.0, 0.5))
    assert [each["row"].tolist() for each in Follows.given] == [list(range(600))]
    assert rolled.plans["follows"].history == 1


# ---- what cannot be rolled --------------------------------------------------------------------------------


def test_origins_that_forward_folds_did_not_make_are_refused():
    rows = Rows(np.zeros((8, 1)), np.tile([0.0, 1.0], 4), np.arange(8))
    train, test = np.arange(4), np.arange(4, 8)
    for origins, says in (
        ([Fold(train, test, "fold 1 of 1")], "folds without a moment"),
        ([Fold(train, test, "warm-up 1 of 1", 4.0, warm_up=True)], "none that counts"),
        ([], "none that counts"),
    ):
        with pytest.raises(UsageError, match=says) as refused:
            rolling(rows, {"points": DummyClassifier()}, origins, order=np.arange(8))
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"order": [0, 1, np.nan, 3, 4, 5, 6, 7]}, DataError, "a place in time .* row 2"),
        ({"known_at": [0, 1, 2, 3, 4, 5, 6, np.nan]}, DataError, "a place in time .* row 7"),
        ({"order": [0, 1]}, UsageError, "equal lengths"),
        ({"known_at": [0, 1]}, UsageError, "equal lengths"),
        ({"rows": Rows(np.zeros((8, 1)), np.zeros(7), np.arange(8))}, UsageError, "equal lengths"),
        ({"rows": Rows(np.zeros((8, 1)), np.zeros(8), np.arange(8))}, DataError, "won and lost .* period 1"),
        ({"rows": Rows(np.zeros((8, 1)), np.ones(8), np.arange(8))}, DataError, "won and lost .* period 1"),
        ({"models": {"points": Rate(), "adaptive": Rate()}}, UsageError, "another model name.*adaptive"),
        ({"models": {"points": Rate(), "fold": Rate()}}, UsageError, "another model name.*fold"),
        ({"models": {"rate": Rate()}}, UsageError, "a baseline 'points' among the models.*rate"),
        ({"calendar": ("month",)}, UsageError, "calendar columns that X has.*month"),
    ],
)
def test_what_cannot_be_rolled_is_refused_in_a_line(change, error, says):
    asked = {
        "rows": Rows(np.zeros((8, 1)), np.tile([0.0, 1.0], 4), np.arange(8)),
        "models": {"points": Rate()},
        "origins": [Fold(np.arange(4), np.arange(4, 8), "period 1 of 1", 4.0)],
        "order": np.arange(8),
        **change,
    }
    with pytest.raises(error, match=says) as refused:
        rolling(asked.pop("rows"), asked.pop("models"), asked.pop("origins"), **asked)
    assert "\n" not in str(refused.value)


def test_with_calendar_columns_only_all_are_read():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"month": rng.normal(size=200)})
    rows = Rows(X, rng.integers(0, 2, 200).astype(float), np.arange(200))
    origins = forward_folds(np.arange(200), None, 2, y=rows.y)
    models = {"points": Rate(), "logistic": LogisticRegression()}
    rolled = rolling(rows, models, origins, order=np.arange(200), calendar=("month",))
    assert rolled.plans["logistic"].without == ()


def test_ties_in_the_order_are_rolled_over():
    rng = np.random.default_rng(0)
    when = np.repeat(np.arange(12.0), 50)
    y = rng.integers(0, 2, 600).astype(float)
    rows = Rows(rng.normal(size=(600, 1)), y, np.arange(600))
    origins = forward_folds(when, None, 4, y=y, warm_up=2)
    models = {"points": DummyClassifier(), "logistic": LogisticRegression()}
    rolled = rolling(rows, models, origins, order=when)
    assert sorted(when[rolled.predictions["row"]]) == sorted(when[when >= 6])


def test_a_baseline_alone_is_rolled_over_too():
    rows = Rows(np.zeros((80, 1)), np.tile([0.0, 1.0], 40), np.arange(80))
    origins = forward_folds(np.arange(80), None, 2, y=rows.y)
    rolled = rolling(rows, {"points": DummyClassifier()}, origins, order=np.arange(80))
    assert list(rolled.predictions) == ["row", "fold", "y", "points"]
