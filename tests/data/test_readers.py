import gzip
import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leadscore.data.readers import read_given
from leadscore.data.tables import Contract, EventColumns, OutcomeColumns, read_tables
from leadscore.errors import DataError, UsageError

START = datetime(2024, 5, 1, 8, tzinfo=UTC)
CONTRACT = Contract(
    lead_id="id",
    created_at="since",
    events=EventColumns(content="page", value="worth", visitor_id="cookie"),
    outcomes=OutcomeColumns(revenue="euro", stages={"Deal": "won"}),
    missing=("Select",),
)


def moments(*hours):
    return pa.array(
        [None if h is None else START + timedelta(hours=h) for h in hours], pa.timestamp("us", "UTC")
    )


def arrow():
    leads = pa.table(
        {
            "id": [12, 7, 30],
            "since": moments(0, 24, 48),
            "country": ["NL", "Select", None],
            "staff": [12.0, None, 2.5],
            "level": [1, 2, 1],
            "free": [True, False, True],
            "born": moments(-1000, None, -999.5),
        }
    )
    events = pa.table(
        {
            "id": [12, None, 30, 12, 99],
            "cookie": ["a", "a", None, "a", None],
            "occurred_at": moments(5, 1, 60, 7, 9),
            "event_type": ["visit", "visit", "click", "visit", "click"],
            "page": ["pricing", "home", None, "blog", "home"],
            "worth": [1.5, None, 2.0, 0.0, 1.0],
        }
    )
    outcomes = pa.table({"id": [7], "stage": ["Deal"], "at": moments(0), "euro": [1200.0]})
    return leads, events, outcomes


def frames():
    return [table.to_pandas() for table in arrow()]


def as_csv(table, path, name):
    table.to_pandas().to_csv(path / f"{name}.csv", index=False)
    return path / f"{name}.csv"


def as_gzip(table, path, name):
    as_csv(table, path, name)
    (path / f"{name}.csv.gz").write_bytes(gzip.compress((path / f"{name}.csv").read_bytes()))
    return str(path / f"{name}.csv.gz")


def as_parquet(table, path, name):
    pq.write_table(table, path / f"{name}.parquet")
    return path / f"{name}.parquet"


def as_records(table, path, name):
    return [{k: v for k, v in row.items() if v is not None} for row in table.to_pylist()]


def as_json_lines(table, path, name):
    rows = as_records(table, path, name)
    (path / f"{name}.jsonl").write_text("".join(json.dumps(row, default=str) + "\n" for row in rows))
    return path / f"{name}.jsonl"


def as_categorical(table, path, name):
    frame = table.to_pandas()
    return frame.astype(dict.fromkeys(frame.select_dtypes("str").columns, "category"))


SOURCES = {
    "csv": as_csv,
    "csv.gz": as_gzip,
    "parquet": as_parquet,
    "json lines": as_json_lines,
    "records": as_records,
    "pandas": lambda table, path, name: table.to_pandas(),
    "pandas objects": lambda table, path, name: table.to_pandas().astype(object),
    "pandas categorical": as_categorical,
    "polars": lambda table, path, name: pl.from_arrow(table),
    "polars categorical": lambda table, path, name: pl.from_arrow(table).with_columns(
        pl.col(pl.String).cast(pl.Categorical)
    ),
    "pyarrow": lambda table, path, name: table,
    "stream": lambda table, path, name: table.to_reader(max_chunksize=2),
    "duckdb": lambda table, path, name: duckdb.from_arrow(table),
}


def plain(part):
    """Whatever a part of the tables holds, as values that compare."""
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(part).items()}


