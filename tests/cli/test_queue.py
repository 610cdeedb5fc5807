"""`leadscore queue` and `leadscore recycle`: what they print, write and refuse."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from leadscore.operate.queue import queue
from leadscore.operate.recycle import recycle
from leadscore.predict import load

Run = Callable[..., Any]


@pytest.fixture
def moment(as_of: int) -> str:
    return pd.Timestamp(as_of, unit="us", tz="UTC").isoformat()


@pytest.fixture
def tables(folder_of: dict[str, Path], files: Path, moment: str) -> list[object]:
    model, leads, events = folder_of["boosted"], files / "leads.parquet", files / "events.parquet"
    return [model, leads, "--events", events, "--as-of", moment]


@pytest.fixture
def outcomes(files: Path) -> list[object]:
    return ["--outcomes", files / "outcomes.parquet"]


def test_a_queue_in_each_format_says_the_same(
    run: Run,
    tables: list[Any],
    outcomes: list[object],
    folder_of: Any,
    files: Path,
    as_of: int,
    tmp_path: Path,
) -> None:
    words = [*tables, *outcomes, "--capacity", 4, "--value", "company_size", "--fields", "email, phone"]
    done = [run("queue", *words, "--out", tmp_path / f"q.{ending}") for ending in ("csv", "parquet", "jsonl")]
    assert [one.code for one in done] == [0, 0, 0], done[0].err
    found = queue(
        load(folder_of["boosted"]), files / "leads.parquet", files / "events.parquet", as_of, capacity=4,
        value="company_size", fields=["email", "phone"], outcomes=files / "outcomes.parquet",
    )  # fmt: skip
    parquet = pd.read_parquet(tmp_path / "q.parquet")
    pd.testing.assert_frame_equal(parquet, found.frame, check_dtype=False)
    lines = [json.loads(line) for line in (tmp_path / "q.jsonl").read_text().splitlines()]
    assert [line["lead_id"] for line in lines] == parquet["lead_id"].tolist()
    assert [line["rank_value"] for line in lines] == parquet["rank_value"].tolist()
    assert pd.read_csv(tmp_path / "q.csv")["score"].tolist() == parquet["score"].tolist()
    for why, count in found.left_out.items():
        assert f"{count:>9,}  {why}\n" in done[0].out
    assert (
        f"{len(found.frame):>9,}  handed over, of {found.leads:,} leads: {tmp_path / 'q.csv'}" in done[0].out
    )
    emails = pd.read_parquet(files / "leads.parquet")["email"].dropna()
    assert not any(email in done[0].out + done[0].err for email in emails)


def test_a_day_after_the_other(
    run: Run, tables: list[Any], outcomes: list[object], tmp_path: Path, moment: str
) -> None:
    first, given, second = tmp_path / "first.csv", tmp_path / "given.csv", tmp_path / "second.csv"
    assert run("queue", *tables, "--capacity", 5, "--out", first).code == 0
    later = [*tables[:-1], (pd.Timestamp(moment) + pd.Timedelta(days=8)).isoformat()]
    done = run("recycle", *later, *outcomes, "--previous", first, "--within", "1w", "--out", given)
    assert done.code == 0, done.err
    back = pd.read_csv(given)
    assert set(pd.read_csv(first)["lead_id"]) & set(back["lead_id"])
    words = ["--previous", first, "--previous", given, "--out", second]
    assert run("queue", *later, *outcomes, *words).code == 0
    waiting = set(back.loc[back["back_at"].isna(), "lead_id"])
    assert not waiting & set(pd.read_csv(second)["lead_id"])


def test_what_fell_through_is_printed_and_written(
    run: Run,
    tables: list[Any],
    outcomes: list[object],
    folder_of: Any,
    files: Path,
    as_of: int,
    tmp_path: Path,
) -> None:
    words = ["--not-now", "Bad timing", "--not-now", "No budget", "--touch", "sales_call", "--within", "36h"]
    done = run("recycle", *tables, *outcomes, *words, "--cracks", tmp_path / "c.csv", "--top", 2)
    assert done.code == 0, done.err
    found = recycle(
        load(folder_of["boosted"]), files / "leads.parquet", files / "events.parquet", as_of,
        outcomes=files / "outcomes.parquet", within=1.5, not_now=["Bad timing", "No budget"],
        touches=["sales_call"], nearest_of=0,
    )  # fmt: skip
    cracks = pd.read_csv(tmp_path / "c.csv")
    assert cracks["why"].tolist() == found.cracks["why"].tolist()
    for what, count in found.counts.items():
        assert f"│ {what} " in done.out
        assert (f": {min(2, count)} of {count:,}" in done.out) == (count > 0)
    assert f"{len(found.frame):,} of {found.leads:,} leads given back" in done.out


def test_without_reasons_those_that_there_are_are_named(
    run: Run, tables: list[Any], outcomes: list[object]
) -> None:
    done = run("recycle", *tables, *outcomes)
    assert done.code == 0
    assert "note: no reason is said to mean not now (--not-now), of those of lost leads: " in done.err
    assert "Bad timing (" in done.err


def test_a_hostile_id_does_not_reach_the_terminal(run: Run, tables: list[Any], tmp_path: Path) -> None:
    leads = pd.read_parquet(tables[1]).head(3)
    leads["lead_id"] = ["\x1b[31mred", "\u202eevil", "[bold]x[/bold]"]
    leads.to_csv(tmp_path / "leads.csv", index=False)
    at = "2025-06-01T00:00:00Z"
    handed = pd.DataFrame({"lead_id": leads["lead_id"], "stage": "Handed Over", "at": at, "reason": None})
    handed.to_csv(tmp_path / "outcomes.csv", index=False)
    words = [tables[0], tmp_path / "leads.csv", *tables[2:], "--outcomes", tmp_path / "outcomes.csv"]
    done = run("recycle", *words)
    assert done.code == 0, done.err
    assert "[31mred" in done.out
    assert "[bold]x[/bold]" in done.out
    assert not any(bad in done.out + done.err for bad in ("\x1b", "\u202e"))


@pytest.mark.parametrize(
    ("command", "more", "code", "says"),
    [
        ("queue", ["--out", "q.xlsx"], 2, "an output that ends in .csv, .parquet or .jsonl"),
        ("queue", ["--out", "q.csv", "--capacity", "0"], 2, "capacity"),
        ("queue", ["--out", "q.csv", "--fields", "emial"], 2, "did you mean 'email'"),
        ("queue", ["--out", "q.csv", "--value", "nothing"], 2, "a column 'nothing' in the leads table"),
        ("queue", ["--out", "q.csv", "--previous", "nowhere.csv"], 1, "no file at nowhere.csv"),
        ("queue", ["--out", "q.csv", "--as-of", "2999-01-01T00:00:00Z"], 2, "a moment that has come"),
        ("recycle", ["--within", "0d", "--outcomes", "nowhere.csv"], 2, "within above 0 days"),
        ("recycle", ["--within", "soon"], 2, "a duration such as 12h, 5d or 2w; found soon"),
        ("recycle", [], 2, "expected the outcomes of the leads; found none"),
        ("recycle", ["--outcomes", "nowhere.csv"], 1, "no file at nowhere.csv"),
        ("recycle", ["--as-of", "2999-01-01T00:00:00Z"], 2, "a moment that has come"),
    ],
)
def test_bad_input_is_one_line(
    run: Run, tables: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    command: str, more: list[str], code: int, says: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    done = run(command, *tables, *more)
    assert done.code == code, done.err
    assert says in done.refusal
    assert not list(tmp_path.iterdir())


def test_a_table_that_is_read_is_not_written_over(run: Run, tables: list[Any], tmp_path: Path) -> None:
    first = tmp_path / "first.csv"
    assert run("queue", *tables, "--capacity", 2, "--out", first).code == 0
    before = first.read_bytes()
    done = run("queue", *tables, "--out", first, "--previous", first)
    assert done.code == 2
    assert "an output beside the tables" in done.refusal
    assert first.read_bytes() == before


def test_without_a_clock_the_queue_is_of_now(run: Run, wide_folder: Path, wide: Path) -> None:
    done = run("queue", wide_folder, wide / "leads.csv", "--capacity", 3, "--out", wide / "q.csv")
    assert done.code == 0, done.err
    assert set(pd.read_csv(wide / "q.csv")["handed_over_at"]) == {"2026-06-01 12:00:00+00:00"}
    refused = run("recycle", wide_folder, wide / "leads.csv")
    assert refused.code == 2
    assert "a model whose config describes outcomes" in refused.refusal
