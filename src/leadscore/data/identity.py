"""Who is who: which lead an anonymous visitor turned out to be, and which leads are the same person."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leadscore.data.columns import Mask, codes, mask, texts
from leadscore.data.contract import (
    CLOSING,
    Changes,
    Events,
    Finding,
    Floats,
    Identity,
    Ints,
    Outcomes,
    Tables,
)
from leadscore.errors import DataError, explain, nearest, shown

_NEVER = np.iinfo(np.int64).max
_MOST_SHARED = 10
"""An address or number of more leads than this is a mailbox or switchboard, and nobody's own."""
_DOTLESS = ("gmail.com", "googlemail.com")


def attribute_visits(visitor: Ints, lead: Ints, known_at: Ints) -> tuple[Ints, Ints]:
    """Give the events of a visitor to the lead that the visitor turned out to be.

    A visitor is the lead of its earliest known event that carries both ids (the lowest lead code, when
    several became known at once), so that nothing learnt later changes it.

    Parameters
    ----------
    visitor, lead
        Codes, one an event; -1 where the event does not carry the id.
    known_at
        When each event became known.

    Returns
    -------
    tuple of arrays
        The lead of each event, still -1 where its visitor was never identified, and `known_at`, which for the
        events attributed is never before the moment of identification.

    Examples
    --------
    >>> lead, known_at = attribute_visits(np.array([0, 0, 1]), np.array([-1, 5, -1]), np.array([10, 20, 30]))
    >>> lead.tolist(), known_at.tolist()
    ([5, 5, -1], [20, 20, 30])
    """
    links = np.flatnonzero((visitor >= 0) & (lead >= 0))
    moment = np.full(int(visitor.max(initial=-1)) + 1, _NEVER)
    np.minimum.at(moment, visitor[links], known_at[links])
    links = links[known_at[links] == moment[visitor[links]]]
    owner = np.full(len(moment), _NEVER)
    np.minimum.at(owner, visitor[links], lead[links])
    anonymous = np.flatnonzero((lead < 0) & (visitor >= 0))
    anonymous = anonymous[owner[visitor[anonymous]] < _NEVER]
    lead, known_at = lead.copy(), known_at.copy()
    lead[anonymous] = owner[visitor[anonymous]]
    known_at[anonymous] = np.maximum(known_at[anonymous], moment[visitor[anonymous]])
    return lead, known_at


def duplicate_groups(
    tables: Tables,
    email_fields: Sequence[str] = (),
    phone_fields: Sequence[str] = (),
    *,
    least_filled: int = 3,
) -> Ints:
    """Tell which leads are the same person, as far as the tables show.

    Two leads are the same when all their attributes are equal (missing equals missing) or when they share an
    e-mail address or a telephone number, directly or through others.

    Parameters
    ----------
    tables
        The leads.
    email_fields
        Attributes with addresses: case, a "+tag", and the dots of Gmail do not count.
    phone_fields
        Attributes with numbers: the last nine digits count, and a number of fewer than seven is none.
    least_filled
        Equal rows are duplicates only with at least this many filled attributes: leads of whom next to
        nothing is known are not one person.

    Returns
    -------
    array of int64, shape (n leads,)
        Equal for leads of one group; 0 to the number of groups less one, in order of first appearance.

    Raises
    ------
    DataError
        A field is no attribute of the leads.

    Examples
    --------
    >>> from leadscore.data.tables import Contract, read_tables
    >>> mails = ["Ann@x.org", "bob@x.org", "ann+news@x.org"]
    >>> leads = [{"id": row, "mail": mail} for row, mail in enumerate(mails)]
    >>> tables = read_tables(Contract(lead_id="id"), leads, training=False)
    >>> duplicate_groups(tables, email_fields=["mail"])
    array([0, 1, 0])
    """
    keys = [_equal_rows(tables.leads, least_filled)]
    keys += [codes(_emails(_field(tables, field)))[0] for field in email_fields]
    keys += [codes(_phones(_field(tables, field)))[0] for field in phone_fields]
    return _connected(keys, len(tables.lead_id))


@dataclass(frozen=True, slots=True)
class Merge:
    """A lead that counts as part of an earlier one.

    Parameters
    ----------
    lead_id, into
        Which lead, and the earlier one.
    by
        The fields that it shares with a lead of the same person: never what they hold.
    """

    lead_id: int | str
    into: int | str
    by: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class MergeReport:
    """Which leads became one, and why.

    Parameters
    ----------
    merges
        One a lead that is no longer there, in the order of the leads.
    row
        For each lead of the tables given, its row in the merged tables.
    common
        Field to how many of its values so many leads share that they tell nobody apart, and did not count.
    """

    merges: tuple[Merge, ...]
    row: Ints
    common: Mapping[str, int]


