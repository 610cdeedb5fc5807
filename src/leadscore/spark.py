"""Scores, snapshots and training sets of Spark DataFrames: what one machine does, mapped over buckets.

Rows that matter to each other go to one bucket: a lead, what it did, what came of it, and the visits of the
visitors that it turned out to be. A bucket holds many leads and is read, and scored, as tables of its own.
What no bucket can know by itself is worked out before: whose a visitor was, and when the data end.

Three things are judged bucket by bucket. A text column that should hold numbers or times is refused when
most of it cannot be read in one bucket (typed columns never are). Of events with one id under two leads both
count. Leads with more events than a person could cause are told of one bucket at a time.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial, reduce
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leadscore import errors
from leadscore.data.columns import Times, times
from leadscore.data.contract import ROW_NUMBER, Contract, EventColumns, Ints, Tables
from leadscore.data.readers import Given, missing_column
from leadscore.data.tables import read_tables
from leadscore.errors import DataError, MissingExtraError, UsageError, explain, shown
from leadscore.features.declare import Feature
from leadscore.features.snapshot import Snapshot, training_snapshot
from leadscore.features.snapshot import snapshot as take_snapshot
from leadscore.predict import LeadModel, Moment, load, moment

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

Parts: TypeAlias = Mapping[str, pa.Table]
Work: TypeAlias = Callable[[Parts], pa.Table]

_ALWAYS = -np.iinfo(np.int64).max
_ROW, _TYPE = "(row)", "(type)"
_LINK = ("visitor", "lead", "tells")
_IDS = {"byte": "bigint", "short": "bigint", "integer": "bigint", "long": "bigint"} | dict.fromkeys(
    ("string", "char", "varchar"), "string"
)
_ARROW = {"bigint": pa.int64(), "string": pa.string()}
_NAMES = {kind: name for name, kind in _ARROW.items()}
_DAY = 86_400_000_000  # microseconds
# As `read_tables` has it in training: behind a gap of so many days, by table, rows are in the future of the
# data if they are at most one in so many.
_GAPS, _FEW = {"leads": 30, "events": 30, "outcomes": 180}, 1_000
_DAYS = pa.schema(
    {"table": pa.string(), "day": pa.int64(), "least": pa.int64(), "most": pa.int64(), "rows": pa.int64()}
)
_FINDINGS = pa.schema({"table": pa.string(), "what": pa.string(), "rejected": pa.bool_(), "rows": pa.int64()})


def score(
    model: LeadModel | str | Path,
    leads: "DataFrame",
    events: "DataFrame | None" = None,
    as_of: Moment = None,
    *,
    history: "DataFrame | None" = None,
    buckets: int | None = None,
) -> "DataFrame":
    """Score leads: the numbers of `LeadModel.score`, to the last bit.

    Nothing is computed before an action on the result asks for it.

    Parameters
    ----------
    model : LeadModel or path
        A path is read here, not by the workers.
    leads, events, history : Spark DataFrame
        The tables as the project's config describes them, under their own column names. Ids are integers or
        text. A folder of Parquet or a table is read more than once; cache what is dear to compute.
    as_of : datetime, str or int, optional
        The moment that the score is of; as for `LeadModel.score`.
    buckets : int, optional
        Into how many parts the leads are dealt, by a hash of their ids; a part, with its events, has to fit
        into the memory of one worker. By default ``spark.sql.shuffle.partitions``.

    Returns
    -------
    Spark DataFrame
        lead_id, probability, score, stage, fit, engagement: one row a lead, in no order. `findings` tells
        which rows were left out or mended.

    Raises
    ------
    DataError
        A table lacks a column. What only the rows tell comes up in the action: see `plain_errors`.
    UsageError
        The model needs `as_of` or events and got none, or a table is no Spark DataFrame.
    MissingExtraError
        PySpark is not installed.
    """
    _functions()
    model = model if isinstance(model, LeadModel) else load(model)
    contract = model.bundle.contract
    model.score([], None if events is None else [], as_of)  # refuses here what the workers would refuse
    when = moment(as_of, contract.timezone) if model.needs_time else None
    sides = _deal(contract, {"leads": leads, "events": events, "history": history})
    sent = LeadModel(model.bundle, model.policy)  # without what it has worked out here for itself
    schema = pa.schema(
        {
            "lead_id": sides["leads"].id_type,
            "probability": pa.float64(),
            "score": pa.float64(),
            "stage": pa.string(),
            "fit": pa.float64(),
            "engagement": pa.float64(),
        }
    )

    def scored(parts: Parts) -> pa.Table:
        frame = sent.score(parts["leads"], parts.get("events"), when, history=parts.get("history"))
        return _table(schema, {str(name): values for name, values in frame.items()})

    return _mapped(sides, _with_leads(contract, scored, schema), schema, buckets)


def snapshot(
    leads: "DataFrame",
    events: "DataFrame | None",
    contract: Contract,
    features: Sequence[Feature],
    as_of: Moment,
    *,
    history: "DataFrame | None" = None,
    buckets: int | None = None,
) -> "DataFrame":
    """Take leads as they were at a moment: the X of `leadscore.features.snapshot.snapshot`.

    Parameters
    ----------
    leads, events, history : Spark DataFrame
    contract : Contract
        How the tables read. It names the kind of every field that the features read, as a saved model's
        does; from tables read in memory: ``replace(contract, kinds=tables.kinds)``.
    features : sequence of Feature
    as_of : datetime, str or int or None
        None where no feature needs to know the time.
    buckets : int, optional
        As for `score`.

    Returns
    -------
    Spark DataFrame
        lead_id, as_of (UTC microseconds: ``timestamp_micros`` reads them) and X, a struct with a double or a
        string a feature, null where missing: ``frame.select("lead_id", "X.*")``.

    Raises
    ------
    DataError
        A table lacks a column.
    UsageError
        The contract lacks a kind, or a table is no Spark DataFrame.
    MissingExtraError
        PySpark is not installed.
    """
    when = None if as_of is None else moment(as_of, contract.timezone)
    contract = _narrowed(contract, features)
    sides = _deal(contract, {"leads": leads, "events": events, "history": history})
    schema = pa.schema({"lead_id": sides["leads"].id_type, "as_of": pa.int64(), "X": _x_type(features)})

    def taken(parts: Parts) -> pa.Table:
        rows = take_snapshot(_read(contract, parts), features, when)
        moments = [None] * len(rows.lead_id) if rows.as_of is None else rows.as_of
        return _table(schema, {"lead_id": rows.lead_id, "as_of": moments, "X": _x(rows, features)})

    return _mapped(sides, _with_leads(contract, taken, schema), schema, buckets)


def training_set(
    leads: "DataFrame",
    events: "DataFrame | None",
    outcomes: "DataFrame | None",
    contract: Contract,
    features: Sequence[Feature],
    *,
    ages: Sequence[float],
    horizon: float,
    history: "DataFrame | None" = None,
    buckets: int | None = None,
) -> "DataFrame":
    """Take leads as they were at fixed ages, with what came of them: `training_snapshot` on Spark.

    The tables are read once here, since only all of them together tell when the data end; an action on the
    result reads them again.

    Parameters
    ----------
    leads, events, outcomes, history : Spark DataFrame
        Outcomes may be None where events tell them.
    contract, features
        As for `snapshot`.
    ages : sequence of float
        Days after the lead came in; above 0.
    horizon : float
        Days.
    buckets : int, optional
        As for `score`.

    Returns
    -------
    Spark DataFrame
        lead_id, age (days), as_of and known_at (UTC microseconds), y (1 or 0), mature, X as for `snapshot`.
        Learn from mature rows only, and keep the rows of a lead on one side of a split.

    Raises
    ------
    DataError
        A table breaks the contract.
    UsageError
        The contract lacks a kind or the times of outcomes, or a table is no Spark DataFrame.
    MissingExtraError
        PySpark is not installed.
    """
    contract = replace(_narrowed(contract, features), event_types=())
    given = {"leads": leads, "events": events, "outcomes": outcomes, "history": history}
    _refuse_unlabelled(contract, given)
    sides = _deal(contract, given)
    with plain_errors():
        read = partial(_read_until, contract, _ends(contract, sides))
        end = _end(contract, sides, read, buckets)
    schema = pa.schema(
        {
            "lead_id": sides["leads"].id_type,
            "age": pa.float64(),
            "as_of": pa.int64(),
            "known_at": pa.int64(),
            "y": pa.int8(),
            "mature": pa.bool_(),
            "X": _x_type(features),
        }
    )

    def taken(parts: Parts) -> pa.Table:
        tables = read(parts)
        vars(tables)["end"] = end  # where the cached property keeps it: that of all tables, not of this part
        try:
            rows = training_snapshot(tables, features, ages=ages, horizon=horizon)
        except DataError:  # no lead of this bucket was open at any age
            return schema.empty_table()
        columns = {name: getattr(rows, name) for name in schema.names if name != "X"}
        return _table(schema, {**columns, "X": _x(rows, features)})

    return _mapped(sides, _with_leads(contract, taken, schema), schema, buckets)


def findings(
    model: LeadModel | Contract,
    leads: "DataFrame",
    events: "DataFrame | None" = None,
    outcomes: "DataFrame | None" = None,
    as_of: Moment = None,
    *,
    history: "DataFrame | None" = None,
    buckets: int | None = None,
) -> "DataFrame":
    """Tell what is left out or mended when the tables are read, so that nothing is lost without a word.

    It reads the tables apart from the scores: a row is counted once, however often Spark computes some of
    them again.

    Parameters
    ----------
    model : LeadModel or Contract
        What the tables are read for.
    leads, events, outcomes, history : Spark DataFrame
    as_of : datetime, str or int, optional
        Tell also of the leads that came in at this moment or later.
    buckets : int, optional
        As for `score`.

    Returns
    -------
    Spark DataFrame
        table, what (a sentence in terms of columns), rejected (true: rows left out), rows (how many).

    Raises
    ------
    DataError
        A table lacks a column.
    UsageError
        A table is no Spark DataFrame.
    MissingExtraError
        PySpark is not installed.
    """
    F = _functions()
    contract = model.bundle.contract if isinstance(model, LeadModel) else model
    when = None if as_of is None else moment(as_of, contract.timezone)
    names = _FINDINGS.names
    given = {"leads": leads, "events": events, "outcomes": outcomes, "history": history}
    sides = _deal(contract, given)

    def told(parts: Parts) -> pa.Table:
        tables = _read(contract, parts)
        found = [(one.table, one.what, one.rejected, one.count) for one in tables.findings]
        if when is not None and tables.created_at is not None:
            late = int((tables.created_at >= when).sum())
            found += [("leads", "created at or after the moment", True, late)] if late else []
        return pa.Table.from_pylist([dict(zip(names, one, strict=True)) for one in found], _FINDINGS)

    counted = _mapped(sides, told, _FINDINGS, buckets)
    return counted.groupBy(*names[:-1]).agg(F.sum("rows").alias("rows"))


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn what the workers refuse into the one line that is said on one machine.

    Raises
    ------
    LeadScoreError
        In place of Spark's error, which holds the stack traces of Python and Java. Whatever else Spark says
        passes unchanged.

    Examples
    --------
    It belongs around the action, since nothing is computed before::

        with plain_errors():
            score(model, leads, events, as_of).write.parquet("scores")
    """
    try:
        yield
    except Exception as error:
        told = re.search(r"leadscore\.errors\.(\w+): ([^\n]+)", str(error))
        if told is None:
            raise
        raise getattr(errors, told[1])(told[2].strip()) from None


