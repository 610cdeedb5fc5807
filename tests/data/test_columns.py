import math
import string
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadscore.data.columns import coded, found_in, ids, infer_kind, numbers, shape, texts, times

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
AMSTERDAM = ZoneInfo("Europe/Amsterdam")


def us(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def as_python_reads(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@given(st.lists(st.text("0123456789.eE+-", max_size=8) | st.floats().map(repr), max_size=20))
def test_numbers_in_text_read_as_python_reads_them(words):
    found = numbers(pa.array(words, pa.string()))
    expected = [as_python_reads(word) for word in words]
    finite = [value if value is not None and math.isfinite(value) else None for value in expected]
    assert found.values.to_pylist() == finite
    assert found.unreadable.tolist() == [bool(w) and v is None for w, v in zip(words, expected, strict=True)]
    assert found.infinite.tolist() == [v is not None and math.isinf(v) for v in expected]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([3, None, 999], pa.int16()),
        pa.array([3.0, math.nan, 999.0]),
        pa.array([Decimal("3.00"), None, Decimal("999.00")]),
        pa.array(["3", "", " 999.0 "]),
        pa.array(["3", None, "999"]).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_a_hidden_missing_number_is_missing_whatever_its_type(column):
    assert numbers(column, ["999", "none"]).values.to_pylist() == [3.0, None, None]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([1, None]), ["1", None]),
        (pa.array([1.0, math.nan]), ["1", None]),
        (pa.array(["1.0", "  "]), ["1", None]),
        (pa.array([" 1 ", None], pa.large_string()), ["1", None]),
        (pa.array(["1", None], pa.string_view()), ["1", None]),
        (pa.array([1, None]).dictionary_encode(), ["1", None]),
        (pa.array([True, False]), ["True", "False"]),
        (pa.array(["true", "FALSE"]), ["True", "False"]),
        (pa.array(["Select", "select"]), [None, "select"]),
        (pa.array([date(2024, 5, 31)]), ["2024-05-31"]),
        (pa.nulls(1), [None]),
    ],
)
def test_a_category_is_the_same_text_whatever_its_type(column, expected):
    assert texts(column, ["Select"]).to_pylist() == expected


@given(st.lists(st.sampled_from(["a", " a", "b.0", "7", "7.0", "", "TRUE", None]), min_size=1, max_size=5))
def test_texts_do_not_depend_on_the_length_of_the_column(words):
    long = texts(pa.array(words * 1001, pa.string())).to_pylist()
    assert long[: len(words)] == texts(pa.array(words, pa.string())).to_pylist()


moments = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1))
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
absolute = st.builds(lambda moment, offset: moment.replace(tzinfo=offset), moments, offsets)


@given(st.lists(absolute, max_size=10), st.sampled_from("T "))
def test_times_with_offsets_are_the_moments_python_reads(values, separator):
    found = times(pa.array([value.isoformat(separator) for value in values], pa.string()), None)
    assert found.us.tolist() == [us(value) for value in values]
    assert found.present.all()
    assert not (found.unreadable | found.naive | found.shifted).any()


# Arrow repeats no clock change after 2037.
@given(st.lists(st.datetimes(datetime(1950, 1, 1), datetime(2037, 1, 1)), max_size=10), st.booleans())
def test_local_times_are_those_of_the_zone(values, as_text):
    column = (
        pa.array([v.isoformat() for v in values], pa.string())
        if as_text
        else pa.array(values, pa.timestamp("us"))
    )
    found = times(column, "Europe/Amsterdam")
    for value, moment, shifted in zip(values, found.us.tolist(), found.shifted.tolist(), strict=True):
        first = value.replace(tzinfo=AMSTERDAM, fold=0)
        if first.astimezone(UTC).astimezone(AMSTERDAM).replace(tzinfo=None, fold=0) == value.replace(fold=0):
            assert moment == us(first)
            assert shifted == (first.utcoffset() != first.replace(fold=1).utcoffset())
        else:
            assert shifted


