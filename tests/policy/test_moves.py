import json
import shutil
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadscore.errors import DataError
from leadscore.models.calibration import Scale
from leadscore.models.conditions import Condition
from leadscore.models.matrix import Column
from leadscore.policy.ledger import in_force, publish
from leadscore.policy.moves import counts, moves
from leadscore.policy.policy import STAGES, Policy, Thresholds
from leadscore.policy.rules import Rule
from leadscore.policy.staging import Standing, explain_stage, stages
from leadscore.predict import load

SOURCES = ("Ads", "Partner", "Referral")
COLUMNS = (Column("calls"), Column("source", SOURCES))
CALLED = Rule("asked to be called", (Condition("calls", "at_least", 2),), "wrote so")
PARTNER = Rule("partner's own", (Condition("source", "is", "Partner"),))
NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
NOTHING = np.empty((0, 0))


def any_thresholds(rng):
    nurture, mql, sales_ready = np.sort(rng.choice(np.arange(21) / 20, 3))
    return Thresholds(float(mql), float(sales_ready), float(nurture))


def any_policy(rng, column="source", levels=SOURCES, rules=(PARTNER, CALLED)):
    own = {level: any_thresholds(rng) for level in levels if rng.random() < 0.4}
    suppress, fast_track = ((rule,) if rng.random() < 0.5 else () for rule in rules)
    return Policy(
        **any_thresholds(rng).lines,
        suppress=suppress,
        fast_track=fast_track,
        segment=column if own else None,
        segments=own,
        stay=float(rng.choice([1.0, 0.8, 0.5])),
        cool_down=float(rng.choice([0.0, 14.0])),
    )


def any_leads(rng, n=40):
    M = np.column_stack([rng.integers(0, 3, n), rng.choice([0.0, 1.0, 2.0, np.nan], n)])
    standing = Standing(rng.integers(-1, 4, n), rng.choice([np.nan, 3.0, 14.0, 90.0], n))
    return rng.choice(np.arange(41) / 40, n), M, standing if rng.random() < 0.8 else None


def test_a_thousand_previews_are_what_applies_once_in_force(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "manifest.json").write_text("{}")
    rng = np.random.default_rng(6)
    born = any_policy(rng)
    now, same = born, 0
    for replay in range(1000):
        draft, (chances, M, standing) = any_policy(rng), any_leads(rng)
        previewed = counts(draft, now, chances, M, COLUMNS, standing)
        before = Counter(stages(now, chances, M, COLUMNS, standing))
        if replay % 25:
            now = Policy.from_dict(json.loads(json.dumps(draft.to_dict() | {"revision": now.revision})))
        else:
            who = {"author": "anna", "reason": "try", "at": NOON}
            revision = in_force(tmp_path / "model", born).revision
            publish(tmp_path / "model", draft, expected=revision, born=born, **who)
            now = in_force(tmp_path / "model", born)
        after = Counter(stages(now, chances, M, COLUMNS, standing))
        same += all(
            (change.before, change.after) == (before[change.stage], after[change.stage])
            and change.before + change.entering - change.leaving == change.after
            for change in previewed
        )
    assert same == 1000


def test_a_models_scores_have_the_stages_that_were_previewed(wide_folder, wide_frame, tmp_path):
    folder = shutil.copytree(wide_folder, tmp_path / "model")
    rng = np.random.default_rng(1)
    model = load(folder)
    rows, _ = model.rows(wide_frame, None, None, None)
    score = model.score(wide_frame)
    levels = next(column.levels for column in model.bundle.columns if column.name == "Channel")
    rules = (
        Rule("small talk", (Condition("Hours", "below", 0.5),)),
        Rule("referred", (Condition("Channel", "is", "Referral"), Condition("Visits", "at_least", 6))),
    )
    for _ in range(15):
        draft, born, ahead = any_policy(rng, "Channel", levels, rules), model.bundle.policy, score
        standing, _ = model.standing(rows, score, None)
        seen = (score["lead_id"], score["probability"], rows.matrix, model.bundle.columns, standing)
        previewed, moved = counts(draft, model.policy, *seen[1:]), moves(draft, model.policy, *seen)
        who = {"author": "anna", "reason": "try", "at": NOON}
        publish(folder, draft, expected=model.policy.revision, born=born, **who)
        model = load(folder)
        score = model.score(wide_frame, previous=ahead)
        assert [change.after for change in previewed] == [(score["stage"] == stage).sum() for stage in STAGES]
        differ = score["stage"] != ahead["stage"]
        assert {(move.lead_id, move.before, move.after) for move in moved} == set(
            zip(score["lead_id"][differ], ahead["stage"][differ], score["stage"][differ], strict=True)
        )


