"""What stands beside a comparison on the screen, in JSON, on the page and in MLflow."""

import html.parser
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from leadscore import report, tracking
from leadscore.bundle import Bundle
from leadscore.bundle import save as save_bundle
from leadscore.cli import show
from leadscore.evaluation.compare import Comparison, judge
from leadscore.evaluation.evidence import Evidence, Optimism, evidence
from leadscore.evaluation.rolling import Plan
from leadscore.predict import load
from leadscore.train import Trained

Run = Callable[..., Any]
MODELS = ("points", "logistic", "boosted", "hazard", "adaptive")
MOMENT = "2025-12-01T00:00:00Z"


@pytest.fixture(scope="module")
def found() -> Comparison:
    """Two periods of 400 leads; every model but the points knows what is to be known."""
    rng = np.random.default_rng(5)
    truth = rng.uniform(0.02, 0.6, 800)
    y = (rng.random(800) < truth).astype(int)
    said = {name: truth if name != "points" else np.full(800, truth.mean()) for name in MODELS}
    predictions = pd.DataFrame(
        {"row": np.arange(800), "fold": np.repeat(["period 1 of 2", "period 2 of 2"], 400), "y": y, **said}
    )
    comparison = judge(predictions, group=np.arange(800), not_to_take=("adaptive",), draws=20)
    pick = {"history": 0.5, "without": 1, "shift": 0.25}
    picks = [
        {"fold": fold, "model": name, "family": "boosted" if name == "adaptive" else name, **pick}
        for name in MODELS
        for fold in ("period 1 of 2", "period 2 of 2")
    ]
    plans = {name: Plan(0.25, ("<i>rate", "index"), -0.125) for name in MODELS[:-1]}
    return replace(comparison, plans=plans, picks=pd.DataFrame(picks))


def weigh(comparison: Comparison, optimism: Optimism | None = None) -> Evidence:
    return evidence(comparison, group=np.arange(800), capacity=80.0, optimism=optimism)


@pytest.fixture(scope="module")
def weighed(found: Comparison) -> Evidence:
    return weigh(found, Optimism("boosted", 0.9, 0.75))


@pytest.fixture(scope="module")
def boastful(found: Comparison) -> Comparison:
    """The same order of leads, and twice the odds."""
    seen = found.predictions
    odds = {name: 3 * seen[name] / (1 + 2 * seen[name]) for name in MODELS}
    return replace(found, predictions=seen.assign(**odds))


def screen(capsys: pytest.CaptureFixture[str], *what: Any) -> tuple[list[str], str]:
    capsys.readouterr()
    show.comparison(*what)
    out, err = capsys.readouterr()
    return out.splitlines(), err


def beneath(lines: list[str], heading: str) -> list[str]:
    """Give the indented lines under a heading."""
    start = next(place for place, line in enumerate(lines) if line.startswith(heading)) + 1
    end = next((place for place in range(start, len(lines)) if not lines[place].startswith("  ")), None)
    return [line.strip() for line in lines[start:end]]


