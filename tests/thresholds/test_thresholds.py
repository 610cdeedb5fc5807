"""Thresholds of a saved model, from the draft to the log: what was previewed is what scoring then gives."""

import json
import shutil
import warnings
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from leadscore import bundle as bundles
from leadscore import thresholds
from leadscore.bundle import Bundle
from leadscore.errors import DataError, ModelError, UsageError
from leadscore.models.calibration import Sigmoid
from leadscore.models.conditions import Condition
from leadscore.models.estimators import LogisticScorer
from leadscore.policy.backtest import Backtest
from leadscore.policy.policy import STAGES, Policy, Thresholds
from leadscore.policy.rules import Rule
from leadscore.predict import load
from leadscore.thresholds import Aim

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
ADA: dict[str, Any] = {"author": "Ada", "reason": "fewer calls", "at": NOON}
BOB: dict[str, Any] = {"author": "Bob", "reason": "more calls", "at": NOON}
VISITED = Rule("came often", (Condition("visits", "at_least", 6),))  # the backtest has no visits
FAIR = {"segment": "source", "segments": {"Fair": Thresholds(0.1, 0.3)}}
DRAFTS: list[dict[str, Any]] = [
    {"mql": 0.1, "nurture": None},
    {"mql": 0.3, "sales_ready": 0.6},
    {"sales_ready": 0.2},
    {"mql": 1.0, "sales_ready": 1.0},
    {"mql": 0.0, "sales_ready": 0.0, "nurture": 0.0},
    {"suppress": ()},
    {"fast_track": ()},
    {"fast_track": (VISITED,)},
    FAIR,
    {**FAIR, "stay": 0.7, "mql": 0.3},
    {"mql": 0.12, "stay": 0.5, "cool_down": 30.0},
]


def written(folder: Path) -> dict[str, bytes]:
    """Everything in and beside a model."""
    return {str(path): path.read_bytes() for path in folder.parent.rglob("*") if path.is_file()}


# ------------------------------------------------------------------------------------------------ preview
@pytest.mark.parametrize("changes", DRAFTS, ids=str)
@pytest.mark.parametrize("stood", [False, True], ids=["new", "stood"])
def test_scoring_after_publishing_gives_what_was_previewed(
    folder: Path, leads: pd.DataFrame, changes: dict[str, Any], stood: bool
) -> None:
    model = load(folder)
    previous = None
    if stood:
        rng = np.random.default_rng(5)
        previous = leads.assign(stage=rng.choice(STAGES, len(leads)))[["id", "stage"]].sample(
            400, random_state=1
        )
        back = [
            None if rng.random() < 0.6 else f"2026-0{rng.integers(2, 6)}-01T00:00:00Z" for _ in range(400)
        ]
        previous = previous.rename(columns={"id": "lead_id"}).assign(recycled_at=back)
    draft = replace(model.policy, **changes)
    before = model.score(leads, as_of=NOON, previous=previous)
    today = thresholds.preview(model, draft, leads, as_of=NOON, previous=previous).today
    assert today is not None
    thresholds.publish(folder, draft, **ADA)
    after = load(folder).score(leads, as_of=NOON, previous=previous)
    now, then = Counter(before["stage"]), Counter(after["stage"])
    assert [(each.stage, each.before, each.after) for each in today.stages] == [
        (stage, now[stage], then[stage]) for stage in STAGES
    ]
    differ = before["stage"] != after["stage"]
    columns = ("lead_id", "probability", "before", "after")
    told = {tuple(getattr(move, name) for name in columns) for move in today.moves}
    assert told == set(
        zip(
            before["lead_id"][differ],
            before["probability"][differ],
            before["stage"][differ],
            after["stage"][differ],
            strict=True,
        )
    )
    assert len(today.moves) == differ.sum()
    assert today.leads == len(leads)
    assert list(today.frame.columns) == [*columns, "why"]
    assert len(today.frame) == differ.sum()


