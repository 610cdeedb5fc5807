import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadscore.errors import DataError
from leadscore.models.calibration import Scale, log_odds_of
from leadscore.models.conditions import Condition
from leadscore.models.matrix import Column
from leadscore.policy.policy import STAGES, Policy, Thresholds
from leadscore.policy.rules import Rule
from leadscore.policy.staging import (
    Standing,
    deciding,
    explain_stage,
    lines_of,
    require_fit,
    segment_of,
    stage_reasons,
    stages,
    through,
)

LEVELS = ("(other)", "Ads", "Fair", "Webinar")
COLUMNS = (Column("calls"), Column("source", LEVELS))
CALLED = Rule("asked to be called", (Condition("calls", "at_least", 1),))
RIVAL = Rule("competitor", (Condition("calls", "is", -1),))
POLICY = Policy(
    mql=0.10,
    sales_ready=0.30,
    nurture=0.02,
    suppress=(RIVAL,),
    fast_track=(CALLED,),
    segment="source",
    segments={"Webinar": Thresholds(0.12, 0.40, 0.05), "Fair": Thresholds(0.05, 0.10, 0.05)},
    stay=0.8,
    cool_down=14.0,
)
ALONE = np.empty((0, 2))


def slowly(policy, p, calls, code, before=-1, recycled=np.nan):
    """Say the stage of one lead, with nothing but comparisons."""
    if calls == -1:
        return 0
    if calls >= 1:
        return 3
    level = None if np.isnan(code) else LEVELS[int(code)]
    own = policy.segments.get(level, policy)
    lines = [own.nurture, own.mql, own.sales_ready]
    stage = 0
    for place, line in enumerate(lines, start=1):
        if p >= line or (before >= place and p >= policy.stay * line):
            stage = place
    if recycled < policy.cool_down:
        stage = min(stage, 1)
    return stage


probabilities = st.one_of(
    st.floats(0, 1), st.sampled_from([0.02, 0.05, 0.08, 0.1, 0.8 * 0.1, 0.12, 0.24, 0.3, 0.4, 0.8 * 0.4])
)
leads = st.tuples(
    probabilities,
    st.sampled_from([-1.0, 0.0, 0.0, 0.0, 2.0, np.nan]),
    st.sampled_from([0.0, 1.0, 2.0, 3.0, np.nan]),
    st.integers(-1, 3),
    st.one_of(st.just(np.nan), st.sampled_from([0.0, 13.99, 14.0, 300.0]), st.floats(0, 40)),
)


@st.composite
def policies(draw):
    def thresholds():
        nurture, mql, ready = sorted(draw(st.lists(st.floats(0, 1), min_size=3, max_size=3)))
        return Thresholds(mql, ready, nurture)

    base, names = thresholds(), draw(st.sets(st.sampled_from(LEVELS), max_size=3))
    return Policy(
        base.mql,
        base.sales_ready,
        (RIVAL,),
        (CALLED,),
        base.nurture,
        segment="source" if names else None,
        segments={name: thresholds() for name in sorted(names)},
        stay=draw(st.sampled_from([1.0, 0.8, 0.5, 0.01])),
        cool_down=draw(st.sampled_from([0.0, 0.5, 14.0])),
    )


def laid_out(rows):
    p, calls, code, before, recycled = (np.array(part) for part in zip(*rows, strict=True))
    return p, np.column_stack([calls, code]), Standing(before, recycled)


@settings(max_examples=200)
@given(policies(), st.lists(leads, min_size=1, max_size=20))
def test_stages_agree_with_comparing_one_lead_after_the_other(policy, rows):
    p, M, standing = laid_out(rows)
    expected = [STAGES[slowly(policy, *row)] for row in rows]
    assert stages(policy, p, M, COLUMNS, standing).tolist() == expected
    new = [STAGES[slowly(policy, *row[:3])] for row in rows]
    assert stages(policy, p, M, COLUMNS).tolist() == new
    unknown = Standing(np.full(len(rows), -1), np.full(len(rows), np.nan))
    assert stages(policy, p, M, COLUMNS, unknown).tolist() == new


@settings(max_examples=200)
@given(policies(), leads, st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_raising_a_chance_never_lowers_a_stage(policy, lead, chances):
    p = np.sort(chances)
    rows = [(chance, *lead[1:]) for chance in p.tolist()]
    _, M, standing = laid_out(rows)
    places = [STAGES.index(stage) for stage in stages(policy, p, M, COLUMNS, standing)]
    assert (np.diff(places) >= 0).all()


@settings(max_examples=200)
@given(policies(), leads, st.integers(-1, 3), st.integers(-1, 3))
def test_having_stood_higher_never_lowers_a_stage(policy, lead, one, other):
    p, calls, code, _, recycled = lead
    found = [
        STAGES.index(
            stages(policy, *laid_out([(p, calls, code, before, recycled)])[:2], COLUMNS, standing)[0]
        )
        for before in sorted((one, other))
        for standing in [Standing([before], [recycled])]
    ]
    assert found == sorted(found)


@settings(max_examples=200)
@given(policies(), st.lists(leads, min_size=1, max_size=15))
def test_walking_through_is_staging_one_moment_after_the_other(policy, rows):
    p, M, _ = laid_out(rows)
    before, expected = -1, []
    for moment in range(len(rows)):
        one = slice(moment, moment + 1)
        (stage,) = stages(policy, p[one], M[one], COLUMNS, Standing([before], [np.nan]))
        before = STAGES.index(stage)
        expected.append(stage)
    assert through(policy, p, M, COLUMNS).tolist() == expected


@given(st.integers(1, 3), st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=50))
def test_a_chance_that_jitters_within_the_band_changes_no_stage(place, jitter):
    policy = Policy(mql=0.1, sales_ready=0.3, nurture=0.02, stay=0.7)
    line = list(policy.lines.values())[place - 1]
    p = np.array([line, *(line * (0.7 + 0.3 * part) for part in jitter)])
    p = np.maximum(p, 0.7 * line)
    assert set(through(policy, p, np.empty((len(p), 0)), ()).tolist()) == {STAGES[place]}


