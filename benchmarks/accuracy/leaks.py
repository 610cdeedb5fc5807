"""The leakage audit on simulated worlds: one leak planted in each, among fields known from the start.

The kinds of leak and the worlds of the first half served to choose the audit's thresholds and its rules. Two
earlier proofs on kinds not seen before caught 86 % and 85 %: they missed "days in the pipeline" and "last
touched", hence the rules on numbers that change until the closing, or at it. Those kinds are in the first
half now; the kinds and worlds of the second were written when all that was settled, and prove it. X Education
and Bank Marketing, which earlier thresholds were chosen on, are in neither half.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from joblib import Parallel, delayed
from numpy.typing import NDArray

from leadscore import checking, config
from leadscore.data.tables import read_tables
from leadscore.project import Project
from leadscore.simulate import DAY, NEVER, World, simulate
from leadscore.simulate.tables import LEAKS

ROOT = Path(__file__).parents[2]
CAUGHT, PASSED = 0.95, 0.05  # the bars: leaks blocked or suspected; honest fields blocked, at most
Values = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Ends:
    """How the leads of a world stand at the end of its data, and how thorough its sales team is.

    Parameters
    ----------
    won, lost, open : arrays of truths
    days : array
        From creation to the closing, or to the end of the data.
    since : array
        Days from the closing to the end of the data; 0 for open leads.
    worked : array of truths
        Sales has looked at the lead: the closed, and a part of the open that grows with age.
    kept : float
        Share of the leads for which the field is filled in as it should be.
    wrong : float
        Share for which what is filled in has nothing to do with the lead.
    """

    rng: np.random.Generator
    won: Values
    lost: Values
    open: Values
    days: Values
    since: Values
    worked: Values
    kept: float
    wrong: float

    def some(self, share: float | Values) -> Values:
        """Draw leads by their chance."""
        return self.rng.random(len(self.won)) < share

    def words(self, *words: str) -> Values:
        """Draw a word a lead."""
        return self.rng.choice(np.array(words, dtype=object), len(self.won))

    def muddled(self, right: Values) -> Values:
        """Give a part of the leads the value of another."""
        return np.where(self.some(self.wrong), self.rng.permutation(right), right)


def filled_after_winning(w: Ends) -> Values:
    number = np.array([f"C-{k:06d}" for k in w.rng.permutation(len(w.won))], dtype=object)
    return np.where(w.won & w.some(w.kept), number, None)


def overwritten_status(w: Ends) -> Values:
    on_the_way = w.words("new", "contacted", "in talks")
    right = np.select([w.won, w.lost], [w.words("customer"), w.words("closed", "recycled")], on_the_way)
    return np.where(w.some(w.kept), w.muddled(right), on_the_way)


def rating_by_sales(w: Ends) -> Values:
    right = np.select(
        [w.won, w.lost], [w.words("hot", "hot", "warm"), w.words("cold", "cold", "warm")], "warm"
    )
    return np.where(w.worked & w.some(w.kept), w.muddled(right.astype(object)), None)


def calls_until_closing(w: Ends) -> Values:
    calls = w.rng.poisson(np.where(w.worked, 1 + np.where(w.won, 6, 1.5), 0.3))
    return np.where(w.some(w.kept), w.muddled(calls), np.nan)


def revenue(w: Ends) -> Values:
    paid = np.round(w.rng.lognormal(8, 1, len(w.won)), -1)
    return np.where(w.won & w.some(w.kept), paid, 0.0)


def reason_lost(w: Ends) -> Values:
    return np.where(w.lost & w.some(w.kept), w.words("price", "timing", "competitor", "no answer"), None)


def tags_by_sales(w: Ends) -> Values:
    good = w.words("will pay", "wants contract", "asked for invoice", "call again")
    bad = w.words("not interested", "wrong number", "call again", "ringing", "busy")
    right = np.select([w.won, w.lost], [good, bad], w.words("ringing", "call again", "busy"))
    return np.where(w.worked & w.some(w.kept), w.muddled(right), None)


def date_of_closing(w: Ends) -> Values:
    return _dates(-w.since, ~w.open & w.some(w.kept))


def next_step_cleared(w: Ends) -> Values:
    return _dates(w.rng.integers(1, 30, len(w.won)), w.some(np.where(w.open, w.kept, w.wrong)))


def forecast_by_sales(w: Ends) -> Values:
    right = np.select([w.won, w.lost], [90.0, 10.0], 40.0) + w.rng.normal(0, 15, len(w.won))
    return np.where(w.worked & w.some(w.kept), np.clip(np.round(w.muddled(right), -1), 0, 100), np.nan)


def reason_lost_or_none(w: Ends) -> Values:
    reasons = w.words("price", "timing", "competitor", "no answer")
    return np.where(w.lost & w.some(w.kept), reasons, "none")


def notes_that_grow(w: Ends) -> Values:
    length = w.rng.poisson(np.where(w.won, 300, np.where(w.lost, 120, np.where(w.worked, 60, 5))))
    return np.array(["n" * k + str(j) for j, k in enumerate(w.muddled(length))], dtype=object)


def days_in_pipeline(w: Ends) -> Values:
    return np.where(w.some(w.kept), w.muddled(np.round(w.days, 1)), np.nan)


def product_bought(w: Ends) -> Values:
    return np.where(w.won & w.some(w.kept), w.words("basic", "pro", "enterprise"), "no")


def mails_until_closing(w: Ends) -> Values:
    sent = w.rng.poisson(w.days / 4 + 4.0 * w.won)
    return np.where(w.some(w.kept), w.muddled(sent), np.nan)


def last_touched(w: Ends) -> Values:
    ago = np.where(w.open, w.rng.exponential(7, len(w.won)), w.since + w.rng.exponential(2, len(w.won)))
    return _dates(-w.muddled(np.minimum(ago, w.days + w.since)), w.some(w.kept))


def discount(w: Ends) -> Values:
    given = w.rng.choice([5.0, 10.0, 15.0, 20.0], len(w.won))
    offered = w.some(np.where(w.won, w.kept, np.where(w.lost, 0.5 * w.wrong, 0.01)))
    return np.where(offered, given, 0.0)


def stage_chance(w: Ends) -> Values:
    on_the_way = w.rng.choice([10.0, 20.0, 40.0, 60.0], len(w.won))
    right = np.select([w.won, w.lost], [100.0, 0.0], on_the_way)
    return np.where(w.some(w.kept), w.muddled(right), on_the_way)


def mood_of_the_meeting(w: Ends) -> Values:
    good, bad = w.words("positive", "positive", "neutral"), w.words("negative", "negative", "neutral")
    right = np.select([w.won, w.lost], [good, bad], w.words("positive", "neutral", "negative"))
    return np.where(w.worked & w.some(0.6), w.muddled(right), None)


def account_kind(w: Ends) -> Values:
    tier = w.words("gold", "silver", "bronze")
    return np.where(w.won & w.some(w.kept), tier, "prospect")


def do_not_contact(w: Ends) -> Values:
    return np.where(w.some(np.where(w.lost, w.kept, 0.02)), "yes", "no")


def payment_terms(w: Ends) -> Values:
    return np.where(w.some(np.where(w.won, w.kept, 0.03)), w.words("30 days", "60 days", "prepaid"), None)


def quote(w: Ends) -> Values:
    amount = np.round(w.rng.lognormal(8, 1, len(w.won)), -1)
    asked = w.some(np.select([w.won, w.lost], [w.kept, 0.25 * w.kept], 0.05))
    return np.where(asked, amount, np.nan)


def team(w: Ends) -> Values:
    later = w.words("customer success", "onboarding")
    return np.where(w.won & w.some(w.kept), later, w.words("inbound", "outbound"))


def interest_that_fades(w: Ends) -> Values:
    level = 100 * np.exp(-w.days / 90) + 20 * w.won + w.rng.normal(0, 5, len(w.won))
    return np.where(w.some(w.kept), w.muddled(np.round(np.clip(level, 0, 120))), np.nan)


def date_of_invoice(w: Ends) -> Values:
    return _dates(10 - w.since, w.won & w.some(w.kept))


def contacts_of_the_account(w: Ends) -> Values:
    return w.muddled(1 + w.rng.poisson(np.where(w.won, 3.0, np.where(w.lost, 0.4, 0.6))))


def why_not_reached(w: Ends) -> Values:
    return np.where(w.lost & w.some(0.3), w.words("bounced", "no answer"), None)


def priority(w: Ends) -> Values:
    up, down = w.words("high", "high", "normal"), w.words("low", "low", "normal")
    right = np.select([w.won, w.lost], [up, down], "normal").astype(object)
    return np.where(w.worked & w.some(w.kept), w.muddled(right), "normal")


def days_since_last_mail(w: Ends) -> Values:
    ago = w.rng.exponential(10, len(w.won)) + np.where(w.open, 0.0, w.since)
    return np.where(w.some(w.kept), w.muddled(np.round(ago)), np.nan)


def _dates(days: Values, filled: Values) -> Values:
    """Write down moments before or after the last day of the year, in UTC."""
    moment = pd.Timestamp("2025-12-31") + pd.to_timedelta(np.round(days * 86_400), unit="s")
    return np.where(filled, moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_numpy(dtype=object), None)


Kind = Callable[[Ends], Values]
CHOOSING: Mapping[str, Kind] = {
    "filled after winning": filled_after_winning,
    "overwritten status": overwritten_status,
    "rating by sales": rating_by_sales,
    "calls until closing": calls_until_closing,
    "revenue": revenue,
    "reason lost": reason_lost,
    "tags by sales": tags_by_sales,
    "date of closing": date_of_closing,
    "next step, cleared": next_step_cleared,
    "forecast by sales": forecast_by_sales,
    "reason lost, or none": reason_lost_or_none,
    "notes that grow": notes_that_grow,
    "days in the pipeline": days_in_pipeline,
    "product bought": product_bought,
    "mails until closing": mails_until_closing,
    "last touched": last_touched,
    "discount": discount,
    "stage's chance": stage_chance,
    "mood of the meeting": mood_of_the_meeting,
    "account's kind": account_kind,
    "do not contact": do_not_contact,
    "payment terms": payment_terms,
}
PROVING: Mapping[str, Kind] = {
    "quote": quote,
    "team": team,
    "interest that fades": interest_that_fades,
    "date of invoice": date_of_invoice,
    "contacts of the account": contacts_of_the_account,
    "why not reached": why_not_reached,
    "priority": priority,
    "days since the last mail": days_since_last_mail,
}


def ends(world: World, seed: int) -> Ends:
    rng, truth = np.random.default_rng((seed, 1)), world.truth
    won, closed = truth.won_at <= world.end, truth.closed_at <= world.end
    until = np.where(closed, truth.closed_at, world.end)
    days = (until - truth.created_at) / DAY
    return Ends(
        rng=rng,
        won=won & closed,
        lost=closed & ~won,
        open=~closed,
        days=days,
        since=(world.end - until) / DAY,
        worked=closed | (rng.random(len(won)) < 1 - np.exp(-days / 60)),
        kept=float(rng.uniform(0.6, 0.95)),
        wrong=float(rng.uniform(0.0, 0.25)),
    )


def honest(world: World, seed: int) -> dict[str, Values]:
    """Fields known from the start that are hard to tell from leaks: strong, asked for, nearly pure."""
    rng, truth = np.random.default_rng((seed, 2)), world.truth
    rows = len(truth.fit)
    rank = np.argsort(np.argsort(truth.fit + 1e-9 * rng.random(rows))) / rows
    interest = 3.5 * (rank - 0.5)
    asked = rng.random(rows) < 1 / (1 + np.exp(-0.3 - 0.8 * interest))
    wins = truth.won_at < NEVER
    known = rng.random(rows) < np.where(wins, rng.uniform(0.03, 0.16), 0.001)
    return {
        "minutes_on_site": np.round(np.exp(0.8 * interest + rng.normal(0, 1, rows)), 2),
        "visits": rng.poisson(np.exp(0.5 * interest)),
        "occupation": np.where(
            asked, rng.choice(["student", "employed", "none"], rows, p=[0.1, 0.3, 0.6]), None
        ),
        "recommended": np.where(known, "yes", "no"),
        "language": rng.choice(["en", "de", "fr"], rows),
    }


def judged(project: Project, seed: int, kind: str, leads: int) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Plant one leak in a world of its own and audit it as `leadscore check` does."""
    world = simulate(leads, seed=10_000 + seed)
    planted = (CHOOSING | PROVING)[kind](ends(world, seed))
    frame = world.leads.drop_columns(list(LEAKS)).to_pandas()
    frame = frame.assign(**honest(world, seed), planted=planted)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    tables = read_tables(world.contract, table, world.events, world.outcomes, training=True)
    found = checking.check(replace(project, exclude={}, seed=seed), tables)
    return {entry.field: (entry.verdict, entry.evidence) for entry in found.fields}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", choices=["choosing", "proving", "both"], default="both")
    parser.add_argument("--worlds", type=int, default=200, help="half of them prove")
    parser.add_argument("--leads", type=int, default=2000, help="of a world")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--verbose", action="store_true", help="tell what was missed and what was blocked")
    asked = parser.parse_args()
    start = time.perf_counter()
    project = config.read(ROOT / "configs" / "demo.yaml")
    halves = {"choosing": (0, CHOOSING), "proving": (2000, PROVING)}
    failed = False
    for half, (first, kinds) in halves.items():
        if asked.half not in (half, "both"):
            continue
        seeds = range(first, first + asked.worlds // 2)
        names = [list(kinds)[k % len(kinds)] for k in range(len(seeds))]
        found = Parallel(n_jobs=asked.jobs)(
            delayed(judged)(project, seed, name, asked.leads) for seed, name in zip(seeds, names, strict=True)
        )
        failed |= told(half, seeds, names, found, verbose=asked.verbose)
    print(f"{time.perf_counter() - start:.0f} s")
    sys.exit(failed)


def told(half: str, seeds: range, names: list[str], found: list[dict[str, Any]], *, verbose: bool) -> bool:
    """Print the shares and their breakdown; say whether a bar is missed."""
    leaks = pd.DataFrame({"kind": names, "verdict": [fields["planted"][0] for fields in found]})
    others = pd.DataFrame(
        [(name, verdict) for fields in found for name, (verdict, _) in fields.items() if name != "planted"],
        columns=["field", "verdict"],
    )
    caught, blocked = (leaks["verdict"] != "ok").mean(), (others["verdict"] == "block").mean()
    suspected = (others["verdict"] == "suspect").mean()
    print(f"\n{half}: {len(found)} worlds")
    print(f"leaks blocked or suspected {caught:.1%} (bar: at least {CAUGHT:.0%})")
    print(f"honest fields blocked {blocked:.1%} of {len(others):,} (bar: at most {PASSED:.0%})")
    print(f"honest fields suspected {suspected:.1%}")
    for what, frame in (("kind", leaks), ("field", others)):
        counts = pd.crosstab(frame[what], frame["verdict"]).reindex(
            columns=["block", "suspect", "ok"], fill_value=0
        )
        print(counts.to_string())
    if verbose:
        for seed, name, fields in zip(seeds, names, found, strict=True):
            for field, (verdict, evidence) in fields.items():
                if (field == "planted") != (verdict == "block"):
                    if field != "planted" and verdict == "ok":
                        continue
                    print(f"{seed} {name}: {field} {verdict}: {'; '.join(evidence)[:300]}")
    return bool(caught < CAUGHT or blocked > PASSED)


if __name__ == "__main__":
    main()
