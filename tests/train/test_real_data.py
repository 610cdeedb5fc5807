"""The three real projects, through their shipped configs; skipped where the data is not at hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from leadscore import bundle as bundles
from leadscore import config, train
from leadscore.errors import LeakageError
from leadscore.predict import load
from leadscore.project import Project

ROOT = Path(__file__).parents[2]
DAY = 86_400_000_000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / "../shared/data").is_dir(), reason="the real data is not here"),
]


def project_of(name: str, **changes: Any) -> Project:
    return replace(config.read(ROOT / "configs" / f"{name}.yaml"), **changes)


def value_of(trained: train.Trained, metric: str, model: str | None = None) -> float:
    rows = trained.comparison.rows
    asked = (rows["slice"] == "all") & (rows["model"] == (model or trained.comparison.chosen))
    return float(rows.loc[asked & (rows["metric"] == metric), "value"].iloc[0])


# --------------------------------------------------------------------------------------------- X Education
@pytest.mark.parametrize("late", [["Tags", "Lead Quality"], ["Tags"], ["Lead Quality"]], ids=" and ".join)
def test_x_education_with_late_fields_is_refused(late: list[str]) -> None:
    project = project_of("x_education")
    left_in = replace(project, exclude={f: why for f, why in project.exclude.items() if f not in late})
    with pytest.raises(LeakageError) as caught:
        train.prepare(left_in)
    for field in late:
        assert repr(field) in str(caught.value)


def test_x_education_reaches_its_bars(tmp_path: Path) -> None:
    project = project_of("x_education")
    trained = train.train(project)
    assert value_of(trained, "roc_auc") >= 0.87
    assert value_of(trained, "ece") <= 0.02
    assert value_of(trained, "roc_auc") > value_of(trained, "roc_auc", "points") + 0.04
    verdicts = {audit.field: audit.verdict for audit in trained.prepared.audit.fields}
    assert {verdicts["Tags"], verdicts["Lead Quality"]} == {"block"}
    assert verdicts["Lead Source"] != "block"  # its pure categories are known from the start

    model = load(bundles.save(trained.bundle, tmp_path / "model"))
    source = project.source
    leads = pd.read_csv(source.leads, dtype=str, keep_default_na=False)
    frame = model.score(source.leads)
    assert frame["lead_id"].tolist() == leads["Prospect ID"].tolist()
    # Seen in training, so flattering: only far off if rows and outcomes had come apart.
    converted = leads["Converted"].to_numpy() == "1"
    assert frame.loc[converted, "score"].median() > frame.loc[~converted, "score"].median() + 10
    assert abs(frame["probability"].mean() - converted.mean()) < 0.02


# ------------------------------------------------------------------------------------------ Bank Marketing
def test_the_bank_trains_and_compares_forward(tmp_path: Path) -> None:
    project = project_of("bank_marketing", folds=2)
    trained = train.train(project)
    seen, data = trained.comparison.predictions, trained.prepared.data
    order = data.order[seen["row"].to_numpy()]
    first, second = (order[seen["fold"].to_numpy() == name] for name in seen["fold"].unique())
    assert first.max() < second.min()
    assert first.min() >= len(data.X) // 2  # the first half only trains
    assert 0.6 < value_of(trained, "roc_auc") < 0.8  # a random split would flatter with more
    names = {feature.name for feature in trained.bundle.features}
    assert not names & set(project.exclude)

    model = load(bundles.save(trained.bundle, tmp_path / "model"))
    frame = model.score(project.source.leads)
    assert frame["lead_id"].tolist() == list(range(41_188))
    assert set(frame["stage"]) <= {"unqualified", "nurture", "mql", "sales_ready"}


# ------------------------------------------------------------------------------------- loan applications
def test_the_loans_are_looked_at_while_open_and_once_mature(tmp_path: Path) -> None:
    project = project_of("loan_applications", folds=2)
    trained = train.train(project)
    data, tables = trained.prepared.data, trained.prepared.tables
    log = pd.read_csv(project.source.events)
    log["at"] = pd.to_datetime(log["event_time"], utc=True).astype("datetime64[us, UTC]").astype("int64")
    log["in"] = pd.to_datetime(log["registered_at"], utc=True).astype("datetime64[us, UTC]").astype("int64")
    came = log.groupby("application_id")["in"].min()
    over = log[log["activity"].isin(["A_ACTIVATED", "A_DECLINED", "A_CANCELLED"])]
    closed = over.groupby("application_id")["at"].min()
    won = over[over["activity"] == "A_ACTIVATED"].groupby("application_id")["at"].min()
    end = max(log["at"].max(), log["in"].max())
    assert tables.end == end

    looks = pd.DataFrame({"age": [1.0, 3.0, 7.0, 14.0]}).merge(came.rename("in").reset_index(), how="cross")
    looks["as_of"] = looks["in"] + (looks["age"] * DAY).astype("int64")
    still_open = ~(looks["application_id"].map(closed) < looks["as_of"])
    looks = looks[still_open & (looks["as_of"] + 30 * DAY <= end)]
    looks["y"] = (looks["application_id"].map(won) < looks["as_of"] + 30 * DAY).astype(int)
    found = pd.DataFrame({"application_id": data.lead_id, "age": data.age, "as_of": data.as_of})
    found["y"] = trained.prepared.y
    key = ["application_id", "age"]
    pd.testing.assert_frame_equal(
        found.sort_values(key, ignore_index=True),
        looks[[*key, "as_of", "y"]].sort_values(key, ignore_index=True),
        check_dtype=False,
    )
    slices = set(trained.comparison.rows["slice"])
    assert slices == {"all", "age=1d", "age=3d", "age=7d", "age=14d"}
    assert value_of(trained, "roc_auc") > 0.6

    model = load(bundles.save(trained.bundle, tmp_path / "model"))
    moment = int(np.quantile(log["in"], 0.9))
    frame = model.score(project.source.events, as_of=moment)
    assert set(frame["lead_id"]) == set(came.index[(came < moment) & ~(closed.reindex(came.index) < moment)])
    until = log[log["at"] < moment].drop(columns=["at", "in"])
    pd.testing.assert_frame_equal(
        model.score(until, as_of=moment).set_index("lead_id").sort_index(),
        frame.set_index("lead_id").sort_index(),
        check_exact=True,
    )
