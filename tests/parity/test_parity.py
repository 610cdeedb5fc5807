"""One scoring path: however a lead is brought and whoever asks, the numbers are the same to the last bit."""

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leadscore import bundle as bundles
from leadscore import config, tracking, train
from leadscore.data.tables import read_tables
from leadscore.features.snapshot import snapshot
from leadscore.predict import LeadModel, load
from leadscore.simulate import World

NUMBERS = ["probability", "score", "fit", "engagement"]
DAY = 86_400_000_000


@pytest.fixture
def expected(model: LeadModel, world: World, as_of: int) -> pd.DataFrame:
    """What the model says in one batch; the other ways are compared with it."""
    return model.score(world.leads, world.events, as_of)


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(
        found.reset_index(drop=True), expected.reset_index(drop=True), check_exact=True, check_dtype=False
    )


def events_of(world: World, leads: list[str]) -> list[dict[str, Any]]:
    """What these leads did: also before anybody knew that it was they, by their visitor ids."""
    events = world.events.to_pandas()
    own = events["lead_id"].isin(leads)
    visits = events["visitor_id"].notna() & events["visitor_id"].isin(events.loc[own, "visitor_id"].dropna())
    return events[own | visits].astype(object).replace({np.nan: None, pd.NaT: None}).to_dict("records")


# ------------------------------------------------------------------------------------------- ways of asking
def test_the_world_tries_every_stage_and_every_family(expected: pd.DataFrame) -> None:
    """Otherwise equal frames would say little."""
    assert len(expected) > 1_000
    assert set(expected["stage"]) == {"unqualified", "nurture", "mql", "sales_ready"}
    assert (expected[NUMBERS].nunique() > 30).all()
    assert expected["probability"].between(0, 1, inclusive="neither").all()


def test_one_lead_at_a_time(model: LeadModel, expected: pd.DataFrame, world: World, as_of: int) -> None:
    rows = world.leads.to_pylist()
    known = {row["lead_id"]: row for row in rows}
    for wanted in expected.iloc[::29].to_dict("records"):
        one = model.score_one(known[wanted["lead_id"]], events_of(world, [wanted["lead_id"]]), as_of)
        assert {name: getattr(one, name) for name in wanted} == wanted


def test_before_and_after_saving(
    kind: str,
    bundle_of: dict[str, bundles.Bundle],
    expected: pd.DataFrame,
    world: World,
    as_of: int,
    tmp_path: Path,
) -> None:
    born = bundle_of[kind]
    assert_same(LeadModel(born, born.policy).score(world.leads, world.events, as_of), expected)
    again = bundles.save(bundles.load(bundles.save(born, tmp_path / "one")), tmp_path / "two")
    assert_same(load(again).score(world.leads, world.events, as_of), expected)
    assert bundles.digest(again) == bundles.digest(tmp_path / "one")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_the_command_line(
    run: Callable[..., Any],
    folder: Path,
    files: Path,
    expected: pd.DataFrame,
    as_of: int,
    tmp_path: Path,
    ending: str,
) -> None:
    out = tmp_path / f"scores.{ending}"
    moment = pd.Timestamp(as_of, unit="us", tz="UTC").isoformat()
    words = ("--events", files / "events.parquet", "--as-of", moment, "--out", out)
    done = run("score", folder, files / "leads.parquet", *words)
    assert done.code == 0, done.err
    found = pd.read_csv(out) if ending == "csv" else pd.read_parquet(out)
    assert_same(found, expected)


def test_mlflow(
    kind: str, folder: Path, expected: pd.DataFrame, world: World, as_of: int, tmp_path: Path
) -> None:
    mlflow = pytest.importorskip("mlflow")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow would like an example of the input
        mlflow.pyfunc.save_model(tmp_path / "logged", **tracking.as_pyfunc(folder))
    served = mlflow.pyfunc.load_model(str(tmp_path / "logged"))
    some = expected.iloc[::40]
    leads = world.leads.to_pandas().set_index("lead_id", drop=False).loc[some["lead_id"]]
    leads["events"] = [events_of(world, [lead]) for lead in leads["lead_id"]]
    moment = pd.Timestamp(as_of, unit="us", tz="UTC").isoformat()
    found = served.predict(leads.reset_index(drop=True), params={"as_of": moment})
    assert_same(found, some)


