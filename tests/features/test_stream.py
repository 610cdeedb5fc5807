"""Logs in Parquet: what is refused, what is left out and counted, and that memory stays flat."""

import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadscore.data.contract import Contract, EventColumns
from leadscore.data.tables import read_tables
from leadscore.errors import DataError, UsageError
from leadscore.features import stream
from leadscore.features.declare import EventFeature
from leadscore.features.kernel import aggregate
from leadscore.features.match import Matcher
from leadscore.features.plan import DAY, plan_of
from leadscore.features.stream import aggregate_parquet

NOW = 20_000 * DAY
COUNT = (EventFeature("count", "call"), EventFeature("count", None))
SUM = (*COUNT, EventFeature("sum", "call"))
VALUE = EventColumns(value="value")


def log(lead, ages=None, kinds=None, value=None, unit="us", **more):
    ages = [1] * len(lead) if ages is None else ages
    at = pa.array([None if age is None else NOW - age * DAY for age in ages], pa.int64())
    at = at.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp(unit, "UTC"))
    columns = {"lead_id": lead, "occurred_at": at, "event_type": kinds or ["call"] * len(lead), **more}
    return pa.table(columns if value is None else {**columns, "value": value})


def write(folder, *tables, row_group_size=None):
    for i, table in enumerate(tables):
        pq.write_table(table, folder / f"part-{i}.parquet", row_group_size=row_group_size)
    return folder


# -------------------------------------------------------------------------------------- left out and counted
def test_what_does_not_count_is_counted(tmp_path):
    table = log(
        [7, 9, None, 7, 7, 7, 7, 7],
        ages=[1, 1, 1, None, 1, 0, -3, 2],
        kinds=["call", "call", "call", "call", None, "call", "call", "zap"],
        value=[-2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 4.0],
    )
    found, report = aggregate_parquet(SUM, write(tmp_path, table), [7, 8], NOW, columns=VALUE)
    assert found.tolist() == [[1, 2, -2], [0, 0, 0]]
    assert report == stream.StreamReport(
        files=1, events=8, without_lead=1, unknown_lead=1, without_time=1, without_type=1, later=2,
        other={"zap": 1}, negative=1,
    )  # fmt: skip
    said = "\n".join(report.notes)
    for words in ("1 events without a lead", "of leads that are not", "without a time", "2 events at", "zap"):
        assert words in said


def test_recorded_later_is_not_known(tmp_path):
    recorded = pa.array([NOW, NOW + 1, None], pa.int64()).cast(pa.timestamp("us", "UTC"))
    folder = write(tmp_path, log([7, 7, 7], recorded_at=recorded))
    found, report = aggregate_parquet(
        COUNT, folder, [7], NOW, columns=EventColumns(recorded_at="recorded_at")
    )
    assert found[0, 0] == 2
    assert report.later == 1


def test_each_lead_has_its_own_moment(tmp_path):
    folder = write(tmp_path, log([7, 7, 8, 8], ages=[1, 3, 1, 3]))
    found, report = aggregate_parquet(COUNT, folder, [8, 7], np.array([NOW, NOW - 2 * DAY]))
    assert found[:, 0].tolist() == [2, 1]
    assert report.later == 1


def test_infinite_and_missing_values_are_no_values(tmp_path):
    folder = write(tmp_path, log([7, 7, 7], value=[np.inf, 1.5, None]))
    mean = (EventFeature("mean", "call"),)
    assert aggregate_parquet(mean, folder, [7], NOW, columns=VALUE)[0].tolist() == [[1.5]]


def test_a_bot_is_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "BUSY", 50)
    folder = write(tmp_path, log([8] * 51 + [9] * 50))
    found, report = aggregate_parquet(COUNT, folder, [7, 8, 9], NOW)
    assert report.busy == ((1, 51),)
    assert "1 leads with more than 50 events" in report.notes[0]
    assert found[:, 0].tolist() == [0, 51, 50]


