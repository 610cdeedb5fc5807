"""Writing files so that they are whole or not there at all, and tables that a spreadsheet may open."""

import io
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
        The folder cannot be written to.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise UsageError(
            explain(
                f"a folder to write {shown(target.name)!r} in", error.strerror or "none", "choose another"
            )
        ) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return target


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
    """Write a frame as CSV or Parquet, by the ending of the name.

    In CSV, text that a spreadsheet would run as a formula gets a leading apostrophe.

    Raises
    ------
    UsageError
        The name ends in neither .csv nor .parquet.
    """
    target = require_table_name(path)
    return replace_file(target, _WRITERS[target.suffix](frame))


def require_table_name(path: str | Path) -> Path:
    """Refuse, before any work is done, a name that says no format; as `write_table`."""
    target = Path(path)
    if target.suffix not in _WRITERS:
        raise UsageError(explain("an output that ends in .csv or .parquet", shown(target.name), "name it so"))
    return target


def _csv(frame: "pd.DataFrame") -> bytes:
    guarded = frame.apply(lambda column: column.map(_guard) if not _is_number(column) else column)
    return bytes(guarded.to_csv(index=False).encode())


def _parquet(frame: "pd.DataFrame") -> bytes:
    return bytes(frame.to_parquet(index=False))


def _is_number(column: "pd.Series[Any]") -> bool:
    return column.dtype.kind in "biuf"


def _guard(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


_WRITERS = {".csv": _csv, ".parquet": _parquet}