def test_clock_changes_read_as_documented():
    # 2024 in Amsterdam: 02:00 to 03:00 is skipped on 31 March (at 01:00 UTC), and comes twice on 27 October.
    found = times(pa.array(["2024-03-31T02:30", "2024-10-27T02:30", "2024-10-27T04:30"]), "Europe/Amsterdam")
    expected = [datetime(2024, 3, 31, 1), datetime(2024, 10, 27, 0, 30), datetime(2024, 10, 27, 3, 30)]
    assert found.us.tolist() == [us(moment.replace(tzinfo=UTC)) for moment in expected]
    assert found.shifted.tolist() == [True, True, False]


WORDS = [
    "2011-10-01T00:38:44.546+02:00",
    "2011-10-01 00:38:44+02",
    "2011-10-01T00:38:44.123456789Z",
    "2011-10-01 00:38:44 UTC",
    "2011-10-01T00:38z",
    "2011-10-01",
    "2011-10-01T10",
    " 2011-10-01T10:00:00Z ",
    "2011-02-30T00:00Z",
    "2011-02-30",
    "01/10/2011",
    "",
    "soon",
    None,
]


@given(st.lists(st.sampled_from(WORDS), max_size=8), st.sampled_from(["Asia/Kolkata", None]))
def test_each_time_reads_as_if_it_were_alone(words, zone):
    together = times(pa.array(words, pa.string()), zone)
    for row, word in enumerate(words):
        alone = times(pa.array([word], pa.string()), zone)
        assert [part[row] for part in together] == [part[0] for part in alone]


def test_times_in_many_spellings():
    found = times(pa.array(WORDS, pa.string()), "Europe/Amsterdam")
    assert found.present.tolist() == [True] * 8 + [False] * 6
    assert found.unreadable.tolist() == [False] * 8 + [True] * 3 + [False, True, False]
    assert found.us[0] == us(datetime(2011, 9, 30, 22, 38, 44, 546000, tzinfo=UTC))
    assert found.us[1] == us(datetime(2011, 9, 30, 22, 38, 44, tzinfo=UTC))
    assert found.us[2] == us(datetime(2011, 10, 1, 0, 38, 44, 123456, tzinfo=UTC))
    assert found.us[3] == us(datetime(2011, 10, 1, 0, 38, 44, tzinfo=UTC))
    assert found.us[5] == us(datetime(2011, 9, 30, 22, tzinfo=UTC))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([datetime(2024, 5, 31, tzinfo=UTC)], pa.timestamp("ns", "Asia/Tokyo")),
        pa.array([datetime(2024, 5, 31)], pa.timestamp("s")),
        pa.array([date(2024, 5, 31)]),
        pa.array(["2024-05-31"]).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_typed_times_are_microseconds(column):
    assert times(column, "UTC").us.tolist() == [us(datetime(2024, 5, 31, tzinfo=UTC))]


def test_a_hidden_missing_time_is_missing_in_text_and_as_timestamp():
    text = pa.array(["2024-05-31", "9999-12-31"])
    for column in (text, text.cast(pa.timestamp("ms")), pa.array(["2024-05-31T00:00Z", "9999-12-31T00:00Z"])):
        assert times(column, "UTC", ["9999-12-31", "999"]).present.tolist() == [True, False]


def test_numbers_are_no_times():
    assert times(pa.array([1317422324, None]), "UTC").unreadable.tolist() == [True, False]


