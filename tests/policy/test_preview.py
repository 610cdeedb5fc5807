import json
from dataclasses import replace

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from leadscore.errors import UsageError
from leadscore.models.conditions import Condition
from leadscore.models.matrix import Column
from leadscore.policy.backtest import Backtest
from leadscore.policy.policy import STAGES, Policy, Thresholds
from leadscore.policy.preview import preview
from leadscore.policy.rules import Rule
from leadscore.policy.staging import stages

SOURCES = ("Ads", "Partner", "Referral")
COLUMNS = (Column("calls"), Column("source", SOURCES))
CALLED = Rule("asked to be called", (Condition("calls", "at_least", 1),))
PARTNER = Rule("partner's own", (Condition("source", "is", "Partner"),))

lines = st.lists(st.sampled_from([0.0, 0.05, 0.1, 0.25, 0.5, 0.9, 1.0]), min_size=3, max_size=3).map(sorted)


@st.composite
def thresholds(draw):
    nurture, mql, sales_ready = draw(lines)
    return Thresholds(mql, sales_ready, nurture)


owned = st.dictionaries(st.sampled_from([*SOURCES, "Webinar"]), thresholds(), max_size=3)


@st.composite
def policies(draw):
    whole = draw(thresholds())
    return Policy(
        **whole.lines,
        suppress=draw(st.sampled_from([(), (PARTNER,)])),
        fast_track=draw(st.sampled_from([(), (CALLED,)])),
        segment="source" if (own := draw(owned)) else None,
        segments=own,
    )


def leads(seed, n=60):
    rng = np.random.default_rng(seed)
    source = rng.choice([0.0, 1.0, 2.0, np.nan], n)
    M = np.column_stack([rng.integers(0, 2, n), source])
    won = rng.random(n) < 0.3
    won[0] = True
    return Backtest(rng.choice(np.arange(21) / 20, n), won, rng.choice([3, 4, 7], n), M=M, columns=COLUMNS)


def table_of(draft, in_force, past):
    return pd.DataFrame(
        {
            "before": stages(in_force, past.probability, past.M, past.columns),
            "after": stages(draft, past.probability, past.M, past.columns),
            "won": past.y,
            "week": past.week,
            "source": past.levels("source"),
        }
    )


REPLAY = """
    select count(*) filter ({stage} in ('mql', 'sales_ready')),
           count(*) filter ({stage} in ('mql', 'sales_ready') and won),
           count(*) filter ({stage} not in ('mql', 'sales_ready') and won)
    from leads where {where}
"""


@settings(max_examples=15)
@given(policies(), policies(), st.integers(0, 2**32 - 1))
def test_counts_are_those_that_sql_finds(draft, in_force, seed):
    past = leads(seed)
    shown = preview(draft, in_force, past, by=["source"])
    with duckdb.connect() as connection:
        connection.register("leads", table_of(draft, in_force, past))

        def one(query):
            return connection.execute(query).fetchone()

        def replayed(each, where):
            for replay, stage in ((each.in_force, "before"), (each.draft, "after")):
                found = one(REPLAY.format(stage=stage, where=where))
                assert (replay.sent, replay.converted, replay.missed) == found

        replayed(shown, "true")
        for week in shown.weeks:
            replayed(week, f"week = {week.week}")
            assert one(f"select count(*) from leads where week = {week.week}") == (week.leads,)
        for segment in shown.segments:
            replayed(segment, f"source = '{segment.level}'")
        for change in shown.stages:
            assert one(f"select count(*) from leads where before = '{change.stage}'") == (change.before,)
            assert one(f"select count(*) from leads where after = '{change.stage}'") == (change.after,)
            moved = f"before <> after and after = '{change.stage}'"
            assert one(f"select count(*) from leads where {moved}") == (change.entering,)


@given(policies(), policies(), st.integers(0, 2**32 - 1))
def test_parts_add_up_to_the_whole(draft, in_force, seed):
    shown = preview(draft, in_force, leads(seed), by=["source"])
    assert [change.stage for change in shown.stages] == list(STAGES)
    for change in shown.stages:
        assert change.before + change.entering - change.leaving == change.after
    assert sum(change.after for change in shown.stages) == shown.leads
    assert [week.week for week in shown.weeks] == [3, 4, 5, 6, 7]
    assert len({segment.level for segment in shown.segments}) == len(shown.segments)
    for parts in (shown.weeks, shown.segments):
        assert sum(part.leads for part in parts) == shown.leads
        for side in ("in_force", "draft"):
            for figure in ("sent", "converted", "missed"):
                whole = getattr(getattr(shown, side), figure)
                assert sum(getattr(getattr(part, side), figure) for part in parts) == whole


