"""Training where a model is: its policy is set aside, or carried over to the new one."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from leadscore import thresholds
from leadscore.predict import load

Run = Callable[..., Any]
WHY = ("--reason", "why", "--author", "Ada")


def contents(place: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.fixture
def place(wide: Path, wide_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the project, its model with thresholds of its own, and fewer leads to train on anew."""
    monkeypatch.chdir(wide)
    shutil.copytree(wide_folder, "model")
    frame = pd.read_csv("leads.csv")
    frame.head(700).to_csv("leads.csv", index=False)
    return wide


@pytest.fixture
def train(run: Run, place: Path) -> Callable[..., Any]:
    def train(*words: str) -> Any:
        return run("train", "wide.yaml", "--out", "model", "--no-mlflow", *words)

    return train


@pytest.mark.parametrize("hold", ["fixed", "volume"])
def test_the_policy_in_force_is_carried_over(run: Run, place: Path, train: Any, hold: str) -> None:
    chance = load("model").bundle.past.probability
    line = float(np.quantile(chance, 0.7))
    assert run("threshold", "set", "model", "--mql", line, "--sales-ready", "0.9", *WHY).code == 0
    old = load("model")
    shutil.copytree("model", "old")
    done = train("--hold", hold, "--author", "Bob")
    assert done.code == 0, done.err
    new = load("model")
    (entry,) = thresholds.history("model")
    assert entry.policy == new.policy
    assert (entry.policy.revision, entry.author) == (2, "Bob")
    assert entry.reason.startswith("carried over from revision 2 of model ")
    assert f"Policy   revision 2 is in force, {entry.reason}" in done.out
    kept, found = ("With the probabilities kept" if hold == "fixed" else "With the number of"), new.policy
    assert kept in done.out
    if hold == "fixed":
        assert found.lines == old.policy.lines
    else:  # at most the same share of the leads, and with one more level of leads it would be more
        before, after = (model.bundle.past.probability for model in (old, new))
        share = (before >= old.policy.mql).mean()
        assert (after >= found.mql).mean() <= share
        below = after[after < found.mql].max()
        assert (after >= below).mean() > share
    assert (new.policy.suppress, new.policy.fast_track) == (old.policy.suppress, old.policy.fast_track)
    assert "thresholds published for the model that was here are kept in" in done.err
    assert "this model's own are in force" not in done.err


def test_without_hold_the_note_says_how(run: Run, place: Path, train: Any) -> None:
    assert run("threshold", "set", "model", "--mql", "0.3", "--sales-ready", "0.9", *WHY).code == 0
    done = train()
    assert done.code == 0, done.err
    (note,) = [line for line in done.err.splitlines() if "thresholds published" in line]
    assert "--hold" in note
    assert "threshold carry" in note
    assert load("model").policy.revision == 1
    same = train("--hold", "volume", "--author", "Bob")  # the same data make the same model
    assert same.code == 0, same.err
    assert "Policy   revision 1 is in force, and is the same" in same.out
    assert thresholds.history("model") == ()


def test_a_policy_that_cannot_be_carried_stops_before_the_model_is_replaced(
    run: Run, place: Path, train: Any
) -> None:
    rule = "{name: hours, when: [{column: Hours, at_least: 3}]}"
    Path("p.yaml").write_text(f"mql: 0.3\nsales_ready: 0.9\nsuppress: [{rule}]\n")
    assert run("threshold", "set", "model", "--policy", "p.yaml", *WHY).code == 0
    config = Path("wide.yaml").read_text().replace("exclude:\n", "exclude:\n  Hours: no longer kept\n")
    points = "- field: Hours\n  each: 3\n  cap: 30\n"
    assert points in config
    config = config.replace(points, "").replace("  - Hours\n", "")
    Path("wide.yaml").write_text(config)
    before = contents(place)
    done = train("--hold", "fixed", "--author", "Bob")
    assert done.code == 1
    assert "'Hours'" in done.refusal
    assert contents(place) == before


def test_where_no_model_is_there_is_nothing_to_carry(run: Run, place: Path, train: Any) -> None:
    shutil.rmtree("model")
    done = train("--hold", "volume")
    assert done.code == 0, done.err
    assert "note: no model is there yet, whose thresholds could be carried over" in done.err
    assert load("model").policy.revision == 1


def test_a_model_that_does_not_load_is_refused_before_any_work(place: Path, train: Any) -> None:
    Path("model/manifest.json").write_text("{")
    before = contents(place)
    done = train("--hold", "volume", "--author", "Bob")
    assert done.code == 1
    assert "damaged" in done.refusal
    assert "... " not in done.err
    assert contents(place) == before
