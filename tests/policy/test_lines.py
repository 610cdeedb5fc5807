"""The lines between leads, against counting."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from leadscore.models.conditions import Condition
from leadscore.models.matrix import Column
from leadscore.policy.backtest import Backtest
from leadscore.policy.lines import ALWAYS, NEVER, ruled, separating
from leadscore.policy.policy import Policy
from leadscore.policy.rules import Rule

chances = st.lists(st.sampled_from([NEVER, 0.0, 0.1, 0.25, 1 / 3, 0.5, 1.0, ALWAYS]), max_size=30)


@given(chances, st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_lines_are_those_that_separate_leads(chance: list[float], thresholds: list[float]) -> None:
    y = np.arange(len(chance)) % 3 == 0
    lines = separating(np.array(chance, dtype=np.float64), y)
    between = sorted({c for c in chance if 0 <= c <= 1}, reverse=True)
    assert lines.at.tolist() == between
    assert lines.volume.tolist() == [sum(c >= line for c in chance) for line in between]
    assert lines.wins.tolist() == [
        sum(bool(won) for c, won in zip(chance, y, strict=True) if c >= line) for line in between
    ]
    volume, wins = lines.reached(np.array(thresholds))
    assert volume.tolist() == [sum(c >= line for c in chance) for line in thresholds]
    assert wins.tolist() == [
        sum(bool(won) for c, won in zip(chance, y, strict=True) if c >= line) for line in thresholds
    ]


def test_a_suppression_decides_before_a_fast_track_and_both_before_the_chance() -> None:
    calls, rival = Column("calls"), Column("rival", ("no", "yes"))
    policy = Policy(
        0.1,
        0.2,
        suppress=(Rule("rival", (Condition("rival", "is", "yes"),)),),
        fast_track=(Rule("called", (Condition("calls", "at_least", 1),)),),
    )
    M = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, np.nan]])
    leads = Backtest([0.3, 0.3, 0.3, 0.4], [1, 0, 0, 0], None, [5, 6, 7, 8], M, [calls, rival])
    assert ruled(leads, policy).tolist() == [0.3, ALWAYS, NEVER, 0.4]
    assert ruled(leads, policy, leads.points).tolist() == [5, ALWAYS, NEVER, 8]
    assert ruled(leads, None).tolist() == [0.3, 0.3, 0.3, 0.4]