@given(policies(), st.integers(0, 2**32 - 1))
def test_the_policy_in_force_changes_nothing(policy, seed):
    shown = preview(Policy.from_dict(policy.to_dict() | {"revision": 9}), policy, leads(seed))
    assert shown.changes == ()
    assert all(change.entering == change.leaving == 0 for change in shown.stages)
    assert all(part.draft == part.in_force for part in (shown, *shown.weeks, *shown.segments))


def test_a_higher_line_sends_no_lead_that_a_lower_one_does_not():
    past = leads(0, n=500)
    sent = [preview(Policy(line, 1.0), Policy(0.5, 1.0), past).draft.sent for line in np.linspace(0, 1, 101)]
    assert sent[0] == 500
    assert (np.diff(sent) <= 0).all()


def test_the_replay_is_said_in_one_sentence():
    week = np.repeat(np.arange(52), 10)
    p = np.tile([0.9, 0.5, *[0.1] * 8], 52)
    y = np.tile([1, 0, 1, *[0] * 7], 52)
    shown = preview(Policy(0.4, 0.8), Policy(0.6, 0.8), Backtest(p, y, week))
    assert shown.sentence == (
        "You would have sent 104 of 520 leads in 52 weeks: 52 of them converted, 52 conversions missed"
        " (in force: 52 sent, 52 converted, 52 missed)."
    )
    assert shown.changes == ("nurture 15 % -> 10 %", "mql 60 % -> 40 %")
    assert shown.warnings == ()


def test_without_a_clock_there_are_no_weeks():
    shown = preview(Policy(0.2, 0.8), Policy(0.6, 0.8), Backtest([0.9, 0.1], [1, 0]))
    assert shown.weeks == ()
    assert shown.sentence.startswith("You would have sent 1 of 2 leads: 1 of them converted")


def test_a_preview_is_plain_json():
    shown = preview(Policy(0.2, 0.8), Policy(0.6, 0.8), leads(0), by=["source"])
    read = json.loads(json.dumps(shown.to_dict()))
    assert read["sentence"] == shown.sentence
    assert read["weeks"][0]["draft"]["sent"] == shown.weeks[0].draft.sent
    assert read["load"]["sentence"] == shown.load.sentence
    assert read["segments"][0]["level"] == shown.segments[0].level
    assert set(read) == {
        "changes", "stages", "in_force", "draft", "leads", "weeks", "segments", "load", "warnings",
        "sentence",
    }  # fmt: skip


def test_rules_that_the_backtest_cannot_apply_are_left_out_where_both_have_them():
    past = Backtest([0.9, 0.1], [1, 0])
    with_rule = Policy(0.2, 0.5, fast_track=(CALLED,))
    shown = preview(Policy(0.05, 0.5, fast_track=(CALLED,)), with_rule, past)
    assert (shown.in_force.sent, shown.draft.sent) == (1, 2)
    assert shown.warnings[0] == (
        "left out on both sides, as the backtest did not keep what they read: “asked to be called”"
    )
    for draft in (Policy(0.05, 0.5), Policy(0.05, 0.5, suppress=(CALLED,))):
        with pytest.raises(UsageError, match=r"found rule 'asked to be called'; preview it on today's leads"):
            preview(draft, with_rule, past)


def test_a_rule_that_is_kept_applies_beside_one_that_is_not():
    other = Rule("far away", (Condition("country", "is", "NZ"),))
    past = leads(1)
    draft, base = (Policy(0.5, 0.9, suppress=rules) for rules in ((PARTNER,), ()))
    shown = preview(replace(draft, fast_track=(other,)), replace(base, fast_track=(other,)), past)
    assert (shown.draft, shown.in_force) == (
        preview(draft, base, past).draft,
        preview(base, base, past).draft,
    )
    assert shown.draft != shown.in_force