def test_scikit_learn(
    kind: str, trained: train.Trained, expected: pd.DataFrame, world: World, as_of: int
) -> None:
    """The estimator that the comparison fits says what the saved model says."""
    prepared, plan = trained.prepared, trained.comparison.plans[kind]
    assert plan.history == 1  # a world too small for less
    model, X, more = train.models(prepared.project)[kind], prepared.data.X, {"groups": prepared.data.group}
    y = prepared.y
    if kind == "hazard":
        rows = prepared.everything
        X, y = rows.X, (rows.ended == 1) & (rows.days < rows.horizon)
        more = {"groups": rows.group, "days": rows.days, "ended": rows.ended, "seen": rows.seen}
    estimator = model.fit(X.drop(columns=list(plan.without)), y, **more)
    estimator.calibration_ = replace(
        estimator.calibration_, intercept=estimator.calibration_.intercept + plan.shift
    )
    tables = read_tables(prepared.project.contract, world.leads, world.events, training=False)
    X = snapshot(tables, prepared.features, as_of).X.drop(columns=list(plan.without))
    assert estimator.predict_proba(X)[:, 1].tolist() == expected["probability"].tolist()


# ----------------------------------------------------------------------------------------- ways of bringing
def _csv(table: pa.Table, path: Path) -> Path:
    table.to_pandas().to_csv(path, index=False)
    return path


def _parquet(table: pa.Table, path: Path) -> Path:
    pq.write_table(table, path)
    return path


BROUGHT: dict[str, Callable[[pa.Table, Path], Any]] = {
    "pandas": lambda table, _: table.to_pandas(),
    "pandas with Arrow types": lambda table, _: table.to_pandas(types_mapper=pd.ArrowDtype),
    "polars": lambda table, _: pl.DataFrame(table),
    "duckdb": lambda table, _: duckdb.connect().from_arrow(table),
    "records": lambda table, _: table.to_pylist(),
    "csv": lambda table, path: _csv(table, path.with_suffix(".csv")),
    "packed csv": lambda table, path: _csv(table, path.with_suffix(".csv.gz")),
    "parquet": lambda table, path: _parquet(table, path.with_suffix(".parquet")),
}


@pytest.fixture(scope="session")
def brought(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Any]]:
    """Some of the leads and what they did, in whatever holds tables."""
    place = tmp_path_factory.mktemp("brought")
    leads = world.leads.slice(0, 150)
    events = pa.Table.from_pylist(events_of(world, leads["lead_id"].to_pylist()), world.events.schema)
    return {
        way: (bring(leads, place / "leads"), bring(events, place / "events"))
        for way, bring in BROUGHT.items()
    }


@pytest.mark.parametrize("way", BROUGHT)
def test_whatever_holds_the_tables(
    model: LeadModel, expected: pd.DataFrame, brought: dict[str, tuple[Any, Any]], as_of: int, way: str
) -> None:
    found = model.score(*brought[way], as_of)
    assert len(found) > 100
    assert_same(found, expected.set_index("lead_id").loc[found["lead_id"]].reset_index())


def test_the_order_of_rows_and_columns(
    model: LeadModel, expected: pd.DataFrame, world: World, as_of: int
) -> None:
    rng = np.random.default_rng(0)
    leads, events = (
        table.select(rng.permutation(table.column_names).tolist()).take(rng.permutation(len(table)))
        for table in (world.leads, world.events)
    )
    found = model.score(leads, events, as_of)
    there = set(expected["lead_id"])
    assert found["lead_id"].tolist() == [lead for lead in leads["lead_id"].to_pylist() if lead in there]
    assert_same(found.sort_values("lead_id"), expected.sort_values("lead_id"))


def test_who_else_is_in_the_table(model: LeadModel, expected: pd.DataFrame, world: World, as_of: int) -> None:
    some = np.random.default_rng(1).choice(len(world.leads), 300, replace=False)
    found = model.score(world.leads.take(some), world.events, as_of)
    assert_same(found, expected.set_index("lead_id").loc[found["lead_id"]].reset_index())


