import io
import itertools
import pickle
import tracemalloc
import zipfile
from math import comb

import lightgbm
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leadscore.errors import ModelError
from leadscore.models import lookup
from leadscore.models.forest import Forest, joined
from leadscore.models.lookup import ZERO, Lookup
from leadscore.models.matrix import Column

slow = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def rows(rng, n, wild=False):
    """Two numbers, a count with zeros, and two categories; wild rows hold what training never does."""
    X = np.column_stack(
        [
            rng.normal(size=n),
            np.round(rng.normal(size=n), 1),
            rng.poisson(0.7, n),
            rng.integers(0, 5, n),
            rng.integers(0, 40, n),
        ]
    ).astype(float)
    X[rng.random(X.shape) < 0.15] = np.nan
    if wild:
        odd = [0.0, -0.0, ZERO, -ZERO, 2 * ZERO, 1e-40, -0.5, -3.0, 7.9, 41.0, 1e9, -1e300, 1e300, np.nan]
        where = rng.random(X.shape) < 0.3
        X[where] = rng.choice(odd, where.sum())
    return X


def trained(rng, n=150, trees=6, complete=False, **parameters):
    X = rows(rng, n)
    if complete:
        X = np.nan_to_num(X)
    known = np.nan_to_num(X)
    y = known[:, 0] + (known[:, 2] > 0) * known[:, 1] + (known[:, 4] % 3 == 0) + rng.normal(size=n) > 0.4
    data = lightgbm.Dataset(X, y, categorical_feature=[3, 4], params={"feature_pre_filter": False})
    parameters = {
        "objective": "binary",
        "verbosity": -1,
        "num_threads": 1,
        "min_data_in_leaf": 3,
        "min_data_per_group": 3,
        "cat_smooth": 1,
        **parameters,
    }
    return lightgbm.train(parameters, data, num_boost_round=trees)


def forest_of(booster):
    return Forest.from_dump(booster.dump_model(), [Column(f"x{j}") for j in range(booster.num_feature())])


drawn = st.builds(
    lambda seed, **parameters: trained(np.random.default_rng(seed), **parameters),
    st.integers(0, 10**6),
    n=st.sampled_from([40, 150, 400]),
    trees=st.sampled_from([1, 6]),
    complete=st.booleans(),
    num_leaves=st.sampled_from([2, 4, 15, 40]),
    max_depth=st.sampled_from([1, 2, 4, -1]),
    min_data_in_leaf=st.sampled_from([1, 5, 200]),  # 200: often no split at all, trees of one leaf
    zero_as_missing=st.booleans(),
    use_missing=st.booleans(),
    max_cat_to_onehot=st.sampled_from([1, 4]),
    bagging_fraction=st.sampled_from([0.6, 1.0]),
    bagging_freq=st.just(1),
    boost_from_average=st.booleans(),
)


@slow
@given(drawn, st.integers(0, 10**6))
def test_margins_are_lightgbms_to_the_last_bit(booster, seed):
    X = rows(np.random.default_rng(seed), 300, wild=True)
    margin = forest_of(booster).margin(X)
    assert margin.tolist() == booster.predict(X, raw_score=True, num_threads=1).tolist()


@slow
@given(drawn, st.integers(0, 10**6))
def test_contributions_are_lightgbms_shap_values_and_add_up(booster, seed):
    X = rows(np.random.default_rng(seed), 100, wild=True)
    forest = forest_of(booster)
    base, parts = forest.contributions(X)
    peer = booster.predict(X, pred_contrib=True, num_threads=1)
    np.testing.assert_allclose(parts, peer[:, :-1], rtol=0, atol=1e-9)
    assert base == pytest.approx(peer[0, -1], abs=1e-9)
    np.testing.assert_allclose(base + parts.sum(axis=1), forest.margin(X), rtol=0, atol=1e-9)


def goes_left(node, x):
    """The rule of one node, as LightGBM documents it."""
    value = x[node["split_feature"]]
    if node["decision_type"] == "==":
        return not np.isnan(value) and str(int(value)) in node["threshold"].split("||")
    kind = node["missing_type"]
    if np.isnan(value) and kind != "NaN":
        value = 0.0
    if (kind == "NaN" and np.isnan(value)) or (kind == "Zero" and abs(value) <= ZERO):
        return node["default_left"]
    return value <= node["threshold"]


