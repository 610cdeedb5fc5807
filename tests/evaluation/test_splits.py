"""Folds against their definition, row by row, and against scikit-learn's."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from leadscore.errors import DataError, UsageError
from leadscore.evaluation.splits import forward_folds, grouped_folds


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 1)), min_size=4, max_size=80),
    n=st.integers(2, 6),
    seed=st.integers(0, 9),
)
def test_grouped_folds_hold_groups_whole_and_outcomes_on_both_sides(rows, n, seed):
    group, y = map(np.array, zip(*rows, strict=True))
    enough = min(len(set(group[y == value].tolist())) for value in (0, 1))
    try:
        folds = grouped_folds(group, y, n, seed)
    except DataError:
        # allowed only where few groups hold an outcome, so that dealing them may fail
        assert enough < 2 or len(set(group.tolist())) < 4
        return
    assert 2 <= len(folds) <= min(n, enough)
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(len(y)))
    for fold in folds:
        assert sorted([*fold.train, *fold.test]) == list(range(len(y)))
        assert not set(group[fold.train].tolist()) & set(group[fold.test].tolist())
        assert set(y[fold.train].tolist()) == set(y[fold.test].tolist()) == {0, 1}


def test_without_groups_outcomes_are_even_to_one_row():
    rng = np.random.default_rng(0)
    y = (rng.random(1003) < 0.07).astype(int)
    folds = grouped_folds(None, y, 5)
    assert [fold.name for fold in folds] == [f"fold {k} of 5" for k in range(1, 6)]
    for outcome in (0, 1):
        counts = [(y[fold.test] == outcome).sum() for fold in folds]
        assert max(counts) - min(counts) <= 1


def test_groups_of_uneven_sizes_are_dealt_as_evenly_as_scikit_learn_does():
    rng = np.random.default_rng(1)
    group = rng.zipf(1.7, 5000) % 400
    y = (rng.random(5000) < 0.02 + 0.3 * (group % 5 == 0)).astype(int)

    def spread(tests):
        shares = np.array([[y[t].sum() / y.sum(), (1 - y[t]).sum() / (1 - y).sum()] for t in tests])
        return ((shares - 1 / len(shares)) ** 2).sum()

    peer = StratifiedGroupKFold(5, shuffle=True, random_state=0).split(y, y, group)
    assert spread([fold.test for fold in grouped_folds(group, y, 5)]) <= 1.05 * spread(
        [test for _, test in peer]
    )


def test_the_seed_decides():
    y = np.arange(100) % 2
    first, again, other = (grouped_folds(None, y, 5, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a.test, b.test) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a.test, b.test) for a, b in zip(first, other, strict=True))


def test_fewer_won_leads_than_folds_make_fewer_folds():
    y = np.zeros(50, dtype=int)
    y[:3] = 1
    folds = grouped_folds(None, y, 5)
    assert [fold.name for fold in folds] == ["fold 1 of 3", "fold 2 of 3", "fold 3 of 3"]
    assert [int(y[fold.test].sum()) for fold in folds] == [1, 1, 1]


@pytest.mark.parametrize(
    ("y", "group", "found"),
    [
        ([0, 0, 0, 0], None, "only lost rows"),
        ([1, 1, 1, 1], None, "only won rows"),
        ([0, 0, 0, 1], None, "one outcome in 1 group"),
        ([0, 1, 0, 1], [7, 7, 7, 7], "one outcome in 1 group"),
    ],
)
def test_too_few_outcomes_for_folds_are_refused(y, group, found):
    with pytest.raises(DataError, match=found):
        grouped_folds(group, y)


def test_unequal_lengths_and_one_fold_are_refused():
    with pytest.raises(UsageError, match="one group for each of the 2 rows"):
        grouped_folds([1], [0, 1])
    with pytest.raises(UsageError, match="at least 2 folds"):
        grouped_folds(None, [0, 1], n=1)
    with pytest.raises(UsageError, match="equal lengths"):
        forward_folds([1, 2, 3], None, y=[0, 1])
    with pytest.raises(UsageError, match="at least 1 test period"):
        forward_folds([1, 2, 3], None, n=0)


@settings(max_examples=80, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 8), st.integers(0, 6)), min_size=6, max_size=80
    ),
    n=st.integers(1, 5),
)
def test_forward_folds_only_look_back(rows, n):
    order, group, wait = map(np.array, zip(*rows, strict=True))
    known = order + wait
    try:
        folds = forward_folds(order, group, n, known_at=known)
    except DataError:
        return
    assert 1 <= len(folds) <= n
    ends = []
    for fold in folds:
        start, end = order[fold.test].min(), order[fold.test].max()
        for row in range(len(order)):
            trains = (
                order[row] < start and known[row] <= start and group[row] not in group[fold.test].tolist()
            )
            assert (row in fold.train) == trains
            assert (row in fold.test) == (start <= order[row] <= end)
        ends.append((start, end))
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ends))
    assert ends[-1][1] == order.max()


@settings(max_examples=40, deadline=None)
@given(order=st.lists(st.integers(0, 9), min_size=2, max_size=40), n=st.integers(1, 5))
def test_two_moments_are_enough_to_look_forward(order, n):
    if len(set(order)) > 1:
        assert len(forward_folds(order, None, n)) >= 1


def test_periods_are_of_equal_counts_after_the_first_half():
    order = np.random.default_rng(0).permutation(1000)
    folds = forward_folds(order, None, 4)
    assert [len(fold.test) for fold in folds] == [125] * 4
    assert [len(fold.train) for fold in folds] == [500, 625, 750, 875]
    assert [fold.name for fold in folds] == [f"period {k} of 4" for k in range(1, 5)]


def test_ties_never_straddle_a_boundary():
    order = np.repeat([1, 2, 3, 4, 5], [40, 5, 30, 20, 5])
    for fold in forward_folds(order, None, 4):
        assert not set(order[fold.train].tolist()) & set(order[fold.test].tolist())


def test_moments_in_microseconds_are_told_apart():
    start = 1_700_000_000_000_000
    folds = forward_folds(start + np.arange(8), None, 2, known_at=start + np.arange(8) + 1)
    assert [fold.train.tolist() for fold in folds] == [[0, 1, 2, 3], [0, 1, 2, 3, 4, 5]]


def test_a_period_without_both_outcomes_makes_longer_periods():
    y = np.zeros(80, dtype=int)
    y[[5, 50, 75]] = 1
    folds = forward_folds(np.arange(80), None, 4, y=y)
    assert [fold.name for fold in folds] == ["period 1 of 2", "period 2 of 2"]
    assert [int(y[fold.test].sum()) for fold in folds] == [1, 1]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"order": [3, 3, 3, 3]}, "one moment only"),
        ({"order": [1, 2, 3, 4], "known_at": [9, 9, 9, 9]}, "no rows to train on in period 1 of 1"),
        ({"order": [1, 2, 3, 4], "y": [0, 0, 0, 1]}, "only lost rows to train on in period 1 of 1"),
        ({"order": [1, 2, 3, 4], "y": [0, 1, 1, 1]}, "only won rows to test on in period 1 of 1"),
        ({"order": [1, 2, np.nan, 4]}, "row 2"),
        ({"order": [1, 2, 3, 4], "known_at": [1, np.nan, 3, 4]}, "row 1"),
    ],
)
def test_histories_that_cannot_be_tested_forward_are_refused(options, found):
    with pytest.raises(DataError, match=found):
        forward_folds(**{"group": None, **options})


# ---- warm-up periods --------------------------------------------------------------------------------------


def plainly(fold):
    return fold.train.tolist(), fold.test.tolist(), fold.name, fold.at, fold.warm_up


@settings(max_examples=80, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 20), st.integers(0, 6), st.integers(0, 1)),
        min_size=6,
        max_size=120,
    ),
    n=st.integers(1, 4),
    warm_up=st.integers(1, 6),
)
def test_warm_up_periods_come_before_those_that_count_and_leave_them_as_they_are(rows, n, warm_up):
    order, group, wait, y = map(np.array, zip(*rows, strict=True))
    known = order + wait
    try:
        without = forward_folds(order, group, n, known_at=known, y=y)
    except DataError:
        return
    folds = forward_folds(order, group, n, known_at=known, y=y, warm_up=warm_up)
    warm, counted = folds[: -len(without)], folds[-len(without) :]
    assert [plainly(fold) for fold in counted] == [plainly(fold) for fold in without]
    assert not any(fold.warm_up for fold in counted)
    assert all(fold.warm_up for fold in warm)
    assert len(warm) <= warm_up
    assert [fold.name for fold in warm] == [f"warm-up {k + 1} of {len(warm)}" for k in range(len(warm))]
    starts = [fold.at for fold in folds]
    assert starts == sorted(set(starts))
    tested = np.concatenate([fold.test for fold in folds])
    assert len(set(tested.tolist())) == len(tested)
    for fold, later in itertools.pairwise(folds):
        assert fold.at <= order[fold.test].min()
        assert order[fold.test].max() < later.at
        for row in range(len(order)):
            trains = order[row] < fold.at and known[row] <= fold.at and group[row] not in group[fold.test]
            assert (row in fold.train) == trains
        assert set(y[fold.train].tolist()) == set(y[fold.test].tolist()) == {0, 1}


def test_warm_up_periods_are_as_long_as_those_that_count():
    order = np.random.default_rng(0).permutation(1000)
    folds = forward_folds(order, None, 4, y=order % 2, warm_up=2)
    assert [len(fold.test) for fold in folds] == [125] * 6
    assert [len(fold.train) for fold in folds] == [250, 375, 500, 625, 750, 875]


def test_a_warm_up_period_with_one_outcome_only_is_left_out():
    y = np.arange(1000) % 2
    y[375:500] = 0
    folds = forward_folds(np.arange(1000), None, 4, y=y, warm_up=3)
    assert not any(375 <= fold.at < 500 for fold in folds)
    assert [fold.name for fold in folds][:1] == [f"warm-up 1 of {len(folds) - 4}"]


def test_fewer_than_no_warm_up_periods_are_refused():
    with pytest.raises(UsageError, match="to warm up"):
        forward_folds([1, 2, 3, 4], None, warm_up=-1)
