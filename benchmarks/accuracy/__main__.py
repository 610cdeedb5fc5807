"""Models beside what others do, on the same leads, none of which any of them has seen."""

import argparse
import os
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from peers import LinearDecayPoints, NaiveBayes, decayed_events, plain_lightgbm, plain_logistic
from scipy.stats import beta
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_score

from explain import at_least, at_most
from features import table, written
from leadscore import config, train
from leadscore.evaluation.compare import Comparison, compare
from leadscore.evaluation.metrics import METRICS, bootstrap, evaluate, interval, ranking
from leadscore.evaluation.splits import Fold
from leadscore.features.declare import EventFeature
from leadscore.predict import LeadModel
from leadscore.project import Files, Project, SimulatedWorld
from leadscore.simulate import simulate

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "accuracy.md"
SECTION = "## Beside what others do"
SETS = {
    "demo": "The demo world (simulated)",
    "x_education": "X Education",
    "bank_marketing": "Bank Marketing",
    "loan_applications": "Loan applications",
}
RATE, BAYES, DECAY = "constant rate", "naive Bayes, as Odoo", "linear decay, as MadKudu"
LIGHTGBM, LOGISTIC = "LightGBM as it comes", "logistic as it comes"
SHOWN = {"AUC": "roc_auc", "AP": "average_precision", "log loss": "log_loss", "ECE": "ece"}
PLACE = {name: j for j, name in enumerate(METRICS)}
BARS: Mapping[str, Sequence[tuple[str, Callable[[str, float, float], list[str]], float]]] = {
    "x_education": (
        ("AUC", at_least, 0.875),
        ("AP", at_least, 0.824),
        ("log loss", at_most, 0.425),
        ("ECE", at_most, 0.012),
    ),
    "x_education forward": (("AUC", at_least, 0.885), ("AP", at_least, 0.84)),
    "bank_marketing": (("AUC", at_least, 0.755), ("AP", at_least, 0.455), ("ECE", at_most, 0.03)),
}
RARE = 0.009
START = time.perf_counter()


@dataclass(frozen=True)
class Unseen:
    """What every model said of the same leads, none of which it had seen.

    Parameters
    ----------
    said : DataFrame
        Columns row, fold, y, then probabilities by model.
    group : array
        Rows of one group are drawn together.
    chosen : str
    quoted : mapping of model to float
        AUC on fourths of the rows at random.
    how : str
        What kept them unseen, in words.
    """

    said: pd.DataFrame
    group: np.ndarray
    chosen: str
    quoted: Mapping[str, float]
    how: str

    @property
    def models(self) -> list[str]:
        """Names, the peers first."""
        return list(self.said.columns[3:])

    def value(self, shown: str, model: str) -> float:
        """Measure a model by a column of the table."""
        return float(METRICS[SHOWN[shown]](self.said["y"], self.said[model]))


