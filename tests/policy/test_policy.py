import copy
import json
import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadscore.errors import DataError, UsageError
from leadscore.models.conditions import Condition
from leadscore.models.matrix import Column
from leadscore.policy.policy import STAGES, Policy, Thresholds, differences, percent
from leadscore.policy.rules import Rule
from leadscore.policy.staging import explain_stage, stage_reasons, stages

COLUMNS = (Column("calls"), Column("industry", ("(other)", "bank", "rival")))
RIVAL = Rule("competitor", (Condition("industry", "is", "rival"),), reason="builds the same")
CALLED = Rule("asked to be called", (Condition("calls", "at_least", 1), Condition("industry", "present")))
POLICY = Policy(mql=0.10, sales_ready=0.30, suppress=(RIVAL,), fast_track=(CALLED,), nurture=0.02)

OF_ALL = {"mql": 0.1, "sales_ready": 0.2}
BY_SOURCE = OF_ALL | {"segment": "source", "segments": {"Ads": OF_ALL}}
SEGMENTED = replace(
    POLICY, segment="source", segments={"Ads": Thresholds(0.2, 0.5), "Fair": Thresholds(0.05, 0.1)}, stay=0.8
)

probabilities = st.floats(0, 1)


def staged(policy, probability, calls=0.0, industry=0.0):
    return stages(policy, np.array([probability]), np.array([[calls, industry]]), COLUMNS)[0]


@pytest.mark.parametrize(
    ("probability", "stage"),
    [
        (0.0, "unqualified"),
        (np.nextafter(0.02, 0), "unqualified"),
        (0.02, "nurture"),
        (np.nextafter(0.1, 0), "nurture"),
        (0.1, "mql"),
        (np.nextafter(0.3, 0), "mql"),
        (0.3, "sales_ready"),
        (1.0, "sales_ready"),
    ],
)
def test_a_threshold_belongs_to_the_stage_above_it(probability, stage):
    assert staged(POLICY, probability) == stage


def test_suppression_comes_before_fast_track_and_fast_track_before_thresholds():
    assert staged(POLICY, 0.99, calls=3.0, industry=2.0) == "unqualified"
    assert staged(POLICY, 0.001, calls=3.0, industry=1.0) == "sales_ready"
    assert staged(POLICY, 0.001, calls=3.0, industry=np.nan) == "unqualified"  # both conditions must hold


@given(
    thresholds=st.lists(probabilities, min_size=3, max_size=3),
    p=st.lists(probabilities, min_size=1, max_size=30),
)
def test_stages_agree_with_comparing_by_hand(thresholds, p):
    nurture, mql, sales_ready = sorted(thresholds)
    policy = Policy(mql, sales_ready, nurture=nurture)
    got = stages(policy, np.array(p), np.empty((len(p), 0)), ())
    expected = [STAGES[(x >= nurture) + (x >= mql) + (x >= sales_ready)] for x in p]
    assert got.tolist() == expected


def test_the_number_of_mqls_never_rises_with_the_threshold():
    p = np.random.default_rng(0).beta(1, 6, 300)
    nothing = np.empty((len(p), 0))
    volumes = [
        int(np.isin(stages(Policy(t, 1.0), p, nothing, ()).astype(str), ("mql", "sales_ready")).sum())
        for t in np.linspace(0, 1, 10_001)
    ]
    assert volumes[0] == len(p)
    assert volumes[-1] == 0
    assert (np.diff(volumes) <= 0).all()


def test_a_policy_survives_json():
    for policy in (POLICY, SEGMENTED, replace(SEGMENTED, cool_down=14.0, stay=1.0)):
        assert Policy.from_dict(json.loads(json.dumps(policy.to_dict()))) == policy
        assert pickle.loads(pickle.dumps(policy)) == policy
        assert copy.deepcopy(policy) == policy
        assert hash(policy) == hash(copy.copy(policy))
    assert Policy.from_dict({"mql": 0.1, "sales_ready": 0.3}) == Policy(0.1, 0.3)


def test_a_policy_without_segments_is_written_as_before_there_were_any():
    keys = ["revision", "nurture", "mql", "sales_ready", "suppress", "fast_track"]
    assert list(POLICY.to_dict()) == keys


def test_a_policy_is_frozen():
    given = {"Ads": Thresholds(0.2, 0.5)}
    policy = Policy(0.1, 0.3, segment="source", segments=given)
    given["Fair"] = Thresholds(0.2, 0.5)
    assert list(policy.segments) == ["Ads"]
    with pytest.raises(TypeError):
        policy.segments["Ads"] = Thresholds(0, 0)
    with pytest.raises(FrozenInstanceError):
        policy.stay = 0.5