# -------------------------------------------------------------------------------------------------- the files
def test_empty_files_and_row_groups_of_any_size(tmp_path):
    table = log([7] * 100)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    write(tmp_path / "deep" / "er", table, row_group_size=7)
    write(tmp_path, table.slice(0, 0), table)
    (tmp_path / "_SUCCESS.parquet").touch()
    seen = []
    found, report = aggregate_parquet(
        COUNT, tmp_path, [7], NOW, progress=lambda done, all: seen.append((done, all))
    )
    assert found[0, 0] == 200
    assert report.files == 3
    assert seen[-1] == (200, 200)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    one = aggregate_parquet(COUNT, tmp_path / "part-1.parquet", [7], NOW)[0]
    several = aggregate_parquet(COUNT, [tmp_path / "part-1.parquet", tmp_path / "deep"], [7], NOW)[0]
    assert [one[0, 0], several[0, 0]] == [100, 200]


def test_nothing_but_an_empty_file(tmp_path):
    found, report = aggregate_parquet(COUNT, write(tmp_path, log([7]).slice(0, 0)), [7], NOW)
    assert found.tolist() == [[0, 0]]
    assert report.notes == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lead_id": ["7"]}, "int64 in column .lead_id. of part-1.parquet, as in part-0.parquet; found str"),
        ({"event_type": [3]}, "expected string in column 'event_type' of part-1.parquet"),
        ({"occurred_at": ["2024-01-01"]}, "found string"),
        ({"occurred_at": pa.array([0]).cast(pa.timestamp("us"))}, r"found timestamp\[us\]"),
        ({"value": ["1"]}, "double in column 'value' of part-1.parquet, as in part-0.parquet; found string"),
    ],
)  # fmt: skip
def test_files_that_differ(tmp_path, change, words):
    table = log([7], value=[1.0])
    other = pa.table({name: change.get(name, table[name]) for name in table.column_names})
    with pytest.raises(DataError, match=words):
        aggregate_parquet(SUM, write(tmp_path, table, other), [7], NOW, columns=VALUE)


def test_a_column_that_one_file_lacks(tmp_path):
    folder = write(tmp_path, log([7], value=[1.0]), log([7]))
    with pytest.raises(DataError, match=r"a column 'value' in part-1.parquet; found lead_id, occurred_at"):
        aggregate_parquet(SUM, folder, [7], NOW, columns=VALUE)
    assert aggregate_parquet(COUNT, folder, [7], NOW, columns=VALUE)[0][0, 0] == 2  # nothing reads it


def test_types_that_say_the_same(tmp_path):
    """Units of times, widths of numbers and ways to store words may differ."""
    narrow = log(pa.array([7], pa.int32()), unit="ms", value=pa.array([2.5], pa.float32()))
    packed = log([7], value=[1.0])
    packed = packed.set_column(2, "event_type", packed["event_type"].dictionary_encode())
    folder = write(tmp_path, log([7], value=[1.0]), narrow, packed)
    found, _ = aggregate_parquet(SUM, folder, [7], NOW, columns=VALUE)
    assert found.tolist() == [[3, 3, 4.5]]


def test_columns_of_which_all_is_missing(tmp_path):
    """As pandas writes them: without a type of their own."""
    names = {"value": pa.array([2.5]), "content": pa.array(["/a"])}
    whole = log([7], **names)
    features = (*SUM, EventFeature("count", "call", content="/a"))
    columns = EventColumns(value="value", content="content")
    for i, gone in enumerate((["value", "content"], ["lead_id"], ["occurred_at"], ["event_type"])):
        part = whole
        for name in gone:
            part = part.set_column(part.column_names.index(name), name, pa.nulls(1))
        pq.write_table(part, tmp_path / f"{i}.parquet")
    pq.write_table(whole, tmp_path / "whole.parquet")
    found, report = aggregate_parquet(features, tmp_path, [7], NOW, columns=columns)
    assert found.tolist() == [[2, 2, 2.5, 1]]
    assert (report.without_lead, report.without_time, report.without_type) == (1, 1, 1)


