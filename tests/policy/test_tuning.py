import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from leadscore.errors import UsageError
from leadscore.policy.backtest import Backtest
from leadscore.policy.tuning import FIGURES, by_capacity, by_precision, by_share, by_value, tuned

A, B, N, WEEKS = 1.5, 12.0, 40_000, 40
SCORES = beta(A, B)


@pytest.fixture(scope="module")
def leads():
    """Leads whose chance is drawn from a beta distribution, and who convert with exactly that chance."""
    rng = np.random.default_rng(7)
    p = rng.beta(A, B, N)
    return Backtest(p, rng.random(N) < p, week=rng.permutation(N) % WEEKS)


def expected_wins(line):
    """The share of leads that are above the line and convert: the integral of p over the density."""
    return A / (A + B) * beta(A + 1, B).sf(line)


def test_capacity_is_the_quantile(leads):
    tuning = by_capacity(leads, per_week=100)
    assert tuning.mql == pytest.approx(SCORES.isf(100 * WEEKS / N), abs=0.005)
    assert tuning.sales_ready == pytest.approx(SCORES.isf(25 * WEEKS / N), abs=0.01)
    assert tuning.weeks == WEEKS
    assert tuning.figure("mql", "volume_per_week").value <= 100
    assert tuning.figure("sales_ready", "volume_per_week").value <= 25


def test_share_is_the_quantile(leads):
    assert by_share(leads, 0.2).mql == pytest.approx(SCORES.isf(0.2), abs=0.003)


def test_precision_is_where_the_conditional_mean_reaches_the_floor(leads):
    line = by_precision(leads, 0.25).mql
    assert expected_wins(line) / SCORES.sf(line) == pytest.approx(0.25, abs=0.02)  # three standard errors


def test_value_is_cost_over_value(leads):
    value, cost = 100.0, 20.0
    tuning = by_value(leads, value, cost)
    assert tuning.mql == pytest.approx(cost / value, abs=0.02)
    best = N / WEEKS * (value * expected_wins(0.2) - cost * SCORES.sf(0.2))
    profit = tuning.figure("mql", "profit_per_week")
    assert profit.low < best < profit.high


def test_figures_are_those_of_the_distribution(leads):
    line = 0.2
    tuning = tuned(leads, line, value_of_win=50.0, cost_of_touch=3.0)
    a_week, all_wins = N / WEEKS, A / (A + B)
    truth = {
        "volume_per_week": a_week * SCORES.sf(line),
        "wins_per_week": a_week * expected_wins(line),
        "wins_missed_per_week": a_week * (all_wins - expected_wins(line)),
        "precision": expected_wins(line) / SCORES.sf(line),
        "recall": expected_wins(line) / all_wins,
        "lift": expected_wins(line) / SCORES.sf(line) / all_wins,
        "profit_per_week": a_week * (50 * expected_wins(line) - 3 * SCORES.sf(line)),
    }
    assert tuple(truth) == FIGURES
    for name, value in truth.items():
        figure = tuning.figure("mql", name)
        middle, half = (figure.low + figure.high) / 2, (figure.high - figure.low) / 2
        assert abs(middle - value) < 2 * half, name  # four standard errors
        assert half < 0.1 * value, name