def test_the_replay_counts_the_past_leads(folder: Path, past: pd.DataFrame) -> None:
    model = load(folder)
    draft = replace(model.policy, mql=0.1, nurture=None)
    found = thresholds.preview(model, draft, by=["source"], capacity=50)
    assert found.today is None
    assert found.past is not None
    free = past[past["hours"] >= 0.3]
    keen = (free["source"] == "Referral") & (free["hours"] >= 9)
    sent = free[(free["chance"] >= 0.1) | keen]
    assert (found.past.draft.sent, found.past.draft.converted) == (len(sent), sent["won"].sum())
    assert found.past.draft.missed == past["won"].sum() - sent["won"].sum()
    told = {each.level: each.draft.sent for each in found.past.segments}
    assert told == sent["source"].value_counts().to_dict()
    assert [week.draft.sent for week in found.past.weeks] == sent.groupby("week").size().tolist()
    assert json.loads(json.dumps(found.to_dict()))["past"]["sentence"] == found.past.sentence


def test_a_rule_that_the_past_cannot_tell_is_shown_on_leads_alone(folder: Path, leads: pd.DataFrame) -> None:
    model = load(folder)
    draft = replace(model.policy, fast_track=(VISITED,))
    with pytest.raises(UsageError) as caught:
        thresholds.preview(model, draft)
    assert "the backtest did not keep what the rule “came often” reads; give LEADS" in str(caught.value)
    assert "\n" not in str(caught.value)
    found = thresholds.preview(model, draft, leads)
    assert found.past is None
    assert found.unseen == "the backtest did not keep what the rule “came often” reads"
    assert found.today is not None
    entering = next(each.entering for each in found.today.stages if each.stage == "sales_ready")
    assert entering > 0
    entry = thresholds.publish(folder, draft, **ADA)
    assert entry.effect == {"unseen": found.unseen}
    again = thresholds.preview(load(folder), replace(draft, mql=0.3))  # both have it: it is left out
    assert again.past is not None
    assert any("came often" in warning for warning in again.past.warnings)
    tuned = thresholds.tune(load(folder), Aim("share", 0.1), draws=2)
    assert "left out, as the backtest did not keep what they read: “came often”" in tuned.notes
    assert tuned.draft(load(folder).policy).fast_track == (VISITED,)


def test_a_model_without_a_past_is_previewed_on_leads(unlearned: Path, leads: pd.DataFrame) -> None:
    model = load(unlearned)
    draft = replace(model.policy, mql=0.1)
    with pytest.raises(UsageError, match="the model was made before any outcome was known; give LEADS"):
        thresholds.preview(model, draft)
    found = thresholds.preview(model, draft, leads)
    assert (found.past, found.unseen) == (None, "the model was made before any outcome was known")
    with pytest.raises(DataError, match="leads whose outcome was known"):
        thresholds.tune(model, Aim("share", 0.2))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"suppress": (Rule("none", (Condition("hour", "at_least", 1),)),)},
            "(did you mean 'hours'?)",
        ),
        (
            {"fast_track": (Rule("met at a fair", (Condition("source", "in", ("Fair", "Fairs")),)),)},
            "in the rule “met at a fair”; found 'Fairs' (did you mean 'Fair'?)",
        ),
        ({"segment": "hours", "segments": {"9": Thresholds(0.1, 0.3)}}, "which holds numbers"),
        ({"segment": "region", "segments": {"EMEA": Thresholds(0.1, 0.3)}}, "'region'"),
        ({"segment": "source", "segments": {"Fairs": Thresholds(0.1, 0.3)}}, "did you mean 'Fair'?"),
    ],
)
def test_a_draft_about_what_the_model_has_not_is_refused_before_anything_is_written(
    folder: Path, leads: pd.DataFrame, changes: dict[str, Any], said: str
) -> None:
    model, before = load(folder), written(folder)
    draft = replace(model.policy, **changes)
    for refused in (
        lambda: thresholds.publish(folder, draft, **ADA),
        lambda: thresholds.preview(model, draft, leads),
        lambda: thresholds.preview(model, draft),
    ):
        with pytest.raises((DataError, UsageError)) as caught:
            refused()
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)
    assert written(folder) == before