def test_broken_and_absent_files(tmp_path):
    with pytest.raises(DataError, match="nothing at"):
        aggregate_parquet(COUNT, tmp_path / "none", [7], NOW)
    with pytest.raises(DataError, match="expected Parquet files; found none"):
        aggregate_parquet(COUNT, tmp_path, [7], NOW)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no PAR1")
    with pytest.raises(DataError, match=r"a Parquet file in bad\.parquet; found one that cannot be read"):
        aggregate_parquet(COUNT, tmp_path, [7], NOW)


def test_damaged_within(tmp_path):
    """An error while reading in the background comes out, and no thread stays behind."""
    rng = np.random.default_rng(0)
    path = write(tmp_path, log(rng.integers(0, 9, 50_000))) / "part-0.parquet"
    data = bytearray(path.read_bytes())
    data[4:2000] = rng.bytes(1996)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a Parquet file in part-0.parquet; found one that cannot be read"):
        aggregate_parquet(COUNT, tmp_path, [7], NOW)


def test_local_times_need_a_zone(tmp_path):
    table = log([7])
    local = table.set_column(1, "occurred_at", pa.array([datetime(2024, 7, 1, 12)], pa.timestamp("us")))
    folder = write(tmp_path, local)
    with pytest.raises(DataError, match=r"an offset in the times of column 'occurred_at' in part-0\.parquet"):
        aggregate_parquet(COUNT, folder, [7], NOW)
    noon = int(datetime(2024, 7, 1, 10, tzinfo=UTC).timestamp() * 1e6)
    for moment, count in ((noon, 0), (noon + 1, 1)):
        found, _ = aggregate_parquet(COUNT, folder, [7], moment, timezone="Europe/Amsterdam")
        assert found[0, 0] == count


def test_ids_are_unique_and_events_are_known_by_themselves(tmp_path):
    folder = write(tmp_path, log([7]))
    with pytest.raises(DataError, match="unique ids of leads; found an id twice"):
        aggregate_parquet(COUNT, folder, [7, 7], NOW)
    with pytest.raises(DataError, match="nulls among them"):
        aggregate_parquet(COUNT, folder, [7, None], NOW)
    with pytest.raises(UsageError, match="visitor_id"):
        aggregate_parquet(COUNT, folder, [7], NOW, columns=EventColumns(visitor_id="cookie"))
    with pytest.raises(UsageError, match="each event once"):
        aggregate_parquet(COUNT, folder, [7], NOW, columns=EventColumns(event_id="number"))


@pytest.mark.parametrize(("ids", "leads"), [(["7", "x", "8"], [7, 8]), ([7, 9, 8], ["7", "8"])])
def test_ids_of_two_types(tmp_path, ids, leads):
    found, report = aggregate_parquet(COUNT, write(tmp_path, log(ids)), leads, NOW)
    assert found[:, 0].tolist() == [1, 1]
    assert report.unknown_lead == 1


# ------------------------------------------------------------------------------------------------- the same
def test_equals_the_tables_door(tmp_path):
    """The other way in: everything read into memory, judged row by row."""
    rng, size = np.random.default_rng(4), 3000
    table = pa.table(
        {
            "lead_id": pa.array([f"L{i}" for i in rng.integers(0, 60, size)]),
            "occurred_at": pa.array(NOW - rng.integers(-DAY, 90 * DAY, size)).cast(pa.timestamp("us", "UTC")),
            "event_type": pa.array(rng.choice(["call", " call", "open", "zap", ""], size)),
            "value": pa.array(rng.choice([1.5, -3.25, np.nan, np.inf], size)),
            "content": pa.array(rng.choice(["/a", "/b", None], size)),
        }
    )
    features = (
        *SUM,
        EventFeature("decayed_count", "call", half_life=7),
        EventFeature("distinct_contents", None),
        EventFeature("count", "open", content="/a"),
    )
    columns = EventColumns(value="value", content="content")
    pq.write_table(table, tmp_path / "log.parquet", row_group_size=700)
    leads = [f"L{i}" for i in range(50)]
    found, report = aggregate_parquet(features, tmp_path, leads, NOW, columns=columns)
    contract = Contract("lead_id", events=columns)
    tables = read_tables(contract, pa.table({"lead_id": leads}), table, training=False)
    assert found.tobytes() == aggregate(plan_of(features), tables.events, np.full(50, NOW)).tobytes()
    left_out = sum(finding.count for finding in tables.findings if finding.rejected)
    assert (
        left_out == report.without_lead + report.unknown_lead + report.without_time + report.without_type > 0
    )


