import itertools
import math

import numpy as np
import pytest

from leadscore.policy.backtest import Backtest
from leadscore.policy.drift import drift


def world(rng, weeks=24, a_week=60, campaigns=0.0, scores=0.0, outcomes=0.0, flow=1.0):
    """Leads whose chances hold, but for what the last quarter of the weeks adds to scores or outcomes."""
    each = np.where(np.arange(weeks) >= weeks - weeks // 4, flow, 1.0) * a_week
    week = np.repeat(np.arange(weeks), rng.poisson(each * rng.gamma(20, 1 / 20, weeks)))
    recent = week >= weeks - weeks // 4
    log_odds = rng.normal(-2.2, 1, len(week)) + rng.normal(0, campaigns, weeks)[week] + scores * recent
    won = rng.random(len(week)) < 1 / (1 + np.exp(-(log_odds + outcomes * recent)))
    return Backtest(1 / (1 + np.exp(-log_odds)), won, week)


def judged(past, seed=0):
    return drift(past, past.probability > 0.2, seed=seed)


def found(n, **how):
    rng = np.random.default_rng(5)
    return [judged(world(rng, **how), seed) for seed in range(n)]


@pytest.mark.parametrize(
    "how", [{}, {"a_week": 12}, {"weeks": 12}, {"campaigns": 0.5, "a_week": 200}], ids=str
)
def test_it_does_not_cry_wolf(how):
    alarms = sum(bool(each.sentences) for each in found(200, **how))
    assert alarms <= 14  # three tests at 1 %: more than 14 of 200 come once in a thousand times


def test_the_rule_of_thumb_alone_would_cry_wolf():
    few = found(100, a_week=12)
    assert sum(each.psi >= 0.1 for each in few) > 50
    assert sum(each.scores_differ for each in few) <= 5


def test_what_is_planted_is_found():
    assert all(each.scores_differ for each in found(30, scores=0.7))
    rates = found(30, outcomes=0.8, a_week=100)
    assert sum(each.rates_differ for each in rates) >= 27
    assert sum(each.scores_differ for each in rates) <= 2
    flows = found(30, flow=2.0)
    assert sum(each.sent_differ for each in flows) >= 27
    assert sum(each.scores_differ or each.rates_differ for each in flows) <= 3


def test_drawn_weeks_agree_with_all_choices_of_weeks():
    rng, decided = np.random.default_rng(2), []
    for seed in range(60):
        past = world(rng, weeks=14, a_week=40, outcomes=rng.uniform(0, 1.5))
        leads, wins = np.bincount(past.week), np.bincount(past.week, weights=past.y)
        gaps = []
        for recent in itertools.combinations(range(14), 3):
            now = np.isin(np.arange(14), recent)
            gaps.append(abs(wins[now].sum() / leads[now].sum() - wins[~now].sum() / leads[~now].sum()))
        share = np.mean(np.array(gaps) >= gaps[-1] * (1 - 1e-9))  # the last of 364 choices is what happened
        if not 0.006 < share < 0.015:  # of 2,000 draws, those on the edge may fall to either side
            shown = judged(past, seed)
            apart = max(shown.rate_recent, shown.rate_earlier) >= 1.25 * min(
                shown.rate_recent, shown.rate_earlier
            )
            decided.append(shown.rates_differ)
            assert shown.rates_differ == (apart and share < 0.01)
    assert 5 < sum(decided) < len(decided) - 5


def test_what_is_sure_but_small_is_no_alarm():
    week = np.repeat(np.arange(24), np.where(np.arange(24) < 18, 1000, 1100))
    recent = week >= 18
    rank = np.concatenate([np.linspace(0, 1, n, endpoint=False) for n in np.bincount(week)])
    past = Backtest(0.9 * rank ** np.where(recent, 0.9, 1), rank < np.where(recent, 0.22, 0.2), week)
    shown = judged(past)
    assert (0 < shown.psi < 0.1, shown.rate_recent, shown.rate_earlier) == (True, 0.22, 0.2)
    assert shown.sent_recent > shown.sent_earlier
    assert shown.sentences == ()


def test_the_index_is_that_of_the_textbook():
    past = world(np.random.default_rng(0), scores=0.3)
    weeks = past.week.max() + 1
    edges = np.quantile(past.probability, np.arange(1, 10) / 10)
    total = 0.0
    groups = [past.probability[past.week < weeks * 3 / 4], past.probability[past.week >= weeks * 3 / 4]]
    for low, high in zip([-math.inf, *edges], [*edges, math.inf], strict=True):
        then, now = ((sum(low <= p < high for p in group) + 0.5) / (len(group) + 5) for group in groups)
        total += (now - then) * math.log(now / then)
    shown = judged(past)
    assert shown.psi == pytest.approx(total)
    assert (shown.earlier, shown.recent) == (18, 6)
    assert shown.sent_recent == (past.probability[past.week >= 18] > 0.2).sum() / 6
    assert shown.sent_earlier == (past.probability[past.week < 18] > 0.2).sum() / 18
    assert shown.rate_recent == past.y[past.week >= 18].mean()
    assert shown.rate_earlier == past.y[past.week < 18].mean()


def test_recent_is_at_most_a_quarter_of_a_year():
    shown = judged(world(np.random.default_rng(0), weeks=104, a_week=30))
    assert (shown.earlier, shown.recent) == (91, 13)


def test_weeks_without_leads_do_not_count():
    week = np.repeat(np.arange(12) * 3, 10)
    assert judged(Backtest(np.full(120, 0.2), np.arange(120) % 10 == 0, week)).psi == 0
    assert judged(Backtest(np.full(110, 0.2), np.arange(110) % 10 == 0, week[10:])) is None
    assert judged(Backtest([0.2], [1])) is None


def test_it_says_how_far():
    large, some = (judged(world(np.random.default_rng(0), a_week=200, scores=by)) for by in (1.5, 0.4))
    (told,) = [each for each in large.sentences if "population" in each]
    assert told.startswith(
        "the past may be a poor guide: in the last 6 weeks the chances were far from those of the 18 before"
    )
    assert large.sentences[-1].endswith(
        f" {large.sent_recent:.0f} leads a week would be sent, in the 18 before {large.sent_earlier:.1f}"
    )
    assert 0.1 <= some.psi < 0.25
    assert some.sentences[0].startswith(
        "the past may be a poor guide: in the last 6 weeks the chances were unlike those of the 18 before"
    )
