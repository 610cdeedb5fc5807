import time
from dataclasses import FrozenInstanceError, fields
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from leadscore.data.identity import duplicate_groups
from leadscore.data.tables import read_tables
from leadscore.errors import UsageError
from leadscore.simulate import DAY, NEVER, Truth, World, simulate

LEADS = [
    "lead_id", "created_at", "email", "phone", "job_title", "company", "industry", "company_size", "country",
    "source", "campaign", "sales_notes_quality", "contract_owner", "lost_reason_code",
]  # fmt: skip
EVENTS = [
    "event_id", "lead_id", "visitor_id", "occurred_at", "recorded_at", "event_type", "channel", "content",
    "campaign", "value",
]  # fmt: skip
N = 6_000
CLOSING = ("Closed Won", "Closed Lost", "Disqualified")


@pytest.fixture(scope="module")
def timed() -> tuple[World, float]:
    began = time.process_time()  # not the clock on the wall: the machine may be busy with other things
    world = simulate(N, seed=0)
    return world, time.process_time() - began


@pytest.fixture(scope="module")
def world(timed) -> World:
    return timed[0]


@pytest.fixture(scope="module")
def tables(world):
    return read_tables(world.contract, world.leads, world.events, world.outcomes, training=True)


def micros(column):
    return column.cast(pa.int64()).to_numpy()


def rows_of(world, ids):
    return pc.index_in(ids, value_set=world.leads["lead_id"].combine_chunks()).to_numpy(zero_copy_only=False)


def ages(world, days, horizon=30):
    """Leads open at this age whose next 30 days the tables cover, who wins in them, and the moments."""
    truth = world.truth
    as_of = truth.created_at + days * DAY
    known = (as_of + horizon * DAY <= world.end) & (truth.closed_at > as_of)
    return known, (truth.won_at < as_of + horizon * DAY), as_of


# --- size, shape, repeatability ---
def test_a_lead_has_some_fifty_events_and_takes_a_millisecond_at_most(timed):
    world, seconds = timed
    assert world.leads.num_rows == N
    assert 45 < world.events.num_rows / N < 65
    assert seconds < 0.001 * N


def test_columns_are_those_a_company_has_and_none_of_the_truth(world):
    assert world.leads.column_names == LEADS
    assert world.events.column_names == EVENTS
    assert world.outcomes.column_names == ["lead_id", "stage", "at", "reason", "revenue"]
    names = {field.name for field in fields(Truth)} - {"lead_id", "created_at"}
    assert not names & {*world.leads.column_names, *world.events.column_names, *world.outcomes.column_names}


def test_a_seed_repeats_the_world_and_another_does_not():
    one, same, other = simulate(300, 7), simulate(300, 7), simulate(300, 8)
    for name in ("leads", "events", "outcomes"):
        assert getattr(one, name).equals(getattr(same, name))
        assert not getattr(one, name).equals(getattr(other, name))
    assert np.array_equal(one.truth.won_hazard, same.truth.won_hazard)


def test_nothing_can_be_changed(world):
    with pytest.raises(FrozenInstanceError):
        world.leads = None
    with pytest.raises(TypeError):
        world.truth.causes["source=Referral"] = 1.0


@pytest.mark.parametrize("leads", [1, 2, 7, 300])
@pytest.mark.parametrize("weeks", [1, 5, 52])
def test_small_worlds_are_worlds(leads, weeks):
    world = simulate(leads, seed=3, weeks=weeks, start=datetime(2024, 2, 26, tzinfo=UTC))
    assert world.leads.num_rows == leads == len(set(world.leads["lead_id"].to_pylist()))
    assert world.end - world.start == weeks * 7 * DAY
    created = micros(world.leads["created_at"])
    assert world.start <= created.min() <= created.max() < world.end
    tables = read_tables(world.contract, world.leads, world.events, world.outcomes, training=True)
    assert len(tables.lead_id) == leads


@pytest.mark.parametrize("bad", [{"leads": 0}, {"weeks": 0}, {"start": datetime(2025, 1, 1)}])
def test_a_world_that_cannot_be_is_refused(bad):
    with pytest.raises(UsageError, match="at least one lead and week, and a start with a time zone"):
        simulate(**({"leads": 10} | bad))


def test_written_tables_read_back_and_nothing_else_is_left(tmp_path):
    world = simulate(50, 1)
    folder = world.write(tmp_path / "new" / "folder")
    assert sorted(p.name for p in folder.iterdir()) == ["events.parquet", "leads.parquet", "outcomes.parquet"]
    for name in ("leads", "events", "outcomes"):
        assert pq.read_table(folder / f"{name}.parquet").equals(getattr(world, name))


