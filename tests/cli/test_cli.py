"""The commands as people use them, one after the other."""

import html.parser
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from leadscore import bundle as bundles
from leadscore.errors import ConfigError
from leadscore.predict import load
from leadscore.simulate import World, simulate

METRICS = [
    "roc_auc", "average_precision", "log_loss", "brier", "ece",
    "lift_at_10", "lift_at_20", "precision_at_10", "precision_at_20",
]  # fmt: skip

Run = Callable[..., Any]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


@pytest.fixture
def model(wide_folder: Path, place: Path) -> Path:
    """A copy of the wide table's model, whose thresholds may be moved."""
    return Path(shutil.copytree(wide_folder, place / "model"))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def assert_pinned(comparison: dict[str, Any]) -> None:
    """The shape that scripts outside this repository rely on."""
    assert set(comparison) >= {"chosen", "rows", "verdicts", "reason", "evidence", "picks"}
    assert set(comparison["evidence"]) == {"head_to_head", "reliability", "top", "within", "optimism"}
    assert comparison["chosen"] in {"points", "logistic", "boosted", "hazard"}
    for row in comparison["rows"]:
        assert set(row) >= {"metric", "slice", "model", "value", "low", "high"}
        if row["value"] is not None:
            assert row["low"] <= row["value"] + 1e-9
            assert row["value"] <= row["high"] + 1e-9
    rows = [row for row in comparison["rows"] if row["slice"] == "all"]
    assert {row["metric"] for row in rows} == set(METRICS)
    assert {row["model"] for row in rows} >= {"points", "logistic", "boosted"}
    assert len(rows) == len(METRICS) * len({row["model"] for row in rows})


# --------------------------------------------------------------------------------------------------- check
def test_check_judges_every_column_and_writes_them(run: Run, wide: Path, place: Path) -> None:
    done = run("check", wide / "wide.yaml", "--json", "check.json")
    assert done.code == 0, done.err
    assert "Nothing blocks training." in done.out
    assert re.search(r"Verdict +│ block +│ excluded", done.out)
    fields = json.loads(Path("check.json").read_text())["fields"]
    assert {field["field"] for field in fields} == {"Hours", "Visits", "Channel", "Plan", "Verdict"}
    assert {field["verdict"] for field in fields} <= {"block", "suspect", "ok"}
    assert all(isinstance(field["evidence"], list) for field in fields)
    (verdict,) = [field for field in fields if field["field"] == "Verdict"]
    assert verdict["verdict"] == "block"
    assert verdict["evidence"]
    assert names(place) == {"check.json"}


def test_check_stops_at_a_leak_once_it_has_written(
    run: Run, wide: Path, wide_settings: dict[str, Any], place: Path
) -> None:
    (wide / "wide.yaml").write_text(yaml.safe_dump(wide_settings | {"exclude": {}}))
    done = run("check", wide / "wide.yaml", "--json", "check.json")
    assert done.code == 1
    assert "'Verdict'" in done.refusal
    assert "Nothing blocks" not in done.out
    fields = json.loads(Path("check.json").read_text())["fields"]
    assert [field["field"] for field in fields if field["verdict"] == "block"] == ["Verdict"]


# ------------------------------------------------------------------------------------- train and compare
def test_train_writes_a_model_a_report_and_the_comparison(run: Run, wide: Path, place: Path) -> None:
    done = run("train", wide / "wide.yaml", "--out", "models/wide", "--json", "out/wide.json", "--no-mlflow")
    assert done.code == 0, done.err
    comparison = json.loads(Path("out/wide.json").read_text())
    assert_pinned(comparison)
    assert {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()} == {
        "out/wide.json",
        "models/wide.report.html",
        *(f"models/wide/{path.name}" for path in Path("models/wide").iterdir()),
    }
    assert f"Digest   {bundles.digest('models/wide')}" in done.out
    assert f"Chosen   {comparison['chosen']}" in done.out
    assert all(line.startswith(("... ", "note: ", "warning: ")) for line in done.err.splitlines())
    loaded = load("models/wide")
    assert loaded.bundle.facts["comparison"] == {name: comparison[name] for name in ("chosen", "rows")}
    assert loaded.bundle.calibrated == comparison["evidence"]["reliability"]["holds"]
    assert ("warning: " in done.err) != loaded.bundle.calibrated
    again = run("train", wide / "wide.yaml", "--out", "models/wide", "--no-mlflow")  # replaces it
    assert again.code == 0, again.err
    assert names(place / "models") == {"wide", "wide.report.html"}