def expectation(node, x, known):
    """What a tree gives on average over its training rows when only some columns are known."""
    if "leaf_value" in node:
        return node["leaf_value"]
    left, right = node["left_child"], node["right_child"]
    if node["split_feature"] in known:
        return expectation(left if goes_left(node, x) else right, x, known)
    share = left.get("internal_count", left.get("leaf_count")) / node["internal_count"]
    return share * expectation(left, x, known) + (1 - share) * expectation(right, x, known)


def shapley(value, players):
    """Shapley's sum over all coalitions, straight from its definition."""
    phi = np.zeros(players)
    for i in range(players):
        others = [j for j in range(players) if j != i]
        for size in range(players):
            for known in itertools.combinations(others, size):
                weight = 1 / (players * comb(players - 1, size))
                phi[i] += weight * (value({*known, i}) - value(set(known)))
    return phi


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("zero_as_missing", [False, True])
def test_contributions_are_shapley_values_by_brute_force(seed, zero_as_missing):
    rng = np.random.default_rng(seed)
    booster = trained(rng, trees=3, num_leaves=12, zero_as_missing=zero_as_missing)
    X = rows(rng, 6)
    trees = [tree["tree_structure"] for tree in booster.dump_model()["tree_info"]]
    expected = [
        shapley(lambda known, x=x: sum(expectation(tree, x, known) for tree in trees), X.shape[1]) for x in X
    ]
    base, parts = forest_of(booster).contributions(X)
    np.testing.assert_allclose(parts, expected, rtol=0, atol=1e-12)
    assert base == pytest.approx(sum(expectation(tree, X[0], set()) for tree in trees), abs=1e-12)


@pytest.fixture(scope="module")
def deep():
    """Paths of more nodes than a byte has bits, and columns again and again on them."""
    rng = np.random.default_rng(0)
    return trained(rng, n=3000, trees=4, num_leaves=120, learning_rate=0.3)


@pytest.fixture(scope="module")
def shallow():
    """Many trees as the boosted scorer grows them."""
    return trained(np.random.default_rng(5), n=2000, trees=60, max_depth=4, num_leaves=15)


def test_deep_trees_work_too(deep):
    assert min(tree["num_leaves"] for tree in deep.dump_model()["tree_info"]) > 63
    X = rows(np.random.default_rng(1), 500, wild=True)
    forest = forest_of(deep)
    assert forest.margin(X).tolist() == deep.predict(X, raw_score=True).tolist()
    np.testing.assert_allclose(
        forest.contributions(X)[1], deep.predict(X, pred_contrib=True)[:, :-1], rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray])
@pytest.mark.parametrize("trees", ["shallow", "deep"])
def test_one_row_and_ten_thousand_give_the_same_bits(request, trees, layout):
    rng = np.random.default_rng(2)
    X = layout(rows(rng, 10_000, wild=True))
    forest = forest_of(request.getfixturevalue(trees))
    margin, (_, parts) = forest.margin(X), forest.contributions(X)
    for size in (1, 2, lookup.FEW - 1, lookup.FEW, lookup.FEW + 1, 700):
        some = rng.choice(len(X), size, replace=False)
        assert forest.margin(X[some]).tobytes() == margin[some].tobytes()
        assert forest.contributions(X[some])[1].tolist() == parts[some].tolist()


@pytest.mark.parametrize("trees", ["shallow", "deep"])
def test_neither_threads_nor_blocks_nor_tables_change_bits(request, trees, monkeypatch):
    X = rows(np.random.default_rng(6), 300, wild=True)
    booster = request.getfixturevalue(trees)
    margin, (_, parts) = forest_of(booster).margin(X), forest_of(booster).contributions(X)
    for cores, size, at_once in ((1, 300, 1 << 12), (2, 100, 1 << 17), (3, 70, 1 << 9), (5, 20, 1)):
        monkeypatch.setattr(lookup, "_cores", lambda cores=cores: cores)
        monkeypatch.setattr(lookup, "_ROWS", size)
        monkeypatch.setattr(lookup, "_AT_ONCE", at_once)
        forest = forest_of(booster)
        assert forest.margin(X).tobytes() == margin.tobytes()
        assert forest.contributions(X)[1].tolist() == parts.tolist()


