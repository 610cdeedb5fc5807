"""What would change one lead's stage, and which question to ask it next: every claim is scored again.

What could happen is added to the lead's own tables and goes through the features as everything else, so that
counts, windows, recency and decays move together as they would.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import combinations, product
from typing import Any, Final

import numpy as np
import pyarrow as pa

from leadscore.data.contract import Changes, Coded, Contract, Events, Tables
from leadscore.data.history import leads_as_of
from leadscore.data.tables import read_tables
from leadscore.explain import changes as search
from leadscore.explain.card import stage_name
from leadscore.explain.changes import Answer, Change, Happening, Move, Question
from leadscore.explain.drivers import whole
from leadscore.explain.wording import clean, label
from leadscore.features.attributes import read_one
from leadscore.features.declare import AttributeFeature, EventFeature
from leadscore.features.plan import DAY
from leadscore.features.snapshot import snapshot
from leadscore.models.calibration import probability
from leadscore.models.matrix import Bools, Floats
from leadscore.policy.policy import STAGES, Rule, stages
from leadscore.predict import LeadModel, LeadScore, Moment, moment

_HOUR: Final = DAY // 24
_COUNTS: Final = (1, 2, 3, 4, 5)
_DAYS: Final = (7.0, 14.0, 30.0)
_PAIRED: Final = (1, 2, 3)  # how many of each kind of event in a combination of two
_KINDS_PAIRED, _FIELDS_PAIRED = 6, 4
_AT_ONCE: Final = 1_000_000  # events looked at at a time
_MQL: Final = STAGES.index("mql")
_EXAMPLES: Final = 3
# Titles that say a seniority, a field of work, or both.
_RANKS: Final = (
    "chief {} officer", "VP of {}", "director of {}", "{} manager", "senior {} specialist", "{} specialist",
    "junior {} specialist", "{} intern", "{}",
)  # fmt: skip
_WORK: Final = (
    "marketing", "sales", "HR", "finance", "legal", "procurement", "support", "product", "IT", "operations",
    "engineering", "research",
)  # fmt: skip
_TITLES: Final = (
    *(rank.format(work) for rank, work in product(_RANKS, _WORK)),
    "CEO", "founder", "general manager", "office assistant", "office manager", "VP", "director", "manager",
    "senior specialist", "specialist", "junior specialist", "intern", "something else",
)  # fmt: skip
_TEXTS: Final[Mapping[str, tuple[str, ...]]] = {
    "seniority": _TITLES,
    "department": _TITLES,
    "email_domain_kind": ("name@company.example", "name@gmail.com"),
}


def changes(
    model: LeadModel,
    lead: Mapping[str, Any],
    events: Any = None,
    as_of: Moment = None,
    *,
    history: Any = None,
    most: int = 5,
) -> tuple[Change, ...]:
    """Find the nearest changes that move a lead over a line of the policy.

    Below the line of MQL, what would make it one; an MQL, what would make it sales ready, and what would
    lower it; sales ready, what would lower it. Only what can happen: one to five more events of a kind that
    the model knows and that leads do themselves, an hour apart and scored an hour after the last; 7, 14 or 30
    days without anything; an answer to a field that is missing. Two of these together only where none alone
    raises it. What happens of itself in those hours is no event's doing, and is left out.

    Parameters
    ----------
    model : LeadModel
    lead, events, as_of, history
        As for `LeadModel.score_one`; what is later than `as_of` does not count.
    most : int
        At most so many, the nearest first.

    Returns
    -------
    tuple of Change
        Empty where nothing that was tried crosses a line; one that says so where a rule suppresses the lead.

    Raises
    ------
    DataError, UsageError
        As `LeadModel.score_one`.
    """
    case = _read(model, lead, events, as_of, history)
    if case.rule is not None and case.rule in model.policy.suppress:
        return (_held(case, case.rule),)
    answered = [move for _, answers in _answers(case) for move, _ in answers]
    moves = [*_waits(case), *_happenings(case), *answered]
    found = _Scored.of(case, moves)
    up, down = _crossing(case, found)
    raising = search.nearest(moves, up, found.score - case.now.score, most)
    lowering = search.nearest(moves, down, found.score - case.now.score, most)
    if up.any() or case.rank == len(STAGES) - 1 or not moves:
        room = max(most - len(lowering), most - most // 2)
        chosen = [*raising[:room], *lowering[: most - len(raising[:room])]]
        return tuple(_change(case, found, place) for place in chosen)
    both = _Scored.of(case, _pairs(case, found))
    up, _ = _crossing(case, both)
    raising = search.nearest(both.moves, up, both.score - case.now.score, most)
    room = max(most - len(lowering), most - most // 2)
    return (
        *(_change(case, both, place) for place in raising[:room]),
        *(_change(case, found, place) for place in lowering[: most - len(raising[:room])]),
    )


def questions(
    model: LeadModel,
    lead: Mapping[str, Any],
    events: Any = None,
    as_of: Moment = None,
    *,
    history: Any = None,
    most: int = 3,
) -> tuple[Question, ...]:
    """Rank the fields that are missing by what asking for them would tell, the most telling first.

    The answers are weighed by how often the leads of training that are like this one gave them: by the
    histograms and the tree of `Familiar`, given all that is known of the lead. First comes the field whose
    answer most likely changes the stage; of equal ones, that which moves the score most in expectation.
    Fields of the family operations are left out: leads do not answer them.

    Parameters
    ----------
    model : LeadModel
    lead, events, as_of, history
        As for `LeadModel.score_one`.
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
    case = _read(model, lead, events, as_of, history)
    asked = []
    for field, answers in _answers(case):
        if model.bundle.familiar is None:
            break
        found = _Scored.of(case, [move for move, _ in answers])
        chance = np.array([share for _, share in answers])
        changed, move = found.rank != case.rank, found.score - case.now.score
        likely = np.argsort(-chance, kind="stable")[:_EXAMPLES].tolist()
        examples = tuple(
            f"{search.said(answers[i][0].answers[0][1])}: score {whole(score)}, {stage_name(STAGES[rank])}"
            for i, score, rank in zip(likely, found.score[likely].tolist(), found.rank[likely], strict=True)
        )
        asked.append(
            Question(field, case.labels[field], *search.expectation(chance, changed, move), examples)
        )
    asked.sort(key=lambda question: (-question.chance_of_change, -question.expected_move))
    return tuple(asked[:most])