WORDS = st.text(st.sampled_from("a\0é7-"), max_size=20)


@settings(deadline=None)
@given(st.sets(WORDS, min_size=1), st.lists(st.one_of(st.none(), WORDS)))
def test_matching_texts(known, wanted):
    known = sorted(known)
    expected = [known.index(word) if word in known else -1 for word in wanted]
    array = pa.array(["skipped", *wanted], pa.string()).slice(1)
    assert Matcher(pa.array(known)).rows(array).tolist() == expected
    assert Matcher(pa.array(known)).rows(array.dictionary_encode()).tolist() == expected


NUMBERS = st.one_of(
    st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1), st.builds(lambda i: i << 40, st.integers(0, 99))
)


@settings(deadline=None)
@given(st.sets(NUMBERS), st.lists(st.one_of(st.none(), NUMBERS)))
def test_matching_numbers(known, wanted):
    known = sorted(known)
    expected = [known.index(number) if number in known else -1 for number in wanted]
    assert Matcher(pa.array(known, pa.int64())).rows(pa.array(wanted, pa.int64())).tolist() == expected


def test_matching_long_texts():
    known = ["x" * 200, "y", "x" * 199 + "z"]
    assert Matcher(pa.array(known)).rows(pa.array([known[2], "x" * 201, "y", known[0]])).tolist() == [
        2,
        -1,
        1,
        0,
    ]


# ---------------------------------------------------------------------------------------------------- memory
GROW = """
import sys, numpy as np, pyarrow as pa, pyarrow.parquet as pq
from pathlib import Path
from leadscore.data.contract import EventColumns
from leadscore.features.declare import EventFeature
from leadscore.features.stream import aggregate_parquet
folder, pieces = Path(sys.argv[1]), int(sys.argv[2])
day, now, rng = 86_400_000_000, 20_000 * 86_400_000_000, np.random.default_rng(0)
size = 100_000
schema = {"lead_id": pa.int64(), "occurred_at": pa.timestamp("us", "UTC"), "event_type": pa.string()}
with pq.ParquetWriter(folder / "log.parquet", pa.schema(schema)) as writer:
    for _ in range(pieces):
        lead = np.where(rng.random(size) < 0.9, 0, rng.integers(0, 1000, size))
        at = pa.array(now - rng.integers(1, 90 * day, size)).cast(pa.timestamp("us", "UTC"))
        writer.write_table(pa.table({"lead_id": lead, "occurred_at": at, "event_type": ["call"] * size}))
features = [EventFeature(a, "call", window=w) for a in ("count", "active_days") for w in (7, 30, None)]
X, report = aggregate_parquet(features, folder, np.arange(1000), now)
assert report.events == X[:, 2].sum() == pieces * size
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) / 1024, len(report.busy))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak from /proc")
def test_memory_does_not_grow_with_a_bot(tmp_path):
    """Eight times the events, nine in ten of one lead: hardly more."""
    peaks = {}
    for pieces in (8, 64):
        done = subprocess.run(
            [sys.executable, "-c", GROW, str(tmp_path), str(pieces)],
            capture_output=True,
            text=True,
            check=True,
        )
        peak, busy = done.stdout.split()
        peaks[pieces] = float(peak)
    assert busy == "1"
    assert peaks[64] - peaks[8] < 48  # MB; the events alone would be 110
