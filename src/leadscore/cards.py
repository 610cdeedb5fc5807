"""From tables to a lead's complete card, and to the ranked list that is handed over to a sales team."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from leadscore import timelines, what_if
from leadscore.data.own import OwnRows, own_rows
from leadscore.data.tables import read_tables
from leadscore.errors import DataError, UsageError, explain, shown
from leadscore.explain import layout
from leadscore.explain.card import WITHHELD, Explanation, odds, stage_name
from leadscore.explain.changes import Change, Question
from leadscore.explain.drivers import DriverPoints, whole
from leadscore.explain.full import MOST_CHANGES, MOST_QUESTIONS, STYLES, Card, Response, listed
from leadscore.explain.strip import happening
from leadscore.explain.timeline import EVENT, Timeline, instant
from leadscore.explain.wording import clean, label
from leadscore.features.declare import AttributeFeature
from leadscore.features.snapshot import Snapshot
from leadscore.files import replace_file, require_writable, write_table
from leadscore.models.calibration import probability
from leadscore.models.hazard import HazardForest
from leadscore.models.matrix import Floats
from leadscore.models.novelty import NEVER_SEEN, UNUSUAL
from leadscore.policy.policy import STAGES
from leadscore.policy.staging import Standing, stages
from leadscore.predict import LeadModel, Moment, place_of

if TYPE_CHECKING:
    import pandas as pd

DAY: Final = 86_400_000_000  # microseconds
WEEK: Final = 7 * DAY
MOST_RESPONSES: Final = 3
REASONS: Final = 3  # that the hand-over list names
_SOME: Final = 0.5  # points of score from which a content is named
_EVERY: Final = 1_000  # changes to choose from
_TELLS: Final = 0.005  # the chance that an answer changes the stage from which a question is asked,
_MOVES: Final = 1.0  # or the points of score that it is expected to move
_NOT_ASKED: Final = ("lead_age", "filled_share")  # no field is missing where these are
_MARK: Final = "leadscore hand-over"  # by which a list is known as one that this wrote
_CARD: Final = re.compile(r"\d+-[0-9a-f]{12}\.html")


def card(
    model: LeadModel,
    leads: Any,
    events: Any = None,
    as_of: Moment = None,
    *,
    lead_id: int | str | None = None,
    history: Any = None,
    previous: Any = None,
    digest: str = "",
) -> Card:
    """Put one lead's complete card together.

    Parameters
    ----------
    model : LeadModel
    leads, events, as_of, history, previous
        As for `LeadModel.score`.
    lead_id : int or str, optional
        Which lead; needed where there are several.
    digest : str
        The SHA-256 of the model's manifest (`bundle.digest`), which the card then names.

    Returns
    -------
    Card

    Raises
    ------
    DataError
        The tables break the contract, or there is no such lead at that moment.
    UsageError
        The model needs events or `as_of` and got none, or there are several leads and none is named.
    """
    case = _read(model, leads, events, as_of, history, previous)
    return next(_cards(case, [case.place(lead_id)], digest))


@dataclass(frozen=True, eq=False)
class HandOver:
    """What was written for a sales team.

    Parameters
    ----------
    folder : Path
        With ``index.html``, ``handover.csv``, ``handover.parquet`` and a card a lead.
    frame : DataFrame
        The list: rank, lead_id, stage, score, probability, grade, trigger, triggered_at, reason_1 to
        reason_3, card (the file). One row a person; the probability is nan where it is withheld.
    suppressed : int
        Leads that a rule of the policy holds back, which are left out.
    leads : int
        How many there were to choose from, without these.
    findings : tuple of str
        Which rows of the tables were left out or mended.
    """

    folder: Path
    frame: "pd.DataFrame"
    suppressed: int
    leads: int
    findings: tuple[str, ...]


def hand_over(
    model: LeadModel,
    leads: Any,
    events: Any = None,
    as_of: Moment = None,
    *,
    folder: str | Path,
    top: int | None = None,
    history: Any = None,
    previous: Any = None,
    digest: str = "",
    progress: Callable[[str], None] = lambda _: None,
) -> HandOver:
    """Write the cards of the best leads into a folder, with a ranked list of them.

    They are ranked by stage, then by probability. Leads that a rule of the policy suppresses are left out,
    and of leads that are one person the first stands for all.

    Parameters
    ----------
    model, leads, events, as_of, history, previous, digest
        As for `card`.
    folder : path
        A new one, one without files of the same names, or one that this wrote before, whose list and cards
        are replaced. Files are named by a number and a hash, never by what a table says.
    top : int, optional
        How many leads at most.
    progress : callable, optional
        Told which step begins.

    Returns
    -------
    HandOver

    Raises
    ------
    UsageError
        A file in the folder is in the way, or as `card`.
    DataError
        As `card`.
    """
    target = require_folder(folder)
    progress("Scoring the leads")
    case = _read(model, leads, events, as_of, history, previous)
    order, suppressed = _ranked(case)
    chosen = order[:top]
    names = [_name(number, case.rows.lead_id[place]) for number, place in enumerate(chosen, 1)]
    _clear(target)
    found = HandOver(target, _frame([]), suppressed, len(order), tuple(case.findings))
    replace_file(target / "index.html", _index(case, found).encode())  # from now on known as ours
    rows: list[dict[str, Any]] = []
    for name, made in zip(names, _cards(case, chosen, digest), strict=True):
        if len(rows) % 10 == 0:
            progress(f"Writing the cards: {len(rows) + 1:,} of {len(chosen):,}")
        replace_file(target / name, made.html().encode())
        rows.append(_listed(len(rows) + 1, made, name))
    found = replace(found, frame=_frame(rows))
    write_table(found.frame, target / "handover.csv")
    write_table(found.frame, target / "handover.parquet")
    replace_file(target / "index.html", _index(case, found).encode())
    return found


def require_folder(folder: str | Path) -> Path:
    """Refuse, before any work is done, a folder in which a file of somebody else is in the way.

    Raises
    ------
    UsageError
        There is one of a name that `hand_over` writes, or nothing can be written there.
    """
    target = Path(folder)
    require_writable(target / "index.html")
    if target.is_dir() and not _is_ours(target):
        for path in sorted(target.iterdir()):
            if path.name in ("index.html", "handover.csv", "handover.parquet") or _CARD.fullmatch(path.name):
                expected = f"a folder whose files may be written, {shown(target, 200)}"
                raise UsageError(explain(expected, f"{path.name} of something else", "choose another folder"))
    return target


# ------------------------------------------------------------------------------------------ the cards
@dataclass(frozen=True, eq=False)
class _Case:
    """Tables and a moment, read once for all cards."""

    model: LeadModel
    leads: Any
    events: Any
    as_of: Moment
    history: Any
    previous: Any
    rows: Snapshot
    standing: Standing | None
    findings: list[str]

    def place(self, lead_id: int | str | None) -> int:
        if lead_id is None and len(self.rows) == 1:
            return 0
        if lead_id is None:
            found = f"{len(self.rows):,} leads that can be scored"
            raise UsageError(explain("one lead, or the id of one", found, "pass lead_id (--lead)"))
        return int(place_of(self.rows, lead_id, self.findings)[0])


def _read(model: LeadModel, leads: Any, events: Any, as_of: Moment, history: Any, previous: Any) -> _Case:
    rows, findings = model.rows(leads, events, as_of, history)
    standing, told = model.standing(rows, previous, as_of)
    return _Case(model, leads, events, as_of, history, previous, rows, standing, [*findings, *told])


def _cards(case: _Case, places: Sequence[int], digest: str) -> Iterator[Card]:
    model, contract = case.model, case.model.bundle.contract
    people = None
    if model.needs_time:
        people = timelines.read_people(model, case.leads, case.events, case.as_of, case.history)
    lead_ids = [_plain(case.rows.lead_id[place]) for place in places]
    own: Iterator[OwnRows | None] = iter([None] * len(places))
    if people is None:
        own = own_rows(contract, case.leads, case.events, case.history, lead_ids)
    for place, lead_id, alone in zip(places, lead_ids, own, strict=True):
        row = case.rows.take(np.array([place]))
        stood = None if case.standing is None else case.standing.take(np.array([place]))
        (why,) = model.explained(row, stood)
        line = before = trial = None
        if people is not None:
            at = people.place(lead_id)
            trial = what_if.case_of(model, timelines.tables_of(people, at), people.as_of, why, stood)
            line = timelines.follow(model, people, at, None, drivers=True)
            ago = timelines.follow(model, people, at, people.as_of - WEEK, drivers=False)
            before = (float(ago.moments[-1] - ago.moments[0]) / DAY, float(ago.score[0]))
        if alone is not None:
            trial = _alone(case, why, alone)
        changes, questions = _claims(case, trial)
        M, split = model.matrix(row), model.split(row)
        urgency, expected_days = _soon(model, M)
        yield Card(
            explanation=why,
            interval=_interval(model, split),
            before=before,
            urgency=urgency,
            expected_days=expected_days,
            timeline=line,
            responses=() if line is None else _responses(line),
            changes=changes,
            questions=questions,
            missing=_missing(model, row),
            unlike=_unlike(model, M),
            notes=tuple(_notes(line)),
            digest=digest,
        )


def _alone(case: _Case, why: Explanation, own: OwnRows) -> what_if.Case | None:
    """Read a lead of a model without a clock by itself; None where it is one person with other leads."""
    try:
        tables = read_tables(case.model.bundle.contract, [own.lead], None, training=False)
        if case.model.score_one(own.lead).score != why.score:
            return None
    except DataError:
        return None
    return what_if.case_of(case.model, tables, None, why)


def _claims(case: _Case, trial: what_if.Case | None) -> tuple[tuple[Change, ...], tuple[Question, ...]]:
    """Say what would change the lead's stage and what to ask."""
    if trial is None:
        return (), ()
    asked = what_if.questions_of(trial, most=MOST_QUESTIONS)
    return _varied(case, what_if.changes_of(trial, most=_EVERY)), tuple(
        one for one in asked if one.chance_of_change >= _TELLS or one.expected_move >= _MOVES
    )


