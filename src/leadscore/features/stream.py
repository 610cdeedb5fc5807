"""Event features of logs that do not fit into memory: Parquet files, read piece by piece."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from leadscore.data.columns import is_numeric, is_textual, numbers, texts, times
from leadscore.data.contract import Array, Coded, EventColumns, Events, Floats, Ints
from leadscore.errors import DataError, UsageError, explain, nearest, shown
from leadscore.features.declare import EventFeature
from leadscore.features.kernel import State, taken
from leadscore.features.match import Matcher
from leadscore.features.plan import Plan, plan_of

BUSY = 1_000_000
"""Events of one lead from which it is told apart as busy: rarely a person."""

_BATCH = 2**17  # events read at a time
_READERS = 2
_AHEAD = 4  # batches that may wait

Source: TypeAlias = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class StreamReport:
    """What was read, and what became of the events that do not count.

    Parameters
    ----------
    files, events
        How many were read.
    without_lead, without_time, without_type
        Events left out because they lack it.
    unknown_lead
        Events left out because their lead is not among those asked for.
    later
        Events left out because they lie at the moment or after it, or were known only after it.
    other
        Events of types that no feature names, by type; they count where a feature is about every type.
    negative
        Events with a negative value, which counts as it is.
    busy
        Row of the lead and number of events, for leads with more than `BUSY`: rarely people.
    """

    files: int = 0
    events: int = 0
    without_lead: int = 0
    without_time: int = 0
    without_type: int = 0
    unknown_lead: int = 0
    later: int = 0
    other: Mapping[str, int] = field(default_factory=dict)
    negative: int = 0
    busy: tuple[tuple[int, int], ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence for each kind of event worth a word."""
        others = ", ".join(shown(name, 30) for name in list(self.other)[:5])
        said = (
            (self.without_lead, "without a lead left out"),
            (self.unknown_lead, "of leads that are not in the leads table left out"),
            (self.without_time, "without a time left out"),
            (self.without_type, "without a type left out"),
            (self.later, "at the moment or after it, or known only then, do not count"),
            (sum(self.other.values()), f"of types that no feature names, counted as other: {others}"),
            (self.negative, "with a negative value, which counts as it is"),
            (len(self.busy), f"leads with more than {BUSY:,} events, rarely people"),
        )
        return tuple(
            f"{count:,} {what}" if what.startswith("leads") else f"{count:,} events {what}"
            for count, what in said
            if count
        )


def aggregate_parquet(
    features: Sequence[EventFeature],
    source: Source | Sequence[Source],
    lead_id: Array | pa.Array | Sequence[Any],
    as_of: int | Ints,
    *,
    columns: EventColumns | None = None,
    timezone: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Floats, StreamReport]:
    """Compute event features from Parquet files of any size, in memory that does not grow with them.

    Parameters
    ----------
    features : sequence of EventFeature
        Their order is the order of the columns.
    source : path or sequence of paths
        Files, or folders with Parquet files in them at any depth.
    lead_id : array
        The leads, unique; their order is the order of the rows. Whole numbers or texts.
    as_of : int or int array of shape (leads,)
        UTC microseconds; one a lead, or one for all.
    columns : EventColumns, optional
        The names of the columns; the lead's is ``lead_id`` unless named.
    timezone : str, optional
        Zone of times that carry none.
    progress : callable, optional
        Called now and then with the number of events read and of all there are.

    Returns
    -------
    array of shape (leads, features), float64
        To the last bit what `aggregate` gives for the same events in memory.
    StreamReport

    Raises
    ------
    DataError
        There are no files, one cannot be read, lacks a column or has one of another type than the others;
        or an id occurs twice.
    UsageError
        `columns` names a visitor or an event's id: whose a visit is, and which events came twice, is known
        only once all events have been read.

    Examples
    --------
    >>> import tempfile
    >>> from datetime import UTC, datetime
    >>> noon = datetime(2024, 5, 31, 12, tzinfo=UTC)
    >>> log = pa.table({"lead_id": [7, 7, 9], "event_type": ["call"] * 3, "occurred_at": [noon] * 3})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pq.write_table(log, f"{folder}/log.parquet")
    ...     X, report = aggregate_parquet(
    ...         [EventFeature("count", "call")], folder, [7, 8], int(noon.timestamp() * 1e6) + 1
    ...     )
    >>> X.tolist(), report.events, report.unknown_lead
    ([[2.0], [0.0]], 3, 1)
    """
    named = columns or EventColumns()
    if named.visitor_id is not None:
        do = "read the log with read_tables, which attributes visits, or leave visitor_id out"
        raise UsageError(explain("events by lead", "a visitor_id", do))
    if named.event_id is not None:
        do = "write the log with each event once and leave event_id out, or read it with read_tables"
        raise UsageError(explain("a log with each event once", "an event_id to tell events by", do))
    plan = plan_of(tuple(features))
    known = _known_ids(lead_id)
    moments = np.ascontiguousarray(np.broadcast_to(np.asarray(as_of, np.int64), len(known)))
    paths = _files(source)
    files = _checked(paths, _needed(plan, named))
    reader = _Reader(
        plan, Matcher(known), as_of if isinstance(as_of, int) else moments, files.columns, timezone
    )
    tally, state = _Tally(len(known)), State(plan, moments)
    for path, rows in _ahead(files.pieces, list(files.columns.values()), files.textual):
        batch = reader.batch(rows, path)
        state.lift(batch.events)
        tally.add(batch)
        if progress is not None:
            progress(tally.counts["events"], files.events)
    return state.finish(), tally.report(plan, len(paths))