# ---------------------------------------------------------------------------------------------- the lead
@dataclass(frozen=True, eq=False)
class _Case:
    """One lead as it is known at a moment, ready to be tried."""

    model: LeadModel
    tables: Tables
    as_of: int | None
    now: LeadScore
    rank: int
    rule: Rule | None
    row: Floats
    missing: tuple[str, ...]
    labels: Mapping[str, str]

    @property
    def contract(self) -> Contract:
        return self.model.bundle.contract


def _read(model: LeadModel, lead: Mapping[str, Any], events: Any, as_of: Moment, history: Any) -> _Case:
    """Read the lead as `score_one` does, which also says what is wrong with it."""
    now = model.score_one(lead, events, as_of, history=history)
    bundle = model.bundle
    when = moment(as_of, bundle.contract.timezone) if model.needs_time else None
    tables = _known(read_tables(bundle.contract, [dict(lead)], events, history=history, training=False), when)
    moments = None if when is None else np.array([when])
    rows = snapshot(tables, bundle.features, moments)
    profile = tables.leads if moments is None else leads_as_of(tables, moments)
    fields = _fields(model)
    return _Case(
        model=model,
        tables=tables,
        as_of=when,
        now=now,
        rank=STAGES.index(now.stage),
        rule=_decided_by(model, rows.matrix)[0],
        row=rows.matrix,
        missing=tuple(name for name in fields if profile[name][0].as_py() is None),
        labels={name: label(features[0]) for name, features in fields.items()},
    )


