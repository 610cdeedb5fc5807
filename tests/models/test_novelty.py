import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import minimum_spanning_tree
from sklearn.metrics import mutual_info_score

from leadscore.errors import DataError, ModelError
from leadscore.files import pack_arrays, unpack_arrays
from leadscore.models.matrix import Column
from leadscore.models.novelty import (
    NEVER_SEEN,
    OUTSIDE,
    UNUSUAL,
    Familiar,
    Unlike,
    _surprise_of,
    _tree,
    fit_familiar,
)

COLUMNS = (
    Column("visits_7d"),
    Column("visits_30d"),
    Column("size"),
    Column("source", ("Ads", "Fair", "Referral", "Radio")),
    Column("city", tuple(f"city {i}" for i in range(600))),
    Column("opens"),
    Column("days"),
)


def leads(seed, n, rows=1):
    """Leads whose columns hang together; Radio never occurs, and most cities are one lead's only."""
    rng = np.random.default_rng(seed)
    mood = np.repeat(rng.normal(size=n), rows)
    source = np.repeat(rng.choice(3, n, p=[0.6, 0.3, 0.1]), rows).astype(float)
    size = np.repeat(rng.lognormal(4, 1.5, n), rows)
    size[np.repeat(rng.random(n) < 0.2, rows)] = np.nan
    month = rng.poisson(np.exp(2 + mood))
    city = np.repeat(np.minimum(rng.zipf(1.3, n) - 1, 598), rows).astype(float)
    opens = rng.poisson(0.02, n * rows)
    days = rng.choice([1.0, 3.0, 7.0], n * rows)
    M = np.stack([rng.binomial(month, 0.3), month, size, source, city, opens, days], axis=1)
    return M.astype(float), np.repeat(np.arange(n), rows)


KNOWN, LEAD = leads(0, 3000, 3)
FAMILIAR = fit_familiar(KNOWN, COLUMNS, LEAD)
USUAL = np.array([3.0, 9.0, 60.0, 0.0, 0.0, 0.0, 3.0])


def changed(**values):
    row = USUAL.copy()
    names = [column.name for column in COLUMNS]
    for name, value in values.items():
        row[names.index(name)] = value
    return row


@pytest.mark.parametrize(("n", "rows"), [(400, 1), (3000, 1), (3000, 3)])
def test_about_one_further_lead_in_a_hundred_is_called_unlike(n, rows):
    shares = []
    for seed in range(6):
        M, lead = leads(seed, n, rows)
        fresh, _ = leads(100 + seed, 4000, rows)
        shares.append(fit_familiar(M, COLUMNS, lead).unlike(fresh).mean())
    assert 0.005 < np.mean(shares) < 0.016


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (USUAL, ()),
        (changed(source=3), (Unlike("source", NEVER_SEEN),)),
        (changed(source=np.nan), (Unlike("source", NEVER_SEEN),)),
        (changed(visits_7d=np.nan), (Unlike("visits_7d", NEVER_SEEN),)),
        (changed(size=np.nan), ()),
        (changed(size=1e9), (Unlike("size", OUTSIDE),)),
        (changed(days=-50, source=3), (Unlike("source", NEVER_SEEN), Unlike("days", OUTSIDE))),
        (changed(city=599), ()),  # further cities are to be expected
    ],
)
def test_what_is_new_or_far_is_told_by_its_columns(row, why):
    assert FAMILIAR.why(row) == why
    assert FAMILIAR.unlike(row[None]).tolist() == [bool(why)]


def test_values_that_never_go_together_are_an_unusual_combination():
    rng = np.random.default_rng(1)
    mood = rng.normal(size=(4000, 1))
    M = mood + rng.normal(0, 0.1, (4000, 6))
    columns = [Column(f"x{j}") for j in range(6)]
    familiar = fit_familiar(M, columns)
    odd = np.array([1.5, -1.5, 1.5, -1.5, 1.5, -1.5])
    assert (np.abs(odd) < np.abs(M).max(axis=0)).all()
    assert familiar.unlike(np.stack([odd, np.full(6, 1.5), np.full(6, -1.5)])).tolist() == [
        True,
        False,
        False,
    ]
    why = familiar.why(odd)
    assert {found.way for found in why} == {UNUSUAL}
    assert len({found.column for found in why}) == 3
    mixed = np.stack([rng.permutation(column) for column in M.T], axis=1)
    assert familiar.unlike(mixed).mean() > 0.8


def test_the_tree_spans_the_most_mutual_information():
    bins = np.stack([np.searchsorted(np.sort(x)[::900], x) % 10 for x in np.nan_to_num(KNOWN).T])
    parent = _tree(bins)
    told = np.array([[mutual_info_score(a, b) for a in bins] for b in bins])
    assert (parent == -1).tolist() == [True] + [False] * (len(bins) - 1)
    ours = sum(told[j, above] for j, above in enumerate(parent) if above >= 0)
    np.fill_diagonal(told, 0)
    assert ours == pytest.approx(-minimum_spanning_tree(-told).sum(), rel=1e-5)


