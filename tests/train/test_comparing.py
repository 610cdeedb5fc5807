"""The comparison of a project: what is compared, forward in time, by segment, at the team's capacity."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from leadscore import bundle as bundles
from leadscore import comparing, config, train
from leadscore.errors import DataError
from leadscore.evaluation.rolling import Plan
from leadscore.predict import load
from leadscore.project import Project


@pytest.fixture
def wide_project(wide: Path, wide_settings: dict[str, Any]) -> Callable[..., Project]:
    def asked(**sections: Any) -> Project:
        settings = copy.deepcopy(wide_settings) | sections
        (wide / "wide.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
        return config.read(wide / "wide.yaml")

    return asked


def test_young_leads_stand_behind_the_mature_ones(trained: train.Trained) -> None:
    prepared = trained.prepared
    everything, n = prepared.everything, len(prepared.y)
    assert everything.mature is not None
    assert everything.mature[:n].all()
    assert not everything.mature[n:].any()
    assert len(everything) > n
    assert everything.lead_id[:n].tolist() == prepared.data.lead_id.tolist()


def test_each_model_is_compared_forward_and_has_a_plan(trained: train.Trained) -> None:
    comparison = trained.comparison
    assert comparison.models == ("points", "logistic", "boosted", "hazard", "adaptive")
    assert set(comparison.plans) == {"points", "logistic", "boosted", "hazard"}
    assert comparison.chosen != "adaptive"
    assert set(comparison.picks["fold"]) == set(comparison.predictions["fold"])


def test_the_level_that_the_backtest_chose_is_in_the_saved_model(trained: train.Trained) -> None:
    plain = replace(trained.comparison, chosen="boosted", plans={"boosted": Plan()})
    shifted = replace(plain, plans={"boosted": Plan(shift=0.25)})
    born, moved = (train.fit(trained.prepared, comparison) for comparison in (plain, shifted))
    assert moved.calibration.slope == born.calibration.slope
    assert moved.calibration.intercept == born.calibration.intercept + 0.25


def test_columns_that_the_backtest_left_out_are_not_in_the_model(
    trained: train.Trained, tmp_path: Path
) -> None:
    plan = Plan(history=0.9, without=("source",))
    comparison = replace(trained.comparison, chosen="boosted", plans={"boosted": plan})
    bundle = train.fit(trained.prepared, comparison)
    assert "source" in {feature.name for feature in trained.prepared.features}
    assert "source" not in {feature.name for feature in bundle.features}
    assert load(bundles.save(bundle, tmp_path / "model")).bundle.scorer.columns == bundle.scorer.columns


def test_the_evidence_is_of_the_teams_capacity_a_week(trained: train.Trained) -> None:
    found = trained.evidence.head_to_head
    assert "5" in found.capacity
    taken = found.rows.query("figure == 'taken' and model == 'points' and period != 'all'")["value"]
    assert taken.max() <= 5
    assert trained.bundle.calibrated is trained.evidence.reliability.holds
    assert trained.evidence.optimism is not None


def test_a_segment_shifts_the_learned_models_and_is_reported_apart(
    wide_project: Callable[..., Project],
) -> None:
    project = wide_project(model={"segment": "Plan"})
    prepared = train.prepare(project)
    comparison = comparing.compare_models(prepared)
    assert {"Plan=basic", "Plan=pro"} <= set(comparison.rows["slice"])
    bundle = train.fit(prepared, replace(comparison, chosen="logistic"))
    assert bundle.scorer.kind == "segmented"


@pytest.mark.parametrize("segment", ["Plna", "Hours"])
def test_a_segment_that_is_no_category(wide_project: Callable[..., Project], segment: str) -> None:
    with pytest.raises(DataError, match=r"a category of the leads as model\.segment"):
        train.prepare(wide_project(model={"segment": segment}))


def test_a_column_that_follows_the_calendar_is_named(
    wide: Path, wide_project: Callable[..., Project]
) -> None:
    frame = pd.read_csv(wide / "leads.csv").assign(Rate=lambda f: np.arange(len(f)) // 40 * 0.1)
    frame.to_csv(wide / "leads.csv", index=False)
    prepared = train.prepare(wide_project(evaluation={"folds": 2, "split": "forward"}))
    assert comparing.calendar_columns(prepared) == ("Rate",)
    assert comparing.calendar_columns(replace(prepared, data=replace(prepared.data, order=None))) == ()


def test_without_a_clock_the_capacity_is_there_anew_in_each_period(
    wide_project: Callable[..., Project],
) -> None:
    project = wide_project(evaluation={"folds": 2, "split": "forward"}, policy={"share": 0.1})
    prepared = train.prepare(project)
    cheap = {"points": comparing.models(project)["points"], "logistic": comparing.models(project)["logistic"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparing, "models", lambda _: cheap)
        comparison = comparing.compare_models(prepared)
        found = comparing.weigh(prepared, comparison)
    assert found.head_to_head.periods == 2
    assert found.optimism is not None
    assert found.optimism.model == "logistic"