def test_without_hysteresis_the_same_chance_flaps():
    p = np.tile([0.101, 0.099], 50)
    nothing = np.empty((len(p), 0))
    steady = through(Policy(0.1, 0.3, stay=0.8), p, nothing, ())
    assert (steady[1:] != steady[:-1]).sum() == 0
    flapping = through(Policy(0.1, 0.3), p, nothing, ())
    assert (flapping[1:] != flapping[:-1]).sum() == 99


def test_a_lead_without_thresholds_of_its_own_has_those_of_all():
    M = np.array([[0, 0], [0, 1], [0, 2], [0, 3], [0, np.nan]])
    assert lines_of(POLICY, M, COLUMNS).tolist() == [
        [0.02, 0.1, 0.3],
        [0.02, 0.1, 0.3],
        [0.05, 0.05, 0.1],
        [0.05, 0.12, 0.4],
        [0.02, 0.1, 0.3],
    ]
    assert segment_of(POLICY, M, COLUMNS) == ["(other)", "Ads", "Fair", "Webinar", None]
    assert segment_of(Policy(0.1, 0.3), M, COLUMNS) == [None] * 5
    assert lines_of(Policy(0.1, 0.3), M, ()).shape == (5, 3)


def test_the_first_rule_that_holds_decides():
    policy = Policy(0.1, 0.3, (RIVAL,), (CALLED, Rule("twice", (Condition("calls", "at_least", 2),))))
    M = np.array([[-1, 0], [0, 0], [1, 0], [3, 0]], dtype=float)
    assert deciding(policy, M, COLUMNS).tolist() == [0, -1, 1, 1]


def reasons(*rows, policy=POLICY, **options):
    p, M, standing = laid_out(rows)
    return stage_reasons(policy, p, M, COLUMNS, standing, **options)


def test_reasons_name_the_segments_line_the_hysteresis_and_the_cool_down():
    never = np.nan
    assert reasons(
        (0.14, 0, 3, -1, never),
        (0.14, 0, 1, -1, never),
        (0.14, 0, 0, -1, never),
        (0.07, 0, np.nan, -1, never),
        (0.10, 0, 3, 2, never),
        (0.25, 0, 1, 3, 300.0),
        (0.14, 0, 3, 1, 5.4),
        (0.14, 0, 3, 1, 0.3),
        (0.50, 0, 3, 3, 13.5),
        (0.03, 0, 3, 1, 2.0),
        (0.01, 2, 3, 1, 2.0),
    ) == [
        "MQL: the chance of 14 % is at or above the line of 12 % for source Webinar; sales ready begins at "
        "40 %.",
        "MQL: the chance of 14 % is at or above the line of 10 %; sales ready begins at 30 %; source “Ads” "
        "has no thresholds of its own: those of all leads hold.",
        "MQL: the chance of 14 % is at or above the line of 10 %; sales ready begins at 30 %; a rare or new "
        "source has no thresholds of its own: those of all leads hold.",
        "Nurture: the chance of 7 % is below the MQL line of 10 %; a lead without source has no thresholds "
        "of its own: those of all leads hold.",
        "Stays MQL: the chance of 10 % is below the line of 12 % for source Webinar at which it enters, not "
        "below 9.6 %, at which it leaves.",
        "Stays sales ready: the chance of 25 % is below the line of 30 % at which it enters, not below 24 %, "
        "at which it leaves; source “Ads” has no thresholds of its own: those of all leads hold.",
        "Nurture: given back 5 days ago; with its chance of 14 % MQL again after 14 days, in 9 days.",
        "Nurture: given back less than a day ago; with its chance of 14 % MQL again after 14 "
        "days, in 14 days.",
        "Nurture: given back 13 days ago; with its chance of 50 % sales ready again after 14 days, in 1 day.",
        "Unqualified: the chance of 3 % is below the nurture line of 5 % for source Webinar.",
        "Sales ready by the rule “asked to be called”, whatever the chance.",
    ]


