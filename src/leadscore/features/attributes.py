"""Reads attribute features off the leads table: the fit of a lead, as far as its profile tells."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from leadscore.data.contract import Floats, Ints, Tables
from leadscore.data.history import in_force
from leadscore.errors import DataError, explain, nearest, shown
from leadscore.features.declare import AttributeFeature
from leadscore.features.plan import DAY
from leadscore.features.words import department, email_domain_kind, seniority

# How a text is read, and whether a text that says nothing is "(other)" or missing.
_READINGS: Mapping[str, tuple[Callable[[str], str | None], bool]] = {
    "seniority": (seniority, True),
    "department": (department, True),
    "email_domain_kind": (email_domain_kind, False),
}


def attribute(feature: AttributeFeature, tables: Tables, lead: Ints, as_of: Ints | None) -> Floats:
    """Read one attribute feature for each row.

    Parameters
    ----------
    feature : AttributeFeature
    tables : Tables
    lead : int array of shape (rows,)
        Each row's lead: its row in `tables.leads`.
    as_of : int array of shape (rows,), optional
        Each row's moment; features that tell the time since something need it. An attribute with a history
        has the value that it had before the moment.

    Returns
    -------
    array of shape (rows,), float64
        Numbers, or places in `feature.categories`; NaN where missing.

    Raises
    ------
    DataError
        The leads table lacks a column.

    Examples
    --------
    >>> leads = pa.table({"title": ["CEO", None, "asdf"]})
    >>> tables = Tables(leads, np.arange(3), np.arange(3), None, None, None, None, None, {}, ())
    >>> feature = AttributeFeature("seniority", "title")
    >>> attribute(feature, tables, np.arange(3), None).tolist(), feature.categories[-1]
    ([4.0, nan, 8.0], '(other)')
    """
    for name in feature.reads:
        if name not in tables.leads.column_names:
            found = f"a table without it{nearest(name, tables.leads.column_names)}"
            do = "give the table every column the model was trained on"
            raise DataError(explain(f"a column {shown(name)!r} in leads", found, do))
    return _ATTRIBUTES[feature.aggregate](feature, tables, lead, as_of)


def _field(tables: Tables, name: str, lead: Ints, as_of: Ints | None) -> tuple[pa.Array, Ints]:
    """Give all values of a field, and each row's place among them, -1 where it has none."""
    values = tables.leads[name]
    values = values.chunk(0) if values.num_chunks == 1 else values.combine_chunks()
    return in_force(values, None if tables.history is None else tables.history.get(name), lead, as_of)


def _levels(feature: AttributeFeature, tables: Tables, lead: Ints, as_of: Ints | None) -> Floats:
    values, place = _field(tables, str(feature.field), lead, as_of)
    levels = (feature.categories or ())[:-1]
    code = pc.fill_null(pc.index_in(values, value_set=pa.array(levels, values.type)), len(levels))
    return _placed(np.where(_filled(values), code.to_numpy(), np.nan), place)


def _readings(feature: AttributeFeature, tables: Tables, lead: Ints, as_of: Ints | None) -> Floats:
    values, place = _field(tables, str(feature.field), lead, as_of)
    texts, code = pc.dictionary_encode(values), _code_of_text(feature)
    of_text = [code(text) for text in texts.dictionary.to_pylist()]
    codes = pc.fill_null(texts.indices, -1).to_numpy(zero_copy_only=False)
    return _placed(np.array([*of_text, np.nan])[codes], place)


def _code_of_text(feature: AttributeFeature) -> Callable[[str], float]:
    """Give the place of what a text says among the categories."""
    code: dict[str | None, float] = {level: float(i) for i, level in enumerate(feature.categories or ())}
    other = len(code) - 1.0
    if feature.aggregate not in _READINGS:
        return lambda text: code.get(text, other)
    reading, keeps_other = _READINGS[feature.aggregate]
    code[None] = other if keeps_other else np.nan
    return lambda text: code.get(reading(text), other)


def _number(feature: AttributeFeature, tables: Tables, lead: Ints, as_of: Ints | None) -> Floats:
    values, place = _field(tables, str(feature.field), lead, as_of)
    return _placed(values.to_numpy(zero_copy_only=False).astype(np.float64, copy=False), place)


def _days_since(feature: AttributeFeature, tables: Tables, lead: Ints, as_of: Ints | None) -> Floats:
    assert as_of is not None  # noqa: S101  # a snapshot without a moment is refused before
    values, place = _field(tables, str(feature.field), lead, as_of)
    filled = (place >= 0) & _filled(values)[place]
    since = as_of - pc.fill_null(values.cast(pa.int64()), 0).to_numpy()[place]
    return np.where(filled & (since > 0), since / DAY, np.nan)


def _lead_age(_: AttributeFeature, tables: Tables, lead: Ints, as_of: Ints | None) -> Floats:
    if tables.created_at is None:
        do = "name the column of the moment the lead came in as created_at"
        raise DataError(explain("the moment each lead came in", "a table without it", do))
    assert as_of is not None  # noqa: S101  # a snapshot without a moment is refused before
    age: Floats = (as_of - tables.created_at[lead]) / DAY
    return age


def _filled_share(feature: AttributeFeature, tables: Tables, lead: Ints, as_of: Ints | None) -> Floats:
    filled = np.zeros(len(lead), np.int64)
    for name in feature.fields:
        values, place = _field(tables, name, lead, as_of)
        filled += (place >= 0) & _filled(values)[place]
    share: Floats = filled / len(feature.fields)
    return share


def _placed(values: Floats, place: Ints) -> Floats:
    """Give the values at some places; none at -1."""
    taken = values[place]
    taken[place < 0] = np.nan
    return taken


def _filled(values: pa.Array) -> NDArray[np.bool_]:
    filled: NDArray[np.bool_] = pc.is_valid(values).to_numpy(zero_copy_only=False)
    return filled


def read_one(feature: AttributeFeature) -> "OneReader":
    """Give what reads one attribute feature off one lead's values: the number that `attribute` gives.

    Parameters
    ----------
    feature : AttributeFeature

    Returns
    -------
    callable
        From the lead's values (a number, a text or microseconds each; None: missing), the moment it came in
        and the moment of the row.

    Examples
    --------
    >>> read_one(AttributeFeature("category", "city", levels=("Oslo",)))({"city": "Oslo"}, None, None)
    0.0
    """
    field, fields = str(feature.field), feature.fields
    match feature.aggregate:
        case "number":
            return lambda values, _, __: np.nan if (value := values[field]) is None else value
        case "days_since":
            return lambda values, _, as_of: (
                np.nan if (at := values[field]) is None or as_of <= at else (as_of - at) / DAY
            )
        case "lead_age":
            return lambda _, created_at, as_of: (as_of - created_at) / DAY
        case "filled_share":
            return lambda values, _, __: sum(values[name] is not None for name in fields) / len(fields)
    code = _code_of_text(feature)
    return lambda values, _, __: np.nan if (text := values[field]) is None else code(text)


OneReader: TypeAlias = Callable[[Mapping[str, Any], Any, Any], float]
_Reader: TypeAlias = Callable[[AttributeFeature, Tables, Ints, Ints | None], Floats]
_ATTRIBUTES: Mapping[str, _Reader] = {
    "number": _number,
    "category": _levels,
    "seniority": _readings,
    "department": _readings,
    "email_domain_kind": _readings,
    "days_since": _days_since,
    "lead_age": _lead_age,
    "filled_share": _filled_share,
}