def test_segments_need_their_column():
    with pytest.raises(UsageError, match=r"found segment 'source'; preview it on today's leads instead"):
        preview(
            Policy(0.2, 0.5, segment="source", segments={"Ads": Thresholds(0.1, 0.5)}),
            Policy(0.2, 0.5),
            Backtest([0.9, 0.1], [1, 0]),
        )
    with pytest.raises(UsageError, match="did you mean 'source'"):
        preview(Policy(0.2, 0.5), Policy(0.2, 0.5), leads(0), by=["sauce"])


def test_hysteresis_is_said_to_be_missing_from_a_replay():
    shown = preview(Policy(0.5, 0.9, stay=0.8), Policy(0.5, 0.9), leads(0))
    assert shown.draft == shown.in_force
    assert "a replay sees each lead once: what `stay` and `cool_down` change is not in it" in shown.warnings


# ----------------------------------------------------------------------------------------------------- load
def weekly(counts):
    """A backtest that sends so many leads in each week, of ten more."""
    week = np.repeat(np.arange(len(counts)), np.array(counts) + 10)
    p = np.concatenate([np.repeat([0.9, 0.1], [count, 10]) for count in counts])
    return Backtest(p, np.arange(len(p)) % 2 == 0, week)


def test_the_load_of_a_week_is_foreseen_as_often_as_it_says():
    rng = np.random.default_rng(4)
    inside, chances, exceeded = [], [], []
    for _ in range(300):
        counts = rng.negative_binomial(20, 20 / 70, 21)  # mean 50, standard deviation 13
        found = preview(Policy(0.5, 0.9), Policy(0.5, 0.9), weekly(counts[:20]), capacity=55).load
        inside.append(found.low <= counts[20] <= found.high)
        chances.append(found.exceeded)
        exceeded.append(counts[20] > 55)
    assert 0.91 < np.mean(inside) < 0.98  # four standard errors about 95 %
    assert np.mean(chances) == pytest.approx(np.mean(exceeded), abs=0.11)
    assert np.mean(chances) == pytest.approx(stats.nbinom(20, 20 / 70).sf(55), abs=0.03)


def test_the_load_is_said_against_the_capacity():
    past = weekly([58, 52, 64, 61, 55, 50, 66, 57, 59, 60, 56, 58])
    told = [
        preview(Policy(0.5, 0.9), Policy(0.5, 0.9), past, capacity=capacity).load.sentence
        for capacity in (None, 60, 500, 2.5)
    ]
    lead = "Expected 58 leads a week, from 41 to 75 in 95 of 100 weeks"
    assert told == [
        f"{lead}.",
        f"{lead}: a capacity of 60 is exceeded in about 38 % of weeks.",
        f"{lead}: a capacity of 500 is hardly ever exceeded.",
        f"{lead}: a capacity of 2.5 is always exceeded.",
    ]


def test_without_a_clock_a_capacity_says_nothing():
    shown = preview(Policy(0.2, 0.8), Policy(0.6, 0.8), PAST, capacity=5)
    assert shown.load is None
    assert "the backtest has no weeks: how the draft fills a capacity is not known" in shown.warnings


@pytest.mark.parametrize("capacity", [0, -1, float("nan"), float("inf"), True, "60"])
def test_a_capacity_that_cannot_be_meant_is_refused(capacity):
    with pytest.raises(UsageError, match="a capacity above 0"):
        preview(Policy(0.2, 0.8), Policy(0.6, 0.8), leads(0), capacity=capacity)


def test_one_week_is_enough_for_a_guess():
    found = preview(Policy(0.5, 0.9), Policy(0.5, 0.9), weekly([50]), capacity=50).load
    assert found.expected == 50
    assert 0.4 < found.exceeded < 0.5


# ------------------------------------------------------------------------------------------------- warnings
def past_of(*groups):
    """A backtest from (source, leads, chance, conversions)."""
    source, p, won = [], [], []
    for name, n, chance, wins in groups:
        source += [SOURCES.index(name) if name else np.nan] * n
        p += [chance] * n
        won += [1] * wins + [0] * (n - wins)
    M = np.column_stack([np.zeros(len(p)), source])
    return Backtest(p, won, M=M, columns=COLUMNS)


PAST = past_of(("Ads", 200, 0.3, 60), ("Partner", 31, 0.15, 4), ("Referral", 50, 0.05, 2), ("", 20, 0.5, 10))


