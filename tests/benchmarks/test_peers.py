"""The peers of the accuracy benchmark beside counting by hand, scikit-learn and closed forms."""

import doctest
import importlib.util
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.naive_bayes import CategoricalNB

from leadscore.data.contract import Events

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
DAY = 86_400_000_000
NOW = 20_000 * DAY


def loaded(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # so that clones and dataclasses find their module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def peers() -> ModuleType:
    return loaded("peers", BENCHMARKS / "accuracy" / "peers.py")


@pytest.fixture(scope="module")
def command(peers: ModuleType) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield loaded("accuracy_command", BENCHMARKS / "accuracy" / "__main__.py")


def leads(rows: int, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    source = rng.choice(["ads", "fair", "friend"], rows)
    visits = rng.poisson(3, rows).astype(float)
    y = (rng.random(rows) < 0.1 + 0.3 * (source == "friend") + 0.05 * visits).astype(int)
    visits[rng.random(rows) < 0.1] = np.nan
    country = pd.Categorical(rng.choice(["de", "fr", None], rows), categories=["de", "fr"])
    return pd.DataFrame({"source": pd.Categorical(source), "visits": visits, "a: {b}": country}), y


def events_of(lead, at, kind, types=("call", "visit"), known_at=None) -> Events:
    at = np.array(at, np.int64)
    known = None if known_at is None else np.array(known_at, np.int64)
    return Events(np.array(lead, np.int64), at, np.array(kind, np.int32), types, known)


# ------------------------------------------------------------------------------------ what all classifiers do
@pytest.mark.parametrize("name", ["NaiveBayes", "LinearDecayPoints", "plain_lightgbm", "plain_logistic"])
def test_a_peer_is_a_classifier_that_can_be_cloned(peers: ModuleType, name: str) -> None:
    X, y = leads(400)
    if name == "LinearDecayPoints":
        X = X[["visits"]]
    labels = np.where(y == 1, "won", "lost")
    model = clone(getattr(peers, name)())
    before = X.copy()
    both = model.fit(X, labels).predict_proba(X)
    assert both.shape == (400, 2)
    np.testing.assert_allclose(both.sum(axis=1), 1)
    assert list(model.classes_) == ["lost", "won"]
    np.testing.assert_array_equal(model.predict(X), np.where(both[:, 1] > 0.5, "won", "lost"))
    np.testing.assert_array_equal(clone(model).fit(X, labels).predict_proba(X), both)
    np.testing.assert_array_equal(model.predict_proba(X.iloc[[7]]), both[[7]])
    pd.testing.assert_frame_equal(X, before)
    # it has learned something: those it puts first won more often than those it puts last
    ahead = y[np.argsort(both[:, 1])]
    assert ahead[200:].mean() > ahead[:200].mean() + 0.1


@pytest.mark.parametrize("name", ["NaiveBayes", "LinearDecayPoints"])
def test_arrays_are_read_as_numbers(peers: ModuleType, name: str) -> None:
    X, y = leads(300)
    numbers = X[["visits"]]
    of_frame = getattr(peers, name)().fit(numbers, y).predict_proba(numbers)
    of_array = getattr(peers, name)().fit(numbers.to_numpy(), y).predict_proba(numbers.to_numpy())
    np.testing.assert_array_equal(of_frame, of_array)


@pytest.mark.parametrize("name", ["NaiveBayes", "LinearDecayPoints"])
def test_one_class_is_refused(peers: ModuleType, name: str) -> None:
    with pytest.raises(ValueError, match="two classes"):
        getattr(peers, name)().fit([[1.0], [2.0]], [0, 0])


# ------------------------------------------------------------------------------------------------ naive Bayes
def by_hand(table: list[tuple[dict[str, str | None], int]], lead: dict[str, str | None]) -> Fraction:
    """Count won and lost leads for each value, add a tenth, and multiply: in fractions, lead by lead."""
    tenth = Fraction(1, 10)
    odds = Fraction(sum(won for _, won in table), sum(1 - won for _, won in table))
    for field, value in lead.items():
        values = {row[field] for row, _ in table} - {None}
        if value not in values:
            continue
        for outcome, power in ((1, 1), (0, -1)):
            count = {v: sum(row[field] == v and won == outcome for row, won in table) for v in values}
            odds *= ((count[value] + tenth) / (sum(count.values()) + tenth * len(values))) ** power
    return odds / (1 + odds)


LEAD = st.fixed_dictionaries(
    {
        "source": st.sampled_from(["ads", "fair", "friend", None]),
        "country": st.sampled_from(["de", "fr", None]),
    }
)


@given(st.lists(st.tuples(LEAD, st.integers(0, 1)), min_size=2, max_size=12), LEAD)
def test_naive_bayes_counts_as_by_hand(peers: ModuleType, table, lead) -> None:
    y = [won for _, won in table]
    if len(set(y)) < 2:
        y[0] = 1 - y[1]
        table = [(table[0][0], y[0]), *table[1:]]
    levels = {"source": ["ads", "fair", "friend"], "country": ["de", "fr"]}

    def frame(rows):
        return pd.DataFrame(
            {
                name: pd.Categorical([row[name] for row in rows], categories=known)
                for name, known in levels.items()
            }
        )

    model = peers.NaiveBayes().fit(frame([row for row, _ in table]), y)
    asked = [lead, *(row for row, _ in table)]
    expected = [float(by_hand(table, row)) for row in asked]
    np.testing.assert_allclose(model.predict_proba(frame(asked))[:, 1], expected, rtol=1e-12)


def test_naive_bayes_is_scikit_learns_where_nothing_is_empty(peers: ModuleType) -> None:
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 4, (500, 3))
    y = (rng.random(500) < 0.1 + 0.2 * codes[:, 0]).astype(int)
    X = pd.DataFrame({f"c{j}": pd.Categorical(codes[:, j].astype(str)) for j in range(3)})
    theirs = CategoricalNB(alpha=0.1).fit(codes, y).predict_proba(codes)
    np.testing.assert_allclose(peers.NaiveBayes().fit(X, y).predict_proba(X), theirs, rtol=1e-12)


def test_numbers_are_cut_at_quantiles_or_left_out(peers: ModuleType) -> None:
    value = np.arange(100.0)
    y = (value >= 80).astype(int)
    won = peers.NaiveBayes(bins=5).fit(value[:, None], y).predict_proba([[-9.0], [79.0], [80.0], [1e9]])[:, 1]
    assert won[0] == won[1] < 0.01
    assert won[2] == won[3] > 0.99
    without = peers.NaiveBayes(bins=0).fit(value[:, None], y).predict_proba([[5.0], [95.0]])[:, 1]
    np.testing.assert_allclose(without, 0.2)


def test_only_the_chosen_fields_count(peers: ModuleType) -> None:
    X, y = leads(300)
    chosen = peers.NaiveBayes(fields=["source"]).fit(X, y)
    alone = peers.NaiveBayes().fit(X[["source"]], y)
    np.testing.assert_array_equal(chosen.predict_proba(X), alone.predict_proba(X))


# ----------------------------------------------------------------------------------------------- linear decay
def test_nine_points_are_worth_8_7_after_three_of_ninety_days(peers: ModuleType) -> None:
    """The example of the public page."""
    left = peers.decayed_events(events_of([0], [NOW - 3 * DAY], [0]), np.array([0]), np.array([NOW]))
    assert 9 * left.loc[0, "call"] == pytest.approx(8.7)
    assert left.loc[0, "visit"] == 0


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(-10, 200), st.integers(0, 1)), max_size=20),
    st.lists(st.tuples(st.integers(0, 3), st.integers(-20, 20)), min_size=1, max_size=6),
    st.sampled_from([7.0, 30.0, 90.0]),
)
def test_decay_is_the_sum_of_straight_lines(peers: ModuleType, done, rows, lifespan) -> None:
    at = [NOW - age * DAY for _, age, _ in done]
    events = events_of([lead for lead, _, _ in done], at, [kind for _, _, kind in done])
    as_of = [NOW + days * DAY for _, days in rows]
    found = peers.decayed_events(
        events, np.array([lead for lead, _ in rows]), np.array(as_of), lifespan=lifespan
    )
    for (lead, _), moment, row in zip(rows, as_of, found.to_numpy(), strict=True):
        for kind in (0, 1):
            ages = [
                (moment - t) / DAY for (of, _, k), t in zip(done, at, strict=True) if (of, k) == (lead, kind)
            ]
            lines = sum(max(0, 1 - age / lifespan) for age in ages if age > 0)
            assert row[kind] == pytest.approx(lines)