def test_columns_that_nobody_asked_for(
    model: LeadModel, expected: pd.DataFrame, world: World, as_of: int
) -> None:
    leads, events = world.leads.to_pandas(), world.events.to_pandas()
    found = model.score(leads.assign(mood="blue", probability=0.9), events.assign(weather="fine"), as_of)
    assert_same(found, expected)


# --------------------------------------------------------------------------------------------------- time
@pytest.mark.parametrize("later", [0, 1, DAY, 400 * DAY])
def test_events_at_or_after_the_moment_change_nothing(
    model: LeadModel, expected: pd.DataFrame, world: World, as_of: int, later: int
) -> None:
    events = world.events.to_pandas()
    ids = world.leads["lead_id"].to_pandas()
    when = pd.Timestamp(as_of + later, unit="us", tz="UTC")
    more = [
        pd.DataFrame({"lead_id": ids, "event_type": word, "occurred_at": when, "recorded_at": when})
        for word in ("demo_request", "unsubscribe", "page_view", "email_click", "sales_reply")
    ]
    more = pd.concat(more).assign(content="/pricing", channel="web", value=1e6)
    assert_same(model.score(world.leads, pd.concat([events, more]), as_of), expected)


def test_events_before_the_moment_do_count(
    model: LeadModel, expected: pd.DataFrame, world: World, as_of: int
) -> None:
    """Or the test above would hold for a model that reads no events."""
    ids = world.leads["lead_id"].to_pandas()
    when = pd.Timestamp(as_of - 1, unit="us", tz="UTC")
    more = pd.DataFrame(
        {"lead_id": ids, "event_type": "demo_request", "occurred_at": when, "recorded_at": when}
    )
    found = model.score(world.leads, pd.concat([world.events.to_pandas(), more]), as_of)
    assert (found["stage"].isin(["sales_ready", "unqualified"])).all()  # the fast track, or unsubscribed
    assert (found["engagement"] != expected["engagement"]).any()


def test_a_visitor_made_known_at_the_moment_changes_nothing(
    model: LeadModel, expected: pd.DataFrame, world: World, as_of: int
) -> None:
    events = world.events.to_pandas()
    known = events.loc[events["lead_id"].notna(), "visitor_id"].dropna()
    strangers = events.loc[
        events["lead_id"].isna() & ~events["visitor_id"].isin(known), "visitor_id"
    ].unique()
    assert len(strangers) > 10
    when = pd.Timestamp(as_of, unit="us", tz="UTC")
    links = pd.DataFrame(
        {
            "lead_id": expected["lead_id"].head(len(strangers)).to_numpy(),
            "visitor_id": strangers[: len(expected)],
            "event_type": "page_view",
            "occurred_at": when,
            "recorded_at": when,
        }
    )
    assert_same(model.score(world.leads, pd.concat([events, links]), as_of), expected)
    earlier = links.assign(occurred_at=when - pd.Timedelta("1us"), recorded_at=when)
    assert not model.score(world.leads, pd.concat([events, earlier]), as_of).equals(expected)


# ----------------------------------------------------------------------------------------------- reasons
def test_reasons_add_up_to_the_score(
    model: LeadModel, expected: pd.DataFrame, world: World, as_of: int
) -> None:
    why = model.explain(world.leads.slice(0, 250), world.events, as_of)
    assert len(why) > 200
    for one, row in zip(why, expected.head(len(why)).to_dict("records"), strict=True):
        assert one.lead_id == row["lead_id"]
        assert (one.probability, one.score, one.stage) == (row["probability"], row["score"], row["stage"])
        assert abs(one.base + sum(driver.points for driver in one.drivers) - one.score) < 1e-9
        assert one.shown_base + sum(driver.shown for driver in one.drivers) == one.shown_score
        assert abs(one.shown_score - one.score) <= 0.5 + 1e-6
        for family in ("fit", "engagement"):
            points = sum(driver.points for driver in one.drivers if driver.family == family)
            assert abs(points - row[family]) < 1e-9
    assert len({one.base for one in why}) == 1


