"""Who is who: which lead an anonymous visitor turned out to be, and which leads are the same person."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leadscore.data.columns import codes, texts
from leadscore.data.contract import Ints, Tables
from leadscore.errors import DataError, explain, nearest, shown

_NEVER = np.iinfo(np.int64).max
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