def test_intervals_are_those_of_drawing_leads_again_and_again():
    rng = np.random.default_rng(1)
    p = rng.beta(1, 5, 1500)
    y = rng.random(1500) < p
    points = np.round(10 * p + rng.normal(0, 1, 1500))
    tuning = by_capacity(Backtest(p, y, np.arange(1500) // 150, points), per_week=30, draws=4000)
    above = p >= tuning.mql
    order = np.argsort(-(points + 1e-6 * rng.random(1500)), kind="stable")  # one way to break ties
    by_points = np.zeros(1500, dtype=bool)
    by_points[order[: above.sum()]] = True
    wins, recalls, gains = [], [], []
    for _ in range(2000):
        i = rng.integers(0, 1500, 1500)
        wins.append((above[i] & y[i]).sum() / 10)
        recalls.append((above[i] & y[i]).sum() / y[i].sum())
        gains.append(((above[i] & y[i]).sum() - (by_points[i] & y[i]).sum()) / 10)
    for figure, drawn in (("wins_per_week", wins), ("recall", recalls)):
        got = tuning.figure("mql", figure)
        spread = np.std(drawn)
        assert got.low == pytest.approx(np.quantile(drawn, 0.025), abs=0.25 * spread)
        assert got.high == pytest.approx(np.quantile(drawn, 0.975), abs=0.25 * spread)
    gain = tuning.figure("mql - points", "wins_per_week")
    assert gain.high - gain.low == pytest.approx(np.subtract(*np.quantile(gains, (0.975, 0.025))), rel=0.2)


def test_points_take_as_many_leads_and_level_ones_in_equal_shares():
    p = np.linspace(0.9, 0.1, 10)
    y = np.array([1, 0, 1, 0, 0, 1, 0, 0, 0, 0])
    points = np.array([30, 20, 20, 20, 20, 10, 10, 10, 0, 0])
    tuning = by_share(Backtest(p, y, points=points), 0.3)  # three: the one at 30, and two of the four at 20
    assert tuning.figure("mql", "wins_per_week").value == 2
    assert tuning.figure("points", "volume_per_week").value == 3
    assert tuning.figure("points", "wins_per_week").value == 1 + 2 * 1 / 4
    assert tuning.figure("mql - points", "wins_per_week").value == 0.5


def test_verdicts(leads):
    rng = np.random.default_rng(0)
    y = leads.y.astype(float)
    worse = by_capacity(Backtest(leads.probability, y, leads.week, rng.random(N)), per_week=100)
    assert worse.verdict.startswith("better than the points at the same capacity: +")
    same = by_capacity(Backtest(leads.probability, y, leads.week, leads.probability), per_week=100)
    assert same.verdict.startswith("cannot tell these two apart: +0 wins a week")
    better = by_capacity(Backtest(leads.probability, y, leads.week, y), per_week=100)
    assert better.verdict.startswith("worse than the points")
    assert by_capacity(leads, per_week=100).verdict == ""


levels = st.lists(st.sampled_from([0.05, 0.1, 0.125, 0.3, 1 / 3, 0.9]), min_size=2, max_size=40)


@settings(deadline=None, max_examples=200)
@given(levels, st.data())
def test_ties_never_exceed_the_capacity_and_nothing_that_fits_is_left(p, data):
    n = len(p)
    weeks = data.draw(st.integers(1, 4))
    week = np.arange(n) % weeks
    span = int(week.max()) + 1
    capacity = data.draw(st.floats(0.1, n / span, exclude_max=True))
    y = np.arange(n) % 2 == 0
    fits = [line for line in set(p) if sum(x >= line for x in p) <= capacity * span]
    try:
        tuning = by_capacity(Backtest(p, y, week), capacity, draws=2)
    except UsageError as refused:
        assert not fits
        assert "level at the top" in str(refused)
        return
    taken = [x for x in p if x >= tuning.mql]
    assert taken == [x for x in p if x >= min(fits)]
    assert tuning.figure("mql", "volume_per_week").value <= capacity
    assert tuning.mql <= tuning.sales_ready <= max(p)
    ready = sum(x >= tuning.sales_ready for x in p)
    assert ready <= max(0.25 * len(taken), p.count(max(p)))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30, unique=True), st.data())
def test_a_line_is_short_and_takes_the_same_leads(p, data):
    k = data.draw(st.integers(1, len(p) - 1))
    line = by_share(Backtest(p, np.ones(len(p))), (k + 0.5) / len(p), draws=1).mql
    ordered = sorted(p, reverse=True)
    assert sum(x >= line for x in p) == k
    assert ordered[k] < line <= ordered[k - 1]
    assert len(repr(line)) <= len(repr(ordered[k - 1]))


def test_without_weeks_the_capacity_is_for_as_many_leads():
    tuning = by_capacity(Backtest([0.9, 0.8, 0.2, 0.1], [1, 0, 0, 0]), per_week=2)
    assert (tuning.mql, tuning.weeks, tuning.busiest_week) == (0.8, None, None)


def test_empty_weeks_count_and_the_busiest_is_named():
    tuning = by_capacity(Backtest([0.9, 0.8, 0.7, 0.1], [1, 0, 0, 0], week=[3, 3, 7, 7]), per_week=0.6)
    assert tuning.weeks == 5
    assert tuning.mql == 0.7
    assert tuning.busiest_week == 2


def test_the_same_seed_gives_the_same_tuning(leads):
    assert by_share(leads, 0.1, seed=3) == by_share(leads, 0.1, seed=3)
    assert by_share(leads, 0.1, seed=3) != by_share(leads, 0.1, seed=4)


SMALL = Backtest([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0], week=[0, 0, 1, 1])
LEVEL = Backtest([0.5, 0.5, 0.5, 0.1], [1, 1, 0, 0])


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: by_capacity(SMALL, 0), "above 0 and below the 2 leads there are a week; found 0"),
        (lambda: by_capacity(SMALL, -3), "found -3"),
        (lambda: by_capacity(SMALL, 2), "below the 2 leads"),
        (lambda: by_capacity(SMALL, float("nan")), "found nan"),
        (lambda: by_capacity(LEVEL, 2), "3 leads level at the top and room for 2"),
        (lambda: by_share(LEVEL, 0.5), "3 leads level at the top and room for 2"),
        (lambda: by_share(SMALL, 20), "a share between 0 and 1"),
        (lambda: by_precision(SMALL, 0.8), "found at best 50 %, at the line of 10 %"),
        (lambda: by_precision(SMALL, 30), "a precision above 0 and up to 1"),
        (lambda: by_value(SMALL, 0, 1), "a value above 0"),
        (lambda: by_value(SMALL, 10, -1), "cost -1"),
        (lambda: by_value(SMALL, 10, 11), "expected a line that pays; found at best -1"),
        (lambda: by_share(SMALL, 0.5, sales_share=0), "a share of the MQLs"),
        (lambda: by_share(SMALL, 0.5, draws=0), "at least one bootstrap draw"),
        (lambda: tuned(SMALL, 0.95), "found none; the highest is 90 %"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(ask, says):
    with pytest.raises(UsageError) as refused:
        ask()
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