@pytest.mark.parametrize("source", SOURCES)
def test_the_same_tables_come_out_of_every_source(source, tmp_path):
    given = [SOURCES[source](f, tmp_path, n) for f, n in zip(arrow(), ("l", "e", "o"), strict=True)]
    tables = read_tables(CONTRACT, *given, training=True)
    assert tables.lead_id.tolist() == [12, 7, 30]
    assert tables.lead_id.dtype == np.int64
    assert dict(tables.kinds) == {
        "country": "category",
        "staff": "number",
        "level": "number",
        "free": "category",
        "born": "time",
    }
    assert tables.leads.to_pydict() == {
        "country": ["NL", None, None],
        "staff": [12.0, None, 2.5],
        "level": [1.0, 2.0, 1.0],
        "free": ["True", "False", "True"],
        "born": [START - timedelta(hours=1000), None, START - timedelta(hours=999.5)],
    }
    begin, hour = int(START.timestamp()) * 10**6, 3600 * 10**6
    assert tables.created_at.tolist() == [begin, begin + 24 * hour, begin + 48 * hour]
    events = tables.events
    assert events.lead.tolist() == [0, 0, 2, 0]
    assert events.at.tolist() == [begin + hours * hour for hours in (5, 1, 60, 7)]
    known_at = [begin + hours * hour for hours in (5, 5, 60, 7)]
    known_at[1] += 1  # an anonymous visit, told by an event that counts from just after it occurred
    assert events.known_at.tolist() == known_at
    assert [events.types[code] for code in events.type] == ["visit", "visit", "click", "visit"]
    assert events.content.words == ("blog", "home", "pricing")
    assert events.content.codes.tolist() == [2, 1, -1, 0]
    assert np.array_equal(events.value, [1.5, np.nan, 2.0, 0.0], equal_nan=True)
    assert plain(tables.outcomes)["lead"] == [1]
    assert tables.outcomes.stages[tables.outcomes.stage[0]] == "won"
    assert tables.outcomes.revenue.tolist() == [1200.0]
    assert [(f.table, f.count, f.rows, f.rejected) for f in tables.findings] == [("events", 1, (4,), True)]
    assert tables.end == begin + 60 * hour


def test_nobodys_frame_is_changed():
    leads, events, outcomes = frames()
    read_tables(CONTRACT, leads, events, outcomes, training=True)
    for before, after in zip(frames(), (leads, events, outcomes), strict=True):
        pd.testing.assert_frame_equal(before, after)


def test_a_named_index_is_a_column_and_an_unnamed_one_is_not(tmp_path):
    frame = pd.DataFrame({"id": [5, 6], "staff": [1.0, 2.0]}, index=[9, 8])
    frame.to_parquet(tmp_path / "a.parquet")
    for given in (frame, frame.set_index("id"), frame.set_index(["id", "staff"]), tmp_path / "a.parquet"):
        assert set(read_given(given, "leads", ",").columns) == {"id", "staff"}


def test_mixed_python_values_become_text_and_times_keep_their_offsets():
    east = timezone(timedelta(hours=2))
    rows = [
        {"id": 1, "x": 5, "t": datetime(2024, 5, 1, 10, tzinfo=east)},
        {"id": 2, "x": "five", "t": datetime(2024, 5, 1, 10)},
        {"id": 3, "x": 10.0**10, "t": date(2024, 5, 1)},
        {"id": 4, "x": Decimal("1.5"), "t": pd.NaT},
        {"id": 5, "x": pd.NA, "t": pd.Timestamp("2024-05-01T10:00:00.123456789", tz="UTC")},
        {"id": 6},
    ]
    for given in (
        rows,
        pd.DataFrame({key: [row.get(key) for row in rows] for key in ("id", "x", "t")}, dtype=object),
    ):
        contract = Contract(lead_id="id", timezone="Europe/Paris", kinds={"x": "category", "t": "time"})
        leads = read_tables(contract, given, training=False).leads
        assert leads["x"].to_pylist() == ["5", "five", "10000000000", "1.5", None, None]
        assert [t and t.isoformat() for t in leads["t"].to_pylist()] == [
            "2024-05-01T08:00:00+00:00",
            "2024-05-01T08:00:00+00:00",
            "2024-04-30T22:00:00+00:00",
            None,
            "2024-05-01T10:00:00.123456+00:00",
            None,
        ]


def test_quoted_delimiters_newlines_blank_lines_and_a_byte_order_mark_are_csv(tmp_path):
    (tmp_path / "a.csv").write_bytes('\ufeffid,"no, te"\r\n1,"two\nlines; ""x"""\r\n\r\n2,\r\n'.encode())
    given = read_given(tmp_path / "a.csv", "leads", ",")
    assert given.table.to_pydict() == {"id": ["1", "2"], "no, te": ['two\nlines; "x"', None]}


