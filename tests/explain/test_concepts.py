"""Columns of which one determines another: when they are one reason, and what that reason says."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score

from leadscore.explain.card import GradeCuts, explanations
from leadscore.explain.concepts import DETERMINED, ENOUGH, heading, united
from leadscore.explain.drivers import driver_points
from leadscore.explain.overall import overall
from leadscore.explain.shap_values import shap_explanation
from leadscore.features.declare import AttributeFeature, EventFeature
from leadscore.models.calibration import Scale, Sigmoid
from leadscore.models.linear import LevelsTerm, LinearTable, NumberTerm
from leadscore.models.matrix import OTHER, Column

SLOPE, SCALE = Sigmoid(0.9, 0.1), Scale()


def of(codes, families=None, levels=None):
    """Declare categories with these codes, and a scorer whose terms give each level points of its own."""
    features, terms = [], []
    for name, x in codes.items():
        many = int(np.nanmax(x)) + 1
        words = (levels or {}).get(name) or tuple(f"{name}-{code}" for code in range(many))
        features.append(
            AttributeFeature("category", name, levels=words, family=(families or {}).get(name, "fit"))
        )
        points = [0.31 * (code % 5) - 0.4 for code in range(len(features[-1].categories))]
        terms.append(LevelsTerm(tuple(points), missing=-0.17, mean=0.05))
    columns = tuple(Column(feature.name, feature.categories) for feature in features)
    M = np.asfortranarray(np.column_stack([np.asarray(x, float) for x in codes.values()]))
    return tuple(features), LinearTable(columns, tuple(terms), intercept=-2.0), M


def concepts(codes, group=None, **given):
    features, scorer, M = of(codes, **given)
    points = driver_points(scorer, SLOPE, SCALE, M).points
    return {feature.name: feature.concept for feature in united(features, scorer, M, points, group)}


def cards(features, scorer, M):
    split = driver_points(scorer, SLOPE, SCALE, M)
    n = len(M)
    return explanations(
        range(n), split, scorer, M, features=features, typical={}, cuts=GradeCuts((), ()), stages=["mql"] * n,
        stage_reasons=["MQL."] * n, horizon=30.0, model="demo", policy_revision=1,
    )  # fmt: skip


def drawn(n, levels, seed):
    return np.random.default_rng(seed).integers(0, levels, n).astype(float)


def told(n=600, seed=0):
    """Campaigns that belong to one source each, with leads of no campaign, and a country of its own."""
    campaign = drawn(n, 6, seed)
    source = campaign // 2
    none = np.random.default_rng(seed + 1).random(n) < 0.3
    source[none] = drawn(n, 4, seed + 2)[none]
    campaign[none] = np.nan
    return {"source": source, "country": drawn(n, 4, seed + 3), "campaign": campaign}


# -------------------------------------------------------------------------------------- what belongs together
def test_a_column_that_determines_another_joins_it():
    assert concepts(told()) == {
        "source": "source and campaign", "country": "country", "campaign": "source and campaign",
    }  # fmt: skip


@given(st.integers(0, 10_000), st.integers(2, 8), st.integers(2, 8))
def test_what_was_drawn_apart_stays_apart(seed, first, second):
    codes = {"a": drawn(500, first, seed), "b": drawn(500, second, seed + 1)}
    assert concepts(codes) == {"a": "a", "b": "b"}


@given(
    st.integers(0, 10_000), st.integers(2, 6), st.integers(2, 6), st.sampled_from([0, 0.01, 0.03, 0.1, 0.4])
)
def test_nearly_is_as_much_as_another_library_says(seed, first, second, wrong):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, first, 900)
    b = np.where(rng.random(900) < wrong, rng.integers(0, second, 900), rng.integers(0, second, first)[a])

    def determines(x, y):
        often = np.isin(x, np.flatnonzero(np.bincount(x) >= ENOUGH))
        x, y = x[often], y[often]
        return len(set(x)) > 1 and mutual_info_score(x, y) >= DETERMINED * mutual_info_score(y, y) > 0

    apart = not determines(a, b) and not determines(b, a)
    assert concepts({"a": a, "b": b}) == ({"a": "a", "b": "b"} if apart else dict.fromkeys("ab", "a and b"))


@given(st.integers(0, 10_000), st.permutations(range(6)))
def test_neither_the_order_of_leads_nor_the_codes_matter(seed, codes):
    campaign, order = told()["campaign"], np.random.default_rng(seed).permutation(600)
    again = np.where(np.isnan(campaign), np.nan, np.array(codes)[np.nan_to_num(campaign).astype(int)])
    shuffled = {name: x[order] for name, x in (told() | {"campaign": again}).items()}
    assert concepts(shuffled) == concepts(told())


def test_an_id_determines_everything_and_joins_nothing():
    n = 400
    codes = {"id": np.arange(n), "source": drawn(n, 4, 0), "country": drawn(n, 3, 1)}
    assert concepts(codes) == {name: name for name in codes}


def test_many_looks_at_one_lead_are_no_more_leads():
    lead = np.repeat(np.arange(2 * ENOUGH), 30)
    codes = {"id": lead // 5, "source": np.repeat(drawn(2 * ENOUGH // 5, 2, 0), 150)}
    assert set(concepts(codes).values()) == {"id and source"}
    assert concepts(codes, group=lead) == {"id": "id", "source": "source"}


def test_levels_need_enough_leads():
    for many, joined in ((ENOUGH - 1, False), (ENOUGH, True)):
        a = np.repeat([0.0, 1.0, 2.0, 3.0], many)
        assert (concepts({"a": a, "b": a // 2})["a"] == "a and b") is joined


def test_a_column_that_determines_two_joins_the_one_it_tells_most_of():
    form = drawn(2_000, 12, 0)
    codes = {"country": form // 4, "product": form % 4, "form": form}
    one = "product and form"
    assert concepts(codes) == {"country": "country", "product": one, "form": one}


def test_a_chain_is_one_concept():
    city = drawn(3_000, 16, 0)
    codes = {"region": city // 8, "country": city // 4, "plan": drawn(3_000, 3, 1), "city": city}
    one = "region and country and city"
    assert concepts(codes) == {"region": one, "country": one, "plan": "plan", "city": one}


def test_the_same_column_twice_is_one_concept():
    x = drawn(300, 4, 0)
    assert set(concepts({"industry": x, "sector": 3 - x}).values()) == {"industry and sector"}


def test_a_column_without_a_second_level_determines_nothing():
    codes = {"a": np.zeros(300), "b": drawn(300, 3, 0)}
    assert concepts(codes) == {"a": "a", "b": "b"}


def test_rare_words_taken_together_determine_nothing():
    """Of a column whose words are mostly rare, the few frequent ones do not speak for it."""
    x = np.repeat([0.0, 1.0, 2.0], [30, 30, 200])
    codes = {"a": x, "b": np.where(x == 2, drawn(260, 2, 0), x)}
    assert concepts(codes, levels={"a": ("p", "q", OTHER)}) == {"a": "a", "b": "b"}
    codes = {name: values[:90] for name, values in codes.items()}
    assert concepts(codes, levels={"a": ("p", "q", OTHER)})["a"] == "a and b"


def test_families_stay_apart():
    x = drawn(300, 4, 0)
    assert concepts({"a": x, "b": x // 2}, families={"b": "operations"}) == {"a": "a", "b": "b"}


def test_a_column_that_moves_no_score_is_not_named():
    features, scorer, M = of(told())
    silent = LevelsTerm((0.0,) * len(features[2].categories), missing=0.0, mean=0.0)
    scorer = LinearTable(scorer.columns, (*scorer.terms[:2], silent), scorer.intercept)
    points = driver_points(scorer, SLOPE, SCALE, M).points
    assert united(features, scorer, M, points) == features


def test_other_features_of_the_fields_follow_and_the_rest_stays():
    codes = told()
    features, scorer, M = of(codes)
    columns = (*scorer.columns, Column("visit_count"))
    terms = (*scorer.terms, NumberTerm(False, -1e9, 1e9, 1.0, 2.0, 0.3, missing=0.0, mean=0.1))
    more = (EventFeature("count", "visit"), AttributeFeature("seniority", "source"))
    M = np.asfortranarray(np.column_stack([M, np.arange(len(M))]))
    points = np.ones((len(M), 4))
    found = united((*features, *more), LinearTable(columns, terms, -2.0), M, points)
    assert [f.name for f in found] == [*codes, "visit_count", "source_seniority"]
    assert [f.categories for f in found] == [f.categories for f in (*features, *more)]
    assert found[3] is more[0]
    assert found[4].concept == "source and campaign"


# ---------------------------------------------------------------------------------------------- what is said
@pytest.fixture(scope="module")
def both():
    """Leads, and their cards with each field by itself and with those that belong together as one."""
    features, scorer, M = of(told())
    found = united(features, scorer, M, driver_points(scorer, SLOPE, SCALE, M).points)
    return features, found, scorer, M, cards(features, scorer, M), cards(found, scorer, M)


def test_points_and_integers_still_add_up(both):
    *_, before, after = both
    for apart, card in zip(before, after, strict=True):
        assert card.base + sum(d.points for d in card.drivers) == pytest.approx(card.score, abs=1e-9)
        assert card.shown_base + sum(d.shown for d in card.drivers) == card.shown_score
        assert (card.fit, card.score, card.base) == (apart.fit, apart.score, apart.base)
        own = {d.concept: d.points for d in apart.drivers}
        one = {d.concept: d.points for d in card.drivers}
        sums = own.get("source", 0.0) + own.get("campaign", 0.0)
        assert one.get("source and campaign", 0.0) == pytest.approx(sums, abs=1e-12)
        assert one.get("country") == own.get("country")


def test_the_words_name_both_values_the_louder_first(both):
    *_, M, before, after = both
    for apart, card, row in zip(before, after, M, strict=True):
        (driver,) = (d for d in card.drivers if d.concept == "source and campaign")
        assert (driver.label, driver.columns) == ("Source and campaign", ("source", "campaign"))
        own = {d.concept: d for d in apart.drivers if d.concept in ("source", "campaign")}
        first, second = sorted(own.values(), key=lambda d: -abs(d.points))
        assert driver.text == f"{first.text} ({second.text[0].lower()}{second.text[1:]})"
        assert f"ource: source-{row[0]:.0f}" in driver.text
        missing = np.isnan(row[2])
        assert ("ampaign not given" if missing else f"ampaign: campaign-{row[2]:.0f}") in driver.text
        assert "because" not in driver.text.lower()


def test_a_field_without_points_is_silent():
    features, scorer, M = of(told(60))
    quiet = LevelsTerm((0.05,) * len(features[2].categories), missing=0.4, mean=0.05)  # only its absence
    scorer = LinearTable(scorer.columns, (*scorer.terms[:2], quiet), scorer.intercept)
    features = tuple(
        replace(f, together=("source", "campaign")) if f.field != "country" else f for f in features
    )
    for card, row in zip(cards(features, scorer, M), M, strict=True):
        (driver,) = (d for d in card.drivers if d.concept == "source and campaign")
        assert ("ampaign" in driver.text) == np.isnan(row[2])


@pytest.mark.filterwarnings(
    "ignore:The set_(bad|over|under) function:PendingDeprecationWarning",  # shap's own use of matplotlib
)
def test_every_view_takes_the_same_columns_together(both):
    _, found, scorer, M, *_ = both
    X = {c.name: x for c, x in zip(scorer.columns, M.T, strict=True)}
    frame = _frame(X, scorer.columns)
    y = np.arange(len(M)) % 3 == 0
    reasons = overall(scorer, SLOPE, SCALE, frame, y, features=found).reasons
    assert {reason.label for reason in reasons} == {"Source and campaign", "Country"}
    (one,) = (reason for reason in reasons if len(reason.values) > 1)
    assert {values.measure for values in one.values} == {"source", "campaign"}
    shap = shap_explanation(scorer, SLOPE, SCALE, frame, features=found)
    assert shap.feature_names == ["Source and campaign", "Country"]
    split = driver_points(scorer, SLOPE, SCALE, M)
    np.testing.assert_allclose(shap.values[:, 0], split.points[:, 0] + split.points[:, 2], atol=1e-12)


def _frame(X, columns):
    codes = {c.name: np.nan_to_num(X[c.name], nan=-1).astype(int) for c in columns}
    return pd.DataFrame({c.name: pd.Categorical.from_codes(codes[c.name], list(c.levels)) for c in columns})


def test_a_heading_keeps_codes_and_capitals():
    feature = AttributeFeature("category", "CRM owner", together=("team", "CRM owner"))
    assert heading(feature) == "Team and CRM owner"