def test_thresholds_by_level_are_thresholds():
    with pytest.raises(UsageError, match="Thresholds for each level; found dict"):
        Policy(0.1, 0.3, segment="source", segments={"Ads": {"mql": 0.1, "sales_ready": 0.3}})


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"mql": 40, "sales_ready": 0.5}, "write 0.4 for 40 %"),
        ({"mql": 0.1, "sales_ready": 30}, "write 0.3 for 30 %"),
        ({"mql": "a lot", "sales_ready": 0.5}, "a probability from 0 to 1; found a lot"),
        ({"mql": True, "sales_ready": 0.5}, "a probability from 0 to 1; found True"),
        ({"mql": float("nan"), "sales_ready": 0.5}, "a probability from 0 to 1; found nan"),
        ({"mql": 0.5, "sales_ready": 0.2}, "found mql 0.5 above sales_ready 0.2"),
        ({"mql": 0.1, "sales_ready": 0.2, "nurture": 0.15}, "found nurture 0.15 above mql 0.1"),
        ({"mql": 0.1}, "expected 'sales_ready' in a policy"),
        ({"mql": 0.1, "sales_ready": 0.2, "revision": 0}, "a revision from 1 up"),
        ({"mql": 0.1, "sales_ready": 0.2, "supress": []}, "did you mean 'suppress'?"),
        ({"mql": 0.1, "sales_ready": 0.2, "suppress": "rival"}, "a list of rules under 'suppress'"),
        ({"mql": 0.1, "sales_ready": 0.2, "suppress": [{"name": "x", "when": []}]}, "at least one condition"),
        ({"mql": 0.1, "sales_ready": 0.2, "suppress": [{"name": " ", "when": []}]}, "a rule with a name"),
        (
            {"mql": 0.1, "sales_ready": 0.2, "suppress": [{"name": "x", "when": ["y"]}]},
            "a list of conditions",
        ),
        ({"mql": 0.1, "sales_ready": 0.2, "suppress": [{"name": "x", "if": []}]}, "found 'if'"),
        ([0.1, 0.2], "a policy as keys and values"),
        (OF_ALL | {"mql": 10**400}, "a probability from 0 to 1"),
        (OF_ALL | {"stay": 0}, "stay as a share of the line, above 0 and up to 1; found 0"),
        (OF_ALL | {"stay": 80}, "write 0.8 for 80 %"),
        (OF_ALL | {"stay": "0.8"}, "stay as a share"),
        (OF_ALL | {"cool_down": -1}, "cool_down as days, 0 or more; found -1"),
        (OF_ALL | {"cool_down": float("inf")}, "cool_down as days"),
        (OF_ALL | {"cool_down": "14d"}, "cool_down as days, 0 or more; found 14d"),
        (OF_ALL | {"segment": "source"}, "thresholds by level beside a segment; found none"),
        (OF_ALL | {"segments": {"Ads": OF_ALL}}, "a segment beside segments; found none"),
        (BY_SOURCE | {"segments": ["Ads"]}, "thresholds by level under 'segments'"),
        (BY_SOURCE | {"segments": {"Ads": 0.2}}, "segments, 'Ads': expected thresholds as keys and values"),
        (
            BY_SOURCE | {"segments": {"Ads": {"mql": 40, "sales_ready": 0.5}}},
            "segments, 'Ads': expected mql as a probability from 0 to 1; found 40; write 0.4 for 40 %",
        ),
        (
            BY_SOURCE | {"segments": {"Ads": {"mql": 0.5, "sales_ready": 0.2}}},
            "segments, 'Ads': expected nurture <= mql <= sales_ready; found mql 0.5 above sales_ready 0.2",
        ),
        (BY_SOURCE | {"segments": {"Ads": {"mql": 0.5}}}, "segments, 'Ads': expected 'sales_ready'"),
        (BY_SOURCE | {"segments": {"Ads": OF_ALL | {"stay": 1}}}, "found 'stay'; correct or remove it"),
        (BY_SOURCE | {"segments": {True: OF_ALL}}, "a segment and its levels as words; found 'True'"),
        (BY_SOURCE | {"segment": 3}, "a segment and its levels as words; found '3'"),
        (OF_ALL | {"cooldown": 3}, "found 'cooldown' (did you mean 'cool_down'?)"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused_in_one_line(given, says):
    with pytest.raises(UsageError) as refused:
        Policy.from_dict(given)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_rules_of_one_name_are_refused():
    with pytest.raises(UsageError, match="twice"):
        Policy(0.1, 0.2, suppress=(RIVAL,), fast_track=(Rule("competitor", CALLED.when),))


def test_a_rule_about_a_column_that_is_not_there_is_refused():
    with pytest.raises(DataError, match="did you mean 'calls'"):
        stages(Policy(0.1, 0.2, fast_track=(Rule("x", (Condition("call", "present"),)),)), *one_lead())


def one_lead():
    return np.array([0.5]), np.array([[0.0, 0.0]]), COLUMNS


def test_every_lead_is_told_why():
    p = np.array([0.5, 0.001, 0.35, 0.14, 0.05, 0.001])
    M = np.array([[0, 2], [1, 1], [0, 0], [0, 0], [0, 0], [0, 0]], dtype=float)
    assert stage_reasons(POLICY, p, M, COLUMNS) == [
        "Unqualified by the rule “competitor” (builds the same), whatever the chance.",
        "Sales ready by the rule “asked to be called”, whatever the chance.",
        "Sales ready: the chance of 35 % is at or above the line of 30 %.",
        "MQL: the chance of 14 % is at or above the line of 10 %; sales ready begins at 30 %.",
        "Nurture: the chance of 5 % is below the MQL line of 10 %.",
        "Unqualified: the chance of 0.1 % is below the nurture line of 2 %.",
    ]


@given(st.floats(0.001, 0.999))
def test_a_chance_just_below_a_line_never_reads_like_the_line(line):
    text = explain_stage(Policy(line, 1.0), line * (1 - 1e-12))
    chance, _, threshold = text.partition("chance of ")[2].partition(" % is below the MQL line of ")
    assert float(chance) < float(threshold.removesuffix(" %."))


@given(st.floats(0.001, 0.999))
def test_percent_keeps_two_significant_digits_of_the_rarer_side(p):
    written = float(percent(p).removesuffix(" %")) / 100
    assert abs(written - p) <= 0.005 * min(p, 1 - p) * 1.0001


def test_differences_name_what_changed():
    other = Policy(0.12, 0.30, suppress=(Rule("competitor", RIVAL.when),), nurture=0.02, revision=9)
    assert differences(POLICY, other) == (
        "mql 10 % -> 12 %",
        "suppress “competitor”: reason “builds the same” -> none",
        "fast_track without “asked to be called”",
    )
    with_rule = "fast_track with “asked to be called”: calls at least 1 and industry present"
    assert differences(other, POLICY)[-1] == with_rule
    assert differences(POLICY, POLICY) == ()


def test_differences_name_segments_hysteresis_and_cool_down():
    fewer = {"Ads": Thresholds(0.25, 0.5, 0.05), "Partner": Thresholds(0.08, 0.2, 0.02)}
    after = replace(SEGMENTED, segments=fewer, stay=0.75, cool_down=14.0, revision=2)
    assert differences(SEGMENTED, after) == (
        "mql for source Ads 20 % -> 25 %",
        "source Fair no longer has thresholds of its own",
        "source Partner now has thresholds of its own: nurture 2 %, mql 8 %, sales_ready 20 %",
        "a lead stays in its stage down to 75 % of the line, before 80 %",
        "cool-down 0 days -> 14 days",
    )
    assert differences(after, replace(after, cool_down=1.0)) == ("cool-down 14 days -> 1 day",)
    elsewhere = replace(SEGMENTED, segment="region", segments={"Ads": Thresholds(0.2, 0.5)})
    assert differences(SEGMENTED, elsewhere) == (
        "source Ads no longer has thresholds of its own",
        "source Fair no longer has thresholds of its own",
        "region Ads now has thresholds of its own: nurture 5 %, mql 20 %, sales_ready 50 %",
    )


@given(st.data())
def test_two_policies_differ_exactly_where_a_phrase_says_so(data):
    def drawn():
        lines = st.lists(st.sampled_from([0.1, 0.2, 0.3]), min_size=3, max_size=3).map(sorted)
        own = lines.map(lambda three: Thresholds(three[1], three[2], three[0]))
        segments = data.draw(st.dictionaries(st.sampled_from("AB"), own, max_size=2))
        base = data.draw(own)
        return Policy(
            base.mql,
            base.sales_ready,
            tuple(data.draw(st.permutations([RIVAL, CALLED]))),
            (),
            base.nurture,
            data.draw(st.integers(1, 3)),
            data.draw(st.sampled_from("st")) if segments else None,
            segments,
            data.draw(st.sampled_from([0.5, 1.0])),
            data.draw(st.sampled_from([0.0, 7.0])),
        )

    before, after = drawn(), drawn()
    assert bool(differences(before, after)) == (before != replace(after, revision=before.revision))
    assert differences(before, before) == ()
