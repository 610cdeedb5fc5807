import math

import numpy as np
import pytest
from scipy.stats import chi2

from leadscore.models.calibration import probability
from leadscore.models.half_life import estimate

DAYS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


def events(rng, n, rate=4):
    """Ages of each lead's events, and their decayed counts on the grid."""
    age = np.where(np.arange(12) < rng.poisson(rate, n)[:, None], rng.uniform(0, 60, (n, 12)), np.inf)
    counts = {days: (0.5 ** (age / days)).sum(axis=1) for days in DAYS}
    return age, counts | {math.inf: np.isfinite(age).sum(axis=1).astype(float)}


def drawn(rng, log_odds):
    return (rng.random(len(log_odds)) < probability(log_odds)).astype(float)


def test_intervals_hold_the_truth_as_often_as_they_say():
    held = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        _, counts = events(rng, 2500)
        found = estimate({"visit": counts}, np.zeros((2500, 0)), drawn(rng, 1.2 * counts[8.0] - 1.5))["visit"]
        assert found.tells
        held += found.low <= 8.0 <= found.high
        assert found.low <= found.days <= found.high
    assert held >= 34  # of 40 at 95 %: fewer than 34 would be chance once in 700


def test_rows_of_one_lead_do_not_count_as_so_many_leads():
    """Every lead four times over: the interval must not become narrower for it."""
    rng = np.random.default_rng(1)
    _, counts = events(rng, 1500)
    y = drawn(rng, counts[8.0] - 1.5)
    once = estimate({"v": counts}, np.zeros((1500, 0)), y)["v"]
    rows = np.tile(np.arange(1500), 4)
    again = {days: x[rows] for days, x in counts.items()}
    by_row = estimate({"v": again}, np.zeros((6000, 0)), y[rows])["v"]
    by_lead = estimate({"v": again}, np.zeros((6000, 0)), y[rows], rows)["v"]
    assert by_row.high / by_row.low < 0.8 * by_lead.high / by_lead.low
    assert by_lead.low == pytest.approx(once.low, rel=0.1)
    assert by_lead.high == pytest.approx(once.high, rel=0.1)


def test_two_kinds_of_events_have_half_lives_of_their_own():
    rng = np.random.default_rng(2)
    (_, fast), (_, slow) = events(rng, 6000), events(rng, 6000)
    y = drawn(rng, 1.5 * fast[2.0] + 0.5 * slow[32.0] - 2.5)
    found = estimate({"fast": fast, "slow": slow}, np.zeros((6000, 0)), y)
    assert found["fast"].low <= 2 <= found["fast"].high < 8
    assert 8 < found["slow"].low <= 32 <= found["slow"].high


def test_what_does_not_fade_and_what_says_nothing():
    rng = np.random.default_rng(3)
    (_, lasting), (_, idle) = events(rng, 5000), events(rng, 5000)
    beside = rng.normal(size=(5000, 1))
    y = drawn(rng, 0.4 * lasting[math.inf] + beside[:, 0] - 2)
    found = estimate({"lasting": lasting, "idle": idle}, beside, y)
    assert found["lasting"].high == math.inf
    assert found["lasting"].low > 16
    assert not found["idle"].tells
    assert found["idle"].gain < chi2.ppf(0.999, 2) / 2
    assert found["lasting"].to_dict()["high"] is None