def test_the_report_is_one_page_that_fetches_and_runs_nothing(run: Run, wide: Path, place: Path) -> None:
    hostile = "<script>alert(1)</script>"
    frame = pd.read_csv(wide / "leads.csv").rename(columns={"Visits": hostile})
    frame.to_csv(wide / "leads.csv", index=False)
    text = (wide / "wide.yaml").read_text()
    (wide / "wide.yaml").write_text(text.replace("- Visits", f"- {hostile}"))
    assert run("train", wide / "wide.yaml", "--out", "model", "--no-mlflow").code == 0
    page = Path("model.report.html").read_text()

    class Page(html.parser.HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.tags: set[str] = set()
            self.sources: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.tags.add(tag)
            assert not any(name.startswith("on") for name, _ in attrs)
            self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    parsed = Page()
    parsed.feed(page)
    assert "script" not in parsed.tags
    assert "&lt;script&gt;" in page
    assert parsed.sources
    assert all(source.startswith("data:image/svg+xml;base64,") for source in parsed.sources)


def test_compare_keeps_nothing_but_what_is_asked_for(run: Run, wide: Path, place: Path) -> None:
    done = run("compare", wide / "wide.yaml", "--json", "comparison.json", "--no-mlflow")
    assert done.code == 0, done.err
    assert_pinned(json.loads(Path("comparison.json").read_text()))
    assert names(place) == {"comparison.json"}
    for model in ("logistic", "boosted"):
        assert re.search(rf"^{model}: (better than|not better than|cannot tell)", done.out, re.MULTILINE)


# ------------------------------------------------------------------------------------- score and explain
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_score_a_table_without_a_clock(
    run: Run, model: Path, wide: Path, wide_frame: pd.DataFrame, ending: str
) -> None:
    done = run("score", model, wide / "leads.csv", "--out", f"scores.{ending}")
    assert done.code == 0, done.err
    assert done.out == f"800 leads scored: scores.{ending}\n"
    found = pd.read_csv("scores.csv") if ending == "csv" else pd.read_parquet("scores.parquet")
    pd.testing.assert_frame_equal(found, load(model).score(wide_frame), check_exact=True, check_dtype=False)
    assert list(found.columns) == ["lead_id", "probability", "score", "stage", "fit", "engagement"]


def test_scores_are_of_now_when_no_moment_is_given(
    run: Run, folder_of: dict[str, Path], files: Path, place: Path
) -> None:
    tables = (files / "leads.parquet", "--events", files / "events.parquet")
    done = run("score", folder_of["points"], *tables, "--out", "s.csv")
    assert done.code == 0, done.err
    assert len(pd.read_csv("s.csv")) == 1_200  # the simulated year is over


def test_a_moment_without_a_zone_is_in_the_projects(
    run: Run, bundle_of: dict[str, bundles.Bundle], files: Path, place: Path
) -> None:
    born = bundle_of["points"]
    local = replace(born, contract=replace(born.contract, timezone="America/New_York"))
    bundles.save(local, "local")
    tables = (files / "leads.parquet", "--events", files / "events.parquet")
    for name, moment in (("naive", "2025-12-01T00:00:00"), ("zoned", "2025-12-01T05:00:00Z")):
        done = run("score", "local", *tables, "--as-of", moment, "--out", f"{name}.csv")
        assert done.code == 0, done.err
    assert Path("naive.csv").read_bytes() == Path("zoned.csv").read_bytes()


def test_explain_in_three_ways(run: Run, model: Path, wide: Path, wide_frame: pd.DataFrame) -> None:
    (why,) = load(model).explain(wide_frame, lead_id=5003)
    words = ("explain", model, wide / "leads.csv", "--lead", "5003", "--short")
    text = run(*words)
    assert text.code == 0, text.err
    assert text.out == why.text() + "\n"
    assert f"score {why.shown_score} of 100" in text.out
    told = json.loads(run(*words, "--format", "json").out)
    assert told == json.loads(json.dumps(why.to_dict()))
    assert told["shown_base"] + sum(driver["shown"] for driver in told["drivers"]) == told["shown_score"]
    assert run(*words, "--format", "html").out == why.html() + "\n"
    done = run(*words, "--format", "html", "--out", "cards/5003.html")
    assert done.out == "cards/5003.html\n"
    assert Path("cards/5003.html").read_text() == why.html() + "\n"


# -------------------------------------------------------------------------------------------- thresholds
@pytest.mark.parametrize(
    ("way", "rule"),
    [
        (("--capacity", "100"), "at most 100"),
        (("--share", "0.2"), "20 %"),
        (("--precision", "0.5"), "50 %"),
        (("--value", "1000", "--cost", "400"), "1,000"),
    ],
)
def test_tune_in_every_way(run: Run, model: Path, way: tuple[str, ...], rule: str) -> None:
    before = bundles.digest(model)
    done = run("threshold", "tune", model, *way, "--json", "tuning.json")
    assert done.code == 0, done.err
    assert rule in done.out
    tuning = json.loads(Path("tuning.json").read_text())
    assert 0 < tuning["mql"] <= tuning["sales_ready"] <= 1
    assert {figure["line"] for figure in tuning["figures"]} >= {"mql", "sales_ready"}
    assert bundles.digest(model) == before
    assert names(model.parent) == {"model", "tuning.json"}


@pytest.mark.parametrize(
    ("way", "found"),
    [
        ((), "found none"),
        (("--share", "0.2", "--capacity", "3"), "found --capacity and --share"),
        (("--value", "100"), "found --value alone"),
        (("--cost", "100"), "found --cost alone"),
        (("--share", "20"), "found 20"),
        (("--capacity", "100000"), "found 100000"),
        (("--capacity", "-1"), "found -1"),
        (("--precision", "1.5"), "found 1.5"),
        (("--share", "nan"), "found nan"),
    ],
)
def test_tune_in_no_way(run: Run, model: Path, way: tuple[str, ...], found: str) -> None:
    done = run("threshold", "tune", model, *way, "--json", "tuning.json")
    assert done.code == 2
    assert found in done.refusal
    assert names(model.parent) == {"model"}


def test_preview_set_history_undo(run: Run, model: Path, wide: Path) -> None:
    leads = ("score", model, wide / "leads.csv", "--out", "scores.csv")
    assert run(*leads).code == 0
    before = pd.read_csv("scores.csv")
    line = float(np.quantile(before["probability"], 0.9))

    shown = run("threshold", "preview", model, "--mql", line, "--sales-ready", "0.99")
    assert shown.code == 0, shown.err
    assert "past leads" in shown.out
    assert not (model.parent / "model.policy").exists()
    assert run(*leads).code == 0
    pd.testing.assert_frame_equal(pd.read_csv("scores.csv"), before, check_exact=True)

    words = ("--mql", line, "--sales-ready", "0.99", "--reason", "too many calls", "--author", "Ada")
    done = run("threshold", "set", model, *words)
    assert done.code == 0, done.err
    assert "Revision 2 is in force" in done.out
    assert run(*leads).code == 0
    after = pd.read_csv("scores.csv")
    pd.testing.assert_frame_equal(after.drop(columns="stage"), before.drop(columns="stage"), check_exact=True)
    assert set(after.loc[after["probability"] < line, "stage"]) <= {"unqualified", "nurture"}
    assert set(after.loc[after["probability"] >= line, "stage"]) <= {"mql", "sales_ready"}

    stale = run("threshold", "set", model, *words, "--expect", "1")
    assert stale.code == 2
    assert "revision 1 in force; found revision 2 by Ada" in stale.refusal

    told = run("threshold", "history", model)
    assert told.code == 0, told.err
    for word in ("born with the model", "too many calls", "Ada"):
        assert word in told.out

    done = run("threshold", "undo", model, "--author", "Bob")
    assert done.code == 0, done.err
    assert "Revision 3 is in force" in done.out
    assert run(*leads).code == 0
    pd.testing.assert_frame_equal(pd.read_csv("scores.csv"), before, check_exact=True)
    assert "back to 1" in run("threshold", "history", model).out


def test_training_again_starts_a_log_of_its_own(run: Run, wide: Path, place: Path) -> None:
    train = ("train", wide / "wide.yaml", "--out", "model", "--no-mlflow")
    thresholds = ("threshold", "set", "model", "--mql", "0.3", "--sales-ready", "0.9", "--reason", "why")
    assert run(*train).code == 0
    assert run(*thresholds).code == 0
    same = run(*train)  # the same data make the same model: its thresholds stay
    assert same.code == 0
    assert "thresholds published" not in same.err
    assert load("model").policy.revision == 2

    frame = pd.read_csv(wide / "leads.csv")
    frame.head(700).to_csv(wide / "leads.csv", index=False)
    log = (place / "model.policy" / "log.jsonl").read_bytes()
    other = run(*train)
    assert other.code == 0
    (note,) = [line for line in other.err.splitlines() if "thresholds published" in line]
    (kept,) = (place / "model.policy").glob("log.*.jsonl")
    assert kept.name in note
    assert kept.read_bytes() == log
    assert load("model").policy.revision == 1
    assert run(*thresholds).code == 0
    assert load("model").policy.mql == 0.3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--mql", "40", "--reason", "why"), "write 0.4 for 40 %"),
        (("--mql", "0.5", "--sales-ready", "0.2", "--reason", "why"), "mql 0.5 above sales_ready 0.2"),
        (("--mql", "0.1", "--reason", " "), "expected a reason"),
        (("--mql", "0.1", "--reason", "why", "--author", " "), "expected an author"),
        (("--mql", "nan", "--reason", "why"), "found nan"),
        (("--mql", "0.1", "--reason", "why", "--expect", "7"), "expected revision 7 in force"),
    ],
)
def test_thresholds_that_cannot_be_meant(run: Run, model: Path, words: tuple[str, ...], said: str) -> None:
    done = run("threshold", "set", model, *words)
    assert done.code == 2
    assert said in done.refusal
    assert not (model.parent / "model.policy" / "log.jsonl").exists()


