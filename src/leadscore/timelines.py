"""From tables to a lead's timeline: what `LeadModel.score` gives, at every moment that matters."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from leadscore.data.contract import CLOSING, Changes, Coded, Events, Finding, Ints, Tables
from leadscore.data.identity import merge_duplicates
from leadscore.data.tables import read_tables
from leadscore.errors import DataError, UsageError, explain, shown
from leadscore.explain.card import LIMIT
from leadscore.explain.concepts import concepts_of, heading, speakers, spoken
from leadscore.explain.drivers import DriverPoints, grouped
from leadscore.explain.ledger import Entry, Ledger, settled, told
from leadscore.explain.timeline import Happenings, Timeline, instant, moments_of
from leadscore.explain.wording import number, value_of
from leadscore.features.attributes import attribute
from leadscore.features.declare import EventFeature
from leadscore.features.kernel import taken
from leadscore.features.plan import plan_of
from leadscore.features.prefixes import prefixes
from leadscore.features.snapshot import NO_EVENTS, Snapshot, earliest
from leadscore.models.calibration import log_odds_of, probability
from leadscore.models.matrix import Floats
from leadscore.policy.policy import STAGES, percent
from leadscore.policy.staging import Stages, Standing, lines_of, stage_reasons, through
from leadscore.predict import LeadModel, Moment, moment


def timeline(
    model: LeadModel,
    leads: Any,
    events: Any = None,
    as_of: Moment = None,
    *,
    lead_id: int | str | None = None,
    history: Any = None,
    since: Moment = None,
    drivers: bool = True,
) -> Timeline:
    """Follow one lead's score from when it came in until a moment.

    The score is taken just before and just after each moment at which something came to be known: an event,
    or a change of the profile where the project keeps its history. What lies between is time passing. The
    steps add up to the last score less the first, exactly. An event that was recorded late is a step when it
    was recorded, as scores know of it from then on. Of very many events, those that follow each other are
    taken together.

    Parameters
    ----------
    model : LeadModel
        One that reads time.
    leads, events, as_of, history
        As for `LeadModel.score`.
    lead_id : int or str, optional
        Which lead; needed where there are several. Where leads are one person, it is that person's timeline,
        from when the first of them came in, with the profile that the person has at `as_of`; what another
        lead did counts from when it was known that they are one.
    since : datetime, str or int, optional
        Begin at this moment, if the lead was there by then.
    drivers : bool
        Whether to keep which concepts moved.

    Returns
    -------
    Timeline

    Raises
    ------
    DataError
        There is no such lead, or it came in or was closed outside the time that is asked for.
    UsageError
        The model does not read time, or something it needs is not given.
    """
    people = read_people(model, leads, events, as_of, history)
    return follow(model, people, people.place(lead_id), since, drivers=drivers)


def timelines(
    model: LeadModel,
    leads: Any,
    events: Any = None,
    as_of: Moment = None,
    *,
    lead_ids: Sequence[int | str],
    history: Any = None,
    drivers: bool = False,
) -> Iterator[Timeline]:
    """Follow the scores of several leads, whose tables are read once.

    Parameters
    ----------
    model, leads, events, as_of, history, drivers
        As for `timeline`.
    lead_ids : sequence of int or str

    Yields
    ------
    Timeline
        One a lead, in the order asked for.

    Raises
    ------
    DataError, UsageError
        As for `timeline`.
    """
    people = read_people(model, leads, events, as_of, history)
    return (follow(model, people, people.place(lead), None, drivers=drivers) for lead in lead_ids)


def changed(
    model: LeadModel,
    leads: Any,
    events: Any = None,
    as_of: Moment = None,
    *,
    before: Moment,
    lead_id: int | str | None = None,
    history: Any = None,
) -> Ledger:
    """Say why one lead's score changed between two moments.

    Parameters
    ----------
    model, leads, events, as_of, lead_id, history
        As for `timeline`.
    before : datetime, str or int
        The earlier moment; where the lead was not there yet, when it came in.

    Returns
    -------
    Ledger
        Each difference in the words of the feature that moved most.

    Raises
    ------
    DataError, UsageError
        As for `timeline`.
    """
    people = read_people(model, leads, events, as_of, history)
    place = people.place(lead_id)
    one = tables_of(people, place)
    happenings = _happenings(model, one, people.as_of)
    start = _beginning(one, happenings, people.as_of, before, model.bundle.contract.timezone)
    rows = _rows(model, one, np.array([start, people.as_of]))
    split, M = model.split(rows), model.matrix(rows)
    chance, policy = split.probability, model.policy
    lead = people.lead_id[place]
    names = through(policy, chance, *model.ruled(rows)).tolist()
    standing = Standing(np.array([-1, STAGES.index(names[0])]), np.full(2, np.nan))
    scale = None if model.bundle.calibrated else model.bundle.scale
    before_lines, after_lines = (_lines(model, rows.take(np.array([row])))[1] for row in (0, 1))
    reasons = stage_reasons(policy, chance, *model.ruled(rows), standing, scale=scale)
    return settled(
        _entries(model, split, M),
        lead_id=lead if isinstance(lead, str) else int(lead),
        named=(f"{instant(start):%Y-%m-%d %H:%M} UTC", f"{instant(people.as_of):%Y-%m-%d %H:%M} UTC"),
        score=(float(split.score[0]), float(split.score[1])),
        stage=(names[0], names[1]),
        stage_reason=(reasons[0], reasons[1]),
        lines=(before_lines, after_lines),
    )


@dataclass(frozen=True, eq=False)
class People:
    """The tables as of a moment, and which person each lead of the table given is.

    Parameters
    ----------
    tables : Tables
        One row a person.
    lead_id : array of shape (n,)
        The leads of the table given.
    row : array of shape (n,)
        The row of the person that each of them is.
    as_of : int
        UTC microseconds.
    findings : tuple of Finding
    """

    tables: Tables
    lead_id: Any
    row: Ints
    as_of: int
    findings: tuple[Finding, ...]

    def place(self, lead_id: int | str | None) -> int:
        """Find one lead; ids are compared as text, since a command line knows nothing else."""
        if lead_id is None:
            if len(self.lead_id) == 1:
                return 0
            found = f"{len(self.lead_id):,} leads"
            raise UsageError(explain("one lead, or the id of one", found, "pass lead_id (--lead)"))
        places = np.flatnonzero(self.lead_id.astype(str) == str(lead_id))
        if not len(places):
            among = f"none among {len(self.lead_id):,} leads"
            told = (str(finding) for finding in self.findings if finding.table == "leads")
            do = "; ".join(["correct the id", *told])
            raise DataError(explain(f"a lead {shown(lead_id)!r}", among, do))
        return int(places[0])


def read_people(model: LeadModel, leads: Any, events: Any, as_of: Moment, history: Any) -> People:
    """Read the tables as `LeadModel.score` does, once for the timelines of many.

    Parameters
    ----------
    model, leads, events, as_of, history
        As for `timeline`.

    Raises
    ------
    DataError, UsageError
        As for `timeline`.
    """
    contract = model.bundle.contract
    if not model.needs_time:
        found = "a model of one table without a clock, whose scores do not move"
        raise UsageError(explain("a model that reads time", found, "ask for the lead's card (explain)"))
    if as_of is None:
        raise UsageError(explain("the moment at which the timeline ends", "none", "pass as_of"))
    when = moment(as_of, contract.timezone)
    if events is None and model.needs_events:
        do = "pass events (--events), or [] if there are none"
        raise UsageError(explain("the lead's events, since this model reads them", "none", do))
    tables = read_tables(contract, leads, events, history=history, training=False)
    if contract.identity is None or len(tables.lead_id) < 2:
        return People(tables, tables.lead_id, np.arange(len(tables.lead_id)), when, tables.findings)
    merged, report = merge_duplicates(tables, contract.identity, before=when)
    merged = replace(merged, outcomes=None)  # a person is scored even if closed, as everywhere
    return People(merged, tables.lead_id, report.row, when, tables.findings)


def follow(model: LeadModel, people: People, place: int, since: Moment, *, drivers: bool) -> Timeline:
    """Follow one of the people from `read_people`: what `timeline` gives for it.

    Parameters
    ----------
    model : LeadModel
    people : People
    place : int
        Which lead of the table, as `People.place` finds it.
    since, drivers
        As for `timeline`.

    Raises
    ------
    DataError, UsageError
        As for `timeline`.
    """
    bundle, lead_id = model.bundle, people.lead_id[place]
    one = tables_of(people, place)
    happenings = _happenings(model, one, people.as_of)
    start = _beginning(one, happenings, people.as_of, since, bundle.contract.timezone)
    moments, together = moments_of(happenings.since, start, people.as_of)
    rows = _rows(model, one, moments, _asked(model))
    if drivers:
        split = model.split(rows)
        log_odds, (concepts, parts) = split.log_odds, _parts(model, split)
    else:
        log_odds = bundle.calibration.log_odds(bundle.scorer.margin(model.matrix(rows)))
        concepts, parts = (), None
    chance, policy = probability(log_odds), model.policy
    chances, lines = _lines(model, rows.take(np.array([len(rows) - 1])))
    return Timeline(
        lead_id=lead_id if isinstance(lead_id, str) else int(lead_id),
        moments=moments,
        score=bundle.scale.score(log_odds),
        raw=bundle.scale.raw(log_odds),
        probability=chance,
        rank=_ranks(through(policy, chance, *model.ruled(rows))),
        stages=STAGES,
        happenings=happenings,
        lines=lines,
        chances=chances,
        concepts=concepts,
        parts=parts,
        notes=tuple(_notes(model, people, place, len(happenings), together)),
        horizon=bundle.horizon,
        model=bundle.name,
        policy_revision=policy.revision,
        phrases=bundle.phrases,
    )


def rows_at(model: LeadModel, people: People, place: int, moments: Ints) -> Snapshot:
    """Take one of the people from `read_people` as it was at some moments: UTC microseconds, ascending.

    Raises
    ------
    DataError
        The lead came in later than the people were read, or was closed.
    """
    return _rows(model, tables_of(people, place), moments)


def tables_of(people: People, place: int) -> Tables:
    """Give the tables of one of the people from `read_people`.

    Raises
    ------
    DataError
        It is a lead that `LeadModel.score` would leave out.
    """
    row = int(people.row[place])
    _refuse_absent(people, row, people.lead_id[place])
    return _only(people.tables, row)


def _only(tables: Tables, row: int) -> Tables:
    """Leave one lead in the tables."""
    events = tables.events
    if events is not None:
        places = np.flatnonzero(events.lead == row)
        events = taken(events, places, lead=np.zeros(len(places), np.int64))
    history = {}
    for name, changes in (tables.history or {}).items():
        places = np.flatnonzero(changes.lead == row)
        if len(places):
            value = changes.value.take(pa.array(places))
            history[name] = Changes(np.zeros(len(places), np.int64), changes.at[places], value)
    return replace(
        tables,
        leads=tables.leads.slice(row, 1),
        lead_id=tables.lead_id[row : row + 1],
        position=tables.position[row : row + 1],
        created_at=None if tables.created_at is None else tables.created_at[row : row + 1],
        order=None,
        target=None,
        events=events,
        outcomes=None,
        history=history,
    )


def _refuse_absent(people: People, row: int, lead_id: object) -> None:
    tables, when = people.tables, people.as_of
    if tables.created_at is not None and tables.created_at[row] >= when:
        came = instant(int(tables.created_at[row])).strftime("%Y-%m-%d %H:%M UTC")
        expected = f"a moment after lead {shown(lead_id)!r} came in, {came}"
        raise DataError(explain(expected, "one at or before it", "give a later as_of (--as-of)"))
    if tables.outcomes is not None and earliest(tables.outcomes, CLOSING, len(tables.lead_id))[row] < when:
        expected = f"a moment at which lead {shown(lead_id)!r} was open"
        raise DataError(explain(expected, "one after it was closed", "give an earlier as_of (--as-of)"))


def _happenings(model: LeadModel, one: Tables, as_of: int) -> Happenings:
    """Put events and changes of the profile in the order in which they came to be known."""
    parts = [_events(one.events or NO_EVENTS)]
    read = {name for feature in model.bundle.features for name in feature.reads}
    parts += [_changes(name, own) for name, own in (one.history or {}).items() if name in read]
    whole = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
    known = np.flatnonzero(whole[0] <= as_of)
    order = known[np.lexsort((whole[1][known], whole[0][known]))]
    return Happenings(*(array[order] for array in whole))


def _events(events: Events) -> tuple[Any, ...]:
    known_at = events.at if events.known_at is None else events.known_at
    return (
        np.maximum(events.at + 1, known_at),
        events.at,
        np.array(events.types, object)[events.type],
        _words(events.content, len(events.at)),
        _words(events.channel, len(events.at)),
        np.zeros(len(events.at), np.bool_),
    )


def _words(coded: Coded | None, size: int) -> Any:
    return np.full(size, None) if coded is None else np.array([*coded.words, None], object)[coded.codes]


def _changes(name: str, changes: Changes) -> tuple[Any, ...]:
    size = len(changes.at)
    values = np.array([None, *map(_told, changes.value.to_pylist())], object)[1:]
    return (
        changes.at + 1,
        changes.at,
        np.full(size, name, object),
        values,
        np.full(size, None),
        np.ones(size, np.bool_),
    )


def _told(value: object) -> str | None:
    """Write a value of the profile."""
    if value is None:
        return None
    return number(value) if isinstance(value, float) else str(value)


def _beginning(one: Tables, happenings: Happenings, as_of: int, since: Moment, timezone: str | None) -> int:
    """Find the first moment: when the lead came in, or before its first event, but not before `since`."""
    start = min(as_of, int(happenings.since[0]) - 1) if len(happenings) else as_of
    if one.created_at is not None:
        start = int(one.created_at[0]) + 1
    if since is None:
        return start
    begin = moment(since, timezone)
    if begin >= as_of:
        expected = "a beginning before the moment of the score"
        raise UsageError(explain(expected, "one at or after it", "give an earlier one (--since)"))
    return max(start, begin)


def _asked(model: LeadModel) -> set[str]:
    """Name the columns that a score and its stage depend on."""
    policy = model.policy
    rules = (*policy.suppress, *policy.fast_track)
    by_rules = (condition.column for rule in rules for condition in rule.when)
    segment = () if policy.segment is None else (policy.segment,)
    return {*model.bundle.scorer.used, *by_rules, *segment}


def _rows(model: LeadModel, one: Tables, moments: Ints, asked: Collection[str] | None = None) -> Snapshot:
    """Take one lead as it was at each moment, as `snapshot` takes many as they were at one.

    Of columns that are not asked for nothing is known: they are missing.
    """
    features, lead = model.bundle.features, np.zeros(len(moments), np.int64)
    wanted = {
        j: feature
        for j, (feature, column) in enumerate(zip(features, model.bundle.columns, strict=True))
        if asked is None or column.name in asked
    }
    counted = {j: feature for j, feature in wanted.items() if isinstance(feature, EventFeature)}
    numbers = prefixes(plan_of(tuple(counted.values())), one.events or NO_EVENTS, moments).T
    matrix = np.full((len(features), len(moments)), np.nan)
    matrix[list(counted)] = numbers
    for j, feature in wanted.items():
        if not isinstance(feature, EventFeature):
            matrix[j] = attribute(feature, one, lead, moments)
    return Snapshot(
        features=tuple(features),
        matrix=matrix.T,
        lead_id=one.lead_id.take(lead),
        position=one.position.take(lead),
        as_of=moments,
        y=None,
        mature=None,
        known_at=None,
        group=lead,
        order=moments.astype(np.float64),
        age=None,
        horizon=None,
    )


def _parts(model: LeadModel, split: DriverPoints) -> tuple[tuple[tuple[str, str, str], ...], Floats]:
    """Add up the drivers of each concept, as cards do."""
    about, called = _concepts(model)
    keys, parts = grouped(split.points, about)
    return tuple((concept, called[family, concept], family) for family, concept in keys), parts


def _concepts(model: LeadModel) -> tuple[list[tuple[str, str]], dict[tuple[str, str], str]]:
    """Give each driver's family and concept, and what those are called."""
    scorer, features = model.bundle.scorer, model.bundle.features
    declared = {feature.name: feature for feature in features}
    about = concepts_of(scorer, declared)
    called: dict[tuple[str, str], str] = {}
    for key, columns in zip(about, scorer.driver_columns, strict=True):
        called.setdefault(key, heading(declared[columns[0]], model.bundle.phrases) if columns else key[1])
    return about, called


