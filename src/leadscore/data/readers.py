"""From whatever a project holds its tables in to one Arrow table, without judging what is in it."""

import csv
import gzip
import json
import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from leadscore.data.columns import is_plain, is_textual, texts
from leadscore.data.contract import Finding, Ints
from leadscore.errors import DataError, UsageError, explain, nearest, shown

_DELIMITERS = {",": "','", ";": "';'", "\t": "a tab", "|": "'|'"}
_UNREADABLE = (pa.ArrowException, OSError, EOFError, UnicodeDecodeError, csv.Error, ValueError)


@dataclass(frozen=True, eq=False)
class Given:
    """One table as it was given.

    Parameters
    ----------
    name
        "leads", "events", "outcomes" or "history": how messages call it.
    table
        Its columns, untyped where the source has no types.
    rows
        The position of each row in what was given; rows that could not even be split are absent.
    header
        The names of all columns, also of those not read.
    typed
        False: everything is text (CSV), and ids that are all integers become integers.
    loose
        True: records, where an absent key is a missing value.
    findings
        The rows that could not be split.
    """

    name: str
    table: pa.Table
    rows: Ints
    header: tuple[str, ...]
    typed: bool = True
    loose: bool = False
    findings: tuple[Finding, ...] = ()

    @cached_property
    def columns(self) -> list[str]:
        """The names of the columns."""
        names: list[str] = self.table.column_names
        return names

    def column(self, name: str, key: str) -> pa.Array:
        """One column; `key` says where a config names it.

        Raises
        ------
        DataError
            There is no such column, and the nearest name is offered; or it holds lists or the like.
        """
        if name in self.columns:
            column = _in_plain_text(self.table.column(name))
            if is_plain(column.type):
                return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
            expected = f"single values in column {shown(name)!r} of the {self.name} table"
            raise DataError(explain(expected, shown(column.type), "convert the column to text"))
        if not len(self.rows):
            return pa.nulls(0)
        raise missing_column(name, self, f"add it, or correct {key} in the config")

    def optional(self, name: str, key: str) -> pa.Array:
        """As `column`, but records need not have the key."""
        if self.loose and name not in self.columns:
            return pa.nulls(len(self.rows))
        return self.column(name, key)


def _in_plain_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Give text in the one of Arrow's three kinds of text that all its functions know."""
    if is_textual(column.type):
        return column.cast(pa.string())
    if pa.types.is_dictionary(column.type) and is_textual(column.type.value_type):
        parts = [
            pa.DictionaryArray.from_arrays(part.indices.cast(pa.int32()), part.dictionary.cast(pa.string()))
            for part in column.chunks
        ]
        return pa.chunked_array(parts, pa.dictionary(pa.int32(), pa.string()))
    return column


def missing_column(name: str, given: Given, do: str) -> DataError:
    """Say that a column is not there, what is, which was probably meant, and the way out."""
    names = ", ".join(shown(column, 30) for column in given.header[:8])
    more = f" and {len(given.header) - 8} more" if len(given.header) > 8 else ""
    expected = f"a column {shown(name)!r} in the {given.name} table"
    found = f"{names or 'no column'}{more}{nearest(name, given.header)}"
    return DataError(explain(expected, found, do))


def read_given(
    given: object, name: str, delimiter: str, wanted: Collection[str | None] | None = None
) -> Given:
    """Read a path, a frame or records.

    Parameters
    ----------
    given
        Path of a CSV (also .gz), Parquet or JSON lines file, anything with an Arrow C stream, or a list of
        dicts.
    name
        What messages call it.
    delimiter
        Of a CSV file.
    wanted
        The columns worth reading; None: all. Which of them exist is not checked here.

    Raises
    ------
    DataError
        The file or frame cannot be read.
    UsageError
        `given` is nothing that can be read.
    """
    if isinstance(given, str | os.PathLike):
        path = Path(given)
        if not path.is_file():
            what = "a directory" if path.is_dir() else "no file"
            raise DataError(
                explain(f"a file with {name}", f"{what} at {shown(path, 200)}", "correct the path")
            )
        for endings, read in _FILES.items():
            if path.name.lower().endswith(endings):
                return read(path, name, delimiter, wanted)
        found = f"{shown(path.name, 100)}"
        raise DataError(
            explain("a .csv, .csv.gz, .parquet or .jsonl file", found, f"convert the {name} table")
        )
    if isinstance(given, Sequence):
        return _read_records(given, name, wanted)
    if hasattr(given, "__arrow_c_stream__"):
        return _read_frame(given, name, wanted)
    expected = f"{name} as a path, a frame (pandas, Polars, PyArrow, DuckDB) or a list of dicts"
    raise UsageError(explain(expected, type(given).__name__, "pass one of these"))