# -------------------------------------------------------------------------------------------------- the files
class _Piece(NamedTuple):
    """A row group of a file."""

    path: Path
    metadata: pq.FileMetaData
    group: int


class _Files(NamedTuple):
    pieces: list[_Piece]
    events: int
    columns: Mapping[str, str]  # key of EventColumns to the column's name
    textual: list[str]  # columns of words that repeat


def _known_ids(lead_id: Array | pa.Array | Sequence[Any]) -> pa.Array:
    known = lead_id if isinstance(lead_id, pa.Array) else pa.array(lead_id)
    known = known.cast(pa.int64() if pa.types.is_integer(known.type) else pa.string())
    if known.null_count or pc.count_distinct(known).as_py() != len(known):
        found = "nulls among them" if known.null_count else "an id twice"
        raise DataError(explain("unique ids of leads", found, "give each lead once"))
    return known


def _files(source: Source | Sequence[Source]) -> list[Path]:
    """Find the files, in an order that does not depend on the file system."""
    given = [source] if isinstance(source, str | os.PathLike) else list(source)
    found: list[Path] = []
    for path in map(Path, given):
        if not path.exists():
            found_instead = f"nothing at {shown(path, 200)}"
            raise DataError(explain("a Parquet file or a folder of them", found_instead, "correct the path"))
        inside = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
        found += [
            file
            for file in inside
            if not any(part.startswith((".", "_")) for part in file.relative_to(path).parts)
        ]
    if not found:
        raise DataError(explain("Parquet files", "none", "name a file or a folder with *.parquet in it"))
    return found


def _needed(plan: Plan, named: EventColumns) -> dict[str, str]:
    """List the columns that must be read: no others are."""
    needed = {
        "lead_id": named.lead_id or "lead_id",
        "occurred_at": named.occurred_at,
        "event_type": named.event_type,
    }
    reads = {term.measure.has for term in plan.terms}
    wanted = {
        "recorded_at": True,
        "channel": bool(plan.channels),
        "content": bool(plan.contents) or "content" in reads,
        "value": "value" in reads,
    }
    for key, read in wanted.items():
        column = getattr(named, key)
        if read and column is not None:
            needed[key] = column
    return needed


