"""The main job: what it refuses before anything is fitted, and what it learns from."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
import yaml

from leadscore import bundle as bundles
from leadscore import comparing, config, train
from leadscore.bundle import Bundle
from leadscore.errors import DataError, LeadScoreError, LeakageError, UsageError
from leadscore.models.matrix import to_matrix
from leadscore.predict import LeadModel, load
from leadscore.preparing import weeks_of
from leadscore.project import Project, Target
from leadscore.simulate import World
from leadscore.train import in_service

DAY = 86_400_000_000


@pytest.fixture
def asked(wide: Path, wide_settings: dict[str, Any]) -> Callable[..., Project]:
    """The wide table's project with its settings changed."""

    def asked(change: Callable[[dict[str, Any]], object]) -> Project:
        settings = copy.deepcopy(wide_settings)
        change(settings)
        (wide / "wide.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
        return config.read(wide / "wide.yaml")

    return asked


def refused(project: Project, error: type[LeadScoreError], monkeypatch: pytest.MonkeyPatch) -> str:
    """What training says where it stops before it fits anything."""

    def fitted(*_: object, **__: object) -> None:
        raise AssertionError("something was fitted")

    for way in ("compare", "rolling"):
        monkeypatch.setattr(comparing, way, fitted)
    with pytest.raises(error) as caught:
        train.train(project)
    return str(caught.value)


# ------------------------------------------------------------------------------------------------- leaks
def test_a_field_that_knows_the_outcome_stops_training(
    asked: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = refused(asked(lambda s: s.pop("exclude")), LeakageError, monkeypatch)
    assert "'Verdict'" in said
    assert "under exclude or, with a reason, under allow" in said
    assert "'Hours'" not in said


def test_it_goes_on_with_a_reason(asked: Callable[..., Project]) -> None:
    project = asked(lambda s: s.update(exclude={}, allow={"Verdict": "known at the first call"}))
    trained = train.train(project)
    assert "Verdict" in {feature.name for feature in trained.bundle.features}
    assert trained.bundle.facts["allowed"] == {"Verdict": "known at the first call"}


def test_an_excluded_field_is_not_in_the_model(asked: Callable[..., Project]) -> None:
    trained = train.train(asked(lambda _: None))
    bundle = trained.bundle
    assert not any("Verdict" in feature.name for feature in bundle.features)
    assert not any("Verdict" in column.name for column in bundle.scorer.columns)
    assert "Verdict" not in bundle.contract.kinds
    assert bundle.facts["excluded"] == {"Verdict": "written once the outcome is known"}
    assert bundle.facts["audit"]["Verdict"] == "block"  # it is judged all the same


def test_the_planted_leaks_of_the_world_stop_training(
    demo_config: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = config.read(demo_config)
    assert set(world.truth.leaks) == set(project.exclude)
    said = refused(replace(project, exclude={}), LeakageError, monkeypatch)
    for leak in world.truth.leaks:
        assert repr(leak) in said
    for field in ("industry", "source", "company_size", "email", "job_title"):
        assert repr(field) not in said


# ---------------------------------------------------------------------------------- what the config names
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s["exclude"].update(Vardict="late"), ("under exclude", "did you mean 'Verdict'")),
        (lambda s: s.update(allow={"Plam": "known"}), ("under allow", "did you mean 'Plan'")),
        (lambda s: s.update(families={"fit": ["Hous"]}), ("under families", "did you mean 'Hours'")),
        (
            lambda s: s["points"].append({"field": "Chanel", "is": "Ads", "points": 1}),
            ("the rule 'Chanel is Ads'", "did you mean 'Channel'"),
        ),
        (
            lambda s: s["points"].append({"field": "Channel", "at_least": 2, "points": 1}),
            ("the rule 'Channel at least 2.0'", "is a category"),
        ),
        (
            lambda s: s["points"].append({"field": "Hours", "is": "many", "points": 1}),
            ("the rule 'Hours is many'", "holds numbers"),
        ),
        (
            lambda s: s.update(policy={"suppress": [{"name": "rival", "field": "Chanel", "is": "x"}]}),
            ("the rule 'rival'", "did you mean 'Channel'"),
        ),
        (
            lambda s: s.update(policy={"fast_track": [{"name": "hot", "field": "Plan", "below": 2}]}),
            ("the rule 'hot'", "is a category"),
        ),
        (
            lambda s: s.update(
                exclude=dict.fromkeys(["Hours", "Visits", "Channel", "Plan", "Verdict"], "not wanted"),
                points=[{"field": "Number", "present": True, "points": 1}],
            ),
            ("fields or events to learn from", "exclude fewer"),
        ),
    ],
)
def test_a_name_that_means_nothing_is_told_before_anything_is_fitted(
    asked: Callable[..., Project], monkeypatch: pytest.MonkeyPatch, change: Any, said: tuple[str, ...]
) -> None:
    line = refused(asked(change), DataError, monkeypatch)
    for part in said:
        assert part in line, line