def merge_duplicates(
    tables: Tables, identity: Identity, *, before: int | None = None
) -> tuple[Tables, MergeReport]:
    """Make one lead of those that are the same person.

    The lead that came in first stays (of several, the one of the least id), and events, outcomes and history
    of the others become its own. Each attribute is that of the first of them that has a value or a
    history of it: like all attributes without a history, as of now. What the others did counts only once the
    record that tells they are one has come in. A person is lost or disqualified when the last of the leads is
    closed, and won when the first is won.

    Parameters
    ----------
    tables
        Leads with the fields that `identity` names.
    identity
        What tells that leads are one, and which are not all the same. A value that more than ten leads share
        tells nothing.
    before
        UTC microseconds: leads that came in then or later stand for themselves.

    Returns
    -------
    tuple of Tables and MergeReport

    Raises
    ------
    DataError
        A field is no attribute of the leads.

    Examples
    --------
    >>> from leadscore.data.tables import Contract, read_tables
    >>> mails = ["Ann@x.org", "bob@x.org", "ann+news@x.org"]
    >>> leads = [{"id": row, "mail": mail} for row, mail in enumerate(mails)]
    >>> tables = read_tables(Contract(lead_id="id"), leads, training=False)
    >>> merged, report = merge_duplicates(tables, Identity(email=("mail",)))
    >>> merged.lead_id.tolist(), report.row.tolist(), report.merges
    ([0, 1], [0, 1, 0], (Merge(lead_id=2, into=0, by=('mail',)),))
    """
    keys, common = _keys(tables, identity, before)
    same = _same(tables, identity, keys)
    again = np.flatnonzero(same.into != np.arange(len(same.into)))
    kept = np.flatnonzero(same.into == np.arange(len(same.into)))
    row = kept.searchsorted(same.into)
    # Those of one person together, the first to come in at the head.
    people = np.flatnonzero(np.isin(same.into, same.into[again]))
    people = people[np.lexsort((same.rank[people], same.into[people]))]
    report = MergeReport(_merges(tables, keys, same.into, people), row, common)
    if not len(again):
        return tables, report
    columns, history = _profiles(tables, same, people)
    fields = " or ".join(map(repr, map(shown, keys)))
    what = f"shares {fields} with a lead that came in before, and the two count as one"
    rows = tables.position[again]
    found = Finding("leads", what, len(again), tuple(int(place) for place in rows[:5]), False)
    return (
        replace(
            tables,
            leads=pa.table(columns, names=tables.leads.column_names).take(pa.array(kept)),
            lead_id=tables.lead_id[kept],
            position=tables.position[kept],
            created_at=None if tables.created_at is None else tables.created_at[kept],
            order=None if tables.order is None else tables.order[kept],
            target=None if tables.target is None else _any(tables.target, row, len(kept)),
            events=None if tables.events is None else _events_of(tables.events, same, row),
            outcomes=None if tables.outcomes is None else _outcomes_of(tables.outcomes, row, same.into),
            findings=(*tables.findings, found),
            history=None
            if history is None
            else {name: replace(own, lead=row[own.lead]) for name, own in history.items()},
        ),
        report,
    )


class _Same(NamedTuple):
    """For each lead: the lead that it is part of, since when that could be known, and its place in time.

    Leads that share nothing with others have no place.
    """

    into: Ints
    since: Ints  # -_NEVER for leads that stand for themselves
    rank: Ints


def _keys(tables: Tables, identity: Identity, before: int | None) -> tuple[dict[str, Ints], dict[str, int]]:
    """Give addresses and telephone numbers as codes; -1 where there is none that tells a person."""
    readings = dict.fromkeys(identity.email, _emails) | dict.fromkeys(identity.phone, _phones)
    keys: dict[str, Ints] = {}
    common: dict[str, int] = {}
    for name, reading in readings.items():
        key = codes(reading(_field(tables, name)))[0]
        often = np.append(np.bincount(key[key >= 0], minlength=1), 0) > _MOST_SHARED
        if often.any():
            common[name] = int(often.sum())
        hidden = often[key]
        if before is not None and tables.created_at is not None:
            hidden |= tables.created_at >= before
        keys[name] = np.where(hidden, -1, key)
    return keys, common