def test_a_segment_that_is_shut_out_is_named():
    base = Policy(0.1, 0.9)
    shown = preview(Policy(0.2, 0.9), base, PAST)
    assert shown.segments == ()
    assert shown.warnings == (
        "source “Partner” is shut out: none of its 31 leads would be sent (31 in force); 4 of them converted",
    )
    asked = preview(Policy(0.2, 0.9), base, PAST, by="source")
    assert [segment.level for segment in asked.segments] == ["Ads", "Referral", "Partner", ""]
    assert [warning.split(":")[0] for warning in asked.warnings] == [
        "source “Referral” is shut out", "source “Partner” is shut out",
    ]  # fmt: skip
    nobody = preview(Policy(0.6, 0.9), base, PAST, by=["source"])
    assert (
        "no source is shut out: none of its 20 leads would be sent (20 in force); 10 of them converted"
        in (nobody.warnings)
    )


def test_a_small_segment_that_falls_out_by_chance_raises_no_alarm_unless_asked_for():
    past = past_of(("Ads", 90, 0.3, 30), ("Ads", 200, 0.15, 20), ("Partner", 2, 0.15, 1))
    draft, base = Policy(0.2, 0.9), Policy(0.1, 0.9)
    assert preview(draft, base, past).warnings == ()
    assert len(preview(draft, base, past, by=["source"]).warnings) == 1


def test_thresholds_of_a_segment_with_two_conversions_are_said_to_rest_on_few():
    lines = Thresholds(0.01, 0.9)
    draft = Policy(0.1, 0.9, segment="source", segments={"Referral": lines, "Webinar": lines})
    shown = preview(draft, Policy(0.1, 0.9), PAST)
    assert shown.warnings == (
        "source “Referral” has 2 conversions among 50 leads: too few to judge thresholds of its own",
        "no past lead has source “Webinar”: its thresholds are not in this replay",
    )
    few = {segment.level: (segment.few, segment.own_lines) for segment in shown.segments}
    assert few == {
        "Ads": (False, False), "Referral": (True, True), "Partner": (True, False), "": (False, False),
    }  # fmt: skip


def test_the_segments_of_the_policy_in_force_are_shown_too():
    own = Policy(0.1, 0.9, segment="source", segments={"Ads": Thresholds(0.2, 0.9)})
    shown = preview(Policy(0.1, 0.9), own, PAST)
    assert [segment.level for segment in shown.segments] == ["Ads", "Referral", "Partner", ""]
    assert not any(segment.own_lines for segment in shown.segments)


def test_the_same_word_in_another_column_has_no_thresholds_of_its_own():
    M = np.repeat(PAST.M[:, 1:], 2, axis=1)
    both = replace(PAST, M=M, columns=(Column("source", SOURCES), Column("origin", SOURCES)))
    draft = Policy(0.1, 0.9, segment="source", segments={"Ads": Thresholds(0.2, 0.9)})
    shown = preview(draft, Policy(0.1, 0.9), both, by="origin")
    own = [(segment.column, segment.level) for segment in shown.segments if segment.own_lines]
    assert own == [("source", "Ads")]


def test_few_conversions_and_few_weeks_are_said():
    shown = preview(Policy(0.2, 0.9), Policy(0.1, 0.9), Backtest([0.3, 0.3, 0.1], [1, 1, 0], [0, 1, 2]))
    assert shown.warnings == (
        "only 2 of 3 leads converted: these counts are mostly luck",
        "fewer than 12 weeks have leads: too few to see whether recent ones differ from those before",
    )


def test_drift_is_a_warning():
    week = np.repeat(np.arange(20), 100)
    y = np.where(np.arange(2000) % 100 < np.where(week < 15, 10, 25), 1, 0)
    shown = preview(Policy(0.2, 0.9), Policy(0.1, 0.9), Backtest(np.full(2000, 0.3), y, week))
    (told,) = shown.warnings
    assert told == (
        "the past may be a poor guide: in the last 5 weeks 25 % of the leads converted, in the 15 before 10 %"
    )


def test_hostile_levels_stay_on_one_line():
    columns = (Column("so\nurce", ("A\x1b[31m\nB",)),)
    past = Backtest(np.full(40, 0.15), np.ones(40), M=np.zeros((40, 1)), columns=columns)
    told = preview(Policy(0.2, 0.9), Policy(0.1, 0.9), past, by=["so\nurce"]).warnings
    assert len(told) == 1
    assert told[0].isprintable()
