"""Thresholds from evidence, held against beta-distributed chances whose truth is a closed form."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from leadscore.errors import LeadScoreError, UsageError
from leadscore.models.conditions import Condition
from leadscore.models.matrix import Column
from leadscore.policy.backtest import Backtest
from leadscore.policy.figures import FIGURES, MONEY_FIGURES
from leadscore.policy.lines import separating
from leadscore.policy.policy import Policy, Thresholds, percent
from leadscore.policy.rules import Rule
from leadscore.policy.staging import stages
from leadscore.policy.tuning import Aim, tune

A, B, N, WEEKS = 1.5, 12.0, 40_000, 40
SCORES = beta(A, B)
SOURCE = Column("source", ("Ads", "Fair", "Partner"))
CALLS = Column("calls")
SPLIT = [SOURCE, CALLS]


@pytest.fixture(scope="module")
def leads() -> Backtest:
    """Leads whose chance is drawn from a beta distribution, and who convert with exactly that chance."""
    rng = np.random.default_rng(7)
    p = rng.beta(A, B, N)
    return Backtest(p, rng.random(N) < p, week=rng.permutation(N) % WEEKS)


@pytest.fixture(scope="module")
def sourced() -> Backtest:
    """The same, where the chance also depends on the source; every eleventh lead has none."""
    rng = np.random.default_rng(8)
    source = rng.choice(3, N, p=[0.6, 0.3, 0.1])
    p = rng.beta(np.array([1.0, 1.5, 3.0])[source], B)
    codes = np.where(np.arange(N) % 11 == 0, np.nan, source)
    M = np.column_stack([codes, rng.poisson(0.05, N)])
    return Backtest(p, rng.random(N) < p, rng.permutation(N) % WEEKS, rng.random(N) + p, M, SPLIT)


def wins_above(line: float) -> float:
    """The share of leads that are above the line and convert: the integral of p over the density."""
    return float(A / (A + B) * beta(A + 1, B).sf(line))


# ------------------------------------------------------------------------------------ against closed forms
def test_capacity_is_the_quantile(leads: Backtest) -> None:
    tuning = tune(leads, Aim("capacity", 100))
    assert tuning.mql == pytest.approx(SCORES.isf(100 * WEEKS / N), abs=0.005)
    assert tuning.sales_ready == pytest.approx(SCORES.isf(25 * WEEKS / N), abs=0.01)
    assert tuning.weeks == WEEKS
    assert tuning.figure("mql", "volume_per_week").value <= 100
    assert tuning.figure("sales_ready", "volume_per_week").value <= 25


def test_share_is_the_quantile(leads: Backtest) -> None:
    assert tune(leads, Aim("share", 0.2)).mql == pytest.approx(SCORES.isf(0.2), abs=0.003)


def test_precision_is_where_the_conditional_mean_reaches_the_floor(leads: Backtest) -> None:
    line = tune(leads, Aim("precision", 0.25)).mql
    assert wins_above(line) / SCORES.sf(line) == pytest.approx(0.25, abs=0.02)  # three standard errors


def test_recall_is_the_quantile_of_the_converted(leads: Backtest) -> None:
    tuning = tune(leads, Aim("recall", 0.6))
    assert tuning.mql == pytest.approx(beta(A + 1, B).isf(0.6), abs=0.005)
    assert tuning.figure("mql", "recall").value >= 0.6
    above = leads.probability[leads.probability >= tuning.mql].min()
    without = leads.probability > above  # one step higher finds too few
    assert leads.y[without].sum() / leads.y.sum() < 0.6


@pytest.mark.parametrize("missed", [0.0, 60.0])
def test_value_is_cost_over_value_and_missed_win(leads: Backtest, missed: float) -> None:
    value, cost = 100.0, 20.0
    best = cost / (value + missed)
    tuning = tune(leads, Aim("value", None, value, cost, missed))
    assert tuning.mql == pytest.approx(best, abs=0.02)
    all_wins = A / (A + B)
    profit = (
        N
        / WEEKS
        * (value * wins_above(best) - cost * SCORES.sf(best) - missed * (all_wins - wins_above(best)))
    )
    found = tuning.figure("mql", "profit_per_week")
    assert found.low < profit < found.high
    assert "these leads cannot tell those apart" in tuning.verdicts[-1]
    assert tuning.verdicts[-1].endswith(f"a touch pays from {percent(best)}")


def test_figures_are_those_of_the_distribution(leads: Backtest) -> None:
    tuning = tune(leads, Aim("capacity", 150, value_of_win=50.0, cost_of_touch=3.0, cost_of_missed_win=10.0))
    line = tuning.mql
    a_week, all_wins = N / WEEKS, A / (A + B)
    missed = all_wins - wins_above(line)
    truth = {
        "volume_per_week": a_week * SCORES.sf(line),
        "wins_per_week": a_week * wins_above(line),
        "wins_missed_per_week": a_week * missed,
        "precision": wins_above(line) / SCORES.sf(line),
        "recall": wins_above(line) / all_wins,
        "lift": wins_above(line) / SCORES.sf(line) / all_wins,
        "cost_per_week": a_week * (3 * SCORES.sf(line) + 10 * missed),
        "profit_per_week": a_week * (50 * wins_above(line) - 3 * SCORES.sf(line) - 10 * missed),
    }
    assert tuple(truth) == (*FIGURES, *MONEY_FIGURES)
    for name, value in truth.items():
        figure = tuning.figure("mql", name)
        middle, half = (figure.low + figure.high) / 2, (figure.high - figure.low) / 2
        assert abs(middle - value) < 2 * half, name  # four standard errors
        assert half < 0.15 * value, name


def test_one_recall_is_that_of_every_source(sourced: Backtest) -> None:
    """Lines by source at the closed form's quantiles of the converted; the total fills the capacity."""
    tuning = tune(sourced, Aim("recall", 0.5), segment="source", equal_recall=True)
    for level, a in zip(SOURCE.levels or (), (1.0, 1.5, 3.0), strict=True):
        assert tuning.segments[level].mql == pytest.approx(beta(a + 1, B).isf(0.5), abs=0.02)
        assert 0.5 <= tuning.figure("mql", "recall", level).value < 0.51
    filled = tune(sourced, Aim("capacity", 200), segment="source", equal_recall=True)
    assert 199 < filled.figure("mql", "volume_per_week").value <= 200
    recalls = [filled.figure("mql", "recall", level).value for level in SOURCE.levels or ()]
    assert max(recalls) - min(recalls) < 0.01
    plain = tune(sourced, Aim("capacity", 200), segment="source")
    recalls = [plain.figure("mql", "recall", level).value for level in SOURCE.levels or ()]
    assert max(recalls) - min(recalls) > 0.3  # which is what one line does