def test_a_capacity_above_all_leads_is_told_before_anything_is_fitted(
    asked: Callable[..., Project], demo_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = asked(lambda s: s.update(policy={"capacity": "800 a week"}))
    assert "leads there are;" in refused(project, UsageError, monkeypatch)
    busy = replace(config.read(demo_config), target=Target(capacity=400.0))
    assert "leads there are a week" in refused(busy, UsageError, monkeypatch)


@pytest.mark.parametrize(
    ("segment", "says"),
    [
        (
            {"field": "Chanel", "equal_recall": True},
            "as policy.segment; found 'Chanel' (did you mean 'Channel'?)",
        ),
        (
            {"field": "Hours", "equal_recall": True},
            "a category of the leads as policy.segment; found 'Hours'",
        ),
        ({"field": "Channel", "capacity": {"Adds": "9 a week"}}, "found 'Adds' (did you mean 'Ads'?)"),
    ],
)
def test_a_segment_that_is_not_there_is_told_before_anything_is_fitted(
    asked: Callable[..., Project], monkeypatch: pytest.MonkeyPatch, segment: dict[str, Any], says: str
) -> None:
    assert says in refused(asked(lambda s: s.update(policy={"segment": segment})), DataError, monkeypatch)


def test_a_segment_is_tuned_kept_and_applied(asked: Callable[..., Project]) -> None:
    policy = {
        "capacity": "200 a week",
        "segment": {"field": "Channel", "capacity": {"Ads": "30 a week"}},
        "stay": 0.8,
        "cool_down": "14d",
    }
    bundle = train.train(asked(lambda s: s.update(policy=policy))).bundle
    assert bundle.policy.segment == "Channel"
    assert (bundle.policy.stay, bundle.policy.cool_down) == (0.8, 14.0)
    past = bundle.past
    own = past.levels("Channel") == "Ads"
    taken = past.probability >= bundle.policy.segments["Ads"].mql
    assert 0 < (own & taken).sum() <= 30
    assert (own & taken).sum() + (~own & (past.probability >= bundle.policy.mql)).sum() <= 200
    (why,) = LeadModel(bundle, bundle.policy).explain([{"Id": 1, "Channel": "Ads", "Hours": 9}])
    assert "for Channel Ads" in why.stage_reason


# --------------------------------------------------------------------------------- what there is to learn
def test_one_class_only(asked: Callable[..., Project], wide_frame: pd.DataFrame, wide: Path) -> None:
    wide_frame[wide_frame["Bought"] == "yes"].to_csv(wide / "leads.csv", index=False)
    with pytest.raises(DataError, match="one class only"):
        train.train(asked(lambda _: None))


def test_no_outcome_at_all(asked: Callable[..., Project], wide_frame: pd.DataFrame, wide: Path) -> None:
    wide_frame.assign(Bought=None).to_csv(wide / "leads.csv", index=False)
    with pytest.raises(DataError, match="expected"):
        train.train(asked(lambda _: None))


def test_an_empty_table(asked: Callable[..., Project], wide_frame: pd.DataFrame, wide: Path) -> None:
    wide_frame.head(0).to_csv(wide / "leads.csv", index=False)
    with pytest.raises(DataError, match="at least one lead"):
        train.train(asked(lambda _: None))


def test_nothing_is_mature(demo_config: Path) -> None:
    young = replace(config.read(demo_config), horizon=360.0)
    with pytest.raises(DataError, match=r"older than the horizon of 360 days; found none that is mature"):
        train.prepare(replace(young, ages=(30.0,)))


def test_empty_and_constant_columns_change_nothing(
    asked: Callable[..., Project], wide_frame: pd.DataFrame, wide: Path, wide_folder: Path
) -> None:
    wide_frame.assign(Empty=None, Same="x", Zero=0).to_csv(wide / "leads.csv", index=False)
    trained = train.train(asked(lambda _: None))
    names = {feature.name for feature in trained.bundle.features}
    assert not names & {"Empty", "Same", "Zero"}
    expected = load(wide_folder).score(wide_frame)
    model = load(bundles.save(trained.bundle, wide / "model"))
    pd.testing.assert_frame_equal(model.score(wide_frame), expected, check_exact=True)


def test_infinite_numbers_are_missing_and_told(
    asked: Callable[..., Project], wide_frame: pd.DataFrame, wide: Path
) -> None:
    hours = wide_frame["Hours"].astype(object)
    hours[[3, 5]] = ["inf", "-Infinity"]
    wide_frame.assign(Hours=hours).to_csv(wide / "leads.csv", index=False)
    trained = train.train(asked(lambda _: None))
    findings = [str(finding) for finding in trained.prepared.tables.findings]
    assert findings == ["leads: 'Hours' is infinite and counts as missing: 2 rows kept (3, 5)"]
    assert trained.prepared.data.X["Hours"].isna().sum() == 2


def test_labels_maturity_and_ages_are_what_sql_makes_of_the_tables(
    trained: train.Trained, world: World
) -> None:
    project, data = trained.prepared.project, trained.prepared.data
    database = duckdb.connect()
    for name in ("leads", "events", "outcomes"):
        database.register(name, getattr(world, name))
    found = dict(zip(zip(data.lead_id, data.age, strict=True), trained.prepared.y.tolist(), strict=True))
    rows = database.execute(
        """
        with looks as (
            select lead_id, age, epoch_us(created_at) + (age * 86400000000)::bigint as as_of
            from leads, unnest($ages) as ages(age)
        ),
        won as (
            select lead_id, min(epoch_us("at")) as won_at from outcomes
            where stage = 'Closed Won' group by all
        ),
        closed as (
            select lead_id, min(epoch_us("at")) as closed_at from outcomes
            where stage in ('Closed Won', 'Closed Lost', 'Disqualified') group by all
        ),
        data as (
            select max(moment) as ending from (
                select epoch_us(created_at) as moment from leads
                union all select epoch_us(occurred_at) from events
                union all select epoch_us("at") from outcomes
            )
        )
        select lead_id, age, coalesce(won_at < as_of + $horizon, false)::int
        from looks cross join data left join won using (lead_id) left join closed using (lead_id)
        where coalesce(closed_at >= as_of, true) and as_of + $horizon <= ending
        """,
        {"ages": list(project.ages), "horizon": int(project.horizon * DAY)},
    ).fetchall()
    assert found == {(lead, age): y for lead, age, y in rows}
    assert 0.02 < np.mean(list(found.values())) < 0.2


def test_the_backtest_has_each_lead_once_in_whole_weeks(trained: train.Trained) -> None:
    """Leads tested from their first look to their last, the week of the first, and their best row."""
    seen, data = trained.comparison.predictions, trained.prepared.data
    rows = seen["row"].to_numpy()
    tested = pd.DataFrame(
        {
            "lead": data.group[rows],
            "moment": data.as_of[rows],
            "first": data.as_of[rows] - (data.age[rows] - 14) * DAY,
            "p": in_service(seen[trained.comparison.chosen].to_numpy(), todays(trained)),
            "y": seen["y"],
            "called": data.X["demo_request_count_3d"].to_numpy()[rows] >= 1,
            "left": data.X["unsubscribe_count"].to_numpy()[rows] >= 1,
        }
    )
    end = tested["moment"].max() - 31 * DAY
    weeks = int((end - tested["moment"].min()) // (7 * DAY))
    tested["week"] = weeks - 1 - (end - tested["first"]) // (7 * DAY)
    backtest, found = trained.bundle.past, {}
    for lead, own in tested[(tested["week"] >= 0) & (tested["first"] <= end)].groupby("lead"):
        turn = np.where(own["left"], -1, np.where(own["called"], 1, 0))
        best = own.loc[own["p"].where(turn == turn.max()).idxmax()]
        found[lead] = (best["week"], best["p"], own["y"].max())
    assert backtest.weeks == weeks
    assert 0.5 * tested["lead"].nunique() < len(found) < tested["lead"].nunique()
    kept = zip(backtest.week.tolist(), backtest.probability.tolist(), backtest.y.tolist(), strict=True)
    assert sorted((week, round(p, 9), won) for week, p, won in kept) == sorted(
        (week, round(p, 9), won) for week, p, won in found.values()
    )


def todays(trained: train.Trained) -> np.ndarray:
    """What the saved model says of rows whose outcome is not known yet."""
    bundle, prepared = trained.bundle, trained.prepared
    X = prepared.everything.X.iloc[len(prepared.y) :]
    margin = bundle.scorer.margin(to_matrix(X, bundle.scorer.columns))
    return 1 / (1 + np.exp(-bundle.calibration.log_odds(margin)))


def test_lines_take_as_many_of_todays_rows_as_of_the_backtests(trained: train.Trained) -> None:
    """The models of the backtest learned from less: their chances lie closer together."""
    said, today = trained.comparison.predictions[trained.comparison.chosen].to_numpy(), todays(trained)
    brought = in_service(said, today)
    for line in (0.03, 0.05, 0.1):
        assert (brought >= line).mean() == pytest.approx((today >= line).mean(), abs=3 / len(today))
    assert (np.diff(brought[np.argsort(said, kind="stable")]) >= 0).all()
    assert in_service(said, today[:100]) is said


def test_a_short_test_is_counted_by_weeks_of_its_rows(trained: train.Trained) -> None:
    data = trained.prepared.data
    order = np.argsort(data.as_of, kind="stable")
    few = order[data.as_of[order] < data.as_of[order[0]] + 40 * DAY]
    week = weeks_of(data, few)
    assert week is not None
    assert week.tolist() == ((data.as_of[few] - data.as_of[few].min()) // (7 * DAY)).tolist()
    assert weeks_of(replace(data, as_of=None), few) is None


def test_the_facts_are_kept(trained: train.Trained) -> None:
    facts = trained.bundle.facts
    assert facts["training"]["rows"] == len(trained.prepared.data.X)
    assert facts["training"]["converted"] == int(trained.prepared.y.sum())
    assert facts["training"]["split"] == "forward"
    assert facts["comparison"]["chosen"] == trained.comparison.chosen
    models = {row["model"] for row in facts["comparison"]["rows"]}
    assert models == {"points", "logistic", "boosted", "hazard", "adaptive"}


def test_a_campaign_and_its_source_are_one_reason_where_a_model_uses_both(
    trained: train.Trained, bundle_of: dict[str, Bundle], folder_of: dict[str, Path]
) -> None:
    """Each simulated campaign belongs to one source."""
    seen = set()
    for kind, bundle in bundle_of.items():
        scorer = bundle.scorer
        _, phi = scorer.contributions(to_matrix(trained.prepared.data.X, scorer.columns))
        drivers = zip(scorer.driver_columns, phi.T, strict=True)
        used = {name for names, own in drivers if own.any() for name in names}
        both = {"source", "campaign"} if {"source", "campaign"} <= used else set()
        one = {feature.name for feature in bundle.features if feature.concept == "source and campaign"}
        assert one == both
        seen |= {kind} if one else set()
        assert bundles.load(folder_of[kind]).features == bundle.features
        plain = {feature.name: feature for feature in trained.prepared.features}
        assert all(feature == plain[feature.name] for feature in bundle.features if feature.name not in one)
    assert {"logistic", "boosted"} <= seen