@pytest.mark.parametrize("room", [0, 100 * 256])
def test_what_finds_no_room_in_the_tables_is_computed(shallow, room, monkeypatch):
    X = rows(np.random.default_rng(7), 200, wild=True)
    forest = forest_of(shallow)
    margin, (_, parts) = forest.margin(X), forest.contributions(X)
    monkeypatch.setattr(lookup, "_ROOM", room)
    bare = forest_of(shallow)
    assert bare.margin(X).tobytes() == margin.tobytes()
    np.testing.assert_allclose(bare.contributions(X)[1], parts, rtol=0, atol=1e-12)
    short, long = bare._lookup._units
    assert long
    assert bool(short) == bool(room)


def test_trees_of_all_depths_stand_beside_each_other(shallow, deep):
    """One leaf, four levels and long paths in one forest: the margins are the sum in the trees' order."""
    one_leaf = {"tree_structure": {"leaf_value": -0.7}}
    dumps = [shallow.dump_model(), deep.dump_model()]
    trees = [
        one_leaf,
        *dumps[0]["tree_info"][:5],
        one_leaf,
        *dumps[1]["tree_info"],
        *dumps[0]["tree_info"][5:9],
    ]
    columns = forest_of(deep).columns
    X = rows(np.random.default_rng(8), 300, wild=True)
    alone = [Forest.from_dump({**dumps[0], "tree_info": [tree]}, columns) for tree in trees]
    forest = Forest.from_dump({**dumps[0], "tree_info": trees}, columns)
    margin = np.zeros(len(X))
    for tree in alone:
        margin += tree.margin(X)
    assert forest.margin(X).tolist() == margin.tolist()
    base, parts = forest.contributions(X)
    assert base == pytest.approx(sum(tree.contributions(X)[0] for tree in alone), abs=1e-12)
    together = sum(tree.contributions(X)[1] for tree in alone)
    np.testing.assert_allclose(parts, together, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [1, 200, 9000])
def test_wide_category_sets_beside_narrow_ones(n):
    def tree(codes, value):
        leaves = {"left_child": {"leaf_value": value, "leaf_count": 1}, "right_child": {"leaf_value": 0.0}}
        asks = {"split_feature": 0, "decision_type": "==", "threshold": "||".join(map(str, codes))}
        node = asks | leaves | {"missing_type": "NaN", "default_left": False, "internal_count": 2}
        return {"tree_structure": node}

    sets = [[3], [3, 5000], [40], [31, 32]]
    dump = {"num_tree_per_iteration": 1, "average_output": False}
    trees = [tree(codes, 10.0**i) for i, codes in enumerate(sets)]
    forest = Forest.from_dump({**dump, "tree_info": trees}, [Column("place")])
    drawn = [3, 4, 31, 32, 33, 40, 64, 4999, 5000, 5001, 5023, 5024, 1e12, -1, np.nan]
    x = np.random.default_rng(0).choice(drawn, n)
    expected = [sum(10.0**i for i, codes in enumerate(sets) if value in codes) for value in x]
    assert forest.margin(x[:, None]).tolist() == expected


def test_memory_does_not_grow_with_the_rows(shallow):
    """Beyond the result, serving holds some blocks of rows and no more."""
    X = np.asfortranarray(rows(np.random.default_rng(9), 100_000))
    forest = forest_of(shallow)
    forest.contributions(X[:10])
    tracemalloc.start()
    try:
        _, parts = forest.contributions(X)
        assert tracemalloc.get_traced_memory()[1] - parts.nbytes < lookup._cores() * 2**25
    finally:
        tracemalloc.stop()


def test_tables_are_not_pickled(shallow):
    X = rows(np.random.default_rng(10), 20, wild=True)
    forest = forest_of(shallow)
    fresh = pickle.dumps(forest)
    parts = forest.contributions(X)[1]
    assert len(pickle.dumps(forest)) == len(fresh)
    assert pickle.loads(fresh).contributions(X)[1].tolist() == parts.tolist()


