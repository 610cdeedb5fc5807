import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from leadscore.errors import DataError, ModelError, UsageError
from leadscore.models.conditions import Condition
from leadscore.models.matrix import Column
from leadscore.models.points import LIMIT, PointRule, PointTable

COLUMNS = (Column("visits"), Column("source", ("Ads", "Referral")))
RULES = (
    PointRule("Pages", 2, per="visits", cap=10, concept="page_view", family="engagement"),
    PointRule("Referred", 95.5, Condition("source", "is", "Referral")),
    PointRule("No visit", -7, Condition("visits", "below", 1)),
    PointRule("Unknown source", 1, Condition("source", "missing")),
    PointRule("Too many", -0.5, per="visits", cap=-20),
)


def by_hand(visits, source):
    """What a marketer would work out on paper."""
    earned = [0.0] * 5
    if visits is not None:
        earned[0] = min(2 * max(visits, 0), 10)
        earned[2] = -7 if visits < 1 else 0
        earned[4] = -min(0.5 * max(visits, 0), 20)
    earned[1] = 95.5 if source == "Referral" else 0
    earned[3] = 1 if source is None else 0
    return earned, min(max(sum(earned), 0), 100)


leads = st.lists(
    st.tuples(st.none() | st.integers(-5, 60), st.sampled_from([None, "Ads", "Referral"])),
    min_size=1,
    max_size=8,
)


def matrix(rows):
    code = {None: np.nan, "Ads": 0, "Referral": 1}
    return np.array([[np.nan if visits is None else visits, code[source]] for visits, source in rows], float)


@given(leads)
def test_totals_are_those_worked_out_by_hand(rows):
    assert PointTable(COLUMNS, RULES).margin(matrix(rows)).tolist() == [by_hand(*row)[1] for row in rows]


@given(leads, leads)
def test_contributions_lead_from_the_average_of_training_to_the_total(training, rows):
    table = PointTable(COLUMNS, RULES).with_means(matrix(training))
    base, parts = table.contributions(matrix(rows))
    assert base == pytest.approx(np.mean([by_hand(*row)[1] for row in training]), abs=1e-9)
    np.testing.assert_allclose(base + parts.sum(axis=1), table.margin(matrix(rows)), atol=1e-9)
    means = np.mean([by_hand(*row)[0] for row in training], axis=0)
    np.testing.assert_allclose(parts[:, :-1], [by_hand(*row)[0] - means for row in rows], atol=1e-9)


def test_what_the_end_of_the_scale_cuts_off_is_a_driver():
    table = PointTable(COLUMNS, RULES)
    _, parts = table.contributions(matrix([(8, "Referral"), (0, "Ads")]))
    assert table.drivers[-1] == LIMIT
    assert parts[:, -1].tolist() == [100 - (10 + 95.5 - 4), 7]


def test_each_driver_names_the_column_behind_it():
    table = PointTable(COLUMNS, RULES)
    behind = [("visits",), ("source",), ("visits",), ("source",), ("visits",), ()]
    assert list(table.driver_columns) == behind
    assert table.drivers[:2] == ("Pages", "Referred")


def test_a_table_without_rules_gives_everybody_nothing():
    table = PointTable(COLUMNS, ())
    assert table.margin(matrix([(3, None)])).tolist() == [0]
    assert table.contributions(matrix([(3, None)]))[1].tolist() == [[0]]


def test_the_saved_form_can_be_read_by_a_person():
    text = PointTable(COLUMNS, RULES).to_files()["points.yaml"].decode()
    assert yaml.safe_load(text)["rules"][:2] == [
        {
            "label": "Pages",
            "points": 2.0,
            "per": "visits",
            "cap": 10.0,
            "concept": "page_view",
            "family": "engagement",
        },
        {"label": "Referred", "points": 95.5, "when": {"column": "source", "is": "Referral"}},
    ]


@given(leads)
def test_tables_are_read_back(training):
    table = PointTable(COLUMNS, RULES).with_means(matrix(training))
    assert PointTable.from_files(table.to_files()) == table


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"points": 1}, "neither"),
        ({"points": 1, "per": "a", "when": Condition("a", "missing")}, "both"),
        ({"points": 1, "cap": 3, "when": Condition("a", "missing")}, "leave the cap out"),
        ({"points": float("nan"), "per": "a"}, "finite number of points"),
        ({"points": 1, "per": "a", "cap": float("inf")}, "finite number of cap"),
        ({"points": 1, "per": "a", "family": "fitness"}, "one of fit, engagement, operations"),
    ],
)
def test_rules_that_cannot_be_meant_are_refused(rule, message):
    with pytest.raises(UsageError, match=message):
        PointRule("x", **rule)


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"label": "x", "points": 1, "per": 3},
        {"label": "x", "points": 1, "per": "a", "most": 3},
        {"label": "x", "points": 1, "when": "always"},
        "x",
    ],
)
def test_rules_that_cannot_be_read_are_refused(written):
    with pytest.raises(UsageError, match="a rule with label, points and"):
        PointRule.from_dict(written)


def test_rules_must_fit_the_columns():
    with pytest.raises(DataError, match="did you mean 'visits'"):
        PointTable(COLUMNS, (PointRule("x", 1, per="visit"),))
    with pytest.raises(DataError, match="is a category"):
        PointTable(COLUMNS, (PointRule("x", 1, per="source"),))
    with pytest.raises(DataError, match="is a category"):
        PointTable(COLUMNS, (PointRule("x", 1, Condition("source", "at_least", 1)),))


@pytest.mark.parametrize("labels", [("a", "a"), ("a", LIMIT)])
def test_labels_are_unique(labels):
    with pytest.raises(UsageError, match="labels of their own"):
        PointTable(COLUMNS, tuple(PointRule(label, 1, per="visits") for label in labels))


@pytest.mark.parametrize(
    "change",
    [
        {"means": [0.0]},
        {"means": [0.0, float("inf")]},
        {"means": ["a", 0.0]},
        {"rules": [{"label": "x"}]},
        {"rules": [{"label": "x", "points": 1, "per": "gone"}]},
        {"rules": [{"label": "x", "points": 10**400, "per": "visits"}]},
        {"columns": [{"name": 1}]},
        {"more": 1},
    ],
)
def test_altered_tables_are_refused(change):
    saved = PointTable(COLUMNS, (PointRule("x", 1, per="visits"),)).to_files()["points.yaml"]
    altered = yaml.safe_dump(yaml.safe_load(saved) | change).encode()
    with pytest.raises(ModelError):
        PointTable.from_files({"points.yaml": altered})


@pytest.mark.parametrize(
    "files",
    [{}, {"points.yaml": b"\xff"}, {"points.yaml": b"[" * 5000}, {"points.yaml": b"!!python/object:x {}"}],
)
def test_unreadable_files_are_refused(files):
    with pytest.raises(ModelError):
        PointTable.from_files(files)