def _entries(model: LeadModel, split: DriverPoints, M: Floats) -> Iterator[Entry]:
    """Give each concept's difference between two rows of one lead, in the words of what moved most."""
    scorer, typical = model.bundle.scorer, model.bundle.typical
    declared = {feature.name: feature for feature in model.bundle.features}
    place = {column.name: j for j, column in enumerate(scorer.columns)}
    about, called = _concepts(model)
    keys, sums = grouped(split.points, about)
    moved = np.abs(split.points[1] - split.points[0])
    for key, before, after in zip(keys, *sums.tolist(), strict=True):
        family, concept = key
        mine = (d for d, own in enumerate(about) if own == key)
        columns = [
            scorer.columns[place[name]] for name in speakers(mine, moved, scorer.driver_columns, declared)
        ]
        text = called[key]
        if columns:
            values = [{c.name: value_of(float(row[place[c.name]]), c) for c in columns} for row in M]
            said = [spoken(own, typical, declared, model.bundle.phrases) for own in values]
            text = told(said[0], said[1], before, after)
        yield Entry(concept, called[key], family, after - before, 0, before, after, text)
    before, after = split.clip.tolist()
    yield Entry("scale", "End of the scale", LIMIT, after - before, 0, before, after, "The ends of the scale")


def _lines(model: LeadModel, row: Snapshot) -> tuple[dict[str, float], ...]:
    """Give the chances and the scores from which each stage begins for a lead as it is in this row."""
    (chances,) = lines_of(model.policy, *model.ruled(row))
    starts = model.bundle.scale.score(log_odds_of(chances))
    return tuple(dict(zip(STAGES[1:], values.tolist(), strict=True)) for values in (chances, starts))


def _ranks(names: Stages) -> Ints:
    ranks = np.zeros(len(names), np.int64)
    for rank, name in enumerate(STAGES):
        ranks[names == name] = rank
    return ranks


def _notes(model: LeadModel, people: People, place: int, happened: int, together: int) -> Iterator[str]:
    """Say what a reader of the timeline should know."""
    others = int((people.row == people.row[place]).sum()) - 1
    if others:
        same = "another lead" if others == 1 else f"{others:,} other leads"
        yield (
            f"The lead is one person with {same}: the timeline begins when the first of them came in, takes "
            "the profile as that person has it now, and counts what another lead did from when it was known "
            "that they are one."
        )
    if together > 1:
        yield (
            f"{happened:,} events: up to {together:,} moments that follow each other are one step, with the "
            "time between them."
        )
    features = model.bundle.features
    if not any(isinstance(feature, EventFeature) for feature in features):
        yield "The model reads no events: only the profile and time move its score."
    if people.tables.history is None and any(feature.reads for feature in features):
        yield "The profile is taken as it is now throughout: no history of it was given."
    if model.policy.stay < 1:
        share = percent(model.policy.stay)
        yield f"Stages are those of a lead scored at every step: it stays in one down to {share} of its line."
