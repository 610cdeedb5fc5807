"""What drives scores overall: against group-bys in DuckDB, pandas and loops, and as sums that hold."""

import math
import re

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from leadscore.errors import DataError
from leadscore.explain.cells import cut
from leadscore.explain.drivers import driver_points
from leadscore.explain.overall import FEW, overall
from leadscore.features.declare import AttributeFeature, EventFeature
from leadscore.models.calibration import Scale
from leadscore.models.estimators import LogisticScorer
from leadscore.models.matrix import Column, to_matrix
from leadscore.models.points import LIMIT, PointRule

SCALE = Scale()
COUNT = EventFeature("count", "page_view", window=30)
RECENCY = EventFeature("recency", "page_view")
SENIORITY = AttributeFeature("seniority", "job_title")
REGIONS = ("North", "South", "West")
REGION = AttributeFeature("category", "region", levels=REGIONS)
SIZE = AttributeFeature("number", "company_size")
FEATURES = (COUNT, RECENCY, SENIORITY, REGION, SIZE)
CONCEPT = {
    "page_view_count_30d": "Page views",
    "page_view_recency": "Page views",
    "job_title_seniority": "Job title",
    "region": "Region",
    "company_size": "Company size",
}
RULES = (
    PointRule("Looked around", 4, per=COUNT.name, cap=30),
    PointRule("Sized", 0.1, per=SIZE.name, cap=20),
)


