"""Scoring from Python: moments, ids, findings, and what is refused."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from leadscore.errors import UsageError
from leadscore.predict import moment


@pytest.mark.parametrize(
    "text", ["2025-12-31T00:00:00Z", "2025-12-31T01:00+01:00", "2025-12-30 19:00:00.123456-05:00"]
)
def test_a_moment_is_in_microseconds_as_the_standard_library_has_it(text: str) -> None:
    known = datetime.fromisoformat(text)
    exact = (known - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert moment(text) == moment(known) == moment(exact) == exact


@pytest.mark.parametrize(
    "other",
    [
        "",
        "soon",
        "now",
        "today",
        "NaT",
        "01/12/2025",
        "2025-12-31",
        "2025-12-31T00:00:00",
        "1764547200",
        "31.12.2025",
    ],
)
def test_what_is_no_moment_with_a_zone(other: str) -> None:
    with pytest.raises(UsageError, match="as_of as a time with its zone") as caught:
        moment(other)
    assert repr(other) in str(caught.value)


@pytest.mark.parametrize("other", [True, 1.5, pd.NaT, datetime(2025, 1, 1), date(2025, 1, 1)])
def test_other_values_that_are_no_moment(other: object) -> None:
    with pytest.raises(UsageError, match="as_of"):
        moment(other)  # type: ignore[arg-type]


@pytest.mark.parametrize("unit", [1, 10**3, 10**9])
def test_a_number_that_counts_another_unit(unit: int) -> None:
    with pytest.raises(UsageError, match="as_of in UTC microseconds"):
        moment(1_767_139_200 * unit)


def test_a_naive_moment_is_in_the_projects_zone() -> None:
    amsterdam = datetime(2025, 7, 1, 12, tzinfo=ZoneInfo("Europe/Amsterdam"))
    assert moment("2025-07-01T12:00:00", "Europe/Amsterdam") == moment(amsterdam)
    assert moment("2025-07-01T12:00:00Z", "Europe/Amsterdam") != moment(amsterdam)
