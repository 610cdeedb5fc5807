"""Head to head against brute force: every way of breaking ties, every draw; and what must always hold."""

import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from leadscore.errors import DataError, UsageError
from leadscore.evaluation.head_to_head import FIGURES, _chance, head_to_head
from leadscore.evaluation.success import finite_scores, success_rule


def world(rows=400, seed=0, sharp=1.0, level=-1.5):
    """The model sees the truth as far as it is sharp; the points see little of it, in whole steps."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(level, 1.2, rows)
    y = (rng.random(rows) < 1 / (1 + np.exp(-truth))).astype(int)
    said = {
        "points": np.round(truth + rng.normal(0, 3, rows)),
        "model": truth + rng.normal(0, 1 / sharp, rows),
    }
    return y, said


def value(found, model, figure, period="all", column="value"):
    rows = found.rows.set_index(["period", "model", "figure"])
    return float(rows.loc[(period, model, figure), column])


def drawn_by_lot(y, score, capacity, period, lead, orders):
    """Average over orders of the rows, with ties broken by that order: no formula at all."""
    y, score, period, lead = map(np.asarray, (y, score, period, lead))
    won = {each: y[lead == each].max() for each in lead}
    found = []
    for order in orders:
        gone, count = set(), 0
        for when in np.unique(period):
            rows = [row for row in order if period[row] == when]
            rows.sort(key=lambda row: -score[row])
            room = capacity
            for row in rows:
                if room and lead[row] not in gone:
                    gone.add(lead[row])
                    room -= 1
                    count += won[lead[row]]
        found.append(count)
    return np.mean(found)


@st.composite
def few(draw, rows=6):
    y = draw(st.lists(st.integers(0, 1), min_size=rows, max_size=rows).filter(lambda y: 0 < sum(y) < rows))
    score = draw(st.lists(st.integers(0, 2), min_size=rows, max_size=rows))
    return y, score


@settings(max_examples=25, deadline=None)
@given(few(), st.integers(1, 5))
def test_ties_are_shared_as_drawing_among_them_would(case, capacity):
    y, score = case
    found = head_to_head(y, {"points": score}, capacity=capacity, draws=2)
    by_lot = drawn_by_lot(y, score, capacity, np.zeros(6), np.arange(6), itertools.permutations(range(6)))
    assert value(found, "points", "found") == pytest.approx(by_lot)
    assert value(found, "points", "taken") == pytest.approx(capacity)


@settings(max_examples=25, deadline=None)
@given(few(), st.permutations(range(6)), st.integers(1, 2))
def test_a_lead_with_several_rows_is_worked_once(case, score, capacity):
    """Without ties the periods can be played through by hand, with rows of one lead in and across periods."""
    y, _ = case
    lead, period = np.array([0, 1, 2, 0, 1, 0]), np.array([0, 0, 0, 1, 1, 0])
    assume(0 < len(set(lead[np.array(y) == 1])) < 3)
    found = head_to_head(y, {"points": score}, capacity=capacity, period=period, group=lead, draws=2)
    by_hand = drawn_by_lot(y, score, capacity, period, lead, [range(6)])
    assert value(found, "points", "found") == pytest.approx(by_hand)
    assert found.leads == 3
    assert found.conversions == len(set(lead[np.array(y) == 1]))


def test_periods_add_up_and_keep_their_own_capacity():
    y, said = world(300)
    week = np.sort(np.random.default_rng(1).integers(0, 5, 300))
    found = head_to_head(y, said, capacity=11, period=week, draws=50)
    assert found.periods == 5
    for model, score in said.items():
        won = 0.0
        for each in range(5):
            rows = week == each
            alone = head_to_head(y[rows], {"points": score[rows]}, capacity=11, draws=2)
            here = value(found, model, "found", str(each))
            assert here == pytest.approx(value(alone, "points", "found"))
            assert value(found, model, "recall", str(each)) == pytest.approx(here / y[rows].sum())
            assert value(found, model, "taken", str(each)) == pytest.approx(11)
            won += here
        assert value(found, model, "found") == pytest.approx(won)
        assert value(found, model, "precision") == pytest.approx(won / 55)
        assert value(found, model, "recall") == pytest.approx(won / y.sum())


def test_a_share_is_of_the_leads_first_seen_in_a_period():
    y, said = world(100)
    period, lead = np.r_[np.zeros(60), np.ones(40)], np.r_[np.arange(60), np.arange(20), np.arange(60, 80)]
    found = head_to_head(y, said, share=0.25, period=period, group=lead, draws=2)
    assert value(found, "model", "taken", "0") == pytest.approx(15)
    assert value(found, "model", "taken", "1") == pytest.approx(5)
    assert found.capacity == "25 % of the leads in each of 2 periods"


def test_intervals_are_those_of_leads_drawn_and_worked_anew():
    """The draws written out: rows repeated, sorted, cut."""
    y, said = world(80)
    lead = np.arange(80) // 2
    found = head_to_head(y, said, capacity=12, group=lead, draws=60, seed=5)
    rng = np.random.default_rng(5)
    counts = {name: [] for name in said}
    won = np.array([y[lead == each].max() for each in range(40)])
    for _ in range(60):
        who = rng.integers(40, size=40)
        for name, score in said.items():
            best = np.array([score[lead == each].max() for each in range(40)])[who]
            line = np.sort(best)[-12]
            over, level = best > line, best == line
            counts[name].append(
                won[who][over].sum() + won[who][level].sum() * (12 - over.sum()) / level.sum()
            )
    for name in said:
        ends = np.percentile(counts[name], (2.5, 97.5))
        assert (value(found, name, "found", column="low"), value(found, name, "found", column="high")) == (
            pytest.approx(tuple(ends))
        )
    gap = np.percentile(np.subtract(counts["model"], counts["points"]), (2.5, 97.5))
    assert value(found, "model", "found", column="difference_low") == pytest.approx(gap[0])
    assert value(found, "model", "found", column="difference_high") == pytest.approx(gap[1])


def test_money_is_what_the_wins_bring_less_the_touches():
    y, said = world(200)
    worth = np.where(y == 1, np.random.default_rng(0).integers(100, 900, 200), np.nan)
    found = head_to_head(y, said, capacity=30, value=worth, cost=7, draws=20)
    best = np.argsort(-said["model"])[:30]
    assert value(found, "model", "money") == pytest.approx(np.nansum(worth[best]) - 7 * 30)
    flat = head_to_head(y, said, capacity=30, value=100, draws=20)
    assert value(flat, "model", "money") == pytest.approx(100 * y[best].sum())
    assert "in money" in flat.verdicts["model"]
    assert "money" not in set(head_to_head(y, said, capacity=30, draws=2).rows["figure"])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 50), st.integers(1, 12), st.booleans())
def test_more_capacity_never_finds_less_and_is_never_exceeded(seed, capacity, shared):
    y, said = world(80, seed)
    rng = np.random.default_rng(seed)
    period, lead = rng.integers(0, 3, 80), rng.integers(0, 60, 80) if shared else np.arange(80)
    kept = {"period": period, "group": lead, "draws": 3}
    one, two = (head_to_head(y, said, capacity=size, **kept) for size in (capacity, capacity + 1))
    for found, size in ((one, capacity), (two, capacity + 1)):
        taken = found.rows[(found.rows["figure"] == "taken") & (found.rows["period"] != "all")]
        assert (taken[["value", "low", "high"]] <= size + 1e-9).all(axis=None)
    for model in said:
        assert value(one, model, "found") <= value(two, model, "found") + 1e-9
        assert value(two, model, "found") <= two.conversions + 1e-9


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(50)), st.integers(0, 20))
def test_the_order_of_rows_changes_nothing(order, seed):
    y, said = world(50, seed)
    y[:2] = 0, 1
    lead, week, order = np.arange(50) // 2, np.arange(50) // 20, np.array(order)
    kept = {"capacity": 3, "draws": 20}
    one = head_to_head(y, said, period=week, group=lead, **kept)
    mixed = {name: score[order] for name, score in said.items()}
    two = head_to_head(y[order], mixed, period=week[order], group=lead[order], **kept)
    pd.testing.assert_frame_equal(one.rows, two.rows)
    assert one.sentences == two.sentences


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 100), st.integers(5, 300))
def test_identical_models_do_not_differ(seed, rows):
    y, said = world(rows, seed)
    y[:2] = 0, 1
    found = head_to_head(y, {"points": said["points"], "twin": said["points"] * 2 + 1}, share=0.2, draws=30)
    gaps = found.rows[["difference", "difference_low", "difference_high"]].fillna(0)
    assert (gaps == 0).all(axis=None)
    assert found.verdicts["twin"].startswith(("not better", "cannot tell"))


def test_verdicts_follow_the_evidence():
    y, said = world(4000, sharp=4)
    found = head_to_head(y, said, share=0.2, draws=200)
    assert found.verdicts["model"].startswith("better: ")
    other = head_to_head(y, said, baseline="model", share=0.2, draws=200)
    assert other.verdicts["points"].startswith("not better: ")
    assert "by model in 800 MQLs" in other.verdicts["points"]
    assert head_to_head(y, said, share=0.2, draws=200).to_dict() == found.to_dict()


def test_better_is_hardly_ever_said_of_a_model_that_is_not():
    """Two rankings with the same noise: neither is better, and few conversions must not make it look so."""
    said_so = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        truth = rng.normal(-2, 1, 120)
        y = (rng.random(120) < 1 / (1 + np.exp(-truth))).astype(int)
        y[:2] = 0, 1
        said = {name: truth + rng.normal(0, 2, 120) for name in ("points", "model")}
        said_so += head_to_head(y, said, share=0.2, draws=80).verdicts["model"].startswith("better")
    assert said_so <= 8  # 2.5 % are 3.75; more than 8 come once in 40 such tests


def needed(verdict):
    assert verdict.startswith("cannot tell yet (needs about ")
    return int(verdict.split("about ")[1].split(" more")[0].replace(",", ""))


def test_four_finds_to_none_are_too_few_to_tell():
    """The bootstrap interval excludes 0, yet Fisher's test of 4 of 10 against 0 of 10 stays above 5 %."""
    y = np.repeat([1, 0], [4, 96])
    found = head_to_head(y, {"points": np.arange(100), "model": -np.arange(100)}, capacity=10, draws=400)
    assert value(found, "model", "found", column="difference_low") > 0
    assert stats.fisher_exact([[4, 6], [0, 10]]).pvalue > 0.05
    more = needed(found.verdicts["model"])
    assert 1 <= more <= 3
    twice = head_to_head(
        np.repeat([1, 0], [8, 192]),
        {"points": np.arange(200), "model": -np.arange(200)},
        capacity=20,
        draws=400,
    )
    assert twice.verdicts["model"].startswith("better: ")