# -------------------------------------------------------------------------------------------- two aims
@pytest.mark.parametrize(
    "sales",
    [
        Aim("capacity", 15),
        Aim("precision", 0.4),
        Aim("recall", 0.1),
        Aim("share", 0.01),
        Aim("value", None, 10, 4),
    ],
)
@pytest.mark.parametrize("mql", [Aim("capacity", 60), Aim("precision", 0.2), Aim("recall", 0.5)])
def test_two_aims_hold_together(leads: Backtest, mql: Aim, sales: Aim) -> None:
    tuning = tune(leads, mql, sales=sales, draws=1)
    assert tuning.mql <= tuning.sales_ready
    for line, aim in (("mql", mql), ("sales_ready", sales)):
        found = {name: tuning.figure(line, name).value for name in ("volume_per_week", "precision", "recall")}
        held = {
            "capacity": found["volume_per_week"] <= (aim.amount or 0),
            "share": found["volume_per_week"] * WEEKS / N <= (aim.amount or 0),
            "precision": found["precision"] >= (aim.amount or 1) - 1e-12,
            "recall": found["recall"] >= (aim.amount or 1) - 1e-12,
            "value": tuning.sales_ready == pytest.approx(0.4, abs=0.05),
        }
        assert held[aim.kind], (line, aim)


def test_sales_ready_leads_are_chosen_among_the_mqls() -> None:
    """Where sales would take more than there are MQLs, all of them are sales ready."""
    leads = Backtest([0.9, 0.8, 0.7, 0.1], [1, 1, 0, 0])
    tuning = tune(leads, Aim("capacity", 2), sales=Aim("precision", 0.1), draws=1)
    assert tuning.mql == tuning.sales_ready == 0.8
    assert "every MQL is sales ready" in tuning.notes


