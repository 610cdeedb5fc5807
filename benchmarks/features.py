"""Event features of many leads and of one, beside Polars, DuckDB and pandas in the same run.

Every way runs in a process of its own, in turns, so that its memory and its caches are its own.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
DAY = 86_400_000_000
AS_OF = 20_000 * DAY
TYPES = (
    "ad_click", "call", "chat", "demo", "download", "email_click",
    "email_open", "form", "page_view", "pricing_view", "purchase", "webinar",
)  # fmt: skip
WINDOWS = (7, 30, 90)
HALF_LIFE = 14
ROW_GROUP = 2**20
SECTION = "## Features"
HUGE = "## Features of 200 million events"
Medians = dict[str, dict[str, float]]  # by way, then "wall", "cpu", "peak"
COUNTS = (*(f"c{days}" for days in WINDOWS), "c", "w")
PARTS = (*COUNTS, "recency", "first_seen", "sum")


# ----------------------------------------------------------------------------------------------------- data
def pieces(events: int, ids: np.ndarray, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Make a log in the order of time: some leads are busy, some types frequent, few events have a value."""
    rng = np.random.default_rng(seed)
    share = np.cumsum(1 / (np.arange(len(TYPES)) + 2.0))
    share = (share / share[-1])[:-1]
    busy = np.cumsum(rng.gamma(0.8, size=len(ids)))
    start, span = AS_OF - 400 * DAY, 410 * DAY  # the last ten days lie ahead of the moment
    for first in range(0, events, ROW_GROUP):
        size = min(ROW_GROUP, events - first)
        moments = start + span * (first + np.sort(rng.random(size)) * size) / events
        value = np.round(rng.lognormal(3, 1, size) * 4) / 4  # sums of quarters are exact everywhere
        value[rng.random(size) < 0.7] = np.nan
        yield {
            "lead": ids[busy.searchsorted(rng.random(size) * busy[-1])],
            "at": moments.astype(np.int64),
            "type": share.searchsorted(rng.random(size)).astype(np.int32),
            "value": value,
            "content": rng.integers(0, 500, size).astype(np.int32),
        }


def lead_ids(leads: int) -> np.ndarray:
    """Make whole numbers with gaps, in no order."""
    return np.random.default_rng(1).choice(2**40, leads, replace=False, shuffle=True)


def as_text(ids: np.ndarray) -> list[str]:
    return [f"lead_{number:013d}" for number in ids.tolist()]