def _checked(paths: list[Path], columns: dict[str, str]) -> _Files:
    """Read what the files say of themselves: the columns must be there, and of one type in all of them."""
    types: dict[str, tuple[str, pa.DataType]] = {}
    pieces: list[_Piece] = []
    events = 0
    for path in paths:
        name = shown(path.name, 100)
        try:
            with pq.ParquetFile(path) as file:
                schema = file.schema_arrow
                events += file.metadata.num_rows
                pieces += [_Piece(path, file.metadata, group) for group in range(file.num_row_groups)]
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from None
        for column in columns.values():
            if schema.get_field_index(column) < 0:
                found = ", ".join(shown(other, 30) for other in schema.names[:8]) + nearest(
                    column, schema.names
                )
                expected = f"a column {shown(column)!r} in {name}"
                raise DataError(explain(expected, found or "none", "correct the name, or leave the file out"))
            kind = schema.field(column).type
            if pa.types.is_null(kind):  # all of it is missing, which fits any type
                continue
            first, before = types.setdefault(column, (name, kind))
            if _sort(kind) != _sort(before):
                expected = f"{before} in column {shown(column)!r} of {name}, as in {first}"
                raise DataError(explain(expected, shown(kind), "write the files with the same types"))
    textual = [column for column, (_, kind) in types.items() if is_textual(kind)]
    return _Files(pieces, events, columns, [name for name in textual if name != columns["lead_id"]])