# -------------------------------------------------------------------------------------------- segments
def test_a_team_of_its_own_has_a_line_of_its_own(sourced: Backtest) -> None:
    tuning = tune(sourced, Aim("capacity", 100), segment="source", per_segment={"Fair": 20, "Partner": 30})
    volume = {
        level: tuning.figure("mql", "volume_per_week", level).value
        for level in ("Ads", "Fair", "Partner", "")
    }
    assert 19.5 < volume["Fair"] <= 20
    assert 29.5 < volume["Partner"] <= 30
    assert 49 < volume["Ads"] + volume[""] <= 50
    assert set(tuning.segments) == {"Fair", "Partner"}


def test_where_every_team_has_a_line_the_line_of_all_is_for_levels_to_come() -> None:
    """Nobody is left for it, so that it is chosen among all leads."""
    rng = np.random.default_rng(0)
    p = rng.random(400)
    leads = Backtest(
        p, p > 0.5, None, None, (np.arange(400) % 2)[:, None], [Column("source", ("Ads", "Fair"))]
    )
    aim = Aim("capacity", 100)
    tuning = tune(leads, aim, segment="source", per_segment={"Ads": 60, "Fair": 40}, draws=1)
    assert tuning.mql == tune(leads, aim, draws=1).mql
    assert tuning.figure("mql", "volume_per_week", "Ads").value == 60
    assert tuning.figure("mql", "volume_per_week", "Fair").value == 40


def test_the_draft_sends_whom_the_figures_are_of(sourced: Backtest) -> None:
    """Stages of the draft, decided anew, against every figure of volume and wins; rules come first."""
    base = Policy(
        0.3,
        0.4,
        suppress=(Rule("no calls", (Condition("calls", "at_least", 2),)),),
        fast_track=(Rule("called", (Condition("calls", "at_least", 1),)),),
    )
    asked = [
        {},
        {"segment": "source"},
        {"segment": "source", "equal_recall": True},
        {"segment": "source", "per_segment": {"Partner": 20}},
    ]
    for more in asked:
        tuning = tune(sourced, Aim("capacity", 100), sales=Aim("capacity", 60), base=base, draws=1, **more)
        draft = tuning.draft(base)
        assert draft.fast_track == base.fast_track
        assert set(draft.segments) == set(tuning.segments)
        assert sourced.M is not None
        stage = stages(draft, sourced.probability, sourced.M, sourced.columns)
        for line, names in (("mql", ("mql", "sales_ready")), ("sales_ready", ("sales_ready",))):
            sent = np.isin(stage.astype(str), names)
            for level in (None, *(SOURCE.levels or ())) if more else (None,):
                mine = sent if level is None else sent & (sourced.levels("source") == level)
                assert tuning.figure(line, "volume_per_week", level).value == pytest.approx(
                    mine.sum() / WEEKS
                )
                assert tuning.figure(line, "wins_per_week", level).value == pytest.approx(
                    sourced.y[mine].sum() / WEEKS
                )
        assert tuning.figure("mql", "volume_per_week").value <= 100
        assert tuning.figure("sales_ready", "volume_per_week").value <= 60


def test_a_draft_keeps_leads_warm_from_the_same_share_of_the_line(leads: Backtest) -> None:
    tuning = tune(leads, Aim("capacity", 100), draws=1)
    assert tuning.draft(Policy(0.1, 0.2)).nurture == tuning.mql / 4
    assert tuning.draft(Policy(0.1, 0.2, nurture=0.05)).nurture == pytest.approx(tuning.mql / 2)
    old = Policy(0.1, 0.2, segment="source", segments={"Ads": Thresholds(0.3, 0.4)}, stay=0.8, cool_down=9)
    draft = tuning.draft(old)
    assert (draft.segment, dict(draft.segments), draft.stay, draft.cool_down) == (None, {}, 0.8, 9)


