import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from leadscore.errors import DataError, UsageError
from leadscore.models.conditions import Condition
from leadscore.models.matrix import Column
from leadscore.policy.backtest import Backtest
from leadscore.policy.carrying import carried
from leadscore.policy.policy import STAGES, Policy, Thresholds
from leadscore.policy.rules import Rule
from leadscore.policy.staging import stages

SOURCES = ("Ads", "Partner", "Referral")
COLUMNS = (Column("calls"), Column("source", SOURCES))
CALLED = Rule("asked to be called", (Condition("calls", "at_least", 2),))
RIVAL = Rule("competitor", (Condition("calls", "is", 0), Condition("source", "is", "Ads")))

lines = st.lists(st.sampled_from([0.0, 0.05, 0.1, 0.25, 0.5, 0.9]), min_size=3, max_size=3).map(sorted)


@st.composite
def thresholds(draw):
    nurture, mql, sales_ready = draw(lines)
    return Thresholds(mql, sales_ready, nurture)


@st.composite
def policies(draw):
    own = draw(st.dictionaries(st.sampled_from(SOURCES), thresholds(), max_size=2))
    return Policy(
        **draw(thresholds()).lines,
        suppress=draw(st.sampled_from([(), (RIVAL,)])),
        fast_track=draw(st.sampled_from([(), (CALLED,)])),
        segment="source" if own else None,
        segments=own,
        revision=7,
    )


def leads(seed, weeks, n=80):
    rng = np.random.default_rng(seed)
    M = np.column_stack([rng.integers(0, 3, n), rng.choice([0.0, 1.0, 2.0, np.nan], n)])
    won = rng.random(n) < 0.3
    won[0] = True
    week = None if weeks is None else np.arange(n) * weeks // n
    return Backtest(rng.choice(np.arange(1, 20) / 20, n), won, week, M=M, columns=COLUMNS)


def staged(policy, past):
    return stages(policy, past.probability, past.M, past.columns)


def reached(policy, past, stage):
    """Who is in a stage or above."""
    return np.isin(staged(policy, past).astype(str), STAGES[STAGES.index(stage) :])


def groups(policy, past):
    """The leads of each level with thresholds of its own, and all others."""
    level = np.array([each if each in policy.segments else None for each in past.levels("source")], object)
    return {name: level == name for name in (None, *policy.segments)}


spans = st.sampled_from([None, 3, 4, 10])


@given(policies(), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), spans, spans)
def test_volume_is_held_as_well_as_any_line_could(policy, seed, other, weeks, new_weeks):
    old, new = leads(seed, weeks), leads(other, new_weeks, n=120)
    try:
        kept = carried(policy, old, new, "volume").policy
    except UsageError as refused:
        assert "level at the top or fast-tracked" in str(refused)
        return
    clocked = weeks is not None and new_weeks is not None
    sizes = (weeks, new_weeks) if clocked else (80, 120)
    of_old, of_new = groups(policy, old), groups(policy, new)
    for level in (None, *policy.segments):
        if not (of_old[level].any() and of_new[level].any()):
            continue
        for stage in STAGES[1:]:
            before = int((reached(policy, old, stage) & of_old[level]).sum())
            after = int((reached(kept, new, stage) & of_new[level]).sum())
            possible = []
            for line in (*np.unique(new.probability), 1.0):
                everywhere = Thresholds(line, line, line)
                tried = replace(
                    policy, **everywhere.lines, segments=dict.fromkeys(policy.segments, everywhere)
                )
                possible.append(int((reached(tried, new, "mql") & of_new[level]).sum()))
            fitting = [count for count in possible if count * sizes[0] <= before * sizes[1]]
            assert after == max(fitting, default=min(possible)), (level, stage)


@settings(max_examples=25)
@given(policies(), st.integers(0, 2**32 - 1), spans, st.sampled_from(["fixed", "volume"]))
def test_the_same_model_changes_nothing(policy, seed, weeks, hold):
    past = leads(seed, weeks)
    found = carried(policy, past, past, hold)
    assert found.policy == replace(policy, revision=1)
    assert found.changes == ()
    assert found.to_dict()["before"] == found.to_dict()["after"]


@given(policies(), st.integers(0, 2**32 - 1))
def test_a_model_that_ranks_the_same_gives_every_lead_its_stage(policy, seed):
    old = leads(seed, 4)
    new = replace(old, probability=old.probability**3)
    try:
        kept = carried(policy, old, new, "volume").policy
    except UsageError:
        assume(False)
    assert (staged(kept, new) == staged(policy, old)).all()