def _same(tables: Tables, identity: Identity, keys: Mapping[str, Ints]) -> _Same:
    n = len(tables.lead_id)
    created = np.zeros(n, np.int64) if tables.created_at is None else tables.created_at
    group = _connected(list(keys.values()), n)
    rows = np.flatnonzero(np.bincount(group, minlength=1)[group] > 1)
    by_id = np.argsort(np.argsort(tables.lead_id[rows], kind="stable"))
    rank = np.zeros(n, np.int64)
    rank[rows[np.lexsort((by_id, created[rows]))]] = np.arange(len(rows))
    rows = rows[np.lexsort((rank[rows], group[rows]))]
    same = _Same(np.arange(n), np.full(n, -_NEVER), rank)
    entries: dict[str, set[int]] = defaultdict(set)
    for entry, names in enumerate(identity.keep_apart):
        for name in names:
            entries[name].add(entry if len(names) > 1 else -1)
    parts = np.split(rows, np.flatnonzero(np.diff(group[rows])) + 1) if len(rows) else []
    for members in parts:
        _join(members.tolist(), list(keys.values()), tables, entries, same)
    if tables.created_at is None:
        same.since[:] = -_NEVER
    return same


def _join(
    members: list[int],
    keys: Sequence[Ints],
    tables: Tables,
    entries: Mapping[str, set[int]],
    same: _Same,
) -> None:
    """Let leads come in one after the other, each joining those before it that it shares a key with."""
    parts: dict[int, list[int]] = {}
    apart: dict[int, set[int]] = {}
    holders: dict[tuple[int, int], list[int]] = defaultdict(list)
    for lead in members:
        own = entries.get(str(tables.lead_id[lead]), set())
        parts[lead], apart[lead] = [lead], set(own)
        moment = 0 if tables.created_at is None else int(tables.created_at[lead])
        for place, key in enumerate(keys):
            if key[lead] < 0:
                continue
            for other in holders[place, int(key[lead])]:
                one, two = sorted(
                    (int(same.into[other]), int(same.into[lead])), key=lambda row: same.rank[row]
                )
                if one == two or -1 in apart[one] | apart[two] or apart[one] & apart[two]:
                    continue
                for row in parts[two]:
                    same.into[row], same.since[row] = one, moment
                parts[one] += parts.pop(two)
                apart[one] |= apart.pop(two)
            holders[place, int(key[lead])].append(lead)


def _merges(tables: Tables, keys: Mapping[str, Ints], into: Ints, people: Ints) -> tuple[Merge, ...]:
    """Say for each lead that is part of another what it shares with somebody of the same person."""
    by: dict[int, list[str]] = defaultdict(list)
    for name, key in keys.items():
        rows = people[key[people] >= 0]
        pair = into[rows] * (int(key.max(initial=0)) + 1) + key[rows]
        _, place, often = np.unique(pair, return_inverse=True, return_counts=True)
        for row in rows[often[place] > 1].tolist():
            by[row].append(name)
    again = np.sort(people[into[people] != people])
    pairs = zip(tables.lead_id[again].tolist(), tables.lead_id[into[again]].tolist(), strict=True)
    return tuple(Merge(*ids, tuple(by[row])) for row, ids in zip(again.tolist(), pairs, strict=True))


def _profiles(tables: Tables, same: _Same, people: Ints) -> tuple[list[pa.Array], dict[str, Changes] | None]:
    """Give each attribute of each person, and its history, from the first of the leads that has any."""
    columns = []
    history: dict[str, Changes] = {}
    for name in tables.leads.column_names:
        values = tables.leads.column(name).combine_chunks()
        has = mask(values.is_valid())
        changes = None if tables.history is None else tables.history.get(name)
        if changes is not None:
            has = has.copy()
            has[changes.lead] = True
        source = np.arange(len(same.into))
        rows = people[has[people]]
        heads, first = np.unique(same.into[rows], return_index=True)
        source[heads] = rows[first]
        columns.append(values.take(pa.array(source)))
        if changes is not None:
            history[name] = _changes_of(changes, same, source[same.into[changes.lead]] == changes.lead)
    return columns, None if tables.history is None else history


