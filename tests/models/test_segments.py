import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadscore.errors import ModelError
from leadscore.models.linear import LevelsTerm, LinearTable, NumberTerm
from leadscore.models.matrix import Column
from leadscore.models.saved import read_scorer
from leadscore.models.segments import Segmented

COLUMNS = (Column("visits"), Column("region", ("North", "South", "West")))
INNER = LinearTable(
    COLUMNS,
    (
        NumberTerm(False, 0.0, 20.0, centre=3.0, scale=2.0, coefficient=0.7, missing=-0.4, mean=0.05),
        LevelsTerm((0.3, 1.4, 0.0), missing=-0.6, mean=0.2),
    ),
    intercept=-1.7,
)
SEGMENTED = Segmented(INNER, "region", (0.0, -0.5, 0.25), (1.0, 1.5, 0.5), mean=0.125)
MOVES = {0.0: (0.0, 1.0), 1.0: (-0.5, 1.5), 2.0: (0.25, 0.5)}
rows = st.lists(
    st.tuples(st.floats(0, 30) | st.just(np.nan), st.sampled_from([0.0, 1.0, 2.0, np.nan])),
    min_size=1,
    max_size=40,
).map(np.array)


@given(rows)
def test_each_segment_stretches_and_shifts_the_margin(M):
    moves = np.array([MOVES.get(region, (0.0, 1.0)) for region in M[:, 1]])
    wanted = moves[:, 0] + moves[:, 1] * INNER.margin(M)
    np.testing.assert_allclose(SEGMENTED.margin(M), wanted, rtol=1e-12, atol=1e-12)


@given(st.floats(0, 30) | st.just(np.nan))
def test_a_row_without_a_segment_keeps_the_margin_to_the_last_bit(visits):
    M = np.array([[visits, np.nan], [visits, 0.0]])
    assert SEGMENTED.margin(M).tolist() == INNER.margin(M).tolist()


@given(rows)
def test_contributions_lead_from_the_base_to_the_margin(M):
    base, phi = SEGMENTED.contributions(M)
    np.testing.assert_allclose(base + phi.sum(axis=1), SEGMENTED.margin(M), rtol=0, atol=1e-9)
    inner_base, inner_phi = INNER.contributions(M)
    slopes = np.array([MOVES.get(row[1], (0, 1))[1] for row in M])
    assert base == inner_base + 0.125
    np.testing.assert_allclose(phi[:, :-1], slopes[:, None] * inner_phi, atol=1e-12)


@given(rows)
def test_one_row_and_many_give_the_same_bits(M):
    together, (_, phi) = SEGMENTED.margin(M), SEGMENTED.contributions(M)
    assert [SEGMENTED.margin(M[i : i + 1])[0] for i in range(len(M))] == together.tolist()
    assert [SEGMENTED.contributions(M[i : i + 1])[1][0].tolist() for i in range(len(M))] == phi.tolist()


def test_the_segment_is_a_driver_of_its_own():
    assert SEGMENTED.drivers == ("visits", "region", "region (2)")
    assert SEGMENTED.driver_columns == (("visits",), ("region",), ("region",))


def test_segmented_models_are_read_back():
    assert read_scorer("segmented", {**SEGMENTED.to_files(), "calibration.json": b"{}"}) == SEGMENTED


def altered(**values):
    return json.dumps(json.loads(SEGMENTED.to_files()["segments.json"]) | values).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[" * 100_000,
        b"[]",
        altered(kind="neural"),
        altered(kind="points"),
        altered(kind=None),
        altered(column="visits"),
        altered(column="country"),
        altered(offsets=[0.0, 1.0]),
        altered(offsets=[0.0, 1.0, float("nan")]),
        altered(slopes=[1.0, 1.0, 0.0]),
        altered(slopes=[1.0, 1.0, -1.0]),
        altered(slopes=[1.0, 1.0, float("inf")]),
        altered(slopes=[1.0, 1.0]),
        altered(mean="0"),
        altered(mean=10**400),
        altered(more=1),
    ],
)
def test_altered_models_are_refused(content):
    with pytest.raises(ModelError):
        Segmented.from_files({**SEGMENTED.to_files(), "segments.json": content})


@pytest.mark.parametrize("name", SEGMENTED.to_files())
def test_absent_files_are_refused(name):
    files = SEGMENTED.to_files()
    del files[name]
    with pytest.raises(ModelError, match="readable"):
        Segmented.from_files(files)
