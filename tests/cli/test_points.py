"""`leadscore points learn|review` as people use them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from leadscore import config

Run = Callable[..., Any]


def test_learned_points_are_printed_kept_and_may_be_trained_with(
    run: Run, wide: Path, wide_settings: dict[str, Any]
) -> None:
    out, table, facts = wide / "points.yaml", wide / "points.csv", wide / "points.json"
    done = run("points", "learn", wide / "wide.yaml", "--out", out, "--csv", table, "--json", facts)
    assert done.code == 0, done.err
    assert "Rounding costs" in done.out
    written = yaml.safe_load(out.read_text())
    (wide / "again.yaml").write_text(yaml.safe_dump(wide_settings | written))
    rules = config.read(wide / "again.yaml").points
    assert [rule.to_dict() for rule in rules] == json.loads(facts.read_text())["rules"]
    rows = pd.read_csv(table)
    assert rows["why"].tolist() == [rule.label for rule in rules]
    assert rows["points"].tolist() == [rule.points for rule in rules]
    assert {"Channel", "Hours"} <= set(rows["property or event"])
    assert "Verdict" not in out.read_text()  # excluded: it knows the outcome


def test_twice_the_same_bytes(run: Run, wide: Path) -> None:
    for name in ("one", "two"):
        assert run("points", "learn", wide / "wide.yaml", "--out", wide / f"{name}.yaml").code == 0
    assert (wide / "one.yaml").read_bytes() == (wide / "two.yaml").read_bytes()


def test_hand_set_points_are_reviewed(run: Run, wide: Path, wide_settings: dict[str, Any]) -> None:
    turned = {"field": "Hours", "at_least": 6, "points": -20, "label": "slow"}
    settings = wide_settings | {"points": [*wide_settings["points"], turned]}
    (wide / "wide.yaml").write_text(yaml.safe_dump(settings))
    done = run("points", "review", wide / "wide.yaml", "--json", wide / "review.json")
    assert done.code == 0, done.err
    assert "the data give" in done.out
    rules = {rule["label"]: rule for rule in json.loads((wide / "review.json").read_text())["rules"]}
    assert set(rules) == {"Channel is Referral", "Hours", "Plan is basic", "slow"}
    assert rules["Channel is Referral"]["low"] > 0
    assert rules["Plan is basic"]["data_points"] < 0
    assert rules["slow"]["data_points"] > -10


@pytest.mark.parametrize(
    ("options", "code", "found"),
    [
        (["--out", "."], 2, "a place to write"),
        (["--csv", "points.txt"], 2, "an output that ends in .csv, .parquet or .jsonl"),
    ],
)
def test_places_that_cannot_be_written_are_refused_before_any_work(
    run: Run, wide: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], code: int, found: str
) -> None:
    monkeypatch.chdir(wide)
    done = run("points", "learn", wide / "wide.yaml", *options)
    assert done.code == code
    assert found in done.refusal
    assert "..." not in done.err


@pytest.mark.parametrize("command", ["learn", "review"])
@pytest.mark.parametrize(("outcome", "found"), [("yes", "one class only"), (None, "leads whose outcome")])
def test_outcomes_that_teach_nothing_are_one_line(
    run: Run, wide: Path, wide_frame: pd.DataFrame, command: str, outcome: str | None, found: str
) -> None:
    wide_frame.assign(Bought=outcome).to_csv(wide / "leads.csv", index=False)
    done = run("points", command, wide / "wide.yaml")
    assert done.code == 1
    assert "expected" in done.refusal and "found" in done.refusal


def test_a_config_without_points_is_refused(run: Run, wide: Path, wide_settings: dict[str, Any]) -> None:
    (wide / "wide.yaml").write_text(yaml.safe_dump(wide_settings | {"points": []}))
    for command in ("learn", "review"):
        done = run("points", command, wide / "wide.yaml")
        assert done.code == 2
        assert "points: expected at least one entry" in done.refusal