def test_an_empty_matrix_and_a_forest_without_trees(deep):
    forest = forest_of(deep)
    assert forest.margin(np.empty((0, 5))).shape == (0,)
    assert forest.contributions(np.empty((0, 5)))[1].shape == (0, 5)
    bare = Forest.from_dump({**deep.dump_model(), "tree_info": []}, forest.columns)
    assert bare.margin(np.zeros((2, 5))).tolist() == [0, 0]
    assert bare.contributions(np.zeros((2, 5)))[0] == 0


def test_other_kinds_of_lightgbm_models_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ModelError, match="one output"):
        forest_of(trained(rng, boosting="rf", bagging_fraction=0.5, bagging_freq=1))
    X = rng.normal(size=(60, 2))
    data = lightgbm.Dataset(X, X[:, 0] > 0, params={"linear_tree": True})
    linear = lightgbm.train({"objective": "binary", "linear_tree": True, "verbosity": -1}, data, 2)
    with pytest.raises(ModelError, match="linear_tree"):
        forest_of(linear)


# ---- the saved form


@pytest.fixture(scope="module")
def small():
    return forest_of(trained(np.random.default_rng(3), trees=4, num_leaves=6))


def repacked(files, change, compression=zipfile.ZIP_STORED):
    """The same archive with some members changed."""
    with zipfile.ZipFile(io.BytesIO(files["forest.npz"])) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for name, data in change(members).items():
            archive.writestr(name, data)
    return {"forest.npz": packed.getvalue()}


def npy(array):
    member = io.BytesIO()
    np.save(member, array)
    return member.getvalue()


def test_a_saved_forest_is_the_same_forest(small):
    files = small.to_files()
    again = Forest.from_files(files)
    X = rows(np.random.default_rng(4), 200, wild=True)
    assert again.columns == small.columns
    assert again.margin(X).tolist() == small.margin(X).tolist()
    assert again.contributions(X)[1].tolist() == small.contributions(X)[1].tolist()
    assert again.to_files() == files


def test_numpy_reads_the_saved_form(small):
    with np.load(io.BytesIO(small.to_files()["forest.npz"]), allow_pickle=False) as arrays:
        assert arrays["leaf_value"].tolist() == small.leaf_value.tolist()


def set_at(place, value):
    def change(array):
        changed = array.copy()
        changed[place] = value
        return changed

    return change


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("inner", set_at(0, -1)),
        ("inner", set_at(0, 4)),
        ("inner", lambda a: np.append(a, np.int32(1))),
        ("feature", set_at(0, 5)),
        ("feature", set_at(0, -1)),
        ("feature", lambda a: a.astype(np.int64)),
        ("feature", lambda a: a[:-1]),
        ("threshold", set_at(0, np.nan)),
        ("threshold", set_at(0, np.inf)),
        ("threshold", lambda a: a[:, None]),
        ("missing", set_at(0, 3)),
        ("default_left", set_at(0, 2)),
        ("category_set", set_at(0, 1000)),
        ("category_set", set_at(0, -2)),
        ("left", set_at(0, 0)),
        ("left", set_at(0, 1000)),
        ("right", set_at(0, ~1000)),
        ("right", set_at(-1, ~0)),
        ("cover", set_at(0, 0)),
        ("cover", lambda a: a + 1),
        ("cover", set_at(0, np.iinfo(np.int64).min)),
        ("leaf_cover", set_at(0, -5)),
        ("leaf_value", set_at(0, np.nan)),
        ("leaf_value", lambda a: a.astype(np.float32)),
        ("leaf_value", lambda a: a.astype(object)),
        ("leaf_value", lambda a: a[:-1]),
        ("set_start", set_at(0, 1)),
        ("set_start", set_at(-1, 10**6)),
        ("set_start", lambda a: a[::-1].copy()),
        ("set_start", lambda a: a[:0]),
        ("set_bits", lambda a: a[:-1]),
        ("columns", lambda a: a[:-1]),
        ("columns", lambda a: np.frombuffer(b"{}", np.uint8)),
        ("columns", lambda a: np.frombuffer(b"[1]", np.uint8)),
    ],
)
def test_altered_arrays_are_refused_in_one_line(small, name, change):
    def altered(members):
        array = np.load(io.BytesIO(members[f"{name}.npy"]))
        return members | {f"{name}.npy": npy(change(array))}

    with pytest.raises(ModelError) as caught:
        Forest.from_files(repacked(small.to_files(), altered))
    assert "\n" not in str(caught.value)
    assert "expected" in str(caught.value)


