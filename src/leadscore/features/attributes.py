"""Reads attribute features off the leads table: the fit of a lead, as far as its profile tells."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from leadscore.data.contract import Floats, Ints, Tables
from leadscore.errors import DataError, explain, nearest, shown
from leadscore.features.declare import AttributeFeature
from leadscore.features.plan import DAY
from leadscore.features.words import department, email_domain_kind, seniority

Codes: TypeAlias = NDArray[np.int64]

# How a text is read, and whether a text that says nothing is "(other)" or missing.
_READINGS: Mapping[str, tuple[Callable[[str], str | None], bool]] = {
    "seniority": (seniority, True),
    "department": (department, True),
    "email_domain_kind": (email_domain_kind, False),
}


def attribute(
    feature: AttributeFeature, tables: Tables, lead: Ints, as_of: Ints | None
) -> "Floats | pd.Categorical[str]":
    """Read one attribute feature for each row.

    Parameters
    ----------
    feature : AttributeFeature
    tables : Tables
    lead : int array of shape (rows,)
        Each row's lead: its row in `tables.leads`.
    as_of : int array of shape (rows,), optional
        Each row's moment; features that tell the time since something need it.

    Returns
    -------
    float64 array or Categorical of shape (rows,)
        A Categorical has `feature.categories`.

    Raises
    ------
    DataError
        The leads table lacks a column.

    Examples
    --------
    >>> leads = pa.table({"title": ["CEO", None, "asdf"]})
    >>> tables = Tables(leads, np.arange(3), np.arange(3), None, None, None, None, None, {}, ())
    >>> attribute(AttributeFeature("seniority", "title"), tables, np.arange(3), None).tolist()
    ['c_level', nan, '(other)']
    """
    for name in feature.reads:
        if name not in tables.leads.column_names:
            found = f"a table without it{nearest(name, tables.leads.column_names)}"
            do = "give the table every column the model was trained on"
            raise DataError(explain(f"a column {shown(name)!r} in leads", found, do))
    if feature.categories is None:
        return _NUMBERS[feature.aggregate](feature, tables, lead, as_of)
    read = _read_codes if feature.aggregate in _READINGS else _level_codes
    codes = read(tables.leads[feature.field], feature)[lead]
    return pd.Categorical.from_codes(codes, categories=pd.Index(feature.categories))


def _level_codes(values: pa.ChunkedArray, feature: AttributeFeature) -> Codes:
    levels = (feature.categories or ())[:-1]
    codes = pc.fill_null(pc.index_in(values, value_set=pa.array(levels, values.type)), len(levels))
    return _where_valid(values, codes.to_numpy())


def _read_codes(values: pa.ChunkedArray, feature: AttributeFeature) -> Codes:
    reading, keeps_other = _READINGS[feature.aggregate]
    code: dict[str | None, int] = {level: i for i, level in enumerate(feature.categories or ())}
    other = len(code) - 1
    code[None] = other if keeps_other else -1
    texts = pc.dictionary_encode(values.combine_chunks())
    of_text = [code.get(reading(text), other) for text in texts.dictionary.to_pylist()]
    codes: Codes = np.array([*of_text, -1])[pc.fill_null(texts.indices, -1).to_numpy(zero_copy_only=False)]
    return codes


def _where_valid(values: pa.ChunkedArray, codes: NDArray[Any]) -> Codes:
    return np.where(pc.is_valid(values).to_numpy(), codes, -1)


def _number(feature: AttributeFeature, tables: Tables, lead: Ints, _: Ints | None) -> Floats:
    numbers: Floats = tables.leads[feature.field].to_numpy().astype(np.float64)[lead]
    return numbers


def _days_since(feature: AttributeFeature, tables: Tables, lead: Ints, as_of: Ints | None) -> Floats:
    assert as_of is not None  # noqa: S101  # a snapshot without a moment is refused before
    times = tables.leads[feature.field]
    since = as_of - pc.fill_null(times.cast(pa.int64()), 0).to_numpy()[lead]
    return np.where(pc.is_valid(times).to_numpy()[lead] & (since > 0), since / DAY, np.nan)


def _lead_age(_: AttributeFeature, tables: Tables, lead: Ints, as_of: Ints | None) -> Floats:
    if tables.created_at is None:
        do = "name the column of the moment the lead came in as created_at"
        raise DataError(explain("the moment each lead came in", "a table without it", do))
    assert as_of is not None  # noqa: S101  # a snapshot without a moment is refused before
    age: Floats = (as_of - tables.created_at[lead]) / DAY
    return age


def _filled_share(feature: AttributeFeature, tables: Tables, lead: Ints, _: Ints | None) -> Floats:
    filled = sum(pc.is_valid(tables.leads[name]).to_numpy().astype(np.int64) for name in feature.fields)
    share: Floats = np.asarray(filled)[lead] / len(feature.fields)
    return share


_NUMBERS: Mapping[str, Callable[[AttributeFeature, Tables, Ints, Ints | None], Floats]] = {
    "number": _number,
    "days_since": _days_since,
    "lead_age": _lead_age,
    "filled_share": _filled_share,
}