def test_reasons_speak_of_scores_where_chances_are_not_to_be_told():
    told = reasons((0.14, 0, 3, -1, np.nan), (0.0999, 0, 1, -1, np.nan), (0.10, 0, 3, 2, 3.0), scale=Scale())
    first, second, third = Scale().score(log_odds_of([0.14, 0.12, 0.4]))
    assert told[0].startswith(
        f"MQL: the score of {first:.0f} is at or above the line of {second:.0f} for source Webinar; sales "
        f"ready begins at {third:.0f}"
    )
    assert "the score of 49.99 is below the MQL line of 50;" in told[1]
    assert (
        told[2] == "Nurture: given back 3 days ago; with its score of 50 MQL again after 14 days, in 11 days."
    )
    assert not any("%" in sentence for sentence in told)


@settings(max_examples=200)
@given(policies(), st.lists(leads, min_size=1, max_size=5))
def test_a_reason_names_the_stage_that_is_given(policy, rows):
    p, M, standing = laid_out(rows)
    told = stage_reasons(policy, p, M, COLUMNS, standing)
    for stage, sentence in zip(stages(policy, p, M, COLUMNS, standing), told, strict=True):
        name = {"mql": "MQL", "sales_ready": "sales ready"}.get(stage, stage)
        assert sentence.removeprefix("Stays ")[1:].startswith(name[1:])
        assert sentence.endswith(".")
        assert "\n" not in sentence


@given(probabilities, st.sampled_from([None, *LEVELS, "never seen"]), st.sampled_from([None, *STAGES]))
def test_one_sentence_is_that_of_many(p, level, before):
    code = LEVELS.index(level) if level in LEVELS else np.nan
    place = -1 if before is None else STAGES.index(before)
    (among,) = reasons((p, 0, code, place, 3.0))
    if level != "never seen":
        assert explain_stage(POLICY, p, level=level, before=before, recycled=3.0) == among
    else:
        assert "source “never seen” has no thresholds" in explain_stage(POLICY, p, level=level)


def test_hostile_words_do_not_reach_a_sentence():
    level = "\x1b[31m" + "x" * 500
    columns = (Column("source", (level,)),)
    for segments in ({level: Thresholds(0.1, 0.3)}, {"other": Thresholds(0.1, 0.3)}):
        policy = Policy(0.1, 0.3, segment="source", segments=segments)
        (told,) = stage_reasons(policy, np.array([0.2]), np.array([[0.0]]), columns)
        assert "\x1b" not in told
        assert len(told) < 300


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        (
            Policy(0.1, 0.3, segment="sourc", segments={"Ads": Thresholds(0.1, 0.3)}),
            "a column 'sourc'; found 2 columns without it (did you mean 'source'?)",
        ),
        (
            Policy(0.1, 0.3, segment="calls", segments={"Ads": Thresholds(0.1, 0.3)}),
            "a segment that is a category; found 'calls', which holds numbers; name one of source",
        ),
        (
            Policy(0.1, 0.3, segment="source", segments={"Webinars": Thresholds(0.1, 0.3)}),
            "a level of 'source'; found 'Webinars' (did you mean 'Webinar'?)",
        ),
        (
            Policy(0.1, 0.3, (Rule("x", (Condition("call", "at_least", 1),)),)),
            "a column 'call'; found 2 columns without it (did you mean 'calls'?)",
        ),
        (
            Policy(0.1, 0.3, (), (Rule("x", (Condition("source", "at_least", 1),)),)),
            "a column that 'at_least' can judge; found 'source', which is a category",
        ),
    ],
)
def test_a_policy_that_the_columns_cannot_carry_is_refused(policy, says):
    with pytest.raises(DataError) as refused:
        require_fit(policy, COLUMNS)
    assert says in str(refused.value)
    require_fit(POLICY, COLUMNS)


def test_a_level_that_no_lead_has_is_no_matter_when_scoring():
    policy = Policy(0.1, 0.3, segment="source", segments={"Gone": Thresholds(0.9, 0.95)})
    assert stages(policy, np.array([0.5]), np.array([[0.0, 1.0]]), COLUMNS)[0] == "sales_ready"


@pytest.mark.parametrize(
    ("stage", "recycled", "says"),
    [
        ([4], [0.0], "stages from -1 to 3"),
        ([-2], [0.0], "stages from -1 to 3"),
        ([1], [-0.1], "0 or more"),
        ([1, 2], [0.1], "shapes (2,) and (1,)"),
    ],
)
def test_a_standing_that_cannot_be_meant_is_refused(stage, recycled, says):
    with pytest.raises(DataError) as refused:
        Standing(stage, recycled)
    assert says in str(refused.value)


def test_a_standing_of_other_leads_is_refused():
    with pytest.raises(DataError, match="2 of 1 leads"):
        stages(POLICY, np.array([0.1]), np.zeros((1, 2)), COLUMNS, Standing([1, 1], [np.nan, np.nan]))


def test_no_leads_have_no_stages():
    empty = np.empty(0)
    standing = Standing(np.empty(0, int), empty)
    assert len(stages(POLICY, empty, ALONE, COLUMNS, standing)) == 0
    assert stage_reasons(POLICY, empty, ALONE, COLUMNS, standing) == []
    assert len(through(POLICY, empty, ALONE, COLUMNS)) == 0