# -------------------------------------------------------------------------------- what the workers do
def _read(contract: Contract, parts: Parts) -> Tables:
    """Read a bucket; not as in training, where a column is judged as only the whole of it can be."""
    beside = (parts.get(name) for name in ("events", "outcomes", "history"))
    return read_tables(contract, parts["leads"], *beside, training=False)


def _read_until(contract: Contract, ends: Mapping[str, tuple[str, int]], parts: Parts) -> Tables:
    """Read a bucket without the rows that lie in the future of the data."""
    kept = dict(parts)
    for name, (column, end) in ends.items():
        moments = _times(contract, column, parts[name][column])
        kept[name] = parts[name].filter(pa.array(~(moments.present & (moments.us > end))))
    return _read(contract, kept)


def _times(contract: Contract, name: str, column: pa.ChunkedArray | pa.Array) -> Times:
    values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return times(values, contract.timezone, (*contract.missing, *contract.field_missing.get(name, ())))


def _days(
    contract: Contract, table: str, name: str, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Count the moments of each day, with its first and last."""
    for batch in batches:
        found = _times(contract, name, batch.column(0))
        us = np.sort(found.us[found.present])
        day, first, count = np.unique(us // _DAY, return_index=True, return_counts=True)
        least, most = us[first], us[first + count - 1]
        yield pa.record_batch([[table] * len(day), day, least, most, count], schema=_DAYS)


def _with_leads(contract: Contract, work: Work, schema: pa.Schema) -> Work:
    """Skip buckets without leads, and refuse two rows of a lead without naming rows that have no number."""

    def careful(parts: Parts) -> pa.Table:
        leads = parts["leads"]
        if not len(leads):
            return schema.empty_table()
        if not contract.event_log:
            ids = leads[contract.lead_id].drop_null()
            if len(ids.unique()) < len(ids):
                found = f"ids again in column {shown(contract.lead_id)!r}"
                do = "keep one of them, as dropDuplicates does, or set event_log for an event log"
                raise DataError(explain("one row a lead", found, do))
        return work(parts)

    return careful


def _tell(
    contract: Contract, names: Sequence[str], after: int, batches: Iterable[pa.RecordBatch]
) -> Iterator[Any]:
    """Say from when on rows with both ids tell whose the visitor is; a row that does not count tells nothing.

    Visitor and lead stand before the columns that the contract names; each row is read as of another lead.
    """
    for batch in batches:
        ids, rows = batch.columns[:2], pa.table(batch.columns[2:], names=list(names))
        row = pa.array(np.arange(len(rows)))
        if _TYPE not in names and contract.event_columns["event_type"] == _TYPE:
            rows = rows.append_column(_TYPE, pa.array([_TYPE] * len(rows)))
        tables = read_tables(contract, pa.table({_ROW: row}), rows.append_column(_ROW, row), training=False)
        events = tables.events
        assert events is not None  # noqa: S101  # the contract describes them
        known_at = events.at if events.known_at is None else events.known_at
        tells = pa.array(np.maximum(known_at, events.at + after))
        yield pa.record_batch(
            [*(column.take(pa.array(events.lead)) for column in ids), tells], names=list(_LINK)
        )


def _x_type(features: Sequence[Feature]) -> pa.DataType:
    return pa.struct([(f.name, pa.string() if f.categories else pa.float64()) for f in features])


def _x(rows: Snapshot, features: Sequence[Feature]) -> pa.Array:
    kind = _x_type(features)
    columns = [pa.array(rows.X[field.name], from_pandas=True).cast(field.type) for field in kind]
    return pa.StructArray.from_arrays(columns, fields=list(kind))


def _table(schema: pa.Schema, columns: Mapping[str, Any]) -> pa.Table:
    given = [(columns[field.name], field.type) for field in schema]
    return pa.table([v if isinstance(v, pa.Array) else pa.array(v, kind) for v, kind in given], schema=schema)


def _split(columns: Mapping[str, Sequence[str]], *dealt: pa.Table) -> Parts:
    """Give the tables of a bucket: the events are the last of two, the others are stacked in the first."""
    parts = {}
    for name, names in columns.items():
        own = dealt[-1] if name == "events" else dealt[0].filter(pc.equal(dealt[0]["table"], name))
        parts[name] = own.select([f"{name}{i}" for i in range(len(names))]).rename_columns(list(names))
    return parts


# ------------------------------------------------------------------------------ from tables to buckets
@dataclass(frozen=True, slots=True)
class _Side:
    """A table on its way: its columns bear numbers, so that no name can clash with another."""

    name: str
    columns: tuple[str, ...]
    lead_id: str
    id_type: pa.DataType
    frame: "DataFrame"

    def __getitem__(self, name: str) -> "Column":
        column: Column = _functions().col(f"{self.name}{self.columns.index(name)}")
        return column


def _deal(contract: Contract, given: "Mapping[str, DataFrame | None]") -> dict[str, _Side]:
    """Check the tables as far as their columns tell; rows of one "key" will come into one bucket."""
    F = _functions()
    _refuse_global(contract)
    sides = {name: _side(contract, name, frame) for name, frame in given.items() if frame is not None}
    log = "events" if "events" in sides or not contract.event_log else "leads"
    keyed = {}
    for name, side in sides.items():
        if name == log and "visitor_id" in contract.event_columns:
            frame = _visits_sent_home(contract, side, sides["leads"])
        else:
            frame = side.frame.withColumn("key", F.coalesce(_key(side[side.lead_id]), F.lit("")))
        keyed[name] = replace(side, frame=frame)
    return keyed


def _side(contract: Contract, name: str, frame: Any) -> _Side:
    """Select what a table is read for, and refuse what the columns tell to be unreadable."""
    from pyspark.sql import DataFrame

    F = _functions()
    if not isinstance(frame, DataFrame):
        do = "pass any other table to leadscore.predict"
        raise UsageError(explain(f"a Spark DataFrame as {name}", type(frame).__name__, do))
    if getattr(contract, name, contract) is None:
        expected = f"no {name} table, as the contract describes none"
        raise UsageError(explain(expected, "one", f"describe its columns under {name}"))
    lead_id, columns, visitor = _named(contract, name, frame.columns)
    for column in columns:
        if column not in frame.columns:
            header = Given(name, pa.table({}), np.arange(0), tuple(frame.columns))
            raise missing_column(column, header, "add it, or correct the contract")
        if frame.columns.count(column) > 1:
            found = f"{shown(column)!r} twice"
            raise DataError(explain(f"columns with different names in the {name} table", found, "rename one"))
    for column in {lead_id, visitor or lead_id}:
        kind = frame.schema[column].dataType.typeName()
        if kind not in _IDS:
            expected = f"integers or text in column {shown(column)!r} of the {name} table"
            raise DataError(explain(expected, kind, "cast it to bigint or string"))
    id_type = _ARROW[_IDS[frame.schema[lead_id].dataType.typeName()]]
    numbered = frame.toDF(*(f"c{i}" for i in range(len(frame.columns))))
    places = enumerate(frame.columns.index(column) for column in columns)
    selected = numbered.select(*(F.col(f"c{place}").alias(f"{name}{i}") for i, place in places))
    return _Side(name, columns, lead_id, id_type, selected)


def _named(contract: Contract, name: str, header: Sequence[str]) -> tuple[str, tuple[str, ...], str | None]:
    """Give the column of the lead's id, all columns that the table is read for, and that of the visitor."""
    lead_id, visitor, own = contract.lead_id, None, list[str | None]()
    events, beside = contract.event_columns, getattr(contract, name, None)
    if name == "leads":
        own = [contract.created_at, contract.visitor_id, *contract.kinds]
        visitor = contract.visitor_id
    if name == "events" or (name == "leads" and contract.event_log and events["event_type"] in header):
        lead_id, visitor = events["lead_id"], events.get("visitor_id")
        own += events.values()
    elif beside is not None:
        lead_id = beside.lead_id or lead_id
        own += [value for value in asdict(beside).values() if isinstance(value, str)]
    return lead_id, tuple(dict.fromkeys(name for name in (lead_id, *own) if name is not None)), visitor


def _visits_sent_home(contract: Contract, log: _Side, leads: _Side) -> "DataFrame":
    """Send the visits of a visitor to the lead that it turned out to be, as the reader will find it there."""
    F = _functions()
    visitor = log[contract.event_columns["visitor_id"]]
    owners = _owners(contract, log, leads)
    lead = _key(log[log.lead_id])
    known = log.frame.filter(lead.isNotNull()).withColumn("key", lead)
    visits = log.frame.filter(lead.isNull()).withColumn("visitor", visitor.cast("string"))
    home = visits.join(owners, "visitor", "left")
    home = home.withColumn("key", F.coalesce("owner", "visitor", F.lit(""))).drop("owner", "visitor")
    return known.unionByName(home)


def _owners(contract: Contract, log: _Side, leads: _Side) -> "DataFrame":
    """Find the lead of each visitor: that of the earliest known row with both ids, the least of several."""
    F = _functions()
    # An event counts from just after it occurred: only then does it tell whose the earlier visits were.
    told = [_links(contract, log, contract.event_columns, after=1)]
    if contract.visitor_id is not None:
        named = {"visitor_id": contract.visitor_id, "lead_id": leads.lead_id}
        told.append(_links(contract, leads, {**named, "occurred_at": contract.created_at}, after=0))
    if log.id_type != leads.id_type:
        told = [links.withColumn("lead", F.col("lead").cast("string")) for links in told]
    every = reduce(lambda a, b: a.unionByName(b), told)
    first = every.groupBy("visitor").agg(F.min(F.struct("tells", "lead")).alias("first"))
    return first.select("visitor", _key(F.col("first.lead")).alias("owner"))


def _links(contract: Contract, side: _Side, columns: Mapping[str, str | None], *, after: int) -> "DataFrame":
    """List visitor, lead and the moment that tells, for rows that have all three."""
    F = _functions()
    visitor, lead = side[str(columns["visitor_id"])].cast("string"), side[str(columns["lead_id"])]
    lead = lead.cast(_NAMES[side.id_type])
    both = side.frame.filter(_key(visitor).isNotNull() & _key(lead).isNotNull())
    if columns["occurred_at"] is None:
        return both.select(visitor, lead, F.lit(_ALWAYS)).toDF(*_LINK)
    read = {key: name for key in ("occurred_at", "event_type", "recorded_at") if (name := columns.get(key))}
    alone = Contract(
        lead_id=_ROW,
        events=EventColumns(**{"event_type": _TYPE, **read}),
        timezone=contract.timezone,
        missing=contract.missing,
        field_missing=contract.field_missing,
    )
    rows = both.select(visitor, lead, *(side[name] for name in read.values()))
    schema = _spark_schema(
        side.frame, pa.schema(dict(zip(_LINK, (pa.string(), side.id_type, pa.int64()), strict=True)))
    )
    return rows.mapInArrow(partial(_tell, alone, tuple(read.values()), after), schema)


def _mapped(sides: Mapping[str, _Side], work: Work, schema: pa.Schema, buckets: int | None) -> "DataFrame":
    """Give each bucket's tables to `work`, and stack what it makes of them."""
    F = _functions()
    like = sides["leads"].frame
    bucket = F.pmod(F.xxhash64("key"), F.lit(buckets or _shuffle_partitions(like)))
    columns = {name: side.columns for name, side in sides.items()}
    dealt = {name: side.frame.withColumn("bucket", bucket).drop("key") for name, side in sides.items()}
    tagged = [frame.withColumn("table", F.lit(name)) for name, frame in dealt.items() if name != "events"]
    people = reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), tagged).groupBy("bucket")
    out = _spark_schema(like, schema)
    if "events" not in dealt:
        return people.applyInArrow(lambda one: work(_split(columns, one)), out)
    events = dealt["events"].groupBy("bucket")
    return people.cogroup(events).applyInArrow(lambda one, other: work(_split(columns, one, other)), out)