@pytest.mark.parametrize(
    ("column", "typed", "expected"),
    [
        (pa.array(["7", "-12", None, "0"]), False, pa.array([7, -12, None, 0])),
        (pa.array(["7", "12"]), True, pa.array(["7", "12"])),
        (pa.array(["007", "12"]), False, pa.array(["007", "12"])),
        (pa.array(["7.0", "", "12.0"]), False, pa.array([7, None, 12])),
        (pa.array(["7", "x"]), False, pa.array(["7", "x"])),
        (pa.array(["9" * 30]), False, pa.array(["9" * 30])),
        (pa.array([7.0, math.nan]), True, pa.array([7, None])),
        (pa.array([7.5, math.nan]), True, pa.array(["7.5", None])),
        (pa.array([2**63], pa.uint64()), True, pa.array([str(2**63)])),
        (pa.array([7], pa.uint8()), True, pa.array([7])),
        (pa.array(["a", " "]).dictionary_encode(), True, pa.array(["a", None])),
    ],
)
def test_ids_are_integers_or_text(column, typed, expected):
    assert ids(column, typed=typed).equals(expected)


@pytest.mark.parametrize("known", [pa.array([7, 12]), pa.array(["7", "12"])])
@pytest.mark.parametrize("wanted", [pa.array([12, 9, None]), pa.array(["12", "9", None])])
def test_ids_match_across_types(known, wanted):
    assert found_in(wanted, known).tolist() == [1, -1, -1]


def test_text_that_is_no_canonical_integer_matches_no_integer():
    assert found_in(pa.array(["007", "7 ", "7.0", "7.5"]), pa.array([7])).tolist() == [-1, -1, 0, -1]


@given(st.lists(st.sampled_from(["b", "a", " a", "7.0", None, ""]), max_size=12), st.randoms())
def test_coded_words_are_sorted_and_say_what_was_given(words, random):
    found = coded(pa.array(words, pa.string()))
    clean = [(word or "").strip().removesuffix(".0") or None for word in words]
    assert [found.words[code] if code >= 0 else None for code in found.codes] == clean
    assert list(found.words) == sorted({word for word in clean if word})


def test_a_category_without_some_of_its_words_has_only_those_that_occur():
    column = pa.DictionaryArray.from_arrays(pa.array([1, None]), pa.array(["a", "b"]))
    assert coded(column).words == ("b",)


MANY = [
    f"{a}{b} of {i}"
    for i, (a, b) in enumerate(zip(string.ascii_letters * 8, string.ascii_letters * 8, strict=True))
]


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pa.array([1, 2]), "number"),
        (pa.array([Decimal("1.5")]), "number"),
        (pa.array(["1", "-2.5e3", ""]), "number"),
        (pa.array(["1"] * 19 + ["n/a"]), "number"),
        (pa.array(["1"] * 9 + ["n/a"]), "category"),
        (pa.array(["unknown"] * 9 + ["1"]), "number"),
        (pa.array(["01234", "20000"]), "category"),
        (pa.array(["0", "0.5"]), "number"),
        (pa.array([True, False]), "category"),
        (pa.array(["2024-05-31", "2024-06-01T10:00:00Z"]), "time"),
        (pa.array([date(2024, 5, 31)]), "time"),
        (pa.array(["red", "blue"]).dictionary_encode(), "category"),
        (pa.array([1, 2]).dictionary_encode(), "number"),
        (pa.array(MANY), "text"),
        (pa.array(MANY * 3), "category"),
        (pa.array(MANY[:90]), "category"),
        (pa.nulls(3), "category"),
        (pa.array([math.nan, None]), "category"),
        (pa.array([999, 999]), "number"),
        (pa.array(["unknown", ""]), "category"),
    ],
)
def test_kinds_are_inferred_from_values(column, kind):
    assert infer_kind(column, ["unknown"]) == kind


def test_an_outline_shows_no_letter_or_digit_of_a_value():
    outline = shape(pa.array([None, "Ann Älg, +49 171/555"]))
    assert outline == "aaa aaa, +99 999/999"
    assert len(shape(pa.array(["x" * 500]))) <= 20


@given(st.lists(st.integers(-(2**53), 2**53), max_size=10))
def test_whole_numbers_are_the_same_text_as_integers_and_as_floats(values):
    small = [value for value in values if abs(value) < 10**15]
    assert texts(pa.array(small, pa.int64())).equals(texts(pa.array(np.array(small, float))))