def _changes_of(changes: Changes, same: _Same, kept: Mask) -> Changes:
    """Hand over the changes of some leads, of those before the two were known to be one only the last."""
    since = same.since[changes.lead]
    early = changes.at < since
    followed = np.append((np.diff(changes.lead) == 0) & early[1:], False)
    rows = np.flatnonzero(kept & ~(early & followed))
    lead, at = same.into[changes.lead[rows]], np.maximum(changes.at, since)[rows]
    order = np.lexsort((at, lead))
    return Changes(lead[order], at[order], changes.value.take(pa.array(rows[order])))


def _events_of(events: Events, same: _Same, row: Ints) -> Events:
    known_at = events.at if events.known_at is None else events.known_at
    since = same.since[events.lead]
    # A lead that comes in at a moment is not seen at it, nor what it tells.
    return replace(
        events,
        lead=row[events.lead],
        known_at=np.where(since > -_NEVER, np.maximum(known_at, since + 1), known_at),
    )


def _outcomes_of(outcomes: Outcomes, row: Ints, into: Ints) -> Outcomes:
    """Close a person when the last of the leads is; what ended only one of them is left out."""
    closes = np.isin(np.array(outcomes.stages, object), CLOSING)[outcomes.stage]
    closed = np.full(len(into), _NEVER)
    np.minimum.at(closed, outcomes.lead[closes], outcomes.at[closes])
    last = np.full(int(row.max()) + 1, -_NEVER)
    np.maximum.at(last, row, closed)
    won = (np.array(outcomes.stages, object) == "won")[outcomes.stage]
    lead = row[outcomes.lead]
    kept = np.flatnonzero(~closes | won | (outcomes.at >= last[lead]))
    reason = outcomes.reason
    return replace(
        outcomes,
        lead=lead[kept],
        stage=outcomes.stage[kept],
        at=outcomes.at[kept],
        reason=None if reason is None else reason._replace(codes=reason.codes[kept]),
        revenue=None if outcomes.revenue is None else outcomes.revenue[kept],
    )


def _any(target: Floats, row: Ints, n: int) -> Floats:
    """Tell whether any of a person's leads was won, as far as it is known of any."""
    known = np.full(n, np.nan)
    np.fmax.at(known, row, target)
    return known


def _field(tables: Tables, name: str) -> pa.Array:
    known = tables.leads.column_names
    if name not in known:
        found = f"no {shown(name)!r}{nearest(name, known)}"
        raise DataError(
            explain("an attribute of the leads", found, "correct the fields that tell duplicates")
        )
    return texts(tables.leads.column(name).combine_chunks())


def _equal_rows(leads: pa.Table, least_filled: int) -> Ints:
    if not leads.num_columns:
        return np.zeros(0, np.int64)
    values = np.stack([codes(column.combine_chunks())[0] for column in leads.columns], axis=1)
    _, rows = np.unique(values, axis=0, return_inverse=True)
    filled = (values >= 0).sum(axis=1)
    return np.where(filled >= least_filled, rows, -1)


def _emails(column: pa.Array) -> pa.Array:
    address = pc.utf8_lower(pc.utf8_trim_whitespace(column))
    parts = pc.extract_regex(address, r"^(?P<name>[^@\s+]+)(?:\+[^@]*)?@(?P<domain>[^@\s]+)$")
    name, domain = pc.struct_field(parts, "name"), pc.struct_field(parts, "domain")
    dotless = pc.is_in(domain, value_set=pa.array(_DOTLESS))
    name = pc.if_else(dotless, pc.replace_substring(name, ".", ""), name)
    domain = pc.if_else(dotless, _DOTLESS[0], domain)
    return pc.binary_join_element_wise(name, domain, "@")


def _phones(column: pa.Array) -> pa.Array:
    digits = pc.replace_substring_regex(column, r"\D", "")
    digits = pc.if_else(pc.greater_equal(pc.utf8_length(digits), 7), digits, None)
    return pc.utf8_slice_codeunits(digits, -9, None)


def _connected(keys: list[Ints], n: int) -> Ints:
    """Join leads that share a value of a key, by spreading the smallest row number until nothing changes."""
    label = np.arange(n)
    while True:
        before = label.copy()
        for key in keys:
            least = np.full(int(key.max(initial=-1)) + 1, n)
            has = np.flatnonzero(key >= 0)
            np.minimum.at(least, key[has], label[has])
            label[has] = np.minimum(label[has], least[key[has]])
        label = label[label]
        if (label == before).all():
            return np.unique(label, return_inverse=True)[1].astype(np.int64)