def few_of(level: int) -> Backtest:
    """A hundred leads each of two sources, and thirty of a third, of whom two convert."""
    rng = np.random.default_rng(level)
    source = np.repeat([0.0, 1.0, 2.0], [100, 100, 30])
    y = np.concatenate([np.arange(100) % 4 == 0, np.arange(100) % 5 == 0, np.arange(30) < 2])
    M = np.column_stack([source, np.arange(230) % 3 == 0])
    return Backtest(np.round(rng.random(230), 4), y, None, None, M, SPLIT)


def test_a_segment_with_two_conversions_has_no_line_of_its_own() -> None:
    with pytest.raises(UsageError) as refused:
        tune(few_of(0), Aim("capacity", 100), segment="source", per_segment={"Partner": 5})
    assert str(refused.value) == (
        "expected at least 10 conversions in source Partner for a line of its own; found 2; "
        "leave it to the line of all leads"
    )
    tuning = tune(few_of(0), Aim("capacity", 100), segment="source", equal_recall=True)
    assert set(tuning.segments) == {"Ads", "Fair"}
    assert tuning.notes == (
        "source Partner: 2 conversions, so the line is that of all leads, and the figures say little",
    )
    assert tuning.figure("mql", "volume_per_week").value <= 100


# ------------------------------------------------------------------------------------------ comparisons
def test_points_take_as_many_leads_and_level_ones_in_equal_shares() -> None:
    p = np.linspace(0.9, 0.1, 10)
    y = np.array([1, 0, 1, 0, 0, 1, 0, 0, 0, 0])
    points = np.array([30, 20, 20, 20, 20, 10, 10, 10, 0, 0])
    tuning = tune(
        Backtest(p, y, points=points), Aim("share", 0.3)
    )  # three: the one at 30, two of the four at 20
    assert tuning.figure("mql", "wins_per_week").value == 2
    assert tuning.figure("points", "volume_per_week").value == 3
    assert tuning.figure("points", "wins_per_week").value == 1 + 2 * 1 / 4
    assert tuning.figure("mql - points", "wins_per_week").value == 0.5


def test_verdicts_on_points(leads: Backtest) -> None:
    rng = np.random.default_rng(0)
    y = leads.y.astype(float)
    said = [
        tune(Backtest(leads.probability, y, leads.week, points), Aim("capacity", 100)).verdicts[0]
        for points in (rng.random(N), leads.probability, y)
    ]
    assert said[0].startswith("better: +")
    assert said[1].startswith("cannot tell these two apart: 0 wins a week against the points")
    assert said[2].startswith("worse: -")
    assert tune(leads, Aim("capacity", 100)).verdicts == ()


def test_verdicts_on_the_policy_in_force(leads: Backtest) -> None:
    line = tune(leads, Aim("capacity", 100), draws=1).mql
    lower, same, near = Policy(line / 2, 1.0), Policy(line, 0.5), Policy(line + 1e-4, 0.5)
    aim = Aim("capacity", 100)
    said = [tune(leads, aim, in_force=policy).verdicts for policy in (lower, same, near)]
    assert said[0][0].startswith("MQLs: worse than the policy in force: -")
    assert said[0][1].startswith("sales-ready leads: better than the policy in force: +")
    assert said[1][0] == "MQLs: the same leads as with the policy in force"
    assert said[2][0].startswith("MQLs: cannot tell these two apart: ")
    paying = Aim("capacity", 100, value_of_win=100, cost_of_touch=100 * line)
    said_of_profit = tune(leads, paying, in_force=lower).verdicts[0]
    assert said_of_profit.startswith("MQLs: better than the policy in force: +")  # fewer wins, more profit
    assert " profit a week" in said_of_profit


def test_the_policy_in_force_is_held_with_its_segments_and_rules(sourced: Backtest) -> None:
    in_force = Policy(
        0.2,
        0.3,
        segment="source",
        segments={"Ads": Thresholds(0.1, 0.5)},
        fast_track=(Rule("called", (Condition("calls", "at_least", 1),)),),
    )
    tuning = tune(sourced, Aim("capacity", 200), in_force=in_force, draws=1)
    assert sourced.M is not None
    stage = stages(in_force, sourced.probability, sourced.M, sourced.columns).astype(str)
    for line, names in (("in force", ("mql", "sales_ready")), ("in force, sales_ready", ("sales_ready",))):
        found = tuning.figure(line, "volume_per_week").value
        assert found == pytest.approx(np.isin(stage, names).sum() / WEEKS)