@pytest.mark.parametrize(
    "table",
    [[[4, 6], [0, 10]], [[5, 0], [0, 5]], [[9, 21], [2, 28]], [[30, 70], [17, 83]], [[900, 40], [840, 100]]],
)
def test_the_exact_test_is_scipys(table):
    peer = stats.fisher_exact(table).pvalue
    assert _chance(np.array(table, dtype=float)) == pytest.approx(peer, rel=1e-7)
    assert _chance(np.array(table[::-1], dtype=float)) == pytest.approx(peer, rel=1e-7)


@pytest.mark.parametrize("seed", [0, 1, 2, 4, 12, 16])
def test_the_number_needed_is_enough_and_not_too_much(seed):
    """With so many more the interval's half width is the difference; or the exact test decides."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(-1.5, 1.2, 1500)
    y = (rng.random(1500) < 1 / (1 + np.exp(-truth))).astype(int)
    said = {"points": truth + rng.normal(0, 2.2, 1500), "model": truth + rng.normal(0, 1.9, 1500)}
    found = head_to_head(y, said, capacity=300, draws=1000)
    gap = abs(value(found, "model", "found", column="difference"))
    half = value(found, "model", "found", column="difference_high")
    half = (half - value(found, "model", "found", column="difference_low")) / 2
    # the half width grows with the root of the sample, the difference with the sample
    times = (found.conversions + needed(found.verdicts["model"])) / found.conversions
    assert math.sqrt(times) * half <= 1.1 * times * gap
    best = {name: set(np.argsort(-score)[:300]) for name, score in said.items()}
    alone = [best["model"] - best["points"], best["points"] - best["model"]]
    table = np.array([[y[list(rows)].sum(), (1 - y[list(rows)]).sum()] for rows in alone])
    assert stats.fisher_exact(np.rint(times * table).astype(int)).pvalue <= 0.055
    fewer = 0.85 * times
    short = math.sqrt(fewer) * half > fewer * gap
    assert short or stats.fisher_exact(np.rint(fewer * table).astype(int)).pvalue > 0.05


def test_models_about_level_are_called_so():
    """Ten finds each, none of them the same."""
    y = np.repeat([1, 0], [20, 180])
    points, model = np.zeros(200), np.zeros(200)
    points[:10] = model[10:20] = points[20:50] = model[20:50] = 1
    found = head_to_head(y, {"points": points, "model": model}, capacity=40, draws=200)
    assert value(found, "model", "found", column="difference") == 0
    assert found.verdicts["model"].startswith(
        "cannot tell yet (the two are about level: even 100 times the 20 conversions may not do): 10 "
    )


def test_to_dict_is_json_and_the_table_is_text():
    y, said = world(200)
    week = np.arange(200) // 100
    y[week == 1] = 0
    found = head_to_head(y, said, capacity=10, period=week, value=10.0, cost=1.0, draws=20)
    written = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert {row["figure"] for row in written["rows"]} == set(FIGURES)
    assert {row["period"] for row in written["rows"]} == {"all", "0", "1"}
    empty = [row for row in written["rows"] if row["period"] == "1" and row["figure"] == "recall"]
    assert all(row["value"] is None for row in empty)
    assert found.table("1").loc["recall", "model"] == "not defined"
    table = found.table()
    assert list(table.columns) == ["points", "model"]
    assert table.loc["MQLs taken", "points"] == "20 [20, 20]"
    assert table.loc["more than your points", "points"] == ""
    share = f"{100 * value(found, 'model', 'precision'):.1f} % ["
    assert table.loc["precision", "model"].startswith(share)
    assert len(found.sentences) == 3
    with pytest.raises(UsageError, match="use one of all, 0, 1"):
        found.table("2")


@pytest.mark.parametrize(
    ("asked", "error", "says"),
    [
        ({"capacity": 0}, UsageError, "capacity above 0"),
        ({"capacity": -2}, UsageError, "capacity above 0"),
        ({"capacity": math.nan}, UsageError, "capacity above 0"),
        ({"capacity": 4}, UsageError, "below the 4 leads"),
        ({"capacity": 2, "period": [0, 0, 1, 1]}, UsageError, "below the 2 leads of the fullest period"),
        ({"capacity": 3, "group": [0, 0, 1, 2]}, UsageError, "below the 3 leads"),
        ({"capacity": None}, UsageError, "found neither"),
        ({"share": 0.2}, UsageError, "found both"),
        ({"capacity": None, "share": 1}, UsageError, "write 0.2"),
        ({"cost": 1}, UsageError, "a value of a win"),
        ({"value": 10, "cost": -1}, UsageError, "cost of at least 0"),
        ({"value": 10, "cost": math.inf}, UsageError, "cost of at least 0"),
        ({"value": -10}, UsageError, "values of a win of at least 0"),
        ({"value": [1.0, 2.0]}, UsageError, "equal lengths"),
        ({"value": [1.0, math.nan, 1.0, 1.0]}, DataError, "finite value of a win"),
        ({"y": [0, 0, 0, 0]}, DataError, "0 of 4"),
        ({"y": [1, 1, 1, 1]}, DataError, "4 of 4"),
        ({"y": [0, 1, 0]}, UsageError, "equal lengths"),
        ({"y": [0, 1, 0, 3]}, DataError, "0 or 1"),
        ({"baseline": "point"}, UsageError, "did you mean 'points'"),
        ({"probabilities": {}}, UsageError, "found none"),
        (
            {"probabilities": {"points": [0, 1, math.nan, 2]}},
            DataError,
            "'points' in every row; found 1 rows",
        ),
        ({"period": [0, 1, math.nan, 1]}, DataError, "finite period"),
        ({"period": [0]}, UsageError, "equal lengths"),
        ({"group": [0]}, UsageError, "one lead for each of the 4 outcomes"),
        ({"draws": 1}, UsageError, "two bootstrap draws"),
    ],
)
def test_bad_input_is_refused_in_one_line(asked, error, says):
    plain = {"y": [0, 1, 0, 1], "probabilities": {"points": [1, 2, 3, 4]}, "capacity": 2, "draws": 5}
    with pytest.raises(error, match=says) as told:
        head_to_head(**{**plain, **asked})
    assert "\n" not in str(told.value)


def test_every_lead_converted_by_some_row_leaves_nothing_to_choose():
    with pytest.raises(DataError, match="2 of 2"):
        head_to_head([0, 1, 0, 1], {"points": [1, 2, 3, 4]}, capacity=1, group=[0, 0, 1, 1], draws=5)


@settings(max_examples=40, deadline=None)
@given(few(rows=20))
def test_the_success_rule_is_the_best_flag_by_search(case):
    """Shares tried one by one; ties at a cut by expectation."""
    y, score = (np.array(each, dtype=float) for each in case)

    def reached(share):
        size, won = share * 20, 0.0
        for level in sorted(set(score), reverse=True):
            there = score == level
            part = min(1.0, max(0.0, size / there.sum()))
            won += part * y[there].sum()
            size -= there.sum()
        return won / y.sum()

    found = success_rule(y, score)
    shares = np.linspace(0.15, 0.35, 401)
    caught = np.array([reached(share) for share in shares])
    enough = shares[caught >= 0.6 - 1e-9]
    assert found.flagged == pytest.approx(enough[0] if len(enough) else 0.35, abs=6e-4)
    assert found.caught == pytest.approx(reached(found.flagged))
    low = 1 - reached(0.6)
    ratio = (reached(0.1) / 0.1) / (low / 0.4) if low > 1e-9 else math.inf
    assert found.ratio == pytest.approx(ratio)
    assert found.passed == (len(enough) > 0 and ratio >= 10 - 1e-9)
    assert found.sentence.startswith("passes" if found.passed else "misses")
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_success_rule_says_what_is_missing():
    y = np.arange(100) % 2
    assert success_rule(y, np.zeros(100)).sentence == (
        "misses the 15-35 / 60 / 10x rule: flagging 35 % of the leads catches 35 % of the conversions, and "
        "the best tenth converts 1.0 times as often as the lowest 40 % (60 % should be caught within 35 %; "
        "that should be 10 times)"
    )
    found = success_rule(np.repeat([1, 0], [10, 90]), np.arange(100)[::-1])
    assert found.flagged == 0.15
    assert found.ratio == math.inf
    assert found.to_dict()["ratio"] is None
    assert "where nobody does among the lowest 40 %" in found.sentence


def test_scores_of_any_scale_will_do():
    y, said = world(200)
    assert success_rule(y, said["points"]) == success_rule(y, 1 / (1 + np.exp(-said["points"])))
    assert finite_scores("score", [True, 2], 2).tolist() == [1.0, 2.0]
