"""What would change one lead's stage, and which question to ask it next: every claim is scored again.

What could happen is added to the lead's own tables and goes through the features as everything else does, so
that counts, windows, recency and decays move together as they would.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pyarrow as pa

from leadscore.data.contract import Contract, Floats, Ints, Tables
from leadscore.data.history import leads_as_of
from leadscore.data.records import ShortWay
from leadscore.data.tables import read_tables
from leadscore.explain.after import after, done, known
from leadscore.explain.card import Explanation, stage_name
from leadscore.explain.changes import (
    Change,
    Question,
    expectation,
    nearest,
    paired,
    sentence,
    shares,
    spread,
)
from leadscore.explain.drivers import whole
from leadscore.explain.moves import (
    HOUR,
    Move,
    answers_to,
    fields_to_ask,
    in_words,
    iso,
    kinds_of_events,
    said,
)
from leadscore.explain.wording import clean, label
from leadscore.features.declare import AttributeFeature, Feature
from leadscore.features.plan import DAY
from leadscore.features.snapshot import Bools, snapshot
from leadscore.models.calibration import probability
from leadscore.policy.policy import STAGES
from leadscore.policy.rules import Rule
from leadscore.policy.staging import Standing, stages
from leadscore.predict import LeadModel, LeadScore, Moment, moment

_COUNTS: Final = (1, 2, 3, 4, 5)
_DAYS: Final = (7.0, 14.0, 30.0)
_AT_ONCE: Final = 1_000_000  # events looked at at a time
_EXAMPLES: Final = 3
_MQL: Final = STAGES.index("mql")
_kinds = lru_cache(maxsize=16)(kinds_of_events)  # the same for every lead of a model
_TYPES: Final = {"number": pa.float64(), "time": pa.timestamp("us", "UTC")}


def changes(
    model: LeadModel,
    lead: Mapping[str, Any],
    events: Any = None,
    as_of: Moment = None,
    *,
    history: Any = None,
    previous: Any = None,
    most: int = 5,
) -> tuple[Change, ...]:
    """Find the nearest changes that move a lead over a line of the policy.

    Below the line of MQL, what would make it one; an MQL, what would make it sales ready, and what would
    lower it; sales ready, what would lower it. Only what can happen: one to five events of a kind that the
    model knows and that leads do themselves, an hour apart and scored an hour after the last; 7, 14 or 30
    days without anything; an answer to a field that is missing. Two of these together only where none alone
    raises it. Where those hours alone would do it, no event is said to; nor is one said to lower it, as what
    a lead does is no reason to leave it alone.

    Parameters
    ----------
    model : LeadModel
    lead, events, as_of, history, previous
        As for `LeadModel.score_one`; what is later than `as_of` does not count. From now on the lead stands
        in the stage that it is in, so that hysteresis holds it there.
    most : int
        At most so many, the nearest first and those by a rule of the policy after the others, since they hold
        for every lead; of an MQL what raises it before what lowers it.

    Returns
    -------
    tuple of Change
        Empty where nothing that was tried crosses a line; one that says so where a rule suppresses the lead.

    Raises
    ------
    DataError, UsageError
        As `LeadModel.score_one`.
    """
    return changes_of(_read(model, lead, events, as_of, history, previous), most=most)


def changes_of(case: "Case", *, most: int = 5) -> tuple[Change, ...]:
    """Find the nearest changes of a lead that `case_of` has put together: what `changes` gives for it."""
    model = case.model
    if case.rule is not None and case.rule in model.policy.suppress:
        return (_held(case, case.rule),)
    found = _tried(case, [*_waits(case), *_happenings(case), *_answers(case)])
    up, down = _crossing(case, found)
    raising = _chosen(case, found, up)
    if not raising and case.rank < len(STAGES) - 1:
        both = _tried(case, paired(found.moves, found.score, case.now.score))
        raising = _chosen(case, both, _crossing(case, both)[0])
    lowering = _chosen(case, found, down)
    room = max(most - len(lowering), most - most // 2)
    return (*raising[:room], *lowering[: most - len(raising[:room])])


def questions(
    model: LeadModel,
    lead: Mapping[str, Any],
    events: Any = None,
    as_of: Moment = None,
    *,
    history: Any = None,
    previous: Any = None,
    most: int = 3,
) -> tuple[Question, ...]:
    """Rank the fields that are missing by what asking for them would tell, the most telling first.

    The answers are weighed by how often the leads of training that are like this one gave them: by the
    histograms and the tree of `Familiar`, given all that is known of the lead. First comes the field whose
    answer most likely changes the stage; of equal ones, that which moves the score most in expectation.
    Fields that leads do not answer (`explain.moves.fields_to_ask`) are left out.

    Parameters
    ----------
    model : LeadModel
    lead, events, as_of, history, previous
        As for `changes`.
    most : int

    Returns
    -------
    tuple of Question
        Empty where no field that the model reads is missing, or where the model kept no picture of its
        training leads, which were too few.

    Raises
    ------
    DataError, UsageError
        As `LeadModel.score_one`.
    """
    return questions_of(_read(model, lead, events, as_of, history, previous), most=most)


def questions_of(case: "Case", *, most: int = 3) -> tuple[Question, ...]:
    """Rank the fields that a lead from `case_of` has not given: what `questions` gives for it."""
    if case.model.bundle.familiar is None:
        return ()
    found = _tried(case, _answers(case))
    chance = _chances(case, found)
    asked = []
    for name in case.missing:
        own = np.array([move.about == (name,) for move in found.moves], bool) & (chance > 0)
        if not own.any():
            continue
        likely = sorted(np.flatnonzero(own).tolist(), key=lambda place: -float(chance[place]))[:_EXAMPLES]
        worth = expectation(chance[own], found.rank[own] != case.rank, found.score[own] - case.now.score)
        examples = tuple(_example(found, place) for place in likely)
        asked.append(Question(name, case.labels[name], *worth, examples))
    asked.sort(key=lambda question: (-question.chance_of_change, -question.expected_move))
    return tuple(asked[:most])


# ---------------------------------------------------------------------------------------------- the lead
@dataclass(frozen=True, eq=False)
class Case:
    """One lead as it is known at a moment, ready to be tried; `case_of` makes it."""

    model: LeadModel
    tables: Tables
    as_of: int | None
    now: LeadScore | Explanation
    rule: Rule | None
    recycled: float  # days since it was given back; nan where it never was
    fields: Mapping[str, Sequence[AttributeFeature]]  # that leads can be asked
    missing: tuple[str, ...]  # of these

    @property
    def rank(self) -> int:
        """Its stage, as the place in STAGES."""
        return STAGES.index(self.now.stage)

    @property
    def contract(self) -> Contract:
        """How the tables read."""
        return self.model.bundle.contract

    @property
    def labels(self) -> dict[str, str]:
        """Give the fields that leads can be asked, in words."""
        return {name: label(reading[0], self.model.bundle.phrases) for name, reading in self.fields.items()}


def _read(
    model: LeadModel, lead: Mapping[str, Any], events: Any, as_of: Moment, history: Any, previous: Any
) -> Case:
    """Read the lead as `score_one` does, which also says what is wrong with it."""
    now = model.score_one(lead, events, as_of, history=history, previous=previous)
    contract = model.bundle.contract
    when = moment(as_of, contract.timezone) if model.needs_time else None
    tables = None if history is not None else _quickly(model, lead, events)
    if tables is None:
        tables = read_tables(contract, [dict(lead)], events, history=history, training=False)
    rows = snapshot(tables, model.bundle.features, None if when is None else np.array([when]))
    return case_of(model, tables, when, now, model.standing(rows, previous, as_of)[0])


def case_of(
    model: LeadModel,
    tables: Tables,
    when: int | None,
    now: LeadScore | Explanation,
    standing: Standing | None = None,
) -> Case:
    """Put one lead together whose tables have been read, also of an event log, or one that is several leads.

    Parameters
    ----------
    model : LeadModel
    tables : Tables
        Of this lead alone.
    when : int or None
        UTC microseconds; None without a clock.
    now : LeadScore or Explanation
        What it is now.
    standing : Standing, optional
        Where it stood before.
    """
    tables = tables if when is None else known(tables, when)
    moments = None if when is None else np.array([when])
    profile = tables.leads if moments is None else leads_as_of(tables, moments)
    fields = fields_to_ask(_read_by(model))
    rows = snapshot(tables, model.bundle.features, moments)
    return Case(
        model=model,
        tables=tables,
        as_of=when,
        now=now,
        rule=_rule_of(model, rows.matrix),
        recycled=math.nan if standing is None else float(standing.recycled[0]),
        fields=fields,
        missing=tuple(name for name in fields if not profile[name][0].is_valid),
    )


def _quickly(model: LeadModel, lead: Mapping[str, Any], events: Any) -> Tables | None:
    """Read plain values without a table in between, as `score_one` does; None: they are not plain."""
    contract = model.bundle.contract
    one = ShortWay(contract).read(dict(lead), events)
    if one is None:
        return None
    first = np.zeros(1, np.int64)
    return Tables(
        leads=pa.table(
            {
                name: pa.array([one.values[name]], _TYPES.get(kind, pa.string()))
                for name, kind in contract.kinds.items()
            }
        ),
        lead_id=first,
        position=first,
        created_at=None if one.created_at is None else np.array([one.created_at]),
        order=None,
        target=None,
        events=one.events,
        outcomes=None,
        kinds=contract.kinds,
        findings=(),
    )


def _read_by(model: LeadModel) -> list[Feature]:
    """Give the features that the scorer reads."""
    read = {column.name for column in model.bundle.scorer.columns}
    return [feature for feature in model.bundle.features if feature.name in read]


# -------------------------------------------------------------------------------------- what could happen
def _waits(case: Case) -> list[Move]:
    return [] if case.as_of is None else [Move(days=days) for days in _DAYS]


def _happenings(case: Case) -> list[Move]:
    if case.as_of is None or case.tables.events is None:
        return []
    kinds = _kinds(tuple(_read_by(case.model)), case.contract.event_types)
    return [Move(((kind, count),)) for kind in kinds for count in _COUNTS]


def _answers(case: Case) -> list[Move]:
    """Give every answer to each missing field."""
    return [
        Move(answers=((name, value),))
        for name in case.missing
        for value in answers_to(case.fields[name], _numbers(case, case.fields[name]), case.as_of)
    ]


def _numbers(case: Case, reading: Sequence[AttributeFeature]) -> dict[str, list[float]]:
    """Give the numbers that part the training leads' values of a column, or else the typical one."""
    familiar, typical = case.model.bundle.familiar, case.model.bundle.typical
    names = [feature.name for feature in reading if feature.categories is None]
    if familiar is None:
        return {name: [x] for name in names if isinstance(x := typical.get(name), float)}
    place = {column.name: j for j, column in enumerate(familiar.columns)}
    edges = familiar.edges.reshape(len(place), -1)
    return {name: _finite(edges[place[name]]) for name in names}