def test_a_backtest_without_columns_leaves_rules_out_and_says_so(leads: Backtest) -> None:
    rules = Policy(0.1, 0.2, suppress=(Rule("called", (Condition("calls", "at_least", 1),)),))
    tuning = tune(leads, Aim("capacity", 100), in_force=rules, draws=1)
    assert tuning.mql == tune(leads, Aim("capacity", 100), draws=1).mql
    assert "the rules of the policy are left out" in tuning.notes[0]


# --------------------------------------------------------------------------------------------- invariants
levels = st.lists(st.sampled_from([0.05, 0.1, 0.125, 0.3, 1 / 3, 0.9]), min_size=2, max_size=40)


@given(levels, st.data())
def test_ties_never_exceed_the_capacity_and_nothing_that_fits_is_left(
    p: list[float], data: st.DataObject
) -> None:
    n = len(p)
    weeks = data.draw(st.integers(1, 4))
    week = np.arange(n) % weeks
    span = int(week.max()) + 1
    capacity = data.draw(st.floats(0.1, n / span, exclude_max=True))
    y = np.arange(n) % 2 == 0
    fits = [line for line in set(p) if sum(x >= line for x in p) / span <= capacity]
    try:
        tuning = tune(Backtest(p, y, week), Aim("capacity", capacity), draws=2)
    except UsageError as refused:
        assert not fits
        assert "level at the top" in str(refused)
        return
    taken = [x for x in p if x >= tuning.mql]
    assert taken == [x for x in p if x >= min(fits)]
    assert tuning.figure("mql", "volume_per_week").value <= capacity
    assert tuning.mql <= tuning.sales_ready <= max(p)
    ready = sum(x >= tuning.sales_ready for x in p)
    assert ready <= max(0.25 * len(taken), p.count(max(p)))


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.floats(5, 300), st.floats(1, 100), st.booleans())
def test_no_capacity_is_exceeded_in_total_nor_by_segment(
    seed: int, total: float, own: float, equal: bool
) -> None:
    """Heavy ties, rules and segments: whatever is asked, a draft sends no more, or it is refused."""
    rng = np.random.default_rng(seed)
    n = 600
    p = rng.choice(9, n) / 10
    M = np.column_stack([np.where(rng.random(n) < 0.1, np.nan, rng.choice(3, n)), rng.poisson(0.05, n)])
    leads = Backtest(p, rng.random(n) < p, np.arange(n) % 2, None, M, SPLIT)
    base = Policy(0.5, 0.6, fast_track=(Rule("called", (Condition("calls", "at_least", 1),)),))
    more = {"equal_recall": True} if equal else {"per_segment": {"Fair": own}}
    try:
        tuning = tune(
            leads,
            Aim("capacity", total),
            sales=Aim("capacity", total / 2),
            segment="source",
            base=base,
            draws=1,
            **more,
        )
    except LeadScoreError as refused:
        assert "\n" not in str(refused)
        return
    stage = stages(tuning.draft(base), p, M, SPLIT).astype(str)
    sent = np.isin(stage, ("mql", "sales_ready"))
    assert sent.sum() / 2 <= total
    assert (stage == "sales_ready").sum() / 2 <= total / 2
    if not equal:
        assert (sent & (M[:, 0] == 1)).sum() / 2 <= own


def test_volume_never_rises_as_the_threshold_rises(leads: Backtest) -> None:
    """Over 10,001 thresholds, by the stages that leads are given and by the lines between them."""
    some = leads.probability[:2_000]
    y, nothing = leads.y[:2_000], np.empty((2_000, 0))
    thresholds = np.linspace(0, 1, 10_001)
    sent = [
        int(np.isin(stages(Policy(line, 1.0), some, nothing, []), ("mql", "sales_ready")).sum())
        for line in thresholds.tolist()
    ]
    assert all(more >= fewer for more, fewer in itertools.pairwise(sent))
    assert separating(some, y).reached(thresholds)[0].tolist() == sent


