import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadscore.errors import UsageError
from leadscore.models.conditions import Condition
from leadscore.models.matrix import Column
from leadscore.policy.policy import STAGES, Policy
from leadscore.policy.preview import preview
from leadscore.policy.rules import Rule
from leadscore.policy.staging import stages
from leadscore.policy.tuning import Backtest

COLUMNS = (Column("calls"),)
RULE = Rule("asked to be called", (Condition("calls", "at_least", 1),))


@st.composite
def policies(draw):
    lines = sorted(draw(st.lists(st.floats(0, 1), min_size=3, max_size=3)))
    rules = draw(st.sampled_from([(), (RULE,)]))
    field = draw(st.sampled_from(["suppress", "fast_track"]))
    return Policy(lines[1], lines[2], nurture=lines[0], **{field: rules})


@settings(deadline=None)
@given(policies(), policies(), st.integers(0, 2**32 - 1))
def test_previewed_counts_are_those_of_applying_both(draft, in_force, seed):
    rng = np.random.default_rng(seed)
    p, y, M = rng.random(60), np.arange(60) % 3 == 0, rng.integers(0, 2, (60, 1)).astype(float)
    shown = preview(draft, in_force, Backtest(p, y), M, COLUMNS)
    table = pd.DataFrame(
        {"before": stages(in_force, p, M, COLUMNS), "after": stages(draft, p, M, COLUMNS), "won": y}
    )
    moved = table[table["before"] != table["after"]]
    for change in shown.stages:
        assert change.before == (table["before"] == change.stage).sum()
        assert change.after == (table["after"] == change.stage).sum()
        assert change.entering == (moved["after"] == change.stage).sum()
        assert change.leaving == (moved["before"] == change.stage).sum()
    assert [change.stage for change in shown.stages] == list(STAGES)
    for replay, column in ((shown.in_force, "before"), (shown.draft, "after")):
        sent = table[column].isin(["mql", "sales_ready"])
        assert (replay.sent, replay.converted) == (sent.sum(), (sent & table["won"]).sum())
        assert replay.converted + replay.missed == table["won"].sum()


def test_the_replay_speaks_of_months():
    week = np.repeat(np.arange(52), 10)
    p = np.tile([0.9, 0.5, *[0.1] * 8], 52)
    y = np.tile([1, 0, 1, *[0] * 7], 52)
    shown = preview(Policy(0.4, 0.8), Policy(0.6, 0.8), Backtest(p, y, week))
    assert shown.sentence == (
        "You would have sent 9 a month over 52 weeks; 4 of them converted, 4 conversions missed"
        " (in force: 4 sent, 4 converted, 4 missed)."
    )
    assert shown.changes == ("nurture 15 % -> 10 %", "mql 60 % -> 40 %")
    assert shown.to_dict()["sentence"] == shown.sentence


def test_rules_need_the_leads_columns_only_when_they_change():
    leads = Backtest([0.9, 0.1], [1, 0])
    with_rule = Policy(0.2, 0.5, fast_track=(RULE,))
    assert preview(Policy(0.05, 0.5, fast_track=(RULE,)), with_rule, leads).draft.sent == 2
    with pytest.raises(UsageError, match="since the draft changes rules"):
        preview(Policy(0.05, 0.5), with_rule, leads)