def test_fixed_keeps_the_policy_and_shows_what_it_means():
    old, new = leads(0, 4), leads(1, 8)
    policy = Policy(0.5, 0.9, fast_track=(CALLED,), revision=3, stay=0.8)
    found = carried(policy, old, new, "fixed")
    assert found.policy == replace(policy, revision=1)
    for past, figures in ((old, found.before), (new, found.after)):
        sent, ready = (reached(policy, past, stage) for stage in ("mql", "sales_ready"))
        values = {(each.line, each.figure): each for each in figures}
        for line, taken in (("mql", sent), ("sales_ready", ready)):
            expected = {
                "volume_per_week": taken.sum() / past.weeks,
                "wins_per_week": (taken & past.y).sum() / past.weeks,
                "precision": past.y[taken].mean(),
                "recall": (taken & past.y).sum() / past.y.sum(),
            }
            for name, value in expected.items():
                figure = values.pop((line, name))
                assert figure.value == pytest.approx(value)
                assert figure.low < figure.value < figure.high
        assert not values


def test_the_change_is_said_either_way():
    week = np.repeat(np.arange(10), 100)
    p, y = np.tile(np.linspace(0.01, 1, 100), 10), np.tile(np.arange(100) >= 80, 10)
    old, new = Backtest(p, y, week), Backtest(p / 2, y, week)
    fixed, volume = (carried(Policy(0.4, 0.8), old, new, hold) for hold in ("fixed", "volume"))
    assert fixed.changes == ()
    assert fixed.sentence.startswith("With the probabilities kept, 21 (")
    assert "leads a week are sent, before 61 (" in fixed.sentence
    assert volume.changes == ("nurture 10 % -> 5 %", "mql 40 % -> 20 %", "sales_ready 80 % -> 40 %")
    assert volume.sentence.startswith("With the number of leads kept, 61 (")
    assert volume.after == volume.before