def _ends(contract: Contract, sides: Mapping[str, _Side]) -> dict[str, tuple[str, int]]:
    """Find the last moment of each table that has rows in the future of the data, and the column it is in."""
    F = _functions()
    columns = {"leads": contract.created_at, "outcomes": contract.outcomes.at if contract.outcomes else None}
    log = None
    if contract.events is not None:
        log = "events" if "events" in sides else "leads"
        columns[log] = contract.events.occurred_at
    timed = {name: column for name, column in columns.items() if name in sides and column is not None}
    counted = []
    for name, column in timed.items():
        side = sides[name]
        rows = side.frame if name == log else side.frame.filter(_key(side[side.lead_id]).isNotNull())
        schema = _spark_schema(side.frame, _DAYS)
        counted.append(rows.select(side[column]).mapInArrow(partial(_days, contract, name, column), schema))
    every = reduce(lambda a, b: a.unionByName(b), counted).groupBy("table", "day")
    sums = every.agg(F.min("least"), F.max("most"), F.sum("rows")).orderBy("table", "day").collect()
    ends: dict[str, tuple[str, int]] = {}
    for name, column in timed.items():
        days = np.array([row[2:] for row in sums if row[0] == name], np.int64).reshape(-1, 3)
        if (end := _last(days, _GAPS["events" if name == log else name])) is not None:
            ends[name] = column, end
    return ends


