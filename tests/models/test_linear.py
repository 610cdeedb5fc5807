import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadscore.errors import ModelError
from leadscore.models.linear import LevelsTerm, LinearTable, NumberTerm
from leadscore.models.matrix import Column

COLUMNS = (Column("visits"), Column("revenue"), Column("source", ("Ads", "Referral")))
TABLE = LinearTable(
    COLUMNS,
    (
        NumberTerm(False, -1.0, 20.0, centre=3.0, scale=2.0, coefficient=0.7, missing=-0.4, mean=0.05),
        NumberTerm(True, -1e6, 1e9, centre=1.1, scale=0.3, coefficient=-0.2, missing=0.1, mean=-0.3),
        LevelsTerm((0.3, 1.4), missing=-0.6, mean=0.2),
    ),
    intercept=-1.7,
)
rows = st.lists(
    st.tuples(
        st.floats(-5, 50) | st.just(np.nan),
        st.floats(-1e7, 1e10) | st.just(np.nan),
        st.sampled_from([0, 1, np.nan]),
    ),
    min_size=1,
    max_size=70,
).map(np.array)


def by_hand(visits, revenue, source):
    seen = min(max(visits, -1), 20)
    logged = np.copysign(np.log(1 + abs(min(max(revenue, -1e6), 1e9))), revenue)
    return [
        -0.4 if np.isnan(visits) else 0.7 * (seen - 3) / 2,
        0.1 if np.isnan(revenue) else -0.2 * (logged - 1.1) / 0.3,
        -0.6 if np.isnan(source) else [0.3, 1.4][int(source)],
    ]


@given(rows)
def test_margins_are_those_worked_out_by_hand(M):
    np.testing.assert_allclose(
        TABLE.margin(M), [-1.7 + sum(by_hand(*row)) for row in M], rtol=1e-12, atol=1e-12
    )


@given(rows)
def test_contributions_compare_with_the_average_and_add_up(M):
    base, parts = TABLE.contributions(M)
    np.testing.assert_allclose(
        parts, [np.subtract(by_hand(*row), [0.05, -0.3, 0.2]) for row in M], atol=1e-12
    )
    np.testing.assert_allclose(base + parts.sum(axis=1), TABLE.margin(M), atol=1e-9)


@given(rows)
def test_one_row_and_many_give_the_same_bits_in_either_memory_order(M):
    together = TABLE.margin(M)
    assert TABLE.margin(np.asfortranarray(M)).tolist() == together.tolist()
    assert [TABLE.margin(M[i : i + 1])[0] for i in range(len(M))] == together.tolist()


def test_tables_are_read_back():
    assert LinearTable.from_files(TABLE.to_files()) == TABLE


def saved():
    return json.loads(TABLE.to_files()["linear.json"])


def altered(path, value):
    values = saved()
    at = values
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return values


@pytest.mark.parametrize(
    "values",
    [
        altered(["intercept"], None),
        altered(["intercept"], "1"),
        altered(["intercept"], float("inf")),
        altered(["intercept"], 10**400),
        altered(["more"], 1),
        altered(["terms"], []),
        altered(["terms", 0, "scale"], 0.0),
        altered(["terms", 0, "scale"], -1.0),
        altered(["terms", 0, "low"], 21.0),
        altered(["terms", 0, "signed_log"], 1),
        altered(["terms", 0, "mean"], True),
        altered(["terms", 0, "other"], 1.0),
        altered(["terms", 2, "coefficients"], [0.3]),
        altered(["terms", 2, "coefficients"], [0.3, float("nan")]),
        altered(["terms", 2], 3),
        altered(["columns", 0, "levels"], ["a"]),
        altered(["columns", 0], {}),
        [],
    ],
)
def test_altered_tables_are_refused(values):
    with pytest.raises(ModelError):
        LinearTable.from_files({"linear.json": json.dumps(values).encode()})


@pytest.mark.parametrize("files", [{}, {"linear.json": b"\xff\xfe"}, {"linear.json": b"[" * 100_000}])
def test_unreadable_files_are_refused(files):
    with pytest.raises(ModelError, match=r"readable linear\.json"):
        LinearTable.from_files(files)