def _sort(kind: pa.DataType) -> str:
    """Tell types apart that would be read differently: not the width of numbers or the unit of times."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if is_textual(kind):
        return "text"
    if pa.types.is_timestamp(kind):
        return "local time" if kind.tz is None else "time"
    if pa.types.is_integer(kind):
        return "integer"
    return "number" if is_numeric(kind) else str(kind)


# ------------------------------------------------------------------------------------------------ the batches
class _Batch(NamedTuple):
    """Events of known leads, and how many of each kind there were."""

    events: Events
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Reader:
    """Turns what is in the files into events."""

    plan: Plan
    matcher: Matcher
    as_of: Ints | int
    columns: Mapping[str, str]
    timezone: str | None

    def batch(self, batch: pa.RecordBatch, path: Path) -> _Batch:
        column = {key: batch.column(name) for key, name in self.columns.items()}
        lead = self.matcher.rows(column["lead_id"])
        at, timed = self._times(column["occurred_at"], "occurred_at", path)
        kind = _words(column["event_type"])
        keep = (lead >= 0) & timed & (kind.codes >= 0)
        counts = {"events": len(lead)}
        if not keep.all():
            absent = pc.is_null(column["lead_id"]).to_numpy(zero_copy_only=False)
            gone = {
                "without_lead": absent,
                "unknown_lead": (lead < 0) & ~absent,
                "without_time": (lead >= 0) & ~timed,
                "without_type": (lead >= 0) & timed & (kind.codes < 0),
            }
            counts |= {name: int(np.count_nonzero(rows)) for name, rows in gone.items()}
        known_at = None
        if "recorded_at" in column:
            recorded, present = self._times(column["recorded_at"], "recorded_at", path)
            known_at = np.where(present, np.maximum(recorded, at), at)
        everything = Events(
            lead,
            at,
            kind.codes,
            kind.words,
            known_at=known_at,
            value=_floats(column["value"]) if "value" in column else None,
            channel=_words(column["channel"]) if "channel" in column else None,
            content=_words(column["content"]) if "content" in column else None,
        )
        events = everything
        if not keep.all():
            places = np.flatnonzero(keep)
            events = taken(everything, places, lead[places])
        moment = self.as_of if isinstance(self.as_of, int) else self.as_of.take(events.lead)
        late = (
            events.at >= moment
            if events.known_at is None
            else (events.at >= moment) | (events.known_at > moment)
        )
        counts["later"] = int(np.count_nonzero(late))
        if events.value is not None:
            counts["negative"] = int(np.count_nonzero(events.value < 0))
        return _Batch(events, counts)

    def _times(
        self, column: pa.Array, key: str, path: Path
    ) -> tuple[Ints, np.ndarray[Any, np.dtype[np.bool_]]]:
        if pa.types.is_timestamp(column.type) and column.type.tz is not None and not column.null_count:
            us = column.cast(pa.timestamp("us", "UTC"), safe=False).cast(pa.int64())
            return us.to_numpy(), np.ones(len(us), np.bool_)
        found = times(column, self.timezone)
        if found.naive.any():
            name = shown(self.columns[key])
            expected = f"an offset in the times of column {name!r} in {shown(path.name, 100)}"
            raise DataError(explain(expected, "local times", "give timezone, as Europe/Amsterdam"))
        return found.us, found.present


def _words(column: pa.Array) -> Coded:
    """Give words as `coded` does, but in the order of the file, and also those that no event has."""
    packed = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    values = texts(packed.dictionary).to_pylist()
    place = {word: i for i, word in enumerate(dict.fromkeys(word for word in values if word is not None))}
    codes = np.array([*(-1 if word is None else place[word] for word in values), -1], np.int32)
    indices = pc.fill_null(packed.indices, len(values)) if packed.null_count else packed.indices
    return Coded(codes.take(indices.to_numpy()), tuple(place))


def _floats(column: pa.Array) -> Floats:
    """Give numbers, NaN where missing or infinite, as `numbers` does."""
    if pa.types.is_float64(column.type):
        values: Floats = pc.fill_null(column, np.nan).to_numpy()
        if not np.isinf(values).any():
            return values
    found: Floats = pc.fill_null(numbers(column).values, np.nan).to_numpy()
    return found


class _Tally:
    """What the report will say."""

    def __init__(self, leads: int) -> None:
        self.counts: dict[str, int] = {}
        self.types: dict[str, int] = {}
        self.by_lead: Ints = np.zeros(leads, np.int64)

    def add(self, batch: _Batch) -> None:
        events = batch.events
        for name, count in batch.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        found = np.bincount(events.type, minlength=len(events.types))
        for name, count in zip(events.types, found.tolist(), strict=True):
            self.types[name] = self.types.get(name, 0) + count
        np.add.at(self.by_lead, events.lead, 1)

    def report(self, plan: Plan, files: int) -> StreamReport:
        other = {name: count for name, count in self.types.items() if name not in plan.types and count}
        busy = np.flatnonzero(self.by_lead > BUSY)
        return StreamReport(
            files=files,
            other=dict(sorted(other.items(), key=lambda entry: (-entry[1], entry[0]))),
            busy=tuple((int(row), int(self.by_lead[row])) for row in busy),
            **self.counts,
        )


def _ahead(
    pieces: Sequence[_Piece], columns: list[str], textual: list[str]
) -> Iterator[tuple[Path, pa.RecordBatch]]:
    """Read in the background, a few batches ahead of what is being counted: Arrow lets Python go on."""
    todo: Queue[_Piece] = Queue()
    for piece in pieces:
        todo.put(piece)
    ready: Queue[tuple[Path, pa.RecordBatch] | BaseException | None] = Queue(_AHEAD)
    stopped = Event()

    def hand_over(item: tuple[Path, pa.RecordBatch] | BaseException | None) -> None:
        while not stopped.is_set():
            with suppress(Full):
                return ready.put(item, timeout=0.1)

    def work() -> None:
        try:
            while not stopped.is_set():
                for item in _read(todo.get_nowait(), columns, textual):
                    hand_over(item)
                    if stopped.is_set():
                        return
        except Empty:
            hand_over(None)
        except BaseException as error:  # raised again where the batches are taken
            hand_over(error)

    workers = [Thread(target=work, daemon=True) for _ in range(_READERS)]
    for worker in workers:
        worker.start()
    try:
        running = len(workers)
        while running:
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                running -= 1
            else:
                yield item
    finally:
        stopped.set()
        for worker in workers:
            worker.join()


def _read(piece: _Piece, columns: list[str], textual: list[str]) -> Iterator[tuple[Path, pa.RecordBatch]]:
    path, metadata, group = piece
    # Buffered: else a whole column of a row group is read at once, however large.
    try:
        with pq.ParquetFile(path, metadata=metadata, read_dictionary=textual, buffer_size=2**20) as file:
            for batch in file.iter_batches(_BATCH, row_groups=[group], columns=columns, use_threads=False):
                yield path, batch
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> DataError:
    found = f"one that cannot be read ({type(error).__name__})"
    return DataError(explain(f"a Parquet file in {shown(path.name, 100)}", found, "write it again"))