def _known(tables: Tables, when: int | None) -> Tables:
    """Leave out what is not known at the moment: it must not come in when time passes."""
    if when is None:
        return tables
    events, history = tables.events, tables.history
    if events is not None:
        counts = events.at < when
        if events.known_at is not None:
            counts &= events.known_at <= when
        events = _some(events, np.flatnonzero(counts))
    if history is not None:
        history = {name: _until(changes, when) for name, changes in history.items()}
    return replace(tables, events=events, history=history)


def _until(changes: Changes, when: int) -> Changes:
    """Empty the field of a lead whose first change lies ahead, as `latest` does."""
    kept = np.flatnonzero(changes.at < when)
    if len(kept) or not len(changes.at):
        return Changes(changes.lead[kept], changes.at[kept], changes.value.take(pa.array(kept)))
    return Changes(changes.lead[:1], np.array([np.iinfo(np.int64).min]), pa.nulls(1, changes.value.type))


def _fields(model: LeadModel) -> dict[str, list[AttributeFeature]]:
    """Give the fields that leads can answer, each with the features that read it."""
    read = {column.name for column in model.bundle.scorer.columns}
    fields: dict[str, list[AttributeFeature]] = {}
    internal = set()
    for feature in model.bundle.features:
        if isinstance(feature, AttributeFeature) and feature.field is not None and feature.name in read:
            fields.setdefault(feature.field, []).append(feature)
            internal |= {feature.field} if feature.family == "operations" else set()
    return {name: features for name, features in fields.items() if name not in internal}


# -------------------------------------------------------------------------------------- what could happen
def _waits(case: _Case) -> list[Move]:
    return [] if case.as_of is None else [Move(days=days) for days in _DAYS]


def _happenings(case: _Case) -> list[Move]:
    if case.as_of is None or case.contract.events is None:
        return []
    return [Move(((kind, count),)) for kind in _kinds(case.model) for count in _COUNTS]


def _kinds(model: LeadModel) -> list[Happening]:
    """Give the kinds of events that leads do themselves and that the model tells apart, the widest first."""
    read = {column.name for column in model.bundle.scorer.columns}
    kinds: dict[Happening, None] = {}
    internal: set[str] = set()
    for feature in model.bundle.features:
        if not isinstance(feature, EventFeature) or feature.name not in read:
            continue
        types = (
            feature.types or model.bundle.contract.event_types if feature.event is None else (feature.event,)
        )
        if feature.family == "operations":
            internal.update(types)
            continue
        contents = feature.contents or (feature.content,)
        for kind in (Happening(name, contents[0], feature.channel) for name in types):
            kinds |= dict.fromkeys(
                (kind._replace(content=None, channel=None), kind._replace(channel=None), kind)
            )
    wide = sorted(kinds, key=lambda kind: sum(part is not None for part in kind))
    return [kind for kind in wide if kind.type not in internal]


def _answers(case: _Case) -> Iterator[tuple[str, list[tuple[Move, float]]]]:
    """Give the answers to each missing field that could be, the likeliest first, with how likely each is."""
    for name in case.missing:
        features = _fields(case.model)[name]
        moves = [Move(answers=((name, value),)) for value in _values(case, features)]
        if not moves:
            continue
        familiar = case.model.bundle.familiar
        if familiar is None:
            yield name, [(move, 1 / len(moves)) for move in moves]
            continue
        M = _columns(case.model, _rows(case, moves))
        bins, ways = familiar._read(M)
        seen = ways.sum(axis=0) <= familiar._read(_columns(case.model, case.row))[1].sum()
        chance = np.zeros(len(moves))
        if seen.any():
            chance[seen] = search.shares(familiar._surprise(bins).sum(axis=0)[seen], bins.T[seen])
        if len(moves) == familiar.edges.size // len(familiar.columns) and features[0].categories is None:
            chance = search.spread(chance)
        order = np.argsort(-chance, kind="stable")
        if answers := [(moves[i], float(chance[i])) for i in order if chance[i] > 0]:
            yield name, answers


