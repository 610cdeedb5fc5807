"""Before anything is learned: read a project's tables, and audit every field for leaks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from leadscore.data.contract import CLOSING
from leadscore.data.history import latest, leads_as_of
from leadscore.data.identity import Merge, duplicate_groups, merge_duplicates
from leadscore.data.tables import Tables, read_tables
from leadscore.errors import DataError, LeakageError, explain, nearest, shown
from leadscore.evaluation.leakage import Audit, Dated, FieldAudit, Verdict, Worked, audit
from leadscore.features.snapshot import earliest
from leadscore.files import replace_file
from leadscore.pages import page
from leadscore.project import Files, Project
from leadscore.simulate import simulate

DAY = 86_400_000_000  # microseconds
_GRAVEST_FIRST: tuple[Verdict, ...] = ("block", "suspect", "ok")


def read(project: Project) -> Tables:
    """Read a project's tables, outcomes included, and refuse fields in the config that are not in them."""
    return read_people(project)[0]


def read_people(project: Project) -> tuple[Tables, tuple[Merge, ...]]:
    """Read as `read` does, and tell which leads count as part of another where the project makes them one."""
    tables = _tables(project)
    merges: tuple[Merge, ...] = ()
    contract = project.contract
    if contract.identity is not None:
        tables, report = merge_duplicates(tables, contract.identity)
        merges = report.merges
    places = ("lead_id", "created_at", "order_by", "target", "visitor_id")
    columns = [getattr(contract, place) for place in places]
    known = [*tables.kinds, *contract.ignore, *(column for column in columns if column is not None)]
    named = {"exclude": project.exclude, "allow": project.allow, "families": project.roles.families}
    for section, fields in named.items():
        for name in fields:
            if name not in known:
                found = f"{shown(name)!r}{nearest(name, known)}"
                raise DataError(
                    explain(f"fields of the leads under {section}", found, "correct or remove it")
                )
    return tables, merges


def _tables(project: Project) -> Tables:
    if isinstance(project.source, Files):
        source = project.source
        leads = source.events if project.contract.event_log else source.leads
        events = None if project.contract.event_log else source.events
        return read_tables(project.contract, leads, events, source.outcomes, source.history, training=True)
    world = simulate(project.source.leads, seed=project.source.seed)
    return read_tables(project.contract, world.leads, world.events, world.outcomes, training=True)


def check(project: Project, tables: Tables) -> Audit:
    """Audit every field of the leads table, those that the config excludes too; the gravest come first."""
    y, known = _known_outcome(project, tables)
    if not known.any():
        raise too_young(project.horizon)
    if len(np.unique(y[known])) < 2:
        raise DataError(
            explain("leads that converted and leads that did not", "one class only", "give the table both")
        )
    fields = as_seen(project, tables).leads.to_pandas()
    group = duplicate_groups(tables, email_fields=project.email, phone_fields=project.phone)
    order = tables.order if tables.created_at is None else tables.created_at
    order = None if order is None else order[known]
    found = audit(
        fields[known].reset_index(drop=True),
        y[known],
        group=group[known],
        order=order,
        worked=_worked(tables, fields),
        dated=_dated(tables, known),
        personal=(*project.email, *project.phone),
        seed=project.seed,
    )
    ordered = sorted(found.fields, key=lambda entry: _GRAVEST_FIRST.index(entry.verdict))
    return replace(found, fields=tuple(ordered))


def _worked(tables: Tables, fields: pd.DataFrame) -> Worked | None:
    """Give every lead's age and state at the end of the data; fields with a history are judged by that."""
    if tables.created_at is None or tables.outcomes is None or tables.end is None:
        return None
    closed = earliest(tables.outcomes, CLOSING, len(tables.lead_id)) <= tables.end
    age = (tables.end - tables.created_at) / DAY
    return Worked(fields.drop(columns=list(tables.history or ())), age, closed)