def test_surprises_are_those_of_probabilities_that_sum_to_one():
    rng = np.random.default_rng(0)
    bins = rng.integers(0, 10, (3, 5000))
    bins[1] = np.where(rng.random(5000) < 0.7, bins[0], bins[1])
    table = np.exp(-_surprise_of(bins, np.array([-1, 0, 1]))).reshape(3, 10, 10)
    np.testing.assert_allclose(table.sum(axis=1), 1)
    seen = np.mean(bins[1][bins[0] == 4] == 4)
    assert table[1, 4, 4] == pytest.approx(seen, abs=0.01)
    assert table[0, :, 0] == pytest.approx(np.bincount(bins[0]) / 5000, abs=0.001)


@given(st.lists(st.integers(0, len(KNOWN) - 1), max_size=30), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_a_row_is_judged_by_itself(rows, seed):
    rng = np.random.default_rng(seed)
    M = KNOWN[rows].copy()
    swapped = rng.random(M.shape) < 0.3
    M[swapped] = KNOWN[rng.integers(0, len(KNOWN), len(rows))][swapped]
    together = FAMILIAR.unlike(M)
    assert together.shape == (len(rows),)
    assert [bool(FAMILIAR.unlike(row[None])[0]) for row in M] == together.tolist()
    assert [bool(FAMILIAR.why(row)) for row in M] == together.tolist()
    assert FAMILIAR.unlike(np.asfortranarray(M[::-1])).tolist() == together[::-1].tolist()


def test_many_rows_are_judged_as_few():
    M = np.tile(KNOWN, (3, 1))
    assert FAMILIAR.unlike(M).tolist() == FAMILIAR.unlike(KNOWN).tolist() * 3


def test_columns_that_never_vary_or_are_empty_are_learned_from():
    M = np.stack([np.full(200, 2.0), np.full(200, np.nan), np.arange(200) % 7, np.full(200, np.nan)], axis=1)
    columns = [Column("constant"), Column("empty"), Column("n"), Column("none", ())]
    familiar = fit_familiar(M, columns)
    assert not familiar.unlike(M).any()
    assert familiar.why(np.array([3.0, np.nan, 1.0, np.nan])) == (Unlike("constant", OUTSIDE),)
    assert familiar.why(np.array([2.0, 5.0, 1.0, np.nan])) == (Unlike("empty", OUTSIDE),)


def test_what_is_saved_is_what_was_fitted():
    files = FAMILIAR.to_files()
    read = Familiar.from_files(files)
    assert read.to_files() == files == fit_familiar(KNOWN, COLUMNS, LEAD).to_files()
    assert read.columns == COLUMNS
    fresh = leads(9, 2000)[0]
    assert read.unlike(fresh).tolist() == FAMILIAR.unlike(fresh).tolist()


def _with(**arrays):
    return pack_arrays({**unpack_arrays(FAMILIAR.to_files()["familiar.npz"]), **arrays})


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        _with(low=FAMILIAR.low[:-1]),
        _with(high=np.full(7, np.nan)),
        _with(edges=FAMILIAR.edges[::-1].copy()),
        _with(bin_of=FAMILIAR.bin_of + 10),
        _with(bin_of=FAMILIAR.bin_of.astype(np.int32)),
        _with(parent=np.full(7, 7)),
        _with(parent=np.full(7, -2)),
        _with(cut=np.array([np.inf])),
        _with(surprise=FAMILIAR.surprise * np.nan),
        _with(more=np.zeros(1)),
        _with(columns=np.frombuffer(b"{}", np.uint8)),
        _with(columns=np.frombuffer(b"not json", np.uint8)),
        _with(columns=np.frombuffer(b"[]", np.uint8)),
    ],
)
def test_only_a_familiar_is_read(packed):
    with pytest.raises(ModelError):
        Familiar.from_files({"familiar.npz": packed})


def test_an_absent_file_is_refused():
    with pytest.raises(ModelError, match="restore the model's files"):
        Familiar.from_files({})


@pytest.mark.parametrize(("rows", "group"), [(9, None), (0, None), (30, np.arange(30) % 9)])
def test_few_leads_are_refused(rows, group):
    with pytest.raises(DataError, match="expected 10 leads and a column; found"):
        fit_familiar(KNOWN[:rows], COLUMNS, group)


def test_ten_leads_are_enough():
    familiar = fit_familiar(KNOWN[:10], COLUMNS)
    assert not familiar.unlike(KNOWN[:10]).all()
