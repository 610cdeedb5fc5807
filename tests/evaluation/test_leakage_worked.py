"""What the audit says of fields that change while leads are worked, of calendars, identifiers and tables."""

import numpy as np
import pandas as pd
import pytest

from leadscore.evaluation.leakage import Dated, Worked, audit, calendar_share

ROWS = 3000


class Leads:
    """Leads of all ages: the older, the likelier to be closed; a quarter of the closed are won."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.age = self.rng.uniform(0, 360, ROWS)
        self.closed = self.rng.random(ROWS) < 1 - np.exp(-self.age / 120)
        self.won = self.closed & (self.rng.random(ROWS) < 0.25)
        self.y = self.won.astype(int)

    def some(self, share):
        return self.rng.random(ROWS) < share

    def audit(self, **fields):
        """Judge fields among the leads whose outcome is known: the closed, and the old."""
        frame = pd.DataFrame(fields)
        known = self.closed | (self.age > 200)
        worked = Worked(frame, self.age, self.closed)
        found = audit(
            frame[known].reset_index(drop=True), self.y[known], order=-self.age[known], worked=worked
        )
        return {field.field: field for field in found.fields}


@pytest.fixture
def leads():
    return Leads()


def text(found):
    return "; ".join(found.evidence)


# ------------------------------------------------------------------- open against closed, young against old
@pytest.mark.parametrize("seed", range(10))
def test_fields_known_at_creation_pass(seed):
    leads = Leads(seed)
    found = leads.audit(
        source=leads.rng.choice(["a", "b", "c"], ROWS),
        asked=np.where(leads.some(0.3 + 0.3 * leads.won), "yes", None),
        size=np.where(leads.some(0.8), leads.rng.lognormal(3, 1, ROWS), np.nan),
        rare=np.where(leads.some(0.01), "x", "y"),
    )
    assert {name: field.verdict for name, field in found.items()} == dict.fromkeys(found, "ok")
    assert not any("closed leads" in text(field) for field in found.values())


def test_what_is_filled_in_at_the_closing_is_blocked_though_it_tells_nothing_of_the_outcome(leads):
    reason = np.where(leads.closed & leads.some(0.8), leads.rng.choice(["a", "b"], ROWS), None)
    found = leads.audit(date=np.where(leads.closed, leads.rng.random(ROWS), np.nan), reason=reason)
    assert [field.verdict for field in found.values()] == ["block", "block"]
    assert "100.0% of the closed leads and 0.0% of the open ones of the same age" in text(found["date"])
    assert "filled in as leads are closed" in text(found["date"])
    of_a = int((reason == "a").sum())
    assert f"'a': {of_a} closed leads, 0 open" in text(found["reason"])


def test_what_is_emptied_at_the_closing_is_blocked(leads):
    step = np.where(leads.some(np.where(leads.closed, 0.02, 0.8)), leads.rng.random(ROWS), np.nan)
    found = leads.audit(next_step=step)["next_step"]
    assert found.verdict == "block"
    assert "it is emptied as leads are closed" in text(found)


def test_a_half_hearted_filling_is_suspect(leads):
    note = np.where(leads.some(np.where(leads.closed, 0.7, 0.3)), leads.rng.random(ROWS), np.nan)
    assert leads.audit(note=note)["note"].verdict == "suspect"


def test_ages_are_compared_with_their_like(leads):
    """A field that was given up on the way is filled in for the old alone, of whom more are closed."""
    given_up = np.where((leads.age > 100) & leads.some(0.9), leads.rng.random(ROWS), np.nan)
    found = leads.audit(given_up=given_up)["given_up"]
    raw = [np.isfinite(given_up[side]).mean() for side in (leads.closed, ~leads.closed)]
    assert raw[0] - raw[1] > 0.35
    assert "of the same age" not in text(found)


def test_what_fills_up_as_leads_are_worked_is_suspect(leads):
    touched = np.where(leads.some(1 - np.exp(-leads.age / 40)), leads.rng.random(ROWS), np.nan)
    found = leads.audit(touched=touched)["touched"]
    assert found.verdict == "suspect"
    open_ = np.flatnonzero(~leads.closed)[np.argsort(leads.age[~leads.closed])]
    third = len(open_) // 3
    young, old = (np.isfinite(touched[rows]).mean() for rows in (open_[:third], open_[-third:]))
    assert f"{young:.1%} of the youngest third of the open leads and for {old:.1%}" in text(found)


def test_a_number_that_changes_until_the_closing_is_suspect_and_a_calendar_is_not_one(leads):
    stopped = leads.rng.uniform(0, 1, ROWS) ** 0.5 * leads.age
    days = np.where(leads.closed, stopped, leads.age)
    lately = leads.age + leads.rng.normal(0, 40, ROWS)
    strong = leads.rng.normal(0, 1, ROWS) + leads.won
    found = leads.audit(days=days, lately=lately, strong=strong)
    assert found["days"].verdict == "suspect"
    assert "it grows with the age of open leads (rank correlation 1.00)" in text(found["days"])
    for name in ("lately", "strong"):
        assert "until the closing" not in text(found[name])


def test_a_moment_that_follows_the_work_is_blocked(leads):
    """When a lead was last touched: not long ago where it is open, about its closing where it is closed."""
    since = np.where(leads.closed, leads.rng.uniform(0, 1, ROWS) * leads.age, 0)
    ago = pd.to_timedelta(since + leads.rng.exponential(0.3, ROWS), unit="D")
    touched = pd.Series(pd.Timestamp("2025-01-01", tz="UTC") - ago)
    found = leads.audit(touched=touched, born=touched.sample(frac=1, random_state=0, ignore_index=True))
    assert found["touched"].verdict == "block"
    assert "open leads have it above closed ones of the same age" in text(found["touched"])
    assert "closed ones" not in text(found["born"])


def test_a_pure_group_that_young_leads_have_too_is_a_question_and_one_that_they_lack_a_block(leads):
    will_win = leads.won | (~leads.closed & (leads.age <= 200) & leads.some(0.25))
    recommended = np.where(will_win & leads.some(0.3), "yes", "no")
    signed = np.where(leads.won & leads.some(0.3), "yes", "no")
    found = leads.audit(recommended=recommended, signed=signed)
    assert found["signed"].verdict == "block"
    assert found["recommended"].verdict == "suspect"
    assert "the youngest leads have those levels" in text(found["recommended"])


def test_a_small_pure_group_is_told_of_and_passes(leads):
    source = np.where(leads.won & leads.some(0.06), "Reference", leads.rng.choice(["ads", "search"], ROWS))
    frame, known = pd.DataFrame({"source": source}), leads.closed
    found = audit(frame[known].reset_index(drop=True), leads.y[known]).fields[0]
    assert found.verdict == "ok"
    assert f"'Reference': 100.0% won of {(source == 'Reference').sum()}" in text(found)
    assert "known from the start" in text(found)


def test_a_number_that_is_paid_by_the_won_alone_is_blocked(leads):
    paid = np.where(leads.won & leads.some(0.5), leads.rng.lognormal(8, 1, ROWS), 0.0)
    strong = leads.rng.normal(0, 1, ROWS) + leads.won
    found = leads.audit(paid=paid, strong=strong)
    assert (found["paid"].verdict, found["strong"].verdict) == ("block", "ok")
    assert "parts of its range" in text(found["paid"])


# ------------------------------------------------------------------------------------------------ a history
def test_what_changed_after_the_closing_is_told_with_both_powers():
    leads = Leads()
    now = np.where(leads.won, "customer", "open")
    before = leads.rng.choice(["new", "known"], ROWS)
    history = {"status": Dated(now, changed_after=0.64, undated=0.0)}
    found = audit(pd.DataFrame({"status": before}), leads.y, dated=history).fields[0]
    assert "it changed for 64.0% of the closed leads" in text(found)
    assert f"as it is now it has AUC 1.000, as it was when leads are looked at AUC {found.auc:.3f}" in text(
        found
    )
    assert found.verdict == "ok"
    gaps = {"status": Dated(now, changed_after=0.64, undated=0.2)}
    found = audit(pd.DataFrame({"status": before}), leads.y, dated=gaps).fields[0]
    assert found.verdict == "suspect"
    assert "20.0% of the leads have a value but no history of it" in found.evidence[0]


def test_a_history_without_late_changes_is_not_worth_a_word():
    leads = Leads()
    before = leads.rng.choice(["new", "known"], ROWS)
    history = {"status": Dated(before, changed_after=0.01, undated=0.5)}
    found = audit(pd.DataFrame({"status": before}), leads.y, dated=history).fields[0]
    assert found.verdict == "ok"
    assert "changed" not in text(found)


# ------------------------------------------------------------------------------------ calendars, identifiers
def ordered(rows=2000, seed=0):
    rng = np.random.default_rng(seed)
    return rng, rng.integers(0, 2, rows), np.arange(rows)


def test_a_place_in_line_is_a_calendar_in_disguise_however_it_is_written():
    rng, y, order = ordered()
    late = np.clip(order + rng.normal(0, 30, len(order)), 0, None)
    fields = pd.DataFrame(
        {
            "number": order * 3 + 17,
            "code": [f"L-{k:05d}/a" for k in order],
            "first_seen": pd.Timestamp("2024-01-01") + pd.to_timedelta(late, unit="h"),
            "backwards": -late,
            "shuffled": rng.permutation(order) / 7,
        }
    )
    found = {field.field: field for field in audit(fields, y, order=order).fields}
    assert [field.verdict for field in found.values()] == ["suspect"] * 4 + ["ok"]
    for name in ("number", "code", "first_seen", "backwards"):
        assert "a calendar in disguise" in text(found[name])
    assert found["shuffled"].calendar < 0.05
    assert found["number"].calendar > 0.95


def test_an_identifier_says_so_and_is_suspect_as_a_number():
    rng, y, order = ordered()
    fields = pd.DataFrame(
        {
            "customer": rng.permutation(10**6)[: len(y)],
            "reference": [f"{k:x}" for k in rng.permutation(10**6)[: len(y)]],
            "measure": rng.normal(0, 1, len(y)),
            "employees": rng.poisson(40, len(y)),
        }
    )
    found = {field.field: field for field in audit(fields, y, order=order).fields}
    assert {name: field.verdict for name, field in found.items()} == {
        "customer": "suspect", "reference": "ok", "measure": "ok", "employees": "ok",
    }  # fmt: skip
    assert "nearly every lead has one of its own (2,000 among 2,000)" in text(found["customer"])
    assert "an identifier or free text" in text(found["reference"])
    assert "an identifier" not in text(found["employees"])
    phones = fields[["customer"]].rename(columns={"customer": "telephone"})
    assert audit(phones, y, order=order, personal=("telephone",)).fields[0].verdict == "ok"


def test_calendar_share_is_the_adjusted_r_squared_of_the_levels():
    rng, _, order = ordered()
    field = order // 400 + rng.integers(0, 2, len(order))
    place = pd.Series(order / len(order))
    within = (place - place.groupby(field).transform("mean")).var() * (len(order) - 1)
    expected = 1 - within / (len(order) - len(set(field))) / place.var()
    assert calendar_share(field, order) == pytest.approx(expected)
    assert calendar_share(rng.integers(0, 5, len(order)), order) < 0.01


def test_a_field_that_fails_later_is_told_with_both_powers():
    rng, _, order = ordered(4000)
    season = order // 500
    y = (rng.random(4000) < np.array([0.2, 0.8, 0.2, 0.8, 0.2, 0.8, 0.5, 0.5])[season]).astype(int)
    fields = pd.DataFrame({"season": season, "steady": y + rng.normal(0, 2, 4000)})
    season, steady = audit(fields, y, order=order).fields
    assert season.verdict == "suspect"
    assert season.forward_auc < season.auc - 0.1
    assert f"falls from AUC {season.auc:.3f} to {season.forward_auc:.3f}" in text(season)
    assert steady.verdict == "ok"
    assert "falls" not in text(steady)


# --------------------------------------------------------------------------------------------- standing out
def test_a_field_far_stronger_than_the_rest_is_suspect():
    rng, y, _ = ordered(4000)
    weak = {f"weak_{k}": 0.2 * y + rng.normal(0, 1, 4000) for k in range(8)}
    alone = y + rng.normal(0, 1.05, 4000)
    found = {field.field: field for field in audit(pd.DataFrame({**weak, "alone": alone}), y).fields}
    assert {name for name, field in found.items() if field.verdict != "ok"} == {"alone"}
    others = [field.auc for field in found.values()]
    assert f"beside a median of {np.median(others):.3f}" in text(found["alone"])
    strong = {f"strong_{k}": (0.3 + 0.1 * k) * y + rng.normal(0, 1.2, 4000) for k in range(8)}
    found = audit(pd.DataFrame({**strong, "alone": alone}), y).fields
    assert not any("stands out" in text(field) for field in found)


# ------------------------------------------------------------------------------------------ the table as one
def test_duplicates_are_counted_with_what_splitting_them_would_flatter():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 500)
    frame = pd.DataFrame({"a": rng.normal(0, 1, 500), "b": rng.integers(0, 9, 500)})
    rows = np.concatenate([np.arange(500), np.arange(300)])
    found = audit(frame.iloc[rows].reset_index(drop=True), y[rows], group=rows)
    (said,) = [finding for finding in found.findings if "duplicates" in finding]
    assert said.startswith("600 of 800 leads are duplicates in 300 groups")
    assert "same outcome in 100.0% of the cases" in said
    split, kept = (
        float(said.split(words)[1].split()[0].rstrip(".")) for words in ("has AUC ", "in place of ")
    )
    assert split > kept + 0.1
    assert not any("duplicates" in finding for finding in audit(frame, y).findings)


def test_a_random_split_is_said_to_flatter_where_it_does():
    rng, _, order = ordered(4000)
    season = order // 500
    y = (rng.random(4000) < np.array([0.2, 0.8, 0.2, 0.8, 0.2, 0.8, 0.5, 0.5])[season]).astype(int)
    fields = pd.DataFrame({"season": season})
    (said,) = audit(fields, y, order=order).findings
    assert "a random split flatters by" in said
    (said,) = audit(pd.DataFrame({"steady": y + rng.normal(0, 2, 4000)}), y, order=order).findings
    assert "a random split does not flatter" in said
    assert audit(fields, y).findings == ()


# ------------------------------------------------------------------------------------------ nobody is named
@pytest.mark.parametrize(
    ("field", "levels"),
    [
        ("contract_owner", ["Jane Roe", "John Doe"]),
        ("accountManager", ["Jane Roe", "John Doe"]),
        ("source", ["jane.roe@example.org", "john@example.org"]),
        ("source", ["+49 30 1234567", "(030) 765 4321 0"]),
        ("source", [f"Jane Roe the {k}th" for k in range(25)]),
    ],
)
def test_levels_that_may_be_people_are_counted_only(field, levels):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, ROWS)
    frame = pd.DataFrame({field: np.where(y, rng.choice(levels, ROWS), None)})
    found = audit(frame, y, worked=Worked(frame, np.arange(ROWS), y == 1)).fields[0]
    assert found.verdict == "block"
    assert f"{len(levels)} of its {len(levels)} levels" in text(found)
    assert not any(word in text(found) for word in ("Roe", "Doe", "example", "1234567"))


def test_fields_that_tell_persons_are_never_named():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, ROWS)
    frame = pd.DataFrame({"line": np.where(y, "ann", "bob")})
    assert "ann" in text(audit(frame, y).fields[0])
    assert "'ann'" not in text(audit(frame, y, personal=("line",)).fields[0])
