"""What the values of a column are: texts, numbers, times, ids and codes, and what in it could not be read."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from leadscore.data.contract import Array, Coded, Ints

Mask = npt.NDArray[np.bool_]

NUMBER = r"^(?i:[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf(inity)?)|nan)$"
_ID = r"^(0|-?[1-9]\d{0,17})(\.0)?$"  # ".0": how pandas writes integers beside missing values
_DATE, _CLOCK = r"\d{4}-\d\d-\d\d", r"[T ]\d\d(:\d\d(:\d\d(\.\d+)?)?)?"
_LOCAL = rf"^{_DATE}({_CLOCK})?$"
_ABSOLUTE = rf"^{_DATE}{_CLOCK}(Z|[+-]\d\d(:?\d\d)?)$"
_CODE = r"^0\d+$"

SAME = ((r"^(-?\d+)\.0$", r"\1"), (r"^(?i:true)$", "True"), (r"^(?i:false)$", "False"))
_WORTH_CODING = 1000
_MOSTLY = 0.95
_MOST_LEVELS = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Numbers(NamedTuple):
    """Float64 with null for missing, and the rows whose value was no number or not finite."""

    values: pa.Array
    unreadable: Mask
    infinite: Mask


class Times(NamedTuple):
    """UTC microseconds, which rows have one, and the rows that need a word: see `times`."""

    us: Ints
    present: Mask
    unreadable: Mask
    naive: Mask
    shifted: Mask


def texts(column: pa.Array, missing: Sequence[str] = ()) -> pa.Array:
    """Give values as trimmed text; null where empty or one of `missing`.

    A whole number, and a truth, is the same text whatever type it came in.

    Examples
    --------
    >>> texts(pa.array([1.0, None, 2.5])).to_pylist()
    ['1', None, '2.5']
    >>> texts(pa.array(["1.0", " ", "Select"]), ["Select"]).to_pylist()
    ['1', None, None]
    """
    kind = column.type
    if pa.types.is_dictionary(kind) or (pa.types.is_string(kind) and len(column) > _WORTH_CODING):
        code, words = codes(column)
        return _each(words, missing).take(pa.array(code, mask=code < 0))
    return _each(column, missing)


def _each(column: pa.Array, missing: Sequence[str]) -> pa.Array:
    kind = column.type
    if pa.types.is_boolean(kind):
        text = pc.if_else(column, "True", "False")
    elif pa.types.is_floating(kind):
        whole = pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), 2.0**53))
        text = pc.if_else(pc.is_nan(column), None, column).cast(pa.string())
        # Arrow writes 1e+10 for 10000000000.0.
        text = pc.if_else(whole, pc.if_else(whole, column, 0).cast(pa.int64()).cast(pa.string()), text)
    elif pa.types.is_integer(kind):
        text = column.cast(pa.string())
    else:
        text = pc.utf8_trim_whitespace(column if pa.types.is_string(kind) else column.cast(pa.string()))
        for spelt, shown in SAME:
            text = pc.replace_substring_regex(text, spelt, shown)
    return pc.if_else(pc.is_in(text, value_set=pa.array(["", *missing], pa.string())), None, text)


def numbers(column: pa.Array, missing: Sequence[str] = ()) -> Numbers:
    """Give values as finite float64, true as 1 and false as 0.

    Examples
    --------
    >>> found = numbers(pa.array(["1.5", "n/a", "inf", "999"]), ["999"])
    >>> found.values.to_pylist(), found.unreadable.tolist()
    ([1.5, None, None, None], [False, True, False, False])
    """
    column = _plain(column)
    unreadable = np.zeros(len(column), bool)
    if pa.types.is_boolean(column.type):
        column = pc.if_else(column, 1.0, 0.0)
    elif not is_numeric(column.type):
        text = texts(column, missing)
        for truth, value in (("True", "1"), ("False", "0")):
            text = pc.if_else(pc.equal(text, truth), value, text)
        readable = pc.match_substring_regex(text, NUMBER)
        unreadable = mask(pc.invert(readable))
        column = pc.if_else(readable, text, None)
    values = np.array(pc.fill_null(column.cast(pa.float64(), safe=False), np.nan))
    infinite = np.isinf(values)
    values[infinite] = np.nan
    if known := [float(word) for word in missing if re.fullmatch(NUMBER, word)]:
        values[np.isin(values, known)] = np.nan
    return Numbers(pa.array(values, mask=np.isnan(values)), unreadable, infinite)


def times(column: pa.Array, timezone: str | None, missing: Sequence[str] = ()) -> Times:
    """Give moments as UTC microseconds.

    Parameters
    ----------
    column
        Timestamps, dates (their midnight), or text in ISO 8601, with or without an offset.
    timezone
        Zone of those without; None: they are flagged as `naive` and not present.
    missing
        Texts that mean no time, also where they are one ("9999-12-31").

    Notes
    -----
    A local time that occurred twice is its first occurrence, one that never occurred is the moment of the
    clock change; both are flagged as `shifted`. Arrow knows the clock changes up to 2037.

    Examples
    --------
    >>> found = times(pa.array(["2011-10-30T02:30:00", "2011-10-30T02:30:00+01:00"]), "Europe/Amsterdam")
    >>> found.us[1] - found.us[0], found.shifted.tolist()
    (np.int64(3600000000), [True, False])
    """
    found = _times(_plain(column), timezone, missing)
    if hidden := [word for word in missing if re.match(_DATE, word)]:
        never = _times(pa.array(hidden), timezone, ())
        return found._replace(present=found.present & ~np.isin(found.us, never.us[never.present]))
    return found


def _times(column: pa.Array, timezone: str | None, missing: Sequence[str]) -> Times:
    kind, none = column.type, np.zeros(len(column), bool)
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return _moments(column, none, none, none)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _localised(column.cast(pa.timestamp("us"), safe=False), timezone)
    if not (pa.types.is_null(kind) or is_textual(kind)):
        return Times(np.zeros(len(column), np.int64), none, mask(pc.is_valid(column)), none, none)
    try:
        column.slice(0, 32).cast(_UTC)  # a cast that fails reads to the end all the same
        return _moments(column.cast(_UTC), none, none, none)
    except pa.ArrowInvalid:
        return _mixed(texts(column, missing), timezone)


_UTC = pa.timestamp("us", "UTC")


def _moments(moments: pa.Array, unreadable: Mask, naive: Mask, shifted: Mask) -> Times:
    us = moments.cast(_UTC, safe=False).cast(pa.int64())
    return Times(pc.fill_null(us, 0).to_numpy(), mask(pc.is_valid(us)), unreadable, naive, shifted)


def _localised(local: pa.Array, timezone: str | None) -> Times:
    none = np.zeros(len(local), bool)
    if timezone is None:
        return Times(np.zeros(len(local), np.int64), none, none, mask(pc.is_valid(local)), none)
    first = pc.assume_timezone(local, timezone, ambiguous="earliest", nonexistent="latest")
    other = pc.assume_timezone(local, timezone, ambiguous="latest", nonexistent="earliest")
    return _moments(first, none, none, mask(pc.not_equal(first, other)))


def _mixed(text: pa.Array, timezone: str | None) -> Times:
    """Texts with and without offset, and texts that are no times."""
    text = pc.replace_substring_regex(text, r" ?(UTC|[zZ])$", "Z")
    text = pc.replace_substring_regex(text, r"(\.\d{6})\d+", r"\1")
    absolute = _parsed(pc.if_else(pc.match_substring_regex(text, _ABSOLUTE), text, None), _UTC)
    local = _parsed(pc.if_else(pc.match_substring_regex(text, _LOCAL), text, None), pa.timestamp("us"))
    unread = mask(pc.and_(pc.is_valid(text), pc.and_(pc.is_null(absolute), pc.is_null(local))))
    a = _moments(absolute, unread, unread, unread)
    b = _localised(local, timezone)
    return Times(np.where(a.present, a.us, b.us), a.present | b.present, unread, b.naive, b.shifted)


def _parsed(text: pa.Array, kind: pa.DataType) -> pa.Array:
    try:
        return text.cast(kind)
    except pa.ArrowInvalid:  # such as 30 February; Arrow does not say which
        return pa.array([_moment(value) for value in text.to_pylist()], pa.int64()).cast(kind)


def _moment(text: str | None) -> int | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    absolute = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (absolute - _EPOCH) // timedelta(microseconds=1)


def ids(column: pa.Array, *, typed: bool) -> pa.Array:
    """Give ids as int64 or string, null where missing; integers in an untyped source become int64.

    Examples
    --------
    >>> ids(pa.array(["7", "12"]), typed=False).to_pylist()
    [7, 12]
    >>> ids(pa.array(["007", "12"]), typed=False).to_pylist()
    ['007', '12']
    """
    column = _plain(column)
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        try:
            return pc.if_else(pc.is_nan(column), None, column).cast(pa.int64())
        except pa.ArrowInvalid:  # fractions, or beyond 64 bits
            return texts(column)
    if pa.types.is_boolean(kind):
        return texts(column)
    text = column.cast(pa.string())
    text = pc.if_else(pc.equal(pc.utf8_trim_whitespace(text), ""), None, text)
    if not typed and pc.all(pc.match_substring_regex(text, _ID)).as_py():
        return _integers(text)
    return text


def _integers(text: pa.Array) -> pa.Array:
    whole = pc.if_else(pc.match_substring_regex(text, _ID), text, None)
    return pc.replace_substring_regex(whole, r"\.0$", "").cast(pa.int64())


def found_in(wanted: pa.Array, known: pa.Array) -> Ints:
    """Place of each id among the known ones whatever the types of the two; -1 where it is not there.

    Examples
    --------
    >>> found_in(pa.array(["12", "7", "x"]), pa.array([7, 12]))
    array([ 1,  0, -1])
    """
    if wanted.type != known.type:
        wanted = wanted.cast(pa.string()) if pa.types.is_string(known.type) else _integers(wanted)
    places = pc.if_else(pc.is_valid(wanted), pc.index_in(wanted, value_set=known), None)
    found: Ints = pc.fill_null(places.cast(pa.int64()), -1).to_numpy()
    return found


def codes(column: pa.Array) -> tuple[Ints, pa.Array]:
    """Give each value as a number, -1 for null, and the values that the numbers stand for."""
    packed = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    numbered: Ints = pc.fill_null(packed.indices.cast(pa.int64()), -1).to_numpy()
    return numbered, packed.dictionary


def coded(column: pa.Array, missing: Sequence[str] = ()) -> Coded:
    """Store each word once, in sorted order.

    Examples
    --------
    >>> coded(pa.array(["b", "a ", None, "a"]))
    Coded(codes=array([ 1,  0, -1,  0], dtype=int32), words=('a', 'b'))
    """
    raw, values = codes(column)
    word = np.array([*texts(values, missing).to_pylist(), None], object)
    used = np.zeros(len(word), bool)
    used[raw] = True
    words = sorted({value for value in word[used] if value is not None})
    place = {value: code for code, value in enumerate(words)}
    return Coded(np.array([place.get(value, -1) for value in word], np.int32)[raw], tuple(words))


def ranks(values: pa.Array) -> Array:
    """Give numbers that sort as the values of an attribute do; those of null mean nothing."""
    if pa.types.is_string(values.type):
        return coded(values).codes
    if pa.types.is_floating(values.type):
        return np.asarray(pc.fill_null(values, 0.0))
    return np.asarray(pc.fill_null(values.cast(pa.int64()), 0))


def infer_kind(column: pa.Array, missing: Sequence[str] = ()) -> str:
    """Say what a field is: one of `contract.KINDS`.

    A typed column is what its type says. Text is a number or a time when 95 % of it reads so, but codes with
    leading zeros ("007") are categories; it is free text when it has over 100 different values, and more than
    one for every two rows; anything else, and a column without any value, is a category.

    Examples
    --------
    >>> [infer_kind(pa.array(v)) for v in (["3", "4.5"], ["01", "20"], [True], ["2024-05-31"])]
    ['number', 'category', 'category', 'time']
    """
    column = _plain(column)
    text = texts(column, missing).drop_null()
    if not len(text) or pa.types.is_boolean(column.type):
        return "category"
    if is_numeric(column.type):
        return "number"
    return _kind_of_text(text) if is_textual(column.type) else "time"


def _kind_of_text(text: pa.Array) -> str:
    if mask(pc.match_substring_regex(text, NUMBER)).mean() >= _MOSTLY:
        return "category" if pc.any(pc.match_substring_regex(text, _CODE)).as_py() else "number"
    if 1 - _mixed(text, None).unreadable.mean() >= _MOSTLY:
        return "time"
    levels = pc.count_distinct(text).as_py()
    return "text" if levels > _MOST_LEVELS and levels > len(text) / 2 else "category"


def _plain(column: pa.Array) -> pa.Array:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def shape(column: pa.Array) -> str:
    """Give the outline of the first value, which betrays nothing of it.

    Examples
    --------
    >>> shape(pa.array([None, "31/12/2024 at noon"]))
    '99/99/9999 aa aaaa'
    """
    first = texts(column).drop_null()[0].as_py()[:20]
    return re.sub(r"[^\W\d_]", "a", re.sub(r"\d", "9", first))


def is_plain(kind: pa.DataType) -> bool:
    """Tell whether Arrow holds values that a field can have: no lists, records, bytes or spans of time."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    simple = pa.types.is_boolean(kind) or pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    return bool(simple or pa.types.is_null(kind) or is_numeric(kind) or is_textual(kind))


def is_numeric(kind: pa.DataType) -> bool:
    """Tell whether Arrow holds numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def is_textual(kind: pa.DataType) -> bool:
    """Tell whether Arrow holds text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def taken(column: pa.Array, keep: Mask) -> pa.Array:
    """Give the rows of a mask: the column itself where that is all of them."""
    return column if keep.all() else column.filter(pa.array(keep))


def mask(flags: pa.Array) -> Mask:
    """Give an Arrow mask to NumPy, null as False."""
    array: Array = pc.fill_null(flags, False).to_numpy(zero_copy_only=False)
    return array