def test_reasons_of_one_lead_are_those_of_the_batch(
    model: LeadModel, expected: pd.DataFrame, world: World, as_of: int
) -> None:
    lead = expected.loc[expected["probability"].idxmax(), "lead_id"]
    among = model.explain(world.leads, world.events, as_of, lead_id=lead)
    own = world.leads.filter(pa.compute.equal(world.leads["lead_id"], lead)).to_pylist()
    alone = model.explain(own, events_of(world, [lead]), as_of)
    assert [one.to_dict() for one in among] == [one.to_dict() for one in alone]
    json.dumps(alone[0].to_dict(), allow_nan=False)


# --------------------------------------------------------------------------------------------- thresholds
def test_a_higher_threshold_never_adds_leads(model: LeadModel, world: World, as_of: int) -> None:
    leads = world.leads.slice(0, 400)
    lines = np.quantile(model.score(leads, world.events, as_of)["probability"], np.linspace(0, 1, 9))
    before = set(leads["lead_id"].to_pylist())
    sizes = []
    for line in [0.0, *lines.tolist(), 1.0]:
        moved = LeadModel(model.bundle, replace(model.policy, mql=line, sales_ready=1.0, nurture=0.0))
        frame = moved.score(leads, world.events, as_of)
        qualified = set(frame.loc[frame["stage"].isin(["mql", "sales_ready"]), "lead_id"])
        assert qualified <= before
        before = qualified
        sizes.append(len(qualified))
    assert len(set(sizes)) > 5


# ------------------------------------------------------------------------------------------------- seeds
def test_the_same_seed_gives_the_same_model(
    kind: str, trained: train.Trained, folder: Path, tmp_path: Path
) -> None:
    again = train.fit(trained.prepared, replace(trained.comparison, chosen=kind))
    assert bundles.digest(bundles.save(again, tmp_path / "again")) == bundles.digest(folder)


def test_the_same_files_give_the_same_model(wide: Path, wide_folder: Path) -> None:
    project = config.read(wide / "wide.yaml")
    again = bundles.save(train.train(project).bundle, wide / "model")
    assert bundles.digest(again) == bundles.digest(wide_folder)
    other = bundles.save(train.train(replace(project, seed=5)).bundle, wide / "other")
    assert bundles.digest(other) != bundles.digest(wide_folder)


# --------------------------------------------------------------------------------- a table without a clock
def test_a_wide_table_however_it_is_brought(
    wide_folder: Path, wide_frame: pd.DataFrame, tmp_path: Path
) -> None:
    model = load(wide_folder)
    expected = model.score(wide_frame)
    assert expected["lead_id"].tolist() == wide_frame["Id"].tolist()
    assert expected["probability"].nunique() > 100
    table = pa.Table.from_pandas(wide_frame, preserve_index=False)
    for way, bring in BROUGHT.items():
        assert_same(model.score(bring(table, tmp_path / way)), expected)
    for row in wide_frame.to_dict("records")[::37]:
        one = model.score_one(row)
        wanted = expected.loc[expected["lead_id"] == row["Id"]].iloc[0]
        assert (one.lead_id, one.probability, one.stage) == tuple(wanted[["lead_id", "probability", "stage"]])
    mixed = wide_frame.sample(frac=1, random_state=3)[["Verdict", "Plan", "Channel", "Visits", "Hours", "Id"]]
    found = model.score(mixed.drop(columns="Verdict"))
    assert found["lead_id"].tolist() == mixed["Id"].tolist()
    assert_same(found.sort_values("lead_id"), expected)


def test_scoring_changes_nothing_that_was_given(model: LeadModel, world: World, as_of: int) -> None:
    leads, events = world.leads.to_pandas(), world.events.to_pandas()
    before = leads.copy(deep=True), events.copy(deep=True)
    model.score(leads, events, as_of)
    model.explain(leads.head(3), events, as_of)
    pd.testing.assert_frame_equal(leads, before[0])
    pd.testing.assert_frame_equal(events, before[1])