def test_endless_chains_are_refused(small):
    """A tree of one long path would make the reasons cost the square of its length."""
    n = 200
    node = np.arange(n, dtype=np.int32)
    cover = np.arange(n + 1, 1, -1, dtype=np.int64)
    chain = {
        "inner": np.array([n], np.int32),
        "feature": 0 * node,
        "threshold": np.zeros(n),
        "missing": np.zeros(n, np.uint8),
        "default_left": np.zeros(n, np.uint8),
        "category_set": 0 * node - 1,
        "left": ~node,
        "right": np.append(node[1:], np.int32(~n)),
        "cover": cover,
        "leaf_value": np.zeros(n + 1),
        "leaf_cover": np.ones(n + 1, np.int64),
        "set_start": np.zeros(1, np.int64),
        "set_bits": np.zeros(0, np.uint32),
    }
    with pytest.raises(ModelError, match="deeper than 128"):
        Forest(small.columns, **chain)


def test_archives_of_another_shape_are_refused(small):
    files = small.to_files()
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,), }\n"
    huge = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    for bad in (
        {},
        {"forest.npz": b""},
        {"forest.npz": files["forest.npz"][:-30]},
        repacked(files, lambda members: members | {"more.npy": npy(np.zeros(1))}),
        repacked(files, lambda members: {k: v for k, v in members.items() if k != "left.npy"}),
        repacked(files, lambda members: members | {"leaf_value.npy": huge}),
        repacked(files, lambda members: members, zipfile.ZIP_DEFLATED),
    ):
        with pytest.raises(ModelError, match="restore the model's files"):
            Forest.from_files(bad)


@slow
@given(st.integers(0, 10**6))
def test_random_damage_is_refused_or_harmless(small, seed):
    rng = np.random.default_rng(seed)
    damaged = bytearray(small.to_files()["forest.npz"])
    for place in rng.integers(0, len(damaged), rng.integers(1, 4)):
        damaged[place] = rng.integers(256)
    try:
        forest = Forest.from_files({"forest.npz": bytes(damaged)})
    except ModelError:
        return
    X = rows(rng, 40, wild=True)
    assert np.isfinite(forest.margin(X)).all()
    assert np.isfinite(forest.contributions(X)[1]).all()


@slow
@given(st.integers(0, 10**6))
def test_random_numbers_in_the_arrays_are_refused_or_still_a_forest(small, seed):
    rng = np.random.default_rng(seed)

    def altered(members):
        name = rng.choice(sorted(set(members) - {"columns.npy"}))
        array = np.load(io.BytesIO(members[name])).copy()
        array[rng.integers(len(array))] = rng.integers(0, 6)
        return members | {name: npy(array)}

    try:
        forest = Forest.from_files(repacked(small.to_files(), altered))
    except ModelError:
        return
    X = rows(rng, 40, wild=True)
    base, parts = forest.contributions(X)
    np.testing.assert_allclose(base + parts.sum(axis=1), forest.margin(X), rtol=0, atol=1e-9)


@pytest.mark.parametrize("n", [1, 200])
@pytest.mark.parametrize("order", [("shallow", "deep"), ("deep", "shallow"), ("shallow", "shallow")])
def test_forests_asked_together_give_what_they_give_alone(request, order, n):
    X = rows(np.random.default_rng(11), n, wild=True)
    forests = [forest_of(request.getfixturevalue(name)) for name in order]
    forests.insert(
        1,
        Forest.from_dump(
            {"num_tree_per_iteration": 1, "average_output": False, "tree_info": []}, forests[0].columns
        ),
    )
    ends = np.cumsum([len(forest.inner) for forest in forests])
    together = Lookup(joined(forests), tuple(ends.tolist()))
    margin, phi = together.explained(X)
    assert margin.tolist() == [forest.margin(X).tolist() for forest in forests] == together.margin(X).tolist()
    assert phi.tolist() == together.contributions(X).tolist()
    alone = [forest.contributions(X)[1] for forest in forests]
    np.testing.assert_allclose(phi.transpose(0, 2, 1), alone, rtol=0, atol=1e-12)
