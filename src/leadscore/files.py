"""Writing files so that they are whole or not there at all, and tables that a spreadsheet may open."""

import csv
import errno
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leadscore.errors import ModelError, UsageError, explain, shown

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_ENDINGS = "an output that ends in .csv, .parquet or .jsonl"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def replace_file(path: str | Path, content: bytes) -> Path:
    """Write a file beside its place, then rename it into it, so that nobody ever sees half of it.

    Parameters
    ----------
    path : path
    content : bytes

    Returns
    -------
    Path

    Raises
    ------
    UsageError
        It cannot be written there; whatever was there is as it was.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(beside).chmod(0o644)
            Path(beside).replace(target)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise unwritable(target, error) from error
    return target


def require_writable(path: str | Path) -> Path:
    """Refuse, before any work is done, a file that could not be written; as `replace_file`.

    Raises
    ------
    UsageError
        A folder is in the way, or there is none to write in.
    """
    target = Path(path)
    if target.is_dir():
        raise unwritable(target, IsADirectoryError(errno.EISDIR, "a folder of that name"))
    above = next(folder for folder in target.absolute().parents if folder.exists())
    if not above.is_dir():
        raise unwritable(target, NotADirectoryError(errno.ENOTDIR, f"{shown(above.name)!r}, which is a file"))
    if not os.access(above, os.W_OK):
        raise unwritable(target, PermissionError(errno.EACCES, "a folder that is not to be written to"))
    return target


def unwritable(target: Path, error: OSError) -> UsageError:
    """Say in one line why something cannot be written."""
    found = error.strerror or type(error).__name__
    found = found[0].lower() + found[1:]
    return UsageError(
        explain(f"a place to write {shown(target, 300)}", found, "choose another, or mend that")
    )


def pack_arrays(arrays: Mapping[str, "NDArray[Any]"]) -> bytes:
    """Pack arrays as .npz, without compression and dates, so that equal arrays are equal bytes."""
    import numpy as np

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return packed.getvalue()


def unpack_arrays(packed: bytes) -> dict[str, "NDArray[Any]"]:
    """Read the flat arrays that `pack_arrays` packed; nothing in it is trusted, and nothing in it can run.

    Raises
    ------
    ModelError
        It is something else.

    Examples
    --------
    >>> import numpy as np
    >>> unpack_arrays(pack_arrays({"y": np.array([1, 0])}))
    {'y': array([1, 0])}
    """
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            members = archive.infolist()
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise ValueError
            return {member.filename.removesuffix(".npy"): _array(archive.read(member)) for member in members}
    except Exception:  # the parsers of zip and npy fail in many ways; all of them mean this
        do = "restore the model's files"
        raise ModelError(explain("arrays as they were saved", "something else", do)) from None


def _array(member: bytes) -> "NDArray[Any]":
    """Read one flat array without letting its header reserve memory that the bytes do not fill."""
    import numpy as np

    data = io.BytesIO(member)
    version = np.lib.format.read_magic(data)
    shape, _, dtype = np.lib.format.read_array_header_1_0(data)
    body = member[data.tell() :]
    plain = dtype.kind in "biuf" and version == (1, 0) and len(shape) == 1
    if not plain or shape[0] * dtype.itemsize != len(body):
        raise ValueError
    return np.frombuffer(body, dtype)


def write_table(frame: "pd.DataFrame", path: str | Path) -> Path:
    """Write a frame as CSV, Parquet or JSON lines, by the ending of the name.

    In CSV, text that a spreadsheet would run as a formula gets a leading apostrophe. JSON lines are ASCII,
    with times in ISO 8601.

    Raises
    ------
    UsageError
        The name ends in none of .csv, .parquet and .jsonl.
    """
    target = require_table_name(path)
    return replace_file(target, _WRITERS[target.suffix.lower()](frame))


def require_table_name(path: str | Path) -> Path:
    """Refuse, before any work is done, a name that says no format; as `write_table`."""
    target = Path(path)
    if target.suffix.lower() not in _WRITERS:
        raise UsageError(explain(_ENDINGS, shown(target.name), "name it so"))
    return target


def _csv(frame: "pd.DataFrame") -> bytes:
    guarded = frame.apply(lambda column: column.map(_guard) if not _is_number(column) else column)
    # A lone carriage return is a new row to many a reader, but the writer does not quote it of itself.
    broken = guarded.map(lambda value: isinstance(value, str) and "\r" in value).to_numpy().any()
    quoting = csv.QUOTE_NONNUMERIC if broken else csv.QUOTE_MINIMAL
    return bytes(guarded.to_csv(index=False, quoting=quoting).encode())


def _parquet(frame: "pd.DataFrame") -> bytes:
    return bytes(frame.to_parquet(index=False))


def _json_lines(frame: "pd.DataFrame") -> bytes:
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return "".join(json.dumps(row, default=_plain, allow_nan=False) + "\n" for row in rows).encode()


def _plain(value: Any) -> Any:
    """Give a moment in ISO 8601, and NumPy's numbers as Python's."""
    return value.isoformat() if hasattr(value, "isoformat") else value.item()


def _is_number(column: "pd.Series[Any]") -> bool:
    return column.dtype.kind in "biuf"


def _guard(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


_WRITERS = {".csv": _csv, ".parquet": _parquet, ".jsonl": _json_lines}