def _values(case: _Case, features: Sequence[AttributeFeature]) -> list[Answer]:
    """Give the answers to a field that the features which read it tell apart."""
    found: dict[tuple[float, ...], Answer] = {}
    readers = [read_one(feature) for feature in features]
    for feature in features:
        for value in _told(case, feature):
            if isinstance(value, float):
                found.setdefault((value,), value)
            elif feature.categories is None:
                found.setdefault((float(len(found)),), value)
            else:
                found.setdefault(
                    tuple(read({feature.field or "": value}, None, None) for read in readers), value
                )
    return list(found.values())


def _told(case: _Case, feature: AttributeFeature) -> Sequence[Answer]:
    if feature.categories is not None:
        return _TEXTS.get(feature.aggregate, feature.categories)
    numbers = _numbers(case.model, feature.name)
    if feature.aggregate == "number":
        return numbers
    as_of = case.as_of or 0
    return [_iso(as_of - round(days * DAY)) for days in numbers if days > 0]


def _numbers(model: LeadModel, column: str) -> list[float]:
    """Give the numbers that part the training leads' values of a column, or else the typical one."""
    familiar = model.bundle.familiar
    if familiar is None:
        typical = model.bundle.typical.get(column)
        return [typical] if isinstance(typical, float) else []
    place = [each.name for each in familiar.columns].index(column)
    edges = familiar.edges.reshape(len(familiar.columns), -1)[place]
    return [float(edge) for edge in np.unique(edges[np.isfinite(edges)])]


def _pairs(case: _Case, found: "_Scored") -> list[Move]:
    """Put two of the moves together that raise the score most, each about something else."""
    best: dict[tuple[object, ...], tuple[float, Move]] = {}
    wide = {kind for move in found.moves for kind, _ in move.events}
    wide = {kind for kind in wide if any(other.within(kind) for other in wide)}
    for move, score in zip(found.moves, found.score.tolist(), strict=True):
        if move.steps and score > best.get(move.about, (case.now.score, move))[0]:
            best[move.about] = (score, move)
    ranked = [move for _, move in sorted(best.values(), key=lambda each: -each[0])]
    kinds = [m.events[0][0] for m in ranked if m.events and m.events[0][0] not in wide][:_KINDS_PAIRED]
    answers = [move.answers for move in ranked if move.answers][:_FIELDS_PAIRED]
    pairs = [
        *(Move(((a, m), (b, n))) for a, b in combinations(kinds, 2) for m, n in product(_PAIRED, _PAIRED)),
        *(Move(((kind, n),), answer) for kind in kinds for answer in answers for n in _PAIRED),
        *(Move(answers=a + b) for a, b in combinations(answers, 2)),
    ]
    return sorted(pairs, key=lambda move: move.steps)


# ------------------------------------------------------------------------------------------- scored again
@dataclass(frozen=True, eq=False)
class _Scored:
    """Moves, and what the lead would score after each."""

    moves: Sequence[Move]
    matrix: Floats
    probability: Floats
    score: Floats
    rank: np.ndarray[Any, np.dtype[np.int64]]

    @classmethod
    def of(cls, case: _Case, moves: Sequence[Move]) -> "_Scored":
        bundle, policy, matrix = case.model.bundle, case.model.policy, _rows(case, moves)
        log_odds = bundle.calibration.log_odds(bundle.scorer.margin(_columns(case.model, matrix)))
        chance = probability(log_odds)
        rank = [STAGES.index(stage) for stage in stages(policy, chance, matrix, bundle.columns)]
        return cls(moves, matrix, chance, bundle.scale.score(log_odds), np.array(rank, np.int64))