def test_events_not_yet_known_and_types_left_out_count_for_nothing(peers: ModuleType) -> None:
    events = events_of([0, 0, 0], [NOW - 2 * DAY] * 3, [0, 0, 1], known_at=[NOW, NOW + 1, NOW])
    left = peers.decayed_events(events, np.array([0]), np.array([NOW]), lifespan=4, ignore=["visit"])
    assert left.columns.tolist() == ["call"]
    assert left.loc[0, "call"] == 0.5


def test_importance_follows_the_lift(peers: ModuleType) -> None:
    """Of 400 rows 100 won; 80 of the 100 who called, 5 of the 100 who complained, few ever wrote."""
    call, complain, wrote = (np.zeros(400) for _ in range(3))
    call[:100], complain[100:200], wrote[200:205] = 0.5, 0.5, 0.5
    y = np.zeros(400, int)
    y[:80], y[100:105], y[300:315] = 1, 1, 1
    X = pd.DataFrame({"call": call, "complain": complain, "wrote": wrote})
    model = peers.LinearDecayPoints().fit(X, y)
    lift = {name: np.log((won + 0.25) / 101 / 0.25) for name, won in {"call": 80, "complain": 5}.items()}
    assert max(map(abs, lift.values())) == abs(lift["complain"])
    expected = [round(10 * lift["call"] / abs(lift["complain"])), -10, 1]
    assert model.importance_.tolist() == expected
    np.testing.assert_allclose(model.score_of(X.iloc[[0, 100, 200, 399]]), np.array([*expected, 0]) / 2)


