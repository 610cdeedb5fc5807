"""History, identity, event ids and visitors in a config, and what training does with them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from leadscore import checking, config
from leadscore.data.tables import Contract, HistoryColumns, Identity
from leadscore.errors import ConfigError

DAYS = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(np.arange(400) % 200, unit="D")
SETTINGS: dict[str, Any] = {
    "name": "dated",
    "leads": {"path": "leads.csv", "lead_id": "id", "created_at": "since", "email": ["mail"]},
    "outcomes": {"path": "outcomes.csv", "lead_id": "id", "stages": {"Won": "won"}},
    "history": {"path": "history.csv", "lead_id": "id", "field": "column", "changed_at": "when"},
    "label": {"horizon": "30d", "ages": ["5d", "10d"]},
    "points": [{"field": "status", "is": "customer", "points": 9}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Leads whose status says "customer" from when they are won on: now, it tells the outcome."""
    won = np.arange(400) % 4 == 0
    status = np.where(won, "customer", np.where(np.arange(400) % 3 == 0, "new", "known"))
    mails = [f"m{row}@x.org" for row in range(398)] + ["M0@x.org", "m1+news@x.org"]
    leads = pd.DataFrame({"id": np.arange(400), "since": DAYS, "status": status, "mail": mails})
    late = DAYS + pd.Timedelta("20D")
    outcomes = pd.DataFrame({"id": np.arange(400), "stage": "Won", "at": late})[won]
    born = pd.DataFrame({"id": np.arange(400), "column": "status", "value": "new", "when": DAYS})
    since = born[won].assign(value="customer", when=late[won])
    for name, table in {"leads": leads, "outcomes": outcomes, "history": pd.concat([born, since])}.items():
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    return tmp_path


def read(folder: Path, **changes: Any) -> Any:
    (folder / "dated.yaml").write_text(yaml.safe_dump({**SETTINGS, **changes}))
    return config.read(folder / "dated.yaml")


def test_the_sections_become_parts_of_the_contract(folder: Path) -> None:
    project = read(folder)
    assert project.contract.history == HistoryColumns("column", "value", "when", "id")
    assert project.source.history == folder / "history.csv"
    assert project.contract.identity is None
    assert project.email == ("mail",)
    visits = {"path": "e.csv", "visitor_id": "cookie", "event_id": "number"}
    leads = SETTINGS["leads"] | {"visitor_id": "cookie"}
    contract = read(folder, events=visits, leads=leads).contract
    assert (contract.visitor_id, contract.events.event_id) == ("cookie", "number")
    assert Contract.from_dict(contract.to_dict()) == contract


def test_identity_takes_the_fields_of_leads_unless_it_names_its_own(folder: Path) -> None:
    merged = read(folder, identity={"merge": True, "keep_apart": [[1, 2], ["x"]]})
    assert merged.contract.identity == Identity(("mail",), (), (("1", "2"), ("x",)))
    own = read(folder, identity={"phone": ["tel"]})
    assert (own.email, own.phone, own.contract.identity) == ((), ("tel",), None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"history": {"feild": "x"}}, "did you mean 'field'"),
        ({"history": {"field": "x"}}, r"history\.path"),
        ({"identity": {"keep_apart": [["a", "b"]]}}, "merge: true beside keep_apart"),
        (
            {"identity": {"merge": True}, "leads": {"path": "leads.csv"}},
            r"identity\.email or identity\.phone",
        ),
        ({"leads": {"path": "leads.csv", "visitor_id": "cookie"}}, r"events\.visitor_id"),
    ],
)
def test_what_does_not_fit_together_is_refused(folder: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read(folder, **changes)


def test_a_field_with_a_history_is_no_leak_and_one_without_is(folder: Path) -> None:
    def verdict(project: Any) -> str:
        tables = checking.read(project)
        return {audit.field: audit.verdict for audit in checking.check(project, tables).fields}["status"]

    assert verdict(read(folder)) == "ok"
    assert verdict(read(folder, history=None)) == "block"


def test_training_makes_one_lead_of_a_person(folder: Path) -> None:
    tables = checking.read(read(folder, identity={"merge": True}))
    assert len(tables.lead_id) == 398
    assert tables.lead_id[-2:].tolist() == [396, 397]
    assert any("count as one" in str(finding) for finding in tables.findings)
    assert len(checking.read(read(folder)).lead_id) == 400
    apart = read(folder, identity={"merge": True, "keep_apart": [[0, 398]]})
    assert len(checking.read(apart).lead_id) == 399


def test_the_check_lists_who_is_one_lead_and_why(folder: Path, run: Callable[..., Any]) -> None:
    """What is wrong in the list goes under keep_apart, and the leads are two again."""
    read(folder, identity={"merge": True})
    done = run("check", folder / "dated.yaml", "--json", folder / "check.json")
    assert (done.code, "count as one" in done.err) == (0, True)
    assert "@x.org" not in done.out + done.err
    merged = json.loads((folder / "check.json").read_text())["merged"]
    assert merged == [
        {"lead_id": 398, "into": 0, "by": ["mail"]},
        {"lead_id": 399, "into": 1, "by": ["mail"]},
    ]
    pairs = [[merge["into"], merge["lead_id"]] for merge in merged]
    read(folder, identity={"merge": True, "keep_apart": pairs})
    run("check", folder / "dated.yaml", "--json", folder / "check.json")
    assert json.loads((folder / "check.json").read_text())["merged"] == []