# --- the truth is true ---
def test_probability_agrees_with_stepping_through_the_hazards():
    world = simulate(200, 5)
    truth = world.truth
    as_of, horizon, step = world.start + 150 * DAY + 47_000 * 1_000_000, 9.3, 300_000_000
    chance = truth.probability(as_of, horizon)
    is_open = (truth.created_at <= as_of) & (truth.closed_at > as_of)
    assert np.array_equal(np.isnan(chance), ~is_open)
    alive, won = np.ones(200), np.zeros(200)
    for moment in range(as_of, as_of + round(horizon * DAY), step):
        day, within = divmod(moment - world.start, DAY)
        if 8 * DAY / 24 <= within < 18 * DAY / 24:
            win, loss = (
                truth.won_hazard[:, day] * step / (DAY * 10 / 24),
                truth.lost_hazard[:, day] * step / (DAY * 10 / 24),
            )
            won += alive * win
            alive *= 1 - win - loss
    np.testing.assert_allclose(chance[is_open], won[is_open], rtol=5e-3, atol=1e-12)
    assert is_open.sum() > 50


@pytest.mark.parametrize("day", [45, 120, 250.37, 364])
def test_as_many_leads_win_as_the_truth_says(world, day):
    as_of = world.start + round(day * DAY)
    chance = world.truth.probability(as_of, 30)
    is_open = ~np.isnan(chance)
    chance, won = chance[is_open], (world.truth.won_at < as_of + 30 * DAY)[is_open]
    for part in (*np.array_split(np.argsort(chance), 4)[1:], np.arange(len(chance))):
        spread = np.sqrt((chance[part] * (1 - chance[part])).sum())
        assert abs(won[part].sum() - chance[part].sum()) < 4 * spread


def test_the_hazard_spent_by_open_leads_adds_up_to_the_wins(world):
    truth = world.truth
    opening = world.start + np.arange(truth.won_hazard.shape[1]) * DAY + 8 * DAY // 24
    hours = 10 * DAY // 24
    spent = 0.0
    for rows in np.array_split(np.arange(len(truth.fit)), 10):
        begin = np.clip(truth.created_at[rows, None] - opening, 0, hours)
        finish = np.clip(truth.closed_at[rows, None] - opening, 0, hours)
        spent += (truth.won_hazard[rows] * ((finish - begin) / hours)).sum()
    wins = (truth.won_at != NEVER).sum()
    assert abs(wins - spent) < 4 * np.sqrt(spent)  # their difference is a martingale with this variance


def test_probability_beyond_the_truth_is_refused(world):
    with pytest.raises(UsageError, match="expected a horizon that ends by 2026-"):
        world.truth.probability(world.end, 92)
    assert np.isfinite(world.truth.probability(world.end, 91)).any()


def test_outcomes_are_those_of_the_truth_before_the_end(world):
    stage = np.array(world.outcomes["stage"].to_pylist())
    at, lead = micros(world.outcomes["at"]), rows_of(world, world.outcomes["lead_id"].combine_chunks())
    assert at.max() < world.end
    won = stage == "Closed Won"
    assert np.array_equal(at[won], world.truth.won_at[lead[won]])
    assert set(lead[won]) == set(np.flatnonzero(world.truth.won_at < world.end))
    closing = np.isin(stage, CLOSING)
    assert len(set(lead[closing])) == closing.sum()
    assert (at[~closing] < world.truth.closed_at[lead[~closing]]).all()
    assert (at > world.truth.created_at[lead]).all()
    assert set(np.flatnonzero(world.outcomes["revenue"].is_valid().to_numpy())) == set(np.flatnonzero(won))


# --- the rates that make it a fair test bed ---
def test_conversions_are_rare_late_and_cut_off_by_the_end(world):
    truth = world.truth
    won = truth.won_at < world.end
    assert 0.10 < won.mean() < 0.16
    delay = (truth.won_at[won] - truth.created_at[won]) / DAY
    assert 21 < np.median(delay) < 45
    assert np.quantile(delay, 0.9) > 90
    assert 0.25 < (truth.closed_at >= world.end).mean() < 0.55
    assert (truth.won_at[~won] < NEVER).any()  # won after the tables end: censored, not lost
    rates = [won30[known].mean() for known, won30, _ in (ages(world, days) for days in (1, 3, 7, 14, 30))]
    assert 0.05 < np.mean(rates) < 0.08


