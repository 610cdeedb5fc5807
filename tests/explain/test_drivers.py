import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadscore.explain.drivers import driver_points, family_sums, grouped, shown_integers, whole
from leadscore.models.calibration import Scale, Sigmoid
from leadscore.models.conditions import Condition
from leadscore.models.linear import LevelsTerm, LinearTable, NumberTerm
from leadscore.models.matrix import Column
from leadscore.models.points import PointRule, PointTable

COLUMNS = (Column("visits"), Column("calls"), Column("source", ("(other)", "Ads", "Referral")))
POINTS = PointTable(
    COLUMNS,
    (
        PointRule("Visits", 3, per="visits", cap=60),
        PointRule("Referred", 25, Condition("source", "is", "Referral")),
        PointRule("Never called", -15, Condition("calls", "below", 1)),
        PointRule("Called", 30, Condition("calls", "at_least", 1), family="operations"),
    ),
)
LINEAR = LinearTable(
    COLUMNS,
    (
        NumberTerm(
            signed_log=True,
            low=-1e9,
            high=1e9,
            centre=1.0,
            scale=0.7,
            coefficient=4.0,
            missing=-0.3,
            mean=0.1,
        ),
        NumberTerm(
            signed_log=False,
            low=-1e9,
            high=1e9,
            centre=0.5,
            scale=2.0,
            coefficient=6.0,
            missing=0.0,
            mean=-0.4,
        ),
        LevelsTerm(coefficients=(0.1, -1.2, 1.9), missing=0.4, mean=0.2),
    ),
    intercept=-5.0,
)
SCALE = Scale()


def matrix(n, seed=0):
    rng = np.random.default_rng(seed)
    M = np.column_stack([rng.poisson(6, n), rng.poisson(0.8, n), rng.integers(0, 3, n)]).astype(float)
    M[rng.random((n, 3)) < 0.15] = np.nan
    return np.asfortranarray(M)


SCORERS = [(POINTS.with_means(matrix(500, 1)), Sigmoid(0.09, -5.0)), (LINEAR, Sigmoid(0.8, -0.2))]


@pytest.mark.parametrize(("scorer", "calibration"), SCORERS, ids=["points", "linear"])
def test_points_add_up_to_the_score_of_the_probability(scorer, calibration):
    split = driver_points(scorer, calibration, SCALE, matrix(3000))
    total = split.base + split.points.sum(axis=1) + split.clip
    assert np.abs(total - split.score).max() < 1e-9
    assert split.points.shape == (3000, len(scorer.drivers))
    for p, score in zip(split.probability.tolist(), split.score.tolist(), strict=True):
        exact = 50 + 8 * math.log2(p / (1 - p) * 9)  # 50 is one in nine, and 8 points double that
        assert score == pytest.approx(min(100.0, max(0.0, exact)), abs=1e-6)
    assert split.base == pytest.approx(
        50 + 8 * math.log2(split.typical_probability / (1 - split.typical_probability) * 9)
    )


def test_only_the_ends_of_the_scale_are_cut():
    split = driver_points(*SCORERS[1], SCALE, matrix(3000))
    raw = split.base + split.points.sum(axis=1)
    inside = (raw > 0.01) & (raw < 99.99)
    assert (split.clip[inside] == 0).all()
    assert (split.clip[raw > 100.01] < 0).all()
    assert (split.clip[raw < -0.01] > 0).all()
    assert min((raw > 100.01).sum(), (raw < -0.01).sum(), inside.sum()) > 50


@pytest.mark.parametrize(("scorer", "calibration"), SCORERS, ids=["points", "linear"])
def test_one_lead_equals_the_batch_to_the_bit(scorer, calibration):
    M = matrix(50)
    batch = driver_points(scorer, calibration, SCALE, M)
    families = ["fit", "engagement", "fit", "operations", "limit"][: len(scorer.drivers)]
    sums = family_sums(batch.points, families)
    for i in range(50):
        one = driver_points(scorer, calibration, SCALE, M[i : i + 1])
        for name in ("points", "clip", "score", "probability"):
            assert np.array_equal(getattr(one, name)[0], getattr(batch, name)[i])
        alone = family_sums(one.points, families)
        assert all(alone[family][0] == sums[family][i] for family in sums)


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=12), st.integers(0, 2**32 - 1))
def test_groups_are_sums_over_their_columns(keys, seed):
    points = np.random.default_rng(seed).normal(size=(3, len(keys)))
    names, sums = grouped(points, keys)
    assert list(names) == list(dict.fromkeys(keys))
    for name, column in zip(names, sums.T, strict=True):
        assert column == pytest.approx(points[:, [key == name for key in keys]].sum(axis=1))


@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray])
@pytest.mark.parametrize("n", [0, 1, 2, 64, 65, 3000])
def test_groups_are_added_column_after_column_whatever_the_rows(n, layout):
    """To the last bit, the sign of zero included: one lead's families are those of the batch."""
    rng = np.random.default_rng(n)
    points = rng.normal(size=(n, 162)) * 10.0 ** rng.integers(-12, 12, (n, 162))
    points[rng.random(points.shape) < 0.1] = -0.0
    keys = rng.choice(["fit", "engagement", "operations", "limit"], 162).tolist()
    names, sums = grouped(layout(points), keys)
    for name, column in zip(names, sums.T, strict=True):
        expected = [0.0] * n
        for j in (j for j, key in enumerate(keys) if key == name):
            expected = [total + value for total, value in zip(expected, points[:, j].tolist(), strict=True)]
        assert np.array(expected).tobytes() == column.tobytes()


def test_no_drivers_are_no_groups():
    names, sums = grouped(np.empty((3, 0)), [])
    assert names == ()
    assert sums.shape == (3, 0)


def test_families_without_drivers_are_zero():
    assert family_sums(np.ones((2, 1)), ["fit"])["operations"].tolist() == [0.0, 0.0]


parts = st.lists(st.floats(-60, 60) | st.integers(-60, 60).map(float), min_size=1, max_size=30)


@given(parts, st.floats(-40, 60))
def test_shown_integers_add_up_and_stay_beside_their_parts(drivers, base):
    score = base + math.fsum(drivers)
    total = whole(score) - whole(base)
    shown = shown_integers([drivers], [total])[0]
    assert shown.sum() == total
    assert whole(base) + shown.sum() == whole(score)
    assert np.abs(shown - drivers).max() <= 1 + 1e-6
    ordered = shown[np.argsort(drivers, kind="stable")]
    assert (np.diff(ordered) >= 0).all() or len(set(drivers)) < len(drivers)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_largest_remainder_as_it_is_counted_in_elections(votes):
    shares = np.array(votes) / (sum(votes) or 1.0) * 100
    seats = [math.floor(share) for share in shares]
    for _ in range(100 - sum(seats) if sum(votes) else 0):
        best = max(range(len(shares)), key=lambda j: (shares[j] - seats[j], -j))
        seats[best] += 1
    assert shown_integers([shares], [sum(seats)])[0].tolist() == seats


def test_rows_are_rounded_apart():
    rows = np.random.default_rng(0).normal(0, 5, (200, 9))
    totals = [whole(row.sum()) for row in rows]
    together = shown_integers(rows, totals)
    assert together.sum(axis=1).tolist() == totals
    for row, total, shown in zip(rows, totals, together, strict=True):
        assert shown_integers([row], [total])[0].tolist() == shown.tolist()