def leads(n=900, seed=4):
    """Leads with one to four rows each, gaps in every column, and an outcome that depends on most."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(n), rng.integers(1, 5, n))
    rows = len(group)
    count = rng.poisson(1.2, rows).astype(float)
    seniority = rng.choice(len(SENIORITY.categories), rows, p=_falling(len(SENIORITY.categories)))
    region = rng.choice(len(REGION.categories), n, p=[0.5, 0.3, 0.17, 0.03])[group]
    size = np.ceil(np.exp(rng.normal(4, 1.5, n)))[group]
    pull = -2.5 + 0.5 * count + 0.9 * (region == 1) + 0.2 * np.log(size) - 0.2 * seniority
    y = (rng.random(rows) < 1 / (1 + np.exp(-pull))).astype(int)
    size[rng.random(rows) < 0.2] = np.nan
    X = pd.DataFrame(
        {
            COUNT.name: count,
            RECENCY.name: np.where(count > 0, rng.exponential(9, rows), np.nan),
            SENIORITY.name: pd.Categorical.from_codes(seniority, SENIORITY.categories),
            REGION.name: pd.Categorical.from_codes(
                np.where(rng.random(rows) < 0.1, -1, region), REGION.categories
            ),
            SIZE.name: size,
        }
    )
    return X, y, group


def _falling(n):
    shares = 0.6 ** np.arange(n)
    return shares / shares.sum()


X, Y, GROUP = leads()


@pytest.fixture(scope="module", params=[(), RULES], ids=["logistic", "sum"])
def model(request):
    return LogisticScorer(request.param, Cs=(1.0,)).fit(X, Y, GROUP)


@pytest.fixture(scope="module")
def found(model):
    return summed(model, X, Y, group=GROUP, segment="region")


def summed(model, X, y, **given):
    return overall(model.served_, model.calibration_, SCALE, X, y, features=FEATURES, **given)


def within(x, words):
    """Read a range of numbers as a person does, and say which numbers lie in it."""
    number = r"(-?[\d,.]+)"
    told = [
        (rf"{number}", lambda a: x == a),
        (rf"{number} to {number}", lambda a, b: (x >= a) & (x <= b)),
        (rf"{number} or more", lambda a: x >= a),
        (rf"up to {number}", lambda a: x <= a),
        (rf"above {number}", lambda a: x > a),
        (rf"above {number} to {number}", lambda a, b: (x > a) & (x <= b)),
        ("any", lambda: ~np.isnan(x)),
        ("never|none|not given", lambda: np.isnan(x)),
    ]
    for pattern, test in told:
        if match := re.fullmatch(pattern, words):
            return test(*(float(each.replace(",", "")) for each in match.groups()))
    raise AssertionError(words)


def chosen(X, values, cell):
    """Say which rows are in a cell, from its words alone."""
    x = X[values.column]
    if values.ordered:
        return within(x.to_numpy(), cell.value)
    if cell.value == "not given":
        return x.isna().to_numpy()
    spoken = {"(other)": "any other" if values.column == "region" else "none of these", "vp": "VP"}
    spoken["c_level"] = "C-level"
    return (x.astype(object).map(lambda word: spoken.get(word, word)) == cell.value).to_numpy()


def every_cell(found):
    for reason in found.reasons:
        for values in reason.values:
            for cell in values.cells:
                yield reason, values, cell


# ------------------------------------------------------------------------------------------------- rates
def test_counts_and_rates_of_words_are_those_of_a_group_by(found):
    for column, other in ((SENIORITY.name, "none of these"), (REGION.name, "any other")):
        table = X.assign(lead=GROUP, y=Y, word=X[column].astype(object))  # noqa: F841  # read by DuckDB
        query = "select word, count(*), count(distinct lead), sum(y), avg(y) from table group by word"
        rows = duckdb.sql(query.replace("from table", 'from "table"')).fetchall()
        spoken = {"(other)": other, None: "not given", "c_level": "C-level", "vp": "VP"}
        expected = {spoken.get(word, word): tuple(rest) for word, *rest in rows}
        (values,) = [v for r in found.reasons for v in r.values if v.column == column]
        told = {c.value: (c.rows, c.leads, c.converted, pytest.approx(c.rate.value)) for c in values.cells}
        assert expected == told


def test_counts_and_rates_of_ranges_are_those_of_the_rows_that_their_words_tell(found):
    checked = 0
    for _, values, cell in every_cell(found):
        rows = chosen(X, values, cell)
        assert cell.rows == rows.sum()
        assert cell.leads == len(set(GROUP[rows]))
        assert cell.converted == Y[rows].sum()
        assert cell.rate.value == pytest.approx(Y[rows].mean())
        assert cell.lift == pytest.approx(Y[rows].mean() / Y.mean())
        assert cell.few == (cell.leads < FEW)
        assert cell.side == int(cell.rate.low > Y.mean()) - int(cell.rate.high < Y.mean())
        checked += values.ordered
    assert checked > 12
    assert {cell.side for *_, cell in every_cell(found)} == {-1, 0, 1}


def test_every_row_is_in_one_cell_of_each_column(found):
    for part in (found, *found.segments.values()):
        for reason in part.reasons:
            for values in reason.values:
                assert sum(cell.rows for cell in values.cells) == part.rows
                assert sum(cell.converted for cell in values.cells) == part.converted
                assert len({cell.value for cell in values.cells}) == len(values.cells)


def test_intervals_are_wilsons_where_each_lead_has_one_row(model):
    found = summed(model, X, Y)
    assert found.leads == len(X)
    for *_, cell in every_cell(found):
        peer = binomtest(int(cell.converted), cell.rows).proportion_ci(method="wilson")
        assert (cell.rate.low, cell.rate.high) == pytest.approx((peer.low, peer.high), abs=1e-12)


def test_rows_that_come_again_make_nothing_surer(model):
    """Three times the same rows of the same leads: the same leads, rates, intervals and points."""
    first = np.flatnonzero(np.diff(GROUP, prepend=-1))
    thrice = np.repeat(first, 3)
    once = summed(model, X.iloc[first], Y[first], group=GROUP[first])
    again = summed(model, X.iloc[thrice], Y[thrice], group=GROUP[thrice])
    for (*_, cell), (*_, same) in zip(every_cell(once), every_cell(again), strict=True):
        assert (cell.value, cell.leads, 3 * cell.rows) == (same.value, same.leads, same.rows)
        assert (cell.rate.low, cell.rate.high) == pytest.approx((same.rate.low, same.rate.high))
        assert cell.points == pytest.approx(same.points)


def test_leads_with_unequal_rows_are_worth_kishs_number(model):
    group = np.r_[np.zeros(6, int), 1, 2, 3, 4]  # 36 + 4 for 10 rows: two and a half leads
    found = summed(model, X[:10], np.r_[1, 1, 1, 0, 0, 0, 1, 0, 0, 0], group=group)
    rate, n, z = 0.4, 2.5, 1.959963984540054
    half = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    middle = (rate + z * z / (2 * n)) / (1 + z * z / n)
    assert (found.average.low, found.average.high) == pytest.approx((middle - half, middle + half))


# ------------------------------------------------------------------------------------------------ points
def test_points_of_cells_are_means_by_brute_force(model, found):
    served = model.served_
    split = driver_points(served, model.calibration_, SCALE, to_matrix(X, served.columns))
    behind = [columns[0] if columns else None for columns in served.driver_columns]
    for reason, values, cell in every_cell(found):
        rows = np.flatnonzero(chosen(X, values, cell))
        of_reason = [j for j, column in enumerate(behind) if CONCEPT.get(column) == reason.label]
        of_column = [j for j, column in enumerate(behind) if column == values.column]
        assert cell.points == pytest.approx(np.mean([split.points[i, of_reason].sum() for i in rows]))
        assert cell.own == pytest.approx(np.mean([split.points[i, of_column].sum() for i in rows]))


def test_means_add_up_to_the_mean_score_before_it_is_clipped(model, found):
    p = model.predict_proba(X)[:, 1]
    raw = 50 + 8 * np.log2(p / (1 - p) * 9)
    assert found.base + sum(reason.mean for reason in found.reasons) == pytest.approx(raw.mean(), abs=1e-9)
    for reason in found.reasons:
        for values in reason.values:
            weighed = sum(cell.rows * cell.points for cell in values.cells) / found.rows
            assert weighed == pytest.approx(reason.mean, abs=1e-9)


def test_reasons_are_ranked_by_the_mean_size_of_their_points(model, found):
    served = model.served_
    split = driver_points(served, model.calibration_, SCALE, to_matrix(X, served.columns))
    labels = [CONCEPT[c[0]] if c else LIMIT.capitalize() for c in served.driver_columns]
    sizes = pd.DataFrame(split.points).T.groupby(np.array(labels)).sum().T
    expected = sizes.abs().mean().sort_values(ascending=False)
    assert {r.label: pytest.approx(r.size) for r in found.reasons} == expected.to_dict()
    assert [reason.label for reason in found.reasons] == list(expected.index)
    spread = sizes.quantile([0.05, 0.25, 0.5, 0.75, 0.95])
    for reason in found.reasons:
        assert reason.spread == pytest.approx(spread[reason.label].to_numpy())


def test_the_limit_of_a_point_table_is_a_reason_without_values(found, model):
    limits = [reason for reason in found.reasons if not reason.values]
    assert [reason.family for reason in limits] == (["limit"] if model.rules else [])


# ---------------------------------------------------------------------------------------------- segments
def test_a_segment_is_what_its_rows_alone_are(model, found):
    assert {*found.segments} == {*REGIONS, "(other)", "not given"}
    assert sum(part.rows for part in found.segments.values()) == found.rows
    sizes = [part.leads for part in found.segments.values()]
    assert sizes == sorted(sizes, reverse=True)
    for name, part in found.segments.items():
        at = (X["region"].isna() if name == "not given" else X["region"] == name).to_numpy()
        assert part.average.value == pytest.approx(Y[at].mean())
        for reason, values, cell in every_cell(part):
            rows = at & chosen(X, values, cell)
            assert (cell.rows, cell.converted) == (rows.sum(), Y[rows].sum())
            assert cell.lift == pytest.approx(Y[rows].mean() / Y[at].mean())
            assert reason.mean == pytest.approx(
                np.average([c.points for c in values.cells], weights=[c.rows for c in values.cells])
            )


def test_the_frame_has_every_cell(found):
    frame = found.to_frame()
    assert len(frame) == sum(1 for part in (found, *found.segments.values()) for _ in every_cell(part))
    north = frame[(frame["segment"] == "North") & (frame["column"] == SIZE.name)]
    assert north["rows"].sum() == (X["region"] == "North").sum()
    assert set(frame["reason"]) == set(CONCEPT.values())


@pytest.mark.parametrize("segment", ["regoin", SIZE.name])
def test_a_segment_that_is_no_category(model, segment):
    with pytest.raises(DataError, match="a category of X as segment"):
        summed(model, X, Y, segment=segment)


@pytest.mark.parametrize("rows", [0, 5])
def test_outcomes_and_rows_must_be_as_many(model, rows):
    with pytest.raises(DataError, match="one outcome a row"):
        summed(model, X[:rows], Y[:3] if rows else Y[:0])


def test_where_nobody_converted_there_is_no_lift(model):
    found = summed(model, X[:50], np.zeros(50))
    assert all(math.isnan(cell.lift) and cell.side == 0 for *_, cell in every_cell(found))


# ------------------------------------------------------------------------------------------------- cells
@given(
    st.lists(
        st.one_of(st.integers(-3, 12).map(float), st.floats(-1e9, 1e9), st.just(math.nan)),
        min_size=1,
        max_size=60,
    ),
    st.sampled_from([None, COUNT, RECENCY, SIZE]),
)
def test_numbers_lie_where_their_cells_words_say(numbers, feature):
    x = np.array(numbers)
    coded = cut(x, Column("x"), feature, x, 12)
    assert len(coded.words) <= 7
    for c in np.unique(coded.codes):
        mine = coded.codes == c
        distinct = np.unique(x[~np.isnan(x)])
        if c < coded.plain and (len(distinct) > 6 or (distinct == np.round(distinct)).all()):
            np.testing.assert_array_equal(within(x, coded.words[c]), mine)
        assert np.isnan(x[mine]).all() == (c == len(coded.words) - 1)


def test_rarer_words_are_taken_together():
    counts = [50, 40, 30, 3, 2, 1]
    x = np.repeat(np.arange(6.0), counts)
    coded = cut(x, Column("x", tuple("abcdef")), None, x, 4)
    assert coded.words == ("a", "b", "c", "3 rarer values", "not given")
    assert np.bincount(coded.codes).tolist() == [50, 40, 30, 6]
    assert coded.plain == 3


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.r_[np.zeros(400), np.ones(90), 2, 2, 3, 4, 5], ("0", "1", "2 or more")),
        (np.r_[np.zeros(40), np.ones(9), 5], ("0", "1", "5")),
        (
            np.arange(502) + 2000.0,
            ("up to 2,100", "2,101 to 2,200", "2,201 to 2,301", "2,302 to 2,401", "2,402 or more"),
        ),
        (
            np.linspace(1, 2, 501),
            ("up to 1.2", *(f"above 1.{a} to 1.{a + 2}" for a in (2, 4, 6)), "above 1.8"),
        ),
        (np.full(9, 3.5), ("3.5",)),
    ],
    ids=["rare", "few", "whole", "fractions", "constant"],
)
def test_ranges_read_well(x, words):
    assert cut(x, Column("x"), None, x, 12).words[:-1] == words


@pytest.mark.parametrize(
    "x",
    [
        np.array([-1.7e308, -1e300, -5e-324, 0.0, 5e-324, 1e-200, 3.0, 1e17, 1e300, 1.7e308]),
        np.arange(10) * 5e-324,
    ],
)
def test_numbers_without_measure_do_no_harm(x):
    coded = cut(x, Column("x"), None, x, 12)
    assert np.bincount(coded.codes).sum() == len(x)
    assert max(map(len, coded.words)) < 40


def test_shares_are_percentages():
    feature = AttributeFeature("filled_share", fields=("a", "b", "c"))
    coded = cut(np.array([1 / 3, 2 / 3, 1.0]), Column("filled_share"), feature, np.zeros(3), 12)
    assert coded.words == ("33.3", "66.7", "100", "not given")
    assert coded.measure == "%"


def test_words_carry_no_control_characters():
    hostile = ("\x1b[31mred", "<script>")
    coded = cut(np.array([0.0, 1.0]), Column("x", hostile), None, np.zeros(2), 12)
    assert coded.words[:2] == ("[31mred", "<script>")  # escaped where they become HTML
