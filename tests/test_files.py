"""Files are whole or not there, and a spreadsheet runs nothing in them."""

import csv
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from leadscore.errors import ModelError, UsageError
from leadscore.files import (
    pack_arrays,
    replace_file,
    require_table_name,
    require_writable,
    unpack_arrays,
    write_table,
)


def test_a_file_is_replaced_whole_and_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "file.txt"
    assert replace_file(path, b"one") == path
    replace_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert [other.name for other in path.parent.iterdir()] == ["file.txt"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("failing", ["fsync", "fdopen"])
def test_a_failure_leaves_the_old_file_and_nothing_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = replace_file(tmp_path / "file.txt", b"one")

    def fails(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, fails)
    with pytest.raises(UsageError, match=r"file\.txt; found no space left on device; choose another"):
        replace_file(path, b"two")
    assert path.read_bytes() == b"one"
    assert [other.name for other in tmp_path.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("place", ["folder", "file/in", "file/deep/in"])
def test_what_is_in_the_way_is_told_before_and_after(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    for refuse in (require_writable, lambda path: replace_file(path, b"x")):
        with pytest.raises(UsageError, match=r"expected a place to write .*; found .*; choose another"):
            refuse(tmp_path / place)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "mine"


def test_what_can_be_written_is_let_through_and_not_made(tmp_path: Path) -> None:
    require_writable(tmp_path / "a" / "b" / "c.txt")
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------- arrays
@given(
    st.dictionaries(
        st.sampled_from(["y", "week", "points"]),
        arrays.arrays(
            st.sampled_from([np.float64, np.int64, np.int8, np.bool_, np.uint16]), st.integers(0, 20)
        ),
        max_size=3,
    )
)
def test_arrays_come_back_as_they_were(given_arrays: dict[str, np.ndarray]) -> None:
    packed = pack_arrays(given_arrays)
    again = unpack_arrays(packed)
    assert list(again) == list(given_arrays)
    for name, array in given_arrays.items():
        assert again[name].dtype == array.dtype
        assert again[name].tobytes() == array.tobytes()
    assert pack_arrays(again) == packed
    with np.load(io.BytesIO(packed), allow_pickle=False) as peer:  # it is NumPy's own format
        assert all(peer[name].tobytes() == array.tobytes() for name, array in given_arrays.items())


def _saved_by_numpy(**named: Any) -> bytes:
    held = io.BytesIO()
    np.savez(held, **named)
    return held.getvalue()


def _member(content: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", compression) as archive:
        archive.writestr("y.npy", content)
    return held.getvalue()


def _header(text: str, body: bytes = b"") -> bytes:
    padded = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + body


def _f8(shape: str, body: bytes = b"") -> bytes:
    return _header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}", body)


HOSTILE = {
    "nothing": b"",
    "no archive": b"PK\x03\x04 but not really",
    "a pickle": b"\x80\x04\x95",
    "objects": _saved_by_numpy(y=np.array([{"a": 1}], dtype=object)),
    "two dimensions": _saved_by_numpy(y=np.zeros((2, 2))),
    "text": _saved_by_numpy(y=np.array(["a"])),
    "compressed": _member(pack_arrays({"y": np.zeros(3)}), zipfile.ZIP_DEFLATED),
    "no array": _member(b"hello"),
    "a huge shape": _member(_f8("(9000000000000,)")),
    "a negative shape": _member(_f8("(-1,)", b"x" * 8)),
    "code in the header": _member(_header("__import__('os').abort()")),
    "too short": _member(_f8("(2,)", b"x" * 8)),
    "too long": _member(_f8("(2,)", b"x" * 24)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_array_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="arrays as they were saved"):
        unpack_arrays(HOSTILE[name])


# ------------------------------------------------------------------------------------------------- tables
FRAME = pd.DataFrame(
    {
        "lead_id": ["=1+1", "+49 30", "-5", "@cmd", "\tx", "\r=x", "plain", 'Müller, "A"'],
        "score": [0.1, 1 / 3, 2.5e-17, 100.0, -3.25, 5e-324, 1e22, 12.0],
    }
)


def test_formulas_are_defused_in_csv_and_only_there(tmp_path: Path) -> None:
    write_table(FRAME, tmp_path / "t.csv")
    write_table(FRAME, tmp_path / "t.parquet")
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    defused = ["'=1+1", "'+49 30", "'-5", "'@cmd", "'\tx", "'\r=x"]
    assert [row["lead_id"] for row in rows] == [*defused, *FRAME["lead_id"][6:]]
    assert [float(row["score"]) for row in rows] == FRAME["score"].tolist()  # to the last bit
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), FRAME, check_exact=True)


def test_json_lines_are_ascii_and_exact(tmp_path: Path) -> None:
    frame = FRAME.assign(
        at=pd.to_datetime([1_740_826_800_000_001] * 7 + [None], unit="us", utc=True),
        note=["\u2028", "\x1b[31m", '"', "</script>", "é", "{}", "", None],
        score=[np.nan, *FRAME["score"][1:]],
        rank=range(8),
    )
    lines = write_table(frame, tmp_path / "t.jsonl").read_bytes().decode("ascii").splitlines()
    rows = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    assert [row["lead_id"] for row in rows] == frame["lead_id"].tolist()
    assert rows[0]["score"] is rows[7]["note"] is rows[7]["at"] is None
    assert [row["score"] for row in rows[1:]] == frame["score"].tolist()[1:]
    assert [row["note"] for row in rows[:7]] == frame["note"].tolist()[:7]
    assert {row["at"] for row in rows[:7]} == {"2025-03-01T11:00:00.000001+00:00"}
    assert [row["rank"] for row in rows] == list(range(8))


@pytest.mark.parametrize("name", ["scores.xlsx", "scores", "scores.csv.gz", ".csv", "scores.CSV "])
def test_a_name_that_says_no_format(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"ends in \.csv, \.parquet or \.jsonl"):
        require_table_name(tmp_path / name)
    with pytest.raises(UsageError, match=r"ends in \.csv, \.parquet or \.jsonl"):
        write_table(FRAME, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_an_ending_in_capitals_is_understood(tmp_path: Path) -> None:
    path = write_table(FRAME.tail(2), tmp_path / "SCORES.CSV")
    assert path.read_bytes().startswith(b"lead_id,score\nplain,1e+22\n")
