"""On Spark, whatever is asked gives what one machine gives, to the last bit; so the oracle is one machine."""

import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from leadscore import spark as on_spark
from leadscore import tracking
from leadscore.data.contract import (
    ROW_NUMBER,
    Contract,
    EventColumns,
    HistoryColumns,
    Identity,
    OutcomeColumns,
)
from leadscore.data.tables import read_tables
from leadscore.errors import DataError, LeadScoreError, MissingExtraError, UsageError
from leadscore.features.declare import AttributeFeature, EventFeature
from leadscore.features.snapshot import Snapshot, snapshot, training_snapshot
from leadscore.predict import load
from leadscore.simulate import World

pytestmark = [
    pytest.mark.spark,
    pytest.mark.xdist_group("spark"),
    # PySpark warns of pandas 3 whenever anything is made with Arrow.
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
]

DAY = 86_400_000_000
START = 1_735_689_600_000_000  # 2025-01-01
SCORES = ["probability", "score", "fit", "engagement"]
FEATURES = (
    EventFeature("count", "visit"),
    EventFeature("decayed_sum", "visit", half_life=3),
    EventFeature("recency", None),
    EventFeature("distinct_contents", "visit"),
    AttributeFeature("number", "staff"),
    AttributeFeature("category", "tier", levels=("gold", "silver")),
    AttributeFeature("lead_age"),
)
CONTRACT = Contract(
    lead_id="id",
    created_at="since",
    events=EventColumns(visitor_id="who", recorded_at="seen", content="page", value="worth", lead_id="lead"),
    outcomes=OutcomeColumns(),
    kinds={"staff": "number", "tier": "category"},
)


# --------------------------------------------------------------------------------------------- helpers
def rows_of(frame: Any, key: Sequence[str] = ("lead_id",)) -> pd.DataFrame:
    """Collect a Spark DataFrame in a fixed order, X as columns; `toPandas` would warn."""
    if "X" in frame.columns:
        frame = frame.select(*(name for name in frame.columns if name != "X"), "X.*")
    return frame.toArrow().to_pandas().sort_values(list(key), ignore_index=True)


def frame_of(rows: Snapshot, names: Sequence[str]) -> pd.DataFrame:
    meta = pd.DataFrame({name: getattr(rows, name) for name in names})
    frame = pd.concat([meta, rows.X.reset_index(drop=True)], axis=1)
    return frame.sort_values([name for name in ("lead_id", "age") if name in names], ignore_index=True)


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert len(expected)
    for name, column in expected.items():
        if isinstance(column.dtype, pd.CategoricalDtype):
            expected = expected.assign(**{str(name): column.astype(object)})
    expected, found = (frame.astype(object).where(frame.notna(), None) for frame in (expected, found))
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def told(frame: Any) -> set[tuple[str, str, bool, int]]:
    return {tuple(row.values()) for row in frame.toArrow().to_pylist()}


