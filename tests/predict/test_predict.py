"""Scoring from Python: moments, ids, findings, and what is refused."""

from datetime import UTC, datetime, timedelta

import pytest

from leadscore.predict import moment


@pytest.mark.parametrize(
    "text", ["2025-12-31T00:00:00Z", "2025-12-31T01:00+01:00", "2025-12-30 19:00:00.123456-05:00"]
)
def test_a_moment_is_in_microseconds_as_the_standard_library_has_it(text: str) -> None:
    known = datetime.fromisoformat(text)
    exact = (known - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert moment(text) == moment(known) == moment(exact) == exact