def _varied(case: _Case, changes: Sequence[Change]) -> tuple[Change, ...]:
    """Choose changes of different sorts: of one type of event or field the nearest, and one that lowers."""
    columns = case.model.bundle.contract.event_columns
    raising, lowering = dict[tuple[object, ...], Change](), list[Change]()
    for one in changes:
        types = {event[columns["event_type"]] for event in one.detail.get("events", ())}
        sort = (*sorted(types), *one.detail.get("fields", ()))
        if STAGES.index(one.stage_after) < STAGES.index(one.stage_before):
            lowering.append(one)
        else:
            raising.setdefault(sort, one)
    room = MOST_CHANGES - bool(lowering)
    up = list(raising.values())[:room]
    return (*up, *lowering[: MOST_CHANGES - len(up)])


def _interval(model: LeadModel, split: DriverPoints) -> tuple[float, float, float] | None:
    interval = model.bundle.interval
    if interval is None or not model.bundle.calibrated:
        return None
    low, high = interval.bounds(split.log_odds)
    return interval.level, float(low[0]), float(high[0])


def _soon(model: LeadModel, M: Floats) -> tuple[float | None, float | None]:
    scorer = model.bundle.scorer
    if not isinstance(scorer, HazardForest):
        return None, None
    return float(scorer.urgency(M)[0]), float(scorer.expected_days(M)[0])