def events_from(rng: np.random.Generator, n: int, leads: int) -> dict[str, list[Any]]:
    """Draw events on a coarse clock, so that moments tie, some of which do not count or tell nothing."""

    def some(values: list[Any], missing: float) -> list[Any]:
        return [None if luck < missing else value for value, luck in zip(values, rng.random(n), strict=True)]

    at = START + rng.integers(0, 40, n) * DAY // 4
    return {
        "lead": some(rng.integers(0, leads + 3, n).tolist(), 0.6),  # three are not in the leads table
        "who": some([f"v{i}" for i in rng.integers(0, leads, n)], 0.2),
        "occurred_at": some(at.tolist(), 0.05),
        "seen": some((at + rng.integers(-1, 3, n) * DAY // 2).tolist(), 0.5),
        "event_type": some(rng.choice(["visit", "mail"], n).tolist(), 0.05),
        "page": some(rng.choice(["/a", "/b", "/c"], n).tolist(), 0.3),
        "worth": some(rng.normal(size=n).tolist(), 0.3),
    }


def small_world(seed: int, *, leads: int = 40, id_type: pa.DataType | None = None) -> dict[str, pa.Table]:
    rng = np.random.default_rng(seed)
    moments = pa.timestamp("us", "UTC")
    people = {
        "id": pa.array(range(leads), pa.int64()),
        "since": pa.array(START + rng.integers(0, 8, leads) * DAY).cast(moments),
        "staff": pa.array(rng.normal(size=leads), mask=rng.random(leads) < 0.2),
        "tier": pa.array(rng.choice(["gold", "silver", "tin"], leads), mask=rng.random(leads) < 0.2),
    }
    events = pa.table(events_from(rng, 400, leads))
    events = events.set_column(2, "occurred_at", events["occurred_at"].cast(moments))
    events = events.set_column(3, "seen", events["seen"].cast(moments))
    if id_type is not None:
        events = events.set_column(0, "lead", events["lead"].cast(id_type))
    closed = rng.choice(leads, leads // 2, replace=False)
    outcomes = {
        "id": pa.array(closed),
        "stage": pa.array(rng.choice(["won", "lost"], len(closed))),
        "at": pa.array(START + rng.integers(3, 12, len(closed)) * DAY).cast(moments),
    }
    return {"leads": pa.table(people), "events": events, "outcomes": pa.table(outcomes)}


def given_to(spark: Any, tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    return {name: spark.createDataFrame(table) for name, table in tables.items()}


@pytest.fixture(scope="module")
def boosted(folder_of: dict[str, Path]) -> Path:
    return folder_of["boosted"]


@pytest.fixture(scope="module")
def given(spark: Any, files: Path) -> dict[str, Any]:
    """The simulated world, with the visits of visitors who become known later."""
    return {
        name: spark.read.parquet(str(files / f"{name}.parquet")) for name in ("leads", "events", "outcomes")
    }


# ---------------------------------------------------------------------------------------- the same numbers
def test_scores(boosted: Path, given: dict[str, Any], world: World, as_of: int) -> None:
    expected = load(boosted).score(world.leads, world.events, as_of)
    assert expected["stage"].nunique() > 2
    assert (expected[SCORES].nunique() > 100).all()
    found = on_spark.score(boosted, given["leads"], given["events"], as_of, buckets=7)
    assert found.columns == [*expected.columns]
    assert_same(rows_of(found), expected.sort_values("lead_id", ignore_index=True))


def test_snapshots(boosted: Path, given: dict[str, Any], world: World, as_of: int) -> None:
    bundle = load(boosted).bundle
    tables = read_tables(bundle.contract, world.leads, world.events, training=False)
    expected = snapshot(tables, bundle.features, as_of)
    found = on_spark.snapshot(given["leads"], given["events"], bundle.contract, bundle.features, as_of)
    assert_same(rows_of(found), frame_of(expected, ["lead_id", "as_of"]))


def test_training_sets(boosted: Path, given: dict[str, Any], world: World) -> None:
    bundle = load(boosted).bundle
    tables = read_tables(world.contract, world.leads, world.events, world.outcomes, training=True)
    expected = training_snapshot(tables, bundle.features, ages=(14, 45), horizon=60)
    assert expected.y is not None
    assert expected.mature is not None
    assert 0 < expected.y.mean() < 1
    assert 0 < expected.mature.mean() < 1
    contract = replace(world.contract, kinds=tables.kinds)
    found = on_spark.training_set(
        **given, contract=contract, features=bundle.features, ages=(14, 45), horizon=60
    )
    names = ["lead_id", "age", "as_of", "known_at", "y", "mature"]
    assert_same(rows_of(found, ["lead_id", "age"]), frame_of(expected, names))


@pytest.mark.parametrize(("seed", "id_type"), [(0, None), (1, pa.string())])
def test_whose_visits_they_were(spark: Any, seed: int, id_type: pa.DataType | None) -> None:
    """Ties, links that do not count, leads that nobody knows, ids as numbers here and as text there."""
    tables = small_world(seed, id_type=id_type)
    frames = given_to(spark, tables)
    read = read_tables(CONTRACT, tables["leads"], tables["events"], training=False)
    assert read.events is not None
    assert len(read.events.at) > pc.sum(pc.is_valid(tables["events"]["lead"])).as_py()
    when = START + 7 * DAY
    found = on_spark.snapshot(frames["leads"], frames["events"], CONTRACT, FEATURES, when, buckets=11)
    assert_same(rows_of(found), frame_of(snapshot(read, FEATURES, when), ["lead_id", "as_of"]))


def test_visitors_that_the_leads_table_names(spark: Any) -> None:
    tables = small_world(3)
    rng = np.random.default_rng(3)
    visitors = pa.array([f"v{i}" for i in rng.integers(0, 40, 40)], mask=rng.random(40) < 0.3)
    leads = tables["leads"].append_column("visitor", visitors)
    contract = replace(CONTRACT, visitor_id="visitor")
    frames = given_to(spark, {"leads": leads, "events": tables["events"]})
    when = START + 7 * DAY
    read = read_tables(contract, leads, tables["events"], training=False)
    plain = read_tables(CONTRACT, leads, tables["events"], training=False)
    assert read.events is not None
    assert plain.events is not None
    assert len(read.events.at) > len(plain.events.at)
    found = on_spark.snapshot(frames["leads"], frames["events"], contract, FEATURES, when, buckets=11)
    assert_same(rows_of(found), frame_of(snapshot(read, FEATURES, when), ["lead_id", "as_of"]))


@pytest.mark.parametrize("days", [100, 900])
def test_rows_in_the_future_of_the_data(spark: Any, days: int) -> None:
    """One row dated long after all others must not make every lead look as if its future had been seen."""
    tables = small_world(4, leads=1_100)
    far = pa.array([START + days * DAY]).cast(pa.timestamp("us", "UTC"))
    one = pa.table({"id": pa.array([1]), "stage": pa.array(["won"]), "at": far})
    tables["outcomes"] = pa.concat_tables([*[tables["outcomes"]] * 2, one])
    late = tables["leads"].slice(0, 1).set_column(0, "id", pa.array([9_999])).set_column(1, "since", far)
    tables["leads"] = pa.concat_tables([tables["leads"], late])
    read = read_tables(CONTRACT, **tables, training=True)
    assert read.end is not None
    assert (read.end < START + 99 * DAY) == (days > 180)  # a few sales take long
    expected = training_snapshot(read, FEATURES, ages=(1, 3), horizon=5)
    assert 9_999 not in expected.lead_id
    frames = given_to(spark, tables)
    found = on_spark.training_set(**frames, contract=CONTRACT, features=FEATURES, ages=(1, 3), horizon=5)
    names = ["lead_id", "age", "as_of", "known_at", "y", "mature"]
    assert_same(rows_of(found, ["lead_id", "age"]), frame_of(expected, names))


def test_an_event_log_alone(spark: Any) -> None:
    """Leads, attributes and outcomes are all read from the events."""
    contract = Contract(
        lead_id="lead",
        events=replace(CONTRACT.events, lead_id=None),  # type: ignore[type-var]
        event_log=True,
        outcome_events={"mail": "won"},
        kinds={"page": "category"},
    )
    features = (EventFeature("count", "visit"), EventFeature("sum", "visit"), AttributeFeature("lead_age"))
    log = small_world(5)["events"]
    frame = spark.createDataFrame(log)
    read = read_tables(contract, log, training=True)
    expected = training_snapshot(read, features, ages=(1, 2.5), horizon=4)
    found = on_spark.training_set(frame, None, None, contract, features, ages=(1, 2.5), horizon=4)
    names = ["lead_id", "age", "as_of", "known_at", "y", "mature"]
    assert_same(rows_of(found, ["lead_id", "age"]), frame_of(expected, names))


def test_attributes_as_they_were(spark: Any) -> None:
    contract = replace(CONTRACT, history=HistoryColumns())
    tables = small_world(6)
    rng = np.random.default_rng(6)
    changed = pa.array(START + rng.integers(0, 14, 100) * DAY).cast(pa.timestamp("us", "UTC"))
    values = rng.choice(["gold", "tin"], 100)
    history = {
        "id": rng.integers(0, 45, 100),
        "field": ["tier"] * 100,
        "value": values,
        "changed_at": changed,
    }
    tables = {"leads": tables["leads"], "events": tables["events"], "history": pa.table(history)}
    when = START + 9 * DAY
    read = read_tables(contract, **tables, training=False)
    expected = frame_of(snapshot(read, FEATURES, when), ["lead_id", "as_of"])
    assert not expected["tier"].equals(snapshot(replace(read, history=None), FEATURES, when).X["tier"])
    found = on_spark.snapshot(**given_to(spark, tables), contract=contract, features=FEATURES, as_of=when)
    assert_same(rows_of(found), expected)


# ------------------------------------------------------------------------------------------------- time
def test_the_zone_of_the_session_changes_nothing(spark: Any, tmp_path: Path) -> None:
    """Moments, local times with a zone of the project, dates and text: each in a zone that is not Spark's."""
    moments = pa.array([START + 3 * DAY // 4, START + DAY])
    local = moments.cast(pa.timestamp("us"))
    columns = {
        "moments": moments.cast(pa.timestamp("us", "UTC")),
        "local": local,
        "dates": local.cast(pa.date32()),
        "text": pa.array(["2025-01-01T18:00:00", "2025-01-02T05:45:00+05:45"]),
    }
    leads = pa.table({"id": ["a", "b"], **columns})
    pq.write_table(leads, tmp_path / "leads.parquet")
    contract = Contract(lead_id="id", timezone="America/New_York", kinds=dict.fromkeys(columns, "time"))
    features = tuple(AttributeFeature("days_since", name) for name in columns)
    when = START + 2 * DAY
    expected = snapshot(read_tables(contract, leads, training=False), features, when)
    assert expected.X.notna().all(axis=None)
    for zone in ("Asia/Kathmandu", "America/Los_Angeles"):
        session = spark.newSession()
        session.conf.set("spark.sql.session.timeZone", zone)
        frame = session.read.parquet(str(tmp_path / "leads.parquet"))
        assert [kind for _, kind in frame.dtypes] == [
            "string",
            "timestamp",
            "timestamp_ntz",
            "date",
            "string",
        ]
        found = on_spark.snapshot(frame, None, contract, features, when)
        assert_same(rows_of(found), frame_of(expected, ["lead_id", "as_of"]))


# --------------------------------------------------------------------------------------------- findings
def test_nothing_is_lost_without_a_word(spark: Any) -> None:
    tables = small_world(7)
    leads = pa.concat_tables(
        [tables["leads"], tables["leads"].slice(0, 2).set_column(0, "id", pa.nulls(2, pa.int64()))]
    )
    tables["leads"] = leads.set_column(2, "staff", pa.array(["many", *["3"] * 41]))
    when = START + 5 * DAY
    read = read_tables(CONTRACT, **tables, training=False)
    expected = {(one.table, one.what, one.rejected, one.count) for one in read.findings}
    assert len(expected) > 6
    assert read.created_at is not None
    expected |= {("leads", "created at or after the moment", True, int((read.created_at >= when).sum()))}
    assert told(on_spark.findings(CONTRACT, **given_to(spark, tables), as_of=when)) == expected


# ----------------------------------------------------------------------------------------------- errors
def one_line(error: pytest.ExceptionInfo[LeadScoreError], words: str) -> None:
    text = str(error.value)
    assert words in text
    assert "\n" not in text
    assert text.count("; ") >= 2


def test_what_only_the_rows_tell_comes_in_one_line(spark: Any) -> None:
    tables = small_world(8)
    frames = given_to(spark, tables)
    twice = frames["leads"].unionByName(frames["leads"].limit(1))
    scores = on_spark.snapshot(twice, frames["events"], CONTRACT, FEATURES, START + 5 * DAY)
    with pytest.raises(DataError) as error, on_spark.plain_errors():
        scores.count()
    one_line(error, "ids again in column 'id'")
    naive = frames["leads"].withColumn("since", frames["leads"]["since"].cast("timestamp_ntz"))
    with pytest.raises(DataError) as error:
        on_spark.training_set(
            naive, frames["events"], frames["outcomes"], CONTRACT, FEATURES, ages=(1,), horizon=5
        )
    one_line(error, "offset in the times of column 'since'")
    with pytest.raises(ZeroDivisionError), on_spark.plain_errors():
        _ = 1 / 0


def test_what_the_columns_tell_comes_at_once(spark: Any, boosted: Path, given: dict[str, Any]) -> None:
    frames = given_to(spark, small_world(9))
    leads, events, outcomes = frames["leads"], frames["events"], frames["outcomes"]
    when = START + 5 * DAY

    def take(contract: Contract = CONTRACT, leads: Any = leads, events: Any = events) -> Any:
        return on_spark.snapshot(leads, events, contract, FEATURES, when)

    def learn(contract: Contract = CONTRACT, outcomes: Any = outcomes) -> Any:
        return on_spark.training_set(leads, events, outcomes, contract, FEATURES, ages=(1,), horizon=5)

    halves = leads.selectExpr("id / 2 AS id", "since", "staff", "tier")
    unlabelled = replace(CONTRACT, outcomes=None)
    refused: list[tuple[type[LeadScoreError], str, Any]] = [
        (UsageError, "a Spark DataFrame as leads", lambda: take(leads=pd.DataFrame())),
        (DataError, "a column 'tier' in the leads table", lambda: take(leads=leads.drop("tier"))),
        (DataError, "'id' twice", lambda: take(leads=leads.select("*", "id"))),
        (DataError, "integers or text in column 'id'", lambda: take(leads=halves)),
        (UsageError, "no events table", lambda: take(replace(CONTRACT, events=None))),
        (UsageError, "the kind of field 'tier'", lambda: take(replace(CONTRACT, kinds={"staff": "number"}))),
        (UsageError, "ids of the leads", lambda: take(replace(CONTRACT, lead_id=ROW_NUMBER))),
        (UsageError, "identity", lambda: take(replace(CONTRACT, identity=Identity(email=("tier",))))),
        (UsageError, "the outcomes table", lambda: learn(outcomes=None)),
        (UsageError, "read a wide table on one machine", lambda: learn(unlabelled, None)),
        (UsageError, "a moment, since", lambda: on_spark.score(boosted, given["leads"], given["events"])),
        (UsageError, "pass events", lambda: on_spark.score(boosted, given["leads"], None, when)),
    ]
    for kind, words, ask in refused:
        with pytest.raises(kind) as error:
            ask()
        one_line(error, words)


def test_without_pyspark_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "pyspark"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "pyspark", None)
    monkeypatch.setitem(sys.modules, "pyspark.sql.functions", None)
    for ask in (
        lambda: on_spark.snapshot(None, None, CONTRACT, FEATURES, START),  # type: ignore[arg-type]
        lambda: on_spark.findings(CONTRACT, None),  # type: ignore[arg-type]
    ):
        with pytest.raises(MissingExtraError, match=r"pip install 'leadscore\[spark\]'") as error:
            ask()
        assert error.value.exit_code == 2


def test_importing_it_does_not_import_pyspark() -> None:
    code = "import sys, leadscore.spark; print('pyspark' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# ----------------------------------------------------------------------------------------------- MLflow
def test_mlflow_spark_udf(spark: Any, wide_folder: Path, wide_frame: pd.DataFrame, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    from pyspark.sql.functions import struct

    expected = load(wide_folder).score(wide_frame)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow's own: an example of the input, and the environment
        mlflow.pyfunc.save_model(tmp_path / "logged", **tracking.as_pyfunc(wide_folder))
        udf = mlflow.pyfunc.spark_udf(
            spark,
            str(tmp_path / "logged"),
            result_type=(
                "struct<lead_id: long, probability: double, score: double, stage: string, fit: double, "
                "engagement: double>"
            ),
            env_manager="local",
        )
    leads = spark.createDataFrame(pa.Table.from_pandas(wide_frame)).repartition(2)
    found = leads.select(udf(struct(*leads.columns)).alias("score")).select("score.*")
    assert_same(rows_of(found), expected.sort_values("lead_id", ignore_index=True))
