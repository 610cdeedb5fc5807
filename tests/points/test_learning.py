"""Points learned from a simulated company: what was planted, what is read back, what no test row has seen."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from leadscore import config, train
from leadscore.features.snapshot import training_snapshot
from leadscore.models.matrix import to_matrix
from leadscore.models.points import PointTable
from leadscore.points.candidates import candidates
from leadscore.points.learning import Learned, learn
from leadscore.points.lines import to_yaml
from leadscore.simulate import simulate


@pytest.fixture(scope="module")
def settings(demo_settings: dict[str, Any]) -> dict[str, Any]:
    return demo_settings | {"simulate": {"leads": 3_000, "seed": 5}}


@pytest.fixture(scope="module")
def prepared(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> train.Prepared:
    path = tmp_path_factory.mktemp("learning") / "demo.yaml"
    path.write_text(yaml.safe_dump(settings))
    return train.prepare(config.read(path))


@pytest.fixture(scope="module")
def learned(prepared: train.Prepared) -> Learned:
    return learn(prepared)


def test_the_yaml_is_read_back_as_the_same_table(
    learned: Learned, settings: dict[str, Any], tmp_path: Path
) -> None:
    written = yaml.safe_load(to_yaml(learned.table.rules, learned.features, learned.remarks))
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump(settings | written))
    project = config.read(path)
    assert project.points == learned.table.rules
    again = train.prepare(project)  # the features that the lines ask for are there, and read the same
    table = PointTable(learned.table.columns, project.points)
    M = to_matrix(again.data.X, table.columns)
    known = slice(None) if again.data.mature is None else again.data.mature
    assert table.with_means(M[known]) == learned.table


def test_words_that_were_planted_to_help_earn_more(learned: Learned) -> None:
    causes = simulate(200, seed=5).truth.causes
    judged = 0
    for column in learned.table.columns:
        rules = [rule for rule in learned.table.rules if rule.column == column.name]
        pulls = {key.split("=")[1]: pull for key, pull in causes.items() if key.startswith(f"{column.name}=")}
        words = [word for word in column.levels or () if word in pulls]
        if len(words) > 2:
            M = np.array([[(column.levels or ()).index(word)] for word in words], dtype=float)
            earned = sum(rule.earned(M, [column]) for rule in rules)
            judged += 1
            assert np.corrcoef(earned, [pulls[word] for word in words])[0, 1] > 0, column.name
    assert judged >= 2


def test_whole_points_few_rules_and_what_they_are_worth(learned: Learned) -> None:
    assert 3 <= len(learned.table.rules) <= 25
    assert all(rule.points == round(rule.points, 1) for rule in learned.table.rules)
    assert all(rule.cap is None or rule.cap == round(rule.cap) for rule in learned.table.rules)
    worth = learned.worth.loc["roc_auc"]
    assert worth["rounded"] > 0.6
    assert abs(worth["unrounded"] - worth["rounded"]) < 0.01
    assert "rules" in learned.remarks[0] and "Rounding costs" in learned.remarks[2]
    assert len(learned.to_dict()["rules"]) == len(learned.table.rules)


def test_half_lives_are_asked_of_every_event(prepared: train.Prepared, learned: Learned) -> None:
    assert {"page_view", "email_open", "demo_request"} <= set(learned.half_lives)
    for found in learned.half_lives.values():
        assert found.low <= found.days <= found.high
    grid = candidates(prepared).decays["page_view"]
    assert min(grid) == 1.0 and max(grid) == math.inf


def test_candidates_are_counted_at_the_moments_of_the_rows(prepared: train.Prepared) -> None:
    """One lead's decayed count, from its events by hand."""
    found = candidates(prepared)
    feature = found.features["page_view_decayed_14d"]
    events, data = prepared.tables.events, prepared.data
    assert events is not None and data.as_of is not None
    row = int(found.X["page_view_decayed_14d"].argmax())
    lead = int(np.flatnonzero(prepared.tables.lead_id == data.lead_id[row])[0])
    own = (events.lead == lead) & (events.type == events.types.index("page_view"))
    own &= events.at < data.as_of[row]
    if events.known_at is not None:
        own &= events.known_at <= data.as_of[row]
    age = (data.as_of[row] - events.at[own]) / 86_400_000_000
    assert found.X[feature.name].iloc[row] == pytest.approx((0.5 ** (age / 14)).sum(), rel=1e-9)


def test_what_is_reported_was_seen_by_no_model(prepared: train.Prepared) -> None:
    """Outcomes dealt anew at random: whoever learns by heart still finds something in them."""
    y = np.random.default_rng(0).permutation(prepared.y)
    worth = learn(replace(prepared, y=y)).worth.loc["roc_auc"]
    assert abs(worth["rounded"] - 0.5) < 0.08


def test_rows_too_young_to_tell_are_not_learned_from(prepared: train.Prepared) -> None:
    """The same with all rows in the data, the young ones among them flagged."""
    project, tables = prepared.project, prepared.tables
    rows = training_snapshot(tables, prepared.features, ages=project.ages, horizon=project.horizon)
    assert rows.y is not None and rows.mature is not None
    old = np.flatnonzero(rows.mature)
    some, all_ = (replace(prepared, data=data, y=data.y) for data in (rows.take(old), rows))
    assert len(all_.y) > len(some.y)
    found = [candidates(p).model(0) for p in (some, all_)]
    assert found[0].get_params() == found[1].get_params()
    mine, theirs = candidates(all_).X.iloc[old].reset_index(drop=True), candidates(some).X
    pd.testing.assert_frame_equal(mine, theirs)