def _rows(case: _Case, moves: Sequence[Move]) -> Floats:
    """Give the features of the lead after each move."""
    have = 0 if case.tables.events is None else len(case.tables.events.at)
    step = max(1, _AT_ONCE // (have + 1))
    parts = [moves[start : start + step] for start in range(0, len(moves), step)]
    features = case.model.bundle.features
    found = [snapshot(_after(case, part), features, _moments(case, part)).matrix for part in parts]
    return np.concatenate([np.empty((0, len(features))), *found])


def _columns(model: LeadModel, matrix: Floats) -> Floats:
    """Give the columns that the scorer reads."""
    place = {column: j for j, column in enumerate(model.bundle.columns)}
    return np.asfortranarray(matrix[:, [place[column] for column in model.bundle.scorer.columns]])


def _moments(case: _Case, moves: Sequence[Move]) -> np.ndarray[Any, np.dtype[np.int64]] | None:
    if case.as_of is None:
        return None
    return np.array([_moment_after(case.as_of, move) for move in moves], np.int64)


def _moment_after(as_of: int, move: Move) -> int:
    return as_of + round(move.days * DAY) + move.hours * _HOUR


def _after(case: _Case, moves: Sequence[Move]) -> Tables:
    """Give the tables with one lead a move: as this one would be after it."""
    tables, n = case.tables, len(moves)
    lead = np.arange(n)
    answers = [dict(move.answers) for move in moves]
    leads = tables.leads.take(pa.array(np.zeros(n, np.int64)))
    history = dict(tables.history or {})
    for name in dict.fromkeys(name for each in answers for name in each):
        had = leads[name].to_pylist()
        values = [
            _typed(each.get(name, old), tables.kinds[name]) for each, old in zip(answers, had, strict=True)
        ]
        at = leads.column_names.index(name)
        leads = leads.set_column(at, name, pa.array(values, tables.leads[name].type))
    return replace(
        tables,
        leads=leads,
        lead_id=lead,
        position=lead,
        created_at=None if tables.created_at is None else np.repeat(tables.created_at, n),
        events=None if tables.events is None else _events_after(tables.events, case.as_of or 0, moves),
        outcomes=None,
        history={
            name: _replicated(each, lead[[name not in a for a in answers]]) for name, each in history.items()
        },
    )


def _typed(value: Any, kind: str) -> Any:
    return datetime.fromisoformat(value) if kind == "time" and isinstance(value, str) else value


def _replicated(changes: Changes, leads: np.ndarray[Any, np.dtype[np.int64]]) -> Changes:
    size, n = len(changes.at), len(leads)
    return Changes(
        np.repeat(leads, size),
        np.tile(changes.at, n),
        changes.value.take(pa.array(np.tile(np.arange(size), n))),
    )


def _events_after(events: Events, as_of: int, moves: Sequence[Move]) -> Events:
    """Give the lead's events once a move, and those that the move adds."""
    added = [
        (place, kind, as_of + hour * _HOUR)
        for place, move in enumerate(moves)
        for hour, kind in enumerate(kind for kind, count in move.events for _ in range(count))
    ]
    n, have = len(moves), len(events.at)
    own = _some(events, np.tile(np.arange(have), n))
    at = np.array([moment for _, _, moment in added], np.int64)
    kinds = [kind for _, kind, _ in added]
    type_ = _extended(Coded(own.type, own.types), [kind.type for kind in kinds])
    return Events(
        lead=np.concatenate(
            [np.repeat(np.arange(n), have), np.array([place for place, _, _ in added], np.int64)]
        ),
        at=np.concatenate([own.at, at]),
        type=type_.codes,
        types=type_.words,
        known_at=None if own.known_at is None else np.concatenate([own.known_at, at]),
        channel=_extended(own.channel, [kind.channel for kind in kinds]),
        content=_extended(own.content, [kind.content for kind in kinds]),
        value=None if own.value is None else np.concatenate([own.value, np.full(len(added), np.nan)]),
    )


def _extended(coded: Coded | None, words: Sequence[str | None]) -> Coded:
    """Add words to coded ones."""
    codes, known = coded or Coded(np.full(0, -1, np.int32), ())
    place = {word: code for code, word in enumerate(dict.fromkeys((*known, *filter(None, words))))}
    more = np.array([-1 if word is None else place[word] for word in words], np.int32)
    return Coded(np.concatenate([codes, more]), tuple(place))


def _some(events: Events, places: np.ndarray[Any, np.dtype[np.int64]]) -> Events:
    from leadscore.features.kernel import taken

    return taken(events, places, events.lead.take(places))


# ------------------------------------------------------------------------------------------- what is claimed
def _crossing(case: _Case, found: _Scored) -> tuple[Bools, Bools]:
    """Say which moves raise the lead over the next line, and which lower it; not by the hours alone."""
    goal = max(case.rank + 1, _MQL)
    up, down = found.rank >= goal, (found.rank < case.rank) & (case.rank >= _MQL)
    hours = np.array([move.hours if move.steps else 0 for move in found.moves], np.int64)
    if hours.any():
        idle = _Scored.of(case, [Move(days=hour / 24) for hour in range(int(hours.max()) + 1)])
        up &= ~((hours > 0) & (idle.rank >= goal)[hours])
        down &= ~((hours > 0) & (idle.rank < case.rank)[hours])
    return up, down


def _change(case: _Case, found: _Scored, place: int) -> Change:
    move, rank = found.moves[place], int(found.rank[place])
    score, stage = float(found.score[place]), STAGES[rank]
    rule = _decided_by(case.model, found.matrix[place : place + 1])[0]
    text = search.sentence(
        search.in_words(move, case.labels),
        (case.now.stage, case.now.score),
        (stage, score),
        rises=rank > case.rank,
        rule="" if rule is None else rule.name,
    )
    return Change(
        kind=move.kind,
        text=text,
        stage_before=case.now.stage,
        stage_after=stage,
        score_before=case.now.score,
        score_after=score,
        probability_before=case.now.probability,
        probability_after=float(found.probability[place]),
        detail=_detail(case, move),
    )


def _held(case: _Case, rule: Rule) -> Change:
    """Say that no change helps."""
    now = case.now
    why = f" ({clean(rule.reason)})" if rule.reason else ""
    text = f"No change would move it while the rule “{clean(rule.name)}” holds{why}"
    numbers = (now.score, now.score, now.probability, now.probability)
    return Change("rule", text, now.stage, now.stage, *numbers, detail={"rule": rule.name})


def _decided_by(model: LeadModel, matrix: Floats) -> list[Rule | None]:
    """Give the rule that decides the stage of each row, None where the thresholds do."""
    found: list[Rule | None] = [None] * len(matrix)
    for rule in (*model.policy.suppress, *model.policy.fast_track):
        held = rule.holds(matrix, model.bundle.columns)
        found = [rule if has and old is None else old for old, has in zip(found, held.tolist(), strict=True)]
    return found


def _detail(case: _Case, move: Move) -> dict[str, Any]:
    """Give what to add to the lead so that `score_one` says the same."""
    columns, lead_id, as_of = case.contract.event_columns, case.now.lead_id, case.as_of
    kinds = [kind for kind, count in move.events for _ in range(count)]
    rows = [
        {
            columns["lead_id"]: lead_id,
            columns["occurred_at"]: _iso((as_of or 0) + hour * _HOUR),
            columns["event_type"]: kind.type,
            **{
                columns[key]: word
                for key in ("content", "channel")
                if (word := getattr(kind, key)) is not None
            },
        }
        for hour, kind in enumerate(kinds)
    ]
    detail: dict[str, Any] = {
        "events": rows,
        "fields": dict(move.answers),
        "as_of": None if as_of is None else _iso(_moment_after(as_of, move)),
    }
    if case.contract.history is not None and as_of is not None:
        names = case.contract.history
        key = names.lead_id or case.contract.lead_id
        detail["history"] = [
            {key: lead_id, names.field: name, names.value: value, names.changed_at: _iso(as_of - 1)}
            for name, value in move.answers
            if name in (case.tables.history or {})
        ]
    return detail


def _iso(microseconds: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)).isoformat()