# -------------------------------------------------------------------------------------------------- the table
def test_peers_learn_from_all_that_was_known_when_a_part_began(command: ModuleType, trained) -> None:
    data = trained.prepared.data
    made = command.folds_of(trained.prepared, trained.comparison)
    assert len(made) > 1
    for fold in made:
        begins, tested = min(data.as_of[fold.test]), set(data.group[fold.test])
        known = [
            row
            for row, (moment, group) in enumerate(zip(data.as_of, data.group, strict=True))
            if moment + data.horizon * DAY <= begins and group not in tested
        ]
        assert fold.train.tolist() == known
    rows = np.concatenate([fold.test for fold in made])
    assert sorted(rows) == trained.comparison.predictions["row"].tolist()


def test_the_table_says_what_scikit_learn_says(command: ModuleType, trained) -> None:
    prepared, comparison = trained.prepared, trained.comparison
    said = command.together(
        command.beside(prepared, command.folds_of(prepared, comparison), 1), comparison.predictions
    )
    group = prepared.data.group[said["row"].to_numpy()]
    found = command.Unseen(said, group, comparison.chosen, {command.LIGHTGBM: 0.9}, "forward")
    lines = [line.strip("| ").split(" | ") for line in command.laid_out(found, 10).splitlines()]
    assert [line[0].strip("*").removesuffix("** (chosen)") for line in lines[2:]] == found.models
    assert {command.BAYES, command.DECAY, command.LIGHTGBM, "points"} <= set(found.models)
    for line, model in zip(lines[2:], found.models, strict=True):
        assert float(line[1]) == pytest.approx(roc_auc_score(said["y"], said[model]), abs=6e-4)
        assert float(line[3]) == pytest.approx(log_loss(said["y"], said[model]), abs=6e-4)
    (lightgbm,) = (line for line in lines if line[0] == command.LIGHTGBM)
    assert float(lightgbm[7]) == pytest.approx(0.9 - float(lightgbm[1]), abs=2e-3)


def test_the_examples_hold(peers: ModuleType) -> None:
    found = doctest.testmod(peers)
    assert found.attempted > 0
    assert found.failed == 0