def test_without_weeks_the_share_is_held():
    p = np.linspace(0.01, 1, 100)
    old, new = (
        Backtest(p, p > 0.705),
        Backtest(np.repeat(p / 2, 3), np.repeat(p > 0.705, 3), np.arange(300) // 30),
    )
    found = carried(Policy(0.5, 0.9), old, new, "volume")
    assert (found.weeks, found.policy.mql) == (False, 0.25)
    shares = {each.figure: each.value for each in found.after if each.line == "mql"}
    assert shares == pytest.approx(
        {"volume_share": 0.51, "wins_share": 0.3, "precision": 30 / 51, "recall": 1.0}
    )
    assert "51 % (" in found.sentence
    assert "of the leads are sent" in found.sentence


def test_a_segment_without_leads_keeps_its_probabilities():
    old, new = (leads(seed, 4, n=400) for seed in (0, 1))
    somewhere = new.levels("source") != "Partner"
    new = Backtest(
        new.probability[somewhere] / 2, new.y[somewhere], new.week[somewhere], M=new.M[somewhere],
        columns=COLUMNS,
    )  # fmt: skip
    own = {"Partner": Thresholds(0.4, 0.8), "Ads": Thresholds(0.2, 0.6)}
    found = carried(Policy(0.5, 0.9, segment="source", segments=own), old, new, "volume")
    assert found.policy.segments["Partner"] == own["Partner"]
    assert found.policy.segments["Ads"].mql < 0.2
    assert found.notes == ("a backtest has no leads of source “Partner”: the probabilities are kept there",)


def test_rules_that_a_backtest_cannot_apply_are_left_out_of_the_figures_only():
    far = Rule("far away", (Condition("country", "is", "NZ"),))
    old, new = leads(0, 4), leads(1, 4)
    with_rule, without = (Policy(0.5, 0.9, suppress=rules) for rules in ((far,), ()))
    found, plain = (carried(policy, old, new, "volume") for policy in (with_rule, without))
    assert found.policy == replace(plain.policy, suppress=(far,))
    assert found.after == plain.after
    kept = replace(old, M=np.column_stack([old.M, old.M[:, 0]]), columns=(*COLUMNS, Column("country")))
    assert carried(with_rule, kept, new, "volume").notes == found.notes
    assert found.notes == (
        "left out of these figures, as a backtest did not keep what they read: “far away”",
    )


def test_a_policy_that_the_new_model_cannot_read_is_refused():
    old, new = leads(0, 4), leads(1, 4)
    policy = Policy(0.5, 0.9, fast_track=(CALLED,))
    with pytest.raises(DataError, match="expected a column 'calls'"):
        carried(policy, old, new, "fixed", columns=COLUMNS[1:])
    segmented = Policy(0.5, 0.9, segment="source", segments={"Partners": Thresholds(0.4, 0.8)})
    with pytest.raises(DataError, match="did you mean 'Partner'"):
        carried(segmented, old, new, "volume", columns=COLUMNS)
    with pytest.raises(UsageError, match="kept the segment 'source'; found one without it"):
        carried(segmented, old, Backtest([0.5, 0.1], [1, 0]), "volume")


@pytest.mark.parametrize(
    ("new", "says"),
    [
        (
            [0.7, 0.7, 0.7, 0.1],
            "at most 2 leads reach, as before; found at least 3 that are level at the top",
        ),
        ([1.0, 1.0, 0.2, 0.1], "a line above every chance, as before; found leads with a chance of 100 %"),
    ],
)
def test_a_volume_that_cannot_be_held_is_refused(new, says):
    old = Backtest([0.6, 0.5, 0.2, 0.1], [1, 1, 0, 0])
    with pytest.raises(UsageError, match=says):
        carried(Policy(0.5, 0.9), old, Backtest(new, [1, 1, 0, 0]), "volume")


def test_a_stage_that_was_empty_stays_so():
    old = Backtest([0.6, 0.5, 0.2, 0.1], [1, 1, 0, 0])
    kept = carried(Policy(0.5, 0.7), old, Backtest([0.93, 0.8, 0.2, 0.1], [1, 1, 0, 0]), "volume").policy
    assert (kept.mql, kept.sales_ready) == (0.5, 1.0)


@given(st.floats(0.0, 1.0, exclude_max=True))
def test_a_line_above_all_is_above_all(chance):
    old = Backtest([0.2, 0.1], [1, 0])
    kept = carried(Policy(0.01, 1.0, nurture=0.0), old, Backtest([chance, 0.0], [1, 0]), "volume").policy
    assert chance < kept.sales_ready <= 1


def test_more_fast_tracks_alone_are_no_reason_to_refuse():
    def past(calls):
        M = np.column_stack([calls, np.zeros(8)])
        return Backtest(np.linspace(0.1, 0.8, 8), np.arange(8) % 2, M=M, columns=COLUMNS)

    policy = Policy(0.9, 0.9, fast_track=(CALLED,))
    kept = carried(policy, past([2, 2, 0, 0, 0, 0, 0, 0]), past([2, 2, 2, 0, 0, 0, 0, 0]), "volume").policy
    assert kept == policy
    sending = replace(policy, mql=0.8, nurture=None)  # one lead by its chance, beside two by the rule
    with pytest.raises(UsageError, match="at most 3 leads reach, as before; found at least 5"):
        carried(sending, past([2, 2, 0, 0, 0, 0, 0, 0]), past([2, 2, 2, 2, 0, 0, 0, 0]), "volume")


def test_less_than_one_lead_is_none():
    old = Backtest([0.9, *[0.1] * 9], np.arange(10) % 2 == 0)
    kept = carried(Policy(0.5, 0.9), old, Backtest([0.7, 0.2, 0.1], [1, 0, 0]), "volume").policy
    assert kept.mql > 0.7  # a tenth of three leads is no lead


def test_another_way_to_hold_is_refused():
    with pytest.raises(UsageError, match="did you mean 'volume'"):
        carried(Policy(0.5, 0.9), leads(0, 4), leads(1, 4), "volumes")


def test_it_is_plain_json():
    found = carried(Policy(0.5, 0.9), leads(0, 4), leads(1, 4), "volume")
    read = json.loads(json.dumps(found.to_dict()))
    assert Policy.from_dict(read["policy"]) == found.policy
    assert read["after"][0]["value"] == found.after[0].value
    assert read["sentence"] == found.sentence
    none = carried(Policy(0.99, 0.99), leads(0, 4), leads(1, 4), "fixed")
    assert "; none of them convert, before none." in none.sentence
    assert json.loads(json.dumps(none.to_dict(), allow_nan=False))