def _read_csv(path: Path, name: str, delimiter: str, wanted: Collection[str | None] | None) -> Given:
    file = shown(path.name, 100)
    try:
        header = _header(path, delimiter)
    except _UNREADABLE:
        raise _not_csv(file, "bytes that are not") from None
    if not header:
        raise DataError(explain(f"a header line in {file}", "an empty file", f"write the {name} table again"))
    meant = [label for other, label in _DELIMITERS.items() if other in header[0] and other != delimiter]
    if len(header) == 1 and meant:
        expected = f"columns divided by {_DELIMITERS.get(delimiter, repr(delimiter))} in {file}"
        found = f"one column, whose name holds {meant[0]}"
        raise DataError(explain(expected, found, f"set delimiter to {meant[0]} in the config"))
    _refuse_repeats(header, name)
    columns = [column for column in header if wanted is None or column in wanted]

    def read(handler: Callable[[Any], str] | None) -> pa.Table:
        return pa.csv.read_csv(
            str(path),
            # Rows have numbers only where one thread reads them.
            read_options=pa.csv.ReadOptions(use_threads=handler is None),
            parse_options=pa.csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=handler
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()),
                include_columns=columns or header[:1],
                strings_can_be_null=True,
                null_values=[""],
            ),
        )

    broken: list[int] = []

    def skip(row: Any) -> str:
        broken.append(row.number - 2)  # counted from 1, and the header is the first
        return "skip"

    try:
        table = read(None)
    except _UNREADABLE:
        try:
            table = read(skip)
        except _UNREADABLE:
            raise _not_csv(file, "bytes that are not") from None
    rows = np.delete(np.arange(table.num_rows + len(broken)), broken)
    what = f"not {len(header)} fields, as the header has"
    findings = (finding(name, what, np.array(broken), rejected=True),) if broken else ()
    return Given(name, table.select(columns), rows, tuple(header), typed=False, findings=findings)


def _header(path: Path, delimiter: str) -> list[str]:
    open_text = gzip.open if path.name.lower().endswith(".gz") else open
    with open_text(path, "rt", encoding="utf-8-sig", newline="") as lines:
        return next((row for row in csv.reader(lines, delimiter=delimiter) if row), [])


def _not_csv(file: str, found: str) -> DataError:
    return DataError(explain(f"CSV text in UTF-8 in {file}", found, "save it again as UTF-8 CSV"))


def _read_parquet(path: Path, name: str, delimiter: str, wanted: Collection[str | None] | None) -> Given:  # noqa: ARG001
    try:
        with pa.parquet.ParquetFile(path) as file:
            header = file.schema_arrow.names
            _refuse_repeats(header, name)
            table = file.read(columns=_worth(header, wanted))
            # Without a single column Arrow forgets how many rows there are.
            rows = np.arange(file.metadata.num_rows)
    except _UNREADABLE:
        found = "bytes that cannot be read"
        raise DataError(
            explain(f"Parquet in {shown(path.name, 100)}", found, "write the file again")
        ) from None
    return Given(name, table, rows, tuple(header))


def _read_json_lines(path: Path, name: str, delimiter: str, wanted: Collection[str | None] | None) -> Given:  # noqa: ARG001
    try:
        with path.open(encoding="utf-8") as lines:
            records = [dict(json.loads(line)) for line in lines if line.strip()]
    except (OSError, ValueError, TypeError, RecursionError):
        expected, do = (
            f"a JSON object in UTF-8 on each line of {shown(path.name, 100)}",
            "write the file again",
        )
        raise DataError(explain(expected, "other lines", do)) from None
    return _read_records(records, name, wanted)


