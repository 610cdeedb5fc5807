import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadscore.errors import ModelError
from leadscore.models.conditions import Condition
from leadscore.models.linear import LevelsTerm, LinearTable, NumberTerm
from leadscore.models.matrix import Column
from leadscore.models.points import LIMIT, PointRule, PointTable
from leadscore.models.saved import read_scorer
from leadscore.models.sums import Sum

COLUMNS = (Column("visits"), Column("source", ("Ads", "Referral")))
POINTS = PointTable(
    COLUMNS,
    (PointRule("visits", 9, per="visits"), PointRule("Referred", 40, Condition("source", "is", "Referral"))),
    means=(18.0, 10.0, -2.0),
)
LINEAR = LinearTable(
    COLUMNS,
    (
        NumberTerm(False, 0.0, 20.0, centre=3.0, scale=2.0, coefficient=0.7, missing=-0.4, mean=0.05),
        LevelsTerm((0.3, 1.4), missing=-0.6, mean=0.2),
    ),
    intercept=-1.7,
)
TOTAL = Sum((POINTS, LINEAR), (0.03, 1.0), -2.5)
rows = st.lists(
    st.tuples(st.floats(0, 30) | st.just(np.nan), st.sampled_from([0.0, 1.0, np.nan])),
    min_size=1,
    max_size=40,
).map(np.array)


def by_hand(visits, source):
    points = min((0 if np.isnan(visits) else 9 * visits) + 40 * (source == 1), 100)
    number = -0.4 if np.isnan(visits) else 0.7 * (min(visits, 20) - 3) / 2
    return -2.5 + 0.03 * points - 1.7 + number + (-0.6 if np.isnan(source) else [0.3, 1.4][int(source)])


@given(rows)
def test_margins_are_those_worked_out_by_hand(M):
    np.testing.assert_allclose(TOTAL.margin(M), [by_hand(*row) for row in M], rtol=1e-12, atol=1e-12)


@given(rows)
def test_contributions_are_the_parts_and_lead_from_the_base_to_the_margin(M):
    base, phi = TOTAL.contributions(M)
    assert base == pytest.approx(-2.5 + 0.03 * 26 - 1.7 + 0.25)
    np.testing.assert_allclose(base + phi.sum(axis=1), TOTAL.margin(M), rtol=0, atol=1e-9)
    earned = np.where(np.isnan(M[:, 0]), 0, 9 * M[:, 0])
    np.testing.assert_allclose(phi[:, 0], 0.03 * (earned - 18), atol=1e-12)


@given(rows)
def test_one_row_and_many_give_the_same_bits(M):
    together, (_, phi) = TOTAL.margin(M), TOTAL.contributions(M)
    assert [TOTAL.margin(M[i : i + 1])[0] for i in range(len(M))] == together.tolist()
    assert [TOTAL.contributions(M[i : i + 1])[1][0].tolist() for i in range(len(M))] == phi.tolist()
    assert TOTAL.margin(np.asfortranarray(M)).tolist() == together.tolist()


def test_drivers_are_the_parts_drivers_under_names_of_their_own():
    assert TOTAL.drivers == ("visits", "Referred", LIMIT, "visits (2)", "source")
    assert TOTAL.driver_columns == (("visits",), ("source",), (), ("visits",), ("source",))


@pytest.mark.parametrize("total", [TOTAL, Sum((TOTAL, LINEAR), (0.5, 0.5), 0.0)])
def test_sums_are_read_back_beside_other_files_and_within_each_other(total):
    files = {**total.to_files(), "calibration.json": b"{}"}
    assert read_scorer("sum", files) == total


def test_parts_over_other_columns_are_refused():
    other = PointTable(COLUMNS[:1], ())
    for parts, weights in (((POINTS, other), (1.0, 1.0)), ((POINTS,), (1.0, 2.0)), ((), ())):
        with pytest.raises(ModelError, match="parts over the same columns"):
            Sum(parts, weights, 0.0)


def altered(**values):
    return json.dumps(json.loads(TOTAL.to_files()["sum.json"]) | values).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[" * 100_000,
        b"[]",
        altered(kinds=["points"]),
        altered(kinds=["points", "neural"]),
        altered(kinds=["points", ["linear"]]),
        altered(kinds=["linear", "points"]),
        altered(kinds="points"),
        altered(weights=[1.0, None]),
        altered(weights=[1.0, float("nan")]),
        altered(weights=[1.0, True]),
        altered(intercept=float("inf")),
        altered(intercept=10**400),
        altered(more=1),
    ],
)
def test_altered_sums_are_refused(content):
    with pytest.raises(ModelError):
        Sum.from_files({**TOTAL.to_files(), "sum.json": content})


@pytest.mark.parametrize("name", TOTAL.to_files())
def test_absent_files_are_refused(name):
    files = TOTAL.to_files()
    del files[name]
    with pytest.raises(ModelError, match=r"readable|kind"):
        Sum.from_files(files)
