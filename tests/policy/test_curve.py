"""The curves behind a choice: every line is what its figures say, and the best is where it should be."""

import json

import numpy as np
import pytest
from scipy.stats import beta

from leadscore.errors import UsageError
from leadscore.models.conditions import Condition
from leadscore.models.matrix import Column
from leadscore.policy.backtest import Backtest
from leadscore.policy.curve import curve
from leadscore.policy.figures import FIGURES, MONEY_FIGURES, Money, all_of, best_of, figures_of
from leadscore.policy.lines import ruled, separating
from leadscore.policy.policy import Policy
from leadscore.policy.rules import Rule

MONEY = Money(100.0, 20.0, 60.0)
CALLED = Policy(
    0.5,
    0.6,
    suppress=(Rule("rival", (Condition("calls", "at_least", 2),)),),
    fast_track=(Rule("called", (Condition("calls", "at_least", 1),)),),
)


def simulated(n: int, seed: int = 0, weeks: int = 20) -> Backtest:
    rng = np.random.default_rng(seed)
    p = rng.beta(1.5, 12.0, n)
    points = np.round(30 * p + rng.normal(0, 3, n))
    calls = rng.poisson(0.05, n)[:, None]
    return Backtest(p, rng.random(n) < p, rng.integers(0, weeks, n), points, calls, [Column("calls")])


@pytest.mark.parametrize("base", [None, CALLED])
def test_every_line_is_what_its_figures_say(base: Policy | None) -> None:
    """Values exactly; intervals as far as draws of another seed agree. Points wherever none are level."""
    leads = simulated(3_000)
    found = curve(leads, money=MONEY, base=base, draws=2_000)
    assert tuple(found.bands) == (*FIGURES, *MONEY_FIGURES)
    assert found.points is not None
    chance = ruled(leads, base)
    scored = ruled(leads, base, leads.points)
    for at in (0, 40, 200, len(found.thresholds) - 1):
        sent = chance >= found.thresholds[at]
        taken = {"mql": all_of(sent), "points": best_of(scored, int(sent.sum()))}
        for figure in figures_of(leads, taken, money=MONEY, draws=2_000, seed=1):
            band = (found.bands if figure.line == "mql" else found.points)[figure.figure]
            assert band.value[at] == pytest.approx(figure.value, rel=1e-9), (at, figure)
            if figure.line == "mql" and sent.sum() > 50:
                wide = figure.high - figure.low
                assert band.low[at] == pytest.approx(figure.low, abs=0.12 * wide + 1e-9), (at, figure)
                assert band.high[at] == pytest.approx(figure.high, abs=0.12 * wide + 1e-9), (at, figure)


def test_the_grid_is_of_lines_that_separate_leads_closest_at_the_top() -> None:
    leads = simulated(50_000)
    found = curve(leads, draws=20)
    assert len(found.thresholds) <= 500
    assert (np.diff(found.thresholds) < 0).all()
    volume = found.bands["volume_per_week"].value * 20
    lines = separating(leads.probability, leads.y)
    assert volume.tolist() == lines.reached(found.thresholds)[0].tolist()
    assert volume[0] == 1
    assert volume[-1] == 50_000
    assert np.diff(volume)[:10].max() < np.diff(volume)[-10:].min()
    assert (np.diff(volume) > 0).all()
    assert (np.diff(found.bands["recall"].value) >= 0).all()
    assert (found.best, found.between) == (None, None)
    assert "profit_per_week" not in found.bands


def test_the_best_line_is_cost_over_value_and_missed_win() -> None:
    """Elkan's rule for calibrated chances; the range holds it 95 times in 100 worlds."""
    assert MONEY.line == 20 / 160
    inside, worlds = 0, 120
    for seed in range(worlds):
        found = curve(simulated(1_000, seed), money=MONEY, draws=100, seed=seed)
        assert found.between is not None
        inside += found.between[0] <= MONEY.line <= found.between[1]
    assert 0.88 < inside / worlds < 1
    large = curve(simulated(400_000), money=MONEY, draws=200)
    assert large.best == pytest.approx(MONEY.line, abs=0.01)
    share = beta(1.5, 12.0)
    profit = 20_000 * (
        160 * 1.5 / 13.5 * beta(2.5, 12.0).sf(MONEY.line) - 20 * share.sf(MONEY.line) - 60 * 1.5 / 13.5
    )
    band = large.bands["profit_per_week"]
    assert band.low.max() < profit < band.high.max()


def test_it_is_plain_json() -> None:
    leads = Backtest([0.9, 0.5, 0.5, 0.1], [0, 1, 0, 0])
    values = json.loads(json.dumps(curve(leads, money=MONEY, draws=50).to_dict(), allow_nan=False))
    assert values["thresholds"] == [0.9, 0.5, 0.1]
    assert values["bands"]["volume_per_week"]["value"] == [1, 3, 4]
    assert values["points"] is None
    assert values["between"][0] <= values["best"] <= values["between"][1]


def test_what_cannot_be_drawn_is_refused() -> None:
    leads = simulated(100)
    with pytest.raises(UsageError, match="at least one bootstrap draw"):
        curve(leads, draws=0)
    everybody = Policy(0.5, 0.6, fast_track=(Rule("all", (Condition("calls", "at_least", 0),)),))
    with pytest.raises(UsageError, match="rules decide all of them"):
        curve(leads, base=everybody)
