"""`leadscore threshold ...` as ops use it, and what it refuses: one line, nothing changed."""

import errno
import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from leadscore import bundle as bundles
from leadscore import thresholds
from leadscore.bundle import Bundle
from leadscore.cli import show
from leadscore.models.calibration import Sigmoid
from leadscore.policy.policy import STAGES
from leadscore.policy.written import read_policy
from leadscore.predict import load

TAUGHT = re.compile(r"^(.*: )?expected \S.*; found \S.*; \S.*$")
WHY = ("--reason", "why", "--author", "Ada")
Run = Callable[..., Any]
Refused = Callable[..., str]


def contents(place: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.fixture
def place(folder: Path, leads: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with the model and today's leads."""
    monkeypatch.chdir(folder.parent)
    leads.to_csv("leads.csv", index=False)
    return folder.parent


@pytest.fixture
def refused(run: Run, place: Path) -> Refused:
    """Run a command that is refused: one line, expected, found and the way out, and nothing changed."""

    def refused(*words: object, code: int = 2) -> str:
        before = contents(place)
        done = run("threshold", *words)
        assert done.code == code, done
        assert not done.out
        line = done.refusal
        assert TAUGHT.match(line), line
        assert contents(place) == before
        return str(line)

    return refused


def put(name: str, **values: object) -> None:
    """Write a policy as a person would."""
    Path(name).write_text(yaml.safe_dump(values))


def told(run: Run, *words: object) -> str:
    """What a command that goes well prints."""
    done = run("threshold", *words)
    assert done.code == 0, done.err
    return str(done.out)


# ------------------------------------------------------------------------------------------- the whole way
def test_tune_preview_set_score(run: Run, place: Path, past: pd.DataFrame) -> None:
    out = told(run, "tune", "model", "--capacity", "30", "--segment", "source", "--draft", "draft.yaml")
    assert "at most 30 MQLs a week" in out
    assert "MQLs by source" in out
    draft = read_policy("draft.yaml")
    written = ("--json", "preview.json", "--html", "preview.html", "--out", "moves.csv")
    out = told(run, "preview", "model", "leads.csv", "--policy", "draft.yaml", "--capacity", "30", *written)
    previewed = json.loads(Path("preview.json").read_text())
    assert previewed["past"]["sentence"] in out
    assert Path("preview.html").read_text().startswith("<!DOCTYPE html>")
    moves = pd.read_csv("moves.csv")
    assert len(moves) == len(previewed["today"]["moves"])
    assert load("model").policy.revision == 1

    out = told(run, "set", "model", "--policy", "draft.yaml", *WHY)
    assert "Revision 2 is in force" in out
    assert f"Expected {previewed['past']['sentence']}" in out
    assert load("model").policy == replace(draft, revision=2)
    assert run("score", "model", "leads.csv", "--out", "scores.csv").code == 0
    stages = pd.read_csv("scores.csv")["stage"].value_counts()
    assert {each["stage"]: each["after"] for each in previewed["today"]["stages"]} == {
        stage: stages.get(stage, 0) for stage in STAGES
    }
    sent = past["chance"].ge(draft.mql) & past["hours"].ge(0.3)
    assert sent.sum() <= 30 * 20


def test_a_policy_that_is_shown_edited_and_set(run: Run, place: Path) -> None:
    told(run, "show", "model", "--out", "policy.yaml")
    text = Path("policy.yaml").read_text()
    assert told(run, "show", "model") == text
    values = yaml.safe_load(text)
    own = {"segment": "source", "segments": {"Fair": {"mql": 0.1, "sales_ready": 0.3}}, "stay": 0.8}
    Path("policy.yaml").write_text(yaml.safe_dump(values | own))
    out = told(run, "set", "model", "--policy", "policy.yaml", *WHY)
    assert "source Fair now has thresholds of its own" in out
    assert load("model").policy.stay == 0.8
    done = run("threshold", "set", "model", "--mql", "0.25", *WHY)
    assert "note: 1 level of source keeps thresholds of its own" in done.err
    assert load("model").policy.segments["Fair"].mql == 0.1
    assert told(run, "show", "model", "--revision", "1") == text


def test_a_lead_is_kept_warm_from_the_same_share_of_the_line(run: Run, place: Path) -> None:
    put("policy.yaml", mql=0.2, sales_ready=0.5, nurture=0.1)
    told(run, "set", "model", "--policy", "policy.yaml", *WHY)
    told(run, "set", "model", "--mql", "0.6", *WHY)
    assert load("model").policy.lines == {"nurture": 0.3, "mql": 0.6, "sales_ready": 0.6}
    told(run, "set", "model", "--sales-ready", "0.9", *WHY)
    assert load("model").policy.lines == {"nurture": 0.3, "mql": 0.6, "sales_ready": 0.9}


def test_the_history_tells_what_was_expected(run: Run, place: Path) -> None:
    told(run, "set", "model", "--mql", "0.1", "--reason", "[red]more[/red]", "--author", "Ada\x1b[31m")
    told(run, "undo", "model", "--author", "Bob")
    out = told(run, "history", "model", "--json", "history.json")
    entries = json.loads(Path("history.json").read_text())
    assert [entry["restores"] for entry in entries] == [None, 1]
    for number, entry in enumerate(entries, start=2):
        assert f"Expected of revision {number}: {entry['effect']['sentence']}" in out
    assert "[red]more[/red]" in out
    assert "\x1b" not in out
    assert "undo (back to 1)" in out


def test_carry_shows_the_change_and_publishes_with_a_reason(run: Run, place: Path, bundle: Bundle) -> None:
    backtest = bundle.past
    sharper = replace(backtest, probability=1 / (1 + (1 / backtest.probability - 1) ** 2))
    bundles.save(replace(bundle, calibration=Sigmoid(2.0, 0.0), backtest=sharper), place / "new")
    told(run, "set", "model", "--mql", "0.15", *WHY)
    out = told(run, "carry", "new", "--from", "model", "--hold", "volume", "--draft", "carried.yaml")
    assert "Draft    mql 15 % -> " in out
    assert load("new").policy.revision == 1
    out = told(run, "carry", "new", "--from", "model", "--hold", "volume", *WHY)
    assert "Revision 2 is in force" in out
    before, after = (load(each) for each in ("model", "new"))
    assert after.policy == replace(read_policy("carried.yaml"), revision=2)
    sent = backtest.probability >= before.policy.mql
    np.testing.assert_array_equal(sharper.probability >= after.policy.mql, sent)
    out = told(run, "carry", "new", "--from", "model", "--hold", "fixed")
    assert "the probabilities stay as they are" in out


def test_where_the_past_cannot_tell_leads_are_asked_for(run: Run, refused: Refused) -> None:
    rule = {"name": "often", "when": [{"column": "visits", "at_least": 6}]}
    put("p.yaml", mql=0.2, sales_ready=0.5, fast_track=[rule])
    assert "give LEADS" in refused("preview", "model", "--policy", "p.yaml")
    done = run("threshold", "preview", "model", "leads.csv", "--policy", "p.yaml", "--html", "p.html")
    assert done.code == 0, done.err
    assert (
        "warning: no replay of past leads: the backtest did not keep what the rule “often” reads" in done.err
    )
    assert "leads of today" in done.out
    assert "Expected not known: " in told(run, "set", "model", "--policy", "p.yaml", *WHY)


def test_chances_that_do_not_hold_come_with_a_warning(run: Run, place: Path, bundle: Bundle) -> None:
    bundles.save(replace(bundle, calibrated=False), place / "rough")
    for words in (("tune", "rough", "--share", "0.1"), ("preview", "rough", "--mql", "0.1")):
        done = run("threshold", *words)
        assert done.code == 0
        assert "warning: the chances of this model have not proven to hold" in done.err


def test_many_moves_are_counted_and_the_first_named(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show, "_MOST_MOVES", 5)
    out = told(run, "preview", "model", "leads.csv", "--mql", "0.05", "--out", "moves.jsonl")
    total = len(Path("moves.jsonl").read_text().splitlines())
    assert f"Leads that move: the first 5 of {total:,}" in out


# ------------------------------------------------------------------------------------------------ bad input
@pytest.mark.parametrize(
    ("way", "said"),
    [
        (("--capacity", "0"), "a capacity above 0; found 0"),
        (("--capacity", "-3"), "found -3"),
        (("--capacity", "inf"), "found inf"),
        (("--capacity", "151"), "a capacity below the 150 leads there are a week; found 151"),
        (("--share", "20"), "write 0.2 for 20 %"),
        (("--share", "0"), "found 0"),
        (("--precision", "0.999"), "a precision of 99.9 %; found at best"),
        (("--precision", "40"), "write 0.4 for 40 %"),
        (("--recall", "nan"), "found nan"),
        (("--recall", "1"), "a recall of 100 %; found at best"),
        (("--value", "100", "--cost", "-1"), "a cost of touch of 0 or more; found -1"),
        (("--value", "0", "--cost", "1"), "a value of win above 0; found 0"),
        (("--value", "-5", "--cost", "1"), "found -5"),
        (("--value", "10", "--cost", "1", "--missed-cost", "-2"), "found -2"),
        (("--value", "1", "--cost", "900"), "a line that pays"),
        (("--value", "100"), "found --value alone"),
        (("--cost", "100"), "found --cost alone"),
        (("--share", "0.1", "--capacity", "9"), "found --capacity and --share"),
        ((), "found none"),
        (("--share", "0.1", "--sales-share", "25"), "found 25"),
        (("--share", "0.1", "--sales-capacity", "3", "--sales-precision", "0.5"), "found both"),
        (("--capacity", "30", "--sales-capacity", "40"), "they are the best of the MQLs"),
        (("--capacity", "30", "--per", "Fair=10"), "expected a segment; found none"),
        (("--capacity", "30", "--equal-recall"), "expected a segment; found none"),
        (
            ("--capacity", "30", "--segment", "source", "--per", "Fair"),
            "a level and its capacity; found Fair",
        ),
        (("--capacity", "30", "--segment", "source", "--per", "=3"), "found =3"),
        (("--capacity", "30", "--segment", "source", "--per", "Fair=many"), "found Fair=many"),
        (("--capacity", "30", "--segment", "source", "--per", "Fairs=3"), "did you mean 'Fair'?"),
        (("--capacity", "30", "--segment", "source", "--per", "Fair=40"), "that the 30 MQLs a week hold"),
        (("--capacity", "30", "--segment", "sauce", "--equal-recall"), "did you mean 'source'?"),
        (("--capacity", "30", "--segment", "hours"), "a category"),
    ],
)
def test_tune_in_no_way(refused: Refused, way: tuple[str, ...], said: str) -> None:
    written = ("--draft", "d.yaml", "--json", "t.json", "--html", "t.html")
    assert said in refused("tune", "model", *way, *written)


def test_the_best_precision_that_is_named_can_be_had(run: Run, refused: Refused) -> None:
    line = refused("tune", "model", "--precision", "0.999")
    best = float(re.findall(r"at best ([0-9.]+) %", line)[0])
    assert run("threshold", "tune", "model", "--precision", f"{best / 100 - 0.0005:.6f}").code == 0


def test_no_mature_outcomes(refused: Refused, unlearned: Path) -> None:
    line = refused("tune", unlearned, "--share", "0.2", code=1)
    assert "leads whose outcome was known when the model was made" in line
    assert "give LEADS" in refused("preview", unlearned, "--mql", "0.1")
    assert "train again" in refused("carry", unlearned, "--from", "model", "--hold", "volume", code=1)


def test_a_segment_with_two_conversions(run: Run, refused: Refused, place: Path, bundle: Bundle) -> None:
    backtest = bundle.past
    assert backtest.M is not None
    y = backtest.y.copy()
    y[np.flatnonzero((backtest.M[:, 1] == 1) & y)[2:]] = False
    bundles.save(replace(bundle, backtest=replace(backtest, y=y)), place / "few")
    out = told(run, "tune", "few", "--capacity", "30", "--segment", "source", "--equal-recall")
    assert "source Fair: 2 conversions, so the line is that of all leads, and the figures say little" in out
    line = refused("tune", "few", "--capacity", "30", "--segment", "source", "--per", "Fair=3")
    assert "at least 10 conversions in source Fair for a line of its own; found 2" in line
    own = {"Fair": {"mql": 0.1, "sales_ready": 0.3}}
    put("p.yaml", mql=0.2, sales_ready=0.5, segment="source", segments=own)
    done = run("threshold", "preview", "few", "--policy", "p.yaml")
    assert "source “Fair” has 2 conversions among" in done.err
    assert "too few to judge" in done.err


def test_an_unknown_segment_at_scoring_time(run: Run, place: Path, leads: pd.DataFrame) -> None:
    own = {"Fair": {"mql": 0.01, "sales_ready": 0.02}}
    put("p.yaml", mql=0.2, sales_ready=0.5, segment="source", segments=own)
    told(run, "set", "model", "--policy", "p.yaml", *WHY)
    assert run("score", "model", "leads.csv", "--out", "scores.csv").code == 0
    scores = pd.read_csv("scores.csv").set_index("lead_id")
    podcast = leads[leads["source"] == "Podcast"]["id"]
    lines = [0.05, 0.2, 0.5]
    assert all(
        scores["stage"][lead] == STAGES[sum(scores["probability"][lead] >= line for line in lines)]
        for lead in podcast
    )
    words = ("explain", "model", "leads.csv", "--lead", podcast.iloc[0], "--short")
    assert "a rare or new source has no thresholds of its own: those of all leads hold" in " ".join(
        run(*words).out.split()
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--mql", "40"), "mql as a probability from 0 to 1; found 40.0; write 0.4 for 40 %"),
        (("--mql", "-0.1"), "found -0.1"),
        (("--mql", "nan"), "found nan"),
        (("--mql", "0.6", "--sales-ready", "0.3"), "found mql 0.6 above sales_ready 0.3"),
        (("--sales-ready", "0.1"), "found mql 0.2 above sales_ready 0.1"),
        ((), "--mql, --sales-ready or --policy; found none"),
        (("--mql", "0.1", "--policy", "p.yaml"), "found both"),
        (("--policy", "none.yaml"), "a policy in none.yaml; found no such file"),
        (("--policy", "leads.csv"), "leads.csv: expected"),
        (("--policy", "model"), "a policy in model"),
        (("--policy", "p.yaml"), "p.yaml: expected a policy as YAML or JSON; found"),
        (("--policy", "crossed.yaml"), "crossed.yaml: expected nurture <= mql <= sales_ready"),
        (("--policy", "typo.yaml"), "did you mean 'sales_ready'?"),
        (("--policy", "unknown.yaml"), "did you mean 'hours'?"),
    ],
)
@pytest.mark.parametrize("command", ["preview", "set"])
def test_a_draft_that_cannot_be_meant(
    refused: Refused, place: Path, command: str, words: tuple[str, ...], said: str
) -> None:
    Path("p.yaml").write_text("mql: 0.1\nsales_ready: [0.3\n")
    put("crossed.yaml", mql=0.5, sales_ready=0.3)
    put("typo.yaml", mql=0.5, sales_reddy=0.9)
    rule = {"name": "x", "when": [{"column": "hour", "at_least": 6}]}
    put("unknown.yaml", mql=0.2, sales_ready=0.5, suppress=[rule])
    more = WHY if command == "set" else ("--html", "x.html", "--json", "x.json")
    code = 1 if "unknown.yaml" in words else 2
    assert said in refused(command, "model", *words, *more, code=code)


def test_a_stale_revision(refused: Refused, run: Run) -> None:
    told(run, "show", "model", "--out", "mine.yaml")
    told(run, "set", "model", "--mql", "0.3", "--reason", "fewer calls", "--author", "Bob")
    for words in (
        ("set", "model", "--policy", "mine.yaml", *WHY),
        ("set", "model", "--mql", "0.1", "--expect", "1", *WHY),
        ("undo", "model", "--expect", "1"),
    ):
        line = refused(*words)
        assert "expected revision 1 in force; found revision 2 by Bob" in line
        assert "fewer calls" in line
        assert "mql 20 % -> 30 %" in line
    assert "expected revision 7 in force" in refused("set", "model", "--mql", "0.1", "--expect", "7", *WHY)
    assert "found revisions 1 to 2" in refused("undo", "model", "--to", "3")
    assert "revision 9; found revisions 1 to 2" in refused("show", "model", "--revision", "9")


def test_a_folder_that_is_only_to_be_read(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    line = refused("set", "model", "--mql", "0.1", *WHY)
    assert "'model.policy'; found Permission denied" in line
    assert "nothing has changed" in line


def test_a_full_disk(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    told(run, "set", "model", "--mql", "0.3", *WHY)
    before = contents(place)
    monkeypatch.setattr(os, "fsync", full)
    for words in (("set", "model", "--mql", "0.1", *WHY), ("undo", "model")):
        done = run("threshold", *words)
        assert (done.code, done.out) == (2, "")
        assert "No space left on device" in done.refusal
        assert "nothing has changed" in done.refusal
        assert contents(place) == before
    done = run("threshold", "show", "model", "--out", "policy.yaml")
    assert done.code == 2
    assert "a place to write policy.yaml; found no space left on device" in done.refusal
    assert contents(place) == before
    assert load("model").policy.mql == 0.3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("preview", "model", "--mql", "0.1", "--out", "moves.csv"),
            "LEADS, whose moves --out writes; found none",
        ),
        (
            ("preview", "model", "leads.csv", "--mql", "0.1", "--out", "moves.xlsx"),
            ".csv, .parquet or .jsonl",
        ),
        (("preview", "model", "leads.csv", "--mql", "0.1", "--out", "leads.csv"), "found one of them"),
        (("preview", "model", "--policy", "p.yaml", "--html", "p.yaml"), "found one of them"),
        (("preview", "model", "--mql", "0.1", "--capacity", "0"), "a capacity above 0"),
        (("preview", "model", "--mql", "0.1", "--by", "sauce"), "did you mean 'source'?"),
        (("tune", "model", "--share", "0.1", "--html", "model/t.html"), "outside the model's directory"),
        (("tune", "model", "--share", "0.1", "--draft", "leads.csv/d.yaml"), "a place to write"),
        (
            ("carry", "model", "--from", "model", "--hold", "fixed", "--draft", "model"),
            "a folder of that name",
        ),
    ],
)
def test_places_that_cannot_be(refused: Refused, words: tuple[str, ...], said: str) -> None:
    put("p.yaml", mql=0.1, sales_ready=0.3)
    assert said in refused(*words)


def test_a_model_that_is_none(refused: Refused) -> None:
    for words in (
        ("show", "none"),
        ("tune", "none", "--share", "0.1"),
        ("preview", "none", "--mql", "0.1"),
        ("set", "none", "--mql", "0.1", *WHY),
        ("history", "none"),
        ("undo", "none"),
        ("carry", "model", "--from", "none", "--hold", "fixed"),
    ):
        assert "none" in refused(*words, code=1)


def test_what_python_and_the_command_line_publish_is_the_same(run: Run, place: Path) -> None:
    told(run, "set", "model", "--mql", "0.3", *WHY)
    (entry,) = thresholds.history("model")
    other = place / "again"
    bundles.save(load("model").bundle, other)
    draft = replace(load(other).policy, mql=0.3, nurture=None)
    again = thresholds.publish(other, draft, author="Ada", reason="why", at=show.now())
    assert (again.policy, again.effect) == (entry.policy, entry.effect)