def _finite(edges: Floats) -> list[float]:
    found: list[float] = np.unique(edges[np.isfinite(edges)]).tolist()
    return found


# ------------------------------------------------------------------------------------------- scored again
@dataclass(frozen=True, eq=False)
class _Tried:
    """Moves, and what the lead would be after each."""

    moves: Sequence[Move]
    matrix: Floats
    probability: Floats
    score: Floats
    rank: Ints


def _tried(case: Case, moves: Sequence[Move]) -> _Tried:
    """Score the lead after each move: to the last bit as `score_one` scores it."""
    bundle, matrix = case.model.bundle, _rows(case, moves)
    log_odds = bundle.calibration.log_odds(bundle.scorer.margin(_columns(case, matrix)))
    chance = probability(log_odds)
    when = case.as_of
    passed = np.array([0.0 if when is None else (move.ends(when) - when) / DAY for move in moves])
    standing = Standing(np.full(len(moves), case.rank), case.recycled + passed)
    named = stages(case.model.policy, chance, matrix, bundle.columns, standing)
    rank = [STAGES.index(stage) for stage in named]
    return _Tried(moves, matrix, chance, bundle.scale.score(log_odds), np.array(rank, np.int64))


def _rows(case: Case, moves: Sequence[Move]) -> Floats:
    """Give the features of the lead after each move."""
    have = 0 if case.tables.events is None else len(case.tables.events.at)
    step = max(1, _AT_ONCE // (have + 1))
    features, found = case.model.bundle.features, []
    for start in range(0, len(moves), step):
        part = moves[start : start + step]
        when = case.as_of
        moments = None if when is None else np.array([move.ends(when) for move in part])
        found.append(snapshot(after(case.tables, part, when), features, moments).matrix)
    return np.concatenate([np.empty((0, len(features))), *found])


def _columns(case: Case, matrix: Floats) -> Floats:
    """Give the columns that the scorer reads."""
    place = {column: j for j, column in enumerate(case.model.bundle.columns)}
    return np.asfortranarray(matrix[:, [place[column] for column in case.model.bundle.scorer.columns]])


# ------------------------------------------------------------------------------------------- what is claimed
def _crossing(case: Case, found: _Tried) -> tuple[Bools, Bools]:
    """Say which moves raise the lead over the next line, and which lower it; not by the hours alone."""
    goal = max(case.rank + 1, _MQL)
    hours = np.array([move.hours for move in found.moves], np.int64)
    up, down = found.rank >= goal, (found.rank < case.rank) & (case.rank >= _MQL) & (hours == 0)
    if up[hours > 0].any():
        idle = _tried(case, [Move(days=hour / 24) for hour in range(int(hours.max()) + 1)])
        up &= ~((hours > 0) & (idle.rank >= goal)[hours])
    return up, down


def _chosen(case: Case, found: _Tried, crosses: Bools) -> list[Change]:
    """Word the nearest changes; of the answers to a field, the likeliest stands for all."""
    order = np.arange(len(found.moves))
    answers = np.array([move.kind == "answer" for move in found.moves], bool) & crosses
    if answers.any() and case.model.bundle.familiar is not None:
        chance = _chances(case, found)
        crosses = crosses & ~(answers & (chance == 0))
        order = np.argsort(np.where(answers, -chance, 0), kind="stable")
    moves = [found.moves[place] for place in order.tolist()]
    chosen = order[nearest(moves, crosses[order], found.score[order] - case.now.score)].tolist()
    by_rule = {place: _rule_of(case.model, found.matrix[place : place + 1]) for place in chosen}
    chosen.sort(key=lambda place: by_rule[place] is not None)
    return [_change(case, found, place, by_rule[place]) for place in chosen]


def _chances(case: Case, found: _Tried) -> Floats:
    """Give how likely each answer to each missing field is; 0 where no lead of training gave it."""
    familiar = case.model.bundle.familiar
    chance = np.zeros(len(found.moves))
    single = [i for i, move in enumerate(found.moves) if len(move.answers) == 1 and not move.events]
    if familiar is None or not single:
        return chance
    bins, ways = familiar.read(_columns(case, found.matrix[single]))
    surprise, strange = familiar.surprises(bins).sum(axis=0), ways.sum(axis=0)
    names = np.array([found.moves[i].answers[0][0] for i in single])
    for name in np.unique(names):
        own = np.flatnonzero((names == name) & (strange == strange[names == name].min()))
        part = shares(surprise[own], bins.T[own])
        (feature, *more) = case.fields[str(name)]
        numbers = feature.categories is None and not more
        if numbers and len(part) == familiar.edges.size // len(familiar.columns):
            part = spread(part)
        chance[np.array(single)[own]] = part
    return chance


def _change(case: Case, found: _Tried, place: int, rule: Rule | None) -> Change:
    move, rank, now = found.moves[place], int(found.rank[place]), case.now
    score, stage = float(found.score[place]), STAGES[rank]
    return Change(
        kind=move.kind,
        text=sentence(
            in_words(move, case.labels, done(case.tables.events), case.model.bundle.phrases),
            (now.stage, now.score),
            (stage, score),
            rises=rank > case.rank,
            rule="" if rule is None else rule.name,
        ),
        stage_before=now.stage,
        stage_after=stage,
        score_before=now.score,
        score_after=score,
        probability_before=now.probability,
        probability_after=float(found.probability[place]),
        detail=_detail(case, move),
    )


def _held(case: Case, rule: Rule) -> Change:
    """Say that no change helps."""
    now = case.now
    why = f" ({clean(rule.reason)})" if rule.reason else ""
    text = f"No change would move it while the rule “{clean(rule.name)}” holds{why}"
    numbers = (now.score, now.score, now.probability, now.probability)
    return Change("rule", text, now.stage, now.stage, *numbers, detail={"rule": rule.name})


def _rule_of(model: LeadModel, row: Floats) -> Rule | None:
    """Give the rule that decides the stage of a row, None where the thresholds do."""
    rules = (*model.policy.suppress, *model.policy.fast_track)
    return next((rule for rule in rules if rule.holds(row, model.bundle.columns)[0]), None)


def _example(found: _Tried, place: int) -> str:
    ((_, answer),) = found.moves[place].answers
    stage = stage_name(STAGES[found.rank[place]])
    return f"{said(answer)}: score {whole(float(found.score[place]))}, {stage}"


def _detail(case: Case, move: Move) -> dict[str, Any]:
    """Give what to add to the lead so that `score_one` says the same."""
    columns, lead_id, when = case.contract.event_columns, case.now.lead_id, case.as_of
    detail: dict[str, Any] = {"events": [], "fields": dict(move.answers), "as_of": None}
    if case.model.policy.stay < 1 or not math.isnan(case.recycled):
        stands = {"lead_id": lead_id, "stage": case.now.stage}
        if when is not None and not math.isnan(case.recycled):
            stands["recycled_at"] = iso(when - round(case.recycled * DAY))
        detail["previous"] = [stands]
    if when is None:
        return detail
    for hour, kind in enumerate(move.happenings):
        told = {"event_type": kind.type, "content": kind.content, "channel": kind.channel}
        row = {columns["lead_id"]: lead_id, columns["occurred_at"]: iso(when + hour * HOUR)}
        detail["events"].append(row | {columns[key]: word for key, word in told.items() if word is not None})
    detail["as_of"] = iso(move.ends(when))
    names, had = case.contract.history, case.tables.history or {}
    if names is not None:
        row = {names.lead_id or case.contract.lead_id: lead_id, names.changed_at: iso(when - 1)}
        answers = [(name, value) for name, value in move.answers if name in had]
        detail["history"] = [row | {names.field: name, names.value: value} for name, value in answers]
    return detail