def test_a_source_that_no_lead_had_has_the_thresholds_of_all(folder: Path, leads: pd.DataFrame) -> None:
    thresholds.publish(folder, replace(load(folder).policy, **FAIR), **ADA)
    model = load(folder)
    scored = model.score(leads).set_index("lead_id")
    unknown = leads.loc[leads["source"].isin(["Podcast"]) | leads["source"].isna(), "id"]
    lines = np.array([0.05, 0.2, 0.5])
    hours = leads.set_index("id")["hours"]
    for lead in unknown:
        place = 0 if hours[lead] < 0.3 else int((scored["probability"][lead] >= lines).sum())
        assert scored["stage"][lead] == STAGES[place]
    podcast = leads.loc[(leads["source"] == "Podcast") & (leads["hours"] >= 0.3), "id"].iloc[0]
    why = model.explain(leads, lead_id=podcast)[0].stage_reason
    assert "no thresholds of its own" in why or "of all" in why, why


# ------------------------------------------------------------------------------------- publish, undo, history
def test_of_two_drafts_of_one_revision_the_second_is_refused_with_the_change_of_the_first(
    folder: Path,
) -> None:
    one, other = (replace(load(folder).policy, mql=line, nurture=None) for line in (0.3, 0.1))
    first = thresholds.publish(folder, one, **ADA)
    before = written(folder)
    with pytest.raises(UsageError) as caught:
        thresholds.publish(folder, other, **BOB)
    line = str(caught.value)
    assert "expected revision 1 in force; found revision 2 by Ada" in line
    assert "fewer calls" in line
    assert "mql 20 % -> 30 %" in line
    with pytest.raises(UsageError, match="found revision 2 by Ada"):
        thresholds.undo(folder, **BOB, expected=1)
    assert written(folder) == before
    assert thresholds.history(folder) == (first,)
    assert load(folder).policy == first.policy


def test_undo_is_a_revision_of_its_own(folder: Path) -> None:
    born = load(folder).policy
    assert thresholds.history(folder) == ()
    for line in (0.3, 0.1, 0.25):
        thresholds.publish(folder, replace(load(folder).policy, mql=line), **ADA)
    back = thresholds.undo(folder, **BOB)
    assert (back.policy.revision, back.policy.mql, back.restores) == (5, 0.1, 3)
    first = thresholds.undo(folder, **BOB, to=1)
    assert first.policy == replace(born, revision=6)
    assert load(folder).policy == first.policy
    entries = thresholds.history(folder)
    assert [entry.policy.revision for entry in entries] == [2, 3, 4, 5, 6]
    assert [entry.policy.mql for entry in entries] == [0.3, 0.1, 0.25, 0.1, 0.2]
    for wrong in (0, 7, -1):
        with pytest.raises(UsageError, match="found revisions 1 to 6"):
            thresholds.undo(folder, **BOB, to=wrong)


def test_what_is_expected_of_a_revision_is_kept(folder: Path) -> None:
    model = load(folder)
    draft = replace(model.policy, mql=0.1)
    previewed = thresholds.preview(model, draft).past
    assert previewed is not None
    assert previewed.load is not None
    entry = thresholds.publish(folder, draft, **ADA)
    (kept,) = thresholds.history(folder)
    assert kept == entry
    assert kept.effect is not None
    assert kept.effect["sentence"] == previewed.sentence
    assert kept.effect["draft"]["sent"] == previewed.draft.sent
    assert kept.effect["load"]["expected"] == previewed.load.expected
    back = thresholds.undo(folder, **BOB)
    assert back.effect is not None
    assert back.effect["draft"] == kept.effect["in_force"]
    assert back.effect["in_force"] == kept.effect["draft"]


def test_the_digest_of_a_revision_tells_whether_the_log_still_holds_it(folder: Path) -> None:
    log = folder.with_name("model.policy") / "log.jsonl"
    entries, contents = [], []
    for line in (0.3, 0.1):
        entries.append(thresholds.publish(folder, replace(load(folder).policy, mql=line), **ADA))
        contents.append(log.read_bytes())
    for entry in entries:
        assert load(folder, policy_sha256=entry.sha256.upper()).policy == entries[-1].policy
    with pytest.raises(ModelError, match="the entry whose digest was given"):
        load(folder, policy_sha256="0" * 64)
    log.write_bytes(contents[0])  # somebody puts an old log back, which is whole in itself
    assert load(folder).policy == entries[0].policy
    assert load(folder, policy_sha256=entries[0].sha256).policy == entries[0].policy
    with pytest.raises(ModelError, match="the entry whose digest was given"):
        load(folder, policy_sha256=entries[1].sha256)


