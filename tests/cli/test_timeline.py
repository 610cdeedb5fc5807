"""`leadscore timeline`: what it prints, writes and refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from leadscore.explain.drivers import whole
from leadscore.predict import load

Run = Callable[..., Any]


@pytest.fixture
def busy(files: Path) -> str:
    """The id of a lead that did much."""
    counts = pq.read_table(files / "events.parquet")["lead_id"].drop_null().value_counts().to_pylist()
    return str(max(counts, key=lambda count: (count["counts"], count["values"]))["values"])


@pytest.fixture
def words(folder_of: dict[str, Path], files: Path, as_of: int, busy: str) -> list[object]:
    moment = pd.Timestamp(as_of, unit="us", tz="UTC").isoformat()
    tables = [folder_of["boosted"], files / "leads.parquet", "--events", files / "events.parquet"]
    return ["timeline", *tables, "--lead", busy, "--as-of", moment]


def test_text_ends_with_the_score(
    run: Run, words: list[object], busy: str, folder_of: dict[str, Path], files: Path, as_of: int
) -> None:
    done = run(*words)
    assert done.code == 0, done.err
    frame = load(folder_of["boosted"]).score(files / "leads.parquet", files / "events.parquet", as_of)
    score = float(frame.loc[frame["lead_id"] == busy, "score"].iloc[0])
    assert f"\n{whole(score):>6}  score at " in done.out
    assert done.out.startswith(f"Lead {busy} · ")


def test_json_has_stable_keys_and_adds_up(run: Run, words: list[object]) -> None:
    told = json.loads(run(*words, "--format", "json").out)
    assert set(told) == {
        "lead_id", "start", "as_of", "first_score", "score", "probability", "stage", "shown_first_score",
        "shown_score", "cut", "shown_cut", "steps", "triggers", "lines", "notes", "horizon", "model",
        "policy_revision",
    }  # fmt: skip
    assert sum(step["points"] for step in told["steps"]) + told["cut"] == pytest.approx(
        told["score"] - told["first_score"], abs=1e-9
    )
    shown = sum(step["shown"] for step in told["steps"]) + told["shown_cut"]
    assert shown == told["shown_score"] - told["shown_first_score"]
    assert set(told["steps"][0]) == {
        "kind", "start", "end", "points", "shown", "before", "after", "count", "happened", "moves",
    }  # fmt: skip
    assert all(told["steps"][trigger["step"]]["count"] >= 0 for trigger in told["triggers"])


def test_since_a_moment_says_what_changed(run: Run, words: list[object], as_of: int) -> None:
    since = pd.Timestamp(as_of - 10 * 86_400_000_000, unit="us", tz="UTC").isoformat()
    text = run(*words, "--since", since).out
    assert " UTC against " in text
    told = json.loads(run(*words, "--since", since, "--format", "json").out)
    assert told["changed"]["score"] == [told["first_score"], told["score"]]
    assert sum(entry["points"] for entry in told["changed"]["entries"]) == pytest.approx(
        told["score"] - told["first_score"], abs=1e-9
    )


def test_a_page(run: Run, words: list[object], tmp_path: Path) -> None:
    page = tmp_path / "timeline.html"
    done = run(*words, "--format", "html", "--out", page)
    assert done.code == 0, done.err
    written = page.read_text()
    assert written.startswith("<!DOCTYPE html>")
    assert "<script" not in written
    assert "http://" not in written.replace("http-equiv", "")


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (["--lead", "nobody"], 1, "expected a lead 'nobody'"),
        (["--as-of", "2020-01-01T00:00:00Z"], 1, "expected a moment after lead"),
        (["--as-of", "2999-01-01T00:00:00Z"], 2, "expected a moment that has come"),
        (["--since", "2025-12-31T00:00:00Z"], 2, "expected a beginning before"),
        (["--since", "yesterday"], 2, "as a time with its zone"),
        (["--format", "pdf"], 2, "pdf"),
    ],
)
def test_bad_input_is_one_line(run: Run, words: list[object], more: list[str], code: int, says: str) -> None:
    done = run(*words, *more)
    assert done.code == code
    assert says in done.refusal


def test_a_model_without_a_clock(run: Run, wide_folder: Path, wide: Path) -> None:
    done = run("timeline", wide_folder, wide / "leads.csv", "--lead", "5000")
    assert done.code == 2
    assert "a model that reads time" in done.refusal