def test_a_larger_capacity_never_has_a_higher_line(leads: Backtest) -> None:
    lines = [tune(leads, Aim("capacity", each), draws=1).mql for each in np.linspace(1, 900, 60).tolist()]
    assert all(low >= high for low, high in itertools.pairwise(lines))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30, unique=True), st.data())
def test_a_line_is_short_and_takes_the_same_leads(p: list[float], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(p) - 1))
    line = tune(Backtest(p, np.ones(len(p))), Aim("share", (k + 0.5) / len(p)), draws=1).mql
    ordered = sorted(p, reverse=True)
    assert sum(x >= line for x in p) == k
    assert ordered[k] < line <= ordered[k - 1]
    assert len(repr(line)) <= len(repr(ordered[k - 1]))


def test_an_amount_may_be_numpys() -> None:
    assert Aim("capacity", np.int64(3)) == Aim("capacity", 3)  # type: ignore[arg-type]


def test_without_weeks_the_capacity_is_for_as_many_leads() -> None:
    tuning = tune(Backtest([0.9, 0.8, 0.2, 0.1], [1, 0, 0, 0]), Aim("capacity", 2))
    assert (tuning.mql, tuning.weeks, tuning.busiest_week, tuning.load) == (0.8, None, None, None)
    assert tuning.rule == "at most 2 MQLs, the best 25 % of them sales ready"


def test_empty_weeks_count_and_the_busiest_is_named() -> None:
    tuning = tune(Backtest([0.9, 0.8, 0.7, 0.1], [1, 0, 0, 0], week=[3, 3, 7, 7]), Aim("capacity", 0.6))
    assert tuning.weeks == 5
    assert tuning.mql == 0.7
    assert tuning.busiest_week == 2
    assert tuning.load is not None
    assert tuning.load.value == 0.6


def test_the_same_seed_gives_the_same_tuning(leads: Backtest) -> None:
    aim = Aim("share", 0.1)
    assert tune(leads, aim, seed=3) == tune(leads, aim, seed=3)
    assert tune(leads, aim, seed=3) != tune(leads, aim, seed=4)


def test_it_is_plain_json(sourced: Backtest) -> None:
    tuning = tune(
        sourced, Aim("capacity", 50), segment="source", equal_recall=True, in_force=Policy(0.99, 1.0)
    )
    again = json.loads(json.dumps(tuning.to_dict(), allow_nan=False))
    assert again["mql"] == tuning.mql
    assert again["segments"]["Fair"]["mql"] == tuning.segments["Fair"].mql
    assert again["load"]["low"] < 50 < again["load"]["high"]


# --------------------------------------------------------------------------------------------- refusals
SMALL = Backtest([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0], week=[0, 0, 1, 1])
LEVEL = Backtest([0.5, 0.5, 0.5, 0.1], [1, 1, 0, 0])
SEGMENTS = few_of(1)
FAST = Policy(0.5, 0.6, fast_track=(Rule("ads", (Condition("source", "in", ["Ads", "Fair"]),)),))
ALL = Policy(0.5, 0.6, suppress=(Rule("all", (Condition("source", "present"),)),))

