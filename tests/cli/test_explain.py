"""`leadscore explain`: one lead's card, and the cards of the best leads."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest

from leadscore import bundle, cards
from leadscore.predict import load

Run = Callable[..., Any]


@pytest.fixture
def words(folder_of: dict[str, Path], files: Path, as_of: int) -> list[object]:
    moment = pd.Timestamp(as_of, unit="us", tz="UTC").isoformat()
    tables = [folder_of["logistic"], files / "leads.parquet", "--events", files / "events.parquet"]
    return ["explain", *tables, "--as-of", moment]


@pytest.fixture
def lead(files: Path) -> str:
    return str(pq.read_table(files / "leads.parquet")["lead_id"][0].as_py())


def test_the_complete_card_in_three_ways(
    run: Run, words: list[object], lead: str, folder_of: dict[str, Path], as_of: int, tmp_path: Path
) -> None:
    model, leads, _, events = words[1:5]
    digest = bundle.digest(folder_of["logistic"])
    card = cards.card(load(model), leads, events, as_of, lead_id=lead, digest=digest)
    assert run(*words, "--lead", lead).out == card.text() + "\n"
    assert run(*words, "--lead", lead, "--all-reasons").out == card.text(all_reasons=True) + "\n"
    told = json.loads(run(*words, "--lead", lead, "--format", "json").out)
    assert told == json.loads(json.dumps(card.to_dict()))
    out = tmp_path / "card.html"
    assert run(*words, "--lead", lead, "--format", "html", "--out", out).out == f"{out}\n"
    assert out.read_text() == card.html() + "\n"
    assert f"({digest[:12]})" in card.text()


def test_the_reasons_alone(run: Run, words: list[object], lead: str) -> None:
    done = run(*words, "--lead", lead, "--short")
    assert done.code == 0
    assert "What happened" not in done.out
    assert "associated with" in done.out


def test_the_cards_of_the_best(run: Run, words: list[object], tmp_path: Path) -> None:
    done = run(*words, "--all", "--top", "3", "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert done.out.startswith("3 cards of ")
    assert "... Scoring the leads" in done.err
    assert "held back by a rule of the policy" in done.err
    assert len(list((tmp_path / "out").glob("*.html"))) == 4
    frame = pd.read_csv(tmp_path / "out" / "handover.csv")
    assert frame["rank"].tolist() == [1, 2, 3]


def test_what_cannot_be_meant(run: Run, words: list[object], lead: str, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("mine")
    model, leads = words[1:3]
    for more, said in (
        ((), "expected --lead ID for one lead, or --all; found neither"),
        (("--lead", lead, "--all"), "found both"),
        (("--all",), "a folder for the cards; found none"),
        (("--all", "--out", tmp_path), "found index.html of something else"),
        (("--all", "--out", Path(str(model)) / "cards"), "outside the model's directory"),
        (("--all", "--out", leads), "a place to write"),
        (("--all", "--top", "0", "--out", tmp_path / "out"), "--top"),
    ):
        done = run(*words, *more)
        assert done.code == 2
        assert said in done.refusal
    assert (tmp_path / "index.html").read_text() == "mine"


def test_a_leads_terminal_codes_stay_in_the_table(
    run: Run, words: list[object], files: Path, tmp_path: Path
) -> None:
    table = pq.read_table(files / "leads.parquet").slice(0, 1)
    hostile = "\x9b31mred\x9d0;title\x07\x7f"
    events = pq.read_table(files / "events.parquet")
    mine = events.filter(pa.compute.equal(events["lead_id"], table["lead_id"][0]))
    for rows, name in ((table, "leads"), (mine, "events")):
        ids = pa.array([hostile] * len(rows))
        pq.write_table(
            rows.set_column(rows.column_names.index("lead_id"), "lead_id", ids), tmp_path / f"{name}.parquet"
        )
    again = [*words[:2], tmp_path / "leads.parquet", "--events", tmp_path / "events.parquet", *words[5:]]
    for form in ("text", "json", "html"):
        done = run(*again, "--lead", hostile, "--format", form)
        assert done.code == 0, done.err
        assert "red" in done.out
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.out)