def _responses(line: Timeline) -> tuple[Response, ...]:
    """Find the contents whose events added most; what happened at one moment shares its points evenly."""
    points: dict[tuple[str, str], float] = defaultdict(float)
    told: dict[tuple[str, str], str] = {}
    for step in line.steps:
        for one in step.happened:
            if one.kind == EVENT and one.content is not None:
                key = one.what, one.content
                points[key] += step.points / step.count
                told.setdefault(key, happening(replace(one, known_at=one.at, channel=None), line.phrases))
    best = sorted(points, key=lambda key: -points[key])[:MOST_RESPONSES]
    return tuple(
        Response(_times(told[key], _count(line, *key)), *key, _count(line, *key), points[key])
        for key in best
        if points[key] >= _SOME
    )


def _count(line: Timeline, what: str, content: str) -> int:
    known = line.happenings
    return int(((known.what == what) & (known.content == content) & ~known.change).sum())


def _times(told: str, count: int) -> str:
    said = told[:1].upper() + told[1:]
    return said if count == 1 else f"{said}, {count:,} times"


def _missing(model: LeadModel, row: Snapshot) -> tuple[str, ...]:
    """Name the fields that the model reads and of which nothing is known."""
    read = set(model.bundle.scorer.columns)
    known: dict[str, bool] = {}
    for feature, column, x in zip(model.bundle.features, model.bundle.columns, row.matrix[0], strict=True):
        asked = isinstance(feature, AttributeFeature) and feature.aggregate not in _NOT_ASKED
        if asked and column in read:
            called = label(feature, model.bundle.phrases)
            known[called] = known.get(called, False) or not np.isnan(x)
    return tuple(called for called, is_known in known.items() if not is_known)


