"""What a project's audit hands over to the audit of arrays, and the page and the JSON that show it."""

import html.parser
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from leadscore import checking, config
from leadscore.evaluation.leakage import FieldAudit
from leadscore.simulate import World, simulate

DAYS = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(np.arange(400) % 200, unit="D")
SETTINGS: dict[str, Any] = {
    "name": "dated",
    "leads": {"path": "leads.csv", "lead_id": "id", "created_at": "since"},
    "outcomes": {"path": "outcomes.csv", "lead_id": "id", "stages": {"Won": "won", "Lost": "lost"}},
    "history": {"path": "history.csv", "lead_id": "id", "field": "column", "changed_at": "when"},
    "label": {"horizon": "30d", "ages": ["5d"]},
    "points": [{"field": "kind", "is": "a", "points": 9}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """400 leads: a quarter won and a quarter lost after 20 days, half of each with a status that follows."""
    row = np.arange(400)
    won, lost = row % 4 == 0, row % 4 == 1
    closed, follows = won | lost, (row // 4) % 2 == 0
    status = np.where(closed & follows, np.where(won, "customer", "gone"), "new")
    leads = pd.DataFrame({"id": row, "since": DAYS, "status": status, "kind": np.where(row % 3, "a", "b")})
    late = DAYS + pd.Timedelta("20D")
    outcomes = pd.DataFrame({"id": row, "stage": np.where(won, "Won", "Lost"), "at": late})[closed]
    born = pd.DataFrame({"id": row, "column": "status", "value": "new", "when": DAYS})
    since = born.assign(value=status, when=late)[closed & follows]
    for name, table in {"leads": leads, "outcomes": outcomes, "history": pd.concat([born, since])}.items():
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    return tmp_path


def audited(folder: Path, **changes: Any) -> dict[str, FieldAudit]:
    (folder / "dated.yaml").write_text(yaml.safe_dump({**SETTINGS, **changes}))
    project = config.read(folder / "dated.yaml")
    return {entry.field: entry for entry in checking.check(project, checking.read(project)).fields}


# ---------------------------------------------------------------------------------------- what is handed over
def test_changes_at_the_closing_are_counted_among_the_closed(folder: Path) -> None:
    """Half of the closed leads change at the very moment of the closing: as of then, nobody has changed."""
    found = audited(folder)["status"]
    assert found.verdict == "ok"
    assert any("it changed for 50.0% of the closed leads" in sentence for sentence in found.evidence)
    assert found.auc == 0.5


def test_changes_before_the_closing_are_none_after_it(folder: Path) -> None:
    history = pd.read_csv(folder / "history.csv")
    early = pd.to_datetime(history["when"]) - pd.to_timedelta(
        (history["value"] != "new").astype(int), unit="D"
    )
    history.assign(when=early).to_csv(folder / "history.csv", index=False)
    assert not any("it changed" in sentence for sentence in audited(folder)["status"].evidence)


def test_values_without_a_history_beside_late_changes_are_a_question(folder: Path) -> None:
    history = pd.read_csv(folder / "history.csv")
    history[history["id"] >= 100].to_csv(folder / "history.csv", index=False)
    found = audited(folder)["status"]  # 100 of the 382 that are closed, or old enough to be known
    assert found.verdict != "ok"
    assert any("26.2% of the leads have a value but no history" in sentence for sentence in found.evidence)


def test_open_leads_are_looked_at_too(folder: Path) -> None:
    """Without its history, the status is one that open leads never have."""
    found = audited(folder, history=None)["status"]
    assert found.verdict == "block"
    assert any("open ones" in sentence or "open leads" in sentence for sentence in found.evidence)
    assert any("closed leads, 0 open" in sentence for sentence in found.evidence)


def test_open_and_closed_leads_of_a_world_are_those_of_its_truth(demo_config: Path, world: World) -> None:
    """What only closed leads have is told with its share among them, and among none of the open."""
    project = config.read(demo_config)
    tables = checking.read(project)
    known = world.truth.closed_at <= world.end
    column = np.where(known, "done", None)
    table = tables.leads.append_column("planted", [column.tolist()])
    from dataclasses import replace

    found = checking.check(
        project, replace(tables, leads=table, kinds={**tables.kinds, "planted": "category"})
    )
    (planted,) = [entry for entry in found.fields if entry.field == "planted"]
    assert planted.verdict == "block"
    assert any(
        "filled in for 100.0% of the closed leads and 0.0% of the open ones" in sentence
        for sentence in planted.evidence
    )


@pytest.mark.parametrize("seed", range(2))
def test_a_world_has_its_leaks_blocked_and_no_other_field(seed: int, demo_config: Path) -> None:
    project = config.read(demo_config)
    made = simulate(1_500, seed=40 + seed)
    from leadscore.data.tables import read_tables

    tables = read_tables(project.contract, made.leads, made.events, made.outcomes, training=True)
    found = checking.check(project, tables)
    assert {entry.field for entry in found.fields if entry.verdict == "block"} == set(made.truth.leaks)
    assert [entry.verdict for entry in found.fields][:3] == ["block"] * 3
    assert not any(
        name in str(found) for name in ("Brandt", "Okafor", "Lindqvist", "Castellan", "Iyer", "Nowak")
    )


# ---------------------------------------------------------------------------------------------- page and JSON
class Page(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") or name in ("src", "href") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_holds_the_whole_audit_and_runs_nothing(
    run: Callable[..., Any],
    wide: Path,
    wide_frame: pd.DataFrame,
    wide_settings: dict[str, Any],
    tmp_path: Path,
) -> None:
    hostile = "<script>alert(1)</script>"
    wide_frame.rename(columns={"Plan": hostile}).to_csv(wide / "leads.csv", index=False)
    settings = wide_settings | {
        "exclude": {hostile: "<b>no</b>"},
        "allow": {"Verdict": "known at the first call"},
        "points": [{"field": "Channel", "is": "Referral", "points": 20}],
    }
    (wide / "wide.yaml").write_text(yaml.safe_dump(settings))
    done = run(
        "check", wide / "wide.yaml", "--html", tmp_path / "out" / "a.html", "--json", tmp_path / "a.json"
    )
    assert done.code == 0, done.err
    assert f"Report   {tmp_path / 'out' / 'a.html'}" in done.out
    page = Page()
    page.feed((tmp_path / "out" / "a.html").read_text())
    assert not {"script", "b", "img", "link"} - {"b"} & set(page.tags)
    assert hostile in page.text
    assert "excluded: <b>no</b>" in page.text
    assert "allowed: known at the first call" in page.text
    assert "Nothing blocks training." not in page.text or "1 blocked" in page.text
    told = json.loads((tmp_path / "a.json").read_text())
    for field in told["fields"]:
        assert {
            "field",
            "verdict",
            "evidence",
            "auc",
            "missing_auc",
            "filled_auc",
            "forward_auc",
            "calendar",
        } == set(field)
        assert all(sentence in page.text for sentence in field["evidence"])
    assert told["findings"]
    assert all(finding in page.text for finding in told["findings"])


def test_the_page_is_written_before_a_leak_stops_the_command(
    run: Callable[..., Any], wide: Path, wide_settings: dict[str, Any], tmp_path: Path
) -> None:
    (wide / "wide.yaml").write_text(yaml.safe_dump(wide_settings | {"exclude": {}}))
    done = run("check", wide / "wide.yaml", "--html", tmp_path / "a.html")
    assert done.code == 1
    assert "Training stops until Verdict is excluded, or allowed with a reason" in " ".join(
        (tmp_path / "a.html").read_text().replace("<b>", "").replace("</b>", "").split()
    )


def test_a_page_that_cannot_be_written_is_refused_first(
    run: Callable[..., Any], wide: Path, tmp_path: Path
) -> None:
    done = run("check", wide / "wide.yaml", "--html", tmp_path)
    assert done.code == 2
    assert done.out == ""