def words(codes: np.ndarray, known: Iterable[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(list(known))).cast(pa.string())


def prepare(place: Path, events: int, leads: int, *, kinds: Iterable[str] = ("integer", "string")) -> None:
    """Write the log as Parquet, in files of ten row groups; once."""
    ids = lead_ids(leads)
    texts = pa.array(as_text(ids))
    order = np.argsort(ids)
    for kind in kinds:
        folder = place / kind
        if (folder / "done").exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        writer: pq.ParquetWriter | None = None
        for number, piece in enumerate(pieces(events, ids)):
            lead = pa.array(piece["lead"])
            if kind == "string":
                lead = texts.take(pa.array(order[ids[order].searchsorted(piece["lead"])]))
            table = pa.table(
                {
                    "event_id": pa.array(np.arange(len(lead)) + number * ROW_GROUP),
                    "lead_id": lead,
                    "event_type": words(piece["type"], TYPES),
                    "occurred_at": pa.array(piece["at"]).cast(pa.timestamp("us", "UTC")),
                    "value": pa.array(piece["value"], from_pandas=True),
                    "content": words(piece["content"], [f"/page/{i}" for i in range(500)]),
                }
            )
            if number % 10 == 0:
                if writer is not None:
                    writer.close()
                writer = pq.ParquetWriter(folder / f"events-{number // 10:04d}.parquet", table.schema)
            writer.write_table(table, row_group_size=ROW_GROUP)
        if writer is not None:
            writer.close()
        (folder / "done").touch()


def features() -> tuple[Any, ...]:
    """Declare about a hundred: eight for each type, six over all types."""
    from leadscore.features.declare import EventFeature

    def of(event: str | None) -> list[EventFeature]:
        return [
            *(EventFeature("count", event, window=days) for days in WINDOWS),
            EventFeature("count", event),
            EventFeature("decayed_count", event, half_life=HALF_LIFE),
            EventFeature("recency", event),
        ]

    each = [
        feature
        for name in TYPES
        for feature in (*of(name), EventFeature("first_seen", name), EventFeature("sum", name))
    ]
    return (*each, *of(None))


# ------------------------------------------------------------------------------------ the ways, from Parquet
Found = tuple[Any, np.ndarray]  # lead ids, and the matrix in the order of features()


def ours_from_parquet(folder: Path, ids: Any) -> Callable[[], Found]:
    from leadscore.data.contract import EventColumns
    from leadscore.features.stream import aggregate_parquet

    wanted = features()

    def run() -> Found:
        return ids, aggregate_parquet(wanted, folder, ids, AS_OF, columns=EventColumns(value="value"))[0]

    return run


def polars_query(frame: Any) -> Any:
    """Group by lead and type first, then widen: the best formulation found."""
    import polars as pl

    age = pl.lit(AS_OF) - pl.col("occurred_at").cast(pl.Int64)
    return (
        frame.select("lead_id", "event_type", "value", age.alias("age"))
        .filter(pl.col("age") > 0)
        .group_by("lead_id", "event_type")
        .agg(
            *((pl.col("age") <= days * DAY).sum().alias(f"c{days}") for days in WINDOWS),
            pl.len().alias("c"),
            (pl.col("age") * (-1 / (HALF_LIFE * DAY)) * np.log(2)).exp().sum().alias("w"),
            pl.col("age").min().alias("recency"),
            pl.col("age").max().alias("first_seen"),
            pl.col("value").sum().alias("sum"),
        )
    )


def polars_widened(grouped: Any) -> Found:
    import polars as pl

    wide = grouped.pivot(on="event_type", index="lead_id", values=list(PARTS))

    def every(part: str) -> list[pl.Expr]:
        columns = [pl.col(f"{part}_{name}") for name in TYPES]
        return [column.fill_null(0) if part in (*COUNTS, "sum") else column / DAY for column in columns]

    columns = [
        column.cast(pl.Float64).alias(f"{part}_{i}") for part in PARTS for i, column in enumerate(every(part))
    ]
    columns = [columns[k * len(TYPES) + i] for i in range(len(TYPES)) for k in range(len(PARTS))]
    overall = [pl.sum_horizontal(every(part)).cast(pl.Float64).alias(part) for part in COUNTS]
    recency = pl.min_horizontal(every("recency")).alias("recency")
    wide = wide.select("lead_id", *columns, *overall, recency)
    return wide["lead_id"].to_numpy(), wide.drop("lead_id").to_numpy()


def polars_from_parquet(folder: Path, _: Any) -> Callable[[], Found]:
    import polars as pl

    def run() -> Found:
        return polars_widened(polars_query(pl.scan_parquet(folder / "*.parquet")).collect(engine="streaming"))

    return run


def duckdb_from_parquet(folder: Path, _: Any) -> Callable[[], Found]:
    import duckdb

    query = duckdb_query(f"read_parquet('{folder}/*.parquet')", "epoch_us(occurred_at)")

    def run() -> Found:
        found = duckdb.connect(config={"threads": os.cpu_count() or 1}).execute(query).fetchnumpy()
        ids = found.pop("lead_id")
        return ids, np.column_stack([np.ma.filled(column.astype(float), np.nan) for column in found.values()])

    return run


def duckdb_query(source: str, at: str) -> str:
    """Group by lead and type first, then widen."""
    counts = ", ".join(f"count(*) filter (age <= {days * DAY}) as c{days}" for days in WINDOWS)
    each = ", ".join(
        f"coalesce(max({part}) filter (event_type = '{name}'), 0)::double as \"{name}_{part}\""
        if part in (*COUNTS, "sum")
        else f"max({part}) filter (event_type = '{name}') / {DAY}.0::double as \"{name}_{part}\""
        for name in TYPES
        for part in PARTS
    )
    overall = ", ".join(f"sum({part})::double as {part}" for part in COUNTS)
    return f"""
        with aged as (
            select lead_id, event_type, value, {AS_OF} - {at} as age from {source}
        ), grouped as (
            select lead_id, event_type, {counts}, count(*) as c,
                sum(exp(age * {-np.log(2) / HALF_LIFE / DAY})) as w,
                min(age) as recency, max(age) as first_seen, sum(value) as sum
            from aged where age > 0 group by all
        )
        select lead_id, {each}, {overall}, min(recency) / {DAY}.0::double as recency
        from grouped group by lead_id
    """


def pandas_from_parquet(folder: Path, _: Any) -> Callable[[], Found]:
    return lambda: pandas_features(pandas_frame(folder))


def pandas_frame(folder: Path) -> Any:
    frame = loaded(folder).unify_dictionaries().to_pandas()
    frame["occurred_at"] = frame["occurred_at"].astype("int64")
    return frame


def pandas_features(frame: Any) -> Found:
    """Columns first, then one grouping by lead and type with built-in sums, then widen."""
    import pandas as pd

    age = AS_OF - frame["occurred_at"]
    known = age > 0
    frame, age = frame[known], age[known]
    parts = pd.DataFrame(
        {
            "lead_id": frame["lead_id"],
            "event_type": frame["event_type"],
            **{f"c{days}": (age <= days * DAY).astype("float64") for days in WINDOWS},
            "c": 1.0,
            "w": np.exp2(age.to_numpy() * (-1 / (HALF_LIFE * DAY))),
            "age": age,
            "sum": frame["value"],
        }
    )
    groups = parts.groupby(["lead_id", "event_type"], sort=False, observed=True)
    grouped = groups[[*COUNTS, "sum"]].sum()
    grouped["recency"] = groups["age"].min() / DAY
    grouped["first_seen"] = groups["age"].max() / DAY
    wide = grouped.unstack("event_type")
    order = [(part, name) for name in TYPES for part in PARTS]
    result = wide[order]
    zero = [key for key in order if key[0] in (*COUNTS, "sum")]
    result = result.fillna(dict.fromkeys(zero, 0.0))
    overall = [result[part].sum(axis=1) for part in COUNTS] + [result["recency"].min(axis=1)]
    return wide.index.to_numpy(), np.column_stack([result.to_numpy(), *overall])


# --------------------------------------------------------------------------------------- the ways, in memory
def loaded(folder: Path) -> pa.Table:
    columns = ["lead_id", "event_type", "occurred_at", "value"]
    paths = sorted(folder.glob("*.parquet"))
    return pa.concat_tables(pq.read_table(p, columns=columns, read_dictionary=["event_type"]) for p in paths)


def ours_in_memory(folder: Path, ids: Any) -> Callable[[], Found]:
    import pyarrow.compute as pc

    from leadscore.data.contract import Events
    from leadscore.features.kernel import aggregate
    from leadscore.features.plan import plan_of

    table = loaded(folder).unify_dictionaries().combine_chunks()
    kind = table["event_type"].chunk(0)
    events = Events(
        lead=pc.index_in(table["lead_id"], value_set=pa.array(ids))
        .combine_chunks()
        .to_numpy()
        .astype(np.int64),
        at=table["occurred_at"].chunk(0).cast(pa.int64()).to_numpy(),
        type=kind.indices.to_numpy(),
        types=tuple(kind.dictionary.to_pylist()),
        value=pc.fill_null(table["value"], np.nan).combine_chunks().to_numpy(),
    )
    del table
    plan, moments = plan_of(features()), np.full(len(ids), AS_OF)
    return lambda: (ids, aggregate(plan, events, moments))


def polars_in_memory(folder: Path, _: Any) -> Callable[[], Found]:
    import polars as pl

    frame = pl.from_arrow(loaded(folder)).with_columns(pl.col("event_type").cast(pl.Enum(TYPES))).rechunk()
    return lambda: polars_widened(polars_query(frame.lazy()).collect(engine="streaming"))


def polars_eager(folder: Path, _: Any) -> Callable[[], Found]:
    import polars as pl

    frame = pl.from_arrow(loaded(folder)).with_columns(pl.col("event_type").cast(pl.Enum(TYPES))).rechunk()
    return lambda: polars_widened(polars_query(frame.lazy()).collect())


def pandas_in_memory(folder: Path, _: Any) -> Callable[[], Found]:
    frame = pandas_frame(folder)
    return lambda: pandas_features(frame)


FROM_PARQUET = {
    "leadscore": ours_from_parquet,
    "Polars streaming": polars_from_parquet,
    "DuckDB": duckdb_from_parquet,
    "pandas": pandas_from_parquet,
}
IN_MEMORY = {
    "leadscore in memory": ours_in_memory,
    "Polars in memory, streaming engine": polars_in_memory,
    "Polars in memory, default engine": polars_eager,
    "pandas in memory": pandas_in_memory,
}


# ------------------------------------------------------------------------------------------------ measuring
def peak_mb() -> float:
    """Give the highest memory of this process: unlike ru_maxrss, without that of its parent."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def run_way(name: str, folder: Path, leads: int, out: Path | None) -> dict[str, float]:
    ids: Any = lead_ids(leads)
    if folder.name == "string":
        ids = np.array(as_text(ids), object)
    run = (FROM_PARQUET | IN_MEMORY)[name](folder, ids)
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    found, matrix = run()
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    peak = peak_mb()
    if out is not None:
        order = np.argsort(np.asarray(found).astype(str), kind="stable")
        np.save(out, matrix[order])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": wall, "cpu": cpu, "peak": peak, "rows": len(matrix)}


def spawn(name: str, folder: Path, leads: int, out: Path | None = None) -> dict[str, float]:
    command = [sys.executable, __file__, "--way", name, "--folder", str(folder), "--leads", str(leads)]
    command += [] if out is None else ["--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def agree(ours: Path, theirs: Path) -> str:
    """Say by how much two matrices differ, or that they do not where both are exact."""
    a, b = np.load(ours), np.load(theirs)
    if a.shape != b.shape:
        has = ~np.isnan(a[:, [j for j in range(a.shape[1]) if j % 8 == 5 and j < 8 * len(TYPES)]]).all(axis=1)
        a = a[has]
    if a.shape != b.shape:
        return f"different shape: {a.shape}, {b.shape}"
    exact = np.array(["decayed" not in feature.aggregate for feature in features()])
    if not np.allclose(a[:, exact], b[:, exact], rtol=1e-15 * 4, atol=0, equal_nan=True):
        bad = [
            f.name
            for f, x, y in zip(features(), a.T, b.T, strict=True)
            if not np.allclose(x, y, 1e-9, 1e-6, True)
        ]
        return f"differ: {bad[:5]}"
    gap = np.abs(a[:, ~exact] - b[:, ~exact]).max(initial=0)
    return f"equal; decayed within {gap:.0e}" if gap < 1e-5 else f"decayed differ by {gap:.1e}"


def compare(ways: list[str], folder: Path, leads: int, rounds: int) -> tuple[Medians, str]:
    """Run each way in each round; give the medians and a table of them."""
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    agrees: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for turn in range(rounds):
            for name in ways:
                out = Path(scratch) / f"{ways.index(name)}.npy" if turn == 0 else None
                taken[name].append(spawn(name, folder, leads, out))
                print(f"{folder.name}, {name}: {taken[name][-1]}", file=sys.stderr, flush=True)
                if out is not None:
                    agrees[name] = "" if name == ways[0] else agree(Path(scratch) / "0.npy", out)
    middle = {
        name: {key: median(run[key] for run in runs) for key in ("wall", "cpu", "peak")}
        for name, runs in taken.items()
    }
    ours = middle[ways[0]]["wall"]
    rows = [
        [
            name,
            f"{m['wall']:.2f}",
            f"{min(run['wall'] for run in taken[name]):.2f} to {max(run['wall'] for run in taken[name]):.2f}",
            f"{m['cpu']:.2f}",
            f"{m['peak']:,.0f}",
            "" if name == ways[0] else f"{ours / m['wall']:.2f}",
            agrees[name],
        ]
        for name, m in middle.items()
    ]
    return middle, table(HEAD, rows)


HEAD = ["way", "wall s", "from to", "CPU s", "peak MB", "ours / this", "numbers"]


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def ratio(medians: Medians, beginnings: tuple[str, ...]) -> float:
    """Divide our wall time by that of the fastest peer whose name begins so."""
    ours, *_ = medians.values()
    return ours["wall"] / min(m["wall"] for name, m in medians.items() if name.startswith(beginnings))


def bar(what: str, found: float, most: float) -> list[str]:
    return [what, f"{most:g}", f"{found:.3g}", "yes" if found <= most else "NO"]


# ------------------------------------------------------------------------------------------------- one lead
def one_lead() -> dict[str, list[float]]:
    """Time a lead of 60 events in microseconds: the kernel alone, and from dicts to the row."""
    from leadscore.data.contract import Contract, EventColumns, Events
    from leadscore.data.records import ShortWay
    from leadscore.features.declare import AttributeFeature
    from leadscore.features.kernel import aggregate
    from leadscore.features.plan import plan_of
    from leadscore.features.single import reading_of

    wanted = features()
    plan = plan_of(wanted)
    rng = np.random.default_rng(3)
    size, moments = 60, np.array([AS_OF])
    at = AS_OF - rng.integers(1, 200 * DAY, size)
    kind = rng.integers(0, len(TYPES), size).astype(np.int32)
    value = np.where(rng.random(size) < 0.7, np.nan, rng.integers(0, 400, size) / 4)
    events = Events(lead=np.zeros(size, np.int64), at=at, type=kind, types=TYPES, value=value)
    contract = Contract(
        "id", events=EventColumns(lead_id="id", value="value"), kinds={"city": "category"}, event_types=TYPES
    )
    way, reading = ShortWay(contract), reading_of((*wanted, AttributeFeature("category", "city", ("Oslo",))))
    records = [
        {
            "id": 7,
            "occurred_at": datetime.fromtimestamp(int(t) / 1e6, UTC).isoformat(),
            "event_type": TYPES[k],
            "value": None if np.isnan(v) else float(v),
        }
        for t, k, v in zip(at, kind, value, strict=True)
    ]

    def from_dicts() -> object:
        one = way.read({"id": 7, "city": "Oslo"}, records)
        assert one is not None
        return reading.row(one, AS_OF)

    def kernel() -> object:
        return aggregate(plan, events, moments)

    found: dict[str, list[float]] = {"kernel": [], "from a list of dicts to the row": []}
    for name, call in zip(found, (kernel, from_dicts), strict=True):
        for _ in range(3000):
            start = time.perf_counter()
            call()
            found[name].append((time.perf_counter() - start) * 1e6)
    return found


# ------------------------------------------------------------------------------------------------ the report
def written(section: str, text: str, path: Path) -> None:
    """Put a section in its place in the document; the others stay as they are."""
    old = path.read_text() if path.exists() else "# Benchmarks\n"
    head, _, rest = old.partition(section + "\n")
    after = rest.find("\n## ")
    tail = rest[after + 1 :] if after >= 0 else ""
    path.parent.mkdir(exist_ok=True)
    path.write_text(head.rstrip() + f"\n\n{section}\n\n{text.strip()}\n" + (f"\n{tail}" if tail else ""))


def machine() -> str:
    cpu = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    names = ("numpy", "pyarrow", "polars", "duckdb", "pandas")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return f"{os.cpu_count()} cores ({cpu}), {memory:.0f} GB; Python {platform.python_version()}, {versions}"


def measured(
    place: Path, only: list[str], leads: int, rounds: int, without: tuple[str, ...]
) -> tuple[list[str], list[list[str]]]:
    """Run what is asked for; give its tables, and what was found beside what is wanted."""
    parts: list[str] = []
    bars: list[list[str]] = []
    for kind in ("integer", "string"):
        if kind in only:
            ways = [name for name in FROM_PARQUET if not name.startswith(without)]
            found, text = compare(ways, place / kind, leads, rounds)
            parts += [f"### From Parquet, {kind} ids", text]
            peers = ratio(found, ("Polars", "DuckDB"))
            bars.append(bar(f"Parquet, {kind} ids: time / faster of Polars and DuckDB", peers, 1))
            bars.append(bar(f"Parquet, {kind} ids: peak GB", found["leadscore"]["peak"] / 1024, 1))
    if "memory" in only:
        ways = [name for name in IN_MEMORY if not name.startswith(without)]
        found, text = compare(ways, place / "integer", leads, rounds)
        parts += ["### Events already in memory, integer ids", text]
        bars += [
            bar(f"in memory: time / {peer}", ratio(found, (peer,)), most)
            for peer, most in (("Polars", 0.5), ("pandas", 0.2))
            if not peer.startswith(without)
        ]
    if "one" in only:
        micros = one_lead()
        rows = [[name, f"{median(t):.0f}", f"{np.quantile(t, 0.95):.0f}"] for name, t in micros.items()]
        parts += ["### One lead with 60 events", table(["from", "median µs", "95 % µs"], rows)]
        bars += [
            bar(f"one lead, {name}: µs", median(t), most)
            for (name, t), most in zip(micros.items(), (60, 300), strict=True)
        ]
    return parts, bars


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 million events, 3 rounds, nothing written")
    parser.add_argument("--huge", action="store_true", help="200 million events instead, leadscore alone")
    parser.add_argument("--only", help="comma-separated: integer, string, memory, one; nothing written")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--date", help="written in the document; by default today")
    parser.add_argument("--without", help="comma-separated beginnings of ways to leave out; nothing written")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--leads", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        print(json.dumps(run_way(given.way, given.folder, given.leads, given.out)))
        return
    day, load = given.date or datetime.now(UTC).date(), os.getloadavg()[0]
    head = f"{machine()}; {day}; load average {load:.1f} when it began."
    events, leads = (2_000_000, 20_000) if given.quick else (20_000_000, 200_000)
    events = 200_000_000 if given.huge else events
    rounds = given.rounds or (3 if given.quick else 5)
    place, page = Path(tempfile.gettempdir()) / "leadscore-benchmarks", ROOT / "docs" / "benchmarks.md"
    place /= f"events-{events}"
    prepare(place, events, leads, kinds=("integer",) if given.huge else ("integer", "string"))
    if given.huge:
        run = spawn("leadscore", place / "integer", leads)
        row = [f"{run['wall']:.1f}", f"{run['cpu']:.1f}", f"{run['peak']:,.0f}", "1,536"]
        text = f"{head}\n\n{table(['leadscore, integer ids: wall s', 'CPU s', 'peak MB', 'at most'], [row])}"
        print(text)
        written(HUGE, text, page)
        return
    only = given.only.split(",") if given.only else ["integer", "string", "memory", "one"]
    without = tuple(given.without.split(",")) if given.without else ()
    parts, bars = measured(place, only, leads, rounds, without)
    what = (
        f"{events:,} events of {leads:,} leads, {len(TYPES)} types, {len(features())} features. "
        f"Median of {rounds} rounds in turns, each way in a process of its own."
    )
    text = "\n\n".join([head, what, table(["bar", "at most", "found", "met"], bars), *parts])
    print(text)
    if not (given.quick or given.only or given.without):
        written(SECTION, text, page)


if __name__ == "__main__":
    main()
