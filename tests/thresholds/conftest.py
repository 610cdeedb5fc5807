"""A model that is known in full: the chance of a lead follows from its hours and its source."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from leadscore import bundle as bundles
from leadscore.bundle import Bundle
from leadscore.data.contract import Contract
from leadscore.explain.card import GradeCuts
from leadscore.features.declare import OTHER, AttributeFeature
from leadscore.models.calibration import Scale, Sigmoid
from leadscore.models.conditions import Condition
from leadscore.models.linear import LevelsTerm, LinearTable, NumberTerm
from leadscore.models.matrix import Column
from leadscore.policy.backtest import Backtest
from leadscore.policy.policy import Policy
from leadscore.policy.rules import Rule

SOURCES = ("Ads", "Fair", "Referral")
POINTS = (-0.5, 0.0, 1.5)  # of the sources, in log-odds
WEEKS = 20
COLUMNS = (Column("hours"), Column("visits"), Column("source", (*SOURCES, OTHER)))
UNSUBSCRIBED = Rule("no hours at all", (Condition("hours", "below", 0.3),), "never there")
REFERRED = Rule(
    "referred and keen", (Condition("source", "is", "Referral"), Condition("hours", "at_least", 9))
)


def chance_of(hours: "pd.Series[float]", source: "pd.Series[str]") -> "pd.Series[float]":
    return 1 / (1 + np.exp(3.5 - 0.4 * hours - source.map(dict(zip(SOURCES, POINTS, strict=True))).fillna(0)))


def drawn(n: int, seed: int) -> pd.DataFrame:
    """Leads as a table, what they scored included."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "id": [f"L{number:04}" for number in range(n)],
            "hours": np.round(rng.gamma(1.5, 2.0, n), 1),
            "visits": rng.poisson(3.0, n),
            "source": rng.choice(SOURCES, n, p=[0.6, 0.3, 0.1]),
        }
    )
    return frame.assign(chance=chance_of(frame["hours"], frame["source"]))


@pytest.fixture(scope="session")
def leads() -> pd.DataFrame:
    """Leads of today; some of a source that the model does not know, some of none."""
    frame = drawn(600, seed=1).drop(columns="chance")
    frame.loc[::40, "source"] = "Podcast"
    frame.loc[7::40, "source"] = None
    return frame


@pytest.fixture(scope="session")
def past() -> pd.DataFrame:
    """Leads of before: scored, and what came of them."""
    rng = np.random.default_rng(2)
    frame = drawn(3_000, seed=3)
    return frame.assign(
        won=rng.random(len(frame)) < frame["chance"],
        week=rng.integers(0, WEEKS, len(frame)),
        points=np.round(frame["hours"] + rng.normal(0, 4, len(frame))),
    )


@pytest.fixture(scope="session")
def backtest(past: pd.DataFrame) -> Backtest:
    codes = past["source"].map({name: float(code) for code, name in enumerate(SOURCES)})
    return Backtest(
        past["chance"].to_numpy(),
        past["won"].to_numpy(),
        week=past["week"].to_numpy(),
        points=past["points"].to_numpy(),
        M=np.column_stack([past["hours"], codes]),
        columns=(COLUMNS[0], COLUMNS[2]),  # visits are read by no rule, and are not kept
    )


@pytest.fixture(scope="session")
def bundle(backtest: Backtest) -> Bundle:
    terms = (
        NumberTerm(False, 0.0, 99.0, 0.0, 1.0, 0.4, missing=0.0, mean=1.2),
        NumberTerm(False, 0.0, 99.0, 0.0, 1.0, 0.0, missing=0.0, mean=0.0),
        LevelsTerm((*POINTS, 0.0), missing=0.0, mean=-0.15),
    )
    return Bundle(
        name="known in full",
        contract=Contract(lead_id="id", kinds={"hours": "number", "visits": "number", "source": "category"}),
        features=(
            AttributeFeature("number", "hours"),
            AttributeFeature("number", "visits"),
            AttributeFeature("category", "source", levels=SOURCES),
        ),
        scorer=LinearTable(COLUMNS, terms, intercept=-3.5),
        calibration=Sigmoid(1.0, 0.0),
        scale=Scale(),
        policy=Policy(0.2, 0.5, suppress=(UNSUBSCRIBED,), fast_track=(REFERRED,)),
        cuts=GradeCuts((-0.4, 0.0, 1.0), (-1.0, 0.0, 1.0)),
        typical={"hours": 2.4, "visits": 3.0, "source": "Ads"},
        horizon=None,
        backtest=backtest,
        calibrated=True,
        interval=None,
        familiar=None,
        facts={},
    )


@pytest.fixture
def folder(bundle: Bundle, tmp_path: Path) -> Path:
    """The model, saved; a test may publish beside it."""
    return bundles.save(bundle, tmp_path / "model")


@pytest.fixture
def unlearned(bundle: Bundle, tmp_path: Path) -> Path:
    """The same, put to use before any outcome was known."""
    return bundles.save(replace(bundle, backtest=None), tmp_path / "unlearned")