def test_a_folder_that_is_only_to_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    before = written(folder)
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(
        UsageError, match="Permission denied; mend that and publish again; nothing has changed"
    ):
        thresholds.publish(folder, replace(load(folder).policy, mql=0.1), **ADA)
    assert written(folder) == before


# -------------------------------------------------------------------------------------------------- tuning
def test_what_a_capacity_tunes_is_what_the_preview_expects(folder: Path, past: pd.DataFrame) -> None:
    model = load(folder)
    found = thresholds.tune(model, Aim("capacity", 30.0), draws=50)
    draft = found.draft(model.policy)
    previewed = thresholds.preview(model, draft, capacity=30).past
    assert previewed is not None
    assert previewed.draft.sent <= 30 * 20 < previewed.draft.sent + 20
    assert found.figure("mql", "volume_per_week").value == previewed.draft.sent / 20
    entry = thresholds.publish(folder, draft, **ADA)
    assert entry.policy.lines == draft.lines
    assert entry.policy.suppress == model.policy.suppress
    assert found.figure("in force", "volume_per_week").value == previewed.in_force.sent / 20


def test_tables_hold_every_figure_once(folder: Path) -> None:
    model = load(folder)
    found = thresholds.tune(
        model, Aim("capacity", 30.0), segment="source", per_segment={"Fair": 8.0}, draws=50
    )
    table = thresholds.figures_table(found)
    assert table.heads[0] == "figure"
    assert table.heads[1:] == (
        "draft: MQL",
        "in force: MQL",
        "as many by points",
        "draft: sales ready",
        "in force: sales ready",
    )
    assert ("volume a week", found.figure("mql", "volume_per_week").text) == table.rows[0][:2]
    assert all(len(row) == len(table.heads) for row in table.rows)
    by = thresholds.levels_table(found)
    assert by.heads[:3] == ("source", "MQL from", "volume a week")
    assert {row[0] for row in by.rows} == {"Ads", "Fair", "Referral"}
    (fair,) = (row for row in by.rows if row[0] == "Fair")
    assert fair[2] == found.figure("mql", "volume_per_week", "Fair").text
    assert fair[1] != next(row for row in by.rows if row[0] == "Ads")[1]
    assert thresholds.levels_table(thresholds.tune(model, Aim("share", 0.1), draws=2)).rows == ()


def test_without_a_clock_no_figure_is_of_a_week(bundle: Bundle, tmp_path: Path) -> None:
    timeless = replace(bundle, backtest=replace(bundle.past, week=None))
    found = thresholds.tune(load(bundles.save(timeless, tmp_path / "model")), Aim("capacity", 300), draws=2)
    assert not [row for row in thresholds.figures_table(found).rows if "week" in row[0]]


# --------------------------------------------------------------------------------------------------- carry
@pytest.fixture
def sharper(bundle: Bundle, backtest: Backtest, tmp_path: Path) -> Path:
    """A later model that says twice the log-odds of the same leads."""
    other = replace(
        bundle,
        name="sharper",
        calibration=Sigmoid(2.0, 0.0),
        backtest=replace(backtest, probability=1 / (1 + (1 / backtest.probability - 1) ** 2)),
    )
    return bundles.save(other, tmp_path / "sharper")