def test_students_competitors_and_bots_are_busy_and_never_buy(world):
    truth = world.truth
    seen = world.events["lead_id"].filter(pc.equal(world.events["event_type"], "page_view")).drop_null()
    count = np.bincount(rows_of(world, seen.combine_chunks()), minlength=len(truth.fit))
    buyers = (truth.segment == "buyer") & (truth.won_at == NEVER)
    for segment in ("student", "competitor", "bot"):
        members = truth.segment == segment
        assert 0.01 < members.mean() < 0.10
        assert (truth.won_at[members] == NEVER).all()
        assert truth.won_hazard[members].max() == 0
        assert count[members].mean() > count[buyers].mean()


def test_a_referral_is_rare_strong_and_known_from_the_start(world):
    referral = np.array(world.leads["source"].to_pylist()) == "Referral"
    won = world.truth.won_at < world.end
    assert referral.mean() < 0.04
    assert won[referral].mean() > 2 * won[~referral].mean()
    assert world.truth.causes["source=Referral"] == max(world.truth.causes.values())


def test_the_smallest_and_the_largest_companies_convert_worse(world):
    size = world.leads["company_size"].to_numpy(zero_copy_only=False).astype(float)
    won = world.truth.won_at < world.end
    small, middle, large = (
        won[size < 15].mean(),
        won[(size > 100) & (size < 700)].mean(),
        won[size > 5000].mean(),
    )
    assert small < 0.5 * middle
    assert large < 0.5 * middle


def test_interest_in_prices_says_more_about_deciders_at_fitting_companies(world):
    events = world.events.filter(pc.equal(world.events["content"], "/pricing"))
    events = events.filter(events["lead_id"].is_valid())
    lead, at = rows_of(world, events["lead_id"].combine_chunks()), micros(events["occurred_at"])
    title = world.leads["job_title"].fill_null("").to_pandas().str.lower()
    decides = title.str.contains(r"\b(?:cio|cto|vp|director|head)\b").to_numpy()
    size = world.leads["company_size"].to_numpy(zero_copy_only=False).astype(float)
    best = pc.is_in(world.leads["industry"], pa.array(["Manufacturing", "Logistics", "Wholesale", "Energy"]))
    fitting = (size > 50) & (size < 2000) & best.to_numpy()
    buyer = (world.truth.segment == "buyer") & (world.truth.original < 0)

    def chances(days):
        known, _, as_of = ages(world, days)
        chance = world.truth.probability(np.where(known, as_of, world.start), 30)
        looked = np.zeros(N, dtype=bool)
        looked[lead[(at < as_of[lead]) & (at > as_of[lead] - 14 * DAY)]] = True
        return np.where(known & buyer, chance, np.nan), looked

    chance, looked = map(np.array, zip(*map(chances, (7, 14, 21, 28)), strict=True))

    def gain(group):
        return np.nanmean(chance[looked & group]) - np.nanmean(chance[~looked & group])

    assert gain(decides & fitting) > 2 * gain(~decides & ~fitting) > 0


# --- traps ---
def test_planted_leaks_are_empty_before_the_outcome_and_tell_it_after(world):
    touched = np.zeros(world.leads.num_rows, dtype=bool)
    touched[rows_of(world, world.outcomes["lead_id"].combine_chunks())] = True
    won = world.truth.won_at < world.end
    assert world.truth.leaks == ("sales_notes_quality", "contract_owner", "lost_reason_code")
    for leak in world.truth.leaks:
        filled = world.leads[leak].is_valid().to_numpy()
        assert not filled[~touched].any()
        assert filled.mean() > 0.05
    owned, coded = (world.leads[leak].is_valid().to_numpy() for leak in world.truth.leaks[1:])
    assert won[owned].mean() > 0.9
    assert not won[coded].any()
    high = np.array(world.leads["sales_notes_quality"].to_pylist(), dtype=object) == "high"
    assert won[high].mean() > 0.6


def test_profiles_have_gaps_and_a_hidden_missing_value(world, tables):
    for field in ("phone", "job_title", "company", "industry", "company_size", "country"):
        assert 0.02 < world.leads[field].null_count / world.leads.num_rows < 0.6
    unknown = pc.equal(world.leads["industry"], "unknown").fill_null(False)
    assert pc.sum(unknown).as_py() > 0.05 * N
    assert tables.leads["industry"].null_count == world.leads["industry"].null_count + pc.sum(unknown).as_py()


