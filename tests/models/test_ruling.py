"""Rules against the weighted terms that they are written from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadscore.models.growing import Grown, Part, Term, binned, counted
from leadscore.models.matrix import OTHER, Column
from leadscore.models.points import PointTable
from leadscore.models.ruling import rules_of, total

COLUMNS = (Column("visits"), Column("source", ("Ads", "Fair", "Partner", OTHER)), Column("seen"))


@st.composite
def grown(draw: st.DrawFn) -> tuple[Grown, list[Part], np.ndarray]:
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    n = draw(st.integers(20, 200))
    levels = rng.choice(draw(st.sampled_from([[0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0], [1.0, 3.0]])), n)
    M = np.stack([rng.poisson(3, n).astype(float), levels, rng.exponential(2, n)], axis=1)
    if draw(st.booleans()):
        M[rng.random((n, 3)) < draw(st.sampled_from([0.02, 0.4]))] = np.nan
    parts: list[Part] = [
        binned(M[:, 0], 0, COLUMNS[0]),
        binned(M[:, 1], 1, COLUMNS[1]),
        counted(M[:, 2], 2),
    ]
    terms = []
    for _ in range(draw(st.integers(1, 6))):
        j = draw(st.integers(0, 1))
        size = parts[j].size  # type: ignore[union-attr]
        terms.append(Term(j, tuple(draw(st.sets(st.integers(0, size - 1), min_size=1)))))
    if draw(st.booleans()):
        terms.append(Term(2, cap=2.0))
    return Grown(tuple(terms), rng.normal(size=len(terms)), 0.3), parts, M


@given(grown())
def test_unrounded_rules_say_what_the_terms_say_but_for_a_constant(drawn) -> None:
    model, parts, M = drawn
    rules = rules_of(model, parts, COLUMNS, 7.0, whole=False)
    PointTable(COLUMNS, rules)  # labels differ, and every rule finds its column
    margin = 7.0 * model.margin(parts)
    gap = margin - total(rules, M, COLUMNS)
    np.testing.assert_allclose(gap, gap[0], atol=1e-9)


@given(grown())
def test_whole_points_are_off_by_less_than_half_a_point_a_column(drawn) -> None:
    model, parts, M = drawn
    bins = [i for i, term in enumerate(model.terms) if term.bins]  # units are rounded by the unit
    model = Grown(tuple(model.terms[i] for i in bins), model.weights[bins], 0.0)
    exact, rounded = (rules_of(model, parts, COLUMNS, 10.0, whole=whole) for whole in (False, True))
    assert all(rule.points == round(rule.points) for rule in rounded)
    gap = total(rounded, M, COLUMNS) - total(exact, M, COLUMNS)
    assert np.abs(gap).max() <= 0.5 * len({term.part for term in model.terms}) + 1e-9


@pytest.mark.parametrize(
    ("levels", "inside", "said"),
    [
        ((0, 1, 2, 3), (2,), "source is Partner"),
        ((0, 1, 2, 3), (2, 3), "source other than Ads, Fair"),
        ((0, 1, 2), (1, 2), "source other than Ads"),
    ],
)
def test_words_are_named_as_people_would(levels, inside, said) -> None:
    x = np.tile(np.array(levels, dtype=float), 50)
    parts: list[Part] = [binned(x, 1, COLUMNS[1])]
    (rule,) = rules_of(Grown((Term(0, inside),), np.array([1.0]), 0.0), parts, COLUMNS, 10.0, whole=True)
    assert (rule.label, rule.points) == (said, 10)


def test_what_is_missing_from_many_earns_nothing_and_those_who_have_it_do() -> None:
    x = np.tile([0.0, 1.0, np.nan, np.nan], 50)
    parts: list[Part] = [binned(x, 1, COLUMNS[1])]
    (rule,) = rules_of(Grown((Term(0, (4,)),), np.array([-1.0]), 0.0), parts, COLUMNS, 10.0, whole=True)
    assert (rule.label, rule.points) == ("source known", 10)