def test_carrying_keeps_the_probabilities_or_the_number(
    folder: Path, sharper: Path, past: pd.DataFrame
) -> None:
    changed = replace(load(folder).policy, mql=0.15, sales_ready=0.4, nurture=0.05, fast_track=())
    thresholds.publish(folder, changed, **ADA)
    old, new = load(folder), load(sharper)
    fixed, volume = (thresholds.carry(old, new, hold) for hold in ("fixed", "volume"))
    assert fixed.policy == replace(old.policy, revision=1)
    assert not fixed.changes
    assert volume.changes
    # twice the log-odds keep the order, so that the same leads are to be taken
    chance, later = past["chance"].to_numpy(), new.bundle.past.probability
    for stage in STAGES[1:]:
        assert ((chance >= old.policy.lines[stage]) == (later >= volume.policy.lines[stage])).all()
    assert volume.policy.suppress == old.policy.suppress
    for found in (fixed, volume):
        entry = thresholds.publish(
            sharper, replace(found.policy, revision=load(sharper).policy.revision), **BOB
        )
        assert load(sharper).policy == entry.policy
    assert load(folder).policy.revision == 2


def test_a_policy_about_what_the_new_model_has_not_is_not_carried(
    folder: Path, bundle: Bundle, tmp_path: Path
) -> None:
    backtest = bundle.past
    assert backtest.M is not None
    narrow = replace(
        bundle,
        features=bundle.features[:1],
        scorer=type(bundle.scorer)(bundle.columns[:1], bundle.scorer.terms[:1], intercept=-3.5),  # type: ignore[attr-defined, call-arg]
        policy=Policy(0.2, 0.5),
        contract=replace(bundle.contract, kinds={"hours": "number"}),
        typical={"hours": 2.4},
        backtest=replace(backtest, M=backtest.M[:, :1], columns=backtest.columns[:1]),
    )
    new = load(bundles.save(narrow, tmp_path / "narrow"))
    with pytest.raises(DataError, match="'source'"):
        thresholds.carry(load(folder), new, "volume")


def test_a_model_without_a_past_carries_nothing(folder: Path, unlearned: Path) -> None:
    for pair in ((folder, unlearned), (unlearned, folder)):
        with pytest.raises(DataError, match="leads whose outcome was known"):
            thresholds.carry(*map(load, pair), "volume")


# ---------------------------------------------------------------------------------------------- scikit-learn
@pytest.fixture(scope="module")
def classifier() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    return LogisticScorer().fit(X, rng.random(400) < 1 / (1 + np.exp(1 - X[:, 0]))), X


@pytest.mark.parametrize("stage", ["nurture", "mql", "sales_ready"])
def test_a_fixed_threshold_predicts_who_reaches_the_line(classifier: tuple[Any, Any], stage: Any) -> None:
    fitted, X = classifier
    chance = fitted.predict_proba(X)[:, 1]
    on_a_lead = float(np.sort(chance)[200])  # a threshold itself belongs to the stage above it
    policy = Policy(mql=on_a_lead, sales_ready=0.6, nurture=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = thresholds.fixed_threshold(fitted, policy, stage)
    np.testing.assert_array_equal(found.predict(X), chance >= policy.lines[stage])
    np.testing.assert_array_equal(found.predict_proba(X), fitted.predict_proba(X))
    assert 0 < found.predict(X).sum() < len(X)


def test_a_fixed_threshold_keeps_the_names_of_the_classes(classifier: tuple[Any, Any]) -> None:
    from sklearn.linear_model import LogisticRegression

    _, X = classifier
    peer = LogisticRegression().fit(X, np.where(X[:, 0] > 0.5, "won", "lost"))
    found = thresholds.fixed_threshold(peer, Policy(0.3, 0.9))
    expected = np.where(peer.predict_proba(X)[:, 1] >= 0.3, "won", "lost")
    np.testing.assert_array_equal(found.predict(X), expected)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"suppress": (VISITED,)}, "found rules"),
        ({"fast_track": (VISITED,)}, "found rules"),
        (FAIR, "found segments"),
        ({"stay": 0.8}, "found hysteresis"),
        ({"cool_down": 14.0, "stay": 0.8}, "found hysteresis, a cool-down"),
    ],
)
def test_more_than_one_threshold_is_no_fixed_threshold(
    classifier: tuple[Any, Any], more: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        thresholds.fixed_threshold(classifier[0], Policy(0.2, 0.5, **more))


def test_a_copy_of_the_model_alone_is_as_it_was_born(folder: Path, tmp_path: Path) -> None:
    thresholds.publish(folder, replace(load(folder).policy, mql=0.1), **ADA)
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert load(copy).policy.revision == 1
