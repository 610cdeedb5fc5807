"""Attribute features against the same read in plain pandas."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from leadscore.data.contract import Tables
from leadscore.errors import DataError
from leadscore.features.attributes import attribute
from leadscore.features.declare import AttributeFeature
from leadscore.features.plan import DAY
from leadscore.features.words import department, email_domain_kind, seniority

SIZE = 500
NOW = 1_700_000_000_000_000


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    gone = lambda values, share: pd.Series(values, dtype=object).where(rng.random(SIZE) > share)  # noqa: E731
    return pd.DataFrame(
        {
            "size": gone(rng.normal(size=SIZE), 0.2).astype(float),
            "colour": gone(rng.choice(["red", "blue", "green", "(other)"], SIZE), 0.1),
            "title": gone(rng.choice(["CEO", "VP Sales", "Buyer", "asdf", ""], SIZE), 0.3),
            "mail": gone(rng.choice(["a@gmail.com", "b@acme.com", "broken"], SIZE), 0.3),
            "trial": pd.to_datetime(
                gone(NOW + rng.integers(-9 * DAY, 9 * DAY, SIZE), 0.2), unit="us", utc=True
            ),
        }
    )


@pytest.fixture(scope="module", params=[1, 7])
def tables(frame, request):
    """Give the table whole, and in chunks."""
    columns = {name: pa.array(frame[name].astype(object), from_pandas=True) for name in frame}
    table = pa.table(columns | {"trial": columns["trial"].cast(pa.timestamp("us", "UTC"))})
    chunks = np.array_split(np.arange(SIZE), request.param)
    table = pa.concat_tables([table.slice(c[0], len(c)) for c in chunks])
    created = NOW - np.arange(SIZE, dtype=np.int64) * DAY // 24
    return Tables(table, np.arange(SIZE), np.arange(SIZE), created, None, None, None, None, {}, ())


LEAD = np.random.default_rng(1).integers(0, SIZE, 700)  # rows in any order, leads more than once
AS_OF = NOW + np.random.default_rng(2).integers(-DAY, DAY, 700)


def read(feature, tables):
    return attribute(feature, tables, LEAD, AS_OF)


def levels(feature, tables):
    """Read a category, as words."""
    codes = read(feature, tables)
    return pd.Categorical.from_codes(np.where(np.isnan(codes), -1, codes).astype(int), feature.categories)


def words(values):
    return [None if pd.isna(value) else value for value in values]


def test_number(frame, tables):
    np.testing.assert_array_equal(
        read(AttributeFeature("number", "size"), tables), frame["size"].to_numpy()[LEAD]
    )


def test_category(frame, tables):
    found = levels(AttributeFeature("category", "colour", levels=("blue", "never", "red")), tables)
    assert list(found.categories) == ["blue", "never", "red", "(other)"]
    pooled = frame["colour"].replace({"green": "(other)"})
    assert words(found) == words(pooled[LEAD])


@pytest.mark.parametrize(
    ("aggregate", "field", "reading", "unknown"),
    [
        ("seniority", "title", seniority, "(other)"),
        ("department", "title", department, "(other)"),
        ("email_domain_kind", "mail", email_domain_kind, None),
    ],
)
def test_readings(frame, tables, aggregate, field, reading, unknown):
    feature = AttributeFeature(aggregate, field)
    found = levels(feature, tables)
    assert tuple(found.categories) == feature.categories
    expected = [None if text is None else reading(text) or unknown for text in words(frame[field][LEAD])]
    assert words(found) == expected
    assert len({*expected}) > 2


def test_levels_of_an_older_list_are_kept(tables):
    """A saved model's levels count, not those of today's words."""
    found = levels(AttributeFeature("seniority", "title", levels=("c_level",)), tables)
    assert {*words(found)} == {"c_level", "(other)", None}


def test_days_since_a_time_behind_us(frame, tables):
    found = read(AttributeFeature("days_since", "trial"), tables)
    since = (
        pd.to_datetime(AS_OF, unit="us", utc=True) - pd.DatetimeIndex(frame["trial"])[LEAD]
    ) / pd.Timedelta("1D")
    expected = np.where(since > pd.Timedelta(0) / pd.Timedelta("1D"), since, np.nan)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert 0 < np.isnan(found).sum() < len(found)


def test_a_time_at_the_moment_lies_ahead():
    table = pa.table({"trial": pa.array([NOW - 1, NOW, NOW + 1], pa.timestamp("us", "UTC"))})
    tables = Tables(table, np.arange(3), np.arange(3), None, None, None, None, None, {}, ())
    found = attribute(AttributeFeature("days_since", "trial"), tables, np.arange(3), np.full(3, NOW))
    np.testing.assert_array_equal(found, [1 / DAY, np.nan, np.nan])


def test_lead_age(tables):
    np.testing.assert_array_equal(
        read(AttributeFeature("lead_age"), tables), (AS_OF - tables.created_at[LEAD]) / DAY
    )


def test_filled_share(frame, tables):
    fields = ("size", "colour", "trial")
    found = read(AttributeFeature("filled_share", fields=fields), tables)
    np.testing.assert_allclose(found, frame[[*fields]].notna().mean(axis=1).to_numpy()[LEAD])


def test_column_that_is_not_there(tables):
    with pytest.raises(DataError, match=r"'colours' in leads.*did you mean 'colour'"):
        read(AttributeFeature("category", "colours"), tables)
    with pytest.raises(DataError, match="'sise' in leads"):
        read(AttributeFeature("filled_share", fields=("size", "sise")), tables)


def test_lead_age_needs_created_at(tables):
    bare = Tables(tables.leads, tables.lead_id, tables.position, None, None, None, None, None, {}, ())
    with pytest.raises(DataError, match="created_at"):
        read(AttributeFeature("lead_age"), bare)