_FILES: dict[tuple[str, ...], Callable[[Path, str, str, Collection[str | None] | None], Given]] = {
    (".parquet", ".pq"): _read_parquet,
    (".jsonl", ".ndjson"): _read_json_lines,
    (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz"): _read_csv,
}


def _read_frame(frame: Any, name: str, wanted: Collection[str | None] | None) -> Given:
    taken: list[Any] = []
    special: dict[str, pa.Array] = {}
    try:
        if type(frame).__module__.startswith("pandas"):
            if any(level is not None for level in frame.index.names):
                frame = frame.reset_index()
            _refuse_repeats(map(str, frame.columns), name)
            taken = [c for c, dtype in frame.dtypes.items() if str(dtype) == "object" or hasattr(dtype, "tz")]
            special = {str(c): _special(frame[c]) for c in taken if wanted is None or str(c) in wanted}
            table = pa.Table.from_pandas(frame.drop(columns=taken), preserve_index=False)
        else:
            table = pa.table(frame)
    except (pa.ArrowException, AttributeError, ValueError, TypeError, OverflowError) as error:
        expected = f"a frame that Arrow can read as {name}"
        found = f"a {type(frame).__name__} that it refuses ({type(error).__name__})"
        raise DataError(explain(expected, found, "give each column one type and a name of its own")) from None
    _refuse_repeats(table.column_names, name)
    rows = np.arange(len(frame) if special else table.num_rows)
    arrays = {column: table.column(column) for column in _worth(table.column_names, wanted)}
    return Given(name, pa.table(arrays | special), rows, (*table.column_names, *map(str, taken)))


def _worth(columns: Iterable[str], wanted: Collection[str | None] | None) -> list[str]:
    """Name the columns to read: those wanted, and never the unnamed index that pandas writes."""
    named = (column for column in columns if not column.startswith("__index_level_"))
    return [column for column in named if wanted is None or column in wanted]


def _special(column: Any) -> pa.Array:
    """Give a pandas column that Arrow misreads: mixed values, or times with a zone, of which pandas warns."""
    if str(column.dtype) == "object":
        return _array(column.to_list())
    return pa.array(column.dt.tz_convert(None).to_numpy()).cast(pa.timestamp("us", "UTC"), safe=False)


def _read_records(records: Sequence[object], name: str, wanted: Collection[str | None] | None) -> Given:
    if not all(isinstance(record, Mapping) for record in records):
        expected = f"a dict for each row of {name}"
        raise UsageError(explain(expected, "something else in the list", "pass a list of dicts"))
    rows: list[Mapping[str, object]] = list(records)  # type: ignore[arg-type]
    columns = dict.fromkeys(key for record in rows for key in record)
    arrays = {
        str(c): _array([record.get(c) for record in rows])
        for c in columns
        if wanted is None or str(c) in wanted
    }
    return Given(name, pa.table(arrays), np.arange(len(rows)), tuple(map(str, columns)), loose=True)


def _array(values: list[Any]) -> pa.Array:
    """Python values as Arrow would hold them, except that times stay as text, each with its own offset."""
    types = {type(value) for value in values if not _is_missing(value)}
    if any(issubclass(kind, date) for kind in types):
        values = [_iso(value) for value in values]
    # Arrow would read a truth among numbers as a number.
    if not (len(types) > 1 and types & {bool, np.bool_}):
        with suppress(pa.ArrowException, OverflowError, UnicodeEncodeError):
            return pa.array(values, from_pandas=True)
    texts = (_text(value) for value in values)
    # JSON can write half of a character, which UTF-8 cannot.
    whole = [text and text.encode("utf-8", "replace").decode() for text in texts]
    return pa.array(whole, pa.string())


def _is_missing(value: object) -> bool:
    # pandas' NaT is a datetime, and its NA cannot even be compared with itself.
    if value is None or type(value).__name__ in ("NaTType", "NAType"):
        return True
    return isinstance(value, float) and math.isnan(value)


def _iso(value: object) -> object:
    if _is_missing(value):
        return None
    if isinstance(value, datetime):
        return (value if value.tzinfo is None else value.astimezone(UTC)).isoformat()
    return value.isoformat() if isinstance(value, date) else value


def _text(value: object) -> str | None:
    if _is_missing(value):
        return None
    return str(texts(pa.array([value]))[0]) if isinstance(value, float) else str(value)


def _refuse_repeats(columns: Iterable[str], name: str) -> None:
    seen: set[str] = set()
    for column in columns:
        if column in seen:
            found = f"{shown(column)!r} twice"
            raise DataError(explain(f"columns with different names in the {name} table", found, "rename one"))
        seen.add(column)


def finding(table: str, what: str, rows: Ints, *, rejected: bool) -> Finding:
    """Count rows and name the first five."""
    return Finding(table, what, len(rows), tuple(int(row) for row in rows[:5]), rejected)
