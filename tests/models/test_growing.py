import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from leadscore.models.calibration import probability
from leadscore.models.growing import Binned, binned, counted, grow, ridge_logistic
from leadscore.models.matrix import Column


def test_the_ridge_logistic_is_scikit_learns():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(400, 5))
    y = (rng.random(400) < probability(Z[:, 0] - 0.5 * Z[:, 1] - 1)).astype(float)
    weights, intercept = ridge_logistic(Z, y, np.zeros(5), 0.0, ridge=2.0)
    peer = LogisticRegression(C=0.5, tol=1e-10, max_iter=1000).fit(Z, y)
    np.testing.assert_allclose(weights, peer.coef_[0], atol=1e-4)
    assert intercept == pytest.approx(peer.intercept_[0], abs=1e-4)


@given(
    st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(float("nan"))), min_size=1, max_size=200).map(np.array)
)
def test_bins_are_the_stretches_between_their_edges(x):
    cut = binned(x, 0, Column("x"))
    assert (np.diff(cut.edges) > 0).all()
    for value, code in zip(x, cut.code, strict=True):
        expected = cut.size - 1 if np.isnan(value) else sum(value >= edge for edge in cut.edges)
        assert code == expected


def test_edges_of_whole_numbers_are_whole_and_others_are_round():
    rng = np.random.default_rng(1)
    assert (binned(rng.poisson(40, 2000).astype(float), 0, Column("x")).edges % 1 == 0).all()
    edges = binned(rng.lognormal(5, 1, 5000), 0, Column("x")).edges
    assert max(len(f"{edge:g}".replace(".", "").strip("0")) for edge in edges) <= 3


def test_the_first_term_is_the_split_that_a_search_of_all_finds():
    """By brute force: the threshold whose own logistic regression has the highest likelihood."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(1500, 3))
    y = (rng.random(1500) < probability(2.0 * (x[:, 1] > 0.6) - 1.5)).astype(float)
    parts = [binned(x[:, j], j, Column(str(j))) for j in range(3)]
    term = grow(parts, y, 1)[1].terms[0]

    def likelihood(z):
        w, b = ridge_logistic(z[:, None], y, np.zeros(1), 0.0, ridge=1e-6)
        margin = z * w[0] + b
        return (y * margin - np.logaddexp(0, margin)).sum()

    best = max(
        ((j, edge) for j, part in enumerate(parts) for edge in part.edges),
        key=lambda found: likelihood((x[:, found[0]] >= found[1]).astype(float)),
    )
    part = parts[term.part]
    split = part.edges[min(term.bins) - 1] if part.size - 2 in term.bins else part.edges[max(term.bins)]
    assert (term.part, split) == best


def test_levels_that_are_alike_go_together():
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 6, 6000).astype(float)
    y = (rng.random(6000) < np.where(np.isin(codes, [1, 4]), 0.4, 0.1)).astype(float)
    path = grow([binned(codes, 0, Column("c", tuple("abcdef")))], y, 1)
    assert set(path[1].terms[0].bins) in ({1, 4}, {0, 2, 3, 5})


def test_the_chance_only_rises_or_only_falls_along_a_number():
    rng = np.random.default_rng(4)
    x = rng.uniform(-1, 1, (4000, 2))
    y = (rng.random(4000) < probability(2 * x[:, 0] + 3 * x[:, 0] ** 2 - x[:, 1] - 1)).astype(float)
    parts = [binned(x[:, j], j, Column(str(j))) for j in range(2)]
    model = grow(parts, y, 12)[-1]
    for j, direction in ((0, 1), (1, -1)):
        worth = np.zeros(parts[j].size)
        for term, weight in zip(model.terms, model.weights, strict=True):
            if term.part == j:
                worth[list(term.bins)] += weight
        assert (np.diff(worth[:-1]) * direction >= 0).all()
        assert worth.any()


def test_units_count_up_to_a_cap_in_the_direction_they_have_alone():
    rng = np.random.default_rng(5)
    visits = rng.poisson(2, 5000).astype(float)
    shadow = visits + rng.poisson(0.3, 5000)  # says less of the same: it may not turn against it
    y = (rng.random(5000) < probability(0.8 * np.minimum(visits, 4) - 3)).astype(float)
    model = grow([counted(visits, 0), counted(shadow, 1)], y, 5)[-1]
    assert model.terms[0].part == 0
    assert model.terms[0].cap in (3, 5)  # 4 is no quantile that is tried
    assert (model.weights > 0).all()


def test_nothing_grows_where_nothing_differs():
    rng = np.random.default_rng(6)
    parts = [binned(rng.normal(size=500), j, Column(str(j))) for j in range(3)]
    y = np.zeros(500)
    assert len(grow(parts, y, 5)) == 1  # one class: nothing to add
    none = Binned(0, np.zeros(500, np.int64), 2, np.zeros(0))
    assert len(grow([none], (np.arange(500) % 2).astype(float), 5)) == 1