def test_undo_with_nothing_to_undo(run: Run, model: Path) -> None:
    done = run("threshold", "undo", model)
    assert done.code == 2
    assert "revision 0 to go back to; found revisions 1 to 1" in done.refusal


def test_somebody_without_a_login_name_is_asked_for_one(
    run: Run, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 1000640000")

    monkeypatch.setattr("getpass.getuser", nobody)
    words = ("threshold", "set", model, "--mql", "0.1", "--sales-ready", "0.9", "--reason", "why")
    assert "--author" in run(*words).refusal
    assert run(*words, "--author", "Ada").code == 0


def test_an_altered_log_of_policies_stops_scoring(run: Run, model: Path, wide: Path) -> None:
    assert run("threshold", "set", model, "--mql", "0.2", "--sales-ready", "0.9", "--reason", "why").code == 0
    log = model.parent / "model.policy" / "log.jsonl"
    log.write_text(log.read_text().replace('"mql":0.2', '"mql":0.1'))
    done = run("score", model, wide / "leads.csv", "--out", "scores.csv")
    assert done.code == 1
    assert "log.jsonl of published policies as it was written" in done.refusal
    assert not Path("scores.csv").exists()


# ---------------------------------------------------------------------------------------------- simulate
def test_simulate_writes_the_tables(run: Run, place: Path) -> None:
    done = run("simulate", "--out", "world", "--leads", "300", "--seed", "5")
    assert done.code == 0, done.err
    world = simulate(300, seed=5)
    assert names(place / "world") == {"leads.parquet", "events.parquet", "outcomes.parquet"}
    for name in ("leads", "events", "outcomes"):
        assert pq.read_table(place / "world" / f"{name}.parquet").equals(getattr(world, name))


def test_simulate_into_a_file(run: Run, place: Path) -> None:
    Path("taken").write_text("mine")
    done = run("simulate", "--out", "taken", "--leads", "200")
    assert done.code == 2
    assert "taken" in done.refusal
    assert Path("taken").read_text() == "mine"


# -------------------------------------------------------------------------------------------------- demo
def test_the_demo_goes_the_whole_way(run: Run, demo_config: Path, world: World, place: Path) -> None:
    done = run("demo", demo_config, "--out", "models/demo")
    assert done.code == 0, done.err
    for word in (
        *("points", "logistic", "boosted", "hazard", "adaptive", "roc_auc"),
        *("Head to head", "MadKudu's rule", "believed?", "optimism: ", "What the backtest chose"),
        *("a typical lead", "Thresholds for", "mql"),
    ):
        assert word in done.out
    for what in ("Scores", "Card", "Report", "Model"):
        (where, *_) = re.findall(rf"^{what} +(\S+)$", done.out, re.MULTILINE)
        assert Path(where).exists()
    model = load("models/demo")
    tables = [Path("models/demo.world") / f"{name}.parquet" for name in ("leads", "events")]
    scores = pd.read_csv("models/demo.world/scores.csv")
    closed = world.outcomes.to_pandas().query("stage in ['Closed Won', 'Closed Lost', 'Disqualified']")
    every = model.score(*tables, world.end)
    still_open = every[~every["lead_id"].isin(closed["lead_id"])].reset_index(drop=True)
    assert 100 < len(still_open) < len(every)
    pd.testing.assert_frame_equal(scores, still_open, check_exact=True, check_dtype=False)
    best = scores.loc[scores["score"].idxmax(), "lead_id"]
    assert f"Lead {best}" in done.out


def test_the_demo_in_the_wrong_place(run: Run, demo_config: Path, wide: Path, place: Path) -> None:
    (place / "notes").mkdir()
    (place / "notes" / "diary.txt").write_text("dear diary")
    for out in ("notes", "."):
        done = run("demo", demo_config, "--out", out)
        assert done.code == 2
        assert "choose another place" in done.refusal
    assert "use configs/demo.yaml" in run("demo", wide / "wide.yaml", "--out", "model").refusal
    assert names(place) == {"notes"}


# ---------------------------------------------------------------------------------------- words and errors
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("frobnicate",), "No such command 'frobnicate'"),
        (("score",), "see leadscore score --help"),
        (("score", "m", "l"), "Missing option '--out'"),
        (("train", "c", "--out"), "'--out' requires an argument"),
        (("score", "m", "l", "--out", "s.csv", "--wat"), "--wat"),
        (
            ("explain", "m", "l", "--lead", "3", "--format", "pdf"),
            "'pdf' is not one of 'text', 'json', 'html'",
        ),
        (("threshold", "tune", "m", "--capacity", "lots"), "--capacity"),
        (("threshold", "set", "m", "--mql", "0.1"), "Missing option '--reason'"),
        (("simulate", "--out", "w", "--leads", "5"), "greater than or equal to 100"),
    ],
)
def test_wrong_words_take_one_line(run: Run, place: Path, words: tuple[str, ...], said: str) -> None:
    done = run(*words)
    assert done.code == 2
    assert said in done.refusal
    assert "--help" in done.refusal
    assert not done.out
    assert not names(place)


