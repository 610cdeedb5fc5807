"""Small projects, trained once: a simulated company with a clock, and a wide table without one."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read once, when NumPy comes in: two workers, two cores

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import settings as hypothesis_settings
from joblib import parallel_config

from leadscore import bundle as bundles
from leadscore import cli, config, train
from leadscore.bundle import Bundle
from leadscore.predict import LeadModel, load
from leadscore.simulate import World, simulate

ROOT = Path(__file__).parents[1]
KINDS = ("points", "logistic", "boosted", "hazard")
DAY = 86_400_000_000

# How long an example takes says more of what else the machine does than of the code.
hypothesis_settings.register_profile("steady", deadline=None)
hypothesis_settings.load_profile("steady")


@pytest.fixture(scope="session", autouse=True)
def in_process() -> Iterator[None]:
    """Fit one model after the other: starting processes takes longer than such small fits."""
    with parallel_config(backend="sequential"):
        yield


# ------------------------------------------------------------------------------------ a world with a clock
@pytest.fixture(scope="session")
def world() -> World:
    return simulate(1_200, seed=3)


@pytest.fixture(scope="session")
def demo_settings() -> dict[str, Any]:
    """The demo's configuration as YAML reads it, made small."""
    settings = yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text())
    return settings | {
        "simulate": {"leads": 1_200, "seed": 3},
        "features": {"windows": ["30d"], "half_lives": ["14d"]},
        "label": {"horizon": "60d", "ages": ["14d", "45d"]},
        "evaluation": {"folds": 2, "split": "forward"},
        "policy": {**settings["policy"], "capacity": "5 a week"},
    }


@pytest.fixture(scope="session")
def demo_config(tmp_path_factory: pytest.TempPathFactory, demo_settings: dict[str, Any]) -> Path:
    return write_yaml(tmp_path_factory.mktemp("demo") / "demo.yaml", demo_settings)


@pytest.fixture(scope="session")
def trained(demo_config: Path) -> train.Trained:
    return train.train(config.read(demo_config))


@pytest.fixture(scope="session")
def bundle_of(trained: train.Trained) -> dict[str, Bundle]:
    """One bundle a kind of model, whichever the comparison would have chosen."""
    return {kind: train.fit(trained.prepared, replace(trained.comparison, chosen=kind)) for kind in KINDS}


@pytest.fixture(scope="session")
def folder_of(bundle_of: dict[str, Bundle], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The saved models. Read only: a test that changes one copies it first."""
    parent = tmp_path_factory.mktemp("models")
    return {kind: bundles.save(bundle, parent / kind) for kind, bundle in bundle_of.items()}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(kind: str, folder_of: dict[str, Path]) -> Path:
    return folder_of[kind]


@pytest.fixture
def model(folder: Path) -> LeadModel:
    return load(folder)


@pytest.fixture(scope="session")
def as_of(world: World) -> int:
    """A moment within the data: some leads are not there yet, and some events lie ahead."""
    return world.end - 20 * DAY


@pytest.fixture(scope="session")
def files(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the world's tables as Parquet."""
    place = tmp_path_factory.mktemp("world")
    world.write(place)
    return place


# ----------------------------------------------------------------------------- a wide table without a clock
@pytest.fixture(scope="session")
def wide_frame() -> pd.DataFrame:
    """Leads as a CRM exports them: "Select" is a missing value, "Verdict" is written after the outcome."""
    rng = np.random.default_rng(11)
    n = 800
    hours = np.round(rng.gamma(2.0, 2.0, n), 2)
    channel = rng.choice(["Ads", "Referral", "Search", "Select"], n, p=[0.4, 0.1, 0.3, 0.2])
    plan = rng.choice(["basic", "pro"], n)
    log_odds = -2.2 + 0.35 * hours + 1.6 * (channel == "Referral") - 0.6 * (plan == "basic")
    bought = rng.random(n) < 1 / (1 + np.exp(-log_odds))
    return pd.DataFrame(
        {
            "Id": np.arange(5_000, 5_000 + n),
            "Number": np.arange(n),
            "Hours": hours,
            "Visits": rng.poisson(3, n),
            "Channel": channel,
            "Plan": plan,
            "Verdict": np.where(bought, rng.choice(["hot", "warm"], n), "cold"),
            "Bought": np.where(bought, "yes", "no"),
        }
    )


@pytest.fixture(scope="session")
def wide_settings() -> dict[str, Any]:
    return {
        "name": "wide",
        "leads": {
            "path": "leads.csv",
            "lead_id": "Id",
            "order_by": "Number",
            "target": {"column": "Bought", "won": ["yes"]},
            "missing": ["Select"],
        },
        "exclude": {"Verdict": "written once the outcome is known"},
        "families": {"engagement": ["Hours", "Visits"]},
        "evaluation": {"folds": 2, "split": "grouped"},
        "points": [
            {"field": "Channel", "is": "Referral", "points": 20},
            {"field": "Hours", "each": 3, "cap": 30},
            {"field": "Plan", "is": "basic", "points": -5},
        ],
    }


@pytest.fixture
def wide(tmp_path: Path, wide_frame: pd.DataFrame, wide_settings: dict[str, Any]) -> Path:
    """A folder of its own with leads.csv and wide.yaml."""
    wide_frame.to_csv(tmp_path / "leads.csv", index=False)
    write_yaml(tmp_path / "wide.yaml", wide_settings)
    return tmp_path


@pytest.fixture(scope="session")
def wide_folder(
    tmp_path_factory: pytest.TempPathFactory, wide_frame: pd.DataFrame, wide_settings: dict[str, Any]
) -> Path:
    """The wide project's saved model. Read only."""
    place = tmp_path_factory.mktemp("wide")
    wide_frame.to_csv(place / "leads.csv", index=False)
    trained = train.train(config.read(write_yaml(place / "wide.yaml", wide_settings)))
    return bundles.save(trained.bundle, place / "model")


# ------------------------------------------------------------------------------------------ the command line
@dataclass(frozen=True)
class Done:
    """What a command left on the terminal, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def refusal(self) -> str:
        """The one line that says what is wrong; progress and notes may stand before it."""
        lines = [line for line in self.err.splitlines() if not line.startswith(("... ", "note: "))]
        assert len(lines) == 1, self.err
        assert lines[0].startswith("leadscore: ")
        assert "Traceback" not in self.out + self.err
        return lines[0].removeprefix("leadscore: ")


class Clock(datetime):
    """The one clock that is read stands still, after the simulated year."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime(2026, 6, 1, 12, tzinfo=tz)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """`leadscore ...` in this process."""

    def run(*words: object) -> Done:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["leadscore", *map(str, words)])
        monkeypatch.setattr("leadscore.cli.show.datetime", Clock)
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Done(code, *capsys.readouterr())

    return run


def write_yaml(path: Path, values: object) -> Path:
    path.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
    return path