@given(st.integers(0, 2**32 - 1))
def test_every_lead_that_changes_is_named_once_and_no_other(seed):
    rng = np.random.default_rng(seed)
    draft, now = any_policy(rng), any_policy(rng)
    chances, M, standing = any_leads(rng)
    names = [f"lead {number}" for number in range(len(chances))]
    found = moves(draft, now, names, chances, M, COLUMNS, standing)
    before, after = (stages(policy, chances, M, COLUMNS, standing) for policy in (now, draft))
    expected = {
        (name, float(p), one, other)
        for name, p, one, other in zip(names, chances, before, after, strict=True)
        if one != other
    }
    assert {(move.lead_id, move.probability, move.before, move.after) for move in found} == expected
    assert len(found) == len(expected)
    ranks = [(-STAGES.index(move.after), STAGES.index(move.before), -move.probability) for move in found]
    assert ranks == sorted(ranks)
    changes = counts(draft, now, chances, M, COLUMNS, standing)
    for change in changes:
        assert change.entering == sum(move.after == change.stage for move in found)
        assert change.leaving == sum(move.before == change.stage for move in found)


def test_why_names_the_line_that_decides():
    found = moves(Policy(0.1, 0.3), Policy(0.2, 0.3), ["a", "b"], [0.14, 0.25], np.empty((2, 0)), ())
    assert [move.why for move in found] == [explain_stage(Policy(0.1, 0.3), 0.14)]


def test_why_speaks_of_scores_where_chances_are_not_to_be_told():
    (move,) = moves(Policy(0.1, 0.3), Policy(0.2, 0.3), [1], [0.14], np.empty((1, 0)), (), scale=Scale())
    assert move.why.startswith("MQL: the score of 54")
    assert "%" not in move.why


def test_why_names_the_rule_that_decides_or_did():
    M = np.array([[2.0, 0.0], [0.0, 1.0]])
    rules = {"fast_track": (CALLED,), "suppress": (PARTNER,)}
    plain, ruled = Policy(0.2, 0.5), Policy(0.2, 0.5, **rules)
    called, partner = moves(ruled, plain, [1, 2], [0.1, 0.3], M, COLUMNS)
    assert called.why == "Sales ready by the rule “asked to be called” (wrote so), whatever the chance."
    assert partner.why == "Unqualified by the rule “partner's own”, whatever the chance."
    partner, called = moves(plain, ruled, [1, 2], [0.1, 0.3], M, COLUMNS)
    assert called.why == (
        "Nurture: the chance of 10 % is below the MQL line of 20 %."
        " In force: Sales ready by the rule “asked to be called” (wrote so), whatever the chance."
    )
    assert partner.why.endswith(" In force: Unqualified by the rule “partner's own”, whatever the chance.")


def test_why_knows_where_a_lead_stood():
    standing = Standing([-1, 2], [np.nan, np.nan])
    draft = Policy(0.2, 0.5, stay=0.8)
    (move,) = moves(draft, Policy(0.2, 0.5), [1, 2], [0.17, 0.17], np.empty((2, 0)), (), standing)
    assert move.lead_id == 2
    assert (move.before, move.after) == ("nurture", "mql")
    assert "stays" in move.why.lower()


def test_why_names_a_segments_own_line():
    draft = Policy(0.2, 0.5, segment="source", segments={"Referral": Thresholds(0.1, 0.5)})
    (move,) = moves(draft, Policy(0.2, 0.5), [1, 2], [0.15, 0.15], np.array([[0, 2], [0, 0.0]]), COLUMNS)
    assert move.lead_id == 1
    assert "Referral" in move.why


def test_no_leads_no_moves():
    assert moves(Policy(0.1, 0.3), Policy(0.2, 0.3), [], [], np.empty((0, 0)), ()) == ()
    assert [change.after for change in counts(Policy(0.1, 0.3), Policy(0.2, 0.3), [], NOTHING, ())] == [0] * 4


def test_ids_and_chances_of_different_length_are_refused():
    with pytest.raises(DataError, match="found 2 leads and 3 chances"):
        moves(Policy(0.1, 0.3), Policy(0.2, 0.3), ["a", "b"], [0.1] * 3, np.empty((3, 0)), ())


def test_moves_are_plain_json_once_they_are_dicts():
    (move,) = moves(Policy(0.1, 0.3), Policy(0.2, 0.3), np.array([7]), [0.14], np.empty((1, 0)), ())
    assert json.loads(json.dumps(asdict(move))) == asdict(move)


def test_level_chances_keep_the_order_given():
    found = moves(Policy(0.1, 0.3), Policy(0.2, 0.3), list("dbca"), [0.15] * 4, np.empty((4, 0)), ())
    assert [move.lead_id for move in found] == list("dbca")