@pytest.mark.parametrize(
    "words", [(), ("threshold",), ("--help",), ("score", "--help"), ("threshold", "--help")]
)
def test_help(run: Run, words: tuple[str, ...]) -> None:
    done = run(*words)
    assert done.code == (0 if "--help" in words else 2)
    assert "Usage: leadscore" in done.out
    assert not done.err


def test_debug_shows_where(run: Run, place: Path) -> None:
    for words in (("--debug", "check", "none.yaml"), ("check", "none.yaml", "--debug")):
        with pytest.raises(ConfigError):
            run(*words)


def test_what_nobody_expected_takes_one_line_too(
    run: Run, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the \x1b[31msky\nis falling")

    monkeypatch.setattr("leadscore.predict.load", broken)
    done = run("threshold", "history", model)
    assert done.code == 1
    assert done.refusal == "stopped by an unexpected RuntimeError: the [31mskyis falling; --debug shows where"
    with pytest.raises(RuntimeError):
        run("--debug", "threshold", "history", model)


def _process(*words: object) -> "subprocess.CompletedProcess[str]":
    code = "from leadscore.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False
    )


def test_a_process_of_its_own_says_one_line_and_with_debug_where(place: Path) -> None:
    done = _process("score", "none", "none.csv", "--out", "s.csv")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("leadscore: expected a saved model in none; found nothing there; ")
    assert done.stderr.count("\n") == 1
    told = _process("score", "none", "none.csv", "--out", "s.csv", "--debug")
    assert told.returncode == 1
    assert "Traceback (most recent call last)" in told.stderr
    assert "ModelError" in told.stderr


@pytest.mark.slow
def test_a_process_of_its_own_trains_in_parallel(wide: Path, wide_folder: Path, place: Path) -> None:
    done = _process("train", wide / "wide.yaml", "--out", "model", "--no-mlflow")
    assert done.returncode == 0, done.stderr
    assert all(line.startswith("... ") for line in done.stderr.splitlines())
    assert bundles.digest("model") == bundles.digest(wide_folder)


# ------------------------------------------------------------------------------------------------- MLflow
def test_without_mlflow_installed(run: Run, wide: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    for words in (("train", wide / "wide.yaml", "--out", "model"), ("compare", wide / "wide.yaml")):
        done = run(*words)
        assert done.code == 2
        assert "pip install 'leadscore[mlflow]', or pass --no-mlflow" in done.refusal
        assert "..." not in done.err  # before any work
        assert not names(place)
    assert run("train", wide / "wide.yaml", "--out", "model", "--no-mlflow").code == 0


def test_a_store_that_mlflow_cannot_use_is_told_before_any_work(
    run: Run, wide: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    before = mlflow.get_tracking_uri()
    try:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://x")
        for words in (("train", wide / "wide.yaml", "--out", "model"), ("compare", wide / "wide.yaml")):
            done = run(*words)
            assert done.code == 2
            assert "expected a tracking store that MLflow can use; found " in done.refusal
            assert "or pass --no-mlflow" in done.refusal
            assert "..." not in done.err
        assert not names(place)
    finally:
        mlflow.set_tracking_uri(before)


def test_a_run_is_logged_with_a_model_that_scores(
    run: Run, wide: Path, wide_frame: pd.DataFrame, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    store = f"sqlite:///{place}/runs.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    before = mlflow.get_tracking_uri()
    try:
        done = run("train", wide / "wide.yaml", "--out", "model", "--json", "comparison.json")
        assert done.code == 0, done.err
        (run_id,) = re.findall(r"^MLflow   run (\w+)$", done.out, re.MULTILINE)
        logged = mlflow.get_run(run_id)
        comparison = json.loads(Path("comparison.json").read_text())
        assert logged.data.params["chosen"] == comparison["chosen"]
        assert logged.data.params["leads"] == "800"
        values = {f"{row['model']}.{row['metric']}": row["value"] for row in comparison["rows"]}
        assert {name: logged.data.metrics[name] for name in values} == values
        artifacts = {file.path for file in mlflow.MlflowClient().list_artifacts(run_id)}
        assert artifacts >= {"comparison.json", "comparison.csv", "gains.png", "promises.png"}
        assert f"{comparison['chosen']}.calibration_slope" in logged.data.metrics
        served = mlflow.pyfunc.load_model(f"runs:/{run_id}/model")
        found = served.predict(wide_frame.drop(columns="Bought"))
        pd.testing.assert_frame_equal(found, load("model").score(wide_frame), check_exact=True)
        again = run("compare", wide / "wide.yaml")
        assert again.code == 0, again.err
        assert "MLflow   run" in again.out
    finally:
        mlflow.set_tracking_uri(before)