def _last(days: Ints, gap: int) -> int | None:
    """Find where the data end, from each day's first and last moment and count; None: at the very last."""
    least, most, rows = days.T
    after = rows.sum() - rows.cumsum()
    far = (least[1:] - most[:-1] > gap * _DAY) & (after[:-1] <= rows.sum() // _FEW)
    return int(most[far.argmax()]) if far.any() else None


def _end(
    contract: Contract, sides: Mapping[str, _Side], read: Callable[[Parts], Tables], buckets: int | None
) -> int:
    """Find the latest time that counts in any table."""
    schema = pa.schema({"end": pa.int64()})

    def latest(parts: Parts) -> pa.Table:
        return _table(schema, {"end": [read(parts).end]})

    ends = _mapped(sides, _with_leads(contract, latest, schema), schema, buckets)
    end = ends.agg(_functions().max("end")).collect()[0][0]
    if end is None:
        raise DataError(explain("at least one lead", "none", "check the leads table"))
    return int(end)


def _key(column: "Column") -> "Column":
    """Give what equal ids have in common, whatever their types; null where there is none."""
    F = _functions()
    text = column.cast("string")
    key: Column = F.when(text.rlike(r"(?U)\S"), F.regexp_replace(text, r"\.0$", ""))
    return key


def _narrowed(contract: Contract, features: Sequence[Feature]) -> Contract:
    """Read only what the features read: what a field is, no bucket can tell by itself."""
    read = dict.fromkeys(name for feature in features for name in feature.reads)
    for name in read:
        if name not in contract.kinds:
            do = "take a model's contract, or replace(contract, kinds=tables.kinds)"
            raise UsageError(explain(f"the kind of field {shown(name)!r} in the contract", "none", do))
    return replace(contract, kinds={name: contract.kinds[name] for name in read}, ignore=())


def _refuse_global(contract: Contract) -> None:
    """Refuse what would need all rows in one place."""
    if contract.lead_id == ROW_NUMBER:
        do = "add a column of ids and name it as lead_id"
        raise UsageError(explain("ids of the leads, as rows have no numbers on Spark", "none", do))
    if contract.identity is not None:
        do = "merge the leads before, and leave identity out of the contract"
        raise UsageError(explain("leads that each stand for themselves on Spark", "identity", do))
    if contract.visitor_id is not None and contract.created_at is None and contract.event_log:
        expected = "created_at beside visitor_id of the leads on Spark"
        raise UsageError(explain(expected, "none", "name the column of the moment the lead came in"))


def _refuse_unlabelled(contract: Contract, given: "Mapping[str, DataFrame | None]") -> None:
    """Refuse training on what does not tell when what came of the leads."""
    if not (contract.outcomes or contract.outcome_events):
        do = "read a wide table on one machine: read_tables(contract, leads.toArrow(), training=True)"
        raise UsageError(explain("outcomes with their times", "none in the contract", do))
    if contract.created_at is None and not contract.event_log:
        do = "name the column of the moment the lead came in as created_at"
        raise UsageError(explain("the moment each lead came in", "outcomes without it", do))
    for name, frame in given.items():
        if frame is None and getattr(contract, name, None) is not None:
            if name == "events" and contract.event_log:
                continue
            do = f"pass it, or remove {name} from the contract"
            raise UsageError(explain(f"the {name} table that the contract describes", "none", do))


def _spark_schema(like: "DataFrame", schema: pa.Schema) -> Any:
    """Say in Spark's terms what columns there will be."""
    return like.sparkSession.createDataFrame(schema.empty_table()).schema


def _shuffle_partitions(frame: "DataFrame") -> int:
    return int(frame.sparkSession.conf.get("spark.sql.shuffle.partitions") or 1)


def _functions() -> Any:
    """Give PySpark's functions of columns, or say how to get it."""
    try:
        return import_module("pyspark.sql.functions")
    except ModuleNotFoundError:
        do = "pip install 'leadscore[spark]'"
        raise MissingExtraError(
            explain("PySpark, to work on Spark DataFrames", "none installed", do)
        ) from None
