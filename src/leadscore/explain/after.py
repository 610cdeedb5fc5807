"""One lead's tables as they were known at a moment, and as they would be after what could happen."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa

from leadscore.data.contract import Changes, Coded, Events, Ints, Tables
from leadscore.explain.moves import HOUR, Happening, Move
from leadscore.features.kernel import taken

_ALWAYS: Final = np.iinfo(np.int64).min


def known(tables: Tables, when: int) -> Tables:
    """Leave out what is not known at a moment: it must not come in when time passes.

    Parameters
    ----------
    tables : Tables
    when : int
        UTC microseconds.
    """
    events, history = tables.events, tables.history
    if events is not None:
        counts = events.at < when
        if events.known_at is not None:
            counts &= events.known_at <= when
        events = _some(events, np.flatnonzero(counts))
    if history is not None:
        history = {name: _until(changed, when) for name, changed in history.items()}
    return replace(tables, events=events, history=history)


def _until(changed: Changes, when: int) -> Changes:
    """Keep the changes before a moment; where all are later, the field is empty until then."""
    kept = np.flatnonzero(changed.at < when)
    if len(kept) or not len(changed.at):
        return Changes(changed.lead[kept], changed.at[kept], changed.value.take(pa.array(kept)))
    return Changes(changed.lead[:1], np.array([_ALWAYS]), pa.nulls(1, changed.value.type))


def after(tables: Tables, moves: Sequence[Move], when: int | None) -> Tables:
    """Give tables of one lead a move: as the one lead would be after it.

    Parameters
    ----------
    tables : Tables
        Of one lead.
    moves : sequence of Move
    when : int or None
        The moment that the moves begin at, UTC microseconds; None without a clock.

    Examples
    --------
    >>> ids, types = np.zeros(1, np.int64), {"size": "number"}
    >>> leads = pa.table({"size": pa.array([None], pa.float64())})
    >>> tables = Tables(leads, ids, ids, None, None, None, None, None, types, ())
    >>> after(tables, [Move(), Move(answers=(("size", 40.0),))], None).leads["size"].to_pylist()
    [None, 40.0]
    """
    lead = np.arange(len(moves))
    leads = tables.leads.take(pa.array(np.zeros(len(moves), np.int64)))
    history = dict(tables.history or {})
    for name in dict.fromkeys(name for move in moves for name, _ in move.answers):
        answer = {
            place: value for place, move in enumerate(moves) for of, value in move.answers if of == name
        }
        had, at = tables.leads[name][0].as_py(), leads.column_names.index(name)
        values = [_typed(answer[i], tables.kinds[name]) if i in answer else had for i in range(len(moves))]
        leads = leads.set_column(at, name, pa.array(values, tables.leads[name].type))
        if name in history:
            history[name] = _copied(history[name], np.setdiff1d(lead, [*answer]))
    told = {name for move in moves for name, _ in move.answers}
    return replace(
        tables,
        leads=leads,
        lead_id=lead,
        position=lead,
        created_at=None if tables.created_at is None else np.repeat(tables.created_at, len(moves)),
        events=None if tables.events is None else _events_after(tables.events, when or 0, moves),
        outcomes=None,
        history={
            name: changed if name in told else _copied(changed, lead) for name, changed in history.items()
        },
    )


def _typed(value: Any, kind: str) -> Any:
    return datetime.fromisoformat(value) if kind == "time" else value


def _copied(changed: Changes, leads: Ints) -> Changes:
    """Give each of some leads the same changes."""
    size, n = len(changed.at), len(leads)
    values = changed.value.take(pa.array(np.tile(np.arange(size), n)))
    return Changes(np.repeat(leads, size), np.tile(changed.at, n), values)


def _events_after(events: Events, as_of: int, moves: Sequence[Move]) -> Events:
    """Give the lead's events once a move, and those that the move adds."""
    n, have = len(moves), len(events.at)
    own = _some(events, np.tile(np.arange(have), n))
    added = [(i, hour, kind) for i, move in enumerate(moves) for hour, kind in enumerate(move.happenings)]
    at = np.array([as_of + hour * HOUR for _, hour, _ in added], np.int64)
    kind = _extended(Coded(own.type, own.types), [kind.type for *_, kind in added])
    return Events(
        lead=np.concatenate([np.repeat(np.arange(n), have), np.array([i for i, *_ in added], np.int64)]),
        at=np.concatenate([own.at, at]),
        type=kind.codes,
        types=kind.words,
        known_at=None if own.known_at is None else np.concatenate([own.known_at, at]),
        channel=_extended(own.channel or _no_words(n * have), [kind.channel for *_, kind in added]),
        content=_extended(own.content or _no_words(n * have), [kind.content for *_, kind in added]),
        value=None if own.value is None else np.concatenate([own.value, np.full(len(added), np.nan)]),
    )


def _extended(coded: Coded, words: Sequence[str | None]) -> Coded:
    """Add words to coded ones."""
    place = {word: code for code, word in enumerate(dict.fromkeys((*coded.words, *filter(None, words))))}
    more = np.array([-1 if word is None else place[word] for word in words], np.int32)
    return Coded(np.concatenate([coded.codes, more]), tuple(place))


def _no_words(size: int) -> Coded:
    return Coded(np.full(size, -1, np.int32), ())


def _some(events: Events, places: Ints) -> Events:
    return taken(events, places, events.lead.take(places))


def done(events: Events | None) -> set[Happening]:
    """Give the kinds of events that there are, each as it was."""
    if events is None:
        return set()
    content, channel = (coded or _no_words(len(events.at)) for coded in (events.content, events.channel))
    codes = {*zip(events.type.tolist(), content.codes.tolist(), channel.codes.tolist(), strict=True)}
    return {
        Happening(events.types[a], None if b < 0 else content.words[b], None if c < 0 else channel.words[c])
        for a, b, c in codes
    }
