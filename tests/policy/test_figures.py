"""Figures and their intervals: against drawing leads again, closed forms, and the truth many times over."""

import numpy as np
import pytest
from scipy.stats import beta, t

from leadscore.errors import UsageError
from leadscore.models.matrix import Column
from leadscore.policy.backtest import Backtest
from leadscore.policy.figures import (
    FIGURES,
    MONEY_FIGURES,
    Figure,
    Money,
    Taken,
    all_of,
    best_of,
    figures_of,
    load,
)

MONEY = Money(100.0, 8.0, 30.0)
SOURCE = Column("source", ("Ads", "Fair"))


def by_name(figures: tuple[Figure, ...]) -> dict[tuple[str, str, str | None], Figure]:
    return {(each.line, each.figure, each.segment): each for each in figures}


def test_figures_and_intervals_are_those_of_drawing_leads_again_and_again() -> None:
    """Every figure of a line, of points in equal shares, of their difference and of a segment."""
    rng = np.random.default_rng(1)
    n, weeks, line = 1_500, 10, 0.25
    p = rng.beta(1, 5, n)
    y = rng.random(n) < p
    points = np.round(10 * p + rng.normal(0, 1, n))
    source = rng.integers(0, 2, n)
    leads = Backtest(p, y, np.arange(n) // 150, points, source[:, None], [SOURCE])
    above = p >= line
    by_points = best_of(points, int(above.sum()))
    found = by_name(
        figures_of(
            leads,
            {"mql": all_of(above), "points": by_points},
            differences=[("mql", "points")],
            segment="source",
            money=MONEY,
            draws=4_000,
        )
    )
    shares = {"mql": above.astype(float), "points": by_points.share[by_points.place]}

    def figures(i: np.ndarray, share: np.ndarray) -> np.ndarray:
        volume, wins, all_wins = share[i].sum(), (share[i] * y[i]).sum(), y[i].sum()
        cost = 8 * volume + 30 * (all_wins - wins)
        rate = all_wins / len(i)
        a_week = [volume, wins, all_wins - wins, cost, 100 * wins - cost]
        shares = [wins / volume, wins / all_wins, wins / volume / rate]
        return np.array([*np.array(a_week[:3]) / weeks, *shares, *np.array(a_week[3:]) / weeks])

    names = (*FIGURES, *MONEY_FIGURES)
    ads = np.flatnonzero(source == 0)
    drawn: dict[tuple[str, str | None], list[np.ndarray]] = {}
    for _ in range(2_000):
        i = rng.integers(0, n, n)
        mine = {line: figures(i, share) for line, share in shares.items()}
        drawn.setdefault(("mql", None), []).append(mine["mql"])
        drawn.setdefault(("points", None), []).append(mine["points"])
        drawn.setdefault(("mql - points", None), []).append(mine["mql"] - mine["points"])
        drawn.setdefault(("mql", "Ads"), []).append(figures(i[source[i] == 0], shares["mql"]))
    for (line_name, part), rows in drawn.items():
        table = np.array(rows)
        for column, name in enumerate(names):
            got, spread = found[line_name, name, part], table[:, column].std()
            low, high = np.quantile(table[:, column], (0.025, 0.975))
            assert got.low == pytest.approx(low, abs=0.25 * spread + 1e-9), (line_name, part, name)
            assert got.high == pytest.approx(high, abs=0.25 * spread + 1e-9), (line_name, part, name)
    everybody = np.arange(n)
    for name, value in zip(names, figures(everybody, shares["points"]), strict=True):
        assert found["points", name, None].value == pytest.approx(value)
    for name, value in zip(names, figures(ads, shares["mql"]), strict=True):
        assert found["mql", name, "Ads"].value == pytest.approx(value)


def test_intervals_hold_the_truth_95_times_in_100() -> None:
    """Beta-distributed chances, 400 worlds: near 95 %, a little below for the few wins that there are."""
    a, b, n, weeks, line, worlds = 1.5, 12.0, 2_000, 10, 0.15, 400
    wins, volume, rate = a / (a + b) * beta(a + 1, b).sf(line), beta(a, b).sf(line), a / (a + b)
    truth = {
        "volume_per_week": n / weeks * volume,
        "wins_per_week": n / weeks * wins,
        "wins_missed_per_week": n / weeks * (rate - wins),
        "precision": wins / volume,
        "recall": wins / rate,
        "lift": wins / volume / rate,
        "profit_per_week": n / weeks * (100 * wins - 8 * volume - 30 * (rate - wins)),
    }
    held = dict.fromkeys(truth, 0)
    for seed in range(worlds):
        rng = np.random.default_rng(seed)
        p = rng.beta(a, b, n)
        leads = Backtest(p, rng.random(n) < p, np.arange(n) % weeks)
        found = by_name(figures_of(leads, {"mql": all_of(p >= line)}, money=MONEY, draws=400, seed=seed))
        for name, value in truth.items():
            figure = found["mql", name, None]
            held[name] += figure.low <= value <= figure.high
    for name, count in held.items():
        assert 0.95 - 3.5 * np.sqrt(0.95 * 0.05 / worlds) < count / worlds < 0.985, (name, count)


def test_where_all_or_none_converted_the_interval_is_clopper_and_pearsons() -> None:
    """Every draw says 0 of 20, or 20 of 20."""
    for wins, line in ((0, "none"), (20, "all")):
        y = np.r_[np.full(20, wins == 20), True, False]
        leads = Backtest(np.full(22, 0.5), y)
        found = by_name(figures_of(leads, {line: all_of(np.arange(22) < 20)}))[line, "precision", None]
        low = 0.0 if wins == 0 else beta.ppf(0.025, 20, 1)
        high = 1.0 if wins == 20 else beta.ppf(0.975, 1, 20)
        assert (found.value, found.low, found.high) == pytest.approx((wins / 20, low, high))


def test_what_is_not_defined_is_nan_and_none_in_json() -> None:
    leads = Backtest([0.9, 0.1], [1, 0])
    found = by_name(figures_of(leads, {"mql": all_of(np.zeros(2, dtype=bool))}, draws=5))
    precision = found["mql", "precision", None]
    assert np.isnan([precision.value, precision.low, precision.high]).all()
    assert precision.to_dict()["value"] is None
    assert not precision.apart
    assert found["mql", "wins_missed_per_week", None].value == 1


def test_the_best_by_points_are_as_many_as_asked() -> None:
    rng = np.random.default_rng(3)
    points = rng.integers(0, 5, 50).astype(float)
    for volume in range(1, 51):
        taken = best_of(points, volume)
        assert isinstance(taken, Taken)
        assert taken.volume == pytest.approx(volume)
        share = taken.share[taken.place]
        order = np.argsort(-points, kind="stable")
        assert (np.diff(share[order]) <= 0).all()
        assert all(len(set(share[points == value])) == 1 for value in set(points))


@pytest.mark.parametrize("scatter", ["arrivals", "weekly moods"])
def test_the_load_of_the_weeks_to_come_is_within_its_interval(scatter: str) -> None:
    """Poisson arrivals, and weeks that differ by more: the next eight are predicted 95 times in 100."""
    inside, worlds = 0, 2_000
    for seed in range(worlds):
        rng = np.random.default_rng(seed)
        rate = 12.0 * (rng.gamma(8, 1 / 8, 28) if scatter == "weekly moods" else np.ones(28))
        counts = rng.poisson(rate)
        week = np.repeat(np.arange(20), counts[:20])
        week = np.r_[0, week, 19]  # the span is known
        leads = Backtest(np.r_[0.0, np.ones(len(week) - 2), 0.0], np.ones(len(week)), week)
        expected = load(leads, leads.probability > 0.5)
        assert expected.value == counts[:20].mean()
        inside += expected.low <= counts[20:].mean() <= expected.high
    assert 0.94 < inside / worlds < 0.975


def test_the_load_is_that_of_a_prediction_from_normal_weeks() -> None:
    rng = np.random.default_rng(5)
    counts = rng.integers(100, 300, 12)
    week = np.repeat(np.arange(12), counts)
    leads = Backtest(np.ones(len(week)), np.ones(len(week)), week)
    expected = load(leads, leads.probability > 0, weeks=4)
    half = t.ppf(0.975, 11) * counts.std(ddof=1) * np.sqrt(1 / 4 + 1 / 12)
    assert expected.low == pytest.approx(counts.mean() - half, rel=1e-3)
    assert expected.high == pytest.approx(counts.mean() + half, rel=1e-3)


def test_without_weeks_there_is_no_load() -> None:
    with pytest.raises(UsageError, match="a backtest with weeks"):
        load(Backtest([0.5], [1]), np.ones(1, dtype=bool))


def test_one_week_and_no_lead_still_leave_room_for_some() -> None:
    leads = Backtest([0.5, 0.4], [1, 0], [3, 3])
    expected = load(leads, leads.probability > 0.9)
    assert (expected.value, expected.low) == (0, 0)
    assert 0 < expected.high < 3