def say(what: str) -> None:
    """Tell how it is going, with the seconds since it began."""
    print(f"{time.perf_counter() - START:6.0f} s  {what}", file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------------------------ the peers
def peers_of(prepared: train.Prepared) -> dict[str, tuple[Any, pd.DataFrame]]:
    """Give each peer with what it reads: fields of the lead, its events, or everything."""
    data = prepared.data
    fields = [
        feature.name
        for feature in prepared.features
        if not isinstance(feature, EventFeature) and feature.aggregate not in ("lead_age", "filled_share")
    ]
    peers: dict[str, tuple[Any, pd.DataFrame]] = {
        RATE: (DummyClassifier(strategy="prior"), data.X),
        BAYES: (NaiveBayes(fields=fields), data.X),
        LOGISTIC: (plain_logistic(), data.X),
        LIGHTGBM: (plain_lightgbm(prepared.project.seed), data.X),
    }
    events = prepared.tables.events
    if events is not None and data.as_of is not None:
        lead = pd.Index(prepared.tables.lead_id).get_indexer(data.lead_id)
        done_to_it = prepared.project.roles.operations
        left = decayed_events(events, lead, data.as_of, ignore=tuple(done_to_it))
        peers[DECAY] = (LinearDecayPoints(), left)
    return peers


def beside(prepared: train.Prepared, folds: Sequence[Fold], jobs: int) -> pd.DataFrame:
    """Fit every peer on what the library's models were fitted on, and ask it about the same leads."""
    found: pd.DataFrame | None = None
    for name, (model, X) in peers_of(prepared).items():
        say(f"  {name}")
        one = compare(X, prepared.y, {name: model}, folds, baseline=name, draws=1, n_jobs=jobs).predictions
        found = one if found is None else found.assign(**{name: one[name]})
    if found is None:
        raise RuntimeError("no peers")
    return found


def quoted(prepared: train.Prepared) -> dict[str, float]:
    """Give the AUC that each peer would quote: fourths of the rows at random, whatever lead or time."""
    rows, found = mature(prepared), {}
    y = prepared.y[rows]
    for name, (model, X) in peers_of(prepared).items():
        say(f"  {name}, on random splits")
        fourths = StratifiedKFold(4, shuffle=True, random_state=0)
        found[name] = float(cross_val_score(model, X.iloc[rows], y, cv=fourths, scoring="roc_auc").mean())
    return found


# ----------------------------------------------------------------------------------------------- the tables
def split_of(prepared: train.Prepared) -> str:
    grouped = prepared.project.split == "grouped" or prepared.data.order is None
    return "grouped" if grouped else "forward"


def folds_of(prepared: train.Prepared, comparison: Comparison) -> list[Fold]:
    """Give the parts that a comparison tested, each with everything that was known when it began."""
    data, made = prepared.data, []
    for name, part in comparison.predictions.groupby("fold", sort=False):
        test = part["row"].to_numpy()
        known = ~np.isin(data.group, data.group[test])
        if split_of(prepared) == "forward":
            start = data.order[test].min()
            told = data.order if data.known_at is None else data.known_at
            known &= (data.order < start) & (told <= start)
        made.append(Fold(np.flatnonzero(known), test, str(name)))
    return made


def mature(prepared: train.Prepared) -> np.ndarray:
    """Give the rows whose outcome has had the time to show."""
    whether = prepared.data.mature
    return np.arange(len(prepared.y)) if whether is None else np.flatnonzero(whether)


def compared(project: Project, jobs: int) -> tuple[train.Prepared, Unseen]:
    """Compare the library's models, and every peer on the same folds."""
    prepared = train.prepare(project, progress=say)
    comparison = train.compare_models(prepared, progress=say)
    peers = beside(prepared, folds_of(prepared, comparison), jobs)
    said = together(peers, comparison.predictions)
    group = prepared.data.group[said["row"].to_numpy()]
    return prepared, Unseen(said, group, comparison.chosen, quoted(prepared), split_of(prepared))


def together(peers: pd.DataFrame, ours: pd.DataFrame) -> pd.DataFrame:
    """Put what ours said beside what the peers said of the same rows."""
    return peers.merge(ours.drop(columns=["fold", "y"]), on="row", validate="1:1")


def forward_three_quarters(project: Project, jobs: int) -> tuple[train.Prepared, Unseen]:
    """Train on the first three quarters alone, choice of the model included, and score the rest as served."""
    prepared = train.prepare(project, progress=say)
    order, group = prepared.data.order, prepared.data.group
    later = order >= np.quantile(order, 0.75)
    earlier = ~later & ~np.isin(group, group[later])
    fold = Fold(np.flatnonzero(earlier), np.flatnonzero(later), "the last fourth")
    contract, source = project.contract, project.source
    leads = pd.read_csv(source.leads, sep=contract.delimiter, dtype=str, keep_default_na=False)
    ids = pd.Index(prepared.data.lead_id.astype(str))
    with tempfile.TemporaryDirectory() as place:
        first = Path(place) / "first.csv"
        leads[leads[contract.lead_id].isin(ids[earlier])].to_csv(first, sep=contract.delimiter, index=False)
        trained = train.train(replace(project, source=Files(leads=first)), progress=say)
        rest = Path(place) / "rest.csv"
        leads[leads[contract.lead_id].isin(ids[later])].to_csv(rest, sep=contract.delimiter, index=False)
        said = pd.DataFrame({"row": fold.test, "fold": fold.name, "y": prepared.y[fold.test]})
        for name in trained.comparison.models:
            say(f"  {name}, served")
            bundle = train.fit(trained.prepared, replace(trained.comparison, chosen=name))
            scores = LeadModel(bundle, bundle.policy).score(rest).set_index("lead_id")["probability"]
            said[name] = scores.loc[ids[fold.test]].to_numpy()
    both = together(beside(prepared, [fold], jobs), said)
    whose = group[both["row"].to_numpy()]
    return prepared, Unseen(both, whose, trained.comparison.chosen, quoted(prepared), "forward")


def laid_out(found: Unseen, draws: int) -> str:
    """Lay out one set: a row a model, and how far the chosen one is ahead of it on the same leads."""
    y, rows = found.said["y"].to_numpy(), np.arange(len(found.said))
    ranked = {name: (ranking(y, found.said[name].to_numpy()), rows) for name in found.models}
    drawn = bootstrap(ranked, found.group, draws=draws)
    values = {name: evaluate(order) for name, (order, _) in ranked.items()}
    lines = []
    for name in found.models:
        ahead = []
        for metric in ("roc_auc", "log_loss"):
            j = PLACE[metric]
            low, high = interval((drawn[found.chosen] - drawn[name])[:, [j]])
            difference = values[found.chosen][j] - values[name][j]
            ahead.append("" if name == found.chosen else f"{difference:+.3f} [{low[0]:+.3f}, {high[0]:+.3f}]")
        auc, promise = values[name][PLACE["roc_auc"]], found.quoted.get(name)
        lines.append(
            [
                f"**{name}** (chosen)" if name == found.chosen else name,
                *(f"{values[name][PLACE[metric]]:.3f}" for metric in SHOWN.values()),
                f"{within(found, name):.3f}",
                "" if promise is None else f"{promise:.3f}",
                "" if promise is None else f"{promise - auc:+.3f}",
                *ahead,
            ]
        )
    head = ["model", *SHOWN, "AUC within", "AUC quoted", "optimism", "chosen: AUC", "chosen: log loss"]
    return table(head, lines)


def within(found: Unseen, model: str) -> float:
    """Average the AUC of each fold, by its rows: what is left where the rate changes from fold to fold."""
    parts = [part for _, part in found.said.groupby("fold")]
    aucs = [METRICS["roc_auc"](part["y"], part[model]) for part in parts]
    return float(np.average(aucs, weights=[len(part) for part in parts]))


def sizes(prepared: train.Prepared, found: Unseen) -> str:
    folds, rows = found.said["fold"].nunique(), mature(prepared)
    split = {"grouped": "grouped by duplicates", "forward": "forward in time"}[found.how]
    return (
        f"{len(rows):,} rows of {len(np.unique(prepared.data.group[rows])):,} leads, "
        f"{prepared.data.X.shape[1]} columns, {prepared.y[rows].mean():.2%} won; "
        f"{len(found.said):,} unseen rows in {folds} part{'s' if folds > 1 else ''}, {split}."
    )


def judged(name: str, found: Unseen) -> list[list[str]]:
    return [
        judge(f"{name}: {shown}, chosen", found.value(shown, found.chosen), wanted)
        for shown, judge, wanted in BARS.get(name, ())
    ]


# -------------------------------------------------------------------------------------------- rare outcomes
def rare_world(project: Project, leads: int, place: Path) -> Project:
    """Simulate a company whose leads hardly ever convert: most that would are taken out of the tables."""
    whole = replace(project, source=SimulatedWorld(leads, project.source.seed), ages=(7.0,))
    before = train.prepare(whole)
    rate = before.y[mature(before)].mean()
    kept = RARE * (1 - rate) / rate / (1 - RARE)
    world = simulate(leads, seed=project.source.seed)
    won = np.unique(before.data.lead_id[before.y == 1])
    gone = np.random.default_rng(0).permutation(won)[round(kept * len(won)) :]
    paths = {name: place / f"{name}.parquet" for name in ("leads", "events", "outcomes")}
    for name, path in paths.items():
        frame = getattr(world, name)
        is_gone = pc.fill_null(pc.is_in(frame["lead_id"], pa.array(gone)), False)
        pq.write_table(frame.filter(pc.invert(is_gone)), path)
    return replace(whole, source=Files(**paths))


def promise(found: Unseen) -> tuple[str, list[str]]:
    """Compare what the chosen model promises of its top tenth with what came of it."""
    best = found.said.sort_values(found.chosen, ascending=False, kind="stable").head(len(found.said) // 10)
    promised, came = float(best[found.chosen].mean()), float(best["y"].mean())
    won, lost = int(best["y"].sum()), int((1 - best["y"]).sum())
    low, high = beta.ppf((0.025, 0.975), won + 0.5, lost + 0.5)  # Jeffreys
    sentence = (
        f"The chosen model's top tenth promises {promised:.2%}; {came:.2%} came [{low:.2%}, {high:.2%}]."
    )
    met = "yes" if low <= promised <= high else "NO"
    return sentence, [
        "rare: top tenth promises what comes",
        f"{low:.2%} to {high:.2%}",
        f"{promised:.2%}",
        met,
    ]


def rare(project: Project, leads: int, jobs: int, draws: int) -> tuple[list[str], list[list[str]]]:
    say(f"Simulating {leads:,} leads of which {RARE:.1%} convert")
    with tempfile.TemporaryDirectory() as place:
        prepared, found = compared(rare_world(project, leads, Path(place)), jobs)
    sentence, kept = promise(found)
    constant = found.value("log loss", RATE)
    bars = [
        at_most(
            "rare: log loss, chosen, over the constant rate's",
            found.value("log loss", found.chosen) / constant,
            1,
        ),
        at_least(
            "rare: log loss, LightGBM as it comes, over it", found.value("log loss", LIGHTGBM) / constant, 1
        ),
        kept,
    ]
    return ["### A rare outcome (simulated)", sizes(prepared, found), laid_out(found, draws), sentence], bars


# ---------------------------------------------------------------------------------------------- the command
def projects(only: Sequence[str], leads: int | None) -> dict[str, Project | None]:
    """Read the configs; None where the files of a set are absent."""
    found: dict[str, Project | None] = {}
    for name in only:
        project = config.read(ROOT / "configs" / f"{name}.yaml")
        source = project.source
        if isinstance(source, SimulatedWorld):
            found[name] = replace(project, source=replace(source, leads=leads or source.leads))
        else:
            files = [path for path in (source.leads, source.events, source.outcomes) if path is not None]
            found[name] = project if all(path.is_file() for path in files) else None
    return found


def head(date: str | None, load: float) -> str:
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    names = ("numpy", "scikit-learn", "lightgbm")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GB; Python {platform.python_version()}, {versions}; "
        f"{date or datetime.now(UTC).date()}; load average {load:.1f} when it began."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=[*SETS, "rare"], default=[*SETS, "rare"])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--draws", type=int, default=300, help="bootstrap draws behind every interval")
    parser.add_argument("--leads", type=int, help="of the demo world; by default its config's")
    parser.add_argument("--rare-leads", type=int, default=40_000)
    parser.add_argument("--date", help="written in the document; by default today")
    given = parser.parse_args()
    warnings.filterwarnings("ignore", "Found unknown categories", UserWarning)
    load = os.getloadavg()[0]
    parts: list[str] = []
    bars: list[list[str]] = []
    for name, project in projects([name for name in given.only if name in SETS], given.leads).items():
        if project is None:
            parts += [f"### {SETS[name]}", "Absent: the files that its config names are not here."]
            continue
        ways = {name: compared}
        if name == "x_education":
            ways["x_education forward"] = forward_three_quarters
        for way, run in ways.items():
            say(f"{SETS[name]}: {way}")
            prepared, found = run(project, given.jobs)
            title = SETS[name] if way == name else f"{SETS[name]}, the first three quarters to train"
            parts += [f"### {title}", sizes(prepared, found), laid_out(found, given.draws)]
            bars += judged(way, found)
    if "rare" in given.only:
        text, kept = rare(
            config.read(ROOT / "configs" / "demo.yaml"), given.rare_leads, given.jobs, given.draws
        )
        parts += text
        bars += kept
    what = table(["bar", "wanted", "found", "met"], bars)
    text = "\n\n".join([head(given.date, load), EXPLAINED, what, *parts])
    print(text)
    if set(given.only) == {*SETS, "rare"} and given.leads is None:
        if not DOCUMENT.exists():
            DOCUMENT.write_text("# Accuracy\n")
        written(SECTION, text, DOCUMENT)


EXPLAINED = """\
Every figure is of leads that the model had not seen; all models of a table were fitted on what was known when
a part of the test began, and tested on the same rows. *AUC within* averages the AUC of each part: the
difference to *AUC* is what following a rate that changes earns, as the constant rate shows alone. *AUC
quoted* is what the peer would have said of itself: fourths of the rows at random, whatever lead or time they
are of; *optimism* is how much of it was not there. The last two columns are how far the chosen model is from
that row's, with 95 % intervals of paired draws of whole leads: above zero is better in AUC, below zero in log
loss. What each peer does, where that is stated and what was assumed is in `benchmarks/accuracy/peers.py`:
naive Bayes reads fields of the lead alone, and linear decay the lead's own events alone, so that it needs
some. `make bench-accuracy` prints and writes this."""


if __name__ == "__main__":
    main()
