import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from leadscore.errors import DataError
from leadscore.models.calibration import probability
from leadscore.models.conditions import Condition
from leadscore.models.matrix import Column
from leadscore.models.points import PointRule
from leadscore.points.review import weigh

NAMES = ("good", "bad", "weak", "turned", "idle", "never")
COLUMNS = tuple(Column(name) for name in NAMES)
WORTH = np.array([1.0, -1.0, 1.0, -0.6, 0.0, 0.0])  # log-odds
RULES = tuple(
    PointRule(name, points, Condition(name, "at_least", 1))
    for name, points in zip(NAMES, (20, -20, 5, 10, 12, 8), strict=True)
)


def leads(seed, n=8000):
    rng = np.random.default_rng(seed)
    M = (rng.random((n, len(NAMES))) < 0.3).astype(float)
    M[:, 5] = 0.0
    return M, (rng.random(n) < probability(M @ WORTH - 1)).astype(float), np.arange(n)


@pytest.fixture(scope="module")
def reviewed():
    M, y, group = leads(0)
    return {own.label: own for own in weigh(RULES, M, COLUMNS, y, group)}


def test_verdicts_are_what_was_planted(reviewed):
    assert {name: own.verdict for name, own in reviewed.items()} == {
        "good": "supported",
        "bad": "supported",
        "weak": "too low",
        "turned": "contradicted",
        "idle": "too high",
        "never": "cannot tell yet",
    }
    assert reviewed["turned"].sentence.startswith("contradicted (wrong sign): the data give -")
    assert np.isnan(reviewed["never"].data_points)
    assert reviewed["never"].to_dict()["low"] is None


def test_leads_and_rates_are_counted(reviewed):
    M, y, _ = leads(0)
    hit = M[:, 0] == 1
    assert reviewed["good"].leads == hit.sum()
    assert reviewed["good"].rate_with == pytest.approx(y[hit].mean())
    assert reviewed["good"].rate_without == pytest.approx(y[~hit].mean())


def test_the_data_points_are_a_logistic_regressions_on_the_teams_scale(reviewed):
    M, y, _ = leads(0)
    peer = LogisticRegression(C=1e6, tol=1e-10).fit(M[:, :5], y).coef_[0]
    team = np.array([rule.points for rule in RULES[:5]])
    scale = (M[:, :5] @ team).std() / (M[:, :5] @ peer).std()
    found = [reviewed[name].data_points for name in NAMES[:5]]
    np.testing.assert_allclose(found, peer * scale, rtol=2e-3, atol=0.02)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """The truth on the team's scale, from very many leads; every lead is there three times."""
    M, y, group = leads(99, n=200_000)
    truth = [own.data_points for own in weigh(RULES[:5], M, COLUMNS, y, group)]
    held = []
    for seed in range(40):
        M, y, group = leads(seed, n=700)
        rows = np.tile(np.arange(700), 3)
        found = weigh(RULES[:5], M[rows], COLUMNS, y[rows], group[rows])
        held += [own.low <= true <= own.high for own, true in zip(found, truth, strict=True)]
    assert 0.88 <= np.mean(held) <= 0.995


def test_too_few_conversions_cannot_tell_and_say_how_many_more():
    M, y, group = leads(1, n=150)
    few = weigh(RULES[:5], M, COLUMNS, y, group)
    waits = [own for own in few if own.verdict == "cannot tell yet"]
    assert waits
    assert all("needs about" in own.sentence and "more conversions" in own.sentence for own in waits)


def test_rules_that_no_data_tell_apart_are_judged_as_one():
    M, y, group = leads(2)
    twin = PointRule("twin", 10, Condition("good", "at_least", 1))
    found = weigh((*RULES[:4], twin), M, COLUMNS, y, group)
    alone = weigh(RULES[:4], M, COLUMNS, y, group)
    assert found[0].data_points / found[4].data_points == pytest.approx(2)
    assert "as one with 'twin'" in found[0].sentence
    assert found[0].high - found[0].low < 2 * (alone[0].high - alone[0].low)


def test_a_rule_that_hits_three_leads_is_not_condemned():
    M, y, group = leads(3)
    M[:, 5] = 0.0
    M[:3, 5], y[:3] = 1.0, 0.0
    (own,) = weigh((*RULES[:4], RULES[5]), M, COLUMNS, y, group)[4:]
    assert own.leads == 3
    assert own.verdict == "cannot tell yet"
    assert "hardly any lead is hit" in own.sentence


def test_no_points_are_refused():
    M, y, group = leads(4, n=50)
    with pytest.raises(DataError, match="expected points to review; found none in the config"):
        weigh((), M, COLUMNS, y, group)