# --------------------------------------------------------------------------------------------- the screen
def test_the_screen_shows_all_of_the_evidence(
    found: Comparison, weighed: Evidence, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, err = screen(capsys, found, weighed)
    assert not err  # the chances are the true ones
    duel = weighed.head_to_head
    for name in MODELS[1:]:
        assert any(line == f"{name}: {found.verdicts[name]}" for line in lines)
    assert beneath(lines, "Who finds more") == [f"{name}: {text}" for name, text in duel.verdicts.items()]
    rules = [f"{name}: {rule.sentence}" for name, rule in duel.success.items()]
    assert beneath(lines, "MadKudu's rule") == rules
    assert len(rules) == 5
    held = [weighed.reliability.sentence, weighed.top.sentence]
    assert beneath(lines, f"Can the chances of {found.chosen} be believed?") == held
    within, optimism = beneath(lines, "What the AUC hides")
    assert f"logistic {weighed.within['logistic']:.3f}" in within
    assert optimism.endswith("0.900 for boosted; forward in time it is 0.750 (-0.150)")
    (taken,) = [line for line in lines if line.startswith("│ conversions found")]
    counts = found.predictions.sort_values("logistic", ascending=False).head(80)["y"].sum()
    assert f" {counts} [" in taken
    assert lines[-1] == f"Chosen   {found.chosen}: {found.reason}"


def test_the_screen_says_how_the_chosen_model_is_fitted(
    found: Comparison, weighed: Evidence, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = replace(found, plans={**found.plans, found.chosen: Plan(0.25, ("in\x1b[31mdex",), -0.125)})
    then, now, names = beneath(screen(capsys, hostile, weighed)[0], "What the backtest chose")
    assert then == (
        "at the latest origin, period 2 of 2: the latest 50 % of what is known, "
        "without 1 that follow the calendar, +0.250 on its log-odds"
    )
    assert now == (
        "now: the latest 25 % of what is known, without 1 that follow the calendar, -0.125 on its log-odds"
    )
    assert "dex" in names
    assert "\x1b" not in names
    plain = replace(found, plans={found.chosen: Plan()})
    told = beneath(screen(capsys, plain, weighed)[0], "What the backtest chose")
    assert told[1:] == ["now: all that is known, every column, its level as it is"]


def test_grouped_folds_have_no_backtest_to_tell_of(
    found: Comparison, capsys: pytest.CaptureFixture[str]
) -> None:
    grouped = replace(found, plans={}, picks=pd.DataFrame())
    text = "\n".join(screen(capsys, grouped, weigh(grouped))[0])
    for word in ("What the backtest chose", "optimism", "adaptive is"):
        assert word not in text


def test_tables_of_five_models_keep_to_140_columns(
    found: Comparison, weighed: Evidence, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, _ = screen(capsys, found, weighed)
    drawn = [line.rstrip() for line in lines if line.startswith(("┃", "│", "┏", "└"))]
    assert len(drawn) > 15
    assert max(map(len, drawn)) <= 140
    cells = [line for line in drawn if line.startswith("│ ")]
    assert not [line for line in cells if not line.removeprefix("│").split("│")[0].strip()]  # nothing wraps


def test_chances_that_do_not_hold_are_warned_of(
    boastful: Comparison, capsys: pytest.CaptureFixture[str]
) -> None:
    weighed = weigh(boastful)
    assert not weighed.reliability.holds
    lines, err = screen(capsys, boastful, weighed)
    assert err.count("\n") == 1
    assert err.startswith(f"warning: the chances of {boastful.chosen} did not hold")
    assert "--withhold" in err
    assert beneath(lines, "Can the chances")[0].startswith("does not hold")


# --------------------------------------------------------------------------------------------------- JSON
def test_the_record_is_strict_json(found: Comparison, weighed: Evidence, tmp_path: Path) -> None:
    rows = found.rows.assign(value=found.rows["value"].where(found.rows.index > 0, math.inf))
    odd = replace(weighed, within={**weighed.within, "points": math.nan})
    show.write_json(tmp_path / "c.json", tracking.record(replace(found, rows=rows), odd))
    text = (tmp_path / "c.json").read_text()
    told = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert set(told) == {"chosen", "rows", "verdicts", "reason", "evidence", "picks"}
    assert told["verdicts"] == found.verdicts
    assert told["reason"] == found.reason
    assert told["rows"][0]["value"] is None
    assert told["rows"][1]["value"] == found.rows["value"][1]
    assert told["evidence"]["within"]["points"] is None
    assert told["evidence"]["optimism"] == {"model": "boosted", "random": 0.9, "forward": 0.75}
    assert told["evidence"]["reliability"]["holds"] is True
    pd.testing.assert_frame_equal(pd.DataFrame(told["picks"]), found.picks, check_dtype=False)


# --------------------------------------------------------------------------------------------------- page
class Page(html.parser.HTMLParser):
    """A page as headings with the tables and the words beneath them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.sources: list[str] = []
        self.words: dict[str, str] = {}
        self.rows: dict[str, list[list[str]]] = {}
        self.boxed = True
        self._open: list[str] = []
        self._heading = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        self._open.append(f"{tag}.{dict(attrs).get('class', '')}")
        if tag == "table":
            self.boxed &= "div.wide" in self._open
        if tag == "h2":
            self._heading = ""
        if tag == "tr":
            self.rows.setdefault(self._heading, []).append([])
        if tag in ("td", "th"):
            self.rows[self._heading][-1].append("")
        if tag in ("meta", "img", "br"):
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        self._open.pop()

    def handle_data(self, data: str) -> None:
        inside = self._open[-1].split(".")[0] if self._open else ""
        if inside == "h2":
            self._heading += data
        elif inside != "style":
            self.words[self._heading] = self.words.get(self._heading, "") + data
        if any(each.startswith(("td.", "th.")) for each in self._open):
            self.rows[self._heading][-1][-1] += data + " "


@pytest.fixture(scope="module")
def shown_page(trained: Trained, found: Comparison, weighed: Evidence) -> str:
    """A page of the simulated company's model beside the constructed comparison."""
    return report.html(replace(trained, comparison=found, evidence=weighed))


def test_the_page_shows_all_of_the_evidence(shown_page: str, found: Comparison, weighed: Evidence) -> None:
    page = Page(shown_page)
    duel = page.words["Head to head"]
    for name, verdict in weighed.head_to_head.verdicts.items():
        assert f"{name}: {verdict}" in duel
    for name, rule in weighed.head_to_head.success.items():
        assert f"{name} {rule.sentence}" in duel
    head, *figures = page.rows["Head to head"]
    assert [cell.strip() for cell in head] == ["figure", *MODELS]
    assert [row[0].strip() for row in figures] == list(weighed.head_to_head.table().index)
    held = page.words["Can the chances be believed?"]
    assert weighed.reliability.sentence[1:] in held
    assert weighed.top.sentence[1:] in held
    assert str(weighed.reliability.large) in held
    assert str(weighed.reliability.slope) in held
    bins = page.rows["Can the chances be believed?"][1:]
    expected = np.sort(found.predictions[found.chosen])[::-1].reshape(10, 80).mean(axis=1)
    assert [cell[1].strip() for cell in bins] == [f"{100 * each:.1f} %" for each in expected]
    picks = page.rows["What the backtest chose"]
    assert [row[0].strip() for row in picks] == ["origin", "period 1 of 2", "period 2 of 2", "now"]
    assert picks[1][2].split() == ["latest", "50", "%", "1", "column", "left", "out", "log-odds", "+0.250"]
    assert picks[1][5].strip() == "boosted"  # of adaptive, which model it was
    assert picks[3][5] == ""
    assert "<i>rate, index" in page.words["What the backtest chose"]
    assert "Optimism: a random split would have promised" in page.words["Comparison"]
    assert "adaptive is the learned model" in page.words["Comparison"]


def test_the_page_fetches_and_runs_nothing_and_boxes_every_table(shown_page: str) -> None:
    page = Page(shown_page)
    assert "script" not in page.tags
    assert page.boxed
    assert len(page.sources) == 4
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.sources)
    assert "&lt;i&gt;rate" in shown_page
    assert "<i>rate" not in shown_page
    assert "style-src 'sha256-" in shown_page


def test_the_page_warns_of_chances_that_do_not_hold(
    trained: Trained, shown_page: str, boastful: Comparison
) -> None:
    assert 'class="warning"' not in shown_page
    page = report.html(replace(trained, comparison=boastful, evidence=weigh(boastful)))
    assert 'class="warning"' in page
    assert "Use its scores to rank leads, not as percentages." in page
    assert "Optimism" not in page


def test_the_page_without_a_backtest(trained: Trained, found: Comparison) -> None:
    grouped = replace(found, plans={}, picks=pd.DataFrame())
    page = report.html(replace(trained, comparison=grouped, evidence=weigh(grouped)))
    assert "What the backtest chose" not in page
    assert "adaptive is" not in page


# ------------------------------------------------------------------------------------------------- MLflow
def test_mlflow_keeps_the_evidence(
    found: Comparison, weighed: Evidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    before = mlflow.get_tracking_uri()
    try:
        store = f"sqlite:///{tmp_path}/runs.db"
        odd = replace(weighed, within={**weighed.within, "points": math.nan})
        run_id = tracking.log_run(found, odd, experiment="e", parameters={}, uri=store)
        metrics, chosen = mlflow.get_run(run_id).data.metrics, found.chosen
        assert metrics[f"{chosen}.calibration_in_the_large"] == weighed.reliability.large.value
        assert metrics[f"{chosen}.calibration_slope"] == weighed.reliability.slope.value
        assert metrics[f"{chosen}.calibration_holds"] == 1.0
        assert metrics["boosted.optimism"] == pytest.approx(0.15)
        assert metrics["boosted.roc_auc_within"] == weighed.within["boosted"]
        assert "points.roc_auc_within" not in metrics  # not defined
        kept = mlflow.artifacts.load_dict(f"runs:/{run_id}/comparison.json")
        assert kept == json.loads(json.dumps(tracking.record(found, odd)))
        assert "promises.png" in {file.path for file in mlflow.MlflowClient().list_artifacts(run_id)}
    finally:
        mlflow.set_tracking_uri(before)


# -------------------------------------------------------------------------------------------------- score
@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tables(files: Path) -> tuple[object, ...]:
    return (files / "leads.parquet", "--events", files / "events.parquet", "--as-of", MOMENT)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("words", [("rank,unlike, interval",), ("rank", "unlike,interval")])
def test_further_columns(
    run: Run,
    folder_of: dict[str, Path],
    tables: tuple[object, ...],
    place: Path,
    words: tuple[str, ...],
    ending: str,
) -> None:
    asked = [word for names in words for word in ("--also", names)]
    done = run("score", folder_of["logistic"], *tables, *asked, "--out", f"s.{ending}")
    assert done.code == 0, done.err
    scores = pd.read_csv("s.csv") if ending == "csv" else pd.read_parquet("s.parquet")
    assert list(scores)[6:] == ["rank", "unlike", "low", "high"]
    leads, _, events, _, moment = tables
    direct = load(folder_of["logistic"]).score(leads, events, moment, also=("rank", "unlike", "interval"))
    pd.testing.assert_frame_equal(scores, direct, check_exact=True, check_dtype=False)
    np.testing.assert_array_equal(scores["rank"], scores["probability"].rank(method="min", ascending=False))


def test_a_hazard_model_has_columns_of_its_own(
    run: Run, folder_of: dict[str, Path], tables: tuple[object, ...], place: Path
) -> None:
    done = run("score", folder_of["hazard"], *tables, "--also", "urgency,expected_days", "--out", "s.parquet")
    assert done.code == 0, done.err
    scores = pd.read_parquet("s.parquet")
    assert list(scores)[6:] == ["urgency", "expected_days"]
    assert scores["urgency"].between(0, 1).all()
    assert scores["expected_days"].between(0, load(folder_of["hazard"]).bundle.horizon).all()


@pytest.mark.parametrize(
    ("name", "said"),
    [("rnk", "'rnk' (did you mean 'rank'?)"), ("urgency", "'urgency'"), ("rank,,unlike", "''")],
)
def test_further_columns_that_there_are_not(
    run: Run,
    folder_of: dict[str, Path],
    tables: tuple[object, ...],
    place: Path,
    name: str,
    said: str,
) -> None:
    done = run("score", folder_of["points"], *tables, "--also", name, "--out", "s.csv")
    assert done.code == 2
    assert re.search(r"further columns that this model has \(.*rank.*\)", done.refusal)
    assert f"found {said}" in done.refusal
    assert not (place / "s.csv").exists()


@pytest.mark.parametrize("withhold", [True, False])
def test_chances_that_did_not_hold_are_withheld_on_request(
    run: Run, bundle_of: dict[str, Bundle], tables: tuple[object, ...], place: Path, withhold: bool
) -> None:
    save_bundle(replace(bundle_of["logistic"], calibrated=False), "model")
    done = run("score", "model", *tables, "--out", "s.csv", *(["--withhold"] if withhold else []))
    assert done.code == 0, done.err
    (warned,) = [line for line in done.err.splitlines() if line.startswith("warning: ")]
    assert "have not proven to hold" in warned
    assert ("--withhold" in warned) != withhold
    scores = pd.read_csv("s.csv")
    assert scores["probability"].isna().all() == withhold
    if withhold:
        assert scores["score"].isna().all()
        assert not scores["calibrated"].any()
        assert sorted(scores["rank"])[0] == 1
        assert scores["stage"].notna().all()


def test_chances_that_held_are_not_withheld(
    run: Run, bundle_of: dict[str, Bundle], tables: tuple[object, ...], place: Path
) -> None:
    save_bundle(replace(bundle_of["logistic"], calibrated=True), "model")
    done = run("score", "model", *tables, "--out", "s.csv", "--withhold")
    assert done.code == 0, done.err
    assert "warning" not in done.err
    scores = pd.read_csv("s.csv")
    assert scores["probability"].notna().all()
    assert scores["calibrated"].all()


@pytest.mark.parametrize("code", [0x00, 0x1B, 0x7F, 0x85, 0x9B, 0x9D, 0x202E, 0xD800])
def test_json_on_a_terminal_holds_no_code_that_acts(code: int) -> None:
    values = {f"key{chr(code)}": f"a{chr(code)}31m"}
    written = show.as_json(values)
    assert re.fullmatch(r"[\n\x20-\x7e]+", written)
    assert json.loads(written) == values