def test_a_broken_line_is_named_and_the_others_keep_their_places(tmp_path):
    (tmp_path / "a.csv").write_text('id,x\n1,a\n2\n"3\n",c\n4,d,e\n5,f\n')
    given = read_given(tmp_path / "a.csv", "leads", ",")
    assert given.table["id"].to_pylist() == ["1", "3\n", "5"]
    assert given.rows.tolist() == [0, 2, 4]
    (found,) = given.findings
    assert str(found) == "leads: not 2 fields, as the header has: 2 rows left out (1, 3)"
    tables = read_tables(Contract(lead_id="id"), tmp_path / "a.csv", training=False)
    assert tables.position.tolist() == [0, 2, 4]
    assert tables.findings == given.findings


def test_only_wanted_columns_are_read(tmp_path):
    leads, _, _ = arrow()
    for write in SOURCES.values():
        given = read_given(write(leads, tmp_path, "l"), "leads", ",", {"id", "staff", "nowhere"})
        assert sorted(given.columns) == ["id", "staff"]


@pytest.mark.parametrize(
    ("text", "delimiter", "says"),
    [
        ("id;name;city\n1;a;b\n", ",", "expected columns divided by ','"),
        ("id;name;city\n1;a;b\n", ",", "set delimiter to ';' in the config"),
        ("id\tname\n1\ta\n", ",", "set delimiter to a tab in the config"),
        ("id,name\n1,a\n", ";", "set delimiter to ',' in the config"),
        ("id|name\n1|a\n", ",", "set delimiter to '|' in the config"),
        ("", ",", "found an empty file"),
        ("id,id\n1,2\n", ",", "found 'id' twice"),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_a_csv_file_that_cannot_be_meant_is_refused(text, delimiter, says, ending, tmp_path):
    path = tmp_path / f"a.{ending}"
    path.write_bytes(gzip.compress(text.encode()) if ending.endswith("gz") else text.encode())
    with pytest.raises(DataError) as error:
        read_given(path, "leads", delimiter)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", "id,name\n1,Älg\n".encode("latin-1"), "expected CSV text in UTF-8 in a.csv"),
        ("a.csv", "id,name\n1,a\n".encode("utf-16"), "expected CSV text in UTF-8 in a.csv"),
        ("a.csv.gz", b"id,name\n1,a\n", "expected CSV text in UTF-8 in a.csv.gz"),
        (
            "a.csv.gz",
            gzip.compress(b"id,name\n" + b"1,a\n" * 9999, mtime=0)[:50],
            "expected CSV text in UTF-8",
        ),
        ("a.parquet", b"id,name\n1,a\n", "expected Parquet in a.parquet"),
        ("a.jsonl", b'{"id": 1}\n{"id": ', "expected a JSON object in UTF-8 on each line of a.jsonl"),
        ("a.jsonl", b"[1]\n", "expected a JSON object in UTF-8 on each line of a.jsonl"),
        ("a.xlsx", b"PK", "expected a .csv, .csv.gz, .parquet or .jsonl file; found a.xlsx"),
    ],
)
def test_a_file_of_another_kind_is_refused(name, content, says, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"^expected") as error:
        read_given(tmp_path / name, "leads", ",")
    assert says in str(error.value)


def test_a_missing_file_and_a_directory_are_refused(tmp_path):
    with pytest.raises(DataError, match="found no file at"):
        read_given(tmp_path / "none.csv", "leads", ",")
    with pytest.raises(DataError, match="found a directory at"):
        read_given(str(tmp_path), "leads", ",")


@pytest.mark.parametrize("given", [None, 5, {"id": [1]}, ["id"], pl.LazyFrame({"id": [1]}), b"id"])
def test_what_is_no_table_is_refused(given):
    with pytest.raises(UsageError, match=r"^expected"):
        read_given(given, "leads", ",")


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame([[1, 2]], columns=["id", "id"]),
        pa.table([[1], [2]], names=["id", "id"]),
        pd.DataFrame([[1, 2]], columns=[1, "1"]),
    ],
)
def test_columns_of_one_name_are_refused(frame):
    with pytest.raises(DataError, match="twice"):
        read_given(frame, "leads", ",")


def test_a_frame_that_arrow_refuses_is_refused_in_one_line():
    frame = pd.DataFrame({"id": [1], "z": pd.array([1 + 2j])})
    with pytest.raises(DataError, match="expected a frame that Arrow can read as leads; found a DataFrame"):
        read_given(frame, "leads", ",")