SOME = Policy(0.5, 0.6, suppress=(Rule("some", (Condition("calls", "at_least", 1),)),))


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: Aim("capacity", 0), "a capacity above 0; found 0"),
        (lambda: Aim("capacity", -3), "found -3"),
        (lambda: Aim("capacity", float("nan")), "found nan"),
        (lambda: Aim("capacity", float("inf")), "found inf"),
        (lambda: Aim("capacity"), "found none; say how many leads a week"),
        (lambda: Aim("capacity", True), "found True"),
        (lambda: Aim("capacty", 3), "did you mean 'capacity'"),
        (lambda: Aim("share", 20), "a share of the leads between 0 and 1; found 20; write 0.2 for 20 %"),
        (lambda: Aim("share", 1.0), "a share of the leads between 0 and 1"),
        (lambda: Aim("precision", 40), "write 0.4 for 40 %"),
        (lambda: Aim("recall", 40), "a recall above 0 and up to 1; found 40; write 0.4 for 40 %"),
        (lambda: Aim("recall", -0.1), "found -0.1"),
        (lambda: Aim("value"), "the value of a win and the cost of a touch; found neither"),
        (lambda: Aim("value", None, 5), "found the value alone"),
        (lambda: Aim("capacity", 5, cost_of_touch=5), "found the cost alone"),
        (lambda: Aim("value", 5, 10, 1), "no amount beside the aim of value"),
        (lambda: Aim("value", None, 0, 1), "a value of win above 0; found 0"),
        (lambda: Aim("value", None, 10, -1), "a cost of touch of 0 or more; found -1"),
        (lambda: Aim("value", None, 10, 1, -2), "a cost of missed win of 0 or more; found -2"),
        (lambda: Aim("value", None, float("inf"), 1), "a value of win above 0; found inf"),
        (lambda: tune(SMALL, Aim("capacity", 2)), "a capacity below the 2 leads there are a week; found 2"),
        (lambda: tune(LEVEL, Aim("capacity", 2)), "3 leads level at the top and room for 2"),
        (lambda: tune(LEVEL, Aim("share", 0.5)), "3 leads level at the top and room for 2"),
        (lambda: tune(SMALL, Aim("precision", 0.8)), "found at best 50 %, at the line of 10 %"),
        (lambda: tune(SMALL, Aim("value", None, 10, 11)), "expected a line that pays; found at best -1"),
        (lambda: tune(SMALL, Aim("share", 0.5), sales_share=0), "a share of the MQLs"),
        (lambda: tune(SMALL, Aim("share", 0.5), draws=0), "at least one bootstrap draw"),
        (
            lambda: tune(SMALL, Aim("capacity", 1), sales=Aim("recall", 0.8)),
            "a recall of 80 %; found at best 50 %, at the line of 90 %, where every MQL is sales ready",
        ),
        (lambda: tune(SMALL, Aim("capacity", 1), sales=Aim("capacity", 1.5)), "swap or correct"),
        (lambda: tune(SMALL, Aim("precision", 0.5), sales=Aim("precision", 0.4)), "swap or correct"),
        (lambda: tune(SMALL, Aim("recall", 0.5), sales=Aim("recall", 0.9)), "swap or correct"),
        (lambda: tune(SMALL, Aim("share", 0.5), equal_recall=True), "expected a segment; found none"),
        (lambda: tune(SMALL, Aim("share", 0.5), segment="source"), "there is no category"),
        (lambda: tune(SEGMENTS, Aim("share", 0.5), segment="sorce"), "did you mean 'source'"),
        (
            lambda: tune(SEGMENTS, Aim("share", 0.5), segment="source", per_segment={"Fairs": 9}),
            "a level of 'source'; found 'Fairs' (did you mean 'Fair'?); name one of Ads, Fair, Partner",
        ),
        (
            lambda: tune(SEGMENTS, Aim("share", 0.5), segment="source", per_segment={"Fair": 100}),
            "a capacity below the 100 leads there are of source Fair",
        ),
        (
            lambda: tune(SEGMENTS, Aim("share", 0.5), segment="source", per_segment={"Fair": 0}),
            "a capacity above 0",
        ),
        (
            lambda: tune(SEGMENTS, Aim("capacity", 9), segment="source", per_segment={"Fair": 6, "Ads": 7}),
            "expected capacities that the 9 MQLs a week hold; found 13 in all",
        ),
        (
            lambda: tune(
                SEGMENTS, Aim("capacity", 9), segment="source", per_segment={"Fair": 6}, equal_recall=True
            ),
            "one recall everywhere or a capacity a segment; found both",
        ),
        (lambda: tune(SEGMENTS, Aim("capacity", 50), in_force=FAST), "200 taken before them and room for 50"),
        (lambda: tune(SEGMENTS, Aim("capacity", 50), in_force=ALL), "rules decide all of them"),
        (
            lambda: tune(SEGMENTS, Aim("recall", 0.99), segment="source", equal_recall=True, in_force=ALL),
            "expected two levels of 'source' with at least 10 conversions each, not all by rules; found 0",
        ),
        (
            lambda: tune(SEGMENTS, Aim("recall", 0.99), segment="source", equal_recall=True, in_force=SOME),
            "a recall of 99 %; found at best",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(ask, says) -> None:
    with pytest.raises(UsageError) as refused:
        ask()
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