def _unlike(model: LeadModel, M: Floats) -> tuple[str, ...]:
    """Say what about the lead is unlike those of training."""
    familiar = model.bundle.familiar
    if familiar is None:
        return ()
    declared = {feature.name: feature for feature in model.bundle.features}
    ways: dict[str, list[str]] = defaultdict(list)
    for column, way in familiar.why(M[0]):
        called = label(declared[column], model.bundle.phrases)
        if called not in ways[way]:
            ways[way].append(called)
    said = {
        NEVER_SEEN: "Never so in training (the value, or that there is none)",
        UNUSUAL: "An unusual combination, beside the leads of training",
    }
    outside = "Far outside the range of training"
    return tuple(f"{said.get(way, outside)}: {listed(called)}." for way, called in ways.items())


def _notes(line: Timeline | None) -> Iterator[str]:
    if line is None:
        yield "There is no timeline: the model does not read time."
    elif not len(line.happenings):
        yield "Nothing that the lead did is known."


# ------------------------------------------------------------------------------------------ the list
def _ranked(case: _Case) -> tuple[list[int], int]:
    """Order the leads by stage, then by probability, without those that a rule suppresses."""
    model, rows = case.model, case.rows
    ruled = model.ruled(rows)
    held = np.zeros(len(rows), np.bool_)
    for rule in model.policy.suppress:
        held |= rule.holds(*ruled)
    bundle = model.bundle
    chance = probability(bundle.calibration.log_odds(bundle.scorer.margin(model.matrix(rows))))
    named = stages(model.policy, chance, *ruled, case.standing)
    rank = np.zeros(len(rows), np.int64)
    for level, stage in enumerate(STAGES):
        rank[named == stage] = level
    order = np.lexsort((-chance, -rank))
    order = order[~held[order]]
    _, first = np.unique(rows.group[order], return_index=True)
    return order[np.sort(first)].tolist(), int(held.sum())


def _listed(rank: int, card: Card, name: str) -> dict[str, Any]:
    why = card.explanation
    trigger, moment = card.trigger or ("", "")
    reasons = [clean(driver.text, 200) for driver in why.up[:REASONS]]
    return {
        "rank": rank,
        "lead_id": why.lead_id,
        "stage": why.stage,
        "score": why.score,
        "probability": why.probability if why.calibrated else np.nan,
        "grade": why.grade,
        "trigger": clean(trigger, 200),
        "triggered_at": moment,
        **{f"reason_{i + 1}": reasons[i] if i < len(reasons) else "" for i in range(REASONS)},
        "card": name,
    }


def _frame(rows: Sequence[dict[str, Any]]) -> "pd.DataFrame":
    import pandas as pd

    columns = ["rank", "lead_id", "stage", "score", "probability", "grade", "trigger", "triggered_at"]
    columns += [*(f"reason_{i + 1}" for i in range(REASONS)), "card"]
    return pd.DataFrame(list(rows), columns=columns)


def _index(case: _Case, found: HandOver) -> str:
    policy = case.model.policy
    rows = [
        {
            **row,
            "lead": clean(row["lead_id"]),
            "stage": stage_name(row["stage"]),
            "score": whole(row["score"]),
            "chance": "" if np.isnan(row["probability"]) else odds(row["probability"]).removeprefix("about "),
            "reasons": [row[f"reason_{i + 1}"] for i in range(REASONS) if row[f"reason_{i + 1}"]],
        }
        for row in found.frame.to_dict("records")
    ]
    at = [] if case.rows.as_of is None else case.rows.as_of[:1].tolist()
    moment = "".join(f" as of {instant(microseconds):%Y-%m-%d %H:%M} UTC" for microseconds in at)
    given = {
        "generator": _MARK,
        "rows": rows,
        "leads": found.leads,
        "suppressed": found.suppressed,
        "withheld": "" if case.model.bundle.calibrated else WITHHELD,
        "made": f"Scored{moment} by {clean(case.model.bundle.name)}, policy revision {policy.revision}.",
    }
    return layout.page("handover.html.j2", "Leads to hand over", given, STYLES)


def _name(number: int, lead_id: object) -> str:
    return f"{number:04d}-{hashlib.sha256(str(lead_id).encode('utf-8', 'replace')).hexdigest()[:12]}.html"


def _is_ours(folder: Path) -> bool:
    """Whether the list in a folder is one that this wrote."""
    index = folder / "index.html"
    return index.is_file() and f'content="{_MARK}"'.encode() in index.read_bytes()[:2000]


def _clear(folder: Path) -> None:
    """Take the cards of an earlier list away: their numbers are no longer so."""
    if _is_ours(folder):
        for path in folder.iterdir():
            if _CARD.fullmatch(path.name) and path.is_file():
                path.unlink()


def _plain(lead_id: Any) -> int | str:
    return lead_id if isinstance(lead_id, str) else int(lead_id)