def _dated(tables: Tables, known: NDArray[Any]) -> dict[str, Dated]:
    """Say of every field with a history what it is now, and how often it changed once a lead was closed."""
    if not tables.history or tables.outcomes is None:
        return {}
    leads = len(tables.lead_id)
    every, end = np.arange(leads), np.full(leads, np.iinfo(np.int64).max)
    closing = earliest(tables.outcomes, CLOSING, leads)
    closed = closing < earliest(tables.outcomes, (), leads)  # which are those that never happen
    now = leads_as_of(tables, end)
    dated = {}
    for name, changes in tables.history.items():
        last, has = latest(changes, every, end)
        after = (last >= 0) & (changes.at[last] >= closing) & closed
        filled = ~now[name].is_null().to_numpy()
        dated[name] = Dated(
            now=now[name].to_pandas().to_numpy()[known],
            changed_after=float(after[closed].mean()) if closed.any() else 0.0,
            undated=float((filled & ~has)[known].mean()),
        )
    return dated


def as_seen(project: Project, tables: Tables) -> Tables:
    """Give attributes with a history as of the last moment that each lead is looked at while open."""
    if not tables.history or tables.created_at is None:
        return tables
    moment = tables.created_at + round(max(project.ages) * DAY)
    if tables.outcomes is not None:
        moment = np.minimum(moment, earliest(tables.outcomes, CLOSING, len(moment)))
    return replace(tables, leads=leads_as_of(tables, moment))


def refuse_leaks(project: Project, found: Audit) -> None:
    """Stop where a field knows the outcome, until the config excludes it or allows it with a reason."""
    leaks = _leaks(project, found)
    if leaks:
        fields = "; ".join(f"{shown(leak.field)!r} ({'; '.join(leak.evidence[:2])})" for leak in leaks)
        do = "list each in the config under exclude or, with a reason, under allow"
        raise LeakageError(explain("fields known before the outcome", fields, do))


def _leaks(project: Project, found: Audit) -> list[FieldAudit]:
    settled = {*project.exclude, *project.allow}
    return [entry for entry in found.fields if entry.verdict == "block" and entry.field not in settled]


def handled(project: Project) -> dict[str, str]:
    """Say of every field that the config excludes or allows which it does, and why."""
    said = {field: f"allowed: {reason}" for field, reason in project.allow.items()}
    return said | {field: f"excluded: {reason}" for field, reason in project.exclude.items()}


def write_page(project: Project, tables: Tables, found: Audit, path: str | Path) -> Path:
    """Write the audit as one HTML page: no script, nothing fetched, every value escaped."""
    verdicts = [entry.verdict for entry in found.fields]
    text = page(
        "check_report.html.j2",
        name=shown(project.name),
        leads=len(tables.lead_id),
        audit=found,
        counts={verdict: verdicts.count(verdict) for verdict in _GRAVEST_FIRST},
        stops=[shown(leak.field) for leak in _leaks(project, found)],
        handled=handled(project),
        findings=[shown(finding, 300) for finding in tables.findings],
    )
    return replace_file(path, text.encode())


def _known_outcome(project: Project, tables: Tables) -> tuple[NDArray[Any], NDArray[Any]]:
    """Give each lead's outcome as of the end of the data, and whether it has had the time to show."""
    if tables.target is not None:
        return tables.target, ~np.isnan(tables.target)
    outcomes = tables.outcomes
    if outcomes is None or tables.created_at is None or tables.end is None or project.horizon is None:
        do = "name a target under leads, or outcomes with created_at; or use the points alone: points start"
        raise DataError(explain("outcomes to learn from", "none", do))
    y = np.zeros(len(tables.lead_id))
    closed = np.zeros(len(y), dtype=bool)
    stage = np.array(outcomes.stages, dtype=object)[outcomes.stage]
    y[outcomes.lead[stage == "won"]] = 1
    closed[outcomes.lead[np.isin(stage, CLOSING)]] = True
    old = tables.created_at <= tables.end - (project.horizon + max(project.ages)) * DAY
    return y, old | closed


def too_young(horizon: float | None) -> DataError:
    """Say that no lead has had the time to show what came of it."""
    if horizon is None:
        return DataError(explain("leads whose outcome is known", "none", "fill in the target"))
    do = "shorten the horizon or give more history"
    return DataError(explain(f"leads older than the horizon of {horizon:g} days", "none that is mature", do))