def test_duplicates_are_one_person_spelt_twice_and_nobody_else_is(world, tables):
    truth = world.truth
    pairs = truth.duplicates
    assert len(pairs) == 0.03 * N
    email = dict(zip(world.leads["lead_id"].to_pylist(), world.leads["email"].to_pylist(), strict=True))

    def plain(address):
        name, _, domain = address.strip().lower().partition("@")
        return name.partition("+")[0] + "@" + domain

    assert all(email[a] != email[b] and plain(email[a]) == plain(email[b]) for a, b in pairs)
    assert len({plain(address) for address in email.values()}) == world.leads.num_rows - len(pairs)
    group = duplicate_groups(tables, email_fields=["email"], phone_fields=["phone"])
    again = np.flatnonzero(truth.original >= 0)
    assert np.array_equal(group[again], group[truth.original[again]])
    assert len(np.unique(group)) == world.leads.num_rows - len(pairs)
    assert (truth.created_at[again] > truth.created_at[truth.original[again]]).all()


def test_what_a_duplicated_person_does_is_split_between_the_records(world):
    seen = world.events.filter(pc.equal(world.events["event_type"], "page_view"))["lead_id"].drop_null()
    count = np.bincount(rows_of(world, seen.combine_chunks()), minlength=world.leads.num_rows)
    again = np.flatnonzero(world.truth.original >= 0)
    both = (count[again] > 0) & (count[world.truth.original[again]] > 0)
    assert both.mean() > 0.4


def test_visitors_are_anonymous_until_a_form_tells_who_they_are(world):
    lead = rows_of(world, world.events["lead_id"].combine_chunks()).astype(float)
    at, hidden = micros(world.events["occurred_at"]), np.isnan(lead)
    assert 0.05 < hidden.mean() < 0.30
    kinds = set(world.events["event_type"].filter(pa.array(hidden)).to_pylist())
    assert kinds == {"page_view", "search", "share"}
    visitor = world.events["visitor_id"].combine_chunks().dictionary_encode().indices.fill_null(-1).to_numpy()
    assert (visitor[hidden] >= 0).all()
    met = np.full(visitor.max() + 1, NEVER)
    told = ~hidden & (visitor >= 0)
    np.minimum.at(met, visitor[told], at[told])
    assert (at[hidden] < met[visitor[hidden]]).all()
    assert (met[visitor[hidden]] < NEVER).mean() > 0.4
    assert (at[~hidden] >= world.truth.created_at[lead[~hidden].astype(int)]).all()


def test_some_events_are_recorded_late_and_none_after_the_end(world):
    occurred, recorded = micros(world.events["occurred_at"]), micros(world.events["recorded_at"])
    assert (np.diff(occurred) >= 0).all()
    assert (recorded >= occurred).all()
    assert 0.005 < (recorded > occurred).mean() < 0.1
    assert world.start <= occurred[0]
    assert recorded.max() < world.end


def test_sales_stops_at_the_end_of_a_lead_and_customers_go_on(world):
    events = world.events.filter(world.events["lead_id"].is_valid())
    lead, at = rows_of(world, events["lead_id"].combine_chunks()), micros(events["occurred_at"])
    won, after = world.truth.won_at[lead] < at, world.truth.closed_at[lead] <= at

    def which(column, *values):
        return pc.is_in(events[column], pa.array(values)).to_numpy()

    sales = which("event_type", "sales_call", "sales_reply", "handover")
    assert sales.sum() > 1000
    assert not (after & sales).any()
    bought = which("content", "subscription")
    assert bought.sum() > 300
    assert won[bought].all()
    assert (which("content", "/support") & won).sum() > 1000
    purchase = which("event_type", "purchase")
    assert np.array_equal(purchase, events["value"].is_valid().to_numpy())
    assert (purchase & ~after).sum() > 100


def test_the_door_takes_the_tables_and_names_only_the_visitors_never_met(world, tables):
    left_out = [f for f in tables.findings if f.rejected]
    assert left_out
    assert {(f.table, "never came with" in f.what) for f in left_out} == {("events", True)}
    assert sum(f.count for f in left_out) < 0.1 * world.events.num_rows
    late = [f.what for f in tables.findings if not f.rejected]
    assert all("is later" in what for what in late)
    stages = np.array(tables.outcomes.stages)[tables.outcomes.stage]
    own = world.outcomes["stage"].to_pylist()
    assert (stages == "won").sum() == own.count("Closed Won")
    assert (stages == "handed_over").sum() == own.count("Handed Over")
